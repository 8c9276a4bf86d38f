//! Writing a flattened image into a folder, as the kernel guards it.
//!
//! Every path is opened from the folder's own handle with `openat2`: beneath it, through no symbolic link and no magic
//! link. The tree has no link among parents, so nothing legitimate is refused, and whoever else writes in the folder
//! meanwhile can't lead us out of it.
//!
//! Folders are made private and get their modes, owners and times at the end, children before parents: a folder that
//! forbids writing must be filled first, and filling changes times.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat2, symlinkat, utimensat,
};
use rustix::io::Errno;

use crate::blob::{CopyError, copy_at_most};
use crate::rootfs::{Ownership, Sink, Unpacked};
use crate::tree::{Node, NodeKind, Tree};

/// Fills a folder.
pub(crate) struct FolderSink {
    root: OwnedFd,
    ownership: Ownership,
    unpacked: Unpacked,
    /// The folder used last, since entries come sorted.
    parent: Option<(Vec<u8>, OwnedFd)>,
}

impl FolderSink {
    /// Makes the folder, which must not exist.
    pub(crate) fn create(folder: &Path, ownership: Ownership) -> io::Result<Self> {
        fs::create_dir(folder)?;
        let root: OwnedFd = File::open(folder)?.into();
        Ok(Self { root, ownership, unpacked: Unpacked::default(), parent: None })
    }

    /// Gives the folders their attributes. Errors name the folder.
    pub(crate) fn finish(mut self, tree: &Tree) -> Result<Unpacked, (Vec<u8>, io::Error)> {
        for (path, node) in tree.nodes.iter().rev().filter(|(_, node)| node.is_directory()) {
            let folder = self.open_folder(path).and_then(|folder| self.set_attributes(&folder, node));
            folder.map_err(|error| (path.clone(), error))?;
        }
        Ok(self.unpacked)
    }

    fn open(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { &b"."[..] } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.root, path, flags | OFlags::CLOEXEC | OFlags::NOFOLLOW, mode, resolve)?)
    }

    fn open_folder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    }

    /// The folder that holds `path`, and the name in it.
    fn place<'a>(&mut self, path: &'a [u8]) -> io::Result<(&OwnedFd, &'a [u8])> {
        let (folder, name) = split(path);
        let known = self.parent.take().filter(|(known, _)| known == folder);
        let (_, handle) = self.parent.insert(match known {
            Some(known) => known,
            None => (folder.to_vec(), self.open_folder(folder)?),
        });
        Ok((handle, name))
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
        let (folder, name) = self.place(path)?;
        match &node.kind {
            NodeKind::Directory => return Ok(mkdirat(folder, name, Mode::RWXU)?),
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
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = File::from(self.open(path, flags, Mode::RUSR | Mode::WUSR).map_err(CopyError::Write)?);
        copy_at_most(content, &mut file, size)?;
        self.set_attributes(&file.into(), node).map_err(CopyError::Write)
    }

    fn hard_link(&mut self, path: &[u8], target: &[u8], _: &Node) -> io::Result<()> {
        let (target_folder, target_name) = split(target);
        let target_folder = self.open_folder(target_folder)?;
        let (folder, name) = self.place(path)?;
        Ok(linkat(target_folder, target_name, folder, name, AtFlags::empty())?)
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

fn times(node: &Node) -> Timestamps {
    let time = Timespec { tv_sec: node.mtime.seconds, tv_nsec: node.mtime.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
