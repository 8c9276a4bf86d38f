//! An ordinary user on this machine, for tests of what carrack does without root.
//!
//! Root becomes another user for it: a number that nobody has, with a name and subordinate ids that only its own commands
//! see. Whoever runs the tests without being root is an ordinary user already, with the ids that the machine gave them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::is_root;

/// A number that nobody has.
pub(crate) const USER: u32 = 12345;
/// A name and further numbers for the user, in place of what the machine has in these files.
const ACCOUNT: [(&str, &str); 3] = [
    ("passwd", "ordinary:x:12345:12345::/:/bin/sh\n"),
    ("subuid", "ordinary:1000000:65536\n"),
    ("subgid", "ordinary:1000000:65536\n"),
];

/// Somebody who is nobody's root.
pub(crate) struct OrdinaryUser {
    /// With the files of [`ACCOUNT`].
    account: PathBuf,
}

impl OrdinaryUser {
    /// A user whose account is kept in `folder`, or why this machine can't have one.
    pub(crate) fn new(folder: &Path) -> Result<Self, &'static str> {
        for (name, text) in ACCOUNT {
            fs::write(folder.join(name), text).unwrap();
        }
        let user = Self { account: folder.to_owned() };
        let mut probe = user.command("unshare", &[]);
        let probe = probe.args(["--user", "--map-root-user", "true"]).output();
        if probe.is_ok_and(|probe| probe.status.success()) { Ok(user) } else { Err("no user namespaces") }
    }

    /// A command of this user's, who sees each first path of `mounts` at the second one. For whoever is no root there is nothing
    /// to mount.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, mounts: &[(&Path, &Path)]) -> Command {
        if !is_root() {
            return Command::new(program);
        }
        let account = ACCOUNT.map(|(name, _)| (self.account.join(name), Path::new("/etc").join(name)));
        let account = account.iter().map(|(from, to)| (from.as_path(), to.as_path()));
        let mut script = String::new();
        let mut command = Command::new("unshare");
        let mut paths: Vec<&OsStr> = Vec::new();
        for (from, to) in account.chain(mounts.iter().copied()) {
            script.push_str("mount --bind \"$1\" \"$2\" && shift 2 && ");
            paths.extend([from.as_os_str(), to.as_os_str()]);
        }
        script.push_str(&format!("exec setpriv --reuid {USER} --regid {USER} --clear-groups -- \"$@\""));
        command.args(["-m", "--propagation", "private", "sh", "-c", &script, "sh"]).args(paths).arg(program);
        command
    }
}

/// Makes everything at and below `path` the user's own.
pub(crate) fn give_away(path: &Path) {
    if !is_root() {
        return;
    }
    lchown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}
