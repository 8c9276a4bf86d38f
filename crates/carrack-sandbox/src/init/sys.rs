//! The system calls that need `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::process::Pid;

/// Forks; the child is pid 1 of new user, mount, pid, ipc and uts namespaces. `None` in the child.
pub(super) fn fork_into_namespaces() -> io::Result<Option<Pid>> {
    let namespaces = libc::CLONE_NEWUSER
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
pub(super) fn fork() -> io::Result<Option<Pid>> {
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
pub(super) fn reset_signals() {
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
