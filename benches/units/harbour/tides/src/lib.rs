//! Tide tables, fetched and kept.

use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use dashmap::DashMap;
use flate2::Compression;
use flate2::write::GzEncoder;
use itertools::Itertools;
use parking_lot::Mutex;
use rand::Rng;
use serde::{Deserialize, Serialize};
use tracing::debug;
use walkdir::WalkDir;

/// High or low water.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tide {
    pub at: DateTime<Utc>,
    pub height: f64,
}

/// The tables of many places.
#[derive(Debug, Default)]
pub struct Tables {
    tides: DashMap<String, Vec<Tide>>,
    last: Mutex<Option<String>>,
}

impl Tables {
    /// Asks a server for a place's table.
    pub async fn fetch(&self, server: &str, place: &str) -> reqwest::Result<usize> {
        let tides: Vec<Tide> = reqwest::get(format!("{server}/{place}.json")).await?.json().await?;
        let tides: Vec<Tide> = tides.into_iter().sorted_by_key(|tide| tide.at).collect();
        debug!(place, number = tides.len(), edition = harbour_core::EDITION, "fetched");
        *self.last.lock() = Some(place.to_owned());
        let number = tides.len();
        self.tides.insert(place.to_owned(), tides);
        Ok(number)
    }

    /// Reads every table of a folder.
    pub fn read(&self, folder: &Path) -> csv::Result<()> {
        for entry in WalkDir::new(folder).into_iter().filter_map(Result::ok) {
            if entry.file_type().is_file() {
                let tides = csv::Reader::from_path(entry.path())?.into_deserialize().try_collect()?;
                self.tides.insert(entry.file_name().to_string_lossy().into_owned(), tides);
            }
        }
        Ok(())
    }

    /// Keeps the last table in a file that no other has.
    pub async fn keep(&self) -> io::Result<String> {
        let last = self.last.lock().clone().unwrap_or_default();
        let number = self.tides.get(&last).map_or(0, |tides| tides.len());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        writeln!(encoder, "{last}: {number}, {}", rand::rng().random::<u32>())?;
        let bytes = encoder.finish()?;
        let file = tempfile::NamedTempFile::new()?;
        tokio::fs::write(file.path(), &bytes).await?;
        Ok(BASE64_STANDARD.encode(bytes))
    }
}
