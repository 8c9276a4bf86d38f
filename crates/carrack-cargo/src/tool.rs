//! What the engine has to know about cargo while it runs it: which units it can use, how to read its output, what it read
//! and made.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use carrack_base::{BuildEvent, ContentDigest, EventSink, MOST_TEXT, OutputStream, StepId, read_regular};
use carrack_graph::{ChosenUnit, ExecOp, HarvestedUnit, Observed, OfferedUnit, Places, Run, Tool, World};

use crate::environment::{Class, classify};
use crate::locate::Configured;
use crate::messages::{CargoNews, Status, StderrParser, StdoutParser};
use crate::units::{self, Choice, FetchedPackage, Harvest, Package, VariableNames};

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
    /// CARGO_HOME.
    pub cargo_home: PathBuf,
    /// The target folder.
    pub target: PathBuf,
    /// The folder of the profile below it (`release`).
    pub profile: String,
    /// Every package whose sources can change.
    pub packages: Vec<PathPackage>,
    /// Every other package.
    pub fetched: Vec<FetchedPackage>,
    /// The binaries that are built.
    pub binaries: Vec<String>,
    /// Cargo's configuration files among the sources.
    pub configs: Vec<PathBuf>,
    /// What all of them say.
    pub configured: Configured,
    /// The program that stands in for rustc outside of a sandbox.
    pub wrapper: PathBuf,
    /// Digest of what build scripts may find installed, where that is not the same for all units of a realm.
    pub installed: Option<ContentDigest>,
    /// Whether compiled units are put back and kept; not for a cargo that does not take them as it should.
    pub uses_units: bool,
}

/// A package that is compiled from a folder of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
    /// Whether one of its dependencies is a procedural macro that may read files without telling.
    pub reads_undeclared: bool,
}

impl CargoTool {
    /// What of a step decides about its units besides what each of them says: what cargo is asked for, its configuration,
    /// and the manifests.
    fn settings(&self, op: &ExecOp, world: &dyn World) -> ContentDigest {
        let keyed = op.env.iter().filter(|(_, value)| value.keyed);
        let mut text = format!("{:?} {:?} {:?}", op.argv, keyed.collect::<Vec<_>>(), op.identity);
        let folders = self.packages.iter().map(|package| package.folder.as_path());
        let manifests = folders.chain([self.workspace.as_path()]).map(|folder| folder.join("Cargo.toml"));
        for file in manifests.chain(self.configs.iter().cloned()) {
            text.push_str(&format!("{:?}", world.content(&file)));
        }
        ContentDigest::of(text.as_bytes())
    }

    /// Whether rustc and cargo declare this file themselves, if they read it: a manifest, or Rust where cargo looks for it.
    /// Rust of other places may be what a macro makes a text of.
    pub(crate) fn is_code(&self, path: &Path) -> bool {
        const FOLDERS: [&str; 4] = ["src", "tests", "benches", "examples"];
        let is_rust = path.extension().is_some_and(|extension| extension == "rs");
        let folders = self.packages.iter().map(|package| package.folder.as_path());
        folders.chain([self.workspace.as_path()]).any(|folder| {
            let Ok(relative) = path.strip_prefix(folder) else { return false };
            let mut parts = relative.iter();
            match (parts.next(), parts.next()) {
                (Some(name), None) => name == "Cargo.toml" || name == "build.rs",
                (Some(first), Some(_)) => is_rust && FOLDERS.iter().any(|known| first == *known),
                (None, _) => false,
            }
        })
    }

    /// Files beside the packages that no macro reads.
    pub(crate) fn is_for_people(&self, path: &Path) -> bool {
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
}

impl PathPackage {
    pub(crate) fn identity(&self) -> Package {
        let (name, version) = (self.name.clone(), self.version.clone());
        Package { name, version, source: None, checksum: None }
    }
}

impl Tool for CargoTool {
    fn realm(&self, op: &ExecOp, target: &Path) -> Option<ContentDigest> {
        if !self.uses_units {
            return None;
        }
        let identity = op.identity.iter().filter(|(name, _)| IN_REALM.contains(&name.as_str()));
        let identity = identity.map(|(name, value)| (name.clone(), value.clone()));
        let variables = op.env.iter().map(|(name, value)| (name.as_str(), value.value.as_str()));
        Some(units::realm(self, identity, variables, target))
    }

    fn begin(
        &self,
        step: StepId,
        op: &ExecOp,
        realm: ContentDigest,
        offered: Vec<OfferedUnit>,
        world: &dyn World,
    ) -> Box<dyn Run> {
        let named = op.env.iter().filter(|(name, value)| value.keyed && classify(name) != Class::Keyed);
        let names = VariableNames {
            passed: op.env.keys().cloned().collect(),
            named: named.map(|(name, _)| name.clone()).collect(),
        };
        let settings = self.settings(op, world);
        Box::new(CargoRun {
            step,
            realm,
            choice: units::choose(self, settings, &names, offered, world),
            settings,
            tool: self.clone(),
            names,
            stdout: StdoutParser::default(),
            stderr: StderrParser::default(),
            heard: Heard::default(),
            harvest: Harvest::default(),
        })
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
}

struct CargoRun {
    step: StepId,
    tool: CargoTool,
    realm: ContentDigest,
    settings: ContentDigest,
    names: VariableNames,
    choice: Choice,
    stdout: StdoutParser,
    stderr: StderrParser,
    heard: Heard,
    harvest: Harvest,
}

#[derive(Default)]
struct Heard {
    executables: BTreeMap<String, PathBuf>,
    /// Ids of packages.
    compiled: HashSet<String>,
    /// Number of units, by where they came from.
    reused: BTreeMap<Option<String>, usize>,
    transcript: Vec<u8>,
}

impl Heard {
    fn take(
        &mut self,
        news: CargoNews,
        (step, stream): (StepId, OutputStream),
        choice: &Choice,
        events: &dyn EventSink,
    ) {
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
                let name = package.to_string();
                let (mut reason, mut origin) = (None, None);
                if fresh {
                    origin = choice.origin(&name, &target).map(str::to_owned);
                    *self.reused.entry(origin.clone()).or_default() += 1;
                } else {
                    reason = Some(choice.miss(&name, &target));
                    self.compiled.insert(package.id.clone());
                }
                events.emit(BuildEvent::UnitFinished { step, package: name, target, fresh, reason, origin });
            }
            CargoNews::Executable { target, path, .. } => {
                self.executables.insert(target, path);
            }
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

impl Heard {
    /// `131 crates for 3 services · 157 units reused (150 from registry)`.
    fn summary(&self, services: usize) -> String {
        let compiled = match self.compiled.len() {
            0 => "nothing".to_owned(),
            1 => "1 crate".to_owned(),
            crates => format!("{crates} crates"),
        };
        let services = if services == 1 { String::new() } else { format!(" for {services} services") };
        let reused: usize = self.reused.values().sum();
        let from = self
            .reused
            .iter()
            .filter_map(|(origin, units)| Some(format!("{units} from {}", origin.as_ref()?)));
        let from: Vec<String> = from.collect();
        let from = if from.is_empty() { String::new() } else { format!(" ({})", from.join(", ")) };
        format!("{compiled}{services} · {reused} units reused{from}")
    }
}

impl Run for CargoRun {
    fn units(&self) -> &[ChosenUnit] {
        &self.choice.units
    }

    fn stdout(&mut self, bytes: &[u8], events: &dyn EventSink) {
        let Self { step, stdout, heard, choice, .. } = self;
        stdout.push(bytes, |news| heard.take(news, (*step, OutputStream::Stdout), choice, events));
    }

    fn stderr(&mut self, bytes: &[u8], events: &dyn EventSink) {
        let Self { step, stderr, heard, choice, .. } = self;
        stderr.push(bytes, |news| heard.take(news, (*step, OutputStream::Stderr), choice, events));
    }

    fn close(&mut self, events: &dyn EventSink) {
        let Self { step, stdout, stderr, heard, choice, .. } = self;
        let stdout = std::mem::take(stdout);
        stdout.finish(|news| heard.take(news, (*step, OutputStream::Stdout), choice, events));
        let stderr = std::mem::take(stderr);
        stderr.finish(|news| heard.take(news, (*step, OutputStream::Stderr), choice, events));
    }

    fn harvest(&mut self, target: &Path, world: &dyn World) -> io::Result<Vec<HarvestedUnit>> {
        let scope = units::Scope {
            folder: target,
            known: &self.choice.records,
            with_local: true,
            is_fixed: true,
            profile: None,
        };
        let keys = (&self.realm, self.settings);
        self.harvest = units::harvest(&self.tool, keys, &self.names, scope, world)?;
        Ok(std::mem::take(&mut self.harvest.units))
    }

    fn finish(self: Box<Self>, world: &dyn World) -> io::Result<Observed> {
        let Self { tool, heard, harvest, choice, .. } = *self;
        let mut declared = harvest.declared(&tool.binaries, &choice);
        // Where cargo put the binaries: profile and target are cargo's to decide.
        let mut folders = heard.executables.values().filter_map(|path| path.parent());
        if let Some(folder) = folders.next() {
            for binary in &tool.binaries {
                let path = world.on_host(&folder.join(format!("{binary}.d")));
                if let Ok(text) = read_regular(&path, MOST_TEXT) {
                    declared.add_dep_info(&String::from_utf8_lossy(&text), &tool.workspace);
                }
            }
        }
        let summary = heard.summary(tool.binaries.len());
        let artifacts = heard
            .executables
            .into_iter()
            .filter(|(name, _)| tool.binaries.contains(name))
            .map(|(name, path)| (name, world.on_host(&path)))
            .collect();
        Ok(Observed { artifacts, files: declared.files, env: declared.env, summary })
    }

    fn transcript(&self) -> String {
        let tail = self.heard.transcript.len().saturating_sub(TRANSCRIPT);
        String::from_utf8_lossy(&self.heard.transcript[tail..]).into_owned()
    }
}

/// What of a step's identity decides about each unit that it makes.
const IN_REALM: [&str; 4] = ["rustc", "cargo", "host", "linker"];
