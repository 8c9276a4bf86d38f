//! One module for each command.

pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod cargo;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod compose;
pub(crate) mod doctor;
pub(crate) mod images;
pub(crate) mod init;
pub(crate) mod rm;
pub(crate) mod run;
mod upkeep;

use std::io::Write;
use std::path::PathBuf;

use carrack_oci::Ownership;

use crate::failure::Failure;

/// Who shall own what is unpacked: root gives files away, unless it is the root of a user namespace with a single id.
fn ownership() -> Ownership {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let ids: u64 = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum();
    if rustix::process::geteuid().is_root() && ids != 1 { Ownership::Recorded } else { Ownership::Caller }
}

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
