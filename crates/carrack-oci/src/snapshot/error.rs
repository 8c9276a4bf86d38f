use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use carrack_base::Digest;

use crate::blob::BlobError;
use crate::rootfs::EntryProblem;

/// A layer that could not be brought into another form.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The layer's blob is missing or damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The layer is compressed in a way that is not known here.
    #[error("a layer of the media type `{media_type}` cannot be read")]
    MediaType {
        /// What it is.
        media_type: String,
    },
    /// The layer is no archive, or its blob can't be read.
    #[error("cannot read the layer as a tar archive")]
    Archive(#[source] io::Error),
    /// The layer's uncompressed bytes are not those that the configuration names.
    #[error("the layer holds {found}, and the configuration names {expected}")]
    DiffId {
        /// What the configuration names.
        expected: Digest,
        /// Digest of what is in it.
        found: Digest,
    },
    /// An entry of the layer has no place.
    #[error("cannot place {path} of the layer")]
    Entry {
        /// The entry's path, as the layer has it.
        path: String,
        /// Why.
        #[source]
        problem: EntryProblem,
    },
    /// The folder, or something in it, can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder, or something in it, can't be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file can't belong to its owner: this process has no such number to give.
    #[error("cannot give {} to {uid}:{gid}", path.display())]
    Owner {
        /// The file or folder.
        path: PathBuf,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// Something in the folder changed while it was read, or is not what the listing says.
    #[error("{} is not what it was: {problem}", path.display())]
    Changed {
        /// The file or folder.
        path: PathBuf,
        /// What differs.
        problem: &'static str,
    },
    /// A layer can't hold a file of this name, which would mean a deletion.
    #[error("{} cannot be in a layer: a name that begins with `.wh.` means a deletion there", path.display())]
    ReservedName {
        /// The file or folder.
        path: PathBuf,
    },
    /// The output refused the bytes.
    #[error("cannot write the layer")]
    Output(#[source] io::Error),
}

/// Names `path` of the snapshot `folder`, for errors.
pub(super) fn in_folder(folder: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { folder.to_owned() } else { folder.join(OsStr::from_bytes(path)) }
}
