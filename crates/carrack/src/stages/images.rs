//! Where base images come from: Carrack's own store, what a name meant before, registries, an engine on this machine.
//!
//! | asked in this order | |
//! | --- | --- |
//! | the store's own images | what was built here under that name |
//! | what the name meant the last time | without a network; `--pull` passes it over |
//! | the registry that the name says, its mirrors first ([`Registries`]) | the answer is kept |
//! | Docker or Podman on this machine | where the registry has no such image or can't be asked |

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use carrack_base::{BuildEvent, Cancel, Digest, EventSink, Platform, StepId, StepOutcome};
use carrack_engine::{EngineError, FetchedLayers, LayerSource, StoreBlobs};
use carrack_graph::{ImageResolver, ResolvedImage};
use carrack_oci::pull::{
    BlobSink, PullError, Puller, Resolved, import_archive, import_from_engine, import_layout, split_selection,
};
use carrack_oci::registry::{Registry, RegistryOptions};
use carrack_oci::transport::{Method, Request, Transport};
use carrack_oci::{BlobSource, EngineKind, EngineProgram, Image, Layer, Reference};
use carrack_store::{Bucket, Store, StoreError};

use crate::blobs;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::progress::{View, bytes};
use crate::registries::{Registries, RegistriesError};
use crate::shared;

/// Numbers of steps that are none of the engine's.
const FIRST_STEP: u32 = 1 << 20;

/// Why an image can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageFailure {
    /// It is no name.
    #[error(transparent)]
    Name(#[from] carrack_oci::ReferenceError),
    /// Nobody has it.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody knows where to ask.
    #[error(transparent)]
    Registries(#[from] RegistriesError),
}

/// Finds images and brings their layers.
pub(crate) struct Images<'a> {
    store: &'a Store,
    caller: &'a Caller,
    cancel: &'a Cancel,
    view: &'a View,
    /// Whether names are asked for again.
    pull: bool,
    puller: OnceLock<Puller>,
    transport: Transport,
    steps: AtomicU32,
}

impl<'a> Images<'a> {
    pub(super) fn new(
        store: &'a Store,
        caller: &'a Caller,
        cancel: &'a Cancel,
        view: &'a View,
        pull: bool,
    ) -> Result<Self, Failure> {
        Ok(Self {
            store,
            caller,
            cancel,
            view,
            pull,
            puller: OnceLock::new(),
            transport: Transport::new(shared::patient_transport(caller)).map_err(Failure::Transport)?,
            steps: AtomicU32::new(FIRST_STEP),
        })
    }

    fn puller(&self) -> Result<&Puller, ImageFailure> {
        if let Some(puller) = self.puller.get() {
            return Ok(puller);
        }
        let mut registries = Registries::of(self.caller)?;
        let (rules, transport) = (std::mem::take(&mut registries.rules), self.transport.clone());
        Ok(self.puller.get_or_init(|| {
            Puller::new(rules, move |host| {
                let mut options = RegistryOptions::default();
                if registries.may_be_plain(host) && !speaks_tls(&transport, host) {
                    options.insecure.push(host.to_owned());
                }
                Registry::new(host, transport.clone(), &options, Arc::new(shared::credentials))
            })
        }))
    }

    fn find(&self, name: &str, platform: &Platform) -> Result<(String, Image), ImageFailure> {
        let sink = Sink(self.store);
        if let Some(place) = name.strip_prefix("oci-layout://") {
            let (path, selection) = split_selection(place);
            let scratch = self.store.scratch()?;
            let resolved = match path.is_dir() {
                true => import_layout(&path, &selection, platform, &sink, self.cancel)?,
                false => import_archive(&path, &selection, platform, &sink, scratch.path(), self.cancel)?,
            };
            return Ok((name.to_owned(), resolved.image));
        }
        let reference: Reference = name.parse()?;
        let tagged = reference.tagged();
        let whole = tagged.to_string();
        // Images are kept under the names that people gave them, which may be short.
        for name in [whole.clone(), tagged.familiar(), tagged.canonical()] {
            if let Some(row) = self.store.image(&name)?
                && let Ok(image) = blobs::image(self.store, &row.manifest)
                && same_machine(&image.config().platform(), platform)
            {
                return Ok((whole, image));
            }
        }
        let key = format!("{whole} {platform}").into_bytes();
        if !self.pull
            && let Some(image) = self.remembered(&key)?
        {
            return Ok((whole, image));
        }
        let resolved = match self.ask(&reference, platform, &sink) {
            Ok(resolved) => resolved,
            Err(error) => match (self.ask_engine(&reference, platform, &sink)?, self.remembered(&key)?) {
                (Some(resolved), _) => resolved,
                (None, Some(image)) => {
                    let message =
                        format!("{whole} can't be asked for again: what it was the last time is taken");
                    self.view.emit(BuildEvent::Warning { message, hint: None });
                    return Ok((whole, image));
                }
                (None, None) => return Err(error),
            },
        };
        self.store.put(Bucket::Image, &key, resolved.image.digest().to_string())?;
        Ok((whole, resolved.image))
    }

    /// What a name meant the last time, if that is still here.
    fn remembered(&self, key: &[u8]) -> Result<Option<Image>, ImageFailure> {
        let kept = self.store.get(Bucket::Image, key)?;
        let digest = kept.and_then(|bytes| String::from_utf8(bytes).ok()?.parse::<Digest>().ok());
        Ok(digest.and_then(|digest| blobs::image(self.store, &digest).ok()))
    }

    fn ask(
        &self,
        reference: &Reference,
        platform: &Platform,
        sink: &Sink<'_>,
    ) -> Result<Resolved, ImageFailure> {
        let puller = self.puller()?;
        Ok(self.step("Resolve", &reference.to_string(), |_| puller.resolve(reference, platform, sink))?)
    }

    fn ask_engine(
        &self,
        reference: &Reference,
        platform: &Platform,
        sink: &Sink<'_>,
    ) -> Result<Option<Resolved>, ImageFailure> {
        for (kind, name) in [(EngineKind::Docker, "docker"), (EngineKind::Podman, "podman")] {
            let Some(program) = self.caller.program(name) else { continue };
            let engine = EngineProgram { kind, program, environment: Vec::new() };
            let scratch = self.store.scratch()?;
            if let Ok(resolved) =
                import_from_engine(&engine, reference, platform, sink, scratch.path(), self.cancel)
            {
                return Ok(Some(resolved));
            }
        }
        Ok(None)
    }

    fn step<T, E>(&self, name: &str, what: &str, work: impl FnOnce(StepId) -> Result<T, E>) -> Result<T, E> {
        let step = StepId(self.steps.fetch_add(1, Ordering::Relaxed));
        let started = Instant::now();
        self.view.emit(BuildEvent::StepStarted { step, name: name.to_owned() });
        self.view.emit(BuildEvent::StepProgress { step, done: 0, total: 0, current: what.to_owned() });
        let result = work(step);
        self.view.emit(BuildEvent::StepFinished {
            step,
            outcome: if result.is_ok() { StepOutcome::Ran } else { StepOutcome::Failed },
            summary: what.to_owned(),
            elapsed: started.elapsed(),
        });
        result
    }
}

/// Whether somebody answers there behind a certificate that counts.
fn speaks_tls(transport: &Transport, host: &str) -> bool {
    transport.send_once(&Request::new(Method::Get, format!("https://{host}/v2/"))).is_ok()
}

fn same_machine(found: &Platform, wanted: &Platform) -> bool {
    (&found.os, &found.architecture) == (&wanted.os, &wanted.architecture)
}

impl ImageResolver for Images<'_> {
    type Error = ImageFailure;

    fn resolve(&self, reference: &str, platform: &Platform) -> Result<ResolvedImage, ImageFailure> {
        let (reference, image) = self.find(reference, platform)?;
        Ok(ResolvedImage {
            reference,
            manifest: image.digest(),
            config: image.config_bytes().to_vec(),
            platform: image.config().platform(),
        })
    }
}

impl LayerSource for Images<'_> {
    fn fetch(&self, image: &ResolvedImage, layers: &[Layer]) -> Result<FetchedLayers, EngineError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| EngineError::Layers {
            image: image.reference.clone(),
            source,
        };
        let reference: Reference = image.reference.parse().map_err(|error| failed(Box::new(error)))?;
        let descriptors: Vec<_> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let total: u64 = descriptors.iter().map(|descriptor| descriptor.size).sum();
        let done: Vec<_> = descriptors.iter().map(|_| std::sync::atomic::AtomicU64::new(0)).collect();
        let what = format!("{} · {}", image.reference, bytes(total));
        let puller = self.puller().map_err(|error| failed(Box::new(error)))?;
        self.step("Pull", &what, |step| {
            let progress = |news: carrack_oci::pull::LayerProgress| {
                if let Some(number) = descriptors.iter().position(|layer| layer.digest == news.digest) {
                    done[number].store(news.done, Ordering::Relaxed);
                }
                let done: u64 = done.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
                let current = format!("{} of {} · {}", bytes(done), bytes(total), image.reference);
                self.view.emit(BuildEvent::StepProgress { step, done: 0, total: 0, current });
            };
            puller.fetch_layers(&reference, &descriptors, &Sink(self.store), &progress, self.cancel)
        })
        .map_err(|error| failed(Box::new(error)))?;
        Ok(FetchedLayers { bytes: total })
    }
}

/// Takes blobs into the store.
struct Sink<'a>(&'a Store);

impl BlobSource for Sink<'_> {
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        StoreBlobs(self.0).open(digest)
    }
}

impl BlobSink for Sink<'_> {
    fn has(&self, digest: &Digest, size: u64) -> bool {
        self.0.blob_path(digest).is_some_and(|path| has_size(&path, size))
    }

    fn put(&self, digest: &Digest, size: u64, bytes: &mut dyn Read) -> io::Result<()> {
        self.0.put_verified(digest, size, bytes)
    }
}

fn has_size(path: &Path, size: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.len() == size)
}
