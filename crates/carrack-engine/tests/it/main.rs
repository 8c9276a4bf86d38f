//! The engine through its public face: real sources, a real store, real sandboxed shell scripts.

#![allow(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

mod added;
mod artifacts;
mod build_folder;
mod learned;
mod shell;
mod steps;
mod stops;
mod workshop;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use carrack_testkit::{Program, has_program, skipped};

/// As root, all tests once more as someone else.
#[test]
fn ordinary_user() {
    const ID: u32 = 12345;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return;
    }
    if !has_program("setpriv") {
        return skipped("builds of an ordinary user", "setpriv of util-linux is missing");
    }
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let copy = |from: std::path::PathBuf, name: &str| {
        let to = folder.path().join(name);
        fs::copy(from, &to).unwrap();
        to
    };
    let tests = copy(std::env::current_exe().unwrap(), "tests");
    let helper = copy(workshop::helper(), "helper");
    Program::new(tests)
        .as_user(ID)
        .with_env(workshop::HELPER_VARIABLE, helper)
        .with_env("TMPDIR", folder.path())
        .with_env("HOME", folder.path())
        .run(folder.path(), &["--show-output", "--test-threads=2"])
        .expect_code(0);
}
