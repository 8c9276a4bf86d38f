//! What enters the key of each step. ARCHITECTURE.md has the same as a table.
//!
//! A static record holds everything that is known before a step runs. What a step turns out to have read besides
//! (libraries, files outside of the sources, variables) is *learned*: it is kept with the result and compared by
//! content before the result is used again.

use std::collections::BTreeMap;

use carrack_base::ContentDigest;
use carrack_graph::{ExecOp, Field, ImageOp, KeyRecord};

/// Raised with every change of what a record's fields mean.
const VERSION: u32 = 1;

/// The name of the field that holds the sources' listing.
pub(crate) const SOURCES: &str = "sources";

pub(crate) fn exec(op: &ExecOp, sources: ContentDigest) -> KeyRecord {
    let mut record = KeyRecord::new("exec", VERSION);
    let keyed = op.env.iter().filter(|(_, value)| value.keyed);
    record
        .set("argv", Field::List(op.argv.clone()))
        .set("env", Field::Map(keyed.map(|(name, value)| (name.clone(), value.value.clone())).collect()))
        .text("cwd", op.cwd.to_string_lossy())
        .set("artifacts", Field::List(op.artifacts.iter().cloned().collect()))
        .set(SOURCES, Field::Listing(sources));
    for (name, value) in &op.identity {
        record.text(name, value);
    }
    record
}

pub(crate) fn closure(binary: ContentDigest, timezones: bool) -> KeyRecord {
    let mut record = KeyRecord::new("closure", VERSION);
    record
        .text("binary", binary.to_string())
        .text("machine", std::env::consts::ARCH)
        .text("timezones", if timezones { "yes" } else { "no" });
    record
}

pub(crate) fn layer(entries: &BTreeMap<String, String>, mtime: u64) -> KeyRecord {
    let mut record = KeyRecord::new("layer", VERSION);
    record.text("mtime", mtime.to_string()).set("entries", Field::Map(entries.clone()));
    record
}

/// The record of an image is not looked up (assembling one is cheaper): it is kept to say what changed.
pub(crate) fn image(op: &ImageOp, layers: &[(&'static str, BTreeMap<String, String>)]) -> KeyRecord {
    let settings = &op.settings;
    let mut record = KeyRecord::new("image", VERSION);
    let pairs = |list: &[String]| -> BTreeMap<String, String> {
        let split = |entry: &String| match entry.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (entry.clone(), String::new()),
        };
        list.iter().map(split).collect()
    };
    record
        .set("env", Field::Map(pairs(&settings.env)))
        .text("user", &settings.user)
        .text("workdir", settings.workdir.as_str())
        .text("entrypoint", settings.entrypoint.join(" "))
        .text("cmd", settings.cmd.join(" "))
        .set("ports", Field::List(settings.ports.iter().cloned().collect()))
        .set("volumes", Field::List(settings.volumes.iter().map(|path| path.to_string()).collect()))
        .set("label", Field::Map(settings.labels.clone()))
        .text("healthcheck", format!("{:?}", settings.healthcheck))
        .text("stop signal", settings.stop_signal.clone().unwrap_or_default())
        .text("platform", settings.platform.to_string())
        .text("created", settings.created.to_string());
    for (title, entries) in layers {
        record.set(title, Field::Map(entries.clone()));
    }
    record
}
