//! `carrack check`: finds Dockerfiles and what lies around them, reports what is wrong, and mends what can be mended.
//!
//! Carrack's own checks are about Rust, those of Docker's builder about any Dockerfile; both are made.

pub(super) mod report;
mod surroundings;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use carrack_base::{Platform, SourceText};
use carrack_docker::check::{self, CHECKS, DOCKER_CHECKS, DockerFacts, Edit, Fix, Severity, check_docker};
use carrack_docker::dockerfile::{self, Dockerfile};
use carrack_docker::lower::{Context, Request};

use crate::arguments::{Check, CheckFormat};
use crate::caller::Caller;
use crate::failure::{Failure, code};
use crate::snippet;
use crate::terminal::Terminal;
use report::Found;
use surroundings::Around;

/// A fix may open the way for another; none needs more rounds than this.
const ROUNDS: usize = 5;

/// Checks Dockerfiles.
pub(crate) fn run(arguments: &Check, caller: &Caller, terminal: &Terminal) -> Result<ExitCode, Failure> {
    if arguments.list {
        let line = |name: &str, severity: &str, title: &str| format!("{name:<45}{severity:<9}{title}\n");
        let ours = CHECKS.iter().map(|check| line(check.name, report::severity(check.severity), check.title));
        let dockers = DOCKER_CHECKS.iter().map(|check| line(check.name, "warning", check.title));
        super::print(&ours.chain(dockers).collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let files = dockerfiles(&arguments.paths)?;
    let mut findings = Vec::new();
    let mut failures = Vec::new();
    for file in &files {
        match check_file(file, arguments, caller, terminal) {
            Ok(found) => findings.extend(found),
            Err(failure) => failures.push(failure),
        }
    }
    let text = match arguments.format {
        CheckFormat::Text => report::text(&findings, &Terminal::of_stdout()),
        CheckFormat::Json => report::json(&findings),
        CheckFormat::Sarif => report::sarif(&findings),
    };
    super::print(&text)?;
    // The last one ends the command; those before it are said here.
    if let Some(last) = failures.pop() {
        failures.iter().for_each(|failure| say(&failure.report(terminal)));
        return Err(last);
    }
    let fails = |finding: &Found| arguments.strict || finding.severity() == Severity::Error;
    Ok(match findings.iter().any(fails) {
        true => ExitCode::from(code::BUILD_FAILED),
        false => ExitCode::SUCCESS,
    })
}

fn check_file(
    file: &Path,
    arguments: &Check,
    caller: &Caller,
    terminal: &Terminal,
) -> Result<Vec<Found>, Failure> {
    let mut found = find(file, arguments, caller)?;
    for _ in 0..if arguments.fix { ROUNDS } else { 0 } {
        let fixes: Vec<(&Found, &Fix)> = found
            .findings
            .iter()
            .filter_map(|finding| Some((finding, finding.fix()?)))
            .filter(|(_, fix)| matches!(fix.edit, Edit::Replace { .. }) || found.around.may_ignore_results())
            .collect();
        if fixes.is_empty() {
            break;
        }
        for (finding, fix) in &fixes {
            let (line, _) = report::position(&finding.span().source.text, finding.span().range.start);
            let word = terminal.paint(terminal.green(), &format!("{:>8}", "Fixed"));
            say(&format!(
                "{word}  {}:{line}  {} ({})\n",
                snippet::shown(file),
                fix.description,
                finding.name()
            ));
        }
        let fixes: Vec<&Fix> = fixes.into_iter().map(|(_, fix)| fix).collect();
        let old = &found.dockerfile.source.text;
        let new = check::apply(old, &fixes);
        if new != *old {
            write(file, &new)?;
        }
        found.around.ignore(&fixes)?;
        found = find(file, arguments, caller)?;
    }
    Ok(found.findings)
}

struct FoundIn {
    dockerfile: Dockerfile,
    around: Around,
    findings: Vec<Found>,
}

fn find(file: &Path, arguments: &Check, caller: &Caller) -> Result<FoundIn, Failure> {
    let dockerfile = read(file)?;
    let around = Around::of(file, arguments.context.as_deref(), caller)?;
    let ours = check::check(&dockerfile, &around.surroundings).into_iter().map(Found::Ours);
    let folder = Context::Folder { folder: around.context.clone(), filter: None };
    let facts = DockerFacts { ignore: around.surroundings.ignore.clone(), ..DockerFacts::default() };
    let dockers = check_docker(&dockerfile, &Request::new(folder, Platform::host()), &facts);
    let mut findings: Vec<Found> = ours.chain(Found::of_docker(dockers)).collect();
    findings.sort_by_key(|finding| finding.span().range.start);
    Ok(FoundIn { dockerfile, around, findings })
}

fn read(file: &Path) -> Result<Dockerfile, Failure> {
    let text =
        fs::read_to_string(file).map_err(|source| Failure::Unreadable { path: file.to_owned(), source })?;
    dockerfile::parse(&Arc::new(SourceText { path: file.to_owned(), text })).map_err(Failure::Dockerfile)
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|source| Failure::Io { action: "write", path: file.to_owned(), source })
}

/// Someone who closed standard error does not want to read it.
fn say(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The files that are meant: files as they are, of folders those with a Dockerfile's name.
fn dockerfiles(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let found = dockerfiles_in(path)?;
        if found.is_empty() {
            return Err(Failure::NoDockerfile { folder: path.clone() });
        }
        files.extend(found);
    }
    Ok(files)
}

fn dockerfiles_in(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |source| Failure::Unreadable { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_named_so = ["Dockerfile", "Containerfile"].contains(&name.as_str())
            || name.starts_with("Dockerfile.")
            || name.ends_with(".Dockerfile")
            || name.ends_with(".dockerfile");
        if is_named_so && !name.ends_with(".dockerignore") && entry.path().is_file() {
            // `.` stays away from what people read.
            files.push(if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) });
        }
    }
    files.sort();
    Ok(files)
}
