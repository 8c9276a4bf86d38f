//! Builds that are stopped, killed, run side by side, or overtaken by the next edit: the next build is right.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use carrack_testkit::{Finished, Project};
use rustix::process::{Pid, Signal, kill_process};

use crate::scene::{Built, Scene, long_ago};

/// `app` and `shared`, and a build script of `app` that takes as many seconds as the file `pause` says.
fn pausing(pause: &str) -> Scene {
    let project = Project::workspace(&["app"]);
    project.write(
        "app/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
         println!(\"cargo::rerun-if-changed=pause\");\n    \
         let pause: f32 = std::fs::read_to_string(\"pause\").unwrap().trim().parse().unwrap();\n    \
         std::thread::sleep(std::time::Duration::from_secs_f32(pause));\n}\n",
    );
    project.write("app/pause", pause);
    Scene::new(project)
}

/// A build under way.
struct Building {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Building {
    fn start(scene: &Scene) -> Self {
        let arguments = ["build", "--offline", "--progress", "rawjson"];
        let mut child = scene.program().start(&scene.workspace(), &arguments);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, said: String::new() }
    }

    /// Waits for a line with `text`.
    fn wait_for(&mut self, text: &str) {
        loop {
            let mut line = String::new();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "no {text:?} in:\n{}", self.said);
            self.said.push_str(&line);
            if line.contains(text) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end. Standard error ends when the last process that has it does.
    fn end(mut self) -> (ExitStatus, String) {
        self.stderr.read_to_string(&mut self.said).unwrap();
        (self.child.wait().unwrap(), self.said)
    }

    fn built(self) -> Built {
        let (status, stderr) = self.end();
        Built::read(&Finished { code: status.code(), stdout: String::new(), stderr }.expect_code(0))
    }
}

/// Processes that work in, or have opened, something in `folder`.
fn processes_in(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        if !process.file_name().to_string_lossy().bytes().all(|digit| digit.is_ascii_digit()) {
            continue;
        }
        // Processes end while they are looked at.
        let descriptors = fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten();
        let links = descriptors
            .map(|entry| entry.path())
            .chain(["cwd", "root"].map(|name| process.path().join(name)));
        let mounted = fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
        let holds =
            links.filter_map(|link| fs::read_link(link).ok()).any(|target| target.starts_with(folder));
        if holds || mounted.contains(folder.to_str().unwrap()) {
            let command = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            found.insert(format!("{} {}", process.file_name().display(), command.replace('\0', " ")));
        }
    }
    found
}

/// Scratch folders of the store.
fn scratch(scene: &Scene) -> Vec<String> {
    let entries = fs::read_dir(scene.state().join("scratch")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn signals_end_the_build_and_everything_that_it_started() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let scene = pausing("100");
        let mut building = Building::start(&scene);
        building.wait_for("shared");
        assert!(!processes_in(&scene.state()).is_empty(), "the search finds what runs");
        building.signal(signal);
        let (status, said) = building.end();
        assert_eq!(status.code(), Some(code), "{said}");
        assert_eq!(processes_in(&scene.state()), BTreeSet::new());
        assert_eq!(scratch(&scene), Vec::<String>::new());
        scene.project.write("app/pause", "0");
        scene.build(&[]);
        assert_eq!(scene.says("app"), "app 1");
    }
}

#[test]
fn killed_builds_leave_nothing_that_the_next_one_believes() {
    let scene = pausing("0.2");
    for (round, delay) in [20, 60, 120, 200, 350, 500, 800].into_iter().enumerate() {
        let number = round + 10;
        // Every other time with an older time: nothing but the content tells.
        let library = format!("pub const NUMBER: u32 = {number};\n");
        if round % 2 == 0 {
            scene.project.write("shared/src/lib.rs", &library);
        } else {
            scene.project.write_old("shared/src/lib.rs", &library, long_ago());
        }
        let building = Building::start(&scene);
        std::thread::sleep(Duration::from_millis(delay));
        building.signal(Signal::KILL);
        let (status, _) = building.end();
        if status.signal().is_none() {
            // It was faster; then there is nothing to doubt.
            assert_eq!(status.code(), Some(0));
        }
        // What the killed build may have compiled must not pass for what is here now.
        let number = number + 100;
        scene.project.write_old(
            "shared/src/lib.rs",
            &format!("pub const NUMBER: u32 = {number};\n"),
            long_ago(),
        );
        scene.build(&[]);
        assert_eq!(scene.says("app"), format!("app {number}"), "killed after {delay} ms");
        assert_eq!(scratch(&scene), Vec::<String>::new());
    }
    assert_eq!(processes_in(&scene.state()), BTreeSet::new());
}

#[test]
fn a_killed_first_build() {
    let scene = pausing("100");
    let mut building = Building::start(&scene);
    building.wait_for("shared");
    building.signal(Signal::KILL);
    let (status, _) = building.end();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()));
    assert_eq!(processes_in(&scene.state()), BTreeSet::new());
    scene.project.write_old("shared/src/lib.rs", "pub const NUMBER: u32 = 2;\n", long_ago());
    scene.project.write_old("app/pause", "0", long_ago());
    scene.build(&[]);
    assert_eq!(scene.says("app"), "app 2");
    assert_eq!(scratch(&scene), Vec::<String>::new());
}

#[test]
fn two_builds_of_one_workspace() {
    let scene = pausing("1");
    let mut first = Building::start(&scene);
    first.wait_for("shared");
    let mut second = Building::start(&scene);
    second.wait_for("waiting for another build");
    let (first, second) = (first.built(), second.built());
    assert_eq!(first.digests(), second.digests());
    assert!(second.compiled().is_empty(), "{:?}", second.compiled());
    assert_eq!(scene.says("app"), "app 1");
}

#[test]
fn two_workspaces_with_one_store() {
    let scene = pausing("0.5");
    let other = Scene::new(Project::workspace(&["other"]));
    let mut first = Building::start(&scene);
    first.wait_for("shared");
    let program = other.program().with_env("CARRACK_HOME", scene.state());
    let finished =
        program.run(&other.workspace(), &["build", "--offline", "--progress", "rawjson"]).expect_code(0);
    assert!(!finished.stderr.contains("waiting"), "{}", finished.stderr);
    first.built();
    assert_eq!(scene.says("app"), "app 1");
    assert_eq!(scene.says("other"), "other 1");
}

#[test]
fn edits_during_a_build() {
    let library = |number: u32| format!("pub const NUMBER: u32 = {number};\n");
    for time in [None, Some(long_ago())] {
        let scene = pausing("1");
        // `shared` is compiled before the script runs, `app` after it.
        let edit = |number: u32| match time {
            None => drop(scene.project.write("shared/src/lib.rs", &library(number))),
            Some(time) => scene.project.write_old("shared/src/lib.rs", &library(number), time),
        };
        let mut building = Building::start(&scene);
        building.wait_for("\"package\":\"shared");
        edit(2);
        scene.project.write("app/src/main.rs", "fn main() {\n    println!(\"new {}\", shared::NUMBER);\n}\n");
        let built = building.built();
        assert_eq!(scene.says("app"), "new 2");
        let again = scene.build(&[]);
        assert!(!again.ran_cargo(), "{:?}", again.reasons());
        assert_eq!(again.digests(), built.digests());
    }
}

#[test]
fn an_edit_that_is_taken_back_during_a_build() {
    let scene = pausing("1");
    let one = fs::read_to_string(scene.project.path().join("app/src/main.rs")).unwrap();
    scene.project.write_old("app/src/main.rs", &one, long_ago());
    let mut building = Building::start(&scene);
    building.wait_for("\"package\":\"shared");
    scene.project.write("app/src/main.rs", "fn main() {\n    println!(\"never meant\");\n}\n");
    // `app` is compiled after the pause.
    building.wait_for("\"package\":\"app");
    building.wait_for("\"package\":\"app");
    scene.project.write_old("app/src/main.rs", &one, long_ago());
    building.built();
    assert_eq!(scene.says("app"), "app 1");
}
