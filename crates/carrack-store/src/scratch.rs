//! Temporary folders that go with their process.
//!
//! A folder is its process's as long as the flock on the file `lock` in it is held. Between the folder, the file and the
//! flock another process may come by, find it unheld and remove it: the maker notices, because its file has no name any
//! more, and makes another.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::removal::remove_tree;
use crate::{Store, StoreError};

const LOCK: &str = "lock";

/// A folder for temporary files on the store's own file system. Removed with all that is in it when dropped, or by another
/// process if this one dies.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Makes a scratch folder.
    ///
    /// Errors: [`StoreError::Io`] or [`StoreError::DiskFull`] if it can't be made.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let path = self.scratch_folder().join(format!("{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // A dead process had our number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.map_err(StoreError::io("create the folder", &path))?,
            }
            if let Some(lock) = hold(&path)? {
                return Ok(Scratch { path, _lock: lock });
            }
        }
    }

    /// Removes the scratch folders of dead processes. What can't be removed (files that another user's process made) stays,
    /// and is tried again next time.
    pub(crate) fn sweep_scratch(&self) {
        let Ok(folders) = fs::read_dir(self.scratch_folder()) else { return };
        for folder in folders.flatten().filter(|folder| is_scratch_name(&folder.file_name())) {
            let path = folder.path();
            match File::open(path.join(LOCK)) {
                Ok(lock) => {
                    // Without a name, the lock is that of a folder that is gone, and another may have its place.
                    if lock.try_lock().is_ok() && has_name(&lock).unwrap_or(false) {
                        // The lock goes last, so that a folder that is half removed is found again.
                        let _ = remove_tree(&path, Some(LOCK));
                    }
                }
                // Its maker died before it could lock it, or notices now that it is gone.
                Err(_) => drop(fs::remove_dir(&path)),
            }
        }
    }

    fn scratch_folder(&self) -> PathBuf {
        self.root.join("scratch")
    }
}

impl Scratch {
    /// The folder. A file `lock` in it is the store's.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is removed by whoever sweeps next.
        let _ = remove_tree(&self.path, Some(LOCK));
    }
}

/// Locks a new scratch folder. `None` if another process removed it in the meantime.
fn hold(path: &Path) -> Result<Option<File>, StoreError> {
    let lock_path = path.join(LOCK);
    let lock = match File::create(&lock_path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        made => made.map_err(StoreError::io("create", &lock_path))?,
    };
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &lock_path)(error)),
    }
    let is_there = has_name(&lock).map_err(StoreError::io("read", &lock_path))?;
    Ok(is_there.then_some(lock))
}

fn has_name(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 0)
}

fn is_scratch_name(name: &std::ffi::OsStr) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    name.to_str()
        .and_then(|name| name.split_once('-'))
        .is_some_and(|(pid, number)| is_number(pid) && is_number(number))
}
