use std::io;
use std::path::PathBuf;

use carrack_base::Cancel;
use carrack_context::ContextError;
use carrack_graph::RecordError;
use carrack_oci::LayerError;
use carrack_sandbox::{Exit, SandboxError};
use carrack_store::StoreError;

use crate::closure::{ClosureError, ElfError};

/// Why a build did not come to its end. Facts only; the words for people are the CLI's.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A step's command ended badly: the user's build failed.
    #[error("step {step} failed")]
    StepFailed {
        /// The step's name.
        step: String,
        /// The program that ran.
        program: String,
        /// How it ended.
        exit: Exit,
        /// The end of what it wrote to standard error.
        transcript: String,
    },
    /// A step's command ended well and did not make a file that it should have made.
    #[error("step {step} made no {artifact}")]
    NoArtifact {
        /// The step's name.
        step: String,
        /// What is missing.
        artifact: String,
    },
    /// A command was run again for a file that an earlier run made, and made another one.
    #[error("step {step} made another {artifact} from the same inputs")]
    Irreproducible {
        /// The step's name.
        step: String,
        /// The file.
        artifact: String,
    },
    /// The name of a file that an image should get is not UTF-8.
    #[error("the name of {path} is not UTF-8")]
    NotUtf8 {
        /// The name, lossily.
        path: String,
    },
    /// The build was asked to stop.
    #[error("stopped by signal {signal}")]
    Cancelled {
        /// The signal.
        signal: i32,
    },
    /// A program needs a shared library that is not on this machine.
    #[error("{needed_by} needs {library}, which is not on this machine")]
    MissingLibrary {
        /// The service whose image it is.
        artifact: String,
        /// File name of the library.
        library: String,
        /// The program or library that needs it.
        needed_by: PathBuf,
        /// Folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// A program's needs can't be found out.
    #[error("cannot find out what {artifact} needs: {reason}")]
    Unreadable {
        /// The program.
        artifact: String,
        /// What went wrong.
        reason: String,
    },
    /// A file that an image should get is not there.
    #[error("{path} is not there")]
    NoSuchFile {
        /// The file or folder.
        path: PathBuf,
        /// What the configuration calls it.
        name: String,
    },
    /// The sources kept changing while they were built.
    #[error("the sources changed during each of {runs} runs")]
    Unstable {
        /// How often it was tried.
        runs: u32,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sources can't be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The sandbox could not be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A layer could not be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A kept record can't be read: the store is damaged, or from another version.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A file operation failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl EngineError {
    /// Every part of a build that waits can be told to stop, and each says so in its own words.
    pub(crate) fn or_cancelled(self, cancel: &Cancel) -> Self {
        match (self, cancel.signal()) {
            (
                Self::Store(StoreError::Cancelled { .. }) | Self::Context(ContextError::Cancelled { .. }),
                Some(signal),
            ) => Self::Cancelled { signal },
            (error, _) => error,
        }
    }

    pub(crate) fn closure(artifact: &str, error: ClosureError) -> Self {
        match error {
            ClosureError::Missing { library, needed_by, searched } => {
                Self::MissingLibrary { artifact: artifact.to_owned(), library, needed_by, searched }
            }
            ClosureError::Elf(ElfError::Malformed { reason, .. }) => {
                Self::Unreadable { artifact: artifact.to_owned(), reason }
            }
            ClosureError::Elf(ElfError::Read { path, source }) | ClosureError::Read { path, source } => {
                Self::Io { action: "read", path, source }
            }
        }
    }
}

/// Names the action and the path of a failed file operation.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, EngineError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, EngineError> {
        self.map_err(|source| EngineError::Io { action, path: path.into(), source })
    }
}
