//! The base images that generated Dockerfiles name, made on this machine: no public registry has to be reachable.
//!
//! [`SLIM_IMAGE`] is a minimal Debian without CA certificates and package lists, [`RUST_IMAGE`] is the same with a
//! linker and this machine's own Rust toolchain behind rustup, at the places and with the variables that the official
//! images have. Like a company's base image, both know the certificate authorities that the machine's administrator
//! added and apt's settings for checking dates. Both are saved in one archive, named by a digest of all that went
//! into them.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Docker, locked};
use crate::{find_program, has_program};

/// Debian without CA certificates, as `mmdebstrap` makes it.
pub const SLIM_IMAGE: &str = "debian:bookworm-slim";

/// [`SLIM_IMAGE`] with a linker and this machine's Rust toolchain: the release that this repository asks for. It has the
/// name with the release's last number as well.
pub const RUST_IMAGE: &str = concat!("rust:", env!("CARGO_PKG_RUST_VERSION"), "-slim-bookworm");

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an administrator adds.
const CERTIFICATES: &str = "/usr/local/share/ca-certificates";
/// At a time when ca-certificates, which gathers them, is not installed yet.
const COPY_CERTIFICATES: &str = "--essential-hook=copy-in";

/// Everything but the mirror, the certificates and the archive's path.
const DEBIAN: &[&str] = &[
    "--quiet",
    "--variant=minbase",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];

/// Settings of apt that a machine behind a mirror may need in its containers as well.
const APT_SETTINGS: &[&str] = &["Acquire::Check-Date", "Acquire::Check-Valid-Until"];

/// Packages of Debian that a Rust toolchain needs.
const LINKER: &str = "ca-certificates,gcc,libc6-dev";

/// This machine's toolchain.
struct Toolchain {
    /// `rustc -vV`.
    version: String,
    release: String,
    host: String,
    sysroot: PathBuf,
    rustup: PathBuf,
}

/// Where a build finds the files of [`RUST_IMAGE`]: `debian.tar`, with a linker, and the folder `rust`, which comes over it.
/// Made in `folder` unless they are there.
///
/// Errors: what is missing on this machine, or went wrong.
pub fn rust_files(folder: &Path) -> Result<PathBuf, String> {
    if !has_program("mmdebstrap") {
        return Err("mmdebstrap is not installed".to_owned());
    }
    let toolchain = Toolchain::find()?;
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let _alone = locked(&folder.join("rust-files.lock")).map_err(failed)?;
    let files = folder.join(format!("rust-files-{}", made_of((LINKER, &toolchain.version))));
    if files.exists() {
        return Ok(files);
    }
    let partial = files.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).map_err(failed)?;
    let rootfs = partial.join("debian.tar");
    bootstrap(&[&format!("--include={LINKER}")], &rootfs)?;
    toolchain.stage(&partial.join("rust"))?;
    fs::rename(&partial, &files).map_err(failed)?;
    Ok(files)
}

/// Puts both images into `docker`, from the archive below `folder` if it is there.
pub(super) fn provide(docker: &Docker, folder: &Path) -> Result<(), String> {
    if !has_program("mmdebstrap") {
        return Err("mmdebstrap is not installed".to_owned());
    }
    let toolchain = Toolchain::find()?;
    let name = format!("images-{}.tar", made_of((LINKER, PATH, &toolchain.version)));
    let images = folder.join("images");
    fs::create_dir_all(&images).map_err(|error| format!("{}: {error}", images.display()))?;
    let _alone =
        locked(&folder.join("images.lock")).map_err(|error| format!("{}: {error}", folder.display()))?;
    let archive = images.join(name);
    let text = archive.display().to_string();
    if archive.exists() {
        succeeded(docker.run(&["load", "--quiet", "--input", &text]))?;
    } else {
        // Each is a gigabyte, and none of them is of use any more.
        let _ = fs::remove_dir_all(&images).and_then(|()| fs::create_dir(&images));
        make(docker, &toolchain, folder)?;
        let partial = format!("{text}.partial");
        succeeded(docker.run(&["save", "--output", &partial, SLIM_IMAGE, RUST_IMAGE]))?;
        fs::rename(partial, archive).map_err(|error| format!("{text}: {error}"))?;
    }
    succeeded(docker.run(&["tag", RUST_IMAGE, &toolchain.image()])).map(drop)
}

/// The root file system of [`SLIM_IMAGE`] as an archive, made once and kept below `folder`.
pub(super) fn debian_root(folder: &Path) -> Result<PathBuf, String> {
    if !has_program("mmdebstrap") {
        return Err("mmdebstrap is not installed".to_owned());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let _alone = locked(&folder.join("debian.lock")).map_err(failed)?;
    let archive = folder.join(format!("debian-{}.tar", made_of(())));
    if !archive.exists() {
        let partial = folder.join("debian-partial.tar");
        bootstrap(&[], &partial)?;
        fs::rename(partial, &archive).map_err(failed)?;
    }
    Ok(archive)
}

/// A digest of what [`bootstrap`] is given and of `more`.
fn made_of(more: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    (DEBIAN, COPY_CERTIFICATES, apt_settings(), certificates(), more).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn bootstrap(arguments: &[&str], archive: &Path) -> Result<(), String> {
    let mut debian = Command::new("mmdebstrap");
    debian.args(DEBIAN).args(arguments);
    debian.args(apt_settings().iter().map(|setting| format!("--aptopt={setting}")));
    if Path::new(CERTIFICATES).is_dir() {
        debian.arg(format!("{COPY_CERTIFICATES} {CERTIFICATES} /usr/local/share"));
    }
    ran(debian.arg("bookworm").arg(archive)).map(drop)
}

fn make(docker: &Docker, toolchain: &Toolchain, folder: &Path) -> Result<(), String> {
    let rootfs = debian_root(folder)?.display().to_string();
    let path = format!("ENV PATH={PATH}");
    let import = ["import", "--change", &path, "--change", "CMD [\"bash\"]", &rootfs, SLIM_IMAGE];
    succeeded(docker.run(&import))?;

    let dockerfile = format!(
        "FROM scratch\nADD debian.tar /\nENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo \
         PATH=/usr/local/cargo/bin:{PATH} RUST_VERSION={}\nCOPY rust /\nCMD [\"bash\"]\n",
        toolchain.release
    );
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    fs::write(file.path(), dockerfile).map_err(|error| format!("{}: {error}", file.path().display()))?;
    let file = file.path().to_str().expect("the name is made of ASCII");
    succeeded(docker.build(&rust_files(folder)?, &["--file", file, "--tag", RUST_IMAGE])).map(drop)
}

impl Toolchain {
    fn find() -> Result<Self, String> {
        let said = |program: &mut Command| {
            ran(program).map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned())
        };
        let version = said(Command::new("rustc").arg("-vV"))?;
        let field = |name: &str| {
            let line = version.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::to_owned).ok_or_else(|| format!("rustc does not say its{name} {version}"))
        };
        let (release, host) = (field("release: ")?, field("host: ")?);
        let minor = release.rsplit_once('.').map_or("", |(minor, _)| minor);
        if minor != env!("CARGO_PKG_RUST_VERSION") {
            return Err(format!(
                "no image with Rust {}: this machine has {release}",
                env!("CARGO_PKG_RUST_VERSION")
            ));
        }
        let sysroot = PathBuf::from(said(Command::new("rustc").args(["--print", "sysroot"]))?);
        // The link beside the toolchain's own programs would be another program.
        let rustup = find_program("rustup").ok_or("rustup is not installed")?;
        Ok(Self { version, release, host, sysroot, rustup })
    }

    /// The name with the whole release.
    fn image(&self) -> String {
        format!("rust:{}-slim-bookworm", self.release)
    }

    /// Lays `/usr/local` of the image out below `context`.
    fn stage(&self, context: &Path) -> Result<(), String> {
        let name = format!("{}-{}", self.release, self.host);
        let [cargo, rustup] = ["cargo", "rustup"].map(|name| context.join("usr/local").join(name));
        let toolchain = rustup.join("toolchains").join(&name);
        for folder in [cargo.join("bin"), toolchain.join("bin")] {
            fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let copy = |from: &Path, to: &Path| {
            ran(Command::new("cp").args(["--recursive", "--dereference", "--reflink=auto"]).arg(from).arg(to))
        };
        copy(&self.rustup, &cargo.join("bin"))?;
        copy(&self.sysroot.join("lib"), &toolchain)?;
        for program in ["cargo", "rustc", "rustdoc"] {
            copy(&self.sysroot.join("bin").join(program), &toolchain.join("bin"))?;
            let link = cargo.join("bin").join(program);
            symlink("rustup", &link).map_err(|error| format!("{}: {error}", link.display()))?;
        }
        let settings = format!("version = \"12\"\ndefault_toolchain = \"{name}\"\nprofile = \"minimal\"\n");
        let file = rustup.join("settings.toml");
        fs::write(&file, settings).map_err(|error| format!("{}: {error}", file.display()))
    }
}

/// `Acquire::Check-Date "false"` and the like, where the machine has said so.
fn apt_settings() -> Vec<String> {
    let dump = ran(Command::new("apt-config").args(["dump", "--no-empty"]));
    let dump = dump.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    let wanted = |line: &&str| APT_SETTINGS.iter().any(|name| line.starts_with(&format!("{name} ")));
    dump.lines().filter(wanted).map(|line| line.trim_end_matches(';').to_owned()).collect()
}

/// The certificates that the administrator added, with their names.
fn certificates() -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(CERTIFICATES) else { return Vec::new() };
    let mut found: Vec<_> =
        entries.flatten().map(|entry| (entry.path(), fs::read(entry.path()).unwrap_or_default())).collect();
    found.sort();
    found
}

pub(super) fn ran(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{name} failed: {}", last_line(&String::from_utf8_lossy(&output.stderr))))
}

fn succeeded(finished: crate::Finished) -> Result<crate::Finished, String> {
    if finished.code == Some(0) { Ok(finished) } else { Err(format!("docker failed: {}", finished.stderr)) }
}

fn last_line(text: &str) -> &str {
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default()
}
