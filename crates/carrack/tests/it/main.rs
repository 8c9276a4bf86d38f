//! `carrack` from outside: the program itself, in real workspaces.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod engines;
mod freshness;
mod published;
mod rustcare;
mod scene;
