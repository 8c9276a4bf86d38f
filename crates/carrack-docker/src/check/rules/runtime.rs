//! The image that is shipped, and what the program needs of it.

use std::ops::Range;

use super::super::Found;
use super::super::image::{Image, Libc};
use super::super::model::{Model, Origin, Placed, Step, builds};
use crate::dockerfile::{CommandLine, Kind};

/// A program that goes from a stage that builds to one that ships.
struct Shipped<'a, 'm> {
    range: Range<usize>,
    stage: usize,
    builder: &'a Image,
    calls: Vec<(&'a Step<'m>, &'a Placed)>,
}

fn shipped<'a, 'm>(model: &'a Model<'m>) -> Vec<Shipped<'a, 'm>> {
    let mut shipped = Vec::new();
    for (index, stage) in model.stages.iter().enumerate() {
        for step in &stage.steps {
            let Some(copied) = &step.copied else { continue };
            let Origin::Stage(from) = copied.origin else { continue };
            let looks_like_a_program = copied.paths.iter().find(|path| {
                let last = path.path.rsplit('/').next().unwrap_or_default();
                let in_place = ["release", "debug", "bin"]
                    .iter()
                    .any(|place| path.path.split('/').any(|part| part == *place));
                let known = model.workspace().is_some_and(|workspace| {
                    workspace.members.iter().any(|member| member.binaries.iter().any(|binary| binary == last))
                });
                !last.contains('.') && (in_place || known)
            });
            let steps = model.history(from);
            let calls: Vec<_> =
                steps.into_iter().flat_map(Step::calls).filter(|(_, _, call)| builds(call)).collect();
            let (Some(path), Some(builder)) = (looks_like_a_program, &model.stages[from].image) else {
                continue;
            };
            if !calls.is_empty() {
                let calls = calls.into_iter().map(|(step, placed, _)| (step, placed)).collect();
                shipped.push(Shipped { range: path.range.clone(), stage: index, builder, calls });
            }
        }
    }
    shipped
}

/// Whether the program needs no loader of the image it ends up in.
fn is_static(model: &Model<'_>, shipped: &Shipped<'_, '_>) -> bool {
    shipped.builder.libc() == Libc::Musl
        || model.workspace().is_some_and(|workspace| workspace.links_statically)
        || shipped.calls.iter().any(|(step, placed)| {
            let flags = |value: &str| value.contains("crt-static");
            placed.target.as_deref().is_some_and(|target| !target.contains("-gnu"))
                || step.state.variables.values().any(|value| flags(value))
                || placed.command.assignments.iter().any(|(_, value)| flags(value))
                || model.dockerfile.source.text.contains("linux-musl")
        })
}

/// The program was linked against a newer C library than it meets.
pub(crate) fn older_glibc(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for shipped in shipped(model).iter().filter(|shipped| !is_static(model, shipped)) {
        let runtime = model.stages[shipped.stage].image.as_ref().map(Image::libc);
        let (Libc::Glibc(major, minor), Some(Libc::Glibc(has_major, has_minor))) =
            (shipped.builder.libc(), runtime)
        else {
            continue;
        };
        if (has_major, has_minor) < (major, minor) {
            let mark =
                format!("linked against glibc {major}.{minor}, and this image has {has_major}.{has_minor}");
            found.push(Found::at(shipped.range.clone(), mark));
        }
    }
    found
}

/// The program needs glibc, and there is none.
pub(crate) fn no_glibc(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for shipped in shipped(model).iter().filter(|shipped| !is_static(model, shipped)) {
        let runtime = model.stages[shipped.stage].image.as_ref().map(Image::libc);
        let builds_for_glibc = matches!(shipped.builder.libc(), Libc::Glibc(..) | Libc::SomeGlibc);
        let what = match runtime {
            Some(Libc::Musl) if !installs(model, shipped.stage, &["gcompat", "libc6-compat"]) => {
                "this image has musl"
            }
            Some(Libc::None) if !copies_libraries(model, shipped.stage) => "this image has no loader",
            _ => continue,
        };
        if builds_for_glibc {
            found.push(Found::at(shipped.range.clone(), format!("linked against glibc, and {what}")));
        }
    }
    found
}

/// The program speaks TLS, and the image knows no authority.
pub(crate) fn no_certificates(model: &Model<'_>) -> Vec<Found> {
    const READERS: [&str; 4] =
        ["rustls-native-certs", "rustls-platform-verifier", "native-tls", "openssl-probe"];
    let locked = model.workspace().and_then(|workspace| workspace.locked.as_ref());
    let Some(reader) = locked.and_then(|locked| READERS.into_iter().find(|name| locked.contains(*name)))
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut seen = Vec::new();
    for shipped in shipped(model) {
        let lacks = model.stages[shipped.stage].image.as_ref().is_some_and(Image::lacks_certificates);
        let history = model.history(shipped.stage);
        let has = installs(model, shipped.stage, &["ca-certificates", "ca-certificates-bundle"])
            || history.iter().any(|step| {
                let copied = step.copied.iter().flat_map(|copied| &copied.paths);
                copied
                    .into_iter()
                    .any(|path| path.path.contains("ssl") || path.path.contains("ca-certificates"))
                    || ["SSL_CERT_FILE", "SSL_CERT_DIR"]
                        .iter()
                        .any(|name| step.state.variables.contains_key(*name))
            });
        if lacks && !has && !seen.contains(&shipped.stage) {
            seen.push(shipped.stage);
            let range = model.stages[shipped.stage].stage.from.image.range();
            found.push(Found::at(range, format!("has no CA certificates, and {reader} looks for them")));
        }
    }
    found
}

/// Whether a stage installs one of these packages, by name or because another brings it.
fn installs(model: &Model<'_>, stage: usize, packages: &[&str]) -> bool {
    model.history(stage).iter().flat_map(|step| &step.commands).any(|placed| {
        let words: Vec<&str> = placed.command.words.iter().map(|word| word.value.as_str()).collect();
        let manager = words.iter().any(|word| ["install", "add"].contains(word));
        let all = !words.contains(&"--no-install-recommends");
        let brings = |word: &&&str| all && ["curl", "wget", "git", "openssl"].contains(*word);
        let has = |word: &&&str| {
            packages.iter().any(|package| *word == package || word.starts_with(&format!("{package}=")))
        };
        // A variable or a file may hold any name.
        manager
            && (words.iter().any(|word| word.contains('$'))
                || words.iter().any(|word| has(&word))
                || (packages[0] == "ca-certificates" && words.iter().any(|word| brings(&word))))
    })
}

/// Whether shared libraries are copied too.
fn copies_libraries(model: &Model<'_>, stage: usize) -> bool {
    model.history(stage).iter().any(|step| {
        let paths = step.copied.iter().flat_map(|copied| &copied.paths);
        paths
            .into_iter()
            .any(|path| path.path.is_empty() || path.path.contains(".so") || path.path.contains("lib"))
    })
}

/// Nobody said who runs the program.
pub(crate) fn root(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for stage in model.shipped().into_iter().filter(|stage| model.runs_something(*stage)) {
        let history = model.history(stage);
        let user = history.iter().rev().find_map(|step| match &step.instruction.kind {
            Kind::User(user) => Some(user),
            _ => None,
        });
        let drops = history.iter().any(|step| match &step.instruction.kind {
            Kind::Cmd(command) | Kind::Entrypoint(command) => match command {
                CommandLine::Shell(text) => changes_user(text),
                CommandLine::Exec(words) => {
                    words.iter().any(|word| changes_user(word))
                        || words.iter().any(|word| word.ends_with(".sh"))
                }
            },
            _ => step
                .commands
                .iter()
                .any(|placed| placed.command.words.iter().any(|word| changes_user(&word.value))),
        });
        if drops || runs_cargo(&history) {
            continue;
        }
        let image = model.stages[stage].image.as_ref();
        let mark = match user {
            Some(user) if ["root", "0", "root:root", "0:0"].contains(&user.as_str()) => {
                found.push(Found::at(user.range(), "the program runs as root"));
                continue;
            }
            Some(_) => continue,
            None if image.is_some_and(Image::starts_as_root) => "the program in this stage runs as root",
            None => continue,
        };
        found.push(Found::at(model.stages[stage].stage.from.image.range(), mark));
    }
    found
}

fn changes_user(text: &str) -> bool {
    ["gosu", "su-exec", "setpriv", "runuser"].iter().any(|program| text.contains(program))
}

/// The image is for development: what it runs is cargo.
fn runs_cargo(history: &[&Step<'_>]) -> bool {
    history.iter().any(|step| match &step.instruction.kind {
        Kind::Cmd(CommandLine::Exec(words)) | Kind::Entrypoint(CommandLine::Exec(words)) => words
            .first()
            .is_some_and(|word| ["cargo", "bash", "sh", "/bin/bash", "/bin/sh"].contains(&word.as_str())),
        Kind::Cmd(CommandLine::Shell(text)) | Kind::Entrypoint(CommandLine::Shell(text)) => {
            text.starts_with("cargo")
        }
        _ => false,
    })
}

/// Compiler and sources are shipped with the program.
pub(crate) fn toolchain(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for stage in model.shipped().into_iter().filter(|stage| model.runs_something(*stage)) {
        let history = model.history(stage);
        let builds = history.iter().flat_map(|step| step.calls()).any(|(_, _, call)| builds(call));
        let has_rust = model.stages[stage].image.as_ref().is_some_and(Image::is_based_on_rust);
        if builds && has_rust && !runs_cargo(&history) {
            let range = model.stages[stage].stage.from.image.range();
            found.push(Found::at(range, "the whole toolchain, the sources and target/ are shipped"));
        }
    }
    found
}
