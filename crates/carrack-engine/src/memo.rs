//! Results that are kept: for a static key, what the step learned while it ran and what came out.
//!
//! One key holds several outcomes, newest first, for the times when a learned input went back and forth.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carrack_base::ContentDigest;
use serde::{Deserialize, Serialize};

/// Inputs that a step turned out to have: `None` where there was nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Learned {
    /// Files and folders: for a command as it sees them, so that two checkouts have each their own.
    pub(crate) files: BTreeMap<PathBuf, Option<ContentDigest>>,
    /// Variables: digests of their values, because a value may be a secret.
    pub(crate) env: BTreeMap<String, Option<ContentDigest>>,
}

/// One outcome of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Memo<V> {
    pub(crate) learned: Learned,
    pub(crate) value: V,
}

/// All outcomes that are kept for one static key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Memos<V> {
    pub(crate) outcomes: Vec<Memo<V>>,
}

/// More would only be kept for a step whose surroundings change all the time.
const KEPT: usize = 8;

impl<V> Memos<V> {
    pub(crate) fn none() -> Self {
        Self { outcomes: Vec::new() }
    }

    /// Puts `memo` first, in place of an outcome with the same learned inputs.
    pub(crate) fn remember(&mut self, memo: Memo<V>) {
        self.outcomes.retain(|outcome| outcome.learned != memo.learned);
        self.outcomes.insert(0, memo);
        self.outcomes.truncate(KEPT);
    }
}

impl Learned {
    /// The same with other names of the files.
    pub(crate) fn map_paths(self, name: impl Fn(&Path) -> PathBuf) -> Self {
        let files = self.files.into_iter().map(|(path, content)| (name(&path), content));
        Self { files: files.collect(), env: self.env }
    }

    /// The inputs in which `self` and `now` differ, as people would say it; `shown` names a file.
    pub(crate) fn changes(&self, now: &Self, shown: impl Fn(&Path) -> String) -> Vec<String> {
        let files = self.files.iter().filter(|(path, digest)| now.files.get(*path) != Some(*digest));
        let env = self.env.iter().filter(|(name, digest)| now.env.get(*name) != Some(*digest));
        files
            .map(|(path, _)| format!("{} changed", shown(path)))
            .chain(env.map(|(name, _)| format!("{name} changed")))
            .collect()
    }
}
