//! What is kept, and how much room it takes.

use std::collections::BTreeMap;
use std::path::Path;

use carrack_engine::KeptLayer;
use carrack_store::{MountUsage, Store, UnitUsage};
use serde_json::json;

use super::super::upkeep;
use crate::arguments::{Du, Format, UnitsBy};
use crate::failure::Failure;
use crate::progress::bytes;

const DAY: u64 = 24 * 60 * 60;
/// Seconds, and what units are called that were used within them.
const AGES: [(u64, &str); 3] = [(DAY, "today"), (7 * DAY, "this week"), (30 * DAY, "this month")];
const OLDER: &str = "earlier";

/// One line of the table.
#[derive(Default)]
struct Group {
    units: u64,
    size: u64,
    /// Seconds since the epoch.
    used_at: i64,
}

/// The result.
pub(super) fn run(arguments: &Du, state: &Path) -> Result<String, Failure> {
    let store = Store::open(state)?;
    let units = store.unit_usage()?;
    let (blobs, blobs_size) = store.blobs_size()?;
    let targets = store.target_folders()?;
    let homes = store.cargo_homes()?;
    let size = |folders: &[carrack_store::FolderUsage]| folders.iter().map(|folder| folder.size).sum::<u64>();
    let layers = carrack_engine::kept_layers(&store)?;
    let mounts = store.mount_folders()?;
    let units_size = units.iter().map(|unit| unit.size).sum::<u64>();
    let mut totals = vec![
        ("compiled units", units.len() as u64, units_size),
        ("images' blobs", blobs, blobs_size),
        ("layers", layers.len() as u64, layers.iter().map(|layer| layer.size).sum()),
        ("cache mounts", mounts.len() as u64, mounts.iter().map(|mount| mount.size).sum()),
        ("build folders", targets.len() as u64, size(&targets)),
        ("cargo homes", homes.len() as u64, size(&homes)),
    ];
    totals.push((
        "total",
        totals.iter().map(|total| total.1).sum(),
        totals.iter().map(|total| total.2).sum(),
    ));

    let groups = match arguments.by {
        UnitsBy::Layer => layers.into_iter().map(of_layer).collect(),
        UnitsBy::Mount => mounts.into_iter().map(of_mount).collect(),
        UnitsBy::Workspace | UnitsBy::Crate | UnitsBy::Age => groups(&units, arguments.by),
    };
    Ok(match arguments.format {
        Format::Json => json(arguments.by, &groups, &totals),
        Format::Table => table(arguments.by, &groups, &totals),
    })
}

fn of_layer(layer: KeptLayer) -> (String, Group) {
    let line = layer.step.lines().next().unwrap_or_default();
    let step = line.char_indices().nth(72).map_or(line, |(end, _)| &line[..end]);
    (step.to_owned(), Group { units: 1, size: layer.size, used_at: layer.used_at })
}

fn of_mount(mount: MountUsage) -> (String, Group) {
    (mount.name, Group { units: 1, size: mount.size, used_at: mount.used_at })
}

/// Units added up, the largest sum first; ages in their order.
fn groups(units: &[UnitUsage], by: UnitsBy) -> Vec<(String, Group)> {
    let now = upkeep::now();
    let age = |unit: &UnitUsage| now.saturating_sub(unit.used_at.try_into().unwrap_or(0));
    let rank = |unit: &UnitUsage| AGES.iter().position(|(most, _)| age(unit) < *most).unwrap_or(AGES.len());
    let mut groups: BTreeMap<(usize, String), Group> = BTreeMap::new();
    for unit in units {
        let key = match by {
            UnitsBy::Workspace => (0, unit.workspace.clone()),
            UnitsBy::Crate => (0, unit.package.clone()),
            UnitsBy::Layer | UnitsBy::Mount => continue,
            UnitsBy::Age => (rank(unit), AGES.get(rank(unit)).map_or(OLDER, |(_, name)| *name).to_owned()),
        };
        let group = groups.entry(key).or_default();
        group.units += 1;
        group.size += unit.size;
        group.used_at = group.used_at.max(unit.used_at);
    }
    let mut groups: Vec<(String, Group)> =
        groups.into_iter().map(|((_, name), group)| (name, group)).collect();
    if by != UnitsBy::Age {
        groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.size));
    }
    groups
}

fn table(by: UnitsBy, groups: &[(String, Group)], totals: &[(&str, u64, u64)]) -> String {
    let head = match by {
        UnitsBy::Workspace => "WORKSPACE",
        UnitsBy::Crate => "CRATE",
        UnitsBy::Age => "USED",
        UnitsBy::Layer => "LAYER OF",
        UnitsBy::Mount => "CACHE MOUNT",
    };
    let count = if matches!(by, UnitsBy::Layer | UnitsBy::Mount) { "COUNT" } else { "UNITS" };
    let names = groups.iter().map(|(name, _)| name.chars().count());
    let width = names.chain([24]).max().unwrap_or_default() + 2;
    let mut text = String::new();
    if !groups.is_empty() {
        text.push_str(&format!("{head:<width$}{:>8}{:>12}  {}\n", count, "SIZE", "LAST USED"));
    }
    for (name, group) in groups {
        text.push_str(&format!(
            "{name:<width$}{:>8}{:>12}  {}\n",
            group.units,
            bytes(group.size),
            ago(group.used_at)
        ));
    }
    if !groups.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("{:<width$}{:>8}{:>12}\n", "KIND", "COUNT", "SIZE"));
    for (name, count, size) in totals {
        text.push_str(&format!("{name:<width$}{count:>8}{:>12}\n", bytes(*size)));
    }
    text
}

fn json(by: UnitsBy, groups: &[(String, Group)], totals: &[(&str, u64, u64)]) -> String {
    let by = match by {
        UnitsBy::Workspace => "workspace",
        UnitsBy::Crate => "crate",
        UnitsBy::Age => "age",
        UnitsBy::Layer => "layer",
        UnitsBy::Mount => "mount",
    };
    let groups = groups.iter().map(|(name, group)| {
        json!({"by": by, "name": name, "units": group.units, "size": group.size, "used": group.used_at})
    });
    let totals = totals
        .iter()
        .map(|(name, count, size)| json!({"by": "kind", "name": name, "count": count, "size": size}));
    groups.chain(totals).map(|line| format!("{line}\n")).collect()
}

/// How many days ago, as exact as it is known.
fn ago(used_at: i64) -> String {
    match upkeep::now().saturating_sub(used_at.try_into().unwrap_or(0)) / DAY {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days => format!("{days} days ago"),
    }
}
