//! What docs/troubleshooting.md quotes and claims is what users see.

use std::fs;
use std::path::Path;

use carrack_testkit::{Docker, Program, has_program, skipped};

use crate::scene::new_folder;
use crate::stage::{SYSTEM, dockyard_folder};

const PAGE: &str = include_str!("../../../../docs/troubleshooting.md");

/// Fails unless the page quotes this error.
#[track_caller]
pub(crate) fn assert_quoted(error: &str) {
    assert!(PAGE.contains(error.trim()), "docs/troubleshooting.md does not quote: {error}");
}

/// A context whose Dockerfile lists a cache mount, leaves a mark in it and repeats the argument.
fn marking_context(folder: &Path) {
    fs::create_dir_all(folder.join("context")).unwrap();
    fs::copy("/bin/busybox", folder.join("context/busybox")).unwrap();
    let shell = "[\"/busybox\",\"sh\",\"-c\",\"/busybox ls /c; /busybox touch /c/mark; echo said $SAY\"]";
    let dockerfile = format!(
        "FROM scratch\nCOPY busybox /\nARG SAY\nRUN --mount=type=cache,id=troubleshooting,target=/c {shell}\n"
    );
    fs::write(folder.join("context/Dockerfile"), dockerfile).unwrap();
}

#[test]
fn what_the_commands_do_with_cache_mounts() {
    const TEST: &str = "what_the_commands_do_with_cache_mounts";
    if !has_program("busybox") {
        return skipped(TEST, "busybox-static is not installed");
    }
    let Some(engine) = Docker::start(TEST, &dockyard_folder()) else { return };
    let folder = new_folder();
    marking_context(folder.path());
    let docker = |buildkit: &str, arguments: &[&str]| {
        let client = Program::new("/usr/bin/docker").in_clean_environment();
        let client = client.with_env("DOCKER_HOST", engine.host()).with_env("PATH", SYSTEM);
        let client = client.with_env("HOME", folder.path()).with_env("DOCKER_BUILDKIT", buildkit);
        client.run(folder.path(), arguments)
    };
    // Whether the mount had the mark of an earlier build.
    let was_marked = |say: &str, options: &[&str]| {
        let say = format!("SAY={say}");
        let arguments = ["build", "--progress", "plain", "--network", "none", "--build-arg", &say];
        let built = docker("1", &[&arguments[..], options, &["context"]].concat()).expect_code(0).stderr;
        assert!(built.contains(" said "), "{built}");
        built.lines().any(|line| line.ends_with(" mark"))
    };
    assert!(!was_marked("a", &[]));
    assert!(was_marked("b", &[]), "cache mounts are kept");
    assert!(!was_marked("c", &["--no-cache"]), "a full rebuild starts with empty mounts");
    assert!(was_marked("d", &[]));
    docker("1", &["builder", "prune", "--all", "--force"]).expect_code(0);
    assert!(!was_marked("e", &[]), "prune takes mounts too");

    let off = docker("", &["build", "context"]).expect_code(1);
    assert_quoted(off.stderr.lines().last().unwrap());
    let other = Path::new("/usr/local/bin/docker");
    if other.exists() {
        let client = Program::new(other).in_clean_environment().with_env("DOCKER_HOST", engine.host());
        let client = client.with_env("HOME", folder.path()).with_env("DOCKER_BUILDKIT", "1");
        let refused = client.run(folder.path(), &["build", "context"]);
        if refused.stderr.contains("buildx") {
            assert_quoted(refused.stderr.lines().next().unwrap());
        }
    }
}
