//! `carrack build`: what is built, by which engine, and what is told about the images.
//!
//! What `-f` names is a Dockerfile; else PATH is in a Cargo workspace; else there is a Dockerfile in PATH.

mod docker;
mod embedded;

pub(super) use embedded::{load, make};

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use carrack_base::{BuildEvent, Cancel, EventSink};
use carrack_cargo::config::Configuration;
use carrack_cargo::locate::{LocateError, Location, locate};
use carrack_graph::BuiltImage;
use serde_json::{Map, Value, json};

use crate::arguments::Build;
use crate::caller::Caller;
use crate::engine::EngineName;
use crate::failure::Failure;
use crate::progress::{Progress, View, plural};
use crate::terminal::Terminal;

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
        Subject::Dockerfile(file) => (docker::dockerfile(site, &file)?, false),
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

/// The engine of the workspace around `path`, if there is one and it names one.
fn engine_around(path: &Path, caller: &Caller) -> Result<Option<EngineName>, Failure> {
    let Ok(location) = locate(path, &caller.cargo_home()) else { return Ok(None) };
    let configuration = Configuration::load(&location.root, &[]).map_err(Failure::Configuration)?;
    configured(configuration.workspace.engine.as_deref())
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
