use std::collections::hash_map::RandomState;
use std::fmt;
use std::fs;
use std::hash::BuildHasher;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::config::RedirectAuthHeaders;
use ureq::http;
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider};

use super::error::{Limits, TransportError, without_query};
use super::message::{Body, Method, Request, Response, Sent};

const REDIRECTS: u32 = 5;
const BUFFER: usize = 128 * 1024;

/// Where Linux distributions keep the certificates that they trust, all in one file.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whose certificates are believed.
#[derive(Debug, Clone, Default)]
pub enum Roots {
    /// Those that the distribution has in one of its usual files.
    #[default]
    System,
    /// These, in PEM, and no others.
    Pem(Vec<u8>),
}

/// Patience and ways of a [`Transport`].
#[derive(Debug, Clone)]
pub struct TransportOptions {
    /// For the host's address, and again for the connection with its TLS handshake.
    pub connect_timeout: Duration,
    /// For the next byte, in either direction.
    pub stall_timeout: Duration,
    /// How often something is asked in all; at least once.
    pub attempts: u32,
    /// Before the second attempt; doubles with each further one, and up to half of it is added by chance.
    pub first_pause: Duration,
    /// No pause is longer, not even one that the other side asks for.
    pub longest_pause: Duration,
    /// Whose certificates are believed.
    pub roots: Roots,
    /// Through which proxy hosts other than this one are reached (`http://proxy:3128`).
    pub proxy: Option<String>,
    /// How the program names itself.
    pub user_agent: String,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
            attempts: 4,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
            roots: Roots::System,
            proxy: None,
            user_agent: concat!("carrack/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Sends requests over kept connections. Clones share them.
#[derive(Clone)]
pub struct Transport {
    agent: ureq::Agent,
    options: Arc<TransportOptions>,
    has_roots: bool,
    deadline: Option<Instant>,
}

impl Transport {
    /// A transport without connections.
    ///
    /// Errors: [`TransportError::MalformedRoots`], [`TransportError::MalformedProxy`]. Missing root certificates are an
    /// error only where one is needed.
    pub fn new(options: TransportOptions) -> Result<Self, TransportError> {
        let malformed = |error: ureq::Error| TransportError::MalformedRoots { source: error.into_io() };
        let mut certificates = Vec::new();
        for item in ureq::tls::parse_pem(&roots(&options.roots)) {
            match item {
                Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
                Ok(_) => {}
                // One damaged certificate of the system's must not keep the others out.
                Err(error) if matches!(options.roots, Roots::Pem(_)) => return Err(malformed(error)),
                Err(_) => {}
            }
        }
        let proxy = match &options.proxy {
            None => None,
            Some(proxy) => {
                let malformed = |_| TransportError::MalformedProxy { proxy: proxy.clone() };
                Some(ureq::Proxy::new(proxy).map_err(malformed)?)
            }
        };
        let has_roots = !certificates.is_empty();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(certificates)))
            .build();
        let config = ureq::Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(&options.user_agent)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_per_read(Some(options.stall_timeout))
            .timeout_per_write(Some(options.stall_timeout))
            .max_idle_connections_per_host(8)
            .build();
        let agent = ureq::Agent::new_with_config(config);
        Ok(Self { agent, options: Arc::new(options), has_roots, deadline: None })
    }

    /// The same transport, of which every call ends by `deadline`.
    #[must_use]
    pub fn with_deadline(&self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// The options that it was made with.
    pub fn options(&self) -> &TransportOptions {
        &self.options
    }

    /// Sends a request until there is an answer that another attempt would not better. What the last one said is given
    /// back, whatever its status.
    ///
    /// Errors: [`TransportError`], after as many attempts as make sense.
    pub fn send(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let mut attempt = 1;
        loop {
            let outcome = self.send_once(request);
            let asked_to_wait = match &outcome {
                Ok(response) if is_transient(response.status()) => retry_after(response),
                Err(error) if error.is_worth_another_attempt() => None,
                _ => return outcome,
            };
            if !self.pause(attempt, asked_to_wait) {
                return outcome;
            }
            attempt += 1;
        }
    }

    /// The answer that `send` gets, with its whole body if it is one of success: `None` if that has more than `limit`
    /// bytes. A body that breaks off is got again.
    ///
    /// Errors: what `send` says, and what `failed` makes of a body that does not come in.
    pub fn document<E>(
        &self,
        limit: u64,
        mut send: impl FnMut() -> Result<Response, E>,
        failed: impl Fn(TransportError) -> E,
    ) -> Result<(Response, Option<Vec<u8>>), E> {
        let mut attempt = 1;
        loop {
            let mut response = send()?;
            if !response.is_success() {
                return Ok((response, Some(Vec::new())));
            }
            match response.read_at_most(limit) {
                Ok(bytes) => return Ok((response, bytes)),
                Err(error) if error.is_worth_another_attempt() && self.pause(attempt, None) => attempt += 1,
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Waits before the attempt that follows `attempt`; whether there is one.
    pub(crate) fn pause(&self, attempt: u32, asked: Option<Duration>) -> bool {
        if attempt >= self.options.attempts {
            return false;
        }
        let own = self.options.first_pause.saturating_mul(1 << (attempt - 1).min(16));
        let pause = own.mul_f64(1.0 + chance() / 2.0).max(asked.unwrap_or_default());
        let pause = pause.min(self.options.longest_pause);
        if self.deadline.is_some_and(|deadline| Instant::now() + pause >= deadline) {
            return false;
        }
        thread::sleep(pause);
        true
    }

    /// Sends a request a single time: for what must not be repeated as it is.
    ///
    /// Errors: [`TransportError`].
    pub fn send_once(&self, request: &Request<'_>) -> Result<Response, TransportError> {
        let Request { method, url, headers, body } = request;
        if url.starts_with("https:") && !self.has_roots {
            return Err(TransportError::NoRoots { url: without_query(url) });
        }
        let mut builder = http::Request::builder().method(method.name()).uri(url.as_str());
        for (name, value) in headers {
            builder = builder.header(*name, value.0.as_str());
        }
        match body {
            Body::Stream { size, .. } => builder = builder.header("content-length", *size),
            Body::Empty if matches!(method, Method::Post | Method::Put) => {
                builder = builder.header("content-length", 0);
            }
            _ => {}
        }
        let failed = |error: ureq::Error| TransportError::of(error, url, self.limits());
        match body {
            Body::Empty => {
                let request = builder.body(()).map_err(|error| failed(error.into()))?;
                self.agent.run(self.bounded(request, url)?)
            }
            Body::Bytes(bytes) => {
                let request = builder.body(*bytes).map_err(|error| failed(error.into()))?;
                self.agent.run(self.bounded(request, url)?)
            }
            Body::Stream { size, open } => {
                let unreadable = |source| TransportError::Source { url: without_query(url), source };
                let failure = Mutex::new(None);
                let mut reader = Sent::new(open().map_err(unreadable)?, *size, &failure);
                let body = ureq::SendBody::from_reader(&mut reader);
                let request = builder.body(body).map_err(|error| failed(error.into()))?;
                let outcome = self.agent.run(self.bounded(request, url)?);
                if let Some(source) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
                    return Err(unreadable(source));
                }
                outcome
            }
        }
        .map(|response| Response::new(url, response, self.limits()))
        .map_err(failed)
    }

    /// Limits one request to what is left until the deadline, and to the proxy's reach.
    fn bounded<B: ureq::AsSendBody>(
        &self,
        request: http::Request<B>,
        url: &str,
    ) -> Result<http::Request<B>, TransportError> {
        let is_here = self.options.proxy.is_some() && is_loopback(host_of(url));
        if self.deadline.is_none() && !is_here {
            return Ok(request);
        }
        let mut config = self.agent.configure_request(request);
        if let Some(deadline) = self.deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TransportError::Deadline { url: without_query(url) });
            }
            config = config.timeout_global(Some(left));
        }
        if is_here {
            config = config.proxy(None);
        }
        Ok(config.build())
    }

    fn limits(&self) -> Limits {
        Limits { connect: self.options.connect_timeout, stall: self.options.stall_timeout }
    }
}

impl Method {
    fn name(self) -> http::Method {
        match self {
            Self::Head => http::Method::HEAD,
            Self::Get => http::Method::GET,
            Self::Post => http::Method::POST,
            Self::Put => http::Method::PUT,
            Self::Delete => http::Method::DELETE,
        }
    }
}

/// Whether `host`, with or without a port, is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host and port of an address.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Whether an answer with this status may well be another one soon.
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// What the other side wants to be waited; a date counts as no wish.
fn retry_after(response: &Response) -> Option<Duration> {
    response.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
}

/// A number from 0 to 1, so that many machines do not come back at once.
fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}

fn roots(roots: &Roots) -> Vec<u8> {
    match roots {
        Roots::Pem(pem) => pem.clone(),
        Roots::System => {
            let mut read = SYSTEM_ROOTS.iter().filter_map(|path| fs::read(path).ok());
            read.next().unwrap_or_default()
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Transport").field("options", &self.options).finish_non_exhaustive()
    }
}

impl From<TransportError> for io::Error {
    fn from(error: TransportError) -> Self {
        error.into_io()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_with_and_without_a_port() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "10.0.0.1:5000", "ghcr.io", "[::2]", "127.0.0.1.example:5000"] {
            assert!(!is_loopback(host), "{host}");
        }
        assert_eq!(host_of("https://ghcr.io:443/v2/"), "ghcr.io:443");
    }
}
