//! Patients and appointments in a SQLite file.
//!
//! [`Database`] is the only door to the file; it takes checked values and gives them back typed. It blocks, so an
//! asynchronous caller moves it to a thread of its own. It decides nothing that `rustcare-core` can decide, except
//! what only the stored rows can tell: addresses that are taken, hours that overlap. The tables come from a folder of
//! numbered SQL files ([`Database::migrate`]). Every failure is a [`StorageError`].

mod database;
mod error;
mod migration;

pub use database::{AppointmentFilter, Database, Page, Statistics};
pub use error::StorageError;
pub use migration::Migrated;
