//! Seeds: many units as one folder of hard links.
//!
//! A seed's name is the digest of this boot and of the units in question with their serials, so it never contains a unit
//! that was forgotten and kept anew, and none that was not verified since the machine was started.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use carrack_base::{ContentDigest, UnitContent};

use super::files::{Copier, on_threads, set_time};
use super::place::set_folder_times;
use super::plan::{Part, Plan, with_dependents};
use super::rows::Kept;
use super::target::UnitsFolder;
use super::verify::this_boot;
use crate::{Store, StoreError};

/// The files of many units in one folder, which must not be modified: its files are those of the units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The folder, at whose paths the units' files are.
    pub path: PathBuf,
    /// The units in it, sorted by id.
    pub units: Vec<ContentDigest>,
    /// Units that the store does not have, or not any more: they were damaged.
    pub missing: Vec<ContentDigest>,
    /// Units that are kept but are not in it: they need one that is missing, or have another file than a unit in it at
    /// the same path.
    pub left_out: Vec<ContentDigest>,
    /// Whether it was there already.
    pub reused: bool,
}

impl Store {
    /// Makes one folder of `units`, or finds the one that was made of them before. In what order they come is irrelevant.
    ///
    /// Hold a [`crate::Lease`] for as long as the folder is used.
    ///
    /// Errors: [`StoreError::Io`] and [`StoreError::DiskFull`] for what can't be read or made; those of the index. A unit
    /// that is missing is none.
    pub fn seed(&self, units: &[ContentDigest]) -> Result<Seed, StoreError> {
        // Each round but the last one forgets a unit.
        loop {
            if let Some(seed) = self.try_seed(units)? {
                return Ok(seed);
            }
        }
    }

    /// `None` if a unit was found to be missing while its files were linked.
    fn try_seed(&self, ids: &[ContentDigest]) -> Result<Option<Seed>, StoreError> {
        let Ready { units, missing, mut left_out } = self.ready_units(ids, false)?;
        let name = name(&units);
        let path = self.root.join("seeds").join(name.to_string());
        let is_there = path.is_dir();
        if is_there && let Some(inside) = self.seed_units(&name)? {
            let known: HashSet<&ContentDigest> = inside.iter().collect();
            left_out.extend(units.iter().map(|unit| unit.id).filter(|id| !known.contains(id)));
            left_out.sort();
            return Ok(Some(Seed { path, units: inside, missing, left_out, reused: true }));
        }
        let ids: Vec<ContentDigest> = units.iter().map(|unit| unit.id).collect();
        let serials: Vec<i64> = units.iter().map(|unit| unit.serial).collect();
        let mut units = self.load_units(&ids, true)?;
        self.forget_unreadable(&mut units)?;
        if units.iter().map(|unit| unit.serial).ne(serials) {
            return Ok(None);
        }
        let plan = Plan::of(&units);
        if !is_there && !self.make_seed(&plan, &path)? {
            return Ok(None);
        }
        let inside: Vec<ContentDigest> = plan.units.iter().map(|unit| unit.id).collect();
        self.note_seed(&name, &inside)?;
        left_out.extend(plan.left_out);
        left_out.sort();
        Ok(Some(Seed { path, units: inside, missing, left_out, reused: is_there }))
    }

    /// Makes the folder and gives it its place, unless another process is faster. `false` if a unit is missing.
    fn make_seed(&self, plan: &Plan<'_>, place: &Path) -> Result<bool, StoreError> {
        let scratch = self.scratch()?;
        let farm = scratch.path().join("seed");
        fs::create_dir(&farm).map_err(StoreError::io("create the folder", &farm))?;
        for folder in &plan.folders {
            let path = farm.join(folder);
            fs::create_dir(&path).map_err(StoreError::io("create the folder", &path))?;
        }
        let copier = Copier::default();
        let missing = Mutex::new(Vec::new());
        on_threads(&plan.units, |unit| {
            if !self.link_unit(unit, &farm, &copier)? {
                missing.lock().unwrap_or_else(PoisonError::into_inner).push((unit.id, unit.serial));
            }
            Ok(())
        })?;
        let missing = missing.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !missing.is_empty() {
            self.forget_serials(&missing)?;
            return Ok(false);
        }
        set_folder_times(&UnitsFolder::from(&farm), plan.folders.iter().copied())
            .map_err(StoreError::io("set the times in", &farm))?;
        let rename = || fs::rename(&farm, place);
        let seeds = place.parent().expect("a seed's place is in a folder");
        rename()
            .or_else(|error| match error.kind() {
                ErrorKind::NotFound => fs::create_dir_all(seeds).and_then(|()| rename()),
                // Another process made the same.
                ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            })
            .map_err(StoreError::io("create", place))?;
        Ok(true)
    }

    /// Links a unit's files into a folder that has all folders. `false` if one is missing.
    fn link_unit(&self, unit: &Part<'_>, farm: &Path, copier: &Copier) -> Result<bool, StoreError> {
        let kept = self.unit_place(&unit.id);
        for file in &unit.files {
            let to = farm.join(&file.path);
            let seconds = unit.age.seconds_at(&file.path);
            let made = match &file.content {
                UnitContent::File { executable, .. } => {
                    copier.link(&kept.join(&file.path), &to, *executable, seconds).map(drop)
                }
                UnitContent::Link { to: target } => {
                    symlink(target, &to).and_then(|()| set_time(&to, seconds))
                }
                UnitContent::Folder => Ok(()),
            };
            match made {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
                made => made.map_err(StoreError::io("create", &to))?,
            }
        }
        Ok(true)
    }

    /// Sorts out which of the units `ids` can be used: those that are kept, sound, and do not need one that is not.
    pub(super) fn ready_units(&self, ids: &[ContentDigest], files: bool) -> Result<Ready, StoreError> {
        let mut ids = ids.to_vec();
        ids.sort();
        ids.dedup();
        let mut units = self.trust(self.load_units(&ids, files)?)?;
        if files {
            self.forget_unreadable(&mut units)?;
        }
        let kept: HashSet<ContentDigest> = units.iter().map(|unit| unit.id).collect();
        let missing: Vec<ContentDigest> = ids.into_iter().filter(|id| !kept.contains(id)).collect();
        let useless = with_dependents(
            missing.iter().copied().collect(),
            units.iter().map(|unit| (unit.id, &unit.needs[..])),
        );
        let (without, units): (Vec<Kept>, Vec<Kept>) =
            units.into_iter().partition(|unit| useless.contains(&unit.id));
        Ok(Ready { units, missing, left_out: without.into_iter().map(|unit| unit.id).collect() })
    }
}

/// What became of the units that were asked for.
#[derive(Debug)]
pub(super) struct Ready {
    /// Sorted by id.
    pub(super) units: Vec<Kept>,
    pub(super) missing: Vec<ContentDigest>,
    pub(super) left_out: Vec<ContentDigest>,
}

fn name(units: &[Kept]) -> ContentDigest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(this_boot().as_bytes());
    hasher.update(b"\0");
    for unit in units {
        hasher.update(unit.id.as_bytes());
        hasher.update(&unit.serial.to_le_bytes());
    }
    ContentDigest::from_bytes(*hasher.finalize().as_bytes())
}
