//! Puts units into the store.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use carrack_base::{ContentDigest, UnitContent, UnitFile};

use super::files::{Copier, is_output, mode, on_threads, set_time};
use super::rows::NewRow;
use super::target::UnitsFolder;
use crate::{Store, StoreError};

/// A unit that the store is to keep.
#[derive(Debug, Clone)]
pub struct NewUnit {
    /// What it is found by.
    pub id: ContentDigest,
    /// Which builds it may be of use to; the store only compares it.
    pub realm: ContentDigest,
    /// For people, and to prune by: `serde 1.0.229`.
    pub package: String,
    /// For people, and to prune by: who made it.
    pub workspace: String,
    /// What the caller wants to know about it; the store does not read it.
    pub record: Vec<u8>,
    /// The units that it was compiled against. It never stays without one of them when units are pruned.
    pub needs: Vec<ContentDigest>,
    /// All that belongs to it. Digests are trusted: the caller just computed or verified them.
    pub files: Vec<UnitFile>,
    /// The modification time that its files get.
    pub age: UnitAge,
    /// The folder that the files' paths are relative to.
    pub from: UnitsFolder,
}

/// The modification time of a unit's files: always the same, so that cargo finds no file newer than another. Written to
/// disk by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnitAge {
    /// 2000-01-01T00:00:00Z: older than any source.
    Old = 0,
    /// 2037-12-31T00:00:00Z: newer than any source.
    New = 1,
    /// Newer than any source, but for what a build script made in its `out` folder: that is older.
    Ran = 2,
}

/// What happens to the files that a unit is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// They are renamed into the store, or copied if they are on another file system. If they have other names (cargo
    /// links a binary to two places), nobody may write to them through these.
    Move,
    /// They stay, and the store gets copies; these share blocks where the file system can do that.
    Copy,
}

impl UnitAge {
    /// The age that was written to disk by this number.
    pub(super) fn of(number: i64) -> Self {
        let ages = [Self::Old, Self::New, Self::Ran];
        ages.into_iter().find(|age| *age as i64 == number).unwrap_or(Self::Old)
    }

    /// The modification time in seconds since the epoch.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Old => 946_684_800,
            Self::New | Self::Ran => 2_145_830_400,
        }
    }

    /// The modification time of the file at `path` of a unit of this age.
    pub(super) fn seconds_at(self, path: &str) -> i64 {
        if self == Self::Ran && is_output(path) { Self::Old.seconds() } else { self.seconds() }
    }
}

impl Store {
    /// Keeps `units`, but for those that are kept already. Returns how many it took.
    ///
    /// They appear together or not at all. Hold a [`crate::Lease`], so that none of the units that they need is pruned
    /// meanwhile. Other processes may keep the same units at the same time: one of them is kept. With [`Taking::Move`] the
    /// files of `from` are in no certain state after an error.
    ///
    /// Errors: [`StoreError::BadUnitPath`]; [`StoreError::UnitChanged`] if a file is missing, or of another kind or size
    /// than said; [`StoreError::Io`] and [`StoreError::DiskFull`] for what can't be written; those of the index.
    pub fn keep_units(&self, units: Vec<NewUnit>, taking: Taking) -> Result<usize, StoreError> {
        for unit in &units {
            check_paths(unit)?;
        }
        let kept = self.kept_units()?;
        let mut seen = HashSet::new();
        let is_new = |id: &ContentDigest| !kept.contains(id) || !self.unit_place(id).is_dir();
        let mut units = units;
        units.retain(|unit| seen.insert(unit.id) && is_new(&unit.id));
        if units.is_empty() {
            return Ok(0);
        }
        let scratch = self.scratch()?;
        let copier = Copier::default();
        on_threads(&units, |unit| make(unit, &scratch.path().join(unit.id.to_string()), taking, &copier))?;
        let rows = units.iter().map(NewRow::of).collect::<Vec<_>>();
        self.name_units(&rows, scratch.path())
    }

    /// Where a unit's folder is, if there is one.
    pub(super) fn unit_place(&self, id: &ContentDigest) -> PathBuf {
        let hex = id.to_string();
        self.root.join("units").join(&hex[..2]).join(hex)
    }
}

/// Makes the folder of a unit.
fn make(unit: &NewUnit, folder: &Path, taking: Taking, copier: &Copier) -> Result<(), StoreError> {
    let mut made = HashSet::new();
    fs::create_dir(folder).map_err(StoreError::io("create the folder", folder))?;
    for file in &unit.files {
        let shown = unit.from.shown(&file.path);
        let changed = || StoreError::UnitChanged { unit: unit.id, path: shown.clone() };
        let to = folder.join(&file.path);
        let parent = to.parent().expect("a file of a unit has a folder");
        if made.insert(parent.to_owned()) {
            fs::create_dir_all(parent).map_err(StoreError::io("create the folder", parent))?;
        }
        let seconds = unit.age.seconds_at(&file.path);
        let found =
            unit.from.place(&file.path).and_then(|from| Ok((fs::symlink_metadata(&from.path)?, from)));
        let (metadata, from) = match found {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(changed()),
            read => read.map_err(StoreError::io("read", &shown))?,
        };
        let from = &from.path;
        match &file.content {
            UnitContent::File { size, executable, .. } => {
                if !metadata.is_file() || metadata.len() != *size {
                    return Err(changed());
                }
                let moved = taking == Taking::Move && rename(from, &to)?;
                if moved {
                    let mode = mode(*executable);
                    if metadata.permissions().mode() & 0o7777 != mode {
                        fs::set_permissions(&to, Permissions::from_mode(mode))
                            .map_err(StoreError::io("change the mode of", &to))?;
                    }
                    set_time(&to, seconds)
                } else {
                    copier.copy(from, &to, *executable, seconds)
                }
            }
            UnitContent::Link { to: target } => {
                if fs::read_link(from).map_or(true, |found| found != Path::new(target)) {
                    return Err(changed());
                }
                std::os::unix::fs::symlink(target, &to).and_then(|()| set_time(&to, seconds))
            }
            UnitContent::Folder => {
                if !metadata.is_dir() {
                    return Err(changed());
                }
                fs::create_dir_all(&to)
            }
        }
        .map_err(StoreError::io("create", &to))?;
    }
    set_folder_times(&folder.into(), unit.files.iter().map(|file| file.path.as_str()))
        .map_err(StoreError::io("set the times in", folder))
}

/// Whether it could be renamed; not from one file system to another.
fn rename(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match fs::rename(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::CrossesDevices => Ok(false),
        Err(error) => Err(StoreError::io("move", from)(error)),
    }
}

/// Makes the folders that are build scripts' outputs, or above or at such `paths`, as old as the files in them: cargo looks
/// at their times too when a build script asks it to watch one.
pub(super) fn set_folder_times<'p>(
    base: &UnitsFolder,
    paths: impl Iterator<Item = &'p str>,
) -> io::Result<()> {
    let mut done = HashSet::new();
    for path in paths {
        let mut folder = path;
        // An empty folder is listed itself; of other files the folders above count.
        loop {
            if !is_output(folder) {
                break;
            }
            if done.insert(folder) {
                let place = base.place(folder)?;
                if folder != path || place.path.is_dir() && !place.path.is_symlink() {
                    set_time(&place.path, UnitAge::Old.seconds())?;
                }
            }
            let Some((above, _)) = folder.rsplit_once('/') else { break };
            folder = above;
        }
    }
    Ok(())
}

fn check_paths(unit: &NewUnit) -> Result<(), StoreError> {
    let bad = |file: &str| StoreError::BadUnitPath { unit: unit.id, file: file.to_owned() };
    let mut paths = HashSet::new();
    for file in &unit.files {
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        if !file.path.split('/').all(is_plain) || !paths.insert(file.path.as_str()) {
            return Err(bad(&file.path));
        }
    }
    for path in &paths {
        let mut folder = *path;
        while let Some((above, _)) = folder.rsplit_once('/') {
            if paths.contains(above) {
                return Err(bad(path));
            }
            folder = above;
        }
    }
    Ok(())
}
