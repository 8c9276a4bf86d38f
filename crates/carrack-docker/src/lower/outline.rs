//! What a Dockerfile can be asked, without building anything: its stages, and the arguments and mounts of one of them.
//!
//! A description is the comment directly above a `FROM` or an `ARG` that begins with the name: `# server answers requests`
//! above `FROM … AS server`. No image is asked for, so what its triggers want is not seen.

use std::collections::BTreeMap;

use super::argument::{Globals, Variables};
use super::error::LowerError;
use super::plan::{self, Base, PlannedStage};
use super::request::Request;
use super::run::{agent_id, cache_id, secret_id};
use crate::dockerfile::{Argument, Comment, Dockerfile, Instruction, Kind, MountKind, variables};

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
}

/// A secret or an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its name.
    pub id: String,
    /// Whether some command can't do without.
    pub is_required: bool,
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
    /// Whether it is what is built if nothing is said.
    pub is_default: bool,
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
            outline.add(argument, instruction, value);
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
                        let default = argument.value.as_ref();
                        let default = default.and_then(|text| known.expand(text, dockerfile.escape).ok());
                        let value = request.build_args.get(argument.name.as_str()).cloned().or(default);
                        let value =
                            value.or_else(|| globals.variables.get(&argument.name).map(str::to_owned));
                        if let Some(value) = &value {
                            known.set(&argument.name, value);
                        }
                        outline.add(argument, &command.instruction, value);
                    }
                }
                Kind::Env(pairs) => {
                    for pair in pairs {
                        let value = known.expand(&pair.value, dockerfile.escape).unwrap_or_default();
                        known.set(&pair.name, &value);
                    }
                }
                Kind::Run(run) => {
                    for mount in &run.mounts {
                        let is_required = mount.required == Some(true);
                        match mount.kind {
                            MountKind::Secret => lend(&mut outline.secrets, secret_id(mount), is_required),
                            MountKind::Ssh => lend(&mut outline.agents, agent_id(mount), is_required),
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
        is_default: index == plan.target,
    });
    Ok(stages.collect())
}

impl Outline {
    /// Adds an argument; a later `ARG` of its name may know more about it.
    fn add(&mut self, argument: &Argument, instruction: &Instruction, value: Option<String>) {
        let description = description(&instruction.comments, Some(&argument.name));
        match self.arguments.iter_mut().find(|known| known.name == argument.name.as_str()) {
            Some(known) => {
                known.value = known.value.take().or(value);
                known.description = known.description.take().or(description);
            }
            None => {
                self.arguments.push(OutlineArgument { name: argument.name.to_string(), value, description });
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

fn lend(mounts: &mut Vec<OutlineMount>, id: String, is_required: bool) {
    match mounts.iter_mut().find(|known| known.id == id) {
        Some(known) => known.is_required |= is_required,
        None => mounts.push(OutlineMount { id, is_required }),
    }
}

/// What the comment directly above says about `name`.
fn description(comments: &[Comment], name: Option<&str>) -> Option<String> {
    let text = comments.last()?.text.as_str();
    let (first, rest) = text.split_once(' ')?;
    (Some(first) == name).then(|| rest.trim().to_owned())
}
