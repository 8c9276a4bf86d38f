//! What is wrong with a Dockerfile that builds Rust: checks that need to know cargo.
//!
//! [`CHECKS`] is the table of all of them; each has a name that stays, and a page `docs/checks/<name>.md`. [`check`] runs
//! them over a [`Dockerfile`] and what is known about its [`Surroundings`]; what is not known is never guessed, and a
//! Dockerfile that has nothing to do with Rust has no findings.
//!
//! A finding is waived by `# carrack: allow(name)` above its instruction, or by `# check=skip=name` at the top of the
//! file. A [`Fix`] changes what its finding needs and nothing else; it is there only if the build can't come out worse.
//!
//! The checks of Docker's own builder are beside them: [`DOCKER_CHECKS`], [`check_docker`].
//!
//! Reads no file and changes none: fixes are data, [`apply`] makes the new text. Can't fail.

mod cargo;
mod docker;
mod image;
mod model;
mod reference;
mod rules;
mod shell;
mod surroundings;
mod table;

use std::ops::Range;

use carrack_base::Span;

use crate::dockerfile::{Comment, Dockerfile};
use model::Model;

pub use docker::{DOCKER_CHECKS, DockerCheck, DockerFacts, DockerFinding, DockerReport, check_docker};
pub use reference::reference;
pub use surroundings::{Member, Surroundings, Workspace};
pub use table::CHECKS;

/// One thing that can be wrong.
#[derive(Debug)]
pub struct Check {
    /// Kebab case; stays for ever.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// What goes wrong because of it, in a sentence.
    pub why: &'static str,
    /// What to do, beginning with a verb.
    pub hint: &'static str,
    find: fn(&Model<'_>) -> Vec<Found>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The build fails, or an image is wrong.
    Error,
    /// The build is slower, larger or less safe than it has to be, or not the same tomorrow.
    Warning,
}

/// A place where a check found something.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Which check.
    pub check: &'static Check,
    /// Where.
    pub span: Span,
    /// What is marked there.
    pub mark: String,
    /// What to do here; the check's own hint is for all places.
    pub hint: Option<String>,
    /// How it can be mended without a person.
    pub fix: Option<Fix>,
}

impl Finding {
    /// What to do.
    pub fn hint(&self) -> &str {
        self.hint.as_deref().unwrap_or(self.check.hint)
    }
}

/// A change that mends a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// What it does, as in "add --locked".
    pub description: String,
    /// The change.
    pub edit: Edit,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Bytes of the Dockerfile give way to a text.
    Replace {
        /// Which; empty if something is inserted.
        range: Range<usize>,
        /// The new text.
        with: String,
    },
    /// A line is added at the end of `.dockerignore`, which is made if it is not there.
    Ignore {
        /// The pattern.
        pattern: String,
    },
}

/// What a rule found, before waivers.
#[derive(Debug)]
struct Found {
    range: Range<usize>,
    mark: String,
    hint: Option<String>,
    fix: Option<Fix>,
}

impl Found {
    fn at(range: Range<usize>, mark: impl Into<String>) -> Self {
        Self { range, mark: mark.into(), hint: None, fix: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn fix(mut self, description: impl Into<String>, edit: Edit) -> Self {
        self.fix = Some(Fix { description: description.into(), edit });
        self
    }
}

/// The check of that name.
pub fn named(name: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.name == name)
}

/// Everything that is wrong, by place.
pub fn check(dockerfile: &Dockerfile, surroundings: &Surroundings) -> Vec<Finding> {
    let model = Model::new(dockerfile, surroundings);
    if !model.is_rust() {
        return Vec::new();
    }
    let skipped = skipped(dockerfile);
    let is_skipped = |name: &str| skipped.iter().any(|skipped| skipped == "all" || skipped == name);
    let mut findings = Vec::new();
    for check in CHECKS.iter().filter(|check| !is_skipped(check.name)) {
        for found in (check.find)(&model) {
            if waivers(dockerfile, found.range.start).any(|waiver| waiver == check.name) {
                continue;
            }
            let Found { range, mark, hint, fix } = found;
            findings.push(Finding { check, span: dockerfile.span(range), mark, hint, fix });
        }
    }
    findings.sort_by_key(|finding| (finding.span.range.start, finding.check.severity, finding.check.name));
    findings
}

/// The Dockerfile's text with these fixes made; what they add to `.dockerignore` is left to the caller.
///
/// Of two that touch the same bytes the first is made; the next check finds the other again.
pub fn apply(text: &str, fixes: &[&Fix]) -> String {
    let replaced = fixes.iter().filter_map(|fix| match &fix.edit {
        Edit::Replace { range, with } => Some((range.clone(), with)),
        Edit::Ignore { .. } => None,
    });
    let mut edits: Vec<(Range<usize>, &String)> = replaced.collect();
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    edits.dedup();
    let mut result = String::new();
    let mut done = 0;
    for (range, with) in edits {
        if range.start >= done {
            result.push_str(&text[done..range.start]);
            result.push_str(with);
            done = range.end;
        }
    }
    result.push_str(&text[done..]);
    result
}

/// Whether a file copies from cargo's results in the context: then they must not be left out of it.
pub fn takes_results(dockerfile: &Dockerfile) -> bool {
    Model::new(dockerfile, &Surroundings::default()).takes_results()
}

/// Names in `# check=skip=A,B`; what Docker's own check of the same thing is called counts too.
fn skipped(dockerfile: &Dockerfile) -> Vec<String> {
    let directive = dockerfile.directive("check").map_or("", |value| value.as_str());
    let lists = directive.split(';').filter_map(|part| part.trim().strip_prefix("skip="));
    let names = lists.flat_map(|list| list.split(',')).map(str::trim);
    names
        .map(|name| match name {
            "SecretsUsedInArgOrEnv" => "secret-in-arg".to_owned(),
            name => name.to_owned(),
        })
        .collect()
}

/// Names in `# carrack: allow(a, b)` above the instruction that holds a place.
fn waivers(dockerfile: &Dockerfile, at: usize) -> impl Iterator<Item = &str> {
    let stages = dockerfile.stages.iter().map(|stage| (&stage.range, &stage.comments));
    let instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let instructions = dockerfile.arguments.iter().chain(instructions);
    let all = stages.chain(instructions.map(|instruction| (&instruction.range, &instruction.comments)));
    all.filter(move |(range, _)| range.contains(&at)).flat_map(|(_, comments)| comments).flat_map(allowed)
}

/// The names in a comment that waives something.
fn allowed(comment: &Comment) -> impl Iterator<Item = &str> {
    let names =
        comment.text.as_str().strip_prefix("carrack:").and_then(|rest| {
            rest.trim_start().strip_prefix("allow(")?.split_once(')').map(|(names, _)| names)
        });
    names.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty())
}
