//! Programs as the kernel runs them, for processors that this is not one of, too.

use std::collections::BTreeMap;

use super::*;

const DOCKER: CapabilitySet = CapabilitySet::SYS_CHROOT.union(CapabilitySet::CHOWN);
const ALLOWED: Result<(), i32> = Ok(());
const REFUSED: Result<(), i32> = Err(libc::EPERM);
const UNKNOWN: Result<(), i32> = Err(libc::ENOSYS);

/// What a program answers.
fn run(program: &[libc::sock_filter], architecture: u32, number: u32, argument: u32) -> Result<(), i32> {
    let (mut loaded, mut at) = (0, 0);
    loop {
        let libc::sock_filter { code, jt, jf, k } = program[at];
        let holds = match code {
            IS_EQUAL => loaded == k,
            IS_AT_LEAST => loaded >= k,
            HAS_BITS => loaded & k != 0,
            _ => false,
        };
        at += 1;
        match code {
            LOAD => {
                loaded = match k {
                    NUMBER => number,
                    ARCHITECTURE => architecture,
                    FIRST_ARGUMENT => argument,
                    _ => panic!("it reads at {k}"),
                }
            }
            SKIP => at += k as usize,
            RETURN if k == libc::SECCOMP_RET_ALLOW => return Ok(()),
            RETURN => return Err((k & libc::SECCOMP_RET_DATA).cast_signed()),
            _ => at += usize::from(if holds { jt } else { jf }),
        }
    }
}

#[test]
fn every_number_has_the_answer_of_the_list() {
    for (processor, architectures) in PROCESSORS {
        let program = program(&architectures, DOCKER);
        for (architecture, column) in architectures {
            let number = |call: &Call| u32::try_from(call.1[column]).ok();
            let withheld = WITH_CAPABILITY
                .iter()
                .filter(|(capabilities, _)| *capabilities != CapabilitySet::SYS_CHROOT)
                .flat_map(|(_, calls)| calls.iter());
            let chroot = WITH_CAPABILITY.iter().flat_map(|(_, calls)| *calls).find(|call| call.0 == "chroot");
            let listed = ALWAYS.iter().chain(chroot).chain([&CLONE, &SOCKET, &PERSONALITY]);
            let (listed, withheld): (Vec<u32>, Vec<u32>) =
                (listed.filter_map(number).collect(), withheld.filter_map(number).collect());
            assert!(listed.len() > 250 && withheld.len() > 35, "{processor}");
            let newest = *listed.iter().filter(|number| **number < ARM_OWN).max().unwrap();
            assert_eq!(newest, 466, "{processor}");
            for number in 0..2000 {
                let expected = match number {
                    435 => UNKNOWN,
                    number if listed.contains(&number) => ALLOWED,
                    number if number <= newest => REFUSED,
                    _ => UNKNOWN,
                };
                // No new namespace, no refused family, Linux.
                assert_eq!(run(&program, architecture, number, 0), expected, "{processor} {column} {number}");
            }
            for number in withheld {
                assert_eq!(run(&program, architecture, number, 0), REFUSED, "{processor} {column} {number}");
            }
        }
    }
}

#[test]
fn numbers_apart_from_the_others() {
    let [(_, x86), (_, arm)] = PROCESSORS;
    let check = |architectures: &[Architecture], architecture, number, expected| {
        let answer = run(&program(architectures, DOCKER), architecture, number, 0);
        assert_eq!(answer, expected, "{architecture:x} {number:x}");
    };
    let (x86_64, arm_32) = (x86[0].0, arm[1].0);
    // x32.
    check(&x86, x86_64, 0x4000_0000, UNKNOWN);
    check(&x86, x86_64, 0x4000_0001, UNKNOWN);
    check(&x86, x86_64, u32::MAX, UNKNOWN);
    // `set_tls`, and its neighbours.
    check(&arm, arm_32, 0xf_0005, ALLOWED);
    check(&arm, arm_32, 0xf_0004, UNKNOWN);
    check(&arm, arm_32, 0xf_0006, UNKNOWN);
    check(&x86, x86_64, 0xf_0005, UNKNOWN);
    // An architecture that does not belong to the processor.
    check(&x86, arm_32, 0, REFUSED);
}

#[test]
fn capabilities_and_arguments_decide() {
    let [(_, x86), _] = PROCESSORS;
    let check = |granted: CapabilitySet, call: Call, argument: u32, expected| {
        for (architecture, column) in x86 {
            let number = u32::try_from(call.1[column]).unwrap();
            let answer = run(&program(&x86, granted), architecture, number, argument);
            assert_eq!(answer, expected, "{granted:?} {} {column} {argument:x}", call.0);
        }
    };
    let listed = |name: &str| {
        *WITH_CAPABILITY.iter().flat_map(|(_, calls)| *calls).find(|call| call.0 == name).unwrap()
    };
    let (none, admin) = (CapabilitySet::empty(), CapabilitySet::SYS_ADMIN);
    for (granted, call, argument, expected) in [
        (none, listed("chroot"), 0, REFUSED),
        (DOCKER, listed("chroot"), 0, ALLOWED),
        (DOCKER, listed("bpf"), 0, REFUSED),
        (admin, listed("bpf"), 0, ALLOWED),
        (CapabilitySet::BPF, listed("bpf"), 0, ALLOWED),
        (CapabilitySet::BPF, listed("mount"), 0, REFUSED),
        (admin, listed("mount"), 0, ALLOWED),
        (DOCKER, CLONE3, 0, UNKNOWN),
        (admin, CLONE3, 0, ALLOWED),
        (DOCKER, CLONE, (libc::CLONE_VM | libc::CLONE_THREAD | libc::SIGCHLD).cast_unsigned(), ALLOWED),
        (DOCKER, CLONE, (libc::CLONE_NEWUSER | libc::SIGCHLD).cast_unsigned(), REFUSED),
        (admin, CLONE, (libc::CLONE_NEWUSER | libc::SIGCHLD).cast_unsigned(), ALLOWED),
        (DOCKER, PERSONALITY, 0x2_0008, ALLOWED),
        (DOCKER, PERSONALITY, 0xffff_ffff, ALLOWED),
        (DOCKER, PERSONALITY, 0x4_0000, REFUSED),
        (DOCKER, SOCKET, libc::AF_INET6.cast_unsigned(), ALLOWED),
        (DOCKER, SOCKET, libc::AF_ALG.cast_unsigned(), REFUSED),
        (DOCKER, SOCKET, 39, ALLOWED),
        (DOCKER, SOCKET, libc::AF_VSOCK.cast_unsigned(), REFUSED),
        (DOCKER, SOCKET, 41, ALLOWED),
    ] {
        check(granted, call, argument, expected);
    }
}

/// The system's headers have fewer calls than the list if they are older, but no other numbers.
#[test]
fn numbers_are_those_of_the_headers() {
    for (column, header) in ["unistd_64.h", "unistd_32.h"].into_iter().enumerate() {
        let path = format!("/usr/include/x86_64-linux-gnu/asm/{header}");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("skipped: no {path} on this machine");
            continue;
        };
        let defined: BTreeMap<&str, i32> = text
            .lines()
            .filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '))
            .filter_map(|(name, number)| Some((name, number.parse().ok()?)))
            .collect();
        let rest = [CLONE, CLONE3, PERSONALITY, SOCKET];
        let all = ALWAYS.iter().chain(WITH_CAPABILITY.iter().flat_map(|(_, calls)| *calls)).chain(&rest);
        let mut compared = 0;
        for (name, numbers) in all {
            if let Some(number) = defined.get(name) {
                assert_eq!(numbers[column], *number, "{name} in {header}");
                compared += 1;
            } else {
                // Newer than these headers, or of the other architectures.
                assert!(numbers[column] == -1 || numbers[column] >= 335, "{name} is not in {header}");
            }
        }
        assert!(compared > 300, "{compared}");
    }
}
