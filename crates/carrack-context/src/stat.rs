//! Which file had which content: a file's stat vouches for its digest until the stat changes.
//!
//! On disk it is one file:
//!
//! ```text
//! "carrack stat cache 1\n"
//! BLAKE3 of everything that follows, 32 bytes
//! length of the tree's records in bytes, 8
//! the tree's records, sorted by path; then the records of files elsewhere
//! record: path length 4 · path · device 8 · inode 8 · size 8 · mtime 8 · ctime 8 (ns since the epoch) · mode 4 · digest 32
//! ```
//!
//! A context's records have paths that begin with `./`, as no path of a tree does: their digests cover attributes too.
//!
//! Integers are little-endian. The tree's records stay in the buffer that they were read into: a walk is sorted too, so
//! one pass over both finds everything.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use carrack_base::ContentDigest;

use crate::ContextError;
use crate::content::Hashed;

const MAGIC: &[u8] = b"carrack stat cache 1\n";
const HEADER: usize = MAGIC.len() + 32 + 8;
/// Bytes of a record apart from its path.
const FIXED: usize = 4 + 5 * 8 + 4 + 32;

/// How far a file's time stamp may lie behind the clock: kernels stamp with the time of the last tick, which comes every
/// 1 to 10 ms.
const STAMP_SLACK_NS: i64 = 20_000_000;

/// Remembers the content of files by their stat, so that unchanged files are not read again.
///
/// A file's digest is taken from the cache if device, inode, size, mtime, ctime and mode are what they were. A file that
/// was modified (by mtime or ctime) no earlier than it was hashed, or so shortly before that a later change might get the
/// same time stamp, is not remembered: it is read again next time. A clock that was set back makes time stamps lie in
/// the future, and such files are read each time too.
#[derive(Debug, Default)]
pub struct StatCache {
    /// The records of the tree, as on disk.
    tree: Vec<u8>,
    elsewhere: BTreeMap<Vec<u8>, (Stat, ContentDigest)>,
    changed: bool,
}

/// What of a file's stat vouches for its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    modified: i64,
    changed: i64,
    mode: u32,
}

/// One remembered file.
pub(crate) struct Record<'c> {
    pub(crate) path: &'c [u8],
    pub(crate) stat: Stat,
    pub(crate) digest: ContentDigest,
}

/// Reads records off a buffer; ends at the first that is not whole.
pub(crate) struct Records<'c>(&'c [u8]);

impl StatCache {
    /// Reads the cache at `path`. A file that is missing, damaged, or of another version is an empty cache.
    pub fn load(path: &Path) -> Self {
        fs::read(path).ok().and_then(Self::parse).unwrap_or_default()
    }

    /// Writes the cache to `path` if it learned or forgot anything since it was loaded or saved.
    ///
    /// The file is replaced by rename, so a reader sees the old or the new one; of two writers the later one wins. It is
    /// not synced to disk: after a power failure the checksum tells, and the price is one walk that reads everything.
    ///
    /// Errors: [`ContextError::Save`] if the file or its folder can't be written.
    pub fn save(&mut self, path: &Path) -> Result<(), ContextError> {
        if !self.changed {
            return Ok(());
        }
        self.write(path).map_err(|source| ContextError::Save { path: path.to_owned(), source })?;
        self.changed = false;
        Ok(())
    }

    fn parse(mut bytes: Vec<u8>) -> Option<Self> {
        let body = bytes.strip_prefix(MAGIC)?;
        let (checksum, body) = body.split_first_chunk::<32>()?;
        if ContentDigest::of(body).as_bytes() != checksum {
            return None;
        }
        let (length, records) = body.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let elsewhere = Records(records.get(length..)?)
            .map(|record| (record.path.to_vec(), (record.stat, record.digest)))
            .collect();
        bytes.truncate(HEADER + length);
        bytes.drain(..HEADER);
        Some(Self { tree: bytes, elsewhere, changed: false })
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let mut elsewhere = Vec::new();
        for (path, (stat, digest)) in &self.elsewhere {
            put_record(&mut elsewhere, path, stat, digest);
        }
        let length = (self.tree.len() as u64).to_le_bytes();
        let mut hasher = blake3::Hasher::new();
        hasher.update(&length).update(&self.tree).update(&elsewhere);

        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed)));
        let written = File::create_new(&name).and_then(|mut file| {
            file.write_all(MAGIC)?;
            file.write_all(hasher.finalize().as_bytes())?;
            file.write_all(&length)?;
            file.write_all(&self.tree)?;
            file.write_all(&elsewhere)?;
            fs::rename(&name, path)
        });
        if written.is_err() {
            // The first error is the one worth telling.
            let _ = fs::remove_file(&name);
        }
        written
    }

    /// The tree's records, sorted by path.
    pub(crate) fn tree(&self) -> Records<'_> {
        Records(&self.tree)
    }

    /// Replaces the tree's records. Each path is written behind `mark`.
    pub(crate) fn set_tree<'e>(
        &mut self,
        mark: &[u8],
        entries: impl Iterator<Item = (&'e [u8], &'e Stat, &'e ContentDigest)>,
    ) {
        self.tree.clear();
        let mut marked = mark.to_vec();
        for (path, stat, digest) in entries {
            marked.truncate(mark.len());
            marked.extend_from_slice(path);
            put_record(&mut self.tree, &marked, stat, digest);
        }
        self.changed = true;
    }

    pub(crate) fn elsewhere(&self, path: &[u8], now: &Stat) -> Option<ContentDigest> {
        self.elsewhere.get(path).filter(|(stat, _)| stat == now).map(|(_, digest)| *digest)
    }

    pub(crate) fn learn_elsewhere(&mut self, path: &[u8], hashed: &Hashed) {
        if hashed.trusted {
            self.elsewhere.insert(path.to_vec(), (hashed.stat, hashed.digest));
            self.changed = true;
        } else {
            self.forget_elsewhere(path);
        }
    }

    pub(crate) fn forget_elsewhere(&mut self, path: &[u8]) {
        self.changed |= self.elsewhere.remove(path).is_some();
    }
}

impl Stat {
    /// Whether a file that was opened at `moment` (ns since the epoch), and had this stat then, can't be modified
    /// afterwards without its stat telling.
    pub(crate) fn is_settled(&self, moment: i64) -> bool {
        self.modified.max(self.changed) < moment.saturating_sub(STAMP_SLACK_NS)
    }

    pub(crate) fn is_executable(&self) -> bool {
        self.mode & 0o111 != 0
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Permissions, setuid, setgid and sticky.
    pub(crate) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// Nanoseconds since the epoch.
    pub(crate) fn modified(&self) -> i64 {
        self.modified
    }
}

impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        let nanoseconds =
            |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size.cast_unsigned(),
            modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec.cast_signed()),
            changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec.cast_signed()),
            mode: stat.st_mode,
        }
    }
}

impl<'c> Iterator for Records<'c> {
    type Item = Record<'c>;

    fn next(&mut self) -> Option<Record<'c>> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let (fixed, rest) = rest.split_first_chunk::<{ FIXED - 4 }>()?;
        self.0 = rest;
        let number = |at: usize| {
            u64::from_le_bytes(*fixed[at..].first_chunk().expect("a record's numbers lie within it"))
        };
        let stat = Stat {
            device: number(0),
            inode: number(8),
            size: number(16),
            modified: number(24).cast_signed(),
            changed: number(32).cast_signed(),
            mode: u32::from_le_bytes(*fixed[40..].first_chunk().expect("a record's numbers lie within it")),
        };
        let digest = fixed.last_chunk().expect("a record ends with its digest");
        Some(Record { path, stat, digest: ContentDigest::from_bytes(*digest) })
    }
}

/// The clock, in nanoseconds since the epoch; 0 if it stands before it.
pub(crate) fn clock() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX))
}

fn put_record(bytes: &mut Vec<u8>, path: &[u8], stat: &Stat, digest: &ContentDigest) {
    let length = u32::try_from(path.len()).expect("paths are shorter than 4 GiB");
    bytes.reserve(FIXED + path.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(path);
    for number in
        [stat.device, stat.inode, stat.size, stat.modified.cast_unsigned(), stat.changed.cast_unsigned()]
    {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&stat.mode.to_le_bytes());
    bytes.extend_from_slice(digest.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_close_to_the_hashing_is_not_settled() {
        let stat = Stat { device: 1, inode: 2, size: 3, modified: 1_000_000_000, changed: 500, mode: 0o644 };
        assert!(!stat.is_settled(1_000_000_000));
        assert!(!stat.is_settled(1_020_000_000), "the slack itself");
        assert!(stat.is_settled(1_020_000_001));
        assert!(!stat.is_settled(0), "a clock that went back");
        let swapped = Stat { modified: stat.changed, changed: stat.modified, ..stat };
        assert!(!swapped.is_settled(1_000_000_000), "ctime counts as mtime does");
    }
}
