//! Runs a step's command: locks its build folder, makes stale results impossible, starts the sandbox, listens.
//!
//! ```text
//! <build folder>/target     what the command builds
//! <build folder>/upper      what it wrote into its sources: they stay as they are, and it finds its files again
//! <build folder>/work       overlayfs' own
//! <build folder>/text       files that the graph gave as text
//! <build folder>/home       HOME of a command that runs outside of a sandbox
//! <build folder>/seen       which content of the sources the folder has seen (module `seen`)
//! <build folder>/outside    which content of other files it has seen (module `outside`)
//! <build folder>/written    what lay under each file of `upper` when it was written (module `written`)
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use carrack_base::{BuildEvent, Cancel, EventSink, StepId, StepOutcome};
use carrack_graph::{ExecMount, ExecOp, ExecRoot, Invalidation, Listing, Observed, Observer, Places, Tool};
use carrack_sandbox::{Child, Command, Exit, IdMap, Launcher, Mount, Root, Sandbox, Stdio, Support};
use carrack_store::{Scratch, Store, TargetFolder};
use rustix::event::{PollFd, PollFlags, poll};

use crate::error::{At, EngineError};
use crate::inputs::Sources;
use crate::outside::{Moment, changed};
use crate::seen::Seen;
use crate::written;

/// How often a build that waits for its command looks whether it has to stop.
const PATIENCE: Duration = Duration::from_millis(20);
const HOSTNAME: &str = "carrack";

/// Everything that a run needs besides its op.
pub(crate) struct Runner<'a> {
    pub(crate) store: &'a Store,
    pub(crate) launcher: &'a Launcher,
    pub(crate) tool: &'a dyn Tool,
    pub(crate) events: &'a dyn EventSink,
    pub(crate) cancel: &'a Cancel,
    pub(crate) step: StepId,
    /// Empties the build folder first.
    pub(crate) anew: bool,
}

/// Files of the host whose content, as far as the build folder knows it, can't be relied on.
#[derive(Default)]
pub(crate) struct Doubts {
    /// Files outside of the sources that changed since the last run.
    pub(crate) outside: BTreeSet<PathBuf>,
    /// Files that changed while the last run may have read them.
    pub(crate) touched: BTreeSet<PathBuf>,
}

/// A run that ended well.
pub(crate) struct Ran {
    pub(crate) observed: Observed,
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

    /// Runs the command once. `doubts` are files that may have changed without any sign that the command could see.
    ///
    /// Errors: the command failed, the sandbox could not be set up, the build was told to stop.
    pub(crate) fn run(
        &self,
        op: &ExecOp,
        workbench: &Workbench,
        sources: &Sources,
        doubts: &Doubts,
    ) -> Result<Ran, EngineError> {
        let start = Instant::now();
        let folder = workbench.folder.path();
        let listing = sources.listing();
        let seen = self.prepare(workbench, sources, &listing, doubts)?;
        let seen_path = folder.join("seen");
        let seen = seen.begin(&listing, &seen_path)?;
        let began = changed(&seen_path).unwrap_or_default();
        self.events.emit(BuildEvent::StepStarted { step: self.step, name: op.name.clone() });
        let result = self.command(op, workbench);
        // The kernel leaves a folder without any permission in it, which a user could not remove without knowing why.
        let _ = workbench.folder.remove("work");
        let succeeded = matches!(result, Ok((Exit::Code(0), _)));
        let program = || op.argv.first().cloned().unwrap_or_default();
        let ended = match result {
            Ok((Exit::Code(0), observer)) => {
                observer.finish(&workbench.places).at("read", folder.join("target"))
            }
            Ok((exit, observer)) => Err(EngineError::StepFailed {
                step: op.name.clone(),
                program: program(),
                exit,
                transcript: observer.transcript(),
            }),
            Err(error) => Err(error),
        };
        if let Some(signal) = self.cancel.signal() {
            // Killed somewhere in the middle: `seen` goes on saying that a run is under way.
            return Err(EngineError::Cancelled { signal });
        }
        written::note(folder, &workbench.sources)?;
        seen.end(succeeded, &seen_path)?;
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
        ended.map(|observed| Ran { observed, began })
    }

    /// Brings the build folder into a state in which the command can't take old results for new ones.
    fn prepare(
        &self,
        workbench: &Workbench,
        sources: &Sources,
        listing: &Listing,
        doubts: &Doubts,
    ) -> Result<Seen, EngineError> {
        let folder = workbench.folder.path();
        let seen = match Seen::read(&folder.join("seen")) {
            Some(seen) if !self.anew => seen,
            _ => {
                for name in ["target", "upper", "work", "written", "seen"] {
                    workbench.folder.remove(name)?;
                }
                Seen::default()
            }
        };
        for name in ["target", "upper", "work"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).at("create", path)?;
        }
        written::refresh(folder, &workbench.sources, |path| {
            sources.name_of(path).and_then(|name| seen.untouched(&name, listing))
        })?;
        let mut invalidation = Invalidation::default();
        // A file that is gone leaves no time to compare.
        let seen_by_time = |host: &Path| {
            fs::metadata(host).and_then(|metadata| metadata.modified()).is_ok_and(|time| seen.is_newer(time))
        };
        for name in seen.changed(listing) {
            let Some(host) = sources.on_host(&name) else { continue };
            let inside = workbench.places.inside(&host);
            if !seen.knows(&name) {
                invalidation.appeared.insert(inside.clone());
            }
            if seen_by_time(&host) { &mut invalidation.seen } else { &mut invalidation.unseen }
                .insert(inside);
        }
        for host in &doubts.outside {
            let inside = workbench.places.inside(host);
            if seen_by_time(host) { &mut invalidation.seen } else { &mut invalidation.unseen }.insert(inside);
        }
        invalidation.unseen.extend(doubts.touched.iter().map(|host| workbench.places.inside(host)));
        self.tool.invalidate(&invalidation, &workbench.places).at("change", folder.join("target"))?;
        Ok(seen)
    }

    fn command(&self, op: &ExecOp, workbench: &Workbench) -> Result<(Exit, Box<dyn Observer>), EngineError> {
        let scratch = self.scratch()?;
        let mut child = if workbench.isolated {
            self.spawn_isolated(op, workbench, &scratch.1)?
        } else {
            self.spawn_plain(op, workbench)?
        };
        let mut observer = self.tool.observe(self.step);
        let pipes = [child.stdout.take(), child.stderr.take()];
        let exit = std::thread::scope(|scope| {
            scope.spawn(|| {
                pump(pipes, |pipe, bytes| match pipe {
                    0 => observer.stdout(bytes, self.events),
                    _ => observer.stderr(bytes, self.events),
                });
            });
            self.wait(&mut child)
        })?;
        observer.close(self.events);
        Ok((exit, observer))
    }

    /// An empty folder, and what keeps it there.
    fn scratch(&self) -> Result<(Scratch, PathBuf), EngineError> {
        let scratch = self.store.scratch()?;
        let empty = scratch.path().join("sandbox");
        fs::create_dir(&empty).at("create", &empty)?;
        Ok((scratch, empty))
    }

    fn wait(&self, child: &mut Child) -> Result<Exit, EngineError> {
        let control = child.control();
        std::thread::scope(|scope| {
            let (done, is_done) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                // Ends when `done` is dropped, or kills the command when the build has to stop.
                while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = is_done.recv_timeout(PATIENCE) {
                    if self.cancel.is_cancelled() {
                        control.kill();
                        return;
                    }
                }
            });
            let exit = child.wait();
            drop(done);
            Ok(exit?)
        })
    }

    fn spawn_isolated(
        &self,
        op: &ExecOp,
        workbench: &Workbench,
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
        mounts.push(Mount::Bind {
            source: folder.join("target"),
            target: op.build_folder.target.clone(),
            writable: true,
        });
        let command = command(op, |text| text.to_owned());
        let sandbox = Sandbox {
            root,
            mounts,
            hostname: HOSTNAME.to_owned(),
            user: None,
            ids: IdMap::Caller,
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
    /// The build folder itself.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sources that changed after `began`, by the time that nobody can set back. Outside of a sandbox, where the command
    /// itself may write to its sources, nobody can tell.
    pub(crate) fn touched(&self, sources: &Sources, began: Moment) -> BTreeSet<PathBuf> {
        if !self.isolated {
            return BTreeSet::new();
        }
        let hosts = sources.iter().filter_map(|source| sources.on_host(&source.name));
        hosts.filter(|host| changed(host).is_some_and(|changed| changed > began)).collect()
    }

    /// The file on the host that an artifact's path means.
    pub(crate) fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }
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
    }
}

fn write_text(path: &Path, text: &str) -> Result<(), EngineError> {
    let folder = path.parent().expect("the text is in a folder");
    fs::create_dir_all(folder).at("create", folder)?;
    fs::write(path, text).at("write", path)
}

/// Reads until the other sides close. A pipe that fails is a closed one: how the command ended tells the rest.
///
/// The first pipe has precedence: what a command wrote there before it wrote to the second is also taken before. Cargo
/// puts its diagnostics on standard output and its last words, which speak of them, on standard error.
fn pump(pipes: [Option<impl Read + AsFd>; 2], mut take: impl FnMut(usize, &[u8])) {
    let mut open: Vec<(usize, _)> =
        pipes.into_iter().enumerate().filter_map(|(number, pipe)| Some((number, pipe?))).collect();
    let mut buffer = vec![0; 64 * 1024];
    while !open.is_empty() {
        let ready = {
            let mut polled: Vec<PollFd<'_>> =
                open.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
            // Without an answer all are as good as ready: reading waits, or fails for a reason.
            match poll(&mut polled, None) {
                Ok(_) => polled.iter().position(|polled| !polled.revents().is_empty()).unwrap_or(0),
                Err(_) => 0,
            }
        };
        let (number, pipe) = &mut open[ready];
        match pipe.read(&mut buffer) {
            Ok(length) if length > 0 => take(*number, &buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => drop(open.remove(ready)),
        }
    }
}
