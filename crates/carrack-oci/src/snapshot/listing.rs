use std::collections::{BTreeMap, HashMap};

use carrack_base::ContentDigest;

use crate::tree::bounds_below;

/// What is in a snapshot: entries by path.
///
/// Shape: paths are bytes, relative, without leading slash; the root is the empty path and part of every snapshot.
/// Sorted by bytes, so parents come before what is in them. Sockets are left out.
/// Units: none of an entry's facts is a time; a layer that was written at another time has the same listing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// A file, a folder or a deletion, with its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Permissions, with setuid, setgid and sticky bits (the lowest 12 bits of a mode); 0777 for every symbolic link.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes that count, full name → value. Only files and folders have them.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory {
        /// Whether it hides all that lower layers have in it.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Bytes of content.
        size: u64,
        /// Digest of the content.
        content: ContentDigest,
        /// The first path, in order, of this same file in the layer, if it has several names and this is not the first.
        link: Option<Vec<u8>>,
    },
    /// A symbolic link.
    Symlink {
        /// Where it leads, as it was written.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// Nothing: what lower layers have here is hidden. Mode and owner are 0.
    Whiteout,
}

impl Entry {
    /// A folder of this mode, owned by root, that hides nothing.
    pub fn directory(mode: u32) -> Self {
        Self { kind: Kind::Directory { opaque: false }, mode, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }

    /// A deletion.
    pub fn whiteout() -> Self {
        Self { kind: Kind::Whiteout, ..Self::directory(0) }
    }

    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }
}

impl Listing {
    /// A listing of nothing, not even the root.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is at `path`.
    pub fn get(&self, path: &[u8]) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Says what is at `path`, and what the listing said before. Nothing else changes: neither parents nor links.
    pub fn insert(&mut self, path: Vec<u8>, entry: Entry) -> Option<Entry> {
        self.entries.insert(path, entry)
    }

    /// Takes away what is at `path`, and nothing else.
    pub fn remove(&mut self, path: &[u8]) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// All entries, by path.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_slice(), entry))
    }

    /// What is in the folder `path` and below, without itself.
    pub fn below(&self, path: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], &Entry)> {
        self.entries.range(bounds_below(path)).map(|(path, entry)| (path.as_slice(), entry))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all files' content, each file once.
    pub fn size(&self) -> u64 {
        let sizes = self.entries.values().map(|entry| match entry.kind {
            Kind::File { size, link: None, .. } => size,
            _ => 0,
        });
        sizes.fold(0, u64::saturating_add)
    }

    /// The content identity of a layer: the digest of [`Listing::to_bytes`].
    pub fn digest(&self) -> ContentDigest {
        ContentDigest::of(&self.to_bytes())
    }

    /// Entries by path, each with what tells files apart, from which links follow.
    pub(super) fn with_links(entries: impl Iterator<Item = (Vec<u8>, Entry, FileId)>) -> Self {
        let mut entries: BTreeMap<Vec<u8>, (Entry, FileId)> =
            entries.map(|(path, entry, id)| (path, (entry, id))).collect();
        let mut first_names: HashMap<FileId, Vec<u8>> = HashMap::new();
        for (path, (entry, id)) in &mut entries {
            if let Kind::File { link, .. } = &mut entry.kind {
                *link = first_names.get(id).cloned();
                if link.is_none() {
                    first_names.insert(*id, path.clone());
                }
            }
        }
        Self { entries: entries.into_iter().map(|(path, (entry, _))| (path, entry)).collect() }
    }
}

/// What tells two files apart that may have the same content.
pub(super) type FileId = (u64, u64);
