//! Finds the workspace that a path belongs to, and the files outside of it that cargo and rustup read, without
//! asking either.
//!
//! The rules are cargo's own (`cargo::core::find_workspace_root`): the nearest manifest upward; its `[workspace]`,
//! its `package.workspace`, or the nearest manifest above it that is a workspace and does not exclude it. Whether the
//! workspace in turn accepts the package as its member is for cargo to say: `cargo metadata` complains.
//!
//! Does not expand `members`, does not read cargo's configuration, only finds it. Fails if there is no manifest, or
//! if one on the way can't be read or parsed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use carrack_base::{Span, normalised};
use toml_edit::Item;

use crate::cargo_config::{self, TomlFileError};

/// A workspace on disk, and what around it changes how it is built. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The folder of the workspace's manifest.
    pub root: PathBuf,
    /// The manifest that is nearest to where the search began: the workspace's own, or a member's.
    pub nearest_manifest: PathBuf,
    /// `Cargo.lock`, if the workspace has one.
    pub lock_file: Option<PathBuf>,
    /// The caller's CARGO_HOME, with symbolic links resolved where it exists.
    pub cargo_home: PathBuf,
    /// Cargo's configuration files, the most specific first, CARGO_HOME's last, each followed by what it includes.
    pub cargo_configs: Vec<PathBuf>,
    /// The nearest `rust-toolchain` or `rust-toolchain.toml` upward of the workspace's root.
    pub toolchain_file: Option<PathBuf>,
    /// Files that were looked for in vain. If one appears, the location or the build may be another.
    pub absent: Vec<PathBuf>,
}

/// What cargo's configuration says about the environment of what is compiled, and about linkers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// Variables, each with all that the files say about it.
    pub variables: BTreeMap<String, String>,
    /// The names of linkers; what they are, nobody looks at.
    pub linkers: Vec<String>,
    /// Whether they say how many jobs cargo runs.
    pub has_jobs: bool,
}

impl Configured {
    /// What these configuration files say. One that can't be read says nothing: cargo will complain.
    pub fn by(configs: &[PathBuf]) -> Self {
        let mut variables: BTreeMap<String, String> = BTreeMap::new();
        for (name, text) in configs.iter().flat_map(|config| cargo_config::variables(config)) {
            variables.entry(name).or_default().push_str(&format!("{text}\0"));
        }
        Self {
            variables,
            linkers: configs.iter().flat_map(|config| cargo_config::linkers(config)).collect(),
            has_jobs: configs.iter().any(|config| cargo_config::has_jobs(config)),
        }
    }
}

/// Why no workspace was found.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// No folder from `start` upward holds a `Cargo.toml`.
    #[error("find Cargo.toml in {start} or a folder above it")]
    NoManifest {
        /// Where the search began.
        start: PathBuf,
    },
    /// A file or folder can't be read.
    #[error("read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A manifest or a configuration file of cargo's is not TOML.
    #[error("parse {path}: {message}", path = span.source.path.display())]
    Syntax {
        /// Where.
        span: Span,
        /// What the parser says.
        message: String,
    },
}

/// Finds the workspace of `start`, a folder or a `Cargo.toml`. `cargo_home` is the caller's CARGO_HOME.
///
/// Symbolic links in `start` are resolved, so that a workspace has one path. Errors: as [`LocateError`].
pub fn locate(start: &Path, cargo_home: &Path) -> Result<Location, LocateError> {
    let unreadable = |source| LocateError::Unreadable { path: start.to_owned(), source };
    let start = start.canonicalize().map_err(unreadable)?;
    let cargo_home = cargo_home.canonicalize().unwrap_or_else(|_| cargo_home.to_owned());
    let mut absent = Vec::new();

    let nearest_manifest = if start.is_file() {
        start
    } else {
        let mut candidates = start.ancestors().map(|folder| folder.join("Cargo.toml"));
        let found = candidates.find(|manifest| is_there(manifest, &mut absent));
        found.ok_or_else(|| LocateError::NoManifest { start: start.clone() })?
    };
    let root_manifest = root_manifest(&nearest_manifest, &cargo_home, &mut absent)?;
    let root = folder_of(&root_manifest).to_owned();

    let lock_file = Some(root.join("Cargo.lock")).filter(|path| is_there(path, &mut absent));
    let cargo_configs = configs(&root, &cargo_home, &mut absent)?;
    let toolchain_file = root
        .ancestors()
        .flat_map(|folder| [folder.join("rust-toolchain"), folder.join("rust-toolchain.toml")])
        .find(|path| is_there(path, &mut absent));
    absent.sort();
    absent.dedup();
    Ok(Location { root, nearest_manifest, lock_file, cargo_home, cargo_configs, toolchain_file, absent })
}

/// Cargo's configuration files for a run in `folder`, the most specific first, each followed by what it includes.
///
/// Errors: one of them can't be read, or is not TOML.
pub fn cargo_configs(folder: &Path, cargo_home: &Path) -> Result<Vec<PathBuf>, LocateError> {
    configs(folder, cargo_home, &mut Vec::new())
}

fn configs(folder: &Path, cargo_home: &Path, absent: &mut Vec<PathBuf>) -> Result<Vec<PathBuf>, LocateError> {
    let mut found = Vec::new();
    let homes = folder.ancestors().map(|folder| folder.join(".cargo")).chain([cargo_home.to_owned()]);
    for folder in homes {
        // Cargo reads the name without an extension first and then ignores the other.
        let names = [folder.join("config"), folder.join("config.toml")];
        if let Some(config) = names.into_iter().find(|path| is_there(path, absent)) {
            add_config(config, &mut found)?;
        }
    }
    Ok(found)
}

/// What the alias `name` of cargo's stands for, as the first of these configuration files that has it says.
pub fn cargo_alias(name: &str, configs: &[PathBuf]) -> Option<Vec<String>> {
    configs.iter().find_map(|config| cargo_config::alias(name, config))
}

/// What a manifest says about its workspace.
enum Role {
    Root { exclude: Vec<PathBuf>, members: Vec<PathBuf> },
    PointsAt(PathBuf),
    Nothing,
}

pub(crate) fn root_manifest(
    nearest: &Path,
    cargo_home: &Path,
    absent: &mut Vec<PathBuf>,
) -> Result<PathBuf, LocateError> {
    let mut folder = Some(folder_of(nearest));
    while let Some(current) = folder {
        let manifest = current.join("Cargo.toml");
        if manifest == nearest || is_there(&manifest, absent) {
            match role(&manifest)? {
                Role::Root { exclude, members } => {
                    let named = |paths: &[PathBuf]| paths.iter().any(|path| nearest.starts_with(path));
                    if manifest == nearest || named(&members) || !named(&exclude) {
                        return Ok(manifest);
                    }
                }
                Role::PointsAt(root) => return Ok(root.join("Cargo.toml")),
                Role::Nothing => {}
            }
        }
        // A package below CARGO_HOME or in `cargo package`'s folder has nothing to do with what lies above.
        if current == cargo_home || current.ends_with("target/package") {
            break;
        }
        folder = current.parent();
    }
    Ok(nearest.to_owned())
}

/// Adds a configuration file and, behind it, what it includes.
fn add_config(config: PathBuf, configs: &mut Vec<PathBuf>) -> Result<(), LocateError> {
    if configs.contains(&config) {
        return Ok(());
    }
    let named = cargo_config::named_paths(&config).map_err(|error| match error {
        TomlFileError::Unreadable(source) => LocateError::Unreadable { path: config.clone(), source },
        TomlFileError::Malformed { span, message } => LocateError::Syntax { span, message },
    })?;
    configs.push(config);
    named.includes.into_iter().try_for_each(|included| add_config(included, configs))
}

fn role(manifest: &Path) -> Result<Role, LocateError> {
    let document = cargo_config::read_toml(manifest).map_err(|error| match error {
        TomlFileError::Unreadable(source) => LocateError::Unreadable { path: manifest.to_owned(), source },
        TomlFileError::Malformed { span, message } => LocateError::Syntax { span, message },
    })?;
    let folder = folder_of(manifest);
    let paths = |item: Option<&Item>| -> Vec<PathBuf> {
        let array = item.and_then(Item::as_array);
        let texts = array.into_iter().flatten().filter_map(toml_edit::Value::as_str);
        texts.map(|text| normalised(&folder.join(text))).collect()
    };
    if let Some(workspace) = document.get("workspace") {
        return Ok(Role::Root {
            exclude: paths(workspace.get("exclude")),
            members: paths(workspace.get("members")),
        });
    }
    let pointer = document.get("package").and_then(|package| package.get("workspace")).and_then(Item::as_str);
    Ok(pointer.map_or(Role::Nothing, |pointer| Role::PointsAt(normalised(&folder.join(pointer)))))
}

fn is_there(path: &Path, absent: &mut Vec<PathBuf>) -> bool {
    let there = path.is_file();
    if !there {
        absent.push(path.to_owned());
    }
    there
}

fn folder_of(manifest: &Path) -> &Path {
    manifest.parent().expect("a manifest is in a folder")
}
