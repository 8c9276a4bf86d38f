//! A build that fails, and nobody learns of it.

use super::super::Found;
use super::super::cargo::Verb;
use super::super::model::Model;
use super::super::shell::Operator;

/// A build that fails goes on.
pub(crate) fn errors_hidden(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for step in model.stages.iter().flat_map(|stage| &stage.steps) {
        for (index, placed) in step.commands.iter().enumerate() {
            let Some(call) =
                placed.cargo.as_ref().filter(|call| call.compiles() || call.verb == Verb::InstallTool)
            else {
                continue;
            };
            // `a && b || true` hides what a and b say.
            let behind = step.commands[index..].iter().find(|placed| placed.command.after != Operator::And);
            let Some(last) = behind.map(|placed| &placed.command) else { continue };
            let position =
                step.commands.iter().position(|placed| std::ptr::eq(&placed.command, last)).unwrap_or(index);
            let next = step.commands.get(position + 1).and_then(|placed| placed.command.program());
            let mark = match (last.after, next) {
                (Operator::Or, Some(("true" | ":" | "echo" | "printf" | "exit" | "sleep", words)))
                    if words.first().is_none_or(|word| {
                        word.value == "0" || !word.value.chars().all(|digit| digit.is_ascii_digit())
                    }) =>
                {
                    let program = next.map_or("", |(program, _)| program);
                    // `|| { echo …; exit 1; }` fails as it should.
                    let fails = step.commands[position + 1..].iter().any(|placed| {
                        matches!(placed.command.program(), Some(("exit" | "false", words)) if words.first().is_none_or(|word| word.value != "0"))
                    });
                    if fails && program != "true" && program != ":" {
                        continue;
                    }
                    format!("`|| {program}` hides it when this fails")
                }
                (Operator::Then, Some(_)) if !last.stops => {
                    "the commands behind it run on when this fails, and the last one decides".to_owned()
                }
                (Operator::Pipe, Some(_)) if !last.pipe_fails => {
                    "the pipe hides it when this fails: the last command of a pipe decides".to_owned()
                }
                _ => continue,
            };
            found.push(Found::at(call.verb_word.range.clone(), mark));
        }
    }
    found
}
