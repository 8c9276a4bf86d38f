//! Units: what cargo compiled, one folder each, kept to be put under or into another build's target folder.
//!
//! ```text
//! <root>/units/<2>/<64hex>/…   a unit's files at their paths in cargo's target folder (`release/deps/libx-1.rlib`)
//! <root>/seeds/<64hex>/…       the files of many units as hard links
//!
//! table unit   one row per unit, written in the same transaction in which its folder gets its name
//! table seed   one row per seed: which units are in it, when it was used
//! ```
//!
//! Owns: those folders and rows, the constant modification times that make cargo take a unit for fresh, and that a unit
//! never leaves before the units that need it. Does not know what a realm or a record is, which units fit a build, or
//! whether cargo will like them.
//!
//! | file | modification time | mode |
//! | --- | --- | --- |
//! | of a unit of age [`UnitAge::Ran`], below a component `out` that is below `build/<dir>` | [`UnitAge::Old`] | 0755 if executable, else 0644 |
//! | any other | the unit's [`UnitAge`] | the same |
//!
//! How it holds with many processes: a unit's folder is made in a scratch folder. It gets its name inside of the
//! transaction that writes its row, so SQLite's lock is the one that decides between two keepers of the same unit. It
//! loses its name the same way. So outside of a transaction a folder without a row is what a crash left: the next keeper
//! replaces it, and whoever collects or prunes removes it. A row without a folder is a unit that is missing.
//!
//! How it holds after a power failure: files are not synced one by one. The row names the boot of the machine in which
//! they were written, and once the machine was started anew, the first use reads them through. What does not have its
//! digest is forgotten. A seed's name contains the boot, so none outlives it.
//!
//! Fails with [`crate::StoreError`]; that a unit is missing or damaged is never an error, but an answer.

mod files;
mod place;
mod plan;
mod plant;
mod prune;
mod rows;
mod seed;
mod target;
pub(crate) mod verify;

pub use place::{NewUnit, Taking, UnitAge};
pub use plant::Planted;
pub use prune::{PruneRule, Pruned};
pub use rows::{UnitRow, UnitUsage};
pub use seed::Seed;
pub use target::UnitsFolder;

pub(crate) use rows::SCHEMA;
