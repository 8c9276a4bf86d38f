use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use carrack_store::{Store, StoreError};

use crate::arguments::Rm;
use crate::blobs;
use crate::failure::Failure;

/// How long a removal waits for running builds before it leaves the blobs to the next one.
const PATIENCE: Duration = Duration::from_millis(500);

/// Removes images, and the blobs that no other image needs.
pub(crate) fn run(arguments: &Rm, state: &Path) -> Result<ExitCode, Failure> {
    let store = Store::open(state)?;
    // All names are looked up first: one mistake must not leave half of the work done.
    let rows =
        arguments.images.iter().map(|name| blobs::find_names(&store, name)).collect::<Result<Vec<_>, _>>()?;
    for row in rows.into_iter().flatten() {
        if store.untag(&row.name)? {
            super::print(&format!("{}\n", row.name))?;
        }
    }
    match blobs::collect(&store, PATIENCE) {
        Ok(_) | Err(StoreError::Busy { .. }) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}
