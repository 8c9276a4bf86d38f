use std::io::{ErrorKind, PipeReader, PipeWriter};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::socket::{DESCRIPTORS, Socket};
use crate::wire::Report;
use crate::{Inside, SandboxError};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// A running command. Dropping it kills the command with everything it started, and waits for that.
#[derive(Debug)]
pub struct Child {
    /// Writes to the command's standard input, if that is piped.
    pub stdin: Option<PipeWriter>,
    /// Reads the command's standard output, if that is piped.
    pub stdout: Option<PipeReader>,
    /// Reads the command's standard error, if that is piped.
    pub stderr: Option<PipeReader>,
    process: std::process::Child,
    control: Control,
    exit: Option<Exit>,
}

/// Stops a [`Child`] from another thread. Does not keep it alive; outliving it is harmless.
#[derive(Debug, Clone)]
pub struct Control(Arc<Socket>);

impl Control {
    /// Sends a signal to the command, not to what the command started. Nothing happens if the command has ended.
    ///
    /// Errors: [`SandboxError::Channel`] if more signals wait than the system keeps.
    pub fn signal(&self, signal: i32) -> Result<(), SandboxError> {
        match self.0.try_send(&signal) {
            Err(source) if source.kind() == ErrorKind::WouldBlock => {
                Err(SandboxError::Channel { attempt: "send a signal through", source })
            }
            // Any other failure means that the other end is gone.
            _ => Ok(()),
        }
    }

    /// Kills the command with everything it started, without waiting.
    pub fn kill(&self) {
        self.0.shut_down();
    }
}

impl Child {
    pub(crate) fn new(process: std::process::Child, socket: Socket) -> Self {
        let control = Control(Arc::new(socket));
        Self { stdin: None, stdout: None, stderr: None, process, control, exit: None }
    }

    pub(crate) fn send_plan(
        &mut self,
        descriptors: [BorrowedFd<'_>; DESCRIPTORS],
    ) -> Result<(), SandboxError> {
        match self.control.0.send_descriptors(descriptors) {
            Ok(()) => Ok(()),
            // It is gone: how it ended says more than the broken socket.
            Err(_) => Err(self.died()?),
        }
    }

    /// Waits until the command has started or failed to.
    pub(crate) fn wait_for_start(&mut self) -> Result<(), SandboxError> {
        match self.control.0.receive() {
            Ok(Some(Report::Started)) => Ok(()),
            Ok(Some(Report::Failed(failure))) => Err(failure.into()),
            Ok(_) => Err(self.died()?),
            Err(source) => Err(SandboxError::Channel { attempt: "hear from", source }),
        }
    }

    fn died(&mut self) -> Result<SandboxError, SandboxError> {
        self.control.kill();
        Ok(SandboxError::Died { status: self.process.wait().map_err(waiting)? })
    }

    /// A handle for signal handlers and other threads.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// What is going on in its sandbox.
    pub fn inside(&self) -> Inside {
        Inside::of(self.process.id())
    }

    /// As [`Control::signal`].
    pub fn signal(&self, signal: i32) -> Result<(), SandboxError> {
        self.control.signal(signal)
    }

    /// Closes the command's piped standard input and waits until the command and everything that it started are gone.
    /// What the command leaves running when it ends is killed. After a kill the answer is signal 9.
    ///
    /// Piped output has to be read meanwhile, by another thread if there are two streams.
    pub fn wait(&mut self) -> Result<Exit, SandboxError> {
        drop(self.stdin.take());
        match self.exit {
            Some(exit) => Ok(exit),
            None => {
                self.process.wait().map_err(waiting)?;
                Ok(self.read_exit())
            }
        }
    }

    /// How the command ended, if it has, and everything that it started is gone.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, SandboxError> {
        if self.exit.is_none() && self.process.try_wait().map_err(waiting)?.is_some() {
            self.read_exit();
        }
        Ok(self.exit)
    }

    /// Kills the command with everything it started, and waits for that.
    pub fn kill(&mut self) -> Result<Exit, SandboxError> {
        self.control.kill();
        self.wait()
    }

    /// The helper has ended, so its last word is there or never comes.
    fn read_exit(&mut self) -> Exit {
        let exit = match self.control.0.receive() {
            Ok(Some(Report::Exited(code))) => Exit::Code(code),
            Ok(Some(Report::Signalled(signal))) => Exit::Signal(signal),
            _ => Exit::Signal(libc::SIGKILL),
        };
        *self.exit.insert(exit)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Failing means that somebody else has reaped the helper: nothing is left to do.
        let _ = self.kill();
    }
}

fn waiting(source: std::io::Error) -> SandboxError {
    SandboxError::Channel { attempt: "wait for", source }
}
