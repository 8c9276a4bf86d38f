//! A Docker daemon of the test's own, a context that needs no registry, and the clients.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use carrack_base::{BuildEvent, Cancel, StepOutcome};
use carrack_buildkit::{
    BuildKit, BuildKitError, Client, Context, DockerBuild, Dockerfile, Output, Programs, Wanted,
};
use carrack_graph::{Backend, BuiltImage};
use carrack_testkit::{Finished, Program, skipped};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A daemon answers at once or after many seconds on a busy machine; a minute is never.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// A daemon that ends with the test.
pub(crate) struct Docker {
    daemon: Child,
    client: Program,
    host: String,
    pub(crate) folder: TempDir,
}

impl Docker {
    /// Starts a daemon, or says why there is none.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        if !rustix::process::geteuid().is_root() {
            skipped(test, "a Docker daemon needs root");
            return None;
        }
        if !Path::new("/usr/bin/docker").exists() || !Path::new("/usr/sbin/dockerd").exists() {
            skipped(test, "docker.io is not installed");
            return None;
        }
        if !Path::new("/bin/busybox").exists() {
            skipped(test, "busybox-static is not installed");
            return None;
        }
        let path = |name: &str| folder.path().join(name).display().to_string();
        let host = format!("unix://{}", path("docker.sock"));
        // Mounts that the daemon leaves behind end with its namespace.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "/usr/sbin/dockerd"]);
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command.args(["-H", &host, "--bridge", "none", "--iptables=false", "--ip6tables=false"]);
        let log = File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = command.spawn().unwrap();
        let client = Program::new("/usr/bin/docker").with_env("DOCKER_HOST", &host);
        let mut docker = Self { daemon, client, host, folder };
        let start = Instant::now();
        while docker.run(&["version"]).code != Some(0) {
            if docker.daemon.try_wait().unwrap().is_some() || start.elapsed() > PATIENCE {
                let log = fs::read_to_string(docker.folder.path().join("log")).unwrap();
                skipped(test, &format!("dockerd does not start: {}", log.lines().last().unwrap_or_default()));
                return None;
            }
            thread::sleep(PAUSE);
        }
        docker.write_context();
        Some(docker)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        self.client.run(self.folder.path(), arguments)
    }

    /// Ends the daemon.
    pub(crate) fn stop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        let _ = self.daemon.wait();
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.folder.path().join("context")
    }

    /// A context with a root file system that has a shell.
    fn write_context(&self) {
        let programs = self.context().join("rootfs/bin");
        fs::create_dir_all(&programs).unwrap();
        fs::copy("/bin/busybox", programs.join("busybox")).unwrap();
        for name in ["sh", "cat", "sleep", "test"] {
            std::os::unix::fs::symlink("busybox", programs.join(name)).unwrap();
        }
    }

    /// Every client of this machine that can drive the daemon; a kind that is not here is skipped visibly.
    pub(crate) fn clients(&self, test: &str) -> Vec<Site<'_>> {
        let mut found = vec![self.site(&[PathBuf::from("/usr/bin/docker")])];
        if matches!(found[0].client, Client::Buildx { .. }) {
            return found;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let clients: Vec<PathBuf> =
            std::env::split_paths(&path).map(|folder| folder.join("docker")).collect();
        let other = self.site(&clients.into_iter().filter(|client| client.exists()).collect::<Vec<_>>());
        match other.client {
            Client::Buildx { .. } => found.push(other),
            _ => skipped(&format!("{test} with docker buildx"), "it is not installed"),
        }
        found
    }

    fn site(&self, docker: &[PathBuf]) -> Site<'_> {
        let programs = Programs { docker: docker.to_vec(), buildctl: None };
        let client = Client::find(&programs, &Wanted::Docker { builder: None }).unwrap();
        Site { docker: self, client }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if let Ok(None) = self.daemon.try_wait() {
            self.stop();
        }
    }
}

/// A client in front of the daemon.
pub(crate) struct Site<'a> {
    pub(crate) docker: &'a Docker,
    pub(crate) client: Client,
}

impl Site<'_> {
    /// A build of a target of this Dockerfile. No network: there may be no bridge to make one with.
    pub(crate) fn plain(&self, dockerfile: &str, target: &str) -> DockerBuild {
        DockerBuild {
            name: target.to_owned(),
            context: Context::Folder(self.docker.context()),
            dockerfile: Dockerfile::Text { text: dockerfile.to_owned(), ignore: None },
            target: Some(target.to_owned()),
            tags: vec![format!("{target}:latest")],
            network: Some("none".to_owned()),
            outputs: vec![Output::Load],
            ..DockerBuild::default()
        }
    }

    /// Builds, and tells what happened to `tell` while it does.
    pub(crate) fn build(
        &self,
        builds: &[DockerBuild],
        cancel: &Cancel,
        tell: impl Fn(&BuildEvent) + Sync,
    ) -> (Result<Vec<BuiltImage>, BuildKitError>, Events) {
        let events = Mutex::new(Vec::new());
        // The only variable that decides which daemon it is; the tests of this program all have their own.
        let client = through(&self.client, self.docker);
        let sink = |event: BuildEvent| {
            tell(&event);
            events.lock().unwrap().push(event);
        };
        let result = BuildKit::new(client, self.docker.folder.path()).build(builds, &sink, cancel);
        (result, Events(events.into_inner().unwrap()))
    }

    /// Builds, which has to work.
    #[track_caller]
    pub(crate) fn built(&self, builds: &[DockerBuild]) -> (Vec<BuiltImage>, Events) {
        let (result, events) = self.build(builds, &Cancel::default(), |_| {});
        (result.unwrap_or_else(|error| panic!("{error:?}")), events)
    }
}

/// The client as a script that names the daemon: a process has one environment, and tests run side by side in it.
fn through(client: &Client, docker: &Docker) -> Client {
    use std::os::unix::fs::PermissionsExt;
    let (Client::Buildx { docker: program, .. } | Client::Classic { docker: program, .. }) = client else {
        return client.clone();
    };
    let script =
        docker.folder.path().join(if matches!(client, Client::Buildx { .. }) { "buildx" } else { "classic" });
    if !script.exists() {
        let text = format!("#!/bin/sh\nDOCKER_HOST={} exec {} \"$@\"\n", docker.host, program.display());
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut client = client.clone();
    if let Client::Buildx { docker: program, .. } | Client::Classic { docker: program, .. } = &mut client {
        *program = script;
    }
    client
}

/// What a build said.
pub(crate) struct Events(pub(crate) Vec<BuildEvent>);

impl Events {
    /// The summaries of the steps that ended like this.
    pub(crate) fn steps(&self, ended: StepOutcome) -> Vec<&str> {
        let summary = |event| match event {
            &BuildEvent::StepFinished { outcome, ref summary, .. } if outcome == ended => {
                Some(summary.as_str())
            }
            _ => None,
        };
        self.0.iter().filter_map(summary).filter(|summary| !summary.is_empty()).collect()
    }

    /// Everything that steps wrote.
    pub(crate) fn output(&self) -> String {
        let bytes = self.0.iter().filter_map(|event| match event {
            BuildEvent::StepOutput { bytes, .. } => Some(bytes.as_slice()),
            _ => None,
        });
        String::from_utf8_lossy(&bytes.collect::<Vec<_>>().concat()).into_owned()
    }
}
