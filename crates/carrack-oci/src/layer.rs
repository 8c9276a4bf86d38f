//! Writing a layer so that the same entries give the same bytes, on any machine.
//!
//! A layer's digest depends on the entries' paths, kinds, modes, owners, extended attributes and content, and on the
//! one time that all of them get. It does not depend on the order of insertion, on a source file's times, owner,
//! mode or place, on the number of threads, or on the machine.
//!
//! ```text
//! order      every entry but hard links, by path; then the hard links, by path
//! parents    written once, as declared, else 0755 root:root; the root itself only if it was declared
//! tar        ustar, PAX where ustar does not do, numeric owners (see `tar_header`)
//! gzip       members of 1 MiB, libdeflate level 4 (see `gzip`)
//! ```
//!
//! Tar, compression and both digests are made in one pass; no file is held in memory. What belongs in a layer is not
//! decided here, and nothing is read from the image below it: a parent that is written hides that image's mode for it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use carrack_base::{Digest, ImagePath, Sha256Writer};

use crate::blob::{CopyError, copy_at_most};
use crate::gzip::MemberWriter;
use crate::image::Layer;
use crate::tar_header::{self, EntryKind, Header, Mtime, Xattrs};
use crate::wire::{Descriptor, media_type};

/// Mode, owner and extended attributes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Permissions, with setuid, setgid and sticky bits (the lowest 12 bits of a mode).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Extended attributes, full name → value.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// They are here.
    Bytes(Vec<u8>),
    /// They are in this file of the host, read when the layer is written; a symbolic link is followed.
    Path(PathBuf),
}

/// Collects the entries of a layer, then writes it.
#[derive(Debug, Clone)]
pub struct LayerBuilder {
    mtime: u64,
    entries: BTreeMap<ImagePath, Entry>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct WrittenLayer {
    /// The layer, as an image takes it.
    pub layer: Layer,
    /// Bytes of the tar before compression.
    pub uncompressed_size: u64,
}

/// A layer that contradicts itself, or can't be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Two different entries want one path, or one wants to be below a path that is no folder.
    #[error("layer cannot have {path} both as {first} and as {second}")]
    Conflict {
        /// The path.
        path: ImagePath,
        /// What is there.
        first: &'static str,
        /// What was asked for.
        second: &'static str,
    },
    /// A hard link's target is no file of the same layer.
    #[error("hard link {path} points to {target}, which is no file of its layer")]
    DanglingLink {
        /// The link.
        path: ImagePath,
        /// Where it points.
        target: ImagePath,
    },
    /// A source file can't be read.
    #[error("cannot read {} for {path}", source_path.display())]
    Source {
        /// The entry.
        path: ImagePath,
        /// The file on the host.
        source_path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A source file changed size while it was read.
    #[error("{} changed while it was read for {path}: it had {expected} bytes", source_path.display())]
    SourceChanged {
        /// The entry.
        path: ImagePath,
        /// The file on the host.
        source_path: PathBuf,
        /// Bytes it had when reading began.
        expected: u64,
    },
    /// The output refused the bytes.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    File(Attributes, Content),
    Directory(Attributes),
    /// A folder that is only there because something is in it.
    Parent,
    Symlink(String),
    HardLink(ImagePath),
}

impl Attributes {
    /// This mode, owned by root.
    pub fn new(mode: u32) -> Self {
        Self { mode, uid: 0, gid: 0, xattrs: BTreeMap::new() }
    }

    /// The same with this owner.
    pub fn owned_by(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }
}

impl LayerBuilder {
    /// An empty layer whose entries will all have the time `mtime`, in seconds since the epoch.
    pub fn new(mtime: u64) -> Self {
        Self { mtime, entries: BTreeMap::new() }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a file.
    ///
    /// Errors: [`LayerError::Conflict`], as for the other kinds. Adding the same entry twice is no conflict.
    pub fn file(
        &mut self,
        path: ImagePath,
        attributes: Attributes,
        content: Content,
    ) -> Result<&mut Self, LayerError> {
        self.insert(path, Entry::File(attributes, content))
    }

    /// Adds a folder.
    ///
    /// Errors: as [`LayerBuilder::file`].
    pub fn directory(&mut self, path: ImagePath, attributes: Attributes) -> Result<&mut Self, LayerError> {
        self.insert(path, Entry::Directory(attributes))
    }

    /// Adds a symbolic link to `target`, any text, owned by root.
    ///
    /// Errors: as [`LayerBuilder::file`].
    pub fn symlink(&mut self, path: ImagePath, target: &str) -> Result<&mut Self, LayerError> {
        self.insert(path, Entry::Symlink(target.to_owned()))
    }

    /// Adds a second name of the file `target`, which may be added later.
    ///
    /// Errors: as [`LayerBuilder::file`].
    pub fn hard_link(&mut self, path: ImagePath, target: ImagePath) -> Result<&mut Self, LayerError> {
        self.insert(path, Entry::HardLink(target))
    }

    /// Writes the layer to `output`, compressing on up to `threads` threads besides the caller's.
    ///
    /// Errors: [`LayerError`]; what was written by then is no layer.
    pub fn write(&self, output: &mut dyn Write, threads: NonZeroUsize) -> Result<WrittenLayer, LayerError> {
        let mut tar = Sha256Writer::new(MemberWriter::new(Sha256Writer::new(output), threads));
        let is_link = |entry: &Entry| matches!(entry, Entry::HardLink(_));
        for (path, entry) in self.entries.iter().filter(|(_, entry)| !is_link(entry)) {
            self.write_entry(&mut tar, path, entry)?;
        }
        for (path, entry) in self.entries.iter().filter(|(_, entry)| is_link(entry)) {
            self.write_entry(&mut tar, path, entry)?;
        }
        tar_header::end(&mut tar).map_err(LayerError::Write)?;
        let (members, diff_id, uncompressed_size) = tar.finish();
        let (_, digest, size) = members.finish().map_err(LayerError::Write)?.finish();
        let descriptor = Descriptor::new(media_type::LAYER_GZIP, digest, size);
        Ok(WrittenLayer { layer: Layer { descriptor, diff_id }, uncompressed_size })
    }

    fn insert(&mut self, path: ImagePath, entry: Entry) -> Result<&mut Self, LayerError> {
        let mut parent = path.parent();
        while let Some(folder) = parent.filter(|folder| *folder != ImagePath::root()) {
            let first = self.entries.entry(folder.clone()).or_insert(Entry::Parent).name();
            if first != Entry::Parent.name() {
                return Err(LayerError::Conflict { path: folder, first, second: Entry::Parent.name() });
            }
            parent = folder.parent();
        }
        match self.entries.entry(path) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
            }
            Slot::Occupied(mut slot)
                if *slot.get() == Entry::Parent && matches!(entry, Entry::Directory(_)) =>
            {
                slot.insert(entry);
            }
            Slot::Occupied(slot) if *slot.get() == entry => {}
            Slot::Occupied(slot) => {
                let (path, first, second) = (slot.key().clone(), slot.get().name(), entry.name());
                return Err(LayerError::Conflict { path, first, second });
            }
        }
        Ok(self)
    }

    fn write_entry(&self, tar: &mut dyn Write, path: &ImagePath, entry: &Entry) -> Result<(), LayerError> {
        let write_header = |tar: &mut dyn Write, attributes: &Attributes, kind: EntryKind<'_>| {
            let Attributes { mode, uid, gid, ref xattrs } = *attributes;
            let seconds = i64::try_from(self.mtime).unwrap_or(i64::MAX);
            let mtime = Mtime { seconds, nanoseconds: 0 };
            let header = Header { path: path.relative().as_bytes(), kind, mode, uid, gid, mtime, xattrs };
            header.write(tar).map_err(LayerError::Write)
        };
        match entry {
            Entry::Directory(attributes) => write_header(tar, attributes, EntryKind::Directory),
            Entry::Parent => write_header(tar, &Attributes::new(0o755), EntryKind::Directory),
            Entry::Symlink(target) => {
                write_header(tar, &Attributes::new(0o777), EntryKind::Symlink { target: target.as_bytes() })
            }
            Entry::HardLink(target) => {
                let Some(Entry::File(attributes, _)) = self.entries.get(target) else {
                    return Err(LayerError::DanglingLink { path: path.clone(), target: target.clone() });
                };
                // Attributes belong to the file; repeated here, they change nothing where the link is made.
                let attributes = Attributes { xattrs: Xattrs::new(), ..attributes.clone() };
                write_header(tar, &attributes, EntryKind::HardLink { target: target.relative().as_bytes() })
            }
            Entry::File(attributes, Content::Bytes(bytes)) => {
                let size = bytes.len() as u64;
                write_header(tar, attributes, EntryKind::File { size })?;
                tar.write_all(bytes).and_then(|()| tar_header::pad(tar, size)).map_err(LayerError::Write)
            }
            Entry::File(attributes, Content::Path(source_path)) => {
                let unreadable = |source| LayerError::Source {
                    path: path.clone(),
                    source_path: source_path.clone(),
                    source,
                };
                let (mut file, size) = open_file(source_path).map_err(unreadable)?;
                write_header(tar, attributes, EntryKind::File { size })?;
                let copied = copy_at_most(&mut file, tar, size).and_then(|copied| {
                    // A further byte would mean that the file grew.
                    let further = copy_at_most(&mut file, &mut io::sink(), 1)?;
                    Ok(copied + further)
                });
                match copied {
                    Err(CopyError::Read(source)) => Err(unreadable(source)),
                    Err(CopyError::Write(error)) => Err(LayerError::Write(error)),
                    Ok(copied) if copied != size => Err(LayerError::SourceChanged {
                        path: path.clone(),
                        source_path: source_path.clone(),
                        expected: size,
                    }),
                    Ok(_) => tar_header::pad(tar, size).map_err(LayerError::Write),
                }
            }
        }
    }
}

impl Entry {
    fn name(&self) -> &'static str {
        match self {
            Self::File(..) => "a file",
            Self::Directory(_) | Self::Parent => "a folder",
            Self::Symlink(_) => "a symbolic link",
            Self::HardLink(_) => "a hard link",
        }
    }
}

fn open_file(path: &std::path::Path) -> io::Result<(File, u64)> {
    // Looked at before it is opened: opening a fifo would wait for a writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

impl From<WrittenLayer> for Layer {
    fn from(written: WrittenLayer) -> Self {
        written.layer
    }
}

impl WrittenLayer {
    /// Digest of the compressed layer.
    pub fn digest(&self) -> Digest {
        self.layer.descriptor.digest
    }
}
