//! What an entry looks like in buckets and folders, and its manifest in registries. Serialised means frozen.

use std::collections::BTreeMap;

use carrack_base::Digest;
use carrack_oci::wire::{Descriptor, Extra, media_type};
use serde::{Deserialize, Serialize};

use crate::BlobInfo;

/// What the manifest of an entry says that it is.
pub(crate) const ARTIFACT_TYPE: &str = "application/vnd.carrack.cache.v1";
/// The media type of heads.
const HEAD_TYPE: &str = "application/vnd.carrack.cache.head.v1";
/// The media type of blobs.
const BLOB_TYPE: &str = "application/vnd.carrack.cache.blob.v1";
/// Makes the manifests of different names different, so that deleting one leaves the other.
const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
const VERSION: u32 = 1;

/// An entry in a bucket or a folder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireEntry {
    version: u32,
    pub(crate) head: BlobInfo,
    pub(crate) blobs: Vec<BlobInfo>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireManifest {
    schema_version: u32,
    media_type: String,
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    extra: Extra,
}

impl WireEntry {
    pub(crate) fn new(head: BlobInfo, blobs: &[BlobInfo]) -> Self {
        Self { version: VERSION, head, blobs: blobs.to_vec() }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts can be written")
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let entry: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match entry.version {
            VERSION => Ok(entry),
            other => Err(format!("it is of version {other}, and {VERSION} is known")),
        }
    }

    /// The manifest of this entry under this name.
    pub(crate) fn to_manifest(&self, name: &str) -> Vec<u8> {
        let descriptor = |kind, blob: &BlobInfo| Descriptor::new(kind, blob.digest, blob.size);
        let manifest = WireManifest {
            schema_version: 2,
            media_type: media_type::MANIFEST.to_owned(),
            artifact_type: Some(ARTIFACT_TYPE.to_owned()),
            config: descriptor(HEAD_TYPE, &self.head),
            layers: self.blobs.iter().map(|blob| descriptor(BLOB_TYPE, blob)).collect(),
            annotations: BTreeMap::from([(NAME_ANNOTATION.to_owned(), name.to_owned())]),
            extra: Extra::new(),
        };
        serde_json::to_vec(&manifest).expect("numbers and texts can be written")
    }

    pub(crate) fn read_manifest(bytes: &[u8]) -> Result<Self, String> {
        let manifest: WireManifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        // Registries that do not know artifact types may drop them; the head's type says the same.
        if manifest.artifact_type.as_deref().unwrap_or(ARTIFACT_TYPE) != ARTIFACT_TYPE
            || manifest.config.media_type != HEAD_TYPE
        {
            return Err("it is something else than an entry of a cache".to_owned());
        }
        let info = |descriptor: &Descriptor| BlobInfo { digest: descriptor.digest, size: descriptor.size };
        Ok(Self {
            version: VERSION,
            head: info(&manifest.config),
            blobs: manifest.layers.iter().map(info).collect(),
        })
    }
}

/// The key of a blob below the prefix.
pub(crate) fn blob_key(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The key of an entry below the prefix.
pub(crate) fn entry_key(name: &str) -> String {
    format!("entries/{name}")
}
