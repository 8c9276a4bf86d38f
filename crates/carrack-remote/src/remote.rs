use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use carrack_base::Digest;
use carrack_oci::BlobError;
use carrack_oci::registry::{AskCredentials, RegistryError, RegistryOptions};
use carrack_oci::transport::{TransportError, TransportOptions};
use serde::{Deserialize, Serialize};

use crate::Location;
use crate::breaker::Breaker;
use crate::carrier::Carrier;
use crate::envelope::Envelope;
use crate::error::{Cause, Operation, Reach, RemoteError, Trouble};
use crate::signature::{PublicKey, SecretKey};
use crate::verified::Verified;
use crate::wire::WireEntry;

/// Bytes that the head of an entry may have.
pub const HEAD_LIMIT: u64 = 32 * 1024 * 1024;
/// Signatures and their frame, on top of that.
const ENVELOPE_LIMIT: u64 = HEAD_LIMIT + 64 * 1024;
const NAME_LIMIT: usize = 120;

/// Who we are at a remote, and whom we believe.
#[derive(Clone)]
pub struct Access {
    /// Gives the credentials of a registry's host, when it asks for some.
    pub registry_credentials: Arc<AskCredentials>,
    /// The keys of a bucket; without them, requests are not signed.
    pub s3_keys: Option<S3Keys>,
    /// Whose entries are believed; everybody's, if empty.
    pub trusted: Vec<PublicKey>,
    /// Signs what is published.
    pub signing: Option<SecretKey>,
}

/// The keys of a bucket.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Keys {
    /// Names the key.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// Goes along with keys that are good for some hours.
    pub session_token: Option<String>,
}

/// How long a remote may take.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// For each connection and each byte.
    pub transport: TransportOptions,
    /// Which registries speak plain HTTP.
    pub registry: RegistryOptions,
    /// Every call ends by then.
    pub deadline: Option<Instant>,
}

/// Names the content of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobInfo {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub size: u64,
}

/// An entry, without the bytes of its blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The head, as it was published.
    pub head: Vec<u8>,
    /// The blobs, in the order of publishing.
    pub blobs: Vec<BlobInfo>,
}

/// A blob to be published.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// What it is.
    pub blob: BlobInfo,
    /// Where it comes from.
    pub bytes: Bytes<'a>,
}

/// Bytes that can be read more than once.
#[derive(Clone, Copy)]
pub enum Bytes<'a> {
    /// A file's.
    File(&'a Path),
    /// In memory.
    Memory(&'a [u8]),
    /// What this opens.
    Open(&'a (dyn Fn() -> io::Result<Box<dyn Read + Send>> + Sync)),
}

/// What publishing moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Bytes of the head and of blobs that were sent.
    pub sent: u64,
    /// Bytes that had been there before.
    pub were_there: u64,
}

/// A shared cache. Clones are the same one: what turns one off turns off all of them.
#[derive(Clone)]
pub struct Remote {
    name: String,
    carrier: Carrier,
    breaker: Arc<Breaker>,
    trusted: Arc<[PublicKey]>,
    signing: Option<SecretKey>,
}

/// The bytes of a blob as they come in. The end is told only if all of them were right, otherwise there is an error that
/// holds a [`RemoteError`].
pub struct BlobReader {
    inner: Box<dyn Read + Send>,
    remote: Remote,
    digest: Digest,
}

impl Default for Access {
    /// Nobody, who believes everybody.
    fn default() -> Self {
        let registry_credentials: Arc<AskCredentials> = Arc::new(|_| None);
        Self { registry_credentials, s3_keys: None, trusted: Vec::new(), signing: None }
    }
}

impl Remote {
    /// The cache at `location`. Nothing is sent yet.
    ///
    /// Errors: [`RemoteError::Failed`] if the options can't be used: certificates, proxy, endpoint.
    pub fn open(location: &Location, access: &Access, limits: &Limits) -> Result<Self, RemoteError> {
        let name = location.to_string();
        let carrier = Carrier::open(location, access, limits)
            .map_err(|trouble| error(&name, Operation::Open, "", trouble))?;
        let (trusted, signing) = (access.trusted.clone().into(), access.signing.clone());
        Ok(Self { name, carrier, breaker: Arc::default(), trusted, signing })
    }

    /// The same remote, of which every call ends by `deadline`.
    #[must_use]
    pub fn with_deadline(&self, deadline: Option<Instant>) -> Self {
        Self { carrier: self.carrier.with_deadline(deadline), ..self.clone() }
    }

    /// The location's text.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says whether reading is possible, as far as is known: [`RemoteError::Off`] after a failure. Nothing is sent.
    pub fn check_on(&self) -> Result<(), RemoteError> {
        self.breaker.check(&self.name, Operation::Find)
    }

    /// The names of all entries that begin with `prefix`, sorted.
    ///
    /// Errors: [`RemoteError`]. A place where nothing was ever published has no names.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>, RemoteError> {
        let names = self.run(Operation::List, prefix, |carrier| carrier.names(prefix))?;
        let mut names: Vec<String> =
            names.into_iter().filter(|name| name.starts_with(prefix) && is_name(name)).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The entry of this name, if there is one.
    ///
    /// Errors: [`RemoteError::Untrusted`] if there are trusted keys and none of them signed it, [`RemoteError::Damaged`]
    /// if it is none, and others.
    pub fn find(&self, name: &str) -> Result<Option<Entry>, RemoteError> {
        check_name(name)?;
        let found = self.run(Operation::Find, name, |carrier| {
            let Some(WireEntry { head, blobs, .. }) = carrier.entry(name)? else { return Ok(None) };
            if head.size > ENVELOPE_LIMIT {
                return Err(Trouble::Damaged(format!("its head has {} bytes", head.size)));
            }
            let mut reader = carrier.blob(&head)?.ok_or(Trouble::Missing(head.digest))?;
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map_err(|error| trouble(error, &self.name))?;
            let envelope = Envelope::open(&bytes).map_err(|what| Trouble::Damaged(what.to_owned()))?;
            Ok(Some((envelope, blobs)))
        })?;
        let Some((envelope, blobs)) = found else { return Ok(None) };
        if !self.trusted.is_empty()
            && let Err(distrust) = envelope.check(name, &blobs, &self.trusted)
        {
            let (remote, entry) = (self.name.clone(), name.to_owned());
            return Err(RemoteError::Untrusted { remote, entry, distrust });
        }
        Ok(Some(Entry { head: envelope.head, blobs }))
    }

    /// The bytes of one of an entry's blobs.
    ///
    /// Errors: [`RemoteError::MissingBlob`], and others.
    pub fn read(&self, blob: &BlobInfo) -> Result<BlobReader, RemoteError> {
        let name = blob.digest.to_string();
        let inner = self.run(Operation::Read, &name, |carrier| {
            carrier.blob(blob)?.ok_or(Trouble::Missing(blob.digest))
        })?;
        Ok(BlobReader { inner, remote: self.clone(), digest: blob.digest })
    }

    /// Publishes an entry: blobs that are not there yet, the head, and at last the name. Who looks for the name meanwhile
    /// finds what it meant before; a failure leaves it so.
    ///
    /// Errors: [`RemoteError::Source`] if a blob can't be read here, [`RemoteError::HeadTooLarge`], and others.
    pub fn publish(&self, name: &str, head: &[u8], blobs: &[Upload<'_>]) -> Result<Published, RemoteError> {
        check_name(name)?;
        let size = head.len() as u64;
        if size > HEAD_LIMIT {
            return Err(RemoteError::HeadTooLarge { entry: name.to_owned(), size, limit: HEAD_LIMIT });
        }
        let infos: Vec<BlobInfo> = blobs.iter().map(|upload| upload.blob).collect();
        let sealed = Envelope::seal(name, &infos, head, self.signing.as_ref());
        let head = BlobInfo { digest: Digest::of(&sealed), size: sealed.len() as u64 };
        self.run(Operation::Publish, name, |carrier| {
            let mut published = Published::default();
            let head = Upload { blob: head, bytes: Bytes::Memory(&sealed) };
            for upload in blobs.iter().chain([&head]) {
                match carrier.put_blob(upload)? {
                    true => published.sent += upload.blob.size,
                    false => published.were_there += upload.blob.size,
                }
            }
            carrier.put_entry(name, &WireEntry::new(head.blob, &infos))?;
            Ok(published)
        })
    }

    /// Takes an entry's name away; whether it was there. Its blobs stay, other entries may have them.
    ///
    /// Errors: [`RemoteError`]; many registries do not delete.
    pub fn remove(&self, name: &str) -> Result<bool, RemoteError> {
        check_name(name)?;
        self.run(Operation::Remove, name, |carrier| carrier.remove(name))
    }

    fn run<T>(
        &self,
        operation: Operation,
        entry: &str,
        attempt: impl FnOnce(&Carrier) -> Result<T, Trouble>,
    ) -> Result<T, RemoteError> {
        self.breaker.check(&self.name, operation)?;
        attempt(&self.carrier).map_err(|trouble| self.fail(operation, entry, trouble))
    }

    fn fail(&self, operation: Operation, entry: &str, trouble: Trouble) -> RemoteError {
        let reach = trouble.reach(operation);
        let error = error(&self.name, operation, entry, trouble);
        if reach != Reach::Nothing {
            self.breaker.trip(reach, &error);
        }
        error
    }
}

impl Upload<'_> {
    /// The bytes from their start. They are verified: a blob that is not what it is called is never sent whole.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let source: Box<dyn Read + Send> = match self.bytes {
            Bytes::File(path) => Box::new(File::open(path)?),
            // Sending takes long and outlives no borrow; heads are small.
            Bytes::Memory(bytes) => Box::new(io::Cursor::new(bytes.to_vec())),
            Bytes::Open(open) => open()?,
        };
        Ok(Box::new(Verified::new(source, self.blob.digest, self.blob.size, None)))
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let kind = error.kind();
                let trouble = trouble(error, &self.remote.name);
                let error = self.remote.fail(Operation::Read, &self.digest.to_string(), trouble);
                Err(io::Error::new(kind, error))
            }
            outcome => outcome,
        }
    }
}

/// What a reader of a blob ended with.
fn trouble(error: io::Error, remote: &str) -> Trouble {
    let error = match error.downcast::<TransportError>() {
        Ok(error) => return error.into(),
        Err(error) => error,
    };
    let error = match error.downcast::<RegistryError>() {
        Ok(error) => return error.into(),
        Err(error) => error,
    };
    match error.downcast::<BlobError>() {
        Ok(error) => Trouble::Damaged(error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Trouble::Cause(Cause::Deadline),
        Err(error) => Trouble::folder("read from", Path::new(remote))(error),
    }
}

fn error(remote: &str, operation: Operation, entry: &str, trouble: Trouble) -> RemoteError {
    let (remote, entry) = (remote.to_owned(), entry.to_owned());
    match trouble {
        Trouble::Cause(cause) => RemoteError::Failed { remote, operation, cause },
        Trouble::Damaged(problem) => RemoteError::Damaged { remote, entry, problem },
        Trouble::Missing(digest) => RemoteError::MissingBlob { remote, digest },
        Trouble::Source(source) => RemoteError::Source { remote, source },
    }
}

fn check_name(name: &str) -> Result<(), RemoteError> {
    match is_name(name) {
        true => Ok(()),
        false => Err(RemoteError::BadName { name: name.to_owned() }),
    }
}

/// Good as a tag, an object's key and a file's name, and nothing special as any of them.
fn is_name(name: &str) -> bool {
    let is_letter = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    (1..=NAME_LIMIT).contains(&name.len()) && !name.starts_with(['.', '-']) && name.bytes().all(is_letter)
}

impl fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Remote({})", self.name)
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BlobReader({} of {})", self.digest, self.remote.name)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Access").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "S3Keys({}, …)", self.access_key_id)
    }
}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "File({})", path.display()),
            Self::Memory(bytes) => write!(formatter, "Memory({})", bytes.len()),
            Self::Open(_) => formatter.write_str("Open(…)"),
        }
    }
}
