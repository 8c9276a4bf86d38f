use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use carrack_base::ContentDigest;
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, fstat, major, minor, readlinkat,
    statat,
};
use rustix::io::Errno;

use super::error::in_folder;
use super::listing::FileId;
use super::{Entry, Kind, Listing, OPAQUE_XATTR, SnapshotError, counts};
use crate::folder::Folder;
use crate::rootfs::Ownership;
use crate::tar_header::Xattrs;
use crate::tree::join;

/// As long as an attribute's value, or all names of a file's attributes, can be.
const XATTR_LIMIT: usize = 64 * 1024;
const BUFFER: usize = 256 * 1024;
/// Files that are worth a thread.
const FILES_PER_THREAD: usize = 16;

/// A name of a file, to be read.
struct Found {
    path: Vec<u8>,
    stat: Stat,
}

/// What reading a file tells.
struct ReadFile {
    xattrs: Xattrs,
    content: ContentDigest,
}

/// Reads what is in `folder`, a snapshot or an overlay's upper folder that nobody writes to, on up to `threads` threads.
///
/// Shape: with [`Ownership::Recorded`] the owners are those that this process sees; with [`Ownership::Caller`] all is
/// root's, as [`unpack`](super::unpack) says it.
/// Errors: [`SnapshotError::Read`], [`SnapshotError::Changed`] if a file changes meanwhile.
pub fn scan(folder: &Path, ownership: Ownership, threads: NonZeroUsize) -> Result<Listing, SnapshotError> {
    let failed = |path: &[u8], source| SnapshotError::Read { path: in_folder(folder, path), source };
    let mut root = Folder::open(folder).map_err(|source| failed(b"", source))?;
    let mut entries = Vec::new();
    let mut files = Vec::new();
    let mut pending = vec![Vec::new()];
    let mut buffer = vec![0; XATTR_LIMIT];
    // Folders are opened anew from the root: a deep tree would need more handles than a process may have.
    while let Some(path) = pending.pop() {
        let directory = root.folder(&path).map_err(|source| failed(&path, source))?;
        let entry =
            read_directory(&directory, ownership, &mut buffer).map_err(|source| failed(&path, source))?;
        for name in names(directory.as_fd()).map_err(|source| failed(&path, source))? {
            let path = join(&path, &name);
            let failed = |source: Errno| failed(&path, source.into());
            let stat = statat(&directory, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            let (major, minor) = (major(stat.st_rdev), minor(stat.st_rdev));
            let kind = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    pending.push(path);
                    continue;
                }
                FileType::RegularFile => {
                    files.push(Found { path, stat });
                    continue;
                }
                FileType::Symlink => {
                    let target = readlinkat(&directory, name.as_slice(), Vec::new()).map_err(failed)?;
                    Kind::Symlink { target: target.into_bytes() }
                }
                FileType::Fifo => Kind::Fifo,
                FileType::CharacterDevice if (major, minor) == (0, 0) => Kind::Whiteout,
                FileType::CharacterDevice => Kind::CharacterDevice { major, minor },
                FileType::BlockDevice => Kind::BlockDevice { major, minor },
                _ => continue,
            };
            let entry = match kind {
                Kind::Whiteout => Entry::whiteout(),
                kind => entry_of(kind, &stat, ownership, Xattrs::new()),
            };
            entries.push((path, entry, file_id(&stat)));
        }
        entries.push((path, entry, (0, 0)));
    }
    let mut first_names: HashMap<FileId, &Found> = HashMap::new();
    for file in &files {
        first_names.entry(file_id(&file.stat)).or_insert(file);
    }
    let to_read: Vec<&Found> = first_names.into_values().collect();
    let read = read_files(&mut root, folder, &to_read, threads)?;
    for Found { path, stat } in files {
        let ReadFile { xattrs, content } = &read[&file_id(&stat)];
        let kind = Kind::File { size: stat.st_size as u64, content: *content, link: None };
        entries.push((path, entry_of(kind, &stat, ownership, xattrs.clone()), file_id(&stat)));
    }
    Ok(Listing::with_links(entries.into_iter()))
}

/// Reads files on several threads, the largest first so that the last one is short.
fn read_files(
    root: &mut Folder,
    folder: &Path,
    files: &[&Found],
    threads: NonZeroUsize,
) -> Result<HashMap<FileId, ReadFile>, SnapshotError> {
    let failed = |path: &[u8], source| SnapshotError::Read { path: in_folder(folder, path), source };
    let mut order: Vec<&Found> = files.to_vec();
    order.sort_by(|first, second| {
        second.stat.st_size.cmp(&first.stat.st_size).then_with(|| first.path.cmp(&second.path))
    });
    let next = AtomicUsize::new(0);
    let work = |root: &mut Folder| {
        let mut buffer = vec![0; BUFFER];
        let mut read = Vec::new();
        while let Some(file) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = read_file(root, file, &mut buffer);
            match outcome.map_err(|source| failed(&file.path, source))? {
                Some(outcome) => read.push((file_id(&file.stat), outcome)),
                None => {
                    let path = in_folder(folder, &file.path);
                    return Err(SnapshotError::Changed { path, problem: "it changed while it was read" });
                }
            }
        }
        Ok(read)
    };
    let further = threads.get().min(files.len() / FILES_PER_THREAD + 1) - 1;
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..further {
            let mut root = root.try_clone().map_err(|source| failed(b"", source))?;
            let work = &work;
            // Fewer threads are slower, and no failure.
            let worker = thread::Builder::new().name("carrack-scan".to_owned());
            workers.extend(worker.spawn_scoped(scope, move || work(&mut root)).ok());
        }
        let mut read: HashMap<FileId, ReadFile> = work(root)?.into_iter().collect();
        for worker in workers {
            read.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(read)
    })
}

/// Attributes and content of a file; `None` if it is another one by now.
fn read_file(root: &mut Folder, found: &Found, buffer: &mut [u8]) -> io::Result<Option<ReadFile>> {
    // What became a pipe meanwhile must not hold us up.
    let mut file = File::from(root.file(&found.path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?);
    let before = fstat(&file)?;
    if file_id(&before) != file_id(&found.stat) || before.st_size != found.stat.st_size {
        return Ok(None);
    }
    let (_, xattrs) = read_xattrs(&file, &mut buffer[..XATTR_LIMIT])?;
    let mut hasher = blake3::Hasher::new();
    let mut size = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as i64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let content = ContentDigest::from_bytes(*hasher.finalize().as_bytes());
    Ok((size == found.stat.st_size).then_some(ReadFile { xattrs, content }))
}

fn read_directory(directory: &OwnedFd, ownership: Ownership, buffer: &mut [u8]) -> io::Result<Entry> {
    let (opaque, xattrs) = read_xattrs(directory, buffer)?;
    Ok(entry_of(Kind::Directory { opaque }, &fstat(directory)?, ownership, xattrs))
}

fn entry_of(kind: Kind, stat: &Stat, ownership: Ownership, xattrs: Xattrs) -> Entry {
    let (uid, gid) = match ownership {
        Ownership::Recorded => (stat.st_uid, stat.st_gid),
        Ownership::Caller => (0, 0),
    };
    Entry { kind, mode: stat.st_mode & 0o7777, uid, gid, xattrs }
}

/// Whether a folder is opaque, and the attributes that count.
fn read_xattrs(file: impl AsFd, buffer: &mut [u8]) -> io::Result<(bool, Xattrs)> {
    let mut xattrs = Xattrs::new();
    let length = match flistxattr(&file, &mut buffer[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    if length == 0 {
        return Ok((false, xattrs));
    }
    let names: Vec<Vec<u8>> = buffer[..length].split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let mut opaque = false;
    for name in names {
        if !counts(&name) && name != OPAQUE_XATTR {
            continue;
        }
        let length = match fgetxattr(&file, name.as_slice(), &mut buffer[..]) {
            Ok(length) => length,
            // It is listed, but there is none for us.
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(error.into()),
        };
        let value = &buffer[..length];
        if name == OPAQUE_XATTR {
            opaque = value == b"y";
        } else {
            xattrs.insert(name, value.to_vec());
        }
    }
    Ok((opaque, xattrs))
}

fn names(directory: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(name.as_slice(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

fn file_id(stat: &Stat) -> FileId {
    (stat.st_dev, stat.st_ino)
}
