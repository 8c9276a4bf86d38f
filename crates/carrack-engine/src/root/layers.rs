//! Layers as the store has them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use carrack_base::{ContentDigest, Digest, EventSink};
use carrack_graph::ResolvedImage;
use carrack_oci::snapshot::{self, Listing};
use carrack_oci::wire::{Descriptor, media_type};
use carrack_oci::{Image, Layer, Ownership};
use carrack_store::{Bucket, Snapshot, Store};
use serde::{Deserialize, Serialize};

use super::stack::{SnapshotView, Stack};
use crate::blobs::StoreBlobs;
use crate::error::{At, EngineError};
use crate::layer::WrittenLayer;
use crate::shared::{SharedCaches, SharedStep};

/// A root file system: its layers, the lowest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct RootValue {
    pub(crate) layers: Vec<RootLayer>,
}

/// One layer of a root.
#[derive(Debug, Clone)]
pub(crate) enum RootLayer {
    /// A layer of an image.
    Image {
        layer: Box<Layer>,
        /// From where its bytes can be had.
        image: Arc<ResolvedImage>,
    },
    /// What a step made.
    Snapshot(ContentDigest),
}

/// Brings the layers of images into the store.
pub trait LayerSource: Sync {
    /// Brings the bytes of `layers`, of which the store has none, from wherever `image` is.
    ///
    /// Errors: what went wrong, for people.
    fn fetch(&self, image: &ResolvedImage, layers: &[Layer]) -> Result<FetchedLayers, EngineError>;
}

/// What a [`LayerSource`] brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchedLayers {
    /// Bytes that came over the network.
    pub bytes: u64,
}

/// What the index knows about a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SnapshotRow {
    /// Bytes of all files.
    pub(super) size: u64,
    /// The step that made it, in words for people.
    pub(super) step: String,
    /// Its blob, once an image had to have it.
    blob: Option<WrittenLayer>,
}

/// Layers that are in use in this build.
pub(crate) struct Layers<'a> {
    store: &'a Store,
    source: Option<&'a dyn LayerSource>,
    /// Whether files can be given away.
    pub(crate) gives_away: bool,
    views: Mutex<HashMap<ContentDigest, Arc<SnapshotView>>>,
    /// Held while an image's layers are brought here, a layer is unpacked, or a step runs.
    busy: Mutex<HashMap<ContentDigest, Arc<Mutex<()>>>>,
    /// What steps of this build made, by their keys.
    made: Mutex<HashMap<ContentDigest, ContentDigest>>,
    /// Layers that only another machine has: where their bytes are, if they were published.
    elsewhere: Mutex<HashMap<ContentDigest, WrittenLayer>>,
    /// Layers that were wanted and could not be had.
    lost: Mutex<HashSet<ContentDigest>>,
    /// Steps about which was said why they run.
    told: Mutex<HashSet<ContentDigest>>,
    shared: &'a SharedCaches,
    events: &'a dyn EventSink,
}

impl RootLayer {
    /// What keys call it.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Image { layer, .. } => layer.diff_id.to_string(),
            Self::Snapshot(snapshot) => snapshot.to_string(),
        }
    }
}

impl RootValue {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.layers.iter().map(RootLayer::id).collect()
    }

    /// The same with one layer more.
    pub(crate) fn with(&self, snapshot: ContentDigest) -> Self {
        let layers = self.layers.iter().cloned().chain([RootLayer::Snapshot(snapshot)]);
        Self { layers: layers.collect() }
    }
}

impl<'a> Layers<'a> {
    pub(crate) fn new(
        store: &'a Store,
        source: Option<&'a dyn LayerSource>,
        gives_away: bool,
        shared: &'a SharedCaches,
        events: &'a dyn EventSink,
    ) -> Self {
        Self {
            store,
            source,
            gives_away,
            elsewhere: Mutex::default(),
            lost: Mutex::default(),
            told: Mutex::default(),
            shared,
            events,
            views: Mutex::default(),
            busy: Mutex::default(),
            made: Mutex::default(),
        }
    }

    /// The root that an image is.
    pub(crate) fn of_image(&self, image: &Arc<ResolvedImage>) -> Result<RootValue, EngineError> {
        let layers = self.image(image)?.layers();
        for layer in &layers {
            // Notes their use.
            if let Some(id) = self.store.get(Bucket::Layer, layer.diff_id.hex().as_bytes())? {
                self.store.get(Bucket::Snapshot, &id)?;
            }
        }
        let layers = layers
            .into_iter()
            .map(|layer| RootLayer::Image { layer: Box::new(layer), image: Arc::clone(image) });
        Ok(RootValue { layers: layers.collect() })
    }

    fn image(&self, image: &ResolvedImage) -> Result<Image, EngineError> {
        let bytes = self.store.read_blob_verified(&image.manifest)?;
        let descriptor = Descriptor::new(media_type::MANIFEST, image.manifest, bytes.len() as u64);
        Ok(Image::read(&StoreBlobs(self.store), &descriptor)?)
    }

    /// The root as a stack of folders. Fetches and unpacks what is not there.
    pub(crate) fn stack(&self, root: &RootValue) -> Result<Stack, EngineError> {
        self.bring(root)?;
        let views = root.layers.iter().map(|layer| match layer {
            RootLayer::Snapshot(id) => self.view(id),
            RootLayer::Image { layer, .. } => self.view(&self.unpacked(layer)?),
        });
        Ok(Stack::new(views.collect::<Result<_, _>>()?))
    }

    /// Brings the blobs of an image's layers that are neither unpacked nor here, all at once.
    fn bring(&self, root: &RootValue) -> Result<(), EngineError> {
        let mut lacking: Vec<(&Layer, &Arc<ResolvedImage>)> = Vec::new();
        for layer in &root.layers {
            if let RootLayer::Image { layer, image } = layer
                && self.snapshot_of(&layer.diff_id)?.is_none()
            {
                lacking.push((layer, image));
            }
        }
        let Some((_, image)) = lacking.first() else { return Ok(()) };
        let layers: Vec<Layer> = lacking.iter().map(|(layer, _)| Layer::clone(layer)).collect();
        self.blobs_of(image, &layers)
    }

    /// Brings blobs of an image's layers here.
    pub(crate) fn blobs_of(&self, image: &ResolvedImage, layers: &[Layer]) -> Result<(), EngineError> {
        let turn = self.turn(&named(&image.manifest));
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks = |layer: &&Layer| self.store.blob_path(&layer.descriptor.digest).is_none();
        let lacking: Vec<Layer> = layers.iter().filter(lacks).cloned().collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let source = self.source.ok_or_else(|| EngineError::Layers {
            image: image.reference.clone(),
            source: "nobody can be asked for them".into(),
        })?;
        source.fetch(image, &lacking)?;
        Ok(())
    }

    /// What one thread holds while it makes what has this name.
    pub(crate) fn turn(&self, name: &ContentDigest) -> Arc<Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(busy.entry(*name).or_default())
    }

    /// What a step of this build made.
    pub(crate) fn made(&self, key: &ContentDigest) -> Option<ContentDigest> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// Everything that steps of this build made or found.
    pub(crate) fn all_made(&self) -> Vec<(ContentDigest, ContentDigest)> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().map(|(key, value)| (*key, *value)).collect()
    }

    pub(crate) fn note_made(&self, key: &ContentDigest, snapshot: ContentDigest) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(*key, snapshot);
    }

    /// The snapshot that an image's layer is, if it was unpacked.
    fn snapshot_of(&self, diff_id: &Digest) -> Result<Option<ContentDigest>, EngineError> {
        let Some(bytes) = self.store.get(Bucket::Layer, diff_id.hex().as_bytes())? else { return Ok(None) };
        let id = <[u8; 32]>::try_from(&bytes[..]).ok().map(ContentDigest::from_bytes);
        Ok(id.filter(|id| self.store.snapshot(id).is_some()))
    }

    fn unpacked(&self, layer: &Layer) -> Result<ContentDigest, EngineError> {
        let turn = self.turn(&named(&layer.diff_id));
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = self.snapshot_of(&layer.diff_id)? {
            return Ok(id);
        }
        let scratch = self.store.scratch()?;
        let folder = scratch.path().join("files");
        fs::create_dir(&folder).at("create", &folder)?;
        let unpacked = snapshot::unpack_layer(layer, &StoreBlobs(self.store), &folder, self.ownership())?;
        let id = self.keep(&folder, &unpacked.listing, "layer of an image")?;
        self.store.put(Bucket::Layer, layer.diff_id.hex().as_bytes(), id.as_bytes().to_vec())?;
        Ok(id)
    }

    /// Keeps a folder of the store's scratch as a snapshot.
    pub(crate) fn keep(
        &self,
        folder: &std::path::Path,
        listing: &Listing,
        step: &str,
    ) -> Result<ContentDigest, EngineError> {
        let bytes = listing.to_bytes();
        let id = ContentDigest::of(&bytes);
        self.store.keep_snapshot(&id, folder, &bytes)?;
        if self.row(&id)?.is_none() {
            self.put_row(&id, &SnapshotRow { size: listing.size(), step: step.to_owned(), blob: None })?;
        }
        Ok(id)
    }

    /// Notes where the bytes of a layer are that another machine made.
    pub(crate) fn note_elsewhere(&self, id: &ContentDigest, layer: WrittenLayer) {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, layer);
    }

    /// Notes that a layer can't be had; whether that is news.
    pub(crate) fn lose(&self, id: &ContentDigest) -> bool {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(*id)
    }

    /// Whether a layer is known to be nowhere.
    pub(crate) fn is_lost(&self, id: &ContentDigest) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Whether nothing was said yet about a step that runs: a build that begins again says things once.
    pub(crate) fn is_news(&self, key: &ContentDigest) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(*key)
    }

    /// Brings the bytes of a layer that only another machine has.
    fn bring_from_elsewhere(&self, id: &ContentDigest) -> Result<WrittenLayer, EngineError> {
        let known = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        known
            .filter(|layer| self.shared.bring_layer(layer, self.store, self.events))
            .ok_or(EngineError::LostLayer { snapshot: *id })
    }

    /// The packed layer of a snapshot, for whoever publishes it.
    pub(crate) fn blob_of(
        &self,
        id: &ContentDigest,
        pack: bool,
    ) -> Result<Option<WrittenLayer>, EngineError> {
        if pack && self.has(id)? {
            self.packed(&RootLayer::Snapshot(*id))?;
        }
        let blob = self.row(id)?.and_then(|row| row.blob);
        Ok(blob.filter(|blob| self.store.blob_path(&blob.digest).is_some()))
    }

    /// Whether a snapshot can be used: as a folder, or as the blob that it was packed to.
    pub(crate) fn has(&self, id: &ContentDigest) -> Result<bool, EngineError> {
        // Asked for in any case: that notes its use.
        let row = self.row(id)?;
        let blob =
            row.and_then(|row| row.blob).is_some_and(|blob| self.store.blob_path(&blob.digest).is_some());
        Ok(blob || self.store.snapshot(id).is_some())
    }

    /// A snapshot's listing and place; unpacked from its blob if it is gone.
    pub(crate) fn view(&self, id: &ContentDigest) -> Result<Arc<SnapshotView>, EngineError> {
        let known = |views: &HashMap<_, _>| views.get(id).cloned();
        if let Some(view) = known(&self.views.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(view);
        }
        let view = Arc::new(self.read(id)?);
        self.views.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, Arc::clone(&view));
        Ok(view)
    }

    fn read(&self, id: &ContentDigest) -> Result<SnapshotView, EngineError> {
        if let Some(snapshot) = self.store.snapshot(id) {
            match self.sound(id, snapshot)? {
                Some(view) => return Ok(view),
                None => self.store.remove_snapshot(id)?,
            }
        }
        let kept = self.row(id)?.and_then(|row| row.blob);
        let kept = kept.filter(|blob| self.store.blob_path(&blob.digest).is_some());
        let blob = match kept {
            Some(blob) => blob,
            None => self.bring_from_elsewhere(id)?,
        };
        let layer = Layer {
            descriptor: Descriptor::new(media_type::LAYER_GZIP, blob.digest, blob.size),
            diff_id: blob.diff_id,
        };
        let scratch = self.store.scratch()?;
        let folder = scratch.path().join("files");
        fs::create_dir(&folder).at("create", &folder)?;
        let unpacked = snapshot::unpack_layer(&layer, &StoreBlobs(self.store), &folder, self.ownership())?;
        if self.keep(&folder, &unpacked.listing, "layer")? != *id {
            // What another machine said is not so.
            return Err(EngineError::LostLayer { snapshot: *id });
        }
        let files = self.store.snapshot(id).ok_or(EngineError::LostLayer { snapshot: *id })?.files();
        Ok(SnapshotView { listing: unpacked.listing, files })
    }

    /// The view of a snapshot that is as it was written.
    fn sound(&self, id: &ContentDigest, snapshot: Snapshot) -> Result<Option<SnapshotView>, EngineError> {
        let path = snapshot.listing();
        let bytes = fs::read(&path).at("read", &path)?;
        let Ok(listing) = Listing::from_bytes(&bytes) else { return Ok(None) };
        if !snapshot.is_sound {
            let found = snapshot::scan(&snapshot.files(), self.ownership(), threads())?;
            if ContentDigest::of(&found.to_bytes()) != *id {
                return Ok(None);
            }
            self.store.verified_snapshot(snapshot.clone())?;
        }
        Ok(Some(SnapshotView { listing, files: snapshot.files() }))
    }

    /// The layer as an image has it; packed if it never was. Says whether it had to be.
    pub(crate) fn packed(&self, layer: &RootLayer) -> Result<(Layer, bool), EngineError> {
        let id = match layer {
            RootLayer::Image { layer, .. } => return Ok((Layer::clone(layer), false)),
            RootLayer::Snapshot(id) => id,
        };
        let row = self.row(id)?;
        let kept = row.as_ref().and_then(|row| row.blob.clone());
        if let Some(blob) = kept.filter(|blob| self.store.blob_path(&blob.digest).is_some()) {
            return Ok((as_layer(&blob), false));
        }
        if self.store.snapshot(id).is_none() {
            let blob = self.bring_from_elsewhere(id)?;
            let size = row.map_or(0, |row| row.size);
            self.put_row(
                id,
                &SnapshotRow { size, step: "step of another machine".to_owned(), blob: Some(blob.clone()) },
            )?;
            return Ok((as_layer(&blob), true));
        }
        let view = self.view(id)?;
        let mut blob = self.store.blob_writer()?;
        let written = snapshot::pack(&view.files, &view.listing, None, &mut blob, threads())?;
        blob.flush().at("write", "a layer")?;
        let (digest, size) = blob.commit()?;
        let blob = WrittenLayer { digest, size, diff_id: written.layer.diff_id };
        let (size, step) = row.map_or((view.listing.size(), String::new()), |row| (row.size, row.step));
        self.put_row(id, &SnapshotRow { size, step, blob: Some(blob.clone()) })?;
        Ok((as_layer(&blob), true))
    }

    pub(crate) fn ownership(&self) -> Ownership {
        if self.gives_away { Ownership::Recorded } else { Ownership::Caller }
    }

    fn row(&self, id: &ContentDigest) -> Result<Option<SnapshotRow>, EngineError> {
        let bytes = self.store.get(Bucket::Snapshot, id.as_bytes())?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn put_row(&self, id: &ContentDigest, row: &SnapshotRow) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec(row).expect("a row is plain data");
        Ok(self.store.put(Bucket::Snapshot, id.as_bytes(), bytes)?)
    }
}

fn named(digest: &Digest) -> ContentDigest {
    ContentDigest::of(digest.to_string().as_bytes())
}

pub(crate) fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn as_layer(blob: &WrittenLayer) -> Layer {
    Layer {
        descriptor: Descriptor::new(media_type::LAYER_GZIP, blob.digest, blob.size),
        diff_id: blob.diff_id,
    }
}

/// A folder as a layer in the store, with the bytes.
///
/// Errors: it can't be read, or the store can't take it.
pub(crate) fn packed_folder(store: &Store, folder: &std::path::Path) -> Result<SharedStep, EngineError> {
    let listing = snapshot::scan(folder, Ownership::Recorded, threads())?;
    let mut blob = store.blob_writer()?;
    let written = snapshot::pack(folder, &listing, None, &mut blob, threads())?;
    blob.flush().at("write", "a layer")?;
    let (digest, size) = blob.commit()?;
    let layer = WrittenLayer { digest, size, diff_id: written.layer.diff_id };
    Ok(SharedStep::new(listing.digest(), Some(layer)))
}

/// Fills an empty folder with what a shared cache has for the cache mount `id`; whether it has anything.
///
/// Errors: the store's own; what is damaged counts as absent.
pub(crate) fn bring_mount(
    store: &Store,
    shared: &SharedCaches,
    id: &str,
    folder: &std::path::Path,
    events: &dyn EventSink,
) -> Result<bool, EngineError> {
    let Some(layer) = shared.find_mount(id, events).and_then(|step| step.layer) else { return Ok(false) };
    if !shared.bring_layer(&layer, store, events) {
        return Ok(false);
    }
    let scratch = store.scratch()?;
    let staging = scratch.path().join("files");
    if snapshot::unpack_layer(&as_layer(&layer), &StoreBlobs(store), &staging, Ownership::Recorded).is_err() {
        return Ok(false);
    }
    for entry in fs::read_dir(&staging).at("read", &staging)? {
        let from = entry.at("read", &staging)?.path();
        let to = folder.join(from.file_name().unwrap_or_default());
        fs::rename(&from, &to).at("move", &from)?;
    }
    Ok(true)
}
