//! The program that the tests start as the sandbox's helper, and as a caller that they can kill.
#![allow(clippy::print_stdout, reason = "the answer is for the test")]
#![allow(unsafe_code, reason = "it makes system calls that no library makes")]

use std::path::PathBuf;

use carrack_sandbox::{Command, IdMap, Launcher, Network, Root, Sandbox, Stdio};

/// `helper plain|isolated SCRATCH PROGRAM ARGUMENT…` runs the program until it ends; `helper support SCRATCH` says
/// what is allowed; `helper calls|calls-32 NUMBER[,ARGUMENT…] …` makes system calls and says with which errors they end.
fn main() {
    carrack_sandbox::run_init_if_asked();
    let mut arguments = std::env::args_os().skip(1);
    let mode = arguments.next().expect("the first argument is the mode");
    if mode == "calls" || mode == "calls-32" {
        for call in arguments {
            let call = call.to_str().expect("calls are ASCII");
            let mut numbers = call.split(',').map(|number| number.parse::<u32>().expect("calls are numbers"));
            let numbers: [u32; 4] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
            println!("{}", if mode == "calls" { error_of(numbers) } else { error_of_32_bit(numbers) });
        }
        return;
    }
    let scratch = PathBuf::from(arguments.next().expect("the second argument is the scratch folder"));
    let command = Command {
        argv: arguments.collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        stdin: Stdio::Null,
        stdout: Stdio::Inherit,
        stderr: Stdio::Inherit,
        limits: Vec::new(),
    };
    let launcher = Launcher::this_program();
    if mode == "support" {
        println!("{:?}", launcher.support(&scratch));
        return;
    }
    let child = if mode == "plain" {
        launcher.spawn_plain(&command)
    } else {
        launcher.spawn(
            &command,
            &Sandbox {
                root: Root::Host,
                mounts: Vec::new(),
                hostname: "held".to_owned(),
                user: None,
                ids: IdMap::Caller,
                network: Network::Host,
                shm_size: None,
                scratch,
            },
        )
    };
    child.expect("the command starts").wait().expect("the command ends");
}

fn error_of([number, first, second, third]: [u32; 4]) -> i32 {
    // SAFETY: the test's calls are those that fail, or touch no memory.
    match unsafe { libc::syscall(number.into(), first, second, third) } {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
        _ => 0,
    }
}

/// The same as a 32-bit program would.
#[cfg(target_arch = "x86_64")]
fn error_of_32_bit([number, first, second, third]: [u32; 4]) -> i32 {
    let result: i32;
    // SAFETY: as above. The register that the compiler keeps for itself is given back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) u64::from(first) => _,
            inlateout("eax") number => result,
            in("ecx") second, in("edx") third, in("esi") 0, in("edi") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    if (-4095..0).contains(&result) { -result } else { 0 }
}

#[cfg(not(target_arch = "x86_64"))]
fn error_of_32_bit(_: [u32; 4]) -> i32 {
    unimplemented!("32-bit calls of this processor")
}
