//! Reads a Cargo workspace: what is built, from which inputs, into which images.
//!
//! Owns everything that Carrack knows about cargo: where a workspace is ([`locate`]), how it is configured
//! ([`config`]), which services come out of it and by which command line ([`plan`]), what cargo says while it runs
//! ([`messages`]), what the build turned out to depend on ([`discovered`]), which compiled
//! units can be used again ([`units`]), which variables it may see
//! ([`environment`]), which toolchain runs it ([`toolchain`]), what a failure means ([`missing`]), and how the same plan is
//! written down for Docker ([`init`]).
//!
//! It never starts a process, never reads the environment, never caches and never writes: command lines are handed
//! out as data, variables are asked of the caller, and files are only read. Each module has its own error type, whose
//! variants carry facts; the words for the user are the command line's.

pub mod called;
mod cargo_config;
pub mod config;
mod crates_io;
pub mod discovered;
pub mod environment;
pub mod init;
pub mod line;
pub mod locate;
pub mod lower;
pub mod messages;
pub mod missing;
mod pattern;
pub mod plan;
pub mod tool;
pub mod toolchain;
pub mod units;
