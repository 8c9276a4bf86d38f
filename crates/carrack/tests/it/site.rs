//! A workspace with the files that `carrack init` writes, and the engine, compose and make that work with them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use carrack_testkit::{Docker, Finished, Program, Project, Steps, has_program, skipped};

use crate::stage::dockyard_folder;

/// The steps of the generated Dockerfile, by the beginning of their names.
pub(crate) const DEPENDENCIES: &str = "[dependencies 2/2] RUN";
pub(crate) const APPLICATION: &str = "[application ";

/// A workspace that Docker builds.
pub(crate) struct Site {
    pub(crate) docker: &'static Docker,
    pub(crate) project: Project,
    /// The workspace's folder in the project.
    folder: String,
    /// Carrack's state and cargo's home.
    around: Project,
    /// These tests look at what is cached in the engine that they share, so they take turns.
    _turn: Option<MutexGuard<'static, ()>>,
}

static TURN: Mutex<()> = Mutex::new(());

impl Site {
    /// The workspace in `folder` of a project, with the generated files; or a word about why there can be none.
    pub(crate) fn new(test: &str, folder: &str, project: impl FnOnce() -> Option<Project>) -> Option<Self> {
        for program in ["make", "docker-compose", "git"] {
            if !has_program(program) {
                skipped(test, &format!("{program} is not installed"));
                return None;
            }
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let docker = Docker::dockyard(test, &dockyard_folder())?;
        let (folder, around) = (folder.to_owned(), Project::new());
        let site = Self { docker, project: project()?, folder, around, _turn: Some(turn) };
        site.init();
        Some(site)
    }

    /// Another workspace of the same test.
    pub(crate) fn beside(&self, project: Project) -> Self {
        let (docker, folder) = (self.docker, self.folder.clone());
        let site = Self { docker, project, folder, around: Project::new(), _turn: None };
        site.init();
        site
    }

    pub(crate) fn workspace(&self) -> PathBuf {
        self.project.path().join(&self.folder)
    }

    /// Writes the generated files, and lets the steps of their builds use the host's network: the engine has no other.
    pub(crate) fn init(&self) {
        self.carrack(&["init"]).expect_code(0);
        let compose = fs::read_to_string(self.workspace().join("compose.yaml")).unwrap();
        let services = compose.lines().skip_while(|line| *line != "services:").skip(1);
        let services = services.take_while(|line| line.is_empty() || line.starts_with(' '));
        let names = services
            .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
            .filter(|name| !name.starts_with(' '));
        let network = |name: &str| format!("  {name}:\n    build:\n      network: host\n");
        let text: String = names.map(network).collect();
        fs::write(self.workspace().join("compose.override.yaml"), format!("services:\n{text}")).unwrap();
    }

    /// Carrack in the workspace.
    pub(crate) fn carrack(&self, arguments: &[&str]) -> Finished {
        let program = Program::new(env!("CARGO_BIN_EXE_carrack"));
        let program = program.with_env("CARRACK_HOME", self.around.path().join("state"));
        program.run(&self.workspace(), arguments)
    }

    /// Another program in the workspace.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Finished {
        self.docker.with_engine(Program::new(program)).run(&self.workspace(), arguments)
    }

    /// `docker-compose build` of one service, as a team runs it.
    pub(crate) fn compose(&self, service: &str) -> Finished {
        let compose = self.docker.with_engine(Program::new("/usr/bin/docker-compose"));
        let compose = compose.with_env("DOCKER_BUILDKIT", "1").with_env("COMPOSE_DOCKER_CLI_BUILD", "1");
        compose.run(&self.workspace(), &["build", "--progress", "plain", service])
    }

    /// Builds one service: what was cached and what ran.
    #[track_caller]
    pub(crate) fn build(&self, service: &str) -> Steps {
        Steps::of(&self.compose(service).expect_code(0).stderr)
    }

    /// What an image's program prints.
    #[track_caller]
    pub(crate) fn says(&self, image: &str, arguments: &[&str]) -> String {
        let run = [&["run", "--rm", "--network", "none", image], arguments].concat();
        let finished = self.docker.run(&run).expect_code(0);
        finished.stdout + &finished.stderr
    }

    /// Replaces `from`, which is there once.
    #[track_caller]
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let path = self.project.path().join(path);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from} in {}", path.display());
        fs::write(&path, text.replace(from, to)).unwrap();
    }
}

/// The packages that cargo compiled in a step.
pub(crate) fn compiled<'a>(steps: &'a Steps, step: &str) -> BTreeSet<&'a str> {
    let lines = steps.output(step).lines();
    lines.filter_map(|line| line.trim_start().strip_prefix("Compiling ")?.split(' ').next()).collect()
}

/// Sets the modification time of a file to a day of the year 2001.
pub(crate) fn make_old(path: &Path) {
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}
