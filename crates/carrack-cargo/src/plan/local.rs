//! The packages that are compiled from folders of the user's, and who depends on them.

use std::collections::{BTreeMap, BTreeSet};

use super::LocalPackage;
use super::macros::reading_packages;
use super::metadata::{Metadata, Package};

pub(super) fn local_packages(metadata: &Metadata) -> Vec<LocalPackage> {
    let reading = reading_packages(metadata);
    let below_external = below_external(metadata);
    let local = |package: &&Package| package.source.is_none();
    let asked_by_version: BTreeSet<&str> = metadata
        .packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.path.is_none())
        .map(|dependency| dependency.name.as_str())
        .collect();
    let namesakes =
        |package: &Package| metadata.packages.iter().filter(|other| other.name == package.name).count() > 1;
    let packages = metadata.packages.iter().filter(local).map(|package| LocalPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        folder: package.folder().to_owned(),
        reads_undeclared: reading.contains(package.id.as_str()),
        below_external: below_external.contains(package.id.as_str()),
        version_matters: asked_by_version.contains(package.name.as_str()) || namesakes(package),
    });
    packages.collect()
}

/// The ids of what packages from elsewhere depend on, directly or not.
fn below_external(metadata: &Metadata) -> BTreeSet<&str> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let dependencies: BTreeMap<&str, &[String]> =
        nodes.map(|node| (node.id.as_str(), &node.dependencies[..])).collect();
    let external = metadata.packages.iter().filter(|package| package.source.is_some());
    let mut open: Vec<&str> = external.map(|package| package.id.as_str()).collect();
    let mut below = BTreeSet::new();
    while let Some(id) = open.pop() {
        for dependency in dependencies.get(id).copied().unwrap_or_default() {
            if below.insert(dependency.as_str()) {
                open.push(dependency);
            }
        }
    }
    below
}
