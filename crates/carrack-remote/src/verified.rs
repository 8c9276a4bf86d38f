//! Reading a blob from a disk, whether it is a cache's or to be published, and not believing it.

use std::io::{self, Read, Write};
use std::time::Instant;

use carrack_base::{Digest, Sha256Writer};
use carrack_oci::BlobError;

/// Hands out the bytes of a file and ends with an error if they are not the promised ones, or if the time is over.
pub(crate) struct Verified<R> {
    inner: R,
    hasher: Option<Sha256Writer<io::Sink>>,
    digest: Digest,
    size: u64,
    position: u64,
    deadline: Option<Instant>,
}

impl<R: Read> Verified<R> {
    pub(crate) fn new(inner: R, digest: Digest, size: u64, deadline: Option<Instant>) -> Self {
        let hasher = Some(Sha256Writer::new(io::sink()));
        Self { inner, hasher, digest, size, position: 0, deadline }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let count = self.inner.read(buffer)?;
        self.position += count as u64;
        let (digest, expected, position) = (self.digest, self.size, self.position);
        let wrong = |error| Err(io::Error::new(io::ErrorKind::InvalidData, error));
        if position > expected || (count == 0 && position < expected) {
            return wrong(BlobError::Size { digest, expected, found: position });
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.write_all(&buffer[..count])?;
        }
        // The last bytes are held back if the whole is wrong: who sends it on must not complete it.
        if position == expected
            && let Some(hasher) = self.hasher.take()
        {
            let (_, found, _) = hasher.finish();
            if found != digest {
                return wrong(BlobError::Content { digest, found });
            }
        }
        Ok(count)
    }
}
