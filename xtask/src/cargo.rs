//! Starting the cargo that started this program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

use serde_json::Value;

/// The example workspace, seen from the repository's root.
pub(crate) const EXAMPLE_MANIFEST: &str = "examples/rustcare/Cargo.toml";

/// A package of the workspace, as far as the house rules look at it.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Relative to the repository's root.
    pub(crate) manifest: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A line in a dependency table.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// The name in the table, where it is another one.
    pub(crate) rename: Option<String>,
    /// The table: `dependencies`, `dev-dependencies` or `build-dependencies`.
    pub(crate) table: &'static str,
}

/// `cargo` with `arguments`, in the repository's root.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(arguments);
    command
}

/// Runs `command` with this program's streams; whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool, String> {
    let status = command.status().map_err(|error| start_failed(command, &error))?;
    Ok(status.success())
}

/// The words for a command that the system did not start.
pub(crate) fn start_failed(command: &Command, error: &io::Error) -> String {
    format!("can't start {}: {error}", command.get_program().display())
}

/// Where cargo leaves what it builds.
pub(crate) fn target_folder(root: &Path) -> Result<PathBuf, String> {
    let metadata = metadata(root)?;
    let folder = metadata["target_directory"].as_str();
    folder.map(PathBuf::from).ok_or_else(|| "cargo metadata gave no target folder".to_owned())
}

/// The packages of the workspace, without asking any registry.
pub(crate) fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let metadata = metadata(root)?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    packages
        .iter()
        .map(|package| {
            read_package(root, package).ok_or_else(|| format!("cargo metadata gave no package: {package}"))
        })
        .collect()
}

fn metadata(root: &Path) -> Result<Value, String> {
    let mut command = cargo(root, &["metadata", "--no-deps", "--format-version", "1", "--offline"]);
    let output = command.output().map_err(|error| start_failed(&command, &error))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("can't read the output of cargo metadata: {error}"))
}

fn read_package(root: &Path, package: &Value) -> Option<Package> {
    let manifest = Path::new(package["manifest_path"].as_str()?);
    let dependencies = package["dependencies"].as_array()?.iter().map(|dependency| {
        Some(Dependency {
            name: dependency["name"].as_str()?.to_owned(),
            rename: dependency["rename"].as_str().map(str::to_owned),
            table: match dependency["kind"].as_str() {
                None => "dependencies",
                Some("dev") => "dev-dependencies",
                Some("build") => "build-dependencies",
                Some(_) => return None,
            },
        })
    });
    Some(Package {
        name: package["name"].as_str()?.to_owned(),
        manifest: manifest.strip_prefix(root).unwrap_or(manifest).to_owned(),
        dependencies: dependencies.collect::<Option<_>>()?,
    })
}
