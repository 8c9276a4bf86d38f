//! What is kept of roots, and how it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use carrack_base::ContentDigest;
use carrack_store::{Batch, Bucket, Store, StoreError};

use super::layers::SnapshotRow;

/// A layer that is kept as a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLayer {
    /// What names it.
    pub id: ContentDigest,
    /// The step that made it, in words for people.
    pub step: String,
    /// Bytes of its files.
    pub size: u64,
    /// Seconds since the epoch at which it was used last, exact to a day.
    pub used_at: i64,
}

/// Which layers go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerRule {
    /// All of them.
    All,
    /// Those that were used last before this moment, in seconds since the epoch.
    UnusedSince(i64),
    /// Those that were used least recently, until the others have no more bytes than this.
    Keep(u64),
}

/// The layers that are kept, the largest first.
///
/// Errors: the store's own.
pub fn kept_layers(store: &Store) -> Result<Vec<KeptLayer>, StoreError> {
    let rows: BTreeMap<Vec<u8>, (Vec<u8>, i64)> = store
        .entries(Bucket::Snapshot)?
        .into_iter()
        .map(|entry| (entry.key, (entry.value, entry.used_at)))
        .collect();
    let mut layers: Vec<KeptLayer> = store
        .snapshots()?
        .into_iter()
        .map(|id| {
            let found = rows.get(id.as_bytes().as_slice());
            let row: Option<SnapshotRow> = found.and_then(|(value, _)| serde_json::from_slice(value).ok());
            let (size, step) = row.map(|row| (row.size, row.step)).unwrap_or_default();
            KeptLayer { id, step, size, used_at: found.map_or(0, |(_, used_at)| *used_at) }
        })
        .collect();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.size));
    Ok(layers)
}

/// Removes layers while nobody builds. Steps whose layer is gone run again, unless an image still has its bytes.
///
/// Errors: [`StoreError::Busy`] if somebody builds for longer than `patience`, and the store's own.
pub fn remove_layers(store: &Store, rule: LayerRule, patience: Duration) -> Result<(u64, u64), StoreError> {
    let _nobody_builds = store.exclude_leases(patience)?;
    let layers = kept_layers(store)?;
    let chosen: BTreeSet<ContentDigest> = match rule {
        LayerRule::All => layers.iter().map(|layer| layer.id).collect(),
        LayerRule::UnusedSince(moment) => {
            layers.iter().filter(|layer| layer.used_at < moment).map(|layer| layer.id).collect()
        }
        LayerRule::Keep(most) => {
            let mut by_use: Vec<&KeptLayer> = layers.iter().collect();
            by_use.sort_by_key(|layer| std::cmp::Reverse(layer.used_at));
            let mut kept = 0;
            let fits = |layer: &&&KeptLayer| {
                kept += layer.size;
                kept > most
            };
            by_use.iter().filter(fits).map(|layer| layer.id).collect()
        }
    };
    let mut removed = (0, 0);
    let mut batch = Batch::default();
    for layer in layers.iter().filter(|layer| chosen.contains(&layer.id)) {
        store.remove_snapshot(&layer.id)?;
        if rule == LayerRule::All {
            batch.delete(Bucket::Snapshot, layer.id.as_bytes());
        }
        removed = (removed.0 + 1, removed.1 + layer.size);
    }
    store.commit(batch)?;
    Ok(removed)
}
