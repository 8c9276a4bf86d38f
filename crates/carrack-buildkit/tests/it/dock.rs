//! A Docker daemon, a context that needs no registry, and the clients of the daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use carrack_base::{BuildEvent, Cancel, StepOutcome};
use carrack_buildkit::{
    BuildKit, BuildKitError, Client, Context, DockerBuild, Dockerfile, Output, Programs, Wanted,
};
use carrack_graph::{Backend, BuiltImage};
use carrack_testkit::{Docker, skipped};
use tempfile::TempDir;

/// A daemon, the clients that drive it, and the folder that they work in.
pub(crate) struct Dock {
    pub(crate) docker: Docker,
    pub(crate) folder: TempDir,
}

impl Dock {
    /// Starts a daemon, or says why there is none.
    pub(crate) fn start(test: &str) -> Option<Self> {
        if !Path::new("/bin/busybox").exists() {
            skipped(test, "busybox-static is not installed");
            return None;
        }
        let docker = Docker::start(test, &Path::new(env!("CARGO_TARGET_TMPDIR")).join("dockyard"))?;
        let dock = Self { docker, folder: tempfile::tempdir().unwrap() };
        dock.write_context();
        Some(dock)
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
        Site { dock: self, client }
    }
}

/// A client in front of the daemon.
pub(crate) struct Site<'a> {
    pub(crate) dock: &'a Dock,
    pub(crate) client: Client,
}

impl Site<'_> {
    /// A build of a target of this Dockerfile. No network: there may be no bridge to make one with.
    pub(crate) fn plain(&self, dockerfile: &str, target: &str) -> DockerBuild {
        DockerBuild {
            name: target.to_owned(),
            context: Context::Folder(self.dock.context()),
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
        let client = through(&self.client, self.dock);
        let sink = |event: BuildEvent| {
            tell(&event);
            events.lock().unwrap().push(event);
        };
        let result = BuildKit::new(client, self.dock.folder.path()).build(builds, &sink, cancel);
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
fn through(client: &Client, dock: &Dock) -> Client {
    use std::os::unix::fs::PermissionsExt;
    let (Client::Buildx { docker: program, .. } | Client::Classic { docker: program, .. }) = client else {
        return client.clone();
    };
    let script =
        dock.folder.path().join(if matches!(client, Client::Buildx { .. }) { "buildx" } else { "classic" });
    if !script.exists() {
        let text =
            format!("#!/bin/sh\nDOCKER_HOST={} exec {} \"$@\"\n", dock.docker.host(), program.display());
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
