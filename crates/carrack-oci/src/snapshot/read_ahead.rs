//! Decompressing on one thread while another one writes.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

const CHUNK: usize = 256 * 1024;
/// Chunks in flight.
const CHUNKS: usize = 8;

/// Runs `consume` with the bytes of `reader`, which is read on a thread of its own. `consume` need not read to the end;
/// the reader is given back, and stands somewhere behind what was consumed.
pub(super) fn read_ahead<R: Read + Send, T>(reader: R, consume: impl FnOnce(&mut dyn Read) -> T) -> (R, T) {
    let reader = Mutex::new(reader);
    let consumed = thread::scope(|scope| {
        let (filled, chunks) = mpsc::sync_channel(CHUNKS);
        let (spare, empty) = mpsc::channel();
        let feeder = || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            feed(&mut *reader, filled, empty);
        };
        match thread::Builder::new().name("carrack-layer".to_owned()).spawn_scoped(scope, feeder) {
            Ok(_) => consume(&mut Chunks { chunks, spare, chunk: Vec::new(), position: 0 }),
            // The system gives us no thread: be slow rather than fail.
            Err(_) => consume(&mut *reader.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    });
    (reader.into_inner().unwrap_or_else(PoisonError::into_inner), consumed)
}

/// Sends what there is until the end, an error, or until nobody wants more.
fn feed(reader: &mut dyn Read, filled: SyncSender<io::Result<Vec<u8>>>, empty: Receiver<Vec<u8>>) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.clear();
        let outcome = reader.take(CHUNK as u64).read_to_end(&mut chunk);
        let is_last = !matches!(outcome, Ok(count) if count > 0);
        let has_rest = outcome.is_err() && !chunk.is_empty();
        if has_rest && filled.send(Ok(std::mem::take(&mut chunk))).is_err() {
            return;
        }
        if filled.send(outcome.map(|_| chunk)).is_err() || is_last {
            return;
        }
    }
}

struct Chunks {
    chunks: Receiver<io::Result<Vec<u8>>>,
    spare: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    position: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.chunk.len() {
            let Ok(next) = self.chunks.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.chunk, next?);
            self.position = 0;
            // At the end nobody takes it back.
            let _ = self.spare.send(used);
        }
        let rest = &self.chunk[self.position..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Ok(count)
    }
}
