//! `--ssh ID=KEY`: agents for keys that are in files.
//!
//! OpenSSH's own agent is started for the keys, with a socket in a folder of this process's, and ends with it, however
//! that ends. Builds that name the same keys have one agent. A key with a passphrase is refused: nobody is there to be asked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use carrack_store::{Scratch, Store};

use crate::failure::Failure;

/// Runs the agent until standard input ends, which it does with this process.
const GUARD: &str = "\
    ssh-agent -D -a agent & agent=$!\n\
    exec >&-\n\
    while read -r line; do :; done\n\
    kill $agent";

/// Agents by the files of their keys.
#[derive(Default)]
pub(super) struct KeyAgents(RefCell<BTreeMap<Vec<PathBuf>, KeyAgent>>);

struct KeyAgent {
    guard: Child,
    scratch: Scratch,
}

impl KeyAgents {
    /// The socket of an agent that has exactly these keys.
    ///
    /// Errors: OpenSSH is not installed, or one of the files is no key that it takes.
    pub(super) fn socket(&self, keys: &[PathBuf], store: &Store) -> Result<PathBuf, Failure> {
        if let Some(agent) = self.0.borrow().get(keys) {
            return Ok(agent.socket());
        }
        let agent = KeyAgent::start(store)?;
        for key in keys {
            agent.add(key)?;
        }
        let socket = agent.socket();
        self.0.borrow_mut().insert(keys.to_vec(), agent);
        Ok(socket)
    }
}

impl KeyAgent {
    fn start(store: &Store) -> Result<Self, Failure> {
        let scratch = store.scratch()?;
        let mut guard = Command::new("sh");
        // In its folder: the name of a socket has to be short. Nobody's terminal ends it before this process.
        guard.args(["-c", GUARD]).current_dir(scratch.path()).process_group(0);
        guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut guard = guard.spawn().map_err(no_agent)?;
        let said = guard.stdout.take().map(BufReader::new);
        let agent = Self { guard, scratch };
        // It says a line once it listens.
        let mut line = String::new();
        said.map_or(Ok(0), |mut said| said.read_line(&mut line)).map_err(no_agent)?;
        match line.is_empty() {
            true => Err(no_agent(io::ErrorKind::NotFound.into())),
            false => Ok(agent),
        }
    }

    fn socket(&self) -> PathBuf {
        self.scratch.path().join("agent")
    }

    fn add(&self, key: &Path) -> Result<(), Failure> {
        let file = File::open(key).map_err(|source| Failure::Unreadable { path: key.to_owned(), source })?;
        let mut add = Command::new("ssh-add");
        // From standard input, whatever the permissions of the file are: it is lent, not kept.
        add.args(["-q", "-"]).current_dir(self.scratch.path()).env("SSH_AUTH_SOCK", "agent");
        add.env("SSH_ASKPASS_REQUIRE", "force").env("SSH_ASKPASS", "false").stdin(file);
        let output = add.output().map_err(no_agent)?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Failure::Key { path: key.to_owned(), said })
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn no_agent(source: io::Error) -> Failure {
    Failure::NoKeyAgent { source }
}
