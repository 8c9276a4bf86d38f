//! Everything that can end a command badly, with the words for it: what was attempted, on what, why it failed, what to
//! do now. Libraries hand up facts; this is the one place where facts become sentences, hints and exit codes.

mod buildkit;
mod dockerfile;
mod machine;
mod refusal;
mod stages;
mod workspace;

use std::error::Error;
use std::path::PathBuf;

use carrack_base::{Platform, Span};
use carrack_buildkit::BuildKitError;
use carrack_cargo::config::ConfigError;
use carrack_cargo::init::InitError;
use carrack_cargo::locate::LocateError;
use carrack_cargo::lower::LowerError;
use carrack_cargo::missing::{Diagnosis, diagnose};
use carrack_cargo::plan::PlanError;
use carrack_cargo::toolchain::ToolchainError;
use carrack_context::ContextError;
use carrack_docker::check::DockerFinding;
use carrack_docker::compose::ComposeError;
use carrack_docker::dockerfile::DockerfileError;
use carrack_docker::dockerignore::DockerignoreError;
use carrack_engine::EngineError;
use carrack_oci::snapshot::SnapshotError;
use carrack_oci::transport::TransportError;
use carrack_oci::{
    CarrierError, EngineError as LoadError, ImageError, ReferenceError, RootfsError, UnknownAccount,
};
use carrack_remote::signature::KeyError;
use carrack_remote::{LocationError, RemoteError};
use carrack_sandbox::{Exit, SandboxError};
use carrack_store::StoreError;
use serde_json::json;

use crate::snippet;
use crate::terminal::Terminal;

mod compose;

/// Exit codes. They are documented and stable.
pub(crate) mod code {
    pub(crate) const BUILD_FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const MACHINE: u8 = 3;
    pub(crate) const ENGINE: u8 = 4;
    pub(crate) const BUG: u8 = 70;
    /// Plus the signal's number.
    pub(crate) const SIGNAL: u8 = 128;
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Locate(LocateError),
    Toolchain(ToolchainError),
    ToolchainBroken {
        program: PathBuf,
        said: String,
    },
    Configuration(Vec<ConfigError>),
    /// `cargo metadata` refused.
    Metadata {
        said: String,
    },
    Plan(PlanError),
    Lower(LowerError),
    /// `--cache-from`, `--cache-to` or the configuration name a shared cache that there can't be.
    CacheLocation {
        text: String,
        source: LocationError,
    },
    /// A shared cache can't be used, whoever answers.
    CacheUnusable {
        text: String,
        source: RemoteError,
    },
    CacheKey {
        place: String,
        source: KeyError,
    },
    CacheMode {
        mode: String,
        nearest: Option<&'static str>,
    },
    Init(InitError),
    /// `carrack init` would overwrite what a person wrote.
    NotOurs {
        files: Vec<PathBuf>,
    },
    Compose(ComposeError),
    /// A compose file's service that nothing here can build.
    Service {
        service: String,
        span: Span,
        why: ServiceProblem,
    },
    /// Services that an engine of Docker's has to build, each with the reason.
    ServicesNeedDocker {
        services: Vec<(String, String)>,
    },
    /// An image that services start from.
    Base {
        name: String,
        source: Box<crate::stages::ImageFailure>,
    },
    BuildVariable {
        name: String,
    },
    Platform {
        asked: Platform,
        host: Platform,
    },
    OneNameForMany {
        option: &'static str,
        services: Vec<String>,
    },
    Reference {
        text: String,
        source: ReferenceError,
    },
    Engine(EngineError),
    BuildKit(BuildKitError),
    /// Neither a workspace nor a Dockerfile, but a compose file.
    NothingButCompose {
        file: PathBuf,
    },
    /// A Dockerfile that can't be built as it is asked for.
    Stages(Box<carrack_docker::lower::LowerError<crate::stages::ImageFailure>>),
    /// Findings of Docker's checks in a Dockerfile that wants them to be errors; at least one.
    Checks {
        findings: Vec<DockerFinding>,
    },
    /// An option whose value makes no sense.
    BadOption {
        option: &'static str,
        value: String,
        why: String,
    },
    /// A file that should be a key for SSH, and what OpenSSH says of it.
    Key {
        path: PathBuf,
        said: String,
    },
    /// There is nobody to lend keys for SSH.
    NoKeyAgent {
        source: std::io::Error,
    },
    /// An archive that should be a context.
    ContextArchive {
        path: PathBuf,
        source: Box<SnapshotError>,
    },
    Transport(TransportError),
    /// An option that has no meaning for what is built.
    NoMeaning {
        option: &'static str,
        here: &'static str,
        hint: &'static str,
    },
    /// A cargo that does not take compiled units as it should.
    Unproven {
        what: String,
        /// Whether that was just found out.
        is_new: bool,
    },
    /// A filter of `carrack cache prune` that there is not.
    Filter {
        filter: String,
    },
    /// A shared cache did not take, or give, what it should have.
    NotTravelled,
    /// A cache mount that there is not.
    NoSuchMount {
        id: String,
        known: Vec<String>,
    },
    /// A cache mount that a build uses.
    MountInUse {
        id: String,
    },
    /// A size or a time of an option.
    Amount {
        option: &'static str,
        text: String,
        example: &'static str,
    },
    Store(StoreError),
    Context(ContextError),
    Sandbox(SandboxError),
    Carrier {
        to: PathBuf,
        source: CarrierError,
    },
    Rootfs {
        to: PathBuf,
        source: RootfsError,
    },
    Image(ImageError),
    Load(LoadError),
    NoEngine {
        tried: Vec<String>,
    },
    NoSuchImage {
        name: String,
        known: Vec<String>,
    },
    AmbiguousImage {
        name: String,
        images: Vec<String>,
    },
    NothingToRun {
        image: String,
    },
    Account(UnknownAccount),
    Io {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    NoDockerfile {
        folder: PathBuf,
    },
    /// A file that a check needs.
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    Dockerfile(DockerfileError),
    Dockerignore {
        path: PathBuf,
        source: DockerignoreError,
    },
    Manifest {
        path: PathBuf,
        message: String,
    },
    Cancelled {
        signal: i32,
    },
    Bug {
        what: String,
    },
}

/// Why a compose file's service can't be built.
#[derive(Debug)]
pub(crate) enum ServiceProblem {
    /// Its context is not there.
    NoContext { folder: PathBuf },
    /// The Dockerfile that it names is not there.
    NoDockerfile { path: PathBuf },
    /// It has no Dockerfile, and its context is in no workspace.
    NothingToBuild { dockerfile: PathBuf },
    /// No binary of the workspace has one of its names.
    NoBinary { workspace: PathBuf, tried: Vec<String>, nearest: Option<String>, known: Vec<String> },
    /// Its platform is no platform.
    Platform { text: String },
    /// What a key of its `build` section says can't be had.
    Key { key: &'static str, value: String, why: String },
}

/// An error of a library with everything that led to it, in one line.
pub(crate) fn chain_in_one_line(error: &dyn Error) -> String {
    let Words { message, notes, .. } = Words::chain(error);
    let text = std::iter::once(message).chain(notes).collect::<Vec<_>>().join(": ");
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// One error as it is shown.
struct Words {
    message: String,
    /// The place in a text that a person wrote, and what is marked there.
    place: Option<(Span, String)>,
    notes: Vec<String>,
    hint: Option<String>,
}

impl Words {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, notes: Vec::new(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn at(mut self, span: &Span, mark: impl Into<String>) -> Self {
        self.place = Some((span.clone(), mark.into()));
        self
    }

    /// An error of a library with everything that led to it.
    fn chain(error: &dyn Error) -> Self {
        let mut words = Self::new(error.to_string());
        let mut cause = error.source();
        while let Some(error) = cause {
            words.notes.push(error.to_string());
            cause = error.source();
        }
        words
    }
}

impl Failure {
    /// A contradiction within this program.
    pub(crate) fn bug(error: &dyn Error) -> Self {
        Self::Bug { what: Words::chain(error).message }
    }

    /// The process's exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Engine(EngineError::StepFailed { transcript, .. }) => match diagnose(transcript) {
                Diagnosis::MissingSystemPackage(_)
                | Diagnosis::MissingTarget { .. }
                | Diagnosis::DiskFull { .. } => code::MACHINE,
                Diagnosis::Network { .. } => code::ENGINE,
                Diagnosis::LockNeedsUpdate | Diagnosis::Offline { .. } | Diagnosis::UnknownProfile { .. } => {
                    code::USAGE
                }
                Diagnosis::CompileError | Diagnosis::Other => code::BUILD_FAILED,
            },
            Self::Metadata { said } => match diagnose(said) {
                Diagnosis::Network { .. } => code::ENGINE,
                Diagnosis::DiskFull { .. } => code::MACHINE,
                _ => code::USAGE,
            },
            Self::Checks { .. } => code::BUILD_FAILED,
            Self::BuildKit(error) => buildkit::exit_code(error),
            Self::Stages(error) => stages::refused_code(error),
            Self::Base { source, .. } => stages::image_code(source),
            Self::Engine(EngineError::InStep { source, .. }) => stages::step_code(source),
            Self::Engine(
                error @ (EngineError::Download { .. }
                | EngineError::Git { .. }
                | EngineError::NoReference { .. }
                | EngineError::OtherCommit { .. }
                | EngineError::NoSource { .. }
                | EngineError::Layers { .. }
                | EngineError::Snapshot(_)),
            ) => stages::step_code(error),
            Self::Engine(
                EngineError::CannotStart { .. }
                | EngineError::NoArtifact { .. }
                | EngineError::Unstable { .. },
            ) => code::BUILD_FAILED,
            Self::Engine(
                EngineError::NoSuchFile { .. } | EngineError::NotUtf8 { .. } | EngineError::Layer(_),
            ) => code::USAGE,
            Self::Engine(EngineError::Cancelled { signal }) | Self::Cancelled { signal } => {
                code::SIGNAL + u8::try_from(*signal).unwrap_or(0)
            }
            Self::Engine(
                EngineError::Irreproducible { .. } | EngineError::Record(_) | EngineError::Unreadable { .. },
            )
            | Self::Bug { .. }
            | Self::Lower(LowerError::Graph(_))
            | Self::Plan(PlanError::Metadata(_))
            | Self::Init(InitError::Template(_)) => code::BUG,
            Self::Locate(_)
            | Self::Configuration(_)
            | Self::Plan(_)
            | Self::Lower(_)
            | Self::Init(_)
            | Self::NotOurs { .. }
            | Self::Compose(_)
            | Self::Service { .. }
            | Self::NothingButCompose { .. }
            | Self::BadOption { .. }
            | Self::Key { .. }
            | Self::ContextArchive { .. }
            | Self::NoMeaning { .. }
            | Self::CacheLocation { .. }
            | Self::CacheUnusable { .. }
            | Self::CacheKey { .. }
            | Self::CacheMode { .. }
            | Self::Filter { .. }
            | Self::NoSuchMount { .. }
            | Self::Amount { .. }
            | Self::BuildVariable { .. }
            | Self::Platform { .. }
            | Self::OneNameForMany { .. }
            | Self::Reference { .. }
            | Self::NoSuchImage { .. }
            | Self::AmbiguousImage { .. }
            | Self::NothingToRun { .. }
            | Self::Account(_)
            | Self::NoDockerfile { .. }
            | Self::Unreadable { .. }
            | Self::Dockerfile(_)
            | Self::Dockerignore { .. }
            | Self::Manifest { .. }
            | Self::Sandbox(SandboxError::ProgramNotFound { .. } | SandboxError::WorkingDirectory { .. }) => {
                code::USAGE
            }
            Self::Toolchain(_)
            | Self::ToolchainBroken { .. }
            | Self::Engine(_)
            | Self::Store(_)
            | Self::Context(_)
            | Self::Sandbox(_)
            | Self::Carrier { .. }
            | Self::Rootfs { .. }
            | Self::Image(_)
            | Self::Unproven { .. }
            | Self::MountInUse { .. }
            | Self::Transport(_)
            | Self::ServicesNeedDocker { .. }
            | Self::NoKeyAgent { .. }
            | Self::Io { .. } => code::MACHINE,
            Self::NotTravelled | Self::Load(_) | Self::NoEngine { .. } => code::ENGINE,
        }
    }

    /// The error as it is printed, with its line ends.
    pub(crate) fn report(&self, terminal: &Terminal) -> String {
        self.all_words().iter().map(|words| render(words, terminal)).collect()
    }

    /// The same in one line without a hint, for what does not end the command.
    pub(crate) fn one_line(&self) -> String {
        let words =
            self.all_words().into_iter().flat_map(|words| std::iter::once(words.message).chain(words.notes));
        let lines: Vec<String> =
            words.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        lines.join(": ")
    }

    /// The same as events for a program, one JSON object a line.
    pub(crate) fn events(&self) -> String {
        let event = |words: Words| {
            let place = words.place.map(|(span, mark)| {
                let before = span.source.text.get(..span.range.start).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                json!({"path": span.source.path, "line": line, "mark": mark})
            });
            let event = json!({"event": "error", "code": self.code(), "message": words.message,
                "notes": words.notes, "hint": words.hint, "place": place});
            format!("{event}\n")
        };
        self.all_words().into_iter().map(event).collect()
    }

    /// What is wrong, in one line, and where in a text that a person wrote.
    pub(crate) fn in_short(&self) -> (String, Option<Span>) {
        let Words { message, place, .. } = self.words();
        (message, place.map(|(span, _)| span))
    }

    fn all_words(&self) -> Vec<Words> {
        match self {
            Self::Configuration(errors) => errors.iter().map(workspace::configuration).collect(),
            Self::Checks { findings } => findings.iter().map(stages::found).collect(),
            one => vec![one.words()],
        }
    }

    fn words(&self) -> Words {
        match self {
            Self::Locate(error) => workspace::locate(error),
            Self::Toolchain(error) => workspace::toolchain(error),
            Self::ToolchainBroken { program, said } => {
                Words::new(format!("cannot use {}: it does not say its version", program.display()))
                    .note(said.trim())
                    .hint("run `rustc -vV` and mend what it says")
            }
            Self::Configuration(_) | Self::Checks { .. } => {
                unreachable!("each of these errors is reported for itself")
            }
            Self::Metadata { said } => metadata(said),
            Self::Plan(error) => workspace::plan(error),
            Self::Lower(LowerError::User { service, source }) => {
                Words::new(format!("cannot make the image of {service}: {source}"))
                    .hint("mend `user` or `owner` in the configuration; numbers are always possible, as in \"1000:1000\"")
            }
            Self::Lower(LowerError::Graph(error)) => Words::chain(error).hint("report this with the configuration"),
            Self::Init(error) => workspace::init(error),
            Self::NotOurs { files } => {
                let words = Words::new("cannot write: a person wrote or changed these files");
                files.iter().fold(words, |words, file| words.note(file.display().to_string())).hint(
                    "compare with `carrack init --stdout`, choose others with --only, or overwrite them with --force; \
                     nothing was written",
                )
            }
            Self::Compose(error) => compose::words(error),
            Self::Service { service, span, why } => compose::service(service, span, why),
            Self::ServicesNeedDocker { services } => compose::needs_docker(services),
            Self::Base { name, source } => stages::base(name, source),
            Self::BuildVariable { name } => {
                Words::new(format!("cannot pass {name} to the build: it is not set, and `build-env` asks for it"))
                    .hint(format!("set {name}, or give it a value in `build-env`"))
            }
            Self::Platform { asked, host } => {
                Words::new(format!("cannot build for {asked}: this machine builds for {host} only"))
                    .hint(format!("leave --platform out, or run carrack on a machine of {asked}"))
            }
            Self::OneNameForMany { option, services } => {
                Words::new(format!("cannot give {option} to {} services at once", services.len()))
                    .note(format!("services: {}", services.join(", ")))
                    .hint("choose one with --bin NAME")
            }
            Self::Reference { text, source } => {
                Words::chain(source).note(format!("in the image name `{text}`")).hint("use NAME or NAME:TAG")
            }
            Self::Engine(error) => engine(error),
            Self::BuildKit(error) => buildkit::words(error),
            Self::NothingButCompose { file } => {
                Words::new(format!("there is neither a Cargo.toml nor a Dockerfile beside {}", file.display()))
                    .hint("run `carrack compose build` to build the services of a compose file")
            }
            Self::NotTravelled => Words::new("not everything could be moved").hint("mend what is said above, and try again"),
            Self::NoSuchMount { id, known } => {
                let words = Words::new(format!("there is no cache mount `{id}`"));
                match carrack_base::nearest(id, known.iter().map(String::as_str)) {
                    Some(nearest) => words.hint(format!("did you mean `{nearest}`?")),
                    None => words.hint("see `carrack cache du --by mount`"),
                }
            }
            Self::MountInUse { id } => Words::new(format!("a build uses the cache mount `{id}`"))
                .hint("wait for its end, then prune again"),
            Self::Stages(error) => stages::refused(error),
            Self::BadOption { option, value, why } => {
                Words::new(format!("{option} cannot be `{value}`: {why}")).hint("see `carrack build --help`")
            }
            Self::Key { path, said } => Words::new(format!("cannot lend the key {}", path.display()))
                .note(said)
                .hint("add a key with a passphrase to your own agent with `ssh-add`, and say `--ssh default`"),
            Self::NoKeyAgent { source } => {
                Words::new("cannot lend keys: OpenSSH's agent does not start").note(source.to_string())
                    .hint("install openssh-client, or name the socket of an agent")
            }
            Self::ContextArchive { path, source } => {
                let words = Words::chain(&**source);
                Words { message: format!("cannot unpack {}: {}", path.display(), words.message), ..words }
                    .hint("give a folder, or an archive that `tar` can read")
            }
            Self::Transport(error) => Words::chain(error).hint("mend SSL_CERT_FILE or the proxy's variables"),
            Self::CacheLocation { text, source } => {
                let words = Words::new(format!("`{text}` names no shared cache: {source}"));
                match source {
                    LocationError::Type { nearest: Some(nearest), .. }
                    | LocationError::Attribute { nearest: Some(nearest), .. } => {
                        words.hint(format!("did you mean `{nearest}`?"))
                    }
                    LocationError::Secret { .. } => {
                        words.hint("put it into the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")
                    }
                    _ => words.hint("write it as in `type=registry,ref=ghcr.io/acme/cache`"),
                }
            }
            Self::CacheUnusable { text, source } => {
                Words::new(format!("cannot use the shared cache {text}"))
                    .note(Words::chain(source).message)
                    .hint("check its address, and the certificates and the proxy in the environment")
            }
            Self::CacheKey { place, source } => Words::new(format!("{place} is no key: {source}"))
                .hint("make a pair of keys with `carrack cache key`"),
            Self::CacheMode { mode, nearest } => {
                let words = Words::new(format!("CARRACK_CACHE cannot be `{mode}`"));
                match nearest {
                    Some(nearest) => words.hint(format!("did you mean `{nearest}`?")),
                    None => words.hint("set it to `read-write`, `read-only` or `off`"),
                }
            }
            Self::NoMeaning { option, here, hint } => {
                Words::new(format!("{option} has no meaning {here}")).hint(*hint)
            }
            Self::Unproven { what, .. } => Words::new(what).hint("use a released toolchain"),
            Self::Filter { filter } => Words::new(format!("cannot filter by `{filter}`"))
                .hint("filters are until=72h, workspace=TEXT and package=NAME"),
            Self::Amount { option, text, example } => {
                Words::new(format!("cannot understand `{text}` for {option}")).hint(format!("write {example}"))
            }
            Self::Store(error) => machine::store(error),
            Self::Context(error) => Words::chain(error).hint("make it readable for this user"),
            Self::Sandbox(error) => machine::sandbox(error),
            Self::Carrier { to, source } => {
                with_context(format!("cannot write {}", to.display()), source).hint(writing(source))
            }
            Self::Rootfs { to, source } => {
                with_context(format!("cannot write {}", to.display()), source).hint(writing(source))
            }
            Self::Image(error) => Words::chain(error).hint("build the image again"),
            Self::Load(error) => Words::chain(error).hint("look at the engine's own log, or use `-o type=docker,dest=FILE`"),
            Self::NoEngine { tried } => {
                let words = Words::new("cannot load the images: neither Docker nor Podman answers");
                tried.iter().fold(words, |words, line| words.note(line))
                    .hint("start one of them, or write an archive with `-o type=docker,dest=FILE`")
            }
            Self::NoSuchImage { name, known } => {
                let words = Words::new(format!("there is no image `{name}` in Carrack's store"));
                match known.is_empty() {
                    true => words.hint("build one with `carrack build`"),
                    false => words.note(format!("there are: {}", known.join(", "))).hint("run `carrack images`"),
                }
            }
            Self::AmbiguousImage { name, images } => Words::new(format!("`{name}` means more than one image"))
                .note(images.join("\n"))
                .hint("give more digits"),
            Self::NothingToRun { image } => {
                Words::new(format!("cannot run {image}: it has neither entrypoint nor command"))
                    .hint("name a program with --entrypoint")
            }
            Self::Account(UnknownAccount { what, name }) => Words::new(format!("cannot run as `{name}`: the image has no such {what}"))
                .hint("give numbers, as in --user 65532:65532"),
            Self::Io { action, path, source } => {
                let words = Words::new(format!("cannot {action} {}", path.display())).note(source.to_string());
                words.hint(io_hint(source))
            }
            Self::NoDockerfile { folder } => {
                Words::new(format!("there is no Dockerfile in {}", folder.display()))
                    .note("looked for Dockerfile, Containerfile, Dockerfile.* and *.Dockerfile")
                    .hint("name one, as in `carrack check deploy/Dockerfile`")
            }
            Self::Unreadable { path, source } => {
                Words::new(format!("cannot read {}", path.display())).note(source.to_string()).hint(io_hint(source))
            }
            Self::Dockerfile(error) => dockerfile::words(error),
            Self::Dockerignore { path, source } => {
                Words::new(format!("cannot understand line {} of {}", source.line, path.display()))
                    .note(format!("the pattern `{}` is malformed", source.pattern))
                    .hint("mend it: Docker refuses it too")
            }
            Self::Manifest { path, message } => Words::new(format!("cannot understand {}", path.display()))
                .note(message)
                .hint("run `cargo metadata` and mend what it says"),
            Self::Cancelled { signal } => Words::new(format!("stopped by signal {signal}")),
            Self::Bug { what } => Words::new(format!("this is a bug in Carrack: {what}"))
                .hint("report it with the command line and this text"),
        }
    }
}

fn with_context(message: String, error: &dyn Error) -> Words {
    let inner = Words::chain(error);
    let mut notes = inner.notes;
    // A library's own words are often the same.
    if inner.message != message {
        notes.insert(0, inner.message);
    }
    Words { notes, ..Words::new(message) }
}

fn is_full(error: &(dyn Error + 'static)) -> bool {
    let full = |error: &std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
    error.downcast_ref().is_some_and(full) || error.source().is_some_and(is_full)
}

fn writing(error: &(dyn Error + 'static)) -> &'static str {
    match error.downcast_ref() {
        Some(CarrierError::NotALayout { .. }) => "choose another destination, or empty this one",
        _ if is_full(error) => "make room on that disk",
        _ => "choose another destination, or make this one writable",
    }
}

fn io_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull => "make room on that disk",
        std::io::ErrorKind::PermissionDenied => "make it accessible for this user",
        std::io::ErrorKind::NotFound => "check the path",
        _ => "check the path and the disk",
    }
}

fn syntax(span: &Span, message: &str) -> Words {
    Words::new(format!("{} is not valid TOML", span.source.path.display())).at(span, message.trim())
}

fn metadata(said: &str) -> Words {
    if diagnose(said) == Diagnosis::LockNeedsUpdate {
        return lock(said, "");
    }
    let said_by_cargo = said.trim().strip_prefix("error: ").unwrap_or(said.trim());
    let words = Words::new("cargo cannot read the workspace");
    let words = said_by_cargo
        .lines()
        .filter(|line| !line.trim().is_empty())
        .fold(words, |words, line| words.note(line));
    match diagnose(said) {
        Diagnosis::Offline { .. } => words.hint("build once without --offline"),
        Diagnosis::Network { .. } => words.hint("check the network and the registry, then build again"),
        Diagnosis::DiskFull { .. } => words.hint("make room on that disk"),
        _ => words,
    }
}

/// Cargo blames `--locked`, which nobody may have given: it is the default.
fn lock(said: &str, how: &str) -> Words {
    if said.contains("cannot create the lock file") {
        return Words::new(format!("--locked needs a Cargo.lock, and there is none{how}"))
            .hint("run `cargo generate-lockfile` and commit Cargo.lock, or leave --locked out");
    }
    Words::new(format!("Cargo.lock does not fit the manifests{how}"))
        .note("a build takes the lock file as it is (--locked), so that it can be repeated")
        .hint("run `cargo update --workspace` and commit Cargo.lock")
}

fn engine(error: &EngineError) -> Words {
    match error {
        EngineError::InStep { step, origin, source } => stages::step(step, origin.as_ref(), source),
        EngineError::StepFailed { program, exit, transcript, .. } => step_failed(program, *exit, transcript),
        EngineError::MissingLibrary { artifact, library, needed_by, searched } => {
            let words = Words::new(format!("{artifact} cannot start in an image: {library} is missing"));
            // Where the binary itself lies within the state folder says nothing to anyone.
            let words = match needed_by.file_name().is_some_and(|name| name == artifact.as_str()) {
                true => words.note(format!("needed by {artifact} itself")),
                false => words.note(format!("needed by {}", needed_by.display())),
            };
            let folders: Vec<String> = searched.iter().map(|folder| folder.display().to_string()).collect();
            words
                .note(format!("looked in {}", folders.join(", ")))
                .hint(format!("install the package that has {library} (`apt-file search {library}`)"))
        }
        EngineError::NoArtifact { artifact, .. } => {
            Words::new(format!("cargo made no binary `{artifact}`")).hint("see cargo's output above")
        }
        EngineError::Unstable { runs } => {
            Words::new(format!("the sources changed during each of {runs} builds"))
                .hint("stop what changes them")
        }
        EngineError::NoSuchFile { path, name } => {
            Words::new(format!("cannot add `{name}` to an image: {} is not there", path.display()))
                .hint("mend the key `files`; `from` starts at the folder of the file that names it")
        }
        EngineError::Cancelled { signal } => Words::new(format!("stopped by signal {signal}")),
        EngineError::Store(error) => machine::store(error),
        EngineError::Sandbox(error) => machine::sandbox(error),
        EngineError::Io { action, path, source } => Words::new(format!("cannot {action} {}", path.display()))
            .note(source.to_string())
            .hint(io_hint(source)),
        EngineError::Layer(error) if is_full(error) => Words::chain(error).hint("make room on that disk"),
        EngineError::Layer(_) => Words::chain(error).hint("mend the key `files`"),
        EngineError::Context(_) => Words::chain(error).hint("make it readable for this user"),
        EngineError::Irreproducible { .. } | EngineError::Record(_) => {
            Words::chain(error).hint("build with --no-cache, and report this")
        }
        EngineError::Unreadable { .. } => Words::chain(error).hint("report this with the binary"),
        EngineError::NotUtf8 { .. } => Words::chain(error).hint("rename the file"),
        error => stages::bare(error),
    }
}

fn step_failed(program: &str, exit: Exit, transcript: &str) -> Words {
    let program = program.rsplit('/').next().unwrap_or(program);
    let how = match exit {
        Exit::Code(code) => format!("{program} exit {code}"),
        Exit::Signal(signal) => format!("{program} was killed by signal {signal}"),
    };
    match diagnose(transcript) {
        Diagnosis::LockNeedsUpdate => lock(transcript, &format!(" ({how})")),
        Diagnosis::MissingSystemPackage(missing) => {
            let needed_by = missing.crate_name.as_deref().unwrap_or("the build");
            Words::new(format!("{needed_by} needs something that is not installed ({how})"))
                .note(missing.evidence.trim())
                .hint(format!("run `apt-get install {}`", missing.debian.join(" ")))
        }
        Diagnosis::UnknownProfile { profile } => {
            Words::new(format!("there is no profile `{profile}` ({how})"))
                .hint(format!("use release or dev, or add [profile.{profile}] to the workspace's Cargo.toml"))
        }
        Diagnosis::MissingTarget { target } => {
            Words::new(format!("the toolchain has no standard library for {target} ({how})"))
                .hint(format!("run `rustup target add {target}`"))
        }
        Diagnosis::Offline { evidence } => Words::new(format!("--offline forbids a download ({how})"))
            .note(evidence.trim())
            .hint("build once without --offline"),
        Diagnosis::Network { evidence } => {
            Words::new(format!("a registry or repository did not answer ({how})"))
                .note(evidence.trim())
                .hint("check the network, then build again: nothing that was compiled is lost")
        }
        Diagnosis::DiskFull { evidence } => Words::new(format!("the disk is full ({how})"))
            .note(evidence.trim())
            .hint("make room on that disk"),
        Diagnosis::CompileError => Words::new(format!("the workspace does not compile ({how})")),
        Diagnosis::Other => Words::new(format!("the build failed ({how})")),
    }
}

fn render(words: &Words, terminal: &Terminal) -> String {
    let mut text = match &words.place {
        Some((span, mark)) => snippet::render(&words.message, span, mark, terminal),
        None => format!("{}: {}\n", terminal.paint(terminal.red(), "error"), words.message),
    };
    for note in &words.notes {
        for line in note.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    if let Some(hint) = &words.hint {
        text.push_str(&format!("{}: {hint}\n", terminal.paint(terminal.cyan(), "hint")));
    }
    text
}

macro_rules! from {
    ($($error:ty => $variant:ident),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from! {
    LocateError => Locate,
    ToolchainError => Toolchain,
    PlanError => Plan,
    LowerError => Lower,
    ComposeError => Compose,
    EngineError => Engine,
    BuildKitError => BuildKit,
    StoreError => Store,
    ContextError => Context,
    SandboxError => Sandbox,
    ImageError => Image,
    LoadError => Load,
}
