//! `carrack cache`: what is kept, and how it goes.

mod du;
mod prune;

use std::path::Path;
use std::process::ExitCode;

use crate::arguments::Cache;
use crate::caller::Caller;
use crate::failure::Failure;

/// Looks after what builds leave.
pub(crate) fn run(cache: &Cache, caller: &Caller, state: &Path) -> Result<ExitCode, Failure> {
    let text = match cache {
        Cache::Du(du) => du::run(du, state)?,
        Cache::Prune(prune) => prune::run(prune, caller, state)?,
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
