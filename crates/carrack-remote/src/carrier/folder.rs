use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::{Cause, Trouble};
use crate::verified::Verified;
use crate::wire::{WireEntry, blob_key, entry_key};
use crate::{BlobInfo, Limits, Upload};

const BUFFER: usize = 128 * 1024;
const ENTRY_LIMIT: u64 = 4 * 1024 * 1024;
/// Files that are being written; they never have a name that an entry or a blob could have.
const INCOMING: &str = ".incoming-";

/// Entries as files of a folder. What a crash leaves behind begins with `.incoming-`.
#[derive(Clone)]
pub(crate) struct Folder {
    path: PathBuf,
    deadline: Option<Instant>,
}

impl Folder {
    pub(super) fn open(path: &Path, limits: &Limits) -> Self {
        Self { path: path.to_owned(), deadline: limits.deadline }
    }

    pub(super) fn with_deadline(&self, deadline: Option<Instant>) -> Self {
        Self { path: self.path.clone(), deadline }
    }

    pub(super) fn names(&self) -> Result<Vec<String>, Trouble> {
        self.in_time()?;
        let path = self.path.join("entries");
        let Some(entries) = found(fs::read_dir(&path)).map_err(Trouble::folder("list", &path))? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Trouble::folder("list", &path))?;
            names.extend(entry.file_name().into_string());
        }
        Ok(names)
    }

    pub(super) fn entry(&self, name: &str) -> Result<Option<WireEntry>, Trouble> {
        self.in_time()?;
        let path = self.path.join(entry_key(name));
        let failed = |error| Trouble::folder("read", &path)(error);
        let Some(file) = found(File::open(&path)).map_err(failed)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(ENTRY_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > ENTRY_LIMIT {
            return Err(Trouble::Damaged(format!("it has more than {ENTRY_LIMIT} bytes")));
        }
        WireEntry::read(&bytes).map(Some).map_err(Trouble::Damaged)
    }

    pub(super) fn blob(&self, blob: &BlobInfo) -> Result<Option<Box<dyn Read + Send>>, Trouble> {
        self.in_time()?;
        let path = self.path.join(blob_key(&blob.digest));
        let file = found(File::open(&path)).map_err(Trouble::folder("open", &path))?;
        let verified = |file| Verified::new(file, blob.digest, blob.size, self.deadline);
        Ok(file.map(|file| Box::new(verified(file)) as Box<dyn Read + Send>))
    }

    pub(super) fn put_blob(&self, upload: &Upload<'_>) -> Result<bool, Trouble> {
        self.in_time()?;
        let BlobInfo { digest, size } = upload.blob;
        let path = self.path.join(blob_key(&digest));
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == size) {
            return Ok(false);
        }
        let mut source = upload.open().map_err(Trouble::Source)?;
        self.write(&path, &mut |file| {
            let mut buffer = vec![0; BUFFER];
            loop {
                self.in_time()?;
                let count = source.read(&mut buffer).map_err(Trouble::Source)?;
                if count == 0 {
                    return Ok(());
                }
                file.write_all(&buffer[..count]).map_err(Trouble::folder("write", &path))?;
            }
        })?;
        Ok(true)
    }

    pub(super) fn put_entry(&self, name: &str, entry: &WireEntry) -> Result<(), Trouble> {
        self.in_time()?;
        let path = self.path.join(entry_key(name));
        let bytes = entry.to_bytes();
        self.write(&path, &mut |file| file.write_all(&bytes).map_err(Trouble::folder("write", &path)))
    }

    pub(super) fn remove(&self, name: &str) -> Result<bool, Trouble> {
        self.in_time()?;
        let path = self.path.join(entry_key(name));
        let removed = found(fs::remove_file(&path)).map_err(Trouble::folder("remove", &path))?;
        Ok(removed.is_some())
    }

    /// Writes a file beside `path` and gives it the name when it is whole and on the disk.
    fn write(
        &self,
        path: &Path,
        fill: &mut dyn FnMut(&mut File) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let folder = path.parent().expect("keys have a folder");
        fs::create_dir_all(folder).map_err(Trouble::folder("make", folder))?;
        let mut file = tempfile::Builder::new()
            .prefix(INCOMING)
            // What others may do with it is the umask's business.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(Trouble::folder("make a file in", folder))?;
        fill(file.as_file_mut())?;
        file.as_file().sync_all().map_err(Trouble::folder("write", path))?;
        file.persist(path).map_err(|error| Trouble::folder("write", path)(error.error))?;
        Ok(())
    }

    fn in_time(&self) -> Result<(), Trouble> {
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Trouble::Cause(Cause::Deadline)),
            _ => Ok(()),
        }
    }
}

/// `None` if it is not there.
fn found<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
