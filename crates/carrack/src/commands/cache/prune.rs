//! Removes what no build needs.

use std::path::Path;
use std::time::Duration;

use carrack_base::{parse_age, parse_size};
use carrack_cargo::config::CacheLimits;
use carrack_engine::{LayerRule, remove_layers};
use carrack_store::{Collected, PruneRule, Store};

use super::super::upkeep;
use crate::arguments::Prune;
use crate::blobs;
use crate::caller::Caller;
use crate::engine::{self, EngineName};
use crate::failure::Failure;
use crate::progress::{bytes, plural};

/// How long running builds are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The result.
pub(super) fn run(arguments: &Prune, caller: &Caller, state: &Path) -> Result<String, Failure> {
    let Prune { engine, builder, all, filters, keep } = arguments;
    let engine = engine.as_ref().unwrap_or(&EngineName::Embedded);
    if *engine == EngineName::Embedded {
        return embedded(arguments, state);
    }
    let client = engine::client(caller, engine, builder.as_deref())?;
    let what = carrack_buildkit::Prune { all: *all, filters: filters.clone(), keep: keep.clone() };
    let freed = carrack_buildkit::prune(&client, &what)?;
    Ok(format!("freed {freed}\n"))
}

fn embedded(arguments: &Prune, state: &Path) -> Result<String, Failure> {
    if arguments.builder.is_some() {
        let hint = "add `--engine docker`, or leave the option out";
        return Err(Failure::NoMeaning { option: "--builder", here: "for the embedded engine", hint });
    }
    let Asked { rule, until, mount } = asked(arguments)?;
    let store = Store::open(state)?;
    if let Some(mount) = mount {
        return clear_mount(&store, &mount);
    }
    let units = store.prune_units(PATIENCE, &rule)?;
    let is_filtered = rule.workspace.is_some() || rule.package.is_some();
    let unused = until.unwrap_or(if arguments.all { 0 } else { CacheLimits::default().unused });
    let (mut folders, mut size) = (0, units.bytes);
    for folder in store.target_folders()?.into_iter().filter(|_| rule.package.is_none()) {
        let owner = upkeep::owner(&folder).unwrap_or_default();
        let is_meant = rule.workspace.as_ref().is_none_or(|wanted| owner.contains(wanted));
        let is_useless = arguments.all && until.is_none()
            || is_filtered && until.is_none()
            || upkeep::is_abandoned(&folder)
            || upkeep::is_older(&folder, unused);
        // One that a build holds is in use.
        if is_meant && is_useless && store.clear_target(&folder.id)? {
            folders += 1;
            size += folder.size;
        }
    }
    let roots = if is_filtered { Roots::default() } else { roots(&store, &rule, unused)? };
    size += roots.bytes;
    let blobs = match is_filtered {
        true => Collected::default(),
        false => blobs::collect(&store, PATIENCE)?,
    };
    size += blobs.bytes;
    if !is_filtered {
        let oldest = upkeep::now().saturating_sub(unused.max(24 * 60 * 60));
        store.forget_unused(i64::try_from(oldest).unwrap_or(0))?;
    }
    let counted =
        |number: u64, name: &str| format!("{number} {}", plural(number.try_into().unwrap_or(0), name));
    let parts = [
        counted(units.units, "unit"),
        counted(roots.layers, "layer"),
        counted(roots.mounts, "cache mount"),
        counted(folders, "build folder"),
        counted(blobs.blobs, "blob"),
    ];
    Ok(format!("freed {} ({})\n", bytes(size), parts.join(", ")))
}

/// How many layers and cache mounts went, and how many bytes with them.
#[derive(Default)]
struct Roots {
    layers: u64,
    mounts: u64,
    bytes: u64,
}

/// Removes layers and cache mounts.
fn roots(store: &Store, rule: &PruneRule, unused: u64) -> Result<Roots, Failure> {
    let oldest = i64::try_from(upkeep::now().saturating_sub(unused)).unwrap_or(0);
    let which = match (rule.all, rule.keep_bytes) {
        (true, _) => LayerRule::All,
        (false, Some(keep)) => LayerRule::Keep(keep),
        (false, None) => LayerRule::UnusedSince(oldest),
    };
    let (layers, bytes) = remove_layers(store, which, PATIENCE)?;
    let mut roots = Roots { layers, mounts: 0, bytes };
    for mount in store.mount_folders()? {
        if (rule.all || (rule.keep_bytes.is_none() && mount.used_at < oldest))
            && store.clear_mount(&mount.name)?
        {
            roots.mounts += 1;
            roots.bytes += mount.size;
        }
    }
    Ok(roots)
}

/// Removes the cache mounts of one name.
fn clear_mount(store: &Store, id: &str) -> Result<String, Failure> {
    let mounts = store.mount_folders()?;
    let Some(mount) = mounts.iter().find(|mount| mount.name == id) else {
        let known: Vec<String> = mounts.into_iter().map(|mount| mount.name).collect();
        return Err(Failure::NoSuchMount { id: id.to_owned(), known });
    };
    match store.clear_mount(id)? {
        true => Ok(format!("freed {} (1 cache mount)\n", bytes(mount.size))),
        false => Err(Failure::MountInUse { id: id.to_owned() }),
    }
}

/// What is asked for.
struct Asked {
    rule: PruneRule,
    /// After how many seconds without use things go.
    until: Option<u64>,
    /// Only the cache mounts of this name.
    mount: Option<String>,
}

fn asked(arguments: &Prune) -> Result<Asked, Failure> {
    let mut rule = PruneRule::default();
    let mut mount = None;
    for filter in &arguments.filters {
        match filter.split_once('=') {
            Some(("until", age)) => {
                let age = parse_age(age).ok_or_else(|| Failure::Amount {
                    option: "--filter until",
                    text: age.to_owned(),
                    example: "72h or 30d",
                })?;
                rule.older_than = Some(age.as_secs());
            }
            Some(("workspace", text)) if !text.is_empty() => rule.workspace = Some(text.to_owned()),
            Some(("package", name)) if !name.is_empty() => rule.package = Some(name.to_owned()),
            Some(("mount", id)) if !id.is_empty() => mount = Some(id.to_owned()),
            _ => return Err(Failure::Filter { filter: filter.clone() }),
        }
    }
    if let Some(text) = &arguments.keep {
        let size = parse_size(text).ok_or_else(|| Failure::Amount {
            option: "--keep-storage",
            text: text.clone(),
            example: "10GB or 512MiB",
        })?;
        rule.keep_bytes = Some(size);
    }
    let until = rule.older_than;
    let is_filtered = rule.workspace.is_some() || rule.package.is_some();
    if until.is_none() && rule.keep_bytes.is_none() {
        rule.all = arguments.all || is_filtered;
        rule.older_than = (!rule.all).then_some(CacheLimits::default().unused);
    }
    Ok(Asked { rule, until, mount })
}
