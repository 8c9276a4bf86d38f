//! `carrack cache`: what is kept, what goes when, and that nothing goes that is in use.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use carrack_testkit::Project;
use serde_json::Value;

use crate::cargo::{MEMBERS, Yard, workspace};
use crate::stage::Stage;

/// The lines of `carrack cache du`.
fn du(yard: &Yard, by: &str) -> Vec<Value> {
    let said = yard.carrack(Path::new("/"), &["cache", "du", "--by", by, "--format", "json"]).expect_code(0);
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn line<'l>(lines: &'l [Value], name: &str) -> &'l Value {
    lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name} in {lines:?}"))
}

#[test]
fn what_is_kept_is_added_up() {
    let (yard, project) = (Yard::new(), workspace());
    let empty = yard.carrack(Path::new("/"), &["cache", "du"]).expect_code(0).stdout;
    assert_eq!(empty.lines().count(), 8, "{empty}");
    let kept = yard.cargo(&project, &["build"]).units.1;
    let root = project.path().to_str().unwrap();
    let by_workspace = du(&yard, "workspace");
    assert_eq!(line(&by_workspace, root)["units"], kept);
    let size = line(&by_workspace, root)["size"].as_u64().unwrap();
    assert!(size > 1_000_000);
    for name in ["compiled units", "total"] {
        assert_eq!(line(&by_workspace, name)["size"], size);
        assert_eq!(line(&by_workspace, name)["count"], kept);
    }
    let by_crate = du(&yard, "crate");
    let name = |line: &Value| line["name"].as_str().unwrap().to_owned();
    let libc = by_crate.iter().map(name).find(|name| name.starts_with("libc ")).unwrap();
    assert_eq!(line(&by_crate, &libc)["units"], 3, "its build script, that one's run and the library");
    assert_eq!(line(&du(&yard, "age"), "today")["units"], kept);
    let table = yard.carrack(Path::new("/"), &["cache", "du"]).expect_code(0).stdout;
    assert!(table.contains(root) && table.contains("LAST USED") && table.contains("today"), "{table}");

    let said = yard.carrack(Path::new("/"), &["cache", "prune"]).expect_code(0).stdout;
    assert_eq!(said, "freed 0 B (0 units, 0 layers, 0 cache mounts, 0 build folders, 0 blobs)\n");
    let said =
        yard.carrack(Path::new("/"), &["cache", "prune", "--filter", "package=libc"]).expect_code(0).stdout;
    assert!(said.starts_with("freed ") && said.contains("(3 units, "), "{said}");
    fs::remove_dir_all(project.path().join("target")).unwrap();
    let ran = yard.cargo(&project, &["build"]).expect_compiled(&["libc", "member", "program"]);
    assert_eq!(ran.units, (kept - 3, 3));

    let half = (size / 2).to_string();
    yard.carrack(Path::new("/"), &["cache", "prune", "--keep-storage", &half]).expect_code(0);
    let left = line(&du(&yard, "crate"), "compiled units")["size"].as_u64().unwrap();
    assert!(left <= size / 2 && left > 0, "{left} of {size}");
    yard.carrack(Path::new("/"), &["cache", "prune", "--filter", "workspace=elsewhere"]).expect_code(0);
    assert_eq!(line(&du(&yard, "crate"), "compiled units")["size"], left);
    yard.carrack(Path::new("/"), &["cache", "prune", "--all"]).expect_code(0);
    assert_eq!(line(&du(&yard, "crate"), "compiled units")["count"], 0);
    // What was linked into target folders stays there.
    yard.cargo(&project, &["build"]).expect_fresh();
}

#[test]
fn filters_and_sizes_that_make_no_sense_are_refused() {
    let yard = Yard::new();
    for (arguments, words) in [
        (&["--filter", "color=red"][..], "cannot filter by `color=red`"),
        (&["--filter", "until=soon"], "cannot understand `soon` for --filter until"),
        (&["--keep-storage", "much"], "cannot understand `much` for --keep-storage"),
        (&["--builder", "x"], "--builder has no meaning for the embedded engine"),
    ] {
        let prune = [&["cache", "prune"], arguments].concat();
        yard.carrack(Path::new("/"), &prune).expect_code(2).expect_stderr(words).expect_stderr("hint: ");
    }
}

#[test]
fn build_folders_go_with_their_workspace_and_blobs_with_their_image() {
    let stage = Stage::app();
    stage.build(&[]);
    let cache = |arguments: &[&str]| stage.run(&[&["cache"], arguments].concat()).expect_code(0).stdout;
    let count = |name: &str| {
        let lines: Vec<Value> = cache(&["du", "--format", "json"])
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        line(&lines, name)["count"].as_u64().unwrap()
    };
    assert_eq!((count("build folders"), count("cargo homes")), (1, 1));
    assert!(count("images' blobs") >= 4);
    assert_eq!(
        cache(&["prune"]),
        "freed 0 B (0 units, 0 layers, 0 cache mounts, 0 build folders, 0 blobs)\n"
    );
    // Of a workspace that is still there, but was not built for long.
    let targets = stage.home.path().join("targets");
    let folder = fs::read_dir(targets).unwrap().next().unwrap().unwrap().path();
    let long_ago = SystemTime::now() - Duration::from_secs(100 * 60 * 60);
    fs::File::options().write(true).open(folder.join("lock")).unwrap().set_modified(long_ago).unwrap();
    assert!(cache(&["prune", "--filter", "until=200h"]).contains("0 build folders"));
    assert!(cache(&["prune", "--filter", "until=72h"]).contains("1 build folder,"));
    assert_eq!(count("build folders"), 0);
    stage.build(&["--no-cache"]);
    assert_eq!(count("build folders"), 1);
    fs::rename(stage.path().join("Cargo.toml"), stage.path().join("away")).unwrap();
    assert!(cache(&["prune"]).contains("1 build folder,"));
    fs::rename(stage.path().join("away"), stage.path().join("Cargo.toml")).unwrap();
    stage.build(&[]);
    cache(&["prune", "--all"]);
    assert_eq!((count("build folders"), count("compiled units")), (0, 0));
    // The image itself is still whole.
    assert_eq!(stage.run(&["run", "app"]).expect_code(0).stdout, "hello\n");
    stage.build(&[]);
}

#[test]
fn limits_of_the_configuration_are_kept_after_builds_that_did_something() {
    let (yard, project) = (Yard::new(), workspace());
    let all = yard.cargo(&project, &["build"]).units.1;
    project.write("carrack.toml", "cache = { keep = \"1MB\", unused = \"2d\" }\n");
    yard.cargo(&project, &["build"]).expect_fresh();
    assert_eq!(line(&du(&yard, "crate"), "compiled units")["count"], all);
    yard.cargo(&project, &["build", "--release"]);
    assert!(line(&du(&yard, "crate"), "compiled units")["size"].as_u64().unwrap() <= 1_000_000);
    yard.cargo(&project, &["build"]).expect_fresh();
    fs::remove_file(project.path().join("carrack.toml")).unwrap();
    fs::remove_dir_all(project.path().join("target")).unwrap();
    let ran = yard.cargo(&project, &["build"]);
    assert!(ran.compiled.len() > 10, "{ran:?}");
    fs::remove_dir_all(project.path().join("target")).unwrap();
    yard.cargo(&project, &["build"]).expect_compiled(&MEMBERS);
    // A configuration of another shape is refused where it counts.
    let project = Project::binary("app", "hello");
    project.write("carrack.toml", "cache = { keep = \"much\" }\n");
    yard.carrack(project.path(), &["build"]).expect_code(2).expect_stderr("is not a size");
}
