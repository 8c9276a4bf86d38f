//! Which engine builds a service.
//!
//! A Cargo service is one that `cargo build` builds without anyone's Dockerfile: its folder is in a Cargo workspace, and its
//! Dockerfile is not there, or is as `carrack init` wrote it. Its binary is its `target`, else the binary with the
//! service's name, else the one with its image's. Everything else is Docker's.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use carrack_base::Platform;
use carrack_cargo::init::{Ownership, ownership};
use carrack_cargo::locate::{LocateError, locate};
use carrack_docker::compose::{Build, Context, Dockerfile, Project, Service};

use super::problem;
use crate::arguments::ComposeBuild;
use crate::engine::EngineName;
use crate::failure::{Failure, ServiceProblem};

/// Services by what builds them.
pub(super) struct Sorted {
    /// By the workspace's folder.
    pub(super) workspaces: BTreeMap<PathBuf, Vec<CargoService>>,
    pub(super) docker: Vec<DockerService>,
}

/// A service that cargo builds.
pub(super) struct CargoService {
    pub(super) service: Service,
    /// What its binary may be called, the likeliest first; never empty.
    pub(super) names: Vec<String>,
    /// Its Dockerfile, if it has one.
    dockerfile: Option<PathBuf>,
}

/// A service with the binary that is taken for it.
pub(super) struct Chosen {
    pub(super) service: CargoService,
    pub(super) binary: String,
}

impl Chosen {
    /// The likeliest binary, as long as nobody has said which there are.
    pub(super) fn likeliest(service: CargoService) -> Self {
        let binary = service.names[0].clone();
        Self { service, binary }
    }
}

/// A service that Docker builds, and why.
pub(super) struct DockerService {
    pub(super) service: Service,
    pub(super) reason: Reason,
}

/// Why a service needs Docker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its Dockerfile is a person's.
    Dockerfile(PathBuf),
    /// Its Dockerfile was generated and changed since.
    Changed(PathBuf),
    /// Its Dockerfile stands in the compose file.
    Inline,
    /// Its context is fetched.
    Remote(String),
    /// It is for another platform than this machine's, or for several.
    Platforms(Vec<Platform>),
    /// The stage that it wants is no binary of the workspace.
    Target(String),
    /// The caller wants it so.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dockerfile(path) => write!(formatter, "{} is a Dockerfile of its own", path.display()),
            Self::Changed(path) => {
                write!(formatter, "{} was changed after `carrack init` wrote it", path.display())
            }
            Self::Inline => write!(formatter, "`dockerfile_inline` is a Dockerfile of its own"),
            Self::Remote(context) => write!(formatter, "its context is {context}"),
            Self::Platforms(platforms) => {
                let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                write!(formatter, "it is for {}", platforms.join(", "))
            }
            Self::Target(target) => write!(formatter, "its target {target} is no binary of the workspace"),
            Self::Asked => write!(formatter, "--engine asks for it"),
        }
    }
}

impl CargoService {
    pub(super) fn no_cache(&self) -> bool {
        self.service.build.as_ref().is_some_and(|build| build.no_cache)
    }
}

impl DockerService {
    /// With what the command line adds: `--build-arg`, `--no-cache`, `--pull`.
    pub(super) fn with(mut self, arguments: &ComposeBuild, project: &Project) -> Self {
        if let Some(build) = &mut self.service.build {
            build.no_cache |= arguments.no_cache;
            build.pull |= arguments.pull;
            for argument in &arguments.build_arguments {
                let (name, value) = match argument.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (argument.as_str(), project.variables.get(argument).cloned()),
                };
                match value {
                    Some(value) => build.args.insert(name.to_owned(), value),
                    None => build.args.remove(name),
                };
            }
        }
        self
    }
}

/// Sorts services that have a `build` section.
pub(super) fn sort(
    services: Vec<Service>,
    cargo_home: &Path,
    engine: Option<&EngineName>,
) -> Result<Sorted, Failure> {
    let mut sorted = Sorted { workspaces: BTreeMap::new(), docker: Vec::new() };
    for service in services {
        if matches!(engine, Some(EngineName::Docker | EngineName::BuildKit(_))) {
            sorted.docker.push(DockerService { service, reason: Reason::Asked });
            continue;
        }
        match place(&service, cargo_home)? {
            Place::Workspace { root, dockerfile } => {
                let names = names(&service);
                sorted.workspaces.entry(root).or_default().push(CargoService { service, names, dockerfile });
            }
            Place::Docker(reason) => sorted.docker.push(DockerService { service, reason }),
        }
    }
    Ok(sorted)
}

/// Gives each service its binary of those that there are.
pub(super) fn choose(
    services: Vec<CargoService>,
    root: &Path,
    known: &[String],
) -> Result<(Vec<Chosen>, Vec<DockerService>), Failure> {
    let mut chosen = Vec::new();
    let mut left_over = Vec::new();
    for service in services {
        if let Some(binary) = service.names.iter().find(|name| known.contains(name)).cloned() {
            chosen.push(Chosen { service, binary });
        } else if service.dockerfile.is_some() {
            let target = service.names.into_iter().next().unwrap_or_default();
            left_over.push(DockerService { service: service.service, reason: Reason::Target(target) });
        } else {
            let mut known = known.to_vec();
            known.sort_unstable();
            let why = ServiceProblem::NoBinary {
                workspace: root.to_owned(),
                nearest: service.names.iter().find_map(|name| nearest(name, &known)),
                tried: service.names,
                known,
            };
            return Err(problem(&service.service, why));
        }
    }
    Ok((chosen, left_over))
}

/// The binary that was probably meant: one that begins or ends like the name, or has almost its letters.
fn nearest(name: &str, known: &[String]) -> Option<String> {
    let alike = known.iter().find(|known| known.starts_with(name) || known.ends_with(name));
    let alike = alike.map(String::as_str);
    alike.or_else(|| carrack_base::nearest(name, known.iter().map(String::as_str))).map(str::to_owned)
}

enum Place {
    Workspace { root: PathBuf, dockerfile: Option<PathBuf> },
    Docker(Reason),
}

/// Where a service is built.
fn place(service: &Service, cargo_home: &Path) -> Result<Place, Failure> {
    let build = service.build.as_ref().expect("only services with a build section are sorted");
    let context = match &build.context {
        Context::Folder(folder) => folder,
        Context::Remote(address) => return Ok(Place::Docker(Reason::Remote(address.clone()))),
    };
    if !context.is_dir() {
        return Err(problem(service, ServiceProblem::NoContext { folder: context.clone() }));
    }
    let Dockerfile::File(file) = &build.dockerfile else { return Ok(Place::Docker(Reason::Inline)) };
    let path = context.join(file);
    let dockerfile = match std::fs::read_to_string(&path) {
        Ok(text) => match ownership(&text) {
            Ownership::Sealed { .. } => Some(path.clone()),
            Ownership::Broken { .. } => return Ok(Place::Docker(Reason::Changed(path))),
            Ownership::Foreign => return Ok(Place::Docker(Reason::Dockerfile(path))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Another name is there because somebody wrote such a file.
            if path.file_name().is_some_and(|name| name != "Dockerfile") {
                return Err(problem(service, ServiceProblem::NoDockerfile { path }));
            }
            None
        }
        Err(source) => return Err(Failure::Io { action: "read", path, source }),
    };
    // A context may lie above the workspace that the Dockerfile is for.
    let folders = path.parent().filter(|folder| folder.is_dir()).into_iter().chain([context.as_path()]);
    for folder in folders {
        match locate(folder, cargo_home) {
            Ok(location) => {
                return Ok(match foreign_platforms(service, build)? {
                    Some(platforms) => Place::Docker(Reason::Platforms(platforms)),
                    None => Place::Workspace { root: location.root, dockerfile },
                });
            }
            Err(LocateError::NoManifest { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match dockerfile {
        Some(path) => Ok(Place::Docker(Reason::Dockerfile(path))),
        None => Err(problem(service, ServiceProblem::NothingToBuild { dockerfile: path })),
    }
}

/// The platforms of a service, if they are others than this machine's alone.
fn foreign_platforms(service: &Service, build: &Build) -> Result<Option<Vec<Platform>>, Failure> {
    let platforms = platforms(service, build)?;
    let host = Platform::host();
    Ok(platforms.iter().any(|platform| *platform != host).then_some(platforms))
}

/// The platforms that a service is built for.
pub(super) fn platforms(service: &Service, build: &Build) -> Result<Vec<Platform>, Failure> {
    let texts = match &build.platforms[..] {
        [] => service.platform.as_slice(),
        platforms => platforms,
    };
    let parse = |text: &String| {
        text.parse().map_err(|_| problem(service, ServiceProblem::Platform { text: text.clone() }))
    };
    texts.iter().map(parse).collect()
}

/// What the service's binary may be called.
fn names(service: &Service) -> Vec<String> {
    if let Some(target) = service.build.as_ref().and_then(|build| build.target.clone()) {
        return vec![target];
    }
    let image = service.image.as_deref().map(|image| {
        let last = image.rsplit('/').next().unwrap_or(image);
        last.split([':', '@']).next().unwrap_or(last)
    });
    let mut names = vec![service.name.clone()];
    names.extend(image.filter(|image| *image != service.name).map(str::to_owned));
    names
}
