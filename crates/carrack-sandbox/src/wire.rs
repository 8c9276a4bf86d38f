//! What the caller, the launcher and pid 1 tell each other. All three are the same executable, so nothing here has to
//! stay readable for another version.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::SandboxError;

/// Everything that the launcher needs to know. Its standard streams come beside it, as descriptors.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Empty: set up, report, and end.
    pub(crate) argv: Vec<Text>,
    /// `NAME=value`.
    pub(crate) env: Vec<Text>,
    /// Where a program without a slash is looked for.
    pub(crate) search: Vec<Text>,
    pub(crate) cwd: Text,
    pub(crate) limits: Vec<LimitPlan>,
    pub(crate) isolation: Option<Isolation>,
}

/// A resource by its number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LimitPlan {
    pub(crate) name: String,
    pub(crate) resource: u32,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Isolation {
    pub(crate) ids: IdPlan,
    pub(crate) root: Source,
    pub(crate) steps: Vec<Step>,
    pub(crate) hostname: String,
    pub(crate) user: Option<UserPlan>,
    /// Bits of the capabilities that uid 0 has.
    pub(crate) capabilities: u64,
    /// Whether a program may give more than its caller has (set-user-ID).
    pub(crate) new_privileges: bool,
    /// Whether system calls are refused that containers do not get.
    pub(crate) refuses_calls: bool,
    /// Whether it has a network of its own, which is a loopback.
    pub(crate) own_network: bool,
    /// An empty folder to mount on until the new root is in place.
    pub(crate) staging: Text,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UserPlan {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// `None` where they can't be set.
    pub(crate) groups: Option<Vec<u32>>,
}

/// How the launcher gives pid 1 its ids.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum IdPlan {
    /// Lines for `uid_map` and `gid_map`.
    Write { uid_map: String, gid_map: String, deny_setgroups: bool },
    /// Programs and their arguments after the process id.
    Help { newuidmap: Text, uids: Vec<String>, newgidmap: Text, gids: Vec<String> },
}

/// One change of the new root, in order. Targets are paths inside.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Step {
    Attach {
        source: Source,
        target: Text,
    },
    Mask {
        target: Text,
        empty_file: Text,
        empty_folder: Text,
    },
    Symlink {
        target: Text,
        points_to: Text,
    },
    /// Makes what is there read-only, with everything below; nothing if nothing is there.
    Protect {
        target: Text,
    },
    /// Makes a mount point read-only, without what is mounted below.
    Seal {
        target: Text,
    },
}

/// Something that can be mounted; made while the host's root is still visible.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Source {
    Bind {
        path: Text,
        read_only: bool,
        devices: bool,
        /// Skipped if it is not there.
        optional: bool,
    },
    Overlay {
        lower: Vec<Text>,
        upper: Text,
        work: Text,
        read_only: bool,
    },
    /// A file in a file system of its own.
    Content {
        bytes: Vec<u8>,
        mode: u32,
        owner: (u32, u32),
    },
    Tmpfs {
        mode: String,
        /// In bytes.
        size: Option<u64>,
    },
    Proc,
    /// Read-only; the host's if the kernel refuses a new one.
    Sys,
    /// Skipped if the kernel refuses it.
    DevPts,
}

/// What comes back. Everything but [`Report::Exited`] and [`Report::Signalled`] comes before the command runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    Started,
    Failed(Failure),
    Exited(i32),
    Signalled(i32),
}

/// A failure with the system's error number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) attempt: Attempt,
    pub(crate) errno: i32,
}

/// What failed; the variants are [`SandboxError`]'s.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Attempt {
    Namespaces,
    IdMap(String),
    Mount { call: String, path: Text },
    Isolate(String),
    User { uid: u32, gid: u32 },
    WorkingDirectory(Text),
    FindProgram(Text),
    Execute(Text),
}

impl Failure {
    pub(crate) fn new(attempt: Attempt, error: impl Into<io::Error>) -> Self {
        // Errors that std makes itself carry no number.
        Self { attempt, errno: error.into().raw_os_error().unwrap_or(libc::EIO) }
    }

    /// For `map_err`.
    pub(crate) fn mount<E: Into<io::Error>>(call: &str, path: &Path) -> impl FnOnce(E) -> Self {
        let attempt = Attempt::Mount { call: call.to_owned(), path: path.into() };
        move |error| Self::new(attempt, error)
    }

    /// For `map_err`.
    pub(crate) fn isolate<E: Into<io::Error>>(call: &str) -> impl FnOnce(E) -> Self {
        let attempt = Attempt::Isolate(call.to_owned());
        move |error| Self::new(attempt, error)
    }
}

impl From<Failure> for SandboxError {
    fn from(failure: Failure) -> Self {
        let source = io::Error::from_raw_os_error(failure.errno);
        match failure.attempt {
            Attempt::Namespaces => Self::Namespaces { source },
            Attempt::IdMap(attempt) => Self::IdMap { attempt, source },
            Attempt::Mount { call, path } => Self::Mount { call, path: path.into(), source },
            Attempt::Isolate(call) => Self::Isolate { call, source },
            Attempt::User { uid, gid } => Self::User { uid, gid, source },
            Attempt::WorkingDirectory(path) => Self::WorkingDirectory { path: path.into(), source },
            Attempt::FindProgram(program) => Self::ProgramNotFound { program: program.into() },
            Attempt::Execute(program) => Self::Execute { program: program.into(), source },
        }
    }
}

/// Bytes of a path, argument or variable, none of them NUL. A JSON string where they are UTF-8, else a list of numbers.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// Errors: [`SandboxError::Unrepresentable`] if there is a NUL byte in `text`.
    pub(crate) fn new(text: impl Into<OsString>) -> Result<Self, SandboxError> {
        let text = text.into();
        if text.as_bytes().contains(&0) {
            return Err(SandboxError::Unrepresentable { text: text.to_string_lossy().into_owned() });
        }
        Ok(Self(text.into_vec()))
    }

    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn to_c_string(&self) -> CString {
        CString::new(self.0.clone()).expect("texts hold no NUL byte")
    }
}

impl From<&Path> for Text {
    /// For paths that the system gave or took, which can't hold a NUL byte.
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<Text> for PathBuf {
    fn from(text: Text) -> Self {
        OsString::from_vec(text.0).into()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_path().fmt(formatter)
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_seq(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> de::Visitor<'de> for TextVisitor {
            type Value = Text;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or a list of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.as_bytes().to_vec()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut bytes: A) -> Result<Text, A::Error> {
                let mut text = Vec::new();
                while let Some(byte) = bytes.next_element()? {
                    text.push(byte);
                }
                Ok(Text(text))
            }
        }
        deserializer.deserialize_any(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_bytes_round_trip() {
        for bytes in [&b""[..], b"plain", "gr\u{fc}n \"\u{1}\n".as_bytes(), b"\xff\xfe=\x80"] {
            let text = Text::new(OsString::from_vec(bytes.to_vec())).unwrap();
            let json = serde_json::to_vec(&text).unwrap();
            assert_eq!(serde_json::from_slice::<Text>(&json).unwrap(), text);
        }
        assert!(matches!(Text::new("a\0b"), Err(SandboxError::Unrepresentable { .. })));
    }
}
