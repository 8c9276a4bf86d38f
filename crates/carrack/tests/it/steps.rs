//! When a step of a Dockerfile runs again, what is said about it, and what is kept: a table of changes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use carrack_testkit::skipped;

use crate::docker_build::with_dockerfile;
use crate::stage::Stage;

const TEXT: &str = "FROM scratch AS base\nCOPY rootfs /\n\
    FROM base AS build\nWORKDIR /work\nCOPY source source\n\
    RUN busybox wc -c < source/a > size\n\
    FROM base AS other\nRUN echo other > /other\n\
    FROM base\nARG WHO=nobody\nCOPY --from=build /work/size /\nCOPY --from=other /other /\n\
    RUN echo $WHO > /who\nCMD [\"/bin/busybox\", \"cat\", \"/size\", \"/who\"]\n";

fn stage() -> Option<Stage> {
    if !Path::new("/bin/busybox").exists() {
        skipped("steps of Dockerfiles", "busybox-static is not installed");
        return None;
    }
    let stage = with_dockerfile(TEXT);
    stage.project.write("source/a", "one");
    stage.project.write("source/b", "two");
    stage.project.write("unrelated", "");
    stage.build(&["-t", "made:1"]);
    Some(stage)
}

/// The instructions that ran, and why.
fn ran(stage: &Stage, arguments: &[&str]) -> (Vec<String>, Vec<String>) {
    let said = stage.build(&[&["-t", "made:1"], arguments].concat()).stderr;
    let of = |label: &str| {
        let lines = said.lines().filter_map(|line| line.trim_start().strip_prefix(label));
        lines.map(|line| line.split("   ").next().unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    let steps = ["Run  ", "Copy  ", "Workdir  "].iter().flat_map(|label| of(label)).collect();
    (steps, of("Why  "))
}

#[track_caller]
fn check(stage: &Stage, what: &str, expected: &[&str], why: &[&str]) {
    let (steps, reasons) = ran(stage, &[]);
    let begin = |step: &String| step.split(" · ").next().unwrap().to_owned();
    assert_eq!(steps.iter().map(begin).collect::<Vec<_>>(), expected, "{what}: {steps:?}");
    assert_eq!(reasons, why, "{what}");
    assert_eq!(ran(stage, &[]).0, Vec::<String>::new(), "{what}, once more");
}

#[test]
fn only_what_a_change_reaches_runs_again() {
    let Some(stage) = stage() else { return };
    check(&stage, "nothing", &[], &[]);
    let touch = |name: &str, ago: u64| {
        let time = SystemTime::now() - Duration::from_secs(ago);
        fs::File::options().append(true).open(stage.file(name)).unwrap().set_modified(time).unwrap();
    };
    touch("source/a", 0);
    check(&stage, "a newer time", &[], &[]);
    stage.project.write("unrelated", "changed");
    check(&stage, "a file that no step takes", &[], &[]);
    // The size is the same, and so is what follows from it.
    stage.project.write("source/a", "eno");
    touch("source/a", 1_000_000);
    check(
        &stage,
        "the content, with an older time",
        &["build 3/3", "build 2/3"],
        &["COPY source source: source/a changed"],
    );
    stage.project.write("source/a", "longer");
    check(
        &stage,
        "another size",
        &["build 3/3", "stage-3 3/3", "build 2/3", "stage-3 1/3", "stage-3 2/3"],
        &["COPY source source: source/a changed", "COPY --from=build /work/size /: work/size changed"],
    );
    assert_eq!(stage.run(&["run", "made:1"]).expect_code(0).stdout, "6\nnobody\n");
    stage.project.write("source/a", "one");
    check(&stage, "and back", &[], &[]);
    assert_eq!(stage.run(&["run", "made:1"]).expect_code(0).stdout, "3\nnobody\n");
    fs::set_permissions(stage.file("source/b"), fs::Permissions::from_mode(0o600)).unwrap();
    check(&stage, "a mode", &["build 3/3", "build 2/3"], &["COPY source source: source/b changed"]);
    fs::rename(stage.file("source/b"), stage.file("source/c")).unwrap();
    check(
        &stage,
        "a name",
        &["build 3/3", "build 2/3"],
        &["COPY source source: source/b removed, source/c added"],
    );
    stage.project.write("Dockerfile", &TEXT.replace("echo other", "echo another"));
    let (steps, _) = ran(&stage, &[]);
    assert_eq!(steps.len(), 3, "the other stage and what comes after it: {steps:?}");
}

#[test]
fn arguments_count_where_they_are_declared() {
    let Some(stage) = stage() else { return };
    let (steps, why) = ran(&stage, &["--build-arg", "WHO=me"]);
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!(why, ["RUN echo me > /who: WHO changed"]);
    assert_eq!(stage.run(&["run", "made:1"]).expect_code(0).stdout, "3\nme\n");
    let (steps, _) = ran(&stage, &["--build-arg", "WHO=me", "--build-arg", "HTTP_PROXY=http://127.0.0.1:1"]);
    assert_eq!(steps, Vec::<String>::new());
}

#[test]
fn steps_run_again_if_asked() {
    let Some(stage) = stage() else { return };
    let (steps, why) = ran(&stage, &["--no-cache"]);
    assert!(steps.len() >= 7 && why.is_empty(), "{steps:?} {why:?}");
    let (steps, _) = ran(&stage, &["--no-cache-filter", "other"]);
    assert_eq!(steps.len(), 1, "what it makes is the same: {steps:?}");
}

/// A step that fails, and one that is killed, leave nothing that a later build takes for whole.
#[test]
fn a_failed_step_leaves_nothing() {
    let Some(stage) = stage() else { return };
    let failing = "FROM scratch\nCOPY rootfs /\nRUN echo half > /half && test -e /nowhere\n";
    stage.project.write("Dockerfile", failing);
    for _ in 0..2 {
        stage.run(&["build", "-t", "broken:1"]).expect_code(1);
    }
    stage.project.write("Dockerfile", &failing.replace("test -e /nowhere", "true"));
    stage.build(&["-t", "whole:1"]);
    stage.run(&["run", "broken:1"]).expect_code(2);
}

/// Layers that nobody asks for may be gone; those that are asked for are made again.
#[test]
fn a_lost_or_damaged_layer_is_made_again_if_it_is_needed() {
    let Some(stage) = stage() else { return };
    let snapshots = stage.home.path().join("snapshots");
    let with = |name: &str| {
        let all = entries(&snapshots).iter().flat_map(|folder| entries(folder)).collect::<Vec<_>>();
        all.into_iter().find(|folder| folder.join("files").join(name).exists()).unwrap()
    };
    fs::remove_dir_all(with("work/source/a")).unwrap();
    check(&stage, "nobody asks for the sources", &[], &[]);
    let ask = TEXT.replace("> size", "> size; true");
    stage.project.write("Dockerfile", &ask);
    check(
        &stage,
        "the sources are needed",
        &["build 3/3", "build 2/3"],
        &[
            "RUN busybox wc -c < source/a > size; true: command changed",
            "COPY source source: what it had made is gone",
        ],
    );
    let snapshot = with("work/source/a");
    fs::write(snapshot.join("files/work/source/a"), "other").unwrap();
    fs::write(snapshot.join("boot"), "another boot of the machine").unwrap();
    stage.project.write("Dockerfile", &ask.replace("; true", "; false || true"));
    let (steps, _) = ran(&stage, &[]);
    assert!(steps.iter().any(|step| step.starts_with("build 3/3")), "{steps:?}");
    assert_eq!(stage.run(&["run", "made:1"]).expect_code(0).stdout, "3\nnobody\n");
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn layers_are_listed_and_go() {
    let Some(stage) = stage() else { return };
    let listed = stage.run(&["cache", "du", "--by", "layer"]).expect_code(0).stdout;
    assert!(listed.contains("[build 3/3] RUN busybox wc -c"), "{listed}");
    let gone = stage.run(&["cache", "prune", "--all"]).expect_code(0).stdout;
    assert!(gone.contains(" layers, "), "{gone}");
    let listed = stage.run(&["cache", "du"]).expect_code(0).stdout;
    assert!(listed.lines().any(|line| line.starts_with("layers") && line.contains(" 0 ")), "{listed}");
    // Everything is made again, and comes to the same.
    let said = stage.build(&["-t", "made:1"]).stderr;
    assert!(said.contains("Run  build 3/3"), "{said}");
    assert_eq!(stage.run(&["run", "made:1"]).expect_code(0).stdout, "3\nnobody\n");
}
