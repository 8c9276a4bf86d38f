//! Builds with a real Docker daemon, through every client of it that this machine has.

#![allow(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

mod builds;
mod clients;
mod dock;
mod stops;
