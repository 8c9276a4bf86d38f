//! Stands in for rustc where there is no sandbox: cargo runs this program as its `RUSTC_WRAPPER`, and it runs rustc (or
//! the wrapper that the user had) with `--remap-path-prefix` for every place that the sandbox would have fixed.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use carrack_cargo::tool::{REMAP_VARIABLE, WRAPPED_VARIABLE};

/// Runs rustc if cargo called this program in its place.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    let pairs = std::env::var(REMAP_VARIABLE).ok()?;
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if arguments.is_empty() {
        return None;
    }
    if let Some(wrapped) = std::env::var_os(WRAPPED_VARIABLE) {
        arguments.insert(0, wrapped);
    }
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]);
    // Not for questions (`rustc -vV`, `rustc -`): cargo's own fingerprints hold the answers.
    if arguments.iter().any(|argument| argument == "--crate-name") {
        command.args(pairs.lines().map(|pair| format!("--remap-path-prefix={pair}")));
    }
    command.env_remove(REMAP_VARIABLE).env_remove(WRAPPED_VARIABLE);
    let error = command.exec();
    let what = format!("cannot run {}: {error}\n", arguments[0].display());
    // cargo shows what it can read; the exit code says the rest.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), what.as_bytes());
    Some(ExitCode::FAILURE)
}
