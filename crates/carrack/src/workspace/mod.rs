//! From a path to a build graph: finds the workspace, its toolchain and its plan, and adds what the caller asked for.
//!
//! On the path without changes nothing is started: the plan is kept for as long as everything that cargo's answer
//! depends on is the same (see [`carrack_cargo::plan`]).

mod adopt;
mod environment;
mod planning;
pub(crate) mod proof;
pub(crate) mod toolchain;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use carrack_base::{Cancel, ContentDigest, Platform};
use carrack_cargo::config::{Configuration, WorkspaceConfig};
use carrack_cargo::init::{self, DockerFiles, Ownership};
use carrack_cargo::locate::{Configured, LocateError, Location, locate};
use carrack_cargo::lower::{self, ServiceImage, Surroundings};
use carrack_cargo::plan::{self, CargoPlan, Request, Selection, build_command};
use carrack_cargo::tool::{CargoTool, PathPackage};
use carrack_cargo::toolchain::read_toolchain_file;
use carrack_cargo::units::FetchedPackage;
use carrack_engine::Inputs;
use carrack_graph::{BuildGraph, ResolvedImage};
use carrack_sandbox::Launcher;
use carrack_store::Store;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::shared::CacheChoice;
use crate::terminal::Terminal;
use toolchain::Builder;

/// The configuration that a folder with a Dockerfile is built under: that of the workspace around it, else that of the
/// `carrack.toml` in it. What is no folder of this machine has none. `named` are the caches that the caller names.
///
/// Errors: it can't be read or makes no sense. A manifest that cargo would refuse is nobody's business here, unless it may say
/// whom to trust in a cache.
pub(crate) fn configuration_around(
    folder: &Path,
    named: &CacheChoice,
    caller: &Caller,
) -> Result<Option<WorkspaceConfig>, Failure> {
    if !folder.is_dir() {
        return Ok(None);
    }
    match locate(folder, &caller.cargo_home()) {
        Ok(location) => match Configuration::load(&location.root, &[]) {
            Ok(configuration) => Ok(Some(configuration.workspace)),
            Err(errors) => Err(Failure::Configuration(errors)),
        },
        Err(LocateError::NoManifest { .. }) => {
            Configuration::load_alone(folder).map_err(Failure::Configuration)
        }
        Err(_) if *named == CacheChoice::default() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What of a workspace is wanted, and as what; by default everything, as it is configured.
#[derive(Default)]
pub(crate) struct Order {
    pub(crate) selection: Selection,
    pub(crate) platforms: Vec<Platform>,
    pub(crate) profile: Option<String>,
    pub(crate) features: Vec<String>,
    pub(crate) no_default_features: bool,
    pub(crate) locked: bool,
    pub(crate) offline: bool,
    pub(crate) names: Names,
    /// Labels of every image.
    pub(crate) labels: BTreeMap<String, String>,
}

/// What images are called.
pub(crate) enum Names {
    /// As the configuration says; with names in the list (`-t`), these, which needs a single service.
    Configured { tags: Vec<String> },
    /// Images of each binary.
    Each(BTreeMap<String, Vec<ServiceImage>>),
}

impl Default for Names {
    fn default() -> Self {
        Self::Configured { tags: Vec::new() }
    }
}

/// A workspace whose plan is known.
pub(crate) struct Planned {
    pub(crate) plan: CargoPlan,
    location: Location,
    builder: Builder,
    request: Request,
    lock_file: Option<String>,
    anew: bool,
}

/// A build that is ready to start.
pub(crate) struct Prepared {
    pub(crate) plan: CargoPlan,
    pub(crate) graph: BuildGraph,
    pub(crate) tool: CargoTool,
    /// `host (rustc 1.95.0)`.
    pub(crate) builder: String,
    /// What its images start from.
    pub(crate) base: String,
    /// What compiles.
    pub(crate) tools: Builder,
    /// Whether the plan had to be made anew.
    pub(crate) planned_anew: bool,
}

/// What preparing needs.
pub(crate) struct Desk<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) store: &'a Store,
    pub(crate) inputs: &'a Inputs<'a>,
    pub(crate) launcher: &'a Launcher,
    pub(crate) terminal: &'a Terminal,
    pub(crate) cancel: &'a Cancel,
}

impl Planned {
    /// What Docker needs to build this plan.
    ///
    /// Errors: no right Dockerfile is possible.
    pub(crate) fn docker_files(&self) -> Result<DockerFiles, Failure> {
        init::docker_files(&self.plan, &self.around_docker()?).map_err(Failure::Init)
    }

    /// What the files for Docker depend on besides the plan.
    ///
    /// Errors: the toolchain file makes no sense.
    pub(crate) fn around_docker(&self) -> Result<init::Surroundings, Failure> {
        let Self { plan, location, builder, .. } = self;
        let file = location.toolchain_file.as_deref().map(read_toolchain_file).transpose()?;
        let channel = file.and_then(|file| file.channel).filter(|channel| !channel.starts_with('/'));
        // What the project is called was decided when its files were first written: a checkout's folder has any name.
        let dockerfile = std::fs::read_to_string(plan.root.join("Dockerfile")).unwrap_or_default();
        let project = match init::ownership(&dockerfile) {
            Ownership::Sealed { project } | Ownership::Broken { project } => project,
            Ownership::Foreign => init::project_name(&plan.root),
        };
        let elsewhere = |config: &&PathBuf| !config.starts_with(&location.cargo_home);
        Ok(init::Surroundings {
            project,
            channel,
            rustc_release: builder.rustc.release.clone(),
            repository: plan.root.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_owned),
            cargo_configs: location.cargo_configs.iter().filter(elsewhere).cloned().collect(),
        })
    }
}

/// The plan of what is ordered from the workspace at `location`.
///
/// Errors: no toolchain, a configuration or selection that makes no sense, cargo's own refusal.
pub(crate) fn plan(desk: &Desk<'_>, order: &Order, location: Location) -> Result<Planned, Failure> {
    let builder = toolchain::find(desk.caller, &location.root, desk.store, desk.inputs)?;
    let request = request(order, &builder, desk);
    let planned = planning::plan(desk, &location, &builder, &request, &order.selection)?;
    let planning::Planned { plan, lock_file, anew } = planned;
    Ok(Planned { plan, location, builder, request, lock_file, anew })
}

/// Prepares the build of a plan for the embedded engine.
///
/// Errors: what that engine can't do, names and variables that make no sense.
pub(crate) fn prepare(
    desk: &Desk<'_>,
    order: &Order,
    planned: Planned,
    bases: BTreeMap<String, ResolvedImage>,
) -> Result<Prepared, Failure> {
    let platform = Platform::host();
    if let Some(asked) = order.platforms.iter().find(|asked| **asked != platform) {
        return Err(Failure::Platform { asked: asked.clone(), host: platform });
    }
    let Planned { plan, location, builder, request, lock_file, anew } = planned;
    let base = bases.keys().next().cloned().unwrap_or_else(|| CLOSURE.to_owned());
    let around = surroundings(desk, order, &location, &builder, &request, &plan, lock_file, platform, bases)?;
    let graph = lower::lower(&plan, &around)?;
    let profile = request.profile.as_ref().unwrap_or(&plan.workspace.profile);
    let tool = tool(&plan, &location, profile, &around.cargo_home)?;
    Ok(Prepared {
        graph,
        tool,
        builder: format!("host (rustc {})", builder.rustc.release),
        tools: builder,
        base,
        planned_anew: anew,
        plan,
    })
}

fn request(order: &Order, builder: &Builder, desk: &Desk<'_>) -> Request {
    Request {
        profile: order.profile.clone(),
        features: order.features.clone(),
        no_default_features: order.no_default_features,
        locked: order.locked.then_some(true),
        offline: order.offline,
        target: None,
        host: builder.rustc.host.clone(),
        target_dir: PathBuf::from(plan::TARGET),
        color: desk.terminal.has_colour(),
    }
}

/// What an image starts from that holds only what its program needs.
pub(crate) const CLOSURE: &str = "closure";

/// The images that services of a plan start from, each once.
pub(crate) fn bases(plan: &CargoPlan) -> BTreeSet<&str> {
    let named = plan.services.iter().filter_map(|service| service.config.base.as_deref());
    named.filter(|base| *base != CLOSURE).collect()
}

#[expect(clippy::too_many_arguments, reason = "everything that a build is made of meets here")]
fn surroundings(
    desk: &Desk<'_>,
    order: &Order,
    location: &Location,
    builder: &Builder,
    request: &Request,
    plan: &CargoPlan,
    lock_file: Option<String>,
    platform: Platform,
    bases: BTreeMap<String, ResolvedImage>,
) -> Result<Surroundings, Failure> {
    let env = environment::of_build(desk.caller, builder, &plan.workspace.build_env, desk.terminal)?;
    let mut identity = builder.identity.clone();
    let profile = request.profile.as_ref().unwrap_or(&plan.workspace.profile);
    identity.insert("profile".to_owned(), profile.clone());
    for config in location.cargo_configs.iter().filter(|config| !config.starts_with(&plan.root)) {
        let digest = desk.inputs.digest(config)?.map(|digest| digest.to_string()).unwrap_or_default();
        identity.insert(config.display().to_string(), digest);
    }
    for manifest in &plan.outside_manifests {
        let digest = desk.inputs.digest(manifest)?.map(|digest| digest.to_string()).unwrap_or_default();
        identity.insert(manifest.display().to_string(), digest);
    }
    if let Some(text) = &lock_file {
        identity.insert("resolved lock file".to_owned(), ContentDigest::of(text.as_bytes()).to_string());
    }
    let linker = &builder.identity["linker"];
    let argv = std::iter::once(builder.toolchain.cargo.to_string_lossy().into_owned());
    Ok(Surroundings {
        argv: argv.chain(build_command(plan, request)).collect(),
        env,
        identity,
        // Where the workspace is inside of the sandbox gets into programs, and cargo does not notice that it changed.
        build_folder: id(&format!("{}\0{}\0{linker}", location.root.display(), plan.source_root.display())),
        state: real(desk.store.root()),
        cargo_home: cargo_home(desk.store, location)?,
        cargo_configs: configs_at_home(location),
        lock_file,
        credentials: credentials(desk.caller, location),
        left_out: left_out(location, plan),
        platform,
        created: desk.caller.text("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok()).unwrap_or(0),
        images: images(&order.names, plan)?,
        labels: order.labels.clone(),
        bases,
    })
}

/// The images that are called something else than configured.
fn images(names: &Names, plan: &CargoPlan) -> Result<BTreeMap<String, Vec<ServiceImage>>, Failure> {
    let tags = match names {
        Names::Each(images) => return Ok(images.clone()),
        Names::Configured { tags } => self::tags(tags, plan)?,
    };
    let single = plan.services.first().filter(|_| !tags.is_empty());
    let image = single.map(|service| {
        let name = service.binary.clone();
        (name.clone(), vec![ServiceImage { name, tags, labels: BTreeMap::new() }])
    });
    Ok(image.into_iter().collect())
}

/// `-t`, each with a tag.
///
/// Errors: several services would have one name, or a name makes no sense.
pub(crate) fn tags(tags: &[String], plan: &CargoPlan) -> Result<Vec<String>, Failure> {
    if !tags.is_empty() && plan.services.len() > 1 {
        let services = plan.services.iter().map(|service| service.binary.clone()).collect();
        return Err(Failure::OneNameForMany { option: "--tag", services });
    }
    tags.iter().map(|tag| tagged(tag)).collect()
}

/// An image's name with its tag.
pub(crate) fn tagged(text: &str) -> Result<String, Failure> {
    let reference: carrack_oci::Reference =
        text.parse().map_err(|source| Failure::Reference { text: text.to_owned(), source })?;
    Ok(reference.tagged().to_string())
}

/// Cargo, as this plan uses it. `home` is Carrack's own CARGO_HOME, in which packages were found or unpacked.
fn tool(plan: &CargoPlan, location: &Location, profile: &str, home: &Path) -> Result<CargoTool, Failure> {
    let inside = |path: &Path| plan.in_sandbox(path).unwrap_or_else(|| path.to_owned());
    let packages = plan.local_packages.iter().map(|package| PathPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        folder: inside(&package.folder),
        reads_undeclared: package.reads_undeclared,
    });
    let in_home = |folder: &Path| Some(Path::new(plan::CARGO_HOME).join(folder.strip_prefix(home).ok()?));
    let fetched = plan.external_packages.iter().map(|package| FetchedPackage {
        name: package.name.clone(),
        version: package.version.clone(),
        source: package.source.clone(),
        checksum: package.checksum.clone(),
        folder: in_home(&package.folder).unwrap_or_else(|| inside(&package.folder)),
    });
    Ok(CargoTool {
        workspace: inside(&plan.root),
        cargo_home: PathBuf::from(plan::CARGO_HOME),
        target: PathBuf::from(plan::TARGET),
        profile: plan::profile_folder(profile).to_owned(),
        packages: packages.collect(),
        fetched: fetched.collect(),
        binaries: plan.services.iter().map(|service| service.binary.clone()).collect(),
        configs: location.cargo_configs.iter().filter_map(|config| plan.in_sandbox(config)).collect(),
        configured: Configured::by(&location.cargo_configs),
        wrapper: std::env::current_exe().map_err(|error| Failure::bug(&error))?,
        installed: None,
        uses_units: true,
    })
}

/// What lies among the sources and is no source: the workspace's own target folder (cargo marks it with CACHEDIR.TAG, but
/// older ones are not marked) and Carrack's configuration, which decides about images and has its part in the plan.
fn left_out(location: &Location, plan: &CargoPlan) -> Vec<PathBuf> {
    std::iter::once(location.root.join("target")).chain(configurations(location, plan)).collect()
}

/// Every place where a `carrack.toml` is or may be.
fn configurations(location: &Location, plan: &CargoPlan) -> Vec<PathBuf> {
    let members = plan.members.iter().map(|member| member.folder.as_path());
    let folders: BTreeSet<&Path> = std::iter::once(location.root.as_path()).chain(members).collect();
    folders.into_iter().map(|folder| folder.join("carrack.toml")).collect()
}

/// Carrack's own CARGO_HOME for a user's.
fn cargo_home(store: &Store, location: &Location) -> Result<PathBuf, Failure> {
    Ok(store.cargo_home(&id(&location.cargo_home.to_string_lossy()))?)
}

/// Cargo's configuration in the user's CARGO_HOME, which may lie where a sandbox has a folder of its own.
fn configs_at_home(location: &Location) -> Vec<PathBuf> {
    let at_home = |config: &&PathBuf| config.parent() == Some(&location.cargo_home);
    location.cargo_configs.iter().filter(at_home).cloned().collect()
}

/// Where credentials usually are. A build script has no business there.
fn credentials(caller: &Caller, location: &Location) -> Vec<PathBuf> {
    const IN_HOME: [&str; 10] = [
        ".ssh",
        ".gnupg",
        ".aws",
        ".azure",
        ".kube",
        ".netrc",
        ".git-credentials",
        ".docker/config.json",
        ".config/gcloud",
        ".config/gh",
    ];
    let home = caller.home();
    let in_home = IN_HOME.iter().map(|name| home.join(name));
    let of_cargo = ["credentials.toml", "credentials"].map(|name| location.cargo_home.join(name));
    in_home.chain(of_cargo).collect()
}

/// Without symbolic links, as the workspace's path is.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// A short, stable name for a folder of the store.
fn id(text: &str) -> String {
    ContentDigest::of(text.as_bytes()).to_string()[..16].to_owned()
}
