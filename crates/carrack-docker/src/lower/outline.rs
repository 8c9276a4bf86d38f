//! What a Dockerfile can be asked, without building anything: its stages, and the arguments and mounts of one of them.
//!
//! A description is the comment directly above a `FROM` or an `ARG` that begins with the name: `# server answers requests`
//! above `FROM … AS server`. No image is asked for, so what its triggers want is not seen.

use std::collections::BTreeMap;

use carrack_base::Span;

use super::argument::{Globals, Variables, is_predefined};
use super::error::LowerError;
use super::plan::{self, Base, PlannedStage};
use super::request::Request;
use super::run::{agent_id, cache_id, secret_id};
use crate::dockerfile::{Argument, Comment, Dockerfile, Instruction, Kind, MountKind, Text, variables};

/// What can be asked of a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Its name, in small letters.
    pub name: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Arguments of everything that it needs, each once, in the order in which they are declared.
    pub arguments: Vec<OutlineArgument>,
    /// Secrets that commands are lent.
    pub secrets: Vec<OutlineMount>,
    /// SSH agents that commands are lent.
    pub agents: Vec<OutlineMount>,
    /// Names of caches.
    pub caches: Vec<String>,
}

/// An `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineArgument {
    /// Its name.
    pub name: String,
    /// What it is, with the request; `None` if it has no value.
    pub value: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The first `ARG` of its name.
    pub span: Span,
}

/// A secret or an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its name.
    pub id: String,
    /// Whether some command can't do without.
    pub is_required: bool,
    /// The first `RUN` that is lent it.
    pub span: Span,
}

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetStage {
    /// Its name, in small letters; one that has none can only be built as the last one.
    pub name: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// What it is based on, with its variables: an image, or another stage.
    pub base: String,
    /// The platform that its `FROM` says, as it is written.
    pub platform: Option<String>,
    /// Whether it is what is built if nothing is said.
    pub is_default: bool,
    /// Its `FROM`.
    pub span: Span,
}

/// What can be asked of the wanted stage.
///
/// Errors: what would be refused before any image is asked for.
pub fn outline<E>(dockerfile: &Dockerfile, request: &Request) -> Result<Outline, LowerError<E>> {
    let globals = Globals::read(dockerfile, request)?;
    let plan = plan::without_images(dockerfile, request, &globals)?;
    let target = &plan.stages[plan.target];
    let mut outline = Outline {
        name: target.name.clone(),
        description: description(&target.stage.comments, target.name.as_deref()),
        ..Outline::default()
    };
    let reached = plan.reached();
    for instruction in &dockerfile.arguments {
        let is_used = |name: &str| reached.iter().any(|index| uses(dockerfile, &plan.stages[*index], name));
        for argument in arguments(instruction).filter(|argument| is_used(&argument.name)) {
            let value = globals.variables.get(&argument.name).map(str::to_owned);
            outline.add(argument, instruction, value, dockerfile);
        }
    }
    let mut ends: BTreeMap<usize, Variables> = BTreeMap::new();
    for index in reached {
        let stage = &plan.stages[index];
        let mut known = match stage.base {
            Base::Stage(base) => ends.get(&base).cloned().unwrap_or_default(),
            _ => Variables::default(),
        };
        for command in &stage.commands {
            match &command.instruction.kind {
                Kind::Arg(_) => {
                    for argument in arguments(&command.instruction) {
                        let given = request.build_args.get(argument.name.as_str()).cloned();
                        // Which platform an image is for is said by other means.
                        let is_asked =
                            given.is_some() || argument.value.is_some() || !is_predefined(&argument.name);
                        let default = argument.value.as_ref();
                        let default = default.and_then(|text| known.expand(text, dockerfile.escape).ok());
                        let value = given.or(default);
                        let value =
                            value.or_else(|| globals.variables.get(&argument.name).map(str::to_owned));
                        if let Some(value) = &value {
                            known.set(&argument.name, value);
                        }
                        if is_asked {
                            outline.add(argument, &command.instruction, value, dockerfile);
                        }
                    }
                }
                Kind::Env(pairs) => {
                    for pair in pairs {
                        let value = known.expand(&pair.value, dockerfile.escape).unwrap_or_default();
                        known.set(&pair.name, &value);
                    }
                }
                Kind::Run(run) => {
                    let span = dockerfile.span(command.instruction.range.clone());
                    for mount in &run.mounts {
                        let lent = |id| OutlineMount {
                            id,
                            is_required: mount.required == Some(true),
                            span: span.clone(),
                        };
                        match mount.kind {
                            MountKind::Secret => lend(&mut outline.secrets, lent(secret_id(mount))),
                            MountKind::Ssh => lend(&mut outline.agents, lent(agent_id(mount))),
                            MountKind::Cache => {
                                let id = cache_id(mount);
                                if !outline.caches.contains(&id) {
                                    outline.caches.push(id);
                                }
                            }
                            MountKind::Bind | MountKind::Tmpfs => {}
                        }
                    }
                }
                _ => {}
            }
        }
        ends.insert(index, known);
    }
    Ok(outline)
}

/// Every stage that can be built.
///
/// Errors: as [`outline`].
pub fn targets<E>(dockerfile: &Dockerfile, request: &Request) -> Result<Vec<TargetStage>, LowerError<E>> {
    let globals = Globals::read(dockerfile, request)?;
    let request = Request { target: None, ..request.clone() };
    let plan = plan::without_images(dockerfile, &request, &globals)?;
    let stages = plan.stages.iter().enumerate().map(|(index, stage)| TargetStage {
        name: stage.name.clone(),
        description: description(&stage.stage.comments, stage.name.as_deref()),
        base: globals
            .variables
            .expand(&stage.stage.from.image, dockerfile.escape)
            .unwrap_or_else(|_| stage.stage.from.image.to_string()),
        platform: stage.stage.from.platform.as_ref().map(Text::to_string),
        is_default: index == plan.target,
        span: dockerfile.span(stage.stage.range.clone()),
    });
    Ok(stages.collect())
}

impl Outline {
    /// Adds an argument; a later `ARG` of its name may know more about it.
    fn add(
        &mut self,
        argument: &Argument,
        instruction: &Instruction,
        value: Option<String>,
        dockerfile: &Dockerfile,
    ) {
        let description = description(&instruction.comments, Some(&argument.name));
        match self.arguments.iter_mut().find(|known| known.name == argument.name.as_str()) {
            Some(known) => {
                known.value = known.value.take().or(value);
                known.description = known.description.take().or(description);
            }
            None => {
                let span = dockerfile.span(instruction.range.clone());
                self.arguments.push(OutlineArgument {
                    name: argument.name.to_string(),
                    value,
                    description,
                    span,
                });
            }
        }
    }
}

fn arguments(instruction: &Instruction) -> impl Iterator<Item = &Argument> {
    let arguments = match &instruction.kind {
        Kind::Arg(arguments) => arguments.as_slice(),
        _ => &[],
    };
    arguments.iter()
}

/// Whether a stage's `FROM` uses an argument, or takes it over.
fn uses(dockerfile: &Dockerfile, stage: &PlannedStage<'_>, name: &str) -> bool {
    let from = &stage.stage.from;
    let texts = [Some(&from.image), from.platform.as_ref()];
    let in_from = texts
        .into_iter()
        .flatten()
        .any(|text| variables(text, dockerfile.escape).iter().any(|used| used == name));
    let mut declared = stage.commands.iter().flat_map(|command| arguments(&command.instruction));
    in_from || declared.any(|argument| argument.name.as_str() == name)
}

fn lend(mounts: &mut Vec<OutlineMount>, lent: OutlineMount) {
    match mounts.iter_mut().find(|known| known.id == lent.id) {
        Some(known) => known.is_required |= lent.is_required,
        None => mounts.push(lent),
    }
}

/// What the comment directly above says about `name`.
fn description(comments: &[Comment], name: Option<&str>) -> Option<String> {
    let text = comments.last()?.text.as_str();
    let (first, rest) = text.split_once(' ')?;
    (Some(first) == name).then(|| rest.trim().to_owned())
}
