//! The API over real sockets, and the program as a process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod process;
mod support;
