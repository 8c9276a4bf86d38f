//! Files that a command wrote into its sources: kept in the build folder's `upper`, never in the sources themselves.
//!
//! A build script that generates a file beside its sources finds it again in the next run, as it would without a
//! sandbox. But once the user changes, adds or removes that file, the user's version counts: so `written` keeps what lay
//! below each such file when it was written, and what does not fit any more is removed before the next run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{At, EngineError};

/// What lies below a written file: nothing, or a file with these facts.
type Below = Option<(u64, u64, i64, i64)>;

/// Notes what lies below each file in `upper`.
pub(crate) fn note(folder: &Path, sources: &Path) -> Result<(), EngineError> {
    let upper = folder.join("upper");
    let files = files(&upper)?;
    let path = folder.join("written");
    if files.is_empty() && !path.exists() {
        return Ok(());
    }
    let noted: BTreeMap<&Path, Below> =
        files.iter().map(|relative| (relative.as_path(), below(sources, relative))).collect();
    let bytes = serde_json::to_vec(&noted).expect("paths and numbers can be written as JSON");
    fs::write(&path, bytes).at("write", path)
}

/// Removes from `upper` what the user has changed since.
pub(crate) fn refresh(folder: &Path, sources: &Path) -> Result<(), EngineError> {
    let upper = folder.join("upper");
    let noted: BTreeMap<PathBuf, Below> = fs::read(folder.join("written"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    for relative in files(&upper)? {
        if noted.get(&relative) != Some(&below(sources, &relative)) {
            let path = upper.join(&relative);
            fs::remove_file(&path).at("remove", path)?;
        }
    }
    Ok(())
}

fn below(sources: &Path, relative: &Path) -> Below {
    let metadata = fs::symlink_metadata(sources.join(relative)).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Everything in `upper` that is no folder.
fn files(upper: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let mut found = Vec::new();
    let mut folders = vec![upper.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).at("read", &folder)? {
            let entry = entry.at("read", &folder)?;
            if entry.file_type().at("read", entry.path())?.is_dir() {
                folders.push(entry.path());
            } else if let Ok(relative) = entry.path().strip_prefix(upper) {
                found.push(relative.to_owned());
            }
        }
    }
    Ok(found)
}
