//! Which programs can drive a BuildKit, and what they are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{BuildKitError, Tried, Why};

/// The programs that may be used, from the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programs {
    /// Every docker client, the preferred first.
    pub docker: Vec<PathBuf>,
    /// `buildctl`.
    pub buildctl: Option<PathBuf>,
}

/// Which engine is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Docker, or the builder of buildx with this name.
    Docker {
        /// The builder; the current one if none is named.
        builder: Option<String>,
    },
    /// Any BuildKit: a builder of buildx, the daemon at an address, Docker's own.
    BuildKit {
        /// `tcp://…`, `unix://…`: only `buildctl` takes one.
        address: Option<String>,
        /// The builder of buildx.
        builder: Option<String>,
    },
}

/// A version, as far as it decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl Version {
    /// The first thing in `text` that looks like a version: `Docker version 20.10.24+dfsg1, build 297e128`.
    pub fn find(text: &str) -> Option<Self> {
        text.split([' ', ',', '\n']).find_map(|word| {
            let mut numbers = word.trim_start_matches('v').split(['.', '+', '-']);
            Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// A program that can drive a BuildKit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Client {
    /// `docker buildx`.
    Buildx {
        /// The docker client.
        docker: PathBuf,
        /// Of the plugin.
        version: Version,
        /// The builder; the current one if none is named.
        builder: Option<String>,
    },
    /// `buildctl`.
    Buildctl {
        /// The program.
        program: PathBuf,
        /// Its version.
        version: Version,
        /// The daemon's address; its own default if there is none.
        address: Option<String>,
        /// A docker client that images can be loaded with.
        docker: Option<PathBuf>,
    },
    /// `docker build` of a client that has BuildKit inside: 18.09 to 22.
    Classic {
        /// The docker client.
        docker: PathBuf,
        /// Its version.
        version: Version,
    },
}

/// The last version whose `docker build` speaks BuildKit without buildx, exclusive.
const NEEDS_BUILDX: Version = Version { major: 23, minor: 0 };
/// The first version with BuildKit.
const HAS_BUILDKIT: Version = Version { major: 18, minor: 9 };

impl Client {
    /// The first of `programs` that can do what is `wanted`. Only asks the programs for their versions: whether the engine
    /// answers shows when it is used.
    ///
    /// Errors: [`BuildKitError::NoClient`] with everything that was looked at, [`BuildKitError::NoBuildctl`].
    pub fn find(programs: &Programs, wanted: &Wanted) -> Result<Self, BuildKitError> {
        match wanted {
            Wanted::Docker { builder } => docker(programs, builder.as_deref(), None),
            Wanted::BuildKit { address: Some(address), .. } => {
                let no_buildctl = || BuildKitError::NoBuildctl { address: address.clone() };
                buildctl(programs, Some(address)).ok_or_else(no_buildctl)
            }
            Wanted::BuildKit { address: None, builder } => {
                docker(programs, builder.as_deref(), Some(&|| buildctl(programs, None)))
            }
        }
    }

    /// What it says about itself: `docker buildx 0.29`.
    pub fn describe(&self) -> String {
        match self {
            Self::Buildx { version, builder: None, .. } => format!("docker buildx {version}"),
            Self::Buildx { version, builder: Some(builder), .. } => {
                format!("docker buildx {version} ({builder})")
            }
            Self::Buildctl { version, address: None, .. } => format!("buildctl {version}"),
            Self::Buildctl { version, address: Some(address), .. } => {
                format!("buildctl {version} ({address})")
            }
            Self::Classic { version, .. } => format!("docker {version}"),
        }
    }

    /// Whether progress can be had as JSON.
    pub(crate) fn has_rawjson(&self) -> bool {
        match self {
            Self::Buildx { version, .. } | Self::Buildctl { version, .. } => {
                *version >= Version { major: 0, minor: 13 }
            }
            Self::Classic { .. } => false,
        }
    }

    /// The docker client that images can be loaded, saved and pushed with.
    pub(crate) fn docker(&self) -> Option<&Path> {
        match self {
            Self::Buildx { docker, .. } | Self::Classic { docker, .. } => Some(docker),
            Self::Buildctl { docker, .. } => docker.as_deref(),
        }
    }
}

/// The first docker client with buildx or BuildKit; `between` comes after buildx and before a classic client.
fn docker(
    programs: &Programs,
    builder: Option<&str>,
    between: Option<&dyn Fn() -> Option<Client>>,
) -> Result<Client, BuildKitError> {
    let mut tried = Vec::new();
    let mut classic = None;
    for docker in &programs.docker {
        let said = ask(docker, &["--version"]);
        let version = said.strip_prefix("Docker version ").and_then(|_| Version::find(&said));
        let Some(version) = version else {
            let why = Why::NotDocker(said.lines().next().unwrap_or_default().to_owned());
            tried.push(Tried { program: docker.clone(), why });
            continue;
        };
        if let Some(buildx) = Version::find(&ask(docker, &["buildx", "version"])) {
            let builder = builder.map(str::to_owned);
            return Ok(Client::Buildx { docker: docker.clone(), version: buildx, builder });
        }
        let why = match version {
            version if version < HAS_BUILDKIT => Why::TooOld { version: version.to_string() },
            version if version >= NEEDS_BUILDX => Why::NoBuildx { version: version.to_string() },
            version if builder.is_some() => Why::NoBuilders { version: version.to_string() },
            version => {
                classic.get_or_insert(Client::Classic { docker: docker.clone(), version });
                continue;
            }
        };
        tried.push(Tried { program: docker.clone(), why });
    }
    let other = between.filter(|_| builder.is_none()).and_then(|other| other());
    other.or(classic).ok_or(BuildKitError::NoClient { tried })
}

fn buildctl(programs: &Programs, address: Option<&str>) -> Option<Client> {
    let program = programs.buildctl.as_ref()?;
    let version = Version::find(&ask(program, &["--version"]))?;
    Some(Client::Buildctl {
        program: program.clone(),
        version,
        address: address.map(str::to_owned),
        docker: programs.docker.first().cloned(),
    })
}

/// What a program writes to standard output if it succeeds; otherwise nothing.
pub(crate) fn ask(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, major, minor) in [
            ("Docker version 20.10.24+dfsg1, build 297e128", 20, 10),
            ("github.com/docker/buildx 0.29.1+ds1 0.29.1+ds1-4", 0, 29),
            ("github.com/docker/buildx v0.12.0 542e5d8", 0, 12),
            ("buildctl github.com/moby/buildkit v0.25.1 abc", 0, 25),
        ] {
            assert_eq!(Version::find(text), Some(Version { major, minor }), "{text}");
        }
        assert_eq!(Version::find("no version here"), None);
    }
}
