//! Compressing on several threads into bytes that do not depend on their number.
//!
//! The stream is cut every [`MEMBER_SIZE`] bytes; each piece becomes a gzip member of its own, and the members are
//! written in order. At most two pieces a thread are in flight, so memory is bounded. A stream of several members is
//! valid gzip (RFC 1952, 2.2) and what docker, containerd, skopeo and umoci read.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use libdeflater::{CompressionLvl, Compressor};

/// Uncompressed bytes in a member. Enters every layer's digest.
const MEMBER_SIZE: usize = 1 << 20;
/// libdeflate's level. Enters every layer's digest.
const LEVEL: i32 = 4;

/// Writes gzip members to `output`.
pub(crate) struct MemberWriter<W> {
    output: W,
    threads: usize,
    piece: Vec<u8>,
    in_flight: VecDeque<Receiver<Member>>,
    queue: Sender<Job>,
    jobs: Arc<Mutex<Receiver<Job>>>,
    workers: Vec<JoinHandle<()>>,
    spare: Vec<Vec<u8>>,
}

struct Job {
    piece: Vec<u8>,
    reply: Sender<Member>,
}

struct Member {
    bytes: Vec<u8>,
    /// The piece's buffer, to be filled again.
    buffer: Vec<u8>,
}

impl<W: Write> MemberWriter<W> {
    /// Compresses on up to `threads` threads besides the caller's; they start when there is work for them.
    pub(crate) fn new(output: W, threads: NonZeroUsize) -> Self {
        let (queue, jobs) = mpsc::channel();
        Self {
            output,
            threads: threads.get(),
            piece: Vec::new(),
            in_flight: VecDeque::new(),
            queue,
            jobs: Arc::new(Mutex::new(jobs)),
            workers: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Writes what is left and gives the output back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        if self.workers.is_empty() {
            self.output.write_all(&compress(&mut compressor(), &self.piece))?;
        } else {
            self.send_piece();
        }
        while !self.in_flight.is_empty() {
            self.write_oldest()?;
        }
        // Without the queue's sending end the workers' loops end.
        drop(self.queue);
        for worker in self.workers {
            worker.join().expect("a worker only compresses");
        }
        Ok(self.output)
    }

    fn send_piece(&mut self) {
        let next = self.spare.pop().unwrap_or_default();
        let piece = mem::replace(&mut self.piece, next);
        let (reply, member) = mpsc::channel();
        self.in_flight.push_back(member);
        if self.workers.len() < self.threads.min(self.in_flight.len()) {
            self.start_worker();
        }
        let job = Job { piece, reply };
        if self.workers.is_empty() {
            // The system gives us no thread at all: be slow rather than fail.
            job.run(&mut compressor());
        } else {
            self.queue.send(job).expect("the receiving end is held by this writer");
        }
    }

    fn start_worker(&mut self) {
        let jobs = Arc::clone(&self.jobs);
        let work = move || {
            let mut compressor = compressor();
            loop {
                let job = jobs.lock().expect("receiving does not panic").recv();
                match job {
                    Ok(job) => job.run(&mut compressor),
                    Err(mpsc::RecvError) => return,
                }
            }
        };
        if let Ok(worker) = thread::Builder::new().name("carrack-gzip".to_owned()).spawn(work) {
            self.workers.push(worker);
        }
    }

    fn write_oldest(&mut self) -> io::Result<()> {
        let Some(oldest) = self.in_flight.pop_front() else { return Ok(()) };
        let Member { bytes, mut buffer } = oldest.recv().expect("a worker answers every job");
        self.output.write_all(&bytes)?;
        buffer.clear();
        self.spare.push(buffer);
        Ok(())
    }
}

impl<W: Write> Write for MemberWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.piece.len() == MEMBER_SIZE {
            if self.in_flight.len() >= 2 * self.threads {
                self.write_oldest()?;
            }
            self.send_piece();
        }
        let count = buffer.len().min(MEMBER_SIZE - self.piece.len());
        self.piece.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// Does nothing: where members end is a matter of bytes, not of time.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Job {
    fn run(self, compressor: &mut Compressor) {
        let bytes = compress(compressor, &self.piece);
        // Nobody waits any more if writing has failed.
        let _ = self.reply.send(Member { bytes, buffer: self.piece });
    }
}

fn compressor() -> Compressor {
    Compressor::new(CompressionLvl::new(LEVEL).expect("the level is one that libdeflate has"))
}

fn compress(compressor: &mut Compressor, piece: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; compressor.gzip_compress_bound(piece.len())];
    let count = compressor
        .gzip_compress(piece, &mut bytes)
        .expect("the buffer has the size that libdeflate asked for");
    bytes.truncate(count);
    bytes
}
