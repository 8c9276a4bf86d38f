//! `carrack compose build`: the services of a compose file, each by the engine that can build it.
//!
//! ```text
//! compose files → project → selected services ─┬→ Cargo services, by workspace → one compilation each → store
//!                          (carrack_docker)    ├→ Dockerfiles                  → one graph            → store
//!                                              └→ other platforms' Dockerfiles → Docker
//! ```
//!
//! `--engine docker` and `--engine buildkit` give every service to Docker, `--engine embedded` gives it none.

mod docker;
mod sort;
mod unheard;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use carrack_base::{BuildEvent, Cancel, EventSink};
use carrack_buildkit::{self as buildkit, BuildKit};
use carrack_cargo::config::BuildVariable;
use carrack_cargo::locate::locate;
use carrack_cargo::lower::ServiceImage;
use carrack_cargo::plan::{CargoPlan, PlanError, Selection};
use carrack_docker::compose::{Build, Context, Options, Project, Service, Warning, resolve};
use carrack_engine::Inputs;
use carrack_graph::{Backend, BuiltImage};
use carrack_sandbox::Launcher;
use carrack_store::Store;

use super::build::{load, make, summary};
use crate::arguments::{Compose, ComposeBuild, ComposeCommand};
use crate::caller::Caller;
use crate::engine::{self, EngineName};
use crate::failure::{Failure, ServiceProblem};
use crate::progress::{Progress, View, plural};
use crate::shared::CacheChoice;
use crate::stages::{self, Bench, Builder, Drawn, Extras};
use crate::terminal::Terminal;
use crate::workspace::{self, Desk, Names, Order, Planned, tagged};
use sort::{CargoService, Chosen, DockerService, Sorted};
use unheard::Caches;

/// Builds services of a compose file and takes the images where they are wanted.
pub(crate) fn run(
    arguments: &Compose,
    caller: &Caller,
    state: &Path,
    terminal: &Terminal,
    cancel: &Cancel,
    start: Instant,
) -> Result<ExitCode, Failure> {
    let ComposeCommand::Build(build) = &arguments.command;
    let progress = if build.quiet { Progress::Quiet } else { build.progress };
    let view = View::new(progress, terminal);
    let built = project(arguments, caller).and_then(|project| {
        let site = Site { build, caller, state, terminal, cancel, view: &view };
        site.build(project, start)
    });
    view.finish(built.is_err());
    built.map(|()| ExitCode::SUCCESS)
}

/// The project that the arguments, the caller's environment and the files describe.
fn project(arguments: &Compose, caller: &Caller) -> Result<Project, Failure> {
    let here = |source| Failure::Io { action: "find", path: PathBuf::from("."), source };
    let options = Options {
        folder: caller.folder().map_err(here)?,
        files: arguments.files.clone(),
        project_directory: arguments.project_directory.clone(),
        project_name: arguments.project_name.clone(),
        profiles: arguments.profiles.clone(),
        env_files: arguments.env_files.clone(),
        variables: caller.texts().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        home: Some(caller.home()),
    };
    Ok(resolve(&options)?)
}

/// One compilation.
struct Job {
    services: Vec<Chosen>,
    order: Order,
    planned: Planned,
    no_cache: bool,
}

/// What has to be done.
struct Work {
    jobs: Vec<Job>,
    /// Services whose Dockerfile is built here.
    dockerfiles: Vec<Service>,
    docker: Vec<DockerService>,
}

impl Work {
    /// Whether images are made here whose files belong to several users.
    fn gives_files_away(&self) -> bool {
        let begins_with_image = |job: &Job| !workspace::bases(&job.planned.plan).is_empty();
        !self.dockerfiles.is_empty() || self.jobs.iter().any(begins_with_image)
    }
}

/// Everything that a build takes from around it.
struct Site<'a> {
    build: &'a ComposeBuild,
    caller: &'a Caller,
    state: &'a Path,
    terminal: &'a Terminal,
    cancel: &'a Cancel,
    view: &'a View,
}

impl Site<'_> {
    fn build(&self, mut project: Project, start: Instant) -> Result<(), Failure> {
        let sorted = self.sorted(&mut project);
        // This may start the program again. What it is certain for is known first, so that nothing is done twice.
        if sorted.as_ref().is_ok_and(|sorted| !sorted.dockerfiles.is_empty()) {
            stages::may_give_files_away(self.caller)?;
        }
        let store = Store::open(self.state)?;
        let _lease = store.lease(self.cancel)?;
        let inputs = Inputs::new(&store, self.cancel.clone());
        let launcher = Launcher::this_program();
        let desk = Desk {
            caller: self.caller,
            store: &store,
            inputs: &inputs,
            launcher: &launcher,
            terminal: self.terminal,
            cancel: self.cancel,
        };
        let planned = sorted.and_then(|sorted| self.planned(&desk, &project, sorted));
        // The rest is known now, and nothing was said yet that would be said again.
        if planned.as_ref().is_ok_and(Work::gives_files_away) {
            stages::may_give_files_away(self.caller)?;
        }
        self.warn_of_files(&project);
        let work = planned?;
        self.warn_of_nothing(&project, &work);
        for job in &work.jobs {
            for chosen in &job.services {
                self.warn_of_arguments(&chosen.service.service, &job.planned.plan);
                self.warn_of_keys(&chosen.service.service, unheard::Builder::Cargo);
            }
        }
        let Work { jobs, dockerfiles, docker } = work;
        if self.build.engine == Some(EngineName::Embedded) && !docker.is_empty() {
            let reason = |service: &DockerService| (service.service.name.clone(), service.reason.to_string());
            return Err(Failure::ServicesNeedDocker { services: docker.iter().map(reason).collect() });
        }
        if dockerfiles.is_empty() && docker.is_empty() && !self.build.build_arguments.is_empty() {
            let message = "--build-arg means nothing here: cargo builds these services".to_owned();
            self.warn(message, Some("set variables with `build-env` in the configuration"));
        }
        let mut images = Vec::new();
        for job in jobs {
            let bench = Bench { caller: self.caller, store: &store, cancel: self.cancel, view: self.view };
            let bases = stages::bases(&bench, &workspace::bases(&job.planned.plan), false)?;
            let found = bases.as_ref().map(|bases| bases.found.clone()).unwrap_or_default();
            let prepared = workspace::prepare(&desk, &job.order, job.planned, found)?;
            let caches = self.caches(job.services.iter().map(|chosen| &chosen.service.service));
            let configuration = Some(&prepared.plan.workspace);
            let shared = CacheChoice::of(&caches.from, &caches.to, configuration, self.caller);
            images.extend(make(
                &desk,
                &prepared,
                job.no_cache,
                shared.open(self.caller)?,
                bases.as_ref().map(|bases| &bases.images),
                self.view,
            )?);
        }
        images.extend(self.here(&store, &project, dockerfiles)?);
        if (self.build.load || begins_with_ours(&docker, &images)) && !images.is_empty() {
            load(self.caller, &store, &images)?;
        }
        images.extend(self.with_docker(&project, docker)?);
        if self.build.quiet {
            super::print(&images.iter().map(|image| format!("{}\n", image.config)).collect::<String>())?;
        }
        self.view.emit(BuildEvent::Done { summary: summary(&images), elapsed: start.elapsed() });
        Ok(())
    }

    /// The services that are asked for and have something to build, by what builds them.
    fn sorted(&self, project: &mut Project) -> Result<Sorted, Failure> {
        let selected = project.select(&self.build.services, self.build.with_dependencies)?;
        let buildable = selected.into_iter().filter(|service| service.build.is_some()).cloned().collect();
        sort::sort(buildable, &self.caller.cargo_home(), self.build.engine.as_ref())
    }

    /// Plans the compilations of workspaces.
    fn planned(&self, desk: &Desk<'_>, project: &Project, mut sorted: Sorted) -> Result<Work, Failure> {
        let mut jobs = Vec::new();
        for (root, services) in std::mem::take(&mut sorted.workspaces) {
            let (job, left_over) = self.plan(desk, project, &root, services)?;
            sorted.dockerfiles.extend(left_over);
            jobs.extend(job);
        }
        sorted.leave_foreign()?;
        Ok(Work { jobs, dockerfiles: sorted.dockerfiles, docker: sorted.docker })
    }

    /// Warns where a service that is asked for has nothing to build, or none has.
    fn warn_of_nothing(&self, project: &Project, work: &Work) {
        let has_build = |service: &Service| service.build.is_some();
        let named = self.build.services.iter().filter_map(|name| project.services.get(name));
        for service in named.filter(|service| !has_build(service)) {
            self.warn(format!("{} has nothing to build: it has no `build` section", service.name), None);
        }
        if work.jobs.is_empty() && work.dockerfiles.is_empty() && work.docker.is_empty() {
            self.warn("no service has anything to build".to_owned(), None);
        }
    }

    /// Warns of what was noticed while files were read.
    fn warn_of_files(&self, project: &Project) {
        for warning in &project.warnings {
            let (message, hint) = match warning {
                Warning::Unset { name } => (
                    format!("the variable {name} is not set and counts as empty"),
                    format!("set it, or write ${{{name}:-}} if nothing is meant"),
                ),
                Warning::SeveralFiles { used, ignored } => {
                    let ignored: Vec<String> =
                        ignored.iter().map(|file| file.display().to_string()).collect();
                    let message = format!("{} counts, {} does not", used.display(), ignored.join(", "));
                    (message, "name files with -f, or keep one".to_owned())
                }
            };
            self.warn(message, Some(&hint));
        }
    }

    fn warn(&self, message: String, hint: Option<&str>) {
        self.view.emit(BuildEvent::Warning { message, hint: hint.map(str::to_owned) });
    }

    /// Plans the one compilation of a workspace's services. What turns out to be no binary of the workspace is left over if
    /// it has a Dockerfile.
    fn plan(
        &self,
        desk: &Desk<'_>,
        project: &Project,
        root: &Path,
        services: Vec<CargoService>,
    ) -> Result<(Option<Job>, Vec<Service>), Failure> {
        let likeliest = services.into_iter().map(Chosen::likeliest).collect::<Vec<_>>();
        let known = match self.try_plan(desk, project, root, &likeliest) {
            Err(Failure::Plan(PlanError::UnknownBinary { known, .. })) => known,
            planned => {
                let (order, planned) = planned?;
                return Ok((Some(self.job(likeliest, order, planned)), Vec::new()));
            }
        };
        let services = likeliest.into_iter().map(|chosen| chosen.service).collect();
        let (chosen, left_over) = sort::choose(services, root, &known)?;
        let job = match chosen.is_empty() {
            true => None,
            false => {
                let (order, planned) = self.try_plan(desk, project, root, &chosen)?;
                Some(self.job(chosen, order, planned))
            }
        };
        Ok((job, left_over))
    }

    fn try_plan(
        &self,
        desk: &Desk<'_>,
        project: &Project,
        root: &Path,
        services: &[Chosen],
    ) -> Result<(Order, Planned), Failure> {
        let mut images: BTreeMap<String, Vec<ServiceImage>> = BTreeMap::new();
        for Chosen { service, binary } in services {
            images.entry(binary.clone()).or_default().push(image(&service.service, &project.name)?);
        }
        refuse_shared_names(&images)?;
        let order = Order {
            selection: Selection {
                packages: Vec::new(),
                binaries: images.keys().cloned().collect(),
                workspace: false,
            },
            names: Names::Each(images),
            ..Order::default()
        };
        let location = locate(root, &self.caller.cargo_home())?;
        let planned = workspace::plan(desk, &order, location)?;
        Ok((order, planned))
    }

    fn job(&self, services: Vec<Chosen>, order: Order, planned: Planned) -> Job {
        let no_cache = self.build.no_cache || services.iter().any(|chosen| chosen.service.no_cache());
        Job { services, order, planned, no_cache }
    }

    /// Build arguments are a Dockerfile's. Those that only pass on a variable that the build gets anyway are right.
    fn warn_of_arguments(&self, service: &Service, plan: &CargoPlan) {
        let Some(build) = &service.build else { return };
        let passed_on = |name: &str, value: &str| match plan.workspace.build_env.get(name) {
            Some(BuildVariable::FromCaller) => self.caller.text(name).as_deref() == Some(value),
            Some(BuildVariable::Value(configured)) => configured == value,
            None => false,
        };
        let lost = build.args.iter().filter(|(name, value)| !passed_on(name, value));
        let lost: Vec<&str> = lost.map(|(name, _)| name.as_str()).collect();
        if !lost.is_empty() {
            let verb = if lost.len() == 1 { "means" } else { "mean" };
            let message = format!(
                "{}: args {verb} nothing to cargo, which builds it: {}",
                service.name,
                lost.join(", ")
            );
            self.warn(message, Some("set variables with `build-env` in the configuration, or drop them"));
        }
    }

    /// Warns of keys that mean nothing to what builds a service.
    fn warn_of_keys(&self, service: &Service, builder: unheard::Builder) {
        let keys = service.build.as_ref().map(|build| unheard::keys(build, builder)).unwrap_or_default();
        if !keys.is_empty() {
            let verb = if keys.len() == 1 { "means" } else { "mean" };
            let to = match builder {
                unheard::Builder::Cargo => "to cargo, which builds it",
                unheard::Builder::Dockerfile | unheard::Builder::Docker => "here",
            };
            self.warn(format!("{}: {} {verb} nothing {to}", service.name, keys.join(", ")), None);
        }
    }

    /// The caches of services, with a warning for each that Carrack has not.
    fn caches<'s>(&self, services: impl Iterator<Item = &'s Service>) -> Caches {
        let mut caches = Caches::default();
        services.for_each(|service| caches.add(service));
        for unknown in std::mem::take(&mut caches.unknown) {
            self.warn(unknown, Some("name one of Carrack's, or build with `--engine docker`"));
        }
        caches
    }

    /// Docker's client reads the variables of secrets itself, and sees no `.env`.
    fn warn_of_secrets(&self, services: &[Service]) {
        let builds = services.iter().filter_map(|service| service.build.as_ref());
        let unseen = builds.flat_map(docker::secret_variables);
        for name in unseen.filter(|name| self.caller.variable(name).is_none()) {
            let message = format!("the secret of {name} is empty: the environment has no such variable");
            self.warn(message, Some("export it; .env is not enough for a secret"));
        }
    }

    /// Builds Dockerfiles with the embedded engine, side by side as far as none begins with another's image.
    fn here(
        &self,
        store: &Store,
        project: &Project,
        services: Vec<Service>,
    ) -> Result<Vec<BuiltImage>, Failure> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let services: Vec<Service> =
            services.into_iter().map(|service| sort::with(service, self.build, project)).collect();
        // Here, files of variables are enough for a secret.
        let builds = services.iter().filter_map(|service| service.build.as_ref());
        let caller =
            builds.flat_map(docker::secret_variables).fold(self.caller.clone(), |caller, name| match project
                .variables
                .get(name)
            {
                Some(value) => caller.with(name, value),
                None => caller,
            });
        let pull = services.iter().filter_map(|service| service.build.as_ref()).any(|build| build.pull);
        let bench = Bench { caller: &caller, store, cancel: self.cancel, view: self.view };
        let builder = Builder::new(bench, Extras::default(), pull)?;
        let mut images = Vec::new();
        for round in rounds(services) {
            let drawn = round.iter().filter_map(|service| {
                let drawn = self.draw(&builder, service, service.build.as_ref()?, project);
                Some(drawn.map_err(|failure| in_service(service, failure)))
            });
            images.extend(builder.build(drawn.collect::<Result<_, _>>()?)?);
        }
        Ok(images)
    }

    /// Draws the build of a service's Dockerfile.
    fn draw(
        &self,
        builder: &Builder<'_>,
        service: &Service,
        build: &Build,
        project: &Project,
    ) -> Result<Drawn, Failure> {
        self.warn_of_keys(service, unheard::Builder::Dockerfile);
        let Caches { from, to, .. } = self.caches(std::iter::once(service));
        let asked = docker::build(service, build, project)?;
        let asked = buildkit::DockerBuild { cache_from: from, cache_to: to, ..asked };
        let configuration = match &build.context {
            Context::Folder(folder) => {
                let named = CacheChoice::of(&asked.cache_from, &asked.cache_to, None, self.caller);
                workspace::configuration_around(folder, &named, self.caller)?
            }
            Context::Remote(_) => None,
        };
        let unnamed = PathBuf::from(format!("dockerfile_inline of {}", service.name));
        builder.draw(&asked, &unnamed, configuration.as_ref())
    }

    /// Builds what needs Docker, side by side as far as no build begins with another's image.
    fn with_docker(
        &self,
        project: &Project,
        services: Vec<DockerService>,
    ) -> Result<Vec<BuiltImage>, Failure> {
        if services.is_empty() {
            return Ok(Vec::new());
        }
        let engine = self.build.engine.clone().unwrap_or(EngineName::Docker);
        let client = engine::client(self.caller, &engine, None)?;
        self.view.emit(BuildEvent::Planned {
            kind: "Compose".to_owned(),
            what: format!("{} · {} {}", project.name, services.len(), plural(services.len(), "service")),
            builder: client.describe(),
            base: None,
        });
        let buildkit = BuildKit::new(client, self.caller.scratch());
        let services =
            services.into_iter().map(|docker| sort::with(docker.service, self.build, project)).collect();
        let mut images = Vec::new();
        for round in rounds(services) {
            self.warn_of_secrets(&round);
            round.iter().for_each(|service| self.warn_of_keys(service, unheard::Builder::Docker));
            let builds = round.iter().filter_map(|service| {
                service.build.as_ref().map(|build| docker::build(service, build, project))
            });
            let builds = builds.collect::<Result<Vec<_>, _>>()?;
            images.extend(buildkit.build(&builds, self.view, self.cancel)?);
        }
        Ok(images)
    }
}

/// Services in rounds: each comes after those whose images it begins with.
fn rounds(services: Vec<Service>) -> Vec<Vec<Service>> {
    let mut rounds = Vec::new();
    let mut waiting = services;
    while !waiting.is_empty() {
        let names: BTreeSet<String> = waiting.iter().map(|service| service.name.clone()).collect();
        // Services that wait for each other were refused when the file was read.
        let (ready, others) = waiting.into_iter().partition(|service| {
            service.build.iter().flat_map(docker::needs).all(|needed| !names.contains(needed))
        });
        waiting = others;
        rounds.push(ready);
    }
    rounds
}

/// What an option would be blamed for is a key of the service.
fn in_service(service: &Service, failure: Failure) -> Failure {
    let Failure::BadOption { option, value, why } = failure else { return failure };
    let key = match option {
        "--secret" => "secrets",
        "--ssh" => "ssh",
        "--build-context" => "additional_contexts",
        "--add-host" => "extra_hosts",
        "--ulimit" => "ulimits",
        "--network" => "network",
        _ => "context",
    };
    problem(service, ServiceProblem::Key { key, value, why })
}

/// Whether a build of Docker's begins with an image that is in Carrack's store only.
fn begins_with_ours(services: &[DockerService], images: &[BuiltImage]) -> bool {
    let builds = services.iter().filter_map(|service| service.service.build.as_ref());
    let needed: BTreeSet<&str> = builds.flat_map(docker::needs).collect();
    images.iter().any(|image| needed.contains(image.name.as_str()))
}

/// The image of a Cargo service.
fn image(service: &Service, project: &str) -> Result<ServiceImage, Failure> {
    let build = service.build.as_ref().expect("only services with a build section get here");
    let tags = tags(service, build, project)?;
    Ok(ServiceImage { name: service.name.clone(), tags, labels: build.labels.clone() })
}

/// The names of a service's image, each once.
fn tags(service: &Service, build: &Build, project: &str) -> Result<Vec<String>, Failure> {
    let mut tags = Vec::new();
    for name in std::iter::once(service.image_name(project)).chain(build.tags.iter().cloned()) {
        let tag = tagged(&name)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    Ok(tags)
}

/// Two services may have one image if it is the same; of two images the last one would get the name.
fn refuse_shared_names(images: &BTreeMap<String, Vec<ServiceImage>>) -> Result<(), Failure> {
    let mut owners: BTreeMap<&str, (&str, &ServiceImage)> = BTreeMap::new();
    for (binary, image) in
        images.iter().flat_map(|(binary, all)| all.iter().map(move |image| (binary, image)))
    {
        for tag in &image.tags {
            let (other_binary, other) = *owners.entry(tag).or_insert((binary, image));
            if other_binary != binary || other.labels != image.labels {
                let services = vec![other.name.clone(), image.name.clone()];
                return Err(PlanError::DuplicateImage { image: tag.clone(), services }.into());
            }
        }
    }
    Ok(())
}

/// The problem of a service, at its place.
fn problem(service: &Service, why: ServiceProblem) -> Failure {
    Failure::Service { service: service.name.clone(), span: service.span.clone(), why }
}
