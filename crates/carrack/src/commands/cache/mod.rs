//! `carrack cache`: what is kept, and how it goes.

mod du;
mod prune;
mod travel;

use std::path::Path;
use std::process::ExitCode;

use carrack_remote::signature::SecretKey;

use crate::arguments::Cache;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::shared::SIGNING_KEY;
use crate::stages;

/// Looks after what builds leave.
pub(crate) fn run(cache: &Cache, caller: &Caller, state: &Path) -> Result<ExitCode, Failure> {
    if !matches!(cache, Cache::Key) {
        // Layers and mounts hold files of many owners.
        stages::may_give_files_away_of(caller, state)?;
    }
    let text = match cache {
        Cache::Du(du) => du::run(du, state)?,
        Cache::Prune(prune) => prune::run(prune, caller, state)?,
        Cache::Export { to } => travel::export(to, caller, state)?,
        Cache::Import { from } => travel::import(from, caller, state)?,
        Cache::Key => {
            let secret = SecretKey::generate().map_err(|error| Failure::bug(&error))?;
            let public = secret.public();
            format!("{SIGNING_KEY}={}\ncache-trust = [\"{public}\"]\n", secret.to_secret_text())
        }
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
