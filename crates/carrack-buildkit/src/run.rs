//! One client from its start to its end.
//!
//! A client gets a process group of its own: a Ctrl-C at the terminal reaches it through here only, once, together with
//! everything that it started. It is asked to stop by the signal that asked us, which makes it stop the build in the
//! engine; whoever is not gone after [`GRACE`] is killed.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::BuildKitError;
use crate::job::Job;

/// How long a client may take to stop a build in the engine.
const GRACE: Duration = Duration::from_secs(10);
/// How long it takes at most until somebody notices that the build shall stop.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs a job's client; hands each line that it writes to standard error to `line`, and sends it the signal that `stop`
/// gives, once.
///
/// Errors: it can't be started. Failing is no error: the status says it.
pub(crate) fn run(
    job: &Job,
    mut line: impl FnMut(&str),
    stop: impl Fn() -> Option<i32>,
) -> Result<ExitStatus, BuildKitError> {
    let failed = |source| BuildKitError::Start { program: job.program.clone(), source };
    let mut command = Command::new(&job.program);
    command.args(&job.arguments).envs(job.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    command.stdout(if job.stdout { Stdio::inherit() } else { Stdio::null() });
    let mut child = command.spawn().map_err(failed)?;
    let stderr = child.stderr.take().expect("it is piped");
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        let mut stderr = BufReader::new(stderr);
        loop {
            let mut bytes = Vec::new();
            match stderr.read_until(b'\n', &mut bytes) {
                Ok(1..) if sender.send(bytes).is_ok() => {}
                _ => return,
            }
        }
    });
    let mut asked: Option<Instant> = None;
    let mut ended: Option<Instant> = None;
    loop {
        match lines.recv_timeout(PAUSE) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                line(text.strip_suffix('\n').unwrap_or(&text).trim_end_matches('\r'));
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                // A process that the client left behind may hold the pipe open.
                if ended.is_none() && child.try_wait().map_err(failed)?.is_some() {
                    ended = Some(Instant::now());
                }
            }
        }
        if asked.is_none()
            && let Some(signal) = stop()
        {
            let signal = if signal == Signal::TERM.as_raw() { Signal::TERM } else { Signal::INT };
            tell(&child, signal);
            asked = Some(Instant::now());
        }
        if [asked, ended].into_iter().flatten().any(|since| since.elapsed() > GRACE) {
            tell(&child, Signal::KILL);
            break;
        }
    }
    child.wait().map_err(failed)
}

/// Signals the client and everything that it started. Those may be gone by now.
fn tell(child: &Child, signal: Signal) {
    let _ = kill_process_group(Pid::from_child(child), signal);
}
