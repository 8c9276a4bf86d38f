//! Builds for Docker's engines: a Dockerfile, or the services of a workspace through a Dockerfile made from its plan.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use carrack_base::{BuildEvent, EventSink};
use carrack_buildkit::{
    BuildArgument, BuildKit, Client, Context, DockerBuild, Dockerfile, Output as Sink, To,
};
use carrack_cargo::plan::Service;
use carrack_graph::{Backend, BuiltImage};

use super::{Site, embedded};
use crate::arguments::Build;
use crate::engine::{self, EngineName};
use crate::failure::Failure;
use crate::output::{Destination, OutputKind};
use crate::workspace::Planned;

/// Whether docker would fetch a context of this name.
pub(super) fn is_url(path: &Path) -> bool {
    carrack_docker::compose::is_remote(&path.to_string_lossy())
}

/// Builds a Dockerfile.
pub(super) fn dockerfile(
    site: &Site<'_>,
    file: &Path,
    engine: &EngineName,
) -> Result<Vec<BuiltImage>, Failure> {
    let Site { arguments, caller, .. } = *site;
    let client = engine::client(caller, engine, arguments.docker.builder.as_deref())?;
    let build = build_of(arguments, file)?;
    site.view.emit(BuildEvent::Planned {
        kind: "Dockerfile".to_owned(),
        what: format!("{} · context {}", file.display(), arguments.path.display()),
        builder: client.describe(),
        base: None,
    });
    drive(site, client, &[build])
}

/// The build of a Dockerfile that the arguments are.
pub(super) fn build_of(arguments: &Build, file: &Path) -> Result<DockerBuild, Failure> {
    let context = match is_url(&arguments.path) {
        true => Context::Url(arguments.path.display().to_string()),
        false => Context::Folder(arguments.path.clone()),
    };
    let dockerfile = if file == Path::new("-") { from_stdin()? } else { Dockerfile::File(file.to_owned()) };
    Ok(DockerBuild {
        name: name(arguments),
        context,
        dockerfile,
        target: arguments.docker.target.clone(),
        tags: arguments.tags.iter().map(|tag| crate::workspace::tagged(tag)).collect::<Result<_, _>>()?,
        outputs: outputs(arguments, None),
        ..common(arguments)?
    })
}

/// Builds the services of a workspace, side by side: what they have in common is compiled once.
pub(super) fn workspace(
    site: &Site<'_>,
    planned: &Planned,
    engine: &EngineName,
) -> Result<Vec<BuiltImage>, Failure> {
    let arguments = site.arguments;
    let here = "for a workspace on an engine of Docker's";
    if arguments.docker.target.is_some() {
        let hint = "choose a service with --bin NAME";
        return Err(Failure::NoMeaning { option: "--target", here, hint });
    }
    if let Some(option) = cargo_option(arguments).filter(|option| !matches!(*option, "--package" | "--bin")) {
        let hint = "say it in the configuration: the Dockerfile is made from that";
        return Err(Failure::NoMeaning { option, here, hint });
    }
    let builds = builds(arguments, planned)?;
    let client = engine::client(site.caller, engine, arguments.docker.builder.as_deref())?;
    site.view.emit(BuildEvent::Planned {
        kind: "Workspace".to_owned(),
        what: embedded::what(&planned.plan),
        builder: client.describe(),
        base: None,
    });
    drive(site, client, &builds)
}

/// The builds of a workspace's services, through the Dockerfile that is made from its plan.
pub(super) fn builds(arguments: &Build, planned: &Planned) -> Result<Vec<DockerBuild>, Failure> {
    let plan = &planned.plan;
    let tags = crate::workspace::tags(&arguments.tags, plan)?;
    let services = &plan.services;
    // Only folders can be told apart by the service's name.
    let is_single = |kind: OutputKind| kind != OutputKind::Local;
    if services.len() > 1 && arguments.outputs.iter().any(|output| is_single(output.kind)) {
        let services = services.iter().map(|service| service.binary.clone()).collect();
        return Err(Failure::OneNameForMany { option: "--output", services });
    }
    let files = planned.docker_files()?;
    let common = common(arguments)?;
    let build = |service: &Service| {
        let tags = match &tags[..] {
            [] => service.tags.iter().map(|tag| format!("{}:{tag}", service.image)).collect(),
            tags => tags.to_vec(),
        };
        DockerBuild {
            name: service.binary.clone(),
            context: Context::Folder(files.context.clone()),
            dockerfile: Dockerfile::Text {
                text: files.dockerfile.clone(),
                ignore: Some(files.dockerignore.clone()),
            },
            target: Some(service.binary.clone()),
            tags,
            outputs: outputs(arguments, (services.len() > 1).then_some(&service.binary)),
            ..common.clone()
        }
    };
    Ok(services.iter().map(build).collect())
}

/// Lets a client of Docker's build.
fn drive(site: &Site<'_>, client: Client, builds: &[DockerBuild]) -> Result<Vec<BuiltImage>, Failure> {
    Ok(BuildKit::new(client, site.caller.scratch()).build(builds, site.view, site.cancel)?)
}

/// The first option that only cargo understands.
pub(super) fn cargo_option(arguments: &Build) -> Option<&'static str> {
    let given = [
        ("--package", !arguments.packages.is_empty()),
        ("--bin", !arguments.binaries.is_empty()),
        ("--profile", arguments.profile.is_some()),
        ("--features", !arguments.features.is_empty()),
        ("--no-default-features", arguments.no_default_features),
        ("--locked", arguments.locked),
        ("--offline", arguments.offline),
    ];
    given.into_iter().find(|(_, given)| *given).map(|(option, _)| option)
}

/// What an image is called in messages: its first name, else its folder's.
fn name(arguments: &Build) -> String {
    let folder = || {
        let folder = arguments.path.canonicalize().unwrap_or_else(|_| arguments.path.clone());
        folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned()
    };
    arguments.tags.first().cloned().unwrap_or_else(folder)
}

fn from_stdin() -> Result<Dockerfile, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|source| Failure::Io {
        action: "read",
        path: PathBuf::from("standard input"),
        source,
    })?;
    Ok(Dockerfile::Text { text, ignore: None })
}

/// What every build of one command line has in common.
fn common(arguments: &Build) -> Result<DockerBuild, Failure> {
    let docker = &arguments.docker;
    let argument = |text: &String| match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), BuildArgument::Value(value.to_owned())),
        None => (text.clone(), BuildArgument::FromEnvironment),
    };
    let shm_size = docker.shm_size.as_deref().map(size).transpose()?;
    Ok(DockerBuild {
        labels: arguments.labels.iter().cloned().collect(),
        arguments: docker.build_arguments.iter().map(argument).collect(),
        secrets: docker.secrets.clone(),
        ssh: docker.ssh.clone(),
        cache_from: arguments.cache_from.clone(),
        cache_to: arguments.cache_to.clone(),
        platforms: arguments.platforms.clone(),
        no_cache: arguments.no_cache,
        pull: docker.pull,
        network: docker.network.clone(),
        extra_hosts: docker.extra_hosts.clone(),
        contexts: docker.contexts.iter().cloned().collect::<BTreeMap<_, _>>(),
        shm_size,
        ulimits: docker.ulimits.clone(),
        ..DockerBuild::default()
    })
}

/// `64m`, `1g`, `65536`: bytes, in powers of two as docker has them here.
fn size(text: &str) -> Result<u64, Failure> {
    let lower = text.to_ascii_lowercase();
    let plain = lower.trim_end_matches('b');
    let number = plain.trim_end_matches(['k', 'm', 'g', 't']);
    let shift = match &plain[number.len()..] {
        "" => Some(0),
        "k" => Some(10),
        "m" => Some(20),
        "g" => Some(30),
        "t" => Some(40),
        _ => None,
    };
    let size = shift.and_then(|shift| number.parse::<u64>().ok()?.checked_mul(1 << shift));
    size.ok_or_else(|| Failure::BadOption {
        option: "--shm-size",
        value: text.to_owned(),
        why: "expected a size, as in 64m".to_owned(),
    })
}

/// Where the images go: into Docker, if nobody says anything else. `subfolder` keeps several services' files apart.
fn outputs(arguments: &Build, subfolder: Option<&String>) -> Vec<Sink> {
    let to = |destination: &Destination| match destination {
        Destination::Path(path) => To::File(path.clone()),
        Destination::Stdout => To::Stdout,
    };
    let path = |destination: &Destination| match destination {
        Destination::Path(path) => path.clone(),
        Destination::Stdout => unreachable!("a folder was refused as standard output"),
    };
    let output = |output: &crate::output::Output| match output.kind {
        OutputKind::OciFolder => Sink::OciFolder(path(&output.to)),
        OutputKind::OciTar => Sink::OciArchive(to(&output.to)),
        OutputKind::Docker => Sink::DockerArchive(to(&output.to)),
        OutputKind::Tar => Sink::Tar(to(&output.to)),
        OutputKind::Local => {
            let folder = path(&output.to);
            Sink::Folder(subfolder.map_or_else(|| folder.clone(), |name| folder.join(name)))
        }
    };
    let mut outputs: Vec<Sink> = arguments.outputs.iter().map(output).collect();
    if arguments.docker.push {
        outputs.push(Sink::Push);
    }
    if arguments.load || outputs.is_empty() {
        outputs.push(Sink::Load);
    }
    outputs
}
