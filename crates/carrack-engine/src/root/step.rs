//! What all steps that make a layer have in common: a key, a kept result, a reason, and news.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use carrack_base::{BuildEvent, ContentDigest, StepId, StepOutcome};
use carrack_graph::{KeyRecord, Listing, Op, RunMount, StepInfo};
use carrack_store::{Batch, Bucket, Hold};

use super::layers::packed_folder;
use crate::error::EngineError;
use crate::shared::SharedStep;
use crate::solve::Solver;
use crate::{listing, why};

/// Fields that say nothing new: the step that made that layer has said why it is another one.
const FOLLOWS: [&str; 1] = ["root"];

/// A step that makes a layer.
pub(crate) struct LayerStep<'s> {
    pub(crate) info: &'s StepInfo,
    pub(crate) record: KeyRecord,
    /// What its sources hold, by the digest that stands for it in the record.
    pub(crate) sources: Option<(ContentDigest, &'s dyn Fn() -> Listing)>,
}

/// What a step made.
pub(crate) struct Made {
    pub(crate) snapshot: ContentDigest,
    /// What else there is to tell about it.
    pub(crate) said: Option<String>,
}

impl From<ContentDigest> for Made {
    fn from(snapshot: ContentDigest) -> Self {
        Self { snapshot, said: None }
    }
}

impl Solver<'_> {
    /// The layer that `step` makes: the kept one if there is one, else what `make` makes.
    pub(crate) fn layer_of<M: Into<Made>>(
        &self,
        step: &LayerStep<'_>,
        make: impl FnOnce(StepId) -> Result<M, EngineError>,
    ) -> Result<ContentDigest, EngineError> {
        let started = Instant::now();
        let key = step.record.key();
        let fresh = self.engine.options.no_cache || step.info.uncached;
        // A step that several builds have in common is made once: the others find what it made.
        let turn = self.layers.turn(&key);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let made_here = self.layers.made(&key);
        let kept = if fresh { made_here } else { self.kept_layer(&key)? };
        let id = StepId(self.next_step.fetch_add(1, Ordering::Relaxed));
        let (name, what) = words(&step.info.name);
        let finished = |outcome, said: Option<&String>| BuildEvent::StepFinished {
            step: id,
            outcome,
            summary: match said {
                // Before the command, which may be cut.
                Some(said) => what.replacen(" · ", &format!(" · {said} · "), 1),
                None => what.clone(),
            },
            elapsed: started.elapsed(),
        };
        if let Some(snapshot) = kept {
            self.events.emit(BuildEvent::StepStarted { step: id, name });
            self.events.emit(finished(StepOutcome::Reused, None));
            self.layers.note_made(&key, snapshot);
            // What it was in the last build is what a later one is compared with.
            let (latest, record) = (self.latest(step.info), step.record.to_bytes());
            if self.store().get(Bucket::Latest, &latest)?.is_none_or(|last| last != record) {
                self.store().put(Bucket::Latest, &latest, record)?;
            }
            return Ok(snapshot);
        }
        if let Some(reason) = self.reason(step, &key)?
            && self.layers.is_news(&key)
        {
            let reason = format!("{}: {reason}", short(&step.info.name));
            self.events.emit(BuildEvent::Why { image: None, reason });
        }
        self.events.emit(BuildEvent::StepStarted { step: id, name });
        let current = what.clone();
        self.events.emit(BuildEvent::StepProgress { step: id, done: 0, total: 0, current });
        let made = make(id).map(Into::into);
        let outcome = if made.is_ok() { StepOutcome::Ran } else { StepOutcome::Failed };
        self.events.emit(finished(outcome, made.as_ref().ok().and_then(|made| made.said.as_ref())));
        let Made { snapshot, .. } = made?;
        let mut batch = Batch::default();
        batch.put(Bucket::Step, key.as_bytes(), snapshot.as_bytes().to_vec());
        batch.put(Bucket::Latest, &self.latest(step.info), step.record.to_bytes());
        if let Some((digest, list)) = &step.sources {
            batch.put(Bucket::Record, digest.as_bytes(), listing::encode(&list()));
        }
        self.store().commit(batch)?;
        self.layers.note_made(&key, snapshot);
        Ok(snapshot)
    }

    /// The layer that this step came to before, here or on another machine. Its bytes are perhaps nowhere any more, and
    /// perhaps nobody asks for them: it is not taken again once they were missed.
    fn kept_layer(&self, key: &ContentDigest) -> Result<Option<ContentDigest>, EngineError> {
        let kept = self.found(key)?;
        if let Some(kept) = kept
            && self.layers.has(&kept)?
        {
            return Ok(Some(kept));
        }
        let kept = kept.filter(|kept| !self.layers.is_lost(kept));
        let Some(step) = self.shared_step(key).filter(|step| !self.layers.is_lost(&step.value)) else {
            return Ok(kept);
        };
        if let Some(layer) = step.layer {
            self.layers.note_elsewhere(&step.value, layer);
        }
        self.store().put(Bucket::Step, key.as_bytes(), step.value.as_bytes().to_vec())?;
        Ok(Some(step.value))
    }

    /// What is kept for a key.
    pub(crate) fn found(&self, key: &ContentDigest) -> Result<Option<ContentDigest>, EngineError> {
        let kept = self.store().get(Bucket::Step, key.as_bytes())?;
        Ok(kept.and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).ok()).map(ContentDigest::from_bytes))
    }

    /// What a step came to on another machine.
    pub(crate) fn shared_step(&self, key: &ContentDigest) -> Option<SharedStep> {
        let shared = &self.engine.shared;
        if shared.from.is_empty() { None } else { shared.find_step(key, self.events) }
    }

    /// Publishes what the steps of this build came to.
    ///
    /// Errors: the store's own.
    pub(crate) fn share_steps(&self) -> Result<(), EngineError> {
        let shared = &self.engine.shared;
        if shared.to.is_empty() {
            return Ok(());
        }
        let all = shared.publishes_all();
        let mut steps = Vec::new();
        for (key, value) in self.layers.all_made() {
            steps.push((key, SharedStep::new(value, self.layers.blob_of(&value, all)?)));
        }
        shared.publish_steps(&steps, self.store(), self.events);
        if all {
            for id in self.mounted_caches() {
                let folder = self.store().mount_folder(&id, Hold::Locked, self.cancel, || {})?;
                let step = packed_folder(self.store(), folder.path())?;
                shared.publish_mount(&id, &step, self.store(), self.events);
            }
        }
        Ok(())
    }

    /// The names of the cache mounts of this build.
    fn mounted_caches(&self) -> BTreeSet<String> {
        let mounts = self.graph.ops().iter().flat_map(|op| match op {
            Op::Run(run) => &run.mounts[..],
            _ => &[],
        });
        let caches = mounts.filter_map(|mount| match mount {
            RunMount::Cache(cache) => Some(cache.id.clone()),
            _ => None,
        });
        caches.collect()
    }

    /// What is different from the last time that this step of this build ran.
    fn reason(&self, step: &LayerStep<'_>, key: &ContentDigest) -> Result<Option<String>, EngineError> {
        if self.engine.options.no_cache || step.info.uncached {
            return Ok(None);
        }
        let Some(latest) = self.store().get(Bucket::Latest, &self.latest(step.info))? else {
            return Ok(None);
        };
        let changes = KeyRecord::from_bytes(&latest)?.changes(&step.record, &|digest| match &step.sources {
            Some((now, list)) if now == digest => Some(list()),
            _ => listing::decode(&self.store().get(Bucket::Record, digest.as_bytes()).ok().flatten()?),
        });
        let telling: Vec<_> =
            changes.into_iter().filter(|change| !FOLLOWS.contains(&change.field.as_str())).collect();
        let line = why::line(&telling);
        Ok(match self.found(key)? {
            Some(_) if line.is_none() => Some("what it had made is gone".to_owned()),
            _ => line,
        })
    }

    /// A step by its place in its build: what it says may have changed.
    fn latest(&self, info: &StepInfo) -> Vec<u8> {
        let file = info.origin.as_ref().map(|origin| origin.source.path.clone()).unwrap_or_default();
        let file = std::path::absolute(&file).unwrap_or(file);
        format!("step {} {}", file.display(), place(&info.name)).into_bytes()
    }
}

/// `Run` and `builder 3/7 · cargo build` of `[builder 3/7] RUN cargo build`.
fn words(name: &str) -> (String, String) {
    let (place, rest) = name.strip_prefix('[').and_then(|rest| rest.split_once("] ")).unwrap_or(("", name));
    let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut letters = verb.chars();
    let label = letters.next().into_iter().chain(letters.map(|letter| letter.to_ascii_lowercase())).collect();
    let line = rest.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    (label, if place.is_empty() { line } else { format!("{place} · {line}") })
}

/// `[builder 3/7]` of `[builder 3/7] RUN cargo build`.
fn place(name: &str) -> &str {
    name.find(']').map_or(name, |end| &name[..=end])
}

/// `RUN cargo build` of `[builder 3/7] RUN cargo build`, shortened.
fn short(name: &str) -> String {
    let rest = name.find("] ").map_or(name, |end| &name[end + 2..]);
    let line = rest.lines().next().unwrap_or_default();
    match line.char_indices().nth(48) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line.to_owned(),
    }
}
