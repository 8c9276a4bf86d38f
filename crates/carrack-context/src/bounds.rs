//! What belongs to a tree and what is left out of it, by place. Decides; reads nothing but links and tags.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::ContextError;

/// Version control's own folders (or files, for worktrees): they change without any source changing.
const VERSION_CONTROL: [&str; 4] = [".git", ".hg", ".jj", ".svn"];
/// The first bytes of a valid tag. Source: the Cache Directory Tagging Specification, bford.info/cachedir.
const TAG_SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";
pub(crate) const TAG_NAME: &[u8] = b"CACHEDIR.TAG";
/// Folders that hold the machine's state and no sources; reading a file there can block.
const MACHINE_STATE: [&str; 4] = ["/proc", "/sys", "/dev", "/run"];

/// Which tree to walk: a root, and what below it does not belong to it.
#[derive(Debug, Clone)]
pub struct Walk {
    root: PathBuf,
    left_out: Vec<PathBuf>,
}

/// A [`Walk`] with its paths resolved.
pub(crate) struct Bounds {
    /// The root without symlinks.
    pub(crate) root: PathBuf,
    /// What the caller leaves out, absolute: the place, and what is there if the place is a symlink.
    left_out: Vec<PathBuf>,
}

/// What is left out below one folder: names by the relative path of the folder that holds them.
pub(crate) type LeftOut = HashMap<PathBuf, Vec<OsString>>;

impl Walk {
    /// Walks everything below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), left_out: Vec::new() }
    }

    /// Leaves out the file or folder at `path`, relative to the root or absolute. It need not exist.
    #[must_use]
    pub fn without(mut self, path: impl AsRef<Path>) -> Self {
        self.left_out.push(self.root.join(path));
        self
    }

    /// The root as it was given.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Bounds {
    pub(crate) fn new(walk: &Walk) -> Result<Self, ContextError> {
        let root = walk
            .root
            .canonicalize()
            .map_err(|source| ContextError::Root { path: walk.root.clone(), source })?;
        let mut left_out = Vec::new();
        for path in &walk.left_out {
            // What can't be resolved is not there, and needs no leaving out.
            if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
                left_out.extend(parent.canonicalize().ok().map(|parent| parent.join(name)));
            }
            left_out.extend(path.canonicalize().ok());
        }
        left_out.sort();
        left_out.dedup();
        Ok(Self { root, left_out })
    }

    /// The names that the caller leaves out below `folder`, which has no symlinks in it.
    pub(crate) fn left_out_below(&self, folder: &Path) -> LeftOut {
        let mut names = LeftOut::new();
        for path in &self.left_out {
            if let (Ok(relative), Some(name)) = (path.strip_prefix(folder), path.file_name()) {
                let parent = relative.parent().unwrap_or(Path::new(""));
                names.entry(parent.to_owned()).or_default().push(name.to_owned());
            }
        }
        names
    }

    /// Whether a symlink may bring in what is at `place`, which has no symlinks in it. A link never brings back what was
    /// left out of the tree.
    pub(crate) fn admits(&self, place: &Path) -> bool {
        if self.left_out.iter().any(|path| place.starts_with(path)) {
            return false;
        }
        if let Ok(inside) = place.strip_prefix(&self.root) {
            let folders = inside.ancestors().filter(|part| !part.as_os_str().is_empty());
            return !inside.iter().any(is_version_control)
                && !folders.into_iter().any(|folder| is_tagged_at(&self.root.join(folder)));
        }
        !self.root.starts_with(place)
            && !MACHINE_STATE.iter().any(|folder| place.starts_with(folder))
            && !place.file_name().is_some_and(is_version_control)
    }
}

/// Whether something of this name is left out wherever it is.
pub(crate) fn is_version_control(name: &OsStr) -> bool {
    VERSION_CONTROL.iter().any(|known| name == *known)
}

/// Whether `folder` holds a valid tag. An unreadable one is none: the folder is then walked.
pub(crate) fn is_tagged(folder: impl AsFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(tag) = rustix::fs::openat(folder, TAG_NAME, flags, Mode::empty()) else { return false };
    let mut start = [0; TAG_SIGNATURE.len()];
    File::from(tag).read_exact(&mut start).is_ok() && start == *TAG_SIGNATURE
}

fn is_tagged_at(folder: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).is_ok_and(is_tagged)
}
