//! Caches that machines share: what one machine has built, another one does not build, and whatever happens to the cache,
//! the build ends well.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use carrack_testkit::{
    ContainerRegistry, Finished, Project, Proxy, RegistrySetup, S3_BUCKET, S3_KEY, S3_SECRET, S3Server,
    Trouble,
};

use crate::scene::{Built, Scene};

/// `app`, which depends on `shared`; every machine has a copy.
fn machine(project: &Project) -> Scene {
    Scene::new(project.copy())
}

fn number(number: u32) -> String {
    format!("pub const NUMBER: u32 = {number};\n")
}

/// Where a cache lies, and what keeps it there.
struct Place {
    location: String,
    kind: &'static str,
    _server: Box<dyn std::any::Any>,
}

fn places(folder: &Path) -> Vec<Place> {
    let mut places = vec![Place {
        location: format!("type=local,dest={}", folder.display()),
        kind: "folder",
        _server: Box::new(()),
    }];
    let s3 = S3Server::start();
    places.push(Place { location: bucket(s3.address()), kind: "s3", _server: Box::new(s3) });
    if let Some(registry) = ContainerRegistry::start(&RegistrySetup::Open) {
        let location = format!("type=registry,ref={}/acme/cache", registry.address());
        places.push(Place { location, kind: "registry", _server: Box::new(registry) });
    }
    places
}

fn bucket(address: &str) -> String {
    format!("type=s3,bucket={S3_BUCKET},endpoint_url=http://{address},use_path_style=true")
}

/// Gives the builds of a scene the keys of the test's bucket.
fn with_keys(mut scene: Scene) -> Scene {
    scene.set("AWS_ACCESS_KEY_ID", S3_KEY);
    scene.set("AWS_SECRET_ACCESS_KEY", S3_SECRET);
    scene
}

/// Names of the units that came from elsewhere, by where from.
fn origins(finished: &Finished) -> Vec<String> {
    let events =
        finished.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let origins = events.filter(|event| event["event"] == "unit").filter_map(|event| {
        let origin = event["origin"].as_str()?;
        Some(format!("{} {origin}", event["package"].as_str()?.split(' ').next()?))
    });
    origins.collect()
}

fn warnings(finished: &Finished) -> Vec<String> {
    let events =
        finished.stderr.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let warnings = events.filter(|event| event["event"] == "warning");
    warnings.filter_map(|event| Some(event["message"].as_str()?.to_owned())).collect()
}

#[test]
fn what_one_machine_built_another_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let project = Project::workspace(&["app"]);
    for place in places(folder.path()) {
        let (to, from) = (["--cache-to", &place.location], ["--cache-from", &place.location]);
        let first = with_keys(machine(&project));
        let built = first.build(&to);
        assert_eq!(built.compiled().len(), 2, "{}", place.kind);

        // The same inputs: one look finds the result, and cargo is not started.
        let second = with_keys(machine(&project));
        let again = second.build(&from);
        assert!(!again.ran_cargo(), "{}", place.kind);
        assert_eq!(again.digests(), built.digests(), "{}", place.kind);
        assert_eq!(second.says("app"), "app 1");

        // Another program: what it needs is there, and says where it came from.
        let third = with_keys(machine(&project));
        third
            .project
            .write("app/src/main.rs", "fn main() {\n    println!(\"edited {}\", shared::NUMBER);\n}\n");
        let finished = third.try_build(&from).expect_code(0);
        assert_eq!(
            Built::read(&finished).compiled().into_iter().collect::<Vec<_>>(),
            ["app"],
            "{}",
            place.kind
        );
        assert_eq!(origins(&finished), [format!("shared {}", place.kind)]);
        assert_eq!(third.says("app"), "edited 1");

        // Another library: nothing of the cache fits, and nothing of it is used.
        let fourth = with_keys(machine(&project));
        fourth.project.write("shared/src/lib.rs", &number(2));
        assert_eq!(fourth.build(&from).compiled().len(), 2, "{}", place.kind);
        assert_eq!(fourth.says("app"), "app 2");
    }
}

#[test]
fn a_unit_that_is_lost_here_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("type=local,dest={}", folder.path().display());
    let scene = machine(&Project::workspace(&["app"]));
    scene.build(&["--cache-to", &location]);
    for folder in fs::read_dir(scene.state().join("units")).unwrap() {
        fs::remove_dir_all(folder.unwrap().path()).unwrap();
    }
    scene.project.write("app/src/main.rs", "fn main() {\n    println!(\"edited {}\", shared::NUMBER);\n}\n");
    let finished = scene.try_build(&["--cache-from", &location]).expect_code(0);
    let compiled: Vec<String> = Built::read(&finished).compiled().into_iter().collect();
    assert_eq!(compiled, ["app"], "{}", finished.stderr);
    assert_eq!(origins(&finished), ["shared folder"]);
    assert_eq!(scene.says("app"), "edited 1");
}

#[test]
fn machines_that_publish_at_once_both_win() {
    let folder = tempfile::tempdir().unwrap();
    for place in places(folder.path()) {
        let to = ["--cache-to", &place.location];
        let projects = ["one", "two", "three"].map(|name| Project::workspace(&[name]));
        std::thread::scope(|scope| {
            for project in &projects {
                scope.spawn(move || with_keys(machine(project)).build(&to));
            }
        });
        for project in &projects {
            let scene = with_keys(machine(project));
            assert!(!scene.build(&["--cache-from", &place.location]).ran_cargo(), "{}", place.kind);
        }
    }
}

#[test]
fn trouble_costs_a_warning_and_a_bounded_time() {
    let Some(registry) = ContainerRegistry::start(&RegistrySetup::Open) else { return };
    let proxy = Proxy::start(registry.address());
    let location = format!("type=registry,ref={}/acme/cache", proxy.address());
    let project = Project::workspace(&["app"]);
    machine(&project).build(&["--cache-to", &location]);
    for (trouble, complains) in [
        (Trouble::None, false),
        (Trouble::HangUp, true),
        (Trouble::Stall(10), true),
        (Trouble::Cut(10), true),
        (Trouble::Corrupt(20), true),
        (Trouble::Answer("503 Service Unavailable\r\n"), true),
        (Trouble::Answer("401 Unauthorized\r\n"), true),
        (Trouble::Answer("507 Insufficient Storage\r\n"), true),
        (Trouble::Slow(100_000), false),
    ] {
        let scene = machine(&project);
        // Something else than what is published, so that compiled crates are looked for as well.
        scene
            .project
            .write("app/src/main.rs", "fn main() {\n    println!(\"edited {}\", shared::NUMBER);\n}\n");
        proxy.make(trouble);
        let began = Instant::now();
        let finished = scene.try_build(&["--cache-from", &location, "--cache-to", &location]).expect_code(0);
        let took = began.elapsed();
        assert_eq!(scene.says("app"), "edited 1", "{trouble:?}");
        let warnings = warnings(&finished);
        assert_eq!(!warnings.is_empty(), complains, "{trouble:?}: {warnings:?}");
        assert!(took < Duration::from_secs(60), "{trouble:?}: {took:?}");
    }
    // Nobody there at all.
    proxy.make(Trouble::None);
    drop(proxy);
    let scene = machine(&project);
    let finished = scene.try_build(&["--cache-from", &location]).expect_code(0);
    assert_eq!(warnings(&finished).len(), 1, "one warning: {}", finished.stderr);
    assert_eq!(scene.says("app"), "app 1");
}

#[test]
fn damaged_packs_are_left_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("type=local,dest={}", folder.path().display());
    let project = Project::workspace(&["app"]);
    machine(&project).build(&["--cache-to", &location]);
    let mut damaged = 0;
    for entry in walk(&folder.path().join("blobs")) {
        let mut bytes = fs::read(&entry).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(entry, bytes).unwrap();
        damaged += 1;
    }
    assert!(damaged > 0);
    let scene = machine(&project);
    let built = scene.build(&["--cache-from", &location]);
    assert_eq!(built.compiled().len(), 2);
    assert_eq!(scene.says("app"), "app 1");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn who_may_only_read_can_neither_write_nor_poison() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("type=local,dest={}", folder.path().display());
    let project = Project::workspace(&["app"]);
    let keys = machine(&project).program().run(project.path(), &["cache", "key"]).expect_code(0).stdout;
    let value = |prefix: &str| {
        let line = keys.lines().find_map(|line| line.strip_prefix(prefix)).unwrap();
        line.to_owned()
    };
    let (secret, public) = (value("CARRACK_CACHE_SIGNING_KEY="), value("cache-trust = "));
    project.write(
        "carrack.toml",
        &format!("cache-from = [\"{location}\"]\ncache-to = [\"{location}\"]\ncache-trust = {public}\n"),
    );

    // A job of a pull request: it may be told to write nothing.
    let mut untrusted = machine(&project);
    untrusted.set("CARRACK_CACHE", "read-only");
    untrusted.build(&[]);
    assert!(!folder.path().join("entries").exists());
    // If it writes all the same, nobody who trusts a key takes it.
    let poisoner = machine(&project);
    poisoner.build(&[]);
    assert!(folder.path().join("entries").exists());
    let mut careful = machine(&project);
    careful.set("CARRACK_CACHE_SIGNING_KEY", &secret);
    assert_eq!(careful.build(&[]).compiled().len(), 2);
    // What the owner of the key published is taken.
    assert!(!machine(&project).build(&[]).ran_cargo());

    let mut off = machine(&project);
    off.set("CARRACK_CACHE", "off");
    assert_eq!(off.build(&[]).compiled().len(), 2);
}

#[test]
fn locations_that_make_no_sense() {
    let scene = machine(&Project::workspace(&["app"]));
    for (location, words) in [
        ("type=registri,ref=a/b", "did you mean `registry`?"),
        ("type=s3,buckett=b", "did you mean `bucket`?"),
        ("ghcr.io/acme/cache", "names no shared cache"),
        ("type=s3,bucket=b,secret_access_key=x", "AWS_SECRET_ACCESS_KEY"),
    ] {
        let finished = scene.program().run(&scene.workspace(), &["build", "--cache-from", location]);
        finished.expect_code(2).expect_stderr(words);
    }
}
