//! Removes a folder whatever its modes are: overlay leaves work folders of mode 000, cargo registries read-only ones.
//!
//! Follows no symlink. Goes on after a failure, so that as much as possible is gone, and reports the first.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

/// Removes the folder at `path` and all that is in it; the file `last` in it goes after everything else.
pub(crate) fn remove_tree(path: &Path, last: Option<&str>) -> Result<()> {
    let folder = open(CWD, path)?;
    let emptied = empty(&folder, last);
    if emptied.is_ok()
        && let Some(last) = last
    {
        ignore_missing(rustix::fs::unlinkat(&folder, last, AtFlags::empty()))?;
    }
    emptied?;
    ignore_missing(rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR))
}

/// Depth is bounded by the descriptors that a process may have; folders nested deeper stay.
fn empty(folder: &OwnedFd, spare: Option<&str>) -> Result<()> {
    let mut outcome = Ok(());
    for (name, file_type) in names(folder)? {
        if spare.is_some_and(|spare| name.as_bytes() == spare.as_bytes()) {
            continue;
        }
        let removed = if file_type == FileType::Directory {
            open(folder, &name)
                .and_then(|child| empty(&child, None))
                .and_then(|()| rustix::fs::unlinkat(folder, &name, AtFlags::REMOVEDIR))
        } else {
            rustix::fs::unlinkat(folder, &name, AtFlags::empty())
        };
        outcome = outcome.and(ignore_missing(removed));
    }
    outcome
}

/// Opens a folder that we may list and empty afterwards, changing its mode if need be.
fn open<P: rustix::path::Arg + Copy>(parent: impl AsFd + Copy, name: P) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let all = Mode::RWXU;
    let folder = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, all, AtFlags::empty())?;
            rustix::fs::openat(parent, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    if !Mode::from_raw_mode(rustix::fs::fstat(&folder)?.st_mode).contains(all) {
        // Failing shows when the children can't be removed.
        let _ = rustix::fs::fchmod(&folder, all);
    }
    Ok(folder)
}

/// All names, read before any is removed: what a listing shows while its folder shrinks is undefined.
fn names(folder: &OwnedFd) -> Result<Vec<(CString, FileType)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let file_type = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(folder, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            known => known,
        };
        names.push((entry.file_name().to_owned(), file_type));
    }
    Ok(names)
}

fn ignore_missing(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
