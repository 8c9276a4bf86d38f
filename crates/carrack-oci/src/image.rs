//! An image: a manifest, its configuration, and the digests of the layers that both name.
//!
//! Assembling is pure: the same configuration and layers give the same manifest. Reading believes nothing.
//! Layers' bytes are not held and not read here.

use std::collections::BTreeMap;
use std::io::Read;

use carrack_base::Digest;

use crate::blob::{BlobError, BlobReader, BlobSource};
use crate::wire::{self, Descriptor, Extra, ImageConfig, Manifest, media_type};

/// No sane manifest or configuration is larger, and both are held in memory.
pub(crate) const DOCUMENT_LIMIT: u64 = 8 << 20;

/// A layer as an image knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The compressed blob.
    pub descriptor: Descriptor,
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
}

/// A manifest and its configuration, with the exact bytes that their digests name.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    manifest: Manifest,
    manifest_bytes: Vec<u8>,
    digest: Digest,
    config: ImageConfig,
    config_bytes: Vec<u8>,
}

/// An image that can't be read or does not hold together.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The manifest or the configuration is missing or damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// It is larger than a manifest or a configuration can be.
    #[error("{digest} has {size} bytes, too many for a manifest or a configuration")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size.
        size: u64,
    },
    /// It is something else (an index, an artifact).
    #[error("{digest} is of the media type `{media_type}`, not {expected}")]
    MediaType {
        /// The blob.
        digest: Digest,
        /// What it is.
        media_type: String,
        /// What it should be.
        expected: &'static str,
    },
    /// It is not the JSON that it should be.
    #[error("cannot read {digest} as {expected}")]
    Malformed {
        /// The blob.
        digest: Digest,
        /// What it should be.
        expected: &'static str,
        /// Where and why reading failed.
        #[source]
        source: serde_json::Error,
    },
    /// Manifest and configuration do not speak of the same layers.
    #[error("manifest {digest} has {manifest} layers, its configuration has {config}")]
    LayerCount {
        /// The manifest.
        digest: Digest,
        /// Layers in the manifest.
        manifest: usize,
        /// Layers in the configuration.
        config: usize,
    },
}

impl Image {
    /// Puts an image together: `config` gets the digests of `layers` (lowest first) and is otherwise taken as it is,
    /// history included. Engines expect as many history entries without `empty_layer` as there are layers, or none.
    ///
    /// Shape: always an OCI manifest; docker's media types of layers taken from another image become OCI's.
    pub fn assemble(
        mut config: ImageConfig,
        layers: &[Layer],
        annotations: BTreeMap<String, String>,
    ) -> Self {
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        let config_bytes = wire::to_bytes(&config);
        let config_digest = Digest::of(&config_bytes);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::MANIFEST.to_owned()),
            config: Descriptor::new(media_type::CONFIG, config_digest, config_bytes.len() as u64),
            layers: layers.iter().map(|layer| with_oci_media_type(&layer.descriptor)).collect(),
            annotations,
            extra: Extra::new(),
        };
        let manifest_bytes = wire::to_bytes(&manifest);
        let digest = Digest::of(&manifest_bytes);
        Self { manifest, manifest_bytes, digest, config, config_bytes }
    }

    /// Reads the image whose manifest is `descriptor`, OCI's or docker's.
    ///
    /// Errors: [`ImageError`]; the layers' blobs may still be missing or damaged.
    pub fn read(blobs: &dyn BlobSource, descriptor: &Descriptor) -> Result<Self, ImageError> {
        let digest = descriptor.digest;
        let manifest_bytes = read_document(blobs, descriptor)?;
        let expected = "an image manifest";
        let manifest: Manifest = serde_json::from_slice(&manifest_bytes)
            .map_err(|source| ImageError::Malformed { digest, expected, source })?;
        if let Some(found) = &manifest.media_type {
            check_media_type(digest, found, &[media_type::MANIFEST, media_type::DOCKER_MANIFEST], expected)?;
        }
        let config_digest = manifest.config.digest;
        let expected = "an image configuration";
        let config_types = [media_type::CONFIG, media_type::DOCKER_CONFIG];
        check_media_type(config_digest, &manifest.config.media_type, &config_types, expected)?;
        let config_bytes = read_document(blobs, &manifest.config)?;
        let config: ImageConfig = serde_json::from_slice(&config_bytes)
            .map_err(|source| ImageError::Malformed { digest: config_digest, expected, source })?;
        let (in_manifest, in_config) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if in_manifest != in_config {
            return Err(ImageError::LayerCount { digest, manifest: in_manifest, config: in_config });
        }
        Ok(Self { manifest, manifest_bytes, digest, config, config_bytes })
    }

    /// Digest of the manifest: what names the image.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes that [`Image::digest`] names.
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// The configuration.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The bytes that the manifest's `config` names; their digest is docker's image id.
    pub fn config_bytes(&self) -> &[u8] {
        &self.config_bytes
    }

    /// The layers, lowest first: what another image that starts from this one begins with.
    pub fn layers(&self) -> Vec<Layer> {
        let descriptors = self.manifest.layers.iter().cloned();
        let layers = descriptors.zip(self.config.rootfs.diff_ids.iter().copied());
        layers.map(|(descriptor, diff_id)| Layer { descriptor, diff_id }).collect()
    }

    /// Compressed size of all layers in bytes.
    pub fn layers_size(&self) -> u64 {
        self.manifest.layers.iter().map(|layer| layer.size).sum()
    }

    /// Describes the manifest, with its platform.
    pub fn descriptor(&self) -> Descriptor {
        let media_type = self.manifest.media_type.as_deref().unwrap_or(media_type::MANIFEST);
        let platform = Some(self.config.platform().into());
        Descriptor { platform, ..Descriptor::new(media_type, self.digest, self.manifest_bytes.len() as u64) }
    }
}

fn read_document(blobs: &dyn BlobSource, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
    let Descriptor { digest, size, .. } = *descriptor;
    if size > DOCUMENT_LIMIT {
        return Err(ImageError::TooLarge { digest, size });
    }
    let mut reader = BlobReader::open(blobs, descriptor)?;
    let mut bytes = Vec::with_capacity(size as usize);
    reader.read_to_end(&mut bytes).map_err(|source| BlobError::Read { digest, source })?;
    reader.finish()?;
    Ok(bytes)
}

fn check_media_type(
    digest: Digest,
    found: &str,
    accepted: &[&str],
    expected: &'static str,
) -> Result<(), ImageError> {
    if accepted.contains(&found) {
        return Ok(());
    }
    Err(ImageError::MediaType { digest, media_type: found.to_owned(), expected })
}

fn with_oci_media_type(descriptor: &Descriptor) -> Descriptor {
    let mut descriptor = descriptor.clone();
    match descriptor.media_type.as_str() {
        media_type::DOCKER_LAYER_TAR => descriptor.media_type = media_type::LAYER_TAR.to_owned(),
        media_type::DOCKER_LAYER_GZIP => descriptor.media_type = media_type::LAYER_GZIP.to_owned(),
        media_type::DOCKER_LAYER_ZSTD => descriptor.media_type = media_type::LAYER_ZSTD.to_owned(),
        _ => {}
    }
    descriptor
}
