//! The system calls that need `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::process::Pid;

/// Forks; the child is pid 1 of new user, mount, pid, ipc and uts namespaces, and of a network namespace if it is to have
/// one. `None` in the child.
pub(super) fn fork_into_namespaces(own_network: bool) -> io::Result<Option<Pid>> {
    let namespaces = if own_network { libc::CLONE_NEWNET } else { 0 }
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS;
    let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with a null stack this is fork(2); the process has one thread, so no lock is held
    // by another one. The remaining arguments are ignored without the flags that they belong to.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    forked(pid as libc::pid_t)
}

/// Forks. `None` in the child.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the process has one thread, so the child may do everything that the parent may.
    forked(unsafe { libc::fork() })
}

fn forked(pid: libc::pid_t) -> io::Result<Option<Pid>> {
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(Pid::from_raw(pid)) }
}

/// Replaces the program; returns on failure only.
pub(super) fn execute(program: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: all are NUL-terminated strings, and null-terminated arrays of such, that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Leaves the caller's user namespace for a new one in which no id is mapped yet. The process has one thread.
pub(crate) fn unshare_user() -> io::Result<()> {
    // SAFETY: changes nothing but this process's credentials.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the calling thread a root and a working folder of its own.
pub(crate) fn unshare_root() -> io::Result<()> {
    // SAFETY: changes nothing but which root, working folder and file mode mask the thread has; no memory is concerned.
    if unsafe { libc::unshare(libc::CLONE_FS) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Limits a resource of this process.
pub(super) fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: reads the structure, which lives across the call. A number that is no resource is an error.
    let result = unsafe { libc::setrlimit(resource as _, &raw const limit) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Raises the loopback of this process's network namespace.
pub(super) fn raise_loopback() -> io::Result<()> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: returns a descriptor that nobody else owns, or -1.
    let socket = unsafe {
        match libc::socket(libc::AF_INET, kind, 0) {
            -1 => return Err(io::Error::last_os_error()),
            fd => OwnedFd::from_raw_fd(fd),
        }
    };
    // SAFETY: the structure is plain data, and all zeroes is a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is for a structure of this type, which lives across the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends any signal number, named or not.
pub(super) fn kill(pid: Pid, signal: i32) {
    // SAFETY: touches no memory. Failing means that the process has ended, or that there is no such signal.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
}

/// Blocks SIGCHLD and returns a descriptor, non-blocking, that is readable when one came.
pub(super) fn children_descriptor() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set, and the others get an initialised one; signalfd returns a descriptor
    // that nobody else owns, or -1.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
        match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Undoes what the Rust runtime, [`children_descriptor`] and the caller did to signals.
pub(crate) fn reset_signals() {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the set; no handler is installed, only the default.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut());
    }
}

/// Makes every descriptor but the standard streams close on execution.
pub(super) fn close_descriptors_on_execute() -> io::Result<()> {
    // SAFETY: closes nothing now, so no owner is deceived.
    let result =
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets `MOUNT_ATTR_*` bits on the mount `fd`, and on those below it.
pub(super) fn set_mount_attributes(fd: BorrowedFd<'_>, attributes: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated string, the structure lives across the call and its size is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
