//! Follows the command from a parent's place: pid 1 of the sandbox, or the launcher itself without one.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::command::become_command;
use super::{Streams, sys};
use crate::socket::Socket;
use crate::wire::{Failure, Plan, Report};

/// Starts the command, reports, passes signals on, reaps, and returns when the command or the caller has ended.
/// `before_report` runs when the command is on its way.
pub(super) fn run(
    socket: &Socket,
    plan: &Plan,
    streams: Streams,
    before_report: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let children = sys::children_descriptor().map_err(Failure::isolate("watch for children"))?;
    let command = start(plan, streams)?;
    before_report()?;
    // When the caller can't be reached any more, following finds out.
    let _ = socket.send(&Report::Started);
    if let Some(report) = follow(socket, &children, command) {
        let _ = socket.send(&report);
    }
    Ok(())
}

/// [`run`] as the command's plain parent: what pid 1's end does in a namespace is done by hand.
pub(super) fn run_plain(socket: &Socket, plan: &Plan, streams: Streams) -> Result<(), Failure> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(Failure::isolate("adopt orphans"))?;
    let result = run(socket, plan, streams, || Ok(()));
    kill_descendants();
    result
}

/// Waits for one child. A child that somebody else has reaped counts as waited for.
pub(super) fn wait_for(pid: Pid) {
    while matches!(rustix::process::waitpid(Some(pid), WaitOptions::empty()), Err(Errno::INTR)) {}
}

fn start(plan: &Plan, streams: Streams) -> Result<Pid, Failure> {
    let (mut failure, mut failed) = io::pipe().map_err(Failure::isolate("make a pipe"))?;
    match sys::fork().map_err(Failure::isolate("fork"))? {
        None => {
            let failure = become_command(plan, &streams);
            let document = serde_json::to_vec(&failure).expect("a failure is plain data");
            // Nobody is left to tell if this fails.
            let _ = failed.write_all(&document);
            std::process::exit(127);
        }
        Some(command) => {
            drop((failed, streams));
            let mut document = Vec::new();
            // Ends when the execution closes the other end.
            let _ = failure.read_to_end(&mut document);
            if document.is_empty() {
                return Ok(command);
            }
            wait_for(command);
            Err(serde_json::from_slice(&document)
                .map_err(io::Error::from)
                .map_err(Failure::isolate("hear"))?)
        }
    }
}

/// How the command ended, or `None` if the caller did.
fn follow(socket: &Socket, children: &OwnedFd, command: Pid) -> Option<Report> {
    loop {
        let mut waiting = [PollFd::new(socket, PollFlags::IN), PollFd::new(children, PollFlags::IN)];
        match rustix::event::poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return None,
        }
        let [from_caller, from_children] = waiting.map(|descriptor| !descriptor.revents().is_empty());
        if from_children {
            // Several signals can be one: the children are asked, not the descriptor.
            let _ = rustix::io::read(children, &mut [0; 1024]);
            if let Some(status) = reap(command) {
                return Some(match status.exit_status() {
                    Some(code) => Report::Exited(code),
                    None => Report::Signalled(status.terminating_signal().unwrap_or(libc::SIGKILL)),
                });
            }
        }
        if from_caller {
            let signal: i32 = socket.receive().ok()??;
            sys::kill(command, signal);
        }
    }
}

/// Reaps everything that has ended; the command's status if it was among it.
fn reap(command: Pid) -> Option<WaitStatus> {
    let mut ended = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == command {
            ended = Some(status);
        }
    }
    ended
}

/// Kills all children until none is left. Each one's own children become this process's when it dies. A kernel
/// without lists of children leaves the command to its death signal, and what it started to itself.
fn kill_descendants() {
    let own = rustix::process::getpid().as_raw_nonzero();
    let path = format!("/proc/self/task/{own}/children");
    loop {
        let Ok(children) = fs::read_to_string(&path) else { return };
        for child in children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)) {
            sys::kill(child, libc::SIGKILL);
        }
        if matches!(rustix::process::wait(WaitOptions::empty()), Err(error) if error != Errno::INTR) {
            return;
        }
    }
}
