//! `carrack build --check` and `--call`: what a Dockerfile says, without building it. No image is asked for.

use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;

use carrack_base::Span;
use carrack_docker::check::{DockerFinding, DockerReport};
use carrack_docker::lower::{LowerError, Outline, OutlineMount, TargetStage, outline, targets};
use carrack_store::Store;
use serde_json::{Value, json};

use super::{Subject, docker, extras, subject};
use crate::arguments::Build;
use crate::call::{Call, Method};
use crate::caller::Caller;
use crate::commands::check::report::{self, Found};
use crate::engine::EngineName;
use crate::failure::{Failure, code};
use crate::stages::{Read, standard_input};
use crate::terminal::Terminal;

/// Answers what `--call` asks.
pub(super) fn run(arguments: &Build, caller: &Caller, state: &Path) -> Result<ExitCode, Failure> {
    let option = if arguments.docker.check { "--check" } else { "--call" };
    let file = match subject(arguments, caller)? {
        Subject::Dockerfile(file) => file,
        Subject::Workspace(_) => {
            let hint = "name a Dockerfile with -f, or run `carrack check`";
            return Err(Failure::NoMeaning { option, here: "for a Cargo workspace", hint });
        }
    };
    if !matches!(arguments.engine, None | Some(EngineName::Embedded)) {
        let hint = "leave --engine out: the answer is the same";
        return Err(Failure::NoMeaning { option, here: "for an engine of Docker's", hint });
    }
    let build = docker::build_of(arguments, &file)?;
    let store = Store::open(state)?;
    let read = Read::of(&build, &extras(arguments), caller, &store, standard_input());
    let Call { method, is_json } = arguments.docker.call();
    let read = match read {
        // A program reads what is wrong with a file, whatever it is.
        Err(failure @ Failure::Dockerfile(_)) if is_json && method == Method::Check => {
            crate::commands::print(&findings_as_json(&DockerReport::default(), Some(&failure)))?;
            return Err(failure);
        }
        read => read?,
    };
    // Whatever else is asked, a file that can't be built is refused.
    let failure = outline::<Infallible>(&read.dockerfile, &read.request).map_err(refused).err();
    let (answer, ended) = match method {
        Method::Check => {
            let report = read.check();
            let ended = match report.findings.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::from(code::BUILD_FAILED),
            };
            match is_json {
                true => (findings_as_json(&report, failure.as_ref()), ended),
                false => (findings_as_text(report), ended),
            }
        }
        Method::Outline => {
            let outline = outline(&read.dockerfile, &read.request).map_err(refused)?;
            let answer = if is_json { outline_as_json(&outline) } else { outline_as_text(&outline) };
            (answer, ExitCode::SUCCESS)
        }
        Method::Targets | Method::Build => {
            let targets = targets(&read.dockerfile, &read.request).map_err(refused)?;
            let answer = if is_json { targets_as_json(&targets) } else { targets_as_text(&targets) };
            (answer, ExitCode::SUCCESS)
        }
    };
    crate::commands::print(&answer)?;
    failure.map_or(Ok(ended), Err)
}

fn refused(error: LowerError<Infallible>) -> Failure {
    Failure::Stages(Box::new(match error {
        LowerError::Refused { span, refusal } => LowerError::Refused { span, refusal },
        LowerError::Image { source, .. } => match source {},
    }))
}

fn findings_as_text(report: DockerReport) -> String {
    if report.findings.is_empty() {
        return "Check complete, no warnings found.\n".to_owned();
    }
    let findings: Vec<Found> = Found::of_docker(report).collect();
    report::text(&findings, &Terminal::of_stdout())
}

/// As docker has it, with a `buildError` if the file can't be built.
fn findings_as_json(report: &DockerReport, failure: Option<&Failure>) -> String {
    let warning = |finding: &DockerFinding| {
        json!({
            "ruleName": finding.check.name,
            "description": finding.check.title,
            "url": finding.check.url(),
            "detail": finding.mark,
            "location": location(&finding.span, Precision::Characters),
        })
    };
    let warnings: Vec<Value> = report.findings.iter().map(warning).collect();
    let mut answer = json!({"warnings": warnings});
    if let Some(failure) = failure {
        let (message, place) = failure.in_short();
        let place = place.map_or(json!({}), |span| location(&span, Precision::Characters));
        answer["buildError"] = json!({"message": message, "location": place});
    } else if report.are_errors {
        let names: Vec<&str> = report.findings.iter().map(|finding| finding.check.name).collect();
        let message = format!("check=error=true, and there is {}", names.join(", "));
        answer["buildError"] = json!({"message": message, "location": {}});
    }
    format!("{answer:#}\n")
}

/// How exactly a place is told.
#[derive(Clone, Copy)]
enum Precision {
    Lines,
    Characters,
}

fn location(span: &Span, precision: Precision) -> Value {
    let position = |at: usize| {
        let (line, column) = report::position(&span.source.text, at);
        match precision {
            Precision::Lines => json!({"line": line}),
            Precision::Characters => json!({"line": line, "character": column - 1}),
        }
    };
    json!({"ranges": [{"start": position(span.range.start), "end": position(span.range.end)}]})
}

/// An object without what says nothing.
fn without_nothing(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, value| !value.is_null() && *value != json!(false) && *value != json!([]));
    }
    object
}

fn outline_as_text(outline: &Outline) -> String {
    let mut text = format!("TARGET:      {}\n", outline.name.as_deref().unwrap_or("default"));
    if let Some(description) = &outline.description {
        text.push_str(&format!("DESCRIPTION: {description}\n"));
    }
    let mut add = |rows: Vec<Vec<String>>| {
        if rows.len() > 1 {
            text.push_str(&format!("\n{}", table(&rows)));
        }
    };
    let mut rows = vec![row(["BUILD ARG", "VALUE", "DESCRIPTION"])];
    rows.extend(outline.arguments.iter().map(|argument| {
        let of = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![argument.name.clone(), of(&argument.value), of(&argument.description)]
    }));
    add(rows);
    let lent = |title: &str, mounts: &[OutlineMount]| {
        let mut rows = vec![row([title, "REQUIRED"])];
        rows.extend(mounts.iter().map(|mount| row([&mount.id, if mount.is_required { "true" } else { "" }])));
        rows
    };
    add(lent("SECRET", &outline.secrets));
    add(lent("SSH", &outline.agents));
    let mut rows = vec![row(["CACHE"])];
    rows.extend(outline.caches.iter().map(|id| vec![id.clone()]));
    add(rows);
    text
}

fn outline_as_json(outline: &Outline) -> String {
    let lent = |mounts: &[OutlineMount]| -> Vec<Value> {
        let lent = mounts.iter().map(|mount| {
            let location = location(&mount.span, Precision::Lines);
            without_nothing(json!({"name": mount.id, "required": mount.is_required, "location": location}))
        });
        lent.collect()
    };
    let arguments = outline.arguments.iter().map(|argument| {
        without_nothing(json!({
            "name": argument.name,
            "value": argument.value,
            "description": argument.description,
            "location": location(&argument.span, Precision::Lines),
        }))
    });
    let answer = without_nothing(json!({
        "name": outline.name,
        "description": outline.description,
        "args": arguments.collect::<Vec<_>>(),
        "secrets": lent(&outline.secrets),
        "ssh": lent(&outline.agents),
        "cache": outline.caches.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(),
    }));
    format!("{answer:#}\n")
}

fn targets_as_text(targets: &[TargetStage]) -> String {
    let mut rows = vec![row(["TARGET", "DESCRIPTION"])];
    for target in targets {
        let name = match (&target.name, target.is_default) {
            (Some(name), true) => format!("{name} (default)"),
            (Some(name), false) => name.clone(),
            (None, true) => "(default)".to_owned(),
            (None, false) => "(no name)".to_owned(),
        };
        rows.push(vec![name, target.description.clone().unwrap_or_default()]);
    }
    table(&rows)
}

fn targets_as_json(targets: &[TargetStage]) -> String {
    let target = |target: &TargetStage| {
        without_nothing(json!({
            "name": target.name,
            "description": target.description,
            "base": target.base,
            "platform": target.platform,
            "default": target.is_default,
            "location": location(&target.span, Precision::Lines),
        }))
    };
    format!("{:#}\n", json!({"targets": targets.iter().map(target).collect::<Vec<_>>()}))
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns below each other, without spaces at the ends of lines.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("   ").trim_end())
    };
    rows.iter().map(line).collect()
}
