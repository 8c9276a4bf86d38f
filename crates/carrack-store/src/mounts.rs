//! Folders that steps mount and that outlive them: caches by name.
//!
//! ```text
//! <root>/mounts/<64hex>/name        what it is called; the folder's name is the digest of that
//! <root>/mounts/<64hex>/<n>/…       the n-th folder of that name; number 0 is everyone's, others are for who wants one alone
//! <root>/mounts/<64hex>/<n>.lock    flock: shared by its users, exclusive for who wants no other
//! ```

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use carrack_base::{Cancel, ContentDigest};

use crate::folders::{is_ours, try_lock, wait};
use crate::removal::remove_tree;
use crate::usage::{entries, size_of};
use crate::{Store, StoreError};

/// Who may use a mounted folder at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Others too.
    Shared,
    /// Nobody else: it is waited for.
    Locked,
    /// Nobody else: if it is taken, there is another one.
    Private,
}

/// A mounted folder, held by this process until dropped.
#[derive(Debug)]
pub struct MountFolder {
    path: PathBuf,
    /// Whether it was made just now, and is empty.
    pub is_new: bool,
    _lock: File,
}

impl MountFolder {
    /// The folder; its content belongs to whoever mounts it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store {
    /// Takes the folder `name`, making it if there is none. `on_wait` is called once if it has to be waited for.
    ///
    /// Errors: [`StoreError::Cancelled`] if `cancel` is set while waiting; [`StoreError::Io`].
    pub fn mount_folder(
        &self,
        name: &str,
        hold: Hold,
        cancel: &Cancel,
        on_wait: impl FnOnce(),
    ) -> Result<MountFolder, StoreError> {
        let home = self.mount_home(name);
        fs::create_dir_all(&home).map_err(StoreError::io("create the folder", &home))?;
        let label = home.join("name");
        // Its time says when the folder was used.
        fs::write(&label, name).map_err(StoreError::io("write", &label))?;
        let open = |number: u32| {
            let path = home.join(format!("{number}.lock"));
            let lock = File::options().create(true).truncate(false).write(true).open(&path);
            Ok((lock.map_err(StoreError::io("open", &path))?, path))
        };
        let mut number = 0;
        let lock = loop {
            let (lock, path) = open(number)?;
            let attempt = || match hold {
                Hold::Shared => is_ours(lock.try_lock_shared(), &path),
                Hold::Locked | Hold::Private => try_lock(&lock, &path),
            };
            if attempt()? {
                break lock;
            }
            if hold == Hold::Private {
                number += 1;
                continue;
            }
            on_wait();
            wait(cancel, &path, attempt)?;
            break lock;
        };
        let path = home.join(number.to_string());
        let is_new = match fs::create_dir(&path) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(StoreError::io("create the folder", &path)(error)),
        };
        Ok(MountFolder { path, is_new, _lock: lock })
    }
}

/// A mounted folder, with all that have its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountUsage {
    /// What it is called.
    pub name: String,
    /// What its files take on the disk, in bytes.
    pub size: u64,
    /// Seconds since the epoch, UTC.
    pub used_at: i64,
}

impl Store {
    /// The mounted folders that there are.
    ///
    /// Errors: [`StoreError::Io`] if it can't be told which there are.
    pub fn mount_folders(&self) -> Result<Vec<MountUsage>, StoreError> {
        let mut found = Vec::new();
        for home in entries(&self.root.join("mounts"))? {
            // One that is removed meanwhile is none.
            let Ok(name) = fs::read_to_string(home.join("name")) else { continue };
            let used_at =
                fs::metadata(home.join("name")).map(|metadata| metadata.mtime()).unwrap_or_default();
            found.push(MountUsage { name, size: size_of(&home), used_at });
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Removes the folders `name`, but those that somebody uses; returns whether that were all.
    ///
    /// Errors: [`StoreError::Io`] for what can't be removed.
    pub fn clear_mount(&self, name: &str) -> Result<bool, StoreError> {
        let home = self.mount_home(name);
        let mut all = true;
        for path in entries(&home)?.into_iter().filter(|path| path.is_dir()) {
            let lock_path = path.with_extension("lock");
            let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
            let lock = lock.map_err(StoreError::io("open", &lock_path))?;
            if try_lock(&lock, &lock_path)? {
                remove_tree(&path, None).map_err(|error| StoreError::io("remove", &path)(error.into()))?;
            } else {
                all = false;
            }
        }
        if all {
            // The lock files stay where somebody waits for them: a new folder begins beside them.
            let label = home.join("name");
            fs::remove_file(&label).map_err(StoreError::io("remove", &label))?;
        }
        Ok(all)
    }

    fn mount_home(&self, name: &str) -> PathBuf {
        self.root.join("mounts").join(ContentDigest::of(name.as_bytes()).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_use_a_folder_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let cancel = Cancel::default();
        let take = |hold| store.mount_folder("registry", hold, &cancel, || {}).unwrap();
        let (first, second) = (take(Hold::Shared), take(Hold::Shared));
        assert!(first.is_new && !second.is_new);
        assert_eq!(first.path(), second.path());
        let own = take(Hold::Private);
        assert_ne!(own.path(), first.path());
        cancel.cancel(2);
        let waited = store.mount_folder("registry", Hold::Locked, &cancel, || {});
        assert!(matches!(waited, Err(StoreError::Cancelled { .. })));
        drop((first, second));
        let alone = store.mount_folder("registry", Hold::Locked, &cancel, || panic!("it is free")).unwrap();
        assert!(!alone.is_new);
        assert!(!store.clear_mount("registry").unwrap(), "one is in use");
        drop((alone, own));
        assert_eq!(store.mount_folders().unwrap()[0].name, "registry");
        assert!(store.clear_mount("registry").unwrap());
        assert_eq!(store.mount_folders().unwrap(), []);
        assert!(take(Hold::Shared).is_new);
    }
}
