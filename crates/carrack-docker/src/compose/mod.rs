//! Compose files, as far as building needs them: which services there are and what builds each.
//!
//! ```text
//! Options ─► files and variables ─► document ─► long form ─► extends, include ─► merged ─► Project
//!            (discover, dotenv)     (yaml,      (normal)     (load)              (merge)   (typed)
//!                                   interpolate)
//! ```
//!
//! The answers are docker compose's: where files are looked for, which variables count first, how several files are
//! merged. Two things are done as newer releases than 2.40 do them, or kinder: a file may say more about a service that
//! it includes, and lists that several files add to hold each entry once. What a service needs only to run is checked for
//! its keys' names and then forgotten.
//!
//! Reads the files that it is pointed to and nothing else: variables and the home folder come with [`Options`]. Runs
//! nothing, fetches nothing, and does not look at contexts or Dockerfiles. Fails with [`ComposeError`], which knows the
//! place in the file.

mod discover;
mod dotenv;
mod error;
mod interpolate;
mod load;
mod merge;
mod model;
mod normal;
mod typed;
mod yaml;

pub use error::{ComposeError, Invalid};
pub use model::{
    Build, Context, Dependency, Dockerfile, NamedContext, Project, Secret, SecretSource, Service, Ulimit,
    Warning,
};
pub use normal::is_remote;

use std::collections::BTreeMap;
use std::path::PathBuf;

use load::Loader;

/// What the caller adds to the files. Relative paths start at `folder`.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where the caller is; an absolute path.
    pub folder: PathBuf,
    /// The files (`-f`); looked for if there are none.
    pub files: Vec<PathBuf>,
    /// Where the files' relative paths start (`--project-directory`); else the first file's folder.
    pub project_directory: Option<PathBuf>,
    /// The project's name (`-p`).
    pub project_name: Option<String>,
    /// Active profiles (`--profile`).
    pub profiles: Vec<String>,
    /// Files of variables (`--env-file`), in place of `.env`.
    pub env_files: Vec<PathBuf>,
    /// The caller's environment. `COMPOSE_FILE`, `COMPOSE_PATH_SEPARATOR`, `COMPOSE_PROJECT_NAME`, `COMPOSE_PROFILES`,
    /// `COMPOSE_ENV_FILES` and `COMPOSE_DISABLE_ENV_FILE` count where there is no option.
    pub variables: BTreeMap<String, String>,
    /// What `~` is.
    pub home: Option<PathBuf>,
}

/// Finds and reads the project's files.
///
/// Errors: [`ComposeError`]; the first thing that is wrong.
/// Source: the Compose Specification; what it leaves open is Docker Compose 2.40's.
pub fn resolve(options: &Options) -> Result<Project, ComposeError> {
    let mut found = discover::discover(options)?;
    let mut loader = Loader::new(options.home.as_deref());
    let name = discover::name(options, &mut found, &mut loader.unset)?;
    found.variables.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
    let mut document = loader.load(&found.files, &found.folder, &found.variables)?;
    let unset = std::mem::take(&mut loader.unset);
    let mut warnings = found.warnings;
    warnings.extend(unset.into_iter().map(|name| Warning::Unset { name }));
    let services = typed::services(&mut document, &found.variables)?;
    let mut project = Project {
        name,
        folder: found.folder,
        files: found.files,
        variables: found.variables,
        profiles: found.profiles,
        services,
        warnings,
    };
    project.activate();
    project.check_active()?;
    Ok(project)
}
