use std::io::{self, Read, Write};

use carrack_base::{Digest, Sha256Writer};

use crate::blob::{BlobError, BlobSource};
use crate::wire::Descriptor;

/// Takes blobs in, and gives them out again.
pub trait BlobSink: BlobSource {
    /// Whether the blob is there, with this size.
    fn has(&self, digest: &Digest, size: u64) -> bool;

    /// Keeps a blob of `size` bytes. `bytes` has to be read to its end, and nothing is kept unless that end is reached: a
    /// blob that is damaged ends with an error instead. Nobody sees the blob before it is whole.
    ///
    /// Errors: what the disk said, or what `bytes` said, passed on.
    fn put(&self, digest: &Digest, size: u64, bytes: &mut dyn Read) -> io::Result<()>;
}

/// Why a blob is not in the sink.
#[derive(Debug)]
pub(super) enum PutError {
    /// It could not be read, or is damaged.
    Source(io::Error),
    /// The sink did not take it.
    Sink(io::Error),
    Cancelled,
}

/// Who is told how far a blob is, and who may stop it.
pub(super) struct Watch<'a> {
    /// Whether it is not wanted any more.
    pub(super) stop: &'a dyn Fn() -> bool,
    /// Gets the number of bytes that have come.
    pub(super) progress: &'a dyn Fn(u64),
}

impl Watch<'_> {
    /// Nobody looks, and nobody stops it.
    pub(super) const NONE: Watch<'static> = Watch { stop: &|| false, progress: &|_| {} };
}

/// Puts a blob that nobody has verified.
pub(super) fn put(
    sink: &dyn BlobSink,
    descriptor: &Descriptor,
    source: &mut dyn Read,
    watch: &Watch<'_>,
) -> Result<(), PutError> {
    arrive(sink, descriptor, source, watch, Some(Sha256Writer::new(io::sink())))
}

/// Puts a blob whose source ends with an error if it is damaged.
pub(super) fn put_verified(
    sink: &dyn BlobSink,
    descriptor: &Descriptor,
    source: &mut dyn Read,
    watch: &Watch<'_>,
) -> Result<(), PutError> {
    arrive(sink, descriptor, source, watch, None)
}

fn arrive(
    sink: &dyn BlobSink,
    descriptor: &Descriptor,
    source: &mut dyn Read,
    watch: &Watch<'_>,
    hasher: Option<Sha256Writer<io::Sink>>,
) -> Result<(), PutError> {
    let Descriptor { digest, size, .. } = *descriptor;
    let mut arriving = Arriving { source, digest, size, hasher, done: 0, watch, failure: None };
    let outcome = sink.put(&digest, size, &mut arriving);
    match (outcome, arriving.failure) {
        (_, Some(failure)) => Err(failure),
        (outcome, None) => outcome.map_err(PutError::Sink),
    }
}

struct Arriving<'a> {
    source: &'a mut dyn Read,
    digest: Digest,
    size: u64,
    /// `None` if the source verifies itself, or at the end.
    hasher: Option<Sha256Writer<io::Sink>>,
    done: u64,
    watch: &'a Watch<'a>,
    failure: Option<PutError>,
}

impl Arriving<'_> {
    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, PutError> {
        if (self.watch.stop)() {
            return Err(PutError::Cancelled);
        }
        let damaged = |error| PutError::Source(io::Error::new(io::ErrorKind::InvalidData, error));
        let count = self.source.read(buffer).map_err(PutError::Source)?;
        let (digest, expected) = (self.digest, self.size);
        self.done += count as u64;
        if self.done > expected || (count == 0 && !buffer.is_empty() && self.done < expected) {
            return Err(damaged(BlobError::Size { digest, expected, found: self.done }));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.write_all(&buffer[..count]).map_err(PutError::Source)?;
        }
        if count == 0 && !buffer.is_empty() {
            if let Some(hasher) = self.hasher.take() {
                let (_, found, _) = hasher.finish();
                if found != digest {
                    return Err(damaged(BlobError::Content { digest, found }));
                }
            }
        } else {
            (self.watch.progress)(self.done);
        }
        Ok(count)
    }
}

impl Read for Arriving<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A sink that goes on after a failure must not take the rest for the whole.
        let passed_on = |kind| io::Error::new(kind, "the blob cannot be read to its end");
        if self.failure.is_some() {
            return Err(passed_on(io::ErrorKind::Other));
        }
        match self.next(buffer) {
            Ok(count) => Ok(count),
            Err(PutError::Source(error)) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(failure) => {
                self.failure = Some(failure);
                Err(passed_on(io::ErrorKind::Other))
            }
        }
    }
}
