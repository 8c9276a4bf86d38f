use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use carrack_base::Digest;
use serde::Deserialize;

use super::auth::{AskCredentials, AuthError, Authenticator};
use super::error::RegistryError;
use crate::Reference;
use crate::transport::{Body, Download, Method, Request, Response, Transport, TransportError};
use crate::transport::{is_loopback, is_transient};
use crate::wire::media_type;

const MANIFEST_LIMIT: u64 = 4 * 1024 * 1024;
const TAGS_LIMIT: u64 = 16 * 1024 * 1024;
/// Tags that are asked for at once, and pages that are followed: nobody has a billion.
const TAGS_PER_PAGE: u32 = 1_000;
const PAGES: usize = 10_000;

/// Which registries are spoken to without TLS.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Hosts, with their port if they have one, that speak plain HTTP.
    pub insecure: Vec<String>,
    /// Whether hosts of this machine do.
    pub plain_loopback: bool,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self { insecure: Vec::new(), plain_loopback: true }
    }
}

/// One registry, and who we are there. Clones share connections and tokens.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    transport: Transport,
}

struct Inner {
    host: String,
    /// `https://host`
    origin: String,
    authenticator: Authenticator,
}

/// A repository of a registry.
#[derive(Debug, Clone)]
pub struct Repository {
    registry: Registry,
    name: String,
}

/// How a manifest is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestName<'a> {
    /// What the tag means now.
    Tag(&'a str),
    /// This very one.
    Digest(Digest),
}

/// A manifest or an index, as the registry gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedManifest {
    /// The digest of its bytes.
    pub digest: Digest,
    /// What the registry says that it is; empty if it says nothing.
    pub media_type: String,
    /// The bytes that have the digest.
    pub bytes: Vec<u8>,
}

/// A blob to be sent.
pub struct Upload<'a> {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Opens its bytes from their start; called again for another attempt.
    pub open: &'a (dyn Fn() -> io::Result<Box<dyn Read + Send>> + Sync),
}

/// How a blob got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was sent.
    Sent,
    /// It had been there before.
    WasThere,
}

/// The actions that a token has to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Pull,
    Push,
    Delete,
}

#[derive(Deserialize)]
struct TagsAnswer {
    tags: Option<Vec<String>>,
}

impl Registry {
    /// The registry at `host` (`ghcr.io`, `localhost:5000`, `docker.io`). Nothing is sent yet.
    pub fn new(
        host: &str,
        transport: Transport,
        options: &RegistryOptions,
        ask: Arc<AskCredentials>,
    ) -> Self {
        let is_plain = options.insecure.iter().any(|insecure| insecure == host)
            || (options.plain_loopback && is_loopback(host));
        // The one registry whose name is not its address.
        let address = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let scheme = if is_plain { "http" } else { "https" };
        let inner = Inner {
            host: host.to_owned(),
            origin: format!("{scheme}://{address}"),
            authenticator: Authenticator::new(host, !is_plain, ask),
        };
        Self { inner: Arc::new(inner), transport }
    }

    /// The host, as it was given.
    pub fn host(&self) -> &str {
        &self.inner.host
    }

    /// The same registry over another transport, say one with a deadline. Tokens are shared.
    #[must_use]
    pub fn with_transport(&self, transport: Transport) -> Self {
        Self { inner: Arc::clone(&self.inner), transport }
    }

    /// A repository. `reference`'s registry is not looked at, its tag and digest neither.
    pub fn repository(&self, reference: &Reference) -> Repository {
        self.repository_named(reference.repository())
    }

    /// The repository of this name within the registry.
    pub fn repository_named(&self, name: String) -> Repository {
        Repository { registry: self.clone(), name }
    }
}

impl Repository {
    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The name within the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size of a blob, if the registry has it.
    ///
    /// Errors: [`RegistryError`].
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        self.look(Access::Pull, digest)
    }

    /// A blob's bytes, if the registry has it. Digest and size are verified while they come in; a broken connection is
    /// taken up where it broke.
    ///
    /// Errors: [`RegistryError`]; those of the reader are [`Download`]'s.
    pub fn blob(&self, digest: &Digest, size: u64) -> Result<Option<Download>, RegistryError> {
        const ATTEMPT: &str = "get a blob of";
        let request = Request::new(Method::Get, self.url(&format!("blobs/{digest}")));
        let response = self.call(Access::Pull, ATTEMPT, request.clone())?;
        if response.status() == 404 {
            return Ok(None);
        }
        let response = self.success(ATTEMPT, response)?;
        let (repository, transport) = (self.clone(), &self.registry.transport);
        let rest = move |from: u64| {
            let request = request.clone().header("range", format!("bytes={from}-"));
            Ok(repository.call(Access::Pull, ATTEMPT, request)?)
        };
        Ok(Some(Download::new(transport, (*digest, size), response, rest)))
    }

    /// Sends a blob, unless the registry has it already.
    ///
    /// Errors: [`RegistryError`]; a source that can't be read is a [`TransportError::Source`] in it.
    pub fn put_blob(&self, upload: &Upload<'_>) -> Result<Pushed, RegistryError> {
        const ATTEMPT: &str = "put a blob into";
        let Upload { digest, size, open } = *upload;
        if self.look(Access::Push, &digest)?.is_some() {
            return Ok(Pushed::WasThere);
        }
        // What an upload that broke has got is unknown: each attempt starts another one.
        let transport = &self.registry.transport;
        let mut attempt = 1;
        loop {
            let location = self.start_upload(ATTEMPT)?;
            let separator = if location.contains('?') { '&' } else { '?' };
            let request = Request::new(Method::Put, format!("{location}{separator}digest={digest}"))
                .header("content-type", "application/octet-stream")
                .body(Body::Stream { size, open });
            let outcome =
                self.call_with(Access::Push, ATTEMPT, request, |request| transport.send_once(request));
            let is_transient = match &outcome {
                Err(RegistryError::Transport { source, .. }) => source.is_worth_another_attempt(),
                // 404 and 416: the registry forgot about the upload, or has more of it than we sent.
                Ok(response) => is_transient(response.status()) || matches!(response.status(), 404 | 416),
                Err(_) => false,
            };
            if !(is_transient && transport.pause(attempt, None)) {
                return self.success(ATTEMPT, outcome?).map(|_| Pushed::Sent);
            }
            attempt += 1;
        }
    }

    /// Where to put a blob, with a query of the registry's own.
    fn start_upload(&self, attempt: &'static str) -> Result<String, RegistryError> {
        let start = Request::new(Method::Post, self.url("blobs/uploads/"));
        let response = self.success(attempt, self.call(Access::Push, attempt, start)?)?;
        let location = response.header("location").map(|location| self.absolute(location));
        location.ok_or_else(|| self.malformed(attempt, "an upload without a place to go".to_owned()))
    }

    /// A manifest or an index, if the registry has it.
    ///
    /// Errors: [`RegistryError::WrongManifest`] if its digest is another one, or [`RegistryError::TooLarge`] beyond 4 MiB.
    pub fn manifest(&self, name: ManifestName<'_>) -> Result<Option<FetchedManifest>, RegistryError> {
        const ATTEMPT: &str = "get a manifest of";
        let request = Request::new(Method::Get, self.manifest_url(name)).header("accept", accepted());
        let (response, bytes) = self.document(ATTEMPT, request, MANIFEST_LIMIT)?;
        if response.status() == 404 {
            return Ok(None);
        }
        let response = self.success(ATTEMPT, response)?;
        let media_type = response.header("content-type").unwrap_or_default().to_owned();
        let promised = match name {
            ManifestName::Digest(digest) => Some(digest),
            // Registries say it; where they use another algorithm there is nothing to compare.
            ManifestName::Tag(_) => {
                response.header("docker-content-digest").and_then(|digest| digest.parse().ok())
            }
        };
        let found = Digest::of(&bytes);
        match promised {
            Some(wanted) if wanted != found => {
                let (host, repository) = (self.registry.host().to_owned(), self.name.clone());
                Err(RegistryError::WrongManifest { host, repository, wanted, found })
            }
            _ => Ok(Some(FetchedManifest { digest: found, media_type, bytes })),
        }
    }

    /// Puts a manifest under a tag, or under its own digest. Everything that it names has to be there already; a registry
    /// that does not see it is asked again, because some need a moment, above all while somebody else puts the same blob.
    ///
    /// Errors: [`RegistryError`].
    pub fn put_manifest(
        &self,
        name: ManifestName<'_>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        const ATTEMPT: &str = "put a manifest into";
        let request = Request::new(Method::Put, self.manifest_url(name))
            .header("content-type", media_type)
            .body(Body::Bytes(bytes));
        let mut attempt = 1;
        loop {
            let response = self.call(Access::Push, ATTEMPT, request.clone())?;
            match self.success(ATTEMPT, response) {
                Ok(_) => return Ok(Digest::of(bytes)),
                Err(RegistryError::Status { said, .. })
                    if said.contains("BLOB_UNKNOWN") && self.registry.transport.pause(attempt, None) =>
                {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All tags, in the registry's order. A repository that does not exist has none.
    ///
    /// Errors: [`RegistryError`].
    pub fn tags(&self) -> Result<Vec<String>, RegistryError> {
        const ATTEMPT: &str = "list the tags of";
        let mut tags = Vec::new();
        let mut next = Some(self.url(&format!("tags/list?n={TAGS_PER_PAGE}")));
        for _ in 0..PAGES {
            let Some(url) = next.take() else { return Ok(tags) };
            let request = Request::new(Method::Get, url.clone());
            let (response, body) = self.document(ATTEMPT, request, TAGS_LIMIT)?;
            if response.status() == 404 {
                return Ok(tags);
            }
            let response = self.success(ATTEMPT, response)?;
            let link = response.header("link").and_then(next_page).map(|link| self.absolute(link));
            let answer: TagsAnswer =
                serde_json::from_slice(&body).map_err(|error| self.malformed(ATTEMPT, error.to_string()))?;
            tags.extend(answer.tags.unwrap_or_default());
            // A page that leads to itself would never end.
            next = link.filter(|link| *link != url);
        }
        Err(self.malformed(ATTEMPT, format!("more than {PAGES} pages of tags")))
    }

    /// Removes a manifest with all its tags; whether it was there.
    ///
    /// Errors: [`RegistryError::Status`] with 405 where the registry does not delete.
    pub fn delete_manifest(&self, digest: &Digest) -> Result<bool, RegistryError> {
        const ATTEMPT: &str = "delete a manifest of";
        let request = Request::new(Method::Delete, self.manifest_url(ManifestName::Digest(*digest)));
        self.deleted(ATTEMPT, self.call(Access::Delete, ATTEMPT, request)?)
    }

    /// Removes a tag; whether it was there. Where the registry can't do that, its manifest goes, with other tags of it.
    ///
    /// Errors: [`RegistryError::Status`] with 405 where the registry does not delete.
    pub fn delete_tag(&self, tag: &str) -> Result<bool, RegistryError> {
        const ATTEMPT: &str = "delete a tag of";
        let url = self.manifest_url(ManifestName::Tag(tag));
        let response = self.call(Access::Delete, ATTEMPT, Request::new(Method::Delete, url))?;
        // Registries before version 1.1 of the specification take the tag for a malformed digest.
        if !matches!(response.status(), 400 | 405) {
            return self.deleted(ATTEMPT, response);
        }
        match self.manifest(ManifestName::Tag(tag))? {
            None => Ok(false),
            Some(manifest) => self.delete_manifest(&manifest.digest),
        }
    }

    fn deleted(&self, attempt: &'static str, response: Response) -> Result<bool, RegistryError> {
        if response.status() == 404 {
            return Ok(false);
        }
        self.success(attempt, response).map(|_| true)
    }

    fn look(&self, access: Access, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        const ATTEMPT: &str = "look for a blob of";
        let request = Request::new(Method::Head, self.url(&format!("blobs/{digest}")));
        let response = self.call(access, ATTEMPT, request)?;
        if response.status() == 404 {
            return Ok(None);
        }
        let response = self.success(ATTEMPT, response)?;
        let length = response.header("content-length").and_then(|length| length.trim().parse().ok());
        let problem = || self.malformed(ATTEMPT, "a blob without a length".to_owned());
        length.map(Some).ok_or_else(problem)
    }

    /// Sends a request as often as makes sense, telling who we are as soon as that is wanted.
    fn call(
        &self,
        access: Access,
        attempt: &'static str,
        request: Request<'_>,
    ) -> Result<Response, RegistryError> {
        self.call_with(access, attempt, request, |request| self.registry.transport.send(request))
    }

    fn call_with(
        &self,
        access: Access,
        attempt: &'static str,
        request: Request<'_>,
        send: impl Fn(&Request<'_>) -> Result<Response, TransportError>,
    ) -> Result<Response, RegistryError> {
        let Registry { inner, transport } = &self.registry;
        let failed = |source| self.failed(attempt, source);
        // Who we are is nobody's business but the registry's: it may send us elsewhere to upload.
        if !request.url.starts_with(&format!("{}/", inner.origin)) {
            return send(&request).map_err(failed);
        }
        let scope = format!("repository:{}:{}", self.name, access.actions());
        let unanswered = |error| self.unanswered(attempt, error);
        let header = inner.authenticator.header(transport, &scope).map_err(unanswered)?;
        let with = |header: &Option<String>| match header {
            None => request.clone(),
            Some(header) => request.clone().header("authorization", header.clone()),
        };
        let response = send(&with(&header)).map_err(failed)?;
        if response.status() != 401 {
            return Ok(response);
        }
        let wishes = response.headers("www-authenticate");
        let sent = header.as_deref();
        let header = inner.authenticator.challenged(transport, &scope, sent, wishes).map_err(unanswered)?;
        drop(response);
        send(&with(&Some(header))).map_err(failed)
    }

    fn success(&self, attempt: &'static str, response: Response) -> Result<Response, RegistryError> {
        let (host, repository) = (self.registry.host().to_owned(), self.name.clone());
        match response.status() {
            200..=299 => Ok(response),
            401 => Err(RegistryError::Unauthorized { host, repository, attempt, had_credentials: true }),
            403 => Err(RegistryError::Denied { host, repository, attempt, said: response.words() }),
            status => {
                Err(RegistryError::Status { host, repository, attempt, status, said: response.words() })
            }
        }
    }

    /// Gets something that is small enough for memory. The bytes mean something only if the answer is a success.
    fn document(
        &self,
        attempt: &'static str,
        request: Request<'_>,
        limit: u64,
    ) -> Result<(Response, Vec<u8>), RegistryError> {
        let (host, repository) = (self.registry.host().to_owned(), self.name.clone());
        let send = || self.call(Access::Pull, attempt, request.clone());
        let failed = |source| self.failed(attempt, source);
        let (response, bytes) = self.registry.transport.document(limit, send, failed)?;
        let bytes = bytes.ok_or(RegistryError::TooLarge { host, repository, attempt, limit })?;
        Ok((response, bytes))
    }

    fn failed(&self, attempt: &'static str, source: TransportError) -> RegistryError {
        let (host, repository) = (self.registry.host().to_owned(), self.name.clone());
        RegistryError::Transport { host, repository, attempt, source }
    }

    fn malformed(&self, attempt: &'static str, problem: String) -> RegistryError {
        let (host, repository) = (self.registry.host().to_owned(), self.name.clone());
        RegistryError::Malformed { host, repository, attempt, problem }
    }

    fn unanswered(&self, attempt: &'static str, error: AuthError) -> RegistryError {
        let (host, repository) = (self.registry.host().to_owned(), self.name.clone());
        match error {
            AuthError::Refused { had_credentials } => {
                RegistryError::Unauthorized { host, repository, attempt, had_credentials }
            }
            AuthError::Transport(source) => self.failed(attempt, source),
            AuthError::Malformed(problem) => self.malformed(attempt, problem),
        }
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.registry.inner.origin, self.name)
    }

    fn manifest_url(&self, name: ManifestName<'_>) -> String {
        match name {
            ManifestName::Tag(tag) => self.url(&format!("manifests/{tag}")),
            ManifestName::Digest(digest) => self.url(&format!("manifests/{digest}")),
        }
    }

    /// An address that the registry gave, which may lack its host.
    fn absolute(&self, location: &str) -> String {
        match location.strip_prefix('/') {
            Some(_) => format!("{}{location}", self.registry.inner.origin),
            None => location.to_owned(),
        }
    }
}

impl Access {
    fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "pull,delete",
        }
    }
}

/// Every kind of manifest that is understood somewhere.
fn accepted() -> String {
    [media_type::MANIFEST, media_type::INDEX, media_type::DOCKER_MANIFEST, media_type::DOCKER_INDEX]
        .join(", ")
}

/// The target of `<target>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let (target, relation) = link.trim_start().strip_prefix('<')?.split_once('>')?;
    let relation = relation.replace([' ', '"'], "");
    relation.split(';').any(|part| part.eq_ignore_ascii_case("rel=next")).then_some(target)
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Registry({})", self.inner.origin)
    }
}

impl fmt::Debug for Upload<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Upload({}, {} bytes)", self.digest, self.size)
    }
}
