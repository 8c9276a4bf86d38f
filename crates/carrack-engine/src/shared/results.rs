//! Whole results in shared caches: what another machine built from the same inputs is not built again.

use std::io::{self, Read, Write};

use carrack_base::{ContentDigest, Digest, EventSink, Sha256Writer};
use carrack_remote::{BlobInfo, Bytes, Upload};
use carrack_store::{Batch, Bucket, Store};
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::SharedCaches;
use crate::error::EngineError;
use crate::layer::WrittenLayer;

const VERSION: u32 = 1;

/// What a compile step and all that follows from it came to.
#[derive(Serialize, Deserialize)]
pub(crate) struct SharedResult {
    version: u32,
    /// Kept results, by the keys of their steps.
    steps: Vec<KeptStep>,
    layers: Vec<WrittenLayer>,
}

#[derive(Serialize, Deserialize)]
struct KeptStep {
    key: ContentDigest,
    /// What the engine keeps for this key, which is text.
    value: String,
}

impl SharedResult {
    pub(crate) fn new() -> Self {
        Self { version: VERSION, steps: Vec::new(), layers: Vec::new() }
    }

    /// Adds what is kept for a step.
    pub(crate) fn add_step(&mut self, key: ContentDigest, value: Vec<u8>) {
        self.steps.push(KeptStep { key, value: String::from_utf8_lossy(&value).into_owned() });
    }

    /// Adds a layer that the store has.
    pub(crate) fn add_layer(&mut self, layer: WrittenLayer) {
        self.layers.push(layer);
    }
}

impl SharedCaches {
    /// Looks for the result of the step `key` and brings it into the store. Whether there was one.
    pub(crate) fn bring_result(
        &self,
        key: &ContentDigest,
        store: &Store,
        events: &dyn EventSink,
    ) -> Result<bool, EngineError> {
        for shared in &self.from {
            let list = std::slice::from_ref(shared);
            let found = self.with_each(list, self.patience.look, events, |_, remote| {
                let Some(entry) = remote.find(&name(key))? else { return Ok(None) };
                let result = serde_json::from_slice::<SharedResult>(&entry.head).ok();
                Ok(result.filter(|result| result.version == VERSION))
            });
            let Some(result) = found.into_iter().flatten().flatten().next() else { continue };
            let missing: Vec<&WrittenLayer> =
                result.layers.iter().filter(|layer| store.blob_path(&layer.digest).is_none()).collect();
            let brought = self.with_each(list, self.patience.fetch, events, |_, remote| {
                for layer in &missing {
                    let blob = BlobInfo { digest: layer.digest, size: layer.size };
                    if !take_layer(remote.read(&blob)?, layer, store).map_err(|source| {
                        carrack_remote::RemoteError::Source { remote: remote.name().to_owned(), source }
                    })? {
                        return Ok(false);
                    }
                }
                Ok(true)
            });
            if brought != [Some(true)] {
                continue;
            }
            let mut batch = Batch::default();
            for step in &result.steps {
                batch.put(Bucket::Step, step.key.as_bytes(), step.value.as_bytes());
            }
            store.commit(batch)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Publishes a result, where it is not yet.
    pub(crate) fn publish_result(
        &self,
        key: &ContentDigest,
        result: &SharedResult,
        store: &Store,
        events: &dyn EventSink,
    ) {
        let head = serde_json::to_vec(result).expect("texts and digests can be written as JSON");
        let paths: Vec<_> = result.layers.iter().map(|layer| store.blob_path(&layer.digest)).collect();
        let uploads: Vec<Upload<'_>> = result
            .layers
            .iter()
            .zip(&paths)
            .filter_map(|(layer, path)| {
                let blob = BlobInfo { digest: layer.digest, size: layer.size };
                Some(Upload { blob, bytes: Bytes::File(path.as_ref()?) })
            })
            .collect();
        if uploads.len() < result.layers.len() {
            return;
        }
        self.with_each(&self.to, self.patience.publish, events, |_, remote| {
            if remote.find(&name(key)).is_ok_and(|found| found.is_some_and(|entry| entry.head == head)) {
                return Ok(());
            }
            remote.publish(&name(key), &head, &uploads).map(drop)
        });
    }
}

fn name(key: &ContentDigest) -> String {
    format!("result-{key}")
}

/// Takes a layer into the store. `false` if the tar within is not the one that was promised.
pub(super) fn take_layer(blob: impl Read, layer: &WrittenLayer, store: &Store) -> io::Result<bool> {
    let mut writer = store.blob_writer().map_err(io::Error::other)?;
    let mut reader = Tee { from: blob, to: &mut writer };
    let mut tar = Sha256Writer::new(io::sink());
    io::copy(&mut MultiGzDecoder::new(&mut reader), &mut tar)?;
    // The end of the blob tells whether all of it was right.
    io::copy(&mut reader, &mut io::sink())?;
    let (_, diff_id, _): (_, Digest, _) = tar.finish();
    if diff_id != layer.diff_id {
        return Ok(false);
    }
    let (digest, _) = writer.commit().map_err(io::Error::other)?;
    Ok(digest == layer.digest)
}

/// Passes on what it reads.
struct Tee<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.to.write_all(&buffer[..count])?;
        Ok(count)
    }
}
