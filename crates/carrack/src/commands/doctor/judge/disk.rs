//! The state folder, room, and file systems that are slow or unsuitable.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use carrack_store::StoreError;

use crate::commands::doctor::facts::{Mount, Place, PlaceKind, StateFolder};
use crate::commands::doctor::finding::{Check, Finding, State};
use crate::progress::bytes;

/// A build of a middling workspace takes this much.
const LITTLE_ROOM: u64 = 5_000_000_000;
/// Nothing can be built with less.
const NO_ROOM: u64 = 200_000_000;
/// A toolchain's container layer alone has tens of thousands of files.
const FEW_INODES: u64 = 100_000;
const NO_INODES: u64 = 2_000;

/// File systems whose every access goes over a network or through another process.
const SLOW: [&str; 12] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "virtiofs", "ceph", "glusterfs", "afs", "vboxsf", "drvfs"];

pub(super) fn state_folder(state: &StateFolder) -> Finding {
    const ELSEWHERE: &str = "export CARRACK_HOME=/var/tmp/carrack    # or any folder of your own";
    let finding = |state, what: String| Finding::new(Check::StateFolder, state, what);
    match state {
        StateFolder::Open { path } => finding(State::Ok, format!("{} opens", path.display())),
        StateFolder::Absent { path, writable: true, .. } => {
            finding(State::Ok, format!("{} is made by the first build", path.display()))
        }
        StateFolder::Absent { path, above, writable: false } => {
            let what = format!("{} can't be made: {} is not writable", path.display(), above.display());
            finding(State::Broken, what).hint(ELSEWHERE)
        }
        StateFolder::Failed(error) => {
            let cause = std::error::Error::source(error).map(|source| format!(": {source}"));
            let finding = finding(State::Broken, format!("{error}{}", cause.unwrap_or_default()));
            match error {
                StoreError::DamagedFormat { path } | StoreError::DamagedIndex { path, .. } => {
                    let folder = path.parent().unwrap_or(path);
                    finding
                        .hint(format!("rm -rf {}    # everything in it can be made again", folder.display()))
                }
                StoreError::Io { source, .. } if source.kind() == ErrorKind::StorageFull => {
                    finding.hint("df -h")
                }
                StoreError::DiskFull { .. } => finding.hint("df -h"),
                _ => finding.hint(ELSEWHERE),
            }
        }
    }
}

pub(super) fn judge(places: &[Place]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut devices = BTreeSet::new();
    for place in places.iter().filter(|place| place.kind != PlaceKind::Workspace) {
        // Places on one disk share its room.
        if devices.insert(place.device) {
            findings.push(space(place));
            findings.extend(inodes(place));
        }
    }
    let mounts = places.iter().filter(|place| matches!(place.kind, PlaceKind::State | PlaceKind::Workspace));
    findings.extend(mounts.filter_map(|place| Some(file_system(place, place.mount.as_ref()?))));
    findings
}

fn name(kind: PlaceKind) -> &'static str {
    match kind {
        PlaceKind::State => "the state folder",
        PlaceKind::Workspace => "the workspace",
        PlaceKind::Target => "the workspace's target folder",
        PlaceKind::Docker => "Docker's data",
    }
}

/// What makes room.
fn make_room(kind: PlaceKind) -> &'static str {
    match kind {
        PlaceKind::State => "carrack images    # and `carrack rm` those that you do not need",
        PlaceKind::Workspace | PlaceKind::Target => "cargo clean",
        PlaceKind::Docker => "docker builder prune",
    }
}

/// Only Carrack's own folder stops its builds.
fn severe(kind: PlaceKind) -> State {
    if kind == PlaceKind::State { State::Broken } else { State::Warning }
}

fn space(place: &Place) -> Finding {
    let what = format!("{} free for {} ({})", bytes(place.free), name(place.kind), place.path.display());
    let state = match place.free {
        0..NO_ROOM => severe(place.kind),
        NO_ROOM..LITTLE_ROOM => State::Warning,
        _ => return Finding::new(Check::DiskSpace, State::Ok, what),
    };
    Finding::new(Check::DiskSpace, state, what).hint(make_room(place.kind))
}

/// Says something only where there are too few.
fn inodes(place: &Place) -> Option<Finding> {
    let inodes = place.inodes?;
    let state = match inodes {
        0..NO_INODES => severe(place.kind),
        NO_INODES..FEW_INODES => State::Warning,
        _ => return None,
    };
    let what = format!("{inodes} more files for {} ({})", name(place.kind), place.path.display());
    Some(Finding::new(Check::DiskInodes, state, what).hint(make_room(place.kind)))
}

fn file_system(place: &Place, mount: &Mount) -> Finding {
    let kind = mount.file_system.as_str();
    let is_state = place.kind == PlaceKind::State;
    let what = format!("{} lies on {kind}", name(place.kind));
    let finding = |state, more: &str| Finding::new(Check::FileSystem, state, format!("{what}{more}"));
    let local = "export CARRACK_HOME=/var/tmp/carrack    # a folder on a local disk";
    if is_state && mount.noexec {
        return finding(State::Broken, ", mounted noexec: build scripts can't run there").hint(local);
    }
    let remote = SLOW.contains(&kind) || kind.starts_with("fuse");
    match (remote, is_state) {
        (true, true) => {
            finding(State::Warning, ": builds are slow there, and its locks may not hold").hint(local)
        }
        (true, false) => finding(State::Warning, ": every build looks at every source, which is slow there")
            .hint("git clone . ~/work    # a copy on a local disk"),
        (false, true) if kind == "overlay" => finding(
            State::Warning,
            ", a container's own layer: overlays can't be stacked on it, and it ends with the container",
        )
        .hint("docker run -v carrack:/var/cache/carrack -e CARRACK_HOME=/var/cache/carrack …"),
        (false, true) if kind == "tmpfs" => {
            finding(State::Note, ": what is kept there takes memory and is gone with the next start")
                .hint(local)
        }
        (false, _) => finding(State::Ok, ""),
    }
}
