//! What builds a service.
//!
//! A Cargo service is one that `cargo build` builds without anyone's Dockerfile: its folder is in a Cargo workspace, and its
//! Dockerfile is not there, or is as `carrack init` wrote it. Its binary is its `target`, else the binary with the
//! service's name, else the one with its image's. Every other service has a Dockerfile, which is built here too, unless
//! the service is for other machines or begins with the image of one that is: those are Docker's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use carrack_base::Platform;
use carrack_cargo::init::{Ownership, ownership};
use carrack_cargo::locate::{LocateError, locate};
use carrack_docker::compose::{Build, Context, Dockerfile, Project, Service};

use super::{docker, problem};
use crate::arguments::ComposeBuild;
use crate::engine::EngineName;
use crate::failure::{Failure, ServiceProblem};

/// Services by what builds them.
pub(super) struct Sorted {
    /// By the workspace's folder.
    pub(super) workspaces: BTreeMap<PathBuf, Vec<CargoService>>,
    /// Those whose Dockerfile is built here.
    pub(super) dockerfiles: Vec<Service>,
    /// Those that are built by an engine of Docker's.
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
    /// It is for another platform than this machine's, or for several.
    Platforms(Vec<Platform>),
    /// It begins with the image of a service that needs Docker.
    Needs(String),
    /// The caller wants it so.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platforms(platforms) => {
                let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                write!(formatter, "it is for {}", platforms.join(", "))
            }
            Self::Needs(service) => write!(formatter, "it begins with the image of {service}"),
            Self::Asked => write!(formatter, "--engine asks for it"),
        }
    }
}

impl CargoService {
    pub(super) fn no_cache(&self) -> bool {
        self.service.build.as_ref().is_some_and(|build| build.no_cache)
    }
}

/// A service with what the command line adds: `--build-arg`, `--no-cache`, `--pull`.
pub(super) fn with(mut service: Service, arguments: &ComposeBuild, project: &Project) -> Service {
    if let Some(build) = &mut service.build {
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
    service
}

/// Sorts services that have a `build` section.
pub(super) fn sort(
    services: Vec<Service>,
    cargo_home: &Path,
    engine: Option<&EngineName>,
) -> Result<Sorted, Failure> {
    let mut sorted = Sorted { workspaces: BTreeMap::new(), dockerfiles: Vec::new(), docker: Vec::new() };
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
            Place::Dockerfile => sorted.dockerfiles.push(service),
            Place::Docker(reason) => sorted.docker.push(DockerService { service, reason }),
        }
    }
    sorted.leave_foreign()?;
    Ok(sorted)
}

impl Sorted {
    /// Leaves to Docker what this machine can't build from a Dockerfile.
    pub(super) fn leave_foreign(&mut self) -> Result<(), Failure> {
        let mut here = Vec::new();
        for service in std::mem::take(&mut self.dockerfiles) {
            let build = service.build.as_ref().expect("only services with a build section are sorted");
            match foreign_platforms(&service, build)? {
                Some(platforms) => {
                    self.docker.push(DockerService { service, reason: Reason::Platforms(platforms) });
                }
                None => here.push(service),
            }
        }
        loop {
            let theirs: BTreeSet<String> =
                self.docker.iter().map(|docker| docker.service.name.clone()).collect();
            let needed = |service: &Service| {
                let needs = service.build.iter().flat_map(docker::needs);
                needs.into_iter().find(|name| theirs.contains(*name)).map(str::to_owned)
            };
            let (leaving, staying): (Vec<_>, Vec<_>) = here
                .into_iter()
                .map(|service| (needed(&service), service))
                .partition(|(needed, _)| needed.is_some());
            here = staying.into_iter().map(|(_, service)| service).collect();
            if leaving.is_empty() {
                break;
            }
            self.docker.extend(leaving.into_iter().filter_map(|(needed, service)| {
                Some(DockerService { service, reason: Reason::Needs(needed?) })
            }));
        }
        self.dockerfiles = here;
        self.docker.sort_by(|one, other| one.service.name.cmp(&other.service.name));
        Ok(())
    }
}

/// Gives each service its binary of those that there are. Who has none and has a Dockerfile is left over.
pub(super) fn choose(
    services: Vec<CargoService>,
    root: &Path,
    known: &[String],
) -> Result<(Vec<Chosen>, Vec<Service>), Failure> {
    let mut chosen = Vec::new();
    let mut left_over = Vec::new();
    for service in services {
        if let Some(binary) = service.names.iter().find(|name| known.contains(name)).cloned() {
            chosen.push(Chosen { service, binary });
        } else if service.dockerfile.is_some() {
            left_over.push(service.service);
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
    Dockerfile,
    Docker(Reason),
}

/// Where a service is built.
fn place(service: &Service, cargo_home: &Path) -> Result<Place, Failure> {
    let build = service.build.as_ref().expect("only services with a build section are sorted");
    let context = match &build.context {
        Context::Folder(folder) => folder,
        Context::Remote(_) => return Ok(Place::Dockerfile),
    };
    if !context.is_dir() {
        return Err(problem(service, ServiceProblem::NoContext { folder: context.clone() }));
    }
    let Dockerfile::File(file) = &build.dockerfile else { return Ok(Place::Dockerfile) };
    let path = context.join(file);
    let dockerfile = match std::fs::read_to_string(&path) {
        Ok(text) => match ownership(&text) {
            Ownership::Sealed { .. } => Some(path.clone()),
            Ownership::Broken { .. } | Ownership::Foreign => return Ok(Place::Dockerfile),
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
        Some(_) => Ok(Place::Dockerfile),
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
