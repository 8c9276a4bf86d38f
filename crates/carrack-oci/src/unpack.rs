//! Writing a flattened image into a folder, as the kernel guards it.
//!
//! Every path is opened as [`Folder`] does it. The tree has no link among parents, so nothing legitimate is refused.
//!
//! Folders are made private and get their modes, owners and times at the end, children before parents: a folder that
//! forbids writing must be filled first, and filling changes times.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fsetxattr, fstat, futimens, linkat, mkdirat, mknodat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::blob::{CopyError, copy_at_most};
use crate::folder::{Folder, split};
use crate::rootfs::{Ownership, Sink, Unpacked};
use crate::tree::{Node, NodeKind, Tree};

/// Fills a folder.
pub(crate) struct FolderSink {
    root: Folder,
    ownership: Ownership,
    /// Whether the folder held something before.
    merge: bool,
    unpacked: Unpacked,
}

impl FolderSink {
    /// Makes the folder, which must not exist.
    pub(crate) fn create(folder: &Path, ownership: Ownership) -> io::Result<Self> {
        fs::create_dir(folder)?;
        Self::open_root(folder, ownership, false)
    }

    /// Takes a folder as it is; what the image has replaces what is in its place.
    pub(crate) fn merge(folder: &Path, ownership: Ownership) -> io::Result<Self> {
        Self::open_root(folder, ownership, true)
    }

    fn open_root(folder: &Path, ownership: Ownership, merge: bool) -> io::Result<Self> {
        Ok(Self { root: Folder::open(folder)?, ownership, merge, unpacked: Unpacked::default() })
    }

    /// Gives the folders their attributes. Errors name the folder.
    pub(crate) fn finish(mut self, tree: &Tree) -> Result<Unpacked, (Vec<u8>, io::Error)> {
        let folders = tree.nodes.iter().rev().filter(|(_, node)| node.is_directory());
        // A folder that was there belongs to whoever made it.
        let merge = self.merge;
        for (path, node) in folders.filter(|(path, _)| !(merge && path.is_empty())) {
            let folder = self.root.folder(path).and_then(|folder| self.set_attributes(&folder, node));
            folder.map_err(|error| (path.clone(), error))?;
        }
        Ok(self.unpacked)
    }

    /// Makes the folder `path`, unless there is one to merge into.
    fn make_folder(&mut self, path: &[u8]) -> io::Result<()> {
        let (folder, name) = self.root.place(path)?;
        match mkdirat(folder, name, Mode::RWXU) {
            // It has to be a folder that can be filled; its attributes come last, as for every other one.
            Err(Errno::EXIST) if self.merge => {
                let folder = self.root.folder(path)?;
                Ok(fchmod(&folder, Mode::from_raw_mode(fstat(&folder)?.st_mode) | Mode::RWXU)?)
            }
            made => Ok(made?),
        }
    }

    /// Takes away what a file of the image replaces.
    fn make_room(&mut self, path: &[u8]) -> io::Result<()> {
        if !self.merge {
            return Ok(());
        }
        let (folder, name) = self.root.place(path)?;
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_attributes(&mut self, file: &OwnedFd, node: &Node) -> io::Result<()> {
        if self.ownership == Ownership::Recorded {
            fchown(file, Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid)))?;
        }
        // A change of owner takes setuid bits and capabilities away, so both come after it.
        fchmod(file, Mode::from_raw_mode(node.mode))?;
        for (name, value) in &node.xattrs {
            match fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP) => self.unpacked.skipped_xattrs += 1,
                Err(Errno::PERM) if self.ownership == Ownership::Caller => self.unpacked.skipped_xattrs += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(futimens(file, &times(node))?)
    }
}

impl Sink for FolderSink {
    fn node(&mut self, path: &[u8], node: &Node) -> io::Result<()> {
        if path.is_empty() {
            return Ok(());
        }
        let ownership = self.ownership;
        if matches!(node.kind, NodeKind::CharacterDevice { .. } | NodeKind::BlockDevice { .. }) {
            self.unpacked.skipped_devices += 1;
            return Ok(());
        }
        if node.is_directory() {
            return self.make_folder(path);
        }
        self.make_room(path)?;
        let (folder, name) = self.root.place(path)?;
        match &node.kind {
            NodeKind::Symlink { target } => symlinkat(target.as_slice(), folder, name)?,
            _ => mknodat(folder, name, FileType::Fifo, Mode::from_raw_mode(node.mode & 0o777), 0)?,
        }
        if ownership == Ownership::Recorded {
            let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
            chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(utimensat(folder, name, &times(node), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn file(
        &mut self,
        path: &[u8],
        node: &Node,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), CopyError<io::Error>> {
        self.make_room(path).map_err(CopyError::Write)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file =
            File::from(self.root.file(path, flags, Mode::RUSR | Mode::WUSR).map_err(CopyError::Write)?);
        copy_at_most(content, &mut file, size)?;
        self.set_attributes(&file.into(), node).map_err(CopyError::Write)
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8], _: &Node) -> io::Result<()> {
        self.make_room(path)?;
        let (target_folder, target_name) = split(target);
        let target_folder = self.root.folder(target_folder)?;
        let (folder, name) = self.root.place(path)?;
        Ok(linkat(target_folder, target_name, folder, name, AtFlags::empty())?)
    }
}

fn times(node: &Node) -> Timestamps {
    let time = Timespec { tv_sec: node.mtime.seconds, tv_nsec: node.mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
