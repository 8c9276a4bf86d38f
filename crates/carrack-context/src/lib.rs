//! Walks and hashes a folder where it lies: as a source tree that cargo compiles, or as a context that Docker builds from.
//!
//! Owns: what belongs to a tree ([`Walk`]), its content ([`Tree`]), the content of a context ([`Context`]), and the memory
//! of which file had which content ([`StatCache`]). [`tree`] and [`context`] put them together; [`file_digest`] does the
//! same for one file elsewhere.
//!
//! | met during the walk | in the tree as | in the context as |
//! | --- | --- | --- |
//! | file | [`EntryKind::File`], with the digest of its bytes | [`ContextKind::File`], with the digest of its bytes and attributes |
//! | symlink to a file | [`EntryKind::Symlink`], with the digest of that file's bytes | its text |
//! | symlink to a folder inside the tree | its text; the folder is walked at its own place | its text |
//! | symlink to a folder outside | its text, and the folder's entries below the link's path; each folder once | its text |
//! | symlink that leads nowhere, to what is left out, to a folder that holds the tree, to `/proc`, `/sys`, `/dev`, `/run` | its text | its text |
//! | fifo, device | [`EntryKind::Other`]; never opened | [`ContextKind::Other`]; never opened |
//! | socket | [`EntryKind::Other`] | nothing |
//! | folder | only what is in it: an empty folder leaves no trace | [`ContextKind::Directory`] |
//! | `.git`, `.hg`, `.jj`, `.svn`; a folder with a valid `CACHEDIR.TAG`, unless it is the root | nothing | as any other |
//! | what the caller leaves out | nothing | nothing; a folder is back if anything in it is |
//!
//! Modification times decide what is read again and never what is in the tree. A context knows them, because they are
//! copied, but they are in none of its digests.
//!
//! Deliberately not here: `.gitignore` (cargo and Docker read ignored files), what a `.dockerignore` means (the caller hands
//! in a [`ContextFilter`]), copying, and the place where the cache is kept.
//!
//! Fails with [`ContextError`] on what can't be read. What vanishes during the walk counts as absent, and what can't be
//! read behind a symlink counts as having no content, because the tree's owner may not own it.

mod attributes;
mod bounds;
mod content;
mod context;
mod folders;
mod listing;
mod stat;
mod tree;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use carrack_base::{Cancel, ContentDigest};
use rustix::fs::FileType;

use content::Coverage;

pub use bounds::Walk;
pub use context::{Context, ContextEntry, ContextFilter, ContextKind};
pub use stat::StatCache;
pub use tree::{Entry, EntryKind, Tree};

/// Why a tree or a file could not be hashed, or a cache not be kept.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The root of a walk is not a folder that can be opened.
    #[error("cannot open the folder {path}", path = path.display())]
    Root {
        /// The root as the caller gave it.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file or folder in the tree can't be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The root joined with the path in the tree.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A single file was asked for and something else is there.
    #[error("{path} is not a regular file", path = path.display())]
    NotAFile {
        /// The path as the caller gave it.
        path: PathBuf,
    },
    /// The stat cache could not be written; the next run hashes again what this one learned.
    #[error("cannot write the stat cache {path}", path = path.display())]
    Save {
        /// The cache's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The build was told to stop.
    #[error("stopped while reading {root}", root = root.display())]
    Cancelled {
        /// The root of the walk.
        root: PathBuf,
    },
}

/// Walks a tree and returns its content, reading only what `cache` does not vouch for.
///
/// `cache` learns what was read and forgets what is gone; the caller saves it. One cache serves one root: another
/// root's entries do no harm, but each walk forgets the other's.
///
/// Errors: [`ContextError::Root`] if the root is no folder, [`ContextError::Read`] for the first thing in it that can't
/// be read, [`ContextError::Cancelled`] once `cancel` is set.
pub fn tree(walk: &Walk, cache: &mut StatCache, cancel: &Cancel) -> Result<Tree, ContextError> {
    let mut listing = listing::list(walk, cancel)?;
    content::fill(&mut listing, cache, walk.root(), Coverage::Content, cancel)?;
    Ok(listing.into_tree())
}

/// Walks a folder as Docker takes a build context, and returns its content, reading only what `cache` does not vouch for.
///
/// What `filter` ignores is left out, as by a `.dockerignore`; without one everything counts. `cache` is used and filled as
/// by [`tree`]: a cache that served a tree before does no harm, but each walk forgets the other's.
///
/// Errors: [`ContextError::Root`] if the root is no folder, [`ContextError::Read`] for the first thing in it that can't
/// be read, [`ContextError::Cancelled`] once `cancel` is set.
pub fn context(
    root: &Path,
    filter: Option<&dyn ContextFilter>,
    cache: &mut StatCache,
    cancel: &Cancel,
) -> Result<Context, ContextError> {
    let mut draft = context::Draft::list(root, filter, cancel)?;
    content::fill(&mut draft.files, cache, root, Coverage::Attributes, cancel)?;
    Ok(draft.finish())
}

/// Returns the digest of one file's bytes, or `None` if nothing is there. Symlinks are followed.
///
/// Meant for inputs outside of the tree. The cache keeps them by absolute path, beside the tree's entries, and forgets
/// one when it finds it gone.
///
/// Errors: [`ContextError::NotAFile`] for a folder or a device (neither is opened), [`ContextError::Read`] for
/// everything else that keeps the bytes from us.
pub fn file_digest(path: &Path, cache: &mut StatCache) -> Result<Option<ContentDigest>, ContextError> {
    let read_error = |source: io::Error| ContextError::Read { path: path.to_owned(), source };
    let absolute = std::path::absolute(path).map_err(read_error)?;
    let key = absolute.as_os_str().as_bytes();
    let stat = match rustix::fs::stat(&absolute) {
        Ok(stat) => stat,
        Err(errno) if content::is_absence(errno) => {
            cache.forget_elsewhere(key);
            return Ok(None);
        }
        Err(errno) => return Err(read_error(errno.into())),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(ContextError::NotAFile { path: path.to_owned() });
    }
    if let Some(digest) = cache.elsewhere(key, &stat::Stat::from(stat)) {
        return Ok(Some(digest));
    }
    let mut buffer = content::buffer();
    let coverage = Coverage::Content;
    let hashed = content::hash_file(rustix::fs::CWD, key, true, coverage, &mut buffer, &Cancel::default());
    Ok(hashed.map_err(read_error)?.map(|hashed| {
        cache.learn_elsewhere(key, &hashed);
        hashed.digest
    }))
}
