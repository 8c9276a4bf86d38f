//! The store's blobs, as the carriers want them.

use std::io::{self, Read};

use carrack_base::Digest;
use carrack_oci::wire::{Descriptor, media_type};
use carrack_oci::{BlobSource, Image};
use carrack_store::{ImageRow, Store};

use crate::failure::Failure;

/// Reads blobs from a store.
pub(crate) struct Blobs<'a>(pub(crate) &'a Store);

impl BlobSource for Blobs<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        let file =
            self.0.open_blob(digest).map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
        Ok(Box::new(file))
    }
}

/// Reads the image with this manifest.
pub(crate) fn image(store: &Store, manifest: &Digest) -> Result<Image, Failure> {
    let bytes = store.read_blob_verified(manifest)?;
    let descriptor = Descriptor::new(media_type::MANIFEST, *manifest, bytes.len() as u64);
    Ok(Image::read(&Blobs(store), &descriptor)?)
}

/// The image that a person means by `name`: a name with or without a tag, or the beginning of an id.
pub(crate) fn find(store: &Store, name: &str) -> Result<ImageRow, Failure> {
    let reference = name.parse::<carrack_oci::Reference>().ok();
    if let Some(row) =
        reference.map(|reference| store.image(&reference.tagged().to_string())).transpose()?.flatten()
    {
        return Ok(row);
    }
    let mut by_digest = store.images_by_digest_prefix(name)?;
    if by_digest.is_empty() {
        // docker's id of an image is its configuration's digest.
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        for row in store.images()? {
            let config = image(store, &row.manifest)?.manifest().config.digest;
            if digits.len() >= 4 && config.hex().starts_with(digits) {
                by_digest.push(row);
            }
        }
    }
    let first = by_digest.first().cloned();
    match first {
        None => {
            let known = store.images()?.into_iter().map(|row| row.name).collect();
            Err(Failure::NoSuchImage { name: name.to_owned(), known })
        }
        Some(row) if by_digest.iter().all(|other| other.manifest == row.manifest) => Ok(row),
        Some(_) => Err(Failure::AmbiguousImage {
            name: name.to_owned(),
            images: by_digest.into_iter().map(|row| format!("{} ({})", row.name, row.manifest)).collect(),
        }),
    }
}
