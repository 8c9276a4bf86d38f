//! Runs one process isolated from the host, as root or as an ordinary user, without a daemon.
//!
//! Owns: user, mount, pid, ipc and uts namespaces, the root file system that a [`Command`] sees ([`Sandbox`]), its
//! ids, its capabilities, and the death of its whole process tree. Deliberately not: a network of its own beyond a
//! loopback, cgroups, a pseudo-terminal, downloading or unpacking anything, and the clean-up
//! of the folders that the caller hands in.
//!
//! # Processes
//!
//! ```text
//! caller ──socket──┐            the caller's program, any number of threads
//!  └ launcher ─────┤            the same program started again ([`run_init_if_asked`]), outside the namespaces:
//!     │            │            writes the id maps, waits
//!     └ pid 1 ─────┘            inside: mounts, reaps, forwards signals, ends when the socket does
//!        └ command              own session, no capability beyond those granted, no descriptor but 0 to 2
//! ```
//!
//! The plan goes through the socket as a descriptor, so nothing of it shows in a process listing. The same socket
//! carries failures, the exit and signals. When the caller's end closes, whether by [`Child`]'s drop or by `kill -9`
//! of the caller, pid 1 ends and the kernel kills everything in its namespace.
//!
//! # Safety of the host
//!
//! Everything is set up *inside* one new user namespace, as root too: root only gets a map of all its ids instead of
//! one. So the kernel checks every mount against the namespace's own rights, mounts that came from the host are
//! locked, and root and ordinary users walk the same path (overlays keep their marks in `user.overlay.*`). The price:
//! an overlay's lower folder must not have mounts below it. Root's map keeps real ids, and much of the kernel asks
//! for uid 0 rather than for a capability, hence `/sys` and the dangerous parts of `/proc` are read-only, devices can
//! only be opened in `/dev`, and [`Root::Host`] hides the sockets in `/run`. Pid 1 is not dumpable and, with the
//! launcher, keeps its own executable busy, so the command can't reach or overwrite the caller's program through
//! `/proc`.
//!
//! # Terminal
//!
//! The command gets a session of its own without a controlling terminal: it can read and write a terminal that it
//! inherits, but not push input into it. Ctrl-C therefore reaches the caller only, who forwards it
//! ([`Child::signal`]) or kills. An interactive shell has no job control.
//!
//! # Root without root
//!
//! Whoever keeps root file systems has to give files away to many owners. [`become_root`] starts the calling program again
//! as root of a user namespace with the caller's subordinate ids; [`standing`] says, at the start, what it is now.
//!
//! # Failure
//!
//! Every step of the set-up reports what it attempted on which path and the kernel's answer as a [`SandboxError`]. A
//! command that runs and fails is not an error but an [`Exit`]. Needs Linux 5.12 (`mount_setattr`, overlays in user
//! namespaces); [`Launcher::support`] tells beforehand.

mod child;
mod command;
mod error;
mod ids;
mod init;
mod inside;
mod launcher;
mod plan;
mod rootless;
mod socket;
mod wire;

pub use child::{Child, Control, Exit};
pub use command::{Command, IdMap, Limit, Mount, Network, Root, Sandbox, Stdio, User};
pub use error::SandboxError;
pub use ids::{IdRange, SubordinateIds, subordinate_ids};
pub use init::run_init_if_asked;
pub use inside::{Inside, Process};
pub use launcher::{Launcher, Support};
pub use rootless::{Standing, become_root, standing};
