//! What one cargo invocation builds: services, and everything that cargo reads for them.
//!
//! The caller runs cargo, this module says how and reads the answers: [`members_command`] → [`members`] →
//! [`Configuration::load`] → [`metadata_command`] → [`CargoPlan::from_metadata`] → [`build_command`]. All paths in
//! metadata are the host's, so these commands but the last run outside of the sandbox; the build runs inside, where
//! [`SOURCE`], [`CARGO_HOME`] and [`TARGET`] are the same for every workspace, user and machine.
//!
//! A plan may be kept ([`CargoPlan::to_bytes`]) for as long as none of this changes:
//!
//! | input | why |
//! | --- | --- |
//! | content of every `Cargo.toml` below the source root, and their paths | members are found by globs |
//! | content of [`CargoPlan::outside_manifests`] | what outside packages inherit |
//! | paths of the `.rs` files in the tree, not their content | targets are discovered by looking at files |
//! | `Cargo.lock`, or that there is none | versions |
//! | [`Configuration::files`] and [`Configuration::absent`] | services |
//! | [`Location::cargo_configs`], [`Location::absent`] | patches, vendored sources, registries |
//! | the [`Request`], the [`Selection`] and [`Location::nearest_manifest`] | what was asked for |
//! | [`Location::cargo_home`] | where packages from elsewhere lie |
//! | variables of class [`Keyed`](crate::environment::Class::Keyed) | `CARGO_*` is configuration |
//! | cargo's own identity (version and commit) | its rules |
//!
//! Does not run cargo, does not resolve dependencies (cargo did), and does not look at sources. Fails with
//! [`PlanError`].

mod command;
mod local;
mod macros;
mod metadata;
mod outside;
mod select;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use carrack_base::Span;
use toml_edit::Item;

use crate::config::Configuration;
use crate::locate::Location;
use crate::missing;
use crate::units::FetchedPackage;
use metadata::{Folders, Metadata};
use outside::Outside;

pub(crate) use command::docker_commands;
pub use command::{Request, build_command, members_command, metadata_command, profile_folder};
pub use wire::{CargoPlan, ExternalPackage, KeptPlanError, LocalPackage, Member, Service, SkippedBinary};

/// Where [`CargoPlan::source_root`] is inside of the sandbox.
pub const SOURCE: &str = "/carrack/src";
/// Where [`CargoPlan::cargo_home`] is inside of the sandbox.
pub const CARGO_HOME: &str = "/carrack/cargo";
/// Where cargo's target folder is inside of the sandbox.
pub const TARGET: &str = "/carrack/target";

/// Which services are asked for. With nothing in it: those of the member that the search for the workspace began in;
/// else those of members that have a `carrack` table; else those of the default members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Members, as cargo's `-p` takes them: `name`, `name@version`, or a pattern with `*`, `?`, `[…]`.
    pub packages: Vec<String>,
    /// Binary targets, or patterns. Without packages, those of any member.
    pub binaries: Vec<String>,
    /// Whether all members are meant.
    pub workspace: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Cargo's answer is not what `cargo metadata` writes.
    #[error("read the answer of cargo metadata")]
    Metadata(#[source] serde_json::Error),
    /// A manifest, the lock file or a configuration file can't be read.
    #[error("read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A manifest, the lock file or a configuration file is not TOML.
    #[error("parse {path}: {message}", path = span.source.path.display())]
    Syntax {
        /// Where.
        span: Span,
        /// What the parser says.
        message: String,
    },
    /// No member has this name.
    #[error("select package `{name}` of the workspace")]
    UnknownPackage {
        /// As it was asked for.
        name: String,
        /// The member that was probably meant.
        nearest: Option<String>,
        /// All members.
        known: Vec<String>,
    },
    /// No selected member has a binary of this name.
    #[error("select binary `{name}`")]
    UnknownBinary {
        /// As it was asked for.
        name: String,
        /// The binary that was probably meant.
        nearest: Option<String>,
        /// All binaries of the members in question.
        known: Vec<String>,
    },
    /// A binary that was asked for by name requires features that are off.
    #[error("select binary `{binary}` of {package}, whose features {missing:?} are off", missing = .missing_features)]
    MissingFeatures {
        /// Its package.
        package: String,
        /// The binary.
        binary: String,
        /// What it requires and lacks.
        missing_features: Vec<String>,
    },
    /// The selected members have no binary that could be built.
    #[error("find a binary target in {packages:?}")]
    NoBinaries {
        /// The members in question.
        packages: Vec<String>,
        /// Binaries that there are, and whose features are off.
        skipped: Vec<SkippedBinary>,
    },
    /// Two services would have the same image.
    #[error("name the image `{image}` of two services")]
    DuplicateImage {
        /// The image's name with its registry.
        image: String,
        /// `package/binary` of each.
        services: Vec<String>,
    },
    /// One invocation would write two packages' binaries to the same file.
    #[error("build binary `{binary}` of two packages at once")]
    DuplicateBinary {
        /// The binary.
        binary: String,
        /// The packages that have it.
        packages: Vec<String>,
    },
    /// A name that was made from a binary's or a version can't be an image's or a tag.
    #[error("name the image of `{binary}`: `{name}` can't be used")]
    UnusableName {
        /// The binary.
        binary: String,
        /// What it would be called.
        name: String,
    },
}

/// Names and manifests of a workspace's members, from the answer to [`members_command`]; for [`Configuration::load`].
///
/// Errors: [`PlanError::Metadata`].
pub fn members(metadata: &[u8]) -> Result<Vec<(String, PathBuf)>, PlanError> {
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(PlanError::Metadata)?;
    Ok(metadata.members().map(|package| (package.name.clone(), package.manifest_path.clone())).collect())
}

/// What an ordinary run of cargo works with, wherever it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The workspace's folder.
    pub root: PathBuf,
    /// Where cargo puts intermediate results.
    pub build_folder: PathBuf,
    /// Every package that comes from elsewhere.
    pub fetched: Vec<FetchedPackage>,
    /// Names of the packages that are compiled from folders of the user's.
    pub own: BTreeSet<String>,
    /// Their manifests, and the workspace's.
    pub manifests: BTreeSet<PathBuf>,
}

/// Reads the answer to `cargo metadata --format-version 1`.
///
/// Reads the lock file. Errors: [`PlanError::Metadata`], and those of reading that file.
pub fn surroundings(metadata: &[u8]) -> Result<Surroundings, PlanError> {
    let metadata: Metadata = serde_json::from_slice(metadata).map_err(PlanError::Metadata)?;
    let lock = LockFile::read(&metadata.workspace_root.join("Cargo.lock"))?;
    let fetched = metadata.packages.iter().filter_map(|package| {
        let source = package.source.clone()?;
        Some(FetchedPackage {
            name: package.name.clone(),
            version: package.version.clone(),
            checksum: lock.checksum(&package.name, &package.version, &source),
            source,
            folder: package.folder().to_owned(),
        })
    });
    let own = || metadata.packages.iter().filter(|package| package.source.is_none());
    let root_manifest = metadata.workspace_root.join("Cargo.toml");
    Ok(Surroundings {
        own: own().map(|package| package.name.clone()).collect(),
        manifests: own().map(|package| package.manifest_path.clone()).chain([root_manifest]).collect(),
        fetched: fetched.collect(),
        build_folder: metadata.build_directory.unwrap_or(metadata.target_directory),
        root: metadata.workspace_root,
    })
}

/// The workspace's folder, and where cargo puts intermediate results: from the answer to `cargo metadata --no-deps`.
///
/// Errors: [`PlanError::Metadata`].
pub(crate) fn folders(metadata: &[u8]) -> Result<(PathBuf, PathBuf), PlanError> {
    let folders: Folders = serde_json::from_slice(metadata).map_err(PlanError::Metadata)?;
    Ok((folders.workspace_root, folders.build_directory.unwrap_or(folders.target_directory)))
}

impl CargoPlan {
    /// Makes the plan from the answer to [`metadata_command`], for the same `location`, `configuration` and `request`.
    ///
    /// Reads the lock file, manifests outside of the workspace and cargo's configuration. Errors: [`PlanError`].
    pub fn from_metadata(
        metadata: &[u8],
        location: &Location,
        configuration: &Configuration,
        request: &Request,
        selection: &Selection,
    ) -> Result<Self, PlanError> {
        let metadata: Metadata = serde_json::from_slice(metadata).map_err(PlanError::Metadata)?;
        let selected = select::select(&metadata, location, configuration, request, selection)?;
        let outside = Outside::find(&metadata, location)?;
        let lock = LockFile::read(&location.root.join("Cargo.lock"))?;

        let mut external_packages: Vec<ExternalPackage> = metadata
            .packages
            .iter()
            .filter_map(|package| {
                let source = package.source.clone()?;
                let checksum = lock.checksum(&package.name, &package.version, &source);
                let (name, version) = (package.name.clone(), package.version.clone());
                let folder = package.folder().to_owned();
                Some(ExternalPackage { name, version, source, checksum, folder })
            })
            .collect();
        external_packages.sort();
        let member = |package: &metadata::Package| Member {
            name: package.name.clone(),
            version: package.version.clone(),
            folder: package.folder().to_owned(),
        };
        Ok(Self {
            root: location.root.clone(),
            source_root: outside.source_root(location),
            cargo_home: location.cargo_home.clone(),
            has_lock_file: location.lock_file.is_some(),
            locked_packages: lock.entries.unwrap_or(metadata.packages.len()),
            members: metadata.members().map(member).collect(),
            local_packages: local::local_packages(&metadata),
            outside_packages: outside.packages.into_iter().collect(),
            outside_manifests: outside.manifests.into_iter().collect(),
            vendored: outside.vendored.into_iter().collect(),
            external_packages,
            system_packages: system_packages(&metadata),
            rust_version: rust_version(&metadata),
            services: selected.services,
            skipped: selected.skipped,
            features: selected.features,
            workspace: configuration.workspace.clone(),
        })
    }

    /// Where a path of the host is inside of the sandbox; `None` if it is not there.
    pub fn in_sandbox(&self, host: &Path) -> Option<PathBuf> {
        self.mounts()
            .into_iter()
            .find_map(|(from, to)| Some(join(Path::new(to), host.strip_prefix(from).ok()?)))
    }

    /// Where a path of the sandbox is on the host; `None` for what is only inside, as the target folder is.
    pub fn on_host(&self, sandbox: &Path) -> Option<PathBuf> {
        self.mounts().into_iter().find_map(|(from, to)| Some(join(from, sandbox.strip_prefix(to).ok()?)))
    }

    /// What is mounted where, the deeper folder first: one may hold the other.
    fn mounts(&self) -> [(&Path, &'static str); 2] {
        let source = (self.source_root.as_path(), SOURCE);
        let cargo_home = (self.cargo_home.as_path(), CARGO_HOME);
        if self.source_root.starts_with(&self.cargo_home) {
            [source, cargo_home]
        } else {
            [cargo_home, source]
        }
    }

    /// How `--package` names a member: with its version if another package has the same name.
    fn package_argument(&self, name: &str) -> String {
        let namesake = self.external_packages.iter().any(|package| package.name == name);
        match self.members.iter().find(|member| member.name == name) {
            Some(member) if namesake => format!("{name}@{}", member.version),
            _ => name.to_owned(),
        }
    }
}

/// What the packages from elsewhere need to compile. Packages that are in the lock file for another target are not built.
fn system_packages(metadata: &Metadata) -> Vec<String> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let features: BTreeMap<&str, &[String]> =
        nodes.map(|node| (node.id.as_str(), &node.features[..])).collect();
    let crates = metadata.packages.iter().filter_map(|package| {
        let features = features.get(package.id.as_str())?;
        Some((package.name.as_str(), *features))
    });
    missing::needed_to_compile(crates).into_iter().map(str::to_owned).collect()
}

/// The newest `rust-version` of the members.
fn rust_version(metadata: &Metadata) -> Option<String> {
    let numbers = |version: &&String| -> Vec<u32> {
        version.split('.').map(|number| number.parse().unwrap_or(0)).collect()
    };
    metadata.members().filter_map(|member| member.rust_version.as_ref()).max_by_key(numbers).cloned()
}

/// `folder/rest` without a trailing slash where `rest` is empty.
fn join(folder: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { folder.to_owned() } else { folder.join(rest) }
}

/// What the lock file says about packages.
#[derive(Default)]
pub(crate) struct LockFile {
    /// How many packages it holds; `None` if there is no file.
    entries: Option<usize>,
    /// Those that come from elsewhere. Where they are, no lock file says.
    pub(crate) fetched: Vec<FetchedPackage>,
}

impl LockFile {
    pub(crate) fn read(path: &Path) -> Result<Self, PlanError> {
        if !path.is_file() {
            return Ok(Self::default());
        }
        let document =
            crate::cargo_config::read_toml(path).map_err(|error| outside::toml_error(path, error))?;
        let packages = document.get("package").and_then(Item::as_array_of_tables);
        let fetched = packages.into_iter().flatten().filter_map(|package| {
            let text = |key: &str| package.get(key).and_then(Item::as_str).map(str::to_owned);
            let (name, version, source) = (text("name")?, text("version")?, text("source")?);
            Some(FetchedPackage { name, version, source, checksum: text("checksum"), folder: PathBuf::new() })
        });
        let fetched = fetched.collect();
        Ok(Self { entries: Some(packages.map_or(0, |packages| packages.len())), fetched })
    }

    fn checksum(&self, name: &str, version: &str, source: &str) -> Option<String> {
        let is_it = |package: &&FetchedPackage| {
            (&*package.name, &*package.version, &*package.source) == (name, version, source)
        };
        self.fetched.iter().find(is_it)?.checksum.clone()
    }
}
