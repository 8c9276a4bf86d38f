//! `carrack_docker` against the programs whose files it reads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod compose;
