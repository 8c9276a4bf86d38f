use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carrack_base::{ContentDigest, Digest};

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store, or its index, was written by a newer version of this program.
    #[error("{path} is of format {found}, newer than {known}, the newest known here", path = path.display())]
    NewerFormat {
        /// The format file or the index.
        path: PathBuf,
        /// The number in it.
        found: u64,
        /// The newest number that this version reads.
        known: u64,
    },
    /// The format file holds no number.
    #[error("{path} is damaged: it should hold the number of the store's format", path = path.display())]
    DamagedFormat {
        /// The format file.
        path: PathBuf,
    },
    /// The index is not a database, or a damaged one. Without it the store starts anew; blobs that are still good are
    /// found again when they are made again.
    #[error("{path} is damaged; delete it to start with an empty index", path = path.display())]
    DamagedIndex {
        /// The index file, to be deleted together with its `-wal` and `-shm` neighbours.
        path: PathBuf,
        /// What SQLite said; `None` if the database is sound and not ours.
        #[source]
        source: Option<rusqlite::Error>,
    },
    /// The index can't be written by this user, or lies on a read-only file system.
    #[error("cannot write {path}", path = path.display())]
    ReadOnly {
        /// The index file.
        path: PathBuf,
    },
    /// A statement on the index failed.
    #[error("cannot {attempt} in the index {path}", path = path.display())]
    Index {
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// The index file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// No space, or no quota, is left on the file system.
    #[error("cannot {attempt} {path}: the disk is full", path = path.display())]
    DiskFull {
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// The file or folder.
        path: PathBuf,
    },
    /// A file or folder could not be made, read, locked or removed.
    #[error("cannot {attempt} {path}", path = path.display())]
    Io {
        /// What was attempted, beginning with a verb.
        attempt: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A blob is not in the store.
    #[error("blob {digest} is not in the store")]
    MissingBlob {
        /// Its digest.
        digest: Digest,
        /// Where it would be.
        path: PathBuf,
    },
    /// A blob's bytes do not have its digest. It was moved away, so that making it again heals the store.
    #[error("blob {digest} is corrupt; it was moved to {path}", path = path.display())]
    Corrupt {
        /// The digest that it should have.
        digest: Digest,
        /// Where it is now.
        path: PathBuf,
    },
    /// A name that can't be a folder of its own: empty, longer than 200 bytes, beginning with a dot, or with characters
    /// other than ASCII letters, digits, `.`, `_` and `-`.
    #[error("`{id}` cannot name a folder of the store")]
    BadId {
        /// The name.
        id: String,
    },
    /// A unit's file has a path that can't lie in the unit's folder: absolute, empty, with `.` or `..`, listed twice, or
    /// below a file or link of the same unit.
    #[error("`{file}` cannot lie in the folder of the unit {unit}")]
    BadUnitPath {
        /// The unit's id.
        unit: ContentDigest,
        /// The path as it was given.
        file: String,
    },
    /// A file that a unit should be kept with is not what its maker said: of another kind or size, or missing.
    #[error("{path} is not the file that the unit {unit} was made with", path = path.display())]
    UnitChanged {
        /// The unit's id.
        unit: ContentDigest,
        /// The file.
        path: PathBuf,
    },
    /// Other processes hold leases on the store.
    #[error("{path} is still held by running builds after {waited:?}", path = path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long they were waited for.
        waited: Duration,
    },
    /// The build was told to stop while it waited for a lock.
    #[error("stopped while waiting for {path}", path = path.display())]
    Cancelled {
        /// The lock file.
        path: PathBuf,
    },
}

impl StoreError {
    /// For `map_err`: `attempt` on `path` failed.
    pub(crate) fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { attempt, path: path.to_owned() }
            }
            _ => Self::Io { attempt, path: path.to_owned(), source },
        }
    }

    /// For `map_err`: `attempt` in the index at `path` failed.
    pub(crate) fn index(attempt: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        move |source| {
            let path = path.to_owned();
            match source.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                    Self::DamagedIndex { path, source: Some(source) }
                }
                Some(ErrorCode::DiskFull) => Self::DiskFull { attempt, path },
                Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
                _ => Self::Index { attempt, path, source },
            }
        }
    }
}
