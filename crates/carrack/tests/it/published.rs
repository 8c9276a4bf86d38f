//! Sources of packages as cargo knows them (registries with and without a token, git, vendored, patched, already there),
//! and published programs, built as they are.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use std::{fs, thread};

use carrack_testkit::{Finished, Program, Project, ask_until_it_answers, free_port, has_program, skipped};

use crate::registry::{Registry, TOKEN, greeting_package, write_greeting};
use crate::scene::{Scene, visible_folder};
use crate::troubleshooting::assert_quoted;

/// A program that says what `greeting` has to say.
const MAIN: &str = "fn main() {\n    println!(\"{}\", greeting::GREETING);\n}\n";

/// A package `hello` with `greeting` as its only dependency.
fn hello(greeting: &str) -> Scene {
    let project = Project::new();
    let manifest = format!(
        "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\ngreeting = {{ {greeting} }}\n"
    );
    project.write("Cargo.toml", &manifest);
    project.write("src/main.rs", MAIN);
    Scene::new(project)
}

/// `hello` with its dependency in a registry, and a user who has the token. Its build script looks where the token is and
/// at what it was given.
fn hello_from(registry: &Registry) -> Scene {
    let looks = r#"
        fn main() {
            for home in ["CARGO_HOME", "USERS_CARGO_HOME"].into_iter().filter_map(std::env::var_os) {
                let file = std::path::Path::new(&home).join("credentials.toml");
                let text = std::fs::read_to_string(file).unwrap_or_default();
                assert!(!text.contains("token-of"), "a build script reads the token");
            }
            let given: String = std::env::vars().map(|(name, value)| format!("{name}={value}\n")).collect();
            assert!(!given.contains("token-of"), "a build script is given the token");
        }
    "#;
    let scene = hello("version = \"1\", registry = \"clinic\"");
    scene.project.write("build.rs", looks);
    write_user(&scene, registry);
    scene
}

fn write_user(scene: &Scene, registry: &Registry) {
    let configuration = format!(
        "[registry]\nglobal-credential-providers = [\"cargo:token\"]\n\n[registries.clinic]\nindex = \"{}\"\n",
        registry.index()
    );
    fs::write(scene.cargo_home().join("config.toml"), configuration).unwrap();
    write_token(scene);
}

fn write_token(scene: &Scene) {
    let text = format!("[registries.clinic]\ntoken = \"{TOKEN}\"\n");
    fs::write(scene.cargo_home().join("credentials.toml"), text).unwrap();
}

/// The user's own cargo, in the workspace, with the user's CARGO_HOME.
fn cargo(scene: &Scene, arguments: &[&str]) -> Output {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(scene.workspace()).env("CARGO_HOME", scene.cargo_home());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn build(scene: &Scene, arguments: &[&str]) -> Finished {
    scene.program().run(&scene.workspace(), &[&["build"], arguments].concat())
}

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args([
        "-c",
        "user.name=test",
        "-c",
        "user.email=test@example.org",
        "-c",
        "init.defaultBranch=main",
    ]);
    let output = command.args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Every file below a folder of a store, with its content.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap_or_default()));
        }
    }
    found
}

#[test]
fn a_private_registry_gets_the_users_token_and_nobody_else() {
    let registry = Registry::start();
    let mut scene = hello_from(&registry);
    match visible_folder() {
        // Where a build can see the user's files.
        Some(around) => {
            for name in ["home", "cargo"] {
                fs::create_dir(around.path().join(name)).unwrap();
            }
            scene.around = around;
            write_user(&scene, &registry);
        }
        None => skipped("a token in a folder that builds can see", "no such folder can be written"),
    }
    let home = scene.cargo_home().display().to_string();
    scene.set("USERS_CARGO_HOME", &home);
    build(&scene, &[]).expect_code(0);
    assert_eq!(scene.says("hello"), "hello from the registry");
    assert_eq!(registry.downloads(), 1);
    for (path, content) in contents(&scene.state()) {
        let found = content.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
        assert!(!found, "the token is in {}", path.display());
    }
    build(&scene, &[]).expect_code(0).expect_stderr("unchanged");
}

#[test]
fn a_private_registry_refuses_a_user_without_a_token() {
    let registry = Registry::start();
    let scene = hello_from(&registry);
    fs::remove_file(scene.cargo_home().join("credentials.toml")).unwrap();
    let refused = build(&scene, &[]);
    assert_ne!(refused.code, Some(0));
    assert_ne!(refused.code, Some(70), "{}", refused.stderr);
    assert!(refused.stderr.contains("clinic"), "{}", refused.stderr);
    assert!(registry.refused() > 0);
    assert_eq!(registry.downloads(), 0);
    write_token(&scene);
    build(&scene, &[]).expect_code(0);
    assert_eq!(scene.says("hello"), "hello from the registry");
}

#[test]
fn a_token_from_the_environment_works_too() {
    let registry = Registry::start();
    let mut scene = hello_from(&registry);
    fs::remove_file(scene.cargo_home().join("credentials.toml")).unwrap();
    scene.set("CARGO_REGISTRIES_CLINIC_TOKEN", TOKEN);
    build(&scene, &[]).expect_code(0);
    assert_eq!(scene.says("hello"), "hello from the registry");
}

#[test]
fn what_the_users_cargo_has_is_not_downloaded_again() {
    let mut registry = Registry::start();
    let scene = hello_from(&registry);
    cargo(&scene, &["fetch"]);
    assert_eq!(registry.downloads(), 1);
    registry.stop();
    build(&scene, &["--offline"]).expect_code(0);
    assert_eq!(scene.says("hello"), "hello from the registry");
}

#[test]
fn a_locked_package_of_the_users_cargo_needs_no_registry() {
    let mut registry = Registry::start();
    let scene = hello_from(&registry);
    cargo(&scene, &["fetch"]);
    registry.stop();
    build(&scene, &[]).expect_code(0);
    assert_eq!(scene.says("hello"), "hello from the registry");
}

#[test]
fn vendored_sources_are_all_that_is_needed() {
    let mut registry = Registry::start();
    let scene = hello_from(&registry);
    let vendored = cargo(&scene, &["vendor"]);
    scene.project.write(".cargo/config.toml", &String::from_utf8(vendored.stdout).unwrap());
    registry.stop();
    for name in ["registry", "credentials.toml"] {
        let path = scene.cargo_home().join(name);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    build(&scene, &[]).expect_code(0);
    assert_eq!(scene.says("hello"), "hello from the registry");
    build(&scene, &[]).expect_code(0).expect_stderr("unchanged");
}

#[test]
fn a_patch_takes_the_place_of_a_published_package() {
    let registry = Registry::start();
    let scene = hello_from(&registry);
    let manifest = fs::read_to_string(scene.workspace().join("Cargo.toml")).unwrap();
    scene
        .project
        .write("Cargo.toml", &format!("{manifest}\n[patch.clinic]\ngreeting = {{ path = \"patched\" }}\n"));
    write_greeting(&scene.project, "patched", "hello from the patch");
    build(&scene, &[]).expect_code(0);
    assert_eq!(scene.says("hello"), "hello from the patch");
    assert_eq!(registry.downloads(), 0);
    write_greeting(&scene.project, "patched", "hello from a better patch");
    build(&scene, &[]).expect_code(0).expect_stderr("patched/src/lib.rs changed");
    assert_eq!(scene.says("hello"), "hello from a better patch");
}

#[test]
fn a_git_dependency_is_the_locked_commit() {
    if !has_program("git") {
        return skipped("a_git_dependency_is_the_locked_commit", "git is not installed");
    }
    let source = Project::new();
    write_greeting(&source, ".", "hello from git");
    git(source.path(), &["init", "--quiet"]);
    git(source.path(), &["add", "."]);
    git(source.path(), &["commit", "--quiet", "-m", "first"]);
    let scene = hello(&format!("git = \"file://{}\"", source.path().display()));
    build(&scene, &[]).expect_code(0);
    assert_eq!(scene.says("hello"), "hello from git");

    cargo(&scene, &["generate-lockfile"]);
    build(&scene, &[]).expect_code(0);
    write_greeting(&source, ".", "hello from the second commit");
    git(source.path(), &["commit", "--quiet", "-a", "-m", "second"]);
    build(&scene, &[]).expect_code(0).expect_stderr("unchanged");
    assert_eq!(scene.says("hello"), "hello from git");
    cargo(&scene, &["update"]);
    build(&scene, &[]).expect_code(0).expect_stderr("Cargo.lock changed");
    assert_eq!(scene.says("hello"), "hello from the second commit");
}

/// A registry without secrets behind TLS, with a certificate that no machine knows.
struct TlsRegistry {
    server: Child,
    files: Project,
    port: u16,
}

impl TlsRegistry {
    fn start() -> Self {
        let (port, files) = (free_port(), Project::new());
        let (entry, archive) = greeting_package();
        files.write("index/config.json", &format!("{{\"dl\": \"https://127.0.0.1:{port}/crates\"}}\n"));
        files.write("index/gr/ee/greeting", &entry);
        fs::write(files.write("crates/greeting/1.0.0/download", ""), archive).unwrap();
        let openssl = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command.args(arguments).current_dir(files.path());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let subject = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"];
        let request =
            ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "ca.pem"];
        assert!(openssl(&[&request[..], &subject].concat()).status().unwrap().success());
        let accept = format!("127.0.0.1:{port}");
        let serve = ["s_server", "-WWW", "-quiet", "-cert", "ca.pem", "-key", "key.pem", "-accept", &accept];
        let server = openssl(&serve).spawn().unwrap();
        // Not a request that TLS understands, but one that is refused only once somebody listens.
        while TcpStream::connect(&accept).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        Self { server, files, port }
    }

    fn certificate(&self) -> PathBuf {
        self.files.path().join("ca.pem")
    }
}

impl Drop for TlsRegistry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_private_certificate_is_accepted_where_cargo_accepts_it() {
    const TEST: &str = "a_private_certificate_is_accepted_where_cargo_accepts_it";
    if !has_program("openssl") {
        return skipped(TEST, "openssl is not installed");
    }
    let registry = TlsRegistry::start();
    let scene = || {
        let scene = hello("version = \"1\", registry = \"clinic\"");
        let index =
            format!("[registries.clinic]\nindex = \"sparse+https://127.0.0.1:{}/index/\"\n", registry.port);
        // The server knows HTTP/1.0 and one client at a time.
        let http = "[http]\nmultiplexing = false\n\n[net]\nretry = 0\n";
        fs::write(scene.cargo_home().join("config.toml"), format!("{http}\n{index}")).unwrap();
        scene
    };
    let refused = build(&scene(), &[]).expect_code(4).expect_stderr("certificate").expect_stderr("hint: ");
    let why = refused.stderr.lines().find(|line| line.contains("[60]")).unwrap();
    assert_quoted(why.trim_end_matches(')'));
    for variable in ["CARGO_HTTP_CAINFO", "SSL_CERT_FILE"] {
        let mut scene = scene();
        scene.set(variable, registry.certificate().to_str().unwrap());
        build(&scene, &[]).expect_code(0);
        assert_eq!(scene.says("hello"), "hello from the registry", "{variable}");
    }
    let scene = scene();
    let configuration = scene.cargo_home().join("config.toml");
    let text = fs::read_to_string(&configuration).unwrap();
    let bundle = format!("[http]\ncainfo = \"{}\"\n", registry.certificate().display());
    fs::write(configuration, text.replace("[http]\n", &bundle)).unwrap();
    build(&scene, &[]).expect_code(0);
    assert_eq!(scene.says("hello"), "hello from the registry");
}

/// A published package, and Carrack with a state for it.
struct Published {
    _folder: Project,
    sources: PathBuf,
    carrack: Program,
}

impl Published {
    fn run(&self, arguments: &[&str]) -> Finished {
        self.carrack.run(&self.sources, arguments)
    }
}

/// The sources of a package as crates.io has them; `None`, and a word about it, if nobody answers there.
fn published(name: &str, version: &str) -> Option<Published> {
    let folder = Project::new();
    let sources = folder.path().join(name);
    carrack_testkit::published(&format!("{name}@{version}"), &sources)?;
    let state = folder.path().join("state");
    let carrack = Program::new(env!("CARGO_BIN_EXE_carrack")).with_env("CARRACK_HOME", state);
    Some(Published { _folder: folder, sources, carrack })
}

#[test]
fn a_published_tool_works_without_a_line_of_configuration() {
    let Some(hexyl) = published("hexyl", "0.16.0") else { return };
    hexyl.run(&["build"]).expect_code(0);
    let dumped = hexyl.run(&["run", "hexyl", "--", "--plain", "--length", "8", "/etc/passwd"]).expect_code(0);
    assert!(dumped.stdout.contains("72 6f 6f 74 3a"), "{}", dumped.stdout);
    hexyl.run(&["run", "hexyl", "--", "/nonexistent"]).expect_code(1);
    hexyl.run(&["build"]).expect_code(0).expect_stderr("1 image unchanged");
}

#[test]
fn a_published_tool_with_parts_in_assembly_works() {
    let Some(b3sum) = published("b3sum", "1.8.2") else { return };
    b3sum.run(&["build"]).expect_code(0);
    // Standard input is empty. BLAKE3 of nothing, from its specification:
    let expected = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262  -\n";
    assert_eq!(b3sum.run(&["run", "b3sum"]).expect_code(0).stdout, expected);
}

#[test]
fn a_published_web_server_serves() {
    let Some(sfz) = published("sfz", "0.7.1") else { return };
    sfz.run(&["build"]).expect_code(0);
    let port = free_port().to_string();
    let mut server = sfz.carrack.start(&sfz.sources, &["run", "sfz", "--", "--port", &port, "/etc"]);
    let answer = ask_until_it_answers(&format!("127.0.0.1:{port}"), "GET /passwd");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body.contains("root:"), "{}", answer.body);
    server.kill().unwrap();
    server.wait().unwrap();
}
