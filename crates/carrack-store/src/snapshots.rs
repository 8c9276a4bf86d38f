//! Layers of root file systems as folders, each beside the list of what is in it.
//!
//! ```text
//! <root>/snapshots/<2>/<64hex>/files/…   what overlayfs takes as a lower folder; immutable
//! <root>/snapshots/<2>/<64hex>/listing   what is in it, in the caller's words; its digest is the name
//! <root>/snapshots/<2>/<64hex>/boot      the boot of the machine in which it was written, until it was verified
//! ```
//!
//! Files are not synced one by one: after a power failure they may be empty. A snapshot of another boot is therefore not
//! [`Snapshot::is_sound`] until its keeper has compared it with its list.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use carrack_base::ContentDigest;

use crate::removal::remove_tree;
use crate::units::verify::this_boot;
use crate::usage::entries;
use crate::{Store, StoreError};

const FILES: &str = "files";
const LISTING: &str = "listing";
const BOOT: &str = "boot";

/// A layer that is kept as a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    path: PathBuf,
    /// Whether it is known that a power failure has not hurt it.
    pub is_sound: bool,
}

impl Snapshot {
    /// The folder with the layer's files.
    pub fn files(&self) -> PathBuf {
        self.path.join(FILES)
    }

    /// The file with the list of what is in it.
    pub fn listing(&self) -> PathBuf {
        self.path.join(LISTING)
    }
}

impl Store {
    /// The snapshot `id`, if it is there.
    pub fn snapshot(&self, id: &ContentDigest) -> Option<Snapshot> {
        let path = self.snapshot_place(id);
        fs::symlink_metadata(path.join(LISTING)).ok()?;
        let is_sound = match fs::read_to_string(path.join(BOOT)) {
            Ok(boot) => boot == this_boot(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        Some(Snapshot { path, is_sound })
    }

    /// Keeps the folder `files` as the snapshot `id`, together with its list. Both are gone from `files`' place afterwards,
    /// also if the snapshot was there before.
    ///
    /// `files` is in a scratch folder of this store. Errors: [`StoreError::Io`] or [`StoreError::DiskFull`].
    pub fn keep_snapshot(
        &self,
        id: &ContentDigest,
        files: &Path,
        listing: &[u8],
    ) -> Result<Snapshot, StoreError> {
        let made = self.scratch()?;
        let new = made.path().join("snapshot");
        fs::create_dir(&new).map_err(StoreError::io("create the folder", &new))?;
        let moved = new.join(FILES);
        fs::rename(files, &moved).map_err(StoreError::io("move", files))?;
        for (name, bytes) in [(LISTING, listing), (BOOT, this_boot().as_bytes())] {
            let path = new.join(name);
            let write = |path: &Path| fs::File::create(path)?.write_all(bytes);
            write(&path).map_err(StoreError::io("write", &path))?;
        }
        let place = self.snapshot_place(id);
        let above = place.parent().expect("a snapshot's place has a folder");
        fs::create_dir_all(above).map_err(StoreError::io("create the folder", above))?;
        match fs::rename(&new, &place) {
            // Another build was faster; its snapshot is the same.
            Err(error) if matches!(error.raw_os_error(), Some(NOT_EMPTY | EXISTS)) => {}
            moved => moved.map_err(StoreError::io("create", &place))?,
        }
        Ok(Snapshot { path: place, is_sound: true })
    }

    /// Notes that a snapshot is as its list says.
    ///
    /// Errors: [`StoreError::Io`] if it can't be noted.
    pub fn verified_snapshot(&self, snapshot: Snapshot) -> Result<Snapshot, StoreError> {
        let boot = snapshot.path.join(BOOT);
        match fs::remove_file(&boot) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &boot)(error))
            }
            _ => Ok(Snapshot { is_sound: true, ..snapshot }),
        }
    }

    /// Removes the snapshot `id`, if it is there.
    ///
    /// Nobody may be using it: hold the exclusive lock, or know that it is damaged. Errors: [`StoreError::Io`].
    pub fn remove_snapshot(&self, id: &ContentDigest) -> Result<(), StoreError> {
        let place = self.snapshot_place(id);
        let scratch = self.scratch()?;
        let aside = scratch.path().join("snapshot");
        match fs::rename(&place, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::io("remove", &place)(error)),
            Ok(()) => {
                remove_tree(&aside, None).map_err(|error| StoreError::io("remove", &aside)(error.into()))
            }
        }
    }

    /// Every snapshot that is there.
    ///
    /// Errors: [`StoreError::Io`] if it can't be told which there are.
    pub fn snapshots(&self) -> Result<Vec<ContentDigest>, StoreError> {
        let mut found = Vec::new();
        for folder in entries(&self.root.join("snapshots"))? {
            for place in entries(&folder)? {
                let name = place.file_name().unwrap_or_default().to_string_lossy();
                found.extend(name.parse::<ContentDigest>().ok());
            }
        }
        Ok(found)
    }

    fn snapshot_place(&self, id: &ContentDigest) -> PathBuf {
        let hex = id.to_string();
        self.root.join("snapshots").join(&hex[..2]).join(&hex)
    }
}

const NOT_EMPTY: i32 = rustix::io::Errno::NOTEMPTY.raw_os_error();
const EXISTS: i32 = rustix::io::Errno::EXIST.raw_os_error();
