//! Command lines for cargo. The program itself is the caller's to choose: the lists begin with cargo's subcommand.

use std::path::PathBuf;

use crate::config::{Configuration, WorkspaceConfig};
use crate::locate::Location;

use super::CargoPlan;

/// What the caller asks of cargo. Where it says nothing, the configuration does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Cargo profile, instead of the configured one.
    pub profile: Option<String>,
    /// Further features, as `--features` takes them, separated by commas or spaces.
    pub features: Vec<String>,
    /// Whether the default features are off, whatever the configuration says.
    pub no_default_features: bool,
    /// Whether cargo may not change the lock file; by default it may not if there is one.
    pub locked: Option<bool>,
    /// Whether cargo may not use the network.
    pub offline: bool,
    /// Target triple, instead of the configured one.
    pub target: Option<String>,
    /// The builder's own triple, from `rustc -vV`.
    pub host: String,
    /// Where cargo puts what it builds, as cargo will see it.
    pub target_dir: PathBuf,
    /// Whether diagnostics are rendered with colours.
    pub color: bool,
}

impl Request {
    /// The features of the caller, one by one.
    pub(super) fn split_features(&self) -> impl Iterator<Item = &str> {
        split(&self.features)
    }

    pub(super) fn default_features(&self, workspace: &WorkspaceConfig) -> bool {
        workspace.default_features && !self.no_default_features
    }

    fn locked(&self, has_lock_file: bool) -> bool {
        self.locked.unwrap_or(has_lock_file)
    }

    fn add_network_flags(&self, has_lock_file: bool, command: &mut Vec<String>) {
        if self.locked(has_lock_file) {
            command.push("--locked".to_owned());
        }
        if self.offline {
            command.push("--offline".to_owned());
        }
    }

    fn add_feature_flags(&self, workspace: &WorkspaceConfig, features: Vec<&str>, command: &mut Vec<String>) {
        if !features.is_empty() {
            command.extend(["--features".to_owned(), features.join(",")]);
        }
        if !self.default_features(workspace) {
            command.push("--no-default-features".to_owned());
        }
    }
}

/// Features as `--features` takes them, one by one.
pub(super) fn split(features: &[String]) -> impl Iterator<Item = &str> {
    features.iter().flat_map(|features| features.split([',', ' '])).filter(|feature| !feature.is_empty())
}

/// Lists the members of a workspace, without resolving anything: for [`super::members`]. To be run in the workspace's
/// folder.
pub fn members_command() -> Vec<String> {
    ["metadata", "--format-version", "1", "--no-deps"].map(str::to_owned).into()
}

/// Resolves the whole workspace: for [`CargoPlan::from_metadata`]. To be run in the workspace's folder.
///
/// Features of all members are on, whichever of them will be built. May use the network, may download sources into
/// CARGO_HOME, and writes `Cargo.lock` if that is missing and `--locked` is not asked for.
pub fn metadata_command(
    request: &Request,
    location: &Location,
    configuration: &Configuration,
) -> Vec<String> {
    let mut command: Vec<String> = ["metadata", "--format-version", "1"].map(str::to_owned).into();
    request.add_network_flags(location.lock_file.is_some(), &mut command);
    // Build scripts and proc-macros run on the host: with a target, both platforms' packages are needed.
    let target = request.target.as_ref().or(configuration.workspace.target.as_ref());
    let mut platforms = vec![request.host.clone()];
    // A target may be a JSON file of its own, which cargo metadata does not take.
    platforms.extend(target.filter(|target| **target != request.host).cloned());
    if !platforms.iter().any(|platform| platform.ends_with(".json")) {
        for platform in platforms {
            command.extend(["--filter-platform".to_owned(), platform]);
        }
    }
    let of_packages: Vec<String> = configuration
        .packages
        .iter()
        .flat_map(|(name, package)| package.features.iter().map(move |feature| qualified(name, feature)))
        .collect();
    let mut features: Vec<&str> = split(&configuration.workspace.features).collect();
    features.extend(of_packages.iter().map(String::as_str));
    features.extend(request.split_features());
    request.add_feature_flags(&configuration.workspace, features, &mut command);
    command
}

/// Compiles all services of a plan: one invocation, whose standard output is for
/// [`StdoutParser`](crate::messages::StdoutParser). To be run in the workspace's folder.
///
/// Colours on standard error are the environment's part (`CARGO_TERM_COLOR`).
pub fn build_command(plan: &CargoPlan, request: &Request) -> Vec<String> {
    let mut command = vec!["build".to_owned()];
    add_selection(plan, request, Targets::Binaries, &mut command);
    command.extend(["--target-dir".to_owned(), request.target_dir.to_string_lossy().into_owned()]);
    let format = if request.color { "json,json-diagnostic-rendered-ansi" } else { "json" };
    command.push(format!("--message-format={format}"));
    command.extend(plan.workspace.cargo_args.iter().cloned());
    command
}

/// The folder below the target folder in which cargo builds with a profile.
pub fn profile_folder(profile: &str) -> &str {
    match profile {
        "dev" | "test" => "debug",
        "bench" => "release",
        profile => profile,
    }
}

/// The arguments of `cargo build` for a Dockerfile: those of the dependencies, whose packages are libraries without
/// code, and those of the application.
pub(crate) fn docker_commands(plan: &CargoPlan) -> (Vec<String>, Vec<String>) {
    let request = Request { locked: Some(true), ..Request::default() };
    let [mut dependencies, mut application] = [Vec::new(), Vec::new()];
    add_selection(plan, &request, Targets::Libraries, &mut dependencies);
    add_selection(plan, &request, Targets::Binaries, &mut application);
    for command in [&mut dependencies, &mut application] {
        command.extend(plan.workspace.cargo_args.iter().cloned());
    }
    (dependencies, application)
}

/// Which targets of the services' packages are built.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Targets {
    Binaries,
    Libraries,
}

/// Profile, packages, targets, features, network and target triple.
fn add_selection(plan: &CargoPlan, request: &Request, targets: Targets, command: &mut Vec<String>) {
    match request.profile.as_ref().unwrap_or(&plan.workspace.profile).as_str() {
        "release" => command.push("--release".to_owned()),
        profile => command.extend(["--profile".to_owned(), profile.to_owned()]),
    }
    let mut add_once = |flag: &str, value: &str| {
        if !command.windows(2).any(|pair| pair == [flag, value]) {
            command.extend([flag.to_owned(), value.to_owned()]);
        }
    };
    for service in &plan.services {
        add_once("--package", &plan.package_argument(&service.package));
    }
    match targets {
        Targets::Binaries => plan.services.iter().for_each(|service| add_once("--bin", &service.binary)),
        Targets::Libraries => command.push("--lib".to_owned()),
    }
    let mut features: Vec<&str> = plan.features.iter().map(String::as_str).collect();
    features.extend(request.split_features());
    request.add_feature_flags(&plan.workspace, features, command);
    request.add_network_flags(plan.has_lock_file, command);
    if let Some(target) = request.target.as_ref().or(plan.workspace.target.as_ref()) {
        command.extend(["--target".to_owned(), target.clone()]);
    }
}

/// `feature` of the package `name`, as `--features` takes it at the workspace's level.
pub(super) fn qualified(name: &str, feature: &str) -> String {
    if feature.contains('/') { feature.to_owned() } else { format!("{name}/{feature}") }
}
