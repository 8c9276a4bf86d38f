//! Files that appear whole or not at all: written beside their destination, synced, renamed, and their folder synced.
//!
//! Not here: what is written, and making folders. A process that is killed leaves `.NAME.PID-N.tmp` behind, which
//! nothing takes for the file. Failure is the plain [`io::Error`]; callers add the path.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where an archive goes.
pub enum Destination<'a> {
    /// To a file, which is replaced once the archive is whole; its folder exists.
    File(&'a Path),
    /// To a stream (standard output, a pipe). What was written before a failure stays written.
    Stream(&'a mut dyn Write),
}

/// A file being written beside the one that it will replace. Dropped before [`PendingFile::commit`], it is removed.
pub(crate) struct PendingFile {
    writer: BufWriter<File>,
    pending: Pending,
}

/// A path beside `destination` that is removed unless it was renamed.
pub(crate) struct Pending {
    path: PathBuf,
    destination: PathBuf,
    renamed: bool,
}

impl PendingFile {
    pub(crate) fn create(destination: &Path) -> io::Result<Self> {
        let pending = match fs::metadata(destination) {
            // A device or a pipe must not be replaced by a file of its name.
            Ok(metadata) if !metadata.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it exists and is no regular file"));
            }
            // What a symbolic link leads to is replaced, not the link.
            Ok(_) => Pending::beside(&fs::canonicalize(destination)?)?,
            Err(_) => Pending::beside(destination)?,
        };
        let file = File::create_new(&pending.path)?;
        Ok(Self { writer: BufWriter::with_capacity(256 * 1024, file), pending })
    }

    /// Puts the file in its place, durably.
    pub(crate) fn commit(self) -> io::Result<()> {
        let file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        self.pending.rename()
    }
}

impl Write for PendingFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writer.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Pending {
    /// Names a path in the folder of `destination`; nothing is created.
    pub(crate) fn beside(destination: &Path) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the path names no file");
        let mut name = OsString::from(".");
        name.push(destination.file_name().ok_or_else(no_name)?);
        name.push(format!(".{}-{}.tmp", process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let path = destination.with_file_name(name);
        Ok(Self { path, destination: destination.to_owned(), renamed: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn rename(mut self) -> io::Result<()> {
        fs::rename(&self.path, &self.destination)?;
        self.renamed = true;
        match self.destination.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.renamed {
            return;
        }
        // Nothing can be done if removing fails too; the first failure is the one to report.
        let _ = match fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&self.path),
            Ok(_) => fs::remove_file(&self.path),
            Err(_) => Ok(()),
        };
    }
}
