use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::migrations;

/// The program with nothing of this process's environment.
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustcare-server"));
    command.env_clear().stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    address: String,
    folder: TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = program()
            .env("RUSTCARE_LISTEN", "127.0.0.1:0")
            .env("RUSTCARE_DATABASE", folder.path().join("rustcare.db"))
            .env("RUSTCARE_MIGRATIONS", migrations())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server ended before it listened");
            if let Some((_, address)) = line.trim_end().split_once("address=") {
                break address.to_owned();
            }
        };
        Self { child, log, address, folder }
    }

    fn stop(mut self, signal: Signal) -> (Option<i32>, String) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails if the process has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn serves_answers_its_health_check_and_ends_on_sigterm() {
    let server = Running::start();
    let address = server.address.clone();
    let health = || run(program().arg("health").env("RUSTCARE_LISTEN", &address));
    assert_eq!(health(), (Some(0), String::new()));
    let database = server.folder.path().join("rustcare.db");
    assert!(database.exists());
    let (code, log) = server.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("SIGTERM") && log.trim_end().ends_with("done"), "{log}");
    let (code, error) = health();
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("can't reach http://{address}/health")), "{error}");
}

#[test]
fn ends_on_sigint() {
    let (code, log) = Running::start().stop(Signal::INT);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("SIGINT"), "{log}");
}

#[test]
fn settings_come_from_the_file_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "[database]\npath = \"/nonexistent/rustcare.db\"\n").unwrap();
    let (code, error) = run(program().env("RUSTCARE_CONFIG", &file));
    assert_eq!(code, Some(1));
    assert!(error.contains("can't open the database /nonexistent/rustcare.db"), "{error}");
    let (code, error) = run(program().env("RUSTCARE_CONFIG", Path::new("/nonexistent.toml")));
    assert_eq!(code, Some(1));
    assert!(error.contains("can't read the settings file /nonexistent.toml"), "{error}");
}

#[test]
fn start_fails_without_migrations() {
    let folder = tempfile::tempdir().unwrap();
    let (code, error) = run(program()
        .env("RUSTCARE_LISTEN", "127.0.0.1:0")
        .env("RUSTCARE_DATABASE", folder.path().join("rustcare.db"))
        .env("RUSTCARE_MIGRATIONS", folder.path().join("migrations")));
    assert_eq!(code, Some(1));
    assert!(error.contains("can't read the migrations in"), "{error}");
}
