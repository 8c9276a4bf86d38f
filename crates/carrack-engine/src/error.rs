use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use carrack_base::{Cancel, ContentDigest, Span};
use carrack_context::ContextError;
use carrack_graph::{RecordError, StepInfo};
use carrack_oci::snapshot::SnapshotError;
use carrack_oci::{ImageError, LayerError, UnknownAccount};
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
    /// A step of a stage failed.
    #[error("{step}")]
    InStep {
        /// Its name.
        step: String,
        /// The instruction that asked for it.
        origin: Option<Span>,
        /// Why it failed.
        #[source]
        source: Box<EngineError>,
    },
    /// A command of a stage ended badly: the user's build failed.
    #[error("the command failed")]
    RunFailed {
        /// How it ended.
        exit: Exit,
        /// The end of what it wrote.
        transcript: String,
    },
    /// Bytes of a layer that is known by its digest can't be had: the build begins again without it.
    #[error("the layer {snapshot} is not here")]
    LostLayer {
        /// The layer.
        snapshot: ContentDigest,
    },
    /// Another step failed first.
    #[error("stopped because another step failed")]
    Stopped,
    /// Something is where something else should go.
    #[error("{path} is something else")]
    InTheWay {
        /// The path in the image.
        path: String,
    },
    /// What should be copied or mounted is not there.
    #[error("{path} is not in {of}")]
    NoSource {
        /// The path as it was written.
        path: String,
        /// Where it was looked for.
        of: String,
    },
    /// A program would not start in its image.
    #[error("{program} cannot start in {base}: {library} {}", match symbol {
        Some(symbol) => format!("has no {symbol}"),
        None => "is missing".to_owned(),
    })]
    CannotStart {
        /// Where the program is in the image.
        program: String,
        /// The image.
        base: String,
        /// The loader or library concerned.
        library: String,
        /// The program or library that needs it.
        needed_by: String,
        /// A symbol with its version that the library does not have; the library itself is missing if there is none.
        symbol: Option<String>,
    },
    /// Links of an image lead in circles.
    #[error("links of {path} lead in circles")]
    CircularLink {
        /// The path in the image.
        path: String,
    },
    /// An image does not know a user or group.
    #[error(transparent)]
    UnknownAccount(#[from] UnknownAccount),
    /// A command must have a secret that nobody gave.
    #[error("there is no secret `{id}`")]
    NoSecret {
        /// Its name.
        id: String,
    },
    /// A command must have an SSH agent that nobody gave.
    #[error("there is no SSH agent `{id}`")]
    NoAgent {
        /// Its name.
        id: String,
    },
    /// An SSH agent does not answer.
    #[error("reach the SSH agent `{id}` at {}", path.display())]
    DeadAgent {
        /// Its name.
        id: String,
        /// Its socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file can't belong to its owner: the caller has no such number to give.
    #[error("cannot give {path} to {uid}:{gid}")]
    Owner {
        /// The file.
        path: PathBuf,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// The bytes of an image's layers can't be had.
    #[error("fetch the layers of {image}")]
    Layers {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file can't be downloaded.
    #[error("download {url}")]
    Download {
        /// Its address.
        url: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A downloaded file is another one than it should be.
    #[error("{url} has the digest {found}, not {expected}")]
    Checksum {
        /// Its address.
        url: String,
        /// What it should have.
        expected: carrack_base::Digest,
        /// What it has.
        found: carrack_base::Digest,
    },
    /// Git failed.
    #[error("get {remote} with git")]
    Git {
        /// The repository.
        remote: String,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A repository has no branch, tag or commit of this name.
    #[error("{remote} has no {reference}")]
    NoReference {
        /// The repository.
        remote: String,
        /// The name.
        reference: String,
    },
    /// A name of a repository means another commit than it should.
    #[error("{remote} is at {found}, not {expected}")]
    OtherCommit {
        /// The repository.
        remote: String,
        /// What its name should begin with.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A layer that was kept is damaged, and so is what was made in its place.
    #[error("the layer {snapshot} is damaged")]
    DamagedSnapshot {
        /// The layer.
        snapshot: ContentDigest,
    },
    /// An image's configuration is not one.
    #[error("cannot read the image's configuration")]
    Configuration {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An image in the store can't be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A layer could not be unpacked, read or packed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
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

    /// Says in which step it happened. What ended for a reason elsewhere stays as it is.
    pub(crate) fn in_step(self, info: &StepInfo) -> Self {
        match self {
            Self::InStep { .. } | Self::Stopped | Self::Cancelled { .. } | Self::LostLayer { .. } => self,
            error => {
                Self::InStep { step: info.name.clone(), origin: info.origin.clone(), source: Box::new(error) }
            }
        }
    }

    pub(crate) fn elf(artifact: &str, error: ElfError) -> Self {
        Self::closure(artifact, ClosureError::Elf(error))
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

/// Gives what is at `path`, be it a link, to another owner.
pub(crate) fn give(path: &Path, (uid, gid): (u32, u32)) -> Result<(), EngineError> {
    match lchown(path, Some(uid), Some(gid)) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Err(EngineError::Owner { path: path.to_owned(), uid, gid })
        }
        given => given.at("give away", path),
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
