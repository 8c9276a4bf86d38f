//! Reads what people write for Docker.
//!
//! Owns the syntax of Dockerfiles ([`dockerfile`]), which files a `.dockerignore` leaves out ([`dockerignore`]), what is
//! wrong with a Dockerfile that builds Rust ([`check`]), what a Dockerfile has to be done ([`lower`]), and what a compose
//! file asks to be built ([`compose`]).
//!
//! Every text keeps its places ([`carrack_base::Span`]), so that an error can show the lines concerned. It starts and fetches
//! nothing, and reads neither environment nor home: callers hand in what such a file may ask for. Each module has its own
//! error type, whose variants carry facts; the words for the user are the command line's.

pub mod check;
pub mod compose;
pub mod dockerfile;
pub mod dockerignore;
pub mod lower;
