use std::process::ExitCode;

use carrack_buildkit::prune;

use crate::arguments::{Cache, Prune};
use crate::caller::Caller;
use crate::engine::{self, EngineName};
use crate::failure::Failure;

/// Looks after what builds leave.
pub(crate) fn run(cache: &Cache, caller: &Caller) -> Result<ExitCode, Failure> {
    let Cache::Prune(Prune { engine, builder, all, filters, keep }) = cache;
    let engine = engine.as_ref().unwrap_or(&EngineName::Embedded);
    if *engine == EngineName::Embedded {
        return Err(Failure::NoPrune);
    }
    let client = engine::client(caller, engine, builder.as_deref())?;
    let what = carrack_buildkit::Prune { all: *all, filters: filters.clone(), keep: keep.clone() };
    let freed = prune(&client, &what)?;
    super::print(&format!("freed {freed}\n"))?;
    Ok(ExitCode::SUCCESS)
}
