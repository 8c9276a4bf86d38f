use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a process could not be started or followed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The caller's part of the preparation failed.
    #[error("prepare {path} for the sandbox")]
    Prepare {
        /// A path in the scratch folder, or one that had to be read.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// An argument, variable or path holds a NUL byte, or there is no program at all.
    #[error("pass {text:?} to a program")]
    Unrepresentable {
        /// The text, lossily.
        text: String,
    },
    /// There is no such limit.
    #[error("limit `{name}`")]
    UnknownLimit {
        /// Its name as it was given.
        name: String,
    },
    /// The helper process did not start.
    #[error("start {program} as the sandbox's helper")]
    Launch {
        /// The program that was to be started again.
        program: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Speaking with the helper process failed.
    #[error("{attempt} the sandbox's helper")]
    Channel {
        /// What was attempted.
        attempt: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The helper process ended before it could start the command or say why not.
    #[error("the sandbox's helper ended early ({status})")]
    Died {
        /// How it ended.
        status: ExitStatus,
    },
    /// The kernel, a security module or a container's filter forbids new namespaces.
    #[error("create the sandbox's namespaces")]
    Namespaces {
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The ids of the inside could not be set.
    #[error("map user and group ids ({attempt})")]
    IdMap {
        /// The file written, or the program run and what it said.
        attempt: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A part of the root file system could not be put in place.
    #[error("{call} {path}")]
    Mount {
        /// The system call or file operation, as a verb.
        call: String,
        /// Path on the host for what is opened, inside the root for what is put in place.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// Another step of the isolation failed.
    #[error("{call} for the sandboxed process")]
    Isolate {
        /// The system call, as a verb.
        call: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The command could not become the user; `EINVAL` means that the id map lacks an id.
    #[error("become user {uid}, group {gid}")]
    User {
        /// Uid inside.
        uid: u32,
        /// Gid inside.
        gid: u32,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The working directory is missing or closed to the user.
    #[error("enter the working directory {path}")]
    WorkingDirectory {
        /// Path inside the root.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is no such program in the root, or in its `PATH`.
    #[error("find the program {program}")]
    ProgramNotFound {
        /// The first argument.
        program: PathBuf,
    },
    /// The program is there and does not start: not executable, another architecture, or (`ENOENT`) its interpreter or
    /// loader is missing.
    #[error("execute {program}")]
    Execute {
        /// Path inside the root.
        program: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}
