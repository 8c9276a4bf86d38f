//! Everything that Carrack keeps on disk, below one versioned root.
//!
//! ```text
//! <root>/CACHEDIR.TAG              so that backups leave the store out
//! <root>/format                    "1\n": the layout's version; written last when a store is created
//! <root>/lock                      flock: exclusive to create and to collect, shared by leases
//! <root>/index.db                  SQLite: what is known about blobs, images, steps and units
//! <root>/blobs/sha256/<2>/<hex>    immutable; the name is the digest
//! <root>/blobs/sha256/<2>/<hex>.corrupt   a blob that failed its digest, until the next collection
//! <root>/units/<2>/<64hex>/…       a compiled unit's files, at their places in cargo's target folder; immutable
//! <root>/seeds/<64hex>/…           many units as one folder of hard links, to lie under an overlay; immutable
//! <root>/snapshots/<2>/<64hex>/…   a layer of a root file system as a folder; see `snapshots`
//! <root>/mounts/<64hex>/…          folders that steps mount and that outlive them; see `mounts`
//! <root>/stat/<id>                 stat caches; only their place is given here
//! <root>/targets/<id>/lock         flock: one build at a time; holds the holder's process id
//! <root>/targets/<id>/…            a workspace's build folder; its content is the holder's own
//! <root>/cargo/<id>/               a CARGO_HOME; cargo locks it itself
//! <root>/scratch/<pid>-<n>/lock    flock: held by the process that the folder belongs to
//! <root>/scratch/<pid>-<n>/…       temporary; whoever finds it unheld removes it
//! ```
//!
//! Owns: that layout, and that many processes use it at once. A blob is written to a scratch folder, synced, and renamed
//! into its place; then the index names it, in one [`Batch`], last. So a crash loses at most what was in flight: a
//! scratch folder that the next [`Lease`] removes, or a blob that no row names and the next [`Store::collect`] takes. After
//! a power failure the index may lack its last batches (SQLite's `synchronous=NORMAL`), or name a blob whose rename was
//! lost; a missing blob is an ordinary answer, and a build makes it again.
//!
//! A unit's files are too many to be synced one by one. Its row says in which boot of the machine they were written; in
//! any other they are verified before they are used for the first time. See [`Store::keep_units`].
//!
//! Locks are taken in this order, each at most once: a target folder's, or mounted folders' by their names, then `lock`. A scratch folder's lock and SQLite's
//! own are held inside of these and never waited for while waiting for another. They are flocks: they go when their
//! process does, and when the last copy of their descriptor does, so a child that neither executes another program nor
//! closes its files keeps them.
//!
//! Deliberately not here: what the values in the index mean, which folder is the root, the network.
//!
//! Fails with [`StoreError`], whose every variant names the file or folder.

mod blobs;
mod collect;
mod error;
mod folders;
mod index;
mod mounts;
mod removal;
mod root;
mod scratch;
mod snapshots;
mod units;
mod usage;

pub use blobs::BlobWriter;
pub use collect::{Collected, Lease};
pub use error::StoreError;
pub use folders::TargetFolder;
pub use index::{Batch, Bucket, EntryRow, ImageRow};
pub use mounts::{Hold, MountFolder, MountUsage};
pub use scratch::Scratch;
pub use snapshots::Snapshot;
pub use units::{
    NewUnit, Planted, PruneRule, Pruned, Seed, Taking, UnitAge, UnitRow, UnitUsage, UnitsFolder,
};
pub use usage::FolderUsage;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use index::Index;

/// An open store. Threads may share it; another process opens its own.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    index: Index,
    /// Where blobs are written until they are whole; made for the first one.
    incoming: OnceLock<Scratch>,
}

impl Store {
    /// Opens the store at `root` and creates it if there is none. Many processes may do so at once.
    ///
    /// Opening an existing store reads the format file and opens the index, nothing else.
    ///
    /// Errors: [`StoreError::NewerFormat`], [`StoreError::DamagedFormat`], [`StoreError::DamagedIndex`],
    /// [`StoreError::ReadOnly`], or [`StoreError::Io`] and [`StoreError::DiskFull`] for the folder or file that could
    /// not be made or read.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let index = match root::check_format(root)? {
            true if root.join(index::FILE).exists() => Index::open(root)?,
            _ => root::create(root)?,
        };
        Ok(Self { root: root.to_owned(), index, incoming: OnceLock::new() })
    }

    /// The root, as it was given.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
