//! Tries the sandbox where Carrack would use it, and looks at what decides about it. The state folder is opened if it is
//! there and never made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use carrack_sandbox::{Launcher, Support, subordinate_ids};
use carrack_store::Store;
use rustix::fs::Access;

use super::places::existing;
use crate::caller::Caller;
use crate::commands::doctor::facts::{SandboxFacts, StateFolder};

pub(super) fn gather(caller: &Caller, state: &Path) -> (SandboxFacts, StateFolder) {
    let (support, state) = state_folder(caller, state);
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
    let facts = SandboxFacts {
        support,
        userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
        max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
        apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        in_container: ["/.dockerenv", "/run/.containerenv"].iter().any(|path| Path::new(path).exists()),
        subordinate_ids: subordinate_ids().is_some(),
        newuidmap: caller.program("newuidmap").is_some(),
    };
    (facts, state)
}

fn state_folder(caller: &Caller, state: &Path) -> (Option<Support>, StateFolder) {
    let path = state.to_owned();
    let temporary = caller.variable("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    // The file is written last: without it there is no store yet, and opening would make one.
    if !state.join("format").exists() {
        let above = existing(state).unwrap_or_else(|| PathBuf::from("/"));
        let writable = may_write(&above);
        // An overlay depends on the file system below it, so the best place to try is where the state would be.
        let support = try_in(if writable { &above } else { &temporary });
        return (support, StateFolder::Absent { path, above, writable });
    }
    let opened = Store::open(state).and_then(|store| {
        let scratch = store.scratch()?;
        Ok(Launcher::this_program().support(scratch.path()))
    });
    match opened {
        Ok(support) => (Some(support), StateFolder::Open { path }),
        Err(error) => (try_in(&temporary), StateFolder::Failed(error)),
    }
}

fn may_write(folder: &Path) -> bool {
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

fn try_in(folder: &Path) -> Option<Support> {
    let scratch = folder.join(format!(".carrack-doctor-{}", std::process::id()));
    fs::create_dir(&scratch).ok()?;
    let support = Launcher::this_program().support(&scratch);
    remove(&scratch);
    Some(support)
}

/// Removes the folder; an overlay leaves one in it that not even its owner may list.
fn remove(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => remove(&entry.path()),
            _ => {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    let _ = fs::remove_dir(folder);
}
