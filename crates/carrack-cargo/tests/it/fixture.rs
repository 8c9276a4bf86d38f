//! Workspaces in a temporary folder, and cargo to run in them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use carrack_cargo::config::{ConfigError, Configuration};
use carrack_cargo::locate::{Location, locate};
use carrack_cargo::plan::{self, CargoPlan, PlanError, Request, Selection};
use tempfile::TempDir;

pub(crate) struct Fixture {
    folder: TempDir,
}

impl Fixture {
    /// Writes `files`, paths and texts, into an empty folder. `main.rs` and `lib.rs` may be left empty.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let fixture = Self { folder: tempfile::tempdir().unwrap() };
        for (path, text) in files {
            let text = if text.is_empty() && path.ends_with("main.rs") { "fn main() {}\n" } else { text };
            fixture.write(path, text);
        }
        fixture
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        let folder = self.folder.path().canonicalize().unwrap();
        if path.is_empty() { folder } else { folder.join(path) }
    }

    /// A CARGO_HOME without configuration, outside of every workspace's way up.
    pub(crate) fn cargo_home(&self) -> PathBuf {
        self.path("cargo-home")
    }

    pub(crate) fn locate(&self, start: &str) -> Location {
        locate(&self.path(start), &self.cargo_home()).unwrap()
    }

    pub(crate) fn configuration(&self, location: &Location) -> Result<Configuration, Vec<ConfigError>> {
        let answer = run(&location.root, &plan::members_command(), &[]);
        let members = plan::members(&succeeded(answer).stdout).unwrap();
        Configuration::load(&location.root, &members)
    }

    /// The plan of a build that starts in `start`, all the way through cargo.
    pub(crate) fn plan(
        &self,
        start: &str,
        request: &Request,
        selection: &Selection,
    ) -> Result<CargoPlan, PlanError> {
        let location = self.locate(start);
        let configuration = self.configuration(&location).unwrap();
        let command = plan::metadata_command(request, &location, &configuration);
        let metadata = succeeded(run(&location.root, &command, &[])).stdout;
        CargoPlan::from_metadata(&metadata, &location, &configuration, request, selection)
    }

    pub(crate) fn request(&self) -> Request {
        Request {
            host: "x86_64-unknown-linux-gnu".to_owned(),
            offline: true,
            target_dir: self.path("target"),
            ..Request::default()
        }
    }
}

pub(crate) fn run(folder: &Path, arguments: &[String], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("cargo");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME") {
        command.env_remove(name);
    }
    let command = command.args(arguments).current_dir(folder).envs(variables.iter().copied());
    command.output().expect("cargo runs these tests, so it is in PATH")
}

pub(crate) fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A package with the binaries that cargo finds by itself.
pub(crate) fn package(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"1.2.3\"\nedition = \"2021\"\n{rest}\n")
}

/// `build --package a …` in one line.
pub(crate) fn line(command: &[String]) -> String {
    command.join(" ")
}
