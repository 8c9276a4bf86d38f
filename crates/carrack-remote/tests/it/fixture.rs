//! Places to test in.

use std::io::Read;
use std::time::Duration;

use carrack_base::Digest;
use carrack_oci::transport::TransportOptions;
use carrack_remote::{Access, BlobInfo, Bytes, Entry, Limits, Location, Remote, RemoteError, S3Keys, Upload};
use carrack_testkit::{
    ContainerRegistry, Proxy, RegistrySetup, S3_BUCKET, S3_KEY, S3_SECRET, S3Server, skipped,
};
use tempfile::TempDir;

/// A place, with what has to live as long as it.
pub(crate) struct Place {
    pub(crate) kind: &'static str,
    pub(crate) location: Location,
    pub(crate) access: Access,
    /// Before registry and bucket.
    pub(crate) proxy: Option<Proxy>,
    registry: Option<ContainerRegistry>,
    bucket: Option<S3Server>,
    folder: Option<TempDir>,
}

/// Every kind of place that this machine has.
pub(crate) fn places() -> Vec<Place> {
    [registry(), Some(bucket()), Some(folder())].into_iter().flatten().collect()
}

pub(crate) fn registry() -> Option<Place> {
    let Some(registry) = ContainerRegistry::start(&RegistrySetup::Open) else {
        skipped("a cache in a registry", "docker-registry is not installed");
        return None;
    };
    let proxy = Proxy::start(registry.address());
    let location = format!("type=registry,ref={}/harbour/cache", proxy.address());
    Some(Place {
        kind: "registry",
        location: location.parse().unwrap(),
        access: Access::default(),
        proxy: Some(proxy),
        registry: Some(registry),
        bucket: None,
        folder: None,
    })
}

pub(crate) fn bucket() -> Place {
    let bucket = S3Server::start();
    let proxy = Proxy::start(bucket.address());
    let location =
        format!("type=s3,bucket={S3_BUCKET},prefix=deep/down,endpoint_url=http://{}", proxy.address());
    let s3_keys = Some(S3Keys {
        access_key_id: S3_KEY.to_owned(),
        secret_access_key: S3_SECRET.to_owned(),
        session_token: None,
    });
    Place {
        kind: "bucket",
        location: location.parse().unwrap(),
        access: Access { s3_keys, ..Access::default() },
        proxy: Some(proxy),
        registry: None,
        bucket: Some(bucket),
        folder: None,
    }
}

pub(crate) fn folder() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("type=local,dest={}", folder.path().join("cache").display());
    Place {
        kind: "folder",
        location: location.parse().unwrap(),
        access: Access::default(),
        proxy: None,
        registry: None,
        bucket: None,
        folder: Some(folder),
    }
}

/// So little patience that a test does not take long, and enough for a busy machine.
pub(crate) fn limits() -> Limits {
    Limits {
        transport: TransportOptions {
            connect_timeout: Duration::from_millis(1_000),
            stall_timeout: Duration::from_millis(800),
            attempts: 3,
            first_pause: Duration::from_millis(20),
            longest_pause: Duration::from_millis(400),
            ..TransportOptions::default()
        },
        ..Limits::default()
    }
}

impl Place {
    /// The cache as a new process would open it.
    pub(crate) fn open(&self) -> Remote {
        self.open_as(&self.access)
    }

    pub(crate) fn open_as(&self, access: &Access) -> Remote {
        Remote::open(&self.location, access, &limits()).unwrap()
    }

    /// Where the blob lies on this machine's disk.
    pub(crate) fn file_of(&self, digest: &Digest) -> std::path::PathBuf {
        let hex = digest.hex();
        if let Some(registry) = &self.registry {
            let blobs = registry.data().join("docker/registry/v2/blobs/sha256");
            return blobs.join(&hex[..2]).join(&hex).join("data");
        }
        match &self.bucket {
            Some(bucket) => bucket.bucket().join("deep/down/blobs/sha256").join(hex),
            None => self.folder.as_ref().unwrap().path().join("cache/blobs/sha256").join(hex),
        }
    }
}

pub(crate) fn info(bytes: &[u8]) -> BlobInfo {
    BlobInfo { digest: Digest::of(bytes), size: bytes.len() as u64 }
}

pub(crate) fn upload(bytes: &[u8]) -> Upload<'_> {
    Upload { blob: info(bytes), bytes: Bytes::Memory(bytes) }
}

pub(crate) fn publish(remote: &Remote, name: &str, head: &[u8], blobs: &[&[u8]]) -> Result<(), RemoteError> {
    let uploads: Vec<Upload<'_>> = blobs.iter().map(|blob| upload(blob)).collect();
    remote.publish(name, head, &uploads).map(|_| ())
}

/// An entry with the bytes of all its blobs.
pub(crate) type Fetched = (Entry, Vec<Vec<u8>>);

pub(crate) fn fetch(remote: &Remote, name: &str) -> Result<Option<Fetched>, RemoteError> {
    let Some(entry) = remote.find(name)? else { return Ok(None) };
    let mut blobs = Vec::new();
    for blob in &entry.blobs {
        let mut bytes = Vec::new();
        match remote.read(blob)?.read_to_end(&mut bytes) {
            Ok(_) => blobs.push(bytes),
            Err(error) => return Err(error.downcast::<RemoteError>().unwrap()),
        }
    }
    Ok(Some((entry, blobs)))
}

/// Bytes that do not compress and are others for each seed.
pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
