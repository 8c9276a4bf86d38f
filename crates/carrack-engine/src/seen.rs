//! What a build folder has seen: which content of the sources its last runs may have compiled.
//!
//! Programs such as cargo compare modification times. A file whose *content* is new but whose time is older than the
//! last run (a checkout by `cp -p`, an unpacked archive, a restored backup) would pass for unchanged, and a stale binary
//! would ship. The listing of the last run, kept beside the build folder, shows such files.
//!
//! ```text
//! <build folder>/seen   u8 version · i64 end of the last run (ns since the epoch; i64::MAX while one runs)
//!                       · u32 length, listing of the last run that ended well · listing of a later one that did not
//! ```
//!
//! It is written before a run and after it. A folder without it (or with a damaged one) must be emptied before use.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use carrack_graph::Listing;

use crate::error::{At, EngineError};
use crate::listing;

const VERSION: u8 = 1;
const RUNNING: i64 = i64::MAX;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    confirmed: Listing,
    attempted: Option<Listing>,
    ended: i64,
}

impl Seen {
    /// What the folder saw; `None` if nobody knows.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let bytes = std::fs::read(path).ok()?;
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (ended, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (confirmed, attempted) =
            rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        let attempted = match attempted {
            [] => None,
            bytes => Some(listing::decode(bytes)?),
        };
        Some(Self { confirmed: listing::decode(confirmed)?, attempted, ended: i64::from_le_bytes(*ended) })
    }

    /// Notes that a run with these sources begins.
    pub(crate) fn begin(self, sources: &Listing, path: &Path) -> Result<Self, EngineError> {
        let seen = Self { confirmed: self.confirmed, attempted: Some(sources.clone()), ended: RUNNING };
        seen.write(path)?;
        Ok(seen)
    }

    /// Notes that the run is over. After a failure the folder may hold results of this run and of the one before.
    pub(crate) fn end(self, succeeded: bool, path: &Path) -> Result<(), EngineError> {
        let ended = nanoseconds(SystemTime::now());
        let seen = match self.attempted {
            Some(attempted) if succeeded => Self { confirmed: attempted, attempted: None, ended },
            attempted => Self { attempted, ended, ..self },
        };
        seen.write(path)
    }

    /// The names of all sources that differ from what a run has seen.
    pub(crate) fn changed(&self, sources: &Listing) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        for known in std::iter::once(&self.confirmed).chain(&self.attempted) {
            let differing = sources.iter().filter(|(name, digest)| known.get(*name) != Some(*digest));
            changed.extend(differing.map(|(name, _)| name.clone()));
            changed.extend(known.keys().filter(|name| !sources.contains_key(*name)).cloned());
        }
        changed
    }

    /// Whether a run has seen a source of this name, whatever its content.
    pub(crate) fn knows(&self, name: &str) -> bool {
        std::iter::once(&self.confirmed).chain(&self.attempted).any(|known| known.contains_key(name))
    }

    /// Whether the source of this name is what it was when the last run began; `None` if there was and is none.
    pub(crate) fn untouched(&self, name: &str, sources: &Listing) -> Option<bool> {
        let before = self.attempted.as_ref().unwrap_or(&self.confirmed).get(name);
        let now = sources.get(name);
        (before.is_some() || now.is_some()).then(|| before == now)
    }

    /// Whether a file with this modification time was certainly written after the last run.
    pub(crate) fn is_newer(&self, modified: SystemTime) -> bool {
        nanoseconds(modified) > self.ended
    }

    fn write(&self, path: &Path) -> Result<(), EngineError> {
        let confirmed = listing::encode(&self.confirmed);
        let length = u32::try_from(confirmed.len()).expect("a listing stays below 4 GiB");
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.ended.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&confirmed);
        if let Some(attempted) = &self.attempted {
            bytes.extend_from_slice(&listing::encode(attempted));
        }
        let draft = path.with_extension("new");
        std::fs::write(&draft, bytes).at("write", &draft)?;
        std::fs::rename(&draft, path).at("replace", path)
    }
}

fn nanoseconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(RUNNING),
        Err(_) => i64::MIN,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use carrack_base::ContentDigest;

    use super::*;

    fn listing(entries: &[(&str, &str)]) -> Listing {
        entries
            .iter()
            .map(|(name, content)| ((*name).to_owned(), ContentDigest::of(content.as_bytes())))
            .collect()
    }

    #[test]
    fn a_failed_run_leaves_both_contents_in_doubt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        let one = listing(&[("a", "1"), ("b", "1")]);
        let two = listing(&[("a", "2"), ("b", "1")]);
        Seen::default().begin(&one, &path).unwrap().end(true, &path).unwrap();
        assert!(Seen::read(&path).unwrap().changed(&one).is_empty());

        Seen::read(&path).unwrap().begin(&two, &path).unwrap().end(false, &path).unwrap();
        let seen = Seen::read(&path).unwrap();
        assert_eq!(seen.changed(&one), BTreeSet::from(["a".to_owned()]));
        assert_eq!(seen.changed(&two), BTreeSet::from(["a".to_owned()]));
        assert!(seen.is_newer(SystemTime::now() + Duration::from_secs(1)));
        assert!(!seen.is_newer(SystemTime::now() - Duration::from_secs(60)));
    }

    #[test]
    fn nothing_is_newer_than_a_run_that_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seen");
        Seen::default().begin(&listing(&[("a", "1")]), &path).unwrap();
        let seen = Seen::read(&path).unwrap();
        assert!(!seen.is_newer(SystemTime::now() + Duration::from_secs(3600)));
        std::fs::write(&path, b"\x01damaged").unwrap();
        assert_eq!(Seen::read(&path), None);
    }
}
