use carrack_base::ContentDigest;

/// The content of a folder: its entries, sorted by the bytes of their paths.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Every path, followed by its symlink target if it has one.
    text: Vec<u8>,
    slots: Vec<Slot>,
}

/// One file, symlink or special file of a [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'t> {
    /// Path relative to the root, parts separated by `/`, not necessarily UTF-8.
    pub path: &'t [u8],
    /// What it is.
    pub kind: EntryKind<'t>,
    /// Digest of the file's bytes, or of the file's that a symlink leads to. `None` for a symlink that leads to no
    /// readable file, for special files, and for unreadable files of a folder outside of the root.
    pub digest: Option<ContentDigest>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind<'t> {
    /// A regular file.
    File {
        /// Whether anyone may execute it.
        executable: bool,
    },
    /// A symlink.
    Symlink {
        /// Its text, as it is.
        target: &'t [u8],
        /// Whether it leads to a file that anyone may execute.
        executable: bool,
    },
    /// A socket, fifo or device.
    Other,
}

/// An entry as it is kept: its text is a range of the tree's.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) start: usize,
    pub(crate) path_len: u32,
    pub(crate) target_len: u32,
    pub(crate) kind: SlotKind,
    pub(crate) executable: bool,
    pub(crate) digest: Option<ContentDigest>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotKind {
    File,
    Symlink,
    Other,
}

impl Slot {
    pub(crate) fn path<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.start..][..self.path_len as usize]
    }

    fn entry<'t>(&self, text: &'t [u8]) -> Entry<'t> {
        let target = &text[self.start + self.path_len as usize..][..self.target_len as usize];
        let executable = self.executable;
        let kind = match self.kind {
            SlotKind::File => EntryKind::File { executable },
            SlotKind::Symlink => EntryKind::Symlink { target, executable },
            SlotKind::Other => EntryKind::Other,
        };
        Entry { path: self.path(text), kind, digest: self.digest }
    }
}

impl Tree {
    /// `slots` must be sorted by path, each path once.
    pub(crate) fn new(text: Vec<u8>, slots: Vec<Slot>) -> Self {
        Self { text, slots }
    }

    /// All entries, sorted by the bytes of their paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.slots.iter().map(|slot| slot.entry(&self.text))
    }

    /// The entry at `path` (relative to the root, without a leading `./`), if there is one.
    pub fn get(&self, path: &[u8]) -> Option<Entry<'_>> {
        let index = self.slots.binary_search_by(|slot| slot.path(&self.text).cmp(path)).ok()?;
        Some(self.slots[index].entry(&self.text))
    }

    /// The entries below the folder `path`, sorted; all of them if `path` is empty.
    pub fn below(&self, path: &[u8]) -> impl ExactSizeIterator<Item = Entry<'_>> {
        let mut first = path.to_vec();
        if !first.is_empty() {
            first.push(b'/');
        }
        let start = self.slots.partition_point(|slot| slot.path(&self.text) < &first[..]);
        let count = self.slots[start..].partition_point(|slot| slot.path(&self.text).starts_with(&first));
        self.slots[start..start + count].iter().map(|slot| slot.entry(&self.text))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Digest of the whole content: equal if and only if paths, kinds and contents are.
    ///
    /// It is BLAKE3 over these bytes, in this order; integers are 32-bit little-endian:
    ///
    /// ```text
    /// "carrack tree 1\n"
    /// for each entry, sorted by path:
    ///   length of path, path
    ///   kind: "f" file · "x" executable file · "l" symlink · "m" symlink to an executable file · "o" other
    ///   symlinks only: length of target, target
    ///   "-" without a digest, "=" and the digest's 32 bytes with one
    /// ```
    pub fn digest(&self) -> ContentDigest {
        let mut bytes = b"carrack tree 1\n".to_vec();
        bytes.reserve(self.text.len() + self.slots.len() * 42);
        for entry in self.iter() {
            put_text(&mut bytes, entry.path);
            match entry.kind {
                EntryKind::File { executable: false } => bytes.push(b'f'),
                EntryKind::File { executable: true } => bytes.push(b'x'),
                EntryKind::Symlink { target, executable } => {
                    bytes.push(if executable { b'm' } else { b'l' });
                    put_text(&mut bytes, target);
                }
                EntryKind::Other => bytes.push(b'o'),
            }
            match entry.digest {
                None => bytes.push(b'-'),
                Some(digest) => {
                    bytes.push(b'=');
                    bytes.extend_from_slice(digest.as_bytes());
                }
            }
        }
        ContentDigest::of(&bytes)
    }
}

/// Appends `text` behind its length.
pub(crate) fn put_text(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).expect("paths are shorter than 4 GiB");
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text);
}
