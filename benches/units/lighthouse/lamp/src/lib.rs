//! The lamp and its rhythm.

use std::num::NonZeroUsize;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lru::LruCache;
use regex::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// One flash.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flash {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub length: Duration,
}

/// Why the lamp stays dark.
#[derive(Debug, Error)]
#[error("{0} is no rhythm")]
pub struct Dark(String);

/// The flashes of a rhythm such as `2s 500ms`, the last ones of them.
pub fn flashes(rhythm: &str, at: DateTime<Utc>) -> Result<Vec<Flash>, Dark> {
    let dark = || Dark(rhythm.to_owned());
    let words = Regex::new(r"\S+").map_err(|_| dark())?;
    let mut last = LruCache::new(NonZeroUsize::MIN.saturating_add(7));
    for word in words.find_iter(rhythm) {
        let length = humantime::parse_duration(word.as_str()).map_err(|_| dark())?;
        let id = Uuid::new_v4();
        last.put(id, Flash { id, at, length });
    }
    Ok(last.into_iter().map(|(_, flash)| flash).collect())
}
