//! Starts the calling program again as root of a user namespace: with all its subordinate ids, it may give files away,
//! and nothing of it shows on the host but files of those ids.
//!
//! ```text
//! program ─ exec ─► the same, one thread ─ fork ─► maps the ids of its parent, ends
//!                    └ new user namespace, waits, exec ─► the program, from its beginning
//! ```
//!
//! The process stays the same one throughout, so signals and whoever waits for it notice nothing.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;

use rustix::process::{WaitOptions, getppid};

use crate::command::IdMap;
use crate::init::{map_ids, sys};
use crate::wire::{Attempt, Failure};
use crate::{SandboxError, ids, subordinate_ids};

/// The names that the program is started under on its way.
const ENTERING: &str = "carrack-entering";
const ROOT_OF_MANY: &str = "carrack-root-of-many";
const ROOT_OF_ONE: &str = "carrack-root-of-one";

/// What a process may do with the owners of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is as it was started.
    Plain,
    /// It is root of a user namespace with many ids.
    RootOfMany,
    /// It is root of a user namespace in which there is no other id.
    RootOfOne,
}

/// Starts the calling program again, with the same arguments, as root of a user namespace. Returns on failure only.
///
/// Buffered output has to be written before; other threads end.
pub fn become_root() -> SandboxError {
    let program = "/proc/self/exe";
    let source = std::process::Command::new(program).arg0(ENTERING).args(std::env::args_os().skip(1)).exec();
    SandboxError::Launch { program: program.into(), source }
}

/// What this process is, by the name that it was started under. A process on its way there does not return.
///
/// Called at the beginning of `main`: before threads are started.
///
/// Errors: the way was barred; what was attempted, and why not.
pub fn standing() -> Result<Standing, SandboxError> {
    let name = std::env::args_os().next().unwrap_or_default();
    if name == ENTERING {
        return Err(enter().map_or_else(SandboxError::from, |never| match never {}));
    }
    Ok(match () {
        () if name == ROOT_OF_MANY => Standing::RootOfMany,
        () if name == ROOT_OF_ONE => Standing::RootOfOne,
        () => Standing::Plain,
    })
}

enum Never {}

fn enter() -> Result<Never, Failure> {
    sys::reset_signals();
    let subordinate = subordinate_ids();
    let name = if subordinate.is_some() { ROOT_OF_MANY } else { ROOT_OF_ONE };
    let map = subordinate.map_or(IdMap::Single { uid: 0, gid: 0 }, IdMap::Subordinate);
    let plan = ids::plan(&map)
        .map_err(|_| Failure::isolate("read the ids of")(io::Error::from_raw_os_error(libc::EIO)))?;
    let (mut go, mut entered) = io::pipe().map_err(Failure::isolate("make a pipe"))?;
    let (mut answer, mut answered) = io::pipe().map_err(Failure::isolate("make a pipe"))?;
    match sys::fork().map_err(Failure::isolate("fork"))? {
        None => {
            drop((entered, answer));
            // The parent, if it is still there, is in its namespace once it has said so.
            let parent = getppid();
            let said = go.read(&mut [0]).is_ok_and(|length| length == 1);
            if let Some(parent) = parent.filter(|_| said)
                && let Err(failure) = map_ids(&plan, parent)
            {
                let document = serde_json::to_vec(&failure).expect("a failure is plain data");
                let _ = answered.write_all(&document);
            }
            std::process::exit(0);
        }
        Some(helper) => {
            drop((go, answered));
            sys::unshare_user().map_err(|error| Failure::new(Attempt::Namespaces, error))?;
            // A helper that is gone has not mapped anything, which the execution's end shows.
            let _ = entered.write_all(b"1");
            drop(entered);
            let mut document = Vec::new();
            let _ = answer.read_to_end(&mut document);
            let _ = rustix::process::waitpid(Some(helper), WaitOptions::empty());
            if !document.is_empty() {
                let failure = serde_json::from_slice(&document).map_err(io::Error::from);
                return Err(failure.map_err(Failure::isolate("hear"))?);
            }
        }
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let error = std::process::Command::new("/proc/self/exe").arg0(name).args(arguments).exec();
    Err(Failure::isolate("start again")(error))
}
