//! What builds lend over SSH: an agent of the ordinary user's with one key, and keys in files.
//!
//! ```text
//! key  key.pub    a pair; the agent has it
//! locked          a private key with a passphrase
//! agent           the agent's socket
//! ```

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use carrack_testkit::{Guarded, find_program};

use crate::ordinary::{USER, give_away};
use crate::stage::finish;

/// An agent listens at once, or never.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Ssh {
    folder: PathBuf,
    /// Ends with the process.
    #[expect(dead_code, reason = "it is held for as long as the agent has to answer")]
    agent: Guarded,
}

impl Ssh {
    /// Starts the agent; `None` where OpenSSH is not installed.
    pub(crate) fn start() -> Option<Self> {
        let program = find_program("ssh-agent")?;
        let guarded = Guarded::new_folder();
        fs::set_permissions(&guarded, Permissions::from_mode(0o755)).unwrap();
        let folder = guarded.join("ssh");
        fs::create_dir(&folder).unwrap();
        for (name, passphrase) in [("key", ""), ("locked", "sesame")] {
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-t", "ed25519", "-C", "clinic", "-N", passphrase, "-f"]).arg(folder.join(name));
            finish(&mut make).expect_code(0);
        }
        give_away(&folder);
        let id = USER.to_string();
        let socket = folder.join("agent");
        let own = ["--reuid", &id, "--regid", &id, "--clear-groups", "--"].map(OsStr::new);
        let line = [program.as_os_str(), OsStr::new("-D"), OsStr::new("-a"), socket.as_os_str()];
        let agent = Guarded::start(Path::new("/usr/bin/setpriv"), &[&own[..], &line].concat(), guarded);
        let start = Instant::now();
        while !socket.exists() {
            assert!(start.elapsed() < PATIENCE, "{} listens", socket.display());
            thread::sleep(Duration::from_millis(10));
        }
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(folder.join("key")).env("SSH_AUTH_SOCK", &socket);
        // It minds who else may read a key of its own user's, and root reads this one of another user's.
        finish(&mut add).expect_code(0);
        Some(Self { folder, agent })
    }

    /// `text` with what `@agent`, `@key`, `@locked` and `@public` stand for.
    pub(crate) fn said(&self, text: &str) -> String {
        let path = |name: &str| self.folder.join(name).display().to_string();
        let mut text = text.to_owned();
        for name in ["agent", "key", "locked"] {
            text = text.replace(&format!("@{name}"), &path(name));
        }
        if text.contains("@public") {
            text = text.replace("@public", &fs::read_to_string(self.folder.join("key.pub")).unwrap());
        }
        text
    }
}

/// Puts OpenSSH's client for agents below `root`, with the libraries that it needs.
pub(crate) fn provide_client(root: &Path) {
    let program = find_program("ssh-add").unwrap();
    let listed = finish(Command::new("ldd").arg(&program)).expect_code(0).stdout;
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    for path in libraries.chain([program]) {
        let to = root.join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&path, to).unwrap();
    }
}
