//! `carrack cache`: what is kept, and how it goes.

mod du;
mod prune;

use std::path::Path;
use std::process::ExitCode;

use carrack_remote::signature::SecretKey;

use crate::arguments::Cache;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::shared::SIGNING_KEY;

/// Looks after what builds leave.
pub(crate) fn run(cache: &Cache, caller: &Caller, state: &Path) -> Result<ExitCode, Failure> {
    let text = match cache {
        Cache::Du(du) => du::run(du, state)?,
        Cache::Prune(prune) => prune::run(prune, caller, state)?,
        Cache::Key => {
            let secret = SecretKey::generate().map_err(|error| Failure::bug(&error))?;
            let public = secret.public();
            format!("{SIGNING_KEY}={}\ncache-trust = [\"{public}\"]\n", secret.to_secret_text())
        }
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
