use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use carrack_base::{ContentDigest, Sha256Writer};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat};

use super::error::in_folder;
use super::{Entry, Kind, Listing, SnapshotError};
use crate::blob::{CopyError, copy_at_most};
use crate::folder::{Folder, split};
use crate::gzip::MemberWriter;
use crate::image::Layer;
use crate::layer::WrittenLayer;
use crate::tar_header::{self, EntryKind, Header, Mtime, Xattrs};
use crate::tree::{OPAQUE, WHITEOUT, join};
use crate::wire::{Descriptor, media_type};

/// Writes the layer that is in the snapshot `folder` to `output`, compressing on up to `threads` threads besides the
/// caller's. The same folder gives the same bytes, whatever the number of threads.
///
/// Shape: entries by path, so that parents come before children and a file before its further names; the root only if
/// it is not 0755 and root's. Files with holes are written as what is read from them.
/// Units: times are the folder's, in whole seconds since the epoch; those after `clamp` become `clamp`.
/// Errors: [`SnapshotError::Changed`] if the folder is not what the listing says, file contents included,
/// [`SnapshotError::ReservedName`], [`SnapshotError::Read`], [`SnapshotError::Output`]. What was written by then is no
/// layer.
pub fn pack(
    folder: &Path,
    listing: &Listing,
    clamp: Option<i64>,
    output: &mut dyn Write,
    threads: NonZeroUsize,
) -> Result<WrittenLayer, SnapshotError> {
    let root =
        Folder::open(folder).map_err(|source| SnapshotError::Read { path: folder.to_owned(), source })?;
    let mut tar = Sha256Writer::new(MemberWriter::new(Sha256Writer::new(output), threads));
    let mut packer = Packer { root, folder, clamp, tar: &mut tar };
    for (path, entry) in listing.iter() {
        packer.entry(path, entry)?;
    }
    tar_header::end(&mut tar).map_err(SnapshotError::Output)?;
    let (members, diff_id, uncompressed_size) = tar.finish();
    let (_, digest, size) = members.finish().map_err(SnapshotError::Output)?.finish();
    let descriptor = Descriptor::new(media_type::LAYER_GZIP, digest, size);
    Ok(WrittenLayer { layer: Layer { descriptor, diff_id }, uncompressed_size })
}

struct Packer<'a> {
    root: Folder,
    folder: &'a Path,
    clamp: Option<i64>,
    tar: &'a mut dyn Write,
}

impl Packer<'_> {
    fn entry(&mut self, path: &[u8], entry: &Entry) -> Result<(), SnapshotError> {
        let (parent, name) = split(path);
        if name.starts_with(WHITEOUT) {
            return Err(SnapshotError::ReservedName { path: in_folder(self.folder, path) });
        }
        if matches!(entry.kind, Kind::File { link: None, .. }) {
            return self.file(path, entry);
        }
        let stat = self.root.stat(path).map_err(|source| self.unreadable(path, source))?;
        if !is_kind(FileType::from_raw_mode(stat.st_mode), &entry.kind) {
            return Err(self.changed(path, "it is of another kind"));
        }
        let mtime = self.mtime(&stat);
        match &entry.kind {
            Kind::Directory { opaque } => {
                // The root is there anyway; saying so would make other tools change the folder that they unpack into.
                let is_implied =
                    Entry { kind: Entry::directory(0).kind, ..entry.clone() } == Entry::directory(0o755);
                if !path.is_empty() || !is_implied {
                    self.header(path, entry, EntryKind::Directory, mtime)?;
                }
                if *opaque { self.marker(&join(path, OPAQUE), mtime) } else { Ok(()) }
            }
            Kind::File { link, .. } => {
                let target = link.as_deref().unwrap_or_default();
                // Attributes belong to the file; repeated here, they change nothing where the link is made.
                let entry = Entry { xattrs: Xattrs::new(), ..entry.clone() };
                self.header(path, &entry, EntryKind::HardLink { target }, mtime)
            }
            Kind::Symlink { target } => self.header(path, entry, EntryKind::Symlink { target }, mtime),
            Kind::Fifo => self.header(path, entry, EntryKind::Fifo, mtime),
            Kind::CharacterDevice { major, minor } => {
                self.header(path, entry, EntryKind::CharacterDevice { major: *major, minor: *minor }, mtime)
            }
            Kind::BlockDevice { major, minor } => {
                self.header(path, entry, EntryKind::BlockDevice { major: *major, minor: *minor }, mtime)
            }
            Kind::Whiteout => self.marker(&join(parent, &[WHITEOUT, name].concat()), mtime),
        }
    }

    fn file(&mut self, path: &[u8], entry: &Entry) -> Result<(), SnapshotError> {
        let Kind::File { size, content, .. } = entry.kind else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = self.root.file(path, flags, Mode::empty());
        let mut file = File::from(file.map_err(|source| self.unreadable(path, source))?);
        let stat = fstat(&file).map_err(|source| self.unreadable(path, source.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.changed(path, "it is of another kind"));
        }
        if stat.st_size as u64 != size {
            return Err(self.changed(path, "it has another size"));
        }
        self.header(path, entry, EntryKind::File { size }, self.mtime(&stat))?;
        let mut hashed = Hashed { output: self.tar, hasher: blake3::Hasher::new() };
        let copied = copy_at_most(&mut file, &mut hashed, size);
        let found = ContentDigest::from_bytes(*hashed.hasher.finalize().as_bytes());
        match copied {
            Err(CopyError::Read(source)) => Err(self.unreadable(path, source)),
            Err(CopyError::Write(source)) => Err(SnapshotError::Output(source)),
            Ok(copied) if copied != size => Err(self.changed(path, "it has another size")),
            Ok(_) if found != content => Err(self.changed(path, "it has another content")),
            Ok(_) => tar_header::pad(self.tar, size).map_err(SnapshotError::Output),
        }
    }

    fn header(
        &mut self,
        path: &[u8],
        entry: &Entry,
        kind: EntryKind<'_>,
        mtime: Mtime,
    ) -> Result<(), SnapshotError> {
        let Entry { mode, uid, gid, ref xattrs, .. } = *entry;
        Header { path, kind, mode, uid, gid, mtime, xattrs }.write(self.tar).map_err(SnapshotError::Output)
    }

    /// An empty file whose name means something.
    fn marker(&mut self, path: &[u8], mtime: Mtime) -> Result<(), SnapshotError> {
        let (kind, xattrs) = (EntryKind::File { size: 0 }, &Xattrs::new());
        let header = Header { path, kind, mode: 0, uid: 0, gid: 0, mtime, xattrs };
        header.write(self.tar).map_err(SnapshotError::Output)
    }

    fn mtime(&self, stat: &Stat) -> Mtime {
        let seconds = self.clamp.map_or(stat.st_mtime, |clamp| clamp.min(stat.st_mtime));
        Mtime { seconds, nanoseconds: 0 }
    }

    fn unreadable(&self, path: &[u8], source: io::Error) -> SnapshotError {
        SnapshotError::Read { path: in_folder(self.folder, path), source }
    }

    fn changed(&self, path: &[u8], problem: &'static str) -> SnapshotError {
        SnapshotError::Changed { path: in_folder(self.folder, path), problem }
    }
}

fn is_kind(file_type: FileType, kind: &Kind) -> bool {
    file_type
        == match kind {
            Kind::Directory { .. } => FileType::Directory,
            Kind::File { .. } => FileType::RegularFile,
            Kind::Symlink { .. } => FileType::Symlink,
            Kind::Fifo => FileType::Fifo,
            Kind::CharacterDevice { .. } | Kind::Whiteout => FileType::CharacterDevice,
            Kind::BlockDevice { .. } => FileType::BlockDevice,
        }
}

struct Hashed<'a> {
    output: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl Write for Hashed<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.output.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
