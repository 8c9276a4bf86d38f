//! What a tool may ask about the files that its command sees: the host's, with what earlier runs wrote above them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use carrack_base::ContentDigest;
use carrack_graph::{ExecOp, Places, World};

use crate::inputs::{Inputs, Sources};
use crate::written;

/// A moment of the file system's clock: seconds since the epoch, and nanoseconds.
pub(crate) type Moment = (i64, i64);

/// The files of one run.
pub(crate) struct Seen<'a> {
    pub(crate) inputs: &'a Inputs<'a>,
    pub(crate) sources: &'a Sources,
    pub(crate) op: &'a ExecOp,
    pub(crate) places: &'a Places,
    /// The folder of the host over which `upper` lies.
    pub(crate) writable: &'a Path,
    /// What earlier runs wrote among the sources.
    pub(crate) upper: PathBuf,
    /// Whether the command runs where only it writes to `upper`.
    pub(crate) isolated: bool,
    /// When the run began.
    pub(crate) began: Moment,
    pub(crate) contents: Mutex<HashMap<PathBuf, Option<ContentDigest>>>,
}

/// Where something that the command sees lies.
enum Place {
    /// The command wrote it.
    Upper(PathBuf),
    Host(PathBuf),
    /// The command removed it.
    Removed,
}

impl Seen<'_> {
    fn place(&self, seen: &Path) -> Place {
        let host = self.places.on_host(seen);
        let Ok(relative) = host.strip_prefix(self.writable) else { return Place::Host(host) };
        if self.writable.as_os_str().is_empty() {
            return Place::Host(host);
        }
        let above = self.upper.join(relative);
        match fs::symlink_metadata(&above) {
            // The mark of something that was removed.
            Ok(found) if found.file_type().is_char_device() => Place::Removed,
            Ok(found) if !found.is_dir() || !host.is_dir() => Place::Upper(above),
            Ok(_) | Err(_) => Place::Host(host),
        }
    }

    fn read(&self, seen: &Path) -> Option<ContentDigest> {
        match self.place(seen) {
            Place::Host(host) => self.inputs.digest(&host).ok().flatten(),
            Place::Upper(path) => content(&path).ok().flatten(),
            Place::Removed => None,
        }
    }
}

impl World for Seen<'_> {
    fn content(&self, seen: &Path) -> Option<ContentDigest> {
        let mut contents = self.contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(content) = contents.get(seen) {
            return *content;
        }
        let content = self.read(seen);
        contents.insert(seen.to_owned(), content);
        content
    }

    fn modified(&self, seen: &Path) -> Option<SystemTime> {
        let place = match self.place(seen) {
            Place::Host(path) | Place::Upper(path) => path,
            Place::Removed => return None,
        };
        fs::symlink_metadata(place).and_then(|metadata| metadata.modified()).ok()
    }

    fn settled(&self, seen: &Path) -> bool {
        match self.place(seen) {
            Place::Host(host) => newest(&host).is_none_or(|changed| changed <= self.began),
            Place::Upper(_) | Place::Removed => self.isolated,
        }
    }

    fn sources(&self) -> Vec<(PathBuf, ContentDigest)> {
        let listing = self.sources.listing();
        let seen = |name: &str| self.sources.on_host(name).map(|host| self.places.inside(&host));
        listing.into_iter().filter_map(|(name, content)| Some((seen(&name)?, content))).collect()
    }

    fn written(&self) -> BTreeMap<PathBuf, ContentDigest> {
        let mut contents = BTreeMap::new();
        for path in written::paths(&self.upper).unwrap_or_default() {
            let place = self.upper.join(&path);
            // A mark has no content, and is told apart from a file by that.
            let digest = content(&place).ok().flatten().unwrap_or_else(|| ContentDigest::from_bytes([0; 32]));
            contents.insert(self.places.inside(&self.writable.join(path)), digest);
        }
        contents
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.op.env.get(name).map(|value| value.value.clone())
    }

    fn on_host(&self, seen: &Path) -> PathBuf {
        self.places.on_host(seen)
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.places.inside(path)
    }
}

/// The content of a file, or of a folder with all that is in it, where no stat cache knows it.
fn content(path: &Path) -> io::Result<Option<ContentDigest>> {
    let found = fs::symlink_metadata(path)?;
    if found.is_symlink() {
        return Ok(Some(ContentDigest::of(fs::read_link(path)?.as_os_str().as_encoded_bytes())));
    }
    if found.is_file() {
        return Ok(Some(ContentDigest::of(&fs::read(path)?)));
    }
    if !found.is_dir() {
        return Ok(None);
    }
    let mut names =
        fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    let mut facts = Vec::new();
    for name in names {
        facts.extend_from_slice(name.as_encoded_bytes());
        facts.push(0);
        facts.extend(content(&path.join(name))?.iter().flat_map(|digest| *digest.as_bytes()));
    }
    Ok(Some(ContentDigest::of(&facts)))
}

/// When something was last changed, by the time that nobody can set back; of a folder, the newest of all that is in it.
fn newest(path: &Path) -> Option<Moment> {
    let own = changed(path)?;
    if !path.is_dir() {
        return Some(own);
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    // What is marked as a cache is no part of a folder's content.
    let below = entries.map(|entry| entry.path()).filter(|path| !path.join("CACHEDIR.TAG").exists());
    below.filter_map(|path| newest(&path)).chain([own]).max()
}

/// When a file was last changed. Without an answer, nothing is there.
pub(crate) fn changed(path: &Path) -> Option<Moment> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let found = if metadata.is_symlink() { fs::metadata(path).ok()? } else { metadata };
    Some((found.ctime(), found.ctime_nsec()))
}
