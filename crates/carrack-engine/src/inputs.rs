//! Reads inputs by content: the source trees of a build, and single files and folders elsewhere.
//!
//! Everything is hashed where it lies; one stat cache for each tree and one for single files make the second time
//! cheap. Each tree is walked once a build, until [`Inputs::forget`] is called because a step may have met changes.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use carrack_base::{Cancel, ContentDigest};
use carrack_context::{
    Context, ContextError, ContextFilter, Entry, EntryKind, StatCache, Tree, Walk, file_digest, tree,
};
use carrack_graph::{HostTree, Listing, TreeOp};
use carrack_store::Store;

/// Hashes inputs for one build.
pub struct Inputs<'a> {
    store: &'a Store,
    cancel: Cancel,
    /// Seconds since the epoch.
    made_at: i64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By root and by what is left out below it.
    trees: HashMap<(PathBuf, Vec<PathBuf>), Arc<Tree>>,
    files: Option<StatCache>,
}

/// The content of a [`TreeOp`].
#[derive(Debug, Clone)]
pub struct Sources {
    trees: Vec<(HostTree, Arc<Tree>)>,
    digest: ContentDigest,
}

/// One file of [`Sources`].
pub struct Source<'s> {
    /// What keys call it.
    pub name: String,
    /// What it is and holds.
    pub entry: Entry<'s>,
}

/// Where the cache for single files is kept.
const FILES: &str = "files";

impl<'a> Inputs<'a> {
    /// Reads nothing yet.
    pub fn new(store: &'a Store, cancel: Cancel) -> Self {
        // A second less, because file systems have clocks of their own.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let made_at = i64::try_from(now).unwrap_or(i64::MAX) - 1;
        Self { store, cancel, made_at, state: Mutex::default() }
    }

    /// The content of `op`'s trees.
    ///
    /// Errors: a tree can't be read, or the build was told to stop.
    pub fn sources(&self, op: &TreeOp) -> Result<Sources, ContextError> {
        let mut trees = Vec::new();
        let mut whole = Vec::new();
        for host_tree in &op.trees {
            let content = self.tree(&host_tree.host, &host_tree.exclude)?;
            whole.extend_from_slice(host_tree.name.as_bytes());
            whole.push(0);
            whole.extend_from_slice(content.digest().as_bytes());
            trees.push((host_tree.clone(), content));
        }
        Ok(Sources { trees, digest: ContentDigest::of(&whole) })
    }

    /// The content of one folder.
    ///
    /// Errors: as [`Inputs::sources`].
    pub fn tree(&self, root: &Path, exclude: &[PathBuf]) -> Result<Arc<Tree>, ContextError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (root.to_owned(), exclude.to_vec());
        if let Some(known) = state.trees.get(&key) {
            return Ok(known.clone());
        }
        let path = self.store.stat_cache_path(&id_of(root, exclude)).expect("digits are a valid id");
        let mut cache = StatCache::load(&path);
        let walk = exclude.iter().fold(Walk::new(root), |walk, path| walk.without(path));
        let content = Arc::new(tree(&walk, &mut cache, &self.cancel)?);
        // A cache that can't be kept costs time next time, nothing else.
        let _ = cache.save(&path);
        state.trees.insert(key, content.clone());
        Ok(content)
    }

    /// The content of a build context. `fingerprint` says what `filter` leaves out.
    ///
    /// Errors: as [`Inputs::sources`].
    pub(crate) fn context(
        &self,
        root: &Path,
        filter: Option<&dyn ContextFilter>,
        fingerprint: &str,
    ) -> Result<Arc<Context>, ContextError> {
        let id = id_of(root, &[PathBuf::from("context"), PathBuf::from(fingerprint)]);
        let path = self.store.stat_cache_path(&id).expect("digits are a valid id");
        let mut cache = StatCache::load(&path);
        let content = Arc::new(carrack_context::context(root, filter, &mut cache, &self.cancel)?);
        // As below: losing it costs time only.
        let _ = cache.save(&path);
        Ok(content)
    }

    /// The content of a file or folder anywhere on the host, or `None` if nothing is there.
    ///
    /// Errors: as [`Inputs::sources`]. A device or socket counts as nothing: its content can't be an input.
    pub fn digest(&self, path: &Path) -> Result<Option<ContentDigest>, ContextError> {
        if path.is_dir() {
            return self.tree(path, &[]).map(|tree| Some(tree.digest()));
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let cache = state.files.get_or_insert_with(|| StatCache::load(&self.files()));
        match file_digest(path, cache) {
            Err(ContextError::NotAFile { .. }) => Ok(None),
            result => result,
        }
    }

    fn files(&self) -> PathBuf {
        self.store.stat_cache_path(FILES).expect("the name is a valid id")
    }

    /// Whether the file at `path` still has the content that was found since this was made. Only what changed lately is
    /// read again.
    ///
    /// Errors: as [`Inputs::sources`].
    pub(crate) fn still_has(&self, path: &Path, content: ContentDigest) -> Result<bool, ContextError> {
        let changed = std::fs::metadata(path).map(|metadata| metadata.ctime()).unwrap_or(i64::MAX);
        Ok(changed < self.made_at || self.digest(path)? == Some(content))
    }

    /// Forgets what was read, so that it is looked at again.
    pub fn forget(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).trees.clear();
    }

    /// Keeps what was learned about single files.
    pub fn save(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = &mut state.files {
            // As above: losing it costs time only.
            let _ = cache.save(&self.files());
        }
    }
}

impl Sources {
    /// Digest of names and contents.
    pub fn digest(&self) -> ContentDigest {
        self.digest
    }

    /// Every file, tree by tree.
    pub fn iter(&self) -> impl Iterator<Item = Source<'_>> {
        self.trees.iter().flat_map(|(host_tree, content)| {
            content.iter().map(|entry| Source {
                name: named(&host_tree.name, &String::from_utf8_lossy(entry.path)),
                entry,
            })
        })
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.trees.iter().map(|(_, content)| content.len()).sum()
    }

    /// Whether there is no file at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names with digests that tell any two contents, kinds and modes apart.
    pub fn listing(&self) -> Listing {
        let listed: BTreeMap<_, _> =
            self.iter().map(|source| (source.name, entry_digest(&source.entry))).collect();
        listed
    }

    /// Where the file that keys call `name` lies on the host.
    pub fn on_host(&self, name: &str) -> Option<PathBuf> {
        let below = |folder: &str| name.strip_prefix(folder)?.strip_prefix('/');
        let within = self.trees.iter().find_map(|(host_tree, _)| {
            below(&host_tree.name)
                .filter(|_| !host_tree.name.is_empty())
                .map(|rest| host_tree.host.join(rest))
        });
        // The tree without a name has everything that no other has.
        let unnamed = || self.trees.iter().find(|(host_tree, _)| host_tree.name.is_empty());
        within.or_else(|| Some(unnamed()?.0.host.join(name)))
    }

    /// Whether the content of this path of the host is part of the sources.
    pub fn cover(&self, path: &Path) -> bool {
        self.trees.iter().any(|(host_tree, content)| {
            path.strip_prefix(&host_tree.host).is_ok_and(|relative| {
                let relative = relative.as_os_str().as_bytes();
                content.get(relative).is_some() || content.below(relative).len() > 0
            })
        })
    }
}

fn named(tree: &str, relative: &str) -> String {
    if tree.is_empty() { relative.to_owned() } else { format!("{tree}/{relative}") }
}

fn entry_digest(entry: &Entry<'_>) -> ContentDigest {
    let absent = ContentDigest::from_bytes([0; 32]);
    let content = entry.digest.unwrap_or(absent);
    let (tag, target): (u8, &[u8]) = match entry.kind {
        EntryKind::File { executable: false } => return content,
        EntryKind::File { executable: true } => (b'x', b""),
        EntryKind::Symlink { target, executable: false } => (b'l', target),
        EntryKind::Symlink { target, executable: true } => (b'm', target),
        EntryKind::Other => (b'o', b""),
    };
    ContentDigest::of(&[&[tag], target, &[0], content.as_bytes()].concat())
}

/// A short, stable name for what is known about a folder of the host without what is left out below it.
fn id_of(root: &Path, exclude: &[PathBuf]) -> String {
    let paths: Vec<&[u8]> = std::iter::once(root)
        .chain(exclude.iter().map(PathBuf::as_path))
        .map(|path| path.as_os_str().as_bytes())
        .collect();
    ContentDigest::of(&paths.join(&0)).to_string()[..16].to_owned()
}
