//! Programs and file systems that may never answer: everything here has a limit.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use carrack_base::Cancel;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::commands::doctor::facts::Answer;

/// How long a program may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// A program that was started and may not have answered yet.
pub(super) struct Pending {
    running: Result<Running, String>,
    cancel: Cancel,
}

struct Running {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    start: Instant,
}

impl Pending {
    /// Starts a program.
    pub(super) fn start(program: &Path, arguments: &[&str], cancel: &Cancel) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self::start_command(command, cancel)
    }

    /// Starts a command in a process group of its own, without anything to read.
    pub(super) fn start_command(mut command: Command, cancel: &Cancel) -> Self {
        command.process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The messages are recognised in English.
        command.env("LC_ALL", "C");
        let running = command.spawn().map_err(|error| error.to_string()).map(|mut child| Running {
            stdout: read(child.stdout.take().expect("standard output was asked to be a pipe")),
            stderr: read(child.stderr.take().expect("standard error was asked to be a pipe")),
            start: Instant::now(),
            child,
        });
        Self { running, cancel: cancel.clone() }
    }

    /// Waits for the end, or for the limit, which began with the start.
    pub(super) fn answer(self) -> Answer {
        let mut running = match self.running {
            Ok(running) => running,
            Err(why) => return Answer::NotStarted(why),
        };
        let status = loop {
            match running.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if running.start.elapsed() < PATIENCE && !self.cancel.is_cancelled() => {
                    thread::sleep(POLL);
                }
                Ok(None) | Err(_) => {
                    running.end();
                    return Answer::Silent;
                }
            }
        };
        // A child of its own may hold the pipes open: it does not get longer than the program had.
        let left = || PATIENCE.saturating_sub(running.start.elapsed());
        let outputs = (running.stdout.recv_timeout(left()), running.stderr.recv_timeout(left()));
        let (Ok(stdout), Ok(stderr)) = outputs else {
            running.end();
            return Answer::Silent;
        };
        Answer::Said { success: status.success(), stdout, stderr }
    }
}

impl Running {
    /// Kills it with everything that it started. All of it may have ended by itself just now.
    fn end(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    in_background(move || {
        let mut bytes = Vec::new();
        // What could be read is what there is to show; the exit status tells the rest.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Starts work whose result may never come: a dead network file system stops whoever touches it.
pub(super) fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody waits any more if the limit was reached.
        let _ = sender.send(work());
    });
    receiver
}
