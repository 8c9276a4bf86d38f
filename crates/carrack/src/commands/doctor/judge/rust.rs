//! Toolchain, linker and workspace.

use std::collections::BTreeSet;
use std::path::Path;

use carrack_cargo::toolchain::{ToolchainError, ToolchainFile, parse_verbose_version};

use super::severe_for;
use crate::commands::doctor::facts::{Linker, Member, RustFacts, Unread, WorkspaceFacts};
use crate::commands::doctor::finding::{Check, Finding, State};
use crate::commands::doctor::version::Version;
use crate::engine::EngineName;
use crate::progress::plural;

pub(super) fn judge(rust: &RustFacts, engine: &EngineName) -> Vec<Finding> {
    let (toolchain, release) = toolchain(rust);
    let mut findings = vec![toolchain];
    if let Some(workspace) = &rust.workspace {
        if let (Some((path, file)), Some(release)) = (&workspace.toolchain_file, &release) {
            findings.push(toolchain_file(path, file, release, rust.chosen_by_variable));
        }
        findings.extend(members(workspace));
        if let (Some(Ok(members)), Some(release)) = (&workspace.members, &release) {
            findings.extend(rust_version(members, release));
        }
    }
    findings.push(linker(&rust.linker, engine));
    if let (Some(workspace), Some(installed)) = (&rust.workspace, &rust.targets) {
        findings.extend(targets(workspace, installed, engine));
    }
    findings
}

/// Also gives the release, if there is one.
fn toolchain(rust: &RustFacts) -> (Finding, Option<String>) {
    let broken = |what: String| Finding::new(Check::Toolchain, State::Broken, what);
    let toolchain = match &rust.toolchain {
        Ok(toolchain) => toolchain,
        Err(error) => {
            let finding = broken(format!("cannot {error}"));
            let finding = match error {
                ToolchainError::NotInPath { .. } => {
                    finding.hint("curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh")
                }
                ToolchainError::NoDefault { .. } => finding.hint("rustup default stable"),
                ToolchainError::NotInstalled { channel, .. } => {
                    finding.hint(format!("rustup toolchain install {channel}"))
                }
                ToolchainError::Incomplete { folder, .. } => {
                    let name = folder.file_name().unwrap_or_default().to_string_lossy();
                    finding.hint(format!("rustup toolchain install {name}"))
                }
                ToolchainError::Unreadable { .. } | ToolchainError::Malformed { .. } => {
                    finding.hint("rustup show")
                }
            };
            return (finding, None);
        }
    };
    let program = toolchain.rustc.display();
    let answer = rust.rustc.as_ref();
    let Some(version) = answer.and_then(|answer| parse_verbose_version(answer.text()?)) else {
        let why = answer.map(|answer| answer.complaint()).unwrap_or_default();
        return (broken(format!("{program} does not say its version: {why}")).hint("rustup update"), None);
    };
    let what = format!("rustc {} for {} ({program})", version.release, version.host);
    (Finding::new(Check::Toolchain, State::Ok, what), Some(version.release))
}

/// rustup obeys the file; without it, or with a variable that overrules it, another compiler may run.
fn toolchain_file(
    path: &Path,
    file: &Result<ToolchainFile, ToolchainError>,
    release: &str,
    chosen_by_variable: bool,
) -> Finding {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let file = match file {
        Ok(file) => file,
        Err(error) => {
            let what = format!("cannot {error}");
            return Finding::new(Check::RustToolchainFile, State::Broken, what).hint("rustup show");
        }
    };
    let Some(channel) = file.channel.as_deref().filter(|channel| !Path::new(channel).is_absolute()) else {
        return Finding::new(Check::RustToolchainFile, State::Ok, format!("{name} leaves the version open"));
    };
    if is_of(release, channel) {
        let what = format!("{name} asks for {channel}, and gets it");
        return Finding::new(Check::RustToolchainFile, State::Ok, what);
    }
    let what = format!("{name} asks for {channel}, but rustc {release} builds: ");
    let (why, hint) = match chosen_by_variable {
        true => ("RUSTUP_TOOLCHAIN overrules it", "unset RUSTUP_TOOLCHAIN"),
        false => {
            ("this rustc is not rustup's", "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh")
        }
    };
    Finding::new(Check::RustToolchainFile, State::Warning, format!("{what}{why}")).hint(hint)
}

/// Whether a release can be what the channel names.
fn is_of(release: &str, channel: &str) -> bool {
    // `nightly-2026-01-31`, `1.90.0-x86_64-unknown-linux-gnu`.
    let channel = channel.split('-').next().unwrap_or(channel);
    match channel {
        "stable" => !release.contains('-'),
        "beta" | "nightly" => release.contains(channel),
        number if number.matches('.').count() == 1 => release.starts_with(&format!("{number}.")),
        number if number.starts_with(|first: char| first.is_ascii_digit()) => release == number,
        // A toolchain with a name of its own.
        _ => true,
    }
}

fn members(workspace: &WorkspaceFacts) -> Option<Finding> {
    let finding = |state, what: String| Finding::new(Check::Workspace, state, what);
    let unread = match workspace.members.as_ref()? {
        Ok(members) => {
            let count = members.len();
            let word = plural(count, "package");
            return Some(finding(State::Ok, format!("{count} {word} in {}", workspace.path.display())));
        }
        Err(unread) => unread,
    };
    Some(match unread {
        Unread::Locate(why) => finding(State::Broken, why.clone()),
        Unread::Configuration(why) => {
            finding(State::Broken, format!("cannot {why}")).hint("carrack build    # shows the place")
        }
        Unread::Cargo(why) => {
            finding(State::Broken, format!("cargo refuses it: {why}")).hint("cargo metadata --no-deps")
        }
    })
}

fn rust_version(members: &[Member], release: &str) -> Option<Finding> {
    let asking = |member: &Member| {
        let asked = member.rust_version.clone()?;
        Some((Version::read(&asked)?, asked, member.name.clone()))
    };
    let (version, asked, name) = members.iter().filter_map(asking).max()?;
    if Version::read(release)? >= version {
        let what = format!("{asked} is asked for, rustc is {release}");
        return Some(Finding::new(Check::RustVersion, State::Ok, what));
    }
    let what = format!("{name} needs Rust {asked}, rustc is {release}: cargo refuses to build it");
    Some(Finding::new(Check::RustVersion, State::Broken, what).hint("rustup update"))
}

fn linker(linker: &Linker, engine: &EngineName) -> Finding {
    const INSTALL: &str = "sudo apt-get install gcc libc6-dev";
    if linker.configured {
        let what = "a linker of your own, named by cargo's configuration";
        return Finding::new(Check::Linker, State::Ok, what);
    }
    let lacks = match &linker.cc {
        None => "there is no `cc`: rustc can't link",
        Some(_) if !linker.ld => "`cc` finds no `ld`: rustc can't link",
        Some(_) if !linker.start_code => "`cc` finds no crt1.o, the C library's start code: rustc can't link",
        Some(cc) => return Finding::new(Check::Linker, State::Ok, cc.display().to_string()),
    };
    Finding::new(Check::Linker, severe_for(&EngineName::Embedded, engine), lacks).hint(INSTALL)
}

fn targets(workspace: &WorkspaceFacts, installed: &BTreeSet<String>, engine: &EngineName) -> Vec<Finding> {
    let file = workspace.toolchain_file.as_ref().and_then(|(_, file)| file.as_ref().ok());
    let asked: BTreeSet<&String> =
        file.into_iter().flat_map(|file| &file.targets).chain(&workspace.target).collect();
    let judged = |target: &&String| {
        if installed.contains(*target) {
            return Finding::new(Check::Target, State::Ok, format!("{target} has its standard library"));
        }
        // Only the target that images are built for stops a build.
        let needed = workspace.target.as_ref() == Some(target);
        let state = if needed { severe_for(&EngineName::Embedded, engine) } else { State::Warning };
        Finding::new(Check::Target, state, format!("the standard library for {target} is not installed"))
            .hint(format!("rustup target add {target}"))
    };
    asked.iter().map(judged).collect()
}
