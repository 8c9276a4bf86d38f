//! A real Docker engine that belongs to a test, base images made on this machine, and what BuildKit did.
//!
//! The daemon runs in namespaces of its own behind a guard process that ends with the test process, however that
//! ends; with the guard go the daemon, its containers, its mounts and its files. It has no bridge: what needs a network
//! asks for the host's (`--network host`, `build.network: host`). Where a daemon or the base images cannot be had,
//! the fixtures say a visible skip.
//!
//! There are two: the one that this machine's distribution has, and a current one in a root file system of its own
//! ([`Docker::current`]).

mod base_images;
mod current;
mod steps;

pub use base_images::{RUST_IMAGE, SLIM_IMAGE, rust_files};
pub use steps::Steps;

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use current::CurrentEngine;
use serde_json::Value;

use crate::{Finished, Program, skipped};

/// Engines answer at once or after many seconds on a busy machine; a minute is never.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// The distribution's client; machines often have another one in front.
const CLIENT: &str = "/usr/bin/docker";
const DAEMON: &str = "/usr/sbin/dockerd";

/// Runs the daemon until standard input ends, which it does with the test process. Its own end ends the daemon too.
///
/// The daemon is the first process of its namespace: the kernel ends whatever it started together with it.
const GUARD: &str = r#"
trap '' HUP INT QUIT TERM
run=$1 data=$2 client=$3 socket=$4
shift 4
setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child --mount-proc -- "$@" \
    </dev/null >"$run/log" 2>&1 &
namespace=$!
while read -r line; do :; done
containers=$("$client" --host "$socket" ps --quiet)
[ -z "$containers" ] || "$client" --host "$socket" rm --force $containers
kill -KILL $(cat /proc/$namespace/task/$namespace/children) $namespace
wait
rm -rf "$run" "$data"
"#;

/// A Docker daemon of the test's own.
pub struct Docker {
    guard: Child,
    /// Socket, log and settings: in a short path, as sockets need it.
    run: PathBuf,
    host: String,
    engine: Engine,
}

/// Which programs it is made of.
#[derive(Clone)]
enum Engine {
    /// Those of this machine.
    Installed,
    Current(CurrentEngine),
}

impl Docker {
    /// Starts a daemon with nothing in it that keeps its images below `folder`, or says why there is none.
    pub fn start(test: &str, folder: &Path) -> Option<Self> {
        Self::start_with(test, folder, &[])
    }

    /// [`Self::start`] with further options for the daemon.
    pub fn start_with(test: &str, folder: &Path, options: &[&str]) -> Option<Self> {
        Self::try_start(folder, Engine::Installed, options).map_err(|why| skipped(test, &why)).ok()
    }

    /// Starts a daemon of a current release in a root file system of its own, which is made once and kept below `folder`; its
    /// images are in memory. Says why there is none.
    pub fn current(folder: &Path) -> Result<Self, String> {
        needs_root()?;
        Self::try_start(folder, Engine::Current(CurrentEngine::provide(folder)?), &[])
    }

    /// A daemon of the caller's own with [`RUST_IMAGE`] and [`SLIM_IMAGE`] in it, for those who empty its cache.
    pub fn with_base_images(test: &str, folder: &Path) -> Option<Self> {
        Self::try_start_with_images(folder).map_err(|why| skipped(test, &why)).ok()
    }

    /// The daemon that all tests of this process share, with [`RUST_IMAGE`] and [`SLIM_IMAGE`] in it, or a word about why
    /// there is none. The images are made once and kept below `folder`.
    pub fn dockyard(test: &str, folder: &Path) -> Option<&'static Self> {
        static SHARED: OnceLock<Result<Docker, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::try_start_with_images(folder));
        shared.as_ref().map_err(|why| skipped(test, why)).ok()
    }

    fn try_start_with_images(folder: &Path) -> Result<Self, String> {
        let docker = Self::try_start(folder, Engine::Installed, &[])?;
        base_images::provide(&docker, folder)?;
        Ok(docker)
    }

    fn try_start(folder: &Path, engine: Engine, options: &[&str]) -> Result<Self, String> {
        needs_root()?;
        if matches!(engine, Engine::Installed) && !(Path::new(CLIENT).exists() && Path::new(DAEMON).exists())
        {
            return Err("docker.io is not installed".to_owned());
        }
        // Every user may come as far as the socket, which then lets them in or not.
        let run = tempfile::Builder::new()
            .prefix("docker-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder can be made")
            .keep();
        let host = format!("unix://{}", run.join("docker.sock").display());
        fs::create_dir(run.join("config")).expect("the folder was just made");
        // Where the daemon sees its folders; and its images, if they are on the disk.
        let (inner_run, inner_data, data, daemon) = match &engine {
            Engine::Installed => {
                let data = data_folder(folder);
                (run.clone(), data.clone(), data, vec![OsString::from(DAEMON)])
            }
            Engine::Current(current) => {
                current.provide_plugins(&run.join("config"));
                let [inner_run, inner_data] = CurrentEngine::INSIDE.map(PathBuf::from);
                (inner_run, inner_data, PathBuf::new(), current.enter(&run))
            }
        };
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&run).arg(data).arg(engine.client()).arg(&host);
        guard.args(daemon);
        let path = |name: &str| inner_run.join(name).display().to_string();
        guard.arg("--data-root").arg(inner_data);
        guard.args(["--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        guard.args(["-H", &format!("unix://{}", path("docker.sock"))]);
        guard.args(["--bridge", "none", "--iptables=false", "--ip6tables=false"]).args(options);
        // Nobody who reads the test's output may have to wait for the guard.
        guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).env("PATH", debian_first());
        guard.process_group(0);
        let guard = guard.spawn().map_err(|error| format!("no shell: {error}"))?;
        let docker = Self { guard, run, host, engine };
        let start = Instant::now();
        while docker.run(&["version"]).code != Some(0) {
            let log = fs::read_to_string(docker.run.join("log")).unwrap_or_default();
            if start.elapsed() > PATIENCE || log.contains("failed to start daemon") {
                return Err(format!("dockerd does not start: {}", log.lines().last().unwrap_or_default()));
            }
            thread::sleep(PAUSE);
        }
        Ok(docker)
    }

    /// The root file system of [`SLIM_IMAGE`] as a tar archive, made once and kept below `folder`, or why it can't be had.
    pub fn debian_root(folder: &Path) -> Result<PathBuf, String> {
        base_images::debian_root(folder)
    }

    /// The address of the daemon, as in `DOCKER_HOST`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The folder with the client's settings and plugins, as in `DOCKER_CONFIG`.
    pub fn settings(&self) -> PathBuf {
        self.run.join("config")
    }

    /// The client that belongs to this daemon.
    pub fn client_path(&self) -> &Path {
        self.engine.client()
    }

    /// Gives a program this daemon, no settings of the user's, and Debian's client and compose before all others.
    #[must_use]
    pub fn with_engine(&self, program: Program) -> Program {
        program
            .with_env("DOCKER_HOST", &self.host)
            .with_env("DOCKER_CONFIG", self.settings())
            .with_env("PATH", debian_first())
    }

    /// What understands `build` for this daemon, for further variables.
    pub fn builder(&self) -> Program {
        let builder = match &self.engine {
            Engine::Installed => Program::new(CLIENT),
            // What `docker build` starts: three starts of large programs become one.
            Engine::Current(current) => Program::new(current.buildx()),
        };
        self.with_engine(builder).with_env("DOCKER_BUILDKIT", "1")
    }

    /// Runs `docker` to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.with_engine(Program::new(self.engine.client())).run(&self.run, arguments)
    }

    /// `docker build` with BuildKit and the host's network, from the Dockerfile in `context`.
    pub fn build(&self, context: &Path, arguments: &[&str]) -> Finished {
        let build = ["build", "--network", "host", "--progress", "plain"];
        self.builder().run(context, &[&build[..], arguments, &["."]].concat())
    }

    /// Ends the daemon: nobody answers at [`Self::host`] any more.
    pub fn stop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }

    /// Writes an image into the file `archive`, as `docker save` does.
    pub fn save(&self, name: &str, archive: &Path) {
        let archive = archive.to_str().expect("the archives of tests have names of UTF-8");
        self.run(&["save", "--output", archive, name]).expect_code(0);
    }

    /// What `docker inspect` says about an image or a container.
    pub fn inspect(&self, name: &str) -> Value {
        let text = self.run(&["inspect", name]).expect_code(0).stdout;
        let mut entries: Vec<Value> = serde_json::from_str(&text).expect("docker prints JSON");
        assert_eq!(entries.len(), 1, "{text}");
        entries.remove(0)
    }
}

impl Engine {
    fn client(&self) -> &Path {
        match self {
            Self::Installed => Path::new(CLIENT),
            Self::Current(current) => current.client(),
        }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.stop();
    }
}

fn needs_root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() { Ok(()) } else { Err("a Docker daemon needs root".to_owned()) }
}

/// A new folder below `folder`, named like this process; those of processes that are gone are removed.
fn data_folder(folder: &Path) -> PathBuf {
    let daemons = folder.join("daemons");
    fs::create_dir_all(&daemons).unwrap_or_else(|error| panic!("{}: {error}", daemons.display()));
    for entry in fs::read_dir(&daemons).expect("the folder was just made").flatten() {
        let name = entry.file_name();
        let process = name.to_string_lossy().split('-').next().map(str::to_owned).unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            // A guard may be doing the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(&daemons).expect("a folder can be made").keep()
}

/// This process's `PATH` behind Debian's folder.
fn debian_first() -> String {
    format!("/usr/bin:{}", std::env::var("PATH").unwrap_or_default())
}

/// Takes the lock file `path`, waiting for whoever holds it.
fn locked(path: &Path) -> io::Result<File> {
    let file = File::create(path)?;
    file.lock()?;
    Ok(file)
}
