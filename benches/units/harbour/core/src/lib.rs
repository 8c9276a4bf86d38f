//! Ships, berths and their identity.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use indexmap::IndexMap;
use regex::Regex;
use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use thiserror::Error;
use url::Url;
use uuid::Uuid;

/// What the branch of this repository says.
pub const EDITION: &str = "edition 1";

static CALL_SIGN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[A-Z]{2,3}[0-9]{1,4}$").expect("a pattern"));

/// A ship in the harbour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ship {
    pub id: Uuid,
    pub name: String,
    pub call_sign: String,
    pub arrival: DateTime<Utc>,
    pub transponder: Version,
    pub owner: Option<Url>,
}

/// Who lies where.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Berths {
    ships: IndexMap<u16, Ship>,
}

/// Why a ship may not come in.
#[derive(Debug, Error)]
pub enum Refused {
    #[error("{0} is no call sign")]
    CallSign(String),
    #[error("berth {0} is taken")]
    Taken(u16),
    #[error("the papers can't be read")]
    Papers(#[from] serde_json::Error),
}

impl Berths {
    /// Takes a ship in by its papers.
    pub fn moor(&mut self, berth: u16, papers: &str) -> Result<&Ship, Refused> {
        let ship: Ship = serde_json::from_str(papers)?;
        if !CALL_SIGN.is_match(&ship.call_sign) {
            return Err(Refused::CallSign(ship.call_sign));
        }
        if self.ships.contains_key(&berth) {
            return Err(Refused::Taken(berth));
        }
        Ok(self.ships.entry(berth).or_insert(ship))
    }

    /// The seal of everything that is moored.
    pub fn seal(&self) -> String {
        let ids: SmallVec<[Uuid; 8]> = self.ships.values().map(|ship| ship.id).collect();
        let mut hasher = Sha256::new_with_prefix(EDITION);
        ids.iter().for_each(|id| hasher.update(id.as_bytes()));
        hex::encode(hasher.finalize())
    }
}
