//! The crate through its public API, with other processes beside it.
// Clippy's permission for tests does not reach the functions that they call.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod fixture;

mod blobs;
mod collect;
mod folders;
mod index;
mod processes;
mod trouble;
mod units;
