//! A layer on disk, and its ways there and back.
//!
//! A *snapshot* is a folder with the files of one layer, as overlayfs takes it for a lower folder when it is mounted with
//! `userxattr`. Once it is whole, nobody changes it. Beside it there is a [`Listing`], which says what is in it.
//!
//! | in the layer | in the folder | in the listing |
//! | --- | --- | --- |
//! | `.wh.NAME` | `NAME`, a character device 0/0; its folder has `user.overlay.origin`, empty | [`Kind::Whiteout`] |
//! | `.wh..wh..opq` in a folder | the folder's attribute `user.overlay.opaque` = `y` | `opaque` of [`Kind::Directory`] |
//! | everything else | itself | itself |
//!
//! ```text
//! blob ── unpack ──► folder + listing ── pack ──► blob
//!    an overlay's upper folder ── scan ──► listing
//! ```
//!
//! - **The listing says what is in the folder**, no more: what the folder could not take (a device node in a user
//!   namespace, an attribute that the file system does not have) is not in it, and is counted. So [`scan`] of a folder
//!   that [`unpack`] wrote gives the same listing.
//! - **Attributes that count** are `user.*`, `security.capability` and POSIX access lists, of files and folders only.
//!   What overlayfs notes for itself (`user.overlay.*`) and labels of this machine's security modules never count.
//! - **Folders that a layer does not declare** are 0755 and root's, as with docker, whatever lower layers say of them:
//!   a snapshot knows its own layer only. [`Unpacked::implied`] names them. For the same reason a path that leads
//!   through a symbolic link of a lower layer becomes a folder in the link's place.
//! - **The root's opacity** is in the listing, but overlayfs does not look at it: whoever mounts snapshots leaves out
//!   what is below one whose root is opaque.
//! - **Modification times** are in the folder and not in the listing.
//! - **Within one layer**, the later entry for a path replaces the earlier, and a deletion hides only what lower layers
//!   have, wherever in the layer it comes. A file that a folder then replaces hides lower files: that folder is opaque.
//!
//! A hostile layer can do no harm: paths are settled in memory with the links of the layer itself, and the folder is
//! written as [`crate::rootfs_dir`] does it, through `openat2`.
//!
//! Not here: where snapshots are kept, mounting them, and syncing them to the disk.
//!
//! Failure: [`SnapshotError`]. A folder that could not be filled is left half full, to be thrown away by whoever made it.
//! Source: OCI image-spec v1.1, "layer"; Linux `Documentation/filesystems/overlayfs.rst`.

mod error;
mod listing;
mod listing_bytes;
mod pack;
mod read_ahead;
mod scan;
mod unpack;

pub use error::SnapshotError;
pub use listing::{Entry, Kind, Listing};
pub use listing_bytes::MalformedListing;
pub use pack::pack;
pub use scan::scan;
pub use unpack::{Unpacked, unpack, unpack_layer};

/// What overlayfs calls an opaque folder's attribute when it is mounted with `userxattr`.
const OPAQUE_XATTR: &[u8] = b"user.overlay.opaque";

/// What a folder has that overlayfs has to look for deletions in, though no other layer may have that folder: there it
/// would show their names otherwise. Empty, it says nothing else.
const ORIGIN_XATTR: &[u8] = b"user.overlay.origin";

/// Whether an extended attribute belongs to a file, wherever it is, rather than to this machine.
fn counts(name: &[u8]) -> bool {
    (name.starts_with(b"user.") && !is_overlays(name))
        || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

/// Whether an extended attribute is what an overlay notes about itself.
fn is_overlays(name: &[u8]) -> bool {
    name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.")
}
