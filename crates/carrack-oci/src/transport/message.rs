use std::fmt;
use std::io::{self, Read};
use std::sync::Mutex;

use ureq::http;

use super::error::{Limits, TransportError, without_query};

/// What is asked of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Whether it is there, and how large it is.
    Head,
    /// Its bytes.
    Get,
    /// Start something.
    Post,
    /// Take this.
    Put,
    /// Forget it.
    Delete,
}

/// What goes along with a request. It can be given more than once, for another attempt.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    /// Nothing.
    Empty,
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// Bytes that are read while they are sent.
    Stream {
        /// How many there are; a source with fewer is an error, more are not sent.
        size: u64,
        /// Opens them from their start.
        open: &'a (dyn Fn() -> io::Result<Box<dyn Read + Send>> + Sync),
    },
}

/// A request that can be sent as often as needed.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// What to do.
    pub method: Method,
    /// The whole address. Its query is kept out of errors.
    pub url: String,
    /// Names and values. Values are kept out of errors and of `Debug`.
    pub headers: Vec<(&'static str, Secret)>,
    /// What goes along.
    pub body: Body<'a>,
}

/// A header's value, which may be a password.
#[derive(Clone)]
pub struct Secret(pub(crate) String);

impl<'a> Request<'a> {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: Body::Empty }
    }

    /// The same request with one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Secret(value.into())));
        self
    }

    /// The same request with this body.
    #[must_use]
    pub fn body(mut self, body: Body<'a>) -> Self {
        self.body = body;
        self
    }
}

/// An answer: its status, its headers, and its body as it comes in.
pub struct Response {
    url: String,
    inner: http::Response<ureq::Body>,
    limits: Limits,
}

/// The body of a [`Response`]. Its errors hold a [`TransportError`]; a body that ends too early is one of them.
pub struct ResponseReader {
    url: String,
    inner: ureq::BodyReader<'static>,
    limits: Limits,
}

impl Response {
    pub(crate) fn new(url: &str, inner: http::Response<ureq::Body>, limits: Limits) -> Self {
        Self { url: url.to_owned(), inner, limits }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        self.inner.status().is_success()
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// All headers of this name that are text.
    pub fn headers<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> {
        self.inner.headers().get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// The address that was asked, without its query.
    pub fn url(&self) -> String {
        without_query(&self.url)
    }

    /// The body as it comes in.
    pub fn into_reader(self) -> ResponseReader {
        let inner = self.inner.into_body().into_reader();
        ResponseReader { url: self.url, inner, limits: self.limits }
    }

    /// The whole body, or `None` if it has more than `limit` bytes.
    ///
    /// Errors: [`TransportError`] if it does not come in whole.
    pub fn read_at_most(&mut self, limit: u64) -> Result<Option<Vec<u8>>, TransportError> {
        let mut bytes = Vec::new();
        let mut reader = self.inner.body_mut().as_reader().take(limit.saturating_add(1));
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok((bytes.len() as u64 <= limit).then_some(bytes)),
            Err(error) => Err(TransportError::of(ureq::Error::from(error), &self.url, self.limits)),
        }
    }

    /// What a failed request's body says, shortened: for people.
    pub fn words(self) -> String {
        const LIMIT: u64 = 1024;
        let mut bytes = Vec::new();
        // Half a message is better than none.
        let _ = self.into_reader().take(LIMIT).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

impl Read for ResponseReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner
            .read(buffer)
            .map_err(|error| TransportError::of(ureq::Error::from(error), &self.url, self.limits).into_io())
    }
}

/// Reads exactly `left` bytes of a source and remembers what went wrong with it, which the HTTP library would mix up
/// with what went wrong with the connection.
pub(crate) struct Sent<'a> {
    source: Box<dyn Read + Send>,
    left: u64,
    failure: &'a Mutex<Option<io::Error>>,
}

impl<'a> Sent<'a> {
    pub(crate) fn new(
        source: Box<dyn Read + Send>,
        size: u64,
        failure: &'a Mutex<Option<io::Error>>,
    ) -> Self {
        Self { source, left: size, failure }
    }
}

impl Read for Sent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let outcome = match self.source.read(&mut buffer[..wanted]) {
            // The HTTP library would wait for the rest for ever.
            Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is shorter than promised")),
            outcome => outcome,
        };
        match outcome {
            Ok(count) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::from(error.kind());
                *self.failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(error);
                Err(told)
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

impl fmt::Debug for Body<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("Empty"),
            Self::Bytes(bytes) => write!(formatter, "Bytes({})", bytes.len()),
            Self::Stream { size, .. } => write!(formatter, "Stream({size})"),
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Response({} of {})", self.status(), self.url())
    }
}

impl fmt::Debug for ResponseReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ResponseReader({})", without_query(&self.url))
    }
}
