//! Images as OCI layouts: a folder, a tar, and a tar that docker takes too.
//!
//! ```text
//! oci-layout               {"imageLayoutVersion":"1.0.0"}
//! index.json               one descriptor for each name of each image, annotated with it
//! manifest.json            docker's list: configuration, layers, names (docker_tar only)
//! blobs/sha256/<64 hex>    manifests, configurations and layers, each once
//! ```
//!
//! Archives are deterministic: entries by path, time 0, owner 0. A folder is merged: what it holds stays, a name that
//! it knows already gets the new image, and `index.json` is renamed into place last. Blobs that no index names any
//! more are left there, as other tools do.
//!
//! Failure: [`CarrierError`]. An archive written to a file is renamed when it is whole; a folder that failed halfway
//! has more blobs than its index names, each of them whole.
//! Source: OCI image-layout v1.0.0; docker's `docker save` format; annotations as buildx writes them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use carrack_base::Digest;
use serde::Serialize;

use crate::blob::{BlobError, BlobReader, BlobSource, CopyError, copy_blob};
use crate::destination::{Destination, PendingFile};
use crate::image::Image;
use crate::reference::Reference;
use crate::side_by_side::side_by_side;
use crate::tar_header::{self, EntryKind, Header, Mtime, Xattrs};
use crate::wire::{self, Descriptor, Index, annotation, media_type};

const LAYOUT_FILE: &str = "oci-layout";
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_FILE: &str = "index.json";
const BLOBS: &str = "blobs/sha256";
/// Blobs of a folder that are written at the same time.
const BLOBS_AT_ONCE: usize = 4;

/// An image and what it is called where it goes. A name without a tag gets `latest`; a digest in it is left out.
#[derive(Debug, Clone, Copy)]
pub struct NamedImage<'a> {
    /// The image.
    pub image: &'a Image,
    /// Its names; none is allowed.
    pub names: &'a [Reference],
}

/// An image that could not be carried.
#[derive(Debug, thiserror::Error)]
pub enum CarrierError {
    /// A blob is missing or damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A file or folder can't be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The destination, or the file in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stream refused the bytes.
    #[error("cannot write the archive")]
    Stream(#[source] io::Error),
    /// The folder is not empty and no OCI layout, or one of another version.
    #[error("{} is neither an OCI layout of version 1.0.0 nor empty", path.display())]
    NotALayout {
        /// The folder.
        path: PathBuf,
    },
    /// The folder's index can't be read.
    #[error("cannot read {} as an OCI index", path.display())]
    Index {
        /// The index.
        path: PathBuf,
        /// Where and why reading failed.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifest {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// What a blob's bytes come from.
enum Blob<'a> {
    Here(&'a [u8]),
    Stored(&'a Descriptor),
}

/// Writes `images` into the OCI layout `folder`, which is created, or merged into if it is one.
///
/// Errors: [`CarrierError`]; the index that was there is then still there.
pub fn oci_layout(
    folder: &Path,
    images: &[NamedImage<'_>],
    blobs: &dyn BlobSource,
) -> Result<(), CarrierError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CarrierError::Write { path, source }
    };
    let blob_folder = folder.join(BLOBS);
    fs::create_dir_all(folder).map_err(failed(folder))?;
    // Two merges at once would lose one's names. The lock ends with the handle; where the file system has no locks,
    // merging without one is better than not at all.
    let handle = File::open(folder).map_err(failed(folder))?;
    let _ = handle.lock();
    let mut index = read_layout(folder)?;
    // The version first: from then on the folder is a layout that the next attempt takes for one.
    write_file(&folder.join(LAYOUT_FILE), LAYOUT)?;
    fs::create_dir_all(&blob_folder).map_err(failed(&blob_folder))?;
    let all: Vec<(Digest, Blob<'_>)> = blobs_of(images).into_iter().collect();
    // While one waits for the disk, another one is read.
    side_by_side(&all, BLOBS_AT_ONCE, |(digest, blob), _| {
        let path = blob_folder.join(digest.hex());
        if is_whole(&path, *digest, blob.size()) {
            return Ok(());
        }
        let mut file = PendingFile::create(&path).map_err(failed(&path))?;
        blob.copy(blobs, &mut file, failed(&path))?;
        file.commit().map_err(failed(&path))
    })?;
    for descriptor in descriptors(images) {
        merge(&mut index, descriptor);
    }
    write_file(&folder.join(INDEX_FILE), &wire::to_bytes(&index))
}

/// Writes `images` as one tar of an OCI layout.
///
/// Errors: [`CarrierError`].
pub fn oci_tar(
    destination: Destination<'_>,
    images: &[NamedImage<'_>],
    blobs: &dyn BlobSource,
) -> Result<(), CarrierError> {
    tar(destination, images, blobs, &[])
}

/// Writes `images` as one tar that is an OCI layout and what `docker load` and `podman load` take.
///
/// Errors: [`CarrierError`].
pub fn docker_tar(
    destination: Destination<'_>,
    images: &[NamedImage<'_>],
    blobs: &dyn BlobSource,
) -> Result<(), CarrierError> {
    let blob_path = |descriptor: &Descriptor| format!("{BLOBS}/{}", descriptor.digest.hex());
    let list = images.iter().map(|NamedImage { image, names }| DockerManifest {
        config: blob_path(&image.manifest().config),
        repo_tags: names.iter().map(|name| name.tagged().familiar()).collect(),
        layers: image.manifest().layers.iter().map(blob_path).collect(),
    });
    let list: Vec<DockerManifest> = list.collect();
    tar(destination, images, blobs, &[("manifest.json", &wire::to_bytes(&list))])
}

fn tar(
    destination: Destination<'_>,
    images: &[NamedImage<'_>],
    blobs: &dyn BlobSource,
    further: &[(&str, &[u8])],
) -> Result<(), CarrierError> {
    match destination {
        Destination::Stream(stream) => write_tar(stream, images, blobs, further, CarrierError::Stream),
        Destination::File(path) => {
            let failed = |source| CarrierError::Write { path: path.to_owned(), source };
            let mut file = PendingFile::create(path).map_err(failed)?;
            write_tar(&mut file, images, blobs, further, failed)?;
            file.commit().map_err(failed)
        }
    }
}

fn write_tar(
    output: &mut dyn Write,
    images: &[NamedImage<'_>],
    blobs: &dyn BlobSource,
    further: &[(&str, &[u8])],
    failed: impl Fn(io::Error) -> CarrierError,
) -> Result<(), CarrierError> {
    for folder in ["blobs", BLOBS] {
        write_header(output, folder, EntryKind::Directory).map_err(&failed)?;
    }
    for (digest, blob) in blobs_of(images) {
        let size = blob.size();
        let path = format!("{BLOBS}/{}", digest.hex());
        write_header(output, &path, EntryKind::File { size }).map_err(&failed)?;
        blob.copy(blobs, output, &failed)?;
        tar_header::pad(output, size).map_err(&failed)?;
    }
    let index = wire::to_bytes(&Index { manifests: descriptors(images), ..Index::default() });
    let mut files = BTreeMap::from([(INDEX_FILE, index.as_slice()), (LAYOUT_FILE, LAYOUT)]);
    files.extend(further.iter().copied());
    for (path, bytes) in files {
        let size = bytes.len() as u64;
        let written = write_header(output, path, EntryKind::File { size });
        written
            .and_then(|()| output.write_all(bytes))
            .and_then(|()| tar_header::pad(output, size))
            .map_err(&failed)?;
    }
    tar_header::end(output).and_then(|()| output.flush()).map_err(&failed)
}

fn write_header(output: &mut dyn Write, path: &str, kind: EntryKind<'_>) -> io::Result<()> {
    let mode = if kind == EntryKind::Directory { 0o755 } else { 0o644 };
    let (mtime, xattrs) = (Mtime::default(), &Xattrs::new());
    Header { path: path.as_bytes(), kind, mode, uid: 0, gid: 0, mtime, xattrs }.write(output)
}

/// The blobs of all images, each once, by digest.
fn blobs_of<'a>(images: &[NamedImage<'a>]) -> BTreeMap<Digest, Blob<'a>> {
    let mut blobs = BTreeMap::new();
    for NamedImage { image, .. } in images {
        blobs.insert(image.digest(), Blob::Here(image.manifest_bytes()));
        blobs.insert(image.manifest().config.digest, Blob::Here(image.config_bytes()));
        blobs.extend(image.manifest().layers.iter().map(|layer| (layer.digest, Blob::Stored(layer))));
    }
    blobs
}

impl Blob<'_> {
    fn size(&self) -> u64 {
        match self {
            Self::Here(bytes) => bytes.len() as u64,
            Self::Stored(descriptor) => descriptor.size,
        }
    }

    fn copy(
        &self,
        blobs: &dyn BlobSource,
        output: &mut dyn Write,
        failed: impl FnOnce(io::Error) -> CarrierError,
    ) -> Result<(), CarrierError> {
        match self {
            Self::Here(bytes) => output.write_all(bytes).map_err(failed),
            Self::Stored(descriptor) => copy_blob(blobs, descriptor, output).map_err(|error| match error {
                CopyError::Read(error) => CarrierError::Blob(error),
                CopyError::Write(error) => failed(error),
            }),
        }
    }
}

/// One descriptor for each name; one without annotations if there is no name. A single image is annotated as buildx
/// does it, with its tag; several images share tags, and readers choose by this annotation alone.
fn descriptors(images: &[NamedImage<'_>]) -> Vec<Descriptor> {
    let mut descriptors = Vec::new();
    for NamedImage { image, names } in images {
        if names.is_empty() {
            descriptors.push(image.descriptor());
        }
        for name in names.iter().map(Reference::tagged) {
            let mut descriptor = image.descriptor();
            descriptor.annotations.insert(annotation::CONTAINERD_NAME.to_owned(), name.canonical());
            if let Some(tag) = name.tag() {
                let reference = if images.len() == 1 { tag.to_owned() } else { name.familiar() };
                descriptor.annotations.insert(annotation::REFERENCE_NAME.to_owned(), reference);
            }
            descriptors.push(descriptor);
        }
    }
    descriptors
}

/// Puts `descriptor` in the place of the one that has its name, else at the end.
fn merge(index: &mut Index, descriptor: Descriptor) {
    let name = |descriptor: &Descriptor| descriptor.annotations.get(annotation::CONTAINERD_NAME).cloned();
    let new_name = name(&descriptor);
    let is_same = |old: &Descriptor| match (&name(old), &new_name) {
        (None, None) => old.digest == descriptor.digest && old.annotations.is_empty(),
        (old, new) => old == new,
    };
    match index.manifests.iter().position(is_same) {
        Some(place) => index.manifests[place] = descriptor,
        None => index.manifests.push(descriptor),
    }
}

/// The index of the layout in `folder`; a new one if the folder is empty.
fn read_layout(folder: &Path) -> Result<Index, CarrierError> {
    let failed = |source| CarrierError::Write { path: folder.to_owned(), source };
    match fs::read(folder.join(LAYOUT_FILE)) {
        Ok(bytes) => {
            let layout: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
            if layout.is_none_or(|layout| layout["imageLayoutVersion"] != "1.0.0") {
                return Err(CarrierError::NotALayout { path: folder.to_owned() });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // All that a killed first attempt can have left before the version is there.
            let leftover = format!(".{LAYOUT_FILE}.");
            for entry in fs::read_dir(folder).map_err(failed)? {
                if !entry.map_err(failed)?.file_name().as_encoded_bytes().starts_with(leftover.as_bytes()) {
                    return Err(CarrierError::NotALayout { path: folder.to_owned() });
                }
            }
        }
        Err(error) => return Err(failed(error)),
    }
    let path = folder.join(INDEX_FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| CarrierError::Index { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::default()),
        Err(error) => Err(failed(error)),
    }
}

/// Whether `path` is that blob already.
fn is_whole(path: &Path, digest: Digest, size: u64) -> bool {
    struct Folder<'a>(&'a Path);
    impl BlobSource for Folder<'_> {
        fn open(&self, _: &Digest) -> io::Result<Box<dyn io::Read + Send>> {
            Ok(Box::new(File::open(self.0)?))
        }
    }
    let descriptor = Descriptor::new(media_type::LAYER_TAR, digest, size);
    BlobReader::open(&Folder(path), &descriptor).is_ok_and(|reader| reader.finish().is_ok())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CarrierError> {
    let failed = |source| CarrierError::Write { path: path.to_owned(), source };
    let mut file = PendingFile::create(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.commit().map_err(failed)
}
