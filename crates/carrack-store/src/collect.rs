//! Leases and collection: a build holds a lease, and blobs and seeds are only removed while nobody does.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::time::{Duration, Instant};

use carrack_base::{Cancel, Digest};

use crate::folders::{WAIT_STEP, is_ours, try_lock, wait};
use crate::root::{lock_path, open_lock};
use crate::{Store, StoreError};

/// While it is held, no blob is removed, and no seed. Any number of processes hold one each.
#[derive(Debug)]
pub struct Lease {
    _lock: File,
}

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Number of blobs.
    pub blobs: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
}

impl Store {
    /// Takes a lease and removes the scratch folders of dead processes: what a build does first.
    ///
    /// Waits while a collection runs. Errors: [`StoreError::Cancelled`] if `cancel` is set while waiting;
    /// [`StoreError::Io`] if the lock file can't be opened or locked.
    pub fn lease(&self, cancel: &Cancel) -> Result<Lease, StoreError> {
        let path = lock_path(&self.root);
        let lock = open_lock(&self.root)?;
        wait(cancel, &path, || is_ours(lock.try_lock_shared(), &path))?;
        self.sweep_scratch();
        Ok(Lease { _lock: lock })
    }

    /// Removes every blob that no image refers to, be it one of this store or one that others are based on, and corrupt ones that were moved away. Of units, it removes only what
    /// no row names; [`Store::prune_units`] does the rest.
    ///
    /// `live` is asked once for each manifest that has a name, here or elsewhere ([`crate::Bucket::Image`]), and returns the digests of the blobs that it refers to; the manifest
    /// itself stays anyway. It should fail rather than answer without knowing, except for a manifest that is missing or
    /// corrupt: nothing of such an image is live. The results of steps are not asked about: their blobs go, and the steps
    /// run again.
    ///
    /// Errors: [`StoreError::Busy`] if other processes (or this one) hold leases for longer than `patience`; what `live`
    /// fails with, before anything is removed; [`StoreError::Io`] for a blob that can't be removed.
    pub fn collect(
        &self,
        patience: Duration,
        live: impl Fn(&Digest) -> Result<Vec<Digest>, StoreError>,
    ) -> Result<Collected, StoreError> {
        let _lock = self.exclude_leases(patience)?;
        self.sweep_scratch();
        self.sweep_units()?;
        let mut manifests: HashSet<Digest> = self.images()?.into_iter().map(|image| image.manifest).collect();
        manifests.extend(self.named_manifests()?);
        let mut kept: HashSet<OsString> = HashSet::new();
        for manifest in &manifests {
            kept.insert(manifest.hex().into());
            kept.extend(live(manifest)?.iter().map(|digest| OsString::from(digest.hex())));
        }
        self.remove_blobs_but(&kept)
    }

    /// Takes the exclusive lock: nobody holds a lease while it is held, so that snapshots can be removed.
    ///
    /// Errors: [`StoreError::Busy`] if other processes (or this one) hold leases for longer than `patience`.
    pub fn exclude_leases(&self, patience: Duration) -> Result<File, StoreError> {
        let path = lock_path(&self.root);
        let lock = open_lock(&self.root)?;
        let started = Instant::now();
        while !try_lock(&lock, &path)? {
            let waited = started.elapsed();
            if waited >= patience {
                return Err(StoreError::Busy { path, waited });
            }
            std::thread::sleep(WAIT_STEP.min(patience - waited));
        }
        Ok(lock)
    }

    fn remove_blobs_but(&self, kept: &HashSet<OsString>) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        let blobs = self.root.join("blobs/sha256");
        for folder in fs::read_dir(&blobs).map_err(StoreError::io("read the folder", &blobs))? {
            let folder = folder.map_err(StoreError::io("read the folder", &blobs))?.path();
            for blob in fs::read_dir(&folder).map_err(StoreError::io("read the folder", &folder))? {
                let blob = blob.map_err(StoreError::io("read the folder", &folder))?;
                if kept.contains(&blob.file_name()) {
                    continue;
                }
                let path = blob.path();
                collected.bytes += blob.metadata().map_err(StoreError::io("read", &path))?.len();
                collected.blobs += 1;
                fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            }
        }
        Ok(collected)
    }
}
