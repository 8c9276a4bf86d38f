use std::path::Path;
use std::process::ExitCode;

use carrack_store::Store;
use serde_json::json;

use crate::arguments::{Format, Images};
use crate::blobs;
use crate::failure::Failure;
use crate::progress::bytes;

/// Lists the store's images.
pub(crate) fn run(arguments: &Images, state: &Path) -> Result<ExitCode, Failure> {
    let store = Store::open(state)?;
    let mut text = String::new();
    if arguments.format == Format::Table && !arguments.quiet {
        text.push_str(&format!("{:<48}{:<16}{:<16}{:>10}\n", "IMAGE", "ID", "DIGEST", "SIZE"));
    }
    for row in store.images()? {
        let config = blobs::image(&store, &row.manifest)?.manifest().config.digest;
        let line = match arguments.format {
            _ if arguments.quiet => format!("{config}\n"),
            Format::Json => format!(
                "{}\n",
                json!({"name": row.name, "id": config, "digest": row.manifest, "size": row.size,
                    "created": row.created_at})
            ),
            Format::Table => format!(
                "{:<48}{:<16}{:<16}{:>10}\n",
                row.name,
                &config.hex()[..12],
                &row.manifest.hex()[..12],
                bytes(row.size)
            ),
        };
        text.push_str(&line);
    }
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
