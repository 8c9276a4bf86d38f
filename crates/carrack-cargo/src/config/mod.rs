//! Carrack's configuration: where it stands, what it may say, and which of two answers wins.
//!
//! Four places, from general to specific:
//!
//! | place | its keys' level |
//! | --- | --- |
//! | `[workspace.metadata.carrack]` in the workspace's Cargo.toml | workspace |
//! | `carrack.toml` beside it | workspace; if a package lives there too, also that package's |
//! | `[package.metadata.carrack]` in a member's Cargo.toml | package |
//! | `carrack.toml` beside it (not the workspace's) | package |
//!
//! Per key, the most specific place wins. The tables `env`, `labels` and `build-env` merge entry by entry, lists
//! replace each other, and only `features` add up. [`KEYS`] is the table of everything that may be said; a key that
//! it does not name, or at another level, is an error. Relative paths start from the folder of the file that names
//! them.
//!
//! Does not look at the files that are to be added, and does not know what `host` or `closure` mean. Fails with
//! every error of all files at once, each with its place in the text.

mod keys;
mod reference;
mod schema;
mod value;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrack_base::{SourceText, Span};
use toml_edit::{Document, TableLike};

pub use keys::{CACHE_KEYS, FILE_KEYS, HEALTHCHECK_KEYS, KEYS, Key, Level, PACKAGES_KEYS, Shape};
pub use reference::reference;
pub use schema::json_schema;
pub use wire::{
    AddedFile, BuildVariable, CacheLimits, DebianPackages, Healthcheck, Port, Protocol, ServiceConfig,
    WorkspaceConfig,
};

pub(crate) use value::is_image_name;
use value::{Reader, Value};

/// The configuration of one workspace.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// What concerns the cargo invocation.
    pub workspace: WorkspaceConfig,
    /// What concerns each member's image, by package name. Every member that was asked for is in it.
    pub packages: BTreeMap<String, PackageConfig>,
    /// The files that were read: manifests and `carrack.toml`s. Their content is part of the answer.
    pub files: BTreeSet<PathBuf>,
    /// The `carrack.toml`s that were looked for in vain. If one of them appears, the answer may be another.
    pub absent: BTreeSet<PathBuf>,
}

/// The configuration of one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageConfig {
    /// Its service's configuration, with what the workspace says in the gaps.
    pub service: ServiceConfig,
    /// Features of the package that its own table asks for, not prefixed with its name.
    pub features: Vec<String>,
    /// Whether the package has a table or file of its own, which makes it a service rather than any binary.
    pub configured: bool,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is there and can't be read.
    #[error("read configuration from {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not TOML.
    #[error("parse {path}: {message}", path = span.source.path.display())]
    Syntax {
        /// Where.
        span: Span,
        /// What the parser says.
        message: String,
    },
    /// A key that there is not.
    #[error("read configuration: unknown key `{key}`")]
    UnknownKey {
        /// As it is written.
        key: String,
        /// What it was probably meant to be.
        nearest: Option<&'static str>,
        /// The key's place.
        span: Span,
    },
    /// A value of another type than the key takes.
    #[error("read configuration: `{key}` is {expected}, not a TOML {found}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it takes, with an article.
        expected: &'static str,
        /// The TOML type of what is there.
        found: &'static str,
        /// The value's place.
        span: Span,
    },
    /// A value of the right type that makes no sense.
    #[error("read configuration: `{key}`: {why}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// What is wrong with the value.
        why: String,
        /// The value's place.
        span: Span,
    },
    /// A key that belongs into a table of the other level.
    #[error("read configuration: `{key}` stands at the wrong level")]
    WrongLevel {
        /// The key.
        key: &'static str,
        /// Where it belongs.
        belongs: Level,
        /// The key's place.
        span: Span,
    },
    /// A table inside a value lacks a key.
    #[error("read configuration: `{key}` lacks `{missing}`")]
    MissingKey {
        /// The key whose value the table is.
        key: &'static str,
        /// What it lacks.
        missing: &'static str,
        /// The table's place.
        span: Span,
    },
}

impl ConfigError {
    /// The place in the text; `None` if there is no text.
    pub fn span(&self) -> Option<&Span> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Syntax { span, .. }
            | Self::UnknownKey { span, .. }
            | Self::WrongType { span, .. }
            | Self::BadValue { span, .. }
            | Self::WrongLevel { span, .. }
            | Self::MissingKey { span, .. } => Some(span),
        }
    }
}

/// Which keys a table may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Context {
    Workspace,
    Package,
    /// `carrack.toml` beside a Cargo.toml that is workspace and package in one.
    RootPackage,
    /// A table inside a value.
    Inner,
}

impl Context {
    fn allows(self, level: Level) -> bool {
        match self {
            Self::Workspace => level != Level::Package,
            Self::Package => level != Level::Workspace,
            Self::RootPackage | Self::Inner => true,
        }
    }
}

type Values = BTreeMap<&'static str, Value>;

impl Configuration {
    /// Reads the `carrack.toml` of a folder that is in no workspace; `None` if there is none. Of a workspace's keys, those
    /// count that do not concern cargo.
    ///
    /// Errors: all that is wrong in it; never an empty list.
    pub fn load_alone(folder: &Path) -> Result<Option<WorkspaceConfig>, Vec<ConfigError>> {
        let mut files = Files::default();
        let values = files.carrack_toml(folder, Context::Workspace);
        if !files.errors.is_empty() {
            return Err(files.errors);
        }
        Ok(values.map(workspace_config))
    }

    /// Reads the configuration of the workspace in `workspace_root`; `members` are names and paths of manifests.
    ///
    /// Errors: all that is wrong in all files, in reading order; never an empty list.
    pub fn load(workspace_root: &Path, members: &[(String, PathBuf)]) -> Result<Self, Vec<ConfigError>> {
        let mut files = Files::default();
        let root_manifest = workspace_root.join("Cargo.toml");
        let root_package = members.iter().find(|(_, manifest)| *manifest == root_manifest);

        let mut workspace =
            files.manifest_table(&root_manifest, "workspace", Context::Workspace).unwrap_or_default();
        let beside = if root_package.is_some() { Context::RootPackage } else { Context::Workspace };
        let mut root_file = files.carrack_toml(workspace_root, beside).unwrap_or_default();
        let root_own: Values = KEYS
            .iter()
            .filter(|key| key.level == Level::Package)
            .filter_map(|key| root_file.remove_entry(key.name))
            .collect();
        merge(&mut workspace, root_file);

        let mut packages = BTreeMap::new();
        for (name, manifest) in members {
            let mut own = files.manifest_table(manifest, "package", Context::Package);
            let beside = if *manifest == root_manifest {
                (!root_own.is_empty()).then(|| root_own.clone())
            } else {
                manifest.parent().and_then(|folder| files.carrack_toml(folder, Context::Package))
            };
            if let Some(beside) = beside {
                merge(own.get_or_insert_default(), beside);
            }
            let configured = own.is_some();
            let mut own = own.unwrap_or_default();
            let features = texts(&mut own, "features").unwrap_or_default();
            let mut values = workspace.clone();
            merge(&mut values, own);
            packages.insert(
                name.clone(),
                PackageConfig { service: service_config(values), features, configured },
            );
        }
        if !files.errors.is_empty() {
            return Err(files.errors);
        }
        Ok(Self { workspace: workspace_config(workspace), packages, files: files.read, absent: files.absent })
    }
}

/// The files of a configuration, read and parsed, and what is wrong with them.
#[derive(Default)]
struct Files {
    read: BTreeSet<PathBuf>,
    absent: BTreeSet<PathBuf>,
    parsed: BTreeMap<PathBuf, Parsed>,
    errors: Vec<ConfigError>,
}

#[derive(Clone)]
struct Parsed {
    source: Arc<SourceText>,
    document: Arc<Document<String>>,
}

impl Files {
    /// The `carrack` table of a manifest's `section`; `None` if it has none.
    fn manifest_table(&mut self, manifest: &Path, section: &str, context: Context) -> Option<Values> {
        let parsed = self.parse(manifest)?;
        let item = parsed.document.get(section)?.get("metadata")?.get("carrack")?;
        let place = item.span().unwrap_or(0..0);
        let reader =
            Reader { source: &parsed.source, folder: manifest.parent().expect("a manifest is in a folder") };
        let Some(table) = item.as_table_like() else {
            self.errors.push(ConfigError::WrongType {
                key: "carrack",
                expected: "a table",
                found: item.type_name(),
                span: reader.span(place),
            });
            return None;
        };
        Some(reader.table(KEYS, table, context, place, &mut self.errors))
    }

    /// The content of `carrack.toml` in `folder`; `None` if there is no such file.
    fn carrack_toml(&mut self, folder: &Path, context: Context) -> Option<Values> {
        let path = folder.join("carrack.toml");
        if !path.exists() {
            self.absent.insert(path);
            return None;
        }
        let parsed = self.parse(&path)?;
        let reader = Reader { source: &parsed.source, folder };
        let table: &dyn TableLike = parsed.document.as_table();
        Some(reader.table(KEYS, table, context, 0..0, &mut self.errors))
    }

    fn parse(&mut self, path: &Path) -> Option<Parsed> {
        if let Some(parsed) = self.parsed.get(path) {
            return Some(parsed.clone());
        }
        // A file that failed once has been complained about.
        if !self.read.insert(path.to_owned()) {
            return None;
        }
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(source) => {
                self.errors.push(ConfigError::Unreadable { path: path.to_owned(), source });
                return None;
            }
        };
        let source = Arc::new(SourceText { path: path.to_owned(), text });
        match Document::parse(source.text.clone()) {
            Ok(document) => {
                let parsed = Parsed { source, document: Arc::new(document) };
                self.parsed.insert(path.to_owned(), parsed.clone());
                Some(parsed)
            }
            Err(error) => {
                let span = Span { range: error.span().unwrap_or(0..0), source };
                self.errors.push(ConfigError::Syntax { span, message: error.message().to_owned() });
                None
            }
        }
    }
}

/// Lays `specific` over `general`.
fn merge(general: &mut Values, specific: Values) {
    for (name, value) in specific {
        match (general.get_mut(name), value) {
            (Some(Value::TextMap(general)), Value::TextMap(specific)) => general.extend(specific),
            (Some(Value::Variables(general)), Value::Variables(specific)) => general.extend(specific),
            (_, value) => {
                general.insert(name, value);
            }
        }
    }
}

fn workspace_config(mut values: Values) -> WorkspaceConfig {
    WorkspaceConfig {
        builder: value::text(&mut values, "builder").unwrap_or_else(|| "host".to_owned()),
        engine: value::text(&mut values, "engine"),
        profile: value::text(&mut values, "profile").unwrap_or_else(|| "release".to_owned()),
        features: texts(&mut values, "features").unwrap_or_default(),
        default_features: flag(&mut values, "default-features").unwrap_or(true),
        target: value::text(&mut values, "target"),
        cache_from: texts(&mut values, "cache-from").unwrap_or_default(),
        cache_to: texts(&mut values, "cache-to").unwrap_or_default(),
        cache_trust: texts(&mut values, "cache-trust").unwrap_or_default(),
        cargo_args: texts(&mut values, "cargo-args").unwrap_or_default(),
        build_env: match values.remove("build-env") {
            Some(Value::Variables(variables)) => variables,
            _ => BTreeMap::new(),
        },
        cache: match values.remove("cache") {
            Some(Value::Cache(limits)) => limits,
            _ => CacheLimits::default(),
        },
    }
}

fn service_config(mut values: Values) -> ServiceConfig {
    ServiceConfig {
        image: value::text(&mut values, "image"),
        tags: texts(&mut values, "tags"),
        registry: value::text(&mut values, "registry"),
        base: value::text(&mut values, "base"),
        files: match values.remove("files") {
            Some(Value::Files(files)) => files,
            _ => Vec::new(),
        },
        env: text_map(&mut values, "env"),
        user: value::text(&mut values, "user"),
        workdir: match values.remove("workdir") {
            Some(Value::Path(path)) => Some(path),
            _ => None,
        },
        entrypoint: texts(&mut values, "entrypoint"),
        cmd: texts(&mut values, "cmd"),
        ports: match values.remove("ports") {
            Some(Value::Ports(ports)) => ports,
            _ => Vec::new(),
        },
        labels: text_map(&mut values, "labels"),
        volumes: match values.remove("volumes") {
            Some(Value::Paths(paths)) => paths,
            _ => Vec::new(),
        },
        healthcheck: match values.remove("healthcheck") {
            Some(Value::Healthcheck(healthcheck)) => Some(healthcheck),
            _ => None,
        },
        packages: match values.remove("packages") {
            Some(Value::Packages(packages)) => packages,
            _ => DebianPackages::default(),
        },
        stop_signal: value::text(&mut values, "stop-signal"),
        timezones: flag(&mut values, "timezones").unwrap_or(false),
    }
}

fn flag(values: &mut Values, name: &str) -> Option<bool> {
    match values.remove(name) {
        Some(Value::Flag(flag)) => Some(flag),
        _ => None,
    }
}

fn texts(values: &mut Values, name: &str) -> Option<Vec<String>> {
    match values.remove(name) {
        Some(Value::Texts(texts)) => Some(texts),
        _ => None,
    }
}

fn text_map(values: &mut Values, name: &str) -> BTreeMap<String, String> {
    match values.remove(name) {
        Some(Value::TextMap(map)) => map,
        _ => BTreeMap::new(),
    }
}
