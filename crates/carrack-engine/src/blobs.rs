//! The store's blobs, as images read them.

use std::io::{self, Read};

use carrack_base::Digest;
use carrack_oci::BlobSource;
use carrack_store::Store;

/// Reads blobs from a store.
pub struct StoreBlobs<'a>(pub &'a Store);

impl BlobSource for StoreBlobs<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        let file =
            self.0.open_blob(digest).map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
        Ok(Box::new(file))
    }
}
