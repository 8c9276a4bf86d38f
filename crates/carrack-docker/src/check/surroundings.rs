use std::collections::BTreeSet;

use crate::dockerignore::Dockerignore;

/// What lies around a Dockerfile, as far as someone looked. All paths are relative to the context, with slashes and
/// without `./`; the context itself is empty.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The workspace that is built.
    pub workspace: Option<Workspace>,
    /// What is left out of the context; `None` if nothing says so.
    pub ignore: Option<Dockerignore>,
    /// Files of the CI that build images with Docker and carry no cache mounts from one run to the next.
    pub ci: Vec<String>,
}

/// A Cargo workspace, or a package that stands alone.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    /// The folder of its manifest.
    pub folder: String,
    /// Its packages.
    pub members: Vec<Member>,
    /// Folders of packages that its manifests name by path and that are no members: patches, and path dependencies.
    pub outside: BTreeSet<String>,
    /// Every folder that has a `Cargo.toml`.
    pub manifests: BTreeSet<String>,
    /// Names of the locked packages; `None` if there is no lock file.
    pub locked: Option<BTreeSet<String>>,
    /// The channel in `rust-toolchain.toml`.
    pub toolchain: Option<String>,
    /// The newest `rust-version` of its packages.
    pub rust_version: Option<String>,
    /// `build.target` in `.cargo/config.toml`.
    pub target: Option<String>,
    /// `build.target-dir` there.
    pub target_folder: Option<String>,
    /// Whether flags there link the C library in.
    pub links_statically: bool,
}

/// A package of a workspace.
#[derive(Debug, Clone, Default)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// Whether the workspace names it and not a pattern that it fits: then cargo insists on it.
    pub listed: bool,
    /// Names of its binaries.
    pub binaries: Vec<String>,
}
