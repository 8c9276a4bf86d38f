//! An SSH agent that is lent to one command.
//!
//! The command finds a socket of its own, with the owner and the permissions that its Dockerfile says: an agent talks to
//! nobody but the user that it runs as. Requests are read on the way. The agent gets those for the list of its keys and for
//! signatures; all others are answered with a failure, so no command takes keys out of the caller's agent, puts its own
//! there, or locks it.
//!
//! Ends with the command. A client that the agent does not answer is hung up on.
//!
//! Source: draft-ietf-sshm-ssh-agent, "Protocol Messages".

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use carrack_graph::AgentMount;
use rustix::net::Shutdown;

use crate::error::{At, EngineError, give};

/// Asks for the public keys.
const REQUEST_IDENTITIES: u8 = 11;
/// Asks for a signature.
const SIGN_REQUEST: u8 = 13;
/// What an agent answers to what it does not do.
const FAILURE: u8 = 5;

/// As long as OpenSSH's agent lets a message be.
const LONGEST_MESSAGE: usize = 256 * 1024;

/// A socket behind which an agent answers.
pub(super) struct LentAgent {
    path: PathBuf,
    listener: Arc<UnixListener>,
    answering: Option<JoinHandle<()>>,
}

impl LentAgent {
    /// Makes a socket in `folder`, which has none of this name yet.
    ///
    /// Errors: the agent does not answer; the socket can't be made, or not be given to that owner.
    pub(super) fn lend(agent: &Path, mount: &AgentMount, folder: &Path) -> Result<Self, EngineError> {
        connect(agent).map_err(|source| EngineError::DeadAgent {
            id: mount.id.clone(),
            path: agent.to_owned(),
            source,
        })?;
        let path = folder.join("agent");
        fs::create_dir(folder).at("create", folder)?;
        let listener = through_folder(&path, |path| UnixListener::bind(path)).at("create", &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mount.mode)).at("set the mode of", &path)?;
        if (mount.uid, mount.gid) != (0, 0) {
            give(&path, (mount.uid, mount.gid))?;
        }
        let listener = Arc::new(listener);
        let answering = thread::spawn({
            let (listener, agent) = (Arc::clone(&listener), agent.to_owned());
            move || answer_all(&listener, &agent)
        });
        Ok(Self { path, listener, answering: Some(answering) })
    }

    /// Where the socket is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LentAgent {
    fn drop(&mut self) {
        // Wakes the thread that waits for clients. Those that are there end with the command.
        let _ = rustix::net::shutdown(&*self.listener, Shutdown::Both);
        let _ = self.answering.take().map(JoinHandle::join);
    }
}

fn answer_all(listener: &UnixListener, agent: &Path) {
    for client in listener.incoming() {
        let Ok(client) = client else { return };
        let agent = agent.to_owned();
        // Who is hung up on knows more than anybody could be told here.
        thread::spawn(move || answer(&client, &agent).unwrap_or_default());
    }
}

fn answer(client: &UnixStream, agent: &Path) -> io::Result<()> {
    let agent = connect(agent)?;
    while let Some(request) = read_message(client)? {
        let answer = match request.first() {
            Some(&(REQUEST_IDENTITIES | SIGN_REQUEST)) => {
                write_message(&agent, &request)?;
                read_message(&agent)?.ok_or(ErrorKind::UnexpectedEof)?
            }
            _ => vec![FAILURE],
        };
        write_message(client, &answer)?;
    }
    Ok(())
}

/// The next message without its length; `None` at the end of the stream.
fn read_message(mut stream: &UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST_MESSAGE {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

fn write_message(mut stream: &UnixStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(|_| ErrorKind::InvalidData)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}

fn connect(agent: &Path) -> io::Result<UnixStream> {
    through_folder(agent, |path| UnixStream::connect(path))
}

/// Does something with a socket by a path that is short enough for one.
fn through_folder<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let folder = File::open(folder)?;
    act(&Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use carrack_base::ImagePath;

    use super::*;

    /// An agent in `folder` that answers each request with the request's own bytes.
    fn echo(folder: &Path) -> PathBuf {
        let path = folder.join("real");
        let listener = through_folder(&path, |path| UnixListener::bind(path)).unwrap();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                while let Ok(Some(message)) = read_message(&client) {
                    write_message(&client, &message).unwrap();
                }
            }
        });
        path
    }

    fn mount() -> AgentMount {
        AgentMount {
            id: "default".to_owned(),
            target: ImagePath::new("/agent").unwrap(),
            required: true,
            mode: 0o640,
            uid: 0,
            gid: 0,
        }
    }

    #[test]
    fn only_lists_and_signatures_reach_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        // Longer than the name of a socket may be.
        let deep = folder.path().join("a".repeat(120));
        fs::create_dir(&deep).unwrap();
        let lent = LentAgent::lend(&echo(&deep), &mount(), &deep.join("lent")).unwrap();
        let mode = fs::metadata(lent.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640);
        let client = connect(lent.path()).unwrap();
        let ask = |message: &[u8]| {
            write_message(&client, message).unwrap();
            read_message(&client).unwrap().unwrap()
        };
        assert_eq!(ask(&[REQUEST_IDENTITIES]), [REQUEST_IDENTITIES]);
        assert_eq!(ask(&[SIGN_REQUEST, 1, 2]), [SIGN_REQUEST, 1, 2]);
        // Adding, removing one or all, locking, unlocking, extensions, nothing.
        for refused in [17, 18, 19, 22, 23, 25, 27] {
            assert_eq!(ask(&[refused, 1, 2]), [FAILURE]);
        }
        assert_eq!(ask(&[]), [FAILURE]);
        let path = lent.path().to_owned();
        drop(lent);
        assert_eq!(connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_agent_that_is_gone_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = LentAgent::lend(&folder.path().join("gone"), &mount(), &folder.path().join("lent"));
        assert!(matches!(error.map(drop), Err(EngineError::DeadAgent { .. })));
    }
}
