//! Compiled units of cargo: immutable folders of files, each with a row in the index that says what it is.
//!
//! ```text
//! <root>/units/<2>/<id>/…   a unit's files, at their paths below cargo's target folder (`release/deps/libx-1.rlib`)
//! <root>/seeds/<id>/…       many units as one folder, by hard links: what an overlay has below it; the name is the digest
//!                           of the units' ids
//! ```
//!
//! A unit's folder is made aside and renamed into place, then its row is written. A folder without a row is removed by the
//! next pruning; a row without a folder counts as missing, and goes. Files are not synced one by one: a row says in which
//! boot of the machine it was written, and in a later one the files are compared with their digests before they are used
//! for the first time.
//!
//! Times are constants. A file is dated [`UnitAge::Old`] or [`UnitAge::New`], so that cargo, which compares times, finds a
//! unit older than everything that it compiles now, or newer than every source; what a build script made is always old.
//!
//! Does not know what a unit is good for: its record is its maker's. Fails with [`StoreError`]; a unit that is missing or
//! damaged is no failure, it is reported.

mod place;
mod prune;
mod rows;

pub use place::{Planted, Seed};
pub use prune::{PruneRule, Pruned};
pub(crate) use rows::SCHEMA;
pub use rows::{UnitRow, UnitUse};

use std::path::PathBuf;

use carrack_base::{ContentDigest, UnitFile};

/// A unit that is to be kept.
#[derive(Debug, Clone)]
pub struct NewUnit {
    /// Its name from now on.
    pub id: ContentDigest,
    /// What it can be used with.
    pub realm: ContentDigest,
    /// Package and version (`serde 1.0.229`).
    pub package: String,
    /// The workspace that it was made for.
    pub workspace: String,
    /// Whatever its maker wants to know about it.
    pub record: Vec<u8>,
    /// Its files.
    pub files: Vec<UnitFile>,
    /// The units that have to be there with it.
    pub needs: Vec<ContentDigest>,
    /// How its files are dated.
    pub age: UnitAge,
    /// The folder, relative to `from`, whose files are dated old whatever `age` says.
    pub out_dir: Option<String>,
    /// The folder that its files lie in.
    pub from: PathBuf,
}

/// How a unit's files are dated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitAge {
    /// Older than anything that is compiled today.
    Old,
    /// Newer than any source.
    New,
}

/// How the files of a unit get into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taking {
    /// They are no longer needed where they are.
    Move,
    /// They stay where they are, and may be written to later.
    Copy,
}
