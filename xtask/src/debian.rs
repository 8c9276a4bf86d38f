//! The Debian packages that the tests need, and how they get onto this machine.
//!
//! Never installs without a word: it asks on a terminal, goes ahead in CI and otherwise says the command. Missing
//! packages are no failure, the tests that need them skip themselves. On another system than Debian it says what it
//! would have looked for.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// What the tests use, and what for.
const NEEDED: &[(&str, &str)] = &[
    ("gcc", "links every program that the tests build"),
    ("musl-tools", "a second C library, with a loader of its own"),
    ("libc6-dev", "the C library to link against"),
    ("busybox-static", "a root file system in one file"),
    ("uidmap", "newuidmap and newgidmap: more than one user in a rootless sandbox"),
    ("docker-registry", "a real registry that is pulled from and pushed to"),
    ("skopeo", "reads the OCI layouts that are written"),
    ("umoci", "unpacks the OCI layouts that are written"),
    ("docker.io", "a real engine that loads and runs the images"),
    (
        "docker-compose",
        "builds services as teams do, and an older resolver of compose files as a second opinion",
    ),
    ("make", "runs the targets of a generated Makefile"),
    ("mmdebstrap", "makes the base images that no registry has to have"),
    ("podman", "a second engine that loads and runs the images"),
    ("runc", "what Podman runs containers with in the tests"),
    ("git", "a repository that a package comes from, and one that a Dockerfile fetches from"),
    ("openssh-client", "an agent and keys that a Dockerfile is lent"),
    ("xz-utils", "packs an archive that a Dockerfile unpacks"),
    ("zstd", "packs another"),
    ("openssl", "a registry with a certificate of its own"),
    ("ca-certificates", "the certificates that an image gets"),
];

/// Where apt keeps what it knows about packages.
const APT_LISTS: &str = "/var/lib/apt/lists";

/// What to do about missing packages.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Install,
    Ask,
    Say,
}

/// Installs the missing packages if it may, and says what it did not do.
pub(crate) fn provide(in_ci: bool) -> io::Result<()> {
    let Some(missing) = missing(NEEDED, installed) else {
        eprintln!("this is no Debian: the tests look for {}", names(NEEDED).join(", "));
        return Ok(());
    };
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("The tests need Debian packages that are not installed:");
    for (name, why) in &missing {
        eprintln!("  {name:<16} {why}");
    }
    let commands = install_commands(&names(&missing));
    let install = match choice(in_ci, io::stdin().is_terminal()) {
        Choice::Install => true,
        Choice::Ask => ask(&commands)?,
        Choice::Say => false,
    };
    if !(install && commands.iter().all(|command| run(command))) {
        eprintln!(
            "Going on without them, some tests will be skipped. To install them: {}",
            in_one_line(&commands)
        );
    }
    Ok(())
}

fn choice(in_ci: bool, on_terminal: bool) -> Choice {
    match (in_ci, on_terminal) {
        (true, _) => Choice::Install,
        (false, true) => Choice::Ask,
        (false, false) => Choice::Say,
    }
}

/// The packages of `needed` that are not `installed`; `None` if nobody knows.
fn missing<'a>(
    needed: &[(&'a str, &'a str)],
    installed: impl Fn(&str) -> Option<bool>,
) -> Option<Vec<(&'a str, &'a str)>> {
    let mut missing = Vec::new();
    for &(name, why) in needed {
        if !installed(name)? {
            missing.push((name, why));
        }
    }
    Some(missing)
}

fn installed(package: &str) -> Option<bool> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    Some(output.stdout == b"installed")
}

fn names<'a>(packages: &[(&'a str, &str)]) -> Vec<&'a str> {
    packages.iter().map(|(name, _)| *name).collect()
}

fn install_commands(packages: &[&str]) -> Vec<Vec<String>> {
    // The owner of a process's folder in procfs is the user that it runs as.
    let is_root = fs::metadata("/proc/self").is_ok_and(|folder| folder.uid() == 0);
    let prefix: &[&str] = if is_root { &[] } else { &["sudo"] };
    let command =
        |arguments: &[&str]| prefix.iter().chain(arguments).map(|word| (*word).to_owned()).collect();
    let mut commands = Vec::new();
    if !apt_knows_packages() {
        commands.push(command(&["apt-get", "update"]));
    }
    commands.push(command(&[&["apt-get", "install", "-y", "--no-install-recommends"], packages].concat()));
    commands
}

/// A fresh container image has no lists.
fn apt_knows_packages() -> bool {
    fs::read_dir(APT_LISTS).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    })
}

fn ask(commands: &[Vec<String>]) -> io::Result<bool> {
    eprint!("Run `{}`? [Y/n] ", in_one_line(commands));
    io::stderr().flush()?;
    let mut answer = String::new();
    // No answer at all, not even an empty line, is the end of the input.
    let answered = io::stdin().lock().read_line(&mut answer)? > 0;
    Ok(answered && matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}

fn run(command: &[String]) -> bool {
    let (program, arguments) = command.split_first().expect("every command begins with a program");
    let status = Command::new(program).args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status();
    status.is_ok_and(|status| status.success())
}

fn in_one_line(commands: &[Vec<String>]) -> String {
    commands.iter().map(|command| command.join(" ")).collect::<Vec<_>>().join(" && ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_installed_is_missing() {
        let needed = [("a", "first"), ("b", "second")];
        assert_eq!(missing(&needed, |name| Some(name == "a")), Some(vec![("b", "second")]));
        assert_eq!(missing(&needed, |_| None), None);
    }

    #[test]
    fn ci_installs_a_terminal_is_asked_and_anything_else_is_told() {
        assert_eq!(choice(true, true), Choice::Install);
        assert_eq!(choice(true, false), Choice::Install);
        assert_eq!(choice(false, true), Choice::Ask);
        assert_eq!(choice(false, false), Choice::Say);
    }
}
