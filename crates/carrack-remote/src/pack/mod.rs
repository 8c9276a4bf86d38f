//! Many compiled units in one blob, so that none of them costs a request.
//!
//! ```text
//! blob:   one zstd frame for each unit, back to back; it holds the bytes of the unit's files in the order of its list
//! index:  what lies where, in the entry's head: JSON under zstd ([`PackIndex::to_bytes`])
//! ```
//!
//! Links and empty folders have no bytes: they are in the index only. The same units in the same order give the same
//! bytes, whatever the number of threads.
//!
//! [`read()`] takes units out while the blob still comes in, on worker threads. It believes nothing:
//!
//! - a path leads nowhere but below the unit's folder: relative, without empty parts, `.`, `..` and NUL, no path twice, and
//!   none through a link or a file of the same unit. What a link says is written as it is and never followed;
//! - every file has the digest and the size of the index, and the frame ends with the last file;
//! - memory is bounded by [`FRAME_LIMIT`] for each frame at work. A frame is inflated as it is written, so one that swells
//!   does so up to the size that the index promises, on a disk.
//!
//! Failure: a bad unit is reported with its [`UnitError`] and keeps no other one out; what was written of it is removed.
//! An end of the blob before its time fails the units that had not come in.

mod index;
mod place;
mod read;
mod write;

pub use index::{IndexError, PackIndex, PackedFrame};
pub use read::{Failed, ReadOptions, UnitError, Unpacked, read};
pub use write::{LeftOut, PackError, PackedUnit, Written, write};

/// Bytes that a unit's frame may have, compressed.
pub const FRAME_LIMIT: u64 = 1 << 30;
