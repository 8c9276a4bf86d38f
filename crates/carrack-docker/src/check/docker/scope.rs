//! What each instruction sees, as far as it is known.

use std::collections::BTreeSet;

use super::DockerFacts;
use crate::dockerfile::{Dockerfile, Instruction, Kind, Stage, expand, variables};
use crate::lower::{self, Request};

/// A Dockerfile, and what is seen where.
pub(super) struct Walk<'w> {
    pub(super) dockerfile: &'w Dockerfile,
    pub(super) request: &'w Request,
    pub(super) facts: &'w DockerFacts,
    /// What `FROM` lines see; `None` if something can't be expanded.
    pub(super) globals: Option<lower::Variables>,
    pub(super) stages: Vec<Seen<'w>>,
}

/// One stage.
pub(super) struct Seen<'w> {
    pub(super) stage: &'w Stage,
    /// The base image's whole name, if it has one.
    pub(super) image: Option<String>,
    /// Each instruction with what it sees.
    pub(super) instructions: Vec<(&'w Instruction, Scope)>,
    end: Scope,
}

/// What one instruction sees.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) variables: lower::Variables,
    /// Every name that was declared, with or without a value.
    pub(super) declared: BTreeSet<String>,
    /// Whether all variables of the base image are known.
    pub(super) is_complete: bool,
    pub(super) has_shell: bool,
    /// Whether a `WORKDIR` of this file counts already.
    pub(super) has_folder: bool,
}

impl<'w> Walk<'w> {
    pub(super) fn new(dockerfile: &'w Dockerfile, request: &'w Request, facts: &'w DockerFacts) -> Self {
        let globals = lower::globals(dockerfile, request);
        let mut walk = Self { dockerfile, request, facts, globals, stages: Vec::new() };
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            let seen = walk.stage(index, stage);
            walk.stages.push(seen);
        }
        walk
    }

    fn stage(&self, index: usize, stage: &'w Stage) -> Seen<'w> {
        let name = self.globals.as_ref().and_then(|globals| self.expanded(&stage.from.image, globals));
        let name = name.unwrap_or_default();
        let mut image = None;
        let mut scope = match self.dockerfile.stage_named(&name, index) {
            Some(parent) => self.stages[parent].end.clone(),
            // What a named context has is not known.
            None if self.is_context(&name) => Scope::default(),
            None if name == "scratch" => Scope { is_complete: true, ..Scope::default() },
            None => {
                image = lower::whole_reference(&name);
                let known = image.as_ref().and_then(|image| self.facts.images.get(image));
                known.and_then(|known| known_scope(&known.config)).unwrap_or_default()
            }
        };
        if scope.variables.get("PATH").is_none() {
            scope.variables.set("PATH", "/bin");
        }
        let mut instructions = Vec::new();
        for instruction in &stage.instructions {
            instructions.push((instruction, scope.clone()));
            self.step(instruction, &mut scope);
        }
        Seen { stage, image, instructions, end: scope }
    }

    fn is_context(&self, name: &str) -> bool {
        let whole = lower::whole_reference(name);
        let mut known = self.request.contexts.keys();
        known.any(|known| known == name || whole.is_some() && lower::whole_reference(known) == whole)
    }

    fn step(&self, instruction: &Instruction, scope: &mut Scope) {
        match &instruction.kind {
            Kind::Arg(arguments) => {
                for argument in arguments {
                    let name = argument.name.as_str();
                    scope.declared.insert(name.to_owned());
                    let value = match (self.request.build_args.get(name), &argument.value) {
                        (Some(value), _) => Some(value.clone()),
                        (None, Some(text)) => self.expanded(text, &scope.variables),
                        (None, None) => {
                            let globals = self.globals.as_ref();
                            globals.and_then(|globals| globals.get(name).map(str::to_owned))
                        }
                    };
                    if let Some(value) = value {
                        scope.variables.set(name, &value);
                    }
                }
            }
            Kind::Env(pairs) => {
                let before = scope.variables.clone();
                for pair in pairs {
                    let value = self.expanded(&pair.value, &before).unwrap_or_default();
                    scope.variables.set(&pair.name, &value);
                }
            }
            Kind::Shell(_) => scope.has_shell = true,
            Kind::Workdir(_) => scope.has_folder = true,
            _ => {}
        }
    }

    pub(super) fn expanded(&self, text: &str, variables: &lower::Variables) -> Option<String> {
        let value_of = |name: &str| variables.get(name).map(str::to_owned);
        expand(text, self.dockerfile.escape, &value_of).ok()
    }

    /// The value of a text if every variable in it has one.
    pub(super) fn known(&self, text: &str, scope: &Scope) -> Option<String> {
        let names = variables(text, self.dockerfile.escape);
        let all = names.iter().all(|name| scope.variables.get(name).is_some() || scope.is_complete);
        all.then(|| self.expanded(text, &scope.variables)).flatten()
    }

    /// Every instruction of every stage.
    pub(super) fn instructions(&self) -> impl Iterator<Item = (&'w Instruction, &Scope)> {
        self.stages.iter().flat_map(|seen| seen.instructions.iter().map(|(found, scope)| (*found, scope)))
    }
}

/// What a base image says.
fn known_scope(config: &[u8]) -> Option<Scope> {
    let config: serde_json::Value = serde_json::from_slice(config).ok()?;
    let config = &config["config"];
    let mut scope = Scope { is_complete: true, ..Scope::default() };
    for variable in config["Env"].as_array().into_iter().flatten() {
        let variable = variable.as_str()?;
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        scope.variables.set(name, value);
    }
    scope.has_shell = config["Shell"].as_array().is_some_and(|shell| !shell.is_empty());
    Some(scope)
}
