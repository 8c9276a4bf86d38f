//! From a name to an image: through indexes, with every document put into the sink on the way.

use std::io::Read;

use carrack_base::{Digest, Platform};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::PullError;
use super::platform::fit;
use super::sink::{BlobSink, PutError, Watch, put};
use crate::image::{DOCUMENT_LIMIT, Image, ImageError};
use crate::wire::{Descriptor, Index, Manifest, media_type};

/// Indexes in indexes beyond this are no use to anybody.
const DEPTH_LIMIT: usize = 4;
const SCHEMA_ONE: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];
/// On entries of an index that say something about another entry (provenance, a list of materials).
const ATTESTATION: &str = "vnd.docker.reference.type";

/// What a name means.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// What the name leads to: the image's digest, or that of the index in which it was found.
    pub named: Digest,
    /// The image. Its documents are in the sink.
    pub image: Image,
    /// Whether the image says that it is for a platform that fits. What a name leads to without an index may not be.
    pub fits: bool,
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) digest: Digest,
    /// What somebody else says that it is; may be empty.
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// Where an image is.
pub(super) trait Origin {
    /// What the image is called, for errors.
    fn name(&self) -> String;
    /// A manifest or an index.
    fn document(&self, descriptor: &Descriptor) -> Result<Document, PullError>;
    /// Puts a blob into the sink.
    fn copy(&self, descriptor: &Descriptor, sink: &dyn BlobSink, watch: &Watch<'_>) -> Result<(), PullError>;
}

enum Kind {
    Image(Box<Manifest>),
    Index(Index),
}

/// What tells the kinds of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// Finds the image that `document` leads to.
pub(super) fn resolve(
    origin: &dyn Origin,
    document: Document,
    platform: &Platform,
    sink: &dyn BlobSink,
) -> Result<Resolved, PullError> {
    settle(origin, document, platform, sink, 0)
}

/// Finds the image for `platform` among `descriptors`, the entries of an index.
pub(super) fn choose(
    origin: &dyn Origin,
    descriptors: &[Descriptor],
    platform: &Platform,
    sink: &dyn BlobSink,
    depth: usize,
) -> Result<Resolved, PullError> {
    let settle = |descriptor: &Descriptor| {
        let document = match kept(sink, descriptor) {
            Some(document) => document,
            None => origin.document(descriptor)?,
        };
        settle(origin, document, platform, sink, depth + 1)
    };
    let images: Vec<&Descriptor> = descriptors.iter().filter(|descriptor| is_image(descriptor)).collect();
    let mut best: Option<(u32, &Descriptor)> = None;
    let mut available: Vec<Platform> = Vec::new();
    for descriptor in &images {
        let Some(offered) = descriptor.platform.as_ref().map(Platform::from) else { continue };
        match fit(platform, &offered) {
            Some(fit) if best.is_none_or(|(best, _)| fit > best) => best = Some((fit, descriptor)),
            _ => {}
        }
        available.push(offered);
    }
    if let Some((_, descriptor)) = best {
        return settle(descriptor);
    }
    for descriptor in images.iter().filter(|descriptor| descriptor.platform.is_none()) {
        match settle(descriptor) {
            Ok(resolved) if resolved.fits => return Ok(resolved),
            Ok(resolved) => available.push(resolved.image.config().platform()),
            Err(PullError::Platform { available: further, .. }) => available.extend(further),
            Err(error) => return Err(error),
        }
    }
    Err(PullError::Platform { name: origin.name(), wanted: platform.clone(), available })
}

fn settle(
    origin: &dyn Origin,
    document: Document,
    platform: &Platform,
    sink: &dyn BlobSink,
    depth: usize,
) -> Result<Resolved, PullError> {
    let digest = document.digest;
    let malformed = |problem: String| PullError::Document { name: origin.name(), digest, problem };
    if depth > DEPTH_LIMIT {
        return Err(malformed(format!("it is more than {DEPTH_LIMIT} indexes deep")));
    }
    let (media_type, kind) = kind(origin, &document)?;
    let descriptor = Descriptor::new(&media_type, digest, document.bytes.len() as u64);
    keep(origin, &descriptor, &document.bytes, sink)?;
    let manifest = match kind {
        Kind::Index(index) => {
            let resolved = choose(origin, &index.manifests, platform, sink, depth)?;
            return Ok(Resolved { named: digest, ..resolved });
        }
        Kind::Image(manifest) => manifest,
    };
    let unusable = |source| PullError::Image { name: origin.name(), source };
    let Descriptor { digest: config, size, .. } = manifest.config;
    if size > DOCUMENT_LIMIT {
        return Err(unusable(ImageError::TooLarge { digest: config, size }));
    }
    if !sink.has(&config, size) {
        origin.copy(&manifest.config, sink, &Watch::NONE)?;
    }
    let image = Image::read(sink, &descriptor).map_err(unusable)?;
    let fits = fit(platform, &image.config().platform()).is_some();
    Ok(Resolved { named: digest, image, fits })
}

/// A document that is in the sink, whole.
pub(super) fn kept(sink: &dyn BlobSink, descriptor: &Descriptor) -> Option<Document> {
    let mut bytes = Vec::new();
    sink.open(&descriptor.digest).ok()?.take(DOCUMENT_LIMIT).read_to_end(&mut bytes).ok()?;
    let (digest, media_type) = (descriptor.digest, descriptor.media_type.clone());
    (Digest::of(&bytes) == digest).then_some(Document { digest, media_type, bytes })
}

/// Puts a document into the sink, unless it is there.
pub(super) fn keep(
    origin: &dyn Origin,
    descriptor: &Descriptor,
    bytes: &[u8],
    sink: &dyn BlobSink,
) -> Result<(), PullError> {
    let Descriptor { digest, size, .. } = *descriptor;
    if sink.has(&digest, size) {
        return Ok(());
    }
    let mut source = bytes;
    put(sink, descriptor, &mut source, &Watch::NONE).map_err(|error| {
        let name = origin.name();
        match error {
            PutError::Sink(source) => PullError::Sink { name, digest, source },
            PutError::Source(source) => PullError::Blob { from: name.clone(), name, digest, source },
            PutError::Cancelled => PullError::Cancelled { name },
        }
    })
}

/// What a document is: by its own word, else by whoever gave it, else by its shape.
fn kind(origin: &dyn Origin, document: &Document) -> Result<(String, Kind), PullError> {
    let malformed =
        |problem: String| PullError::Document { name: origin.name(), digest: document.digest, problem };
    let unreadable = |error: serde_json::Error| malformed(error.to_string());
    let shape: Shape = serde_json::from_slice(&document.bytes).map_err(unreadable)?;
    // Without parameters (`; charset=utf-8`).
    let given = document.media_type.split(';').next().unwrap_or_default().trim();
    let said = shape.media_type.as_deref().unwrap_or(given);
    if shape.schema_version == Some(1) || shape.fs_layers.is_some() || SCHEMA_ONE.contains(&said) {
        return Err(PullError::SchemaOne { name: origin.name() });
    }
    let is_index = shape.manifests.is_some();
    if is_index && (shape.config.is_some() || shape.layers.is_some()) {
        return Err(malformed("it is both".to_owned()));
    }
    let media_type = match said {
        media_type::INDEX | media_type::DOCKER_INDEX if is_index => said,
        media_type::MANIFEST | media_type::DOCKER_MANIFEST if shape.config.is_some() => said,
        media_type::INDEX | media_type::DOCKER_INDEX => {
            return Err(malformed("it has no `manifests`".to_owned()));
        }
        media_type::MANIFEST | media_type::DOCKER_MANIFEST => {
            return Err(malformed("it has no `config`".to_owned()));
        }
        _ if shape.media_type.is_some() => {
            return Err(malformed(format!("it is of the media type `{said}`")));
        }
        _ if is_index => media_type::INDEX,
        _ if shape.config.is_some() => media_type::MANIFEST,
        _ => return Err(malformed("it has neither `config` nor `manifests`".to_owned())),
    };
    let kind = if is_index {
        Kind::Index(serde_json::from_slice(&document.bytes).map_err(unreadable)?)
    } else {
        Kind::Image(Box::new(serde_json::from_slice(&document.bytes).map_err(unreadable)?))
    };
    Ok((media_type.to_owned(), kind))
}

/// Whether an entry of an index is, or leads to, something that runs.
pub(super) fn is_image(descriptor: &Descriptor) -> bool {
    let kinds =
        [media_type::MANIFEST, media_type::INDEX, media_type::DOCKER_MANIFEST, media_type::DOCKER_INDEX];
    let is_unknown = descriptor.platform.as_ref().is_some_and(|platform| {
        (platform.os.as_str(), platform.architecture.as_str()) == ("unknown", "unknown")
    });
    kinds.contains(&descriptor.media_type.as_str())
        && !is_unknown
        && !descriptor.annotations.contains_key(ATTESTATION)
}
