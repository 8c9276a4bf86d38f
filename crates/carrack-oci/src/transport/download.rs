use std::fmt;
use std::io::{self, Read, Write};

use carrack_base::{Digest, Sha256Writer};

use super::{Response, Transport, TransportError};
use crate::blob::BlobError;

/// Asks for a blob's bytes from an offset on.
type Ask = dyn FnMut(u64) -> io::Result<Response> + Send;

/// A blob on its way in: goes on where a broken connection stopped it, and ends well only if the whole was right.
///
/// The bytes are handed out as they come. Nobody may believe them before the reader has said that it is at the end:
/// instead of that, a blob with another content or size ends with an error of kind
/// [`InvalidData`](io::ErrorKind::InvalidData) that holds a [`BlobError`]. Other errors hold a [`TransportError`] or
/// what the asking side put in.
pub struct Download {
    transport: Transport,
    ask: Box<Ask>,
    body: Option<Box<dyn Read + Send>>,
    hasher: Option<Sha256Writer<io::Sink>>,
    digest: Digest,
    size: u64,
    position: u64,
    attempt: u32,
}

impl Download {
    /// Starts with `first`, the answer to a request for the whole. `ask` gets the rest from an offset on, with a
    /// `Range`; a side that answers with the whole again is fine, too.
    pub fn new(
        transport: &Transport,
        (digest, size): (Digest, u64),
        first: Response,
        ask: impl FnMut(u64) -> io::Result<Response> + Send + 'static,
    ) -> Self {
        Self {
            transport: transport.clone(),
            ask: Box::new(ask),
            body: Some(Box::new(first.into_reader())),
            hasher: Some(Sha256Writer::new(io::sink())),
            digest,
            size,
            position: 0,
            attempt: 1,
        }
    }

    /// Opens the rest, skipping what a side without ranges repeats.
    fn reopen(&mut self) -> io::Result<Box<dyn Read + Send>> {
        let response = (self.ask)(self.position)?;
        let (status, url) = (response.status(), response.url());
        let unusable = |said: String| TransportError::Protocol { url, source: io::Error::other(said) };
        let skip = match status {
            206 => {
                let range = response.header("content-range").unwrap_or_default().to_owned();
                let start = range.strip_prefix("bytes ").and_then(|range| range.split('-').next());
                if start.and_then(|start| start.parse().ok()) != Some(self.position) {
                    let said = format!("asked for bytes from {} on, got `{range}`", self.position);
                    return Err(unusable(said).into());
                }
                0
            }
            200 => self.position,
            _ => return Err(unusable(format!("status {status} in the middle of a download")).into()),
        };
        let mut reader = response.into_reader();
        io::copy(&mut (&mut reader).take(skip), &mut io::sink())?;
        Ok(Box::new(reader))
    }

    /// Whether the content was the promised one, once.
    fn verify(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let (_, found, _) = hasher.finish();
        if found == self.digest {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, BlobError::Content { digest: self.digest, found }))
    }

    /// One attempt; an end before the end is an error.
    fn attempt(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let reopened = self.reopen()?;
                self.body.insert(reopened)
            }
        };
        match body.read(buffer)? {
            0 if self.position < self.size => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            // At the end, one byte more tells that there are too many.
            let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
            let wanted = left.clamp(1, buffer.len());
            if left == 0 && self.hasher.is_none() {
                return Ok(0);
            }
            match self.attempt(&mut buffer[..wanted]) {
                Ok(0) => {
                    self.verify()?;
                    return Ok(0);
                }
                Ok(count) if count as u64 > self.size - self.position => {
                    let (digest, expected) = (self.digest, self.size);
                    let too_long = BlobError::Size { digest, expected, found: expected + 1 };
                    return Err(io::Error::new(io::ErrorKind::InvalidData, too_long));
                }
                Ok(count) => {
                    self.position += count as u64;
                    if let Some(hasher) = &mut self.hasher {
                        hasher.write_all(&buffer[..count])?;
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => {
                    self.body = None;
                    if !is_worth_another_attempt(&error) {
                        return Err(error);
                    }
                    if self.position == self.size {
                        // All is there; only how the other side says goodbye went wrong.
                        self.verify()?;
                        return Ok(0);
                    }
                    if !self.transport.pause(self.attempt, None) {
                        return Err(error);
                    }
                    self.attempt += 1;
                }
            }
        }
    }
}

fn is_worth_another_attempt(error: &io::Error) -> bool {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<TransportError>()) {
        Some(error) => error.is_worth_another_attempt(),
        None => error.kind() == io::ErrorKind::UnexpectedEof,
    }
}

impl fmt::Debug for Download {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Download({}, {} of {} bytes)", self.digest, self.position, self.size)
    }
}
