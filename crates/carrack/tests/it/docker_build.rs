//! `carrack build` and `carrack cache prune` with Docker's engine: what is built, what is told, how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use carrack_testkit::{Docker, Finished, Project, command_lines, skipped};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::stage::{Stage, dockyard_folder, finish, path_of};

/// A build is done in seconds, on a busy machine in many; a minute is never.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon of the test's own.
fn engine(test: &str) -> Option<Docker> {
    if !Path::new("/bin/busybox").exists() {
        skipped(test, "busybox-static is not installed");
        return None;
    }
    Docker::start(test, &dockyard_folder())
}

/// The program on `stage` with a daemon. A build is that daemon's unless the arguments say otherwise.
pub(crate) fn command(docker: &Docker, stage: &Stage, arguments: &[&str]) -> Command {
    let chosen = match arguments {
        ["build", rest @ ..] if !rest.contains(&"--engine") => {
            [&["build", "--engine", "docker"], rest].concat()
        }
        arguments => arguments.to_vec(),
    };
    let mut command = stage.command(&chosen);
    command.env("DOCKER_HOST", docker.host());
    command
}

pub(crate) fn carrack(docker: &Docker, stage: &Stage, arguments: &[&str]) -> Finished {
    finish(&mut command(docker, stage, arguments))
}

/// A folder with a Dockerfile and a root file system that has a shell.
pub(crate) fn with_dockerfile(text: &str) -> Stage {
    let stage = Stage::new(Project::new());
    stage.project.write("Dockerfile", text);
    let programs = stage.file("rootfs/bin");
    fs::create_dir_all(&programs).unwrap();
    fs::copy("/bin/busybox", programs.join("busybox")).unwrap();
    for name in ["sh", "sleep"] {
        std::os::unix::fs::symlink("busybox", programs.join(name)).unwrap();
    }
    stage
}

const SERVER: &str = "FROM scratch AS server\nCOPY rootfs /\nRUN echo made for $HOSTNAME\n\
    FROM server AS broken\nRUN echo before && \\\n    exit 7\n";

/// The whole of standard error.
#[track_caller]
fn check(stage: &Stage, arguments: &[&str], code: i32, expected: &str) {
    let finished = stage.run(arguments).expect_code(code);
    assert_eq!(stage.filtered(&finished.stderr), expected, "{arguments:?}");
}

#[test]
fn a_dockerfile_is_built_named_and_found_again() {
    let Some(docker) = engine("a_dockerfile_is_built_named_and_found_again") else { return };
    let stage = with_dockerfile(SERVER);
    let arguments = [
        "build",
        "--target",
        "server",
        "-t",
        "clinic/server",
        "--label",
        "owner=clinic",
        "--network",
        "none",
    ];
    let files = ["--iidfile", "id", "--metadata-file", "metadata"];
    let first = carrack(&docker, &stage, &[&arguments[..], &files].concat()).expect_code(0);
    assert!(
        first.stderr.starts_with(" Dockerfile  ./Dockerfile · context . · builder docker "),
        "{}",
        first.stderr
    );
    for line in [
        "       Copy  server 1/2 · rootfs /  ",
        "        Run  server 2/2 · echo made for $HOSTNAME  ",
        "      Image  clinic/server:latest  ",
        "       Done  1 image built  ",
    ] {
        assert!(first.stderr.contains(&format!("\n{line}")), "{line:?} in:\n{}", first.stderr);
    }
    let id = fs::read_to_string(stage.file("id")).unwrap();
    let format = "{{.Id}} {{.Config.Labels.owner}}";
    let inspected =
        docker.run(&["image", "inspect", "--format", format, "clinic/server:latest"]).expect_code(0);
    assert_eq!(inspected.stdout.trim(), format!("{id} clinic"));
    let metadata: Value = serde_json::from_slice(&fs::read(stage.file("metadata")).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.config.digest"], json!(id));
    assert_eq!(metadata["image.name"], "clinic/server:latest");

    let again = carrack(&docker, &stage, &arguments).expect_code(0);
    assert_eq!(again.stderr.lines().count(), 2, "{}", again.stderr);
    again.expect_stderr("       Done  1 image unchanged  ");
    let quiet = carrack(&docker, &stage, &[&arguments[..], &["-q"]].concat()).expect_code(0);
    assert_eq!((quiet.stdout.trim(), quiet.stderr.as_str()), (id.as_str(), ""));
    let anew = carrack(&docker, &stage, &[&arguments[..], &["--no-cache"]].concat()).expect_code(0);
    anew.expect_stderr("        Run  server 2/2 ");

    let json =
        carrack(&docker, &stage, &[&arguments[..], &["--progress", "rawjson"]].concat()).expect_code(0);
    let events: Vec<Value> = json.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["kind"], "Dockerfile");
    let reused = |event: &&Value| event["event"] == "step-finished" && event["outcome"] == "reused";
    assert_eq!(events.iter().filter(reused).count(), 2, "{}", json.stderr);

    let freed = carrack(&docker, &stage, &["cache", "prune", "--engine", "docker", "--all"]).expect_code(0);
    assert!(freed.stdout.starts_with("freed ") && freed.stdout.contains('B'), "{}", freed.stdout);
    carrack(&docker, &stage, &arguments).expect_code(0).expect_stderr("       Copy  server 1/2 ");
}

#[test]
fn failures_show_the_instruction() {
    let Some(docker) = engine("failures_show_the_instruction") else { return };
    let stage = with_dockerfile(SERVER);
    let name = stage.path().file_name().unwrap().to_str().unwrap().to_owned();
    let arguments = ["build", "--target", "broken", "--network", "none"];
    let expected = format!(
        "error: {name} does not build: RUN failed (exit 7)\n --> ./Dockerfile:5:1\n  |\n\
        5 | / RUN echo before && \\\n6 | |     exit 7\n  | |__________^ exit 7\n"
    );
    let failed = carrack(&docker, &stage, &arguments).expect_code(1);
    assert!(failed.stderr.ends_with(&format!("before\n{expected}")), "{}", failed.stderr);
    let quiet = carrack(&docker, &stage, &[&arguments[..], &["-q"]].concat()).expect_code(1);
    assert_eq!(
        quiet.stderr,
        format!("before\n{expected}"),
        "the failed step's output and nothing of the others"
    );

    stage.project.write("other/Dockerfile", "FROM scratch\nCOPPY a b\n");
    let failed = carrack(&docker, &stage, &["build", "-f", "other/Dockerfile"]).expect_code(2);
    let expected = format!(
        "error: the Dockerfile of {name} makes no sense\n --> other/Dockerfile:2:1\n  |\n2 | COPPY a b\n  | \
        ^^^^^^^^^ unknown instruction: COPPY"
    );
    assert!(failed.stderr.contains(&expected), "{}", failed.stderr);
}

#[test]
fn a_signal_stops_the_build_in_the_engine() {
    let Some(docker) = engine("a_signal_stops_the_build_in_the_engine") else { return };
    let stage = with_dockerfile("FROM scratch\nCOPY rootfs /\nRUN echo running && sleep 901181\n");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut command = command(&docker, &stage, &["build", "--network", "none"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while line != "running\n" {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended by itself");
        }
        assert!(!command_lines("sleep 901181").is_empty(), "the search finds what runs");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut rest = String::new();
        stderr.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{rest}");
        let start = Instant::now();
        while !command_lines("sleep 901181").is_empty() {
            assert!(start.elapsed() < PATIENCE, "the step goes on");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn no_engine_answers() {
    if !Path::new("/usr/bin/docker").exists() {
        return skipped("no_engine_answers", "docker.io is not installed");
    }
    let stage = with_dockerfile(SERVER);
    let mut command = stage.command(&["build", "--engine", "docker"]);
    command.env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    finish(&mut command)
        .expect_code(4)
        .expect_stderr("error: the engine does not answer docker ")
        .expect_stderr("/nonexistent/docker.sock")
        .expect_stderr("hint: start Docker");
}

#[test]
fn no_client() {
    let stage = with_dockerfile(SERVER);
    let nothing = path_of(&stage.home.path().join("programs"), &["true"]);
    let mut command = stage.command(&["build", "--engine", "docker"]);
    finish(command.env("PATH", &nothing)).expect_code(3).expect_stderr(
        "error: no docker client on this machine can drive BuildKit\n\
        hint: install Docker, or build with `--engine embedded`, which needs none\n",
    );
    let mut command = stage.command(&["build", "--engine", "buildkit=tcp://127.0.0.1:1"]);
    finish(command.env("PATH", &nothing)).expect_code(3).expect_stderr(
        "error: cannot build at tcp://127.0.0.1:1: buildctl is not installed\n\
        hint: install buildctl, or let buildx know the place: `docker buildx create --name there --driver remote \
        tcp://127.0.0.1:1`, then `carrack build --engine buildkit --builder there`\n",
    );
}

#[test]
fn what_is_built() {
    let stage = Stage::new(Project::new());
    stage.project.write("compose.yaml", "services: {}\n");
    check(
        &stage,
        &["build"],
        2,
        "error: there is neither a Cargo.toml nor a Dockerfile beside ./compose.yaml\n\
        hint: run `carrack compose build` to build the services of a compose file\n",
    );
    let dockerfile = "FROM scratch\nCOPY Dockerfile /\n";
    stage.project.write("Dockerfile", dockerfile);
    stage.run(&["build"]).expect_code(0).expect_stderr(" Dockerfile  ./Dockerfile · stage 0 · context ");
    // A workspace wins, unless -f is given.
    let stage = Stage::app();
    stage.project.write("Dockerfile", dockerfile);
    stage
        .run(&["build", "-f", "Dockerfile"])
        .expect_code(0)
        .expect_stderr(" Dockerfile  Dockerfile · stage 0 · context ");
    stage.build(&["--offline"]).expect_stderr("  Workspace  ");
}

#[test]
fn options_without_meaning() {
    let stage = Stage::app();
    stage.project.write("Dockerfile", "FROM scratch\n");
    for option in [["--target", "app"], ["--build-arg", "A=b"], ["--builder", "kube"]] {
        check(
            &stage,
            &[&["build", "--offline"], &option[..]].concat(),
            2,
            &format!(
                "error: {} has no meaning for a workspace on the embedded engine\n\
                hint: add `--engine docker`, or leave the option out\n",
                option[0]
            ),
        );
    }
    for option in [&["--bin", "app"][..], &["--profile", "dev"], &["--locked"]] {
        check(
            &stage,
            &[&["build", "-f", "Dockerfile"], option].concat(),
            2,
            &format!(
                "error: {} has no meaning for a Dockerfile\n\
                hint: leave it out, or build the workspace without -f\n",
                option[0]
            ),
        );
    }
    check(
        &stage,
        &["build", "--offline", "--engine", "docker", "--target", "app"],
        2,
        "error: --target has no meaning for a workspace on an engine of Docker's\n\
        hint: choose a service with --bin NAME\n",
    );
}

#[test]
fn the_configuration_names_the_engine() {
    let stage = Stage::configured("[package.metadata.carrack]\nengine = \"docker\"\n");
    stage.run(&["build", "--offline"]).expect_code(2).expect_stderr("`engine` stands in the wrong place");
    let stage = Stage::configured("[workspace.metadata.carrack]\nengine = \"dokcer\"\n[workspace]\n");
    stage
        .run(&["build", "--offline"])
        .expect_code(2)
        .expect_stderr("`dokcer` is none of `embedded`, `docker`");
    let stage = Stage::configured("[workspace.metadata.carrack]\nengine = \"docker\"\n[workspace]\n");
    stage
        .run(&["build", "--offline", "--target", "app"])
        .expect_code(2)
        .expect_stderr("for a workspace on an engine of Docker's");
    stage.build(&["--offline", "--engine", "embedded"]);
}
