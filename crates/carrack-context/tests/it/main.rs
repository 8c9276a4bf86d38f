//! The crate through its public API, on the real file system.
// Clippy's permission for tests does not reach the functions that they call.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod fixture;

mod cache;
mod changes;
mod context;
mod links;
mod walk;
