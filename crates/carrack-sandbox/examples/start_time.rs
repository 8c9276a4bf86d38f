//! Measures how long a command takes to start: wall time from `spawn` to the command's execution, and to its end.
//!
//! `cargo run --release -p carrack-sandbox --example start_time [ROUNDS]`
#![allow(clippy::print_stdout)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use carrack_sandbox::{Command, Exit, IdMap, Launcher, Mount, Network, Root, Sandbox, SandboxError, Stdio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    carrack_sandbox::run_init_if_asked();
    let rounds = std::env::args().nth(1).map_or(Ok(200), |rounds| rounds.parse())?;
    let launcher = Launcher::this_program();
    let command = Command {
        argv: vec!["/bin/true".into()],
        env: Vec::new(),
        cwd: "/".into(),
        stdin: Stdio::Null,
        stdout: Stdio::Null,
        stderr: Stdio::Inherit,
        limits: Vec::new(),
    };
    report("plain", rounds, || launcher.spawn_plain(&command))?;

    let folder = std::env::temp_dir().join(format!("carrack-start-time-{}", std::process::id()));
    let [scratch, lower, upper, work] = ["scratch", "lower", "upper", "work"].map(|name| folder.join(name));
    for path in [&scratch, &lower, &upper, &work] {
        std::fs::create_dir_all(path)?;
    }
    let sandbox = Sandbox {
        root: Root::Host,
        mounts: vec![Mount::Overlay {
            lower: vec![lower],
            upper,
            work: work.clone(),
            target: "/carrack/workspace".into(),
            writable: true,
        }],
        hostname: "carrack".to_owned(),
        user: None,
        ids: IdMap::Caller,
        network: Network::Host,
        shm_size: None,
        scratch,
    };
    report("host root with one overlay", rounds, || launcher.spawn(&command, &sandbox))?;
    // The kernel's folder of mode 0 stops an ordinary user from removing the rest.
    std::fs::set_permissions(work.join("work"), Permissions::from_mode(0o700))?;
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn report(
    name: &str,
    rounds: usize,
    spawn: impl Fn() -> Result<carrack_sandbox::Child, SandboxError>,
) -> Result<(), SandboxError> {
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begin = Instant::now();
        let mut child = spawn()?;
        starts.push(begin.elapsed());
        assert_eq!(child.wait()?, Exit::Code(0));
        ends.push(begin.elapsed());
    }
    println!("{name}: started {:?}, ended {:?} (medians of {rounds})", median(starts), median(ends));
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
