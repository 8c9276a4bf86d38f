//! What the store's folders take, and how build folders go.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{Store, StoreError};

/// A folder of the store whose content is not the store's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderUsage {
    /// Its name.
    pub id: String,
    /// Where it is.
    pub path: PathBuf,
    /// What its files take on the disk, in bytes; a file with several names counts once.
    pub size: u64,
    /// Seconds since the epoch, UTC.
    pub used_at: i64,
}

impl Store {
    /// The build folders that hold something.
    ///
    /// Errors: [`StoreError::Io`] if it can't be told which there are.
    pub fn target_folders(&self) -> Result<Vec<FolderUsage>, StoreError> {
        self.folders_of("targets", "lock")
    }

    /// The cargo homes.
    ///
    /// Errors: [`StoreError::Io`] if it can't be told which there are.
    pub fn cargo_homes(&self) -> Result<Vec<FolderUsage>, StoreError> {
        self.folders_of("cargo", "")
    }

    /// How many blobs there are, and their sizes together in bytes.
    ///
    /// Errors: [`StoreError::Io`] if it can't be told which there are.
    pub fn blobs_size(&self) -> Result<(u64, u64), StoreError> {
        let mut all = (0, 0);
        for folder in entries(&self.root.join("blobs/sha256"))? {
            for blob in entries(&folder)? {
                // One that is removed meanwhile is none.
                if let Ok(metadata) = fs::symlink_metadata(blob) {
                    all = (all.0 + 1, all.1 + metadata.len());
                }
            }
        }
        Ok(all)
    }

    /// Empties the build folder `id`, unless a build holds it; returns whether it did.
    ///
    /// Errors: [`StoreError::BadId`]; [`StoreError::Io`] for what can't be removed.
    pub fn clear_target(&self, id: &str) -> Result<bool, StoreError> {
        let Some(folder) = self.try_target(id)? else { return Ok(false) };
        for entry in entries(folder.path())? {
            let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Whoever waits for the lock waits for this very file.
            if name != "lock" {
                folder.remove(&name)?;
            }
        }
        Ok(true)
    }

    fn folders_of(&self, kind: &str, stamp: &str) -> Result<Vec<FolderUsage>, StoreError> {
        let mut found = Vec::new();
        for path in entries(&self.root.join(kind))? {
            let Ok(metadata) = fs::metadata(path.join(stamp)) else { continue };
            let mut seen = HashSet::new();
            let size = size_below(&path, stamp, &mut seen);
            if size > 0 {
                let id = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                found.push(FolderUsage { id, path, size, used_at: metadata.mtime() });
            }
        }
        found.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }
}

/// What the files of a folder take on the disk, in bytes.
pub(crate) fn size_of(folder: &Path) -> u64 {
    size_below(folder, "", &mut HashSet::new())
}

/// What can't be read, because it is removed meanwhile or another user's, does not count.
fn size_below(folder: &Path, spare: &str, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let mut size = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            size += size_below(&entry.path(), "", seen);
        } else if entry.file_name() != spare && seen.insert((metadata.dev(), metadata.ino())) {
            size += metadata.blocks() * 512;
        }
    }
    size
}

/// What is in a folder, which may be missing.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let error = |source| StoreError::io("read the folder", folder)(source);
    match fs::read_dir(folder) {
        Err(missing) if missing.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(error)?.map(|entry| entry.map(|entry| entry.path()).map_err(error)).collect(),
    }
}
