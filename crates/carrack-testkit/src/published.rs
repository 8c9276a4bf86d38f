use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::project::copy_folder;
use crate::skipped;

/// Copies the sources of a published package, `name@version`, into `folder`, as crates.io has them. `None`, and a word
/// about it, if nobody answers there.
pub fn published(package: &str, folder: &Path) -> Option<()> {
    // Cargo unpacks a package into its own home before it shows what is in it; never from a workspace's lock file.
    let elsewhere = tempfile::tempdir().expect("a temporary folder can be made");
    let mut info = Command::new("cargo");
    info.args(["info", "--quiet", "--registry", "crates-io", package]).current_dir(elsewhere.path());
    let output = info.stdout(Stdio::null()).output().expect("cargo is there");
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        skipped(package, &format!("crates.io does not answer: {}", said.lines().next().unwrap_or_default()));
        return None;
    }
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.unwrap_or_else(|| std::env::home_dir().expect("there is a home").join(".cargo"));
    let unpacked = fs::read_dir(home.join("registry/src"))
        .expect("cargo has unpacked a package")
        .map(|registry| registry.expect("cargo's home can be read").path().join(package.replace('@', "-")))
        .find(|path| path.join("Cargo.toml").exists())
        .expect("cargo unpacked the package");
    fs::create_dir_all(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    copy_folder(&unpacked, folder);
    Some(())
}
