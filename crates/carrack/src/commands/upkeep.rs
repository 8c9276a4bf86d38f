//! Looks after the store: what is too old or too much goes, after a build that did something, and when a person asks.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carrack_cargo::config::CacheLimits;
use carrack_engine::{LayerRule, remove_layers};
use carrack_store::{Bucket, FolderUsage, PruneRule, Store, StoreError};

/// How often, in seconds, a store within its limits is looked after.
const EVERY: u64 = 24 * 60 * 60;
const KEY: &[u8] = b"looked after";

/// Keeps the store within `limits`, at once if there is too much in it, else once a day. Never waits for other builds, and
/// never fails: it is tried again after the next build.
pub(super) fn after_build(store: &Store, limits: &CacheLimits) {
    // See above: whatever goes wrong is no trouble of the build's.
    let _ = look_after(store, limits);
}

fn look_after(store: &Store, limits: &CacheLimits) -> Result<(), StoreError> {
    let now = now();
    let last =
        store.get(Bucket::Upkeep, KEY)?.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<u64>().ok());
    let is_due = last.is_none_or(|last| now.abs_diff(last) >= EVERY);
    if !is_due && store.units_size()? <= limits.keep {
        return Ok(());
    }
    let rule =
        PruneRule { older_than: Some(limits.unused), keep_bytes: Some(limits.keep), ..PruneRule::default() };
    store.prune_units(Duration::ZERO, &rule)?;
    if is_due {
        for folder in store.target_folders()? {
            if is_abandoned(&folder) || is_older(&folder, limits.unused) {
                store.clear_target(&folder.id)?;
            }
        }
        let unused = i64::try_from(now.saturating_sub(limits.unused)).unwrap_or(0);
        remove_layers(store, LayerRule::UnusedSince(unused), Duration::ZERO)?;
        remove_layers(store, LayerRule::Keep(limits.keep), Duration::ZERO)?;
        for mount in store.mount_folders()?.iter().filter(|mount| mount.used_at < unused) {
            store.clear_mount(&mount.name)?;
        }
        store.forget_unused(i64::try_from(now.saturating_sub(limits.unused)).unwrap_or(0))?;
        store.put(Bucket::Upkeep, KEY, now.to_string())?;
    }
    Ok(())
}

/// The workspace that a build folder belongs to, if it says so.
pub(super) fn owner(folder: &FolderUsage) -> Option<String> {
    fs::read_to_string(folder.path.join("owner")).ok()
}

/// Whether the workspace that a build folder belongs to is gone.
pub(super) fn is_abandoned(folder: &FolderUsage) -> bool {
    owner(folder).is_some_and(|owner| !Path::new(&owner).join("Cargo.toml").exists())
}

/// Whether a build folder was not used for this many seconds.
pub(super) fn is_older(folder: &FolderUsage, seconds: u64) -> bool {
    let now = i64::try_from(now()).unwrap_or(i64::MAX);
    now.saturating_sub_unsigned(seconds) > folder.used_at
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
