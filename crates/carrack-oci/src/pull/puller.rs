use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carrack_base::{Cancel, Digest, Platform};

use super::PullError;
use super::resolve::{Document, Origin, Resolved, kept, resolve};
use super::rules::{Place, RegistryRules};
use super::sink::{BlobSink, PutError, Watch, put_verified};
use crate::reference::Reference;
use crate::registry::{ManifestName, Registry, RegistryError, Repository};
use crate::side_by_side::side_by_side;
use crate::wire::Descriptor;

/// Layers that come in at once.
const DOWNLOADS: usize = 4;
/// How often somebody who waits for another's download looks whether to stop.
const POLL: Duration = Duration::from_millis(100);

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerProgress {
    /// The layer's blob.
    pub digest: Digest,
    /// Bytes that are there. Begins again where another mirror is tried.
    pub done: u64,
    /// Bytes of the whole blob.
    pub total: u64,
}

/// Pulls images into one store. Shared by everybody in a process: what two want at once is downloaded once.
pub struct Puller {
    rules: RegistryRules,
    connect: Box<Connect>,
    registries: Mutex<HashMap<String, Registry>>,
    /// Mirrors that could not be reached.
    unreachable: Mutex<HashSet<String>>,
    in_flight: Mutex<HashSet<Digest>>,
    landed: Condvar,
}

/// Gives the registry of a host.
type Connect = dyn Fn(&str) -> Registry + Send + Sync;

impl Puller {
    /// `connect` gives the client for a host, once for each.
    pub fn new(rules: RegistryRules, connect: impl Fn(&str) -> Registry + Send + Sync + 'static) -> Self {
        Self {
            rules,
            connect: Box::new(connect),
            registries: Mutex::default(),
            unreachable: Mutex::default(),
            in_flight: Mutex::default(),
            landed: Condvar::new(),
        }
    }

    /// Finds out what `reference` means for `platform`: its digest if it has one, else its tag (`latest` if it has none).
    /// Manifest and configuration are in `sink` then, layers are not.
    ///
    /// Errors: [`PullError`].
    pub fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
        sink: &dyn BlobSink,
    ) -> Result<Resolved, PullError> {
        let origin = Remote { puller: self, reference };
        let document = match reference.digest() {
            Some(digest) => {
                let descriptor = Descriptor::new("", digest, 0);
                match kept(sink, &descriptor) {
                    Some(document) => document,
                    None => origin.document(&descriptor)?,
                }
            }
            None => {
                let tagged = reference.tagged();
                origin.manifest(ManifestName::Tag(tagged.tag().unwrap_or("latest")))?
            }
        };
        resolve(&origin, document, platform, sink)
    }

    /// Gets those of `layers` that `sink` lacks, several at once; they are kept as they are, compressed or not.
    ///
    /// `progress` is called from several threads, for layers that this call downloads.
    /// Errors: [`PullError`], the first one; downloads under way are given up then. Layers that were whole stay.
    pub fn fetch_layers(
        &self,
        reference: &Reference,
        layers: &[Descriptor],
        sink: &dyn BlobSink,
        progress: &(dyn Fn(LayerProgress) + Sync),
        cancel: &Cancel,
    ) -> Result<(), PullError> {
        let mut seen = HashSet::new();
        let lacking: Vec<&Descriptor> = layers
            .iter()
            .filter(|layer| seen.insert(layer.digest) && !sink.has(&layer.digest, layer.size))
            .collect();
        side_by_side(&lacking, DOWNLOADS, |layer, failed| {
            let origin = Remote { puller: self, reference };
            self.fetch_layer(&origin, layer, sink, progress, (cancel, failed))
        })
    }

    fn fetch_layer(
        &self,
        origin: &Remote<'_>,
        layer: &Descriptor,
        sink: &dyn BlobSink,
        progress: &(dyn Fn(LayerProgress) + Sync),
        (cancel, failed): (&Cancel, &AtomicBool),
    ) -> Result<(), PullError> {
        let stop = || cancel.is_cancelled() || failed.load(Ordering::SeqCst);
        let Some(_flight) = self.take_off(layer.digest, &stop) else {
            return Err(PullError::Cancelled { name: origin.name() });
        };
        // Whoever had it before us may have brought it.
        if sink.has(&layer.digest, layer.size) {
            return Ok(());
        }
        let (digest, total) = (layer.digest, layer.size);
        let report = |done| progress(LayerProgress { digest, done, total });
        report(0);
        origin.copy(layer, sink, &Watch { stop: &stop, progress: &report })
    }

    /// Waits until nobody downloads the blob. `None` if it is not wanted any more.
    fn take_off(&self, digest: Digest, stop: &dyn Fn() -> bool) -> Option<Flight<'_>> {
        let mut in_flight = lock(&self.in_flight);
        loop {
            if stop() {
                return None;
            }
            if in_flight.insert(digest) {
                return Some(Flight { puller: self, digest });
            }
            let waited = self.landed.wait_timeout(in_flight, POLL);
            in_flight = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn registry(&self, host: &str) -> Registry {
        let mut registries = lock(&self.registries);
        registries.entry(host.to_owned()).or_insert_with(|| (self.connect)(host)).clone()
    }

    /// Where the image may be: mirrors, then the registry itself or what stands in for it.
    fn places(&self, reference: &Reference, is_tag: bool) -> Result<Vec<Repository>, PullError> {
        let places = self.rules.places(reference.registry(), &reference.repository());
        let places = places.map_err(|rule| PullError::Blocked { name: reference.to_string(), rule })?;
        let is_asked = |place: &Place| {
            !place.is_mirror
                || !(is_tag && place.only_digests || lock(&self.unreachable).contains(&place.host))
        };
        let asked = places.into_iter().filter(is_asked);
        Ok(asked.map(|place| self.registry(&place.host).repository_named(place.repository)).collect())
    }

    fn note_failure(&self, error: &RegistryError) {
        if let RegistryError::Transport { host, .. } = error {
            lock(&self.unreachable).insert(host.clone());
        }
    }
}

/// A blob that this thread downloads.
struct Flight<'a> {
    puller: &'a Puller,
    digest: Digest,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        lock(&self.puller.in_flight).remove(&self.digest);
        self.puller.landed.notify_all();
    }
}

struct Remote<'a> {
    puller: &'a Puller,
    reference: &'a Reference,
}

impl Remote<'_> {
    fn manifest(&self, wanted: ManifestName<'_>) -> Result<Document, PullError> {
        let places = self.puller.places(self.reference, matches!(wanted, ManifestName::Tag(_)))?;
        let mut mirrors = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let is_last = index + 1 == places.len();
            match place.manifest(wanted) {
                Ok(Some(found)) => {
                    let (digest, media_type, bytes) = (found.digest, found.media_type, found.bytes);
                    return Ok(Document { digest, media_type, bytes });
                }
                Ok(None) => {}
                Err(source) if is_last => {
                    return Err(PullError::Registry { name: self.name(), source, mirrors });
                }
                Err(error) => {
                    self.puller.note_failure(&error);
                    mirrors.push(error);
                }
            }
        }
        let hosts = places.iter().map(|place| place.registry().host().to_owned()).collect();
        Err(PullError::NotFound { name: self.name(), hosts })
    }
}

impl Origin for Remote<'_> {
    fn name(&self) -> String {
        self.reference.to_string()
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Document, PullError> {
        let found = self.manifest(ManifestName::Digest(descriptor.digest))?;
        // The index that led here has said what it is, if anything did.
        let said = Some(descriptor.media_type.clone()).filter(|said| !said.is_empty());
        Ok(Document { media_type: said.unwrap_or(found.media_type), ..found })
    }

    fn copy(&self, descriptor: &Descriptor, sink: &dyn BlobSink, watch: &Watch<'_>) -> Result<(), PullError> {
        let Descriptor { digest, size, .. } = *descriptor;
        let places = self.puller.places(self.reference, false)?;
        let (mut mirrors, mut failure) = (Vec::new(), None);
        for (index, place) in places.iter().enumerate() {
            let name = self.name();
            let mut download = match place.blob(&digest, size) {
                Ok(Some(download)) => download,
                Ok(None) => {
                    failure = Some(PullError::MissingBlob { name, digest });
                    continue;
                }
                Err(source) if index + 1 == places.len() => {
                    return Err(PullError::Registry { name, source, mirrors });
                }
                Err(error) => {
                    self.puller.note_failure(&error);
                    mirrors.push(error);
                    continue;
                }
            };
            let from = place.registry().host().to_owned();
            match put_verified(sink, descriptor, &mut download, watch) {
                Ok(()) => return Ok(()),
                Err(PutError::Source(source)) => {
                    failure = Some(PullError::Blob { name, from, digest, source });
                }
                Err(PutError::Sink(source)) => return Err(PullError::Sink { name, digest, source }),
                Err(PutError::Cancelled) => return Err(PullError::Cancelled { name }),
            }
        }
        Err(failure.expect("the registry itself is asked last"))
    }
}

/// What a lock guards here is whole after every statement, so another thread's panic does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Puller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Puller").field("rules", &self.rules).finish_non_exhaustive()
    }
}
