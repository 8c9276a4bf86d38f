use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use carrack_base::{ContentDigest, UnitContent, UnitFile};

use super::index::{PackIndex, PackedFrame};

const LEVEL: i32 = 3;
const BUFFER: usize = 128 * 1024;
/// Finished frames that wait for an earlier one, for each thread.
const AHEAD: usize = 2;

/// A unit to be packed.
#[derive(Debug, Clone)]
pub struct PackedUnit {
    /// Names it.
    pub id: ContentDigest,
    /// Whatever is to be known about it without reading its files.
    pub record: Vec<u8>,
    /// Its files, relative to `root`.
    pub files: Vec<UnitFile>,
    /// Where they lie.
    pub root: PathBuf,
}

/// What was packed, and what was not.
#[derive(Debug)]
pub struct Written {
    /// What lies where.
    pub index: PackIndex,
    /// Units whose files are not what their lists say.
    pub left_out: Vec<LeftOut>,
}

/// A unit that is not in the pack.
#[derive(Debug)]
pub struct LeftOut {
    /// The unit.
    pub id: ContentDigest,
    /// Why.
    pub error: PackError,
}

/// Why a unit was not packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file can't be read.
    #[error("cannot read {path}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is not what the list says.
    #[error("{path} is not what its unit's list says", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// What the threads share.
struct Line {
    /// The next unit that nobody works at.
    next: usize,
    /// The next unit to be written.
    due: usize,
    /// Frames that are not yet due.
    done: Vec<Option<Result<Vec<u8>, PackError>>>,
    /// The writer failed: nobody needs more.
    is_over: bool,
}

/// Packs units into `output`, compressing on `threads` threads. Memory: a few frames for each thread.
///
/// Errors: what `output` said. Units that can't be read are left out and reported.
pub fn write(
    units: &[PackedUnit],
    threads: NonZeroUsize,
    output: &mut (impl Write + ?Sized),
) -> io::Result<Written> {
    let done = units.iter().map(|_| None).collect();
    let line = Mutex::new(Line { next: 0, due: 0, done, is_over: false });
    let moved = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..threads.get().min(units.len()) {
            scope.spawn(|| compress_all(units, &line, &moved, threads.get() * AHEAD));
        }
        let outcome = write_all(units, &line, &moved, output);
        line.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        moved.notify_all();
        outcome
    })
}

fn compress_all(units: &[PackedUnit], line: &Mutex<Line>, moved: &Condvar, ahead: usize) {
    loop {
        let number = {
            let state = line.lock().unwrap_or_else(PoisonError::into_inner);
            let must_wait =
                |line: &mut Line| !line.is_over && line.next < units.len() && line.next >= line.due + ahead;
            let mut state = moved.wait_while(state, must_wait).unwrap_or_else(PoisonError::into_inner);
            if state.is_over || state.next >= units.len() {
                return;
            }
            state.next += 1;
            state.next - 1
        };
        let frame = compress(&units[number]);
        line.lock().unwrap_or_else(PoisonError::into_inner).done[number] = Some(frame);
        moved.notify_all();
    }
}

fn write_all(
    units: &[PackedUnit],
    line: &Mutex<Line>,
    moved: &Condvar,
    output: &mut (impl Write + ?Sized),
) -> io::Result<Written> {
    let (mut frames, mut left_out, mut offset) = (Vec::new(), Vec::new(), 0);
    for (number, unit) in units.iter().enumerate() {
        let state = line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = moved
            .wait_while(state, |line| line.done[number].is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let frame = state.done[number].take().expect("it was waited for");
        state.due = number + 1;
        drop(state);
        moved.notify_all();
        match frame {
            Err(error) => left_out.push(LeftOut { id: unit.id, error }),
            Ok(frame) => {
                output.write_all(&frame)?;
                let length = frame.len() as u64;
                let PackedUnit { id, record, files, .. } = unit.clone();
                frames.push(PackedFrame { id, record, files, offset, length });
                offset += length;
            }
        }
    }
    Ok(Written { index: PackIndex::new(frames), left_out })
}

/// The frame of one unit.
fn compress(unit: &PackedUnit) -> Result<Vec<u8>, PackError> {
    let in_memory = "memory can be compressed to memory";
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL).expect(in_memory);
    let mut buffer = vec![0; BUFFER];
    for file in &unit.files {
        let UnitContent::File { digest, size, .. } = &file.content else { continue };
        let path = unit.root.join(&file.path);
        let read = |source| PackError::Read { path: path.clone(), source };
        let mut source = File::open(&path).map_err(read)?;
        let mut hasher = blake3::Hasher::new();
        let mut found = 0_u64;
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read(error)),
            };
            hasher.update(&buffer[..count]);
            found += count as u64;
            encoder.write_all(&buffer[..count]).expect(in_memory);
        }
        if found != *size || ContentDigest::from_bytes(*hasher.finalize().as_bytes()) != *digest {
            return Err(PackError::Changed { path });
        }
    }
    Ok(encoder.finish().expect(in_memory))
}
