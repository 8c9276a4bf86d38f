//! What a client is started with: arguments, variables, and what has to happen afterwards because the client can't do it.

mod buildctl;
mod docker;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::build::{BuildArgument, Context, DockerBuild, Dockerfile, Output, To};
use crate::client::{Client, Version};
use crate::error::BuildKitError;

/// One client that is to be started.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Variables besides those of this process. Values of build arguments are here, where nobody else can read them.
    pub(crate) environment: Vec<(String, String)>,
    /// Whether the client's standard output is this process's.
    pub(crate) stdout: bool,
    /// Where the client says which image it made.
    pub(crate) answer: Option<Answer>,
    /// What comes when the client has succeeded.
    pub(crate) after: Vec<After>,
}

/// Where a client says which image it made.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A file with nothing but the id.
    Id(PathBuf),
    /// A JSON file with digests.
    Metadata(PathBuf),
}

/// What a docker client does with an image that was built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Loads this archive.
    Load(PathBuf),
    /// Writes an archive of the image.
    Save(To),
    /// Pushes every name of the image.
    Push,
}

impl Job {
    /// A docker command that says nothing but why it failed.
    pub(crate) fn of(docker: &Path, arguments: Vec<OsString>, stdout: bool) -> Self {
        let (environment, after) = (Vec::new(), Vec::new());
        Self { program: docker.to_owned(), arguments, environment, stdout, answer: None, after }
    }

    /// The job that makes `build` through `client`; `folder` is private and this build's own.
    ///
    /// Errors: what the client can't do, what is not there, a folder that can't be written.
    pub(crate) fn new(client: &Client, build: &DockerBuild, folder: &Path) -> Result<Self, BuildKitError> {
        check_paths(build)?;
        match client {
            Client::Buildx { docker, version, builder } => {
                docker::buildx(client, docker, *version, builder.as_deref(), build, folder)
            }
            Client::Classic { docker, .. } => docker::classic(client, docker, build, folder),
            Client::Buildctl { program, address, .. } => {
                buildctl::job(client, program, address.as_deref(), build, folder)
            }
        }
    }
}

/// Files that are named and not there are told before anything is started, in the same words for every client.
fn check_paths(build: &DockerBuild) -> Result<(), BuildKitError> {
    let missing = |what, path: &Path| BuildKitError::NotThere {
        build: build.name.clone(),
        what,
        path: path.to_owned(),
    };
    if let Context::Folder(folder) = &build.context {
        if !folder.is_dir() {
            return Err(missing("context", folder));
        }
        if let Dockerfile::File(file) = &build.dockerfile
            && !file.is_file()
        {
            return Err(missing("Dockerfile", file));
        }
    }
    let sources = build.secrets.iter().flat_map(|secret| secret.split(',')).filter_map(|part| {
        let (key, path) = part.split_once('=')?;
        matches!(key, "src" | "source").then(|| Path::new(path))
    });
    sources.into_iter().find(|path| !path.exists()).map_or(Ok(()), |path| Err(missing("secret", path)))
}

/// The Dockerfile as a file: a text is written into `folder`, with what to leave out beside it.
fn dockerfile(build: &DockerBuild, folder: &Path) -> Result<PathBuf, BuildKitError> {
    match &build.dockerfile {
        Dockerfile::File(file) => Ok(file.clone()),
        Dockerfile::Text { text, ignore } => {
            let file = folder.join("Dockerfile");
            write(&file, text)?;
            if let Some(ignore) = ignore {
                write(&folder.join("Dockerfile.dockerignore"), ignore)?;
            }
            Ok(file)
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), BuildKitError> {
    fs::write(path, text).map_err(|source| BuildKitError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// Refuses what `client` can't do, by the name of the option.
fn unsupported(client: &Client, asked: &[(&str, bool)]) -> Result<(), BuildKitError> {
    let refused = asked.iter().find(|(_, asked)| *asked).map(|(what, _)| BuildKitError::Unsupported {
        client: client.describe(),
        what: (*what).to_owned(),
        said: None,
    });
    refused.map_or(Ok(()), Err)
}

/// Whether a docker client reads a variable of this name itself: setting it would change what the client does.
fn is_of_client(name: &str) -> bool {
    const NAMES: [&str; 6] = ["PATH", "HOME", "TMPDIR", "NO_COLOR", "TERM", "USER"];
    const PREFIXES: [&str; 11] =
        ["DOCKER", "BUILDX", "BUILDKIT", "COMPOSE", "SSH", "SSL", "XDG", "LD_", "GO", "KUBE", "OTEL"];
    let upper = name.to_ascii_uppercase();
    NAMES.contains(&name)
        || upper.ends_with("_PROXY")
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || upper.contains(['=', '\0'])
}

/// An option's value with what stands before it.
fn joined(before: &str, value: impl AsRef<OsStr>) -> OsString {
    let mut text = OsString::from(before);
    text.push(value);
    text
}

/// `PATH`, or `-` for standard output.
fn to_text(to: &To) -> OsString {
    match to {
        To::File(path) => path.clone().into_os_string(),
        To::Stdout => OsString::from("-"),
    }
}
