//! Steps of Dockerfiles in shared caches: what a step with this key came to on another machine, and cache mounts.
//!
//! ```text
//! step-<key>       what is kept for the key, and the layer as a blob if it was published with its bytes
//! mount-<digest>   the content of a cache mount as a layer; the digest is that of its name
//! ```
//!
//! Every step is published, its bytes only if an image has them ([`Mode::Min`]) or all are asked for: steps of a stage that is
//! only copied from are recognised by what they came to, and need not be there themselves. If their bytes turn out to be
//! needed after all, the build begins again without the cache.

use std::io;

use carrack_base::{ContentDigest, EventSink};
use carrack_remote::{BlobInfo, Bytes, RemoteError, Upload};
use carrack_store::Store;
use serde::{Deserialize, Serialize};

use super::results::take_layer;
use super::{Mode, Shared, SharedCaches};
use crate::error::EngineError;
use crate::layer::WrittenLayer;

const VERSION: u32 = 1;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedStep {
    version: u32,
    /// What is kept for its key: the digest of a snapshot, or of what is taken of one.
    pub(crate) value: ContentDigest,
    /// The snapshot's bytes, if they were published.
    pub(crate) layer: Option<WrittenLayer>,
    /// What a cache mount is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

impl SharedStep {
    pub(crate) fn new(value: ContentDigest, layer: Option<WrittenLayer>) -> Self {
        Self { version: VERSION, value, layer, name: None }
    }
}

impl SharedCaches {
    /// What the step `key` came to elsewhere.
    pub(crate) fn find_step(&self, key: &ContentDigest, events: &dyn EventSink) -> Option<SharedStep> {
        self.from.iter().find_map(|shared| self.find(shared, &format!("step-{key}"), events))
    }

    /// The content of a cache mount.
    pub(crate) fn find_mount(&self, id: &str, events: &dyn EventSink) -> Option<SharedStep> {
        self.from.iter().find_map(|shared| self.find(shared, &mount_name(id), events))
    }

    fn find(&self, shared: &Shared, name: &str, events: &dyn EventSink) -> Option<SharedStep> {
        let list = std::slice::from_ref(shared);
        let found = self.with_each(list, self.patience.look, events, |_, remote| {
            let Some(entry) = remote.find(name)? else { return Ok(None) };
            Ok(serde_json::from_slice::<SharedStep>(&entry.head).ok())
        });
        found.into_iter().flatten().flatten().find(|step| step.version == VERSION)
    }

    /// Brings the bytes of a layer into the store; whether some cache has them, unharmed.
    pub(crate) fn bring_layer(&self, layer: &WrittenLayer, store: &Store, events: &dyn EventSink) -> bool {
        self.from.iter().any(|shared| {
            let list = std::slice::from_ref(shared);
            let brought = self.with_each(list, self.patience.fetch, events, |_, remote| {
                let blob = BlobInfo { digest: layer.digest, size: layer.size };
                let failed =
                    |source: io::Error| RemoteError::Source { remote: remote.name().to_owned(), source };
                take_layer(remote.read(&blob)?, layer, store).map_err(failed)
            });
            brought == [Some(true)]
        })
    }

    /// Publishes what steps came to, where it is not yet.
    ///
    /// Errors: none; a cache that can't be written to is complained about once.
    pub(crate) fn publish_steps(
        &self,
        steps: &[(ContentDigest, SharedStep)],
        store: &Store,
        events: &dyn EventSink,
    ) {
        let named: Vec<(String, &SharedStep)> =
            steps.iter().map(|(key, step)| (format!("step-{key}"), step)).collect();
        self.publish(&named, store, events);
    }

    /// Publishes the content of a cache mount, in place of what it was before.
    pub(crate) fn publish_mount(&self, id: &str, step: &SharedStep, store: &Store, events: &dyn EventSink) {
        let step = SharedStep { name: Some(id.to_owned()), ..step.clone() };
        self.publish(&[(mount_name(id), &step)], store, events);
    }

    fn publish(&self, entries: &[(String, &SharedStep)], store: &Store, events: &dyn EventSink) {
        self.with_each(&self.to, self.patience.publish, events, |_, remote| {
            for (name, step) in entries {
                let head = serde_json::to_vec(step).expect("digests can be written as JSON");
                let path = step.layer.as_ref().and_then(|layer| store.blob_path(&layer.digest));
                let there = match remote.find(name) {
                    // What nobody signed who is trusted is as good as nothing.
                    Err(RemoteError::Untrusted { .. }) => None,
                    found => found?.and_then(|entry| serde_json::from_slice::<SharedStep>(&entry.head).ok()),
                };
                // One that has the bytes is not replaced by one that has not.
                let is_as_good = there.is_some_and(|there| {
                    there == **step || (there.value == step.value && step.layer.is_none())
                });
                if is_as_good || (step.layer.is_some() && path.is_none()) {
                    continue;
                }
                let uploads: Vec<Upload<'_>> = step
                    .layer
                    .iter()
                    .zip(&path)
                    .map(|(layer, path)| Upload {
                        blob: BlobInfo { digest: layer.digest, size: layer.size },
                        bytes: Bytes::File(path),
                    })
                    .collect();
                remote.publish(name, &head, &uploads)?;
            }
            Ok(())
        });
    }

    /// Whether the bytes of every layer are published, and cache mounts with them.
    pub(crate) fn publishes_all(&self) -> bool {
        self.mode == Mode::Max
    }
}

fn mount_name(id: &str) -> String {
    format!("mount-{}", ContentDigest::of(id.as_bytes()))
}

/// Publishes the cache mounts of a store; how many.
///
/// Errors: the store's own.
pub fn export_mounts(
    store: &Store,
    shared: &SharedCaches,
    events: &dyn EventSink,
    cancel: &carrack_base::Cancel,
) -> Result<u64, EngineError> {
    let mut count = 0;
    for mount in store.mount_folders()? {
        let folder = store.mount_folder(&mount.name, carrack_store::Hold::Locked, cancel, || {})?;
        let step = crate::root::packed_folder(store, folder.path())?;
        shared.publish_mount(&mount.name, &step, store, events);
        count += 1;
    }
    Ok(count)
}

/// Fills cache mounts that are not there yet with what the shared caches have; how many there were.
///
/// Errors: the store's own.
pub fn import_mounts(
    store: &Store,
    shared: &SharedCaches,
    events: &dyn EventSink,
    cancel: &carrack_base::Cancel,
) -> Result<u64, EngineError> {
    let found = shared.with_each(&shared.from, shared.patience.look, events, |_, remote| {
        let mut names = Vec::new();
        for entry in remote.names("mount-")? {
            let head = remote.find(&entry)?.map(|entry| entry.head).unwrap_or_default();
            names.extend(serde_json::from_slice::<SharedStep>(&head).ok().and_then(|step| step.name));
        }
        Ok(names)
    });
    let mut count = 0;
    for name in found.into_iter().flatten().flatten() {
        let folder = store.mount_folder(&name, carrack_store::Hold::Locked, cancel, || {})?;
        if folder.is_new && crate::root::bring_mount(store, shared, &name, folder.path(), events)? {
            count += 1;
        }
    }
    Ok(count)
}
