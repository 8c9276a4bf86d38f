//! The helper process: the launcher outside the namespaces and pid 1 inside.
//!
//! Single-threaded from `main` on, which is what makes forking and changing ids sound. Decides nothing: it takes the
//! [`Plan`]'s steps and reports the first that fails.

mod command;
mod filter;
mod mounts;
mod supervise;
pub(crate) mod sys;

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;

use rustix::process::{DumpableBehavior, Pid, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::socket::Socket;
use crate::wire::{Attempt, Failure, IdPlan, Isolation, Plan, Report};

/// The name that the helper is started under.
pub(crate) const HELPER_NAME: &str = "carrack-sandbox-init";

/// Becomes the sandbox's helper if this process was started as one, and does not return then.
///
/// The first thing that `main` calls: before threads are started, descriptors opened or arguments read.
pub fn run_init_if_asked() {
    if std::env::args_os().next().is_some_and(|name| name == HELPER_NAME) {
        // Without a word over the socket the caller sees the exit code only.
        std::process::exit(if launch().is_ok() { 0 } else { 1 });
    }
}

/// The command's standard input, output and error.
type Streams = [OwnedFd; 3];

fn launch() -> io::Result<()> {
    let socket = Socket::from_fd(io::stdin().as_fd().try_clone_to_owned()?);
    let [document, stdin, stdout, stderr] = socket.receive_descriptors()?;
    let plan = read_plan(document.into())?;
    let streams = [stdin, stdout, stderr];
    let result = match &plan.isolation {
        Some(isolation) => launch_isolated(&socket, &plan, isolation, streams),
        None => supervise::run_plain(&socket, &plan, streams),
    };
    match result {
        Ok(()) => Ok(()),
        Err(failure) => socket.send(&Report::Failed(failure)),
    }
}

fn read_plan(mut document: File) -> io::Result<Plan> {
    document.rewind()?;
    let mut bytes = Vec::new();
    document.read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn launch_isolated(
    socket: &Socket,
    plan: &Plan,
    isolation: &Isolation,
    streams: Streams,
) -> Result<(), Failure> {
    let (mut go, mut mapped) = io::pipe().map_err(Failure::isolate("make a pipe"))?;
    let namespaces = |error| Failure::new(Attempt::Namespaces, error);
    match sys::fork_into_namespaces(isolation.own_network).map_err(namespaces)? {
        None => {
            drop(mapped);
            let launcher_is_done = go.read(&mut [0]).is_ok_and(|length| length == 1);
            if launcher_is_done && let Err(failure) = run_pid_1(socket, plan, isolation, streams) {
                // The caller is gone if this fails too.
                let _ = socket.send(&Report::Failed(failure));
            }
            std::process::exit(0);
        }
        Some(pid_1) => {
            // The command's pipes must end with the command.
            drop((go, streams));
            let result = map_ids(&isolation.ids, pid_1);
            if result.is_ok() {
                // Pid 1 is gone if this fails, and has said why.
                let _ = mapped.write_all(b"1");
            }
            drop(mapped);
            supervise::wait_for(pid_1);
            result
        }
    }
}

/// Gives a process in a new user namespace its ids.
pub(crate) fn map_ids(ids: &IdPlan, process: Pid) -> Result<(), Failure> {
    let process = process.as_raw_nonzero();
    match ids {
        IdPlan::Write { uid_map, gid_map, deny_setgroups } => {
            let write = |file: &str, text: &str| {
                let path = format!("/proc/{process}/{file}");
                std::fs::write(&path, text).map_err(|error| Failure::new(Attempt::IdMap(path), error))
            };
            if *deny_setgroups {
                write("setgroups", "deny")?;
            }
            write("uid_map", uid_map)?;
            write("gid_map", gid_map)
        }
        IdPlan::Help { newuidmap, uids, newgidmap, gids } => {
            for (program, numbers) in [(newuidmap, uids), (newgidmap, gids)] {
                let program = program.as_path();
                let failed = |said: &str, error| {
                    Failure::new(Attempt::IdMap(format!("{}{said}", program.display())), error)
                };
                let output = std::process::Command::new(program)
                    .arg(process.to_string())
                    .args(numbers)
                    .stdin(Stdio::null())
                    .output()
                    .map_err(|error| failed("", error))?;
                if !output.status.success() {
                    let said = format!(": {}", String::from_utf8_lossy(&output.stderr).trim());
                    return Err(failed(&said, io::Error::from_raw_os_error(libc::EPERM)));
                }
            }
            Ok(())
        }
    }
}

fn run_pid_1(socket: &Socket, plan: &Plan, isolation: &Isolation, streams: Streams) -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Failure::isolate("set the death signal"))?;
    rustix::process::setsid().map_err(Failure::isolate("start a session"))?;
    // Not the caller's: results must not depend on it, and mount points are for every user.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    mounts::build(isolation)?;
    if isolation.own_network {
        sys::raise_loopback().map_err(Failure::isolate("raise the loopback of"))?;
    }
    rustix::system::sethostname(isolation.hostname.as_bytes())
        .map_err(Failure::isolate("set the host name"))?;
    if plan.argv.is_empty() {
        // A probe. The caller is gone if this fails.
        let _ = socket.send(&Report::Started);
        return Ok(());
    }
    // From here on `/proc/1` shows the command nothing to open.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(Failure::isolate("hide pid 1"))?;
    supervise::run(socket, plan, streams, || {
        // Signals to other users are all that is left to do.
        let kept = CapabilitySet::KILL;
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets).map_err(Failure::isolate("drop capabilities"))
    })
}
