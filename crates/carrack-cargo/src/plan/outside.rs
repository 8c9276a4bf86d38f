//! What cargo reads outside of the workspace's folder, and the folder that holds it all.
//!
//! Cargo reads the manifest of every path dependency and patch, whether or not the target, the features or the lock
//! file let it into the build: a sandbox that lacked one of them would make cargo fail. So this follows what the
//! manifests say, and not only what was resolved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml_edit::{Item, TableLike};

use super::PlanError;
use super::metadata::Metadata;
use crate::cargo_config::{self, TomlFileError};
use crate::locate::{self, LocateError, Location};

/// See [`super::CargoPlan`]'s fields of the same names.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) packages: BTreeSet<PathBuf>,
    pub(super) manifests: BTreeSet<PathBuf>,
    pub(super) vendored: BTreeSet<PathBuf>,
}

impl Outside {
    pub(super) fn find(metadata: &Metadata, location: &Location) -> Result<Self, PlanError> {
        let mut outside = Self::default();
        let local = || metadata.packages.iter().filter(|package| package.source.is_none());
        let mut known: BTreeSet<PathBuf> = local().map(|package| package.folder().to_owned()).collect();
        let mut unknown: Vec<PathBuf> = local()
            .flat_map(|package| &package.dependencies)
            .filter_map(|dependency| dependency.path.clone())
            .collect();
        let root_manifest = read(&location.root.join("Cargo.toml"))?;
        unknown.extend(cargo_config::patches(root_manifest.as_table(), &location.root));
        for config in &location.cargo_configs {
            let named = cargo_config::named_paths(config).map_err(|error| toml_error(config, error))?;
            unknown.extend(named.packages);
            outside.vendored.extend(named.sources);
        }
        while let Some(folder) = unknown.pop() {
            let manifest = folder.join("Cargo.toml");
            // A patch that is gone and not used, or the manifest's own mistake: cargo says so better.
            if !known.insert(folder.clone()) || !manifest.is_file() {
                continue;
            }
            unknown.extend(paths_in_manifest(&folder, read(&manifest)?.as_table()));
            // What it inherits may have paths too; which of them it does inherit is not worth finding out.
            let root = root_of(&manifest, location)?;
            if root != manifest && root.is_file() {
                let root_folder = root.parent().expect("a manifest is in a folder");
                unknown.extend(paths_in_manifest(root_folder, read(&root)?.as_table()));
            }
        }
        for folder in known.into_iter().filter(|folder| !folder.starts_with(&location.root)) {
            let manifest = folder.join("Cargo.toml");
            if manifest.is_file() {
                let root = root_of(&manifest, location)?;
                if root != manifest && root.is_file() && !root.starts_with(&location.root) {
                    outside.manifests.insert(root);
                }
            }
            outside.packages.insert(folder);
        }
        Ok(outside)
    }

    /// The deepest folder that holds the workspace, the git repository that it is in, everything outside of it, and
    /// each folder with a `.cargo` on the way up. What is in CARGO_HOME has a place of its own.
    pub(super) fn source_root(&self, location: &Location) -> PathBuf {
        let configs = location.cargo_configs.iter().filter_map(|config| config.parent()).map(|folder| {
            if folder.file_name().is_some_and(|name| name == ".cargo") {
                folder.parent().unwrap_or(folder)
            } else {
                folder
            }
        });
        let in_cargo_home =
            location.cargo_configs.iter().map(|config| config.starts_with(&location.cargo_home));
        let configs = configs.zip(in_cargo_home).filter(|(_, in_home)| !in_home).map(|(folder, _)| folder);
        let manifests = self.manifests.iter().filter_map(|manifest| manifest.parent());
        let folders = self.packages.iter().chain(&self.vendored).map(PathBuf::as_path);
        // A repository may hold more than the workspace, and its sources may say `../proto`.
        let mut repositories = location.root.ancestors().filter(|folder| folder.join(".git").exists());
        let repository = repositories.next().filter(|folder| !location.cargo_home.starts_with(folder));
        let mut root = location.root.as_path();
        for folder in configs.chain(manifests).chain(folders).chain(repository) {
            if folder.starts_with(&location.cargo_home) {
                continue;
            }
            while !folder.starts_with(root) {
                root = root.parent().expect("every absolute path starts with /");
            }
        }
        root.to_owned()
    }
}

/// The folders of all path dependencies in a manifest, for all kinds and targets.
fn paths_in_manifest(folder: &Path, manifest: &dyn TableLike) -> Vec<PathBuf> {
    const KINDS: [&str; 5] =
        ["dependencies", "dev-dependencies", "build-dependencies", "dev_dependencies", "build_dependencies"];
    let targets = cargo_config::tables(manifest.get("target")).into_iter().map(|(_, target)| target);
    let inherited = manifest.get("workspace").and_then(Item::as_table_like);
    let mut paths = Vec::new();
    for table in std::iter::once(manifest).chain(targets).chain(inherited) {
        for dependencies in KINDS.iter().filter_map(|kind| table.get(kind)?.as_table_like()) {
            paths.extend(cargo_config::paths_of_dependencies(dependencies, folder));
        }
    }
    paths
}

fn read(path: &Path) -> Result<toml_edit::Document<String>, PlanError> {
    cargo_config::read_toml(path).map_err(|error| toml_error(path, error))
}

pub(super) fn toml_error(path: &Path, error: TomlFileError) -> PlanError {
    match error {
        TomlFileError::Unreadable(source) => PlanError::Unreadable { path: path.to_owned(), source },
        TomlFileError::Malformed { span, message } => PlanError::Syntax { span, message },
    }
}

/// The manifest of the workspace that a package belongs to; its own if it stands alone.
fn root_of(manifest: &Path, location: &Location) -> Result<PathBuf, PlanError> {
    locate::root_manifest(manifest, &location.cargo_home, &mut Vec::new()).map_err(|error| match error {
        LocateError::NoManifest { start } => {
            PlanError::Unreadable { path: start, source: std::io::ErrorKind::NotFound.into() }
        }
        LocateError::Unreadable { path, source } => PlanError::Unreadable { path, source },
        LocateError::Syntax { span, message } => PlanError::Syntax { span, message },
    })
}
