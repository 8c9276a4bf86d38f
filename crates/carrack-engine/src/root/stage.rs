//! An image of a stage: its layers packed, its configuration with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use carrack_base::{BuildEvent, Digest};
use carrack_graph::{BuiltImage, Field, KeyRecord, ResolvedImage, StageOp, StageProgram};
use carrack_oci::wire::ImageConfig;
use carrack_oci::{Image, Layer};

use carrack_store::Bucket;

use super::files::{Files, resolve};
use super::layers::{RootLayer, RootValue};
use super::loadable;
use crate::error::EngineError;
use crate::image::{Finished, part};
use crate::solve::Solver;

/// Raised with every change of what makes a program start.
const VERSION: u32 = 1;

impl Solver<'_> {
    pub(crate) fn stage(&self, op: &StageOp) -> Result<Finished, EngineError> {
        let root = self.root_value(op.root)?;
        self.check_programs(op, &root)?;
        self.bring_base(&root.layers)?;
        let mut layers = Vec::new();
        let mut new_layers = 0;
        for layer in &root.layers {
            let (layer, is_new) = self.layers.packed(layer)?;
            new_layers += u32::from(is_new);
            layers.push(layer);
        }
        for layer in &op.layers {
            let value = self.layer_value(*layer)?;
            new_layers += u32::from(value.new);
            layers.push(part(&value));
        }
        let config = configuration(&op.config).map_err(|source| EngineError::Configuration { source })?;
        let image = Image::assemble(config, &layers, BTreeMap::new());
        let unchanged = self.put_image(&image, &op.tags, op.created)?;
        let digest = image.digest();
        let ready = BuildEvent::ImageReady {
            image: op.tags.first().unwrap_or(&op.name).clone(),
            digest,
            size: Some(image.layers_size()),
            layers: u32::try_from(layers.len()).unwrap_or(u32::MAX),
            new_layers,
            contents: String::new(),
            unchanged,
        };
        let built = BuiltImage {
            name: op.name.clone(),
            tags: op.tags.clone(),
            manifest: Some(digest),
            config: Digest::of(image.config_bytes()),
            size: Some(image.layers_size()),
            unchanged,
        };
        Ok(Finished { built, news: vec![ready] })
    }

    /// Refuses programs that would not start. What was found to be good is not looked at again.
    fn check_programs(&self, op: &StageOp, root: &RootValue) -> Result<(), EngineError> {
        for program in &op.programs {
            let mut record = KeyRecord::new("loadable", VERSION);
            record.set("root", Field::List(root.ids()));
            match program {
                StageProgram::Artifact { exec, artifact } => {
                    let value = self.exec_value(*exec)?;
                    let digest = value.artifacts.get(artifact).map(|made| made.digest.to_string());
                    record.text("program", digest.unwrap_or_default());
                }
                StageProgram::File(path) => {
                    record.text("program", path.as_str());
                }
            }
            let key = record.key();
            if self.store().get(Bucket::Step, key.as_bytes())?.is_some() {
                continue;
            }
            let stack = self.layers.stack(root)?;
            match program {
                StageProgram::Artifact { exec, artifact } => {
                    let host = self.artifact_path(*exec, artifact)?;
                    loadable::check(&stack, &format!("/usr/local/bin/{artifact}"), &host, &op.name)?;
                }
                StageProgram::File(path) => {
                    let missing = || EngineError::NoSource { path: path.to_string(), of: op.name.clone() };
                    let place = resolve(&stack, path.relative().as_bytes(), true).ok_or_else(missing)?;
                    stack.item(&place).ok_or_else(missing)?;
                    loadable::check(&stack, path.as_str(), &stack.on_host(&place), &op.name)?;
                }
            }
            self.store().put(Bucket::Step, key.as_bytes(), Vec::new())?;
        }
        Ok(())
    }

    /// An image's own layers have to be here before it can go anywhere.
    fn bring_base(&self, layers: &[RootLayer]) -> Result<(), EngineError> {
        let mut base: Option<&Arc<ResolvedImage>> = None;
        let mut wanted: Vec<Layer> = Vec::new();
        for layer in layers {
            if let RootLayer::Image { layer, image } = layer {
                base = Some(image);
                wanted.push(Layer::clone(layer));
            }
        }
        base.map_or(Ok(()), |image| self.layers.blobs_of(image, &wanted))
    }
}

/// The configuration of a graph has no list of layers.
fn configuration(bytes: &[u8]) -> Result<ImageConfig, serde_json::Error> {
    let mut document: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes)?;
    document.insert("rootfs".to_owned(), serde_json::json!({"type": "layers", "diff_ids": []}));
    serde_json::from_value(document.into())
}
