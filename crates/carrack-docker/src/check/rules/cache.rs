//! Cache mounts: where they are, who shares them, how long they last.

use super::super::model::{Model, Mounted, Step, builds, lies_in};
use super::super::{Edit, Found};
use crate::dockerfile::{MountKind, Sharing};

/// Every step that builds, with the cache mount that holds its results.
fn target_caches<'a, 'm>(model: &'a Model<'m>) -> Vec<(&'a Step<'m>, &'a Mounted<'m>)> {
    let steps = model.stages.iter().flat_map(|stage| &stage.steps);
    let found = steps.filter_map(|step| {
        let folder = step.calls().find(|(_, _, call)| call.compiles())?.1.target_folder.as_deref()?;
        Some((step, step.cache_at(folder)?))
    });
    found.collect()
}

/// Two builds side by side write to one folder.
pub(crate) fn unlocked(model: &Model<'_>) -> Vec<Found> {
    let shared = target_caches(model).into_iter().filter(|(_, mounted)| {
        let mount = mounted.mount;
        !matches!(mount.sharing, Some(Sharing::Locked | Sharing::Private))
            && !mount.text.contains("sharing=$")
    });
    shared
        .map(|(_, mounted)| {
            let text = &mounted.mount.text;
            let found = Found::at(text.range(), "a build beside this one writes to the same folder");
            let said = text.find("sharing=").map(|at| {
                let end = text[at..].find(',').map_or(text.len(), |comma| at + comma);
                text.range_of(at..end)
            });
            let end = text.range().end;
            let (range, with) = match said {
                Some(range) => (range, "sharing=locked"),
                None => (end..end, ",sharing=locked"),
            };
            // A quoted mount ends with its quote.
            match model.dockerfile.source.text[text.range()].contains(['"', '\'']) {
                true => found,
                false => found.fix("lock the cache mount", Edit::Replace { range, with: with.to_owned() }),
            }
        })
        .collect()
}

/// The folder's path is the cache's name, and another project has the same path.
pub(crate) fn nameless(model: &Model<'_>) -> Vec<Found> {
    let nameless = target_caches(model).into_iter().filter(|(_, mounted)| mounted.mount.id.is_none());
    nameless
        .map(|(_, mounted)| {
            let target = mounted.target.as_deref().unwrap_or_default();
            let mark = format!("every project that builds in {target} has the same cache");
            Found::at(mounted.mount.text.range(), mark)
        })
        .collect()
}

/// A fresh machine of the CI has no cache mounts.
pub(crate) fn lost(model: &Model<'_>) -> Vec<Found> {
    let Some(file) = model.surroundings.ci.first() else { return Vec::new() };
    let caches = target_caches(model).into_iter().take(1);
    let found = caches.map(|(_, mounted)| {
        let mark = format!("{file} builds images on machines that have no such folder yet");
        Found::at(mounted.mount.text.range(), mark)
    });
    found.collect()
}

/// A folder of `CARGO_HOME` is mounted where cargo does not look.
pub(crate) fn cargo_home(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for step in model.stages.iter().flat_map(|stage| &stage.steps) {
        let Some(home) = step.state.variables.get("CARGO_HOME") else { continue };
        if step.calls().next().is_none() {
            continue;
        }
        for mounted in step.caches() {
            let Some(text) = &mounted.mount.target else { continue };
            let written = text.trim_end_matches('/');
            let folder = ["/registry", "/git", "/registry/index", "/registry/cache", "/git/db"]
                .into_iter()
                .find(|folder| {
                    written.ends_with(&format!(".cargo{folder}"))
                        || written.ends_with(&format!("/cargo{folder}"))
                });
            let Some(folder) = folder else { continue };
            if mounted.target.as_deref().is_some_and(|target| lies_in(target, home)) {
                continue;
            }
            if mounted.target.is_none() && !written.starts_with('~') {
                continue;
            }
            let right = format!("{home}{folder}");
            found.push(
                Found::at(text.range(), format!("cargo looks in {right}"))
                    .hint(format!("mount the cache at {right}"))
                    .fix(
                        format!("mount the cache at {right}"),
                        Edit::Replace { range: text.range(), with: right },
                    ),
            );
        }
    }
    found
}

/// A cache mount over all of `CARGO_HOME` has no cargo in it.
pub(crate) fn hides_cargo(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for stage in &model.stages {
        let has_cargo = stage.image.as_ref().is_some_and(|image| image.is_based_on_rust());
        for step in stage.steps.iter().filter(|_| has_cargo) {
            let covering = step.mounts.iter().filter(|mounted| {
                let target = mounted.target.as_deref();
                matches!(mounted.mount.kind, MountKind::Cache | MountKind::Tmpfs)
                    && mounted.mount.from.is_none()
                    && target.is_some_and(|target| lies_in("/usr/local/cargo/bin", target))
            });
            for mounted in covering.filter(|_| step.calls().next().is_some()) {
                let mark = "cargo itself is in this folder, and the mount begins empty";
                found.push(Found::at(mounted.mount.text.range(), mark));
            }
        }
    }
    found
}

/// A cache mount that is meant for cargo's results, beside of them.
pub(crate) fn target_elsewhere(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for step in model.stages.iter().flat_map(|stage| &stage.steps) {
        let call = step.calls().find(|(_, _, call)| builds(call));
        let Some(folder) = call.and_then(|(_, placed, _)| placed.target_folder.as_deref()) else { continue };
        if step.cache_at(folder).is_some() {
            continue;
        }
        let near = step.caches().find(|mounted| {
            let target = mounted.target.as_deref();
            target
                .is_some_and(|target| target.rsplit('/').next() == Some("target") || lies_in(target, folder))
        });
        // The profile's folder alone may be mounted.
        let inside = near
            .is_some_and(|mounted| mounted.target.as_deref().is_some_and(|target| lies_in(target, folder)));
        if let Some(mounted) = near.filter(|_| !inside) {
            found.push(Found::at(mounted.mount.text.range(), format!("cargo writes to {folder}")));
        }
    }
    found
}
