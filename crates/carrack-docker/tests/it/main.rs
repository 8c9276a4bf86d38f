//! Dockerfiles as people write them, and as nobody does.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod checks;
mod claims;
mod differential;
mod dockerfile;
mod expand;
mod hostile;
mod pages;
