//! The crate's behaviour through its public API, against real files and the real cargo.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the functions that tests share are tests too")]

mod config;
mod fixture;
mod locate;
mod lower;
mod messages;
mod missing;
mod plan;
mod tool;
mod toolchain;
mod units;
