//! Single files of units: what their paths mean, their times and modes, how they are copied; and work on several threads.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Read, Take, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use carrack_base::open_regular_itself;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};

use crate::StoreError;

/// More threads than this only wait for each other's changes of folders.
const MOST_THREADS: usize = 8;

/// Whether `path` is a build script's output, or the folder of it: a component `out` below `build/<dir>`.
pub(super) fn is_output(path: &str) -> bool {
    let mut parts = path.split('/').skip_while(|part| *part != "build");
    parts.next();
    parts.next();
    parts.any(|part| part == "out")
}

/// Whether cargo decides by this file that the unit is there.
pub(super) fn is_fingerprint(path: &str) -> bool {
    !is_output(path) && path.split('/').any(|part| matches!(part, ".fingerprint" | "fingerprint"))
}

/// Whether cargo and rustc replace this file by another one when they make it anew. All others they may write in place.
pub(super) fn is_replaced_whole(path: &str, executable: bool) -> bool {
    if is_output(path) {
        return false;
    }
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    let (folder, above) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match folder {
        "deps" => {
            matches!(extension, "rlib" | "rmeta" | "so") || executable && !matches!(extension, "d" | "a")
        }
        _ => {
            above == "build"
                && executable
                && extension.is_empty()
                && name.starts_with("build")
                && name.contains("script")
        }
    }
}

/// Sets the modification time of what is at `path`, itself and not what it links to. `seconds` since the epoch.
pub(super) fn set_time(path: &Path, seconds: i64) -> io::Result<()> {
    Ok(rustix::fs::utimensat(CWD, path, &times(seconds), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    }
}

pub(super) fn mode(executable: bool) -> u32 {
    if executable { 0o755 } else { 0o644 }
}

/// Copies files, and notices when the file system can't share their blocks.
#[derive(Default)]
pub(super) struct Copier {
    shares_no_blocks: AtomicBool,
}

impl Copier {
    /// Copies a regular file to a place where nothing is yet.
    pub(super) fn copy(&self, from: &Path, to: &Path, executable: bool, seconds: i64) -> io::Result<()> {
        let source = open_regular_itself(from)?;
        let length = source.metadata()?.len();
        let mut copy = File::options().write(true).create_new(true).open(to)?;
        let shared = !self.shares_no_blocks.load(Ordering::Relaxed)
            && match rustix::fs::ioctl_ficlone(&copy, &source) {
                Ok(()) => true,
                Err(_) => {
                    self.shares_no_blocks.store(true, Ordering::Relaxed);
                    false
                }
            };
        if !shared {
            copy_bytes(&mut source.take(length), &mut copy)?;
        }
        copy.set_permissions(Permissions::from_mode(mode(executable)))?;
        Ok(rustix::fs::futimens(&copy, &times(seconds))?)
    }

    /// Makes a hard link, or a copy where there can't be one: on another file system, one without links, or when the file
    /// has as many as it can have. Returns whether it is a link.
    pub(super) fn link(&self, from: &Path, to: &Path, executable: bool, seconds: i64) -> io::Result<bool> {
        match fs::hard_link(from, to) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
                Err(error)
            }
            Err(_) => self.copy(from, to, executable, seconds).map(|()| false),
        }
    }
}

/// Copies what is left of `source`. Most files are small: asking the kernel to copy those takes longer than reading them.
fn copy_bytes(source: &mut Take<File>, copy: &mut File) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let read = source.read(&mut buffer)?;
    copy.write_all(&buffer[..read])?;
    if read == buffer.len() {
        io::copy(source, copy)?;
    }
    Ok(())
}

/// Runs `work` for every item, on several threads. After a failure nothing more is begun; it is returned.
pub(super) fn on_threads<T: Sync>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), StoreError> + Sync,
) -> Result<(), StoreError> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                return;
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MOST_THREADS);
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_build_scripts_are_told_by_their_path() {
        for path in [
            "release/build/x-1/out",
            "release/build/x-1/out/a/b.rs",
            "release/build/x/1/run/out/gen.rs",
            "release/build/x/1/out/libx.rlib",
            "aarch64-unknown-linux-gnu/build/build/x-1/out/a",
        ] {
            assert!(is_output(path), "{path}");
        }
        for path in [
            "release/build/x-1/output",
            "release/out/x",
            "release/deps/out",
            "release/build/out/1/fingerprint/x",
            "release/build/x-1",
        ] {
            assert!(!is_output(path), "{path}");
        }
    }

    #[test]
    fn only_what_is_replaced_whole_may_be_linked() {
        for (path, executable) in [
            ("release/deps/libx-1.rlib", false),
            ("release/deps/libx-1.rmeta", false),
            ("release/deps/libx-1.so", true),
            ("release/deps/server-1", true),
            ("x86_64-unknown-linux-gnu/release/deps/libx-1.rlib", false),
            ("release/build/x-1/build-script-build", true),
            ("release/build/x-1/build_script_build-1", true),
        ] {
            assert!(is_replaced_whole(path, executable), "{path}");
        }
        for (path, executable) in [
            ("release/deps/x-1.d", false),
            ("release/deps/x-1.d", true),
            ("release/deps/libx-1.a", false),
            ("release/deps/server-1", false),
            ("release/.fingerprint/x-1/lib-x", false),
            ("release/build/x-1/build_script_build-1.d", true),
            ("release/build/x-1/output", false),
            ("release/build/x-1/stderr", false),
            ("release/build/x-1/out/deps/libx.rlib", false),
            ("release/server", true),
            ("libx.rlib", false),
        ] {
            assert!(!is_replaced_whole(path, executable), "{path}");
        }
    }
}
