//! `carrack build`: what is built, by which engine, and what is told about the images.
//!
//! What `-f` names is a Dockerfile; else PATH is in a Cargo workspace; else there is a Dockerfile in PATH.

mod call;
mod docker;
mod embedded;

pub(super) use embedded::{load, make};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use carrack_base::{BuildEvent, Cancel, EventSink};
use carrack_cargo::config::WorkspaceConfig;
use carrack_cargo::locate::{LocateError, Location, locate};
use carrack_graph::BuiltImage;
use carrack_store::Store;
use serde_json::{Map, Value, json};

use crate::arguments::Build;
use crate::call::Method;
use crate::caller::Caller;
use crate::commands::upkeep;
use crate::engine::EngineName;
use crate::failure::Failure;
use crate::progress::{Progress, View, plural};
use crate::shared::CacheChoice;
use crate::stages::{self, Bench, Extras};
use crate::terminal::Terminal;
use crate::workspace;

/// Everything that a build takes from around it.
#[derive(Clone, Copy)]
struct Site<'a> {
    arguments: &'a Build,
    caller: &'a Caller,
    state: &'a Path,
    terminal: &'a Terminal,
    cancel: &'a Cancel,
    view: &'a View,
}

/// What is built.
enum Subject {
    Dockerfile(PathBuf),
    Workspace(Location),
}

/// Builds images and takes them where they are wanted.
pub(crate) fn run(
    arguments: &Build,
    caller: &Caller,
    state: &Path,
    terminal: &Terminal,
    cancel: &Cancel,
    start: Instant,
) -> Result<ExitCode, Failure> {
    if arguments.docker.call().method != Method::Build {
        return call::run(arguments, caller, state);
    }
    let progress = if arguments.quiet { Progress::Quiet } else { arguments.progress };
    let view = View::new(progress, terminal);
    let site = Site { arguments, caller, state, terminal, cancel, view: &view };
    let built = build(&site, start);
    view.finish(built.is_err());
    built.map(|()| ExitCode::SUCCESS)
}

fn build(site: &Site<'_>, start: Instant) -> Result<(), Failure> {
    let Site { arguments, terminal, view, .. } = *site;
    let (images, in_store) = match subject(arguments, site.caller)? {
        Subject::Dockerfile(file) => dockerfile(site, &file)?,
        Subject::Workspace(location) => embedded::workspace(site, location)?,
    };
    report(arguments, &images)?;
    view.emit(BuildEvent::Done { summary: summary(&images), elapsed: start.elapsed() });
    if terminal.is_terminal() && in_store && !arguments.load && images.iter().any(|image| !image.unchanged) {
        view.hint(&format!(
            "Try one with `carrack run {}`, hand them to Docker with `carrack build --load`",
            images[0].name
        ));
    }
    Ok(())
}

/// What only this engine is asked.
fn extras(arguments: &Build) -> Extras {
    Extras {
        no_cache_filter: arguments.docker.no_cache_filter.clone(),
        no_host_certificates: arguments.docker.no_host_certificates,
        no_cargo_cache: arguments.docker.no_cargo_cache,
        ..Extras::default()
    }
}

/// Builds a Dockerfile with the engine that the caller, or the configuration of the workspace around, names; says whether the
/// image is in Carrack's own store.
fn dockerfile(site: &Site<'_>, file: &Path) -> Result<(Vec<BuiltImage>, bool), Failure> {
    if let Some(option) = docker::cargo_option(site.arguments) {
        let hint = "leave it out, or build the workspace without -f";
        return Err(Failure::NoMeaning { option, here: "for a Dockerfile", hint });
    }
    let Build { path, cache_from, cache_to, .. } = site.arguments;
    let caches = CacheChoice::of(cache_from, cache_to, None, site.caller);
    let configuration = workspace::configuration_around(path, &caches, site.caller)?;
    let named = configuration.as_ref().and_then(|configuration| configuration.engine.as_deref());
    let engine = match &site.arguments.engine {
        Some(engine) => engine.clone(),
        None => configured(named)?.unwrap_or(EngineName::Embedded),
    };
    match engine {
        EngineName::Embedded => Ok((here(site, file, configuration.as_ref())?, true)),
        engine => Ok((docker::dockerfile(site, file, &engine)?, false)),
    }
}

/// Builds a Dockerfile with the embedded engine, as the configuration around it says.
fn here(
    site: &Site<'_>,
    file: &Path,
    configuration: Option<&WorkspaceConfig>,
) -> Result<Vec<BuiltImage>, Failure> {
    let Site { arguments, caller, cancel, view, .. } = *site;
    stages::may_give_files_away(caller)?;
    let build = docker::build_of(arguments, file)?;
    let store = Store::open(site.state)?;
    let lease = store.lease(cancel)?;
    let bench = Bench { caller, store: &store, cancel, view };
    let builder = stages::Builder::new(bench, extras(arguments), build.pull)?;
    let images = builder.build(vec![builder.draw(&build, stages::standard_input(), configuration)?])?;
    embedded::deliver(&store, &images, &arguments.outputs)?;
    if arguments.load {
        load(caller, &store, &images)?;
    }
    drop(lease);
    if images.iter().any(|image| !image.unchanged) {
        upkeep::after_build(&store, &configuration.map(|found| found.cache).unwrap_or_default());
    }
    Ok(images)
}

/// What `arguments` ask to build.
///
/// Errors: there is nothing that could be built.
fn subject(arguments: &Build, caller: &Caller) -> Result<Subject, Failure> {
    if let Some(file) = &arguments.file {
        return Ok(Subject::Dockerfile(file.clone()));
    }
    if docker::is_url(&arguments.path) {
        return Ok(Subject::Dockerfile(PathBuf::from("Dockerfile")));
    }
    match locate(&arguments.path, &caller.cargo_home()) {
        Ok(location) => Ok(Subject::Workspace(location)),
        Err(error @ LocateError::NoManifest { .. }) => {
            let first = |names: &[&str]| {
                names.iter().map(|name| arguments.path.join(name)).find(|file| file.is_file())
            };
            if let Some(file) = first(&["Dockerfile"]) {
                return Ok(Subject::Dockerfile(file));
            }
            match first(&["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"]) {
                Some(file) => Err(Failure::NothingButCompose { file }),
                None => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// The engine that a configuration names.
fn configured(engine: Option<&str>) -> Result<Option<EngineName>, Failure> {
    // The configuration was checked when it was read.
    engine.map(|name| name.parse().map_err(|what| Failure::Bug { what })).transpose()
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
            let mut described = json!({
                "image.name": image.tags.join(","),
                "containerimage.digest": image.manifest,
                "containerimage.config.digest": image.config,
                "carrack.size": image.size,
                "carrack.unchanged": image.unchanged,
            });
            // What the engine does not tell is left out.
            described
                .as_object_mut()
                .into_iter()
                .for_each(|fields| fields.retain(|_, value| !value.is_null()));
            described
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
        (0, 0) => "files written".to_owned(),
        (0, unchanged) => format!("{unchanged} {} unchanged", plural(unchanged, "image")),
        (built, 0) => format!("{built} {} built", plural(built, "image")),
        (built, unchanged) => format!("{built} {} built, {unchanged} unchanged", plural(built, "image")),
    }
}
