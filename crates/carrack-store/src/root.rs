//! Creates a store and knows its format. Creation is done under the exclusive lock, and the format file is written last:
//! a store with a format file is whole.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::index::{self, Index};

/// The format that this version reads and writes.
const FORMAT: u64 = 1;
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Carrack's store: build results that can be made again, and nothing else.\n";

/// Whether the store at `root` says that it is whole, and of a format that we know.
pub(crate) fn check_format(root: &Path) -> Result<bool, StoreError> {
    let path = root.join("format");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(StoreError::io("read", &path)(error)),
    };
    let number = str::from_utf8(&text).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
    match number {
        Some(FORMAT) => Ok(true),
        Some(found) if found > FORMAT => Err(StoreError::NewerFormat { path, found, known: FORMAT }),
        _ => Err(StoreError::DamagedFormat { path }),
    }
}

/// Makes what is missing of the store at `root`, unless another process is faster.
pub(crate) fn create(root: &Path) -> Result<Index, StoreError> {
    fs::create_dir_all(root).map_err(StoreError::io("create the folder", root))?;
    let lock = open_lock(root)?;
    lock.lock().map_err(StoreError::io("lock", &lock_path(root)))?;
    // Meanwhile another version of this program may have made the store.
    let had_format = check_format(root)?;
    for folder in
        ["blobs/sha256", "units", "seeds", "snapshots", "mounts", "stat", "targets", "cargo", "scratch"]
    {
        let path = root.join(folder);
        fs::create_dir_all(&path).map_err(StoreError::io("create the folder", &path))?;
    }
    write_file(root, "CACHEDIR.TAG", TAG)?;
    if !root.join(index::FILE).exists() {
        Index::create(root)?;
    }
    let index = Index::open(root)?;
    if !had_format {
        write_file(root, "format", &format!("{FORMAT}\n"))?;
    }
    Ok(index)
}

/// Opens `<root>/lock`, unlocked.
pub(crate) fn open_lock(root: &Path) -> Result<File, StoreError> {
    let path = lock_path(root);
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StoreError::io("open", &path))
}

pub(crate) fn lock_path(root: &Path) -> PathBuf {
    root.join("lock")
}

/// Puts a small file in its place, whole or not at all. The exclusive lock must be held.
fn write_file(root: &Path, name: &str, text: &str) -> Result<(), StoreError> {
    let path = root.join(name);
    let new = root.join(format!("{name}.new"));
    File::create(&new)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        })
        .map_err(StoreError::io("write", &path))
}
