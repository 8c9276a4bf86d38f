//! Which content of files outside of the sources a build folder has seen, and what happened while a command ran.
//!
//! What a command reads outside of its sources is known only after it ran, and the listing in `seen` does not have it. A
//! file there with new content and an older time would pass for unchanged just as a source would.
//!
//! ```text
//! <build folder>/outside   JSON: what lay where when a run last ended well, what has changed since, and when the first
//!                          run began that did not end well after that
//! ```
//!
//! A missing or damaged file knows nothing; then nothing but the command's own comparison of times is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use carrack_base::ContentDigest;
use serde::{Deserialize, Serialize};

use crate::error::{At, EngineError};

/// A moment of the file system's clock: seconds since the epoch, and nanoseconds.
pub(crate) type Moment = (i64, i64);

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outside {
    files: BTreeMap<PathBuf, Option<ContentDigest>>,
    doubtful: BTreeSet<PathBuf>,
    unconfirmed_since: Option<Moment>,
}

impl Outside {
    pub(crate) fn read(folder: &Path) -> Self {
        let bytes = fs::read(folder.join("outside")).ok();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// The files that a run may hold for unchanged although they are not. `digest` tells what is there now.
    pub(crate) fn doubtful(
        &mut self,
        digest: impl Fn(&Path) -> Result<Option<ContentDigest>, EngineError>,
    ) -> Result<BTreeSet<PathBuf>, EngineError> {
        for (path, known) in &self.files {
            if digest(path)? != *known {
                self.doubtful.insert(path.clone());
            }
        }
        Ok(self.doubtful.clone())
    }

    /// Notes that a run begins.
    pub(crate) fn begin(&mut self, folder: &Path) -> Result<(), EngineError> {
        self.write(folder)?;
        if self.unconfirmed_since.is_none() {
            self.unconfirmed_since = changed(&folder.join("outside"));
            self.write(folder)?;
        }
        Ok(())
    }

    /// The files among `read` that may have had another content than now when the command read them: in the run that
    /// began at `began`, or in an earlier one that did not end well, if nobody knew of the file then.
    pub(crate) fn unsettled(
        &self,
        read: &BTreeMap<PathBuf, Option<ContentDigest>>,
        began: Moment,
    ) -> BTreeSet<PathBuf> {
        let since = self.unconfirmed_since.unwrap_or(began);
        let unsettled =
            |path: &Path| changed_since(path, if self.files.contains_key(path) { began } else { since });
        read.keys().filter(|path| unsettled(path)).cloned().collect()
    }

    /// Notes that a run has ended well and has read these files.
    pub(crate) fn end(
        &mut self,
        read: &BTreeMap<PathBuf, Option<ContentDigest>>,
        folder: &Path,
    ) -> Result<(), EngineError> {
        for path in std::mem::take(&mut self.doubtful) {
            // What depended on it is gone.
            self.files.remove(&path);
        }
        self.files.extend(read.iter().map(|(path, digest)| (path.clone(), *digest)));
        self.unconfirmed_since = None;
        self.write(folder)
    }

    fn write(&self, folder: &Path) -> Result<(), EngineError> {
        let path = folder.join("outside");
        let draft = folder.join("outside.new");
        let bytes = serde_json::to_vec(self).expect("paths, digests and numbers can be written as JSON");
        fs::write(&draft, bytes).at("write", &draft)?;
        fs::rename(&draft, &path).at("replace", path)
    }
}

/// When the file, or its name, last changed; nobody can set this back.
pub(crate) fn changed(path: &Path) -> Option<Moment> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.ctime(), metadata.ctime_nsec()))
}

/// Whether the file, or anything in the folder, changed after `since`.
fn changed_since(path: &Path, since: Moment) -> bool {
    if changed(path).is_some_and(|changed| changed > since) {
        return true;
    }
    // A link's target counts as well.
    if fs::metadata(path).is_ok_and(|metadata| (metadata.ctime(), metadata.ctime_nsec()) > since) {
        return true;
    }
    let Ok(entries) = fs::read_dir(path) else { return false };
    entries.flatten().any(|entry| {
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link {
            changed(&entry.path()).is_some_and(|changed| changed > since)
        } else {
            changed_since(&entry.path(), since)
        }
    })
}
