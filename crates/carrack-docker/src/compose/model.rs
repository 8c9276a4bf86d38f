use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use carrack_base::{Span, nearest};

use super::error::{ComposeError, Invalid};

/// What compose files say about building.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name, which names images that have none.
    pub name: String,
    /// Where its relative paths start; absolute.
    pub folder: PathBuf,
    /// The files, the first one first. Those that are included or extended are not here.
    pub files: Vec<PathBuf>,
    /// The caller's environment and what files of variables add.
    pub variables: BTreeMap<String, String>,
    /// Active profiles.
    pub profiles: Vec<String>,
    /// All services, whatever their profiles.
    pub services: BTreeMap<String, Service>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

/// A service, as far as building needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub span: Span,
    /// `image`, as written.
    pub image: Option<String>,
    /// What builds it.
    pub build: Option<Build>,
    /// Where it runs, and what it is built for if `build` names no platforms.
    pub platform: Option<String>,
    /// The profiles that it belongs to.
    pub profiles: Vec<String>,
    /// The services that it starts after or shares something with.
    pub depends_on: Vec<Dependency>,
    /// Whether its profiles are active.
    pub active: bool,
    /// Whether something else than an image provides it.
    pub(super) provided: bool,
}

/// A service that another one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its name.
    pub service: String,
    /// Whether it must be active.
    pub required: bool,
    /// Where it is named.
    pub span: Span,
}

/// A `build` section. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Where it is written.
    pub span: Span,
    /// What is sent.
    pub context: Context,
    /// What says how it is built.
    pub dockerfile: Dockerfile,
    /// Build arguments. Those without a value have taken the variable of their name; without one they are left out.
    pub args: BTreeMap<String, String>,
    /// Where `args` is written.
    pub args_span: Option<Span>,
    /// Contexts beside the first one.
    pub additional_contexts: BTreeMap<String, NamedContext>,
    /// The stage to build.
    pub target: Option<String>,
    /// Names of the image besides the service's.
    pub tags: Vec<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Where caches are read, in buildx's words.
    pub cache_from: Vec<String>,
    /// Where caches are written, in buildx's words.
    pub cache_to: Vec<String>,
    /// The network of build steps.
    pub network: Option<String>,
    /// Platforms to build for.
    pub platforms: Vec<String>,
    /// SSH agents and keys: id and path, if it is not the agent's.
    pub ssh: BTreeMap<String, Option<String>>,
    /// Secrets for build steps.
    pub secrets: Vec<Secret>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Limits of build steps.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Lines for `/etc/hosts`, as `name=address`.
    pub extra_hosts: Vec<String>,
    /// Rights that the build asks for.
    pub entitlements: Vec<String>,
    /// How steps are isolated, on Windows.
    pub isolation: Option<String>,
    /// Whether to leave the cache aside.
    pub no_cache: bool,
    /// Whether to ask registries for newer base images.
    pub pull: bool,
    /// Whether steps are privileged.
    pub privileged: bool,
    /// Attestation of how it was built, in buildx's words.
    pub provenance: Option<String>,
    /// Attestation of what is in it, in buildx's words.
    pub sbom: Option<String>,
}

/// Where a build's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// A folder of this machine.
    Folder(PathBuf),
    /// Something that the builder fetches (`https://…`, `git@…`).
    Remote(String),
}

/// A further context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A folder of this machine.
    Folder(PathBuf),
    /// Another service's image, which has to be built first.
    Service {
        /// Its name.
        name: String,
        /// Where it is named.
        span: Span,
    },
    /// Something that the builder knows (`docker-image://…`, `oci-layout://…`, `https://…`).
    Remote(String),
}

/// What says how an image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dockerfile {
    /// A file, as written; relative to the context. `Dockerfile` where nothing is said.
    File(String),
    /// The text itself.
    Inline(String),
}

/// A secret that a build may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name by which the Dockerfile knows it: its target, else its source.
    pub id: String,
    /// Where it comes from.
    pub source: SecretSource,
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A file's content.
    File(PathBuf),
    /// A variable's value; its name. [`Project::variables`] may know it.
    Variable(String),
    /// Somebody else's; a build has none of it.
    External,
}

/// A limit of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ulimit {
    /// What processes begin with; -1 for no limit.
    pub soft: i64,
    /// Up to where they may raise it; -1 for no limit.
    pub hard: i64,
}

/// What the user should know and what stops nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A variable without a value counted as empty.
    Unset {
        /// Its name.
        name: String,
    },
    /// A folder has several compose files.
    SeveralFiles {
        /// The one that counts.
        used: PathBuf,
        /// The others.
        ignored: Vec<PathBuf>,
    },
}

impl Service {
    /// The image's name: the one that is written, else `project-service`.
    pub fn image_name(&self, project: &str) -> String {
        self.image.clone().unwrap_or_else(|| format!("{project}-{}", self.name))
    }

    /// Services whose images the build begins with.
    fn contexts(&self) -> impl Iterator<Item = (&str, &Span)> {
        let contexts = self.build.iter().flat_map(|build| build.additional_contexts.values());
        contexts.filter_map(|context| match context {
            NamedContext::Service { name, span } => Some((name.as_str(), span)),
            NamedContext::Folder(_) | NamedContext::Remote(_) => None,
        })
    }
}

impl Project {
    /// The services that `names` mean, or all active ones; with what they depend on if `with_dependencies`; always with
    /// the services whose images they begin with. Names make services active whose profile is not.
    ///
    /// Errors: [`ComposeError::NoSuchService`], or what is wrong with a service that became active.
    pub fn select(
        &mut self,
        names: &[String],
        with_dependencies: bool,
    ) -> Result<Vec<&Service>, ComposeError> {
        for name in names {
            let Some(service) = self.services.get_mut(name) else {
                let known: Vec<String> = self.services.keys().cloned().collect();
                let nearest = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
                return Err(ComposeError::NoSuchService { name: name.clone(), nearest, known });
            };
            service.active = true;
        }
        self.check_active()?;
        let mut pending: Vec<&str> = match names {
            [] => self.active().map(|service| service.name.as_str()).collect(),
            names => names.iter().map(String::as_str).collect(),
        };
        let mut selected = BTreeSet::new();
        while let Some(name) = pending.pop() {
            if let Some(service) = self.services.get(name)
                && selected.insert(name)
            {
                pending.extend(service.contexts().map(|(name, _)| name));
                if with_dependencies {
                    let active = |name: &&str| self.services.get(*name).is_some_and(|other| other.active);
                    let others = service.depends_on.iter().map(|other| other.service.as_str());
                    pending.extend(others.filter(active));
                }
            }
        }
        Ok(self.services.values().filter(|service| selected.contains(service.name.as_str())).collect())
    }

    fn active(&self) -> impl Iterator<Item = &Service> {
        self.services.values().filter(|service| service.active)
    }

    /// Marks the services that belong to an active profile or to none.
    pub(super) fn activate(&mut self) {
        let all = self.profiles.iter().any(|profile| profile == "*");
        for service in self.services.values_mut() {
            service.active = all
                || service.profiles.is_empty()
                || service.profiles.iter().any(|profile| self.profiles.contains(profile));
        }
    }

    /// Refuses what active services can't be.
    pub(super) fn check_active(&self) -> Result<(), ComposeError> {
        for service in self.active() {
            self.check(service)?;
        }
        self.check_circles()
    }

    fn check(&self, service: &Service) -> Result<(), ComposeError> {
        let of_service = |what| Err(ComposeError::invalid(&service.span, what));
        let name = || service.name.clone();
        if service.image.is_none() && service.build.is_none() && !service.provided {
            return of_service(Invalid::NoImage { service: name() });
        }
        let undefined = |other: &str, span: &Span| {
            let known = self.services.keys().map(String::as_str);
            let inactive = self.services.contains_key(other);
            let nearest = if inactive { None } else { nearest(other, known).map(str::to_owned) };
            let what = Invalid::UndefinedService { name: other.to_owned(), inactive, nearest };
            Err(ComposeError::invalid(span, what))
        };
        for other in &service.depends_on {
            match self.services.get(&other.service) {
                Some(found) if found.active || !other.required => {}
                _ => return undefined(&other.service, &other.span),
            }
        }
        for (other, span) in service.contexts() {
            if !self.services.get(other).is_some_and(|other| other.active) {
                return undefined(other, span);
            }
        }
        if let (Some(build), Some(platform)) = (&service.build, &service.platform)
            && !build.platforms.is_empty()
            && !build.platforms.contains(platform)
        {
            let what = Invalid::PlatformLeftOut { service: name(), platform: platform.clone() };
            return Err(ComposeError::invalid(&build.span, what));
        }
        Ok(())
    }

    /// Refuses services that wait for each other.
    fn check_circles(&self) -> Result<(), ComposeError> {
        let mut done = BTreeSet::new();
        for service in self.active() {
            self.walk(service, &mut Vec::new(), &mut done)?;
        }
        Ok(())
    }

    fn walk<'a>(
        &'a self,
        service: &'a Service,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Result<(), ComposeError> {
        if done.contains(service.name.as_str()) {
            return Ok(());
        }
        way.push(&service.name);
        let dependencies = service.depends_on.iter().map(|other| (other.service.as_str(), &other.span));
        for (other, span) in dependencies.chain(service.contexts()) {
            if let Some(start) = way.iter().position(|name| *name == other) {
                let chain = way[start..].iter().chain([&other]).map(|name| (*name).to_owned()).collect();
                return Err(ComposeError::invalid(span, Invalid::Circle { chain }));
            }
            if let Some(other) = self.services.get(other).filter(|other| other.active) {
                self.walk(other, way, done)?;
            }
        }
        way.pop();
        done.insert(&service.name);
        Ok(())
    }
}
