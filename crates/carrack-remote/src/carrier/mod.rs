//! The three kinds of places, behind one set of verbs. None of them knows of breakers, signatures or names' rules.

mod bucket;
mod folder;
mod registry;

use std::io::Read;
use std::time::Instant;

use crate::error::Trouble;
use crate::wire::WireEntry;
use crate::{Access, BlobInfo, Limits, Location, Upload};

/// A place that holds blobs and entries.
#[derive(Clone)]
pub(crate) enum Carrier {
    Registry(registry::Registry),
    Bucket(bucket::Bucket),
    Folder(folder::Folder),
}

impl Carrier {
    pub(crate) fn open(location: &Location, access: &Access, limits: &Limits) -> Result<Self, Trouble> {
        Ok(match location {
            Location::Registry { reference } => {
                Self::Registry(registry::Registry::open(reference, access, limits)?)
            }
            Location::S3 { .. } => Self::Bucket(bucket::Bucket::open(location, access, limits)?),
            Location::Folder { path } => Self::Folder(folder::Folder::open(path, limits)),
        })
    }

    pub(crate) fn with_deadline(&self, deadline: Option<Instant>) -> Self {
        match self {
            Self::Registry(registry) => Self::Registry(registry.with_deadline(deadline)),
            Self::Bucket(bucket) => Self::Bucket(bucket.with_deadline(deadline)),
            Self::Folder(folder) => Self::Folder(folder.with_deadline(deadline)),
        }
    }

    /// Names of entries that begin with `prefix`, and perhaps others.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>, Trouble> {
        match self {
            Self::Registry(registry) => registry.names(),
            Self::Bucket(bucket) => bucket.names(prefix),
            Self::Folder(folder) => folder.names(),
        }
    }

    pub(crate) fn entry(&self, name: &str) -> Result<Option<WireEntry>, Trouble> {
        match self {
            Self::Registry(registry) => registry.entry(name),
            Self::Bucket(bucket) => bucket.entry(name),
            Self::Folder(folder) => folder.entry(name),
        }
    }

    /// The bytes of a blob, verified while they are read; `None` if it is not there.
    pub(crate) fn blob(&self, blob: &BlobInfo) -> Result<Option<Box<dyn Read + Send>>, Trouble> {
        match self {
            Self::Registry(registry) => registry.blob(blob),
            Self::Bucket(bucket) => bucket.blob(blob),
            Self::Folder(folder) => folder.blob(blob),
        }
    }

    /// Puts a blob unless it is there already; whether it was sent.
    pub(crate) fn put_blob(&self, upload: &Upload<'_>) -> Result<bool, Trouble> {
        match self {
            Self::Registry(registry) => registry.put_blob(upload),
            Self::Bucket(bucket) => bucket.put_blob(upload),
            Self::Folder(folder) => folder.put_blob(upload),
        }
    }

    /// Gives the name to an entry whose blobs are all there.
    pub(crate) fn put_entry(&self, name: &str, entry: &WireEntry) -> Result<(), Trouble> {
        match self {
            Self::Registry(registry) => registry.put_entry(name, entry),
            Self::Bucket(bucket) => bucket.put_entry(name, entry),
            Self::Folder(folder) => folder.put_entry(name, entry),
        }
    }

    /// Takes the name away; whether it was there.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, Trouble> {
        match self {
            Self::Registry(registry) => registry.remove(name),
            Self::Bucket(bucket) => bucket.remove(name),
            Self::Folder(folder) => folder.remove(name),
        }
    }
}
