//! A project with a store, a HOME and a CARGO_HOME of its own, and what a build in it did.
//!
//! Nothing of the machine's own configuration gets in: the program starts with an environment of a few variables.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use carrack_testkit::{Finished, Program, Project};
use serde_json::Value;
use tempfile::TempDir;

/// A project and everything around it.
pub(crate) struct Scene {
    pub(crate) project: Project,
    /// Where in the project the build is started.
    pub(crate) folder: String,
    pub(crate) around: TempDir,
    env: Vec<(String, String)>,
}

/// What a build did.
#[derive(Debug)]
pub(crate) struct Built {
    events: Vec<Value>,
}

impl Scene {
    /// The project as the workspace itself.
    pub(crate) fn new(project: Project) -> Self {
        Self::within(project, ".")
    }

    /// The workspace is a folder of the project.
    pub(crate) fn within(project: Project, folder: &str) -> Self {
        Self { project, folder: folder.to_owned(), around: new_folder(), env: Vec::new() }
    }

    /// Sets a variable for every later build.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.unset(name);
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Takes a variable away again.
    pub(crate) fn unset(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    /// The variables that were set.
    pub(crate) fn variables(&self) -> &[(String, String)] {
        &self.env
    }

    /// The workspace's folder.
    pub(crate) fn workspace(&self) -> PathBuf {
        self.project.path().join(&self.folder)
    }

    /// Carrack's state.
    pub(crate) fn state(&self) -> PathBuf {
        self.around.path().join("state")
    }

    /// The user's CARGO_HOME.
    pub(crate) fn cargo_home(&self) -> PathBuf {
        self.around.path().join("cargo")
    }

    /// The program with this scene's environment.
    pub(crate) fn program(&self) -> Program {
        let program = Program::new(env!("CARGO_BIN_EXE_carrack")).in_clean_environment();
        let program = [
            ("PATH", std::env::var("PATH").unwrap()),
            ("RUSTUP_HOME", rustup_home()),
            ("HOME", self.around.path().join("home").display().to_string()),
            ("CARGO_HOME", self.cargo_home().display().to_string()),
            ("CARRACK_HOME", self.state().display().to_string()),
        ]
        .into_iter()
        .fold(program, |program, (name, value)| program.with_env(name, value));
        self.env.iter().fold(program, |program, (name, value)| program.with_env(name, value))
    }

    /// Runs a build to its end, whatever that is.
    pub(crate) fn try_build(&self, arguments: &[&str]) -> Finished {
        let arguments = [&["build", "--offline", "--progress", "rawjson"], arguments].concat();
        self.program().run(&self.workspace(), &arguments)
    }

    /// Builds.
    #[track_caller]
    pub(crate) fn build(&self, arguments: &[&str]) -> Built {
        Built::read(&self.try_build(arguments).expect_code(0))
    }

    /// What the program in an image prints.
    #[track_caller]
    pub(crate) fn says(&self, image: &str) -> String {
        self.program().run(&self.workspace(), &["run", image]).expect_code(0).stdout.trim_end().to_owned()
    }

    /// Runs a program that the test itself needs in the workspace.
    #[track_caller]
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(self.workspace()).output().unwrap();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Built {
    pub(crate) fn read(finished: &Finished) -> Self {
        let events = finished.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { events }
    }

    fn of<'b>(&'b self, kind: &'b str) -> impl Iterator<Item = &'b Value> {
        self.events.iter().filter(move |event| event["event"] == kind)
    }

    /// Whether cargo was started.
    pub(crate) fn ran_cargo(&self) -> bool {
        self.of("step-started").next().is_some()
    }

    /// Names of the packages that were compiled.
    pub(crate) fn compiled(&self) -> BTreeSet<String> {
        let units = self.of("unit").filter(|unit| unit["fresh"] == false);
        units.map(|unit| unit["package"].as_str().unwrap().split(' ').next().unwrap().to_owned()).collect()
    }

    /// Package and target of what was compiled, or was found to be fresh.
    pub(crate) fn units(&self, fresh: bool) -> impl Iterator<Item = (&str, &str)> {
        self.of("unit").filter(move |unit| unit["fresh"] == fresh).map(|unit| {
            let package = unit["package"].as_str().unwrap();
            (package.split(' ').next().unwrap(), unit["target"].as_str().unwrap())
        })
    }

    /// `package: reason` for what was compiled.
    pub(crate) fn unit_reasons(&self) -> impl Iterator<Item = String> {
        let reasons = self.of("unit").filter_map(|unit| Some((unit, unit["reason"].as_str()?)));
        reasons.map(|(unit, reason)| format!("{}: {reason}", unit["package"].as_str().unwrap()))
    }

    /// Whether every image was there already.
    pub(crate) fn unchanged(&self) -> bool {
        self.of("image").all(|image| image["unchanged"] == true)
    }

    /// The digest of each image's manifest.
    pub(crate) fn digests(&self) -> Vec<String> {
        self.of("image").map(|image| image["digest"].as_str().unwrap().to_owned()).collect()
    }

    /// The reasons that were given.
    pub(crate) fn reasons(&self) -> Vec<&str> {
        self.of("why").filter_map(|why| why["reason"].as_str()).collect()
    }
}

/// A time before any build.
pub(crate) fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// A temporary folder that every user may enter, outside of the folders that a sandbox has for itself: a build sees
/// files there, as it sees a user's home.
pub(crate) fn visible_folder() -> Option<TempDir> {
    let candidates = [Path::new(env!("CARGO_TARGET_TMPDIR")), Path::new("/srv"), Path::new("/opt")];
    let home = std::env::home_dir();
    let mut candidates = candidates.into_iter().chain(home.as_deref());
    candidates.find_map(|folder| {
        let private = ["/tmp", "/var/tmp", "/run"].iter().any(|private| folder.starts_with(private));
        if private { None } else { tempfile::Builder::new().prefix("carrack-test-").tempdir_in(folder).ok() }
    })
}

/// rustup's folder, which the tests share with whoever runs them.
pub(crate) fn rustup_home() -> String {
    let default = || std::env::home_dir().unwrap().join(".rustup").display().to_string();
    std::env::var("RUSTUP_HOME").unwrap_or_else(|_| default())
}

/// A temporary folder that every user may enter, with a HOME and a CARGO_HOME in it.
pub(crate) fn new_folder() -> TempDir {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(0o755);
    let folder = tempfile::Builder::new().prefix("around-").permissions(mode).tempdir().unwrap();
    for name in ["home", "cargo"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    folder
}
