//! Reading what somebody else may have put in the place of an ordinary file.
//!
//! Opening a FIFO waits for whoever opens its other end, a device may never end, a file in `/proc` says that it is empty and is
//! not, one that is written to has no end for as long as that goes on, and one with holes is longer than all memory. Here, only
//! regular files are read, nothing is waited for, and of a file there is no more than it had when it was opened.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::ContentDigest;

/// The most bytes of a file that is read as text.
pub const MOST_TEXT: u64 = 64 << 20;
/// The most bytes of a file of any kind.
pub const MOST_BYTES: u64 = 4 << 30;

/// Opens a regular file for reading; a link to one is refused.
///
/// Errors: [`ErrorKind::InvalidInput`] if it is something else; it can't be opened.
pub fn open_regular_itself(path: &Path) -> io::Result<File> {
    open(path, OFlags::NOFOLLOW).map(|(file, _)| file)
}

/// What a regular file holds; a link to one is followed.
///
/// Errors: as [`open_regular_itself`]; [`ErrorKind::FileTooLarge`] if that is more than `most` bytes.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (file, length) = open(path, OFlags::empty())?;
    let mut bytes = Vec::with_capacity(within(most, length)?);
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The digest of what a regular file holds, without all of it in memory.
///
/// Errors: as [`read_regular`], with [`MOST_BYTES`].
pub fn digest_regular(path: &Path) -> io::Result<ContentDigest> {
    let (file, length) = open(path, OFlags::empty())?;
    within(MOST_BYTES, length)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file.take(length))?;
    Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes()))
}

fn open(path: &Path, flags: OFlags) -> io::Result<(File, u64)> {
    let flags = (flags | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok((file, metadata.len())),
        false => {
            let message = format!("{} is no regular file", path.display());
            Err(io::Error::new(ErrorKind::InvalidInput, message))
        }
    }
}

fn within(most: u64, length: u64) -> io::Result<usize> {
    let length = usize::try_from(length).ok().filter(|_| length <= most);
    length.ok_or_else(|| io::Error::from(ErrorKind::FileTooLarge))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        symlink("file", path("link")).unwrap();
        mkfifoat(CWD, path("fifo"), Mode::RWXU).unwrap();
        symlink("/dev/zero", path("endless")).unwrap();
        symlink("/dev/tty", path("terminal")).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        for name in ["file", "link"] {
            assert_eq!(read_regular(&path(name), 4).unwrap(), b"text", "{name}");
            assert_eq!(digest_regular(&path(name)).unwrap(), ContentDigest::of(b"text"), "{name}");
        }
        assert!(open_regular_itself(&path("file")).is_ok() && open_regular_itself(&path("link")).is_err());
        for name in ["fifo", "endless", "terminal", "socket", ".", "none"] {
            assert!(open_regular_itself(&path(name)).is_err(), "{name}");
            assert!(read_regular(&path(name), MOST_TEXT).is_err(), "{name}");
            assert!(digest_regular(&path(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn files_end_where_they_ended_when_they_were_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        let file = File::create(&path).unwrap();
        file.set_len(MOST_BYTES + 1).unwrap();
        let kind = |error: io::Error| error.kind();
        assert_eq!(read_regular(&path, MOST_BYTES).map_err(kind), Err(ErrorKind::FileTooLarge));
        assert_eq!(digest_regular(&path).map_err(kind), Err(ErrorKind::FileTooLarge));
        file.set_len(5).unwrap();
        assert_eq!(read_regular(&path, 4).map_err(kind), Err(ErrorKind::FileTooLarge));
        assert_eq!(read_regular(&path, 5).map_err(kind), Ok(vec![0; 5]));
        // It has no length, and more bytes than anybody has memory for.
        let pages = Path::new("/proc/self/pagemap");
        if pages.exists() {
            assert_eq!(read_regular(pages, MOST_TEXT).map_err(kind), Ok(Vec::new()));
        }
    }
}
