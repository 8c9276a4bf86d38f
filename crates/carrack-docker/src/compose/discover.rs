//! Which files, variables, profiles and name a project has.
//!
//! What the caller says counts first, then the environment, then `.env`, then what is looked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrack_base::{SourceText, normalised};

use super::error::ComposeError;
use super::interpolate::Variables;
use super::interpolate::interpolate;
use super::model::Warning;
use super::normal::kind;
use super::yaml::Node;
use super::{Options, dotenv, yaml};

/// In the order in which they are preferred.
const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Everything but the files' content.
pub(super) struct Found {
    pub(super) files: Vec<PathBuf>,
    pub(super) folder: PathBuf,
    pub(super) variables: Variables,
    pub(super) profiles: Vec<String>,
    pub(super) warnings: Vec<Warning>,
}

pub(super) fn discover(options: &Options) -> Result<Found, ComposeError> {
    let absolute = |path: &Path| normalised(&options.folder.join(path));
    let mut variables = options.variables.clone();
    variables.insert("PWD".to_owned(), options.folder.to_string_lossy().into_owned());
    let mut warnings = Vec::new();

    // `.env` may say which files there are, and the files' folder may have another one.
    let mut files: Vec<PathBuf> = options.files.iter().map(|file| absolute(file)).collect();
    let folder = folder(options, &files);
    read_variables(options, &folder, &mut variables)?;
    if files.is_empty()
        && let Some(listed) = variables.get("COMPOSE_FILE").filter(|listed| !listed.is_empty())
    {
        let separator = variables.get("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
        files = listed.split(separator).map(|file| absolute(Path::new(file))).collect();
    }
    if files.is_empty() {
        files = search(&folder, &mut warnings)?;
    }
    let folder = self::folder(options, &files);
    read_variables(options, &folder, &mut variables)?;

    let listed = variables.get("COMPOSE_PROFILES").filter(|_| options.profiles.is_empty());
    let listed = listed.into_iter().flat_map(|listed| listed.split(',').map(str::trim));
    let listed = listed.filter(|profile| !profile.is_empty()).map(str::to_owned);
    let profiles = options.profiles.iter().cloned().chain(listed).collect();
    Ok(Found { files, folder, variables, profiles, warnings })
}

/// Where the project's relative paths start.
fn folder(options: &Options, files: &[PathBuf]) -> PathBuf {
    match (&options.project_directory, files.first().and_then(|file| file.parent())) {
        (Some(folder), _) => normalised(&options.folder.join(folder)),
        (None, Some(folder)) => folder.to_owned(),
        (None, None) => normalised(&options.folder),
    }
}

/// Adds what the files of variables have; what is known already stays.
fn read_variables(options: &Options, folder: &Path, variables: &mut Variables) -> Result<(), ComposeError> {
    let is_true = |text: &String| ["1", "t", "T", "true", "TRUE", "True"].contains(&text.as_str());
    let listed = variables.get("COMPOSE_ENV_FILES").filter(|listed| !listed.is_empty());
    let files: Vec<PathBuf> = if !options.env_files.is_empty() {
        options.env_files.clone()
    } else if variables.get("COMPOSE_DISABLE_ENV_FILE").is_some_and(is_true) {
        Vec::new()
    } else if let Some(listed) = listed {
        listed.split(',').map(PathBuf::from).collect()
    } else {
        Some(folder.join(".env")).into_iter().filter(|file| file.is_file()).collect()
    };
    let mut found = Variables::new();
    for file in files {
        dotenv::read(&normalised(&options.folder.join(file)), None, variables, &mut found)?;
    }
    for (name, value) in found {
        variables.entry(name).or_insert(value);
    }
    Ok(())
}

/// The compose file of `start` or of the nearest folder above it, and what overrides it.
fn search(start: &Path, warnings: &mut Vec<Warning>) -> Result<Vec<PathBuf>, ComposeError> {
    let mut there = |folder: &Path, names: &[&str]| {
        let mut files = names.iter().map(|name| folder.join(name)).filter(|file| file.is_file());
        let used = files.next()?;
        let ignored: Vec<PathBuf> = files.collect();
        if !ignored.is_empty() {
            warnings.push(Warning::SeveralFiles { used: used.clone(), ignored });
        }
        Some(used)
    };
    for folder in start.ancestors() {
        if let Some(file) = there(folder, &FILES) {
            return Ok(std::iter::once(file).chain(there(folder, &OVERRIDES)).collect());
        }
    }
    Err(ComposeError::NotFound { folder: start.to_owned() })
}

/// The project's name: the option, the environment, the last file's `name`, the folder.
pub(super) fn name(
    options: &Options,
    found: &mut Found,
    unset: &mut BTreeSet<String>,
) -> Result<String, ComposeError> {
    let environment = || found.variables.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
    if let Some(name) = options.project_name.as_ref().or_else(environment) {
        return match allowed(name) == *name {
            true => Ok(name.clone()),
            false => Err(ComposeError::ProjectName { name: name.clone() }),
        };
    }
    let mut name = None;
    for file in &found.files {
        let text = std::fs::read_to_string(file).map_err(|source| ComposeError::Read {
            path: file.clone(),
            named_at: None,
            source,
        })?;
        for mut document in yaml::parse(&Arc::new(SourceText { path: file.clone(), text }))? {
            let written = document.as_map_mut().and_then(|top| top.get_mut("name"));
            if let Some(node) = written {
                interpolate(node, &found.variables, unset)?;
                name = Some(text_of(node)?);
            }
        }
    }
    let folder = found.folder.canonicalize().unwrap_or_else(|_| found.folder.clone());
    let folder = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = allowed(&name.filter(|name| !name.is_empty()).unwrap_or(folder));
    match name.is_empty() {
        true => Err(ComposeError::ProjectName { name }),
        false => Ok(name),
    }
}

fn text_of(node: &Node) -> Result<String, ComposeError> {
    node.as_text().map(str::to_owned).ok_or_else(|| kind(node, "name", "text"))
}

/// A name with what names may hold.
fn allowed(name: &str) -> String {
    let is_allowed = |character: &char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || "-_".contains(*character)
    };
    let name: String = name.to_lowercase().chars().filter(is_allowed).collect();
    name.trim_start_matches(['-', '_']).to_owned()
}
