//! The files of a team that stays with Docker, from the plan that the embedded engine builds as well: Dockerfile,
//! .dockerignore, compose file, Makefile, CI workflow.
//!
//! The Dockerfile's promise: **dependencies are compiled again only if manifests, lock file or cargo's configuration change
//! in a way that matters to them**. Their step stays cached for changed code, changed modification times, another branch
//! with the same lock file, another version, description, target or test of a member, comments and blank lines in manifests.
//! It runs again for a member that is added or moved and for another dependency; then the cache mount still has what did not
//! change. **A stub or a stale binary is never shipped**, whatever happened to the cache mounts before; the Dockerfile's
//! comments say how. It asks for nothing newer than Docker 20.10.
//!
//! Texts are made from the templates beside this module. Does not write: whoever does looks at [`ownership`] first. Fails with
//! [`InitError`] where no correct file is possible.

mod compose;
mod dockerfile;
mod images;
mod seal;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use crate::cargo_config;
use crate::lower::UserError;
use crate::plan::CargoPlan;

pub use seal::{Ownership, ownership};

/// A kind of generated file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// `Dockerfile`.
    Dockerfile,
    /// `.dockerignore`; `Dockerfile.dockerignore` where the context is a folder above the workspace.
    Dockerignore,
    /// `compose.yaml`.
    Compose,
    /// `Makefile`.
    Makefile,
    /// `.github/workflows/images.yaml` of the repository.
    Workflow,
}

/// Every kind, in the order in which the files are written.
pub const FILE_KINDS: [FileKind; 5] =
    [FileKind::Dockerfile, FileKind::Dockerignore, FileKind::Compose, FileKind::Makefile, FileKind::Workflow];

/// A file as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// What it is.
    pub kind: FileKind,
    /// Where it belongs, absolute.
    pub path: PathBuf,
    /// Its text with its seal.
    pub text: String,
}

/// What a build by Docker takes, besides the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerFiles {
    /// The folder that is sent to the builder.
    pub context: PathBuf,
    /// The Dockerfile's text. Each service is a stage with its binary's name.
    pub dockerfile: String,
    /// The text of its .dockerignore.
    pub dockerignore: String,
}

/// What the files depend on besides the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    /// The name in the ids of cache mounts; of letters, digits, `-` and `_`.
    pub project: String,
    /// The channel that a `rust-toolchain.toml` names.
    pub channel: Option<String>,
    /// The rustc in use (`1.95.0`), for workspaces that name none.
    pub rustc_release: String,
    /// The git repository's folder, if there is one.
    pub repository: Option<PathBuf>,
    /// Cargo's configuration files that are not in CARGO_HOME.
    pub cargo_configs: Vec<PathBuf>,
}

/// Why there can be no such files.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Without a lock file no build is reproducible.
    #[error("find the lock file of {workspace}")]
    NoLockFile {
        /// The workspace's folder.
        workspace: PathBuf,
    },
    /// The builder's tag would be another Rust next month.
    #[error("pin Rust: {image} names no version")]
    Unpinned {
        /// The configured builder.
        image: String,
    },
    /// The builder is not of Debian's kind, whose programs the Dockerfile uses.
    #[error("compile in {image}, which is no Debian")]
    NotDebian {
        /// The configured builder.
        image: String,
    },
    /// There is no official image of this toolchain.
    #[error("find an official image of Rust {channel}")]
    NoOfficialImage {
        /// The channel that is asked for.
        channel: String,
    },
    /// What is compiled on a newer Debian does not start on an older one.
    #[error("run {service} on {image}")]
    OlderBase {
        /// The service.
        service: String,
        /// Its base.
        image: String,
        /// The base's release.
        release: &'static str,
        /// What compiles.
        builder: String,
        /// The builder's release.
        builder_release: &'static str,
    },
    /// A Dockerfile has no way to write such a value.
    #[error("write `{name}` into a Dockerfile, because it has a line end")]
    LineEnd {
        /// The variable or label.
        name: String,
    },
    /// A service's user, or a file's owner, makes no sense.
    #[error("service {service}: {source}")]
    User {
        /// The service.
        service: String,
        /// Why.
        #[source]
        source: UserError,
    },
    /// A path has characters that can't be written into a Dockerfile safely.
    #[error("write the path {path} into a Dockerfile")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// A template is broken: a bug.
    #[error("fill in a template")]
    Template(#[from] minijinja::Error),
}

/// The files for `plan`, one of each kind.
///
/// Errors: [`InitError`].
pub fn generate(plan: &CargoPlan, around: &Surroundings) -> Result<Vec<GeneratedFile>, InitError> {
    let layout = Layout::of(plan, around)?;
    let dockerfile = dockerfile::values(plan, around, &layout)?;
    let compose = compose::values(plan, &dockerfile, &layout);
    let repository = around.repository.as_deref().unwrap_or(&plan.root);
    let workflow = compose.seen_from(&relative(&plan.root, repository));
    let file = |kind: FileKind| {
        let (path, body) = match kind {
            FileKind::Dockerfile => {
                (plan.root.join("Dockerfile"), render(include_str!("templates/Dockerfile"), &dockerfile)?)
            }
            FileKind::Dockerignore => {
                let name = if layout.prefix.is_empty() { ".dockerignore" } else { "Dockerfile.dockerignore" };
                (plan.root.join(name), render(include_str!("templates/dockerignore"), &layout)?)
            }
            FileKind::Compose => {
                (plan.root.join("compose.yaml"), render(include_str!("templates/compose.yaml"), &compose)?)
            }
            FileKind::Makefile => {
                (plan.root.join("Makefile"), render(include_str!("templates/Makefile"), &compose)?)
            }
            FileKind::Workflow => (
                repository.join(".github/workflows/images.yaml"),
                render(include_str!("templates/workflow.yaml"), &workflow)?,
            ),
        };
        Ok(GeneratedFile { kind, path, text: seal::seal(&around.project, &body) })
    };
    FILE_KINDS.into_iter().map(file).collect()
}

/// What Docker needs to build `plan`, whether or not there are files in the workspace.
///
/// Errors: [`InitError`].
pub fn docker_files(plan: &CargoPlan, around: &Surroundings) -> Result<DockerFiles, InitError> {
    let layout = Layout::of(plan, around)?;
    let dockerfile = dockerfile::values(plan, around, &layout)?;
    Ok(DockerFiles {
        dockerfile: render(include_str!("templates/Dockerfile"), &dockerfile)?,
        dockerignore: render(include_str!("templates/dockerignore"), &layout)?,
        context: layout.context,
    })
}

/// A name that Docker takes for a cache mount's id and people recognise.
pub fn project_name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let letter = |letter: char| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' };
    let name: String = name.chars().map(letter).collect();
    match name.trim_matches('-') {
        "" => "workspace".to_owned(),
        name => name.to_owned(),
    }
}

fn render(template: &str, values: &impl Serialize) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.render_str(template, values)
}

/// What is sent to the builder, and where things are in it.
#[derive(Debug, Serialize)]
struct Layout {
    #[serde(skip)]
    context: PathBuf,
    /// The workspace's folder within the context, with a slash at its end; empty if it is the context.
    prefix: String,
    /// Where the workspace is in the builder.
    workspace: String,
    /// If the context is more than the workspace: the folders that are sent.
    allowed: Vec<String>,
    /// Folders that cargo builds in.
    targets: Vec<String>,
}

impl Layout {
    fn of(plan: &CargoPlan, around: &Surroundings) -> Result<Self, InitError> {
        if !plan.has_lock_file {
            return Err(InitError::NoLockFile { workspace: plan.root.clone() });
        }
        let configs = around.cargo_configs.iter().filter(|config| cargo_config::concerns_compiling(config));
        let config_folders = configs.filter_map(|config| config.parent());
        let outside: BTreeSet<&Path> = plan
            .outside_packages
            .iter()
            .chain(&plan.vendored)
            .map(PathBuf::as_path)
            .chain(plan.outside_manifests.iter().map(PathBuf::as_path))
            .chain(
                plan.services
                    .iter()
                    .flat_map(|service| &service.config.files)
                    .map(|file| file.from.as_path()),
            )
            .chain(config_folders)
            .filter(|path| !path.starts_with(&plan.root))
            .collect();
        let mut context = plan.root.as_path();
        while !outside.iter().all(|path| path.starts_with(context)) {
            context = context.parent().expect("every absolute path starts with /");
        }
        let within = |path: &Path| dockerfile::plain_path(path.strip_prefix(context).unwrap_or(path));
        let prefix = match within(&plan.root)?.as_str() {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let mut allowed = Vec::new();
        if !prefix.is_empty() {
            allowed.push(prefix.trim_end_matches('/').to_owned());
            for path in &outside {
                allowed.push(within(path)?);
            }
        }
        let mut targets = vec![format!("{prefix}target")];
        for package in &plan.outside_packages {
            targets.push(format!("{}/target", within(package)?));
        }
        Ok(Self {
            workspace: format!("/src/{prefix}").trim_end_matches('/').to_owned(),
            prefix,
            allowed,
            targets,
            context: context.to_owned(),
        })
    }
}

/// `folder` as seen from `base`: `.` for itself, `../shared` for a neighbour.
fn relative(folder: &Path, base: &Path) -> String {
    match crate::lower::relative(folder, base) {
        path if path.is_empty() => ".".to_owned(),
        path => path,
    }
}
