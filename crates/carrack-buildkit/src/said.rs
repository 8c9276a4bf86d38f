//! From a client's last words to an error: what kind of failure it was, its message without the client's preambles, and
//! the place in the Dockerfile.

use std::sync::Arc;

use carrack_base::{SourceText, Span};

use crate::build::{DockerBuild, Dockerfile};
use crate::client::Client;
use crate::error::BuildKitError;
use crate::place;
use crate::progress::Sheet;

/// What a client says when its engine does not answer.
const UNREACHABLE: [&str; 9] = [
    "annot connect to the Docker daemon",
    "failed to dial gRPC",
    "error during connect",
    "permission denied while trying to connect",
    "no builder \"",
    "failed to find driver",
    "failed to list workers",
    "connect: connection refused",
    "no valid drivers found",
];
/// What BuildKit says about a Dockerfile that makes no sense.
const DOCKERFILE: [&str; 10] = [
    "dockerfile parse error",
    "target stage",
    "failed to read dockerfile",
    "the Dockerfile cannot be empty",
    "file with no instructions",
    "circular dependency",
    "failed to parse stage name",
    "failed to process \"",
    "no build stage in current context",
    "invalid reference format",
];
/// What a client says about an option that it, or the builder, does not have.
const UNSUPPORTED: [&str; 6] = [
    "not supported for the docker driver",
    "is not supported by the docker driver",
    "unknown flag: ",
    "Multi-platform build is not supported",
    "does not currently support exporting manifest lists",
    "Multiple platforms feature is currently not supported",
];
/// What stands before the cause.
const PREAMBLES: [&str; 8] = [
    "ERROR: ",
    "error: ",
    "failed to build: ",
    "failed to solve: ",
    "failed to solve with frontend dockerfile.v0: ",
    "failed to solve with frontend gateway.v0: ",
    "failed to create LLB definition: ",
    "rpc error: code = Unknown desc = ",
];

/// Why the client of `build` failed, from everything that it told.
pub(crate) fn error(client: &Client, build: &DockerBuild, sheet: &Sheet<'_>) -> BuildKitError {
    let said = message(sheet.words());
    let has = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    let name = build.name.clone();
    let failed = sheet.failed();
    let place = || place(build, sheet.words(), failed.map(|step| step.name.as_str()));
    let instruction =
        failed.filter(|step| step.name.starts_with('[') && !step.name.starts_with("[internal]"));
    if let Some(step) = instruction.filter(|step| !step.name.contains("] FROM ")) {
        let exit = step.said.rsplit_once("exit code: ").and_then(|(_, code)| code.trim().parse().ok());
        let said = short(&step.said);
        return BuildKitError::StepFailed {
            build: name,
            step: step.name.clone(),
            exit,
            said,
            place: place(),
        };
    }
    if failed.is_none() && has(&DOCKERFILE) {
        let place = place();
        // The line is shown, its number need not be told.
        let told = said.strip_prefix("dockerfile parse error ").filter(|_| place.is_some());
        let told = told.and_then(|said| said.split_once(": ")).map(|(_, said)| said.to_owned());
        return BuildKitError::Dockerfile { build: name, said: told.unwrap_or(said), place };
    }
    if has(&UNSUPPORTED) {
        let what = said.split(['.', '\n']).next().unwrap_or_default().to_owned();
        return BuildKitError::Unsupported { client: client.describe(), what, said: Some(said) };
    }
    if !sheet.has_steps() && has(&UNREACHABLE) {
        return BuildKitError::Unreachable { client: client.describe(), said };
    }
    BuildKitError::Refused { build: name, step: failed.map(|step| step.name.clone()), said, place: place() }
}

/// The client's last line that says something, without what every message of its kind begins with.
pub(crate) fn message(words: &[String]) -> String {
    let marked = words.iter().rposition(|line| line.starts_with("ERROR: ") || line.starts_with("error: "));
    let lines: Vec<&str> = match marked {
        Some(start) => words[start..].iter().map(String::as_str).collect(),
        None => {
            words.iter().rev().find(|line| !line.trim().is_empty()).map(String::as_str).into_iter().collect()
        }
    };
    let text = lines.join("\n");
    let mut text = text.trim();
    while let Some(rest) = PREAMBLES.iter().find_map(|preamble| text.strip_prefix(preamble)) {
        text = rest;
    }
    short(text)
}

/// Without the names of things that live inside of the engine for a moment.
fn short(said: &str) -> String {
    const REF: &str = "failed to calculate checksum of ref ";
    let Some((before, rest)) = said.split_once(REF) else { return said.to_owned() };
    let rest = rest.split_once(": ").map_or(rest, |(_, rest)| rest);
    format!("{}{rest}", before.strip_suffix("failed to compute cache key: ").unwrap_or(before))
}

fn place(build: &DockerBuild, words: &[String], step: Option<&str>) -> Option<Span> {
    let (path, text) = match &build.dockerfile {
        Dockerfile::File(file) => (file.clone(), std::fs::read_to_string(file).ok()?),
        Dockerfile::Text { text, .. } => ("Dockerfile".into(), text.clone()),
    };
    let range = place::find(&text, words, step)?;
    Some(Span { source: Arc::new(SourceText { path, text }), range })
}
