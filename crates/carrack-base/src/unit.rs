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

/// The name of a unit: the digest of its realm, of its record and of its files.
pub fn unit_id(realm: &ContentDigest, record: &[u8], files: &[UnitFile]) -> ContentDigest {
    let mut bytes = [realm.as_bytes(), &(record.len() as u64).to_le_bytes()[..], record].concat();
    for file in files {
        bytes.extend_from_slice(file.path.as_bytes());
        let (kind, size, content) = match &file.content {
            UnitContent::File { digest, size, executable: false } => (b'f', *size, &digest.as_bytes()[..]),
            UnitContent::File { digest, size, executable: true } => (b'x', *size, &digest.as_bytes()[..]),
            UnitContent::Link { to } => (b'l', to.len() as u64, to.as_bytes()),
            UnitContent::Folder => (b'd', 0, &[][..]),
        };
        bytes.extend_from_slice(&[0, kind]);
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(content);
    }
    ContentDigest::of(&bytes)
}
