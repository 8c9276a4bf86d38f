//! What steps of Dockerfiles came to, and cache mounts, between machines: each stage has a state folder of its own.

use std::fs;
use std::path::Path;

use carrack_testkit::{ContainerRegistry, Finished, RegistrySetup, skipped};

use crate::docker_build::with_dockerfile;
use crate::stage::{Stage, finish};

/// `build` runs once on each machine that runs it: it writes down a number that no other run has.
const TEXT: &str = "FROM scratch AS base\nCOPY rootfs /\n\
    FROM base AS build\nCOPY source /\n\
    RUN --mount=type=cache,id=travelling,target=/kept busybox cat /proc/sys/kernel/random/uuid > /id && \
    busybox cp /id /kept/id && busybox dd if=/dev/urandom of=/large bs=1024 count=512\n\
    FROM base\nCOPY --from=build /id /id\nRUN busybox cat /proc/sys/kernel/random/uuid > /second\n\
    CMD [\"/bin/busybox\", \"cat\", \"/id\", \"/second\"]\n";

/// A machine with the same Dockerfile and context.
fn machine() -> Stage {
    let stage = with_dockerfile(TEXT);
    stage.project.write("source", "1\n");
    stage
}

fn has_shell(test: &str) -> bool {
    let found = Path::new("/bin/busybox").exists();
    if !found {
        skipped(test, "busybox-static is not installed");
    }
    found
}

fn build(stage: &Stage, arguments: &[&str]) -> Finished {
    stage.build(&[&["-t", "made:1"], arguments].concat())
}

/// What its program prints: which runs it is made of.
fn runs(stage: &Stage) -> String {
    stage.run(&["run", "made:1"]).expect_code(0).stdout
}

/// The sizes of all files below a folder together.
fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(
            |entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() },
        )
        .sum()
}

#[test]
fn another_machine_runs_nothing() {
    if !has_shell("another_machine_runs_nothing") {
        return;
    }
    let shared = tempfile::tempdir().unwrap();
    let place = |attribute: &str| format!("type=local,{attribute}={}", shared.path().join("cache").display());
    let first = machine();
    build(&first, &["--cache-to", &place("dest")]);
    // The layer with random bytes is in no image: it stays at home.
    assert!(size(shared.path()) < 3_000_000, "{} bytes", size(shared.path()));

    let second = machine();
    let said = build(&second, &["--cache-from", &place("src")]).stderr;
    assert!(!said.contains(" Run  ") && !said.contains("Copy  "), "{said}");
    assert_eq!(runs(&second), runs(&first));
    let idle = build(&second, &[]).stderr;
    assert!(idle.contains("1 image unchanged"), "{idle}");

    // The last step has other words: what comes before it has to be found, and it alone runs.
    let third = machine();
    third.project.write("Dockerfile", &TEXT.replace("> /second", "> /second && true"));
    let said = build(&third, &["--cache-from", &place("src")]).stderr;
    assert_eq!(said.matches(" Run  ").count(), 1, "{said}");
    let (ours, theirs) = (runs(&third), runs(&first));
    assert_eq!(ours.lines().next(), theirs.lines().next());
    assert_ne!(ours, theirs);

    // A change in the stage whose bytes nobody has: it runs here, with everything that it needs.
    let fourth = machine();
    fourth.project.write("source", "2\n");
    build(&fourth, &["--cache-from", &place("src")]);
    assert_ne!(runs(&fourth).lines().next(), runs(&first).lines().next());
}

#[test]
fn all_layers_and_cache_mounts_go_along_if_asked() {
    if !has_shell("all_layers_and_cache_mounts_go_along_if_asked") {
        return;
    }
    let Some(registry) = ContainerRegistry::start(&RegistrySetup::Open) else {
        return skipped("all_layers_and_cache_mounts_go_along_if_asked", "docker-registry is not installed");
    };
    let place = format!("type=registry,ref={}/cache", registry.address());
    let first = machine();
    build(&first, &["--cache-to", &format!("{place},mode=max")]);
    // A step behind the one with the large file: it starts from bytes of another machine.
    let second = machine();
    let behind = TEXT.replace(
        "FROM base\nCOPY --from=build /id /id",
        "RUN busybox cp /large /copy\nFROM base\nCOPY --from=build /id /copy /",
    );
    second.project.write("Dockerfile", &behind);
    let said = build(&second, &["--cache-from", &place]).stderr;
    assert!(!said.contains("random/uuid > /id"), "{said}");
    assert_eq!(runs(&second).lines().next(), runs(&first).lines().next());

    // The cache mount came with a step that found none.
    let third = machine();
    third.project.write(
        "Dockerfile",
        "FROM scratch\nCOPY rootfs /\nRUN --mount=type=cache,id=travelling,target=/kept busybox cp /kept/id /id\n\
        CMD [\"/bin/busybox\", \"cat\", \"/id\"]\n",
    );
    build(&third, &["--cache-from", &place]);
    assert_eq!(Some(&*runs(&third).trim().to_owned()), runs(&first).lines().next());

    // And it goes by hand.
    let fourth = machine();
    let said = fourth.run(&["cache", "import", &place]).expect_code(0).stdout;
    assert_eq!(said, "filled 1 cache mount\n");
    let listed = fourth.run(&["cache", "du", "--by", "mount"]).expect_code(0).stdout;
    assert!(listed.contains("travelling"), "{listed}");
    let said = fourth.run(&["cache", "export", &place]).expect_code(0).stdout;
    assert_eq!(said, "published 1 cache mount\n");
    let gone = fourth.run(&["cache", "prune", "--filter", "mount=travelling"]).expect_code(0).stdout;
    assert!(gone.contains("(1 cache mount)"), "{gone}");
    fourth
        .run(&["cache", "prune", "--filter", "mount=travelling"])
        .expect_code(2)
        .expect_stderr("error: there is no cache mount `travelling`");
}

/// A cache that lies or is gone changes nothing but the time that a build takes.
#[test]
fn a_cache_that_can_not_be_believed_is_left_alone() {
    if !has_shell("a_cache_that_can_not_be_believed_is_left_alone") {
        return;
    }
    let shared = tempfile::tempdir().unwrap();
    let place = |attribute: &str| format!("type=local,{attribute}={}", shared.path().join("cache").display());
    let first = machine();
    build(&first, &["--cache-to", &format!("{},mode=max", place("dest"))]);
    damage(&shared.path().join("cache"));
    let second = machine();
    build(&second, &["--cache-from", &place("src")]);
    assert_eq!(runs(&second).lines().count(), 2);
    let third = machine();
    let gone = "type=registry,ref=127.0.0.1:1/cache";
    let said = build(&third, &["--cache-from", gone, "--cache-to", gone]).stderr;
    assert!(said.contains("warning: the build goes on without a shared cache"), "{said}");
    assert_eq!(runs(&third).lines().count(), 2);
}

/// Whom to trust stands in the configuration of the workspace that the context is, or beside the Dockerfile.
#[test]
fn the_configuration_around_a_context_says_whom_to_trust() {
    if !has_shell("the_configuration_around_a_context_says_whom_to_trust") {
        return;
    }
    let shared = tempfile::tempdir().unwrap();
    let location = format!("type=local,dest={}", shared.path().join("cache").display());
    let forger = machine();
    build(&forger, &["--cache-to", &location]);
    let keys = forger.run(&["cache", "key"]).expect_code(0).stdout;
    let value = |name: &str| {
        let line = keys.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.to_owned()
    };
    let (secret, public) = (value("CARRACK_CACHE_SIGNING_KEY="), value("cache-trust = "));
    let named = format!("cache-from = [\"{location}\"]\ncache-to = [\"{location}\"]\n");
    let careful = |configuration: &str| {
        let stage = machine();
        let workspace = "[workspace]\nmembers = []\n[workspace.metadata.carrack]\n";
        match configuration {
            "Cargo.toml" => {
                stage.project.write("Cargo.toml", &format!("{workspace}cache-trust = {public}\n"))
            }
            "carrack.toml" => stage.project.write("carrack.toml", &format!("cache-trust = {public}\n")),
            _ => stage.project.write("carrack.toml", &format!("{named}cache-trust = {public}\n")),
        };
        stage
    };
    let kinds = ["Cargo.toml", "carrack.toml", "all of it"];
    let arguments = |kind: &str| {
        let options = ["-f", "Dockerfile", ".", "--cache-from", &location].map(str::to_owned);
        if kind == "all of it" { options[..3].to_vec() } else { options.to_vec() }
    };
    let built = |kind: &str, secret: Option<&str>| {
        let stage = careful(kind);
        let arguments = arguments(kind);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = stage.command(&[&["build", "-t", "made:1"], &arguments[..]].concat());
        // Only who has the key may publish: what the others would publish is what they forged.
        match secret {
            Some(secret) => command.env("CARRACK_CACHE_SIGNING_KEY", secret),
            None => command.env("CARRACK_CACHE", "read-only"),
        };
        finish(&mut command).expect_code(0);
        runs(&stage)
    };
    for kind in kinds {
        assert_ne!(built(kind, None), runs(&forger), "{kind}: nobody signed it");
    }
    let signed = built("all of it", Some(&secret));
    for kind in kinds {
        assert_eq!(built(kind, None), signed, "{kind}");
    }
    // A manifest that makes no sense may have said it; without a cache, that is nobody's business.
    let broken = machine();
    broken.project.write("Cargo.toml", "nobody");
    let refused = broken.run(&["build", "-f", "Dockerfile", ".", "--cache-from", &location]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    broken.run(&["build", "-f", "Dockerfile", "."]).expect_code(0);
    // The mounts that go by hand are trusted no sooner.
    let by_hand = tempfile::tempdir().unwrap();
    let location = format!("type=local,dest={}", by_hand.path().display());
    forger.run(&["cache", "export", &location]).expect_code(0);
    let stage = careful("carrack.toml");
    stage.run(&["cache", "import", &location]);
    let listed = stage.run(&["cache", "du", "--by", "mount"]).expect_code(0).stdout;
    assert!(!listed.contains("travelling"), "{listed}");
}

#[test]
fn a_configuration_that_makes_no_sense_is_not_passed_over() {
    let stage = machine();
    stage.project.write("carrack.toml", "cache-trusts = []\n");
    let said = stage.run(&["build", "-f", "Dockerfile", "."]).expect_code(2).stderr;
    assert!(said.contains("unknown key `cache-trusts`"), "{said}");
}

/// Changes a byte in the middle of every large file.
fn damage(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            damage(&path);
        } else if entry.metadata().unwrap().len() > 10_000 {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            fs::write(&path, bytes).unwrap();
        }
    }
}
