//! Images from local files: OCI layouts, and archives of them or of docker's.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use carrack_base::{Cancel, Digest, Platform};

use super::PullError;
use super::files::{ArchiveFiles, Files, FolderFiles};
use super::resolve::{Document, Origin, Resolved, choose, is_image, resolve};
use super::saved;
use super::sink::{BlobSink, PutError, Watch, put};
use crate::destination::Pending;
use crate::image::DOCUMENT_LIMIT;
use crate::layer_reader::{Compression, LayerReader};
use crate::load::{self, EngineProgram};
use crate::reference::Reference;
use crate::wire::{Descriptor, Index, annotation};

/// Which image of several is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The only one that is there. Several platforms of one image are one.
    Only,
    /// The one of this tag or name: `latest`, `debian:12`, `ghcr.io/acme/server:1`.
    Name(String),
    /// The one with this digest, of its manifest or its index; where there are none (docker's old archives), of its
    /// configuration.
    Digest(Digest),
}

/// Takes `path`, `path:name` or `path@sha256:…` apart. The path ends with the first colon.
pub fn split_selection(text: &str) -> (PathBuf, Selection) {
    let digest = text.rsplit_once('@').and_then(|(path, digest)| Some((path, digest.parse().ok()?)));
    if let Some((path, digest)) = digest {
        return (path.into(), Selection::Digest(digest));
    }
    match text.split_once(':') {
        Some((path, name)) if !name.is_empty() => (path.into(), Selection::Name(name.to_owned())),
        _ => (text.into(), Selection::Only),
    }
}

/// Puts an image of the OCI layout `folder` into `sink`, with its layers.
///
/// Errors: [`PullError`].
pub fn import_layout(
    folder: &Path,
    selection: &Selection,
    platform: &Platform,
    sink: &dyn BlobSink,
    cancel: &Cancel,
) -> Result<Resolved, PullError> {
    from_layout(&FolderFiles(folder), selection, platform, sink, cancel)
}

/// Puts an image of the archive `file` into `sink`, with its layers: a tar of an OCI layout, or what `docker save` or
/// `podman save` wrote, under gzip or zstd or not.
///
/// A compressed archive is uncompressed into `scratch` for the time being, since it is not read in order.
/// Errors: [`PullError`].
pub fn import_archive(
    file: &Path,
    selection: &Selection,
    platform: &Platform,
    sink: &dyn BlobSink,
    scratch: &Path,
    cancel: &Cancel,
) -> Result<Resolved, PullError> {
    let failed = |source| PullError::Read { path: file.to_owned(), source };
    let mut start = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    (&opened).take(4).read_to_end(&mut start).map_err(failed)?;
    let compression = Compression::of_bytes(&start);
    let plain = match compression {
        Compression::None => None,
        _ => Some(uncompress(file, compression, scratch)?),
    };
    let files = ArchiveFiles::open(plain.as_ref().map_or(file, Pending::path), file)?;
    if files.open("oci-layout").map_err(failed)?.is_some() {
        return from_layout(&files, selection, platform, sink, cancel);
    }
    saved::import(&files, selection, platform, sink, cancel)
}

/// Puts the image that an engine knows as `name` into `sink`, with its layers. The engine writes it into `scratch`
/// first, from where it is removed again.
///
/// Errors: [`PullError::Engine`] if the engine does not answer or has no such image, and the others.
pub fn import_from_engine(
    engine: &EngineProgram,
    name: &Reference,
    platform: &Platform,
    sink: &dyn BlobSink,
    scratch: &Path,
    cancel: &Cancel,
) -> Result<Resolved, PullError> {
    let failed = |source| PullError::Read { path: scratch.to_owned(), source };
    let archive = Pending::beside(&scratch.join("image.tar")).map_err(failed)?;
    let shown = name.to_string();
    load::save(engine, &shown, archive.path()).map_err(|source| PullError::Engine { name: shown, source })?;
    import_archive(archive.path(), &Selection::Only, platform, sink, scratch, cancel)
}

fn uncompress(file: &Path, compression: Compression, scratch: &Path) -> Result<Pending, PullError> {
    let failed = |source| PullError::Read { path: file.to_owned(), source };
    let unwritable = |source| PullError::Read { path: scratch.to_owned(), source };
    let mut reader = LayerReader::new(File::open(file).map_err(failed)?, compression).map_err(failed)?;
    let pending = Pending::beside(&scratch.join("image.tar")).map_err(unwritable)?;
    let mut plain = File::create_new(pending.path()).map_err(unwritable)?;
    io::copy(&mut reader, &mut plain).map_err(failed)?;
    Ok(pending)
}

fn from_layout(
    files: &dyn Files,
    selection: &Selection,
    platform: &Platform,
    sink: &dyn BlobSink,
    cancel: &Cancel,
) -> Result<Resolved, PullError> {
    let no_layout = |problem: String| PullError::NotAnImage { path: files.path().to_owned(), problem };
    let document = |name: &str| {
        let bytes = files.read(name, DOCUMENT_LIMIT)?;
        let bytes = bytes.ok_or_else(|| no_layout(format!("it has no {name}")))?;
        let unreadable = |error| no_layout(format!("{name} cannot be read: {error}"));
        serde_json::from_slice::<serde_json::Value>(&bytes).map_err(unreadable)
    };
    let version = &document("oci-layout")?["imageLayoutVersion"];
    if version != "1.0.0" {
        return Err(no_layout(format!("its layout is of version {version}, not 1.0.0")));
    }
    let index: Index = serde_json::from_value(document("index.json")?)
        .map_err(|error| no_layout(format!("index.json cannot be read: {error}")))?;
    let selected = select(&index, selection, files.path())?;
    let origin = Layout { files };
    let resolved = match selected.as_slice() {
        [only] => resolve(&origin, origin.document(only)?, platform, sink)?,
        several => choose(&origin, several, platform, sink, 0)?,
    };
    for layer in resolved.image.layers() {
        if !sink.has(&layer.descriptor.digest, layer.descriptor.size) {
            let stop = || cancel.is_cancelled();
            origin.copy(&layer.descriptor, sink, &Watch { stop: &stop, progress: &|_| {} })?;
        }
    }
    Ok(resolved)
}

/// The entries of an index that are the image that is meant: one, or the same for several platforms.
fn select(index: &Index, selection: &Selection, path: &Path) -> Result<Vec<Descriptor>, PullError> {
    let images: Vec<&Descriptor> = index.manifests.iter().filter(|descriptor| is_image(descriptor)).collect();
    let names_of = |descriptor: &Descriptor| {
        let keys = [annotation::CONTAINERD_NAME, annotation::REFERENCE_NAME];
        keys.iter().filter_map(|key| descriptor.annotations.get(*key).cloned()).collect::<Vec<_>>()
    };
    let mut selected: Vec<Descriptor> = match selection {
        Selection::Only => images.iter().map(|descriptor| (*descriptor).clone()).collect(),
        Selection::Name(wanted) => images
            .iter()
            .filter(|descriptor| names_of(descriptor).iter().any(|name| is_called(name, wanted)))
            .map(|descriptor| (*descriptor).clone())
            .collect(),
        // It may be named by an index that is in there.
        Selection::Digest(digest) => vec![Descriptor::new("", *digest, 0)],
    };
    let mut names: Vec<String> = selected.iter().map(|descriptor| names_of(descriptor).concat()).collect();
    names.sort();
    names.dedup();
    let mut seen = HashSet::new();
    selected.retain(|descriptor| seen.insert(descriptor.digest));
    let mut platforms = HashSet::new();
    let is_one = names.len() <= 1
        && selected
            .iter()
            .all(|descriptor| platforms.insert(descriptor.platform.as_ref().map(Platform::from)));
    if selected.is_empty() || (selected.len() > 1 && !is_one) {
        let wanted = match selection {
            Selection::Only => None,
            Selection::Name(name) => Some(name.clone()),
            Selection::Digest(digest) => Some(digest.to_string()),
        };
        let names = images.iter().flat_map(|descriptor| names_of(descriptor).into_iter().next()).collect();
        return Err(PullError::Selection { path: path.to_owned(), wanted, names });
    }
    Ok(selected)
}

/// Whether an image that is called `known` is meant by `wanted`, a name or just a tag.
pub(super) fn is_called(known: &str, wanted: &str) -> bool {
    let canonical = |name: &str| name.parse().ok().map(|name: Reference| name.tagged().canonical());
    let tag = known.parse::<Reference>().ok().and_then(|name| name.tag().map(str::to_owned));
    known == wanted
        || tag.as_deref() == Some(wanted)
        || canonical(known).is_some_and(|name| Some(name) == canonical(wanted))
}

struct Layout<'a> {
    files: &'a dyn Files,
}

impl Layout<'_> {
    fn missing(&self, digest: Digest) -> PullError {
        PullError::MissingBlob { name: self.name(), digest }
    }
}

impl Origin for Layout<'_> {
    fn name(&self) -> String {
        self.files.path().display().to_string()
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Document, PullError> {
        let digest = descriptor.digest;
        let bytes = self.files.read(&blob_name(&digest), DOCUMENT_LIMIT)?;
        let bytes = bytes.ok_or_else(|| self.missing(digest))?;
        let found = Digest::of(&bytes);
        if found != digest {
            let damage = crate::BlobError::Content { digest, found };
            let source = io::Error::new(io::ErrorKind::InvalidData, damage);
            return Err(PullError::Blob { name: self.name(), from: self.name(), digest, source });
        }
        Ok(Document { digest, media_type: descriptor.media_type.clone(), bytes })
    }

    fn copy(&self, descriptor: &Descriptor, sink: &dyn BlobSink, watch: &Watch<'_>) -> Result<(), PullError> {
        let digest = descriptor.digest;
        let name = blob_name(&digest);
        let opened = self.files.open(&name);
        let opened =
            opened.map_err(|source| PullError::Read { path: self.files.path().join(&name), source })?;
        let (mut reader, _) = opened.ok_or_else(|| self.missing(digest))?;
        put(sink, descriptor, &mut reader, watch).map_err(|error| failed(self.files, digest, error))
    }
}

/// Why a blob of a local image is not in the sink.
pub(super) fn failed(files: &dyn Files, digest: Digest, error: PutError) -> PullError {
    let name = files.path().display().to_string();
    match error {
        PutError::Source(source) => PullError::Blob { from: name.clone(), name, digest, source },
        PutError::Sink(source) => PullError::Sink { name, digest, source },
        PutError::Cancelled => PullError::Cancelled { name },
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
