//! Blobs: immutable bytes, named by their digest.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use carrack_base::{Digest, Sha256Writer};

use crate::{Store, StoreError};

const BUFFER: usize = 128 * 1024;

/// Takes the bytes of a blob that is not known yet. Dropped without [`BlobWriter::commit`], it leaves nothing.
///
/// Its [`Write`] errors have the kind that the system gave and a [`StoreError`] with the path inside.
pub struct BlobWriter<'s> {
    store: &'s Store,
    path: PathBuf,
    /// `None` once the file was handed over or given up.
    writer: Option<Sha256Writer<BufWriter<File>>>,
}

impl Store {
    /// Stores `bytes` as a blob. Errors: as [`BlobWriter::commit`].
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.has_blob_of(&digest, bytes.len() as u64) {
            return Ok(digest);
        }
        let mut writer = self.blob_writer()?;
        let path = writer.path.clone();
        writer.write_all(bytes).map_err(StoreError::io("write", &path))?;
        Ok(writer.commit()?.0)
    }

    /// Starts a blob whose bytes are to come.
    ///
    /// Errors: [`StoreError::Io`] or [`StoreError::DiskFull`] if the temporary file can't be made.
    pub fn blob_writer(&self) -> Result<BlobWriter<'_>, StoreError> {
        let (path, file) = self.incoming_file()?;
        let writer = Some(Sha256Writer::new(BufWriter::with_capacity(BUFFER, file)));
        Ok(BlobWriter { store: self, path, writer })
    }

    /// Stores the blob `digest` of `size` bytes from a reader that verifies it: one that ends with an error unless these
    /// were the right bytes. They are not hashed a second time.
    ///
    /// Errors: what `bytes` said, passed on; a [`StoreError`] of the kind that the system gave, as those of [`BlobWriter`].
    /// Nothing is kept then.
    pub fn put_verified(&self, digest: &Digest, size: u64, bytes: &mut dyn Read) -> io::Result<()> {
        let (path, mut file) = self.incoming_file().map_err(io::Error::other)?;
        let failed = |error: io::Error| io::Error::new(error.kind(), StoreError::io("write", &path)(error));
        let mut copy = || {
            let mut buffer = vec![0; BUFFER];
            loop {
                match bytes.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => file.write_all(&buffer[..count]).map_err(failed)?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            self.adopt(&file, &path, digest, size).map_err(io::Error::other)
        };
        let outcome = copy();
        if outcome.is_err() {
            let _ = fs::remove_file(&path);
        }
        outcome
    }

    /// A new file for bytes that come in.
    fn incoming_file(&self) -> Result<(PathBuf, File), StoreError> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let folder = match self.incoming.get() {
            Some(folder) => folder,
            None => {
                let folder = self.scratch()?;
                self.incoming.get_or_init(|| folder)
            }
        };
        let path = folder.path().join(format!("blob-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
        let file = File::create_new(&path).map_err(StoreError::io("create", &path))?;
        Ok((path, file))
    }

    /// Where the blob is, if the store has it. It must not be modified.
    pub fn blob_path(&self, digest: &Digest) -> Option<PathBuf> {
        let path = self.blob_place(digest);
        path.is_file().then_some(path)
    }

    /// Opens a blob for reading, without verifying it.
    ///
    /// Errors: [`StoreError::MissingBlob`] if the store does not have it.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.blob_place(digest);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::MissingBlob { digest: *digest, path })
            }
            opened => opened.map_err(StoreError::io("open", &path)),
        }
    }

    /// Reads a blob whole and verifies it. For manifests and configurations; layers may be larger than the memory.
    ///
    /// Errors: [`StoreError::MissingBlob`]; [`StoreError::Corrupt`] if its bytes do not have its digest.
    pub fn read_blob_verified(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let mut file = self.open_blob(digest)?;
        file.read_to_end(&mut bytes).map_err(StoreError::io("read", &self.blob_place(digest)))?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(self.move_corrupt_away(digest)) }
    }

    /// Reads through a blob of any size and verifies it. Returns its size in bytes.
    ///
    /// Errors: as [`Store::read_blob_verified`].
    pub fn verify_blob(&self, digest: &Digest) -> Result<u64, StoreError> {
        let mut file = self.open_blob(digest)?;
        let mut sink = Sha256Writer::new(BufWriter::with_capacity(BUFFER, io::sink()));
        io::copy(&mut file, &mut sink).map_err(StoreError::io("read", &self.blob_place(digest)))?;
        let (_, found, size) = sink.finish();
        if found == *digest { Ok(size) } else { Err(self.move_corrupt_away(digest)) }
    }

    fn blob_place(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs/sha256").join(&hex[..2]).join(hex)
    }

    /// A blob that has another size than it should does not count: it is replaced.
    fn has_blob_of(&self, digest: &Digest, size: u64) -> bool {
        fs::metadata(self.blob_place(digest)).is_ok_and(|metadata| metadata.len() == size)
    }

    fn move_corrupt_away(&self, digest: &Digest) -> StoreError {
        let place = self.blob_place(digest);
        let path = place.with_extension("corrupt");
        match fs::rename(&place, &path) {
            // Another process found it at the same time.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                StoreError::io("move the corrupt blob", &place)(error)
            }
            _ => StoreError::Corrupt { digest: *digest, path },
        }
    }

    /// Puts a whole file in its place as a blob, or drops it if the blob is there.
    fn adopt(&self, file: &File, path: &Path, digest: &Digest, size: u64) -> Result<(), StoreError> {
        if self.has_blob_of(digest, size) {
            return fs::remove_file(path).map_err(StoreError::io("remove", path));
        }
        file.sync_all().map_err(StoreError::io("write", path))?;
        let place = self.blob_place(digest);
        let rename = || fs::rename(path, &place);
        let folder = place.parent().expect("a blob's place has a folder");
        rename()
            .or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => fs::create_dir_all(folder).and_then(|()| rename()),
                _ => Err(error),
            })
            .map_err(StoreError::io("create", &place))
    }
}

impl BlobWriter<'_> {
    /// Puts the blob in its place: synced to disk, then renamed. Returns its digest and its size in bytes.
    ///
    /// If the store has the blob already, nothing is written. Hold a [`crate::Lease`] until an image names the blob.
    ///
    /// Errors: [`StoreError::DiskFull`] or [`StoreError::Io`] with the file that could not be written.
    pub fn commit(mut self) -> Result<(Digest, u64), StoreError> {
        let (buffered, digest, size) =
            self.writer.take().expect("the writer is there until the blob is committed").finish();
        let adopted = buffered
            .into_inner()
            .map_err(|error| StoreError::io("write", &self.path)(error.into_error()))
            .and_then(|file| self.store.adopt(&file, &self.path, &digest, size));
        if adopted.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        adopted.map(|()| (digest, size))
    }

    fn attempt<T>(
        &mut self,
        write: impl FnOnce(&mut Sha256Writer<BufWriter<File>>) -> io::Result<T>,
    ) -> io::Result<T> {
        let writer = self.writer.as_mut().expect("the writer is there until the blob is committed");
        write(writer)
            .map_err(|error| io::Error::new(error.kind(), StoreError::io("write", &self.path)(error)))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.attempt(|writer| writer.write(buffer))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.attempt(Write::flush)
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            // What can't be removed now goes with the scratch folder.
            let _ = fs::remove_file(&self.path);
        }
    }
}
