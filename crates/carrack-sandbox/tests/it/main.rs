//! Real processes in real namespaces. Every test runs as the calling user; as root, `ordinary_user` runs all of
//! them once more as one.

#![allow(clippy::unwrap_used, reason = "the functions that tests share are tests too")]
#![allow(clippy::explicit_write, reason = "the harness hides what goes through eprintln")]

/// Says why a test does nothing, past the harness that hides what passing tests print.
macro_rules! skip {
    ($($reason:tt)*) => {
        writeln!(std::io::stderr(), "skipped: {}", format_args!($($reason)*)).unwrap()
    };
}

mod calls;
mod death;
mod host;
mod layers;
mod process;
mod refusal;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use carrack_sandbox::{
    Child, Command, Exit, IdMap, Launcher, Mount, Network, Root, Sandbox, SandboxError, Stdio, Support, User,
};

/// Names the helper where Cargo's answer can't be used.
const HELPER_VARIABLE: &str = "CARRACK_SANDBOX_TEST_HELPER";

const ORDINARY_ID: &str = "12345";

fn helper() -> PathBuf {
    std::env::var_os(HELPER_VARIABLE)
        .map_or_else(|| env!("CARGO_BIN_EXE_carrack-sandbox-test-helper").into(), PathBuf::from)
}

fn launcher() -> Launcher {
    Launcher::with_program(helper())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this machine can run the test; says so if not. util-linux has the last word on what the kernel allows, so
/// that a broken sandbox does not pass for a machine that forbids it.
fn isolated() -> bool {
    static REFUSAL: LazyLock<Option<SandboxError>> = LazyLock::new(|| {
        let scratch = tempfile::tempdir().unwrap();
        match launcher().support(scratch.path()) {
            Support::Isolated => None,
            Support::Plain { reason } => {
                let allowed = std::process::Command::new("unshare")
                    .args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--ipc", "--uts"])
                    .args(["mount", "-t", "tmpfs", "none", "/tmp"])
                    .status();
                assert!(!allowed.is_ok_and(|status| status.success()), "the kernel allows it: {reason:?}");
                Some(reason)
            }
        }
    });
    if let Some(reason) = &*REFUSAL {
        skip!("this machine forbids the sandbox: {reason:?}");
    }
    REFUSAL.is_none()
}

/// A command and its sandbox with everything at a default that tests change.
struct Fixture {
    folder: tempfile::TempDir,
    command: Command,
    sandbox: Sandbox,
}

impl Fixture {
    /// `sh -c script` in the host's root.
    fn host(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        fs::create_dir(&scratch).unwrap();
        Self {
            command: shell(script),
            sandbox: Sandbox {
                root: Root::Host,
                mounts: Vec::new(),
                hostname: "inside".to_owned(),
                user: None,
                ids: IdMap::Caller,
                network: Network::Host,
                shm_size: None,
                scratch,
            },
            folder,
        }
    }

    /// `sh -c script` in a root of two layers that borrow the host's `/usr`. As its one uid 0.
    fn layers(script: &str) -> Self {
        let mut fixture = Self::host(script);
        let lower = vec![fixture.folder("top"), fixture.folder("bottom")];
        for name in ["bin", "sbin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), lower[1].join(name)).unwrap();
        }
        fs::create_dir(lower[1].join("etc")).unwrap();
        fs::write(lower[0].join("layer"), "top").unwrap();
        fs::write(lower[1].join("layer"), "bottom").unwrap();
        fs::write(lower[1].join("below"), "bottom").unwrap();
        fixture.sandbox.root = Root::Layers {
            privileged: false,
            names: true,
            lower,
            upper: fixture.folder("upper"),
            work: fixture.folder("work"),
        };
        fixture.sandbox.mounts.push(Mount::Bind {
            source: "/usr".into(),
            target: "/usr".into(),
            writable: false,
        });
        fixture.sandbox.ids = IdMap::Single { uid: 0, gid: 0 };
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn overlay(&self, lower: PathBuf, target: &str) -> Mount {
        let (upper, work) = (self.folder("overlay-upper"), self.folder("overlay-work"));
        Mount::Overlay { lower: vec![lower], upper, work, target: target.into(), writable: true }
    }

    fn spawn(&self) -> Result<Child, SandboxError> {
        launcher().spawn(&self.command, &self.sandbox)
    }

    /// Runs it to its end: how it ended and what it wrote to both streams.
    fn run(&self) -> (Exit, String) {
        finish(self.spawn().unwrap())
    }

    /// Runs it, expects success and returns what it wrote.
    #[track_caller]
    fn output(&self) -> String {
        let (exit, output) = self.run();
        assert_eq!(exit, Exit::Code(0), "{output}");
        output
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // The kernel's folder of mode 0 stops an ordinary user from removing the rest.
        for work in ["work", "overlay-work"] {
            let _ = fs::set_permissions(self.path(work).join("work"), fs::Permissions::from_mode(0o700));
        }
    }
}

fn shell(script: &str) -> Command {
    Command {
        argv: vec!["sh".into(), "-c".into(), format!("exec 2>&1; {script}").into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        stdin: Stdio::Null,
        stdout: Stdio::Piped,
        stderr: Stdio::Inherit,
        limits: Vec::new(),
    }
}

fn finish(mut child: Child) -> (Exit, String) {
    let mut output = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut output).unwrap();
    }
    (child.wait().unwrap(), String::from_utf8_lossy(&output).into_owned())
}

/// A folder that every user can enter, however private the temporary folder is.
fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    folder
}

fn copy_program(program: &Path, folder: &Path, name: &str) -> PathBuf {
    let copy = folder.join(name);
    fs::copy(program, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

#[test]
fn ordinary_user() {
    if !is_root() {
        return;
    }
    let folder = open_folder();
    let tests = copy_program(&std::env::current_exe().unwrap(), folder.path(), "it");
    let helper = copy_program(&helper(), folder.path(), "helper");
    let status = std::process::Command::new("setpriv")
        .args(["--reuid", ORDINARY_ID, "--regid", ORDINARY_ID, "--clear-groups", "--"])
        .arg(tests)
        .args(["--nocapture", "--test-threads=2"])
        .env(HELPER_VARIABLE, helper)
        .env("TMPDIR", folder.path())
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .status();
    match status {
        Err(error) => skip!("setpriv of util-linux is missing: {error}"),
        Ok(status) => assert!(status.success(), "the tests fail for an ordinary user"),
    }
}
