//! The store's blobs, as the carriers want them.

use std::time::Duration;

use carrack_base::Digest;
use carrack_engine::StoreBlobs;
use carrack_oci::Image;
use carrack_oci::wire::{Descriptor, media_type};
use carrack_store::{Collected, ImageRow, Store, StoreError};

use crate::failure::Failure;

/// Reads the image with this manifest.
pub(crate) fn image(store: &Store, manifest: &Digest) -> Result<Image, Failure> {
    let bytes = store.read_blob_verified(manifest)?;
    let descriptor = Descriptor::new(media_type::MANIFEST, *manifest, bytes.len() as u64);
    Ok(Image::read(&StoreBlobs(store), &descriptor)?)
}

/// Removes the blobs that no image refers to.
pub(crate) fn collect(store: &Store, patience: Duration) -> Result<Collected, StoreError> {
    store.collect(patience, |manifest| {
        let Ok(image) = image(store, manifest) else { return Ok(Vec::new()) };
        let layers = image.manifest().layers.iter().map(|layer| layer.digest);
        Ok(layers.chain([image.manifest().config.digest]).collect())
    })
}

/// The image that a person means by `name`: a name with or without a tag, or the beginning of an id.
pub(crate) fn find(store: &Store, name: &str) -> Result<ImageRow, Failure> {
    Ok(find_names(store, name)?.swap_remove(0))
}

/// The same; an id means all names of its image. There is always at least one.
pub(crate) fn find_names(store: &Store, name: &str) -> Result<Vec<ImageRow>, Failure> {
    let reference = name.parse::<carrack_oci::Reference>().ok();
    if let Some(row) =
        reference.map(|reference| store.image(&reference.tagged().to_string())).transpose()?.flatten()
    {
        return Ok(vec![row]);
    }
    let digits = name.strip_prefix("sha256:").unwrap_or(name).to_ascii_lowercase();
    let is_id = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut rows = store.images()?;
    let known: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
    if is_id {
        let mut meant = Vec::new();
        for row in rows {
            // docker's id of an image is its configuration's digest; other tools go by the manifest's.
            let is_meant = row.manifest.hex().starts_with(&digits)
                || image(store, &row.manifest)?.manifest().config.digest.hex().starts_with(&digits);
            if is_meant {
                meant.push(row);
            }
        }
        rows = meant;
    } else {
        rows.clear();
    }
    match rows.first() {
        None => Err(Failure::NoSuchImage { name: name.to_owned(), known }),
        Some(row) if rows.iter().all(|other| other.manifest == row.manifest) => Ok(rows),
        Some(_) => {
            let mut images = Vec::new();
            for row in rows {
                // The id that `carrack images` shows.
                let id = image(store, &row.manifest)?.manifest().config.digest;
                images.push(format!("{} ({id})", row.name));
            }
            Err(Failure::AmbiguousImage { name: name.to_owned(), images })
        }
    }
}
