//! The rules behind the table of checks, one module for each part of a build that can go wrong.

pub(super) mod artifact;
pub(super) mod cache;
pub(super) mod context;
pub(super) mod failures;
pub(super) mod layers;
pub(super) mod pins;
pub(super) mod runtime;
pub(super) mod secrets;
pub(super) mod stub;
pub(super) mod waivers;

/// A path in a folder of the context, which may be the context itself.
fn in_folder(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}
