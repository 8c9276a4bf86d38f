//! Reading blobs, and never believing them.
//!
//! Where blobs are kept is the caller's: it hands in a [`BlobSource`]. Whatever comes out of it is counted and hashed
//! while it passes; nobody can take more bytes than were promised, and the end says whether they were the right ones.

use std::io::{self, Read, Write};

use carrack_base::{Digest, Sha256Writer};

use crate::wire::Descriptor;

/// Gives out the bytes of blobs.
pub trait BlobSource: Sync {
    /// The bytes of a blob from its start.
    ///
    /// Errors: [`io::ErrorKind::NotFound`] if it is not there, or what the disk said.
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>>;
}

/// A blob that can't be read or is not what its descriptor promises.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The source did not give it.
    #[error("cannot read blob {digest}")]
    Read {
        /// The blob.
        digest: Digest,
        /// What the source said.
        #[source]
        source: io::Error,
    },
    /// It is shorter or longer than promised.
    #[error("blob {digest} has {found} bytes or more where {expected} were promised")]
    Size {
        /// The blob.
        digest: Digest,
        /// Bytes promised.
        expected: u64,
        /// Bytes seen; reading stops with the first that is too many.
        found: u64,
    },
    /// It is another blob's content.
    #[error("blob {digest} has content whose digest is {found}")]
    Content {
        /// The blob.
        digest: Digest,
        /// The digest of what was read.
        found: Digest,
    },
}

/// Copying stops on either side; the sides fail differently.
#[derive(Debug)]
pub(crate) enum CopyError<R> {
    Read(R),
    Write(io::Error),
}

/// Reads a blob, hashing it on the way.
pub(crate) struct BlobReader {
    inner: io::Take<Box<dyn Read + Send>>,
    hasher: Sha256Writer<io::Sink>,
    digest: Digest,
    size: u64,
}

impl BlobReader {
    pub(crate) fn open(blobs: &dyn BlobSource, descriptor: &Descriptor) -> Result<Self, BlobError> {
        let Descriptor { digest, size, .. } = *descriptor;
        let inner = blobs.open(&digest).map_err(|source| BlobError::Read { digest, source })?;
        // One byte more than promised is enough to know that there are too many.
        let inner = inner.take(size.saturating_add(1));
        Ok(Self { inner, hasher: Sha256Writer::new(io::sink()), digest, size })
    }

    /// Reads what is left and says whether the whole was what the descriptor promised.
    pub(crate) fn finish(mut self) -> Result<(), BlobError> {
        let digest = self.digest;
        io::copy(&mut self, &mut io::sink()).map_err(|source| BlobError::Read { digest, source })?;
        let (_, content, size) = self.hasher.finish();
        if size != self.size {
            return Err(BlobError::Size { digest, expected: self.size, found: size });
        }
        if content != digest {
            return Err(BlobError::Content { digest, found: content });
        }
        Ok(())
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// Copies exactly the promised bytes of a blob to `output`, and verifies them.
pub(crate) fn copy_blob(
    blobs: &dyn BlobSource,
    descriptor: &Descriptor,
    output: &mut dyn Write,
) -> Result<(), CopyError<BlobError>> {
    let mut reader = BlobReader::open(blobs, descriptor).map_err(CopyError::Read)?;
    let copied = copy_at_most(&mut reader, output, descriptor.size).map_err(|error| match error {
        CopyError::Read(source) => CopyError::Read(BlobError::Read { digest: descriptor.digest, source }),
        CopyError::Write(error) => CopyError::Write(error),
    })?;
    reader.finish().map_err(CopyError::Read)?;
    debug_assert_eq!(copied, descriptor.size, "finish() has compared the sizes");
    Ok(())
}

/// Copies up to `limit` bytes and says how many there were.
pub(crate) fn copy_at_most(
    reader: &mut dyn Read,
    writer: &mut dyn Write,
    limit: u64,
) -> Result<u64, CopyError<io::Error>> {
    let mut buffer = vec![0; limit.clamp(1, 128 * 1024) as usize];
    let mut copied = 0;
    while copied < limit {
        let wanted = (limit - copied).min(buffer.len() as u64) as usize;
        match reader.read(&mut buffer[..wanted]) {
            Ok(0) => break,
            Ok(count) => {
                writer.write_all(&buffer[..count]).map_err(CopyError::Write)?;
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Read(error)),
        }
    }
    Ok(copied)
}
