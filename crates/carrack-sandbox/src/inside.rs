//! Looks into a running sandbox from outside: its processes, and its files as they see them.
//!
//! Nothing that a process of the sandbox says is believed but the number that it gives itself; all else is the kernel's
//! word. [`Process::visit`] gives one thread of the caller the process's root for its own. A link of the sandbox can't
//! lead out of it then: there is no name for anything outside.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};

use crate::init::sys;

/// A running sandbox, as seen from outside. Outliving it is harmless: nothing is found any more.
#[derive(Debug, Clone, Copy)]
pub struct Inside {
    launcher: u32,
}

/// A process of a sandbox.
#[derive(Debug)]
pub struct Process {
    /// The process, whatever its number is given to later.
    handle: OwnedFd,
    root: OwnedFd,
    /// What it was started with, the program first.
    pub arguments: Vec<OsString>,
    /// Its environment when it was started.
    pub variables: Vec<(OsString, OsString)>,
    /// Its working folder, as it sees it.
    pub folder: PathBuf,
    /// Its user, in the caller's ids.
    pub uid: u32,
    /// Its group, in the caller's ids.
    pub gid: u32,
}

impl Inside {
    pub(crate) fn of(launcher: u32) -> Self {
        Self { launcher }
    }

    /// The process that is called `number` inside.
    ///
    /// Errors: there is none, or it ended meanwhile.
    pub fn process(&self, number: u32) -> io::Result<Process> {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let pid = self.find(number).ok_or_else(absent)?;
        let handle = Pid::from_raw(pid.cast_signed()).ok_or_else(absent)?;
        let handle = rustix::process::pidfd_open(handle, PidfdFlags::empty())?;
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let status = Status::read(pid).ok_or_else(absent)?;
        if status.number_inside() != Some(number) {
            return Err(absent());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = Process {
            handle,
            root: rustix::fs::open(folder.join("root"), flags, Mode::empty())?,
            arguments: texts(&fs::read(folder.join("cmdline"))?),
            variables: texts(&fs::read(folder.join("environ"))?).into_iter().filter_map(variable).collect(),
            folder: fs::read_link(folder.join("cwd"))?,
            uid: status.uid,
            gid: status.gid,
        };
        // What was read is its own only if its number was still its own.
        if process.has_ended() { Err(absent()) } else { Ok(process) }
    }

    /// The number outside of the process that is called `number` inside.
    fn find(&self, number: u32) -> Option<u32> {
        let mut open = children(self.launcher);
        while let Some(pid) = open.pop() {
            if Status::read(pid).and_then(|status| status.number_inside()) == Some(number) {
                return Some(pid);
            }
            open.extend(children(pid));
        }
        None
    }
}

impl Process {
    /// Becomes readable when the process ends.
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// Whether the process has ended.
    pub fn has_ended(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.handle, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// Runs `work` on a thread of its own, and on those that it starts, where `/` is the process's root. Rights are the
    /// caller's.
    ///
    /// `work` must not use a path of the outside. Errors: the thread can't go there; or the sandbox shows the host's
    /// processes, through which a link could lead out.
    pub fn visit<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let visit = || {
            sys::unshare_root()?;
            rustix::process::fchdir(&self.root)?;
            rustix::process::chroot(".")?;
            rustix::process::umask(Mode::from_raw_mode(0o022));
            // Who is not in this procfs has no link in it.
            if fs::symlink_metadata("/proc/self/root").is_ok() {
                return Err(io::Error::from(io::ErrorKind::Unsupported));
            }
            Ok(work())
        };
        std::thread::scope(|scope| scope.spawn(visit).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// What `/proc/<pid>/status` says.
struct Status {
    /// Its numbers, from the outermost namespace that is visible to its own.
    numbers: Vec<u32>,
    uid: u32,
    gid: u32,
}

impl Status {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| -> Vec<u32> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.into_iter().flat_map(str::split_whitespace).filter_map(|word| word.parse().ok()).collect()
        };
        // Effective ones are second.
        Some(Self { numbers: field("NSpid:"), uid: *field("Uid:").get(1)?, gid: *field("Gid:").get(1)? })
    }

    /// Its number in the sandbox, which is one namespace below the caller's.
    fn number_inside(&self) -> Option<u32> {
        self.numbers.get(1).copied()
    }
}

fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

fn texts(bytes: &[u8]) -> Vec<OsString> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(|text| OsString::from_vec(text.to_vec())).collect()
}

fn variable(text: OsString) -> Option<(OsString, OsString)> {
    let bytes = text.into_vec();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    Some((OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
}
