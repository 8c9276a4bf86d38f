//! Solves a graph on demand: each op once, images side by side, nothing that no image needs.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use carrack_base::{BuildEvent, Cancel, ContentDigest, EventSink, StepId};
use carrack_context::{ContextError, ContextFilter};
use carrack_graph::{
    BuildGraph, BuiltImage, ClosureOp, CopyOp, ExecMount, ExecOp, FetchOp, FolderOp, GitOp, KeyRecord,
    LayerOp, NodeId, Observed, Op, Places, RunOp, StepInfo, TreeOp,
};
use carrack_store::{Batch, Bucket, Store};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::closure::ClosureEntry;
use crate::error::EngineError;
use crate::exec::{Ran, Runner, Workbench, mounted};
use crate::image::Finished;
use crate::inputs::{Inputs, Sources};
use crate::layer::WrittenLayer;
use crate::memo::{Learned, Memo, Memos};
use crate::root::{ContextFiles, Files, Filter, Jobs, Layers, RootValue, Stack};
use crate::shared::{AskedCaches, SharedResult};
use crate::world::changed;
use crate::{Engine, keys, listing, why};

/// Sources that change during a run are built again, but not for ever.
const RUNS: u32 = 3;

/// One build of one graph.
pub(crate) struct Solver<'a> {
    pub(crate) engine: &'a Engine<'a>,
    pub(crate) graph: &'a BuildGraph,
    pub(crate) events: &'a dyn EventSink,
    pub(crate) cancel: &'a Cancel,
    pub(crate) inputs: &'a Inputs<'a>,
    pub(crate) layers: Layers<'a>,
    pub(crate) jobs: Jobs,
    /// One slot for each op; holding it while solving is what makes each op run once.
    values: Vec<Mutex<Option<Value>>>,
    pub(crate) next_step: AtomicU32,
    /// Set once a step has failed: the others need not go on.
    stopped: AtomicBool,
    pub(crate) asked: AskedCaches<'a>,
}

#[derive(Clone)]
enum Value {
    Sources(Arc<Sources>),
    Exec(Arc<ExecValue>),
    Closure(Arc<ClosureValue>),
    Layer(Arc<LayerValue>),
    Root(Arc<RootValue>),
    Files(Arc<ContextFiles>),
}

/// A command's result.
pub(crate) struct ExecValue {
    pub(crate) artifacts: BTreeMap<String, Artifact>,
    /// Why this result is another one than last time's, if nobody has said so yet.
    pub(crate) unsaid: Option<String>,
    /// Present once the command ran in this build, or its build folder had to be opened for an artifact's bytes.
    bench: Mutex<Option<Workbench>>,
}

/// A file that a command made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) digest: ContentDigest,
    /// Relative to the build folder.
    path: PathBuf,
}

/// What a program needs, each file with the digest of its content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClosureValue {
    pub(crate) entries: Vec<ClosureEntry>,
    pub(crate) notes: Vec<String>,
}

/// A layer that is in the store.
pub(crate) struct LayerValue {
    pub(crate) title: &'static str,
    pub(crate) written: WrittenLayer,
    /// Path → what is there, for whoever asks what changed.
    pub(crate) entries: BTreeMap<String, String>,
    pub(crate) new: bool,
}

impl<'a> Solver<'a> {
    pub(crate) fn new(
        engine: &'a Engine<'a>,
        graph: &'a BuildGraph,
        inputs: &'a Inputs<'a>,
        events: &'a dyn EventSink,
        cancel: &'a Cancel,
    ) -> Self {
        let values = graph.ops().iter().map(|_| Mutex::new(None)).collect();
        let (next_step, stopped) = (AtomicU32::new(0), AtomicBool::new(false));
        let asked = AskedCaches::new(&engine.shared, events);
        let gives_away = !engine.options.keeps_files;
        let layers = Layers::new(engine.store, engine.source, gives_away, &engine.shared, events);
        let jobs = Jobs::new(std::thread::available_parallelism().map_or(1, NonZeroUsize::get));
        Self { engine, graph, events, cancel, inputs, layers, jobs, values, next_step, stopped, asked }
    }

    /// All images of the graph, in its order.
    pub(crate) fn images(&self) -> Result<Vec<BuiltImage>, EngineError> {
        let mut is_second = false;
        loop {
            match self.try_images() {
                // The kept result can't be had any more; what the command makes now is as good.
                Err(EngineError::Irreproducible { .. }) if !is_second => {
                    is_second = true;
                    self.inputs.forget();
                }
                // The step that made this layer runs again. Whatever else was found is found once more.
                Err(EngineError::LostLayer { snapshot }) if !self.layers.lose(&snapshot) => {
                    return Err(EngineError::DamagedSnapshot { snapshot });
                }
                Err(EngineError::LostLayer { .. }) => {}
                result => return result,
            }
            self.stopped.store(false, Ordering::Relaxed);
            for value in &self.values {
                *value.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
        }
    }

    fn try_images(&self) -> Result<Vec<BuiltImage>, EngineError> {
        let images: Vec<NodeId> = self.graph.images().collect();
        // What all of them need comes first, on this thread: there is nothing to do side by side before it is there.
        for node in self.graph.nodes() {
            if let Op::Exec(_) = self.graph.op(node) {
                self.value(node)?;
            }
        }
        let results = std::thread::scope(|scope| {
            let running: Vec<_> = images.iter().map(|image| scope.spawn(|| self.finished(*image))).collect();
            running
                .into_iter()
                .map(|image| image.join().expect("solving an image does not panic"))
                .collect::<Vec<_>>()
        });
        let mut built = Vec::new();
        for finished in none_failed(results)? {
            finished.news.into_iter().for_each(|event| self.events.emit(event));
            built.push(finished.built);
        }
        Ok(built)
    }

    /// Puts what this build used and made into the shared caches.
    ///
    /// Errors: the store's own.
    pub(crate) fn share(&self) -> Result<(), EngineError> {
        let shared = &self.engine.shared;
        if shared.to.is_empty() {
            return Ok(());
        }
        self.asked.publish(self.store())?;
        let mut compiled = None;
        let mut result = SharedResult::new();
        for node in self.graph.nodes() {
            let value = self.values[node.index()].lock().unwrap_or_else(PoisonError::into_inner).clone();
            let key = match (self.graph.op(node), value) {
                (Op::Exec(op), Some(Value::Exec(_))) => {
                    let Value::Sources(sources) = self.value(op.sources)? else {
                        unreachable!("the graph checked the kind of each input")
                    };
                    let key = keys::exec(op, sources.digest()).key();
                    compiled = Some(key);
                    key
                }
                (Op::Closure(op), Some(Value::Closure(_))) => {
                    let exec = self.exec_value(op.exec)?;
                    let Some(artifact) = exec.artifacts.get(&op.artifact) else { continue };
                    keys::closure(artifact.digest, op.timezones).key()
                }
                (Op::Layer(op), Some(Value::Layer(value))) => {
                    result.add_layer(value.written.clone());
                    keys::layer(&value.entries, op.mtime).key()
                }
                _ => continue,
            };
            // What was not kept can't be recognised elsewhere either.
            let Some(kept) = self.store().get(Bucket::Step, key.as_bytes())? else { return Ok(()) };
            result.add_step(key, kept);
        }
        if let Some(key) = compiled {
            shared.publish_result(&key, &result, self.store(), self.events);
        }
        Ok(())
    }

    pub(crate) fn store(&self) -> &Store {
        self.engine.store
    }

    pub(crate) fn threads(&self) -> NonZeroUsize {
        std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
    }

    fn value(&self, node: NodeId) -> Result<Value, EngineError> {
        let mut slot = self.values[node.index()].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*slot {
            return Ok(value.clone());
        }
        if let Some(signal) = self.cancel.signal() {
            return Err(EngineError::Cancelled { signal });
        }
        if self.is_stopped() {
            return Err(EngineError::Stopped);
        }
        let solved = self.side_by_side(node).and_then(|()| self.solve(node));
        if solved.is_err() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        let value = solved?;
        *slot = Some(value.clone());
        Ok(value)
    }

    /// Solves the inputs of an op, each on a thread of its own if there are several.
    fn side_by_side(&self, node: NodeId) -> Result<(), EngineError> {
        let inputs = self.graph.op(node).inputs();
        let [(first, _), others @ ..] = &inputs[..] else { return Ok(()) };
        if others.is_empty() || !matches!(self.graph.op(node), Op::Run(_) | Op::Copy(_)) {
            return Ok(());
        }
        let results = std::thread::scope(|scope| {
            let others: Vec<_> = others.iter().map(|(other, _)| scope.spawn(|| self.value(*other))).collect();
            let first = self.value(*first);
            let others = others.into_iter().map(|other| other.join().expect("solving does not panic"));
            std::iter::once(first).chain(others).collect::<Vec<_>>()
        });
        none_failed(results).map(drop)
    }

    fn solve(&self, node: NodeId) -> Result<Value, EngineError> {
        let in_step =
            |info: &StepInfo, result: Result<RootValue, EngineError>| -> Result<Value, EngineError> {
                let root = result.map_err(|error| error.in_step(info));
                Ok(Value::Root(Arc::new(root?)))
            };
        let value = match self.graph.op(node) {
            Op::Tree(op) => Value::Sources(Arc::new(self.inputs.sources(op)?)),
            Op::Exec(op) => Value::Exec(Arc::new(self.exec(op)?)),
            Op::Closure(op) => Value::Closure(Arc::new(self.closure(op)?)),
            Op::Layer(op) => Value::Layer(Arc::new(self.layer(op)?)),
            Op::Base(op) => in_step(
                &op.step,
                match &op.image {
                    Some(image) => self.layers.of_image(&Arc::new(image.clone())),
                    None => Ok(RootValue::default()),
                },
            )?,
            Op::Run(op) => in_step(&op.step, self.run_step(op))?,
            Op::Copy(op) => in_step(&op.step, self.copy(op))?,
            Op::Folder(op) => in_step(&op.step, self.folder(op))?,
            Op::Fetch(op) => in_step(&op.step, self.fetch(op))?,
            Op::Git(op) => in_step(&op.step, self.git(op))?,
            Op::Context(op) => {
                let filter = op.filter.as_deref().map(Filter);
                let filter = filter.as_ref().map(|filter| filter as &dyn ContextFilter);
                let fingerprint = op.filter.as_ref().map(|filter| filter.fingerprint()).unwrap_or_default();
                let content = self.inputs.context(&op.folder, filter, &fingerprint)?;
                Value::Files(Arc::new(ContextFiles { folder: op.folder.clone(), content }))
            }
            Op::Image(_) | Op::Stage(_) => unreachable!("no op needs an image"),
        };
        Ok(value)
    }

    /// Whether a step has failed.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn finished(&self, node: NodeId) -> Result<Finished, EngineError> {
        match self.graph.op(node) {
            Op::Stage(op) => self.stage(op),
            _ => self.image(node),
        }
    }

    pub(crate) fn root_value(&self, node: NodeId) -> Result<Arc<RootValue>, EngineError> {
        match self.value(node)? {
            Value::Root(value) => Ok(value),
            _ => unreachable!("the graph checked the kind of each input"),
        }
    }

    /// What can be copied from an op's result.
    pub(crate) fn files(&self, node: NodeId) -> Result<Arc<dyn Files + Send>, EngineError> {
        match self.value(node)? {
            Value::Files(files) => Ok(files),
            Value::Root(root) => Ok(Arc::new(self.layers.stack(&root)?)),
            _ => unreachable!("the graph checked the kind of each input"),
        }
    }

    /// An op's result as a root, if it is one.
    pub(crate) fn root_of(&self, node: NodeId) -> Result<Option<Arc<RootValue>>, EngineError> {
        match self.value(node)? {
            Value::Root(root) => Ok(Some(root)),
            _ => Ok(None),
        }
    }

    /// An op's result as a stack of folders, if it is one.
    pub(crate) fn stack_of(&self, node: NodeId) -> Result<Option<Stack>, EngineError> {
        match self.value(node)? {
            Value::Root(root) => Ok(Some(self.layers.stack(&root)?)),
            _ => Ok(None),
        }
    }

    /// What people call the result of an op.
    pub(crate) fn called(&self, node: NodeId) -> String {
        match self.graph.op(node) {
            Op::Context(op) => format!("the context {}", op.folder.display()),
            Op::Base(op) => op.image.as_ref().map_or("scratch", |image| &image.reference).to_owned(),
            Op::Run(RunOp { step, .. })
            | Op::Copy(CopyOp { step, .. })
            | Op::Folder(FolderOp { step, .. })
            | Op::Fetch(FetchOp { step, .. })
            | Op::Git(GitOp { step, .. }) => step.name.clone(),
            other => other.kind().to_owned(),
        }
    }

    pub(crate) fn exec_value(&self, node: NodeId) -> Result<Arc<ExecValue>, EngineError> {
        match self.value(node)? {
            Value::Exec(value) => Ok(value),
            _ => unreachable!("the graph checked the kind of each input"),
        }
    }

    pub(crate) fn closure_value(&self, node: NodeId) -> Result<Arc<ClosureValue>, EngineError> {
        match self.value(node)? {
            Value::Closure(value) => Ok(value),
            _ => unreachable!("the graph checked the kind of each input"),
        }
    }

    pub(crate) fn layer_value(&self, node: NodeId) -> Result<Arc<LayerValue>, EngineError> {
        match self.value(node)? {
            Value::Layer(value) => Ok(value),
            _ => unreachable!("the graph checked the kind of each input"),
        }
    }

    fn exec(&self, op: &ExecOp) -> Result<ExecValue, EngineError> {
        let sources = match self.value(op.sources)? {
            Value::Sources(sources) => sources,
            _ => unreachable!("the graph checked the kind of each input"),
        };
        let record = keys::exec(op, sources.digest());
        let mut recalled = self.recall::<BTreeMap<String, Artifact>>(&record, op)?;
        let shared = &self.engine.shared;
        if matches!(recalled, Recalled::Unknown | Recalled::Learned(_))
            && !shared.from.is_empty()
            && shared.bring_result(&record.key(), self.store(), self.events)?
        {
            recalled = self.recall(&record, op)?;
        }
        let changed = || self.changed(op, &record, &sources);
        let reason = match recalled {
            Recalled::Hit(artifacts) => {
                // A result of an earlier time, as after a change of branches.
                let unsaid = changed()?;
                if unsaid.is_some() {
                    self.store().put(Bucket::Latest, &latest_key(op), record.to_bytes())?;
                }
                return Ok(ExecValue { artifacts, unsaid, bench: Mutex::new(None) });
            }
            Recalled::Forbidden => Some("--no-cache was given".to_owned()),
            Recalled::Learned(reasons) => why::join(reasons),
            Recalled::Unknown => changed()?,
        };
        if let Some(reason) = reason {
            self.events.emit(BuildEvent::Why { image: None, reason });
        }
        self.run(op)
    }

    /// Runs the command, again if its sources changed meanwhile, and keeps the result.
    fn run(&self, op: &ExecOp) -> Result<ExecValue, EngineError> {
        let mut runner = self.runner(op, self.engine.options.no_cache);
        let bench = runner.workbench(op)?;
        let Op::Tree(tree) = self.graph.op(op.sources) else {
            unreachable!("the graph checked the kind of each input")
        };
        for run in 1..=RUNS {
            self.inputs.forget();
            let sources = self.inputs.sources(tree)?;
            let Ran { observed, units, began } = runner.run(op, &bench, &sources)?;
            if let Some((realm, units)) = units {
                self.asked.used(realm, units);
            }
            self.inputs.forget();
            let (learned, whole) = self.learned(op, &observed, &bench, &sources)?;
            let artifacts = self.artifacts(op, &observed, &bench)?;
            // A file that is as it was may have been another one in between.
            let mut touched = bench.touched(&sources, began);
            let since = |path: &Path| changed(path).is_some_and(|changed| changed > began);
            touched.extend(learned.files.keys().filter(|path| since(path)).cloned());
            let moved = self.moved(tree, &sources)?;
            let in_doubt: BTreeSet<&PathBuf> = touched.iter().chain(&moved).collect();
            if let Some(first) = in_doubt.first() {
                let read: Vec<PathBuf> =
                    observed.files.iter().map(|file| bench.places.on_host(file)).collect();
                let was_read = in_doubt.iter().any(|path| read.iter().any(|file| path.starts_with(file)));
                match (was_read, run < RUNS) {
                    (true, true) => {
                        self.warn("the sources changed while they were built: building again", None);
                        runner.anew = false;
                        continue;
                    }
                    (true, false) if !moved.is_empty() => break,
                    _ => {}
                }
                // Nothing that the command declared: the result is good, but whose it is can't be said.
                let message =
                    format!("{} changed during the build: the result is used, and not kept", first.display());
                self.warn(&message, Some("keep files that change all the time outside of the workspace"));
                return Ok(ExecValue { artifacts, unsaid: None, bench: Mutex::new(Some(bench)) });
            }
            let record = keys::exec(op, sources.digest());
            if whole {
                self.remember(&record, learned.map_paths(|path| bench.places.inside(path)), &artifacts)?;
            }
            let mut batch = Batch::default();
            batch.put(Bucket::Record, sources.digest().as_bytes(), listing::encode(&sources.listing()));
            batch.put(Bucket::Latest, &latest_key(op), record.to_bytes());
            self.store().commit(batch)?;
            return Ok(ExecValue { artifacts, unsaid: None, bench: Mutex::new(Some(bench)) });
        }
        Err(EngineError::Unstable { runs: RUNS })
    }

    /// Files whose content is not the one in `sources` any more.
    fn moved(&self, tree: &TreeOp, sources: &Sources) -> Result<BTreeSet<PathBuf>, EngineError> {
        let now = self.inputs.sources(tree)?;
        if now.digest() == sources.digest() {
            return Ok(BTreeSet::new());
        }
        let (before, after) = (sources.listing(), now.listing());
        let names = before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name));
        Ok(names.filter_map(|name| sources.on_host(name)).collect())
    }

    fn warn(&self, message: &str, hint: Option<&str>) {
        self.events.emit(BuildEvent::Warning { message: message.to_owned(), hint: hint.map(str::to_owned) });
    }

    /// Inputs that the command read besides its declared ones, by their paths on the host, and whether these are all:
    /// what can't be read or written down can't be recognised later.
    fn learned(
        &self,
        op: &ExecOp,
        observed: &Observed,
        bench: &Workbench,
        sources: &Sources,
    ) -> Result<(Learned, bool), EngineError> {
        let mut learned = Learned::default();
        let mut whole = true;
        // These folders hold what follows from declared inputs: results, and downloads that the lock file names.
        let folders = op.mounts.iter().filter_map(|mount| match mount {
            ExecMount::Folder { source, .. } => Some(source.clone()),
            ExecMount::Scratch { .. }
            | ExecMount::ReadOnly { .. }
            | ExecMount::Text { .. }
            | ExecMount::Mask { .. } => None,
        });
        let derived: Vec<PathBuf> = folders.chain([bench.target()]).collect();
        for seen in &observed.files {
            let host = bench.places.on_host(seen);
            if !sources.cover(&host) && !derived.iter().any(|folder| host.starts_with(folder)) {
                match self.content(&host)?.filter(|_| host.to_str().is_some()) {
                    Some(content) => drop(learned.files.insert(host, content)),
                    None => whole = false,
                }
            }
        }
        for name in &observed.env {
            if op.env.get(name).is_none_or(|value| !value.keyed) {
                learned.env.insert(name.clone(), env_digest(op, name));
            }
        }
        Ok((learned, whole))
    }

    /// What is at a path of the host; `None` if it can't be read.
    fn content(&self, path: &Path) -> Result<Option<Option<ContentDigest>>, EngineError> {
        match self.inputs.digest(path) {
            Ok(content) => Ok(Some(content)),
            Err(ContextError::Read { .. } | ContextError::Root { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn artifacts(
        &self,
        op: &ExecOp,
        observed: &Observed,
        bench: &Workbench,
    ) -> Result<BTreeMap<String, Artifact>, EngineError> {
        let mut artifacts = BTreeMap::new();
        for name in &op.artifacts {
            let missing = || EngineError::NoArtifact { step: op.name.clone(), artifact: name.clone() };
            let path = observed.artifacts.get(name).ok_or_else(missing)?;
            let digest = self.inputs.digest(path)?.ok_or_else(missing)?;
            let path = path.strip_prefix(bench.target()).map_err(|_| missing())?.to_owned();
            artifacts.insert(name.clone(), Artifact { digest, path });
        }
        Ok(artifacts)
    }

    /// Where the bytes of an artifact lie; this build holds the folder from then on.
    pub(crate) fn artifact_path(&self, node: NodeId, name: &str) -> Result<PathBuf, EngineError> {
        let value = self.exec_value(node)?;
        let Op::Exec(op) = self.graph.op(node) else {
            unreachable!("the graph checked the kind of each input")
        };
        let artifact = value
            .artifacts
            .get(name)
            .ok_or_else(|| EngineError::NoArtifact { step: op.name.clone(), artifact: name.to_owned() })?;
        let mut bench = value.bench.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match bench.take() {
            Some(opened) => opened,
            None => self.reopen(op, &value.artifacts)?,
        };
        let target = opened.target();
        *bench = Some(opened);
        Ok(target.join(&artifact.path))
    }

    /// Opens the build folder. If it has other artifacts by now, the command runs again.
    ///
    /// All of them are looked at, since a run would change those that are being read already.
    fn reopen(&self, op: &ExecOp, artifacts: &BTreeMap<String, Artifact>) -> Result<Workbench, EngineError> {
        let runner = self.runner(op, false);
        let opened = runner.workbench(op)?;
        let mut fits = true;
        for artifact in artifacts.values() {
            fits &= self.inputs.digest(&opened.target().join(&artifact.path))? == Some(artifact.digest);
        }
        if fits {
            return Ok(opened);
        }
        drop(opened);
        let again = self.run(op)?;
        if let Some((name, _)) =
            artifacts.iter().find(|(name, artifact)| again.artifacts.get(*name) != Some(*artifact))
        {
            return Err(EngineError::Irreproducible { step: op.name.clone(), artifact: name.clone() });
        }
        let bench = again.bench.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(bench.expect("the command has just run"))
    }

    fn runner(&self, op: &ExecOp, anew: bool) -> Runner<'_> {
        Runner {
            store: self.store(),
            inputs: self.inputs,
            launcher: &self.engine.launcher,
            shared: &self.engine.shared,
            tool: self.engine.tool(op.tool),
            events: self.events,
            cancel: self.cancel,
            step: StepId(self.next_step.fetch_add(1, Ordering::Relaxed)),
            anew,
        }
    }

    fn closure(&self, op: &ClosureOp) -> Result<ClosureValue, EngineError> {
        let exec = self.exec_value(op.exec)?;
        let artifact = exec.artifacts.get(&op.artifact).ok_or_else(|| EngineError::NoArtifact {
            step: "closure".to_owned(),
            artifact: op.artifact.clone(),
        })?;
        let record = keys::closure(artifact.digest, op.timezones);
        let value = match self.recall_closure(&record)? {
            Some(value) => value,
            None => {
                let path = self.artifact_path(op.exec, &op.artifact)?;
                let found = crate::closure::closure(&path, op.timezones)
                    .map_err(|error| EngineError::closure(&op.artifact, error))?;
                let mut learned = Learned::default();
                for file in found.consulted.iter().filter(|file| **file != path) {
                    learned.files.insert(file.clone(), self.inputs.digest(file)?);
                }
                let value = ClosureValue { entries: found.entries, notes: found.notes };
                // A library from the build folder is this workspace's own; the key has only the program.
                let own = path.parent().unwrap_or(&path);
                let mut found = learned.files.iter().filter(|(_, content)| content.is_some());
                if !found.any(|(file, _)| file.starts_with(own)) {
                    self.remember(&record, learned, &value)?;
                }
                value
            }
        };
        for note in &value.notes {
            self.events.emit(BuildEvent::Warning {
                message: note.clone(),
                hint: Some("install it, or add the files with the key `files`".to_owned()),
            });
        }
        Ok(value)
    }

    fn layer(&self, op: &LayerOp) -> Result<LayerValue, EngineError> {
        for _ in 0..RUNS {
            let mut planned = self.planned(op)?;
            let mut entries = BTreeMap::new();
            let mut contradiction = false;
            planned.retain(|entry| match entries.entry(entry.to.to_string()) {
                Entry::Vacant(place) => {
                    place.insert(entry.describe());
                    true
                }
                Entry::Occupied(there) => {
                    let other = *there.get() != entry.describe();
                    contradiction |= other;
                    other
                }
            });
            let key = keys::layer(&entries, op.mtime).key();
            // The record holds one entry a path: two that differ are the writer's to refuse.
            if !contradiction && !self.engine.options.no_cache {
                let kept: Option<WrittenLayer> = self.read(Bucket::Step, key.as_bytes())?;
                if let Some(written) =
                    kept.filter(|written| self.store().blob_path(&written.digest).is_some())
                {
                    return Ok(LayerValue { title: op.title, written, entries, new: false });
                }
            }
            let written = self.write_layer(&planned, op.mtime)?;
            if self.is_as_planned(&planned)? {
                self.write(Bucket::Step, key.as_bytes(), &written)?;
                return Ok(LayerValue { title: op.title, written, entries, new: true });
            }
            self.inputs.forget();
        }
        Err(EngineError::Unstable { runs: RUNS })
    }

    /// An outcome whose learned inputs are as they were.
    fn recall<V: DeserializeOwned + Serialize + Clone>(
        &self,
        record: &KeyRecord,
        op: &ExecOp,
    ) -> Result<Recalled<V>, EngineError> {
        if self.engine.options.no_cache {
            return Ok(Recalled::Forbidden);
        }
        let Some(memos) = self.read::<Memos<V>>(Bucket::Step, record.key().as_bytes())? else {
            return Ok(Recalled::Unknown);
        };
        let mut reasons = Vec::new();
        let places = mounted(op);
        for memo in memos.outcomes {
            let now = self.now(&memo.learned, |path| places.on_host(path), |name| env_digest(op, name))?;
            if now.as_ref() == Some(&memo.learned) {
                return Ok(Recalled::Hit(memo.value));
            }
            if let Some(now) = now.filter(|_| reasons.is_empty()) {
                reasons = memo.learned.changes(&now, |path| shown(op, &places, path));
            }
        }
        Ok(Recalled::Learned(reasons))
    }

    fn recall_closure(&self, record: &KeyRecord) -> Result<Option<ClosureValue>, EngineError> {
        if self.engine.options.no_cache {
            return Ok(None);
        }
        let memos = self.read::<Memos<ClosureValue>>(Bucket::Step, record.key().as_bytes())?;
        for memo in memos.into_iter().flat_map(|memos| memos.outcomes) {
            if self.now(&memo.learned, Path::to_owned, |_| None)?.as_ref() == Some(&memo.learned) {
                return Ok(Some(memo.value));
            }
        }
        Ok(None)
    }

    /// The same inputs as they are now; `None` if one can't be read.
    fn now(
        &self,
        learned: &Learned,
        on_host: impl Fn(&Path) -> PathBuf,
        env: impl Fn(&str) -> Option<ContentDigest>,
    ) -> Result<Option<Learned>, EngineError> {
        let mut now = Learned::default();
        for path in learned.files.keys() {
            let Some(content) = self.content(&on_host(path))? else { return Ok(None) };
            now.files.insert(path.clone(), content);
        }
        now.env.extend(learned.env.keys().map(|name| (name.clone(), env(name))));
        Ok(Some(now))
    }

    fn remember<V: Serialize + DeserializeOwned + Clone>(
        &self,
        record: &KeyRecord,
        learned: Learned,
        value: &V,
    ) -> Result<(), EngineError> {
        let key = record.key();
        let mut memos = self.read::<Memos<V>>(Bucket::Step, key.as_bytes())?.unwrap_or_else(Memos::none);
        memos.remember(Memo { learned, value: value.clone() });
        self.write(Bucket::Step, key.as_bytes(), &memos)
    }

    /// Values of an older program that can't be read any more count as absent.
    pub(crate) fn read<V: DeserializeOwned>(
        &self,
        bucket: Bucket,
        key: &[u8],
    ) -> Result<Option<V>, EngineError> {
        let bytes = self.store().get(bucket, key)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    pub(crate) fn write<V: Serialize>(
        &self,
        bucket: Bucket,
        key: &[u8],
        value: &V,
    ) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec(value).expect("the engine's own values can be written as JSON");
        Ok(self.store().put(bucket, key, bytes)?)
    }

    /// What is different from the last record of the same build folder; `None` if there is none, or no difference.
    fn changed(
        &self,
        op: &ExecOp,
        record: &KeyRecord,
        sources: &Sources,
    ) -> Result<Option<String>, EngineError> {
        let Some(latest) = self.store().get(Bucket::Latest, &latest_key(op))? else { return Ok(None) };
        if latest == record.to_bytes() {
            return Ok(None);
        }
        Ok(why::line(&KeyRecord::from_bytes(&latest)?.changes(record, &|digest| {
            if *digest == sources.digest() {
                return Some(sources.listing());
            }
            let kept = self.store().get(Bucket::Record, digest.as_bytes()).ok().flatten()?;
            listing::decode(&kept)
        })))
    }
}

/// All results, or the first failure: not one that only followed from another.
fn none_failed<T>(results: Vec<Result<T, EngineError>>) -> Result<Vec<T>, EngineError> {
    let (mut values, mut failures) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(failure) => failures.push(failure),
        }
    }
    failures.sort_by_key(|failure| matches!(failure, EngineError::Stopped));
    failures.into_iter().next().map_or(Ok(values), Err)
}

enum Recalled<V> {
    /// It is there.
    Hit(V),
    /// It is there, for other learned inputs: these differ.
    Learned(Vec<String>),
    /// Nothing is known about this key.
    Unknown,
    /// The user does not want it.
    Forbidden,
}

fn env_digest(op: &ExecOp, name: &str) -> Option<ContentDigest> {
    op.env.get(name).map(|value| ContentDigest::of(value.value.as_bytes()))
}

/// A learned input as people know it: what lies where the command runs by its relative path, everything else by its path on the host.
fn shown(op: &ExecOp, places: &Places, path: &Path) -> String {
    path.strip_prefix(&op.cwd).map_or_else(|_| places.on_host(path), Path::to_owned).display().to_string()
}

/// Where the record of the last run in a build folder is kept.
fn latest_key(op: &ExecOp) -> Vec<u8> {
    format!("exec {}", op.build_folder.id).into_bytes()
}
