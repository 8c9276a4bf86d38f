//! Which ids the caller may use, and how they are mapped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{getegid, geteuid};
use rustix::thread::CapabilitySet;

use crate::SandboxError;
use crate::command::IdMap;
use crate::wire::{IdPlan, Text};

/// Ids that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The lowest one, on the host.
    pub start: u32,
    /// How many there are.
    pub count: u32,
}

/// The ids that `/etc/subuid` and `/etc/subgid` grant a user, with the programs that map them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubordinateIds {
    /// Users.
    pub uids: IdRange,
    /// Groups.
    pub gids: IdRange,
    /// Absolute path of `newuidmap`.
    pub newuidmap: PathBuf,
    /// Absolute path of `newgidmap`.
    pub newgidmap: PathBuf,
}

/// Where distributions install `newuidmap`; as a set-user-ID program it is not looked for in `PATH`.
const HELPER_FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// The first range of subordinate ids of the calling process's user, if it has both and the programs are installed.
///
/// Errors: none; files that are missing or can't be read grant nothing. Users that are not in `/etc/passwd` are found
/// by their number only.
pub fn subordinate_ids() -> Option<SubordinateIds> {
    let uid = geteuid().as_raw().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(name)
    });
    let range = |file: &str| first_range(&fs::read_to_string(file).ok()?, name, &uid);
    let helper = |name: &str| {
        HELPER_FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
    };
    Some(SubordinateIds {
        uids: range("/etc/subuid")?,
        gids: range("/etc/subgid")?,
        newuidmap: helper("newuidmap")?,
        newgidmap: helper("newgidmap")?,
    })
}

/// Lowers `map` for the calling process.
///
/// Errors: [`SandboxError::Prepare`] if the caller's own map can't be read.
pub(crate) fn plan(map: &IdMap) -> Result<IdPlan, SandboxError> {
    let (euid, egid) = (geteuid().as_raw(), getegid().as_raw());
    let mappers = CapabilitySet::SETUID | CapabilitySet::SETGID;
    let all_ids = rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(mappers));
    Ok(match map {
        IdMap::Caller | IdMap::Subordinate(_) if all_ids => IdPlan::Write {
            uid_map: identity("/proc/self/uid_map")?,
            gid_map: identity("/proc/self/gid_map")?,
            // What was denied to us stays denied.
            deny_setgroups: fs::read_to_string("/proc/self/setgroups")
                .is_ok_and(|said| said.trim() == "deny"),
        },
        IdMap::Caller => single((euid, euid), (egid, egid), true),
        IdMap::Single { uid, gid } => single((*uid, euid), (*gid, egid), !all_ids),
        IdMap::Subordinate(ids) => IdPlan::Help {
            newuidmap: Text::new(&ids.newuidmap)?,
            uids: helper_arguments(euid, ids.uids),
            newgidmap: Text::new(&ids.newgidmap)?,
            gids: helper_arguments(egid, ids.gids),
        },
    })
}

fn single((uid, euid): (u32, u32), (gid, egid): (u32, u32), deny_setgroups: bool) -> IdPlan {
    IdPlan::Write {
        uid_map: format!("{uid} {euid} 1\n"),
        gid_map: format!("{gid} {egid} 1\n"),
        deny_setgroups,
    }
}

/// Every id that the caller has, onto itself. Inside a container those are not all that there are.
fn identity(own_map: &str) -> Result<String, SandboxError> {
    let prepare = |source| SandboxError::Prepare { path: own_map.into(), source };
    fs::read_to_string(own_map)
        .map_err(prepare)?
        .lines()
        .map(|line| {
            let mut fields = line.split_whitespace();
            let (first, count) = (fields.next(), fields.nth(1));
            let invalid = || prepare(io::ErrorKind::InvalidData.into());
            let (first, count) = first.zip(count).ok_or_else(invalid)?;
            Ok(format!("{first} {first} {count}\n"))
        })
        .collect()
}

fn helper_arguments(own: u32, range: IdRange) -> Vec<String> {
    let numbers = [0, own, 1, 1, range.start, range.count];
    numbers.iter().map(u32::to_string).collect()
}

fn first_range(file: &str, name: Option<&str>, uid: &str) -> Option<IdRange> {
    file.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if Some(owner) != name && owner != uid {
            return None;
        }
        let start = fields.next()?.parse().ok()?;
        let count = fields.next()?.parse().ok().filter(|&count| count > 0)?;
        Some(IdRange { start, count })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_by_name_or_number() {
        let file = "# comment\nada:100000:65536\n1001:200000:10\nbad:x:1\nempty:1:0\n";
        let range = |start, count| Some(IdRange { start, count });
        assert_eq!(first_range(file, Some("ada"), "1000"), range(100_000, 65_536));
        assert_eq!(first_range(file, None, "1001"), range(200_000, 10));
        assert_eq!(first_range(file, Some("bob"), "1002"), None);
        assert_eq!(first_range(file, Some("bad"), "1"), None);
        assert_eq!(first_range(file, Some("empty"), "1"), None);
    }
}
