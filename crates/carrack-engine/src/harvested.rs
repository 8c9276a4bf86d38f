//! What runs of a program in a folder of units that is not Carrack's have in common, whoever started them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use carrack_base::ContentDigest;
use carrack_graph::HarvestedUnit;
use carrack_store::{NewUnit, Store, StoreError, Taking, UnitAge, UnitsFolder};
use rustix::fs::OFlags;

/// How long another program in the same folder is waited for, if it need not be.
pub const PATIENCE: Duration = Duration::from_millis(500);
const STEP: Duration = Duration::from_millis(10);

/// Takes the locks `names` in `folder`: the first in any case, the others if they are there. `None` if somebody else holds
/// one until `has_to_stop` says so, which is told how long that has been. `made` is told of a lock file that was made.
///
/// Errors: one of them can't be opened, or is a link.
pub fn take_locks(
    folder: &Path,
    names: &[&str],
    has_to_stop: &dyn Fn(Duration) -> bool,
    made: &dyn Fn(&Path) -> io::Result<()>,
) -> io::Result<Option<Vec<File>>> {
    let started = Instant::now();
    let mut held = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let path = folder.join(name);
        let is_missing = fs::symlink_metadata(&path).is_err();
        if is_missing && number > 0 {
            continue;
        }
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = File::options();
        let file =
            options.read(true).write(true).create(true).truncate(false).custom_flags(flags).open(&path)?;
        if is_missing {
            made(&path)?;
        }
        while let Err(TryLockError::WouldBlock) = file.try_lock() {
            if has_to_stop(started.elapsed()) {
                return Ok(None);
            }
            std::thread::sleep(STEP);
        }
        held.push(file);
    }
    Ok(Some(held))
}

/// Keeps copies of the units `harvested` of `folder`, and makes those there like the kept ones. Returns how many are new.
///
/// Errors: the store's; one of them changed meanwhile.
pub fn keep_harvested(
    store: &Store,
    (realm, workspace): (ContentDigest, &str),
    harvested: Vec<HarvestedUnit>,
    folder: &UnitsFolder,
) -> Result<usize, StoreError> {
    let ids: Vec<ContentDigest> = harvested.iter().map(|unit| unit.id).collect();
    let units = harvested.into_iter().map(|unit| NewUnit {
        id: unit.id,
        realm,
        package: unit.package,
        workspace: workspace.to_owned(),
        record: unit.record,
        needs: unit.needs,
        files: unit.files,
        age: UnitAge::Old,
        from: folder.clone(),
    });
    let number = store.keep_units(units.collect(), Taking::Copy)?;
    // From now on they are like those that were put there.
    store.settle(&ids, folder)?;
    Ok(number)
}
