//! Handing images to a container engine through its own program: `docker load`, `podman load`.
//!
//! The caller says which program and with what environment; it is not looked for here. Images go through a pipe, never
//! through a file. There is no time limit on loading (an engine unpacks while it reads), only on asking whether one
//! answers.
//!
//! Failure: [`EngineError`], with what the program wrote to standard error.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::archive::{CarrierError, NamedImage, docker_tar};
use crate::blob::BlobSource;
use crate::destination::Destination;

/// How long to sleep between two looks at a program that has not ended.
const POLL: Duration = Duration::from_millis(5);
/// A program's standard error beyond this is not kept.
const STDERR_LIMIT: u64 = 64 * 1024;

/// Which engine's words a program understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// `docker`, a client of a daemon.
    Docker,
    /// `podman`.
    Podman,
}

/// An engine's program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineProgram {
    /// What it understands.
    pub kind: EngineKind,
    /// Where it is; a bare name is looked up in `PATH` by the system.
    pub program: PathBuf,
    /// Variables that it gets besides this process's own.
    pub environment: Vec<(OsString, OsString)>,
}

/// An engine that did not answer, or did not take an image.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The program can't be started.
    #[error("cannot run {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Talking to the program failed.
    #[error("cannot talk to {}", program.display())]
    Pipe {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It did not answer in time and was killed.
    #[error("{} did not answer within {} ms", program.display(), limit.as_millis())]
    Timeout {
        /// The program.
        program: PathBuf,
        /// The time it had.
        limit: Duration,
    },
    /// It failed.
    #[error("{} failed ({status}): {}", program.display(), stderr.trim_end())]
    Failed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote to standard error, up to 64 KiB.
        stderr: String,
    },
    /// The image could not be read while it was sent.
    #[error(transparent)]
    Image(CarrierError),
}

/// Asks an engine for its version, which is how it proves that it is there and answers (docker: the daemon's).
///
/// Errors: [`EngineError`]; no answer within `limit` is [`EngineError::Timeout`].
pub fn probe(engine: &EngineProgram, limit: Duration) -> Result<String, EngineError> {
    let format = match engine.kind {
        EngineKind::Docker => "{{.Server.Version}}",
        EngineKind::Podman => "{{.Client.Version}}",
    };
    let mut child = engine.spawn(&["version", "--format", format], Stdio::null())?;
    let (stdout, stderr) = read_outputs(&mut child);
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|source| engine.pipe(source))? {
            Some(status) => break status,
            None if start.elapsed() < limit => thread::sleep(POLL),
            None => {
                // It may have ended by itself just now; both calls are then harmless.
                let _ = child.kill();
                let _ = child.wait();
                return Err(EngineError::Timeout { program: engine.program.clone(), limit });
            }
        }
    };
    // A child of its own may hold the pipes open: it does not get longer than the program had.
    let text = |output: mpsc::Receiver<String>| output.recv_timeout(limit).unwrap_or_default();
    engine.check(status, text(stdout), text(stderr))
}

/// Loads `images` into an engine and returns what its program wrote to standard output (`Loaded image: …` lines).
///
/// Errors: [`EngineError`]. If the engine refuses, nothing is known about which images it has taken by then.
pub fn load(
    engine: &EngineProgram,
    images: &[NamedImage<'_>],
    blobs: &dyn BlobSource,
) -> Result<String, EngineError> {
    let mut child = engine.spawn(&["load"], Stdio::piped())?;
    let (stdout, stderr) = read_outputs(&mut child);
    let stdin = child.stdin.take().expect("standard input was asked to be a pipe");
    let mut pipe = BufWriter::with_capacity(256 * 1024, stdin);
    let sent = docker_tar(Destination::Stream(&mut pipe), images, blobs);
    if matches!(&sent, Err(error) if !matches!(error, CarrierError::Stream(_))) {
        // Half an archive must not look like a whole one whose end was reached.
        let _ = child.kill();
    }
    drop(pipe);
    let status = child.wait().map_err(|source| engine.pipe(source))?;
    let (stdout, stderr) = (stdout.recv().unwrap_or_default(), stderr.recv().unwrap_or_default());
    match sent {
        // The program that stopped reading says itself why; only if it claims success is the pipe to blame.
        Err(CarrierError::Stream(source)) if status.success() => Err(engine.pipe(source)),
        Ok(()) | Err(CarrierError::Stream(_)) => engine.check(status, stdout, stderr),
        Err(error) => Err(EngineError::Image(error)),
    }
}

/// Lets an engine write the image `name` into the new file `file`, as an archive of docker's.
pub(crate) fn save(engine: &EngineProgram, name: &str, file: &Path) -> Result<(), EngineError> {
    let arguments = ["image".as_ref(), "save".as_ref(), "--output".as_ref(), file.as_os_str(), name.as_ref()];
    let mut child = engine.spawn(&arguments, Stdio::null())?;
    let (stdout, stderr) = read_outputs(&mut child);
    let status = child.wait().map_err(|source| engine.pipe(source))?;
    let (stdout, stderr) = (stdout.recv().unwrap_or_default(), stderr.recv().unwrap_or_default());
    engine.check(status, stdout, stderr).map(|_| ())
}

impl EngineProgram {
    fn spawn<A: AsRef<OsStr>>(&self, arguments: &[A], stdin: Stdio) -> Result<Child, EngineError> {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(self.environment.iter().cloned());
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(|source| EngineError::Start { program: self.program.clone(), source })
    }

    fn pipe(&self, source: io::Error) -> EngineError {
        EngineError::Pipe { program: self.program.clone(), source }
    }

    fn check(&self, status: ExitStatus, stdout: String, stderr: String) -> Result<String, EngineError> {
        if status.success() {
            return Ok(stdout.trim_end().to_owned());
        }
        Err(EngineError::Failed { program: self.program.clone(), status, stderr })
    }
}

/// Reads both outputs on threads of their own, so that neither pipe fills up.
fn read_outputs(child: &mut Child) -> (mpsc::Receiver<String>, mpsc::Receiver<String>) {
    let stdout = child.stdout.take().expect("standard output was asked to be a pipe");
    let stderr = child.stderr.take().expect("standard error was asked to be a pipe");
    (read_in_background(stdout, u64::MAX), read_in_background(stderr, STDERR_LIMIT))
}

fn read_in_background(mut pipe: impl Read + Send + 'static, limit: u64) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read is what there is to show; the exit status tells the rest.
        let _ = pipe.by_ref().take(limit).read_to_end(&mut bytes);
        let _ = io::copy(&mut pipe, &mut io::sink());
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}
