//! A current Docker engine, from Debian's testing suite in a root file system of its own.
//!
//! The root file system is a folder `engines/<digest of what went into it>`, made once. A daemon sees it as `/`, in a mount
//! namespace of its own: nothing is mounted for anybody else, and with the daemon's last process its mounts are gone. The
//! clients are linked statically and run outside.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::base_images::ran;
use super::locked;
use crate::has_program;

const SUITE: &str = "forky";

/// Everything but the suite and the folder. The suite's list of packages is past its date where it comes from a snapshot.
const DEBIAN: &[&str] = &[
    "--quiet",
    "--variant=minbase",
    "--aptopt=Acquire::Check-Valid-Until \"false\"",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--include=docker.io,docker-cli,docker-buildx,iptables,ca-certificates,git,xz-utils",
];

/// containerd's image store, as current releases have it by default: with it `COPY --link` does what it says, and images
/// can be exported as OCI layouts.
const SETTINGS: &str = r#"{ "features": { "containerd-snapshotter": true } }"#;

/// The client's plugins, below the root file system.
const PLUGINS: &str = "usr/libexec/docker/cli-plugins";

/// Makes a root file system the daemon's own and becomes the daemon in it. `/run` is a tmpfs, with the images of a few hundred
/// megabytes as well: nothing stays behind, and a daemon that makes sure of every write needs no disk for it.
const ENTER: &str = r#"
set -e
root=$1 run=$2
shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mkdir "$root/run/daemon"
mount --bind "$run" "$root/run/daemon"
exec chroot "$root" "$@"
"#;

/// The engine's programs, on this machine's disk.
#[derive(Clone)]
pub(super) struct CurrentEngine {
    root: PathBuf,
    client: PathBuf,
}

impl CurrentEngine {
    /// Where the daemon sees the folder of its socket, and has its images.
    pub(super) const INSIDE: [&str; 2] = ["/run/daemon", "/run/data"];

    /// Makes the root file system unless it is there.
    pub(super) fn provide(folder: &Path) -> Result<Self, String> {
        let mut hasher = DefaultHasher::new();
        (DEBIAN, SUITE).hash(&mut hasher);
        let engines = folder.join("engines");
        let root = engines.join(format!("{SUITE}-{:016x}", hasher.finish()));
        let failed = |error: std::io::Error| format!("{}: {error}", engines.display());
        fs::create_dir_all(&engines).map_err(failed)?;
        let _alone = locked(&folder.join("engines.lock")).map_err(failed)?;
        if !root.exists() {
            if !has_program("mmdebstrap") {
                return Err("mmdebstrap is not installed".to_owned());
            }
            // What another version of this file made, or what was given up.
            fs::remove_dir_all(&engines).and_then(|()| fs::create_dir(&engines)).map_err(failed)?;
            let partial = engines.join("partial");
            ran(Command::new("mmdebstrap").args(DEBIAN).arg(SUITE).arg(&partial))?;
            fs::rename(&partial, &root).map_err(failed)?;
        }
        let client = root.join("usr/bin/docker");
        Ok(Self { root, client })
    }

    pub(super) fn client(&self) -> &Path {
        &self.client
    }

    pub(super) fn buildx(&self) -> PathBuf {
        self.root.join(PLUGINS).join("docker-buildx")
    }

    /// Gives the client with this configuration its plugins.
    pub(super) fn provide_plugins(&self, configuration: &Path) {
        let (inside, outside) = (self.root.join(PLUGINS), configuration.join("cli-plugins"));
        symlink(&inside, &outside).unwrap_or_else(|error| panic!("{}: {error}", outside.display()));
    }

    /// The command line that the daemon's further arguments follow.
    pub(super) fn enter(&self, run: &Path) -> Vec<OsString> {
        let settings = run.join("daemon.json");
        fs::write(&settings, SETTINGS).unwrap_or_else(|error| panic!("{}: {error}", settings.display()));
        let mut line: Vec<OsString> = ["sh", "-c", ENTER, "enter"].map(OsString::from).into();
        line.extend([self.root.as_path(), run].map(|path| path.as_os_str().to_owned()));
        line.extend(["dockerd", "--config-file", "/run/daemon/daemon.json"].map(OsString::from));
        line
    }
}
