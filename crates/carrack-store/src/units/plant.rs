//! Puts units into a target folder that cargo is going to write to.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use carrack_base::{ContentDigest, UnitContent, UnitFile};

use super::files::{Copier, is_fingerprint, is_replaced_whole, on_threads, set_time};
use super::place::{UnitAge, set_folder_times};
use super::plan::{Part, Plan, with_dependents};
use super::seed::Ready;
use super::target::UnitsFolder;
use crate::{Store, StoreError};

/// What became of the units that were to be put into a target folder. The lists of units are sorted by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planted {
    /// Units that are there now and were not.
    pub planted: Vec<ContentDigest>,
    /// Units that were there already, as they would have been planted.
    pub there: Vec<ContentDigest>,
    /// Units that something else stands in the way of: nothing of them was made.
    pub skipped: Vec<ContentDigest>,
    /// Units that the store does not have, or not any more: they were damaged.
    pub missing: Vec<ContentDigest>,
    /// Units of which nothing was made because they need one that was skipped or is missing, or have another file than
    /// another of these units at the same path.
    pub left_out: Vec<ContentDigest>,
    /// How many files are hard links to the store's.
    pub linked: usize,
    /// How many files are copies.
    pub copied: usize,
}

/// What is where a unit's files would come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    Free,
    /// All its files, as they would be planted.
    Same,
    Taken,
}

impl Store {
    /// Puts `units` into the folder `target`, which is made if it is missing. Nothing that is there is overwritten.
    ///
    /// Shape: what cargo or rustc may write in place is copied. Libraries and executables in `deps` and build scripts are
    /// hard links, where there can be any; they must only be replaced. Times and modes are those of the kept files.
    ///
    /// Nobody else may write to `target` meanwhile. Hold a [`crate::Lease`].
    ///
    /// Errors: [`StoreError::Io`] and [`StoreError::DiskFull`] for what can't be read or made; those of the index. A unit
    /// that is missing is none.
    pub fn plant(
        &self,
        units: &[ContentDigest],
        target: impl Into<UnitsFolder>,
    ) -> Result<Planted, StoreError> {
        let target = &target.into();
        let Ready { units, missing, left_out } = self.ready_units(units, true)?;
        let plan = Plan::of(&units);
        let mut planted = Planted { missing, left_out, ..Planted::default() };
        planted.left_out.extend(&plan.left_out);
        target.make().map_err(StoreError::io("create the folder", &target.shown("")))?;

        let grounds = Mutex::new(Vec::new());
        on_threads(&plan.units, |unit| {
            let ground = look_at(unit.files.iter().copied(), unit.age, target)?;
            grounds.lock().unwrap_or_else(PoisonError::into_inner).push((unit.id, ground));
            Ok(())
        })?;
        let grounds = grounds.into_inner().unwrap_or_else(PoisonError::into_inner);
        let of =
            |wanted: Ground| grounds.iter().filter(move |(_, ground)| *ground == wanted).map(|(id, _)| *id);
        planted.skipped.extend(of(Ground::Taken));
        planted.there.extend(of(Ground::Same));
        // Something else in the place of a unit may be the same unit compiled another time: what was compiled against the
        // one need not fit the other.
        let needs = || {
            let shared = plan.units.iter().map(|unit| (unit.id, &unit.shares_with[..]));
            units.iter().map(|unit| (unit.id, &unit.needs[..])).chain(shared)
        };
        let without = with_dependents(planted.skipped.iter().copied().collect(), needs());
        let free: HashSet<ContentDigest> = of(Ground::Free).collect();
        planted.left_out.extend(free.iter().filter(|id| without.contains(id)));
        let parts: Vec<&Part<'_>> =
            plan.units.iter().filter(|unit| free.contains(&unit.id) && !without.contains(&unit.id)).collect();

        let copier = Copier::default();
        let outcomes = Mutex::new(HashMap::new());
        on_threads(&parts, |unit| {
            let made = self.plant_unit(unit, target, &copier)?;
            outcomes.lock().unwrap_or_else(PoisonError::into_inner).insert(unit.id, made);
            Ok(())
        })?;
        let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<&&Part<'_>> = parts.iter().filter(|unit| outcomes[&unit.id].is_none()).collect();
        self.forget_serials(&gone.iter().map(|unit| (unit.id, unit.serial)).collect::<Vec<_>>())?;
        let without = with_dependents(gone.iter().map(|unit| unit.id).collect(), needs());
        for unit in &parts {
            match outcomes[&unit.id] {
                None => planted.missing.push(unit.id),
                Some(_) if without.contains(&unit.id) => {
                    remove(target, unit.files.iter().map(|file| file.path.as_str()));
                    planted.left_out.push(unit.id);
                }
                Some((linked, copied)) => {
                    planted.planted.push(unit.id);
                    planted.linked += linked;
                    planted.copied += copied;
                }
            }
        }
        for list in [
            &mut planted.planted,
            &mut planted.there,
            &mut planted.skipped,
            &mut planted.missing,
            &mut planted.left_out,
        ] {
            list.sort();
        }
        Ok(planted)
    }

    /// Takes the units `ids`, which were planted in the folder `target`, out of it again.
    ///
    /// Nobody else may write to `target` meanwhile. Errors: those of the index. What can't be removed stays.
    pub fn uproot(&self, ids: &[ContentDigest], target: impl Into<UnitsFolder>) -> Result<(), StoreError> {
        let target = &target.into();
        for unit in self.load_units(ids, true)? {
            // Without its fingerprint, what is left of a unit is none to cargo.
            let mut paths: Vec<&str> = unit.files().iter().map(|file| file.path.as_str()).collect();
            paths.sort_by_key(|path| !is_fingerprint(path));
            remove(target, paths.iter().copied());
            for path in paths {
                let ends = path.match_indices('/').map(|(at, _)| at).collect::<Vec<_>>();
                remove(target, ends.iter().rev().map(|end| &path[..*end]));
            }
        }
        Ok(())
    }

    /// Removes the folder at `path` in `target` with all that is in it, if it is there.
    ///
    /// Errors: [`StoreError::Io`].
    pub fn clear(&self, target: &UnitsFolder, path: &str) -> Result<(), StoreError> {
        let removed = target.place(path).and_then(|place| fs::remove_dir_all(&place.path));
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::io("remove", &target.shown(path))(error))
            }
            _ => Ok(()),
        }
    }

    /// Those of the units `ids` that lie in the folder `target` as [`Store::plant`] would put them there, sorted by id; as
    /// far as sizes and times tell.
    ///
    /// Errors: [`StoreError::Io`] for what can't be read; those of the index.
    pub fn planted(
        &self,
        ids: &[ContentDigest],
        target: impl Into<UnitsFolder>,
    ) -> Result<Vec<ContentDigest>, StoreError> {
        let target = &target.into();
        let units = self.load_units(ids, true)?;
        let lying = Mutex::new(Vec::new());
        on_threads(&units, |unit| {
            if unit.files.is_some() && look_at(unit.files(), unit.age, target)? == Ground::Same {
                lying.lock().unwrap_or_else(PoisonError::into_inner).push(unit.id);
            }
            Ok(())
        })?;
        let mut lying = lying.into_inner().unwrap_or_else(PoisonError::into_inner);
        lying.sort();
        Ok(lying)
    }

    /// Gives files of the units `ids` in the folder `target`, which the caller knows to have the units' contents, the times
    /// that [`Store::plant`] would have given them. Name each unit after those that it needs: whenever it ends in between,
    /// no unit is older than one that it needs.
    ///
    /// Nobody else may write to `target` meanwhile. Errors: [`StoreError::Io`]; those of the index.
    pub fn settle(&self, ids: &[ContentDigest], target: impl Into<UnitsFolder>) -> Result<(), StoreError> {
        let target = &target.into();
        for unit in self.load_units(ids, true)? {
            for file in unit.files() {
                if file.content != UnitContent::Folder {
                    let seconds = unit.age.seconds_at(&file.path);
                    let set = target.place(&file.path).and_then(|place| set_time(&place.path, seconds));
                    set.map_err(StoreError::io("set the time of", &target.shown(&file.path)))?;
                }
            }
            set_folder_times(target, unit.files().iter().map(|file| file.path.as_str()))
                .map_err(StoreError::io("set the times in", &target.shown("")))?;
        }
        Ok(())
    }

    /// Makes a unit's files: how many links and copies, or `None` if one is missing; then nothing of the unit is left.
    fn plant_unit(
        &self,
        unit: &Part<'_>,
        target: &UnitsFolder,
        copier: &Copier,
    ) -> Result<Option<(usize, usize)>, StoreError> {
        let kept = self.unit_place(&unit.id);
        if !kept.is_dir() {
            return Ok(None);
        }
        let mut folders = HashSet::new();
        let mut made: Vec<&str> = Vec::new();
        let (mut linked, mut copied) = (0, 0);
        // Without its fingerprint, the half of a unit that a killed process leaves is none to cargo.
        let (last, first): (Vec<&UnitFile>, Vec<&UnitFile>) =
            unit.files.iter().partition(|file| is_fingerprint(&file.path));
        for file in first.into_iter().chain(last) {
            let from = kept.join(&file.path);
            let shown = target.shown(&file.path);
            let (parent, _) = file.path.rsplit_once('/').unwrap_or_default();
            if folders.insert(parent) {
                target
                    .make_folder(parent)
                    .map_err(StoreError::io("create the folder", &target.shown(parent)))?;
            }
            let place = target.place(&file.path).map_err(StoreError::io("create", &shown))?;
            let to = &place.path;
            let seconds = unit.age.seconds_at(&file.path);
            let placed = match &file.content {
                UnitContent::File { executable, .. } if is_replaced_whole(&file.path, *executable) => {
                    copier.link(&from, to, *executable, seconds)
                }
                UnitContent::File { executable, .. } => {
                    copier.copy(&from, to, *executable, seconds).map(|()| false)
                }
                UnitContent::Link { to: target } => {
                    symlink(target, to).and_then(|()| set_time(to, seconds)).map(|()| false)
                }
                UnitContent::Folder => target.make_folder(&file.path).map(|()| false),
            };
            let is_folder = file.content == UnitContent::Folder;
            // A link is the store's own file.
            let placed = placed.and_then(|is_link| {
                if !is_link && !is_folder {
                    target.give_away(&place)?;
                }
                Ok(is_link)
            });
            match placed {
                Ok(is_link) => {
                    linked += usize::from(is_link);
                    copied += usize::from(!is_link && matches!(file.content, UnitContent::File { .. }));
                    made.push(&file.path);
                }
                Err(error) => {
                    remove(target, made.into_iter());
                    return match error.kind() {
                        ErrorKind::NotFound => Ok(None),
                        _ => Err(StoreError::io("create", &shown)(error)),
                    };
                }
            }
        }
        set_folder_times(target, unit.files.iter().map(|file| file.path.as_str()))
            .map_err(StoreError::io("set the times in", &target.shown("")))?;
        Ok(Some((linked, copied)))
    }
}

/// Removes what was made of a unit: cargo could take the half of one for a whole one.
fn remove<'p>(target: &UnitsFolder, paths: impl Iterator<Item = &'p str>) {
    for path in paths {
        let Ok(place) = target.place(path) else { continue };
        let _ = fs::remove_file(&place.path).or_else(|_| fs::remove_dir(&place.path));
    }
}

/// Looks at what is at the paths of a unit.
fn look_at<'f>(
    files: impl IntoIterator<Item = &'f UnitFile>,
    age: UnitAge,
    target: &UnitsFolder,
) -> Result<Ground, StoreError> {
    let (mut free, mut same) = (true, true);
    for file in files {
        let place = target.place(&file.path);
        if file.content == UnitContent::Folder && place.as_ref().is_ok_and(|place| place.path.is_dir()) {
            // It may have been made for a file of another unit.
            continue;
        }
        match place.and_then(|place| is_same(&place.path, file, age.seconds_at(&file.path))) {
            Ok(is_same) => {
                free = false;
                same &= is_same;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => same = false,
            // Where a folder should be is something else.
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(Ground::Taken),
            Err(error) => return Err(StoreError::io("read", &target.shown(&file.path))(error)),
        }
        if !free && !same {
            return Ok(Ground::Taken);
        }
    }
    Ok(if free { Ground::Free } else { Ground::Same })
}

/// Whether what is at `path` is what would be planted there, as far as its metadata tells.
fn is_same(path: &Path, file: &UnitFile, seconds: i64) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let has_time = metadata.mtime() == seconds && metadata.mtime_nsec() == 0;
    Ok(match &file.content {
        UnitContent::File { size, .. } => metadata.is_file() && metadata.len() == *size && has_time,
        UnitContent::Link { to } => metadata.is_symlink() && fs::read_link(path)? == Path::new(to),
        UnitContent::Folder => false,
    })
}
