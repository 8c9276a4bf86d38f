//! The system calls that a command may use: those that Docker's default profile allows to whoever has its capabilities.
//!
//! | call | answer |
//! | --- | --- |
//! | in the [list](calls) | the kernel's own |
//! | `clone` with a new namespace; `personality`, but for five values; `socket` for AF_ALG and AF_VSOCK | EPERM |
//! | `clone3`, whose flags a filter can't see | ENOSYS: every C library then takes `clone` |
//! | with a higher number than any in the list | ENOSYS, as of a kernel that is older: programs expect that |
//! | any other | EPERM |
//!
//! Whoever may administrate has `clone` and `clone3` whole.
//!
//! 32-bit programs have other numbers, and get the same list. Calls of x32 are those of x86_64 with a bit set, higher than any
//! other: they are answered as by a kernel that was made without x32, and most are. Processors that the list has no numbers
//! for get no filter.
//!
//! Of an argument, the lower half is compared: that is all that the kernel looks at, too. `socketcall` and `ipc` of 32-bit x86
//! have theirs in memory, where no filter can read; they are allowed, as by Docker.
//!
//! Since 5.11, the kernel asks once, when a filter is set, which calls it allows in any case, and never again for those. All
//! others are searched for by halves.
//!
//! Source: Docker's default profile and runc's way with newer calls; seccomp(2).
#![allow(unsafe_code)]

mod calls;
#[cfg(test)]
mod tests;

use std::io;

use rustix::thread::CapabilitySet;

use calls::{ALWAYS, CLONE, CLONE3, Call, PERSONALITY, SOCKET, WITH_CAPABILITY};

/// An architecture as the kernel names it to filters, and the column of the list with its numbers.
type Architecture = (u32, usize);

/// Processors, each with the architectures of programs that it runs.
const PROCESSORS: [(&str, [Architecture; 2]); 2] =
    [("x86_64", [(0xc000_003e, 0), (0x4000_0003, 1)]), ("aarch64", [(0xc000_00b7, 2), (0x4000_0028, 3)])];

/// Where 32-bit ARM's own calls begin; all others count up from 0.
const ARM_OWN: u32 = 0xf_0000;

const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u32;

/// Linux, 32-bit Linux, both with the version number of old; the question which one it is.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Ciphers of the kernel, and the way out of a virtual machine.
const FAMILIES_REFUSED: [u32; 2] = [libc::AF_ALG as u32, libc::AF_VSOCK as u32];

/// Where `seccomp_data` has the call's number, the architecture, and the lower half of the first argument (little-endian).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const SKIP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IS_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IS_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const HAS_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allow,
    Fail(i32),
    /// [`Answer::Fail`] if the first argument has one of these bits, else [`Answer::Allow`].
    AllowWithout(u32),
    /// As the first argument is one of these or not.
    AllowOnly(&'static [u32]),
    AllowBut(&'static [u32]),
}

/// Takes all other calls from this process and all that it starts. It has the capability to administrate its namespace, and is
/// about to have no more capabilities than `granted`.
///
/// A kernel without filters leaves things as they are.
pub(super) fn refuse_calls(granted: CapabilitySet) -> io::Result<()> {
    let processor = PROCESSORS.iter().find(|(name, _)| *name == std::env::consts::ARCH);
    let Some((_, architectures)) = processor else { return Ok(()) };
    let mut program = program(architectures, granted);
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("the program is short"),
        filter: program.as_mut_ptr(),
    };
    // A filter is not a reason to mistrust the command: without this flag, older kernels slow all that it runs down.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the kernel copies the program, which lives across the call with the length that is given.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
    match result {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) => Ok(()),
            error => Err(error),
        },
    }
}

fn program(architectures: &[Architecture], granted: CapabilitySet) -> Vec<libc::sock_filter> {
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    for (architecture, column) in architectures {
        program.push(jump(IS_EQUAL, *architecture, 1, 0));
        let skip = program.len();
        program.extend([step(SKIP, 0), step(LOAD, NUMBER)]);
        search(&answers(*column, granted), &mut program);
        program[skip].k = u32::try_from(program.len() - skip - 1).expect("the program is short");
    }
    Answer::Fail(libc::EPERM).give(&mut program);
    program
}

/// The answers to all numbers, each with the lowest number from which on it is given.
fn answers(column: usize, granted: CapabilitySet) -> Vec<(u32, Answer)> {
    let refused = Answer::Fail(libc::EPERM);
    let unknown = Answer::Fail(libc::ENOSYS);
    let mut known: Vec<(u32, Answer)> = Vec::new();
    let mut answer = |calls: &[Call], answer: Answer| {
        let numbers = calls.iter().filter_map(|(_, numbers)| u32::try_from(numbers[column]).ok());
        known.extend(numbers.map(|number| (number, answer)));
    };
    answer(ALWAYS, Answer::Allow);
    for (capabilities, calls) in WITH_CAPABILITY {
        answer(calls, if granted.intersects(*capabilities) { Answer::Allow } else { refused });
    }
    let administrates = granted.contains(CapabilitySet::SYS_ADMIN);
    answer(&[CLONE], if administrates { Answer::Allow } else { Answer::AllowWithout(NAMESPACES) });
    answer(&[CLONE3], if administrates { Answer::Allow } else { unknown });
    answer(&[PERSONALITY], Answer::AllowOnly(&PERSONALITIES));
    answer(&[SOCKET], Answer::AllowBut(&FAMILIES_REFUSED));

    known.sort_unstable_by_key(|(number, _)| *number);
    let mut answers = Vec::new();
    let mut next = 0;
    for (number, answer) in known {
        if number > next {
            answers.push((next, if number < ARM_OWN { refused } else { unknown }));
        }
        answers.push((number, answer));
        next = number + 1;
    }
    answers.push((next, unknown));
    answers.dedup_by_key(|(_, answer)| *answer);
    answers
}

/// Finds the answer to the number that is loaded.
fn search(answers: &[(u32, Answer)], program: &mut Vec<libc::sock_filter>) {
    if let [(_, answer)] = answers {
        return answer.give(program);
    }
    let (lower, upper) = answers.split_at(answers.len() / 2);
    let test = program.len();
    program.push(jump(IS_AT_LEAST, upper[0].0, 0, 0));
    search(lower, program);
    program[test].jt = u8::try_from(program.len() - test - 1).expect("the list has few gaps");
    search(upper, program);
}

impl Answer {
    /// Ends the program with this answer.
    fn give(self, program: &mut Vec<libc::sock_filter>) {
        let refused = Self::Fail(libc::EPERM);
        let mut by_argument = |code: u16, values: &[u32], then: Self, otherwise: Self| {
            program.push(step(LOAD, FIRST_ARGUMENT));
            for value in values {
                program.push(jump(code, *value, 0, 1));
                then.give(program);
            }
            otherwise.give(program);
        };
        match self {
            Self::Allow => program.push(step(RETURN, libc::SECCOMP_RET_ALLOW)),
            Self::Fail(errno) => {
                program.push(step(RETURN, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()));
            }
            Self::AllowWithout(bits) => by_argument(HAS_BITS, &[bits], refused, Self::Allow),
            Self::AllowOnly(values) => by_argument(IS_EQUAL, values, Self::Allow, refused),
            Self::AllowBut(values) => by_argument(IS_EQUAL, values, refused, Self::Allow),
        }
    }
}

fn step(code: u16, k: u32) -> libc::sock_filter {
    jump(code, k, 0, 0)
}

/// Skips as many steps as the test says.
fn jump(code: u16, k: u32, if_it_holds: u8, if_not: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: if_it_holds, jf: if_not, k }
}
