//! How things are written and named.

use std::collections::BTreeSet;

use super::Found;
use super::scope::Walk;
use crate::dockerfile::{CommandLine, Comment, Kind, Text};

pub(super) fn stage_name_casing(walk: &Walk<'_>) -> Vec<Found> {
    let names = walk.dockerfile.stages.iter().filter_map(|stage| stage.from.name.as_ref());
    let found = names.filter(|name| name.contains(|letter: char| letter.is_ascii_uppercase()));
    found.map(|name| Found::at(name.range(), "names are compared in small letters")).collect()
}

pub(super) fn from_as_casing(walk: &Walk<'_>) -> Vec<Found> {
    let source = &walk.dockerfile.source.text;
    let mut found = Vec::new();
    for stage in &walk.dockerfile.stages {
        let Some(name) = &stage.from.name else { continue };
        let start = stage.from.image.range().end;
        let Some(between) = source.get(start..name.range().start) else { continue };
        let Some(at) = between.to_ascii_lowercase().find("as") else { continue };
        let word = &between[at..at + 2];
        let from = stage.keyword.as_str();
        let lower = from.to_lowercase() == from && word.to_lowercase() != word;
        let upper = from.to_uppercase() == from && word.to_uppercase() != word;
        if lower || upper {
            let range = start + at..start + at + 2;
            found.push(Found::at(range, format!("`{word}` goes with `{from}`")));
        }
    }
    found
}

pub(super) fn no_empty_continuation(walk: &Walk<'_>) -> Vec<Found> {
    let dockerfile = walk.dockerfile;
    let all = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let lines = dockerfile.arguments.iter().chain(all).map(|instruction| instruction.text.range());
    let stages = dockerfile.stages.iter().map(|stage| stage.range.clone());
    let mut found = Vec::new();
    for range in lines.chain(stages) {
        let Some(text) = dockerfile.source.text.get(range.clone()) else { continue };
        let mut at = range.start;
        for line in text.split_inclusive('\n') {
            if line.trim().is_empty() {
                found.push(Found::at(at..at, "the instruction goes on behind it"));
                break;
            }
            at += line.len();
        }
    }
    found
}

pub(super) fn consistent_instruction_casing(walk: &Walk<'_>) -> Vec<Found> {
    let stages = walk.dockerfile.stages.iter();
    let keywords: Vec<&Text> = stages
        .flat_map(|stage| {
            let others = stage.instructions.iter().map(|instruction| &instruction.keyword);
            std::iter::once(&stage.keyword).chain(others)
        })
        .collect();
    let lower = keywords.iter().filter(|keyword| keyword.to_lowercase() == keyword.as_str()).count();
    let upper = keywords.iter().filter(|keyword| keyword.to_uppercase() == keyword.as_str()).count();
    let wanted = |keyword: &str| if lower > upper { keyword.to_lowercase() } else { keyword.to_uppercase() };
    let others = keywords.into_iter().filter(|keyword| wanted(keyword) != keyword.as_str());
    others
        .map(|keyword| Found::at(keyword.range(), format!("most are written as `{}`", wanted(keyword))))
        .collect()
}

pub(super) fn duplicate_stage_name(walk: &Walk<'_>) -> Vec<Found> {
    let mut seen = BTreeSet::new();
    let names = walk.dockerfile.stages.iter().filter_map(|stage| stage.from.name.as_ref());
    let twice = names.filter(|name| !seen.insert(name.to_ascii_lowercase()));
    twice.map(|name| Found::at(name.range(), "from here on it means this stage")).collect()
}

pub(super) fn reserved_stage_name(walk: &Walk<'_>) -> Vec<Found> {
    let names = walk.dockerfile.stages.iter().filter_map(|stage| stage.from.name.as_ref());
    let reserved =
        names.filter(|name| ["context", "scratch"].iter().any(|known| name.eq_ignore_ascii_case(known)));
    reserved.map(|name| Found::at(name.range(), "Docker itself gives this name")).collect()
}

pub(super) fn json_args_recommended(walk: &Walk<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (instruction, scope) in walk.instructions() {
        if let Kind::Cmd(CommandLine::Shell(text)) | Kind::Entrypoint(CommandLine::Shell(text)) =
            &instruction.kind
            && !scope.has_shell
        {
            let range = if text.is_empty() { instruction.keyword.range() } else { text.range() };
            found.push(Found::at(range, "a list in brackets needs no shell"));
        }
    }
    found
}

pub(super) fn maintainer_deprecated(walk: &Walk<'_>) -> Vec<Found> {
    let maintainers =
        walk.instructions().filter(|(instruction, _)| matches!(instruction.kind, Kind::Maintainer(_)));
    maintainers
        .map(|(instruction, _)| {
            Found::at(instruction.keyword.range(), "`LABEL org.opencontainers.image.authors` takes its place")
        })
        .collect()
}

pub(super) fn multiple_instructions_disallowed(walk: &Walk<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for seen in &walk.stages {
        let kinds: [fn(&Kind) -> bool; 3] = [
            |kind| matches!(kind, Kind::Cmd(_)),
            |kind| matches!(kind, Kind::Entrypoint(_)),
            |kind| matches!(kind, Kind::Healthcheck(_)),
        ];
        for is_one in kinds {
            let same = seen.instructions.iter().filter(|(instruction, _)| is_one(&instruction.kind));
            let same: Vec<_> = same.collect();
            // Only the last one counts.
            let ignored = &same[..same.len().saturating_sub(1)];
            found.extend(
                ignored.iter().map(|(instruction, _)| {
                    Found::at(instruction.range.clone(), "a later one takes its place")
                }),
            );
        }
    }
    found
}

pub(super) fn legacy_key_value_format(walk: &Walk<'_>) -> Vec<Found> {
    let source = &walk.dockerfile.source.text;
    let mut found = Vec::new();
    for (instruction, _) in walk.instructions() {
        let (Kind::Env(pairs) | Kind::Label(pairs)) = &instruction.kind else { continue };
        for pair in pairs {
            let name = pair.name.range();
            if !source.get(name.end..).is_some_and(|rest| rest.starts_with('=')) {
                let range = name.start..pair.value.range().end.max(name.end);
                found.push(Found::at(range, format!("`{}=…` says the same", pair.name)));
            }
        }
    }
    found
}

pub(super) fn invalid_definition_description(walk: &Walk<'_>) -> Vec<Found> {
    let dockerfile = walk.dockerfile;
    let is_directive = |comment: &Comment| {
        let at = comment.text.range().start;
        dockerfile.directives.iter().any(|directive| directive.name.range().start == at)
    };
    let mut found = Vec::new();
    let mut look = |comments: &[Comment], names: Vec<String>| {
        let Some(comment) = comments.last().filter(|comment| !is_directive(comment)) else { return };
        let first = comment.text.split(' ').next().unwrap_or_default();
        if !names.is_empty() && !names.iter().any(|name| name == first) {
            let name = if names.len() == 1 { names[0].as_str() } else { "NAME" };
            found.push((comment.text.range(), format!("a description begins with `{name}`")));
        }
    };
    for stage in &dockerfile.stages {
        look(&stage.comments, stage.from.name.iter().map(|name| name.to_ascii_lowercase()).collect());
    }
    let all = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    for instruction in dockerfile.arguments.iter().chain(all) {
        if let Kind::Arg(arguments) = &instruction.kind {
            let names = arguments.iter().map(|argument| argument.name.to_string());
            look(&instruction.comments, names.collect());
        }
    }
    found.into_iter().map(|(range, mark)| Found::at(range, mark)).collect()
}
