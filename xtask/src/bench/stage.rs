//! The things that are measured: Carrack as people install it, and two copies of the example.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::time;
use crate::cargo::{cargo, start_failed, target_folder};

const EXAMPLE: &str = "examples/rustcare";
/// The file that is edited, and the place in it that is another one after each edit.
const SOURCE: &str = "server/src/main.rs";
const PLACE: &str = "\"database ready\"";
pub(super) const SERVICES: [&str; 3] = ["ops-cli", "rustcare-server", "rustcare-sync"];

/// A temporary folder.
pub(super) struct Folder(PathBuf);

/// Everything that more than one part needs, made when it is needed.
pub(super) struct Stage<'a> {
    pub(super) root: &'a Path,
    /// Where cargo leaves what it builds of this repository; what takes long to make is kept there from run to run.
    pub(super) target: PathBuf,
    program: PathBuf,
    pub(super) folder: Folder,
    /// Carrack's copy of the example.
    pub(super) workspace: PathBuf,
    /// Bare cargo's.
    pub(super) bare_workspace: PathBuf,
    first: OnceCell<Duration>,
    bare_first: OnceCell<Duration>,
}

impl Folder {
    pub(super) fn new(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("carrack-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("can't make {}: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("can't remove {}: {error}", self.0.display());
        }
    }
}

impl<'a> Stage<'a> {
    pub(super) fn new(root: &'a Path) -> Result<Self, String> {
        let program = compile(root)?;
        let folder = Folder::new("stage")?;
        let [workspace, bare_workspace] =
            ["carrack/rustcare", "cargo/rustcare"].map(|name| folder.path().join(name));
        for copy in [&workspace, &bare_workspace] {
            copy_sources(&root.join(EXAMPLE), copy)?;
        }
        Ok(Self {
            root,
            target: target_folder(root)?,
            program,
            folder,
            workspace,
            bare_workspace,
            first: OnceCell::new(),
            bare_first: OnceCell::new(),
        })
    }

    /// One more copy of the example.
    pub(super) fn copy(&self, name: &str) -> Result<PathBuf, String> {
        let workspace = self.folder.path().join(name).join("rustcare");
        copy_sources(&self.root.join(EXAMPLE), &workspace)?;
        Ok(workspace)
    }

    /// Changes one line of a copy of the example; another `round` is another line.
    pub(super) fn edit(&self, workspace: &Path, round: u32) -> Result<(), String> {
        let original = self.original_source()?;
        let changed = original.replace(PLACE, &format!("\"database ready, edit {round}\""));
        write(&workspace.join(SOURCE), &changed)
    }

    /// Takes all edits of a copy back.
    pub(super) fn undo_edits(&self, workspace: &Path) -> Result<(), String> {
        write(&workspace.join(SOURCE), &self.original_source()?)
    }

    fn original_source(&self) -> Result<String, String> {
        let path = self.root.join(EXAMPLE).join(SOURCE);
        let text =
            fs::read_to_string(&path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
        if text.matches(PLACE).count() != 1 {
            return Err(format!("{SOURCE} does not say {PLACE} once"));
        }
        Ok(text)
    }

    /// `carrack build` in `workspace`, with a store of this run's own.
    pub(super) fn carrack(&self, workspace: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("build").current_dir(workspace).env("CARRACK_HOME", self.folder.path().join("store"));
        clean(&mut command);
        command
    }

    /// What Carrack starts, started by hand.
    pub(super) fn bare_cargo(&self) -> Command {
        let mut command = Command::new("cargo");
        command.args(["build", "--release", "--locked", "--target-dir"]).arg(self.bare_target());
        for service in SERVICES {
            command.args(["--package", service, "--bin", service]);
        }
        command.current_dir(&self.bare_workspace);
        clean(&mut command);
        command
    }

    /// Where bare cargo leaves its programs.
    pub(super) fn bare_target(&self) -> PathBuf {
        self.folder.path().join("cargo/target")
    }

    /// How long Carrack's first build took.
    pub(super) fn first_build(&self) -> Result<Duration, String> {
        once(&self.first, || {
            let mut fetch = Command::new("cargo");
            time(fetch.args(["fetch", "--locked"]).current_dir(&self.workspace))?;
            eprintln!("  first build with carrack");
            time(&mut self.carrack(&self.workspace))
        })
    }

    /// How long bare cargo's first build took.
    pub(super) fn bare_first_build(&self) -> Result<Duration, String> {
        once(&self.bare_first, || {
            eprintln!("  first build with bare cargo");
            time(&mut self.bare_cargo())
        })
    }
}

fn once(
    cell: &OnceCell<Duration>,
    measure: impl FnOnce() -> Result<Duration, String>,
) -> Result<Duration, String> {
    match cell.get() {
        Some(known) => Ok(*known),
        None => measure().map(|time| *cell.get_or_init(|| time)),
    }
}

/// Takes away what the cargo that runs this program has set for it.
pub(super) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_cargo = text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_");
        if of_cargo || ["CARGO", "CARGO_TARGET_DIR", "LD_LIBRARY_PATH"].contains(&&*text) {
            command.env_remove(&name);
        }
    }
}

/// Compiles Carrack as people install it.
fn compile(root: &Path) -> Result<PathBuf, String> {
    let mut command = cargo(
        root,
        &["build", "--release", "--package", "carrack", "--message-format", "json-render-diagnostics"],
    );
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| start_failed(&command, &error))?;
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "carrack").then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    program.filter(|_| output.status.success()).ok_or_else(|| "carrack does not compile".to_owned())
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| format!("can't write {}: {error}", path.display()))
}

/// Copies a folder without what cargo left in it.
pub(super) fn copy_sources(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error| format!("can't copy {}: {error}", from.display());
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if !entry.file_type().map_err(failed)?.is_dir() {
            fs::copy(entry.path(), target).map_err(failed)?;
        } else if entry.file_name() != "target" {
            copy_sources(&entry.path(), &target)?;
        }
    }
    Ok(())
}
