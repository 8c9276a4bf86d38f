use std::io;

use carrack_base::Digest;

use crate::transport::TransportError;

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There was no usable answer.
    #[error("cannot {attempt} {repository} at {host}")]
    Transport {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// What happened.
        #[source]
        source: TransportError,
    },
    /// The registry wants to know who we are, or does not believe it.
    #[error("{host} wants other credentials to {attempt} {repository}")]
    Unauthorized {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// Whether there were credentials for the registry.
        had_credentials: bool,
    },
    /// The registry knows who we are and says no.
    #[error("{host} does not allow to {attempt} {repository}")]
    Denied {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// What the registry said.
        said: String,
    },
    /// Any other answer that means no.
    #[error("{host} answered {status} to the attempt to {attempt} {repository}")]
    Status {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// The status code.
        status: u16,
        /// What the registry said.
        said: String,
    },
    /// An answer that does not follow the protocol.
    #[error("{host} gave an answer that cannot be used to the attempt to {attempt} {repository}: {problem}")]
    Malformed {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A manifest that is not the one that was asked for.
    #[error("{host} gave a manifest for {wanted} of {repository} whose digest is {found}")]
    WrongManifest {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// What was asked for, or what the registry itself said that it gave.
        wanted: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A document that is larger than documents of its kind are.
    #[error("{host} gave more than {limit} bytes to the attempt to {attempt} {repository}")]
    TooLarge {
        /// The registry.
        host: String,
        /// The repository.
        repository: String,
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// Bytes that are allowed.
        limit: u64,
    },
}

impl From<RegistryError> for io::Error {
    /// For reading traits; the kind is that of a lost connection where it was one.
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Transport { source, .. } => source.into(),
            error => Self::other(error),
        }
    }
}
