//! Finds the content of every file of a listing: in the cache, or by reading it. Whether extended attributes are part of it
//! is the caller's to say ([`Coverage`]).
//!
//! A file's stat is taken from the open file, before its bytes are read: a change in the middle of the reading then shows
//! as another stat the next time.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use carrack_base::{Cancel, ContentDigest};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::ContextError;
use crate::attributes;
use crate::listing::{Item, Listing};
use crate::stat::{self, Stat, StatCache};
use crate::tree::SlotKind;

const BUFFER: usize = 256 * 1024;
/// Less than both of these is read faster by one thread than it takes to start others.
const FEW_FILES: usize = 32;
const FEW_BYTES: u64 = 4 * 1024 * 1024;
const MOST_THREADS: usize = 8;

/// What a digest covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// The file's bytes.
    Content,
    /// The file's bytes, and its extended attributes if it has any.
    Attributes,
}

/// A file that was read.
pub(crate) struct Hashed {
    pub(crate) stat: Stat,
    pub(crate) digest: ContentDigest,
    /// Whether the stat vouches for the digest from now on.
    pub(crate) trusted: bool,
}

type Outcome = (usize, io::Result<Option<Hashed>>);

/// Whether a failed look at a path means that nothing of the kind is there (any more).
pub(crate) fn is_absence(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

impl Coverage {
    /// What the paths of such digests begin with in a [`StatCache`]: one cache can't take one kind for the other.
    fn mark(self) -> &'static [u8] {
        match self {
            Self::Content => b"",
            Self::Attributes => b"./",
        }
    }
}

/// A buffer for [`hash_file`].
pub(crate) fn buffer() -> Vec<u8> {
    vec![0; BUFFER]
}

/// Gives every item its digest, drops those that vanished, and tells `cache` what was learned.
pub(crate) fn fill(
    listing: &mut Listing,
    cache: &mut StatCache,
    root: &Path,
    coverage: Coverage,
    cancel: &Cancel,
) -> Result<(), ContextError> {
    let (unknown, mut changed) = recall(listing, cache, coverage);
    let mut untrusted = HashSet::new();
    let mut gone = HashSet::new();
    if !unknown.is_empty() {
        for (index, outcome) in read_all(listing, &unknown, root, coverage, cancel)? {
            let item = &mut listing.items[index];
            match outcome {
                Ok(Some(hashed)) => {
                    item.slot.digest = Some(hashed.digest);
                    item.slot.executable = hashed.stat.is_executable();
                    item.stat = Some(hashed.stat);
                    changed |= hashed.trusted;
                    if !hashed.trusted {
                        untrusted.insert(index);
                    }
                }
                Ok(None) if item.slot.kind == SlotKind::File => {
                    gone.insert(index);
                }
                Err(source) if item.strict => {
                    let path = root.join(OsStr::from_bytes(item.slot.path(&listing.text)));
                    return Err(ContextError::Read { path, source });
                }
                Ok(None) | Err(_) => item.slot.executable = false,
            }
        }
        // A cancelled reading leaves files without an outcome.
        if cancel.is_cancelled() {
            return Err(ContextError::Cancelled { root: root.to_owned() });
        }
    }
    if changed {
        let text = &listing.text;
        cache.set_tree(
            coverage.mark(),
            listing.items.iter().enumerate().filter_map(|(index, item)| {
                let (stat, digest) = item.stat.as_ref().zip(item.slot.digest.as_ref())?;
                (!untrusted.contains(&index)).then(|| (item.slot.path(text), stat, digest))
            }),
        );
    }
    if !gone.is_empty() {
        let mut indexes = 0..;
        listing.items.retain(|_| !indexes.next().is_some_and(|index| gone.contains(&index)));
    }
    Ok(())
}

/// Takes digests from the cache. Returns the items that have to be read, and whether the cache knows anything that is no
/// longer so.
fn recall(listing: &mut Listing, cache: &StatCache, coverage: Coverage) -> (Vec<usize>, bool) {
    let mark = coverage.mark();
    let mut unknown = Vec::new();
    let mut stale = false;
    let mut records = cache.tree().peekable();
    for (index, Item { slot, stat, .. }) in listing.items.iter_mut().enumerate() {
        let Some(stat) = stat else { continue };
        let path = slot.path(&listing.text);
        // A record with another mark is passed over, or never equal.
        while records
            .next_if(|record| record.path.strip_prefix(mark).is_none_or(|known| known < path))
            .is_some()
        {
            stale = true;
        }
        match records.next_if(|record| record.path.strip_prefix(mark) == Some(path)) {
            Some(record) if record.stat == *stat => slot.digest = Some(record.digest),
            known => {
                stale |= known.is_some();
                unknown.push(index);
            }
        }
    }
    (unknown, stale || records.next().is_some())
}

/// Reads the items at `unknown`, by several threads if there is enough to read.
fn read_all(
    listing: &Listing,
    unknown: &[usize],
    root: &Path,
    coverage: Coverage,
    cancel: &Cancel,
) -> Result<Vec<Outcome>, ContextError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(root, flags, Mode::empty())
        .map_err(|errno| ContextError::Root { path: root.to_owned(), source: errno.into() })?;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut buffer = buffer();
        let mut outcomes = Vec::new();
        while let Some(&index) = unknown.get(next.fetch_add(1, Ordering::Relaxed)) {
            if cancel.is_cancelled() {
                break;
            }
            let slot = &listing.items[index].slot;
            let follow = slot.kind == SlotKind::Symlink;
            let path = slot.path(&listing.text);
            outcomes.push((index, hash_file(&folder, path, follow, coverage, &mut buffer, cancel)));
        }
        outcomes
    };
    let sizes = unknown.iter().filter_map(|index| listing.items[*index].stat.as_ref()).map(Stat::size);
    if unknown.len() < FEW_FILES && (unknown.len() == 1 || sizes.sum::<u64>() < FEW_BYTES) {
        return Ok(work());
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let helpers = threads.min(MOST_THREADS).min(unknown.len()) - 1;
    Ok(std::thread::scope(|scope| {
        let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        let mut outcomes = work();
        for helper in helpers {
            outcomes.extend(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        outcomes
    }))
}

/// Reads one file. `None` if nothing is there, or nothing that is a file, or `cancel` was set in the middle.
pub(crate) fn hash_file(
    folder: impl AsFd,
    path: &[u8],
    follow: bool,
    coverage: Coverage,
    buffer: &mut [u8],
    cancel: &Cancel,
) -> io::Result<Option<Hashed>> {
    // A fifo or device may have taken the file's place: opening must not wait for it.
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    let opened_at = stat::clock();
    let file = match rustix::fs::openat(folder, path, flags, Mode::empty()) {
        Ok(file) => file,
        // A socket can't be opened at all.
        Err(errno) if is_absence(errno) || errno == Errno::NXIO => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let mut file = File::from(file);
    let mut hasher = blake3::Hasher::new();
    loop {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
    }
    let stat = Stat::from(stat);
    let mut digest = ContentDigest::from_bytes(*hasher.finalize().as_bytes());
    if coverage == Coverage::Attributes
        && let Some(attributes) = attributes::of(&file)?
    {
        digest = attributes.digest_with(&digest);
    }
    Ok(Some(Hashed { stat, digest, trusted: stat.is_settled(opened_at) }))
}
