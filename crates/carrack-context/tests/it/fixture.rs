use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use carrack_base::Cancel;
use carrack_context::{ContextError, EntryKind, StatCache, Tree, Walk};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use tempfile::TempDir;

/// A folder with a tree in `tree/` and room beside it.
pub(crate) struct Fixture {
    folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tree")).unwrap();
        Self { folder }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// A path inside the tree.
    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// A path outside of the tree.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: &str) -> PathBuf {
        write(&self.at(path), content)
    }

    pub(crate) fn write_beside(&self, path: &str, content: &str) -> PathBuf {
        write(&self.beside(path), content)
    }

    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    pub(crate) fn walk(&self) -> Walk {
        Walk::new(self.root())
    }

    /// The tree, without any memory.
    pub(crate) fn tree(&self) -> Tree {
        scan(&self.walk(), &mut StatCache::default())
    }

    /// The paths of the tree, one line each, with what they are.
    pub(crate) fn lines(&self, walk: &Walk) -> Vec<String> {
        lines(&scan(walk, &mut StatCache::default()))
    }
}

pub(crate) fn scan(walk: &Walk, cache: &mut StatCache) -> Tree {
    try_scan(walk, cache).unwrap()
}

pub(crate) fn try_scan(walk: &Walk, cache: &mut StatCache) -> Result<Tree, ContextError> {
    carrack_context::tree(walk, cache, &Cancel::default())
}

pub(crate) fn lines(tree: &Tree) -> Vec<String> {
    tree.iter()
        .map(|entry| {
            let path = String::from_utf8_lossy(entry.path);
            let content = if entry.digest.is_some() { "" } else { " (no content)" };
            match entry.kind {
                EntryKind::File { executable: false } => format!("{path}{content}"),
                EntryKind::File { executable: true } => format!("{path}*{content}"),
                EntryKind::Symlink { target, .. } => {
                    format!("{path} -> {}{content}", String::from_utf8_lossy(target))
                }
                EntryKind::Other => format!("{path}?"),
            }
        })
        .collect()
}

fn write(path: &Path, content: &str) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    path.to_owned()
}

/// Waits until what was written so far is old enough for a cache to trust it.
pub(crate) fn settle() {
    std::thread::sleep(Duration::from_millis(40));
}

/// Gives `path` the modification time `seconds` since the epoch.
pub(crate) fn set_modified(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
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
