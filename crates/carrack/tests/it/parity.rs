//! One workspace on both engines: the images are the same to whoever runs them, and a build ends in the same ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use carrack_testkit::{Docker, Project, command_lines};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::docker_build::{carrack, command};
use crate::stage::{Stage, dockyard_folder, finish};

const ENGINES: [&str; 2] = ["embedded", "docker"];

/// A service that says something about every key, and one that only has a user whose names Debian knows too.
const SERVICES: [&str; 2] = ["door", "plain"];

const DOOR: &str = r#"
[package.metadata.carrack]
user = "1234:2345"
workdir = "/srv/door"
ports = [8080, "53/udp", 9090]
volumes = ["/data", "/var/lib/door"]
cmd = ["serve", "--name", "a \"b\" $HOME \\ c"]
stop-signal = "SIGINT"
healthcheck = { cmd = ["/usr/local/bin/door", "a b"], interval = "30s", timeout = "1500ms", start-period = "2m", retries = 5 }
files = [
    { from = "config", to = "/srv/door/config" },
    { from = "config", to = "/opt/strict", mode = "0640", owner = "1234:2345" },
    { from = "config/main.toml", to = "/opt/renamed.toml", owner = "77:88" },
    { from = "config/run.sh", to = "/opt/programs/" },
    { from = "config/main.toml", to = "/etc/door.toml", mode = "0604" },
]

[package.metadata.carrack.env]
GREETING = "say \"hi\" to $USER and ${HOME} \\ 'all'"
EMPTY = ""

[package.metadata.carrack.labels]
"org.example.team" = "blue"
quoted = "a \"b\" $c \\d"
"#;

/// Tells everything that a program can see of its image. Ends as it is told.
const PROGRAM: &str = r#"
use std::fs;

fn main() {
    println!("arguments {:?}", std::env::args().collect::<Vec<_>>());
    println!("folder {:?}", std::env::current_dir());
    let mut variables: Vec<_> = std::env::vars().filter(|(name, _)| name != "HOSTNAME").collect();
    variables.sort();
    println!("variables {variables:?}");
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines().filter(|line| ["Uid:", "Gid:", "Groups:"].iter().any(|name| line.starts_with(name))) {
        println!("{line}");
    }
    for path in ["/srv/door/config/main.toml", "/opt/strict/main.toml", "/etc/door.toml"] {
        println!("{path} {:?}", fs::read_to_string(path).map_err(|error| error.kind()));
    }
    for folder in ["/data", "/var/lib/door", "/srv/door", "/tmp", "/"] {
        let path = format!("{folder}/written");
        println!("{path} {:?}", fs::write(path.clone(), "text").map_err(|error| error.kind()));
    }
    println!("certificates {}", std::env::var("SSL_CERT_FILE").is_ok_and(|path| fs::metadata(path).is_ok()));
    println!("number {}", shared::NUMBER);
    std::process::exit(shared::NUMBER as i32 + 40);
}
"#;

/// Modes as git makes them: the embedded engine knows no others.
fn workspace() -> Project {
    let project = Project::workspace(&SERVICES);
    for service in SERVICES {
        project.write(&format!("{service}/src/main.rs"), PROGRAM);
    }
    let manifest = project.path().join("door/Cargo.toml");
    project.write("door/Cargo.toml", &(fs::read_to_string(manifest).unwrap() + DOOR));
    let manifest = project.path().join("plain/Cargo.toml");
    let debians = "[package.metadata.carrack]\nuser = \"www-data:staff\"\n";
    project.write("plain/Cargo.toml", &(fs::read_to_string(manifest).unwrap() + debians));
    let file = |path: &str, text: &str, mode: u32| {
        let path = project.write(&format!("door/config/{path}"), text);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    file("main.toml", "name = \"door\"\n", 0o644);
    file("run.sh", "#!/bin/sh\n", 0o755);
    file("inner/ä b.txt", "letters\n", 0o644);
    let config = project.path().join("door/config");
    for folder in [&config, &config.join("inner")] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // Whose they are on the machine that builds is nothing to the image.
    chown(config.join("main.toml"), Some(12345), Some(12345)).unwrap();
    project
}

/// What can be said of an image.
#[derive(Debug, PartialEq)]
struct Described {
    config: BTreeMap<&'static str, Value>,
    files: BTreeSet<String>,
    said: String,
    code: Option<i32>,
}

fn described(docker: &Docker, image: &str) -> Described {
    const KEYS: [&str; 10] = [
        "Entrypoint",
        "Cmd",
        "User",
        "ExposedPorts",
        "Labels",
        "Env",
        "WorkingDir",
        "Volumes",
        "Healthcheck",
        "StopSignal",
    ];
    let inspected = docker.inspect(image);
    let value = |key| match &inspected["Config"][key] {
        Value::Array(variables) if key == "Env" => {
            let mut variables = variables.clone();
            variables.sort_by_key(ToString::to_string);
            Value::Array(variables)
        }
        value => value.clone(),
    };
    let config = KEYS.into_iter().map(|key| (key, value(key))).collect();

    let container = docker.run(&["create", image]).expect_code(0).stdout;
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("container.tar").display().to_string();
    docker.run(&["export", "--output", &archive, container.trim()]).expect_code(0);
    docker.run(&["rm", container.trim()]).expect_code(0);
    let listed = carrack_testkit::Program::new("tar")
        .with_env("LC_ALL", "C.UTF-8")
        .run(folder.path(), &["--numeric-owner", "--quoting-style=literal", "-tvf", &archive]);
    let listed = listed.expect_code(0).stdout;
    let files = listed.lines().map(described_file).filter(|file| is_added(file)).collect();

    let ran = docker.run(&["run", "--rm", "--network", "host", image]);
    Described { config, files, said: ran.stdout + &ran.stderr, code: ran.code }
}

/// Mode, owner, size and name: `-rw-r--r-- 0/0 12 2026-11-23 01:00 etc/door.toml` without the time; a program without its
/// size, which depends on who linked it.
fn described_file(line: &str) -> String {
    let mut words = line.split_whitespace();
    let [mode, owner, size] = [(); 3].map(|()| words.next().unwrap());
    let name = words.skip(2).collect::<Vec<_>>().join(" ");
    let size = if name.starts_with("usr/local/bin/") { "" } else { size };
    format!("{mode} {owner} {size} {name}")
}

/// Whether the configuration asked for a file. A Debian has more than that, its folders included.
fn is_added(file: &str) -> bool {
    let name = file.splitn(4, ' ').last().unwrap();
    let added = ["data/", "etc/door.toml", "opt/", "srv/", "usr/local/bin/", "var/lib/door/"];
    added.iter().any(|added| name.starts_with(added)) && !["opt/", "srv/"].contains(&name)
}

#[test]
fn images_of_both_engines_are_alike() {
    let Some(docker) = Docker::dockyard("images_of_both_engines_are_alike", &dockyard_folder()) else {
        return;
    };
    let stage = Stage::new(workspace());
    let images = ENGINES.map(|engine| {
        let arguments = ["build", "--engine", engine, "--load"];
        let network: &[&str] = if engine == "docker" { &["--network", "host"] } else { &[] };
        carrack(docker, &stage, &[&arguments[..], network].concat()).expect_code(0);
        SERVICES.map(|service| described(docker, service))
    });
    let [[door, plain], [door_of_docker, plain_of_docker]] = images;
    assert_eq!(door.code, Some(41), "{}", door.said);
    assert_eq!(door, door_of_docker);
    assert_eq!(plain, plain_of_docker);
}

#[test]
fn code_that_does_not_compile_fails_alike() {
    let Some(docker) = Docker::dockyard("code_that_does_not_compile_fails_alike", &dockyard_folder()) else {
        return;
    };
    let stage = Stage::new(Project::workspace(&["door"]));
    stage.project.write("door/src/main.rs", "fn main() {\n    let door: u8 = \"open\";\n}\n");
    for engine in ENGINES {
        let network: &[&str] = if engine == "docker" { &["--network", "host"] } else { &[] };
        let failed = carrack(docker, &stage, &[&["build", "--engine", engine], network].concat());
        failed
            .expect_code(1)
            .expect_stderr("error[E0308]: mismatched types")
            .expect_stderr("door/src/main.rs:2:20")
            .expect_stderr("let door: u8 = \"open\";");
    }
}

#[test]
fn a_signal_stops_a_workspaces_build_in_the_engine() {
    const TEST: &str = "a_signal_stops_a_workspaces_build_in_the_engine";
    const STEP: &str = "sleep 901182";
    let Some(docker) = Docker::dockyard(TEST, &dockyard_folder()) else { return };
    let stage = Stage::new(Project::workspace(&["gate"]));
    stage.project.write(
        "gate/build.rs",
        "fn main() {\n    std::process::Command::new(\"sleep\").arg(\"901182\").status().unwrap();\n}\n",
    );
    let arguments = ["build", "--engine", "docker", "--network", "host"];
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = command(docker, &stage, &arguments).stderr(Stdio::piped()).spawn().unwrap();
        // Waits as long as it takes, as the harness does, unless the build ends by itself.
        while command_lines(STEP).is_empty() {
            assert_eq!(child.try_wait().unwrap(), None, "it ended by itself");
            thread::sleep(Duration::from_millis(20));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{said}");
        while !command_lines(STEP).is_empty() {
            thread::sleep(Duration::from_millis(20));
        }
    }
    stage.project.write("gate/build.rs", "fn main() {}\n");
    stage.project.write("shared/src/lib.rs", "pub const NUMBER: u32 = 2;\n");
    finish(&mut command(docker, &stage, &arguments)).expect_code(0);
    let ran = docker.run(&["run", "--rm", "--network", "none", "gate"]).expect_code(0);
    assert_eq!(ran.stdout, "gate 2\n", "what was interrupted leaves nothing stale");
}

#[test]
fn a_dockerfile_has_no_line_ends_in_values() {
    for table in ["env", "labels"] {
        let stage = Stage::configured(&format!(
            "[package.metadata.carrack.{table}]\nletter = \"\"\"one\ntwo\"\"\"\n"
        ));
        stage.build(&["--offline", "--engine", "embedded"]);
        let refused = stage.run(&["init", "--stdout"]).expect_code(2);
        assert_eq!(
            refused.stderr,
            "error: cannot write `letter` into a Dockerfile, because it has a line end\n\
            hint: leave line ends out of it, or build with `--engine embedded`, which takes them\n"
        );
    }
}
