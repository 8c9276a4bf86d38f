//! A project, a state folder of its own, and the program between them; and its words without what differs each time.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use carrack_testkit::{Finished, Program, Project, find_program};
use tempfile::TempDir;

/// Where a test plays.
pub(crate) struct Stage {
    pub(crate) project: Project,
    pub(crate) home: TempDir,
}

impl Stage {
    pub(crate) fn new(project: Project) -> Self {
        let mode = fs::Permissions::from_mode(0o755);
        let home = tempfile::Builder::new().prefix("home-").permissions(mode).tempdir().unwrap();
        Self { project, home }
    }

    /// A package `app` that prints `hello`.
    pub(crate) fn app() -> Self {
        Self::new(Project::binary("app", "hello"))
    }

    /// A package `app` with a text at the end of its manifest.
    pub(crate) fn configured(configuration: &str) -> Self {
        let stage = Self::app();
        stage.configure(configuration);
        stage
    }

    pub(crate) fn configure(&self, configuration: &str) {
        let package = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        self.project.write("Cargo.toml", &format!("{package}{configuration}"));
    }

    pub(crate) fn path(&self) -> &Path {
        self.project.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The command in the project's folder. The toolchain is the project's choice, not that of the running test.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let program = Program::new(env!("CARGO_BIN_EXE_carrack")).with_env("CARRACK_HOME", self.home.path());
        let mut command = program.command(self.path(), arguments);
        for name in
            ["RUSTUP_TOOLCHAIN", "NO_COLOR", "CLICOLOR_FORCE", "CI", "RUST_BACKTRACE", "SOURCE_DATE_EPOCH"]
        {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments))
    }

    /// Builds, which has to work.
    #[track_caller]
    pub(crate) fn build(&self, arguments: &[&str]) -> Finished {
        self.run(&[&["build"], arguments].concat()).expect_code(0)
    }

    /// `text` with the project's path as `[PROJECT]` and the state's as `[HOME]`.
    pub(crate) fn filtered(&self, text: &str) -> String {
        text.replace(&self.path().display().to_string(), "[PROJECT]")
            .replace(&self.home.path().display().to_string(), "[HOME]")
    }
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Finished {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `PATH` with the distribution's programs only; machines often have another Docker client in front.
pub(crate) const SYSTEM: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Where Docker daemons keep their images, and base images stay from run to run.
pub(crate) fn dockyard_folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("dockyard")
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `PATH` with nothing but links to these programs.
pub(crate) fn path_of(folder: &Path, programs: &[&str]) -> OsString {
    fs::create_dir_all(folder).unwrap();
    for name in programs {
        std::os::unix::fs::symlink(find_program(name).unwrap(), folder.join(name)).unwrap();
    }
    folder.as_os_str().to_owned()
}
