//! A Docker daemon for the time of a measurement, with base images made on the spot.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::stage::{Folder, Stage};
use super::time;
use crate::cargo::start_failed;

/// The distribution's client; machines often have another one in front.
const CLIENT: &str = "/usr/bin/docker";
const DAEMON: &str = "/usr/sbin/dockerd";
/// A program without libraries that is every program of a small system.
const BUSYBOX: &str = "/bin/busybox";
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Docker {
    daemon: Child,
    host: String,
    pub(super) version: String,
    dockerfile: PathBuf,
    _folder: Folder,
}

impl Docker {
    /// Starts a daemon and builds once; the inner error says why there is none on this machine.
    pub(super) fn start(stage: &Stage<'_>) -> Result<Result<Self, String>, String> {
        if !fs::metadata("/proc/self").is_ok_and(|folder| folder.uid() == 0) {
            return Ok(Err("its daemon needs root".to_owned()));
        }
        if let Some(missing) = [CLIENT, DAEMON, BUSYBOX].iter().find(|program| !Path::new(program).exists()) {
            return Ok(Err(format!("{missing} is not installed")));
        }
        let folder = Folder::new("docker")?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let host = format!("unix://{}", path("docker.sock"));
        let log = File::create(folder.path().join("log")).map_err(|error| error.to_string())?;
        // Mounts that the daemon leaves behind end with its namespace.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", DAEMON]);
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command.args(["-H", &host, "--bridge", "none", "--iptables=false", "--ip6tables=false"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let daemon = command.spawn().map_err(|error| start_failed(&command, &error))?;
        let dockerfile = stage.root.join("benches/Dockerfile");
        let mut docker = Self { daemon, host, version: String::new(), dockerfile, _folder: folder };
        match docker.wait() {
            Ok(version) => docker.version = version,
            Err(why) => return Ok(Err(why)),
        }
        docker.import_bases(stage)?;
        time(&mut docker.build(stage))?;
        Ok(Ok(docker))
    }

    /// `docker build` of Carrack's copy of the example.
    pub(super) fn build(&self, stage: &Stage<'_>) -> Command {
        let mut command = self.client();
        command.args(["build", "--quiet", "--network", "host", "--tag", "carrack-bench/server", "--file"]);
        command.arg(&self.dockerfile).arg(&stage.workspace).env("DOCKER_BUILDKIT", "1");
        command
    }

    fn client(&self) -> Command {
        let mut command = Command::new(CLIENT);
        command.env("DOCKER_HOST", &self.host);
        command
    }

    /// The daemon's version, once it answers.
    fn wait(&mut self) -> Result<String, String> {
        let start = Instant::now();
        loop {
            let output = self.client().args(["version", "--format", "{{.Server.Version}}"]).output();
            if let Some(output) = output.ok().filter(|output| output.status.success()) {
                return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
            }
            let ended = self.daemon.try_wait().map_err(|error| error.to_string())?.is_some();
            if ended || start.elapsed() > PATIENCE {
                return Err("its daemon does not start".to_owned());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// A builder with a shell and the compiled program in it, and a runtime with a shell.
    fn import_bases(&self, stage: &Stage<'_>) -> Result<(), String> {
        let server = stage.bare_target().join("release/rustcare-server");
        let bases = Folder::new("bases")?;
        for (name, files) in [
            ("runtime", &[(Path::new(BUSYBOX), "bin/sh")][..]),
            (
                "builder",
                &[
                    (Path::new(BUSYBOX), "bin/sh"),
                    (Path::new(BUSYBOX), "bin/cp"),
                    (&server, "prebuilt/rustcare-server"),
                ],
            ),
        ] {
            let root = bases.path().join(name);
            for (from, to) in files {
                let to = root.join(to);
                fs::create_dir_all(to.parent().expect("the file is in a folder"))
                    .and_then(|()| fs::copy(from, &to))
                    .and_then(|_| fs::set_permissions(&to, fs::Permissions::from_mode(0o755)))
                    .map_err(|error| format!("can't make {}: {error}", to.display()))?;
            }
            let archive = bases.path().join(format!("{name}.tar"));
            time(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg("."))?;
            time(self.client().arg("import").arg(&archive).arg(format!("carrack-bench/{name}")))?;
        }
        Ok(())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // It ends its own children on SIGTERM, which `Child::kill` can't send.
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
    }
}
