//! Builds Dockerfiles with the embedded engine: no daemon, no root.
//!
//! ```text
//! what is asked ─ request ─┐
//! Dockerfile ──────────────┼─ lower ─► one graph of all builds ─ engine ─► images in the store
//! names ─ images ──────────┘ (configurations)                  └─ images (layers)
//! ```
//!
//! Whoever is not root becomes root of a user namespace first, so that files can be given to whomever the image says.

mod agent;
mod context;
mod images;
mod read;
mod request;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use carrack_base::{BuildEvent, Cancel, EventSink, ImagePath, Platform};
use carrack_buildkit::DockerBuild;
use carrack_cargo::called::CalledCargo;
use carrack_cargo::config::WorkspaceConfig;
use carrack_docker::check::DockerFinding;
use carrack_docker::lower::{self, Lowered};
use carrack_engine::{Engine, Inputs, Options, Supplies};
use carrack_graph::{Backend, BuildGraph, BuiltImage, ImageResolver, ResolvedImage};
use carrack_sandbox::{Launcher, Standing, become_root};
use carrack_store::Store;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::progress::View;
use crate::shared::CacheChoice;
use agent::KeyAgents;
use context::Place;
pub(crate) use images::ImageFailure;
pub(crate) use images::Images;
pub(crate) use read::Read;

/// What every build takes from around it.
#[derive(Clone, Copy)]
pub(crate) struct Bench<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) store: &'a Store,
    pub(crate) cancel: &'a Cancel,
    pub(crate) view: &'a View,
}

/// What only this engine can be asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extras {
    /// Stages for which no kept result may be used.
    pub(crate) no_cache_filter: Vec<String>,
    /// Whether commands are not shown the authorities that were added to this machine.
    pub(crate) no_host_certificates: bool,
    /// Whether cargo finds no kept units in commands, and leaves none.
    pub(crate) no_cargo_cache: bool,
    /// Programs that have to find everything that they need in their image, by the name of the build.
    pub(crate) programs: BTreeMap<String, Vec<ImagePath>>,
}

/// Starts the program again as root of a user namespace, if it is not root of anything. Called before anything is read that
/// can't be read again.
pub(crate) fn may_give_files_away(caller: &Caller) -> Result<(), Failure> {
    if caller.standing != Standing::Plain || rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::Sandbox(become_root()))
}

/// The same for whoever looks after a store, if there is anything in it that belongs to others.
pub(crate) fn may_give_files_away_of(caller: &Caller, state: &Path) -> Result<(), Failure> {
    let holds = |name: &str| state.join(name).read_dir().is_ok_and(|mut found| found.next().is_some());
    if holds("snapshots") || holds("mounts") { may_give_files_away(caller) } else { Ok(()) }
}

/// The images that the services of a workspace start from, by the names that the configuration has for them, and where their
/// layers come from; `None` if they start from none.
///
/// Errors: one of them can't be had.
pub(crate) fn bases<'a>(
    bench: &Bench<'a>,
    names: &BTreeSet<&str>,
    pull: bool,
) -> Result<Option<Bases<'a>>, Failure> {
    if names.is_empty() {
        return Ok(None);
    }
    may_give_files_away(bench.caller)?;
    let images = Images::new(bench.store, bench.caller, bench.cancel, bench.view, pull)?;
    let platform = Platform::host();
    let find = |name: &&str| match images.resolve(name, &platform) {
        Ok(image) => Ok(((*name).to_owned(), image)),
        Err(source) => Err(Failure::Base { name: (*name).to_owned(), source: Box::new(source) }),
    };
    let found = names.iter().map(find).collect::<Result<_, _>>()?;
    Ok(Some(Bases { images, found }))
}

/// Images that others start from.
pub(crate) struct Bases<'a> {
    pub(crate) images: Images<'a>,
    pub(crate) found: BTreeMap<String, ResolvedImage>,
}

/// Draws builds, and then builds them. The caller holds a lease.
pub(crate) struct Builder<'a> {
    bench: Bench<'a>,
    extras: Extras,
    images: Images<'a>,
    agents: KeyAgents,
}

/// What one build is going to do.
pub(crate) struct Drawn {
    lowered: Lowered,
    supplies: Supplies,
    /// Where to look for what steps came to, and where to put it.
    caches: CacheChoice,
    /// What was unpacked or checked out has to stay until the end.
    place: Place,
}

impl<'a> Builder<'a> {
    /// Begins; `pull` asks for the names of base images again.
    pub(crate) fn new(bench: Bench<'a>, extras: Extras, pull: bool) -> Result<Self, Failure> {
        let Bench { caller, store, cancel, view } = bench;
        if caller.standing == Standing::RootOfOne {
            view.emit(BuildEvent::Warning {
                message: "there are no subordinate ids for this user: every file of an image belongs to root"
                    .to_owned(),
                hint: Some("install uidmap, and add a range to /etc/subuid and /etc/subgid".to_owned()),
            });
        }
        let images = Images::new(store, caller, cancel, view, pull)?;
        Ok(Self { bench, extras, images, agents: KeyAgents::default() })
    }

    /// Reads a build's Dockerfile and draws it; `unnamed` is what a Dockerfile without a file is called. The configuration
    /// says which caches are used where `build` does not, and who is trusted there.
    ///
    /// Errors: what would be refused before anything runs.
    pub(crate) fn draw(
        &self,
        build: &DockerBuild,
        unnamed: &Path,
        configuration: Option<&WorkspaceConfig>,
    ) -> Result<Drawn, Failure> {
        let Bench { caller, store, .. } = self.bench;
        let read = Read::of(build, &self.extras, caller, store, unnamed)?;
        let supplies = request::supplies(build, &self.extras, caller, store, &self.agents)?;
        let lowered = self.lowered(&read)?;
        let caches = CacheChoice::of(&build.cache_from, &build.cache_to, configuration, caller);
        Ok(Drawn { lowered, supplies, caches, place: read.place })
    }

    /// Builds, side by side; what builds have in common is done once. The images are in the store afterwards.
    pub(crate) fn build(&self, drawn: Vec<Drawn>) -> Result<Vec<BuiltImage>, Failure> {
        let Bench { caller, store, cancel, view } = self.bench;
        let inputs = Inputs::new(store, cancel.clone());
        let options = Options {
            no_cache: false,
            no_units: self.extras.no_cargo_cache,
            keeps_files: caller.standing == Standing::RootOfOne,
        };
        let mut images = Vec::new();
        let mut waiting = drawn;
        while !waiting.is_empty() {
            let mut graph = BuildGraph::default();
            let mut supplies = Supplies::default();
            // Builds that call different secrets by one name can't run together, nor those that must not share caches.
            let mut others = Vec::new();
            let mut places = Vec::new();
            let mut caches = waiting[0].caches.clone();
            for drawn in waiting {
                if request::agree(&supplies, &drawn.supplies) && caches.join(&drawn.caches) {
                    graph.append(drawn.lowered.graph);
                    supplies.secrets.extend(drawn.supplies.secrets);
                    supplies.agents.extend(drawn.supplies.agents);
                    supplies.certificates = drawn.supplies.certificates;
                    places.push(drawn.place);
                } else {
                    others.push(drawn);
                }
            }
            waiting = others;
            let shared = caches.open(caller)?;
            let engine = Engine::new(store, &inputs, Launcher::this_program(), options.clone())
                .with_layers_from(&self.images)
                .with_shared_caches(shared)
                .with_supplies(supplies)
                .with_called_program(Arc::new(CalledCargo));
            images.extend(engine.build(&graph, view, cancel)?);
        }
        Ok(images)
    }

    fn lowered(&self, read: &Read) -> Result<Lowered, Failure> {
        let view = self.bench.view;
        let resolver = Remembering { images: &self.images, resolved: RefCell::default() };
        let lowered = lower::lower(&read.dockerfile, &read.request, &resolver)
            .map_err(|error| Failure::Stages(Box::new(error)))?;
        view.emit(BuildEvent::Planned {
            kind: "Dockerfile".to_owned(),
            what: format!("{} · stage {} · context {}", read.shown(), lowered.stage, read.place.shown()),
            builder: "embedded".to_owned(),
            base: None,
        });
        for argument in &lowered.unused {
            let nearest = argument.nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"));
            let message = format!("no ARG asks for the build argument `{}`", argument.name);
            view.emit(BuildEvent::Warning { message, hint: nearest });
        }
        let report = read.check_build(resolver.resolved.into_inner());
        if report.are_errors {
            return Err(Failure::Checks { findings: report.findings });
        }
        let mut findings = report.findings.iter().peekable();
        while let Some(finding) = findings.next() {
            let line = finding.span.source.text[..finding.span.range.start].matches('\n').count() + 1;
            let DockerFinding { check, mark, .. } = finding;
            let mark = if mark.is_empty() { String::new() } else { format!(": {mark}") };
            view.emit(BuildEvent::Warning {
                message: format!("{}: {}{mark} ({}:{line})", check.name, check.title, read.shown()),
                hint: findings.peek().is_none().then(|| "see the lines with `carrack check`".to_owned()),
            });
        }
        Ok(lowered)
    }
}

/// Asks for images, and remembers them.
struct Remembering<'a> {
    images: &'a Images<'a>,
    /// By their whole names.
    resolved: RefCell<BTreeMap<String, ResolvedImage>>,
}

impl ImageResolver for Remembering<'_> {
    type Error = ImageFailure;

    fn resolve(&self, reference: &str, platform: &Platform) -> Result<ResolvedImage, ImageFailure> {
        let image = self.images.resolve(reference, platform)?;
        self.resolved.borrow_mut().insert(reference.to_owned(), image.clone());
        Ok(image)
    }
}

/// What a Dockerfile from standard input is called in messages.
pub(crate) fn standard_input() -> &'static Path {
    Path::new("-")
}
