//! The syntax of Dockerfiles: text → tree, every part with its place; and how variables are expanded.
//!
//! ```text
//! text ─ lines ─► joined lines, here-documents ─ words ─► flags, words, JSON ─ instruction ─► Dockerfile
//! ```
//!
//! Speaks the dialect of Docker's Dockerfile frontend 1.x: all instructions with all flags, here-documents, directives,
//! comments between continued lines. What depends on the result of a variable stays as it was written ([`Text`]);
//! [`expand`] is for whoever knows the values.
//!
//! Does not look at anything outside of the text: no image, no file, no named context. Does not lint, and takes what
//! Docker takes with a warning. Fails at the first thing that Docker refuses, with its place; never panics, whatever
//! the text is.

mod ast;
mod error;
mod expand;
mod heredoc;
mod instruction;
mod lines;
mod mount;
mod text;
mod words;

use std::sync::Arc;

use carrack_base::{SourceText, Span};

pub use ast::{
    Add, Argument, CommandLine, Comment, Copy, Directive, Dockerfile, Expose, From, Healthcheck, Heredoc,
    Instruction, Kind, Mount, MountKind, Pair, Probe, Run, Sharing, Source, Stage,
};
pub use error::{DockerfileError, Problem};
pub use expand::{ExpandError, expand, expand_words, variables};
pub(crate) use expand::{expand_document, expand_known};
pub(crate) use mount::read_expanded;
pub use text::Text;

/// Reads a Dockerfile.
///
/// Errors: the first thing that Docker would refuse.
/// Source: Dockerfile frontend 1.x, "Dockerfile reference".
pub fn parse(source: &Arc<SourceText>) -> Result<Dockerfile, DockerfileError> {
    let at = |(range, problem)| DockerfileError {
        span: Span { source: Arc::clone(source), range },
        problem: Box::new(problem),
    };
    let lines = lines::split(&source.text).map_err(at)?;
    let mut dockerfile = Dockerfile {
        source: Arc::clone(source),
        directives: lines.directives,
        escape: lines.escape,
        arguments: Vec::new(),
        stages: Vec::new(),
    };
    for line in lines.lines {
        let instruction = instruction::read(line, lines.escape).map_err(at)?;
        match (instruction.kind, dockerfile.stages.last_mut()) {
            (Kind::From(from), _) => dockerfile.stages.push(Stage {
                from,
                keyword: instruction.keyword,
                comments: instruction.comments,
                range: instruction.range,
                instructions: Vec::new(),
            }),
            (kind, Some(stage)) => stage.instructions.push(Instruction { kind, ..instruction }),
            (kind @ Kind::Arg(_), None) => dockerfile.arguments.push(Instruction { kind, ..instruction }),
            (_, None) => {
                let name = instruction.keyword.to_ascii_uppercase();
                return Err(at((instruction.keyword.range(), Problem::BeforeFrom { name })));
            }
        }
    }
    if dockerfile.stages.is_empty() {
        return Err(at((0..0, Problem::NoStage)));
    }
    Ok(dockerfile)
}

/// Reads what an `ONBUILD` of another image holds: one instruction.
///
/// Every place in it is in a text of its own.
/// Errors: what Docker would refuse; [`Problem::BadTrigger`] also if it is not exactly one instruction.
pub fn parse_trigger(text: &str) -> Result<Instruction, Problem> {
    let lines = lines::split(text).map_err(|(_, problem)| problem)?;
    let mut instructions = Vec::new();
    for line in lines.lines {
        instructions.push(instruction::read(line, lines.escape).map_err(|(_, problem)| problem)?);
    }
    match (instructions.pop(), instructions.is_empty()) {
        (Some(instruction), true)
            if !matches!(instruction.kind, Kind::From(_) | Kind::Onbuild(_) | Kind::Maintainer(_)) =>
        {
            Ok(instruction)
        }
        (last, _) => {
            let name = last.map_or_else(String::new, |last| last.keyword.to_ascii_uppercase());
            Err(Problem::BadTrigger { name })
        }
    }
}
