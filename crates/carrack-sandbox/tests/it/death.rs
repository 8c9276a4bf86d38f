//! Nothing outlives the command or the caller.

use std::io::{BufRead, BufReader};
use std::process::Stdio as StdStdio;
use std::time::Duration;

use super::*;

/// A shell that leaves a child and a grandchild in sessions of their own. All hold the lock on `lock`, on a descriptor
/// that they share, as long as they live.
fn locked_tree(lock: &Path) -> String {
    let lock = lock.display();
    format!(
        "exec 9>{lock}; flock -s 9; setsid sh -c 'sleep 90 & sleep 90' & (sleep 90 &); echo ready; sleep 90"
    )
}

/// Waits until no process holds the lock; fails before the tree ends by itself.
fn wait_until_dead(lock: &Path) {
    for _ in 0..3000 {
        if !is_locked(lock) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("something outlives the caller");
}

fn is_locked(lock: &Path) -> bool {
    let file = fs::File::open(lock).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err()
}

#[test]
fn killing_the_caller_kills_the_tree() {
    for mode in ["plain", "isolated"] {
        if mode == "isolated" && !isolated() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        // The only place that is writable and the same in both modes.
        let scratch = folder.path().join("scratch");
        fs::create_dir_all(scratch.join("tmp")).unwrap();
        let (outside, inside) = match mode {
            "plain" => (scratch.join("lock"), scratch.join("lock")),
            _ => (scratch.join("tmp/lock"), PathBuf::from("/tmp/lock")),
        };
        let mut caller = std::process::Command::new(helper())
            .arg(mode)
            .arg(&scratch)
            .args(["sh", "-c", &locked_tree(&inside)])
            .stdout(StdStdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(caller.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "{mode}");
        assert!(is_locked(&outside), "{mode}");
        caller.kill().unwrap();
        caller.wait().unwrap();
        wait_until_dead(&outside);
    }
}

#[test]
fn what_the_command_leaves_behind_is_killed() {
    for isolate in [false, true] {
        if isolate && !isolated() {
            return;
        }
        let mut fixture = Fixture::host("");
        let outside = lock_of(&mut fixture, isolate);
        fixture.command.argv[2] =
            fixture.command.argv[2].to_str().unwrap().replace("; sleep 90", "; exit 4").into();
        let mut child = start(&fixture, isolate);
        assert_eq!(child.wait().unwrap(), Exit::Code(4));
        assert!(!is_locked(&outside), "isolated: {isolate}");
    }
}

#[test]
fn kill_and_drop_take_the_tree() {
    for isolate in [false, true] {
        if isolate && !isolated() {
            return;
        }
        let mut fixture = Fixture::host("");
        let outside = lock_of(&mut fixture, isolate);
        for by_drop in [false, true] {
            let mut child = start(&fixture, isolate);
            let mut ready = [0; 6];
            child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
            assert!(is_locked(&outside));
            if by_drop {
                drop(child);
            } else {
                assert_eq!(child.kill().unwrap(), Exit::Signal(9));
            }
            assert!(!is_locked(&outside), "isolated: {isolate}, by drop: {by_drop}");
        }
    }
}

/// Makes the fixture's command a [`locked_tree`]; the lock's path outside.
fn lock_of(fixture: &mut Fixture, isolate: bool) -> PathBuf {
    let outside = match isolate {
        true => fixture.sandbox.scratch.join("tmp/lock"),
        false => fixture.path("lock"),
    };
    let inside = if isolate { PathBuf::from("/tmp/lock") } else { outside.clone() };
    fixture.command.argv[2] = locked_tree(&inside).into();
    outside
}

fn start(fixture: &Fixture, isolate: bool) -> Child {
    if isolate { fixture.spawn().unwrap() } else { launcher().spawn_plain(&fixture.command).unwrap() }
}

#[test]
fn orphans_are_reaped() {
    if !isolated() {
        return;
    }
    // Orphans end while the command goes on; what is left of them would show as zombies.
    let script = "for i in 1 2 3 4 5; do (sh -c 'exit 0' & sh -c 'sleep 0.01' &); done; \
                  until [ $(ls /proc | grep -cE '^[0-9]+$') -le 5 ]; do :; done; \
                  for try in $(seq 200); do \
                  grep -q '^State:.Z' /proc/[0-9]*/status || break; sleep 0.01; done; \
                  grep -l '^State:.Z' /proc/[0-9]*/status; echo done";
    assert_eq!(Fixture::host(script).output(), "done\n");
}
