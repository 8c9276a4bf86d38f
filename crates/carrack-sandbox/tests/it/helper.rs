//! The program that the tests start as the sandbox's helper, and as a caller that they can kill.
#![allow(clippy::print_stdout, reason = "the answer is for the test")]

use std::path::PathBuf;

use carrack_sandbox::{Command, IdMap, Launcher, Network, Root, Sandbox, Stdio};

/// `helper plain|isolated SCRATCH PROGRAM ARGUMENT…` runs the program until it ends; `helper support SCRATCH` says
/// what is allowed.
fn main() {
    carrack_sandbox::run_init_if_asked();
    let mut arguments = std::env::args_os().skip(1);
    let mode = arguments.next().expect("the first argument is the mode");
    let scratch = PathBuf::from(arguments.next().expect("the second argument is the scratch folder"));
    let command = Command {
        argv: arguments.collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        stdin: Stdio::Null,
        stdout: Stdio::Inherit,
        stderr: Stdio::Inherit,
        limits: Vec::new(),
    };
    let launcher = Launcher::this_program();
    if mode == "support" {
        println!("{:?}", launcher.support(&scratch));
        return;
    }
    let child = if mode == "plain" {
        launcher.spawn_plain(&command)
    } else {
        launcher.spawn(
            &command,
            &Sandbox {
                root: Root::Host,
                mounts: Vec::new(),
                hostname: "held".to_owned(),
                user: None,
                ids: IdMap::Caller,
                network: Network::Host,
                shm_size: None,
                scratch,
            },
        )
    };
    child.expect("the command starts").wait().expect("the command ends");
}
