use std::fmt;
use std::io::Read;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use carrack_base::{ContentDigest, UnitContent, UnitFile};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const VERSION: u32 = 1;
const LEVEL: i32 = 3;
/// Bytes that an index may have when it is inflated.
const LIMIT: u64 = 512 * 1024 * 1024;

/// What lies where in a pack.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackIndex {
    version: u32,
    /// In the order of their frames.
    pub units: Vec<PackedFrame>,
}

/// One unit of a pack.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedFrame {
    /// Names the unit.
    pub id: ContentDigest,
    /// What the packer wanted to be known about it.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub record: Vec<u8>,
    /// Its files, in the order of their bytes.
    pub files: Vec<UnitFile>,
    /// Where its frame begins in the blob.
    pub offset: u64,
    /// Bytes of its frame.
    pub length: u64,
}

/// Bytes that are no index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// They can't be inflated, or to too much.
    #[error("the index of a pack cannot be inflated")]
    Inflate(#[source] std::io::Error),
    /// They are no index in JSON.
    #[error("the index of a pack is malformed")]
    Json(#[source] serde_json::Error),
    /// An index of another time.
    #[error("the index of a pack is of version {found}, and {known} is known")]
    Version {
        /// Its version.
        found: u32,
        /// The version that is known.
        known: u32,
    },
    /// Frames that overlap, or leave something between them.
    #[error("the frame of unit {id} begins at byte {offset} where {expected} is expected")]
    Offset {
        /// The unit.
        id: ContentDigest,
        /// Where the index says it begins.
        offset: u64,
        /// Where the frame before it ends.
        expected: u64,
    },
}

impl PackIndex {
    pub(super) fn new(units: Vec<PackedFrame>) -> Self {
        Self { version: VERSION, units }
    }

    /// The index as a head holds it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = serde_json::to_vec(self).expect("numbers and texts can be written");
        zstd::bulk::compress(&json, LEVEL).expect("memory can be compressed to memory")
    }

    /// Reads what [`PackIndex::to_bytes`] wrote, or somebody who means harm.
    ///
    /// Errors: [`IndexError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IndexError> {
        let decoder = zstd::stream::read::Decoder::new(bytes).map_err(IndexError::Inflate)?;
        let mut json = Vec::new();
        decoder.take(LIMIT + 1).read_to_end(&mut json).map_err(IndexError::Inflate)?;
        if json.len() as u64 > LIMIT {
            return Err(IndexError::Inflate(std::io::ErrorKind::FileTooLarge.into()));
        }
        let index: Self = serde_json::from_slice(&json).map_err(IndexError::Json)?;
        if index.version != VERSION {
            return Err(IndexError::Version { found: index.version, known: VERSION });
        }
        let mut expected = 0_u64;
        for PackedFrame { id, offset, length, .. } in &index.units {
            if *offset != expected {
                return Err(IndexError::Offset { id: *id, offset: *offset, expected });
            }
            expected = expected.saturating_add(*length);
        }
        Ok(index)
    }

    /// Bytes of the blob.
    pub fn size(&self) -> u64 {
        self.units.last().map_or(0, |unit| unit.offset.saturating_add(unit.length))
    }
}

impl PackedFrame {
    /// Bytes of its files together.
    pub fn content_size(&self) -> u64 {
        let sizes = self.files.iter().map(|file| match &file.content {
            UnitContent::File { size, .. } => *size,
            UnitContent::Link { .. } | UnitContent::Folder => 0,
        });
        sizes.fold(0, u64::saturating_add)
    }
}

fn to_base64<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    BASE64_STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

impl fmt::Debug for PackIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PackIndex({} units, {} bytes)", self.units.len(), self.size())
    }
}

impl fmt::Debug for PackedFrame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PackedFrame({}, {} at {})", self.id, self.length, self.offset)
    }
}
