//! The plan as it is kept on disk. Its shape is frozen: whoever changes it, or the configuration's, raises [`FORMAT`].

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{ServiceConfig, WorkspaceConfig};

/// Stands in every kept plan; a plan of another format is not read.
const FORMAT: u32 = 4;

/// What one cargo invocation builds, from what, into which images. All paths are the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CargoPlan {
    /// The workspace's folder.
    pub root: PathBuf,
    /// The deepest folder that holds everything local that cargo reads. Mounted at [`super::SOURCE`].
    pub source_root: PathBuf,
    /// The caller's CARGO_HOME. Mounted at [`super::CARGO_HOME`].
    pub cargo_home: PathBuf,
    /// Whether there was a lock file.
    pub has_lock_file: bool,
    /// Entries of the lock file; without one, packages that cargo resolved.
    pub locked_packages: usize,
    /// The workspace's members, in cargo's order.
    pub members: Vec<Member>,
    /// Every package that is compiled from a folder of the user's, members and others.
    pub local_packages: Vec<LocalPackage>,
    /// Folders of path packages outside of the workspace's folder that cargo reads: dependencies, their
    /// dependencies, patches and overrides, whether they end up in a binary or not. Sorted.
    pub outside_packages: Vec<PathBuf>,
    /// Manifests of other workspaces that outside packages belong to and may inherit from. Sorted.
    pub outside_manifests: Vec<PathBuf>,
    /// Folders that replace registries: vendored sources, local registries. Sorted.
    pub vendored: Vec<PathBuf>,
    /// Packages that come from registries and git, for this target. Sorted by name and version.
    pub external_packages: Vec<ExternalPackage>,
    /// Debian packages that these need to compile, as far as their names and features tell.
    pub system_packages: Vec<String>,
    /// The newest `rust-version` of any member.
    pub rust_version: Option<String>,
    /// What becomes an image, in the order of members and their targets. Never empty.
    pub services: Vec<Service>,
    /// Binaries that were left out because features that they require are off.
    pub skipped: Vec<SkippedBinary>,
    /// Arguments of `--features` that follow from the configuration and the services.
    pub features: Vec<String>,
    /// What the configuration says about the cargo invocation.
    pub workspace: WorkspaceConfig,
}

/// A package of the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
}

/// A package that is compiled from a folder of the user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
    /// Whether it uses a procedural macro that may read files without declaring them.
    pub reads_undeclared: bool,
    /// Whether a package from elsewhere depends on it, so that it has to be there, code and all, before that compiles.
    pub below_external: bool,
    /// Whether someone asks for it by version instead of by path, so that its version matters.
    pub version_matters: bool,
}

/// A package from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExternalPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Cargo's name of where it is from (`registry+https://…`, `git+https://…#<commit>`).
    pub source: String,
    /// SHA-256 of its archive in hexadecimal, if the lock file has one.
    pub checksum: Option<String>,
    /// The folder of its manifest, where cargo found or unpacked it when it was asked.
    pub folder: PathBuf,
}

/// A binary that becomes an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its package.
    pub package: String,
    /// The package's version.
    pub version: String,
    /// The binary target.
    pub binary: String,
    /// The image's name with its registry, without a tag. Unique within the plan.
    pub image: String,
    /// The image's tags, at least one.
    pub tags: Vec<String>,
    /// The rest of its configuration.
    pub config: ServiceConfig,
}

/// A binary that is not built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedBinary {
    /// Its package.
    pub package: String,
    /// The binary target.
    pub binary: String,
    /// The features that it requires and that are off.
    pub missing_features: Vec<String>,
}

/// A kept plan can't be used; making a new one helps.
#[derive(Debug, thiserror::Error)]
pub enum KeptPlanError {
    /// It has another format than this program's.
    #[error("read a kept plan of format {found}")]
    Format {
        /// The plan's format.
        found: u32,
    },
    /// It can't be written or read.
    #[error("write or read a kept plan")]
    Malformed(#[source] serde_json::Error),
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    plan: &'a CargoPlan,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Deserialize)]
struct Read {
    plan: CargoPlan,
}

impl CargoPlan {
    /// The plan as bytes, to be kept. Errors: [`KeptPlanError::Malformed`] if a path is not UTF-8.
    pub fn to_bytes(&self) -> Result<Vec<u8>, KeptPlanError> {
        serde_json::to_vec(&Written { format: FORMAT, plan: self }).map_err(KeptPlanError::Malformed)
    }

    /// Reads what [`CargoPlan::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeptPlanError> {
        let Format { format } = serde_json::from_slice(bytes).map_err(KeptPlanError::Malformed)?;
        if format != FORMAT {
            return Err(KeptPlanError::Format { found: format });
        }
        let read: Read = serde_json::from_slice(bytes).map_err(KeptPlanError::Malformed)?;
        Ok(read.plan)
    }
}
