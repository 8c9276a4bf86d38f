use std::sync::{Arc, OnceLock};
use std::time::Duration;

use carrack_base::{BuildEvent, EventSink, ImagePath};
use carrack_buildkit::DockerBuild;
use carrack_cargo::locate::Location;
use carrack_cargo::lower::TOOL;
use carrack_cargo::plan::{CargoPlan, Selection};
use carrack_engine::{Engine, Inputs, Options, SharedCaches, StoreBlobs};
use carrack_graph::{Backend, BuiltImage};
use carrack_oci::{
    Destination as Sink, EngineKind, EngineProgram, Image, NamedImage, Reference, docker_tar, oci_layout,
    oci_tar, rootfs_dir, rootfs_tar,
};
use carrack_sandbox::{Launcher, Standing};
use carrack_store::Store;

use super::{Site, docker};
use crate::arguments::Build;
use crate::blobs;
use crate::caller::Caller;
use crate::commands::upkeep;
use crate::engine::EngineName;
use crate::failure::{Failure, chain_in_one_line};
use crate::output::{Destination, Output, OutputKind};
use crate::progress::{View, plural};
use crate::shared::CacheChoice;
use crate::stages::{self, Bench, Extras, Images};
use crate::workspace::{self, Desk, Names, Order, Planned, Prepared, proof};

/// The builder that is this machine itself.
const HOST: &str = "host";

/// How long an engine may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Builds a workspace's images with the engine that the caller, or the workspace's configuration, names; says whether they
/// are in Carrack's own store.
pub(super) fn workspace(site: &Site<'_>, location: Location) -> Result<(Vec<BuiltImage>, bool), Failure> {
    let Site { arguments, caller, terminal, cancel, view, .. } = *site;
    let store = Store::open(site.state)?;
    let lease = store.lease(cancel)?;
    let inputs = Inputs::new(&store, cancel.clone());
    let launcher = Launcher::this_program();
    let desk = Desk { caller, store: &store, inputs: &inputs, launcher: &launcher, terminal, cancel };
    let order = order(arguments);
    let planned = workspace::plan(&desk, &order, location)?;
    let engine = match &arguments.engine {
        Some(engine) => engine.clone(),
        None => super::configured(planned.plan.workspace.engine.as_deref())?.unwrap_or(EngineName::Embedded),
    };
    if engine != EngineName::Embedded {
        return Ok((docker::workspace(site, &planned, &engine)?, false));
    }
    if let Some(option) = arguments.docker.given() {
        let hint = "add `--engine docker`, or leave the option out";
        return Err(Failure::NoMeaning { option, here: "for a workspace on the embedded engine", hint });
    }
    let limits = planned.plan.workspace.cache;
    let bench = Bench { caller, store: &store, cancel, view };
    if planned.plan.workspace.builder != HOST {
        let images = in_an_image(site, &bench, &planned)?;
        deliver(&store, &images, &arguments.outputs)?;
        if arguments.load {
            load(caller, &store, &images)?;
        }
        return Ok((images, true));
    }
    let bases = stages::bases(&bench, &workspace::bases(&planned.plan), arguments.docker.pull)?;
    let found = bases.as_ref().map(|bases| bases.found.clone()).unwrap_or_default();
    let prepared = workspace::prepare(&desk, &order, planned, found)?;
    refuse_many_for_one(arguments, &prepared)?;
    let configuration = Some(&prepared.plan.workspace);
    let shared =
        CacheChoice::of(&arguments.cache_from, &arguments.cache_to, configuration, caller).open(caller)?;
    let layers = bases.as_ref().map(|bases| &bases.images);
    let images = make(&desk, &prepared, arguments.no_cache, shared, layers, view)?;
    deliver(&store, &images, &arguments.outputs)?;
    if arguments.load {
        load(caller, &store, &images)?;
    }
    drop(lease);
    if images.iter().any(|image| !image.unchanged) {
        upkeep::after_build(&store, &limits);
    }
    Ok((images, true))
}

/// Builds a workspace whose builder is an image: through the Dockerfile that `carrack init` would write.
fn in_an_image(site: &Site<'_>, bench: &Bench<'_>, planned: &Planned) -> Result<Vec<BuiltImage>, Failure> {
    stages::may_give_files_away(site.caller)?;
    let builds = docker::builds(site.arguments, planned)?;
    let program = |build: &DockerBuild| {
        let path = ImagePath::new(&format!("/usr/local/bin/{}", build.name)).ok();
        (build.name.clone(), path.into_iter().collect())
    };
    let extras = Extras { programs: builds.iter().map(program).collect(), ..Extras::default() };
    let builder = stages::Builder::new(*bench, extras, site.arguments.docker.pull)?;
    let unnamed = std::path::Path::new("Dockerfile");
    let configuration = Some(&planned.plan.workspace);
    let drawn = builds.iter().map(|build| builder.draw(build, unnamed, configuration));
    builder.build(drawn.collect::<Result<_, _>>()?)
}

fn order(arguments: &Build) -> Order {
    Order {
        selection: Selection {
            packages: arguments.packages.clone(),
            binaries: arguments.binaries.clone(),
            workspace: false,
        },
        platforms: arguments.platforms.clone(),
        profile: arguments.profile.clone(),
        features: arguments.features.clone(),
        no_default_features: arguments.no_default_features,
        locked: arguments.locked,
        offline: arguments.offline,
        names: Names::Configured { tags: arguments.tags.clone() },
        labels: arguments.labels.iter().cloned().collect(),
    }
}

/// Makes the images of what is prepared with the embedded engine; they are in the store afterwards.
pub(in crate::commands) fn make(
    desk: &Desk<'_>,
    prepared: &Prepared,
    no_cache: bool,
    shared: SharedCaches,
    layers: Option<&Images<'_>>,
    view: &View,
) -> Result<Vec<BuiltImage>, Failure> {
    let mut tool = prepared.tool.clone();
    let proof = proof::of(desk, &prepared.tools)?;
    tool.uses_units = proof.holds;
    if !proof.holds && proof.is_new {
        view.emit(BuildEvent::Warning {
            message: format!("compiled units are not reused: {}", proof::words(&prepared.tools)),
            hint: Some("use a released toolchain, as in rust-toolchain.toml, to build faster".to_owned()),
        });
    }
    let tool = Arc::new(tool);
    let keeps_files = desk.caller.standing == Standing::RootOfOne;
    let options = Options { no_cache, keeps_files, ..Options::default() };
    let engine =
        Engine::new(desk.store, desk.inputs, desk.launcher.clone(), options).with_shared_caches(shared);
    let engine = match layers {
        Some(layers) => engine.with_layers_from(layers),
        None => engine,
    };
    let announced = Announced { view, prepared, done: OnceLock::new() };
    if prepared.planned_anew {
        announced.announce();
    }
    Ok(engine.with_tool(TOOL, tool).build(&prepared.graph, &announced, desk.cancel)?)
}

/// Says what is built before anything else is said, and nothing at all while nothing has to be done.
struct Announced<'a> {
    view: &'a View,
    prepared: &'a Prepared,
    done: OnceLock<()>,
}

impl Announced<'_> {
    fn announce(&self) {
        self.done.get_or_init(|| {
            self.view.emit(BuildEvent::Planned {
                kind: "Workspace".to_owned(),
                what: what(&self.prepared.plan),
                builder: self.prepared.builder.clone(),
                base: Some(self.prepared.base.clone()),
            });
        });
    }
}

impl EventSink for Announced<'_> {
    fn emit(&self, event: BuildEvent) {
        if !matches!(event, BuildEvent::ImageReady { unchanged: true, .. }) {
            self.announce();
        }
        self.view.emit(event);
    }
}

/// `rustcare · 7 members · 131 locked packages`.
pub(super) fn what(plan: &CargoPlan) -> String {
    let name = plan.root.file_name().unwrap_or_default().to_string_lossy();
    let (members, locked) = (plan.members.len(), plan.locked_packages);
    let packages = plural(locked, "package");
    format!("{name} · {members} {} · {locked} locked {packages}", plural(members, "member"))
}

/// Root file systems are one image's; refuses others before anything is built.
fn refuse_many_for_one(arguments: &Build, prepared: &Prepared) -> Result<(), Failure> {
    let services = &prepared.plan.services;
    let single = arguments.outputs.iter().any(|output| output.kind == OutputKind::Tar);
    if single && services.len() > 1 {
        let services = services.iter().map(|service| service.binary.clone()).collect();
        return Err(Failure::OneNameForMany { option: "--output type=tar", services });
    }
    Ok(())
}

pub(super) fn deliver(store: &Store, images: &[BuiltImage], outputs: &[Output]) -> Result<(), Failure> {
    if outputs.is_empty() {
        return Ok(());
    }
    let loaded = Loaded::read(store, images)?;
    let named = loaded.named();
    let blobs = StoreBlobs(store);
    for output in outputs {
        let mut stdout = std::io::stdout().lock();
        let (to, sink) = match &output.to {
            Destination::Path(path) => (path.clone(), Sink::File(path)),
            Destination::Stdout => ("standard output".into(), Sink::Stream(&mut stdout)),
        };
        let carrier = |source| Failure::Carrier { to: to.clone(), source };
        let rootfs = |source| Failure::Rootfs { to: to.clone(), source };
        match output.kind {
            OutputKind::OciTar => oci_tar(sink, &named, &blobs).map_err(carrier)?,
            OutputKind::Docker => docker_tar(sink, &named, &blobs).map_err(carrier)?,
            OutputKind::OciFolder => oci_layout(&to, &named, &blobs).map_err(carrier)?,
            OutputKind::Tar => rootfs_tar(sink, named[0].image, &blobs).map_err(rootfs)?,
            OutputKind::Local => {
                let ownership = crate::commands::ownership();
                for (image, built) in named.iter().zip(images) {
                    // One service's files go right there, several services' into a folder each.
                    let folder = if images.len() == 1 { to.clone() } else { to.join(&built.name) };
                    if let Some(above) = folder.parent() {
                        std::fs::create_dir_all(above).map_err(|source| Failure::Io {
                            action: "create",
                            path: above.to_owned(),
                            source,
                        })?;
                    }
                    rootfs_dir(&folder, image.image, &blobs, ownership)
                        .map_err(|source| Failure::Rootfs { to: folder.clone(), source })?;
                }
            }
        }
    }
    Ok(())
}

/// Hands the images to the first engine that answers.
pub(in crate::commands) fn load(
    caller: &Caller,
    store: &Store,
    images: &[BuiltImage],
) -> Result<(), Failure> {
    let mut tried = Vec::new();
    for (kind, name) in [(EngineKind::Docker, "docker"), (EngineKind::Podman, "podman")] {
        let Some(program) = caller.program(name) else {
            tried.push(format!("{name}: not installed"));
            continue;
        };
        let engine = EngineProgram { kind, program, environment: Vec::new() };
        match carrack_oci::probe(&engine, PATIENCE) {
            Err(error) => tried.push(format!("{name}: {}", chain_in_one_line(&error))),
            Ok(_) => {
                let loaded = Loaded::read(store, images)?;
                carrack_oci::load(&engine, &loaded.named(), &StoreBlobs(store))?;
                return Ok(());
            }
        }
    }
    Err(Failure::NoEngine { tried })
}

/// Images with their names, read back from the store.
struct Loaded {
    images: Vec<(Image, Vec<Reference>)>,
}

impl Loaded {
    fn read(store: &Store, built: &[BuiltImage]) -> Result<Self, Failure> {
        let read = |image: &BuiltImage| {
            let names = image
                .tags
                .iter()
                .map(|tag| tag.parse().map_err(|source| Failure::Reference { text: tag.clone(), source }));
            let manifest = image.manifest.as_ref().expect("the embedded engine knows its manifests");
            Ok((blobs::image(store, manifest)?, names.collect::<Result<_, Failure>>()?))
        };
        Ok(Self { images: built.iter().map(read).collect::<Result<_, Failure>>()? })
    }

    fn named(&self) -> Vec<NamedImage<'_>> {
        self.images.iter().map(|(image, names)| NamedImage { image, names }).collect()
    }
}
