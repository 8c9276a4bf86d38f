use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use carrack_base::Digest;
use carrack_oci::transport::{Body, Download, Method, Request, Response, Transport, TransportError};
use rusty_s3::actions::{ListObjectsV2, S3Action};
use rusty_s3::{Credentials, UrlStyle};

use crate::error::{Cause, Trouble};
use crate::wire::{WireEntry, blob_key, entry_key};
use crate::{Access, BlobInfo, Limits, Location, Upload};

/// For how long a signed address is good: longer than any single transfer takes.
const SIGNED_FOR: Duration = Duration::from_secs(6 * 3600);
const ENTRY_LIMIT: u64 = 4 * 1024 * 1024;
const LIST_LIMIT: u64 = 16 * 1024 * 1024;
/// Pages that are followed, of a thousand names each.
const PAGES: usize = 10_000;

/// Entries as objects of a bucket that speaks S3.
#[derive(Clone)]
pub(crate) struct Bucket {
    inner: Arc<Inner>,
    transport: Transport,
}

struct Inner {
    bucket: rusty_s3::Bucket,
    credentials: Option<Credentials>,
    prefix: String,
}

impl Bucket {
    pub(super) fn open(location: &Location, access: &Access, limits: &Limits) -> Result<Self, Trouble> {
        let Location::S3 { bucket, prefix, endpoint, region, path_style } = location else {
            unreachable!("the caller has looked at the kind");
        };
        let malformed = || Trouble::Cause(Cause::Endpoint { endpoint: endpoint.clone() });
        let style = if *path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let address = endpoint.parse().map_err(|_| malformed())?;
        let bucket = rusty_s3::Bucket::new(address, style, bucket.clone(), region.clone());
        let credentials = access.s3_keys.as_ref().map(|keys| match &keys.session_token {
            None => Credentials::new(&keys.access_key_id, &keys.secret_access_key),
            Some(token) => Credentials::new_with_token(&keys.access_key_id, &keys.secret_access_key, token),
        });
        let transport = Transport::new(limits.transport.clone())
            .map_err(|error| Trouble::Cause(Cause::Transport(error)))?
            .with_deadline(limits.deadline);
        let inner = Inner { bucket: bucket.map_err(|_| malformed())?, credentials, prefix: prefix.clone() };
        Ok(Self { inner: Arc::new(inner), transport })
    }

    pub(super) fn with_deadline(&self, deadline: Option<Instant>) -> Self {
        Self { inner: Arc::clone(&self.inner), transport: self.transport.with_deadline(deadline) }
    }

    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, Trouble> {
        const ATTEMPT: &str = "list";
        let inner = &*self.inner;
        let folder = self.key(&entry_key(""));
        let mut names = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES {
            let mut action = inner.bucket.list_objects_v2(inner.credentials.as_ref());
            action.with_prefix(format!("{folder}{prefix}"));
            if let Some(token) = next.take() {
                action.with_continuation_token(token);
            }
            let request = Request::new(Method::Get, action.sign(SIGNED_FOR).to_string());
            let send = || self.transport.send(&request).map_err(Trouble::from);
            let (response, bytes) = self.transport.document(LIST_LIMIT, send, Trouble::from)?;
            self.success(ATTEMPT, &folder, response)?;
            let unusable = |problem: String| answer(ATTEMPT, &folder, problem);
            let bytes = bytes.ok_or_else(|| unusable("it is too long".to_owned()))?;
            let text = String::from_utf8(bytes).map_err(|_| unusable("it is no text".to_owned()))?;
            let page = ListObjectsV2::parse_response(&text).map_err(|error| unusable(error.to_string()))?;
            let keys = page.contents.iter().filter_map(|object| object.key.strip_prefix(&folder));
            names.extend(keys.map(str::to_owned));
            match page.next_continuation_token {
                None => return Ok(names),
                token => next = token,
            }
        }
        Err(answer(ATTEMPT, &folder, format!("more than {PAGES} pages")))
    }

    pub(super) fn entry(&self, name: &str) -> Result<Option<WireEntry>, Trouble> {
        const ATTEMPT: &str = "get";
        let key = self.key(&entry_key(name));
        let send = || self.transport.send(&self.request(Method::Get, &key)).map_err(Trouble::from);
        let (response, bytes) = self.transport.document(ENTRY_LIMIT, send, Trouble::from)?;
        if self.found(&key, response)?.is_none() {
            return Ok(None);
        }
        match bytes {
            None => Err(answer(ATTEMPT, &key, format!("it has more than {ENTRY_LIMIT} bytes"))),
            Some(bytes) => WireEntry::read(&bytes).map(Some).map_err(Trouble::Damaged),
        }
    }

    pub(super) fn blob(&self, blob: &BlobInfo) -> Result<Option<Box<dyn Read + Send>>, Trouble> {
        let key = self.key(&blob_key(&blob.digest));
        let first = self.transport.send(&self.request(Method::Get, &key))?;
        let Some(first) = self.found(&key, first)? else { return Ok(None) };
        let bucket = self.clone();
        let rest = move |from: u64| -> io::Result<Response> {
            let request = bucket.request(Method::Get, &key).header("range", format!("bytes={from}-"));
            Ok(bucket.transport.send(&request)?)
        };
        let download = Download::new(&self.transport, (blob.digest, blob.size), first, rest);
        Ok(Some(Box::new(download)))
    }

    pub(super) fn put_blob(&self, upload: &Upload<'_>) -> Result<bool, Trouble> {
        let BlobInfo { digest, size } = upload.blob;
        let key = self.key(&blob_key(&digest));
        if self.size(&key)? == Some(size) {
            return Ok(false);
        }
        let open = || upload.open();
        self.put(&key, &digest, Body::Stream { size, open: &open })?;
        Ok(true)
    }

    pub(super) fn put_entry(&self, name: &str, entry: &WireEntry) -> Result<(), Trouble> {
        let bytes = entry.to_bytes();
        self.put(&self.key(&entry_key(name)), &Digest::of(&bytes), Body::Bytes(&bytes))
    }

    pub(super) fn remove(&self, name: &str) -> Result<bool, Trouble> {
        let key = self.key(&entry_key(name));
        let was_there = self.size(&key)?.is_some();
        let response = self.transport.send(&self.request(Method::Delete, &key))?;
        if response.status() != 404 {
            self.success("delete", &key, response)?;
        }
        Ok(was_there)
    }

    /// Puts an object. The bucket is told its digest, so that nothing that got damaged on the way is ever kept under a
    /// digest's name.
    fn put(&self, key: &str, digest: &Digest, body: Body<'_>) -> Result<(), Trouble> {
        const CHECKSUM: &str = "x-amz-checksum-sha256";
        let inner = &*self.inner;
        let checksum = BASE64_STANDARD.encode(bytes_of(digest));
        let mut action = inner.bucket.put_object(inner.credentials.as_ref(), key);
        action.headers_mut().insert(CHECKSUM, checksum.clone());
        let url = action.sign(SIGNED_FOR).to_string();
        let request = Request::new(Method::Put, url).header(CHECKSUM, checksum).body(body);
        self.success("put", key, self.transport.send(&request)?)?;
        Ok(())
    }

    /// `None` if the answer says that there is no such object.
    fn found(&self, key: &str, response: Response) -> Result<Option<Response>, Trouble> {
        const ATTEMPT: &str = "get";
        if response.status() != 404 {
            return self.success(ATTEMPT, key, response).map(Some);
        }
        let status = response.status();
        let said = words(response);
        // A bucket that is not there is no empty cache, it is a wrong name.
        if said.starts_with("NoSuchBucket") {
            return Err(said_no(ATTEMPT, key, status, said));
        }
        Ok(None)
    }

    fn size(&self, key: &str) -> Result<Option<u64>, Trouble> {
        let response = self.transport.send(&self.request(Method::Head, key))?;
        if response.status() == 404 {
            return Ok(None);
        }
        let response = self.success("look for", key, response)?;
        Ok(response.header("content-length").and_then(|length| length.trim().parse().ok()))
    }

    fn request(&self, method: Method, key: &str) -> Request<'static> {
        let (bucket, credentials) = (&self.inner.bucket, self.inner.credentials.as_ref());
        let url = match method {
            Method::Head => bucket.head_object(credentials, key).sign(SIGNED_FOR),
            Method::Delete => bucket.delete_object(credentials, key).sign(SIGNED_FOR),
            _ => bucket.get_object(credentials, key).sign(SIGNED_FOR),
        };
        Request::new(method, url.to_string())
    }

    fn success(&self, attempt: &'static str, key: &str, response: Response) -> Result<Response, Trouble> {
        if response.is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(said_no(attempt, key, status, words(response)))
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.inner.prefix)
    }
}

fn said_no(attempt: &'static str, object: &str, status: u16, said: String) -> Trouble {
    Trouble::Cause(Cause::Bucket { attempt, object: object.to_owned(), status, said })
}

fn answer(attempt: &'static str, object: &str, problem: String) -> Trouble {
    Trouble::Cause(Cause::BucketAnswer { attempt, object: object.to_owned(), problem })
}

/// `Code: Message` out of an error's XML. Not the whole of it: it repeats the request, with the key's name.
fn words(response: Response) -> String {
    let text = response.words();
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner.to_owned())
    };
    match (element("Code"), element("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        _ => String::new(),
    }
}

/// The 32 bytes of a digest.
fn bytes_of(digest: &Digest) -> Vec<u8> {
    let digits = digest.hex();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("a digest is hexadecimal");
    (0..digits.len()).step_by(2).map(byte).collect()
}

impl From<TransportError> for Cause {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}
