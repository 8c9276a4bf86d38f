use std::ffi::OsString;
use std::path::PathBuf;

use crate::SubordinateIds;

/// One process: what runs. Where it runs is the [`Sandbox`], or the plain host.
#[derive(Debug, Clone)]
pub struct Command {
    /// Program and arguments. A program without a slash is looked for in the `PATH` of `env`, inside the root.
    pub argv: Vec<OsString>,
    /// The whole environment, in this order; nothing is added or inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Absolute path inside the root.
    pub cwd: PathBuf,
    /// Standard input.
    pub stdin: Stdio,
    /// Standard output.
    pub stdout: Stdio,
    /// Standard error.
    pub stderr: Stdio,
    /// What it may use at most; everything else as the caller has it.
    pub limits: Vec<Limit>,
}

/// How much of something a [`Command`] may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its name, as in `nofile` or `memlock`; those that Linux does not have fail when the command is started.
    pub name: String,
    /// What it may use.
    pub soft: u64,
    /// To what it may raise that.
    pub hard: u64,
}

/// Where a standard stream of a [`Command`] goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdio {
    /// To where the caller's goes.
    Inherit,
    /// Nowhere; reads as empty.
    Null,
    /// To the caller, through the [`Child`](crate::Child).
    Piped,
}

/// What a [`Command`] sees of the world.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The root file system.
    pub root: Root,
    /// What is put over it, in this order. Missing mount points are made where the root is writable, and folders and
    /// empty files made that way stay in [`Root::Layers`]' upper folder.
    pub mounts: Vec<Mount>,
    /// Host name, at most 64 bytes.
    pub hostname: String,
    /// Who the command is, in ids of the inside; without one it keeps the caller's ids as the map shows them.
    pub user: Option<User>,
    /// Which ids exist inside.
    pub ids: IdMap,
    /// What it may reach.
    pub network: Network,
    /// Largest size of `/dev/shm` in bytes; half of the memory if nothing is said.
    pub shm_size: Option<u64>,
    /// An empty folder on disk that belongs to this one sandbox: mount points, `/tmp` and small files. The caller
    /// removes it after the command's end.
    pub scratch: PathBuf,
}

/// What a [`Command`] may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// What the host may.
    #[default]
    Host,
    /// Itself, through a loopback of its own.
    Loopback,
}

/// The root file system of a [`Sandbox`].
///
/// Both kinds have a `/proc` of their own (the host's where the kernel refuses one, as in containers with a masked
/// procfs), the host's `/sys` read-only, and a `/dev` with null, zero, full, random, urandom, tty, pts and shm only.
/// The file mode mask is 022.
#[derive(Debug, Clone)]
pub enum Root {
    /// The host's `/`, every top-level entry read-only with all that is mounted below it. `/tmp` and `/var/tmp` are
    /// private, writable and on `scratch`. `/run` is empty but for the folder of the host's `resolv.conf` and
    /// `current-system`. The command has no capability at all, not even as root, and set-user-ID programs have no effect.
    Host,
    /// A writable stack of folders with the host's `/etc/resolv.conf` bound in. Uid 0 has the
    /// capabilities that containers usually have, all of them if it is `privileged`; they are worth nothing outside the
    /// sandbox, so that ports below 1024 of the host's network stay closed. Set-user-ID programs work. System calls that
    /// containers do not get fail, unless it is privileged.
    Layers {
        /// Whether uid 0 has every capability.
        privileged: bool,
        /// Whether the host's `/etc/hosts` is bound in, and an `/etc/hostname` with the sandbox's name.
        names: bool,
        /// The read-only folders, topmost first; no mounts below them.
        lower: Vec<PathBuf>,
        /// Takes what is written. Deletions are character devices 0/0 and `user.overlay.*` attributes.
        upper: PathBuf,
        /// An empty folder on `upper`'s file system. The kernel leaves a folder of mode 0 in it.
        work: PathBuf,
    },
}

/// Something put over a part of the root. Sources are host paths; targets are absolute paths inside, whose symbolic
/// links are followed inside. Everything that is mounted below a source comes along.
#[derive(Debug, Clone)]
pub enum Mount {
    /// A host file, folder or socket.
    Bind {
        /// What the command sees.
        source: PathBuf,
        /// Where.
        target: PathBuf,
        /// Whether writes reach the host.
        writable: bool,
    },
    /// A stack of host folders; the meaning is [`Root::Layers`]'.
    Overlay {
        /// The read-only folders, topmost first.
        lower: Vec<PathBuf>,
        /// Takes what is written.
        upper: PathBuf,
        /// An empty folder on `upper`'s file system.
        work: PathBuf,
        /// Where.
        target: PathBuf,
        /// Whether the command may write.
        writable: bool,
    },
    /// A file that is on no disk.
    Content {
        /// Where.
        target: PathBuf,
        /// What is in it.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// Owner and group, in ids of the inside.
        owner: (u32, u32),
    },
    /// An empty file system in memory, mode 1777.
    Memory {
        /// Where.
        target: PathBuf,
        /// Largest size in bytes; half of the memory if nothing is said.
        size: Option<u64>,
    },
    /// An empty, read-only file or folder over whatever is there; nothing if nothing is there.
    Mask {
        /// What to hide.
        target: PathBuf,
    },
}

/// Who a [`Command`] is, in ids of the inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Further groups. Not set where the kernel forbids to change them: under [`IdMap::Caller`] and
    /// [`IdMap::Single`] of an ordinary user.
    pub groups: Vec<u32>,
}

/// Which ids exist inside a [`Sandbox`]. Files of all others look like nobody's.
#[derive(Debug, Clone)]
pub enum IdMap {
    /// The same ids as outside: all of them for root, the caller's own uid and gid for an ordinary user.
    Caller,
    /// One uid and one gid, which are the caller's outside.
    Single {
        /// The caller's uid inside.
        uid: u32,
        /// The caller's gid inside.
        gid: u32,
    },
    /// 0 is the caller, 1 and up are its subordinate ids. For root the same as [`IdMap::Caller`].
    Subordinate(SubordinateIds),
}
