//! Everything that is checked without running a test. All checks run, even after one has failed.

use std::path::Path;
use std::process::Stdio;

use crate::cargo::{EXAMPLE_MANIFEST, cargo, succeeds};
use crate::tidy;

const CHECKS: &[&[&str]] = &[
    &["fmt", "--all", "--check"],
    &["fmt", "--all", "--check", "--manifest-path", EXAMPLE_MANIFEST],
    &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    &["clippy", "--manifest-path", EXAMPLE_MANIFEST, "--workspace", "--all-targets", "--", "-D", "warnings"],
];

/// Runs every check; whether all passed.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let mut passed = true;
    for arguments in CHECKS {
        let name = format!("cargo {}", arguments.join(" "));
        passed &= report(&name, succeeds(&mut cargo(root, arguments))?);
    }
    passed &= report("cargo xtask tidy", tidy::run(root)?);
    let mut installed = cargo(root, &["deny", "--version"]);
    if succeeds(installed.stdout(Stdio::null()).stderr(Stdio::null()))? {
        passed &= report("cargo deny check", succeeds(&mut cargo(root, &["deny", "check"]))?);
    } else {
        eprintln!("skipped: cargo deny check: cargo-deny is not installed");
    }
    Ok(passed)
}

fn report(name: &str, passed: bool) -> bool {
    eprintln!("{} {name}", if passed { "passed:" } else { "FAILED:" });
    passed
}
