//! What `docker save` wrote before version 25, and `podman save` still does: a list of images with files for
//! configurations and layers, and no manifests.

use std::io::{self, Read};

use carrack_base::{Cancel, Digest, Platform, Sha256Writer};
use serde::Deserialize;

use super::files::Files;
use super::layout::{failed, is_called};
use super::platform::fit;
use super::sink::{BlobSink, PutError, Watch, put};
use super::{PullError, Resolved, Selection};
use crate::image::{DOCUMENT_LIMIT, Image};
use crate::layer_reader::Compression;
use crate::wire::{self, Descriptor, Extra, ImageConfig, Manifest, media_type};

const LIST: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Puts an image into `sink`: its configuration as it is, its layers as they are, and a manifest for them.
pub(super) fn import(
    files: &dyn Files,
    selection: &Selection,
    platform: &Platform,
    sink: &dyn BlobSink,
    cancel: &Cancel,
) -> Result<Resolved, PullError> {
    let no_image = |problem: String| PullError::NotAnImage { path: files.path().to_owned(), problem };
    let document =
        |name: &str| files.read(name, DOCUMENT_LIMIT)?.ok_or_else(|| no_image(format!("it has no {name}")));
    let list = files.read(LIST, DOCUMENT_LIMIT)?;
    let list = list.ok_or_else(|| no_image(format!("it has neither oci-layout nor {LIST}")))?;
    let list: Vec<SavedImage> =
        serde_json::from_slice(&list).map_err(|error| no_image(format!("{LIST} cannot be read: {error}")))?;
    let saved = select(files, &list, selection, &document)?;
    let config_bytes = document(&saved.config)?;
    let config: ImageConfig = serde_json::from_slice(&config_bytes)
        .map_err(|error| no_image(format!("{} cannot be read: {error}", saved.config)))?;
    if config.rootfs.diff_ids.len() != saved.layers.len() {
        let (layers, named) = (saved.layers.len(), config.rootfs.diff_ids.len());
        return Err(no_image(format!("it has {layers} layers, and its configuration names {named}")));
    }
    let stop = || cancel.is_cancelled();
    let watch = Watch { stop: &stop, progress: &|_| {} };
    let mut layers = Vec::new();
    for (name, diff_id) in saved.layers.iter().zip(config.rootfs.diff_ids) {
        layers.push(put_layer(files, name, diff_id, sink, &watch)?);
    }
    let put_document = |media_type: &str, bytes: &[u8]| {
        let descriptor = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        let mut source = bytes;
        let outcome = put(sink, &descriptor, &mut source, &watch);
        outcome.map_err(|error| failed(files, descriptor.digest, error)).map(|()| descriptor)
    };
    let config = put_document(media_type::CONFIG, &config_bytes)?;
    let (annotations, extra) = (Default::default(), Extra::new());
    let media_type = Some(media_type::MANIFEST.to_owned());
    let manifest = Manifest { schema_version: 2, media_type, config, layers, annotations, extra };
    let descriptor = put_document(media_type::MANIFEST, &wire::to_bytes(&manifest))?;
    let name = files.path().display().to_string();
    let image = Image::read(sink, &descriptor).map_err(|source| PullError::Image { name, source })?;
    let fits = fit(platform, &image.config().platform()).is_some();
    Ok(Resolved { named: descriptor.digest, image, fits })
}

fn select<'l>(
    files: &dyn Files,
    list: &'l [SavedImage],
    selection: &Selection,
    document: &dyn Fn(&str) -> Result<Vec<u8>, PullError>,
) -> Result<&'l SavedImage, PullError> {
    let (found, wanted) = match selection {
        Selection::Only => (list.first().filter(|_| list.len() == 1), None),
        Selection::Name(wanted) => {
            let is_wanted = |saved: &&SavedImage| tags_of(saved).iter().any(|tag| is_called(tag, wanted));
            (list.iter().find(is_wanted), Some(wanted.clone()))
        }
        Selection::Digest(digest) => {
            let mut found = None;
            for saved in list {
                if found.is_none() && Digest::of(&document(&saved.config)?) == *digest {
                    found = Some(saved);
                }
            }
            (found, Some(digest.to_string()))
        }
    };
    found.ok_or_else(|| {
        let names =
            list.iter().map(|saved| tags_of(saved).first().cloned().unwrap_or_else(|| saved.config.clone()));
        PullError::Selection { path: files.path().to_owned(), wanted, names: names.collect() }
    })
}

fn tags_of(saved: &SavedImage) -> &[String] {
    saved.repo_tags.as_deref().unwrap_or_default()
}

/// Puts the layer that is in the file `name`, whatever that is called.
fn put_layer(
    files: &dyn Files,
    name: &str,
    diff_id: Digest,
    sink: &dyn BlobSink,
    watch: &Watch<'_>,
) -> Result<Descriptor, PullError> {
    let unreadable = |source| PullError::Read { path: files.path().join(name), source };
    let open = || {
        let opened = files.open(name).map_err(unreadable)?;
        let problem = format!("it lacks the layer {name}");
        opened.ok_or_else(|| PullError::NotAnImage { path: files.path().to_owned(), problem })
    };
    let mut start = Vec::new();
    let (reader, size) = open()?;
    reader.take(4).read_to_end(&mut start).map_err(unreadable)?;
    let (media_type, digest) = match Compression::of_bytes(&start) {
        // What is not compressed is its own uncompressed form.
        Compression::None => (media_type::LAYER_TAR, diff_id),
        Compression::Gzip => (media_type::LAYER_GZIP, digest_of(&mut open()?.0).map_err(unreadable)?),
        Compression::Zstd => (media_type::LAYER_ZSTD, digest_of(&mut open()?.0).map_err(unreadable)?),
    };
    let descriptor = Descriptor::new(media_type, digest, size);
    if !sink.has(&digest, size) {
        let put = put(sink, &descriptor, &mut open()?.0, watch);
        put.map_err(|error: PutError| failed(files, digest, error))?;
    }
    Ok(descriptor)
}

fn digest_of(reader: &mut dyn Read) -> io::Result<Digest> {
    let mut hasher = Sha256Writer::new(io::sink());
    io::copy(reader, &mut hasher)?;
    Ok(hasher.finish().1)
}
