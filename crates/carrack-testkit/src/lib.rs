//! Fixtures for the tests of the other crates: small projects on disk, and the program run on them.
//!
//! Failing to set a fixture up is a failing test, so everything here panics with the path concerned.

mod docker;
mod guarded;
mod http;
mod image;
mod program;
mod project;
mod proxy;
mod published;
mod registry;
#[cfg(feature = "s3")]
mod s3;

pub use docker::{Docker, RUST_IMAGE, SLIM_IMAGE, Steps, rust_files};
pub use guarded::Guarded;
pub use http::{Answer, ask, ask_until_it_answers, free_port};
pub use image::{Difference, FileLine, Image, compare};
pub use program::{Finished, Program, command_lines, find_program, has_program};
pub use project::Project;
pub use proxy::{Proxy, Trouble};
pub use published::published;
pub use registry::{BASIC_PASSWORD, BASIC_USER, ContainerRegistry, RegistrySetup};
#[cfg(feature = "s3")]
pub use s3::{S3_BUCKET, S3_KEY, S3_SECRET, S3Server};

/// Says in the test's output that something could not be tested here.
#[expect(clippy::print_stderr, reason = "a skipped test has to be seen")]
pub fn skipped(what: &str, why: &str) {
    eprintln!("skipped: {what}: {why}");
}
