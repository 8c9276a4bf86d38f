//! Takes units away: on request, because they are damaged, or because they were not used for long.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carrack_base::ContentDigest;
use rusqlite::{Connection, params};

use super::plan::{dependents, with_dependents};
use super::rows::{Kept, digest, put_aside, split};
use crate::index::clock;
use crate::{Store, StoreError};

/// How long a seed may be unused: it costs little, and a build makes it again.
const SEED_UNUSED: i64 = 24 * 60 * 60;

/// Which units [`Store::prune_units`] takes. The filters say which ones the other fields are about; without any of these,
/// nothing is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneRule {
    /// Filter: only units of workspaces with this text in their names.
    pub workspace: Option<String>,
    /// Filter: only units of this package: `serde 1.0.229`, or `serde` for all its versions.
    pub package: Option<String>,
    /// Take those that were not used for this long, in seconds; exact to a day.
    pub older_than: Option<u64>,
    /// Take the least recently used ones until all units that are left, of the filter or not, have this many bytes.
    pub keep_bytes: Option<u64>,
    /// Take all.
    pub all: bool,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Number of units.
    pub units: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// Number of seeds: those that held such a unit, and those that were not used for a day.
    pub seeds: u64,
}

/// A unit that may be pruned.
struct Candidate {
    id: ContentDigest,
    package: String,
    workspace: String,
    size: u64,
    needs: Vec<ContentDigest>,
    used_at: i64,
}

impl Store {
    /// Removes the units that `rule` names, each with all units that need it, and what crashes left.
    ///
    /// A unit counts as used when one that needs it was: so the least recently used one is never needed by one that was
    /// used more recently. Only a filter can make a unit go that it does not match itself.
    ///
    /// Errors: [`StoreError::Busy`] if other processes (or this one) hold leases for longer than `patience`;
    /// [`StoreError::Io`] for a folder that can't be removed; those of the index.
    pub fn prune_units(&self, patience: Duration, rule: &PruneRule) -> Result<Pruned, StoreError> {
        let lock = self.exclude_leases(patience)?;
        self.sweep_scratch();
        let scratch = self.scratch()?;
        let pruned = self.change_units("prune units", |connection| {
            self.forget_lost(connection, scratch.path())?;
            let units = candidates(connection).map_err(self.index.error("look up units"))?;
            let doomed = choose(&units, rule);
            let mut pruned = Pruned::default();
            for unit in units.iter().filter(|unit| doomed.contains(&unit.id)) {
                pruned.units += 1;
                pruned.bytes += unit.size;
                self.forget_unit(connection, &unit.id, scratch.path())?;
            }
            pruned.seeds = self.forget_seeds(connection, scratch.path())?;
            Ok(pruned)
        })?;
        // They have no name any more: builds may go on while they are removed.
        drop(lock);
        drop(scratch);
        Ok(pruned)
    }

    /// Removes units, whoever uses them: builds in other processes that come to need one find it missing. Seeds stay until
    /// units are pruned, but are not used for builds that begin from now on. What needs the units stays, too.
    ///
    /// Errors: [`StoreError::Io`] for a folder that can't be moved away; those of the index.
    pub fn forget_units(&self, ids: &[ContentDigest]) -> Result<(), StoreError> {
        let kept = self.load_units(ids, false)?;
        self.forget_serials(&kept.iter().map(|unit| (unit.id, unit.serial)).collect::<Vec<_>>())
    }

    /// Removes units, but not those that were kept anew under the same id.
    pub(super) fn forget_serials(&self, units: &[(ContentDigest, i64)]) -> Result<(), StoreError> {
        if units.is_empty() {
            return Ok(());
        }
        let scratch = self.scratch()?;
        self.change_units("forget units", |connection| {
            for (id, serial) in units {
                let is_same = connection
                    .prepare_cached("SELECT 1 FROM unit WHERE id = ?1 AND serial = ?2")
                    .and_then(|mut statement| statement.exists(params![id.as_bytes(), serial]))
                    .map_err(self.index.error("look up a unit"))?;
                if is_same {
                    self.forget_unit(connection, id, scratch.path())?;
                }
            }
            Ok(())
        })
    }

    /// Forgets those of `units` whose list of files can't be understood.
    pub(super) fn forget_unreadable(&self, units: &mut Vec<Kept>) -> Result<(), StoreError> {
        let bad = units.iter().filter(|unit| unit.files.is_none());
        self.forget_serials(&bad.map(|unit| (unit.id, unit.serial)).collect::<Vec<_>>())?;
        units.retain(|unit| unit.files.is_some());
        Ok(())
    }

    /// Removes what crashes left of units, and seeds that are of no use any more. The exclusive lock must be held.
    pub(crate) fn sweep_units(&self) -> Result<(), StoreError> {
        let scratch = self.scratch()?;
        self.change_units("look for lost units", |connection| {
            self.forget_lost(connection, scratch.path())?;
            self.forget_seeds(connection, scratch.path()).map(drop)
        })
    }

    fn forget_unit(
        &self,
        connection: &Connection,
        id: &ContentDigest,
        aside: &Path,
    ) -> Result<(), StoreError> {
        connection
            .prepare_cached("DELETE FROM unit WHERE id = ?1")
            .and_then(|mut statement| statement.execute([id.as_bytes()]))
            .map_err(self.index.error("forget a unit"))?;
        put_aside(&self.unit_place(id), &aside.join(format!("unit-{id}")))
    }

    /// Rows without folders and folders without rows.
    fn forget_lost(&self, connection: &Connection, aside: &Path) -> Result<(), StoreError> {
        let mut rows: HashSet<ContentDigest> = connection
            .prepare("SELECT id FROM unit")
            .and_then(|mut statement| statement.query_map([], |row| digest(row, 0))?.collect())
            .map_err(self.index.error("look up units"))?;
        for folder in folders_in(&self.root.join("units"))? {
            for unit in folders_in(&folder)? {
                let id = unit_name(&unit);
                if !id.is_some_and(|id| rows.remove(&id)) {
                    put_aside(&unit, &aside.join(format!("lost-{}", name(&unit))))?;
                }
            }
        }
        for id in rows {
            connection
                .execute("DELETE FROM unit WHERE id = ?1", [id.as_bytes()])
                .map_err(self.index.error("forget a unit"))?;
        }
        Ok(())
    }

    /// Seeds that are unknown, unused, or hold a unit that is not kept any more.
    fn forget_seeds(&self, connection: &Connection, aside: &Path) -> Result<u64, StoreError> {
        let oldest = clock() - SEED_UNUSED;
        let seeds = || -> rusqlite::Result<HashMap<ContentDigest, bool>> {
            let units: HashSet<ContentDigest> = connection
                .prepare("SELECT id FROM unit")?
                .query_map([], |row| digest(row, 0))?
                .collect::<Result<_, _>>()?;
            connection
                .prepare("SELECT id, used_at, units FROM seed")?
                .query_map([], |row| {
                    let inside = split(&row.get::<_, Vec<u8>>(2)?);
                    let is_useful =
                        row.get::<_, i64>(1)? >= oldest && inside.iter().all(|unit| units.contains(unit));
                    Ok((digest(row, 0)?, is_useful))
                })?
                .collect()
        };
        let mut seeds = seeds().map_err(self.index.error("look up seeds"))?;
        let mut removed = 0;
        for seed in folders_in(&self.root.join("seeds"))? {
            let id = unit_name(&seed);
            if id.and_then(|id| seeds.get_mut(&id)).is_some_and(|is_useful| *is_useful) {
                continue;
            }
            put_aside(&seed, &aside.join(format!("seed-{}", name(&seed))))?;
            removed += 1;
        }
        for (id, _) in seeds.into_iter().filter(|(_, is_useful)| !is_useful) {
            connection
                .execute("DELETE FROM seed WHERE id = ?1", [id.as_bytes()])
                .map_err(self.index.error("forget a seed"))?;
        }
        Ok(removed)
    }
}

/// The ids of the units that `rule` takes.
fn choose(units: &[Candidate], rule: &PruneRule) -> HashSet<ContentDigest> {
    let needs = || units.iter().map(|unit| (unit.id, &unit.needs[..]));
    let used_at = last_uses(units);
    let by_id: HashMap<ContentDigest, &Candidate> = units.iter().map(|unit| (unit.id, unit)).collect();
    let mut matching: Vec<&Candidate> = units.iter().filter(|unit| unit.matches(rule)).collect();
    // Of two that were used at the same time, the one that needs the other goes first.
    matching.sort_by_key(|unit| (used_at[&unit.id], unit.id));

    let oldest = rule.older_than.map(|age| clock().saturating_sub_unsigned(age));
    let is_old = |unit: &&&Candidate| rule.all || oldest.is_some_and(|oldest| used_at[&unit.id] < oldest);
    let mut doomed = with_dependents(matching.iter().filter(is_old).map(|unit| unit.id).collect(), needs());
    if let Some(keep) = rule.keep_bytes {
        let size = |ids: &HashSet<ContentDigest>| ids.iter().map(|id| by_id[id].size).sum::<u64>();
        let mut left = units.iter().map(|unit| unit.size).sum::<u64>() - size(&doomed);
        let dependents = dependents(needs());
        for unit in matching {
            if left <= keep {
                break;
            }
            let mut pending = vec![unit.id];
            while let Some(id) = pending.pop() {
                if doomed.insert(id) {
                    left -= by_id[&id].size;
                    pending.extend(dependents.get(&id).into_iter().flatten());
                }
            }
        }
    }
    doomed
}

/// When each unit, or one that needs it, was used last.
fn last_uses(units: &[Candidate]) -> HashMap<ContentDigest, i64> {
    let mut uses: HashMap<ContentDigest, i64> = HashMap::new();
    let needs: HashMap<ContentDigest, &[ContentDigest]> =
        units.iter().map(|unit| (unit.id, &unit.needs[..])).collect();
    let mut newest: Vec<&Candidate> = units.iter().collect();
    newest.sort_by_key(|unit| std::cmp::Reverse(unit.used_at));
    for unit in newest {
        // Whatever has a time already has a later one, and so has all that it needs.
        let mut pending = vec![unit.id];
        while let Some(id) = pending.pop() {
            if needs.contains_key(&id) && !uses.contains_key(&id) {
                uses.insert(id, unit.used_at);
                pending.extend(needs[&id]);
            }
        }
    }
    uses
}

impl Candidate {
    fn matches(&self, rule: &PruneRule) -> bool {
        let is_package = |wanted: &String| {
            let name = self.package.split_once(' ').map_or(&self.package[..], |(name, _)| name);
            *wanted == self.package || wanted == name
        };
        rule.workspace.as_ref().is_none_or(|wanted| self.workspace.contains(wanted))
            && rule.package.as_ref().is_none_or(is_package)
    }
}

fn candidates(connection: &Connection) -> rusqlite::Result<Vec<Candidate>> {
    connection
        .prepare("SELECT id, package, workspace, size, needs, used_at FROM unit")?
        .query_map([], |row| {
            Ok(Candidate {
                id: digest(row, 0)?,
                package: row.get(1)?,
                workspace: row.get(2)?,
                size: row.get::<_, i64>(3)?.cast_unsigned(),
                needs: split(&row.get::<_, Vec<u8>>(4)?),
                used_at: row.get(5)?,
            })
        })?
        .collect()
}

/// The folders in a folder, which may be missing.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let error = |source| StoreError::io("read the folder", folder)(source);
    let entries = match fs::read_dir(folder) {
        Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(error)?,
    };
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(error)).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn unit_name(path: &Path) -> Option<ContentDigest> {
    path.file_name()?.to_str()?.parse().ok()
}
