//! What the engine has to know about cargo while it runs it: which results to distrust, how to read its output, what it
//! read and made.
//!
//! Cargo compares modification times, and it sees only files that were declared to it. So two kinds of changes have to be
//! made visible, by deleting the fingerprints of the packages concerned: files whose time is older than the last build
//! although their content is new, and files that a procedural macro may have read without saying so.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use carrack_base::{BuildEvent, EventSink, OutputStream, StepId};
use carrack_graph::{Invalidation, Observed, Observer, Places, Tool};

use crate::discovered::{self, Discovered, DiscoveredError, ScriptRun};
use crate::messages::{CargoNews, PackageName, Status, StderrParser, StdoutParser};

/// The variable that makes Carrack's program stand in for rustc outside of a sandbox: `FROM=TO` pairs, one a line.
pub const REMAP_VARIABLE: &str = "CARRACK_REMAP_PATHS";
/// The variable with the rustc wrapper that the user had.
pub const WRAPPED_VARIABLE: &str = "CARRACK_WRAPPED_RUSTC";

/// How much of the end of standard error is kept to explain a failure.
const TRANSCRIPT: usize = 64 * 1024;

/// Cargo, as one workspace uses it. Paths are as cargo sees them.
#[derive(Debug, Clone)]
pub struct CargoTool {
    /// The workspace's root.
    pub workspace: PathBuf,
    /// Every package whose sources can change.
    pub packages: Vec<PathPackage>,
    /// The binaries that are built.
    pub binaries: Vec<String>,
    /// The program that stands in for rustc outside of a sandbox.
    pub wrapper: PathBuf,
}

/// A package that is compiled from a folder of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPackage {
    /// Its name.
    pub name: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
    /// Whether one of its dependencies is a procedural macro that may read files without telling.
    pub reads_undeclared: bool,
}

impl CargoTool {
    /// The names of the packages whose results can't be trusted after `invalidation`.
    fn distrusted(&self, invalidation: &Invalidation) -> BTreeSet<&str> {
        let all = || self.packages.iter().map(|package| package.name.as_str());
        let reading = || self.packages.iter().filter(|package| package.reads_undeclared);
        let mut distrusted = BTreeSet::new();
        for path in &invalidation.unseen {
            match self.owner(path) {
                Some(package) => {
                    distrusted.insert(package.name.as_str());
                }
                None => distrusted.extend(all()),
            }
            if !is_rust(path) {
                distrusted.extend(reading().map(|package| package.name.as_str()));
            }
        }
        // Whose macros read a file, nobody knows, in whatever package it lies.
        if invalidation.seen.iter().any(|path| !is_rust(path) && !self.is_for_people(path)) {
            distrusted.extend(reading().map(|package| package.name.as_str()));
        }
        // A macro may list the modules of its package.
        let modules = invalidation.appeared.iter().filter(|path| is_rust(path));
        let owners = modules.filter_map(|path| self.owner(path)).filter(|package| package.reads_undeclared);
        distrusted.extend(owners.map(|package| package.name.as_str()));
        distrusted
    }

    /// The names of the packages with a unit or a build script that declared one of `unseen`, which may lie in another
    /// package's folder.
    fn readers(
        &self,
        profile: &Path,
        unseen: &BTreeSet<PathBuf>,
        places: &Places,
    ) -> Result<BTreeSet<&str>, DiscoveredError> {
        let mut readers = BTreeSet::new();
        if unseen.is_empty() {
            return Ok(readers);
        }
        for files in discovered::files_of_units(profile, &self.workspace)? {
            let files: BTreeSet<PathBuf> = files.iter().map(|file| places.inside(file)).collect();
            if !files.is_disjoint(unseen) {
                // Whose unit it is shows in its other files.
                let owners = files.iter().filter_map(|file| self.owner(file));
                readers.extend(owners.map(|package| package.name.as_str()));
            }
        }
        for package in &self.packages {
            for file in discovered::files_of_scripts(profile, &package.name, &package.folder)? {
                let file = places.inside(&file);
                if unseen.iter().any(|path| path.starts_with(&file)) {
                    readers.insert(package.name.as_str());
                }
            }
        }
        Ok(readers)
    }

    /// Files beside the packages that no macro reads.
    fn is_for_people(&self, path: &Path) -> bool {
        const NAMES: [&str; 7] =
            ["README", "CHANGELOG", "LICENSE", "Makefile", "justfile", "Dockerfile", "compose"];
        const FOLDERS: [&str; 4] = [".github", ".gitlab", ".vscode", ".idea"];
        let Ok(relative) = path.strip_prefix(&self.workspace) else { return false };
        let mut parts = relative.iter().map(|part| part.to_string_lossy());
        match (parts.next(), parts.next()) {
            (Some(name), None) => NAMES.iter().any(|known| name.starts_with(known)),
            (Some(folder), Some(_)) => FOLDERS.iter().any(|known| folder == *known),
            (None, _) => false,
        }
    }

    /// The package with the deepest folder around `path`.
    fn owner(&self, path: &Path) -> Option<&PathPackage> {
        let around = self.packages.iter().filter(|package| path.starts_with(&package.folder));
        around.max_by_key(|package| package.folder.components().count())
    }
}

/// rustc and cargo declare these themselves.
fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs") || path.ends_with("Cargo.toml")
}

impl Tool for CargoTool {
    fn invalidate(&self, invalidation: &Invalidation, places: &Places) -> io::Result<()> {
        let distrusted = self.distrusted(invalidation);
        if distrusted.is_empty() && invalidation.unseen.is_empty() {
            return Ok(());
        }
        // Every profile and target, not only this build's: the next build may use another.
        for profile in profile_folders(&places.on_host(Path::new(crate::plan::TARGET)))? {
            let unreadable = |error: DiscoveredError| error.source;
            let readers = self.readers(&profile, &invalidation.unseen, places).map_err(unreadable)?;
            for package in distrusted.union(&readers) {
                for folder in discovered::fingerprint_folders(&profile, package).map_err(unreadable)? {
                    fs::remove_dir_all(folder)?;
                }
            }
        }
        Ok(())
    }

    fn run_outside(&self, env: &mut BTreeMap<String, String>, places: &Places) {
        let pairs =
            places.pairs.iter().map(|(inside, host)| format!("{}={}", host.display(), inside.display()));
        env.insert(REMAP_VARIABLE.to_owned(), pairs.collect::<Vec<_>>().join("\n"));
        let wrapper = self.wrapper.to_string_lossy().into_owned();
        if let Some(theirs) = env.insert("RUSTC_WRAPPER".to_owned(), wrapper) {
            env.insert(WRAPPED_VARIABLE.to_owned(), theirs);
        }
    }

    fn observe(&self, step: StepId) -> Box<dyn Observer> {
        Box::new(Listener {
            step,
            tool: self.clone(),
            stdout: StdoutParser::default(),
            stderr: StderrParser::default(),
            heard: Heard::default(),
        })
    }
}

/// Folders with results: `target/<profile>` and `target/<triple>/<profile>`.
fn profile_folders(target: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in folders_in(target)? {
        if folder.join(".fingerprint").is_dir() || folder.join("build").is_dir() {
            found.push(folder);
        } else {
            found.extend(folders_in(&folder)?);
        }
    }
    Ok(found)
}

fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

struct Listener {
    step: StepId,
    tool: CargoTool,
    stdout: StdoutParser,
    stderr: StderrParser,
    heard: Heard,
}

#[derive(Default)]
struct Heard {
    executables: BTreeMap<String, PathBuf>,
    scripts: Vec<(PackageName, PathBuf)>,
    /// Ids of packages.
    compiled: HashSet<String>,
    /// Units.
    reused: usize,
    transcript: Vec<u8>,
}

impl Heard {
    fn take(&mut self, news: CargoNews, step: StepId, stream: OutputStream, events: &dyn EventSink) {
        match news {
            CargoNews::Progress { done, total, current } => {
                events.emit(BuildEvent::StepProgress { step, done, total, current });
            }
            CargoNews::Activity { verb, detail } => {
                events.emit(BuildEvent::StepProgress {
                    step,
                    done: 0,
                    total: 0,
                    current: format!("{verb} {detail}"),
                });
            }
            CargoNews::Unit { package, target, fresh } => {
                if fresh {
                    self.reused += 1;
                } else {
                    self.compiled.insert(package.id.clone());
                }
                events.emit(BuildEvent::UnitFinished { step, package: package.to_string(), target, fresh });
            }
            CargoNews::Executable { target, path, .. } => {
                self.executables.insert(target, path);
            }
            CargoNews::BuildScript { package, out_dir } => self.scripts.push((package, out_dir)),
            CargoNews::Diagnostic { rendered, .. } => {
                self.output(step, OutputStream::Stderr, rendered.into_bytes(), events);
            }
            CargoNews::Status { status: Status::Compiling | Status::Fresh | Status::Finished, .. }
            | CargoNews::Finished { .. } => {}
            CargoNews::Status { line, .. } => self.output(step, stream, line, events),
            CargoNews::Passthrough(bytes) => self.output(step, stream, bytes, events),
        }
    }

    fn output(&mut self, step: StepId, stream: OutputStream, bytes: Vec<u8>, events: &dyn EventSink) {
        self.transcript.extend_from_slice(&bytes);
        if self.transcript.len() > 2 * TRANSCRIPT {
            self.transcript.drain(..self.transcript.len() - TRANSCRIPT);
        }
        events.emit(BuildEvent::StepOutput { step, stream, bytes });
    }
}

impl Observer for Listener {
    fn stdout(&mut self, bytes: &[u8], events: &dyn EventSink) {
        let Self { step, stdout, heard, .. } = self;
        stdout.push(bytes, |news| heard.take(news, *step, OutputStream::Stdout, events));
    }

    fn stderr(&mut self, bytes: &[u8], events: &dyn EventSink) {
        let Self { step, stderr, heard, .. } = self;
        stderr.push(bytes, |news| heard.take(news, *step, OutputStream::Stderr, events));
    }

    fn close(&mut self, events: &dyn EventSink) {
        let Self { step, stdout, stderr, heard, .. } = self;
        std::mem::take(stdout).finish(|news| heard.take(news, *step, OutputStream::Stdout, events));
        std::mem::take(stderr).finish(|news| heard.take(news, *step, OutputStream::Stderr, events));
    }

    fn finish(self: Box<Self>, places: &Places) -> io::Result<Observed> {
        let Self { tool, heard, .. } = *self;
        let scripts: Vec<ScriptRun> =
            heard.scripts.iter().map(|(package, out_dir)| script_run(package, out_dir, places)).collect();
        // Where cargo put the binaries: profile and target are cargo's to decide.
        let mut folders = heard.executables.values().filter_map(|path| path.parent());
        let profile = folders.next().map(|folder| places.on_host(folder)).unwrap_or_default();
        let binaries: Vec<&str> = tool.binaries.iter().map(String::as_str).collect();
        let discovered = Discovered::collect(&profile, &binaries, &tool.workspace, &scripts)
            .map_err(|error| io::Error::new(error.source.kind(), error))?;
        let services = tool.binaries.len();
        let compiled = match heard.compiled.len() {
            0 => "nothing".to_owned(),
            1 => "1 crate".to_owned(),
            crates => format!("{crates} crates"),
        };
        let summary = match services {
            1 => format!("{compiled} · {} units reused", heard.reused),
            services => format!("{compiled} for {services} services · {} units reused", heard.reused),
        };
        let artifacts = heard
            .executables
            .into_iter()
            .filter(|(name, _)| tool.binaries.contains(name))
            .map(|(name, path)| (name, places.on_host(&path)))
            .collect();
        Ok(Observed { artifacts, files: discovered.files, env: discovered.env, summary })
    }

    fn transcript(&self) -> String {
        let tail = self.heard.transcript.len().saturating_sub(TRANSCRIPT);
        String::from_utf8_lossy(&self.heard.transcript[tail..]).into_owned()
    }
}

fn script_run(package: &PackageName, out_dir: &Path, places: &Places) -> ScriptRun {
    let folder = package.folder();
    ScriptRun {
        out_dir: places.on_host(out_dir),
        immutable: folder.is_none(),
        package_folder: folder.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool() -> CargoTool {
        let package = |name: &str, folder: &str, reads_undeclared| PathPackage {
            name: name.to_owned(),
            folder: PathBuf::from(folder),
            reads_undeclared,
        };
        CargoTool {
            workspace: PathBuf::from("/carrack/src"),
            packages: vec![
                package("server", "/carrack/src/server", true),
                package("core", "/carrack/src/core", false),
                package("core-macros", "/carrack/src/core/macros", false),
            ],
            binaries: vec!["server".to_owned()],
            wrapper: PathBuf::from("/usr/bin/carrack"),
        }
    }

    #[track_caller]
    fn check(unseen: &[&str], seen: &[&str], expected: &[&str]) {
        let paths = |paths: &[&str]| paths.iter().map(|path| Path::new("/carrack/src").join(path)).collect();
        let new: Vec<&str> = seen.iter().copied().filter(|path| path.contains("new")).collect();
        let invalidation = Invalidation { unseen: paths(unseen), seen: paths(seen), appeared: paths(&new) };
        let tool = tool();
        let distrusted: Vec<&str> = tool.distrusted(&invalidation).into_iter().collect();
        assert_eq!(distrusted, expected);
    }

    #[test]
    fn packages_are_distrusted_when_cargo_can_not_see_the_change() {
        // A newer time on a Rust file: cargo sees it.
        check(&[], &["core/src/lib.rs"], &[]);
        // An older time: it does not.
        check(&["core/src/lib.rs"], &[], &["core"]);
        check(&["core/macros/src/lib.rs"], &[], &["core-macros"]);
        // A file that a macro may have read, in a package or beside all of them.
        check(&[], &["server/templates/index.html"], &["server"]);
        check(&[], &["core/data.csv"], &["server"]);
        // A module that a macro may list.
        check(&[], &["server/src/old.rs", "core/src/new.rs"], &[]);
        check(&[], &["server/src/new.rs"], &["server"]);
        check(&[], &["migrations/0002.sql"], &["server"]);
        check(&["migrations/0002.sql"], &[], &["core", "core-macros", "server"]);
        check(&[], &["README.md", ".github/workflows/ci.yml"], &[]);
    }
}
