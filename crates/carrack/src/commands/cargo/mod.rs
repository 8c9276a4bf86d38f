//! `carrack cargo`: an ordinary run of cargo with the unit cache around it.
//!
//! ```text
//! line (what is asked of cargo) → around: put units back → cargo, with the caller's own everything → around: keep units
//! ```
//!
//! Owns the rule that the cache never makes a run of cargo fail: whatever is wrong with it is one line on standard error,
//! and cargo runs as if nobody had tried. Does not read cargo's output and changes none of its inputs. Fails only where
//! cargo can't be started.

mod around;

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use carrack_cargo::line::Line;
use carrack_cargo::locate;
use carrack_cargo::toolchain::ToolchainError;

use crate::arguments::Cargo;
use crate::caller::Caller;
use crate::failure::{Failure, code};
use crate::signals::Relay;
use around::Around;

/// Runs cargo. The exit code is cargo's.
pub(crate) fn run(arguments: &Cargo, caller: &Caller, state: &Path) -> Result<ExitCode, Failure> {
    let arguments = &arguments.arguments;
    let program = caller.program("cargo");
    let program = program.ok_or_else(|| ToolchainError::NotInPath { program: "cargo".to_owned() })?;
    let mut cargo = Command::new(&program);
    cargo.args(arguments);
    let failed = |source| Failure::Io { action: "run", path: program.clone(), source };
    let alias = |name: &str| {
        let variable = format!("CARGO_ALIAS_{}", name.to_uppercase().replace('-', "_"));
        if let Some(text) = caller.text(&variable) {
            return Some(text.split_whitespace().map(str::to_owned).collect());
        }
        let configs = locate::cargo_configs(&caller.folder().ok()?, &caller.cargo_home()).ok()?;
        locate::cargo_alias(name, &configs)
    };
    let Some(line) = Line::read(arguments, alias) else {
        return Err(failed(cargo.exec()));
    };
    let relay = Relay::start().map_err(|error| Failure::bug(&error))?;
    let stopped = || relay.cancel.signal().map(|signal| Failure::Cancelled { signal }.code());
    let around = Around::new(&line, caller, &program, state, &relay);
    let around = around.and_then(|mut around| around.before().map(|()| around));
    if let Some(stopped) = stopped() {
        return Ok(ExitCode::from(stopped));
    }
    let mut child = cargo.spawn().map_err(failed)?;
    let status = relay.wait(&mut child).map_err(failed)?;
    match around {
        Ok(mut around) => match around.after() {
            Ok(kept) => {
                report(&around, kept, line.quiet);
                if kept > 0 {
                    around.look_after_store();
                }
            }
            Err(failure) => say(&format!("what was compiled is not kept: {}", failure.one_line())),
        },
        // Cargo has said itself what is wrong with the workspace.
        Err(Failure::Metadata { .. }) if !status.success() => {}
        Err(Failure::Unproven { is_new: false, .. }) => {}
        Err(failure) => say(&format!("compiled packages are not reused: {}", failure.one_line())),
    }
    Ok(exit_code(status))
}

/// What was put back and kept, if anything was.
fn report(around: &Around<'_>, kept: usize, quiet: bool) {
    let back: usize = around.put_back().values().sum();
    if quiet || back + kept == 0 {
        return;
    }
    let from = around.put_back().iter();
    let from = from.filter_map(|(origin, units)| Some(format!("{units} from {}", origin.as_ref()?)));
    let from: Vec<String> = from.collect();
    let from = if from.is_empty() { String::new() } else { format!(" ({})", from.join(", ")) };
    let units = crate::progress::plural(back, "unit");
    say(&format!("{back} {units} put back{from}, {kept} kept"));
}

/// One line for a person. Someone who closed standard error does not want to read it.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(format!("carrack: {text}\n").as_bytes());
}

/// As a shell has it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(i32::from(code::SIGNAL) + status.signal()?));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(code::BUG))
}
