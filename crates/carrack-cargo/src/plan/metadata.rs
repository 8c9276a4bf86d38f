//! The parts of `cargo metadata`'s answer that matter here. Source: cargo's book, "cargo metadata", version 1.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
    pub(super) workspace_members: Vec<String>,
    pub(super) workspace_default_members: Vec<String>,
    /// Absent with `--no-deps`.
    pub(super) resolve: Option<Resolve>,
    pub(super) workspace_root: PathBuf,
    pub(super) target_directory: PathBuf,
    /// Where intermediate results go, if cargo can tell it apart from `target_directory`.
    #[serde(default)]
    pub(super) build_directory: Option<PathBuf>,
}

/// What every cargo says, however old.
#[derive(Deserialize)]
pub(super) struct Folders {
    pub(super) workspace_root: PathBuf,
    pub(super) target_directory: PathBuf,
    pub(super) build_directory: Option<PathBuf>,
}

#[derive(Deserialize)]
pub(super) struct Resolve {
    pub(super) nodes: Vec<Node>,
}

#[derive(Deserialize)]
pub(super) struct Node {
    pub(super) id: String,
    /// Ids of packages, for all kinds of dependencies.
    pub(super) dependencies: Vec<String>,
    #[serde(default)]
    pub(super) features: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) rust_version: Option<String>,
    /// `None` for a path package.
    pub(super) source: Option<String>,
    pub(super) manifest_path: PathBuf,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) targets: Vec<Target>,
    pub(super) features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct Dependency {
    /// The package's name, whatever it is called here.
    pub(super) name: String,
    pub(super) path: Option<PathBuf>,
}

#[derive(Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) kind: Vec<String>,
    #[serde(default, rename = "required-features")]
    pub(super) required_features: Vec<String>,
}

impl Metadata {
    /// The members in cargo's order.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        let package = |id: &String| self.packages.iter().find(|package| package.id == *id);
        self.workspace_members.iter().filter_map(package)
    }
}

impl Package {
    pub(super) fn folder(&self) -> &Path {
        self.manifest_path.parent().expect("a manifest is in a folder")
    }

    pub(super) fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    pub(super) fn binaries(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.kind.iter().any(|kind| kind == "bin"))
    }
}
