//! The system calls that containers are usually not given: those that reach for the kernel itself, for mounts and for namespaces.
//!
//! A list of what is refused, with EPERM as Docker has it, where Docker lists what is allowed: programs that use calls newer than
//! any list go on working. `clone3` is unknown (ENOSYS), because a filter can't see what it asks for: every C library then takes
//! `clone`, whose flags can be seen.
//!
//! Source: Docker's default profile; seccomp(2).
#![allow(unsafe_code)]

use std::io;

/// Calls that fail with EPERM.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
];

const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u32;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: Option<u32> = None;

/// Where `seccomp_data` has the call's number, the architecture, and the lower half of the first argument (little-endian).
const NUMBER: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IS_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const HAS_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

fn step(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

/// Goes on with the next step if the test holds, else with the one after that.
fn test(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 1, k }
}

fn program(architecture: u32) -> Vec<libc::sock_filter> {
    let fail = |errno: i32| step(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32);
    let allow = || step(RETURN, libc::SECCOMP_RET_ALLOW);
    // Calls of another architecture (32-bit programs) have other numbers: they are as they are.
    let mut program = vec![
        step(LOAD, ARCHITECTURE_AT),
        libc::sock_filter { code: IS_EQUAL, jt: 1, jf: 0, k: architecture },
        allow(),
        step(LOAD, NUMBER),
    ];
    for call in REFUSED {
        program.extend([test(IS_EQUAL, *call as u32), fail(libc::EPERM)]);
    }
    program.extend([test(IS_EQUAL, libc::SYS_clone3 as u32), fail(libc::ENOSYS)]);
    program.extend([
        libc::sock_filter { code: IS_EQUAL, jt: 1, jf: 0, k: libc::SYS_clone as u32 },
        allow(),
        step(LOAD, FIRST_ARGUMENT),
        test(HAS_BITS, NAMESPACES),
        fail(libc::EPERM),
        allow(),
    ]);
    program
}

/// Takes those calls from this process and all that it starts. It has the capability to administrate its namespace.
///
/// A kernel without filters leaves things as they are.
pub(super) fn refuse_calls() -> io::Result<()> {
    let Some(architecture) = ARCHITECTURE else { return Ok(()) };
    let mut program = program(architecture);
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("the program is short"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, which lives across the call with the length that is given.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    match result {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => Ok(()),
            error => Err(error),
        },
    }
}
