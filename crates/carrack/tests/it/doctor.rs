//! `carrack doctor` on this machine, and on this machine with something taken away.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use carrack_testkit::{Docker, Program, Project, find_program, skipped};
use serde_json::Value;
use tempfile::TempDir;

use crate::scene::{new_folder, rustup_home};
use crate::stage::{SYSTEM, dockyard_folder, is_root, path_of};

/// How often programs of this machine are asked again that did not answer in time.
const PATIENCE: usize = 20;
/// A number that nobody has.
const USER: u32 = 12345;

/// The program with an environment that has nothing of this machine's, and a HOME of its own.
struct Patient {
    folder: TempDir,
    env: BTreeMap<&'static str, String>,
    user: Option<u32>,
}

/// What doctor found.
#[derive(Debug)]
struct Report {
    code: i32,
    document: Value,
}

impl Patient {
    fn new() -> Self {
        let folder = new_folder();
        let home = folder.path().join("home").display().to_string();
        let env = BTreeMap::from([
            ("HOME", home),
            ("RUSTUP_HOME", rustup_home()),
            // No client gets plugins or a context from whoever runs the test.
            ("DOCKER_CONFIG", folder.path().join("docker").display().to_string()),
            ("DOCKER_HOST", "unix:///nonexistent/docker.sock".to_owned()),
        ]);
        path_of(&folder.path().join("bin"), &["cc", "ld", "setpriv", "sh", "unshare"]);
        Self { folder, env, user: None }.with_cargo_of(&folder_of("cargo"))
    }

    fn with_cargo_of(self, folder: &str) -> Self {
        let path = format!("{folder}:{}", self.folder.path().join("bin").display());
        self.with("PATH", path)
    }

    /// Puts a program of the distribution into PATH. Not all of them: compose alone takes a second of a processor, and
    /// seconds are what doctor has.
    fn with_program(self, path: &str) -> Self {
        let path = Path::new(path);
        symlink(path, self.folder.path().join("bin").join(path.file_name().unwrap())).unwrap();
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.insert(name, value.into());
        self
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("home/.cache/carrack")
    }

    fn program(&self) -> Program {
        let mut path = PathBuf::from(env!("CARGO_BIN_EXE_carrack"));
        if self.user.is_some() {
            // An ordinary user can't reach what cargo built below root's folders. A copy that this process writes is busy
            // for as long as another thread's new process has not let go of it.
            let copy = self.folder.path().join("carrack");
            assert!(Command::new("cp").args([&path, &copy]).status().unwrap().success());
            path = copy;
        }
        let program = Program::new(path).in_clean_environment();
        let program = self.env.iter().fold(program, |program, (name, value)| program.with_env(name, value));
        self.user.into_iter().fold(program, Program::as_user)
    }

    /// Reports, once everything that was asked has answered: on a busy machine a program may take too long.
    fn report(&self, folder: &Path, arguments: &[&str]) -> Report {
        for _ in 0..PATIENCE {
            let report = self.report_once(folder, arguments);
            if !report.lacks_answers() {
                return report;
            }
        }
        panic!("programs of this machine do not answer: {:#?}", self.report_once(folder, arguments))
    }

    fn report_once(&self, folder: &Path, arguments: &[&str]) -> Report {
        let finished = self.program().run(folder, &[&["doctor", "--json"], arguments].concat());
        assert_eq!(finished.stderr, "");
        let document = serde_json::from_str(&finished.stdout).unwrap();
        Report { code: finished.code.unwrap(), document }
    }
}

impl Report {
    fn of(&self, name: &str) -> Vec<&Value> {
        let findings = self.document["findings"].as_array().unwrap();
        findings.iter().filter(|finding| finding["name"] == name).collect()
    }

    fn lacks_answers(&self) -> bool {
        let findings = self.document["findings"].as_array().unwrap();
        let mut texts = findings.iter().filter_map(|finding| finding["what"].as_str());
        texts.any(|what| what.contains("no answer") || what.contains("within 5 seconds"))
    }

    /// The state of the finding, with what was found; fails unless there is exactly one of that name.
    #[track_caller]
    fn expect(&self, name: &str, state: &str, what: &str) -> &Value {
        let found = self.of(name);
        let [finding] = found[..] else { panic!("{name}: {self:#?}") };
        let fits = finding["state"] == state && finding["what"].as_str().unwrap().contains(what);
        assert!(fits, "expected {name} {state} {what:?}: {finding:#}");
        &finding["hint"]
    }

    fn broken(&self) -> Vec<&str> {
        let findings = self.document["findings"].as_array().unwrap().iter();
        let broken = findings.filter(|finding| finding["state"] == "broken");
        broken.map(|finding| finding["name"].as_str().unwrap()).collect()
    }
}

/// Where PATH has the program.
fn folder_of(program: &str) -> String {
    find_program(program).unwrap().parent().unwrap().display().to_string()
}

/// A folder with a script called `name`.
fn script(name: &str, text: &str) -> TempDir {
    let folder = new_folder();
    let (written, program) = (folder.path().join("text"), folder.path().join(name));
    fs::write(&written, format!("#!/bin/sh\n{text}\n")).unwrap();
    // As with the copy of the program itself.
    let install = Command::new("install").args([&written, &program]).status().unwrap();
    assert!(install.success());
    folder
}

#[test]
fn a_workspace_on_this_machine() {
    let patient = Patient::new();
    let project = Project::workspace(&["front", "back"]);
    let before = (project.inventory(), home_inventory(&patient));
    let report = patient.report(project.path(), &[]);
    assert_eq!((report.code, report.broken()), (0, Vec::new()));
    report.expect("toolchain", "ok", "rustc 1.");
    report.expect("workspace", "ok", "3 packages in ");
    report.expect("linker", "ok", "cc");
    report.expect("state-folder", "ok", "is made by the first build");
    report.expect("namespaces", "ok", "");
    assert_eq!(report.of("file-system").len(), 2);
    assert_eq!((project.inventory(), home_inventory(&patient)), before, "doctor changes nothing");

    // Named from elsewhere, it is the same; a folder without a workspace has no such lines.
    let member = project.path().join("front");
    let named = patient.report(Path::new("/"), &[member.to_str().unwrap()]);
    assert_eq!(named.of("workspace"), report.of("workspace"));
    let outside = patient.report(patient.folder.path(), &[]);
    assert_eq!((outside.code, outside.of("workspace").len(), outside.of("file-system").len()), (0, 0, 1));
}

/// Every path below HOME.
fn home_inventory(patient: &Patient) -> Vec<PathBuf> {
    let home = fs::read_dir(&patient.env["HOME"]).unwrap();
    home.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn the_document_has_a_stable_shape() {
    let patient = Patient::new();
    let report = patient.report(patient.folder.path(), &["--engine", "docker"]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let document = &report.document;
    assert_eq!(keys(document), ["format", "carrack", "engine", "broken", "findings"]);
    assert_eq!((&document["format"], &document["engine"]), (&Value::from(1), &Value::from("docker")));
    assert_eq!(document["carrack"], env!("CARGO_PKG_VERSION"));
    // There is no daemon.
    assert_eq!((report.code, &document["broken"]), (3, &Value::Bool(true)));
    for finding in document["findings"].as_array().unwrap() {
        assert_eq!(keys(finding), ["group", "name", "state", "what", "hint"]);
        let one_of = |key: &str, names: &[&str]| names.contains(&finding[key].as_str().unwrap());
        assert!(one_of("group", &["rust", "sandbox", "docker", "disk", "network"]), "{finding}");
        assert!(one_of("state", &["ok", "note", "warning", "broken"]), "{finding}");
        assert!(finding["hint"].is_null() || finding["hint"].is_string());
        assert!(!finding["what"].as_str().unwrap().contains('\n'), "{finding}");
    }
}

#[test]
fn people_read_lines() {
    let patient = Patient::new().with("PATH", "/nonexistent");
    let report = |patient: &Patient, arguments: &[&str]| {
        patient.program().run(patient.folder.path(), arguments).expect_code(3).stdout
    };
    let plain = report(&patient, &["doctor"]);
    let start = "Rust\n     broken  toolchain           cannot find cargo in PATH\n                                 hint: ";
    assert!(plain.starts_with(start), "{plain}");
    assert!(plain.ends_with("       Done  2 things are broken\n"), "{plain}");
    let coloured =
        report(&Patient::new().with("PATH", "/nonexistent").with("CLICOLOR_FORCE", "1"), &["doctor"]);
    assert!(coloured.contains("\u{1b}[") && !plain.contains('\u{1b}'), "{coloured}");
    let refused = patient.with("CLICOLOR_FORCE", "1").with("NO_COLOR", "1");
    assert!(!report(&refused, &["doctor"]).contains('\u{1b}'));
}

#[test]
fn without_any_program() {
    let patient = Patient::new().with("PATH", "/nonexistent");
    let project = Project::binary("app", "hello");
    let report = patient.report(project.path(), &[]);
    assert_eq!((report.code, report.broken()), (3, vec!["toolchain", "linker"]));
    report.expect("toolchain", "broken", "cannot find cargo in PATH");
    report.expect("docker-client", "note", "not installed");
    report.expect("podman", "note", "neither Docker nor Podman");
    assert!(report.of("workspace").is_empty() && report.of("docker-daemon").is_empty());
}

#[test]
fn rust_versions() {
    let patient = Patient::new();
    let project = Project::binary("app", "hello");
    project.write("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\nrust-version = \"1.999\"\n");
    let report = patient.report(project.path(), &[]);
    assert_eq!((report.code, report.broken()), (3, vec!["rust-version"]));
    report.expect("rust-version", "broken", "app needs Rust 1.999");
    // Nobody but rustup obeys the file.
    project.write("Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.1.0\"\n");
    project.write(
        "rust-toolchain.toml",
        "[toolchain]\nchannel = \"1.2.3\"\ntargets = [\"sparc-sun-solaris\"]\n",
    );
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap().stdout;
    let bin = Path::new(String::from_utf8(sysroot).unwrap().trim()).join("bin").display().to_string();
    let report = Patient::new().with_cargo_of(&bin).report(project.path(), &[]);
    assert_eq!(report.code, 0);
    report.expect("rust-toolchain-file", "warning", "asks for 1.2.3, but rustc 1.");
    assert_eq!(
        report.expect("target", "warning", "sparc-sun-solaris"),
        "rustup target add sparc-sun-solaris"
    );
    project.write("Cargo.toml", "[package\n");
    Patient::new().report(project.path(), &[]).expect("workspace", "broken", "cannot parse");
    project.write("Cargo.toml", "[package]\nname = \"app\"\nversion = \"x\"\n");
    let patient = Patient::new().with_cargo_of(&bin);
    patient.report(project.path(), &[]).expect("workspace", "broken", "cargo refuses it");
}

#[test]
fn a_state_folder_that_cannot_be_used() {
    let patient = Patient::new();
    let here = patient.folder.path();
    fs::create_dir_all(patient.state()).unwrap();
    fs::write(patient.state().join("format"), "999\n").unwrap();
    let report = patient.report(here, &[]);
    assert_eq!((report.code, report.broken()), (3, vec!["state-folder"]));
    fs::write(patient.state().join("format"), "x\n").unwrap();
    let damaged = patient.report(here, &[]);
    let hint = damaged.expect("state-folder", "broken", "").as_str().unwrap();
    assert!(hint.starts_with(&format!("rm -rf {} ", patient.state().display())), "{hint}");
    // What it says mends it.
    fs::remove_dir_all(patient.state()).unwrap();
    patient.program().run(here, &["images"]).expect_code(0);
    let mended = patient.report(here, &[]);
    assert_eq!(mended.code, 0);
    mended.expect("state-folder", "ok", "opens");
    mended.expect("overlay", "ok", "");
    assert_eq!(fs::read_dir(patient.state().join("scratch")).unwrap().count(), 0);
}

#[test]
fn an_ordinary_user_in_closed_folders() {
    let test = "doctor as an ordinary user";
    if !is_root() {
        return skipped(test, "it takes root to become someone else");
    }
    let mut patient = Patient::new().with("PATH", SYSTEM);
    patient.user = Some(USER);
    let closed = patient.folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    // HOME is root's: there is no place for the state.
    let report = patient.report(&closed, &[]);
    assert_eq!(report.code, 3);
    report.expect("state-folder", "broken", "is not writable");
    report.expect("subordinate-ids", "note", "");
    let named = patient.report(Path::new("/"), &[closed.join("deeper").to_str().unwrap()]);
    named.expect("workspace", "broken", "cannot read");

    std::os::unix::fs::chown(&patient.env["HOME"], Some(USER), Some(USER)).unwrap();
    let report = patient.report(Path::new("/"), &[]);
    report.expect("state-folder", "ok", "");
    let isolated = Command::new("setpriv")
        .args(["--reuid", "12345", "--regid", "12345", "--clear-groups", "unshare", "--user", "true"])
        .status();
    if isolated.is_ok_and(|status| status.success()) {
        report.expect("overlay", "ok", "");
    }
    assert_eq!(home_inventory(&patient), [""; 0].map(PathBuf::from));
}

#[test]
fn forbidden_namespaces() {
    let test = "doctor without namespaces";
    let patient = Patient::new();
    // Whoever is in such a namespace can't make another one.
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let inner = patient.program().command(patient.folder.path(), &["doctor", "--json"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", forbid, "sh"]).arg(inner.get_program());
    command.args(inner.get_args()).envs(patient.env.iter()).current_dir(patient.folder.path());
    let output = command.output().unwrap();
    let Ok(document) = serde_json::from_slice(&output.stdout) else {
        return skipped(test, &String::from_utf8_lossy(&output.stderr));
    };
    let report = Report { code: output.status.code().unwrap(), document };
    assert_eq!(report.code, 0, "a build works without");
    let hint = report.expect("namespaces", "warning", "user.max_user_namespaces is 0");
    assert_eq!(hint, "sysctl -w user.max_user_namespaces=15000");
}

#[test]
fn a_real_daemon_of_20_10() {
    let Some(engine) = Docker::start("a_real_daemon_of_20_10", &dockyard_folder()) else { return };
    let patient = || Patient::new().with_program("/usr/bin/docker").with("DOCKER_HOST", engine.host());
    let folder = new_folder();
    let here = folder.path();
    let report = |patient: Patient| patient.report(here, &["--engine", "docker"]);

    let off = report(patient());
    off.expect("docker-client", "ok", "/bin/docker 20.10.");
    off.expect("docker-daemon", "ok", engine.host());
    off.expect("docker-api", "ok", "API 1.41");
    off.expect("storage-driver", "ok", "overlay2");
    assert_eq!(
        off.expect("buildkit", "warning", "the --mount option requires BuildKit"),
        "export DOCKER_BUILDKIT=1"
    );
    assert!(off.of("buildx").is_empty() && off.of("docker-clients").is_empty(), "{off:#?}");
    // `carrack build` switches it on by itself.
    assert_eq!((off.code, off.broken()), (0, Vec::new()));

    // It is right: that very client refuses such a line, and obeys the hint.
    fs::write(here.join("Dockerfile"), "FROM scratch\nRUN --mount=type=cache,target=/x true\n").unwrap();
    let docker = |buildkit: &str| {
        let client =
            Program::new("/usr/bin/docker").in_clean_environment().with_env("DOCKER_HOST", engine.host());
        let client =
            client.with_env("HOME", here).with_env("PATH", SYSTEM).with_env("DOCKER_BUILDKIT", buildkit);
        client.run(here, &["build", "--network", "host", "-f", "Dockerfile", "home"])
    };
    docker("").expect_code(1).expect_stderr("the --mount option requires BuildKit");
    assert!(!docker("1").stderr.contains("requires BuildKit"));

    let on = report(patient().with("DOCKER_BUILDKIT", "1"));
    on.expect("buildkit", "ok", "by DOCKER_BUILDKIT");
    report(patient().with("DOCKER_BUILDKIT", "0")).expect("buildkit", "warning", "DOCKER_BUILDKIT=0");
    report(patient().with("DOCKER_BUILDKIT", "maybe")).expect(
        "buildkit",
        "warning",
        "neither true nor false",
    );
    let unfit = report(patient().with("DOCKER_API_VERSION", "1.99"));
    assert_eq!(
        unfit.expect("docker-api", "broken", "client version 1.99 is too new"),
        "unset DOCKER_API_VERSION"
    );
    // For the embedded engine it is a warning.
    let embedded = patient().with("DOCKER_API_VERSION", "1.99").report(here, &[]);
    embedded.expect("docker-api", "warning", "too new");
    assert_eq!((unfit.code, embedded.code), (3, 0));

    if Path::new("/usr/bin/docker-compose").exists() {
        let patient = || patient().with_program("/usr/bin/docker-compose");
        report(patient()).expect("compose", "warning", "builds without BuildKit");
        let told = patient().with("DOCKER_BUILDKIT", "1").with("COMPOSE_DOCKER_CLI_BUILD", "1");
        report(told).expect("compose", "note", "1.29");
    } else {
        skipped("doctor and compose 1", "docker-compose is not installed");
    }

    let socket = engine.host().strip_prefix("unix://").unwrap();
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600)).unwrap();
    let mut ordinary = patient();
    ordinary.user = Some(USER);
    report(ordinary).expect("docker-daemon", "broken", "is closed to this user");
}

#[test]
fn a_daemon_may_ask_for_buildkit_and_for_vfs() {
    let test = "a_daemon_may_ask_for_buildkit_and_for_vfs";
    let settings = new_folder();
    let path = settings.path().join("daemon.json");
    fs::write(&path, r#"{"features": {"buildkit": true}, "storage-driver": "vfs"}"#).unwrap();
    let options = ["--config-file", path.to_str().unwrap()];
    let Some(engine) = Docker::start_with(test, &dockyard_folder(), &options) else { return };
    let patient = Patient::new().with_program("/usr/bin/docker").with("DOCKER_HOST", engine.host());
    let report = patient.report(settings.path(), &["--engine", "docker"]);
    report.expect("buildkit", "ok", "as the daemon asks");
    report.expect("storage-driver", "warning", "vfs copies everything");
}

/// A daemon that takes connections and never answers, and a client that never ends.
#[test]
fn nothing_hangs() {
    let test = "nothing_hangs";
    let folder = new_folder();
    let socket = folder.path().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    if Path::new("/usr/bin/docker").exists() {
        let patient = Patient::new()
            .with_program("/usr/bin/docker")
            .with("DOCKER_HOST", format!("unix://{}", socket.display()));
        let report = patient.report_once(folder.path(), &[]);
        report.expect("docker-client", "ok", "/bin/docker");
        report.expect("docker-daemon", "warning", "answers within 5 seconds");
    } else {
        skipped(test, "docker.io is not installed");
    }
    // A child of the script holds its outputs open.
    let hanging =
        script("docker", "echo $$ >> \"${0%/*}/pids\"\nsleep 1000 &\necho $! >> \"${0%/*}/pids\"\nwait");
    let path = format!("{}:{SYSTEM}", hanging.path().display());
    let report = Patient::new().with("PATH", path).report_once(folder.path(), &[]);
    report.expect("docker-client", "warning", "does not say its version: no answer");
    let pids = fs::read_to_string(hanging.path().join("pids")).unwrap();
    assert!(pids.lines().count() >= 8, "{pids}");
    for pid in pids.lines() {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Killed orphans may wait for whoever reaps them here.
        let gone = state.is_empty() || state.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
        assert!(gone, "{state}");
    }
}

/// Opening a pipe that nobody writes to takes as long as a network disk whose server is gone.
#[test]
fn a_file_system_that_never_answers() {
    let patient = Patient::new();
    fs::create_dir_all(patient.state()).unwrap();
    let made = Command::new("mkfifo").arg(patient.state().join("format")).status().unwrap();
    assert!(made.success());
    let report = patient.report(patient.folder.path(), &[]);
    assert_eq!((report.code, report.broken()), (3, vec!["unanswered"]));
    report.expect("unanswered", "broken", "the sandbox, the state folder");
    report.expect("toolchain", "ok", "");
}

#[test]
fn the_workspace_chooses_the_engine() {
    let project = Project::binary("app", "hello");
    project.write("carrack.toml", "engine = \"docker\"\n");
    let configured = Patient::new().report(project.path(), &[]);
    assert_eq!((configured.code, configured.broken()), (3, vec!["docker-client"]));
    assert_eq!(configured.document["engine"], "docker");
    let embedded = Patient::new().report(project.path(), &["--engine", "embedded"]);
    assert_eq!((embedded.code, &embedded.document["engine"]), (0, &Value::from("embedded")));
    let remote = Patient::new().report(project.path(), &["--engine", "buildkit=tcp://builder:1234"]);
    assert_eq!((remote.code, remote.broken()), (3, vec!["buildctl"]));
}
