//! The shared Docker daemon and its base images: what teams write in Dockerfiles works with them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use carrack_testkit::{
    Docker, Program, Project, RUST_IMAGE, SLIM_IMAGE, Steps, command_lines, has_program, skipped,
};

/// Where the daemons and the archive of the base images lie.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("dockyard")
}

/// A package with a dependency from crates.io, and the Dockerfile that many have.
fn seven() -> Project {
    let project = Project::new();
    project.write(
        "Cargo.toml",
        "[package]\nname = \"seven\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nitoa = \"1\"\n",
    );
    project.write("src/main.rs", "fn main() {\n    println!(\"{}\", itoa::Buffer::new().format(7));\n}\n");
    let dockerfile = format!(
        "FROM {RUST_IMAGE} AS builder\nWORKDIR /app\nCOPY Cargo.toml .\n\
         COPY src src\nRUN cargo fetch\nRUN cargo build --offline --release\n\
         FROM {SLIM_IMAGE}\nRUN apt-get update && apt-get install -y --no-install-recommends ca-certificates\n\
         COPY --from=builder /app/target/release/seven /usr/local/bin/seven\nCMD [\"seven\"]\n"
    );
    project.write("Dockerfile", &dockerfile);
    project.write(
        "compose.yaml",
        "version: \"3.4\"\nservices:\n  seven:\n    image: seven:compose\n    build:\n      context: .\n      network: host\n",
    );
    project
}

#[test]
fn a_build_reaches_debian_and_crates_io() {
    const TEST: &str = "a_build_reaches_debian_and_crates_io";
    let Some(docker) = Docker::dockyard(TEST, &folder()) else { return };
    let project = seven();
    let built = docker.build(project.path(), &["--tag", "seven"]).expect_code(0);
    Steps::of(&built.stderr).expect_ran("RUN cargo fetch").expect_ran("RUN apt-get update");
    let ran = docker.run(&["run", "--rm", "--network", "none", "seven"]).expect_code(0);
    assert_eq!(ran.stdout, "7\n");

    project.write("src/main.rs", "fn main() {\n    println!(\"{}\", itoa::Buffer::new().format(8));\n}\n");
    let built = docker.build(project.path(), &["--tag", "seven"]).expect_code(0);
    let steps = Steps::of(&built.stderr);
    steps.expect_cached("COPY Cargo.toml").expect_ran("COPY src").expect_cached("RUN apt-get update");
    let ran = docker.run(&["run", "--rm", "--network", "none", "seven"]).expect_code(0);
    assert_eq!(ran.stdout, "8\n");

    if !has_program("docker-compose") {
        return skipped(TEST, "docker-compose is not installed");
    }
    let compose = docker
        .with_engine(Program::new("/usr/bin/docker-compose"))
        .with_env("DOCKER_BUILDKIT", "1")
        .with_env("COMPOSE_DOCKER_CLI_BUILD", "1");
    let built = compose.run(project.path(), &["build", "--progress", "plain", "seven"]).expect_code(0);
    Steps::of(&built.stderr).expect_cached("RUN cargo build").expect_cached("RUN apt-get update");
    let ran = docker.run(&["run", "--rm", "--network", "none", "seven:compose"]).expect_code(0);
    assert_eq!(ran.stdout, "8\n");
}

#[test]
fn the_base_images_are_like_the_official_ones() {
    let Some(docker) = Docker::dockyard("the_base_images_are_like_the_official_ones", &folder()) else {
        return;
    };
    let says = |image: &str, script: &str| {
        docker.run(&["run", "--rm", "--network", "none", image, "sh", "-c", script]).expect_code(0).stdout
    };
    let bare =
        "test ! -e /etc/ssl/certs/ca-certificates.crt && ls /var/lib/apt/lists | grep -c Packages; id -u";
    assert_eq!(says(SLIM_IMAGE, bare), "0\n0\n");
    assert_eq!(says(RUST_IMAGE, "echo $CARGO_HOME $RUSTUP_HOME"), "/usr/local/cargo /usr/local/rustup\n");
    let release = says(RUST_IMAGE, "rustc -vV | sed -n 's/release: //p'");
    let version = says(RUST_IMAGE, "echo $RUST_VERSION");
    assert_eq!(release, version);
    assert_eq!(says(RUST_IMAGE, "rustup show active-toolchain").split('-').next(), Some(version.trim()));
    let long = docker.inspect(&format!("rust:{}-slim-bookworm", version.trim()));
    assert_eq!(long["Id"], docker.inspect(RUST_IMAGE)["Id"]);
}

/// Not a test of its own: what the next one kills.
#[test]
#[ignore = "ends when it is killed"]
fn a_daemon_until_the_end() {
    let Some(docker) = Docker::start("a_daemon_until_the_end", &folder()) else { return };
    println!("address {}", docker.host());
    std::io::stdout().flush().unwrap();
    loop {
        thread::park();
    }
}

#[test]
fn a_daemon_ends_with_a_test_that_is_killed() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "dockyard::a_daemon_until_the_end", "--ignored", "--nocapture"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let socket = lines.map(Result::unwrap).find_map(|line| {
        let (_, address) = line.split_once("address unix://")?;
        Some(PathBuf::from(address))
    });
    let Some(socket) = socket else {
        // It has said why.
        child.wait().unwrap();
        return;
    };
    let run = socket.parent().unwrap();
    assert!(socket.exists());
    let daemons = || command_lines(run.to_str().unwrap()).len();
    assert!(daemons() > 1, "a guard, a daemon and its containerd");
    child.kill().unwrap();
    child.wait().unwrap();
    // Waits as long as it takes: the harness ends a run that hangs.
    while daemons() > 0 || run.exists() {
        thread::sleep(Duration::from_millis(50));
    }
    let left = fs::read_dir(folder().join("daemons")).unwrap().flatten();
    let prefix = format!("{}-", child.id());
    assert_eq!(left.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)).count(), 0);
}

#[test]
fn a_current_engine_builds_and_leaves_nothing_behind() {
    const TEST: &str = "a_current_engine_builds_and_leaves_nothing_behind";
    let mut docker = match Docker::current(&folder()) {
        Ok(docker) => docker,
        Err(why) => return skipped(TEST, &why),
    };
    if !Path::new("/bin/busybox").exists() {
        return skipped(TEST, "busybox-static is not installed");
    }
    let project = Project::new();
    fs::create_dir(project.path().join("bin")).unwrap();
    fs::copy("/bin/busybox", project.path().join("bin/sh")).unwrap();
    // Neither the heredoc nor the flag is known to the distribution's engine.
    let dockerfile = "FROM scratch\nCOPY --link bin/sh /bin/sh\nRUN <<EOF\necho made > /out\nEOF\n";
    project.write("Dockerfile", dockerfile);
    docker.build(project.path(), &["--tag", "made"]).expect_code(0);
    let archive = project.path().join("made.tar");
    docker.save("made", &archive);
    assert!(fs::metadata(&archive).unwrap().len() > 1_000);

    let socket = docker.host().trim_start_matches("unix://").to_owned();
    docker.stop();
    assert!(!Path::new(&socket).parent().unwrap().exists());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains("/engines/"), "{mounts}");
    assert_eq!(command_lines(&socket), [] as [String; 0]);
}
