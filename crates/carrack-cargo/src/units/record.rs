//! What is written down about a unit. Its shape is frozen: whoever changes it raises [`VERSION`], which is part of every
//! realm, so that records of another shape are never read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use carrack_base::{ContentDigest, UnitFile};
use serde::{Deserialize, Serialize};

/// Part of every realm.
pub(super) const VERSION: u32 = 1;

/// A unit as its tool knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitRecord {
    /// Its fingerprint file, relative to the target folder: two units of one name exclude each other there.
    pub(super) name: String,
    /// Cargo's fingerprint of it, as cargo writes it.
    pub(super) fingerprint: String,
    pub(super) package: Package,
    /// What it is within its package, as its fingerprint file is called (`lib-serde`, `run-build-script-…`).
    pub(super) target: String,
    /// The units that it was compiled with, by their ids.
    pub(super) needs: Vec<ContentDigest>,
    /// Whether it, or a unit that it needs, was compiled from a folder whose content can change.
    pub(super) local: bool,
    /// Files that it was made from, and folders with all that is in them: those that can change. As the command saw
    /// them.
    pub(super) files: BTreeMap<PathBuf, Option<ContentDigest>>,
    /// What it may have read without saying so.
    pub(super) undeclared: Option<ContentDigest>,
    /// The variables that it declared, by digest because they may be secrets; `None` where one was not set.
    pub(super) env: BTreeMap<String, Option<ContentDigest>>,
    /// For the run of a build script: what lay among the sources after it and was not the user's.
    pub(super) written: BTreeMap<PathBuf, ContentDigest>,
    /// For the run of a build script that has to do with native code: the variables that it may have used without
    /// declaring them.
    pub(super) for_native_code: Option<ContentDigest>,
    /// For what may read a variable without declaring it, and is compiled from a folder of the user's: the variables that
    /// the user named.
    pub(super) named: Option<ContentDigest>,
    /// For the run of a build script that declared no file: the newest time in its package's folder, as cargo writes it.
    pub(super) newest: Option<String>,
    /// What decides about all units of a build together: among units that fit, one with the same is the likeliest.
    pub(super) settings: ContentDigest,
    /// Where the workspace is, which gets into what is compiled from it.
    pub(super) workspace: Option<PathBuf>,
    /// Where the target folder has to be, if that got into it and is not the same for everyone.
    pub(super) target_folder: Option<PathBuf>,
}

/// Which package a unit belongs to. For one from a registry, its checksum tells its content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Cargo's name of where it is from; none for a folder of the user's.
    pub(crate) source: Option<String>,
    pub(crate) checksum: Option<String>,
}

impl UnitRecord {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("paths were checked to be UTF-8")
    }

    /// `None` for what is no record.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The id of a unit with this record and these files.
    pub(super) fn id(&self, realm: &ContentDigest, files: &[UnitFile]) -> ContentDigest {
        carrack_base::unit_id(realm, &self.to_bytes(), files)
    }

    /// The name of the binary that it is, if it is one.
    pub(super) fn binary(&self) -> Option<&str> {
        self.target.strip_prefix("bin-")
    }

    /// The name of its target as cargo's messages have it; they speak of packages where a build script ran.
    pub(super) fn target_name(&self) -> &str {
        const KINDS: [&str; 9] = [
            "run-build-script-",
            "build-script-",
            "test-integration-test-",
            "integration-test-",
            "test-lib-",
            "test-bin-",
            "example-",
            "lib-",
            "bin-",
        ];
        let kind = KINDS.iter().find_map(|kind| self.target.strip_prefix(kind));
        kind.unwrap_or(&self.target)
    }
}

impl std::fmt::Display for Package {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.name, self.version)
    }
}
