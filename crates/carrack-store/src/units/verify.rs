//! Which units may be used: those that are kept and, if the machine was started anew since they were written, whose files
//! have their digests.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use carrack_base::{ContentDigest, UnitContent, UnitFile, open_regular_itself};

use super::files::{mode, on_threads, set_time};
use super::place::{UnitAge, set_folder_times};
use super::rows::Kept;
use crate::{Store, StoreError};

impl Store {
    /// Verifies those of `units` that were written before the machine was started, if that was not done yet. Forgets and
    /// leaves out those that are damaged.
    pub(super) fn trust(&self, units: Vec<Kept>) -> Result<Vec<Kept>, StoreError> {
        let is_trusted = |unit: &Kept| unit.boot.as_deref().is_none_or(|boot| boot == this_boot());
        let (mut trusted, doubtful): (Vec<Kept>, Vec<Kept>) = units.into_iter().partition(is_trusted);
        if doubtful.is_empty() {
            return Ok(trusted);
        }
        let ids: Vec<ContentDigest> = doubtful.iter().map(|unit| unit.id).collect();
        // A unit that was forgotten and kept anew in the meantime is not the one that was asked about.
        let doubtful = match doubtful.iter().all(|unit| unit.files.is_some()) {
            true => doubtful,
            false => self.load_units(&ids, true)?,
        };
        let good = Mutex::new(Vec::new());
        on_threads(&doubtful, |unit| {
            let files = unit.files.as_deref().unwrap_or_default();
            let is_good = unit.files.is_some() && is_sound(&self.unit_place(&unit.id), files, unit.age);
            if is_good {
                good.lock().unwrap_or_else(PoisonError::into_inner).push(unit.serial);
            }
            Ok(())
        })?;
        let good = good.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (sound, damaged): (Vec<Kept>, Vec<Kept>) =
            doubtful.into_iter().partition(|unit| good.contains(&unit.serial));
        self.forget_serials(&damaged.iter().map(|unit| (unit.id, unit.serial)).collect::<Vec<_>>())?;
        if !good.is_empty() {
            // Otherwise the next build verifies them again.
            let _ = self.note_verified(&good);
        }
        trusted.extend(sound);
        trusted.sort_by_key(|unit| unit.id);
        Ok(trusted)
    }
}

/// Whether the files of a unit are what they should be. Times and modes that are not are set again: they may have been lost
/// where the contents were not.
fn is_sound(folder: &Path, files: &[UnitFile], age: UnitAge) -> bool {
    let times = || set_folder_times(&folder.into(), files.iter().map(|file| file.path.as_str()));
    files.iter().all(|file| is_as_listed(folder, file, age).unwrap_or(false)) && times().is_ok()
}

fn is_as_listed(folder: &Path, file: &UnitFile, age: UnitAge) -> io::Result<bool> {
    let path = folder.join(&file.path);
    let metadata = fs::symlink_metadata(&path)?;
    match &file.content {
        UnitContent::File { digest, size, executable } => {
            if !metadata.is_file() || metadata.len() != *size {
                return Ok(false);
            }
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(open_regular_itself(&path)?)?;
            if hasher.finalize().as_bytes() != digest.as_bytes() {
                return Ok(false);
            }
            if metadata.permissions().mode() & 0o7777 != mode(*executable) {
                fs::set_permissions(&path, Permissions::from_mode(mode(*executable)))?;
            }
            set_time(&path, age.seconds_at(&file.path))?;
            Ok(true)
        }
        UnitContent::Link { to } => {
            if !metadata.is_symlink() || fs::read_link(&path)? != Path::new(to) {
                return Ok(false);
            }
            set_time(&path, age.seconds_at(&file.path))?;
            Ok(true)
        }
        UnitContent::Folder => Ok(metadata.is_dir()),
    }
}

/// What tells this boot of the machine from all others. Where the kernel does not say, every process is a boot of its own:
/// units are verified more often than need be.
pub(crate) fn this_boot() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| match fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(id) => id.trim().to_owned(),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            format!("unknown-{}-{}", std::process::id(), now.as_nanos())
        }
    })
}
