//! A Docker daemon of a test's own, Debian's, with what options the test wants.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use carrack_testkit::{Program, skipped};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::scene::new_folder;
use crate::stage::is_root;

/// A daemon starts at once or after many seconds on a busy machine; a minute is never.
const PATIENCE: Duration = Duration::from_secs(60);
/// The distribution's programs; machines often have another Docker client in front.
pub(crate) const SYSTEM: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A Docker daemon that belongs to this test and ends with it.
pub(crate) struct Daemon {
    process: Child,
    pub(crate) host: String,
    pub(crate) folder: TempDir,
}

impl Daemon {
    /// Starts a daemon, or says why there is none.
    pub(crate) fn start(test: &str, options: &[&str]) -> Option<Self> {
        if !is_root() || !Path::new("/usr/sbin/dockerd").exists() || !Path::new("/usr/bin/docker").exists() {
            skipped(test, "a Docker daemon needs root and docker.io");
            return None;
        }
        let folder = new_folder();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let host = format!("unix://{}", path("docker.sock"));
        // Mounts that the daemon leaves behind end with its namespace.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "/usr/sbin/dockerd"]);
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command
            .args(["-H", &host, "--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .args(options);
        let log = File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut daemon = Self { process: command.spawn().unwrap(), host, folder };
        let start = Instant::now();
        let client = Program::new("/usr/bin/docker").with_env("DOCKER_HOST", &daemon.host);
        while client.run(daemon.folder.path(), &["version"]).code != Some(0) {
            if daemon.process.try_wait().unwrap().is_some() || start.elapsed() > PATIENCE {
                let log = fs::read_to_string(daemon.folder.path().join("log")).unwrap();
                skipped(test, &format!("dockerd does not start: {}", log.lines().last().unwrap_or_default()));
                return None;
            }
            thread::sleep(Duration::from_millis(50));
        }
        Some(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}
