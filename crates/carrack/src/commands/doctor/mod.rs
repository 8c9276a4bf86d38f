//! `carrack doctor`: what this machine has and lacks.
//!
//! ```text
//! gather (programs, file system, variables) → Facts → judge (pure) → Findings → show (text or JSON)
//! ```
//!
//! Owns every word of the report; `docs/doctor.md` explains each finding. Deliberately mends nothing: it gives the
//! command. Fails only if nothing can be printed or a signal came; whatever can't be found out is a finding.

mod facts;
mod finding;
mod gather;
mod judge;
mod show;
mod version;

use std::path::Path;
use std::process::ExitCode;

use carrack_base::Cancel;

use crate::arguments::Doctor;
use crate::caller::Caller;
use crate::engine::EngineName;
use crate::failure::{Failure, code};
use crate::terminal::Terminal;
use finding::State;

/// Reports on this machine. The exit code tells whether the chosen engine can work.
pub(crate) fn run(
    arguments: &Doctor,
    caller: &Caller,
    state: &Path,
    cancel: &Cancel,
) -> Result<ExitCode, Failure> {
    let facts = gather::gather(caller, state, &arguments.path, cancel);
    if let Some(signal) = cancel.signal() {
        return Err(Failure::Cancelled { signal });
    }
    let workspace = facts.rust.as_ref().and_then(|rust| rust.workspace.as_ref());
    let configured = || workspace.and_then(|workspace| workspace.engine.clone());
    let engine = arguments.engine.clone().or_else(configured).unwrap_or(EngineName::Embedded);
    let findings = judge::judge(&facts, &engine);
    let text = match arguments.json {
        true => show::json(&findings, &engine),
        false => show::text(&findings, &Terminal::of_stdout()),
    };
    super::print(&text)?;
    let broken = findings.iter().any(|finding| finding.state == State::Broken);
    Ok(if broken { ExitCode::from(code::MACHINE) } else { ExitCode::SUCCESS })
}
