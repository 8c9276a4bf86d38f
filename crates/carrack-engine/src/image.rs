//! Assembles images, writes their documents, and says what is new about them.

use std::collections::BTreeMap;

use carrack_base::BuildEvent;
use carrack_graph::{BuiltImage, ImageOp, ImageSettings, KeyRecord, LayerPart, NodeId, Op, Probe};
use carrack_oci::wire::{Descriptor, Healthcheck, History, media_type, timestamp};
use carrack_oci::{Image, ImageConfig, Layer};
use carrack_store::Bucket;

use crate::error::EngineError;
use crate::solve::{LayerValue, Solver};
use crate::{keys, why};

/// An image that is in the store, and what there is to say about it.
pub(crate) struct Finished {
    pub(crate) built: BuiltImage,
    pub(crate) news: Vec<BuildEvent>,
}

impl Solver<'_> {
    /// Solves everything that one image needs and puts it together.
    pub(crate) fn image(&self, node: NodeId) -> Result<Finished, EngineError> {
        let Op::Image(op) = self.graph.op(node) else { unreachable!("the graph gave it out as an image") };
        let layers = op.layers.iter().map(|layer| self.layer_value(*layer)).collect::<Result<Vec<_>, _>>()?;
        let described: Vec<_> = layers.iter().map(|layer| (layer.title, layer.entries.clone())).collect();
        let record = keys::image(op, &described);
        let parts: Vec<Layer> = layers.iter().map(|layer| part(layer)).collect();
        let titles: Vec<&str> = layers.iter().map(|layer| layer.title).collect();
        let image = Image::assemble(config(&op.settings, &titles), &parts, BTreeMap::new());

        let known = op.tags.iter().map(|tag| Ok(self.store().image(tag)?.is_some()));
        let known = known.collect::<Result<Vec<bool>, EngineError>>()?.contains(&true);
        let unchanged = self.put_image(&image, &op.tags, op.settings.created)?;
        let reason = if unchanged { None } else { self.what_changed(op, &record, known)? };
        let digest = image.digest();
        let ready = BuildEvent::ImageReady {
            image: op.tags.first().unwrap_or(&op.name).clone(),
            digest,
            size: Some(image.layers_size()),
            layers: count(layers.iter()),
            new_layers: count(layers.iter().filter(|layer| layer.new)),
            contents: contents(&layers),
            unchanged,
        };
        let why = reason.map(|reason| BuildEvent::Why { image: Some(op.name.clone()), reason });
        let built = BuiltImage {
            name: op.name.clone(),
            tags: op.tags.clone(),
            manifest: Some(digest),
            config: image.manifest().config.digest,
            size: Some(image.layers_size()),
            unchanged,
        };
        Ok(Finished { built, news: why.into_iter().chain([ready]).collect() })
    }

    /// Writes an image's documents and gives it its names. Says whether all of that was there already.
    pub(crate) fn put_image(
        &self,
        image: &Image,
        tags: &[String],
        created: u64,
    ) -> Result<bool, EngineError> {
        let mut unchanged = true;
        for bytes in [image.config_bytes(), image.manifest_bytes()] {
            if self.store().blob_path(&carrack_base::Digest::of(bytes)).is_none() {
                self.store().put_bytes(bytes)?;
                unchanged = false;
            }
        }
        let created_at = i64::try_from(created).unwrap_or(i64::MAX);
        for tag in tags {
            if self.store().image(tag)?.is_none_or(|row| row.manifest != image.digest()) {
                self.store().tag_image(tag, &image.digest(), image.layers_size(), created_at)?;
                unchanged = false;
            }
        }
        Ok(unchanged)
    }

    /// Why the command behind a layer gave another result, if nobody has said so.
    fn unsaid(&self, layer: NodeId) -> Option<String> {
        let Op::Layer(op) = self.graph.op(layer) else { return None };
        op.parts.iter().find_map(|part| match part {
            LayerPart::Artifact { exec, .. } => self.exec_value(*exec).ok()?.unsaid.clone(),
            _ => None,
        })
    }

    /// Compares with the record of the image that had the name before, and keeps the new one.
    fn what_changed(
        &self,
        op: &ImageOp,
        record: &KeyRecord,
        known: bool,
    ) -> Result<Option<String>, EngineError> {
        let key = format!("image {}", op.tags.first().unwrap_or(&op.name)).into_bytes();
        let before = self.store().get(Bucket::Latest, &key)?.filter(|_| known);
        self.store().put(Bucket::Latest, &key, record.to_bytes())?;
        let Some(before) = before else { return Ok(None) };
        let changes = KeyRecord::from_bytes(&before)?.changes(record, &|_| None);
        let (programs, others): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| PROGRAMS.contains(&change.field.as_str()));
        // That the program is another one follows from what made it.
        let unsaid = op.layers.iter().find_map(|layer| self.unsaid(*layer));
        let made = unsaid.filter(|_| !programs.is_empty());
        Ok(why::join(made.into_iter().chain(why::line(&others)).collect()))
    }
}

fn count<T>(layers: impl Iterator<Item = T>) -> u32 {
    u32::try_from(layers.count()).unwrap_or(u32::MAX)
}

/// Titles of the layers whose content a command makes.
const PROGRAMS: [&str; 1] = ["binary"];

pub(crate) fn part(layer: &LayerValue) -> Layer {
    let written = &layer.written;
    Layer {
        descriptor: Descriptor::new(media_type::LAYER_GZIP, written.digest, written.size),
        diff_id: written.diff_id,
    }
}

/// `libraries 3.1 · binary 10.9 · files <0.1`, compressed sizes in MB.
fn contents(layers: &[std::sync::Arc<LayerValue>]) -> String {
    let sized = layers.iter().map(|layer| match (layer.written.size + 50_000) / 100_000 {
        0 => format!("{} <0.1", layer.title),
        tenths => format!("{} {}.{}", layer.title, tenths / 10, tenths % 10),
    });
    sized.collect::<Vec<_>>().join(" · ")
}

fn config(settings: &ImageSettings, titles: &[&str]) -> ImageConfig {
    let mut image = ImageConfig::new(&settings.platform, settings.created);
    let container = &mut image.config;
    container.user.clone_from(&settings.user);
    container.exposed_ports.clone_from(&settings.ports);
    container.env.clone_from(&settings.env);
    container.entrypoint = (!settings.entrypoint.is_empty()).then(|| settings.entrypoint.clone());
    container.cmd = (!settings.cmd.is_empty()).then(|| settings.cmd.clone());
    container.healthcheck = settings.healthcheck.as_ref().map(healthcheck);
    container.volumes = settings.volumes.iter().map(ToString::to_string).collect();
    container.working_dir = settings.workdir.to_string();
    container.labels.clone_from(&settings.labels);
    container.stop_signal = settings.stop_signal.clone().unwrap_or_default();
    image.history = titles
        .iter()
        .map(|title| History {
            created: Some(timestamp(settings.created)),
            created_by: Some(format!("carrack: {title}")),
            ..History::default()
        })
        .collect();
    image
}

fn healthcheck(probe: &Probe) -> Healthcheck {
    let nanoseconds = |time: Option<u64>| time.and_then(|time| i64::try_from(time).ok()).unwrap_or(0);
    Healthcheck {
        test: probe.test.clone(),
        interval: nanoseconds(probe.interval),
        timeout: nanoseconds(probe.timeout),
        start_period: nanoseconds(probe.start_period),
        start_interval: nanoseconds(probe.start_interval),
        retries: probe.retries.map_or(0, i64::from),
        ..Healthcheck::default()
    }
}
