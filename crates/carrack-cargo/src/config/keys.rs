//! The one table of configuration keys. Error messages, the JSON schema and the documentation come from it; what it
//! does not name is refused.

/// One configuration key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// As it is written in TOML.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Where it may stand.
    pub level: Level,
    /// One line for people.
    pub doc: &'static str,
}

/// Where a key may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// In the workspace's table only: it concerns the one cargo invocation that builds all services.
    Workspace,
    /// In a package's table only: it makes no sense for all services at once.
    Package,
    /// In both; a package's value is the more specific one.
    Both,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// `true` or `false`.
    Flag,
    /// Any text that is not empty.
    Text,
    /// A list of texts.
    TextList,
    /// A command and its arguments: a list of texts.
    Command,
    /// A table of texts; numbers and booleans are taken as their text.
    TextMap,
    /// As [`Shape::TextMap`], where `true` means the caller's value.
    BuildVariables,
    /// An image's name without registry and tag.
    ImageName,
    /// A registry's host, with a port and a folder if need be.
    Registry,
    /// A list of tags, in which `{version}` stands for the package's version.
    Tags,
    /// An absolute path in the image.
    Path,
    /// A list of absolute paths in the image.
    PathList,
    /// A path on the host, relative to the file that names it.
    HostPath,
    /// `uid`, `uid:gid`, `name` or `name:group`.
    User,
    /// Permission bits, an octal text.
    Mode,
    /// A list of ports: numbers, or `"8080/udp"`.
    Ports,
    /// A list of tables with [`FILE_KEYS`].
    Files,
    /// A table with [`HEALTHCHECK_KEYS`], or `"none"`.
    Healthcheck,
    /// A table with [`PACKAGES_KEYS`].
    Packages,
    /// `"30s"`, `"1m30s"`, `"500ms"`.
    Duration,
    /// A number from 1 up.
    Count,
    /// A signal's name or number.
    Signal,
    /// `embedded`, `docker`, `buildkit` or `buildkit=ADDRESS`.
    Engine,
    /// A table with [`CACHE_KEYS`].
    Cache,
    /// `"20GB"`, `"512MiB"`.
    Size,
    /// `"30d"`, `"72h"`.
    Age,
}

const fn key(name: &'static str, shape: Shape, level: Level, doc: &'static str) -> Key {
    Key { name, shape, level, doc }
}

/// Every key of a `carrack` table.
pub const KEYS: &[Key] = &[
    key(
        "image",
        Shape::ImageName,
        Level::Package,
        "Name of the image; the binary's name if it is not given.",
    ),
    key(
        "tags",
        Shape::Tags,
        Level::Both,
        "Tags of the image; `{version}` is the package's version. Default: `latest`.",
    ),
    key(
        "registry",
        Shape::Registry,
        Level::Both,
        "What stands before the image's name, as in `ghcr.io/acme`.",
    ),
    key(
        "builder",
        Shape::Text,
        Level::Workspace,
        "What compiles: `host`, or an image such as `rust:1.95-slim-bookworm`.",
    ),
    key(
        "engine",
        Shape::Engine,
        Level::Workspace,
        "What builds: `embedded`, `docker`, `buildkit` or `buildkit=ADDRESS`. Default: `embedded`.",
    ),
    key(
        "base",
        Shape::Text,
        Level::Both,
        "What the image starts from: `closure`, or an image such as `debian:bookworm-slim`.",
    ),
    key("cache", Shape::Cache, Level::Workspace, "What may stay in Carrack's cache of compiled units."),
    key("profile", Shape::Text, Level::Workspace, "Cargo profile. Default: `release`."),
    key(
        "features",
        Shape::TextList,
        Level::Both,
        "Cargo features; in a package's table, features of that package.",
    ),
    key(
        "default-features",
        Shape::Flag,
        Level::Workspace,
        "Whether cargo's default features are on. Default: true.",
    ),
    key(
        "target",
        Shape::Text,
        Level::Workspace,
        "Target triple, as in `x86_64-unknown-linux-musl`. Default: the host's.",
    ),
    key(
        "cache-from",
        Shape::TextList,
        Level::Workspace,
        "Shared caches to read, as `--cache-from` takes them (`type=registry,ref=…`, `type=s3,…`, `type=local,src=…`).",
    ),
    key(
        "cache-to",
        Shape::TextList,
        Level::Workspace,
        "Shared caches to write to, as `--cache-to` takes them. A job with `CARRACK_CACHE=read-only` writes to none.",
    ),
    key(
        "cache-trust",
        Shape::TextList,
        Level::Workspace,
        "Public keys (`ed25519:…`). With any, only what one of them signed is taken from a shared cache.",
    ),
    key("cargo-args", Shape::TextList, Level::Workspace, "Further arguments of `cargo build`."),
    key(
        "build-env",
        Shape::BuildVariables,
        Level::Workspace,
        "Variables of the build; `true` takes the caller's value.",
    ),
    key("files", Shape::Files, Level::Both, "Files and folders to add to the image."),
    key("env", Shape::TextMap, Level::Both, "Variables of the running service."),
    key(
        "user",
        Shape::User,
        Level::Both,
        "Who runs the service. Default: a user of its own without privileges.",
    ),
    key("workdir", Shape::Path, Level::Both, "Working directory of the service."),
    key("entrypoint", Shape::Command, Level::Package, "Replaces the binary as what is started."),
    key("cmd", Shape::Command, Level::Package, "Arguments that the service gets if none are given."),
    key("ports", Shape::Ports, Level::Both, "Ports that the service listens on."),
    key("packages", Shape::Packages, Level::Both, "Debian packages, for builders and bases that are images."),
    key("labels", Shape::TextMap, Level::Both, "Labels of the image."),
    key("volumes", Shape::PathList, Level::Both, "Folders that outlive the container."),
    key("healthcheck", Shape::Healthcheck, Level::Both, "How to ask whether the service is healthy."),
    key(
        "stop-signal",
        Shape::Signal,
        Level::Both,
        "The signal that asks the service to stop. Default: SIGTERM.",
    ),
    key(
        "timezones",
        Shape::Flag,
        Level::Both,
        "Whether time zone data is in a closure image. Default: false.",
    ),
];

/// Every key of an entry of `files`.
pub const FILE_KEYS: &[Key] = &[
    key("from", Shape::HostPath, Level::Both, "What to add, relative to the file that says so."),
    key(
        "to",
        Shape::Path,
        Level::Both,
        "Where it is in the image; with a trailing `/`, the folder that it is put into.",
    ),
    key(
        "mode",
        Shape::Mode,
        Level::Both,
        "Permission bits of the files. Default: 0644, or 0755 for programs; with Docker's engines as they are.",
    ),
    key("owner", Shape::User, Level::Both, "Whose they are. Default: root's."),
];

/// Every key of a `packages` table.
pub const PACKAGES_KEYS: &[Key] = &[
    key("build", Shape::TextList, Level::Both, "What compiling needs besides what the lock file gives away."),
    key(
        "run",
        Shape::TextList,
        Level::Both,
        "What the service needs besides the libraries that it is linked to.",
    ),
];

/// Every key of a `cache` table.
pub const CACHE_KEYS: &[Key] = &[
    key(
        "keep",
        Shape::Size,
        Level::Both,
        "How much; what was not used for longest goes first. Default: 20GB.",
    ),
    key("unused", Shape::Age, Level::Both, "How long something may lie unused. Default: 30d."),
];

/// Every key of a `healthcheck` table.
pub const HEALTHCHECK_KEYS: &[Key] = &[
    key("cmd", Shape::Command, Level::Both, "The command; no shell runs it."),
    key("interval", Shape::Duration, Level::Both, "Time between two checks."),
    key("timeout", Shape::Duration, Level::Both, "Time after which a check has failed."),
    key("start-period", Shape::Duration, Level::Both, "Time after the start in which failures do not count."),
    key("start-interval", Shape::Duration, Level::Both, "Time between two checks during the start period."),
    key("retries", Shape::Count, Level::Both, "How many failures in a row make the service unhealthy."),
];

impl Shape {
    /// What is expected, as it goes on after "expected".
    pub fn expected(self) -> &'static str {
        match self {
            Self::Flag => "true or false",
            Self::Text => "a text",
            Self::TextList => "a list of texts",
            Self::Command => "a list of texts, the command and its arguments",
            Self::TextMap => "a table of texts",
            Self::BuildVariables => "a table of texts, or true for the caller's value",
            Self::ImageName => "an image's name",
            Self::Registry => "a registry, as in \"ghcr.io/acme\"",
            Self::Tags => "a list of tags",
            Self::Path => "an absolute path in the image",
            Self::PathList => "a list of absolute paths in the image",
            Self::HostPath => "a path",
            Self::User => "a user, as in \"1000:1000\" or \"app\"",
            Self::Mode => "an octal text, as in \"0644\"",
            Self::Ports => "a list of ports, as in [8080, \"53/udp\"]",
            Self::Files => "a list of tables, as in [{ from = \"config\", to = \"/app/config\" }]",
            Self::Healthcheck => "a table with a cmd, or \"none\"",
            Self::Packages => "a table of lists, as in { build = [\"libpq-dev\"], run = [\"libpq5\"] }",
            Self::Duration => "a duration, as in \"30s\" or \"1m30s\"",
            Self::Count => "a number from 1 up",
            Self::Signal => "a signal, as in \"SIGINT\"",
            Self::Cache => "a table, as in { keep = \"20GB\", unused = \"30d\" }",
            Self::Size => "a size, as in \"20GB\" or \"512MiB\"",
            Self::Age => "a time, as in \"30d\" or \"72h\"",
            Self::Engine => "an engine, as in \"docker\" or \"buildkit=tcp://builder:1234\"",
        }
    }
}

/// The name in `keys` that `written` was probably meant to be.
pub(super) fn nearest(keys: &'static [Key], written: &str) -> Option<&'static str> {
    carrack_base::nearest(&written.replace('_', "-"), keys.iter().map(|key| key.name))
}
