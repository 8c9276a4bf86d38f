//! One budget of jobs for all programs that the commands of a build call side by side.
//!
//! A FIFO with a byte for each job that may start, as GNU make shares them (a *jobserver*): whoever has taken a byte runs a
//! job and puts the byte back. A program does its first job without one, so a command takes one for its calls before the
//! first of them begins, and waits if there is none.
//!
//! What a killed program had taken is lost. When no command has a job, all are made anew: so nobody waits for one that will
//! never come.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use carrack_store::{Scratch, Store};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::error::{At, EngineError};

/// The jobs of a build; made when somebody asks for the first.
pub(crate) struct Jobs {
    size: usize,
    pool: OnceLock<Pool>,
    /// How many commands have one.
    having: Mutex<usize>,
}

struct Pool {
    path: PathBuf,
    fifo: File,
    _scratch: Scratch,
}

/// What one command has of it: a job, for as long as any of its calls goes on.
pub(super) struct Share<'j> {
    jobs: &'j Jobs,
    calls: Mutex<usize>,
}

/// A call of a command that has a job.
pub(super) struct Job<'s>(&'s Share<'s>);

impl Jobs {
    /// A budget of `size` jobs at a time.
    pub(crate) fn new(size: usize) -> Self {
        Self { size, pool: OnceLock::new(), having: Mutex::new(0) }
    }

    /// Where programs find the FIFO.
    pub(super) fn provide(&self, store: &Store) -> Result<&Path, EngineError> {
        if let Some(pool) = self.pool.get() {
            return Ok(&pool.path);
        }
        let scratch = store.scratch()?;
        let path = scratch.path().join("jobs");
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(CWD, &path, FileType::Fifo, mode, 0)
            .map_err(io::Error::from)
            .at("create", &path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o666)).at("set the mode of", &path)?;
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let fifo =
            File::options().read(true).write(true).custom_flags(flags).open(&path).at("open", &path)?;
        Ok(&self.pool.get_or_init(|| Pool { path, fifo, _scratch: scratch }).path)
    }

    /// Takes a job. `false` if one of `ends` is readable before there is one.
    fn take(&self, ends: &[&dyn AsFd]) -> bool {
        let Some(pool) = self.pool.get() else { return false };
        {
            let mut having = lock(&self.having);
            if *having == 0 {
                pool.fill(self.size);
            }
            *having += 1;
        }
        let is_taken = pool.wait(ends);
        if !is_taken {
            *lock(&self.having) -= 1;
        }
        is_taken
    }

    fn put_back(&self) {
        let mut having = lock(&self.having);
        if let Some(pool) = self.pool.get() {
            // It has room for what was taken from it.
            let _ = (&pool.fifo).write_all(b"+");
        }
        *having -= 1;
    }

    pub(super) fn share(&self) -> Share<'_> {
        Share { jobs: self, calls: Mutex::new(0) }
    }
}

impl Pool {
    /// Has as many as `size`, whatever it had.
    fn fill(&self, size: usize) {
        while (&self.fifo).read(&mut [0; 512]).is_ok_and(|length| length > 0) {}
        let _ = (&self.fifo).write_all(&vec![b'+'; size]);
    }

    fn wait(&self, ends: &[&dyn AsFd]) -> bool {
        loop {
            let all = std::iter::once(&self.fifo as &dyn AsFd).chain(ends.iter().copied());
            let mut waiting: Vec<PollFd<'_>> =
                all.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
            match rustix::event::poll(&mut waiting, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
            if waiting[1..].iter().any(|fd| !fd.revents().is_empty()) {
                return false;
            }
            // Somebody else may have been faster.
            if (&self.fifo).read(&mut [0; 1]).is_ok_and(|length| length == 1) {
                return true;
            }
        }
    }
}

impl Share<'_> {
    /// A call begins. `None` if one of `ends` is readable before the command has a job.
    pub(super) fn begin(&self, ends: &[&dyn AsFd]) -> Option<Job<'_>> {
        let mut calls = lock(&self.calls);
        if *calls == 0 && !self.jobs.take(ends) {
            return None;
        }
        *calls += 1;
        Some(Job(self))
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        let mut calls = lock(&self.0.calls);
        *calls -= 1;
        if *calls == 0 {
            self.0.jobs.put_back();
        }
    }
}

fn lock(number: &Mutex<usize>) -> MutexGuard<'_, usize> {
    number.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn jobs(size: usize) -> (tempfile::TempDir, Jobs) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let jobs = Jobs::new(size);
        jobs.provide(&store).unwrap();
        (folder, jobs)
    }

    #[test]
    fn a_command_waits_until_another_has_put_its_job_back() {
        let (_folder, jobs) = jobs(1);
        let (first, second) = (jobs.share(), jobs.share());
        // A second call of a command needs no other.
        let (call, another) = (first.begin(&[]).unwrap(), first.begin(&[]).unwrap());
        let (never, _writer) = io::pipe().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| second.begin(&[&never]).is_some());
            drop(call);
            thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished());
            drop(another);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn a_wait_can_be_ended() {
        let (_folder, jobs) = jobs(1);
        let (first, second) = (jobs.share(), jobs.share());
        let call = first.begin(&[]).unwrap();
        let (over, writer) = io::pipe().unwrap();
        drop(writer);
        assert!(second.begin(&[&over]).is_none());
        drop(call);
        assert!(second.begin(&[]).is_some(), "what was given up waiting for is not counted");
    }

    #[test]
    fn jobs_that_were_lost_are_made_anew() {
        let (_folder, jobs) = jobs(2);
        let (share, other) = (jobs.share(), jobs.share());
        let call = share.begin(&[]).unwrap();
        let mut fifo = File::open(&jobs.pool.get().unwrap().path).unwrap();
        fifo.read_exact(&mut [0]).unwrap();
        drop(call);
        let both = (share.begin(&[]), other.begin(&[]));
        assert!(both.0.is_some() && both.1.is_some());
    }
}
