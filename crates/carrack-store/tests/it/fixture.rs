use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use carrack_base::{Cancel, Digest};
use carrack_store::{Bucket, Store};
use tempfile::TempDir;

/// A folder with room for a store.
pub(crate) struct Fixture {
    folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn open(&self) -> Store {
        Store::open(&self.root()).unwrap()
    }

    /// Every file below the store's blobs.
    pub(crate) fn blob_files(&self) -> Vec<PathBuf> {
        files_below(&self.at("blobs"))
    }
}

pub(crate) fn blob_place(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex())
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Another process, doing one of the jobs below until it is told to stop or killed.
pub(crate) struct Helper {
    child: Child,
    stdin: Option<ChildStdin>,
}

const JOB: &str = "CARRACK_STORE_TEST_JOB";
const ROOT: &str = "CARRACK_STORE_TEST_ROOT";
const READY: &str = "helper is ready";

impl Helper {
    /// Starts `job` and waits until it has begun.
    pub(crate) fn start(job: &str, root: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fixture::helper_process", "--nocapture", "--test-threads=1"])
            .env(JOB, job)
            .env(ROOT, root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        assert!(lines.any(|line| line.unwrap().contains(READY)), "{job} ended before it was ready");
        // Its further lines would be written to a pipe that nobody reads.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, stdin }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end in good order.
    pub(crate) fn finish(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// What a [`Helper`] runs; as a test of its own it does nothing.
#[test]
fn helper_process() {
    let (Ok(job), Some(root)) = (std::env::var(JOB), std::env::var_os(ROOT)) else { return };
    let store = Store::open(Path::new(&root)).unwrap();
    let cancel = Cancel::default();
    let ready = || {
        println!("{READY}");
        std::io::stdout().flush().unwrap();
    };
    let wait = || {
        ready();
        std::io::stdin().lines().for_each(drop);
    };
    match job.as_str() {
        "open" => {
            store.put(Bucket::Step, &std::process::id().to_le_bytes(), "here").unwrap();
            wait();
        }
        "hold lease" => {
            let _lease = store.lease(&cancel).unwrap();
            wait();
        }
        "hold target" => {
            let _target = store.target("workspace", &cancel, |_| ()).unwrap();
            wait();
        }
        "hold scratch" => {
            let scratch = store.scratch().unwrap();
            fs::write(scratch.path().join("file"), "x").unwrap();
            wait();
        }
        "write" => {
            let _lease = store.lease(&cancel).unwrap();
            for round in 0_u64.. {
                let mut writer = store.blob_writer().unwrap();
                for part in 0..64_u64 {
                    writer
                        .write_all(&[round.to_le_bytes(), part.to_le_bytes()].concat().repeat(500))
                        .unwrap();
                }
                let (digest, size) = writer.commit().unwrap();
                let mut batch = carrack_store::Batch::default();
                batch.put(Bucket::Step, &round.to_le_bytes(), digest.to_string());
                batch.put(Bucket::Record, &round.to_le_bytes(), size.to_string());
                store.commit(batch).unwrap();
                if round == 3 {
                    ready();
                }
            }
        }
        "keep units" => {
            crate::units::keep_some(&store, crate::units::ROUNDS, |_| ());
            wait();
        }
        "keep units for ever" => crate::units::keep_some(&store, usize::MAX, |round| {
            if round == 3 {
                ready();
            }
        }),
        other => panic!("no such job: {other}"),
    }
}

/// Runs `body` as a user who owns nothing, where this process may become one; says so if it may not.
pub(crate) fn unprivileged(test: &str, body: impl FnOnce() + Send + 'static) {
    let outcome = std::thread::spawn(move || {
        // The kernel keeps users per thread: the others stay who they are.
        let nobody = rustix::process::Uid::from_raw(65534);
        let is_root = rustix::process::geteuid().is_root();
        if is_root && rustix::thread::set_thread_res_uid(nobody, nobody, nobody).is_err() {
            return false;
        }
        body();
        true
    });
    match outcome.join() {
        Ok(true) => {}
        Ok(false) => skip(test, "this process can't become an unprivileged user"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Says that a test could not be made here. Not by `println!`, which the test harness swallows.
pub(crate) fn skip(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}
