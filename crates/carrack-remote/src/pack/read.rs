use std::fs;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use carrack_base::ContentDigest;

use super::FRAME_LIMIT;
use super::index::{PackIndex, PackedFrame};
use super::place;

const BUFFER: usize = 256 * 1024;
/// Memory that is set aside for a frame before its bytes are there.
const RESERVED: usize = 16 * 1024 * 1024;

/// How units are taken out.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Threads that inflate and write, besides the one that reads.
    pub threads: NonZeroUsize,
    /// The time of all files.
    pub time: SystemTime,
}

/// What became of the wanted units.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Units that lie whole in their folders, in no order.
    pub placed: Vec<ContentDigest>,
    /// Units that do not.
    pub failed: Vec<Failed>,
    /// Why the blob could not be read to the end of the last wanted unit; `None` if it could.
    pub ended: Option<io::Error>,
}

/// A unit that could not be taken out. Its folder is removed.
#[derive(Debug)]
pub struct Failed {
    /// The unit.
    pub id: ContentDigest,
    /// Why.
    pub error: UnitError,
}

/// Why a unit could not be taken out.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// A path that a unit can't have.
    #[error("path {path:?} is refused: {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A frame that is larger than its files could ever make it, or than [`FRAME_LIMIT`].
    #[error("a frame of {length} bytes for {content} bytes of files is refused")]
    Frame {
        /// Bytes of the frame.
        length: u64,
        /// Bytes of its files together.
        content: u64,
    },
    /// The frame is no zstd, or damaged.
    #[error("the frame cannot be inflated")]
    Inflate {
        /// What the decoder said.
        #[source]
        source: io::Error,
    },
    /// The frame ends within a file.
    #[error("the frame ends within {path:?}")]
    TooShort {
        /// The file.
        path: String,
    },
    /// The frame goes on after its last file.
    #[error("the frame has more bytes than its files")]
    TooLong,
    /// A file has other bytes than promised.
    #[error("{path:?} has content whose digest is {found} instead of {expected}")]
    Content {
        /// The file.
        path: String,
        /// The digest that the index promises.
        expected: ContentDigest,
        /// The digest of what came.
        found: ContentDigest,
    },
    /// There is no folder to put it.
    #[error("there is no folder for the unit")]
    Place(#[source] io::Error),
    /// A file can't be written.
    #[error("cannot write {path}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The blob ended, or broke, before the unit had come in.
    #[error("the pack ended before the unit had come in")]
    Ended,
}

/// Takes the units out of a pack that `want` wants, while its `blob` comes in. `place` gives an empty folder for each of
/// them and is called from several threads. The blob is not read further than the last wanted unit.
///
/// Errors: none as such: what went wrong is in the report, unit by unit.
pub fn read(
    index: &PackIndex,
    mut blob: impl Read,
    want: impl Fn(&ContentDigest) -> bool,
    place: impl Fn(&ContentDigest) -> io::Result<PathBuf> + Sync,
    options: ReadOptions,
) -> Unpacked {
    let mut wanted: Vec<&PackedFrame> = Vec::new();
    let mut unpacked = Unpacked::default();
    for unit in index.units.iter().filter(|unit| want(&unit.id)) {
        match check(unit) {
            Ok(()) => wanted.push(unit),
            Err(error) => unpacked.failed.push(Failed { id: unit.id, error }),
        }
    }
    let report = Mutex::new(unpacked);
    let threads = options.threads.get();
    // One frame waits while the others are at work.
    let (send, receive) = sync_channel::<(&PackedFrame, Vec<u8>)>(1);
    let receive = Mutex::new(receive);
    let mut came_in = 0;
    let ended = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&receive, &place, options.time, &report));
        }
        let mut position = 0;
        for unit in &wanted {
            match frame(&mut blob, &mut position, unit) {
                Ok(bytes) => {
                    came_in += 1;
                    // Workers end only when there is nothing left to come.
                    let _ = send.send((unit, bytes));
                }
                Err(error) => {
                    drop(send);
                    return Some(error);
                }
            }
        }
        drop(send);
        None
    });
    let mut unpacked = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    let missing = wanted[came_in..].iter().map(|unit| Failed { id: unit.id, error: UnitError::Ended });
    unpacked.failed.extend(missing);
    unpacked.ended = ended;
    unpacked
}

fn check(unit: &PackedFrame) -> Result<(), UnitError> {
    let (length, content) = (unit.length, unit.content_size());
    // zstd adds at most 1/256 and some bytes to what it can't compress.
    let most = content.saturating_add(content / 128).saturating_add(4 * 1024);
    if length > most.min(FRAME_LIMIT) {
        return Err(UnitError::Frame { length, content });
    }
    place::check(&unit.files)
}

/// Reads the bytes of a unit's frame, skipping what lies before it.
fn frame(blob: &mut impl Read, position: &mut u64, unit: &PackedFrame) -> io::Result<Vec<u8>> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let skip = unit.offset.checked_sub(*position).ok_or_else(short)?;
    if io::copy(&mut blob.take(skip), &mut io::sink())? != skip {
        return Err(short());
    }
    // Grown as bytes come in: an index may promise what never comes.
    let mut bytes = Vec::with_capacity(usize::try_from(unit.length).unwrap_or(0).min(RESERVED));
    if blob.take(unit.length).read_to_end(&mut bytes)? as u64 != unit.length {
        return Err(short());
    }
    *position = unit.offset + unit.length;
    Ok(bytes)
}

fn work(
    receive: &Mutex<Receiver<(&PackedFrame, Vec<u8>)>>,
    place: &(impl Fn(&ContentDigest) -> io::Result<PathBuf> + Sync),
    time: SystemTime,
    report: &Mutex<Unpacked>,
) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let received = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((unit, bytes)) = received else { return };
        let outcome = unpack(unit, &bytes, place, time, &mut buffer);
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => report.placed.push(unit.id),
            Err(error) => report.failed.push(Failed { id: unit.id, error }),
        }
    }
}

fn unpack(
    unit: &PackedFrame,
    bytes: &[u8],
    place: &(impl Fn(&ContentDigest) -> io::Result<PathBuf> + Sync),
    time: SystemTime,
    buffer: &mut [u8],
) -> Result<(), UnitError> {
    let inflate = |source| UnitError::Inflate { source };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(inflate)?;
    // Asks for no more memory than frames of our level need.
    decoder.window_log_max(27).map_err(inflate)?;
    let root = place(&unit.id).map_err(UnitError::Place)?;
    let outcome = place::place(&root, &unit.files, &mut decoder, time, buffer);
    if outcome.is_err() {
        // Half a unit must not be taken for a whole one. What can't be removed is in the caller's folder for new things.
        let _ = fs::remove_dir_all(&root);
    }
    outcome
}
