//! A folder that is only entered through its own handle.
//!
//! Every path is opened from the handle with `openat2`: beneath it, through no symbolic link and no magic link. So
//! whoever else writes in the folder meanwhile can't lead us out of it. Paths are bytes, relative, without leading
//! slash, and may be longer than the kernel takes at once; the folder itself is the empty path.
//!
//! Failure is the plain [`io::Error`]; callers add the path.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Stat, openat2, statat};
use rustix::io::Errno;

/// Less than `PATH_MAX`, which counts a NUL.
const PATH_LIMIT: usize = 4000;
const RESOLVE: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

pub(crate) struct Folder {
    root: OwnedFd,
    /// The folder used last, since paths come sorted.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if !file.metadata()?.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        Ok(Self { root: file.into(), last: None })
    }

    /// Another handle, with a memory of its own.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { root: self.root.try_clone()?, last: None })
    }

    /// Opens the folder `path`.
    pub(crate) fn folder(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut rest = if path.is_empty() { &b"."[..] } else { path };
        let mut folder: Option<OwnedFd> = None;
        loop {
            let from = folder.as_ref().unwrap_or(&self.root);
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if rest.len() <= PATH_LIMIT {
                return Ok(openat2(from, rest, flags | OFlags::RDONLY, Mode::empty(), RESOLVE)?);
            }
            let slash =
                rest[..PATH_LIMIT].iter().rposition(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?;
            folder = Some(openat2(from, &rest[..slash], flags | OFlags::PATH, Mode::empty(), RESOLVE)?);
            rest = &rest[slash + 1..];
        }
    }

    /// Opens or creates something that is no folder.
    pub(crate) fn file(&mut self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let (folder, name) = self.place(path)?;
        Ok(openat2(folder, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode, RESOLVE)?)
    }

    /// What is at `path` itself, not where it leads.
    pub(crate) fn stat(&mut self, path: &[u8]) -> io::Result<Stat> {
        let (folder, name) = self.place(path)?;
        Ok(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The folder that holds `path`, and the name in it; the folder itself is its own `.`.
    pub(crate) fn place<'a>(&mut self, path: &'a [u8]) -> io::Result<(&OwnedFd, &'a [u8])> {
        if path.is_empty() {
            return Ok((&self.root, b"."));
        }
        let (folder, name) = split(path);
        let known = self.last.take().filter(|(known, _)| known == folder);
        let (_, handle) = self.last.insert(match known {
            Some(known) => known,
            None => (folder.to_vec(), self.folder(folder)?),
        });
        Ok((handle, name))
    }

    /// Has to be called when a folder was removed: another one may take its path.
    pub(crate) fn forget(&mut self) {
        self.last = None;
    }
}

/// The folder of `path` and the name in it.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}
