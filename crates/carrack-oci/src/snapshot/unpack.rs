use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use carrack_base::{ContentDigest, Digest};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmodat, chownat, fchmod,
    fchown, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::error::in_folder;
use super::listing_bytes::DEVICE_LIMITS;
use super::read_ahead::read_ahead;
use super::{Entry, Kind, Listing, OPAQUE_XATTR, ORIGIN_XATTR, SnapshotError, counts, is_overlays};
use crate::blob::{BlobReader, BlobSource};
use crate::folder::{Folder, split};
use crate::image::Layer;
use crate::layer_reader::{Compression, LayerReader};
use crate::rootfs::{EntryProblem, Ownership};
use crate::tar_header::Mtime;
use crate::tar_reader::{TarEntry, TarReader};
use crate::tree::{self, OPAQUE, Step, WHITEOUT, WHITEOUT_META, bounds_below, join, owner, parts};

const BUFFER: usize = 256 * 1024;

/// What a layer became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// What is in the folder.
    pub listing: Listing,
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Paths of folders, sorted, that the layer does not declare and that are only there because something is in them;
    /// the root is one of them if the layer does not mention it.
    pub implied: Vec<Vec<u8>>,
    /// Device nodes that this process may not make, or that overlayfs would take for deletions.
    pub skipped_devices: u64,
    /// Extended attributes that do not count, or that the file system or the caller's rights do not allow.
    pub skipped_xattrs: u64,
}

/// Writes a layer into `folder`, which is empty or does not exist yet.
///
/// `blob` is the layer as its descriptor's `media_type` says it (tar, gzip or zstd, OCI's name or docker's). It is read
/// to its end, and nothing about it is verified: compare [`Unpacked::diff_id`].
///
/// Shape: modes with their setuid bits, times with nanoseconds and attributes are kept. With [`Ownership::Recorded`]
/// owners are the layer's, and the process has to be root (or a user namespace's root, with these ids mapped). With
/// [`Ownership::Caller`] all belongs to the process, and the listing says root for it: that is whom a process sees that
/// is alone in a user namespace.
/// Nothing is synced to the disk.
/// Errors: [`SnapshotError`]; the folder is then half full.
pub fn unpack(
    blob: impl Read + Send,
    media_type: &str,
    folder: &Path,
    ownership: Ownership,
) -> Result<Unpacked, SnapshotError> {
    let (reader, written) = read_layer(blob, media_type, folder, ownership)?;
    let unpacker = written?;
    let diff_id = reader.finish().1.map_err(SnapshotError::Archive)?;
    unpacker.finish(diff_id)
}

/// Writes an image's layer into `folder`, as [`unpack`] does, and verifies it: its blob's digest and size, and the digest
/// of what is in it.
///
/// Errors: as [`unpack`], and [`SnapshotError::Blob`], [`SnapshotError::DiffId`].
pub fn unpack_layer(
    layer: &Layer,
    blobs: &dyn BlobSource,
    folder: &Path,
    ownership: Ownership,
) -> Result<Unpacked, SnapshotError> {
    let blob = BlobReader::open(blobs, &layer.descriptor)?;
    let (reader, written) = read_layer(blob, &layer.descriptor.media_type, folder, ownership)?;
    let unpacker = match written {
        Ok(unpacker) => unpacker,
        Err(SnapshotError::Archive(source)) => {
            // A damaged blob explains an unreadable archive better than the archive's own complaint.
            reader.into_blob().finish()?;
            return Err(SnapshotError::Archive(source));
        }
        Err(error) => return Err(error),
    };
    let (blob, diff_id) = reader.finish();
    blob.finish()?;
    let found = diff_id.map_err(SnapshotError::Archive)?;
    if found != layer.diff_id {
        return Err(SnapshotError::DiffId { expected: layer.diff_id, found });
    }
    unpacker.finish(found)
}

type Written<'a, R> = (LayerReader<R>, Result<Unpacker<'a>, SnapshotError>);

fn read_layer<'a, R: Read + Send>(
    blob: R,
    media_type: &str,
    folder: &'a Path,
    ownership: Ownership,
) -> Result<Written<'a, R>, SnapshotError> {
    let compression = Compression::of(media_type)
        .ok_or_else(|| SnapshotError::MediaType { media_type: media_type.to_owned() })?;
    let reader = LayerReader::new(blob, compression).map_err(SnapshotError::Archive)?;
    let mut unpacker = Unpacker::new(folder, ownership)?;
    Ok(read_ahead(reader, |reader| {
        let mut archive = TarReader::new(reader);
        while let Some(entry) = archive.next_entry().map_err(SnapshotError::Archive)? {
            unpacker.entry(entry, &mut archive)?;
        }
        Ok(unpacker)
    }))
}

struct Unpacker<'a> {
    root: Folder,
    folder: &'a Path,
    ownership: Ownership,
    nodes: BTreeMap<Vec<u8>, Node>,
    /// Files made so far.
    files: u64,
    skipped_devices: u64,
    skipped_xattrs: u64,
    buffer: Vec<u8>,
}

struct Node {
    entry: Entry,
    mtime: Mtime,
    /// Names of one file have the same number.
    file: u64,
    implied: bool,
}

impl<'a> Unpacker<'a> {
    fn new(folder: &'a Path, ownership: Ownership) -> Result<Self, SnapshotError> {
        let failed = |source| SnapshotError::Write { path: folder.to_owned(), source };
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read_dir(folder).map_err(failed)?.next().is_some() {
                    return Err(failed(io::ErrorKind::DirectoryNotEmpty.into()));
                }
            }
            created => created.map_err(failed)?,
        }
        let root = Folder::open(folder).map_err(failed)?;
        let nodes = BTreeMap::from([(Vec::new(), Node::implied())]);
        let buffer = vec![0; BUFFER];
        Ok(Self { root, folder, ownership, nodes, files: 0, skipped_devices: 0, skipped_xattrs: 0, buffer })
    }

    fn entry(&mut self, entry: TarEntry, content: &mut dyn Read) -> Result<(), SnapshotError> {
        let name = String::from_utf8_lossy(&entry.path).into_owned();
        let problem = |problem| SnapshotError::Entry { path: name.clone(), problem };
        let mut parts = parts(&entry.path).map_err(problem)?;
        let Some(name) = parts.pop() else {
            if entry.kind != b'5' {
                return Err(problem(EntryProblem::Outside));
            }
            let node = self.node(&entry).map_err(problem)?;
            return self.make_directory(Vec::new(), node);
        };
        let parent = self.resolve(&parts).map_err(problem)?;
        if name == OPAQUE {
            self.make_parents(&parent)?;
            return self.make_opaque(&parent);
        }
        if name.starts_with(WHITEOUT_META) {
            // Bookkeeping of aufs that means nothing outside of it.
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(problem(EntryProblem::Outside));
            }
            self.make_parents(&parent)?;
            return self.whiteout(join(&parent, hidden), entry.mtime);
        }
        let path = join(&parent, name);
        if entry.kind == b'1' {
            let target = self.link_target(&path, &entry.link).map_err(problem)?;
            self.make_parents(&parent)?;
            return self.hard_link(path, &target);
        }
        let node = self.node(&entry).map_err(problem)?;
        self.make_parents(&parent)?;
        match node.entry.kind {
            Kind::Directory { .. } => self.make_directory(path, node),
            Kind::File { .. } => self.make_file(path, node, content),
            _ => self.make_special(path, node),
        }
    }

    /// The path of the folder that `parts` lead to, through this layer's links.
    fn resolve(&self, parts: &[&[u8]]) -> Result<Vec<u8>, EntryProblem> {
        tree::resolve(parts, |path| match self.nodes.get(path).map(|node| &node.entry.kind) {
            None | Some(Kind::Directory { .. } | Kind::Whiteout) => Step::Folder,
            Some(Kind::Symlink { target }) => Step::Link(target.clone()),
            Some(_) => Step::Other,
        })
    }

    /// Makes the folder `path` and those above it, as far as they are not there.
    fn make_parents(&mut self, path: &[u8]) -> Result<(), SnapshotError> {
        if self.nodes.get(path).is_some_and(|node| node.entry.is_directory()) {
            return Ok(());
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
        for end in slashes.chain([path.len()]) {
            let folder = &path[..end];
            if !self.nodes.get(folder).is_some_and(|node| node.entry.is_directory()) {
                self.make_directory(folder.to_vec(), Node::implied())?;
            }
        }
        Ok(())
    }

    fn make_directory(&mut self, path: Vec<u8>, mut node: Node) -> Result<(), SnapshotError> {
        let opaque = match self.nodes.get(&path).map(|old| &old.entry.kind) {
            Some(Kind::Directory { opaque }) => *opaque,
            before => {
                // What it takes the place of has hidden what lower layers have here.
                let opaque = before.is_some();
                self.clear(&path)?;
                let made =
                    self.root.place(&path).and_then(|(folder, name)| Ok(mkdirat(folder, name, Mode::RWXU)?));
                made.map_err(|source| self.unwritable(&path, source))?;
                opaque
            }
        };
        node.entry.kind = Kind::Directory { opaque };
        self.nodes.insert(path, node);
        Ok(())
    }

    fn make_opaque(&mut self, path: &[u8]) -> Result<(), SnapshotError> {
        let node = self.nodes.get_mut(path).expect("the folder was looked up or made just now");
        node.entry.kind = Kind::Directory { opaque: true };
        Ok(())
    }

    /// Hides what lower layers have at `path`; what this one has there stays.
    fn whiteout(&mut self, path: Vec<u8>, mtime: Mtime) -> Result<(), SnapshotError> {
        match self.nodes.get(&path).map(|node| &node.entry.kind) {
            Some(Kind::Directory { .. }) => self.make_opaque(&path),
            Some(_) => Ok(()),
            None => {
                let make = |(folder, name): (&_, &[u8])| {
                    mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?;
                    Ok(utimensat(folder, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
                };
                self.root.place(&path).and_then(make).map_err(|source| self.unwritable(&path, source))?;
                let entry = Entry::whiteout();
                self.nodes.insert(path, Node { entry, mtime, file: 0, implied: false });
                Ok(())
            }
        }
    }

    fn make_file(
        &mut self,
        path: Vec<u8>,
        mut node: Node,
        content: &mut dyn Read,
    ) -> Result<(), SnapshotError> {
        self.clear(&path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = self.root.file(&path, flags, Mode::RUSR | Mode::WUSR);
        let mut file = File::from(file.map_err(|source| self.unwritable(&path, source))?);
        let mut hasher = blake3::Hasher::new();
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(SnapshotError::Archive(error)),
            };
            hasher.update(&self.buffer[..count]);
            file.write_all(&self.buffer[..count]).map_err(|source| self.unwritable(&path, source))?;
        }
        if let Kind::File { content, .. } = &mut node.entry.kind {
            *content = ContentDigest::from_bytes(*hasher.finalize().as_bytes());
        }
        self.set_attributes(&file, &mut node).map_err(|source| self.refused(&path, &node.entry, source))?;
        self.files += 1;
        node.file = self.files;
        self.nodes.insert(path, node);
        Ok(())
    }

    fn make_special(&mut self, path: Vec<u8>, node: Node) -> Result<(), SnapshotError> {
        self.clear(&path)?;
        let ownership = self.ownership;
        let make = |(folder, name): (&_, &[u8])| {
            let mode = Mode::from_raw_mode(node.entry.mode);
            let node_of = |kind, major, minor| {
                if major >= DEVICE_LIMITS.0 || minor >= DEVICE_LIMITS.1 {
                    return Err(Errno::PERM);
                }
                mknodat(folder, name, kind, Mode::empty(), makedev(major, minor))
            };
            let made = match &node.entry.kind {
                Kind::Symlink { target } => symlinkat(target.as_slice(), folder, name),
                // A deletion, if it were made.
                Kind::CharacterDevice { major: 0, minor: 0 } => return Ok(false),
                Kind::CharacterDevice { major, minor } => node_of(FileType::CharacterDevice, *major, *minor),
                Kind::BlockDevice { major, minor } => node_of(FileType::BlockDevice, *major, *minor),
                _ => mknodat(folder, name, FileType::Fifo, Mode::empty(), 0),
            };
            match made {
                Err(Errno::PERM) if !matches!(node.entry.kind, Kind::Symlink { .. } | Kind::Fifo) => {
                    return Ok(false);
                }
                made => made?,
            }
            if ownership == Ownership::Recorded {
                let (uid, gid) = (Uid::from_raw(node.entry.uid), Gid::from_raw(node.entry.gid));
                chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            if !matches!(node.entry.kind, Kind::Symlink { .. }) {
                chmodat(folder, name, mode, AtFlags::empty())?;
            }
            utimensat(folder, name, &times(node.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(true)
        };
        let made = self.root.place(&path).and_then(make);
        if made.map_err(|source| self.refused(&path, &node.entry, source))? {
            self.nodes.insert(path, node);
        } else {
            self.skipped_devices += 1;
        }
        Ok(())
    }

    /// The path of what a hard link at `path` points to.
    fn link_target(&self, path: &[u8], link: &[u8]) -> Result<Vec<u8>, EntryProblem> {
        let dangling = || EntryProblem::DanglingLink { target: String::from_utf8_lossy(link).into_owned() };
        let mut parts = parts(link)?;
        let name = parts.pop().ok_or_else(dangling)?;
        let target = join(&self.resolve(&parts)?, name);
        let node = self.nodes.get(&target).ok_or_else(dangling)?;
        // What is replaced by the link can't hold its target.
        let is_below = target.strip_prefix(path).is_some_and(|rest| rest.starts_with(b"/"));
        if is_below || node.entry.is_directory() || node.entry.kind == Kind::Whiteout {
            return Err(dangling());
        }
        Ok(target)
    }

    fn hard_link(&mut self, path: Vec<u8>, target: &[u8]) -> Result<(), SnapshotError> {
        if path == target {
            return Ok(());
        }
        self.clear(&path)?;
        let (target_folder, target_name) = split(target);
        let target_folder =
            self.root.folder(target_folder).map_err(|source| self.unwritable(target, source))?;
        let link = |(folder, name): (&_, &[u8])| {
            Ok(linkat(&target_folder, target_name, folder, name, AtFlags::empty())?)
        };
        self.root.place(&path).and_then(link).map_err(|source| self.unwritable(&path, source))?;
        let Node { entry, mtime, file, .. } = &self.nodes[target];
        let node = Node { entry: entry.clone(), mtime: *mtime, file: *file, implied: false };
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Takes away what is at `path`, with all that is in it.
    fn clear(&mut self, path: &[u8]) -> Result<(), SnapshotError> {
        let Some(node) = self.nodes.get(path) else { return Ok(()) };
        let mut paths = vec![path.to_vec()];
        if node.entry.is_directory() {
            paths.extend(self.nodes.range(bounds_below(path)).map(|(path, _)| path.clone()));
        }
        for path in paths.iter().rev() {
            let is_directory = self.nodes[path].entry.is_directory();
            let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            let removed = self.root.place(path).and_then(|(folder, name)| Ok(unlinkat(folder, name, flags)?));
            removed.map_err(|source| self.unwritable(path, source))?;
            self.nodes.remove(path);
            if is_directory {
                self.root.forget();
            }
        }
        Ok(())
    }

    /// What an entry is to become; everything but hard links and deletions.
    fn node(&mut self, entry: &TarEntry) -> Result<Node, EntryProblem> {
        let (major, minor) = entry.device;
        let kind = match entry.kind {
            b'0' => Kind::File { size: entry.size, content: ContentDigest::from_bytes([0; 32]), link: None },
            b'2' => Kind::Symlink { target: entry.link.clone() },
            b'3' => Kind::CharacterDevice { major, minor },
            b'4' => Kind::BlockDevice { major, minor },
            b'5' => Kind::Directory { opaque: false },
            b'6' => Kind::Fifo,
            flag => return Err(EntryProblem::Kind { flag }),
        };
        let (uid, gid) = match (owner(entry)?, self.ownership) {
            (owner, Ownership::Recorded) => owner,
            (_, Ownership::Caller) => (0, 0),
        };
        let has_xattrs = matches!(kind, Kind::File { .. } | Kind::Directory { .. });
        let mut xattrs = entry.xattrs.clone();
        xattrs.retain(|name, _| {
            let stays = has_xattrs && counts(name);
            self.skipped_xattrs += u64::from(!stays && !is_overlays(name));
            stays
        });
        let mode = if matches!(kind, Kind::Symlink { .. }) { 0o777 } else { entry.mode & 0o7777 };
        let described = Entry { kind, mode, uid, gid, xattrs };
        Ok(Node { entry: described, mtime: entry.mtime, file: 0, implied: false })
    }

    /// Gives a file or folder its attributes. Those that it can't have are taken from the listing.
    fn set_attributes(&mut self, file: impl AsFd, node: &mut Node) -> io::Result<()> {
        let Entry { kind, mode, uid, gid, xattrs } = &mut node.entry;
        if self.ownership == Ownership::Recorded {
            fchown(&file, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid)))?;
        }
        // A change of owner takes setuid bits and capabilities away, so both come after it.
        fchmod(&file, Mode::from_raw_mode(*mode))?;
        let mut refused = Vec::new();
        for (name, value) in xattrs.iter() {
            match fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => refused.push(name.clone()),
                Err(Errno::PERM) if self.ownership == Ownership::Caller => refused.push(name.clone()),
                Err(error) => return Err(error.into()),
            }
        }
        self.skipped_xattrs += refused.len() as u64;
        xattrs.retain(|name, _| !refused.contains(name));
        if *kind == (Kind::Directory { opaque: true }) {
            fsetxattr(&file, OPAQUE_XATTR, b"y", XattrFlags::empty())?;
        }
        Ok(futimens(&file, &times(node.mtime))?)
    }

    /// Gives the folders their attributes, children before parents: a folder that forbids writing must be filled first,
    /// and filling changes times.
    fn finish(mut self, diff_id: Digest) -> Result<Unpacked, SnapshotError> {
        let mut nodes = std::mem::take(&mut self.nodes);
        let whiteouts = nodes.iter().filter(|(_, node)| node.entry.kind == Kind::Whiteout);
        let with_whiteouts: BTreeSet<Vec<u8>> = whiteouts.map(|(path, _)| split(path).0.to_vec()).collect();
        for (path, node) in nodes.iter_mut().rev().filter(|(_, node)| node.entry.is_directory()) {
            let finished = self.root.folder(path).and_then(|folder| {
                if with_whiteouts.contains(path) {
                    fsetxattr(&folder, ORIGIN_XATTR, b"", XattrFlags::empty())?;
                }
                self.set_attributes(&folder, node)
            });
            finished.map_err(|source| self.refused(path, &node.entry, source))?;
        }
        let implied = nodes.iter().filter(|(_, node)| node.implied).map(|(path, _)| path.clone()).collect();
        let entries = nodes.into_iter().map(|(path, node)| (path, node.entry, (0, node.file)));
        let listing = Listing::with_links(entries);
        let Self { skipped_devices, skipped_xattrs, .. } = self;
        Ok(Unpacked { listing, diff_id, implied, skipped_devices, skipped_xattrs })
    }

    fn unwritable(&self, path: &[u8], source: io::Error) -> SnapshotError {
        SnapshotError::Write { path: in_folder(self.folder, path), source }
    }

    /// What made or described `entry` failed.
    fn refused(&self, path: &[u8], entry: &Entry, source: io::Error) -> SnapshotError {
        // Of all that is done there, only a change of owner ends so.
        if source.raw_os_error() == Some(Errno::INVAL.raw_os_error()) {
            let Entry { uid, gid, .. } = *entry;
            return SnapshotError::Owner { path: in_folder(self.folder, path), uid, gid };
        }
        self.unwritable(path, source)
    }
}

impl Node {
    /// A folder that is there because something is in it.
    fn implied() -> Self {
        let entry = Entry::directory(0o755);
        Self { entry, mtime: Mtime::default(), file: 0, implied: true }
    }
}

fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
