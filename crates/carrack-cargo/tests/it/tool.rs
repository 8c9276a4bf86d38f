//! What the engine does with cargo's build folder, and how it runs cargo outside of a sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use carrack_base::{BuildEvent, StepId};
use carrack_cargo::tool::{CargoTool, PathPackage, REMAP_VARIABLE, WRAPPED_VARIABLE};
use carrack_graph::{Invalidation, Places, Tool};

fn tool() -> CargoTool {
    let package = |name: &str| PathPackage {
        name: name.to_owned(),
        folder: Path::new("/carrack/src").join(name),
        reads_undeclared: false,
    };
    CargoTool {
        workspace: PathBuf::from("/carrack/src"),
        packages: vec![package("core"), package("core-macros")],
        binaries: vec!["server".to_owned()],
        wrapper: PathBuf::from("/usr/bin/carrack"),
    }
}

fn places(target: &Path) -> Places {
    let pair = |inside: &str, host: &Path| (PathBuf::from(inside), host.to_owned());
    Places {
        pairs: vec![pair("/carrack/target", target), pair("/carrack/src", Path::new("/home/me/project"))],
    }
}

#[test]
fn fingerprints_of_every_profile_and_target_go() {
    let target = tempfile::tempdir().unwrap();
    let unit = |profile: &str, name: &str| {
        let folder = target.path().join(profile).join(".fingerprint").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("lib-core"), "").unwrap();
        folder
    };
    let gone = [
        unit("release", "core-0123456789abcdef"),
        unit("debug", "core-fedcba9876543210"),
        unit("aarch64-unknown-linux-gnu/release", "core-0123456789abcdef"),
    ];
    let stays = [
        unit("release", "core-macros-0123456789abcdef"),
        unit("release", "core-extra-0123456789abcdef"),
        unit("release", "core-0123"),
    ];
    let places = places(target.path());
    let unseen = BTreeSet::from([PathBuf::from("/carrack/src/core/src/lib.rs")]);
    tool().invalidate(&Invalidation { unseen, ..Invalidation::default() }, &places).unwrap();
    assert!(gone.iter().all(|folder| !folder.exists()));
    assert!(stays.iter().all(|folder| folder.exists()));
    tool().invalidate(&Invalidation::default(), &places).unwrap();

    // Nothing was built yet.
    fs::remove_dir_all(target.path()).unwrap();
    let unseen = BTreeSet::from([PathBuf::from("/carrack/src/Cargo.lock")]);
    tool().invalidate(&Invalidation { unseen, ..Invalidation::default() }, &places).unwrap();
}

#[test]
fn paths_are_hidden_outside_of_a_sandbox() {
    let mut env = BTreeMap::from([("RUSTC_WRAPPER".to_owned(), "sccache".to_owned())]);
    tool().run_outside(&mut env, &places(Path::new("/state/target")));
    assert_eq!(env[REMAP_VARIABLE], "/state/target=/carrack/target\n/home/me/project=/carrack/src");
    assert_eq!(
        (env["RUSTC_WRAPPER"].as_str(), env[WRAPPED_VARIABLE].as_str()),
        ("/usr/bin/carrack", "sccache")
    );
}

#[test]
fn the_transcript_is_the_end_of_what_was_said() {
    let mut observer = tool().observe(StepId(0));
    let events = |_: BuildEvent| {};
    for number in 0..20_000 {
        observer.stderr(format!("error: number {number}\n").as_bytes(), &events);
    }
    observer.close(&events);
    let transcript = observer.transcript();
    assert!(transcript.ends_with("error: number 19999\n"), "{}", &transcript[transcript.len() - 100..]);
    assert!((60 * 1024..=64 * 1024).contains(&transcript.len()), "{}", transcript.len());
}
