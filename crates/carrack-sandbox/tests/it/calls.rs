//! The system calls that a command in layers gets, on this kernel.

use super::*;

#[cfg(target_arch = "x86_64")]
const EPERM: i32 = libc::EPERM;
#[cfg(target_arch = "x86_64")]
const ENOSYS: i32 = libc::ENOSYS;

/// Calls, each with the error that the filter gives it; 0 where the kernel decides. Their arguments
/// are such that it does nothing, and ends those that are refused in another way.
#[cfg(target_arch = "x86_64")]
const CALLS: &[(&str, &str, i32)] = &[
    ("mount", "165", EPERM),
    ("umount2", "166", EPERM),
    ("unshare", "272", EPERM),
    ("setns", "308", EPERM),
    ("pivot_root", "155", EPERM),
    ("open_tree", "428,4294967295", EPERM),
    ("fsopen", "430", EPERM),
    ("keyctl", "250,4294967295", EPERM),
    ("add_key", "248", EPERM),
    ("request_key", "249", EPERM),
    ("bpf", "321,4294967295", EPERM),
    ("perf_event_open", "298", EPERM),
    ("userfaultfd", "323,1", EPERM),
    ("io_uring_setup", "425,0", EPERM),
    ("io_uring_enter", "426,4294967295", EPERM),
    ("kcmp", "312", EPERM),
    ("pidfd_getfd", "438,4294967295", EPERM),
    ("open_by_handle_at", "304,4294967295", EPERM),
    ("quotactl", "179,4294967295", EPERM),
    ("move_pages", "279,0,0,0", EPERM),
    ("set_mempolicy", "238", EPERM),
    ("nothing has this number", "400", EPERM),
    ("personality without random addresses", "135,262144", EPERM),
    ("socket(AF_VSOCK)", "41,40,4294967295", EPERM),
    ("socket(AF_ALG)", "41,38,4294967295", EPERM),
    // These flags exclude each other.
    ("clone(CLONE_NEWUSER | CLONE_FS)", "56,268435968", EPERM),
    ("clone(CLONE_NEWNS | CLONE_FS)", "56,131584", EPERM),
    ("clone3", "435", ENOSYS),
    ("open_tree_attr of Linux 6.15", "467,4294967295", ENOSYS),
    ("clone(CLONE_SIGHAND)", "56,2048", 0),
    ("personality, asked for", "135,4294967295", 0),
    ("personality of a 32-bit program", "135,8", 0),
    ("personality of Linux", "135,0", 0),
    ("socket(AF_INET)", "41,2,1", 0),
    ("chroot", "161", 0),
    ("mknod", "133", 0),
    ("ptrace", "101,4294967295", 0),
    ("process_vm_readv", "310", 0),
    ("name_to_handle_at", "303,4294967295", 0),
    ("memfd_create", "319", 0),
    ("futex_waitv", "449", 0),
    ("mseal", "462", 0),
    ("removexattrat", "466,4294967295", 0),
    ("getpid", "39", 0),
];

/// The same by the numbers of 32-bit programs.
#[cfg(target_arch = "x86_64")]
const CALLS_32: &[(&str, &str, i32)] = &[
    ("mount", "21", EPERM),
    ("umount", "22", EPERM),
    ("unshare", "310", EPERM),
    ("keyctl", "288,4294967295", EPERM),
    ("io_uring_setup", "425,0", EPERM),
    ("clone(CLONE_NEWUSER | CLONE_FS)", "120,268435968", EPERM),
    ("personality without random addresses", "136,262144", EPERM),
    ("socket(AF_VSOCK)", "359,40,4294967295", EPERM),
    ("clone3", "435", ENOSYS),
    ("open_tree_attr of Linux 6.15", "467,4294967295", ENOSYS),
    ("clone(CLONE_SIGHAND)", "120,2048", 0),
    ("personality, asked for", "136,4294967295", 0),
    ("socket(AF_INET)", "359,2,1", 0),
    ("getpid", "20", 0),
];

/// A sandbox in layers whose command is the test's helper.
#[cfg(target_arch = "x86_64")]
fn making_calls(mode: &str, calls: &[(&str, &str, i32)]) -> Fixture {
    let mut fixture = Fixture::layers("");
    fixture.command.argv = vec!["/helper".into(), mode.into()];
    fixture.command.argv.extend(calls.iter().map(|(_, call, _)| (*call).into()));
    fixture.sandbox.mounts.push(Mount::Bind { source: helper(), target: "/helper".into(), writable: false });
    fixture
}

#[cfg(target_arch = "x86_64")]
#[track_caller]
fn check(mode: &str, calls: &[(&str, &str, i32)]) {
    let errors = |privileged: bool| -> Vec<i32> {
        let mut fixture = making_calls(mode, calls);
        let Root::Layers { privileged: is_privileged, .. } = &mut fixture.sandbox.root else { panic!() };
        *is_privileged = privileged;
        fixture.output().lines().map(|line| line.parse().unwrap()).collect()
    };
    let (filtered, unfiltered) = (errors(false), errors(true));
    assert_eq!((filtered.len(), unfiltered.len()), (calls.len(), calls.len()));
    let mut silent: Vec<&str> = Vec::new();
    for (((name, _, expected), filtered), unfiltered) in calls.iter().zip(filtered).zip(unfiltered) {
        let expected = if *expected == 0 { unfiltered } else { *expected };
        assert_eq!(filtered, expected, "{name}");
        silent.extend((filtered == unfiltered && matches!(filtered, EPERM | ENOSYS)).then_some(name));
    }
    // A kernel may be too old for a call, or an administrator may have turned it off for everybody.
    assert!(silent.len() <= calls.len() / 4, "most calls end so without a filter, too: {silent:?}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_that_containers_do_not_get_fail() {
    if isolated() {
        check("calls", CALLS);
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn numbers_of_32_bit_programs_are_filtered_too() {
    if !isolated() {
        return;
    }
    let mut probe = making_calls("calls-32", &[("getpid", "20", 0)]);
    if let Root::Layers { privileged, .. } = &mut probe.sandbox.root {
        *privileged = true;
    }
    if probe.run().0 != Exit::Code(0) {
        skip!("this kernel runs no 32-bit programs");
        return;
    }
    check("calls-32", CALLS_32);
}

#[test]
fn filters_are_set_once_and_with_privileges_never() {
    if !isolated() {
        return;
    }
    let status = |privileged: bool, user: Option<User>| {
        let mut fixture = Fixture::layers("grep -E '^(NoNewPrivs|Seccomp)' /proc/self/status | tr -d '\\t'");
        let Root::Layers { privileged: is_privileged, .. } = &mut fixture.sandbox.root else { panic!() };
        *is_privileged = privileged;
        fixture.sandbox.user = user;
        fixture.output()
    };
    let filtered = "NoNewPrivs:0\nSeccomp:2\nSeccomp_filters:1\n";
    assert_eq!(status(false, None), filtered);
    assert_eq!(status(false, Some(User { uid: 0, gid: 0, groups: vec![] })), filtered);
    assert_eq!(status(true, None), "NoNewPrivs:0\nSeccomp:0\nSeccomp_filters:0\n");
}

/// Calls are refused for a reason: nothing that is not one of those may notice.
#[test]
fn ordinary_programs_work() {
    if !isolated() {
        return;
    }
    let mut ran = 0;
    for (program, script) in [
        ("sh", "true & wait; cat </proc/self/status | grep -q Seccomp; echo ok"),
        ("perl", "perl -e 'my $pid = fork(); exit 0 unless $pid; waitpid $pid, 0; print \"ok\\n\"'"),
        (
            "python3",
            "/usr/bin/python3 -c 'import threading, subprocess, tempfile, socket, os\n\
             threads = [threading.Thread(target=os.getpid) for _ in range(4)]\n\
             [thread.start() for thread in threads]; [thread.join() for thread in threads]\n\
             socket.socketpair(); tempfile.TemporaryFile(dir=\"/\").write(b\"x\")\n\
             print(subprocess.run([\"echo\", \"ok\"], capture_output=True, text=True).stdout, end=\"\")'",
        ),
        (
            "gcc",
            "echo 'int main(void) { return 0; }' >/x.c && gcc -pipe -pthread -o /x /x.c && /x && echo ok",
        ),
        ("tar", "mkdir /a && : >/a/b && tar -cf - /a 2>/dev/null | tar -tf - | wc -l | sed s/2/ok/"),
        ("strace", "strace -f -o /dev/null sh -c 'true & wait; echo ok'"),
    ] {
        if !Path::new("/usr/bin").join(program).exists() {
            skip!("{program} is not installed");
            continue;
        }
        assert_eq!(Fixture::layers(script).output(), "ok\n", "{program}");
        ran += 1;
    }
    assert!(ran > 2);
}

/// A whole program, and not calls of its numbers alone.
#[test]
fn a_32_bit_program_runs() {
    let folder = open_folder();
    let source = folder.path().join("ends.c");
    // Ends with 7 if it has a number, without any library.
    fs::write(
        &source,
        "void _start(void) { int r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(20));\n\
         __asm__ volatile(\"int $0x80\" : : \"a\"(1), \"b\"(r > 0 ? 7 : 1)); }\n",
    )
    .unwrap();
    let program = folder.path().join("ends");
    let compiled = std::process::Command::new("gcc")
        .args(["-m32", "-nostdlib", "-static", "-o"])
        .args([&program, &source])
        .output();
    if !compiled.is_ok_and(|output| output.status.success()) {
        skip!("gcc makes no 32-bit programs here");
        return;
    }
    if std::process::Command::new(&program).status().is_err() {
        skip!("this kernel runs no 32-bit programs");
        return;
    }
    if isolated() {
        let mut fixture = Fixture::layers("/ends");
        let target = "/ends".into();
        fixture.sandbox.mounts.push(Mount::Bind { source: program, target, writable: false });
        assert_eq!(fixture.run().0, Exit::Code(7));
    }
}
