//! The command line: docker's flag names where docker has the flag, cargo's where cargo has it.

use std::path::PathBuf;

use carrack_base::Platform;
use clap::{Args, Parser, Subcommand};

use crate::call::{Call, Method};
use crate::engine::EngineName;
use crate::output::Output;
use crate::progress::Progress;

/// Container images from Cargo workspaces: fast, correct, without a daemon.
#[derive(Debug, Parser)]
#[command(name = "carrack", version, propagate_version = true, disable_help_subcommand = true)]
#[command(
    after_help = "Examples:\n  carrack build                     images for every service of the workspace\n  \
    carrack run rustcare-server       try one, without Docker\n  \
    carrack build --load              hand the images to Docker or Podman\n  \
    carrack doctor                    see what this machine lacks\n\n\
    Exit codes: 0 done · 1 the build failed · 2 wrong usage or configuration · 3 this machine lacks something ·\n\
    4 an engine did not answer or refused · 70 a bug of Carrack's · 130, 143 interrupted, terminated"
)]
pub(crate) struct Arguments {
    /// Folder of Carrack's own state [default: $XDG_CACHE_HOME/carrack].
    #[arg(long, global = true, env = "CARRACK_HOME", value_name = "FOLDER", hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build images from a Cargo workspace, or from a Dockerfile.
    Build(Box<Build>),
    /// Write Dockerfile, .dockerignore, compose.yaml, Makefile and CI workflow, or see whether they still fit.
    Init(Init),
    /// Build the images of a compose file's services.
    Compose(Box<Compose>),
    /// Find what is wrong with Dockerfiles that build Rust.
    Check(Check),
    /// Run an image in the sandbox, without Docker.
    Run(Run),
    /// List the images of Carrack's own store.
    Images(Images),
    /// Remove images from Carrack's own store.
    Rm(Rm),
    /// Run cargo, with packages that were compiled before put back, and new ones kept.
    Cargo(Cargo),
    /// Look after what builds leave.
    #[command(subcommand)]
    Cache(Cache),
    /// Say what this machine has and lacks, with the commands that mend it.
    Doctor(Doctor),
    /// Print a completion script for a shell.
    #[command(after_help = "Examples:\n  \
        carrack completions bash > ~/.local/share/bash-completion/completions/carrack\n  \
        carrack completions fish > ~/.config/fish/completions/carrack.fish")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether everything on standard error is to be JSON.
    pub(crate) fn speaks_json(&self) -> bool {
        let (progress, quiet) = match self {
            Self::Build(build) => (build.progress, build.quiet),
            Self::Compose(compose) => {
                let ComposeCommand::Build(build) = &compose.command;
                (build.progress, build.quiet)
            }
            _ => return false,
        };
        progress == Progress::Rawjson && !quiet
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  carrack build\n  carrack build -p rustcare-server -t clinic/server:1.4\n  \
    carrack build -o type=docker,dest=images.tar\n  carrack build --profile dev --features metrics\n  \
    carrack build -f Dockerfile --target server -t clinic/server\n  \
    carrack build --engine buildkit --builder kube --push\n  \
    carrack build --cache-from type=registry,ref=ghcr.io/acme/cache --cache-to type=registry,ref=ghcr.io/acme/cache\n\n\
    Builds what -f names; else the Cargo workspace of PATH; else the Dockerfile in PATH."
)]
pub(crate) struct Build {
    /// The workspace, or one member of it; a Dockerfile's context.
    #[arg(default_value = ".", value_name = "PATH", hide_default_value = true)]
    pub(crate) path: PathBuf,

    /// Build the services of this package only (repeatable).
    #[arg(short, long = "package", value_name = "PACKAGE")]
    pub(crate) packages: Vec<String>,
    /// Build this binary only (repeatable).
    #[arg(long = "bin", value_name = "NAME")]
    pub(crate) binaries: Vec<String>,

    /// Name the image, with a tag or without (repeatable; needs a single service).
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    pub(crate) tags: Vec<String>,
    /// Add a label to every image (repeatable).
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Build for these platforms; the embedded engine knows the host's only.
    #[arg(long = "platform", value_name = "OS/ARCHITECTURE", value_delimiter = ',')]
    pub(crate) platforms: Vec<Platform>,
    /// Write the images somewhere: type=oci|docker|tar|local,dest=PATH (repeatable).
    #[arg(short, long = "output", value_name = "TYPE")]
    pub(crate) outputs: Vec<Output>,
    /// Load the images into Docker or Podman, whichever answers.
    #[arg(long)]
    pub(crate) load: bool,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t, hide_default_value = true)]
    pub(crate) progress: Progress,
    /// Print the images' ids only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Write the images' ids to this file, one a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) iidfile: Option<PathBuf>,
    /// Write names and digests to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
    /// Use nothing that an earlier build left: compile everything anew.
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Cargo's profile [default: release].
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Cargo features, separated by commas or spaces (repeatable).
    #[arg(short = 'F', long, value_name = "FEATURES")]
    pub(crate) features: Vec<String>,
    /// Leave cargo's default features out.
    #[arg(long)]
    pub(crate) no_default_features: bool,
    /// Fail if Cargo.lock would have to change (the default where there is one).
    #[arg(long)]
    pub(crate) locked: bool,
    /// Never use the network.
    #[arg(long)]
    pub(crate) offline: bool,

    /// Look for finished steps and compiled crates here: type=registry,ref=REF, type=s3,bucket=B or type=local,src=FOLDER
    /// (repeatable).
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_from: Vec<String>,
    /// Put them there: type=registry,ref=REF, type=s3,bucket=B or type=local,dest=FOLDER (repeatable).
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache_to: Vec<String>,

    /// What builds: embedded, docker, buildkit or buildkit=ADDRESS [default: embedded].
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<EngineName>,
    /// Build this Dockerfile, with PATH as its context.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) docker: Docker,
}

/// What only a Dockerfile can be asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "With a Dockerfile")]
pub(crate) struct Docker {
    /// Build this stage of the Dockerfile.
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// Set an ARG; its value is the caller's where none is given (repeatable).
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) build_arguments: Vec<String>,
    /// Lend a secret to RUN --mount=type=secret: id=ID,src=FILE or id=ID,env=NAME (repeatable).
    #[arg(long = "secret", value_name = "ID")]
    pub(crate) secrets: Vec<String>,
    /// Lend an SSH agent or keys to RUN --mount=type=ssh (repeatable).
    #[arg(long, value_name = "ID[=SOCKET|KEY,…]")]
    pub(crate) ssh: Vec<String>,
    /// Ask the registry for base images again.
    #[arg(long)]
    pub(crate) pull: bool,
    /// Push the images to the registry that their names say.
    #[arg(long)]
    pub(crate) push: bool,
    /// Network of RUN: default, none or host.
    #[arg(long, value_name = "MODE")]
    pub(crate) network: Option<String>,
    /// Add a line to /etc/hosts of RUN (repeatable).
    #[arg(long = "add-host", value_name = "NAME:ADDRESS")]
    pub(crate) extra_hosts: Vec<String>,
    /// Use this builder of docker buildx.
    #[arg(long, value_name = "NAME")]
    pub(crate) builder: Option<String>,
    /// Add a context that COPY --from can name (repeatable).
    #[arg(long = "build-context", value_name = "NAME=PLACE", value_parser = parse_context)]
    pub(crate) contexts: Vec<(String, String)>,
    /// Use no kept result for these stages (repeatable, or separated by commas).
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,
    /// Size of /dev/shm of RUN, as in 64m.
    #[arg(long, value_name = "SIZE")]
    pub(crate) shm_size: Option<String>,
    /// Limit what RUN may use, as in nofile=1024:4096 (repeatable).
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub(crate) ulimits: Vec<String>,
    /// Do not show RUN the certificate authorities that were added to this machine.
    #[arg(long)]
    pub(crate) no_host_certificates: bool,
    /// Let cargo in RUN compile everything itself, and keep nothing of it for other builds.
    #[arg(long)]
    pub(crate) no_cargo_cache: bool,
    /// Build nothing, print what Docker's checks find (the same as --call=check).
    #[arg(long, conflicts_with = "call")]
    pub(crate) check: bool,
    /// Build nothing, print what the Dockerfile says: check, outline (arguments and mounts of a stage) or targets; with
    /// `,format=json` as JSON.
    #[arg(long, value_name = "METHOD", default_value = "build", hide_default_value = true)]
    pub(crate) call: Call,
}

impl Docker {
    /// What is done with the Dockerfile.
    pub(crate) fn call(&self) -> Call {
        if self.check { Call { method: Method::Check, is_json: false } } else { self.call }
    }

    /// The first of these options that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--target", self.target.is_some()),
            ("--build-arg", !self.build_arguments.is_empty()),
            ("--secret", !self.secrets.is_empty()),
            ("--ssh", !self.ssh.is_empty()),
            ("--pull", self.pull),
            ("--push", self.push),
            ("--network", self.network.is_some()),
            ("--add-host", !self.extra_hosts.is_empty()),
            ("--builder", self.builder.is_some()),
            ("--build-context", !self.contexts.is_empty()),
            ("--no-cache-filter", !self.no_cache_filter.is_empty()),
            ("--shm-size", self.shm_size.is_some()),
            ("--ulimit", !self.ulimits.is_empty()),
            ("--no-host-certificates", self.no_host_certificates),
            ("--no-cargo-cache", self.no_cargo_cache),
            ("--check", self.check),
            ("--call", self.call.method != Method::Build),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(option, _)| option)
    }
}

#[derive(Debug, Args)]
#[command(
    disable_version_flag = true,
    override_usage = "carrack cargo [+TOOLCHAIN] <CARGO ARGUMENTS>...",
    after_help = "Examples:\n  carrack cargo build --release\n  carrack cargo test --workspace\n  \
    carrack cargo +nightly clippy --all-targets\n  cargo carrack cargo build     the same program\n\n\
    Everything after `cargo` is cargo's own: it runs in this folder, with this environment, this target folder and this\n\
    CARGO_HOME, and its exit code is this command's. Before, packages from registries and git that were compiled before,\n\
    in whatever checkout, are put into the target folder where they are missing; afterwards, new ones are kept.\n\
    For cargo's own help: carrack cargo help"
)]
pub(crate) struct Cargo {
    /// What cargo gets.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "CARGO ARGUMENTS")]
    pub(crate) arguments: Vec<std::ffi::OsString>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// Say what is kept, and how much room it takes.
    Du(Du),
    /// Remove what no build needs.
    Prune(Prune),
    /// Put the cache mounts of Dockerfiles into a shared cache.
    #[command(after_help = "Example:\n  carrack cache export type=registry,ref=ghcr.io/acme/cache")]
    Export {
        /// Where, as with --cache-to.
        #[arg(required = true, value_name = "CACHE")]
        to: Vec<String>,
    },
    /// Fill cache mounts that are not on this machine yet from a shared cache.
    #[command(after_help = "Example:\n  carrack cache import type=registry,ref=ghcr.io/acme/cache")]
    Import {
        /// From where, as with --cache-from.
        #[arg(required = true, value_name = "CACHE")]
        from: Vec<String>,
    },
    /// Make a pair of keys: one signs what is put into shared caches, the other one says whom to believe.
    #[command(
        after_help = "Example:\n  carrack cache key     the first line is a secret of the job that publishes, \
        the second one belongs into the configuration"
    )]
    Key,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  carrack cache du\n  carrack cache du --by crate | head\n  carrack cache du --by layer\n  \
    carrack cache du --format json | jq -r 'select(.name == \"total\").size'"
)]
pub(crate) struct Du {
    /// What compiled units are added up by, or what else is listed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) by: UnitsBy,
    /// Print as a table or as JSON, one object a line.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// What compiled units are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum UnitsBy {
    /// The workspace that compiled them first.
    #[default]
    Workspace,
    /// Their package.
    Crate,
    /// How long ago they were used.
    Age,
    /// No units: the layers that steps of Dockerfiles made.
    Layer,
    /// No units: the cache mounts of Dockerfiles.
    Mount,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  carrack cache prune                              what was not used for 30 days\n  \
    carrack cache prune --keep-storage 10GB          the least recently used until 10 GB are left\n  \
    carrack cache prune --filter package=openssl-sys\n  \
    carrack cache prune --filter mount=/usr/local/cargo/registry\n  \
    carrack cache prune --engine docker --all --filter until=72h"
)]
pub(crate) struct Prune {
    /// Whose cache: embedded, docker, buildkit or buildkit=ADDRESS [default: embedded].
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<EngineName>,
    /// Use this builder of docker buildx.
    #[arg(long, value_name = "NAME")]
    pub(crate) builder: Option<String>,
    /// Also remove what the next build would use.
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Remove only what fits: until=72h; workspace=TEXT, package=NAME or mount=ID of the embedded engine (repeatable).
    #[arg(long = "filter", value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    /// How much may stay, as in 10GB.
    #[arg(long = "keep-storage", value_name = "SIZE")]
    pub(crate) keep: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  carrack init                      all files; later, those that are there, brought up to date\n  \
    carrack init --check              for CI: exit code 1 and a diff if they no longer fit the workspace\n  \
    carrack init --only dockerfile --stdout"
)]
pub(crate) struct Init {
    /// The workspace, or one member of it.
    #[arg(default_value = ".", value_name = "PATH", hide_default_value = true)]
    pub(crate) path: PathBuf,
    /// Only these files (repeatable, or separated by commas).
    #[arg(long, value_enum, value_name = "FILE", value_delimiter = ',')]
    pub(crate) only: Vec<InitFile>,
    /// Overwrite files that a person wrote or changed.
    #[arg(long)]
    pub(crate) force: bool,
    /// Print the files instead of writing them.
    #[arg(long, conflicts_with_all = ["force", "check"])]
    pub(crate) stdout: bool,
    /// Write nothing; print what would change, and exit with 1 if something would.
    #[arg(long, conflicts_with = "force")]
    pub(crate) check: bool,
}

/// A file that `carrack init` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum InitFile {
    /// Dockerfile.
    Dockerfile,
    /// .dockerignore.
    Dockerignore,
    /// compose.yaml.
    Compose,
    /// Makefile.
    Makefile,
    /// .github/workflows/images.yaml.
    Workflow,
}

#[derive(Debug, Args)]
pub(crate) struct Compose {
    /// A compose file (repeatable, a later one over the earlier) [default: compose.yaml here or above].
    #[arg(short, long = "file", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Make the services of a profile active (repeatable).
    #[arg(long = "profile", value_name = "NAME")]
    pub(crate) profiles: Vec<String>,
    /// Read variables from this file instead of .env (repeatable).
    #[arg(long = "env-file", value_name = "FILE")]
    pub(crate) env_files: Vec<PathBuf>,
    /// Name the project.
    #[arg(short, long, value_name = "NAME")]
    pub(crate) project_name: Option<String>,
    /// Where relative paths start [default: the first file's folder].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) project_directory: Option<PathBuf>,

    #[command(subcommand)]
    pub(crate) command: ComposeCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ComposeCommand {
    /// Build the services that have a `build` section.
    Build(ComposeBuild),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  carrack compose build                       every service with a build section\n  \
    carrack compose build web worker            these two; one compilation if they are of one workspace\n  \
    carrack compose -f compose.yaml -f ci.yaml --profile tools build --load"
)]
pub(crate) struct ComposeBuild {
    /// Services; all active ones with a `build` section if none is named.
    #[arg(value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
    /// Set a build argument, for services with a Dockerfile of their own (repeatable).
    #[arg(long = "build-arg", value_name = "KEY[=VALUE]")]
    pub(crate) build_arguments: Vec<String>,
    /// Use nothing that an earlier build left.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Ask registries for newer base images.
    #[arg(long)]
    pub(crate) pull: bool,
    /// Also build the services that these depend on.
    #[arg(long)]
    pub(crate) with_dependencies: bool,
    /// What builds: embedded, docker, buildkit or buildkit=ADDRESS [default: for each service what it needs].
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<EngineName>,
    /// Load the images into Docker or Podman, whichever answers.
    #[arg(long)]
    pub(crate) load: bool,
    /// How progress is shown.
    #[arg(long, value_enum, default_value_t, hide_default_value = true)]
    pub(crate) progress: Progress,
    /// Print the images' ids only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "carrack run [OPTIONS] <IMAGE> [ARGUMENTS]...",
    after_help = "Examples:\n  carrack run rustcare-server\n  carrack run -e RUST_LOG=debug ops-cli stats"
)]
pub(crate) struct Run {
    /// Set a variable; its value is the caller's where none is given (repeatable).
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// Run as this user.
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working folder within the image.
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) workdir: Option<String>,
    /// Run this program instead of the image's entrypoint.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) entrypoint: Option<String>,
    /// Name, or id, of the image; then arguments, which take the place of the image's command.
    #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE [ARGUMENTS]")]
    command: Vec<String>,
}

impl Run {
    /// Name, or id, of the image.
    pub(crate) fn image(&self) -> &str {
        self.command.first().map(String::as_str).unwrap_or_default()
    }

    /// Everything after the image, options too; a `--` before it says nothing.
    pub(crate) fn arguments(&self) -> &[String] {
        match &self.command[..] {
            [_, separator, rest @ ..] if separator == "--" => rest,
            [_, rest @ ..] => rest,
            [] => &[],
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  carrack images\n  carrack images --format json | jq -r .name")]
pub(crate) struct Images {
    /// Print the ids only.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print as a table or as JSON, one object a line.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  carrack rm ops-cli\n  carrack rm clinic/server:1.4 9ae2f3")]
pub(crate) struct Rm {
    /// Names or ids of images.
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  carrack doctor\n  carrack doctor --engine docker\n  \
    carrack doctor --json | jq -r '.findings[] | select(.state != \"ok\") | .name'\n\n\
    Exit codes: 0 nothing that the engine needs is broken (warnings may be left) · 3 something is")]
pub(crate) struct Doctor {
    /// The workspace, or any folder.
    #[arg(default_value = ".", value_name = "PATH", hide_default_value = true)]
    pub(crate) path: PathBuf,
    /// Whose needs decide what is broken: embedded, docker or buildkit[=ADDRESS] [default: the workspace's engine].
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Option<EngineName>,
    /// Print one JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  carrack check\n  carrack check --fix\n  carrack check --format sarif deploy/*.Dockerfile > check.sarif\n\n\
    Exit codes: 0 nothing that fails · 1 errors, with --strict warnings too · 2 a file can't be read or understood"
)]
pub(crate) struct Check {
    /// Dockerfiles, or folders with some.
    #[arg(default_value = ".", value_name = "FILE", hide_default_value = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Make the changes that can't make a build worse.
    #[arg(long)]
    pub(crate) fix: bool,
    /// How findings are printed.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: CheckFormat,
    /// Fail on warnings too.
    #[arg(long)]
    pub(crate) strict: bool,
    /// The build context [default: the Dockerfile's folder if it has a Cargo.toml, else the workspace's].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) context: Option<PathBuf>,
    /// Print all checks.
    #[arg(long)]
    pub(crate) list: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum CheckFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

fn parse_context(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, place)) if !name.is_empty() && !place.is_empty() => {
            Ok((name.to_owned(), place.to_owned()))
        }
        _ => Err("a context has a name and a place, as in assets=../assets".to_owned()),
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        None if !text.is_empty() => Ok((text.to_owned(), String::new())),
        _ => Err("a label has a key, as in key=value".to_owned()),
    }
}
