//! A Dockerfile as it would run, as far as that can be known without running it: where each step works, which variables
//! it sees, what it mounts, copies and calls.
//!
//! What can't be known is `None`, and no check says anything about it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::cargo::{CargoCall, Verb};
use super::image::Image;
use super::shell::{self, ShellCommand};
use super::surroundings::{Surroundings, Workspace};
use crate::dockerfile::{
    CommandLine, Copy, Dockerfile, Instruction, Kind, Mount, MountKind, Run, Source, Stage, Text, expand,
};
use crate::dockerignore::Dockerignore;

/// A Dockerfile and what lies around it.
pub(super) struct Model<'m> {
    pub(super) dockerfile: &'m Dockerfile,
    pub(super) surroundings: &'m Surroundings,
    pub(super) stages: Vec<StageModel<'m>>,
}

pub(super) struct StageModel<'m> {
    pub(super) stage: &'m Stage,
    /// The stage it is based on.
    pub(super) parent: Option<usize>,
    /// The image at the root of it.
    pub(super) image: Option<Image>,
    pub(super) steps: Vec<Step<'m>>,
    end: State,
}

/// What an instruction finds.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Absolute.
    pub(super) folder: Option<String>,
    pub(super) variables: BTreeMap<String, String>,
    shell_stops: bool,
    shell_pipe_fails: bool,
}

pub(super) struct Step<'m> {
    pub(super) instruction: &'m Instruction,
    pub(super) state: State,
    pub(super) commands: Vec<Placed>,
    pub(super) mounts: Vec<Mounted<'m>>,
    pub(super) copied: Option<Copied<'m>>,
}

/// A command of a `RUN`.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) command: ShellCommand,
    /// Where it runs.
    pub(super) folder: Option<String>,
    pub(super) cargo: Option<CargoCall>,
    /// The folder of cargo's results.
    pub(super) target_folder: Option<String>,
    /// `--target`, or what takes its place.
    pub(super) target: Option<String>,
}

pub(super) struct Mounted<'m> {
    pub(super) mount: &'m Mount,
    /// Absolute.
    pub(super) target: Option<String>,
}

/// Where a `COPY` or `ADD` takes files from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Context,
    Stage(usize),
    /// An image, a named context, the network.
    Elsewhere,
}

pub(super) struct Copied<'m> {
    pub(super) origin: Origin,
    pub(super) paths: Vec<CopiedPath>,
    /// Absolute.
    pub(super) destination: Option<String>,
    exclude: Vec<&'m Text>,
    pub(super) keeps_parents: bool,
}

pub(super) struct CopiedPath {
    /// Relative to the context or the stage's root, cleaned; a pattern, perhaps.
    pub(super) path: String,
    pub(super) range: Range<usize>,
}

impl<'m> Model<'m> {
    pub(super) fn new(dockerfile: &'m Dockerfile, surroundings: &'m Surroundings) -> Self {
        let escape = dockerfile.escape;
        let mut globals: BTreeMap<String, String> = BTreeMap::new();
        for instruction in &dockerfile.arguments {
            let Kind::Arg(arguments) = &instruction.kind else { continue };
            for argument in arguments {
                let value = argument.value.as_ref().and_then(|value| known(value, escape, &globals));
                if let Some(value) = value {
                    globals.insert(argument.name.to_string(), value);
                }
            }
        }
        let mut model = Self { dockerfile, surroundings, stages: Vec::new() };
        for (index, stage) in dockerfile.stages.iter().enumerate() {
            let image = known(&stage.from.image, escape, &globals);
            let parent = image.as_deref().and_then(|name| dockerfile.stage_named(name, index));
            let (image, start) = match parent {
                Some(parent) => (model.stages[parent].image.clone(), model.stages[parent].end.clone()),
                None => {
                    let image = image.as_deref().and_then(Image::parse);
                    let start = start(image.as_ref());
                    (image, start)
                }
            };
            let stage = model.stage(index, stage, parent, image, start, &globals);
            model.stages.push(stage);
        }
        model
    }

    fn stage(
        &self,
        index: usize,
        stage: &'m Stage,
        parent: Option<usize>,
        image: Option<Image>,
        mut state: State,
        globals: &BTreeMap<String, String>,
    ) -> StageModel<'m> {
        let escape = self.dockerfile.escape;
        let mut steps = Vec::new();
        for instruction in &stage.instructions {
            let before = state.clone();
            let mut step =
                Step { instruction, state: before, commands: Vec::new(), mounts: Vec::new(), copied: None };
            match &instruction.kind {
                Kind::Workdir(folder) => {
                    let folder = known(folder, escape, &state.variables);
                    state.folder = folder.and_then(|folder| joined(state.folder.as_deref(), &folder));
                }
                Kind::Env(pairs) => {
                    for pair in pairs {
                        match known(&pair.value, escape, &step.state.variables) {
                            Some(value) => state.variables.insert(pair.name.to_string(), value),
                            None => state.variables.remove(pair.name.as_str()),
                        };
                    }
                }
                Kind::Arg(arguments) => {
                    for argument in arguments {
                        let value = match &argument.value {
                            Some(value) => known(value, escape, &state.variables),
                            None => globals.get(argument.name.as_str()).cloned(),
                        };
                        // A variable of the image wins over an argument.
                        if let Some(value) = value {
                            state.variables.entry(argument.name.to_string()).or_insert(value);
                        }
                    }
                }
                Kind::Shell(words) => {
                    let flags: Vec<&str> = words.iter().skip(1).map(Text::as_str).collect();
                    let short = |flag: &&&str| flag.starts_with('-') && !flag.starts_with("--");
                    state.shell_stops = flags.iter().filter(short).any(|flag| flag.contains('e'));
                    state.shell_pipe_fails = flags.contains(&"pipefail");
                }
                Kind::Run(run) => self.run(run, &mut step),
                Kind::Copy(copy) => step.copied = Some(self.copied(index, copy, &step.state)),
                Kind::Add(add) => {
                    let is_far = |source: &Source| matches!(source, Source::Path(path) if path.contains("://") || path.starts_with("git@"));
                    let origin =
                        if add.sources.iter().any(is_far) { Origin::Elsewhere } else { Origin::Context };
                    step.copied = Some(Copied {
                        origin,
                        paths: paths(&add.sources, escape, &step.state),
                        destination: destination(&add.destination, escape, &step.state),
                        exclude: add.exclude.iter().collect(),
                        keeps_parents: false,
                    });
                }
                _ => {}
            }
            steps.push(step);
        }
        StageModel { stage, parent, image, steps, end: state }
    }

    fn copied(&self, index: usize, copy: &'m Copy, state: &State) -> Copied<'m> {
        let escape = self.dockerfile.escape;
        let origin = match &copy.from {
            None => Origin::Context,
            Some(from) => {
                let by_number = from.parse().ok().filter(|number| *number < index);
                let stage = self.dockerfile.stage_named(from, index).or(by_number);
                stage.map_or(Origin::Elsewhere, Origin::Stage)
            }
        };
        Copied {
            origin,
            paths: paths(&copy.sources, escape, state),
            destination: destination(&copy.destination, escape, state),
            exclude: copy.exclude.iter().collect(),
            keeps_parents: copy.parents,
        }
    }

    fn run(&self, run: &'m Run, step: &mut Step<'m>) {
        let escape = self.dockerfile.escape;
        let state = step.state.clone();
        step.mounts = run
            .mounts
            .iter()
            .map(|mount| {
                let target = mount.target.as_ref().and_then(|target| known(target, escape, &state.variables));
                Mounted { mount, target: target.and_then(|target| joined(state.folder.as_deref(), &target)) }
            })
            .collect();
        let (stops, pipe_fails) = (state.shell_stops, state.shell_pipe_fails);
        let mut commands = match &run.command {
            CommandLine::Exec(words) => exec(words),
            // A lone here-document is the script.
            CommandLine::Shell(text) if text.starts_with("<<") && text.as_str() == first_opening(run) => {
                Vec::new()
            }
            CommandLine::Shell(text) => shell::commands(text, stops, pipe_fails),
        };
        if commands.is_empty() {
            for heredoc in &run.heredocs {
                let starts_with_e = heredoc.text.lines().next().is_some_and(|first| {
                    first.starts_with("#!") && first.split_whitespace().skip(1).any(|flag| flag.contains('e'))
                });
                commands.extend(shell::commands(&heredoc.text, stops || starts_with_e, pipe_fails));
            }
        }
        let mut folder = state.folder.clone();
        let mut variables = state.variables.clone();
        for command in commands {
            let program = command.program();
            match program {
                Some(("cd" | "pushd", [to, ..])) => {
                    let to = plain(&to.value, &variables);
                    folder = to.and_then(|to| joined(folder.as_deref(), &to));
                }
                Some(("export", words)) => {
                    for (name, value) in words.iter().filter_map(|word| word.value.split_once('=')) {
                        variables.insert(name.to_owned(), value.to_owned());
                    }
                }
                _ => {}
            }
            let cargo = CargoCall::of(&command);
            let own = command.assignments.iter().cloned();
            let seen: BTreeMap<String, String> = variables.clone().into_iter().chain(own).collect();
            let target_folder =
                cargo.as_ref().and_then(|cargo| self.target_folder(cargo, folder.as_deref(), &seen));
            let target = cargo.as_ref().and_then(|cargo| {
                let said = cargo.target.clone().or_else(|| seen.get("CARGO_BUILD_TARGET").cloned());
                said.or_else(|| self.workspace()?.target.clone())
            });
            step.commands.push(Placed { command, folder: folder.clone(), cargo, target_folder, target });
        }
    }

    /// Where cargo writes. The workspace's root is taken to be where cargo runs.
    fn target_folder(
        &self,
        cargo: &CargoCall,
        folder: Option<&str>,
        variables: &BTreeMap<String, String>,
    ) -> Option<String> {
        let variable =
            ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"].iter().find_map(|name| variables.get(*name));
        let configured = self.workspace().and_then(|workspace| workspace.target_folder.as_ref());
        let said = cargo.target_folder.as_ref().or(variable).or(configured);
        joined(folder, &plain(said.map_or("target", String::as_str), variables)?)
    }

    pub(super) fn workspace(&self) -> Option<&'m Workspace> {
        self.surroundings.workspace.as_ref()
    }

    /// All steps that made what `stage` is, its parents' first.
    pub(super) fn history(&self, stage: usize) -> Vec<&Step<'m>> {
        let model = &self.stages[stage];
        let mut steps = model.parent.map(|parent| self.history(parent)).unwrap_or_default();
        steps.extend(&model.steps);
        steps
    }

    /// Every call of cargo that runs in a stage itself, with its step.
    pub(super) fn calls(&self, stage: usize) -> impl Iterator<Item = (&Step<'m>, &Placed, &CargoCall)> {
        self.stages[stage].steps.iter().flat_map(Step::calls)
    }

    /// Whether Rust is built here, or what was built is put into an image.
    pub(super) fn is_rust(&self) -> bool {
        (0..self.stages.len()).any(|stage| self.calls(stage).next().is_some())
            || self.stages.iter().any(|stage| stage.image.as_ref().is_some_and(Image::is_based_on_rust))
    }

    /// Stages that nothing else here uses, and that run something: they are what is shipped.
    pub(super) fn shipped(&self) -> Vec<usize> {
        let last = self.stages.len() - 1;
        let is_used = |stage: usize| {
            self.stages.iter().any(|other| {
                other.parent == Some(stage)
                    || other.steps.iter().any(|step| {
                        step.copied.as_ref().is_some_and(|copied| copied.origin == Origin::Stage(stage))
                    })
            })
        };
        (0..self.stages.len())
            .filter(|stage| !is_used(*stage) && (*stage == last || self.runs_something(*stage)))
            .collect()
    }

    /// Whether a stage has an entry point or a command.
    pub(super) fn runs_something(&self, stage: usize) -> bool {
        self.history(stage)
            .iter()
            .any(|step| matches!(step.instruction.kind, Kind::Cmd(_) | Kind::Entrypoint(_)))
    }

    /// Whether something is copied from cargo's results in the context: programs that were built outside.
    pub(super) fn takes_results(&self) -> bool {
        let copied =
            self.stages.iter().flat_map(|stage| &stage.steps).filter_map(|step| step.copied.as_ref());
        let mut paths =
            copied.filter(|copied| copied.origin == Origin::Context).flat_map(|copied| &copied.paths);
        paths.any(|path| path.path.split('/').any(|name| name == "target"))
    }

    /// Whether a file of the context is in the image after these steps.
    pub(super) fn has(&self, steps: &[&Step<'m>], path: &str) -> bool {
        let ignored = self.surroundings.ignore.as_ref().is_some_and(|ignore| ignore.ignores(path));
        !ignored && steps.iter().any(|step| step.brings(path))
    }
}

impl<'m> Step<'m> {
    pub(super) fn calls(&self) -> impl Iterator<Item = (&Self, &Placed, &CargoCall)> {
        self.commands.iter().filter_map(move |placed| Some((self, placed, placed.cargo.as_ref()?)))
    }

    /// Whether a file of the context is copied or mounted by this step.
    pub(super) fn brings(&self, path: &str) -> bool {
        let copied = self.copied.as_ref().is_some_and(|copied| copied.takes(path));
        copied || self.bound().any(|source| covers(&source, path))
    }

    /// Parts of the context that the step sees by mounts.
    fn bound(&self) -> impl Iterator<Item = String> {
        let bind = self.mounts.iter().filter(|mounted| mounted.mount.kind == MountKind::Bind);
        bind.filter(|mounted| mounted.mount.from.is_none())
            .map(|mounted| clean(mounted.mount.source.as_ref().map_or("", |source| source.as_str())))
    }

    /// Whether Rust sources of the context come with this step.
    pub(super) fn brings_sources(&self) -> bool {
        let is_source = |path: &str| {
            let last = path.rsplit('/').next().unwrap_or_default();
            let other = [
                "migrations",
                "static",
                "templates",
                "assets",
                "proto",
                "config",
                "scripts",
                "rust-toolchain",
            ];
            last.ends_with(".rs")
                || !(last.contains('.') || last.starts_with("Cargo") || other.contains(&last))
        };
        let copied = self.copied.as_ref().filter(|copied| copied.origin == Origin::Context);
        copied.is_some_and(|copied| copied.paths.iter().any(|path| is_source(&path.path)))
            || self.bound().any(|source| is_source(&source))
    }

    /// The cache mount that holds a path.
    pub(super) fn cache_at(&self, path: &str) -> Option<&Mounted<'m>> {
        self.caches().find(|mounted| mounted.target.as_deref().is_some_and(|target| lies_in(path, target)))
    }

    pub(super) fn caches(&self) -> impl Iterator<Item = &Mounted<'m>> {
        self.mounts.iter().filter(|mounted| mounted.mount.kind == MountKind::Cache)
    }
}

impl Copied<'_> {
    /// Whether a file of the context is copied.
    pub(super) fn takes(&self, path: &str) -> bool {
        let excluded =
            |pattern: &&Text| Dockerignore::parse(pattern).is_ok_and(|pattern| pattern.ignores(path));
        self.origin == Origin::Context
            && self.paths.iter().any(|copied| covers(&copied.path, path))
            && !self.exclude.iter().any(excluded)
    }
}

/// Whether a pattern of a `COPY` takes a file along.
fn covers(pattern: &str, path: &str) -> bool {
    pattern.is_empty() || Dockerignore::parse(pattern).is_ok_and(|pattern| pattern.ignores(path))
}

/// Whether a path is a folder or lies in it. Both are absolute.
pub(super) fn lies_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || folder == "/")
}

/// The path without `.`, `..` and slashes at its ends.
pub(super) fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names.join("/")
}

/// A path as seen from a folder: absolute.
pub(super) fn joined(folder: Option<&str>, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return Some(format!("/{}", clean(path)));
    }
    if path.starts_with('~') {
        return None;
    }
    Some(format!("/{}", clean(&format!("{}/{path}", folder?))))
}

/// The value of a text if every variable in it is known.
pub(super) fn known(text: &str, escape: char, variables: &BTreeMap<String, String>) -> Option<String> {
    let missing = std::cell::Cell::new(false);
    let value_of = |name: &str| {
        let value = variables.get(name).cloned();
        missing.set(missing.get() || (value.is_none() && !text.contains(&format!("{name}:-"))));
        value
    };
    let value = expand(text, escape, &value_of).ok()?;
    (!missing.get()).then_some(value)
}

/// A shell word's value if the shell changes nothing but variables in it, and they are known.
pub(super) fn plain(word: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    match word.contains(['*', '?', '`', '{']) && !word.contains("${") || word.contains("$(") {
        true => None,
        false => known(word, '\\', variables),
    }
}

/// What an image begins with.
fn start(image: Option<&Image>) -> State {
    let mut state = State { folder: Some("/".to_owned()), ..State::default() };
    match image {
        Some(image) if image.is_based_on_rust() => {
            for (name, value) in [("CARGO_HOME", "/usr/local/cargo"), ("RUSTUP_HOME", "/usr/local/rustup")] {
                state.variables.insert(name.to_owned(), value.to_owned());
            }
        }
        Some(image) if ["scratch", "debian", "ubuntu", "alpine"].contains(&image.name.as_str()) => {}
        // The image may have a working folder of its own.
        _ => state.folder = None,
    }
    state
}

fn paths(sources: &[Source], escape: char, state: &State) -> Vec<CopiedPath> {
    let paths = sources.iter().filter_map(|source| match source {
        Source::Path(path) => {
            let value = known(path, escape, &state.variables)?;
            Some(CopiedPath { path: clean(&value), range: path.range() })
        }
        Source::Heredoc(_) => None,
    });
    paths.collect()
}

fn destination(text: &Text, escape: char, state: &State) -> Option<String> {
    joined(state.folder.as_deref(), &known(text, escape, &state.variables)?)
}

fn exec(words: &[Text]) -> Vec<ShellCommand> {
    let Some(first) = words.first() else { return Vec::new() };
    let start = first.range().start;
    let words: Vec<shell::Word> =
        words.iter().map(|word| shell::Word { value: word.to_string(), range: word.range() }).collect();
    let is_shell =
        words.len() > 2 && ["sh", "bash"].contains(&words[0].value.rsplit('/').next().unwrap_or_default());
    if is_shell && words[1].value.ends_with('c') {
        let script = Text::made_from(words[2].value.clone(), words[2].range.clone());
        return shell::commands(&script, words[1].value.contains('e'), false)
            .into_iter()
            .map(|command| ShellCommand { in_shell: false, ..command })
            .collect();
    }
    vec![ShellCommand {
        assignments: Vec::new(),
        words,
        outputs: Vec::new(),
        before: shell::Operator::Edge,
        after: shell::Operator::Edge,
        start,
        in_shell: false,
        stops: true,
        pipe_fails: true,
    }]
}

fn first_opening(run: &Run) -> &str {
    run.heredocs.first().map_or("", |heredoc| heredoc.word.as_str())
}

/// Whether a call compiles what lies in the stage.
pub(super) fn builds(call: &CargoCall) -> bool {
    call.verb == Verb::Build
}
