//! Variables, and what they make of base images.

use std::collections::BTreeSet;

use carrack_base::{Platform, nearest};

use super::Found;
use super::scope::{Scope, Walk};
use crate::dockerfile::{Kind, Source, Text, variables};
use crate::lower;

/// Names in a text that have to have a value: those that say what stands for them otherwise have not.
fn needed(text: &str, escape: char) -> Vec<String> {
    let names = variables(text, escape).into_iter();
    let is_optional =
        |name: &String| [":", "-", "+", "?"].iter().any(|form| text.contains(&format!("${{{name}{form}")));
    names.filter(|name| !is_optional(name)).collect()
}

fn meant<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("nothing defines `{name}`; did you mean `{nearest}`?"),
        None => format!("nothing defines `{name}`"),
    }
}

pub(super) fn undefined_arg_in_from(walk: &Walk<'_>) -> Vec<Found> {
    let Some(globals) = &walk.globals else { return Vec::new() };
    let arguments = walk.dockerfile.arguments.iter().filter_map(|instruction| match &instruction.kind {
        Kind::Arg(arguments) => Some(arguments),
        _ => None,
    });
    let declared = arguments.flatten().map(|argument| argument.name.as_str());
    let known: BTreeSet<&str> = declared.chain(globals.iter().map(|(name, _)| name)).collect();
    let mut found = Vec::new();
    for stage in &walk.dockerfile.stages {
        for text in std::iter::once(&stage.from.image).chain(&stage.from.platform) {
            for name in needed(text, walk.dockerfile.escape) {
                if !known.contains(name.as_str()) {
                    found.push(Found::at(text.range(), meant(&name, known.iter().copied())));
                }
            }
        }
    }
    found
}

pub(super) fn undefined_var(walk: &Walk<'_>) -> Vec<Found> {
    let escape = walk.dockerfile.escape;
    let mut found = Vec::new();
    for (instruction, scope) in walk.instructions().filter(|(_, scope)| scope.is_complete) {
        let mut own = scope.clone();
        for text in texts(&instruction.kind) {
            for name in needed(text, escape) {
                if !is_defined(&own, &name) {
                    let known = own.variables.iter().map(|(name, _)| name);
                    found.push(Found::at(text.range(), meant(&name, known)));
                }
            }
            // An argument sees those in front of it.
            if let Kind::Arg(arguments) = &instruction.kind {
                let argument = arguments.iter().find(|argument| argument.value.as_ref() == Some(text));
                own.declared.extend(argument.map(|argument| argument.name.to_string()));
            }
        }
    }
    found
}

fn is_defined(scope: &Scope, name: &str) -> bool {
    scope.variables.get(name).is_some() || scope.declared.contains(name) || name.starts_with("BUILDKIT_SBOM_")
}

/// Every text of an instruction in which variables are expanded.
fn texts(kind: &Kind) -> Vec<&Text> {
    fn below(sources: &[Source]) -> impl Iterator<Item = &Text> {
        sources.iter().map(|source| match source {
            Source::Path(path) => path,
            Source::Heredoc(document) if document.expands => &document.text,
            Source::Heredoc(document) => &document.word,
        })
    }
    match kind {
        Kind::Add(add) => below(&add.sources)
            .chain([&add.destination])
            .chain([&add.chown, &add.chmod, &add.checksum].into_iter().flatten())
            .chain(&add.exclude)
            .collect(),
        Kind::Copy(copy) => below(&copy.sources)
            .chain([&copy.destination])
            .chain([&copy.chown, &copy.chmod].into_iter().flatten())
            .chain(&copy.exclude)
            .collect(),
        Kind::Arg(arguments) => arguments.iter().filter_map(|argument| argument.value.as_ref()).collect(),
        Kind::Env(pairs) | Kind::Label(pairs) => {
            pairs.iter().flat_map(|pair| [&pair.name, &pair.value]).collect()
        }
        Kind::Stopsignal(text) | Kind::User(text) | Kind::Workdir(text) => vec![text],
        Kind::Volume(folders) => folders.iter().collect(),
        Kind::Run(run) => run
            .mounts
            .iter()
            .flat_map(|mount| [&mount.target, &mount.source, &mount.id, &mount.uid, &mount.gid, &mount.mode])
            .flatten()
            .collect(),
        _ => Vec::new(),
    }
}

pub(super) fn redundant_target_platform(walk: &Walk<'_>) -> Vec<Found> {
    const MARK: &str = "\u{1}";
    let platforms = walk.dockerfile.stages.iter().filter_map(|stage| stage.from.platform.as_ref());
    let redundant = platforms.filter(|platform| {
        let names: BTreeSet<String> = variables(platform, walk.dockerfile.escape).into_iter().collect();
        let mut only = lower::Variables::default();
        only.set("TARGETPLATFORM", MARK);
        names.len() == 1 && walk.expanded(platform, &only).as_deref() == Some(MARK)
    });
    redundant.map(|platform| Found::at(platform.range(), "it is the same without")).collect()
}

pub(super) fn from_platform_flag_const_disallowed(walk: &Walk<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for stage in &walk.dockerfile.stages {
        let Some(text) = &stage.from.platform else { continue };
        if !variables(text, walk.dockerfile.escape).is_empty() {
            continue;
        }
        let Ok(platform) = text.parse::<Platform>() else { continue };
        let name = stage.from.name.as_ref().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            found.push(Found::at(text.range(), "`$BUILDPLATFORM` or nothing suits every machine"));
        }
    }
    found
}

pub(super) fn invalid_base_image_platform(walk: &Walk<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for seen in &walk.stages {
        let (Some(image), Some(globals)) = (&seen.image, &walk.globals) else { continue };
        let Some(known) = walk.facts.images.get(image) else { continue };
        let from = &seen.stage.from;
        let said = from.platform.as_ref().and_then(|text| walk.expanded(text, globals)?.parse().ok());
        let expected = said.unwrap_or_else(|| walk.request.target_platform().clone());
        if (&expected.os, &expected.architecture) != (&known.platform.os, &known.platform.architecture) {
            let mark = format!("it is for {}, and {expected} is built", known.platform);
            found.push(Found::at(from.image.range(), mark));
        }
    }
    found
}

pub(super) fn invalid_default_arg_in_from(walk: &Walk<'_>) -> Vec<Found> {
    let mut request = walk.request.clone();
    request.build_args.clear();
    let Some(defaults) = lower::globals(walk.dockerfile, &request) else { return Vec::new() };
    let images = walk.dockerfile.stages.iter().map(|stage| &stage.from.image);
    let invalid = images.filter(|image| {
        let name = walk.expanded(image, &defaults);
        name.is_some_and(|name| lower::whole_reference(&name).is_none())
    });
    invalid.map(|image| Found::at(image.range(), "without build arguments this names no image")).collect()
}

pub(super) fn secrets_used_in_arg_or_env(walk: &Walk<'_>) -> Vec<Found> {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let is_secret = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let has = |words: &[&str]| lower.split('_').any(|word| words.contains(&word));
        has(&SECRET) && !has(&HARMLESS)
    };
    let mut found = Vec::new();
    for (instruction, _) in walk.instructions() {
        let names: Vec<&Text> = match &instruction.kind {
            Kind::Arg(arguments) => arguments.iter().map(|argument| &argument.name).collect(),
            Kind::Env(pairs) => pairs.iter().map(|pair| &pair.name).collect(),
            _ => Vec::new(),
        };
        let secrets = names.into_iter().filter(|name| is_secret(name));
        found.extend(secrets.map(|name| Found::at(name.range(), "it stays in the image's history")));
    }
    found
}
