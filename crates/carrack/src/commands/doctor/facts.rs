//! What was found out about this machine, before anyone judges it.
//!
//! Programs' answers are kept as they were given: what they mean is the judgement's business, so that its tests can use
//! recordings of real programs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use carrack_cargo::toolchain::{Toolchain, ToolchainError, ToolchainFile};
use carrack_sandbox::Support;
use carrack_store::StoreError;

use crate::engine::EngineName;

/// How a program answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It ended.
    Said {
        /// Whether with exit code 0.
        success: bool,
        stdout: String,
        stderr: String,
    },
    /// It did not end in time.
    Silent,
    /// It did not start.
    NotStarted(String),
}

impl Answer {
    /// What it wrote to standard output, if it succeeded.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Said { success: true, stdout, .. } => Some(stdout.trim()),
            Self::Said { .. } | Self::Silent | Self::NotStarted(_) => None,
        }
    }

    /// The line that says why it failed.
    pub(crate) fn complaint(&self) -> String {
        match self {
            Self::Said { stderr, stdout, .. } => {
                let lines = stderr.lines().chain(stdout.lines()).map(str::trim);
                let mut lines = lines.filter(|line| !line.is_empty());
                lines.next().unwrap_or("it said nothing").trim_start_matches("error: ").to_owned()
            }
            Self::Silent => "no answer".to_owned(),
            Self::NotStarted(why) => why.clone(),
        }
    }
}

/// Everything. `None` where the file system did not answer in time.
pub(crate) struct Facts {
    /// Whether this is root.
    pub(crate) is_root: bool,
    /// The name of the user, or their number.
    pub(crate) user: String,
    pub(crate) rust: Option<RustFacts>,
    pub(crate) sandbox: Option<SandboxFacts>,
    pub(crate) docker: Option<DockerFacts>,
    pub(crate) state: Option<StateFolder>,
    /// Places whose disks fill up.
    pub(crate) places: Option<Vec<Place>>,
    pub(crate) network: Option<NetworkFacts>,
}

pub(crate) struct RustFacts {
    pub(crate) toolchain: Result<Toolchain, ToolchainError>,
    /// `rustc -vV`.
    pub(crate) rustc: Option<Answer>,
    /// Targets whose standard library is there; `None` if rustc did not say where to look.
    pub(crate) targets: Option<BTreeSet<String>>,
    /// `RUSTUP_TOOLCHAIN` is set.
    pub(crate) chosen_by_variable: bool,
    pub(crate) linker: Linker,
    pub(crate) workspace: Option<WorkspaceFacts>,
}

#[derive(Debug, Default)]
pub(crate) struct Linker {
    /// The first `cc` in `PATH`.
    pub(crate) cc: Option<PathBuf>,
    /// The program that `cc` calls to link is there.
    pub(crate) ld: bool,
    /// The C library's start code is where `cc` looks for it.
    pub(crate) start_code: bool,
    /// A variable or a configuration file of cargo's names another linker.
    pub(crate) configured: bool,
}

pub(crate) struct WorkspaceFacts {
    /// As the user gave it, or as it was found.
    pub(crate) path: PathBuf,
    /// What cargo says; `None` if there is no cargo.
    pub(crate) members: Option<Result<Vec<Member>, Unread>>,
    /// `rust-toolchain` or `rust-toolchain.toml`.
    pub(crate) toolchain_file: Option<(PathBuf, Result<ToolchainFile, ToolchainError>)>,
    /// The engine of Carrack's configuration.
    pub(crate) engine: Option<EngineName>,
    /// The target triple of Carrack's configuration.
    pub(crate) target: Option<String>,
}

/// Who could not read the workspace, in their words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Its place or its manifest can't be read.
    Locate(String),
    /// Carrack's configuration makes no sense.
    Configuration(String),
    /// Cargo refuses.
    Cargo(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) rust_version: Option<String>,
}

pub(crate) struct SandboxFacts {
    /// What an attempt showed; `None` if there was no folder to try it in.
    pub(crate) support: Option<Support>,
    /// `kernel.unprivileged_userns_clone`, where the kernel has it.
    pub(crate) userns_clone: Option<u64>,
    /// `user.max_user_namespaces`.
    pub(crate) max_user_namespaces: Option<u64>,
    /// `kernel.apparmor_restrict_unprivileged_userns`, where the kernel has it.
    pub(crate) apparmor_restricts: Option<u64>,
    /// Whether this is a container.
    pub(crate) in_container: bool,
    /// The user has subordinate ids, and the programs that map them.
    pub(crate) subordinate_ids: bool,
    /// `newuidmap` is installed.
    pub(crate) newuidmap: bool,
}

#[derive(Default)]
pub(crate) struct DockerFacts {
    /// In `PATH`'s order, each program once.
    pub(crate) clients: Vec<Client>,
    /// Where the first client looks for its daemon.
    pub(crate) endpoint: Option<String>,
    /// `DOCKER_HOST`.
    pub(crate) host: Option<String>,
    /// `DOCKER_BUILDKIT`.
    pub(crate) buildkit: Option<String>,
    /// `DOCKER_API_VERSION`.
    pub(crate) api_version: Option<String>,
    /// `COMPOSE_DOCKER_CLI_BUILD`.
    pub(crate) compose_cli_build: Option<String>,
    /// Whether the daemon asks older clients to build with BuildKit (`features.buildkit`); `None` if it can't be asked.
    pub(crate) daemon_asks_for_buildkit: Option<bool>,
    /// `docker-compose version --short`.
    pub(crate) compose: Option<Tool>,
    /// `podman --version`.
    pub(crate) podman: Option<Tool>,
    /// BuildKit's own client.
    pub(crate) buildctl: Option<PathBuf>,
}

pub(crate) struct Tool {
    pub(crate) path: PathBuf,
    pub(crate) answer: Answer,
}

/// A program called `docker`.
pub(crate) struct Client {
    pub(crate) path: PathBuf,
    /// `docker --version`, for which no daemon is asked.
    pub(crate) name: Answer,
    /// `docker info` for which no daemon is asked, as JSON.
    pub(crate) plugins: Answer,
    /// `docker version`, as JSON.
    pub(crate) version: Answer,
    /// `docker info`, as JSON.
    pub(crate) info: Answer,
}

#[derive(Debug)]
pub(crate) enum StateFolder {
    /// There is none yet; the folder above can be written to, or not.
    Absent { path: PathBuf, above: PathBuf, writable: bool },
    /// It is there and opens.
    Open { path: PathBuf },
    /// It is there and does not open.
    Failed(StoreError),
}

/// A folder on some disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: PlaceKind,
    pub(crate) path: PathBuf,
    /// The number of the file system: places with the same one share their space.
    pub(crate) device: u64,
    /// Bytes that this user may still write.
    pub(crate) free: u64,
    /// Files that may still be made; `None` where the file system has no limit.
    pub(crate) inodes: Option<u64>,
    pub(crate) mount: Option<Mount>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceKind {
    State,
    Workspace,
    Target,
    Docker,
}

/// The mount that a path lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// `ext4`, `nfs4`, `fuse.sshfs` …
    pub(crate) file_system: String,
    pub(crate) noexec: bool,
}

#[derive(Debug, Default)]
pub(crate) struct NetworkFacts {
    /// Variables that name certificates, and whether the file or folder is there.
    pub(crate) certificates: Vec<(&'static str, PathBuf, bool)>,
    /// Certificates that somebody added to this machine.
    pub(crate) added: Vec<PathBuf>,
    /// Variables that name a proxy, without its password.
    pub(crate) proxies: Vec<(String, String)>,
    /// Whose machine this is, if it is a CI's.
    pub(crate) ci: Option<&'static str>,
}
