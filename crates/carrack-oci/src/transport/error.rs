use std::fmt;
use std::io;
use std::time::Duration;

/// What was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The address of a host's name.
    Name,
    /// A connection, with its TLS handshake.
    Connection,
    /// The other side's next byte.
    Receive,
    /// The other side to take the next byte.
    Send,
}

/// A request that got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The other side was silent for too long.
    #[error("{wait} of {url} took longer than {limit:?}")]
    TimedOut {
        /// Address without its query.
        url: String,
        /// What was waited for.
        wait: Wait,
        /// How long, at most.
        limit: Duration,
    },
    /// The time that was given to all requests together is over.
    #[error("the time for remote work was over during {url}")]
    Deadline {
        /// Address without its query.
        url: String,
    },
    /// No connection, or one that broke.
    #[error("the connection for {url} failed")]
    Connection {
        /// Address without its query.
        url: String,
        /// Whether no connection came about at all.
        refused: bool,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The host's name is unknown.
    #[error("the host of {url} has no address")]
    UnknownHost {
        /// Address without its query.
        url: String,
    },
    /// The other side's certificate is not good, or there is no common TLS.
    #[error("no secure connection for {url}")]
    Tls {
        /// Address without its query.
        url: String,
        /// What the TLS library said.
        #[source]
        source: io::Error,
    },
    /// HTTPS without a single root certificate.
    #[error("{url} needs root certificates, and this system has none")]
    NoRoots {
        /// Address without its query.
        url: String,
    },
    /// An answer that is no HTTP, or a redirect that can't be followed.
    #[error("{url} gave an answer that cannot be used")]
    Protocol {
        /// Address without its query.
        url: String,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// What was to be sent could not be read. The other side is not to blame.
    #[error("cannot read what was to be sent to {url}")]
    Source {
        /// Address without its query.
        url: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The root certificates that were handed in are no PEM.
    #[error("the root certificates cannot be read")]
    MalformedRoots {
        /// What the parser said.
        #[source]
        source: io::Error,
    },
    /// The proxy's address is none.
    #[error("`{proxy}` cannot be the address of a proxy")]
    MalformedProxy {
        /// The text.
        proxy: String,
    },
}

impl TransportError {
    /// Whether the same request may well get an answer now.
    pub(crate) fn is_worth_another_attempt(&self) -> bool {
        matches!(self, Self::Connection { .. })
    }

    /// For reading and writing traits: the error inside of an [`io::Error`] of a fitting kind.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::TimedOut { .. } | Self::Deadline { .. } => io::ErrorKind::TimedOut,
            Self::Connection { source, .. } => source.kind(),
            Self::UnknownHost { .. } => io::ErrorKind::HostUnreachable,
            Self::Protocol { .. } => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// What `ureq` said about a request to `url` that ran under these limits.
    pub(crate) fn of(error: ureq::Error, url: &str, limits: Limits) -> Self {
        let url = without_query(url);
        let timed_out = |url, wait, limit| Self::TimedOut { url, wait, limit };
        match error {
            ureq::Error::Timeout(ureq::Timeout::Global) => Self::Deadline { url },
            ureq::Error::Timeout(ureq::Timeout::Resolve) => timed_out(url, Wait::Name, limits.connect),
            ureq::Error::Timeout(ureq::Timeout::Connect) => timed_out(url, Wait::Connection, limits.connect),
            ureq::Error::Timeout(ureq::Timeout::PerWrite) => timed_out(url, Wait::Send, limits.stall),
            ureq::Error::Timeout(_) => timed_out(url, Wait::Receive, limits.stall),
            ureq::Error::HostNotFound => Self::UnknownHost { url },
            ureq::Error::Io(source) if is_tls(&source) => Self::Tls { url, source },
            ureq::Error::Io(source) => {
                let refused = source.kind() == io::ErrorKind::ConnectionRefused;
                Self::Connection { url, refused, source }
            }
            ureq::Error::ConnectionFailed => {
                Self::Connection { url, refused: true, source: io::ErrorKind::ConnectionRefused.into() }
            }
            error @ (ureq::Error::Rustls(_) | ureq::Error::Tls(_) | ureq::Error::TlsRequired) => {
                Self::Tls { url, source: io::Error::other(error) }
            }
            error => Self::Protocol { url, source: io::Error::other(error) },
        }
    }
}

/// The limits that a request ran under, for the words about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) stall: Duration,
}

/// The TLS library reports a bad certificate through the reading side.
fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

pub(crate) fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

impl fmt::Display for Wait {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Name => "looking up the host",
            Self::Connection => "connecting to the host",
            Self::Receive => "the next byte",
            Self::Send => "sending the next byte",
        })
    }
}
