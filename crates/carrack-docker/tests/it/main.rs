//! What people write for Docker, against the programs whose files it is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod checks;
mod claims;
mod compose;
mod differential;
mod docker_checks;
mod dockerfile;
mod expand;
mod grammar;
mod hostile;
mod lower;
mod pages;
