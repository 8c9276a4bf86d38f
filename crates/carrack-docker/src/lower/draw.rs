//! Stage after stage, instruction after instruction: plan → graph.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use carrack_base::{ImagePath, Platform, Span};
use carrack_graph::{
    BaseOp, BuildGraph, ContextOp, CopyOp, CopySource, ImageResolver, NodeId, Op, ResolvedImage, StageOp,
    StageProgram, StepInfo, Unpack,
};

use super::argument::{Globals, Variables, unused};
use super::error::{LowerError, Refusal};
use super::image::ImageConfig;
use super::plan::{Base, Command, Origin, Plan, PlannedStage, name_of};
use super::remote;
use super::request::{Context, Request};
use super::steps::{Steps, shown};
use super::{Lowered, copy, run, settings};
use crate::dockerfile::{Dockerfile, Kind};

pub(super) fn draw<E>(
    dockerfile: &Dockerfile,
    request: &Request,
    globals: &Globals,
    plan: &Plan<'_>,
    resolver: &dyn ImageResolver<Error = E>,
) -> Result<Lowered, LowerError<E>> {
    let mut drawing = Drawing {
        dockerfile,
        request,
        globals,
        graph: BuildGraph::default(),
        drawn: vec![None; plan.stages.len()],
        contexts: BTreeMap::new(),
        images: BTreeMap::new(),
    };
    for index in &plan.needed {
        let planned = &plan.stages[*index];
        let state = drawing.stage(*index, planned, resolver)?;
        drawing.drawn[*index] = Some(state);
    }
    let target = &plan.stages[plan.target];
    let state = drawing.drawn[plan.target].take().expect("the target is needed and was drawn");
    let stage = name_of(target.stage, plan.target);
    let mut image = state.image;
    if let Some(platform) = &request.platform {
        image.claim_platform(platform);
    }
    let op = StageOp {
        name: request.name.as_ref().or(request.tags.first()).unwrap_or(&stage).clone(),
        tags: request.tags.clone(),
        root: state.root,
        layers: Vec::new(),
        programs: request.programs.iter().cloned().map(StageProgram::File).collect(),
        config: image.finish(&request.labels, globals.epoch),
        created: globals.created(),
    };
    let image = drawing.add(Op::Stage(op));
    let triggers = plan.needed.iter().flat_map(|index| &plan.stages[*index].commands);
    let declared = triggers.filter_map(|command| match &command.instruction.kind {
        Kind::Arg(arguments) => Some(arguments.iter().map(|argument| argument.name.to_string())),
        _ => None,
    });
    let declared: BTreeSet<String> = declared.flatten().collect();
    Ok(Lowered { graph: drawing.graph, image, stage, unused: unused(dockerfile, request, declared) })
}

pub(super) struct Drawing<'a> {
    pub(super) dockerfile: &'a Dockerfile,
    pub(super) request: &'a Request,
    pub(super) globals: &'a Globals,
    graph: BuildGraph,
    drawn: Vec<Option<State>>,
    /// Named contexts; the main one has no name.
    contexts: BTreeMap<Option<String>, NodeId>,
    images: BTreeMap<(String, Platform), NodeId>,
}

/// What a stage is after an instruction, and what a stage that is based on it begins with.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) root: NodeId,
    /// What instructions and commands see: of `ENV` and `ARG`.
    pub(super) variables: Variables,
    /// Every `ARG` so far, and whether it has a value.
    pub(super) arguments: Vec<(String, Option<String>)>,
    pub(super) image: ImageConfig,
}

/// The stage that is being drawn.
pub(super) struct Current {
    pub(super) state: State,
    pub(super) steps: Steps,
    pub(super) uncached: bool,
    /// Whether this stage has a `CMD` of its own.
    pub(super) has_command: bool,
    /// Where the `FROM` is.
    pub(super) from: Range<usize>,
}

impl Current {
    /// The folder that relative paths are seen from.
    pub(super) fn folder(&self) -> String {
        clean("/", self.state.image.text("WorkingDir"))
    }

    pub(super) fn expand(&self, text: &str, escape: char) -> Result<String, Refusal> {
        self.state.variables.expand(text, escape)
    }
}

impl Drawing<'_> {
    pub(super) fn add(&mut self, op: Op) -> NodeId {
        self.graph.add(op).expect("what an op needs is drawn before it, and is a root or files")
    }

    fn stage<E>(
        &mut self,
        index: usize,
        planned: &PlannedStage<'_>,
        resolver: &dyn ImageResolver<Error = E>,
    ) -> Result<State, LowerError<E>> {
        let from = planned.stage.range.clone();
        let mut steps = Steps { stage: planned.shown.clone(), done: 0, total: planned.steps };
        let state = self
            .base(planned, &mut steps)
            .map_err(|refusal| LowerError::at(self.dockerfile, from.clone(), refusal))?;
        if planned.is_replaced {
            return Ok(state);
        }
        let name = name_of(planned.stage, index);
        let filtered = self.request.no_cache_filter.iter().any(|stage| stage.eq_ignore_ascii_case(&name));
        let mut current =
            Current { state, steps, uncached: self.request.no_cache || filtered, has_command: false, from };
        current.state.image.ensure_path();
        for (name, value) in current.state.image.env() {
            current.state.variables.set(&name, &value);
        }
        if !current.state.image.text("WorkingDir").is_empty() {
            let folder = current.folder();
            current.state.image.set_text("WorkingDir", &folder);
        }
        for command in &planned.commands {
            let range = self.range(&current, command);
            let origins = self.origins(command, resolver, &range)?;
            self.command(&mut current, command, &origins)
                .map_err(|refusal| LowerError::at(self.dockerfile, range, refusal))?;
        }
        Ok(current.state)
    }

    /// What a stage begins with.
    fn base(&mut self, planned: &PlannedStage<'_>, steps: &mut Steps) -> Result<State, Refusal> {
        let range = &planned.stage.range;
        let target = self.request.target_platform();
        let platform = planned.platform.as_ref().unwrap_or(target).clone();
        let state =
            |root, image| State { root, variables: Variables::default(), arguments: Vec::new(), image };
        match &planned.base {
            Base::Stage(base) => {
                let mut state = self.drawn[*base].clone().expect("earlier stages are drawn before");
                state.image.set_list("OnBuild", Vec::new());
                Ok(state)
            }
            Base::Scratch => {
                let step = self.step("FROM scratch".to_owned(), range, false);
                let root = self.add(Op::Base(BaseOp { step, image: None }));
                Ok(state(root, ImageConfig::empty(target)))
            }
            Base::Image(reference, image) => {
                let image = image.as_deref().expect("images of stages that are needed are resolved");
                let config = ImageConfig::read(&image.config);
                let mut config = config.ok_or_else(|| Refusal::BadConfig { reference: reference.clone() })?;
                config.set_list("OnBuild", Vec::new());
                let name = steps.next(&from_line(image), false);
                let step = self.step(name, range, false);
                let root = self.add(Op::Base(BaseOp { step, image: Some(image.clone()) }));
                self.images.entry((reference.clone(), platform)).or_insert(root);
                Ok(state(root, config))
            }
            Base::Context(name) => {
                let files = self.context(Some(name), range)?;
                let line = steps.next(&format!("FROM {name}"), false);
                let step = self.step(line, range, false);
                let empty = BaseOp {
                    step: StepInfo { name: "FROM scratch".to_owned(), ..step.clone() },
                    image: None,
                };
                let onto = self.add(Op::Base(empty));
                let source = CopySource::Files { from: files, path: ".".to_owned(), unpack: Unpack::Never };
                let root = self.add(Op::Copy(CopyOp {
                    step,
                    onto,
                    sources: vec![source],
                    to: ImagePath::root(),
                    to_folder: true,
                    owner: None,
                    mode: None,
                    exclude: None,
                    parents: false,
                    link: false,
                }));
                let mut image = ImageConfig::empty(&platform);
                image.record(format!("FROM {name}"), true, self.globals.epoch);
                Ok(state(root, image))
            }
        }
    }

    fn command(
        &mut self,
        current: &mut Current,
        command: &Command<'_>,
        origins: &[Option<NodeId>],
    ) -> Result<(), Refusal> {
        match &command.instruction.kind {
            Kind::Run(run) => run::run(self, current, command, run, origins),
            Kind::Copy(copy) => copy::copy(self, current, command, copy, origins),
            Kind::Add(add) => copy::add(self, current, command, add),
            Kind::Workdir(path) => settings::workdir(self, current, command, path),
            kind => settings::set(self, current, &command.instruction, kind),
        }
    }

    /// What an instruction takes files from, one for each of its origins.
    fn origins<E>(
        &mut self,
        command: &Command<'_>,
        resolver: &dyn ImageResolver<Error = E>,
        range: &Range<usize>,
    ) -> Result<Vec<Option<NodeId>>, LowerError<E>> {
        let mut nodes = Vec::new();
        for origin in &command.origins {
            nodes.push(match origin {
                None | Some(Origin::Nothing) => None,
                Some(Origin::Stage(index)) => {
                    let state = self.drawn[*index].as_ref();
                    Some(state.expect("stages that are needed are drawn in order").root)
                }
                Some(Origin::Scratch) => {
                    let step = self.step("FROM scratch".to_owned(), range, false);
                    Some(self.add(Op::Base(BaseOp { step, image: None })))
                }
                Some(Origin::Context(name)) => {
                    let node = self.context(Some(name), range);
                    Some(node.map_err(|refusal| LowerError::at(self.dockerfile, range.clone(), refusal))?)
                }
                Some(Origin::Image(reference)) => Some(self.image(reference, resolver, range)?),
            });
        }
        Ok(nodes)
    }

    /// The root of an image that files are taken from.
    fn image<E>(
        &mut self,
        reference: &str,
        resolver: &dyn ImageResolver<Error = E>,
        range: &Range<usize>,
    ) -> Result<NodeId, LowerError<E>> {
        let platform = self.request.target_platform().clone();
        let key = (reference.to_owned(), platform);
        if let Some(node) = self.images.get(&key) {
            return Ok(*node);
        }
        let image = resolver.resolve(reference, &key.1).map_err(|source| LowerError::Image {
            span: self.dockerfile.span(range.clone()),
            reference: reference.to_owned(),
            source,
        })?;
        let step = self.step(from_line(&image), range, false);
        let node = self.add(Op::Base(BaseOp { step, image: Some(image) }));
        self.images.insert(key, node);
        Ok(node)
    }

    /// Files of the main context, or of a named one.
    pub(super) fn context(&mut self, name: Option<&str>, range: &Range<usize>) -> Result<NodeId, Refusal> {
        let key = name.map(str::to_owned);
        if let Some(node) = self.contexts.get(&key) {
            return Ok(*node);
        }
        let context = match name {
            Some(name) => self.request.contexts.get(name).unwrap_or(&self.request.context),
            None => &self.request.context,
        };
        let shown = name.unwrap_or("context");
        let op = match context {
            Context::Folder { folder, filter } => Op::Context(ContextOp {
                name: shown.to_owned(),
                folder: folder.clone(),
                filter: filter.clone(),
            }),
            Context::Git { address } => {
                let git = remote::git(address)?.ok_or_else(|| Refusal::BadAddress {
                    address: address.clone(),
                    part: address.clone(),
                    why: "is no repository",
                })?;
                Op::Git(git.op(self.step(format!("[{shown}] {address}"), range, false), false, None))
            }
            Context::Image { reference } => {
                return Err(Refusal::BadReference { reference: reference.clone() });
            }
        };
        let node = self.add(op);
        self.contexts.insert(key, node);
        Ok(node)
    }

    pub(super) fn step(&self, name: String, range: &Range<usize>, uncached: bool) -> StepInfo {
        let origin = Some(Span { source: self.dockerfile.source.clone(), range: range.clone() });
        StepInfo { name, origin, uncached }
    }

    /// The next step of a stage, for an instruction that is shown with its variables.
    pub(super) fn next_step(&self, current: &mut Current, command: &Command<'_>, uncached: bool) -> StepInfo {
        let line = shown(&command.instruction.text, self.dockerfile.escape, &current.state.variables);
        let name = current.steps.next(&line, command.is_trigger);
        self.step(name, &self.range(current, command), uncached)
    }

    /// What asks for a step: a trigger is in another file, so the `FROM` does.
    pub(super) fn range(&self, current: &Current, command: &Command<'_>) -> Range<usize> {
        match command.is_trigger {
            true => current.from.clone(),
            false => command.instruction.range.clone(),
        }
    }
}

/// How a base image is shown: with its digest.
fn from_line(image: &ResolvedImage) -> String {
    match image.reference.contains('@') {
        true => format!("FROM {}", image.reference),
        false => format!("FROM {}@{}", image.reference, image.manifest),
    }
}

/// A path as seen from a folder: absolute, without `.` and `..`; what climbs above the root stays there.
pub(super) fn clean(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    let mut names: Vec<&str> = Vec::new();
    for name in whole.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// The same as a path in an image.
pub(super) fn image_path(folder: &str, path: &str) -> Result<ImagePath, Refusal> {
    ImagePath::new(&clean(folder, path)).map_err(|_| Refusal::BadPath { path: path.to_owned() })
}
