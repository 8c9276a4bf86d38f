use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use carrack_base::Digest;
use carrack_oci::ReferenceError;
use carrack_oci::registry::RegistryError;
use carrack_oci::transport::TransportError;

use crate::signature::PublicKey;

/// What was attempted at a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// [`crate::Remote::open`]
    Open,
    /// [`crate::Remote::names`]
    List,
    /// [`crate::Remote::find`]
    Find,
    /// [`crate::Remote::read`], until the last byte.
    Read,
    /// [`crate::Remote::publish`]
    Publish,
    /// [`crate::Remote::remove`]
    Remove,
}

/// Why a remote did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// An earlier failure turned it off. Nothing was attempted.
    #[error("{remote} is off since an earlier failure: {since}")]
    Off {
        /// The location.
        remote: String,
        /// The words of the failure.
        since: String,
    },
    /// It could not be done.
    #[error("cannot {operation} {remote}")]
    Failed {
        /// The location.
        remote: String,
        /// What was attempted.
        operation: Operation,
        /// Why not.
        #[source]
        cause: Cause,
    },
    /// What came in is not what was promised, or no entry of this program.
    #[error("`{entry}` of {remote} is damaged: {problem}")]
    Damaged {
        /// The location.
        remote: String,
        /// The entry, or the blob's digest.
        entry: String,
        /// What is wrong.
        problem: String,
    },
    /// An entry names a blob that is gone.
    #[error("{remote} has no blob {digest} any more")]
    MissingBlob {
        /// The location.
        remote: String,
        /// The blob.
        digest: Digest,
    },
    /// No trusted key has signed the entry as it is.
    #[error("`{entry}` of {remote} is not to be trusted: {distrust}")]
    Untrusted {
        /// The location.
        remote: String,
        /// The entry.
        entry: String,
        /// Why not.
        distrust: Distrust,
    },
    /// What was to be published can't be read here.
    #[error("cannot read what was to be published to {remote}")]
    Source {
        /// The location.
        remote: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// A name that an entry can't have: not 1 to 120 of `a-z`, `0-9`, `.`, `_` and `-`, or beginning with `.` or `-`.
    #[error("`{name}` cannot name an entry")]
    BadName {
        /// The name.
        name: String,
    },
    /// A head that is too large to be one.
    #[error("the head of `{entry}` has {size} bytes, and {limit} are allowed")]
    HeadTooLarge {
        /// The entry.
        entry: String,
        /// Bytes that it has.
        size: u64,
        /// Bytes that it may have.
        limit: u64,
    },
}

/// What stood in the way.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The registry.
    #[error(transparent)]
    Registry(RegistryError),
    /// The way to the bucket.
    #[error(transparent)]
    Transport(TransportError),
    /// The bucket said no.
    #[error("the bucket answered {status} to the attempt to {attempt} `{object}`: {said}")]
    Bucket {
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// The object's key.
        object: String,
        /// The status code.
        status: u16,
        /// S3's code and words, as far as they could be read.
        said: String,
    },
    /// The bucket's answer is none.
    #[error(
        "the bucket gave an answer that cannot be used to the attempt to {attempt} `{object}`: {problem}"
    )]
    BucketAnswer {
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// The object's key, or the prefix.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The endpoint of the bucket can't be one.
    #[error("`{endpoint}` cannot be the endpoint of a bucket")]
    Endpoint {
        /// The text.
        endpoint: String,
    },
    /// The registry's name can't be one.
    #[error("`{reference}` cannot be a repository")]
    Reference {
        /// The text.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// The folder.
    #[error("cannot {attempt} {path}", path = path.display())]
    Folder {
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The time that was given to the remote is over.
    #[error("the time for the remote cache is over")]
    Deadline,
    /// The random numbers or threads that the system should give are not there.
    #[error("the system does not give what is needed")]
    System(#[source] io::Error),
}

/// How an entry's signatures and the trusted keys do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distrust {
    /// Nobody signed it.
    Unsigned,
    /// It is signed, by none of the trusted keys.
    UnknownKeys(Vec<PublicKey>),
    /// It carries the name of this trusted key, and the key did not sign this content under this name.
    WrongSignature(PublicKey),
}

/// A failure below, before it is known which remote it is about.
#[derive(Debug)]
pub(crate) enum Trouble {
    Cause(Cause),
    Damaged(String),
    Missing(Digest),
    Source(io::Error),
}

/// What a failure turns off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Nothing,
    Writing,
    Everything,
}

impl Trouble {
    /// For `map_err`: `attempt` on `path` failed.
    pub(crate) fn folder(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Cause(Cause::Folder { attempt, path: path.to_owned(), source })
    }

    /// What this failure says about later calls.
    pub(crate) fn reach(&self, operation: Operation) -> Reach {
        let is_writing = matches!(operation, Operation::Publish | Operation::Remove);
        match self {
            Self::Damaged(_) | Self::Missing(_) | Self::Source(_) => Reach::Nothing,
            // It answers, so it may well be read from. A folder on a full or read-only disk, too.
            Self::Cause(
                Cause::Registry(
                    RegistryError::Denied { .. }
                    | RegistryError::Unauthorized { .. }
                    | RegistryError::Status { .. },
                )
                | Cause::Bucket { .. }
                | Cause::Folder { .. },
            ) if is_writing => Reach::Writing,
            Self::Cause(_) => Reach::Everything,
        }
    }
}

impl From<RegistryError> for Trouble {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Transport { source: TransportError::Source { source, .. }, .. } => {
                Self::Source(source)
            }
            error @ (RegistryError::WrongManifest { .. } | RegistryError::TooLarge { .. }) => {
                Self::Damaged(error.to_string())
            }
            error => Self::Cause(Cause::Registry(error)),
        }
    }
}

impl From<TransportError> for Trouble {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Source { source, .. } => Self::Source(source),
            error => Self::Cause(Cause::Transport(error)),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::List => "list the entries of",
            Self::Find => "look for an entry of",
            Self::Read => "read from",
            Self::Publish => "publish to",
            Self::Remove => "remove an entry of",
        })
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => formatter.write_str("it is not signed"),
            Self::UnknownKeys(keys) => {
                let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
                write!(formatter, "none of the trusted keys signed it, but {} did", keys.join(", "))
            }
            Self::WrongSignature(key) => write!(formatter, "the signature of {key} does not fit"),
        }
    }
}
