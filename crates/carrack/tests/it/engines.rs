//! Images in real engines: a Docker daemon of the test's own, Podman with a storage of its own, skopeo.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use carrack_testkit::{Docker, Program, ask, ask_until_it_answers, free_port, has_program, skipped};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rustcare::Rustcare;
use crate::stage::dockyard_folder;

/// Engines answer at once or after many seconds on a busy machine; a minute is never.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
const IMAGE: &str = "rustcare-server:0.3.0";

/// Podman with a storage and settings of its own.
struct Podman {
    program: Program,
    env: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl Podman {
    fn new(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped(test, "without root, Podman needs a login session");
            return None;
        }
        if !has_program("podman") || !has_program("runc") {
            skipped(test, "podman or runc is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            path("root"),
            path("run")
        );
        fs::write(folder.path().join("storage.conf"), storage).unwrap();
        // crun refuses mixed cgroup hierarchies, and the usual limits are above what a container may set for itself.
        let settings = format!(
            "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
             tmp_dir = \"{}\"\n\n[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n",
            path("tmp")
        );
        fs::write(folder.path().join("containers.conf"), settings).unwrap();
        let env = vec![
            ("CONTAINERS_STORAGE_CONF", path("storage.conf")),
            ("CONTAINERS_CONF", path("containers.conf")),
        ];
        let program =
            env.iter().fold(Program::new("podman"), |program, (name, value)| program.with_env(name, value));
        Some(Self { program, env, folder })
    }

    fn run(&self, arguments: &[&str]) -> carrack_testkit::Finished {
        self.program.run(self.folder.path(), arguments)
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        self.run(&["rm", "--force", "--all", "--time", "0"]);
    }
}

/// The only entry of what `inspect` prints.
fn inspected(text: &str) -> Value {
    let mut entries: Vec<Value> = serde_json::from_str(text).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

/// A folder with a program that refuses everything.
fn refusing(name: &str, words: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(name);
    fs::write(&program, format!("#!/bin/sh\necho '{words}' >&2\nexit 125\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// This process's `PATH` behind `folder`.
fn path_with(folder: &Path) -> String {
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

/// The server answers and keeps what it is told.
fn assert_serves(address: &str) {
    let health = ask_until_it_answers(address, "GET /health");
    assert_eq!(health.status, 200, "{}", health.body);
    let ada = r#"{"name": "Ada Lovelace", "birth_date": "1990-12-10"}"#;
    let created = ask(address, "POST /patients", Some(ada)).unwrap();
    assert_eq!(created.status, 201, "{}", created.body);
}

#[test]
fn docker_loads_the_image_and_runs_it() {
    let Some(docker) = Docker::start("docker_loads_the_image_and_runs_it", &dockyard_folder()) else {
        return;
    };
    let rustcare = Rustcare::get();
    let carrack = docker.with_engine(rustcare.program());
    let building = rustcare.alone();
    let ids =
        carrack.run(&rustcare.workspace, &["build", "--load", "-q", "--label", "team=clinic"]).expect_code(0);
    drop(building);

    let image = docker.inspect(IMAGE);
    assert!(ids.stdout.contains(image["Id"].as_str().unwrap()), "docker has the id that carrack printed");
    assert_eq!(docker.inspect("rustcare-server:latest")["Id"], image["Id"]);
    let config = &image["Config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["ExposedPorts"], json!({"8080/tcp": {}}));
    assert_eq!(config["Volumes"], json!({"/data": {}}));
    assert_eq!(config["Labels"], json!({"team": "clinic"}));
    assert_eq!(config["Entrypoint"], json!(["/usr/local/bin/rustcare-server"]));
    assert_eq!(config["WorkingDir"], "/app");
    assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/usr/local/bin/rustcare-server", "health"]));
    let env = config["Env"].as_array().unwrap();
    assert!(env.contains(&json!("RUST_LOG=info")), "{env:?}");

    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("RUSTCARE_LISTEN={address}");
    let run = [
        "run",
        "-d",
        "--name",
        "server",
        "--network",
        "host",
        "--health-interval",
        "1s",
        "-e",
        &listen,
        IMAGE,
    ];
    docker.run(&run).expect_code(0);
    assert_serves(&address);
    let processes = docker.run(&["top", "server", "-o", "uid,pid,args"]).expect_code(0).stdout;
    let process = processes.lines().nth(1).unwrap();
    assert!(process.trim().starts_with("65532 "), "{processes}");
    let start = Instant::now();
    loop {
        let state = docker.inspect("server")["State"].take();
        match state["Health"]["Status"].as_str() {
            Some("healthy") => break,
            Some("starting") if start.elapsed() < PATIENCE => thread::sleep(PAUSE),
            _ => panic!("{state}"),
        }
    }
    docker.run(&["stop", "server"]).expect_code(0);
    assert_eq!(docker.inspect("server")["State"]["ExitCode"], 0);

    // The same images again, and the other two services.
    let building = rustcare.alone();
    carrack.run(&rustcare.workspace, &["build", "--load", "-q"]).expect_code(0);
    drop(building);
    docker.run(&["run", "--rm", "--network", "host", "ops-cli", "migrate"]).expect_code(0);
    let wrong = docker.run(&[
        "run",
        "--rm",
        "--network",
        "host",
        "-e",
        &format!("RUSTCARE_SYNC_SERVER=http://{address}"),
        "rustcare-sync",
        "--once",
    ]);
    assert_eq!(wrong.code, Some(1), "the server was stopped: {}", wrong.stderr);
}

#[test]
fn podman_gets_the_image_when_docker_does_not_answer() {
    let Some(podman) = Podman::new("podman_gets_the_image_when_docker_does_not_answer") else { return };
    let rustcare = Rustcare::get();
    let carrack =
        podman.env.iter().fold(rustcare.program(), |program, (name, value)| program.with_env(name, value));
    let carrack = carrack.with_env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let building = rustcare.alone();
    let ids = carrack.run(&rustcare.workspace, &["build", "--load", "-q"]).expect_code(0);
    drop(building);

    let image = inspected(&podman.run(&["image", "inspect", IMAGE]).expect_code(0).stdout);
    assert!(ids.stdout.contains(image["Id"].as_str().unwrap()), "podman has the id that carrack printed");
    assert_eq!(image["Config"]["User"], "65532:65532");
    assert_eq!(image["Config"]["Entrypoint"], json!(["/usr/local/bin/rustcare-server"]));

    let address = format!("127.0.0.1:{}", free_port());
    let listen = format!("RUSTCARE_LISTEN={address}");
    // Without systemd there is no timer for the health check; it is run by hand.
    let run = [
        "run",
        "-d",
        "--name",
        "server",
        "--network",
        "host",
        "--health-interval",
        "disable",
        "-e",
        &listen,
        IMAGE,
    ];
    podman.run(&run).expect_code(0);
    assert_serves(&address);
    let user = podman.run(&["top", "server", "user"]).expect_code(0).stdout;
    assert_eq!(user.lines().nth(1), Some("nonroot"), "{user}");
    podman.run(&["healthcheck", "run", "server"]).expect_code(0);
    podman.run(&["stop", "server"]).expect_code(0);
    let server = inspected(&podman.run(&["inspect", "server"]).expect_code(0).stdout);
    assert_eq!(server["State"]["ExitCode"], 0);
}

#[test]
fn no_engine_is_told_with_everything_that_was_tried() {
    let rustcare = Rustcare::get();
    let podman = refusing("podman", "no storage today");
    let carrack = rustcare
        .program()
        .with_env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
        .with_env("PATH", path_with(podman.path()));
    let _building = rustcare.alone();
    carrack
        .run(&rustcare.workspace, &["build", "--load"])
        .expect_code(4)
        .expect_stderr("error: cannot load the images: neither Docker nor Podman answers")
        .expect_stderr("docker: ")
        .expect_stderr("no storage today")
        .expect_stderr("hint: ");
}

#[test]
fn one_layout_of_three_images_is_read_by_other_tools() {
    if !has_program("skopeo") || !has_program("umoci") {
        return skipped(
            "one_layout_of_three_images_is_read_by_other_tools",
            "skopeo or umoci is not installed",
        );
    }
    let rustcare = Rustcare::get();
    let folder = tempfile::tempdir().unwrap();
    let [layout, archive] =
        ["layout", "image.tar"].map(|name| folder.path().join(name).display().to_string());
    let output = format!("type=oci,tar=false,dest={layout}");
    let building = rustcare.alone();
    let arguments = ["build", "-q", "-o", &output];
    let ids = rustcare.program().run(&rustcare.workspace, &arguments).expect_code(0);
    drop(building);

    let skopeo = Program::new("skopeo");
    let (from, to) = (format!("oci:{layout}:{IMAGE}"), format!("docker-archive:{archive}:clinic/server:1"));
    skopeo.run(folder.path(), &["--insecure-policy", "copy", &from, &to]).expect_code(0);
    let raw = |image: &str| {
        let text = skopeo.run(folder.path(), &["inspect", "--config", "--raw", image]).expect_code(0).stdout;
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let config = raw(&format!("docker-archive:{archive}"));
    assert_eq!(config["rootfs"], raw(&from)["rootfs"]);
    assert_eq!(config["config"]["User"], "65532:65532");
    let manifest = skopeo.run(folder.path(), &["inspect", "--raw", &from]).expect_code(0).stdout;
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert!(ids.stdout.contains(manifest["config"]["digest"].as_str().unwrap()), "{manifest}");

    let (image, bundle) = (format!("{layout}:ops-cli:latest"), folder.path().join("bundle"));
    let umoci = Program::new("umoci");
    let arguments = ["unpack", "--rootless", "--image", &image, bundle.to_str().unwrap()];
    umoci.run(folder.path(), &arguments).expect_code(0);
    assert!(bundle.join("rootfs/usr/local/bin/ops-cli").is_file());
}
