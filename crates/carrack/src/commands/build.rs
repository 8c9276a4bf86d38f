use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carrack_base::{BuildEvent, Cancel, EventSink};
use carrack_cargo::locate::locate;
use carrack_cargo::lower::TOOL;
use carrack_cargo::plan::Selection;
use carrack_engine::{Engine, Inputs, Options};
use carrack_graph::{Backend, BuiltImage};
use carrack_oci::{
    Destination as Sink, EngineKind, EngineProgram, Image, NamedImage, Reference, docker_tar, oci_layout,
    oci_tar, rootfs_dir, rootfs_tar,
};
use carrack_sandbox::Launcher;
use carrack_store::Store;
use serde_json::{Map, Value, json};

use crate::arguments::Build;
use crate::blobs::{self, Blobs};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::output::{Destination, Output, OutputKind};
use crate::progress::{Progress, View};
use crate::terminal::Terminal;
use crate::workspace::{self, Desk, Names, Order, Prepared};

/// How long an engine may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// Builds a workspace's images and takes them where they are wanted.
pub(crate) fn run(
    arguments: &Build,
    caller: &Caller,
    state: &Path,
    terminal: &Terminal,
    cancel: &Cancel,
    start: Instant,
) -> Result<ExitCode, Failure> {
    let progress = if arguments.quiet { Progress::Quiet } else { arguments.progress };
    let view = View::new(progress, terminal);
    let built = build(arguments, caller, state, terminal, cancel, start, &view);
    view.finish(built.is_err());
    built.map(|()| ExitCode::SUCCESS)
}

fn build(
    arguments: &Build,
    caller: &Caller,
    state: &Path,
    terminal: &Terminal,
    cancel: &Cancel,
    start: Instant,
    events: &View,
) -> Result<(), Failure> {
    let store = Store::open(state)?;
    let _lease = store.lease(cancel)?;
    let inputs = Inputs::new(&store, cancel.clone());
    let launcher = Launcher::this_program();
    let desk = Desk { caller, store: &store, inputs: &inputs, launcher: &launcher, terminal, cancel };
    let order = order(arguments);
    let location = locate(&arguments.path, &caller.cargo_home())?;
    let planned = workspace::plan(&desk, &order, location)?;
    let prepared = workspace::prepare(&desk, &order, planned)?;
    refuse_many_for_one(arguments, &prepared)?;
    let images = make(&desk, &prepared, arguments.no_cache, events)?;
    deliver(&store, &images, &arguments.outputs)?;
    if arguments.load {
        load(caller, &store, &images)?;
    }
    report(arguments, &images)?;
    events.emit(BuildEvent::Done { summary: summary(&images), elapsed: start.elapsed() });
    if terminal.is_terminal() && !arguments.load && images.iter().any(|image| !image.unchanged) {
        events.hint(&format!(
            "Try one with `carrack run {}`, hand them to Docker with `carrack build --load`",
            images[0].name
        ));
    }
    Ok(())
}

fn order(arguments: &Build) -> Order {
    Order {
        selection: Selection {
            packages: arguments.packages.clone(),
            binaries: arguments.binaries.clone(),
            workspace: false,
        },
        platform: arguments.platform.clone(),
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
pub(super) fn make(
    desk: &Desk<'_>,
    prepared: &Prepared,
    no_cache: bool,
    view: &View,
) -> Result<Vec<BuiltImage>, Failure> {
    let tool = Arc::new(prepared.tool.clone());
    let engine = Engine::new(desk.store, desk.inputs, desk.launcher.clone(), Options { no_cache });
    let announced = Announced { view, prepared, done: std::sync::OnceLock::new() };
    if prepared.planned_anew {
        announced.announce();
    }
    Ok(engine.with_tool(TOOL, tool).build(&prepared.graph, &announced, desk.cancel)?)
}

/// Says what is built before anything else is said, and nothing at all while nothing has to be done.
struct Announced<'a> {
    view: &'a View,
    prepared: &'a Prepared,
    done: std::sync::OnceLock<()>,
}

impl Announced<'_> {
    fn announce(&self) {
        self.done.get_or_init(|| {
            let plan = &self.prepared.plan;
            let name = plan.root.file_name().unwrap_or_default().to_string_lossy();
            let members = plan.members.len();
            let locked = plan.locked_packages;
            self.view.emit(BuildEvent::Planned {
                what: format!(
                    "{name} · {members} {} · {locked} locked {}",
                    plural(members, "member"),
                    plural(locked, "package")
                ),
                builder: self.prepared.builder.clone(),
                base: "closure".to_owned(),
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

fn deliver(store: &Store, images: &[BuiltImage], outputs: &[Output]) -> Result<(), Failure> {
    if outputs.is_empty() {
        return Ok(());
    }
    let loaded = Loaded::read(store, images)?;
    let named = loaded.named();
    let blobs = Blobs(store);
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
                let ownership = super::ownership();
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
pub(super) fn load(caller: &Caller, store: &Store, images: &[BuiltImage]) -> Result<(), Failure> {
    let mut tried = Vec::new();
    for (kind, name) in [(EngineKind::Docker, "docker"), (EngineKind::Podman, "podman")] {
        let Some(program) = caller.program(name) else {
            tried.push(format!("{name}: not installed"));
            continue;
        };
        let engine = EngineProgram { kind, program, environment: Vec::new() };
        match carrack_oci::probe(&engine, PATIENCE) {
            Err(error) => tried.push(format!("{name}: {}", one_line(&error))),
            Ok(_) => {
                let loaded = Loaded::read(store, images)?;
                carrack_oci::load(&engine, &loaded.named(), &Blobs(store))?;
                return Ok(());
            }
        }
    }
    Err(Failure::NoEngine { tried })
}

fn one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    let text = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
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
            Ok((blobs::image(store, &image.manifest)?, names.collect::<Result<_, Failure>>()?))
        };
        Ok(Self { images: built.iter().map(read).collect::<Result<_, Failure>>()? })
    }

    fn named(&self) -> Vec<NamedImage<'_>> {
        self.images.iter().map(|(image, names)| NamedImage { image, names }).collect()
    }
}

/// `-q`, `--iidfile`, `--metadata-file`.
fn report(arguments: &Build, images: &[BuiltImage]) -> Result<(), Failure> {
    let ids: String = images.iter().map(|image| format!("{}\n", image.config)).collect();
    if arguments.quiet {
        super::print(&ids)?;
    }
    if let Some(path) = &arguments.iidfile {
        // docker writes a single id without a line end.
        let text = if images.len() == 1 { ids.trim_end() } else { &ids };
        write_file(path, text.as_bytes())?;
    }
    if let Some(path) = &arguments.metadata_file {
        let described = |image: &BuiltImage| {
            json!({
                "image.name": image.tags.join(","),
                "containerimage.digest": image.manifest,
                "containerimage.config.digest": image.config,
                "carrack.size": image.size,
                "carrack.unchanged": image.unchanged,
            })
        };
        let value = match images {
            [image] => described(image),
            images => {
                let entries = images.iter().map(|image| (image.name.clone(), described(image)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        };
        write_file(path, format!("{value:#}\n").as_bytes())?;
    }
    Ok(())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(path)?;
        file.write_all(bytes)
    };
    write().map_err(|source| Failure::Io { action: "write", path: path.to_owned(), source })
}

/// `1 image rebuilt, 2 unchanged`.
pub(super) fn summary(images: &[BuiltImage]) -> String {
    let unchanged = images.iter().filter(|image| image.unchanged).count();
    match (images.len() - unchanged, unchanged) {
        (0, unchanged) => format!("{unchanged} {} unchanged", plural(unchanged, "image")),
        (built, 0) => format!("{built} {} built", plural(built, "image")),
        (built, unchanged) => format!("{built} {} built, {unchanged} unchanged", plural(built, "image")),
    }
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
