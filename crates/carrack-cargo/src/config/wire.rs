//! The typed configuration. It is kept on disk inside a plan, so its shape is frozen: changing it means raising
//! the plan's format number.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use carrack_base::ImagePath;
use serde::{Deserialize, Serialize};

/// What concerns the one cargo invocation that builds all services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceConfig {
    /// What compiles: `host`, or an image's name.
    pub builder: String,
    /// What builds: `embedded` (if none is named), `docker`, `buildkit` or `buildkit=ADDRESS`.
    pub engine: Option<String>,
    /// Cargo profile; `release` if none is named.
    pub profile: String,
    /// Features that the workspace's table asks for, as `--features` takes them.
    pub features: Vec<String>,
    /// Whether the default features are on.
    pub default_features: bool,
    /// Target triple; the host's if none is named.
    pub target: Option<String>,
    /// Shared caches to read.
    pub cache_from: Vec<String>,
    /// Shared caches to write to.
    pub cache_to: Vec<String>,
    /// Public keys of which one has to have signed what is taken from a shared cache.
    pub cache_trust: Vec<String>,
    /// Arguments that are handed to `cargo build` as they are.
    pub cargo_args: Vec<String>,
    /// Variables of the build, besides those that pass anyway.
    pub build_env: BTreeMap<String, BuildVariable>,
    /// What may stay in the cache of compiled units.
    pub cache: CacheLimits,
}

/// How much may stay in the cache of compiled units, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheLimits {
    /// In bytes.
    pub keep: u64,
    /// Seconds that something may be unused.
    pub unused: u64,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { keep: 20_000_000_000, unused: 30 * 24 * 60 * 60 }
    }
}

/// Where the value of a build variable comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuildVariable {
    /// From the configuration.
    Value(String),
    /// From the caller's environment, whatever kind of variable it is. It enters the key.
    FromCaller,
}

/// What concerns the image of one service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceConfig {
    /// The image's name without registry and tag; the binary's if none is given.
    pub image: Option<String>,
    /// Tags, `{version}` not yet replaced; `latest` if none is given.
    pub tags: Option<Vec<String>>,
    /// What stands before the image's name: `ghcr.io/acme`.
    pub registry: Option<String>,
    /// What the image starts from: `closure` (if none is given), or an image's name.
    pub base: Option<String>,
    /// Files to add, in the order in which they are added.
    pub files: Vec<AddedFile>,
    /// Variables of the running process.
    pub env: BTreeMap<String, String>,
    /// `uid`, `uid:gid`, `name` or `name:group`.
    pub user: Option<String>,
    /// Working directory.
    #[serde(with = "image_paths::optional")]
    pub workdir: Option<ImagePath>,
    /// Replaces the binary as the entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Arguments of the entrypoint.
    pub cmd: Option<Vec<String>>,
    /// Ports that the service listens on.
    pub ports: Vec<Port>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Folders that are volumes.
    #[serde(with = "image_paths::list")]
    pub volumes: Vec<ImagePath>,
    /// How to ask whether the service is healthy.
    pub healthcheck: Option<Healthcheck>,
    /// Debian packages, for builders and bases that are images.
    pub packages: DebianPackages,
    /// The signal that asks the service to stop: `SIGINT`, or a number.
    pub stop_signal: Option<String>,
    /// Whether time zone data is in a closure image.
    pub timezones: bool,
}

/// Debian packages that are installed where a builder or a base is an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DebianPackages {
    /// What compiling needs.
    pub build: Vec<String>,
    /// What running needs.
    pub run: Vec<String>,
}

/// A file or folder that is added to an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedFile {
    /// Where it is on the host: absolute and normalised, not checked for existence.
    pub from: PathBuf,
    /// Its own path in the image. A configured `to` with a trailing slash has `from`'s name appended here.
    #[serde(with = "image_paths::one")]
    pub to: ImagePath,
    /// Permission bits for files (folders: as the builder decides); as on the host if `None`.
    pub mode: Option<u32>,
    /// `uid`, `uid:gid`, `name` or `name:group`; root if `None`.
    pub owner: Option<String>,
}

/// A port and its protocol. Written as `8080/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// The number, not 0.
    pub number: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Protocol {
    /// `tcp`.
    Tcp,
    /// `udp`.
    Udp,
    /// `sctp`.
    Sctp,
}

/// How to ask whether a service is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Healthcheck {
    /// Not at all, even if the base image knows how.
    Disabled,
    /// By running a command inside the container.
    Command {
        /// The command and its arguments; no shell in between.
        cmd: Vec<String>,
        /// Time between two checks.
        interval: Option<Duration>,
        /// Time after which a check has failed.
        timeout: Option<Duration>,
        /// Time after the start in which failures do not count.
        start_period: Option<Duration>,
        /// Time between two checks during the start period.
        start_interval: Option<Duration>,
        /// How many failures in a row make the service unhealthy.
        retries: Option<u32>,
    },
}

impl fmt::Display for Port {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        write!(formatter, "{}/{protocol}", self.number)
    }
}

/// [`ImagePath`] is written as its text, and validated again when it is read.
mod image_paths {
    use carrack_base::ImagePath;
    use serde::de::{Deserialize, Deserializer, Error};

    fn parse<E: Error>(text: &str) -> Result<ImagePath, E> {
        ImagePath::new(text).map_err(E::custom)
    }

    pub(super) mod one {
        use super::*;

        pub(in super::super) fn serialize<S: serde::Serializer>(
            path: &ImagePath,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(path.as_str())
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<ImagePath, D::Error> {
            parse(&String::deserialize(deserializer)?)
        }
    }

    pub(super) mod optional {
        use super::*;

        pub(in super::super) fn serialize<S: serde::Serializer>(
            path: &Option<ImagePath>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serde::Serialize::serialize(&path.as_ref().map(ImagePath::as_str), serializer)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<ImagePath>, D::Error> {
            Option::<String>::deserialize(deserializer)?.map(|text| parse(&text)).transpose()
        }
    }

    pub(super) mod list {
        use super::*;

        pub(in super::super) fn serialize<S: serde::Serializer>(
            paths: &[ImagePath],
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(paths.iter().map(ImagePath::as_str))
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Vec<ImagePath>, D::Error> {
            Vec::<String>::deserialize(deserializer)?.iter().map(|text| parse(text)).collect()
        }
    }
}
