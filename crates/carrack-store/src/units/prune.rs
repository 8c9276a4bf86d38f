//! Removes units, the least recently used first, and never one that another kept unit needs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use carrack_base::ContentDigest;

use super::rows::UnitUse;
use crate::collect::exclusively;
use crate::index::clock;
use crate::removal::remove_tree;
use crate::{Store, StoreError};

/// How long a seed stays that nobody uses.
const SEED_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Which units go. What no part of the rule asks for stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRule {
    /// Those that were not used for this time; a day is the finest grain.
    pub unused_for: Option<Duration>,
    /// As many as it takes until the rest is no larger than this, in bytes.
    pub keep_bytes: Option<u64>,
    /// All of them.
    pub all: bool,
    /// Only units made for a workspace that contains this text.
    pub workspace: Option<String>,
    /// Only units of packages whose name and version begin with this text.
    pub package: Option<String>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Number of units.
    pub units: u64,
    /// Size of their files in bytes.
    pub bytes: u64,
}

impl Store {
    /// Removes units by `rule`, each with every unit that needs it, and the seeds that are of no use any more.
    ///
    /// Errors: [`StoreError::Busy`] if builds run for longer than `patience`; [`StoreError::Io`] for what can't be removed;
    /// those of the index.
    pub fn prune_units(&self, rule: &PruneRule, patience: Duration) -> Result<Pruned, StoreError> {
        exclusively(self.root(), patience, || {
            self.sweep_scratch();
            let units = self.unit_usage()?;
            let gone = chosen(&units, rule);
            let ids: Vec<ContentDigest> = gone.iter().map(|unit| unit.id).collect();
            self.remove_seeds(!ids.is_empty())?;
            self.forget_units(&ids)?;
            self.remove_unknown(&units)?;
            Ok(Pruned { units: gone.len() as u64, bytes: gone.iter().map(|unit| unit.size).sum() })
        })
    }

    /// Those that nobody used lately; all of them if units go, since any of them may be in one.
    fn remove_seeds(&self, all: bool) -> Result<(), StoreError> {
        let folder = self.root().join("seeds");
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let used = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            let age = used.and_then(|used| SystemTime::now().duration_since(used).ok()).unwrap_or_default();
            if all || age > SEED_AGE {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Folders of units that have no row: whoever made them died in between.
    fn remove_unknown(&self, units: &[UnitUse]) -> Result<(), StoreError> {
        let known: HashSet<String> = units.iter().map(|unit| unit.id.to_string()).collect();
        for folder in fs::read_dir(self.root().join("units")).into_iter().flatten().flatten() {
            for unit in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
                if str::from_utf8(unit.file_name().as_bytes()).is_ok_and(|name| !known.contains(name)) {
                    remove(&unit.path())?;
                }
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    remove_tree(path, None).map_err(|error| StoreError::io("remove", path)(error.into()))
}

/// The units that go. `units` has those first that were used last.
fn chosen<'u>(units: &'u [UnitUse], rule: &PruneRule) -> Vec<&'u UnitUse> {
    let by_id: HashMap<ContentDigest, &UnitUse> = units.iter().map(|unit| (unit.id, unit)).collect();
    let mut needed_by: HashMap<ContentDigest, Vec<ContentDigest>> = HashMap::new();
    for unit in units {
        for need in &unit.needs {
            needed_by.entry(*need).or_default().push(unit.id);
        }
    }
    let fits = |unit: &UnitUse| {
        rule.workspace.as_ref().is_none_or(|text| unit.workspace.contains(text))
            && rule.package.as_ref().is_none_or(|text| unit.package.starts_with(text.as_str()))
    };
    let now = clock();
    let is_old = |unit: &UnitUse| {
        let unused = Duration::from_secs(now.saturating_sub(unit.used_at).unsigned_abs());
        rule.unused_for.is_some_and(|limit| unused >= limit)
    };
    let only_filtered = rule.unused_for.is_none() && rule.keep_bytes.is_none() && !rule.all;
    let has_filter = rule.workspace.is_some() || rule.package.is_some();
    let mut size: u64 = units.iter().map(|unit| unit.size).sum();
    let mut gone = HashSet::new();
    for unit in units.iter().rev().filter(|unit| fits(unit)) {
        let is_too_much = rule.keep_bytes.is_some_and(|limit| size > limit);
        if !(rule.all || is_old(unit) || is_too_much || only_filtered && has_filter) {
            continue;
        }
        let mut open = vec![unit.id];
        while let Some(id) = open.pop() {
            let Some(unit) = by_id.get(&id).filter(|_| gone.insert(id)) else { continue };
            size = size.saturating_sub(unit.size);
            open.extend(needed_by.get(&unit.id).into_iter().flatten());
        }
    }
    units.iter().filter(|unit| gone.contains(&unit.id)).collect()
}
