use serde::{Deserialize, Serialize};

use crate::ContentDigest;

/// One file of a compiled unit, wherever the unit is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFile {
    /// Relative to cargo's target folder, with `/` between its parts; never absolute, never with `.` or `..`.
    pub path: String,
    /// What is there.
    pub content: UnitContent,
}

/// What is at the path of a [`UnitFile`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnitContent {
    /// A regular file.
    File {
        /// Digest of its bytes.
        digest: ContentDigest,
        /// In bytes.
        size: u64,
        /// Whether anyone may execute it: its mode is 0755, else 0644.
        executable: bool,
    },
    /// A symbolic link.
    Link {
        /// What it says, as it is written.
        to: String,
    },
    /// A folder; only empty ones are listed.
    Folder,
}
