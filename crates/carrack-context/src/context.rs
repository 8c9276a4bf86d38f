//! A folder as Docker takes a build context: what is in it ([`Context`]), and how it is listed.
//!
//! Everything counts, and everything stands for itself: symlinks are not followed, folders are entries. Owners are left
//! out, because whatever is copied from a context belongs to root. Reads names, stats and links here; the files' bytes are
//! read as those of a source tree are.

use std::path::Path;

use carrack_base::{Cancel, ContentDigest};
use rustix::fs::{Mode, OFlags};

use crate::ContextError;
use crate::folders::{self, Base, Folder, LinkEnd, Node, Own, Rules};
use crate::listing::{Item, Listing};
use crate::stat::Stat;
use crate::tree::{SlotKind, put_text};

/// Decides what is left out of a context, by path: relative to the root, parts separated by `/`, not necessarily UTF-8.
///
/// Several threads ask at once, in no order.
pub trait ContextFilter: Sync {
    /// Whether what is at `path` is left out. Asked for everything that is met.
    fn ignores(&self, path: &[u8]) -> bool;

    /// Whether anything below the ignored folder `folder` might not be ignored. What is below is only looked at if so.
    fn may_take_back(&self, folder: &[u8]) -> bool;
}

/// The content of a build context: its entries, sorted by the bytes of their paths.
///
/// A folder comes before what is in it, though not always directly: `a`, `a-b`, `a/b`.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Every path, followed by its symlink target if it has one.
    text: Vec<u8>,
    places: Vec<Place>,
}

/// One thing in a [`Context`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextEntry<'c> {
    /// Path relative to the root, parts separated by `/`, not necessarily UTF-8.
    pub path: &'c [u8],
    /// What it is.
    pub kind: ContextKind<'c>,
    /// Permissions, setuid, setgid and sticky: 12 bits.
    pub mode: u32,
    /// When it was modified, in nanoseconds since the epoch. In no digest.
    pub modified: i64,
    /// Of a file: the digest of its bytes, or of its bytes and extended attributes if it has any. Of a folder: the digest of
    /// its extended attributes if it has any. `None` for everything else.
    ///
    /// SELinux labels and the notes of an overlay (`user.overlay.*`, `trusted.overlay.*`) do not count.
    pub identity: Option<ContentDigest>,
}

/// What a [`ContextEntry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextKind<'c> {
    /// A folder.
    Directory,
    /// A regular file.
    File {
        /// In bytes.
        size: u64,
    },
    /// A symlink.
    Symlink {
        /// Its text, as it is.
        target: &'c [u8],
    },
    /// A fifo or device.
    Other,
}

/// An entry as it is kept: its text is a range of the context's.
#[derive(Debug, Clone)]
struct Place {
    start: usize,
    path_len: u32,
    target_len: u32,
    kind: PlaceKind,
    stat: Stat,
    identity: Option<ContentDigest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceKind {
    Directory,
    File,
    Symlink,
    Other,
}

/// A context whose files' contents are not known yet.
#[derive(Default)]
pub(crate) struct Draft {
    /// The text of all entries, and the files.
    pub(crate) files: Listing,
    /// All entries, with no identity for files.
    places: Vec<Place>,
    folders: Vec<Folder>,
}

/// What is done about a name of a folder.
enum Visit<'f> {
    /// Something else than a folder becomes an entry.
    Leaf(&'f Node),
    /// A folder becomes an entry.
    Folder(u32),
    /// What is in a folder becomes entries.
    Enter(u32),
}

impl Context {
    /// All entries, sorted by the bytes of their paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ContextEntry<'_>> {
        self.places.iter().map(|place| place.entry(&self.text))
    }

    /// The entry at `path` (relative to the root, without a leading `./`), if there is one. The root itself is none.
    pub fn get(&self, path: &[u8]) -> Option<ContextEntry<'_>> {
        let index = self.places.binary_search_by(|place| place.path(&self.text).cmp(path)).ok()?;
        Some(self.places[index].entry(&self.text))
    }

    /// The entries below the folder `path`, at any depth, sorted; all of them if `path` is empty.
    pub fn below(&self, path: &[u8]) -> impl ExactSizeIterator<Item = ContextEntry<'_>> {
        let mut first = path.to_vec();
        if !first.is_empty() {
            first.push(b'/');
        }
        let start = self.places.partition_point(|place| place.path(&self.text) < &first[..]);
        let rest = &self.places[start..];
        let count = rest.partition_point(|place| place.path(&self.text).starts_with(&first));
        rest[..count].iter().map(|place| place.entry(&self.text))
    }

    /// The entries directly in the folder `path`, sorted; those of the root if `path` is empty.
    pub fn children(&self, path: &[u8]) -> impl Iterator<Item = ContextEntry<'_>> {
        let start = if path.is_empty() { 0 } else { path.len() + 1 };
        self.below(path).filter(move |entry| !entry.path[start..].contains(&b'/'))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Digest of the whole content: equal if and only if paths, kinds, modes, contents and attributes are.
    ///
    /// It is BLAKE3 over these bytes, in this order; integers are 32-bit little-endian:
    ///
    /// ```text
    /// "carrack context 1\n"
    /// for each entry, sorted by path:
    ///   length of path, path
    ///   kind: "d" folder · "f" file · "l" symlink · "o" other
    ///   mode
    ///   symlinks only: length of target, target
    ///   "-" without an identity, "=" and the identity's 32 bytes with one
    /// ```
    pub fn digest(&self) -> ContentDigest {
        let mut bytes = b"carrack context 1\n".to_vec();
        bytes.reserve(self.text.len() + self.places.len() * 46);
        for entry in self.iter() {
            put_text(&mut bytes, entry.path);
            bytes.push(match entry.kind {
                ContextKind::Directory => b'd',
                ContextKind::File { .. } => b'f',
                ContextKind::Symlink { .. } => b'l',
                ContextKind::Other => b'o',
            });
            bytes.extend_from_slice(&entry.mode.to_le_bytes());
            if let ContextKind::Symlink { target } = entry.kind {
                put_text(&mut bytes, target);
            }
            match entry.identity {
                None => bytes.push(b'-'),
                Some(identity) => {
                    bytes.push(b'=');
                    bytes.extend_from_slice(identity.as_bytes());
                }
            }
        }
        ContentDigest::of(&bytes)
    }
}

impl Place {
    fn path<'c>(&self, text: &'c [u8]) -> &'c [u8] {
        &text[self.start..][..self.path_len as usize]
    }

    fn entry<'c>(&self, text: &'c [u8]) -> ContextEntry<'c> {
        let kind = match self.kind {
            PlaceKind::Directory => ContextKind::Directory,
            PlaceKind::File => ContextKind::File { size: self.stat.size() },
            PlaceKind::Symlink => {
                let target = &text[self.start + self.path_len as usize..][..self.target_len as usize];
                ContextKind::Symlink { target }
            }
            PlaceKind::Other => ContextKind::Other,
        };
        let (mode, modified) = (self.stat.permissions(), self.stat.modified());
        ContextEntry { path: self.path(text), kind, mode, modified, identity: self.identity }
    }
}

impl Draft {
    /// Lists the context below `root`, opening no file.
    pub(crate) fn list(
        root: &Path,
        filter: Option<&dyn ContextFilter>,
        cancel: &Cancel,
    ) -> Result<Self, ContextError> {
        let root_error = |source| ContextError::Root { path: root.to_owned(), source };
        let real = root.canonicalize().map_err(root_error)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder =
            rustix::fs::open(&real, flags, Mode::empty()).map_err(|errno| root_error(errno.into()))?;
        let rules = Rules::Context(filter);
        let base = Base { rules, folder, real, shown: root.to_owned(), is_root: true };
        let mut draft = Self { folders: folders::read(&base, cancel)?, ..Self::default() };
        let mut path = Vec::new();
        draft.string(0, &mut path);
        Ok(draft)
    }

    /// Adds what is in the folder at `index`, whose path with a slash at its end is `path`. Depth is bounded by the longest
    /// path that the kernel opens (4096 bytes).
    fn string(&mut self, index: u32, path: &mut Vec<u8>) {
        let folder = folders::take(&mut self.folders, index);
        let mut visits = Vec::new();
        for (name, node) in folder.children() {
            match node {
                Node::Folder(index) => {
                    visits.push((&name[..name.len() - 1], Visit::Folder(*index)));
                    visits.push((name, Visit::Enter(*index)));
                }
                leaf => visits.push((name, Visit::Leaf(leaf))),
            }
        }
        // Other names lie between a folder's and what is in it. Names are unique.
        visits.sort_unstable_by_key(|(name, _)| *name);
        let length = path.len();
        for (name, visit) in visits {
            path.extend_from_slice(name);
            match visit {
                Visit::Leaf(Node::File(stat)) => self.push(path, b"", PlaceKind::File, *stat, None),
                Visit::Leaf(Node::Symlink(link)) => {
                    if let LinkEnd::Unfollowed(stat) = link.end {
                        self.push(path, &link.target, PlaceKind::Symlink, stat, None);
                    }
                }
                Visit::Leaf(Node::Other(stat)) => {
                    if let Some(stat) = stat {
                        self.push(path, b"", PlaceKind::Other, *stat, None);
                    }
                }
                Visit::Leaf(Node::Folder(_)) => {}
                Visit::Folder(index) => {
                    if let Some(Own { stat, attributes, .. }) = self.counts(index) {
                        let (stat, attributes) = (*stat, *attributes);
                        self.push(path, b"", PlaceKind::Directory, stat, attributes);
                    }
                }
                Visit::Enter(index) => self.string(index, path),
            }
            path.truncate(length);
        }
    }

    /// What is known of a folder itself, unless it is ignored and nothing in it was taken back.
    fn counts(&self, index: u32) -> Option<&Own> {
        let folder = &self.folders[index as usize];
        let own = folder.own.as_ref()?;
        let has_any = |node: &Node| match node {
            Node::Folder(index) => self.counts(*index).is_some(),
            _ => true,
        };
        (!own.ignored || folder.children().any(|(_, node)| has_any(node))).then_some(own)
    }

    fn push(
        &mut self,
        path: &[u8],
        target: &[u8],
        kind: PlaceKind,
        stat: Stat,
        identity: Option<ContentDigest>,
    ) {
        let slot_kind = if kind == PlaceKind::File { SlotKind::File } else { SlotKind::Other };
        let slot = self.files.slot(path, target, slot_kind, Some(&stat));
        let (start, path_len, target_len) = (slot.start, slot.path_len, slot.target_len);
        self.places.push(Place { start, path_len, target_len, kind, stat, identity });
        if kind == PlaceKind::File {
            self.files.items.push(Item { slot, stat: Some(stat), strict: true });
        }
    }

    /// The context, once the files have their digests. Those that vanished meanwhile are not in it.
    pub(crate) fn finish(self) -> Context {
        let Listing { text, items } = self.files;
        let mut places = self.places;
        let mut items = items.into_iter().peekable();
        places.retain_mut(|place| {
            if place.kind != PlaceKind::File {
                return true;
            }
            let Some(item) = items.next_if(|item| item.slot.start == place.start) else { return false };
            place.identity = item.slot.digest;
            // As it was when its bytes were read.
            place.stat = item.stat.unwrap_or(place.stat);
            true
        });
        Context { text, places }
    }
}
