use std::io;
use std::path::PathBuf;

use carrack_base::Span;

/// A program that was looked at and can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The program.
    pub program: PathBuf,
    /// Why not.
    pub why: Why,
}

/// Why a client can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is no docker client, or does not say its version; this is what it says.
    NotDocker(String),
    /// Its version needs the plugin buildx for BuildKit, and it has none.
    NoBuildx {
        /// The client's version.
        version: String,
    },
    /// It has no buildx, which alone knows builders by name.
    NoBuilders {
        /// The client's version.
        version: String,
    },
    /// It is too old to have BuildKit at all.
    TooOld {
        /// The client's version.
        version: String,
    },
}

/// Why a build, or a clearing of the cache, did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BuildKitError {
    /// No client on this machine can drive a BuildKit.
    #[error("find a client of BuildKit")]
    NoClient {
        /// What was looked at.
        tried: Vec<Tried>,
    },
    /// An address needs `buildctl`, which is not there.
    #[error("find buildctl for {address}")]
    NoBuildctl {
        /// The address.
        address: String,
    },
    /// The client that was found can't do what is asked for. Nothing was started.
    #[error("{client} cannot do {what}")]
    Unsupported {
        /// The client and its version.
        client: String,
        /// What is asked for, as an option's name.
        what: String,
        /// What the client says about it, if it was asked.
        said: Option<String>,
    },
    /// A file or folder that the build names is not there. Nothing was started.
    #[error("find {what} {path} of {build}", path = path.display())]
    NotThere {
        /// The build.
        build: String,
        /// `context`, `Dockerfile`, `secret`.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// The client can't be started.
    #[error("run {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something of the private folder can't be written or read.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The engine does not answer.
    #[error("reach the engine through {client}: {said}")]
    Unreachable {
        /// The client and its version.
        client: String,
        /// What it says.
        said: String,
    },
    /// The engine, or a registry that it asked, refused.
    #[error("build {build}: {said}")]
    Refused {
        /// The build.
        build: String,
        /// At what, in BuildKit's words, if it says so.
        step: Option<String>,
        /// What was said.
        said: String,
        /// The instruction, if it is known.
        place: Option<Span>,
    },
    /// The Dockerfile makes no sense.
    #[error("read the Dockerfile of {build}: {said}")]
    Dockerfile {
        /// The build.
        build: String,
        /// What is wrong.
        said: String,
        /// Where, if it is known.
        place: Option<Span>,
    },
    /// An instruction failed: the user's build did.
    #[error("run `{step}` of {build}: {said}")]
    StepFailed {
        /// The build.
        build: String,
        /// The step in BuildKit's words (`[builder 3/7] RUN cargo build`).
        step: String,
        /// Its exit code, if it ran a program.
        exit: Option<i32>,
        /// What BuildKit says.
        said: String,
        /// The instruction, if it is known.
        place: Option<Span>,
    },
    /// The client did what it should and left no trace of the image.
    #[error("learn the image of {build} from {client}")]
    NoImage {
        /// The build.
        build: String,
        /// The client and its version.
        client: String,
    },
    /// Somebody asked for the stop.
    #[error("stopped by signal {signal}")]
    Cancelled {
        /// The signal.
        signal: i32,
    },
}
