use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;

use crate::command::{Command, IdMap, Mount, Network, Root, Sandbox, Stdio};
use crate::init::HELPER_NAME;
use crate::socket::Socket;
use crate::wire::Plan;
use crate::{Child, SandboxError, plan};

/// Starts commands by running a program again that calls [`run_init_if_asked`](crate::run_init_if_asked) first.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
}

/// What this machine allows.
#[derive(Debug)]
pub enum Support {
    /// [`Launcher::spawn`] works.
    Isolated,
    /// Only [`Launcher::spawn_plain`] works.
    Plain {
        /// What was refused.
        reason: SandboxError,
    },
}

impl Launcher {
    /// Runs the calling program again.
    pub fn this_program() -> Self {
        Self { program: "/proc/self/exe".into() }
    }

    /// Runs another program, for callers that are not in control of their `main`.
    pub fn with_program(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// Starts `command` in `sandbox` and returns once it runs.
    ///
    /// Errors: everything in [`SandboxError`]; nothing is left running then.
    pub fn spawn(&self, command: &Command, sandbox: &Sandbox) -> Result<Child, SandboxError> {
        self.launch(&plan::lower(command, Some(sandbox))?, [command.stdin, command.stdout, command.stderr])
    }

    /// Starts `command` on the host as it is, without any isolation, in a session of its own. Its end and its tree's
    /// are those of [`Launcher::spawn`]: what it leaves running is killed with it, and so is everything when the
    /// caller dies.
    ///
    /// Errors: as [`Launcher::spawn`], less what concerns namespaces and mounts.
    pub fn spawn_plain(&self, command: &Command) -> Result<Child, SandboxError> {
        self.launch(&plan::lower(command, None)?, [command.stdin, command.stdout, command.stderr])
    }

    /// Tries whether namespaces, mounts and an overlay on `scratch`'s file system can be made, by making them. Takes a
    /// few milliseconds. `scratch` is an empty folder of the caller's, who removes it afterwards.
    pub fn support(&self, scratch: &Path) -> Support {
        match self.probe(scratch) {
            Ok(()) => Support::Isolated,
            Err(reason) => Support::Plain { reason },
        }
    }

    fn probe(&self, scratch: &Path) -> Result<(), SandboxError> {
        let [lower, upper, work] =
            ["probe-lower", "probe-upper", "probe-work"].map(|name| scratch.join(name));
        for folder in [&lower, &upper, &work] {
            fs::create_dir_all(folder)
                .map_err(|source| SandboxError::Prepare { path: folder.clone(), source })?;
        }
        let sandbox = Sandbox {
            root: Root::Host,
            mounts: vec![Mount::Overlay {
                lower: vec![lower],
                upper,
                work,
                target: "/tmp/probe".into(),
                writable: true,
            }],
            hostname: "probe".to_owned(),
            user: None,
            ids: IdMap::Caller,
            network: Network::Host,
            shm_size: None,
            scratch: scratch.to_owned(),
        };
        self.launch(&plan::probe(&sandbox)?, [Stdio::Null; 3])?.wait()?;
        Ok(())
    }

    fn launch(&self, plan: &Plan, streams: [Stdio; 3]) -> Result<Child, SandboxError> {
        let channel = |attempt| move |source| SandboxError::Channel { attempt, source };
        let (socket, theirs) = Socket::pair().map_err(channel("make a socket for"))?;
        let document = write_plan(plan).map_err(channel("write the plan for"))?;
        let mut pipes = Pipes::default();
        let [stdin, stdout, stderr] = pipes.open(streams).map_err(channel("open the streams of"))?;

        let process = std::process::Command::new(&self.program)
            .arg0(HELPER_NAME)
            .env_clear()
            .stdin(theirs)
            .stdout(std::process::Stdio::null())
            // Signals of the terminal are the caller's business.
            .process_group(0)
            .spawn()
            .map_err(|source| SandboxError::Launch { program: self.program.clone(), source })?;
        let mut child = Child::new(process, socket);
        child.send_plan([document.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        drop((stdin, stdout, stderr));
        child.wait_for_start()?;
        child.stdin = pipes.stdin;
        child.stdout = pipes.stdout;
        child.stderr = pipes.stderr;
        Ok(child)
    }
}

/// The caller's ends.
#[derive(Default)]
struct Pipes {
    stdin: Option<io::PipeWriter>,
    stdout: Option<io::PipeReader>,
    stderr: Option<io::PipeReader>,
}

impl Pipes {
    /// The command's ends.
    fn open(&mut self, [stdin, stdout, stderr]: [Stdio; 3]) -> io::Result<[OwnedFd; 3]> {
        let stdin = match stdin {
            Stdio::Inherit => io::stdin().as_fd().try_clone_to_owned()?,
            Stdio::Null => File::open("/dev/null")?.into(),
            Stdio::Piped => {
                let (reader, writer) = io::pipe()?;
                self.stdin = Some(writer);
                reader.into()
            }
        };
        let output = |stream, inherited: OwnedFd, end: &mut Option<io::PipeReader>| -> io::Result<OwnedFd> {
            Ok(match stream {
                Stdio::Inherit => inherited,
                Stdio::Null => File::options().write(true).open("/dev/null")?.into(),
                Stdio::Piped => {
                    let (reader, writer) = io::pipe()?;
                    *end = Some(reader);
                    writer.into()
                }
            })
        };
        let stdout = output(stdout, io::stdout().as_fd().try_clone_to_owned()?, &mut self.stdout)?;
        let stderr = output(stderr, io::stderr().as_fd().try_clone_to_owned()?, &mut self.stderr)?;
        Ok([stdin, stdout, stderr])
    }
}

fn write_plan(plan: &Plan) -> io::Result<File> {
    let mut document = File::from(rustix::fs::memfd_create("plan", MemfdFlags::CLOEXEC)?);
    document.write_all(&serde_json::to_vec(plan)?)?;
    Ok(document)
}
