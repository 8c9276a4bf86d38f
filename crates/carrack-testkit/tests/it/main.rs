//! The fixtures themselves, where they are more than a few lines: what they promise to other tests holds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod dockyard;
mod image;
