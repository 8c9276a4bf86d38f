//! Reads what people write for Docker.
//!
//! Owns the syntax of Dockerfiles ([`dockerfile`]), which files a `.dockerignore` leaves out ([`dockerignore`]), and
//! what is wrong with a Dockerfile that builds Rust ([`check`]).
//!
//! It reads no file and starts nothing: texts are handed in, and with them what is known about their surroundings.
//! Each module has its own error type, whose variants carry facts; the words for the user are the command line's.

pub mod check;
pub mod dockerfile;
pub mod dockerignore;
