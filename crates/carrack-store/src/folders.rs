//! Folders whose content belongs to others: build folders, cargo homes, stat caches.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use carrack_base::Cancel;

use crate::removal::remove_tree;
use crate::{Store, StoreError};

/// How often a waiting process looks whether it may go on or has to stop: a blocking flock can't be called off.
pub(crate) const WAIT_STEP: Duration = Duration::from_millis(20);

/// A workspace's build folder, held by this process until dropped.
#[derive(Debug)]
pub struct TargetFolder {
    path: PathBuf,
    _lock: File,
}

impl Store {
    /// Takes the build folder `id`, making it if there is none.
    ///
    /// If another build holds it, `on_wait` is called once, with that build's process id if it is known, before this one
    /// waits for it.
    ///
    /// Errors: [`StoreError::Cancelled`] if `cancel` is set while waiting; [`StoreError::BadId`]; [`StoreError::Io`].
    pub fn target(
        &self,
        id: &str,
        cancel: &Cancel,
        on_wait: impl FnOnce(Option<u32>),
    ) -> Result<TargetFolder, StoreError> {
        let (path, mut lock) = self.open_target(id)?;
        let lock_path = path.join("lock");
        if !try_lock(&lock, &lock_path)? {
            let mut holder = String::new();
            // Not knowing who it is does not keep us from waiting.
            let _ = lock.read_to_string(&mut holder);
            on_wait(holder.trim().parse().ok());
            wait(cancel, &lock_path, || try_lock(&lock, &lock_path))?;
        }
        let note = |mut lock: &File| {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        note(&lock).map_err(StoreError::io("write", &lock_path))?;
        Ok(TargetFolder { path, _lock: lock })
    }

    /// Takes the build folder `id` if no build holds it, without a note that it was used.
    pub(crate) fn try_target(&self, id: &str) -> Result<Option<TargetFolder>, StoreError> {
        let (path, lock) = self.open_target(id)?;
        Ok(try_lock(&lock, &path.join("lock"))?.then_some(TargetFolder { path, _lock: lock }))
    }

    fn open_target(&self, id: &str) -> Result<(PathBuf, File), StoreError> {
        let path = self.folder("targets", id)?;
        let lock_path = path.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&lock_path)
            .map_err(StoreError::io("open", &lock_path))?;
        Ok((path, lock))
    }

    /// The CARGO_HOME `id`, made if there is none. Cargo does its own locking in it.
    ///
    /// Errors: [`StoreError::BadId`]; [`StoreError::Io`] or [`StoreError::DiskFull`] if it can't be made.
    pub fn cargo_home(&self, id: &str) -> Result<PathBuf, StoreError> {
        self.folder("cargo", id)
    }

    /// Where the stat cache `id` is kept. The file need not exist; its folder does.
    ///
    /// Errors: [`StoreError::BadId`].
    pub fn stat_cache_path(&self, id: &str) -> Result<PathBuf, StoreError> {
        check_id(id)?;
        Ok(self.root.join("stat").join(id))
    }

    fn folder(&self, kind: &str, id: &str) -> Result<PathBuf, StoreError> {
        check_id(id)?;
        let path = self.root.join(kind).join(id);
        fs::create_dir_all(&path).map_err(StoreError::io("create the folder", &path))?;
        Ok(path)
    }
}

impl TargetFolder {
    /// The folder. A file `lock` in it is the store's; everything else is the holder's.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what is there under `name`, if anything is: a file, or a folder whatever the modes within it.
    ///
    /// Errors: [`StoreError::Io`] for what can't be removed.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path.join(name);
        match fs::symlink_metadata(&path) {
            Err(_) => Ok(()),
            Ok(metadata) if metadata.is_dir() => {
                remove_tree(&path, None).map_err(|error| StoreError::io("remove", &path)(error.into()))
            }
            Ok(_) => fs::remove_file(&path).map_err(StoreError::io("remove", &path)),
        }
    }
}

/// Calls `attempt` until it says `true`.
pub(crate) fn wait(
    cancel: &Cancel,
    lock_path: &Path,
    mut attempt: impl FnMut() -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    while !attempt()? {
        if cancel.is_cancelled() {
            return Err(StoreError::Cancelled { path: lock_path.to_owned() });
        }
        std::thread::sleep(WAIT_STEP);
    }
    Ok(())
}

/// Whether the exclusive lock was free, and is ours now.
pub(crate) fn try_lock(lock: &File, path: &Path) -> Result<bool, StoreError> {
    is_ours(lock.try_lock(), path)
}

/// Makes a system's answer to a try into whether it succeeded.
pub(crate) fn is_ours(tried: Result<(), TryLockError>, path: &Path) -> Result<bool, StoreError> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(StoreError::io("lock", path)(source)),
    }
}

fn check_id(id: &str) -> Result<(), StoreError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let good = !id.is_empty() && id.len() <= 200 && !id.starts_with('.') && id.bytes().all(is_plain);
    if good { Ok(()) } else { Err(StoreError::BadId { id: id.to_owned() }) }
}
