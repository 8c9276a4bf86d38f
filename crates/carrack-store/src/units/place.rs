//! The folders of units: taking files in, putting them out.

use std::collections::HashMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carrack_base::{ContentDigest, UnitContent, UnitFile};

use super::rows::Stored;
use super::{NewUnit, Taking, UnitAge};
use crate::removal::remove_tree;
use crate::{Store, StoreError};

/// 2000-01-01 and 2037-12-31, UTC. Some file systems know no later time.
const OLD: Duration = Duration::from_secs(946_684_800);
const NEW: Duration = Duration::from_secs(2_145_830_400);

/// Units as one folder that nobody writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The folder.
    pub path: PathBuf,
    /// Units that are not in it, because they are not in the store or were damaged; they are forgotten.
    pub missing: Vec<ContentDigest>,
}

/// What was put into a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planted {
    /// Units that are not kept, or were damaged; they are forgotten.
    pub missing: Vec<ContentDigest>,
    /// Units of which a file was there already, so that nothing of them was put there.
    pub skipped: Vec<ContentDigest>,
}

impl Store {
    /// Keeps units. Those that are kept already are left as they are. Returns how many are new. Hold a [`crate::Lease`].
    ///
    /// Errors: [`StoreError::Io`] or [`StoreError::DiskFull`] with the file that could not be taken; those of the index.
    pub fn keep_units(&self, units: Vec<NewUnit>, taking: Taking) -> Result<usize, StoreError> {
        let scratch = self.scratch()?;
        let made = each(&units, |number, unit| {
            let place = self.unit_place(&unit.id);
            if place.is_dir() {
                return Ok(false);
            }
            let aside = scratch.path().join(number.to_string());
            for file in &unit.files {
                let from = unit.from.join(&file.path);
                let is_made =
                    unit.out_dir.as_ref().is_some_and(|folder| Path::new(&file.path).starts_with(folder));
                let age = if is_made { UnitAge::Old } else { unit.age };
                take(file, &from, &aside.join(&file.path), taking, age)
                    .map_err(StoreError::io("take", &from))?;
            }
            settle(&aside, &place)
        })?;
        let boot = boot_id();
        // A row that is there is only dated anew.
        self.write_rows(&units, Some(&boot))?;
        Ok(made.into_iter().filter(|made| *made).count())
    }

    /// The units as one folder, made by hard links where there is none yet. Hold a [`crate::Lease`].
    ///
    /// Errors: [`StoreError::Io`] or [`StoreError::DiskFull`] if the folder can't be made.
    pub fn seed(&self, units: &[ContentDigest]) -> Result<Seed, StoreError> {
        let mut ids: Vec<ContentDigest> = units.to_vec();
        ids.sort();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
        let path = self.root().join("seeds").join(ContentDigest::of(&bytes).to_string());
        if path.is_dir() {
            let now = FileTimes::new().set_modified(SystemTime::now());
            // When it was used matters to the next pruning only.
            let _ = File::open(&path).and_then(|folder| folder.set_times(now));
            return Ok(Seed { path, missing: Vec::new() });
        }
        let stored = self.usable(&ids)?;
        let missing: Vec<ContentDigest> =
            ids.iter().filter(|id| !stored.contains_key(*id)).copied().collect();
        if !missing.is_empty() {
            return Ok(Seed { path, missing });
        }
        let scratch = self.scratch()?;
        let aside = scratch.path().join("seed");
        fs::create_dir(&aside).map_err(StoreError::io("create the folder", &aside))?;
        each(&ids, |_, id| {
            let from = self.unit_place(id);
            for file in &stored[id].files {
                let place = aside.join(&file.path);
                put(file, &from.join(&file.path), &place, true).map_err(StoreError::io("create", &place))?;
            }
            Ok(())
        })?;
        settle(&aside, &path)?;
        Ok(Seed { path, missing })
    }

    /// Puts units into a folder that is written to: by hard links where whoever writes replaces files, else as copies. A
    /// unit of which a file is there already is left out. Hold a [`crate::Lease`].
    ///
    /// Errors: [`StoreError::Io`] or [`StoreError::DiskFull`] for a file that can't be made.
    pub fn plant(&self, units: &[ContentDigest], target: &Path) -> Result<Planted, StoreError> {
        let stored = self.usable(units)?;
        let missing: Vec<ContentDigest> =
            units.iter().filter(|id| !stored.contains_key(*id)).copied().collect();
        let skipped = each(units, |_, id| {
            let Some(Stored { files, .. }) = stored.get(id) else { return Ok(None) };
            if files.iter().any(|file| target.join(&file.path).symlink_metadata().is_ok()) {
                return Ok(Some(*id));
            }
            let from = self.unit_place(id);
            for file in files {
                let place = target.join(&file.path);
                put(file, &from.join(&file.path), &place, is_replaced(&file.path))
                    .map_err(StoreError::io("create", &place))?;
            }
            Ok(None)
        })?;
        Ok(Planted { missing, skipped: skipped.into_iter().flatten().collect() })
    }

    /// The folder of a unit, if it is kept.
    pub fn unit_folder(&self, id: &ContentDigest) -> Option<PathBuf> {
        let place = self.unit_place(id);
        place.is_dir().then_some(place)
    }

    /// Forgets units.
    ///
    /// Errors: [`StoreError::Io`] for a folder that can't be removed; those of the index.
    pub fn forget_units(&self, ids: &[ContentDigest]) -> Result<(), StoreError> {
        self.remove_rows(ids)?;
        for id in ids {
            let place = self.unit_place(id);
            if place.exists() {
                remove_tree(&place, None).map_err(|error| StoreError::io("remove", &place)(error.into()))?;
            }
        }
        Ok(())
    }

    fn unit_place(&self, id: &ContentDigest) -> PathBuf {
        let name = id.to_string();
        self.root().join("units").join(&name[..2]).join(name)
    }

    /// Those units whose files are as they should be. The others are forgotten.
    fn usable(&self, ids: &[ContentDigest]) -> Result<HashMap<ContentDigest, Stored>, StoreError> {
        let boot = boot_id();
        let mut found = Vec::new();
        for id in ids {
            found.extend(self.stored(id)?.map(|stored| (*id, stored)));
        }
        // What was written in this boot is in the kernel's memory at least; what was verified is on disk.
        let is_doubtful = |stored: &Stored| stored.boot.as_ref().is_some_and(|written| *written != boot);
        let sound = each(&found, |_, (id, stored)| {
            let place = self.unit_place(id);
            Ok(if is_doubtful(stored) { verify(&place, &stored.files) } else { place.is_dir() })
        })?;
        let verdicts: Vec<_> = found.into_iter().zip(sound).collect();
        let of = |wanted: &dyn Fn(&Stored, bool) -> bool| -> Vec<ContentDigest> {
            let picked = verdicts.iter().filter(|((_, stored), sound)| wanted(stored, *sound));
            picked.map(|((id, _), _)| *id).collect()
        };
        self.confirm_units(&of(&|stored, sound| sound && is_doubtful(stored)))?;
        self.forget_units(&of(&|_, sound| !sound))?;
        Ok(verdicts.into_iter().filter(|(_, sound)| *sound).map(|(found, _)| found).collect())
    }
}

/// Size of files together, in bytes.
pub(super) fn size(files: &[UnitFile]) -> u64 {
    let size = |file: &UnitFile| match file.content {
        UnitContent::File { size, .. } => size,
        UnitContent::Link { .. } | UnitContent::Folder => 0,
    };
    files.iter().map(size).sum()
}

/// Calls `work` for each item on as many threads as there are processors.
fn each<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(usize, &T) -> Result<R, StoreError> + Sync,
) -> Result<Vec<R>, StoreError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len().max(1));
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return Ok(done) };
            done.push((number, work(number, item)?));
        }
    };
    let mut all: Vec<(usize, R)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let results =
            running.into_iter().map(|thread| thread.join().expect("a unit's files are put without panic"));
        results.collect::<Result<Vec<_>, StoreError>>().map(|all| all.into_iter().flatten().collect())
    })?;
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

/// Takes one file into a unit's folder.
fn take(file: &UnitFile, from: &Path, to: &Path, taking: Taking, age: UnitAge) -> io::Result<()> {
    make_parent(to)?;
    match &file.content {
        UnitContent::Folder => return make_folder(to),
        UnitContent::Link { to: points_to } => return symlink(points_to, to),
        UnitContent::File { size, executable, .. } => {
            let moved = taking == Taking::Move && fs::rename(from, to).is_ok();
            if !moved {
                copy(from, to)?;
            }
            let file = File::open(to)?;
            if file.metadata()?.len() != *size {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "its size is not the one that was found before",
                ));
            }
            let mode = if *executable { 0o755 } else { 0o644 };
            file.set_permissions(Permissions::from_mode(mode))?;
            let time = UNIX_EPOCH + if age == UnitAge::New { NEW } else { OLD };
            file.set_times(FileTimes::new().set_modified(time))?;
        }
    }
    Ok(())
}

/// Puts one file of a unit somewhere, with its time.
fn put(file: &UnitFile, from: &Path, to: &Path, link: bool) -> io::Result<()> {
    make_parent(to)?;
    match &file.content {
        UnitContent::Folder => make_folder(to),
        UnitContent::Link { to: points_to } => symlink(points_to, to),
        UnitContent::File { .. } => {
            // Another file system, or too many links.
            if link && fs::hard_link(from, to).is_ok() {
                return Ok(());
            }
            copy(from, to)?;
            let modified = fs::metadata(from)?.modified()?;
            File::open(to)?.set_times(FileTimes::new().set_modified(modified))
        }
    }
}

/// A copy that shares blocks where the file system can.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let copy = File::create_new(to)?;
    copy.set_permissions(Permissions::from_mode(source.metadata()?.mode() & 0o777))?;
    if rustix::fs::ioctl_ficlone(&copy, &source).is_err() {
        io::copy(&mut &source, &mut &copy)?;
    }
    Ok(())
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Renames a folder that was made aside into its place; `false` if another process was faster.
fn settle(aside: &Path, place: &Path) -> Result<bool, StoreError> {
    let parent = place.parent().expect("a place in the store has a folder around it");
    fs::create_dir_all(parent).map_err(StoreError::io("create the folder", parent))?;
    if !aside.exists() {
        fs::create_dir(aside).map_err(StoreError::io("create the folder", aside))?;
    }
    match fs::rename(aside, place) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
            Ok(false)
        }
        Err(error) => Err(StoreError::io("create", place)(error)),
    }
}

/// Whether cargo and rustc write a new file in place of this one instead of into it.
fn is_replaced(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_compiled = [".rlib", ".rmeta", ".so"].iter().any(|end| name.ends_with(end));
    let is_program = name.starts_with("build-script-") || name.starts_with("build_script_");
    (is_compiled || is_program && !name.contains('.'))
        && !path.contains("fingerprint/")
        && !path.contains("/run/")
}

/// Whether every file has the content that it should have.
fn verify(place: &Path, files: &[UnitFile]) -> bool {
    files.iter().all(|file| {
        let path = place.join(&file.path);
        match &file.content {
            UnitContent::Folder => path.is_dir(),
            UnitContent::Link { to } => fs::read_link(path).is_ok_and(|found| found == Path::new(to)),
            UnitContent::File { digest, .. } => {
                fs::read(path).is_ok_and(|bytes| ContentDigest::of(&bytes) == *digest)
            }
        }
    })
}

/// Which run of the kernel this is; without an answer, one that never comes again.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_else(|_| format!("unknown {}", std::process::id()))
}
