//! Everything that the cases share: both engines, the registry that they pull from, and the servers that they fetch from.
//! Nothing of it outlives the test process.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use carrack_testkit::{
    ContainerRegistry, Docker, Finished, Guarded, Program, RegistrySetup, has_program, skipped,
};

use super::ssh::Ssh;
use super::{servers, ssh};
use crate::ordinary::{OrdinaryUser, give_away};
use crate::stage::{SYSTEM, dockyard_folder, finish};

const DEBIAN: &str = "debian";
const SSH: &str = "ssh";

/// The base images, each with the Dockerfile that makes it. `@` words are those of the cases.
const BASES: &[(&str, &str)] = &[
    (
        "busybox",
        "FROM scratch\nCOPY busybox /\nCOPY --chown=1000:1000 busybox/var/empty /home/app/\nENV PATH=/bin\nCMD [\"sh\"]\n",
    ),
    (
        DEBIAN,
        "FROM scratch\nADD debian.tar /\nENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         CMD [\"bash\"]\n",
    ),
    // Has `ssh-add`.
    (SSH, "FROM @busybox\nCOPY ssh /\nENV PATH=/bin:/usr/bin\n"),
    // Says something about everything that a child image can inherit.
    (
        "parent",
        "FROM @busybox\nENV FROM_PARENT=1 PATH=/parent/bin:/bin\nLABEL parent=1 shared=parent\nWORKDIR /parent\nUSER app\n\
         EXPOSE 80\nVOLUME /data\nSTOPSIGNAL SIGINT\nHEALTHCHECK --interval=5s CMD true\nENTRYPOINT [\"/entry\"]\nCMD [\"argument\"]\n\
         SHELL [\"/bin/sh\", \"-ec\"]\nMAINTAINER Mara <mara@clinic.example>\n",
    ),
    (
        "trigger",
        "FROM @busybox\nONBUILD COPY given /given\nONBUILD RUN echo $STAGE > /ran\nONBUILD ENV TRIGGERED=yes\n",
    ),
];

/// Of two builds that write the same layer in one moment, Docker fails the second one and says this.
const STORE_IS_BUSY: &str = "failed to open writer: ref ";

/// Shared by all tests of this process.
pub(crate) struct Oracle {
    docker: Docker,
    /// Whether Docker is of today.
    pub(crate) is_current: bool,
    registry: ContainerRegistry,
    web: String,
    git: Option<(String, Guarded)>,
    ssh: Option<Ssh>,
    /// Who builds everything once more, if there can be such a user here.
    ordinary: Option<OrdinaryUser>,
    /// Holds Carrack's state and the cases' folders; removed by the registry's guard.
    folder: PathBuf,
}

impl Oracle {
    /// Starts everything at the first call, or says why there is no oracle here.
    pub(crate) fn shared() -> Result<&'static Self, &'static str> {
        static SHARED: OnceLock<Result<Oracle, String>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref().map_err(String::as_str)
    }

    fn start() -> Result<Self, String> {
        if !Path::new("/bin/busybox").exists() {
            return Err("busybox-static is not installed".to_owned());
        }
        let dockyard = dockyard_folder();
        let (docker, is_current) = match Docker::current(&dockyard) {
            Ok(docker) => (docker, true),
            Err(why) => {
                skipped("a current Docker", &why);
                let docker = Docker::start("the Docker of this machine", &dockyard);
                (docker.ok_or("no Docker starts here")?, false)
            }
        };
        let registry =
            ContainerRegistry::start(&RegistrySetup::Open).ok_or("docker-registry is not installed")?;
        let folder = registry.folder().join("suite");
        let web_folder = folder.join("web");
        provide_downloads(&web_folder);
        // Others come as far as the cases' folders.
        fs::set_permissions(registry.folder(), Permissions::from_mode(0o755)).unwrap();
        let oracle = Self {
            docker,
            is_current,
            web: servers::web(&web_folder),
            git: servers::git(Guarded::new_folder()),
            ssh: Ssh::start(),
            registry,
            ordinary: ordinary(&folder.join("ordinary"))
                .map_err(|why| skipped("dockerfile as an ordinary user", why))
                .ok(),
            folder,
        };
        let context = oracle.folder("bases");
        provide_busybox(&context.join("busybox"));
        if oracle.has_ssh() {
            ssh::provide_client(&context.join("ssh"));
        }
        let is_there = |name: &str| name != DEBIAN && (name != SSH || oracle.has_ssh());
        for (name, dockerfile) in BASES.iter().filter(|(name, _)| is_there(name)) {
            oracle.provide_base(name, dockerfile, &context);
        }
        Ok(oracle)
    }

    /// Makes a base image and pushes it to where both sides pull from.
    fn provide_base(&self, name: &str, dockerfile: &str, context: &Path) {
        fs::write(context.join("Dockerfile"), self.said(dockerfile, context)).unwrap();
        let image = format!("{}/{name}:1", self.registry.address());
        self.docker.build(context, &["--tag", &image]).expect_code(0);
        self.docker.run(&["push", "--quiet", &image]).expect_code(0);
    }

    /// Whether the base `@debian` can be had. It is made when it is first asked for: few cases need it, and it is large.
    pub(crate) fn has_debian(&self) -> bool {
        static THERE: OnceLock<bool> = OnceLock::new();
        *THERE.get_or_init(|| {
            let Ok(archive) = Docker::debian_root(&dockyard_folder()) else { return false };
            let context = self.folder("debian");
            fs::copy(archive, context.join("debian.tar")).unwrap();
            let dockerfile = BASES.iter().find(|(name, _)| *name == DEBIAN).map(|(_, text)| *text);
            self.provide_base(DEBIAN, dockerfile.unwrap(), &context);
            true
        })
    }

    /// Whether Dockerfiles can fetch from git here.
    pub(crate) fn has_git(&self) -> bool {
        self.git.is_some()
    }

    /// Whether there is an agent that can be lent.
    pub(crate) fn has_ssh(&self) -> bool {
        self.ssh.is_some()
    }

    /// A new folder of this name.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// `text` with what its `@` words stand for; `own` is the case's folder.
    pub(crate) fn said(&self, text: &str, own: &Path) -> String {
        let mut text = text.replace("@http", &self.web).replace("@self", &own.display().to_string());
        if let Some((address, _)) = &self.git {
            text = text.replace("@git", address);
        }
        if let Some(ssh) = &self.ssh {
            text = ssh.said(&text);
        }
        for (name, _) in BASES {
            text = text.replace(&format!("@{name}"), &format!("{}/{name}:1", self.registry.address()));
        }
        text.replace("@registry", self.registry.address())
    }

    /// Docker's build, as an image in the file `archive`.
    pub(crate) fn docker(&self, wanted: &Wanted<'_>, archive: &Path) -> Finished {
        let mut builder = self.docker.builder();
        for (name, value) in wanted.environment {
            builder = builder.with_env(name, value);
        }
        // The daemon has no network of its own to give.
        let build = ["build", "--network", "host", "--progress", "plain"];
        if self.is_current {
            let output = format!("type=oci,dest={}", archive.display());
            let how = ["--provenance=false", "--output", &output];
            let arguments = [&build[..], &how, wanted.arguments].concat();
            let finished = builder.run(wanted.context, &arguments);
            let again = finished.stderr.contains(STORE_IS_BUSY);
            return if again { builder.run(wanted.context, &arguments) } else { finished };
        }
        let tag = ["--tag", wanted.name];
        let finished = builder.run(wanted.context, &[&build[..], &tag, wanted.arguments].concat());
        if finished.code == Some(0) {
            self.docker.save(wanted.name, archive);
        }
        finished
    }

    /// The same by Carrack alone.
    pub(crate) fn carrack(&self, wanted: &Wanted<'_>, archive: &Path) -> Finished {
        let command = Command::new(env!("CARGO_BIN_EXE_carrack"));
        carrack(command, &self.folder("root"), wanted, archive)
    }

    /// The same by Carrack for the ordinary user, if there is one: a build without any privilege.
    pub(crate) fn carrack_without_root(&self, wanted: &Wanted<'_>, archive: &Path) -> Option<Finished> {
        let user = self.ordinary.as_ref()?;
        let folder = self.folder.join("ordinary");
        let command = user.command(folder.join("carrack"), &[]);
        Some(carrack(command, &folder.join("home"), wanted, archive))
    }

    /// What Docker answers to `build` with these arguments in a folder: `--check`, `--call`.
    pub(crate) fn ask_docker(&self, folder: &Path, arguments: &[&str]) -> Finished {
        self.docker.builder().run(folder, &[&["build"], arguments, &["."]].concat())
    }

    /// What Carrack answers to the same.
    pub(crate) fn ask_carrack(&self, folder: &Path, arguments: &[&str]) -> Finished {
        let home = self.folder("root");
        let program = Program::new(env!("CARGO_BIN_EXE_carrack")).in_clean_environment();
        let program = program.with_env("PATH", SYSTEM).with_env("CARRACK_HOME", home.join("state"));
        program.run(folder, &[&["build"], arguments, &["."]].concat())
    }
}

/// A build, as every engine is asked for it.
pub(crate) struct Wanted<'a> {
    /// The folder that is built from.
    pub(crate) context: &'a Path,
    /// What the image is called.
    pub(crate) name: &'a str,
    pub(crate) arguments: &'a [&'a str],
    pub(crate) environment: &'a [(&'a str, String)],
}

fn carrack(mut command: Command, home: &Path, wanted: &Wanted<'_>, archive: &Path) -> Finished {
    let output = format!("type=oci,dest={}", archive.display());
    // Docker does not know the authorities that were added to this machine.
    let build = ["build", "--no-host-certificates", "--progress", "plain", "-t", wanted.name, "-o", &output];
    command.args(build).args(wanted.arguments).current_dir(wanted.context).stdin(Stdio::null());
    command.env_clear().env("PATH", SYSTEM).env("HOME", home).env("CARRACK_HOME", home.join("state"));
    command.envs(wanted.environment.iter().map(|(name, value)| (name, value)));
    finish(&mut command)
}

/// An ordinary user with a home and the program in `folder`.
fn ordinary(folder: &Path) -> Result<OrdinaryUser, &'static str> {
    if !has_program("newuidmap") {
        return Err("uidmap is not installed");
    }
    let home = folder.join("home");
    fs::create_dir_all(&home).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_carrack"), folder.join("carrack")).unwrap();
    give_away(&home);
    OrdinaryUser::new(folder)
}

/// A root file system of one program with many names, and a few users.
fn provide_busybox(root: &Path) {
    for folder in ["bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "var/empty"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
    for name in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    let write = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
    write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    );
    write("etc/group", "root:x:0:\napp:x:1000:\nwheel:x:10:app\nclinic:x:2000:app\nnogroup:x:65534:\n");
    fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).unwrap();
}

/// What Dockerfiles download.
fn provide_downloads(folder: &Path) {
    fs::create_dir_all(folder.join("dir")).unwrap();
    fs::write(folder.join("hello.txt"), "hello\n").unwrap();
    fs::write(folder.join("dir/data.bin"), [0, 1, 2, 255]).unwrap();
    fs::write(folder.join("archive.tar.gz"), super::cases::add::archive(super::cases::add::Packed::Gzip))
        .unwrap();
}
