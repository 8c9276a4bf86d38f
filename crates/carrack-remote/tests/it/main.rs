//! Shared caches in real places: a registry, a bucket and a folder, alone and behind a proxy that makes trouble.

// Clippy's permission for tests does not reach the functions that they call.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod fixture;
mod hostile;
mod packs;
mod places;
mod troubles;
mod trust;
