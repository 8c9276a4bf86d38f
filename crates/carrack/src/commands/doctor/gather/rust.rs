//! Finds the toolchain and the workspace, and asks rustc, cargo and the linker about themselves.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use carrack_base::Cancel;
use carrack_cargo::config::Configuration;
use carrack_cargo::locate::{LocateError, Location, locate};
use carrack_cargo::toolchain::{self, read_toolchain_file};
use serde_json::Value;

use super::ask::Pending;
use crate::caller::Caller;
use crate::commands::doctor::facts::{Answer, Linker, Member, RustFacts, Unread, WorkspaceFacts};

pub(super) fn gather(caller: &Caller, path: &Path, cancel: &Cancel) -> RustFacts {
    let located = locate(path, &caller.cargo_home());
    let location = located.as_ref().ok();
    let folder = location.map_or_else(|| existing_folder(path), |location| location.root.clone());
    let toolchain = toolchain::locate(|name| caller.variable(name), &folder);

    let ask = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&folder);
        Pending::start_command(command, cancel)
    };
    let metadata = ["metadata", "--no-deps", "--format-version", "1", "--offline"];
    let tools = toolchain.as_ref().ok();
    let metadata = tools.filter(|_| location.is_some()).map(|tools| ask(&tools.cargo, &metadata));
    let rustc = tools.map(|tools| ask(&tools.rustc, &["-vV"]));
    let sysroot = tools.map(|tools| ask(&tools.rustc, &["--print", "sysroot"]));
    let linker = linker(caller, location, cancel);

    let targets = sysroot.map(Pending::answer).and_then(|answer| {
        let libraries = Path::new(answer.text()?).join("lib/rustlib");
        let folders = fs::read_dir(libraries).ok()?.flatten();
        let with_std = folders.filter(|folder| folder.path().join("lib").is_dir());
        Some(with_std.filter_map(|folder| folder.file_name().into_string().ok()).collect::<BTreeSet<_>>())
    });
    RustFacts {
        rustc: rustc.map(Pending::answer),
        targets,
        chosen_by_variable: caller.variable("RUSTUP_TOOLCHAIN").is_some(),
        linker,
        workspace: workspace(path, located, metadata.map(Pending::answer)),
        toolchain,
    }
}

fn existing_folder(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| PathBuf::from("/"))
}

fn workspace(
    path: &Path,
    located: Result<Location, LocateError>,
    metadata: Option<Answer>,
) -> Option<WorkspaceFacts> {
    let location = match located {
        Ok(location) => location,
        Err(LocateError::NoManifest { .. }) => return None,
        Err(error) => {
            let why = std::error::Error::source(&error).map(|source| format!(": {source}"));
            let why = format!("cannot {error}{}", why.unwrap_or_default());
            return Some(WorkspaceFacts {
                path: path.to_owned(),
                members: Some(Err(Unread::Locate(why))),
                toolchain_file: None,
                engine: None,
                target: None,
            });
        }
    };
    let configuration = Configuration::load(&location.root, &[]);
    let members = match &configuration {
        Err(errors) => {
            let why = errors.first().map(ToString::to_string).unwrap_or_default();
            Some(Err(Unread::Configuration(why)))
        }
        Ok(_) => metadata
            .map(|answer| answer.text().and_then(members).ok_or_else(|| Unread::Cargo(answer.complaint()))),
    };
    let file = location.toolchain_file.as_ref().map(|path| (path.clone(), read_toolchain_file(path)));
    let settings = configuration.ok().map(|configuration| configuration.workspace);
    Some(WorkspaceFacts {
        path: location.root,
        members,
        toolchain_file: file,
        engine: settings.as_ref().and_then(|settings| settings.engine.as_ref()?.parse().ok()),
        target: settings.and_then(|settings| settings.target),
    })
}

/// The packages that `cargo metadata` names.
fn members(metadata: &str) -> Option<Vec<Member>> {
    let metadata: Value = serde_json::from_str(metadata).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array()?.iter();
    packages
        .map(|package| {
            Some(Member { name: text(&package["name"])?, rust_version: text(&package["rust_version"]) })
        })
        .collect()
}

fn linker(caller: &Caller, location: Option<&Location>, cancel: &Cancel) -> Linker {
    let by_variable = caller.texts().any(|(name, value)| {
        name.starts_with("CARGO_TARGET_") && name.ends_with("_LINKER") && !value.is_empty()
    });
    let configs = location.into_iter().flat_map(|location| &location.cargo_configs);
    let by_file = configs.filter_map(|path| fs::read_to_string(path).ok()).any(|text| {
        text.lines().any(|line| {
            line.trim_start().strip_prefix("linker").is_some_and(|rest| rest.trim_start().starts_with('='))
        })
    });
    let configured = by_variable || by_file;
    let Some(cc) = caller.program("cc") else { return Linker { configured, ..Linker::default() } };
    let ask = |argument: &str| Pending::start(&cc, &[argument], cancel);
    let (ld, start_code) = (ask("-print-prog-name=ld"), ask("-print-file-name=crt1.o"));
    let (ld, start_code) = (ld.answer(), start_code.answer());
    // What a compiler does not find it prints as it was asked.
    let found = |answer: &Answer| answer.text().is_some_and(|path| path.starts_with('/'));
    Linker {
        ld: found(&ld) || caller.program("ld").is_some(),
        start_code: found(&start_code),
        configured,
        cc: Some(cc),
    }
}
