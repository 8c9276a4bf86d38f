//! Which stages are needed and what each of them is made of, before anything is drawn.
//!
//! A stage is known by its number, and by its name without case; of several with one name the last counts, for `FROM` the
//! last one above it. A name that is no stage's is that of a named context, else of an image. A named context with a stage's
//! name stands in place of that stage, one with the name of a base image in place of the image.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use carrack_base::{Platform, nearest};
use carrack_graph::{ImageResolver, ResolvedImage};

use super::argument::Globals;
use super::error::{LowerError, Refusal};
use super::image::ImageConfig;
use super::reference;
use super::request::{Context, Request};
use crate::dockerfile::{
    Dockerfile, Heredoc, Instruction, Kind, Mount, MountKind, Source, Stage, Text, expand, parse_trigger,
};

/// What is drawn.
#[derive(Debug)]
pub(super) struct Plan<'p> {
    pub(super) stages: Vec<PlannedStage<'p>>,
    /// The stage that is wanted.
    pub(super) target: usize,
    /// The stages that it needs, itself included.
    pub(super) needed: BTreeSet<usize>,
}

/// One stage.
#[derive(Debug)]
pub(super) struct PlannedStage<'p> {
    pub(super) stage: &'p Stage,
    /// Its name in small letters.
    pub(super) name: Option<String>,
    /// What its steps are said to be of.
    pub(super) shown: Option<String>,
    /// How many steps it has; 0 if none is counted.
    pub(super) steps: usize,
    pub(super) base: Base,
    /// A named context stands in its place.
    pub(super) is_replaced: bool,
    pub(super) platform: Option<Platform>,
    /// Triggers of what it is based on first.
    pub(super) commands: Vec<Command<'p>>,
}

/// What a stage is based on.
#[derive(Debug, Clone)]
pub(super) enum Base {
    /// An earlier stage.
    Stage(usize),
    Scratch,
    /// An image by its whole name; resolved once it is needed.
    Image(String, Option<Box<ResolvedImage>>),
    /// A named context that is a folder or a repository.
    Context(String),
}

/// One instruction.
#[derive(Debug)]
pub(super) struct Command<'p> {
    pub(super) instruction: Cow<'p, Instruction>,
    /// It is an `ONBUILD` of what the stage is based on.
    pub(super) is_trigger: bool,
    /// For a `COPY` with `--from` one, for a `RUN` one for each mount.
    pub(super) origins: Vec<Option<Origin>>,
}

/// Where files come from, if not from the main context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Stage(usize),
    Scratch,
    /// A cache mount that begins empty.
    Nothing,
    /// A named context that is a folder or a repository.
    Context(String),
    /// An image by its whole name.
    Image(String),
}

pub(super) fn plan<'p, E>(
    dockerfile: &'p Dockerfile,
    request: &Request,
    globals: &Globals,
    resolver: &dyn ImageResolver<Error = E>,
) -> Result<Plan<'p>, LowerError<E>> {
    let mut plan = without_images(dockerfile, request, globals)?;
    Planning { dockerfile, request, globals }.demand(&mut plan, resolver)?;
    Ok(plan)
}

/// What is known before anyone is asked for images: of what is needed and of triggers, nothing.
pub(super) fn without_images<'p, E>(
    dockerfile: &'p Dockerfile,
    request: &Request,
    globals: &Globals,
) -> Result<Plan<'p>, LowerError<E>> {
    let planning = Planning { dockerfile, request, globals };
    let mut stages = Vec::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        let planned = planning
            .stage(index, stage)
            .map_err(|(range, refusal)| LowerError::at(dockerfile, range, refusal))?;
        stages.push(planned);
    }
    let target = planning.target().map_err(|refusal| LowerError::at(dockerfile, 0..0, refusal))?;
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        if stages[index].is_replaced {
            continue;
        }
        for instruction in &stage.instructions {
            let origins = planning
                .origins(instruction)
                .map_err(|(range, refusal)| LowerError::at(dockerfile, range, refusal))?;
            let instruction = Cow::Borrowed(instruction);
            stages[index].commands.push(Command { instruction, is_trigger: false, origins });
        }
    }
    planning.name_steps(&mut stages);
    let circle = circle(&stages);
    if let Some((range, names)) = circle {
        return Err(LowerError::at(dockerfile, range, Refusal::Circular { names }));
    }
    Ok(Plan { stages, target, needed: BTreeSet::new() })
}

impl Plan<'_> {
    /// The stages that the wanted one needs, itself included, as far as the Dockerfile says so itself.
    pub(super) fn reached(&self) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut open = vec![self.target];
        while let Some(index) = open.pop() {
            if !reached.insert(index) {
                continue;
            }
            let stage = &self.stages[index];
            open.extend(match stage.base {
                Base::Stage(base) => Some(base),
                Base::Scratch | Base::Image(..) | Base::Context(_) => None,
            });
            let origins = stage.commands.iter().flat_map(|command| &command.origins).flatten();
            open.extend(origins.filter_map(|origin| match origin {
                Origin::Stage(other) => Some(*other),
                _ => None,
            }));
        }
        reached
    }
}

struct Planning<'a, 'p> {
    dockerfile: &'p Dockerfile,
    request: &'a Request,
    globals: &'a Globals,
}

/// A refusal and its place.
type Placed = (Range<usize>, Refusal);

impl<'p> Planning<'_, 'p> {
    /// What a `FROM` says.
    fn stage(&self, index: usize, stage: &'p Stage) -> Result<PlannedStage<'p>, Placed> {
        let from = &stage.from;
        let expand = |text: &Text| {
            let expanded = self.globals.variables.expand(text, self.dockerfile.escape);
            expanded.map_err(|refusal| (text.range(), refusal))
        };
        let image = expand(&from.image)?;
        if image.is_empty() {
            return Err((from.image.range(), Refusal::BlankImage { written: from.image.to_string() }));
        }
        let platform = match &from.platform {
            Some(text) => {
                let platform = expand(text)?;
                let parsed = whole_platform(&platform, self.request.target_platform());
                Some(parsed.ok_or((text.range(), Refusal::BadPlatform { platform }))?)
            }
            None => None,
        };
        let name = from.name.as_ref().map(|name| name.to_ascii_lowercase());
        let replacement = name.as_ref().and_then(|name| self.context(name));
        let is_replaced = replacement.is_some();
        let base = match replacement {
            Some(context) => self.context_base(context),
            None => match self.dockerfile.stage_named(&image, index) {
                Some(stage) => Some(Base::Stage(stage)),
                None if image == "scratch" => Some(Base::Scratch),
                None => match self.context(&image) {
                    Some(context) => self.context_base(context),
                    None => reference::whole(&image).map(|reference| Base::Image(reference, None)),
                },
            },
        };
        let base = base.ok_or_else(|| {
            let context = replacement.or_else(|| self.context(&image));
            let reference = match context {
                Some((_, Context::Image { reference })) => reference.clone(),
                _ => image,
            };
            (from.image.range(), Refusal::BadReference { reference })
        })?;
        Ok(PlannedStage {
            stage,
            name,
            shown: None,
            steps: 0,
            base,
            is_replaced,
            platform,
            commands: Vec::new(),
        })
    }

    /// The named context of a stage or an image.
    fn context(&self, name: &str) -> Option<(&String, &Context)> {
        if name.eq_ignore_ascii_case("scratch") || name.eq_ignore_ascii_case("context") {
            return None;
        }
        let whole = reference::whole(name);
        let mut contexts = self.request.contexts.iter();
        contexts.find(|(known, _)| {
            known.eq_ignore_ascii_case(name) || (whole.is_some() && reference::whole(known) == whole)
        })
    }

    fn context_base(&self, (name, context): (&String, &Context)) -> Option<Base> {
        match context {
            Context::Image { reference } => {
                reference::of_context(reference).map(|reference| Base::Image(reference, None))
            }
            Context::Folder { .. } | Context::Git { .. } => Some(Base::Context(name.clone())),
        }
    }

    fn target(&self) -> Result<usize, Refusal> {
        let stages = &self.dockerfile.stages;
        let Some(target) = &self.request.target else { return Ok(stages.len() - 1) };
        if let Some(index) = self.dockerfile.stage_named(target, stages.len()) {
            return Ok(index);
        }
        let names = stages.iter().filter_map(|stage| stage.from.name.as_ref());
        let known: Vec<String> = names.map(|name| name.to_ascii_lowercase()).collect();
        let nearest = nearest(target, known.iter().map(String::as_str)).map(str::to_owned);
        Err(Refusal::UnknownTarget { name: target.clone(), nearest, known })
    }

    /// Where an instruction takes files from.
    fn origins(&self, instruction: &Instruction) -> Result<Vec<Option<Origin>>, Placed> {
        match &instruction.kind {
            Kind::Copy(copy) => match &copy.from {
                Some(from) => Ok(vec![Some(self.origin(from)?)]),
                None => Ok(Vec::new()),
            },
            Kind::Run(run) => {
                let origin = |mount: &Mount| match (&mount.from, mount.kind) {
                    (Some(from), MountKind::Bind | MountKind::Cache) if !from.is_empty() => {
                        self.origin(from).map(Some)
                    }
                    (_, MountKind::Cache) => Ok(Some(Origin::Nothing)),
                    _ => Ok(None),
                };
                run.mounts.iter().map(origin).collect()
            }
            _ => Ok(Vec::new()),
        }
    }

    fn origin(&self, from: &Text) -> Result<Origin, Placed> {
        let refuse = |refusal| (from.range(), refusal);
        let expanded = expand(from, self.dockerfile.escape, &|_| None);
        if expanded.as_deref() != Ok(from.as_str()) {
            return Err(refuse(Refusal::VariableInFrom { from: from.to_string() }));
        }
        let stages = self.dockerfile.stages.len();
        if from.bytes().all(|byte| byte.is_ascii_digit()) {
            let index = from.parse::<usize>().ok().filter(|index| *index < stages);
            return index.map(Origin::Stage).ok_or(refuse(Refusal::NoSuchStage { index: from.to_string() }));
        }
        if let Some(stage) = self.dockerfile.stage_named(from, stages) {
            return Ok(Origin::Stage(stage));
        }
        if from.as_str() == "scratch" {
            return Ok(Origin::Scratch);
        }
        let (name, whole) = match self.context(from) {
            Some((name, Context::Folder { .. } | Context::Git { .. })) => {
                return Ok(Origin::Context(name.clone()));
            }
            Some((_, Context::Image { reference })) => (reference.as_str(), reference::of_context(reference)),
            None => (from.as_str(), reference::whole(from)),
        };
        whole.map(Origin::Image).ok_or(refuse(Refusal::BadReference { reference: name.to_owned() }))
    }

    /// How many steps each stage has, and whether they are said to be of it: not if it is all there is.
    fn name_steps(&self, stages: &mut [PlannedStage<'p>]) {
        let elsewhere = stages.iter().flat_map(|stage| &stage.commands).flat_map(|command| &command.origins);
        let elsewhere = elsewhere.flatten().any(|origin| !matches!(origin, Origin::Stage(_)));
        let alone = stages.len() == 1 && !elsewhere;
        for (index, stage) in stages.iter_mut().enumerate() {
            if stage.is_replaced {
                continue;
            }
            stage.shown = match &stage.name {
                _ if alone => None,
                Some(name) => Some(name.clone()),
                None => Some(format!("stage-{index}")),
            };
            let counted = stage.commands.iter().filter(|command| {
                matches!(
                    command.instruction.kind,
                    Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_)
                )
            });
            let base = usize::from(!matches!(stage.base, Base::Scratch | Base::Stage(_)));
            stage.steps = counted.count() + base;
        }
    }

    /// Finds what the target needs; asks for images, and adds what their triggers need.
    fn demand<E>(
        &self,
        plan: &mut Plan<'p>,
        resolver: &dyn ImageResolver<Error = E>,
    ) -> Result<(), LowerError<E>> {
        let mut open = vec![plan.target];
        let mut images = BTreeMap::new();
        while let Some(index) = open.pop() {
            if !plan.needed.insert(index) {
                continue;
            }
            let range = plan.stages[index].stage.range.clone();
            let triggers = self.base(plan, index, resolver, &mut images)?;
            let mut commands = Vec::new();
            for text in triggers {
                let refuse = |refusal| LowerError::at(self.dockerfile, range.clone(), refusal);
                let instruction =
                    parse_trigger(&text).map_err(|problem| refuse(Refusal::Trigger { text, problem }))?;
                let origins = self.origins(&instruction).map_err(|(_, refusal)| refuse(refusal))?;
                commands.push(Command { instruction: Cow::Owned(instruction), is_trigger: true, origins });
            }
            let stage = &mut plan.stages[index];
            stage.steps += commands.len();
            commands.append(&mut stage.commands);
            stage.commands = commands;
            if let Base::Stage(base) = stage.base {
                open.push(base);
            }
            for command in &stage.commands {
                for origin in command.origins.iter().flatten() {
                    let Origin::Stage(other) = origin else { continue };
                    if *other >= index {
                        let range = match command.is_trigger {
                            true => range,
                            false => command.instruction.range.clone(),
                        };
                        let name = name_of(&self.dockerfile.stages[*other], *other);
                        return Err(LowerError::at(self.dockerfile, range, Refusal::LaterStage { name }));
                    }
                    open.push(*other);
                }
            }
        }
        Ok(())
    }

    /// Resolves what a stage is based on; gives the triggers in there.
    fn base<E>(
        &self,
        plan: &mut Plan<'p>,
        index: usize,
        resolver: &dyn ImageResolver<Error = E>,
        images: &mut BTreeMap<(String, Platform), ResolvedImage>,
    ) -> Result<Vec<String>, LowerError<E>> {
        let stage = &plan.stages[index];
        match &stage.base {
            Base::Stage(base) => {
                let instructions = &self.dockerfile.stages[*base].instructions;
                let is_there = !plan.stages[*base].is_replaced;
                Ok(instructions.iter().filter(|_| is_there).filter_map(trigger).collect())
            }
            Base::Scratch | Base::Context(_) => Ok(Vec::new()),
            Base::Image(reference, _) => {
                let platform = stage.platform.as_ref().unwrap_or(self.request.target_platform());
                let (reference, range) = (reference.clone(), stage.stage.range.clone());
                let key = (reference.clone(), platform.clone());
                // A name means the same image for the whole build.
                let image = match images.get(&key) {
                    Some(image) => image.clone(),
                    None => resolver.resolve(&reference, platform).map_err(|source| LowerError::Image {
                        span: self.dockerfile.span(range.clone()),
                        reference: reference.clone(),
                        source,
                    })?,
                };
                images.insert(key, image.clone());
                let config = ImageConfig::read(&image.config).ok_or_else(|| {
                    let refusal = Refusal::BadConfig { reference: reference.clone() };
                    LowerError::at(self.dockerfile, range, refusal)
                })?;
                let stage = &mut plan.stages[index];
                stage.base = Base::Image(reference, Some(Box::new(image)));
                Ok(if stage.is_replaced { Vec::new() } else { config.list("OnBuild") })
            }
        }
    }
}

/// The text of an `ONBUILD`, as an image's configuration has it.
pub(super) fn trigger(instruction: &Instruction) -> Option<String> {
    let Kind::Onbuild(inner) = &instruction.kind else { return None };
    let mut text = inner.text.to_string();
    let documents = match &inner.kind {
        Kind::Run(run) => run.heredocs.iter().collect(),
        Kind::Copy(copy) => documents(&copy.sources),
        Kind::Add(add) => documents(&add.sources),
        _ => Vec::new(),
    };
    for document in documents {
        text.push('\n');
        text.push_str(&document.text);
        text.push_str(&document.name);
    }
    Some(text)
}

fn documents(sources: &[Source]) -> Vec<&Heredoc> {
    let documents = sources.iter().filter_map(|source| match source {
        Source::Heredoc(document) => Some(document),
        Source::Path(_) => None,
    });
    documents.collect()
}

/// What people call a stage.
pub(super) fn name_of(stage: &Stage, index: usize) -> String {
    stage.from.name.as_ref().map_or_else(|| index.to_string(), |name| name.to_ascii_lowercase())
}

/// A platform; `linux` alone is one too.
fn whole_platform(text: &str, target: &Platform) -> Option<Platform> {
    if let Ok(platform) = text.parse() {
        return Some(platform);
    }
    match text.to_ascii_lowercase().as_str() {
        "local" => None,
        os @ ("linux" | "windows" | "freebsd" | "darwin") => {
            Some(Platform { os: os.to_owned(), ..target.clone() })
        }
        "" => None,
        architecture @ ("amd64" | "x86_64" | "arm64" | "aarch64" | "arm" | "386" | "riscv64" | "ppc64le"
        | "s390x" | "loong64" | "mips64le") => format!("{}/{architecture}", target.os).parse().ok(),
        _ => None,
    }
}

/// Stages that need each other, and the instruction that closes the circle.
fn circle(stages: &[PlannedStage<'_>]) -> Option<(Range<usize>, Vec<String>)> {
    let needs: Vec<Vec<(usize, Range<usize>)>> = stages
        .iter()
        .map(|stage| {
            let commands = stage.commands.iter().flat_map(|command| {
                let range = &command.instruction.range;
                command.origins.iter().flatten().filter_map(move |origin| match origin {
                    Origin::Stage(index) => Some((*index, range.clone())),
                    _ => None,
                })
            });
            let base = match stage.base {
                Base::Stage(index) => Some((index, stage.stage.range.clone())),
                _ => None,
            };
            base.into_iter().chain(commands).collect()
        })
        .collect();
    let mut is_done = vec![false; stages.len()];
    for start in 0..stages.len() {
        // Each stage on the way, with how many of its needs were followed.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((stage, followed)) = way.last_mut() {
            let stage = *stage;
            if is_done[stage] {
                way.pop();
                continue;
            }
            let Some((next, range)) = needs[stage].get(*followed) else {
                is_done[stage] = true;
                way.pop();
                continue;
            };
            *followed += 1;
            if let Some(from) = way.iter().position(|(on_the_way, _)| on_the_way == next) {
                let names = way[from..].iter().map(|(index, _)| name_of(stages[*index].stage, *index));
                return Some((range.clone(), names.collect()));
            }
            way.push((*next, 0));
        }
    }
    None
}
