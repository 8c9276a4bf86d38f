//! From a path to a build graph: finds the workspace, its toolchain and its plan, and adds what the caller asked for.
//!
//! On the path without changes nothing is started: the plan is kept for as long as everything that cargo's answer
//! depends on is the same (see [`carrack_cargo::plan`]).

mod adopt;
mod environment;
mod planning;
mod toolchain;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use carrack_base::{Cancel, ContentDigest, Platform};
use carrack_cargo::init::{self, DockerFiles, Ownership};
use carrack_cargo::locate::{Location, locate};
use carrack_cargo::lower::{self, Surroundings};
use carrack_cargo::plan::{self, CargoPlan, Request, Selection, build_command};
use carrack_cargo::tool::{CargoTool, PathPackage};
use carrack_cargo::toolchain::channel_of_file;
use carrack_engine::Inputs;
use carrack_graph::BuildGraph;
use carrack_sandbox::Launcher;
use carrack_store::Store;

use crate::arguments::Build;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::terminal::Terminal;
use toolchain::Builder;

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

/// The plan of the workspace around `path` as it is configured, and what the files for Docker depend on besides.
///
/// Errors: as those of [`prepare`].
pub(crate) fn plan_for_docker(
    desk: &Desk<'_>,
    path: &Path,
) -> Result<(CargoPlan, init::Surroundings), Failure> {
    let location = locate(path, &desk.caller.cargo_home())?;
    let builder = toolchain::find(desk.caller, &location.root, desk.store, desk.inputs)?;
    let request = Request {
        host: builder.rustc.host.clone(),
        target_dir: PathBuf::from(plan::TARGET),
        ..Request::default()
    };
    let plan = planning::plan(desk, &location, &builder, &request, &Selection::default())?.plan;
    let around = around_docker(&plan, &location, &builder)?;
    Ok((plan, around))
}

impl Planned {
    /// What Docker needs to build this plan.
    ///
    /// Errors: no right Dockerfile is possible.
    pub(crate) fn docker_files(&self) -> Result<DockerFiles, Failure> {
        let around = around_docker(&self.plan, &self.location, &self.builder)?;
        init::docker_files(&self.plan, &around).map_err(Failure::Init)
    }
}

fn around_docker(
    plan: &CargoPlan,
    location: &Location,
    builder: &Builder,
) -> Result<init::Surroundings, Failure> {
    let channel = location.toolchain_file.as_deref().map(channel_of_file).transpose()?.flatten();
    // What the project is called was decided when its files were first written: a checkout's folder has any name.
    let dockerfile = std::fs::read_to_string(plan.root.join("Dockerfile")).unwrap_or_default();
    let project = match init::ownership(&dockerfile) {
        Ownership::Sealed { project } | Ownership::Broken { project } => project,
        Ownership::Foreign => init::project_name(&plan.root),
    };
    let at_home = |config: &&PathBuf| !config.starts_with(&location.cargo_home);
    Ok(init::Surroundings {
        project,
        channel,
        rustc_release: builder.rustc.release.clone(),
        repository: plan.root.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_owned),
        cargo_configs: location.cargo_configs.iter().filter(at_home).cloned().collect(),
    })
}

/// The plan of what `arguments` ask for in the workspace at `location`.
///
/// Errors: no toolchain, a configuration or selection that makes no sense, cargo's own refusal.
pub(crate) fn plan(desk: &Desk<'_>, arguments: &Build, location: Location) -> Result<Planned, Failure> {
    let builder = toolchain::find(desk.caller, &location.root, desk.store, desk.inputs)?;
    let request = request(arguments, &builder, desk);
    let selection = Selection {
        packages: arguments.packages.clone(),
        binaries: arguments.binaries.clone(),
        workspace: false,
    };
    let planned = planning::plan(desk, &location, &builder, &request, &selection)?;
    let planning::Planned { plan, lock_file, anew } = planned;
    Ok(Planned { plan, location, builder, request, lock_file, anew })
}

/// Prepares the build of a plan for the embedded engine.
///
/// Errors: what that engine can't do, names and variables that make no sense.
pub(crate) fn prepare(desk: &Desk<'_>, arguments: &Build, planned: Planned) -> Result<Prepared, Failure> {
    let platform = Platform::host();
    if let Some(asked) = arguments.platforms.iter().find(|asked| **asked != platform) {
        return Err(Failure::Platform { asked: asked.clone(), host: platform });
    }
    let Planned { plan, location, builder, request, lock_file, anew } = planned;
    refuse_images(&plan)?;
    let around = surroundings(desk, arguments, &location, &builder, &request, &plan, lock_file, platform)?;
    let graph = lower::lower(&plan, &around)?;
    let tool = tool(&plan)?;
    Ok(Prepared {
        graph,
        tool,
        builder: format!("host (rustc {})", builder.rustc.release),
        planned_anew: anew,
        plan,
    })
}

fn request(arguments: &Build, builder: &Builder, desk: &Desk<'_>) -> Request {
    Request {
        profile: arguments.profile.clone(),
        features: arguments.features.clone(),
        no_default_features: arguments.no_default_features,
        locked: arguments.locked.then_some(true),
        offline: arguments.offline,
        target: None,
        host: builder.rustc.host.clone(),
        target_dir: PathBuf::from(plan::TARGET),
        color: desk.terminal.has_colour(),
    }
}

/// Images as builder or base come with an engine that runs them.
fn refuse_images(plan: &CargoPlan) -> Result<(), Failure> {
    let builder = &plan.workspace.builder;
    if builder != "host" {
        return Err(Failure::NotYet { key: "builder", value: builder.clone(), possible: "host" });
    }
    let mut bases = plan.services.iter().filter_map(|service| service.config.base.as_ref());
    match bases.find(|base| *base != "closure") {
        Some(base) => Err(Failure::NotYet { key: "base", value: base.clone(), possible: "closure" }),
        None => Ok(()),
    }
}

#[expect(clippy::too_many_arguments, reason = "everything that a build is made of meets here")]
fn surroundings(
    desk: &Desk<'_>,
    arguments: &Build,
    location: &Location,
    builder: &Builder,
    request: &Request,
    plan: &CargoPlan,
    lock_file: Option<String>,
    platform: Platform,
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
        tags: tags(arguments, plan)?,
        labels: arguments.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
    })
}

/// `-t`, each with a tag.
///
/// Errors: several services would have one name, or a name makes no sense.
pub(crate) fn tags(arguments: &Build, plan: &CargoPlan) -> Result<Vec<String>, Failure> {
    if !arguments.tags.is_empty() && plan.services.len() > 1 {
        let services = plan.services.iter().map(|service| service.binary.clone()).collect();
        return Err(Failure::OneNameForMany { option: "--tag", services });
    }
    names(&arguments.tags)
}

/// Images' names, each with a tag.
///
/// Errors: one makes no sense.
pub(crate) fn names(texts: &[String]) -> Result<Vec<String>, Failure> {
    let tagged = |text: &String| {
        let reference: carrack_oci::Reference =
            text.parse().map_err(|source| Failure::Reference { text: text.clone(), source })?;
        Ok(reference.tagged().to_string())
    };
    texts.iter().map(tagged).collect()
}

fn tool(plan: &CargoPlan) -> Result<CargoTool, Failure> {
    let inside = |path: &Path| plan.in_sandbox(path).unwrap_or_else(|| path.to_owned());
    let packages = plan.local_packages.iter().map(|package| PathPackage {
        name: package.name.clone(),
        folder: inside(&package.folder),
        reads_undeclared: package.reads_undeclared,
    });
    Ok(CargoTool {
        workspace: inside(&plan.root),
        packages: packages.collect(),
        binaries: plan.services.iter().map(|service| service.binary.clone()).collect(),
        wrapper: std::env::current_exe().map_err(|error| Failure::bug(&error))?,
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
