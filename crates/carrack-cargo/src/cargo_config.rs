//! Reads from cargo's configuration files the paths that they name: further files, patches, overrides and vendored
//! sources. Everything else in them is cargo's business. A value of an unexpected type is skipped: cargo, which reads
//! the same file, has the better words for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrack_base::{MOST_TEXT, SourceText, Span, normalised, read_regular};
use toml_edit::{Document, Item, TableLike, Value};

/// What one configuration file points at, absolute.
#[derive(Debug, Default)]
pub(crate) struct NamedPaths {
    /// `include`d configuration files that are there.
    pub(crate) includes: Vec<PathBuf>,
    /// Folders of packages: `[patch]` and `paths`.
    pub(crate) packages: Vec<PathBuf>,
    /// `[source]` replacements on disk: vendored folders and local registries.
    pub(crate) sources: Vec<PathBuf>,
}

/// Why a TOML file could not be used.
#[derive(Debug)]
pub(crate) enum TomlFileError {
    Unreadable(io::Error),
    Malformed { span: Span, message: String },
}

/// Reads `path` as TOML.
pub(crate) fn read_toml(path: &Path) -> Result<Document<String>, TomlFileError> {
    let bytes = read_regular(path, MOST_TEXT).map_err(TomlFileError::Unreadable)?;
    let not_text = |error| TomlFileError::Unreadable(io::Error::new(io::ErrorKind::InvalidData, error));
    let text = String::from_utf8(bytes).map_err(not_text)?;
    match Document::parse(text.clone()) {
        Ok(document) => Ok(document),
        Err(error) => {
            let source = Arc::new(SourceText { path: path.to_owned(), text });
            let span = Span { source, range: error.span().unwrap_or(0..0) };
            Err(TomlFileError::Malformed { span, message: error.message().to_owned() })
        }
    }
}

/// Tables of cargo's configuration that are about its commands and say nothing about what is compiled.
const OF_COMMANDS: [&str; 6] = ["alias", "cache", "cargo-new", "future-incompat-report", "install", "term"];

/// Whether the configuration file `path` may change what is compiled. One that can't be read may.
pub(crate) fn concerns_compiling(path: &Path) -> bool {
    read_toml(path).map_or(true, |document| document.iter().any(|(table, _)| !OF_COMMANDS.contains(&table)))
}

/// Reads the variables that the configuration file `path` sets for what is compiled, each with what it says about it. One
/// that can't be read sets none.
pub(crate) fn variables(path: &Path) -> Vec<(String, String)> {
    let Ok(document) = read_toml(path) else { return Vec::new() };
    let env = document.get("env").and_then(Item::as_table_like);
    env.into_iter()
        .flat_map(TableLike::iter)
        .map(|(name, item)| (name.to_owned(), item.to_string()))
        .collect()
}

/// Reads the linkers that the configuration file `path` names, each with the target that it is for.
pub(crate) fn linkers(path: &Path) -> Vec<String> {
    let Ok(document) = read_toml(path) else { return Vec::new() };
    let linker = |(target, table): (&str, &dyn TableLike)| Some(format!("{target}={}", table.get("linker")?));
    tables(document.get("target")).into_iter().filter_map(linker).collect()
}

/// Whether the configuration file `path` says how many jobs cargo runs.
pub(crate) fn has_jobs(path: &Path) -> bool {
    let has_jobs = |document: Document<String>| Some(document.get("build")?.get("jobs").is_some());
    read_toml(path).ok().and_then(has_jobs).unwrap_or(false)
}

/// What the configuration file `path` says that the alias `name` stands for.
pub(crate) fn alias(name: &str, path: &Path) -> Option<Vec<String>> {
    let document = read_toml(path).ok()?;
    let value = document.get("alias")?.as_table_like()?.get(name)?;
    if let Some(text) = value.as_str() {
        return Some(text.split_whitespace().map(str::to_owned).collect());
    }
    let words = value.as_array()?.iter();
    Some(words.filter_map(|word| Some(word.as_str()?.to_owned())).collect())
}

/// Reads the paths that the configuration file `path` names.
pub(crate) fn named_paths(path: &Path) -> Result<NamedPaths, TomlFileError> {
    let document = read_toml(path)?;
    let own_folder = path.parent().expect("a file is in a folder");
    // `/work/.cargo/config.toml` speaks relative to `/work`, except in `include`.
    let base = own_folder.parent().unwrap_or(own_folder);
    let mut named = NamedPaths::default();

    let include = document.get("include").and_then(Item::as_value);
    let includes: Vec<&Value> = match include {
        Some(Value::Array(array)) => array.iter().collect(),
        other => other.into_iter().collect(),
    };
    for include in includes {
        let text = include.as_str().or_else(|| include.as_inline_table()?.get("path")?.as_str());
        if let Some(included) =
            text.map(|text| normalised(&own_folder.join(text))).filter(|path| path.is_file())
        {
            named.includes.push(included);
        }
    }
    let overrides = document.get("paths").and_then(Item::as_array).into_iter().flatten();
    named.packages.extend(overrides.filter_map(Value::as_str).map(|text| normalised(&base.join(text))));
    named.packages.extend(patches(document.as_table(), base));
    for (_, source) in tables(document.get("source")) {
        for kind in ["directory", "local-registry"] {
            if let Some(text) = source.get(kind).and_then(Item::as_str) {
                named.sources.push(normalised(&base.join(text)));
            }
        }
    }
    Ok(named)
}

/// The folders that `[patch.*]` and `[replace]` of a manifest or configuration name.
pub(crate) fn patches(document: &dyn TableLike, base: &Path) -> Vec<PathBuf> {
    let registries = tables(document.get("patch")).into_iter().map(|(_, registry)| registry);
    let replace = document.get("replace").and_then(Item::as_table_like);
    registries.chain(replace).flat_map(|table| paths_of_dependencies(table, base)).collect()
}

/// The folders that a table of dependencies names by `path`.
pub(crate) fn paths_of_dependencies(dependencies: &dyn TableLike, base: &Path) -> Vec<PathBuf> {
    let path = |(_, dependency): (&str, &Item)| {
        let text = dependency.as_table_like()?.get("path")?.as_str()?;
        Some(normalised(&base.join(text)))
    };
    dependencies.iter().filter_map(path).collect()
}

/// The entries of a table that are tables themselves.
pub(crate) fn tables(item: Option<&Item>) -> Vec<(&str, &dyn TableLike)> {
    let entries = item.and_then(Item::as_table_like).into_iter().flat_map(|table| table.iter());
    entries.filter_map(|(name, item)| Some((name, item.as_table_like()?))).collect()
}
