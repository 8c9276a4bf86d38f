//! Drives a real BuildKit with its own clients: `docker buildx`, `buildctl`, or `docker build` of a version that has
//! BuildKit inside.
//!
//! ```text
//! DockerBuild ─► Job (arguments, variables) ─► client process ─► engine
//!                                                 └─ progress ─► News ─► Board ─► BuildEvent
//! ```
//!
//! [`BuildKit`] is the [`Backend`] for Dockerfiles. BuildKit has a solver and a cache of its own: it is given whole
//! Dockerfiles, never single steps, and what it keeps is its own. Several builds run as several clients of the same engine,
//! which runs the steps that they have in common once; their news become the events of one build.
//!
//! Does not read a Dockerfile for more than the place of an error, looks for no program (the caller says which there are) and
//! leaves the environment to the clients, which read it as they always do (`DOCKER_HOST`, `DOCKER_CONFIG`, `BUILDKIT_HOST`).
//! No secret becomes an argument of a process.
//!
//! Failure: [`BuildKitError`]. What a client can't do is told before anything is started.

mod build;
mod client;
mod error;
mod job;
mod place;
mod progress;
mod prune;
mod run;
mod said;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use carrack_base::{BuildEvent, Cancel, Digest, EventSink};
use carrack_graph::{Backend, BuiltImage};

pub use build::{BuildArgument, Context, DockerBuild, Dockerfile, Output, To};
pub use client::{Client, Programs, Version, Wanted};
pub use error::{BuildKitError, Tried, Why};
pub use prune::{Prune, prune};

use job::{After, Answer, Job};
use progress::{Board, Plain, Sheet, rawjson};

/// A BuildKit behind one of its clients.
#[derive(Debug)]
pub struct BuildKit {
    client: Client,
    scratch: PathBuf,
}

impl BuildKit {
    /// Builds through `client`; temporary files, which nobody else can read, are in `scratch`.
    pub fn new(client: Client, scratch: impl Into<PathBuf>) -> Self {
        Self { client, scratch: scratch.into() }
    }

    fn one(
        &self,
        build: &DockerBuild,
        sheet: &mut Sheet<'_>,
        stop: &Stop<'_>,
    ) -> Result<Option<Made>, BuildKitError> {
        let in_scratch =
            |source| BuildKitError::Io { action: "write to", path: self.scratch.clone(), source };
        let folder =
            tempfile::Builder::new().prefix("carrack-").tempdir_in(&self.scratch).map_err(in_scratch)?;
        let job = Job::new(&self.client, build, folder.path())?;
        let before = self.id_before(build);
        let mut plain = Plain::default();
        let is_json = self.client.has_rawjson();
        let line = |line: &str| {
            let news = if is_json { rawjson(line) } else { plain.line(line) };
            news.into_iter().for_each(|news| sheet.take(news));
        };
        let status = run::run(&job, line, || stop.signal())?;
        if let Some(signal) = stop.signal() {
            return Err(BuildKitError::Cancelled { signal });
        }
        if !status.success() {
            return Err(said::error(&self.client, build, sheet));
        }
        let made = match &job.answer {
            None => None,
            Some(answer) => {
                let no_image =
                    || BuildKitError::NoImage { build: build.name.clone(), client: self.client.describe() };
                let mut made = Made::read(answer).ok_or_else(no_image)?;
                made.unchanged =
                    !sheet.ran() && before.is_none_or(|before| before == made.config.to_string());
                Some(made)
            }
        };
        for after in &job.after {
            self.after(after, build, made.as_ref().map(|made| made.config), stop)?;
        }
        Ok(made)
    }

    /// The id of the image that has the name that this one is going to have, empty if there is none. Labels and the like
    /// change an image without any step. `None` where images are not with Docker, or have no name.
    fn id_before(&self, build: &DockerBuild) -> Option<String> {
        let (docker, tag) = (self.client.docker()?, build.tags.first()?);
        build
            .outputs
            .contains(&Output::Load)
            .then(|| client::ask(docker, &["image", "inspect", "--format", "{{.Id}}", tag]))
    }

    /// What the client itself could not do with the image.
    fn after(
        &self,
        after: &After,
        build: &DockerBuild,
        id: Option<Digest>,
        stop: &Stop<'_>,
    ) -> Result<(), BuildKitError> {
        let docker = self.client.docker().expect("what has to be done afterwards was refused without one");
        let stdout = *after == After::Save(To::Stdout);
        let named = match build.tags.is_empty() {
            true => id.iter().map(ToString::to_string).collect(),
            false => build.tags.clone(),
        };
        let commands: Vec<Vec<OsString>> = match after {
            After::Load(archive) => vec![vec!["load".into(), "--input".into(), archive.into()]],
            After::Save(To::Stdout) => {
                vec![["save".into()].into_iter().chain(named.into_iter().map(Into::into)).collect()]
            }
            After::Save(To::File(path)) => {
                let start: [OsString; 3] = ["save".into(), "--output".into(), path.into()];
                vec![start.into_iter().chain(named.into_iter().map(Into::into)).collect()]
            }
            After::Push => {
                build.tags.iter().map(|tag| vec!["push".into(), "--quiet".into(), tag.into()]).collect()
            }
        };
        for arguments in commands {
            let step = Some(format!("docker {}", arguments[0].display()));
            let job = Job::of(docker, arguments, stdout);
            let mut words = Vec::new();
            let status = run::run(&job, |line| words.push(line.to_owned()), || stop.signal())?;
            if let Some(signal) = stop.signal() {
                return Err(BuildKitError::Cancelled { signal });
            }
            if !status.success() {
                let said = said::message(&words);
                return Err(BuildKitError::Refused { build: build.name.clone(), step, said, place: None });
            }
        }
        Ok(())
    }
}

impl Backend<[DockerBuild]> for BuildKit {
    type Error = BuildKitError;

    /// Builds side by side; the first that fails stops the others. A build whose files go somewhere and whose image goes
    /// nowhere gives no image.
    fn build(
        &self,
        builds: &[DockerBuild],
        events: &dyn EventSink,
        cancel: &Cancel,
    ) -> Result<Vec<BuiltImage>, BuildKitError> {
        let board = Board::new(events);
        let has_failed = AtomicBool::new(false);
        let stop = Stop { cancel, has_failed: &has_failed };
        let groups: Vec<usize> = builds.iter().map(|build| group(builds, build)).collect();
        let has_strangers = groups.iter().any(|group| *group != 0);
        let results = thread::scope(|scope| {
            let started: Vec<_> = builds
                .iter()
                .enumerate()
                .map(|(client, build)| {
                    let prefix = if has_strangers { format!("{}: ", build.name) } else { String::new() };
                    let mut sheet = Sheet::new(&board, client, groups[client], prefix);
                    let stop = &stop;
                    scope.spawn(move || {
                        let result = self.one(build, &mut sheet, stop);
                        if result.is_err() {
                            stop.has_failed.store(true, Ordering::SeqCst);
                        }
                        result.map(|made| made.map(|made| image(build, &made, events)))
                    })
                })
                .collect();
            let end = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            started.into_iter().map(end).collect::<Vec<_>>()
        });
        if let Some(signal) = cancel.signal() {
            return Err(BuildKitError::Cancelled { signal });
        }
        let mut images = Vec::new();
        let mut stopped = None;
        for result in results {
            match result {
                Ok(image) => images.extend(image),
                // Only because another one failed.
                Err(error @ BuildKitError::Cancelled { .. }) => stopped = Some(error),
                Err(error) => return Err(error),
            }
        }
        stopped.map_or(Ok(images), Err)
    }
}

/// When a client has to stop.
struct Stop<'a> {
    cancel: &'a Cancel,
    has_failed: &'a AtomicBool,
}

impl Stop<'_> {
    fn signal(&self) -> Option<i32> {
        const INTERRUPT: i32 = 2;
        self.cancel.signal().or_else(|| self.has_failed.load(Ordering::SeqCst).then_some(INTERRUPT))
    }
}

/// The number of the first build whose steps are called the same.
fn group(builds: &[DockerBuild], build: &DockerBuild) -> usize {
    fn steps(build: &DockerBuild) -> impl PartialEq {
        (&build.context, &build.dockerfile, &build.arguments, &build.contexts, &build.platforms)
    }
    builds.iter().position(|other| steps(other) == steps(build)).unwrap_or_default()
}

/// What a client says about the image that it made.
struct Made {
    manifest: Option<Digest>,
    config: Digest,
    /// Whether no step ran and its name meant it before.
    unchanged: bool,
}

impl Made {
    fn read(answer: &Answer) -> Option<Self> {
        match answer {
            Answer::Id(path) => Self::of_id(path),
            Answer::Metadata(path) => {
                let metadata: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
                let digest = |name: &str| metadata.get(name)?.as_str()?.parse().ok();
                // Docker's own store has no manifests; its builder gives the id under both names, old ones under one.
                let first: Option<Digest> = digest("containerimage.digest");
                let config = digest("containerimage.config.digest").or(first)?;
                Some(Self {
                    manifest: first.filter(|manifest| *manifest != config),
                    config,
                    unchanged: false,
                })
            }
        }
    }

    fn of_id(path: &Path) -> Option<Self> {
        let config = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(Self { manifest: None, config, unchanged: false })
    }
}

fn image(build: &DockerBuild, made: &Made, events: &dyn EventSink) -> BuiltImage {
    events.emit(BuildEvent::ImageReady {
        image: build.tags.first().unwrap_or(&build.name).clone(),
        digest: made.manifest.unwrap_or(made.config),
        size: None,
        layers: 0,
        new_layers: 0,
        contents: String::new(),
        unchanged: made.unchanged,
    });
    BuiltImage {
        name: build.name.clone(),
        tags: build.tags.clone(),
        manifest: made.manifest,
        config: made.config,
        size: None,
        unchanged: made.unchanged,
    }
}
