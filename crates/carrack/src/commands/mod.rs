//! One module for each command.

pub(crate) mod build;
pub(crate) mod completions;
pub(crate) mod images;
pub(crate) mod rm;
pub(crate) mod run;

use std::io::Write;
use std::path::PathBuf;

use crate::failure::Failure;

/// Writes a result to standard output. A reader that went away has read enough.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|source| Failure::Io {
            action: "write",
            path: PathBuf::from("standard output"),
            source,
        }),
    }
}
