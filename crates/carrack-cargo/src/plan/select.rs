//! Decides which binaries become services, and by which features.

use super::command::{qualified, split};
use super::metadata::{Metadata, Package, Target};
use super::{
    BTreeMap, BTreeSet, Configuration, Location, PlanError, Request, Selection, Service, SkippedBinary,
};
use crate::config::PackageConfig;
use crate::pattern;

/// See [`super::CargoPlan`]'s fields of the same names.
pub(super) struct Selected {
    pub(super) services: Vec<Service>,
    pub(super) skipped: Vec<SkippedBinary>,
    pub(super) features: Vec<String>,
}

pub(super) fn select(
    metadata: &Metadata,
    location: &Location,
    configuration: &Configuration,
    request: &Request,
    selection: &Selection,
) -> Result<Selected, PlanError> {
    let packages = packages(metadata, location, configuration, selection)?;
    let candidates: Vec<(&Package, &Target)> = packages
        .iter()
        .flat_map(|package| package.binaries().map(move |binary| (*package, binary)))
        .collect();
    for wanted in &selection.binaries {
        if !candidates.iter().any(|(_, binary)| pattern::matches(wanted, &binary.name)) {
            let known: Vec<String> = candidates.iter().map(|(_, binary)| binary.name.clone()).collect();
            return Err(PlanError::UnknownBinary {
                name: wanted.clone(),
                nearest: nearest(wanted, &known),
                known,
            });
        }
    }

    let mut built: Vec<(&Package, &Target)> = Vec::new();
    let mut skipped = Vec::new();
    for (package, binary) in candidates {
        let wanted = |name: &String| pattern::matches(name, &binary.name);
        if !selection.binaries.is_empty() && !selection.binaries.iter().any(wanted) {
            continue;
        }
        let enabled = enabled_features(package, configuration, request);
        let missing = binary.required_features.iter().filter(|feature| !is_enabled(feature, &enabled));
        let missing_features: Vec<String> = missing.cloned().collect();
        let (package_name, binary_name) = (package.name.clone(), binary.name.clone());
        if missing_features.is_empty() {
            built.push((package, binary));
        } else if selection.binaries.contains(&binary.name) {
            return Err(PlanError::MissingFeatures {
                package: package_name,
                binary: binary_name,
                missing_features,
            });
        } else {
            skipped.push(SkippedBinary { package: package_name, binary: binary_name, missing_features });
        }
    }
    if built.is_empty() {
        let packages = packages.iter().map(|package| package.name.clone()).collect();
        return Err(PlanError::NoBinaries { packages, skipped });
    }
    refuse_colliding_binaries(&built)?;

    let services = built.iter().map(|(package, binary)| service(package, binary, configuration));
    let services = services.collect::<Result<Vec<Service>, PlanError>>()?;
    refuse_colliding_images(&services)?;

    let mut features: Vec<String> = split(&configuration.workspace.features).map(str::to_owned).collect();
    for (name, package) in &configuration.packages {
        if built.iter().any(|(built, _)| built.name == *name) {
            features.extend(package.features.iter().map(|feature| qualified(name, feature)));
        }
    }
    Ok(Selected { services, skipped, features })
}

/// The members whose binaries are in question.
fn packages<'a>(
    metadata: &'a Metadata,
    location: &Location,
    configuration: &Configuration,
    selection: &Selection,
) -> Result<Vec<&'a Package>, PlanError> {
    let members: Vec<&Package> = metadata.members().collect();
    if !selection.packages.is_empty() {
        let mut selected: BTreeSet<&str> = BTreeSet::new();
        for wanted in &selection.packages {
            let meant: Vec<&str> = members
                .iter()
                .filter(|member| is_meant(wanted, member))
                .map(|member| member.id.as_str())
                .collect();
            if meant.is_empty() {
                let known: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
                let nearest = nearest(wanted, &known);
                return Err(PlanError::UnknownPackage { name: wanted.clone(), nearest, known });
            }
            selected.extend(meant);
        }
        return Ok(members.into_iter().filter(|member| selected.contains(member.id.as_str())).collect());
    }
    if selection.workspace {
        return Ok(members);
    }
    if location.nearest_manifest.parent() != Some(location.root.as_path())
        && let Some(member) = members.iter().find(|member| member.manifest_path == location.nearest_manifest)
    {
        return Ok(vec![member]);
    }
    if !selection.binaries.is_empty() {
        return Ok(members);
    }
    let is_configured = |member: &Package| {
        configuration.packages.get(&member.name).is_some_and(|package| package.configured)
            && member.binaries().next().is_some()
    };
    if members.iter().any(|member| is_configured(member)) {
        return Ok(members.into_iter().filter(|member| is_configured(member)).collect());
    }
    let is_default = |member: &Package| metadata.workspace_default_members.contains(&member.id);
    Ok(members.into_iter().filter(|member| is_default(member)).collect())
}

fn is_meant(wanted: &str, member: &Package) -> bool {
    let (name, version) =
        wanted.split_once(['@', ':']).map_or((wanted, None), |(name, version)| (name, Some(version)));
    // A partial version (`app@1.2`) means every version that it begins.
    let same_version = version.is_none_or(|version| {
        member.version == version
            || member.version.strip_prefix(version).is_some_and(|rest| rest.starts_with('.'))
    });
    same_version && pattern::matches(name, &member.name)
}

/// The known name that `wanted` was probably meant to be.
fn nearest(wanted: &str, known: &[String]) -> Option<String> {
    if pattern::is_pattern(wanted) {
        return None;
    }
    let name = wanted.split(['@', ':']).next().unwrap_or(wanted);
    carrack_base::nearest(name, known.iter().map(String::as_str)).map(str::to_owned)
}

/// The features of a member that this build asks for itself.
///
/// What other members' dependencies would switch on besides is left out: a binary that builds only in their company
/// is not counted on.
fn enabled_features(package: &Package, configuration: &Configuration, request: &Request) -> BTreeSet<String> {
    let own = configuration.packages.get(&package.name).map_or(&[][..], |config| &config.features);
    let asked = split(&configuration.workspace.features).chain(request.split_features());
    let mut pending: Vec<String> = own.to_vec();
    for feature in asked {
        match feature.split_once('/') {
            Some((name, own)) if name == package.name => pending.push(own.to_owned()),
            _ => pending.push(feature.to_owned()),
        }
    }
    if request.default_features(&configuration.workspace) {
        pending.push("default".to_owned());
    }
    let mut enabled = BTreeSet::new();
    while let Some(feature) = pending.pop() {
        if enabled.insert(feature.clone()) {
            pending.extend(package.features.get(&feature).into_iter().flatten().cloned());
            // `dependency/feature` switches an optional dependency on, `dependency?/feature` does not.
            if let Some((dependency, _)) = feature.split_once('/').filter(|(name, _)| !name.ends_with('?')) {
                pending.push(dependency.to_owned());
            }
        }
    }
    enabled.retain(|feature| feature.contains('/') || package.features.contains_key(feature));
    enabled
}

/// `required` may be a feature, or `dependency/feature`.
fn is_enabled(required: &str, enabled: &BTreeSet<String>) -> bool {
    let weak = required.split_once('/').map(|(dependency, feature)| format!("{dependency}?/{feature}"));
    enabled.contains(required) || weak.is_some_and(|weak| enabled.contains(&weak))
}

/// `cargo build -p a -p b --bin x` builds `x` of both into one file.
fn refuse_colliding_binaries(built: &[(&Package, &Target)]) -> Result<(), PlanError> {
    let selected: BTreeMap<&str, &Package> =
        built.iter().map(|(package, _)| (package.id.as_str(), *package)).collect();
    for (_, binary) in built {
        let packages: Vec<String> = selected
            .values()
            .filter(|package| package.binaries().any(|other| other.name == binary.name))
            .map(|package| package.name.clone())
            .collect();
        if packages.len() > 1 {
            return Err(PlanError::DuplicateBinary { binary: binary.name.clone(), packages });
        }
    }
    Ok(())
}

fn refuse_colliding_images(services: &[Service]) -> Result<(), PlanError> {
    let mut images: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for service in services {
        let name = format!("{}/{}", service.package, service.binary);
        images.entry(&service.image).or_default().push(name);
    }
    match images.into_iter().find(|(_, services)| services.len() > 1) {
        None => Ok(()),
        Some((image, services)) => Err(PlanError::DuplicateImage { image: image.to_owned(), services }),
    }
}

fn service(package: &Package, binary: &Target, configuration: &Configuration) -> Result<Service, PlanError> {
    let config =
        configuration.packages.get(&package.name).map(|package: &PackageConfig| package.service.clone());
    let config = config.unwrap_or_default();
    let name = match &config.image {
        Some(name) => name.clone(),
        None => binary.name.to_lowercase().trim_matches(['-', '_', '.']).to_owned(),
    };
    let unusable =
        |name: &str| PlanError::UnusableName { binary: binary.name.clone(), name: name.to_owned() };
    if !crate::config::is_image_name(&name) {
        return Err(unusable(&name));
    }
    let image = match &config.registry {
        Some(registry) => format!("{registry}/{name}"),
        None => name,
    };
    // A tag can't hold the `+` of build metadata.
    let version = package.version.replace('+', "_");
    let tags = match &config.tags {
        Some(tags) if !tags.is_empty() => tags.iter().map(|tag| tag.replace("{version}", &version)).collect(),
        _ => vec!["latest".to_owned()],
    };
    if let Some(tag) = tags.iter().find(|tag| tag.len() > 128) {
        return Err(unusable(tag));
    }
    let (package, binary, version) = (package.name.clone(), binary.name.clone(), package.version.clone());
    Ok(Service { package, version, binary, image, tags, config })
}
