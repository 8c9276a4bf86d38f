//! An image as one root file system: a tar of it, or a folder.
//!
//! The layers are read twice. The first reading verifies every digest and computes the tree (see `tree`); nothing is
//! written before all layers have proved to be what they should be. The second carries the content of the files that
//! are still visible, in the layers' order, so memory holds the tree and no content.
//!
//! A hostile layer can do no harm: paths are settled in the tree, and a folder is written through `openat2`, which
//! lets the kernel refuse what leaves it. Device nodes are not made in a folder.
//!
//! Failure: [`RootfsError`]; the destination is then as it was, except for a folder that already held something: there
//! files were replaced one by one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use carrack_base::Digest;

use crate::blob::{BlobError, BlobReader, BlobSource, CopyError, copy_at_most};
use crate::destination::{Destination, Pending, PendingFile};
use crate::image::{Image, Layer};
use crate::layer_reader::{Compression, LayerReader};
use crate::tar_header::{self, EntryKind, Header, Xattrs};
use crate::tar_reader::{TarEntry, TarReader};
pub use crate::tree::EntryProblem;
use crate::tree::{ContentId, Node, NodeKind, Tree};
use crate::unpack::FolderSink;

/// Who owns what is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Users and groups as the layers say; needs the right to give files away.
    Recorded,
    /// Whoever unpacks.
    Caller,
}

/// What a folder could not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Device nodes, which are never made.
    pub skipped_devices: u64,
    /// Extended attributes that the file system does not have or, with [`Ownership::Caller`], the caller may not set.
    pub skipped_xattrs: u64,
}

/// An image that could not be flattened.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A layer's blob is missing or damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A layer is compressed in a way that is not known here.
    #[error("layer {layer} is of the unknown media type `{media_type}`")]
    MediaType {
        /// The layer.
        layer: Digest,
        /// What it is.
        media_type: String,
    },
    /// A layer is no archive.
    #[error("cannot read layer {layer} as a tar archive")]
    Archive {
        /// The layer.
        layer: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer's uncompressed bytes are not those that the configuration names.
    #[error("layer {layer} holds {found}, and the configuration names {expected}")]
    DiffId {
        /// The layer.
        layer: Digest,
        /// What the configuration names.
        expected: Digest,
        /// Digest of what is in it.
        found: Digest,
    },
    /// An entry of a layer has no place.
    #[error("cannot place {path} of layer {layer}")]
    Entry {
        /// The layer.
        layer: Digest,
        /// The entry's path, as the layer has it.
        path: String,
        /// Why.
        #[source]
        problem: EntryProblem,
    },
    /// The destination can't be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The destination, or the file in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stream refused the bytes.
    #[error("cannot write the archive")]
    Stream(#[source] io::Error),
}

/// Takes a flattened image. Folders, links and the like come first, parents before children, then files.
pub(crate) trait Sink {
    /// Everything but files. The root has the empty path.
    fn node(&mut self, path: &[u8], node: &Node) -> io::Result<()>;
    /// A file with `size` bytes of content.
    fn file(
        &mut self,
        path: &[u8],
        node: &Node,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), CopyError<io::Error>>;
    /// A further name of the file `target`.
    fn hard_link(&mut self, path: &[u8], target: &[u8], node: &Node) -> io::Result<()>;
}

/// Writes the flattened image as one tar: deterministic, folders first, device nodes included.
///
/// Errors: [`RootfsError`].
pub fn rootfs_tar(
    destination: Destination<'_>,
    image: &Image,
    blobs: &dyn BlobSource,
) -> Result<(), RootfsError> {
    let tree = flatten(image, blobs)?;
    let write = |output: &mut dyn Write, failed: &dyn Fn(io::Error) -> RootfsError| {
        carry(&tree, image, blobs, &mut TarSink { output }, &|_, source| failed(source))?;
        tar_header::end(output).and_then(|()| output.flush()).map_err(failed)
    };
    match destination {
        Destination::Stream(stream) => write(stream, &RootfsError::Stream),
        Destination::File(path) => {
            let failed = |source| RootfsError::Write { path: path.to_owned(), source };
            let mut file = PendingFile::create(path).map_err(failed)?;
            write(&mut file, &failed)?;
            file.commit().map_err(failed)
        }
    }
}

/// Unpacks the flattened image as the folder `folder`; the folder above it exists.
///
/// Shape: modes with their setuid bits, times, and extended attributes are kept. A new folder appears whole; its files
/// are not synced to the disk one by one. A folder that holds something is merged into, as docker does: what the image
/// has takes the place of what has its name, everything else stays, and so do the folder's own mode and owner. A
/// folder in the place of one of the image's files is an error, not lost.
/// Errors: [`RootfsError`].
pub fn rootfs_dir(
    folder: &Path,
    image: &Image,
    blobs: &dyn BlobSource,
    ownership: Ownership,
) -> Result<Unpacked, RootfsError> {
    let failed = |path: &Path, source| RootfsError::Write { path: path.to_owned(), source };
    let merge = match fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(holds_something) => holds_something,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(folder, error)),
    };
    let tree = flatten(image, blobs)?;
    let in_folder = |path: &[u8], source| failed(&folder.join(OsStr::from_bytes(path)), source);
    let fill = |sink: io::Result<FolderSink>| {
        let mut sink = sink.map_err(|source| failed(folder, source))?;
        carry(&tree, image, blobs, &mut sink, &in_folder)?;
        sink.finish(&tree).map_err(|(path, source)| in_folder(&path, source))
    };
    if merge {
        return fill(FolderSink::merge(folder, ownership));
    }
    let pending = Pending::beside(folder).map_err(|source| failed(folder, source))?;
    let unpacked = fill(FolderSink::create(pending.path(), ownership))?;
    pending.rename().map_err(|source| failed(folder, source))?;
    Ok(unpacked)
}

fn flatten(image: &Image, blobs: &dyn BlobSource) -> Result<Tree, RootfsError> {
    let mut tree = Tree::new();
    for (number, layer) in image.layers().iter().enumerate() {
        for_each_entry(layer, blobs, |entry, header, _| {
            let path = header.path.clone();
            tree.apply(ContentId { layer: number, entry }, header).map_err(|problem| RootfsError::Entry {
                layer: layer.descriptor.digest,
                path: String::from_utf8_lossy(&path).into_owned(),
                problem,
            })
        })?;
    }
    Ok(tree)
}

fn carry(
    tree: &Tree,
    image: &Image,
    blobs: &dyn BlobSource,
    sink: &mut dyn Sink,
    failed: &dyn Fn(&[u8], io::Error) -> RootfsError,
) -> Result<(), RootfsError> {
    let mut names: BTreeMap<ContentId, Vec<&[u8]>> = BTreeMap::new();
    for (path, node) in &tree.nodes {
        match node.kind {
            NodeKind::File { content, .. } => names.entry(content).or_default().push(path),
            _ => sink.node(path, node).map_err(|error| failed(path, error))?,
        }
    }
    for (number, layer) in image.layers().iter().enumerate() {
        let Some((ContentId { entry: last, .. }, _)) = names
            .range(ContentId { layer: number, entry: 0 }..ContentId { layer: number + 1, entry: 0 })
            .next_back()
        else {
            // Nothing of this layer is visible as a file.
            continue;
        };
        let last = *last;
        for_each_entry(layer, blobs, |entry, header, content| {
            let Some(names) =
                (entry <= last).then(|| names.get(&ContentId { layer: number, entry })).flatten()
            else {
                return Ok(());
            };
            let (first, others) = names.split_first().expect("content is only noted together with a name");
            let node = &tree.nodes[*first];
            sink.file(first, node, header.size, content).map_err(|error| match error {
                CopyError::Read(source) => RootfsError::Archive { layer: layer.descriptor.digest, source },
                CopyError::Write(error) => failed(first, error),
            })?;
            others
                .iter()
                .try_for_each(|name| sink.hard_link(name, first, node).map_err(|error| failed(name, error)))
        })?;
    }
    Ok(())
}

/// Visits the entries of a layer, counted from 0, and verifies the layer at its end.
fn for_each_entry(
    layer: &Layer,
    blobs: &dyn BlobSource,
    mut visit: impl FnMut(usize, TarEntry, &mut dyn Read) -> Result<(), RootfsError>,
) -> Result<(), RootfsError> {
    let digest = layer.descriptor.digest;
    let mut archive = TarReader::new(open(layer, blobs)?);
    for number in 0.. {
        let entry = match archive.next_entry() {
            Ok(Some(entry)) => entry,
            Ok(None) => break,
            Err(source) => {
                // A damaged blob explains an unreadable archive better than the archive's own complaint.
                archive.into_inner().into_blob().finish()?;
                return Err(RootfsError::Archive { layer: digest, source });
            }
        };
        visit(number, entry, &mut archive)?;
    }
    finish(archive.into_inner(), layer)
}

fn open(layer: &Layer, blobs: &dyn BlobSource) -> Result<LayerReader<BlobReader>, RootfsError> {
    let digest = layer.descriptor.digest;
    let media_type = &layer.descriptor.media_type;
    let compression = Compression::of(media_type)
        .ok_or_else(|| RootfsError::MediaType { layer: digest, media_type: media_type.clone() })?;
    let blob = BlobReader::open(blobs, &layer.descriptor)?;
    LayerReader::new(blob, compression).map_err(|source| RootfsError::Archive { layer: digest, source })
}

fn finish(reader: LayerReader<BlobReader>, layer: &Layer) -> Result<(), RootfsError> {
    let digest = layer.descriptor.digest;
    let (blob, diff_id) = reader.finish();
    blob.finish()?;
    let found = diff_id.map_err(|source| RootfsError::Archive { layer: digest, source })?;
    if found != layer.diff_id {
        return Err(RootfsError::DiffId { layer: digest, expected: layer.diff_id, found });
    }
    Ok(())
}

struct TarSink<'a> {
    output: &'a mut dyn Write,
}

impl TarSink<'_> {
    fn header(&mut self, path: &[u8], node: &Node, kind: EntryKind<'_>) -> io::Result<()> {
        let Node { mode, uid, gid, mtime, ref xattrs, .. } = *node;
        let none = Xattrs::new();
        let xattrs = if matches!(kind, EntryKind::HardLink { .. }) { &none } else { xattrs };
        Header { path, kind, mode, uid, gid, mtime, xattrs }.write(self.output)
    }
}

impl Sink for TarSink<'_> {
    fn node(&mut self, path: &[u8], node: &Node) -> io::Result<()> {
        let kind = match node.kind {
            // Extracting must not change the folder that it is extracted into.
            NodeKind::Directory if path.is_empty() => return Ok(()),
            NodeKind::Directory => EntryKind::Directory,
            NodeKind::Symlink { ref target } => EntryKind::Symlink { target },
            NodeKind::Fifo => EntryKind::Fifo,
            NodeKind::CharacterDevice { major, minor } => EntryKind::CharacterDevice { major, minor },
            NodeKind::BlockDevice { major, minor } => EntryKind::BlockDevice { major, minor },
            NodeKind::File { size, .. } => EntryKind::File { size },
        };
        self.header(path, node, kind)
    }

    fn file(
        &mut self,
        path: &[u8],
        node: &Node,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), CopyError<io::Error>> {
        self.header(path, node, EntryKind::File { size }).map_err(CopyError::Write)?;
        copy_at_most(content, self.output, size)?;
        tar_header::pad(self.output, size).map_err(CopyError::Write)
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8], node: &Node) -> io::Result<()> {
        self.header(path, node, EntryKind::HardLink { target })
    }
}
