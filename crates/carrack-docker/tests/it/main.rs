//! What people write for Docker, against the programs whose files it is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod checks;
mod claims;
mod compose;
mod differential;
mod dockerfile;
mod expand;
mod hostile;
mod pages;
