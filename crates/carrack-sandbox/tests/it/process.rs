//! Arguments, streams, exits and failures, in a sandbox and plain.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;

use super::*;

/// Runs `check` with a spawner for each way of running a command.
fn both_ways(check: impl Fn(&dyn Fn(&Command) -> Result<Child, SandboxError>)) {
    check(&|command| launcher().spawn_plain(command));
    if isolated() {
        let fixture = Fixture::host("");
        check(&|command| launcher().spawn(command, &fixture.sandbox));
    }
}

#[test]
fn exits_are_passed_on() {
    both_ways(|spawn| {
        for (script, exit) in
            [("true", Exit::Code(0)), ("exit 3", Exit::Code(3)), ("kill -SEGV $$", Exit::Signal(11))]
        {
            let mut child = spawn(&shell(script)).unwrap();
            assert_eq!(child.wait().unwrap(), exit, "{script}");
            assert_eq!(child.wait().unwrap(), exit, "{script}, asked again");
            assert_eq!(child.try_wait().unwrap(), Some(exit), "{script}, asked again");
        }
    });
}

#[test]
fn signals_reach_the_command() {
    both_ways(|spawn| {
        let mut child =
            spawn(&shell("trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done")).unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.control().signal(15).unwrap();
        assert_eq!(child.wait().unwrap(), Exit::Code(5));
        // Too late for an effect, not an error.
        child.signal(15).unwrap();
    });
}

#[test]
fn arguments_and_environment_are_exact() {
    both_ways(|spawn| {
        let odd = OsString::from_vec(b"\xff \n\"\x01=".to_vec());
        let mut command = shell("");
        command.argv = vec!["printf".into(), "%s|".into(), odd.clone(), "".into(), "plain".into()];
        let (exit, bytes) = finish_bytes(spawn(&command).unwrap());
        assert_eq!((exit, &bytes[..]), (Exit::Code(0), &b"\xff \n\"\x01=||plain|"[..]));

        command.argv = vec!["/usr/bin/env".into(), "-0".into()];
        command.env = vec![("Z".into(), "1".into()), ("A".into(), odd), ("EMPTY".into(), "".into())];
        let (exit, bytes) = finish_bytes(spawn(&command).unwrap());
        assert_eq!((exit, &bytes[..]), (Exit::Code(0), &b"Z=1\0A=\xff \n\"\x01=\0EMPTY=\0"[..]));
    });
}

fn finish_bytes(mut child: Child) -> (Exit, Vec<u8>) {
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
    (child.wait().unwrap(), bytes)
}

#[test]
fn only_the_standard_streams_are_open() {
    both_ways(|spawn| {
        // A descriptor that a careless caller leaks.
        let leaked = rustix::io::dup(std::io::stderr()).unwrap();
        let (exit, output) = finish(spawn(&shell("ls /proc/self/fd | tr '\\n' ' '")).unwrap());
        drop(leaked);
        // 3 is the folder that ls reads.
        assert_eq!((exit, &output[..]), (Exit::Code(0), "0 1 2 3 "));
    });
}

#[test]
fn much_data_passes_in_both_directions() {
    both_ways(|spawn| {
        let mut command = shell("");
        command.argv = vec!["sh".into(), "-c".into(), "cat; head -c 3000000 /dev/zero >&2".into()];
        (command.stdin, command.stderr) = (Stdio::Piped, Stdio::Piped);
        let mut child = spawn(&command).unwrap();
        let (mut stdin, mut stdout, mut stderr) =
            (child.stdin.take().unwrap(), child.stdout.take().unwrap(), child.stderr.take().unwrap());
        std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(&[b'x'; 5_000_000]).unwrap());
            let errors = scope.spawn(move || {
                let mut bytes = Vec::new();
                stderr.read_to_end(&mut bytes).unwrap();
                bytes.len()
            });
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            assert_eq!((bytes.len(), errors.join().unwrap()), (5_000_000, 3_000_000));
        });
        assert_eq!(child.wait().unwrap(), Exit::Code(0));
    });
}

#[test]
fn a_large_environment_passes() {
    both_ways(|spawn| {
        let mut command = shell("printf %s \"$LARGE\" | wc -c");
        command.env.push(("LARGE".into(), "x".repeat(100_000).into()));
        assert_eq!(finish(spawn(&command).unwrap()), (Exit::Code(0), "100000\n".to_owned()));
    });
}

#[test]
fn a_missing_program_is_named() {
    both_ways(|spawn| {
        for program in ["no-such-program", "/no/such/program"] {
            let mut command = shell("");
            command.argv = vec![program.into()];
            match spawn(&command) {
                Err(SandboxError::ProgramNotFound { program: named }) => {
                    assert_eq!(named, Path::new(program))
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn a_program_that_can_not_start_is_named() {
    both_ways(|spawn| {
        let mut command = shell("");
        command.argv = vec!["/etc/passwd".into()];
        match spawn(&command) {
            Err(SandboxError::Execute { program, source }) => {
                assert_eq!((program, source.kind()), ("/etc/passwd".into(), ErrorKind::PermissionDenied));
            }
            other => panic!("{other:?}"),
        }
    });
    // A script whose interpreter is missing is there, and still does not start.
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = shell("");
    command.argv = vec![script.clone().into()];
    match launcher().spawn_plain(&command) {
        Err(SandboxError::Execute { program, source }) => {
            assert_eq!((program, source.kind()), (script, ErrorKind::NotFound));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_working_directory_is_named() {
    both_ways(|spawn| {
        let mut command = shell("true");
        command.cwd = "/no/such/folder".into();
        match spawn(&command) {
            Err(SandboxError::WorkingDirectory { path, source }) => {
                assert_eq!((path, source.kind()), ("/no/such/folder".into(), ErrorKind::NotFound));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn nul_bytes_and_empty_commands_are_refused() {
    both_ways(|spawn| {
        for argv in [vec![], vec![OsString::from("a\0b")]] {
            let command = Command { argv, ..shell("") };
            assert!(matches!(spawn(&command), Err(SandboxError::Unrepresentable { .. })));
        }
    });
}

#[test]
fn a_program_that_is_no_helper_is_an_error() {
    for program in ["/bin/true", "/no/such/program"] {
        match Launcher::with_program(program).spawn_plain(&shell("true")) {
            Err(SandboxError::Died { .. } | SandboxError::Launch { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}
