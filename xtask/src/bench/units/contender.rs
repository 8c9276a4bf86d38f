//! The ways to compile the two workspaces of `benches/units`, each with copies of its own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::taken::{Taken, take};
use crate::bench::dockyard::Dockyard;
use crate::bench::neighbours::Daemon;
use crate::bench::stage::{self, Stage, clean, copy_sources};

/// Where both workspaces lie in the repository.
pub(super) const SOURCES: &str = "benches/units";

/// A workspace with one service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Project {
    /// 250 units.
    Harbour,
    /// Shares most of its dependencies with the other one.
    Lighthouse,
}

pub(super) struct Contender<'a> {
    pub(super) name: &'static str,
    stage: &'a Stage<'a>,
    folder: PathBuf,
    engine: Engine<'a>,
}

pub(super) enum Engine<'a> {
    Cargo,
    Carrack,
    /// Cargo with a wrapper around rustc, which asks a daemon.
    Wrapper {
        variables: Vec<(&'static str, OsString)>,
        daemon: Daemon,
    },
    /// Docker, with the Dockerfile of this name.
    Docker {
        dockyard: &'a Dockyard,
        dockerfile: &'static str,
    },
}

impl Project {
    pub(super) const ALL: [Self; 2] = [Self::Harbour, Self::Lighthouse];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Harbour => "harbour",
            Self::Lighthouse => "lighthouse",
        }
    }

    fn service(self) -> &'static str {
        match self {
            Self::Harbour => "harbour-server",
            Self::Lighthouse => "lighthouse-keeper",
        }
    }
}

impl<'a> Contender<'a> {
    /// Copies both workspaces into `folder`.
    pub(super) fn new(
        name: &'static str,
        stage: &'a Stage<'a>,
        folder: PathBuf,
        engine: Engine<'a>,
    ) -> Result<Self, String> {
        let contender = Self { name, stage, folder, engine };
        for project in Project::ALL {
            let workspace = contender.workspace(project);
            copy_sources(&stage.root.join(SOURCES).join(project.name()), &workspace)?;
            if let Engine::Docker { dockerfile, .. } = contender.engine {
                let from = stage.root.join(SOURCES).join(dockerfile);
                fs::copy(&from, workspace.join("Dockerfile"))
                    .map_err(|error| format!("can't copy {}: {error}", from.display()))?;
                stage::write(&workspace.join(".dockerignore"), "target\n")?;
            }
        }
        Ok(contender)
    }

    pub(super) fn is_carrack(&self) -> bool {
        matches!(self.engine, Engine::Carrack)
    }

    /// Whether it is none of the two that the goals are about.
    pub(super) fn is_neighbour(&self) -> bool {
        !matches!(self.engine, Engine::Carrack | Engine::Cargo)
    }

    /// Where Carrack keeps everything.
    pub(super) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    fn workspace(&self, project: Project) -> PathBuf {
        self.folder.join(project.name())
    }

    fn target(&self, project: Project) -> PathBuf {
        self.folder.join("target").join(project.name())
    }

    pub(super) fn build(&self, project: Project) -> Result<Taken, String> {
        self.build_with(project, &[])
    }

    /// Builds with more arguments.
    pub(super) fn build_with(&self, project: Project, arguments: &[&str]) -> Result<Taken, String> {
        let workspace = self.workspace(project);
        let (mut command, daemon) = match &self.engine {
            Engine::Carrack => {
                let mut command = self.stage.carrack(&workspace);
                command.args(["--progress", "rawjson"]).env("CARRACK_HOME", self.home());
                (command, None)
            }
            Engine::Docker { dockyard, dockerfile } => {
                let tag = format!("carrack-bench/{}", dockerfile.replace(".Dockerfile", ""));
                let mut command = dockyard.build(&workspace, &tag);
                command.arg("--build-arg").arg(format!("SERVICE={}", project.service()));
                (command, Some(dockyard.id()))
            }
            Engine::Cargo => (self.cargo(project), None),
            Engine::Wrapper { variables, daemon } => {
                let mut command = self.cargo(project);
                command.envs(variables.iter().cloned());
                (command, Some(daemon.id()))
            }
        };
        take(command.args(arguments), daemon)
    }

    fn cargo(&self, project: Project) -> Command {
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--locked", "--target-dir"]).arg(self.target(project));
        command.args(["--package", project.service(), "--bin", project.service()]);
        command.current_dir(self.workspace(project)).env_remove("RUSTC_WRAPPER");
        clean(&mut command);
        command
    }

    /// Takes away all that former builds have left.
    pub(super) fn forget(&self) -> Result<(), String> {
        remove(&self.home())?;
        remove(&self.folder.join("target"))
    }

    /// Takes away the target folder of a wrapper, whose cache is for those who have none.
    pub(super) fn empty_target(&self, project: Project) -> Result<(), String> {
        match self.engine {
            Engine::Wrapper { .. } => remove(&self.target(project)),
            Engine::Cargo | Engine::Carrack | Engine::Docker { .. } => Ok(()),
        }
    }

    /// Writes a file of the project anew, with other words at some places than the repository's.
    pub(super) fn edit(&self, project: Project, file: &str, changes: &[(&str, &str)]) -> Result<(), String> {
        let path = self.stage.root.join(SOURCES).join(project.name()).join(file);
        let text = edited(&path, changes)?;
        stage::write(&self.workspace(project).join(file), &text)
    }
}

/// The text of a file with some places replaced, each of which has to be there once.
pub(super) fn edited(path: &Path, changes: &[(&str, &str)]) -> Result<String, String> {
    let mut text =
        fs::read_to_string(path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
    for (place, words) in changes {
        if text.matches(place).count() != 1 {
            return Err(format!("{} does not say {place} once", path.display()));
        }
        text = text.replace(place, words);
    }
    Ok(text)
}

pub(super) fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if folder.exists() => Err(format!("can't remove {}: {error}", folder.display())),
        _ => Ok(()),
    }
}
