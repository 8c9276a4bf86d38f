use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use carrack_cargo::discovered::{Discovered, ScriptRun, fingerprint_folders};
use carrack_cargo::messages::{CargoNews, StdoutParser};

use crate::fixture::{Fixture, package, run, succeeded};

fn fixture() -> Fixture {
    Fixture::new(&[
        ("ws/Cargo.toml", "[workspace]\nmembers = [\"app\"]\nresolver = \"2\"\n"),
        ("ws/app/Cargo.toml", &package("app", "[dependencies]\nout-side = { path = \"../../out-side\" }")),
        (
            "ws/app/src/main.rs",
            "const A: Option<&str> = option_env!(\"APP_NAME\");\nfn main() { println!(\"{} {:?}\", include_str!(\"a b.txt\"), A); }\n",
        ),
        ("ws/app/src/a b.txt", "text"),
        (
            "ws/app/build.rs",
            "fn main() {\n    println!(\"cargo:rerun-if-changed=../proto\");\n    println!(\"cargo::rerun-if-env-changed=GIT_HASH\");\n}\n",
        ),
        ("ws/proto/x.proto", ""),
        ("out-side/Cargo.toml", &package("out-side", "")),
        (
            "out-side/src/lib.rs",
            "pub const B: &str = match option_env!(\"LIB_NAME\") { Some(name) => name, None => \"\" };\n",
        ),
    ])
}

/// Builds with `arguments` before `build`, and returns what was discovered.
fn discover(fixture: &Fixture, arguments: &[&str]) -> Discovered {
    let root = fixture.path("ws");
    let command: Vec<String> = arguments
        .iter()
        .copied()
        .chain(["build", "--offline", "--message-format=json", "--target-dir"])
        .map(str::to_owned)
        .chain([fixture.path("target").to_str().unwrap().to_owned()])
        .collect();
    let output = succeeded(run(&root, &command, &[("APP_NAME", "a\nb\\c")]));
    let mut runs = Vec::new();
    let mut parser = StdoutParser::default();
    parser.push(&output.stdout, |news| {
        if let CargoNews::BuildScript { out_dir, .. } = news {
            runs.push(ScriptRun { out_dir, package_folder: root.join("app"), immutable: false });
        }
    });
    assert_eq!(runs.len(), 1);
    Discovered::collect(&fixture.path("target/debug"), &["app"], &root, &runs).unwrap()
}

fn check(fixture: &Fixture, discovered: &Discovered) {
    for file in ["ws/app/src/main.rs", "ws/app/src/a b.txt", "ws/proto", "out-side/src/lib.rs"] {
        assert!(discovered.files.contains(&fixture.path(file)), "{file}: {discovered:?}");
    }
    assert_eq!(discovered.env, BTreeSet::from(["APP_NAME", "GIT_HASH", "LIB_NAME"].map(str::to_owned)));
}

#[test]
fn everything_that_a_build_declares_is_discovered() {
    let fixture = fixture();
    check(&fixture, &discover(&fixture, &[]));

    let profile_folder = fixture.path("target/debug");
    let folders = fingerprint_folders(&profile_folder, "out-side").unwrap();
    assert_eq!(folders.len(), 1, "{folders:?}");
    assert!(fingerprint_folders(&profile_folder, "out").unwrap().is_empty(), "`out` is not `out-side`");
    assert_eq!(fingerprint_folders(&profile_folder, "app").unwrap().len(), 3);
    assert_eq!(fingerprint_folders(Path::new("/nowhere"), "app").unwrap(), Vec::<PathBuf>::new());
    check_that_it_compiles_again(&fixture, &[], folders);
}

#[test]
fn the_new_target_layout_is_understood() {
    let arguments = ["+nightly", "-Zbuild-dir-new-layout"];
    let probe = Command::new("cargo").args(arguments).arg("-V").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no nightly cargo to write the new target layout");
        return;
    }
    let fixture = fixture();
    check(&fixture, &discover(&fixture, &arguments));
    let folders = fingerprint_folders(&fixture.path("target/debug"), "out-side").unwrap();
    assert_eq!(folders.len(), 1, "{folders:?}");
    check_that_it_compiles_again(&fixture, &arguments, folders);
}

/// Deletes `folders`, which belong to `out-side`, and sees whether cargo compiles it although nothing has changed.
fn check_that_it_compiles_again(fixture: &Fixture, arguments: &[&str], folders: Vec<PathBuf>) {
    let build = || {
        let rest = ["build", "--offline", "--target-dir", "../target"];
        let command: Vec<String> = arguments.iter().copied().chain(rest).map(str::to_owned).collect();
        let output = succeeded(run(&fixture.path("ws"), &command, &[("APP_NAME", "a\nb\\c")]));
        String::from_utf8(output.stderr).unwrap().contains("Compiling out-side")
    };
    assert!(!build(), "nothing has changed yet");
    for folder in folders {
        std::fs::remove_dir_all(folder).unwrap();
    }
    assert!(build());
}
