//! Runs a step's command: locks its build folder, puts kept units under it, starts the sandbox, listens, and takes the
//! units that it made.
//!
//! ```text
//! <build folder>/target     what the last run built, over the units that it found; the next one begins with an empty one
//! <build folder>/stays      what of it the next run finds all the same: intermediate results that the program itself checks
//! <build folder>/upper      what it wrote into its sources: they stay as they are, and it finds its files again
//! <build folder>/work       overlayfs' own, as is `work-target`
//! <build folder>/text       files that the graph gave as text
//! <build folder>/home       HOME of a command that runs outside of a sandbox
//! <build folder>/owner      whose it is: the folder of the workspace, for people
//! <build folder>/running    there while a run is under way, or was killed
//! <build folder>/written    what lay under each file of `upper` when it was written (module `written`)
//! ```
//!
//! # Never stale
//!
//! A program that compares times can't tell an old result from a new one when times lie. So it never meets any: its build
//! folder is empty but for units that fit what is there now, by content, and these are dated so that they are newer than
//! every source that they were compiled from and older than everything that is compiled. Units whose sources can't be known
//! to have stayed the same while they were compiled are not taken.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use carrack_base::{BuildEvent, Cancel, ContentDigest, EventSink, StepId, StepOutcome};
use carrack_graph::{
    ChosenUnit, ExecMount, ExecOp, ExecRoot, HarvestedUnit, Observed, OfferedUnit, Places, Run, Tool,
};
use carrack_sandbox::{Child, Command, Exit, IdMap, Launcher, Mount, Network, Root, Sandbox, Stdio, Support};
use carrack_store::{NewUnit, Scratch, Store, Taking, TargetFolder, UnitAge};

use crate::error::{At, EngineError};
use crate::inputs::{Inputs, Sources};
use crate::process;
use crate::shared::{Offers, SharedCaches};
use crate::world::{Moment, Seen, changed};
use crate::written;

const HOSTNAME: &str = "carrack";

/// Everything that a run needs besides its op.
pub(crate) struct Runner<'a> {
    pub(crate) store: &'a Store,
    pub(crate) inputs: &'a Inputs<'a>,
    pub(crate) launcher: &'a Launcher,
    pub(crate) shared: &'a SharedCaches,
    pub(crate) tool: &'a dyn Tool,
    pub(crate) events: &'a dyn EventSink,
    pub(crate) cancel: &'a Cancel,
    pub(crate) step: StepId,
    /// Uses nothing that an earlier run left.
    pub(crate) anew: bool,
}

/// A run that ended well.
pub(crate) struct Ran {
    pub(crate) observed: Observed,
    /// The units that it found and made, and their realm.
    pub(crate) units: Option<(ContentDigest, HashSet<ContentDigest>)>,
    /// When it began.
    pub(crate) began: Moment,
}

/// A build folder that this process holds.
pub(crate) struct Workbench {
    folder: TargetFolder,
    isolated: bool,
    /// The folder of the host that the command may write to as if it were its own.
    sources: PathBuf,
    pub(crate) places: Places,
}

/// What the command finds in its build folder.
enum Found {
    /// Nothing.
    Nothing,
    /// Folders with units, topmost first, that can't be written to.
    Below(Vec<PathBuf>),
    /// Units that were put into it.
    Planted,
}

impl Runner<'_> {
    /// Takes the build folder of `op`, waiting for another build of the same workspace if there is one.
    pub(crate) fn workbench(&self, op: &ExecOp) -> Result<Workbench, EngineError> {
        let scratch = self.scratch()?;
        let support = self.launcher.support(&scratch.1);
        let isolated = matches!(support, Support::Isolated);
        if let Support::Plain { reason } = &support {
            self.events.emit(BuildEvent::Warning {
                message: format!(
                    "this machine forbids the sandbox ({}): building in a plain process",
                    chain(reason)
                ),
                hint: Some(
                    "allow unprivileged user namespaces, or build as root, to isolate builds".to_owned(),
                ),
            });
        }
        // Paths differ outside of the sandbox, and with them what cargo keeps.
        let id = if isolated { op.build_folder.id.clone() } else { format!("{}-plain", op.build_folder.id) };
        let waiting = |holder: Option<u32>| {
            let holder = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default();
            self.events.emit(BuildEvent::Warning {
                message: format!("waiting for another build of this workspace{holder}"),
                hint: None,
            });
        };
        let folder = self.store.target(&id, self.cancel, waiting)?;
        let owner = folder.path().join("owner");
        if !owner.exists() {
            fs::write(&owner, &op.build_folder.owner).at("write", &owner)?;
        }
        let mut places = mounted(op);
        places.pairs.insert(0, (op.build_folder.target.clone(), folder.path().join("target")));
        let sources = op.mounts.iter().find_map(|mount| match mount {
            ExecMount::Scratch { source, .. } => Some(source.clone()),
            ExecMount::Folder { .. }
            | ExecMount::ReadOnly { .. }
            | ExecMount::Text { .. }
            | ExecMount::Mask { .. } => None,
        });
        Ok(Workbench { folder, isolated, sources: sources.unwrap_or_default(), places })
    }

    /// Runs the command once.
    ///
    /// Errors: the command failed, the sandbox could not be set up, the build was told to stop.
    pub(crate) fn run(
        &self,
        op: &ExecOp,
        workbench: &Workbench,
        sources: &Sources,
    ) -> Result<Ran, EngineError> {
        let start = Instant::now();
        let folder = workbench.folder.path();
        let began = self.prepare(workbench)?;
        let world = Seen {
            inputs: self.inputs,
            sources,
            op,
            places: &workbench.places,
            writable: &workbench.sources,
            upper: folder.join("upper"),
            isolated: workbench.isolated,
            began,
            contents: Mutex::default(),
        };
        let realm = self.tool.realm(op, &workbench.target_as_seen(op));
        let (mut run, found) = self.find(op, workbench, realm, &world)?;
        self.events.emit(BuildEvent::StepStarted { step: self.step, name: op.name.clone() });
        let result = self.command(op, workbench, &found, &mut *run);
        // The kernel leaves a folder without any permission in it, which a user could not remove without knowing why.
        let _ = workbench.folder.remove("work");
        let _ = workbench.folder.remove("work-target");
        let cancelled = self.cancel.signal();
        if cancelled.is_none() {
            written::note(folder, &workbench.sources)?;
        }
        // What the command wrote is looked at anew.
        let world = Seen { contents: Mutex::default(), ..world };
        let target = workbench.target();
        let harvested = run.harvest(&target, &world).at("read", &target)?;
        let units = run.units().iter().map(|unit| unit.id);
        let units: HashSet<ContentDigest> = units.chain(harvested.iter().map(|unit| unit.id)).collect();
        if let Some(realm) = realm {
            let taking = if matches!(found, Found::Planted) { Taking::Copy } else { Taking::Move };
            self.keep(op, realm, harvested, &target, taking);
        }
        if let Some(signal) = cancelled {
            // Killed somewhere in the middle: `running` goes on saying that a run is under way.
            return Err(EngineError::Cancelled { signal });
        }
        let program = || op.argv.first().cloned().unwrap_or_default();
        let ended = match result {
            Ok(Exit::Code(0)) => run.finish(&world).at("read", &target),
            Ok(exit) => Err(EngineError::StepFailed {
                step: op.name.clone(),
                program: program(),
                exit,
                transcript: run.transcript(),
            }),
            Err(error) => Err(error),
        };
        workbench.folder.remove("running")?;
        let (outcome, summary) = match &ended {
            Ok(observed) => (StepOutcome::Ran, observed.summary.clone()),
            Err(_) => (StepOutcome::Failed, String::new()),
        };
        self.events.emit(BuildEvent::StepFinished {
            step: self.step,
            outcome,
            summary,
            elapsed: start.elapsed(),
        });
        ended.map(|observed| Ran { observed, units: realm.map(|realm| (realm, units)), began })
    }

    /// Empties the build folder of what the last run built, and notes when this one began.
    fn prepare(&self, workbench: &Workbench) -> Result<Moment, EngineError> {
        let folder = workbench.folder.path();
        let running = folder.join("running");
        // What a killed run wrote into its sources, nobody noted.
        if self.anew || running.exists() {
            for name in ["upper", "written"] {
                workbench.folder.remove(name)?;
            }
        }
        workbench.set_aside()?;
        if self.anew {
            workbench.folder.remove("stays")?;
        }
        for name in ["target", "work", "work-target"] {
            workbench.folder.remove(name)?;
        }
        for name in ["target", "upper", "work", "work-target"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).at("create", path)?;
        }
        written::refresh(folder, &workbench.sources)?;
        fs::write(&running, "").at("write", &running)?;
        Ok(changed(&running).unwrap_or_default())
    }

    /// Puts kept units where the command finds them.
    fn find(
        &self,
        op: &ExecOp,
        workbench: &Workbench,
        realm: Option<ContentDigest>,
        world: &Seen<'_>,
    ) -> Result<(Box<dyn Run>, Found), EngineError> {
        let Some(realm) = realm.filter(|_| !self.anew) else {
            workbench.bring_back()?;
            let run = self.tool.begin(
                self.step,
                op,
                realm.unwrap_or_else(|| ContentDigest::of(b"")),
                Vec::new(),
                world,
            );
            return Ok((run, Found::Nothing));
        };
        // What is of no use here, and what could not be had from elsewhere.
        let (mut barred, mut failed): (HashSet<ContentDigest>, HashSet<ContentDigest>) = Default::default();
        let mut brought: BTreeMap<ContentDigest, String> = BTreeMap::new();
        let offers = match self.shared.from.is_empty() {
            true => Offers::default(),
            false => self.shared.offers(&realm, self.events),
        };
        loop {
            let rows = self.store.units(&realm)?.into_iter().filter(|row| !barred.contains(&row.id));
            let mut offered: Vec<OfferedUnit> = rows
                .map(|row| {
                    let origin = brought.get(&row.id).cloned();
                    OfferedUnit { id: row.id, record: row.record, origin }
                })
                .collect();
            let here: HashSet<ContentDigest> = offered.iter().map(|unit| unit.id).collect();
            let elsewhere = offers.offered(self.shared).into_iter();
            let elsewhere = elsewhere.filter(|unit| !here.contains(&unit.id) && !failed.contains(&unit.id));
            let elsewhere: Vec<OfferedUnit> = elsewhere.collect();
            let origins: BTreeMap<ContentDigest, String> =
                elsewhere.iter().filter_map(|unit| Some((unit.id, unit.origin.clone()?))).collect();
            offered.extend(elsewhere);
            let run = self.tool.begin(self.step, op, realm, offered, world);
            let wanted: Vec<ContentDigest> =
                run.units().iter().map(|unit| unit.id).filter(|id| !here.contains(id)).collect();
            if !wanted.is_empty() {
                let lacking = self.shared.bring(&offers, &wanted, self.store, self.events)?;
                brought.extend(origins.into_iter().filter(|(id, _)| wanted.contains(id)));
                if !lacking.is_empty() {
                    failed.extend(lacking);
                    continue;
                }
            }
            let (found, lost, useless) = self.put(workbench, run.units())?;
            if lost.is_empty() && useless.is_empty() {
                workbench.bring_back()?;
                return Ok((run, found));
            }
            // What is lost here may be had from elsewhere, once; then what needs it is of use again.
            failed.extend(lost.iter().filter(|id| brought.contains_key(*id)));
            barred.extend(if lost.is_empty() { useless } else { lost });
        }
    }

    /// Puts units under the build folder, or into it where there is no sandbox. Says which of them are lost, and which are of
    /// no use without these or beside others.
    fn put(
        &self,
        workbench: &Workbench,
        units: &[ChosenUnit],
    ) -> Result<(Found, Vec<ContentDigest>, Vec<ContentDigest>), EngineError> {
        let all: Vec<ContentDigest> = units.iter().map(|unit| unit.id).collect();
        if !workbench.isolated {
            let target = workbench.target();
            let planted = self.store.plant(&all, &target)?;
            let useless = [planted.left_out, planted.skipped].concat();
            if !planted.missing.is_empty() || !useless.is_empty() {
                workbench.folder.remove("target")?;
                fs::create_dir_all(&target).at("create", &target)?;
            }
            return Ok((Found::Planted, planted.missing, useless));
        }
        let (mut below, mut lost, mut useless) = (Vec::new(), Vec::new(), Vec::new());
        // Units of packages from elsewhere stay the same from one build to the next.
        for local in [true, false] {
            let ids = units.iter().filter(|unit| unit.local == local).map(|unit| unit.id);
            let ids: Vec<ContentDigest> = ids.collect();
            if !ids.is_empty() {
                let seed = self.store.seed(&ids)?;
                lost.extend(seed.missing);
                useless.extend(seed.left_out);
                below.push(seed.path);
            }
        }
        self.store.use_units(&all);
        let found = if below.is_empty() { Found::Nothing } else { Found::Below(below) };
        Ok((found, lost, useless))
    }

    /// Keeps the units that a run made, and what else of its results the next run wants to find.
    fn keep(
        &self,
        op: &ExecOp,
        realm: ContentDigest,
        harvested: Vec<HarvestedUnit>,
        target: &Path,
        taking: Taking,
    ) {
        let new = harvested.into_iter().map(|unit| NewUnit {
            id: unit.id,
            realm,
            package: unit.package,
            workspace: op.build_folder.owner.clone(),
            record: unit.record,
            files: unit.files,
            needs: unit.needs,
            age: match (unit.local, unit.ran) {
                (false, _) => UnitAge::Old,
                (true, false) => UnitAge::New,
                (true, true) => UnitAge::Ran,
            },
            from: target.into(),
        });
        if let Err(error) = self.store.keep_units(new.collect(), taking) {
            // The build is as good without: the next one compiles again.
            self.events.emit(BuildEvent::Warning {
                message: format!("compiled units can't be kept: {}", chain(&error)),
                hint: Some("run `carrack cache prune`, or `carrack doctor` to see what is wrong".to_owned()),
            });
        }
    }

    fn command(
        &self,
        op: &ExecOp,
        workbench: &Workbench,
        found: &Found,
        run: &mut dyn Run,
    ) -> Result<Exit, EngineError> {
        let scratch = self.scratch()?;
        let mut child = if workbench.isolated {
            self.spawn_isolated(op, workbench, found, &scratch.1)?
        } else {
            self.spawn_plain(op, workbench)?
        };
        let pipes = [child.stdout.take(), child.stderr.take()];
        let exit = std::thread::scope(|scope| {
            scope.spawn(|| {
                process::pump(pipes, |pipe, bytes| match pipe {
                    0 => run.stdout(bytes, self.events),
                    _ => run.stderr(bytes, self.events),
                });
                run.close(self.events);
            });
            process::wait(&mut child, &|| self.cancel.is_cancelled())
        })?;
        Ok(exit)
    }

    /// An empty folder, and what keeps it there.
    fn scratch(&self) -> Result<(Scratch, PathBuf), EngineError> {
        let scratch = self.store.scratch()?;
        let empty = scratch.path().join("sandbox");
        fs::create_dir(&empty).at("create", &empty)?;
        Ok((scratch, empty))
    }

    fn spawn_isolated(
        &self,
        op: &ExecOp,
        workbench: &Workbench,
        found: &Found,
        scratch: &Path,
    ) -> Result<Child, EngineError> {
        let folder = workbench.folder.path();
        let root = match op.root {
            ExecRoot::Host => Root::Host,
        };
        let mut mounts = Vec::new();
        for mount in &op.mounts {
            mounts.push(match mount {
                ExecMount::Scratch { source, target } if folder.starts_with(source) => {
                    // An overlay's upper folder can't lie in its lower one: these sources can only be read.
                    Mount::Bind { source: source.clone(), target: target.clone(), writable: false }
                }
                ExecMount::Scratch { source, target } => Mount::Overlay {
                    lower: vec![source.clone()],
                    upper: folder.join("upper"),
                    work: folder.join("work"),
                    target: target.clone(),
                    writable: true,
                },
                ExecMount::Folder { source, target } => {
                    Mount::Bind { source: source.clone(), target: target.clone(), writable: true }
                }
                ExecMount::ReadOnly { source, target } => {
                    Mount::Bind { source: source.clone(), target: target.clone(), writable: false }
                }
                ExecMount::Text { target, text } => {
                    let source = folder.join("text").join(target.file_name().unwrap_or_default());
                    write_text(&source, text)?;
                    Mount::Bind { source, target: target.clone(), writable: false }
                }
                ExecMount::Mask { target } => Mount::Mask { target: target.clone() },
            });
        }
        let target = op.build_folder.target.clone();
        mounts.push(match found {
            Found::Below(lower) => Mount::Overlay {
                lower: lower.clone(),
                upper: folder.join("target"),
                work: folder.join("work-target"),
                target,
                writable: true,
            },
            Found::Nothing | Found::Planted => {
                Mount::Bind { source: folder.join("target"), target, writable: true }
            }
        });
        let command = command(op, |text| text.to_owned());
        let sandbox = Sandbox {
            root,
            mounts,
            hostname: HOSTNAME.to_owned(),
            user: None,
            ids: IdMap::Caller,
            network: Network::Host,
            shm_size: None,
            scratch: scratch.to_owned(),
        };
        Ok(self.launcher.spawn(&command, &sandbox)?)
    }

    fn spawn_plain(&self, op: &ExecOp, workbench: &Workbench) -> Result<Child, EngineError> {
        let places = &workbench.places;
        let mut env: BTreeMap<String, String> =
            op.env.iter().map(|(name, value)| (name.clone(), places.text_on_host(&value.value))).collect();
        if let Some(home) = env.get_mut("HOME") {
            // Outside of a sandbox the one that the graph names may be a folder in which others leave configuration.
            let own = workbench.folder.path().join("home");
            fs::create_dir_all(&own).at("create", &own)?;
            *home = own.to_string_lossy().into_owned();
        }
        self.tool.run_outside(&mut env, places);
        let mut command = command(op, |text| places.text_on_host(text));
        command.env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Ok(self.launcher.spawn_plain(&command)?)
    }
}

impl Workbench {
    /// Sources that changed after `began`, by the time that nobody can set back. Outside of a sandbox, where the command
    /// itself may write to its sources, nobody can tell.
    pub(crate) fn touched(&self, sources: &Sources, began: Moment) -> BTreeSet<PathBuf> {
        if !self.isolated {
            return BTreeSet::new();
        }
        let hosts = sources.iter().filter_map(|source| sources.on_host(&source.name));
        hosts.filter(|host| changed(host).is_some_and(|changed| changed > began)).collect()
    }

    /// What the last run built.
    pub(crate) fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    /// Where the command finds its build folder.
    fn target_as_seen(&self, op: &ExecOp) -> PathBuf {
        if self.isolated { op.build_folder.target.clone() } else { self.target() }
    }

    /// Moves what [`STAYS`] names from the build folder to `stays`.
    fn set_aside(&self) -> Result<(), EngineError> {
        let stays = self.folder.path().join("stays");
        for path in staying(&self.target()) {
            let (from, to) = (self.target().join(&path), stays.join(&path));
            self.folder.remove(&format!("stays/{}", path.display()))?;
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).at("create", parent)?;
            }
            fs::rename(&from, &to).at("move", from)?;
        }
        Ok(())
    }

    /// Moves it back.
    fn bring_back(&self) -> Result<(), EngineError> {
        let stays = self.folder.path().join("stays");
        for path in staying(&stays) {
            let (from, to) = (stays.join(&path), self.target().join(&path));
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).at("create", parent)?;
            }
            fs::rename(&from, &to).at("move", from)?;
        }
        Ok(())
    }
}

/// What of a build folder the program itself checks before it uses it: what cargo knows about rustc, and rustc's incremental
/// compilation.
const STAYS: [&str; 2] = [".rustc_info.json", "incremental"];

/// What is to stay in a build folder: there, or in a folder for a profile or for a target's profile.
fn staying(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![(PathBuf::new(), 0)];
    while let Some((below, depth)) = open.pop() {
        for entry in fs::read_dir(folder.join(&below)).into_iter().flatten().flatten() {
            let path = below.join(entry.file_name());
            if STAYS.iter().any(|name| entry.file_name() == *name) {
                found.push(path);
            } else if depth < 2 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push((path, depth + 1));
            }
        }
    }
    found
}

/// Where the folders lie that are mounted for a command, whichever build folder it uses.
pub(crate) fn mounted(op: &ExecOp) -> Places {
    let pairs = op.mounts.iter().filter_map(|mount| match mount {
        ExecMount::Scratch { source, target }
        | ExecMount::Folder { source, target }
        | ExecMount::ReadOnly { source, target } => Some((target.clone(), source.clone())),
        ExecMount::Text { .. } | ExecMount::Mask { .. } => None,
    });
    Places { pairs: pairs.collect() }
}

/// An error with everything that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn command(op: &ExecOp, place: impl Fn(&str) -> String) -> Command {
    Command {
        argv: op.argv.iter().map(|argument| OsString::from(place(argument))).collect(),
        env: op.env.iter().map(|(name, value)| (name.into(), place(&value.value).into())).collect(),
        cwd: PathBuf::from(place(&op.cwd.to_string_lossy())),
        stdin: Stdio::Null,
        stdout: Stdio::Piped,
        stderr: Stdio::Piped,
        limits: Vec::new(),
    }
}

fn write_text(path: &Path, text: &str) -> Result<(), EngineError> {
    let folder = path.parent().expect("the text is in a folder");
    fs::create_dir_all(folder).at("create", folder)?;
    fs::write(path, text).at("write", path)
}
