//! Takes over what the user's own CARGO_HOME has already: archives and index entries that the lock file names, and git
//! repositories. Carrack keeps a CARGO_HOME of its own, so that nothing is ever written to the user's.
//!
//! An archive is taken only if its digest is the lock file's: cargo verifies what it downloads, not what it finds.
//! Anything that can't be taken over is left for cargo to download.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use carrack_base::Digest;

/// One package of a lock file.
struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    source: &'a str,
    checksum: Option<&'a str>,
}

/// Brings what `lock` names from `theirs` to `ours`, and makes cargo's configuration and credentials visible in `ours`.
pub(super) fn adopt(lock: &str, theirs: &Path, ours: &Path) {
    for name in ["config.toml", "config", "credentials.toml", "credentials"] {
        let (theirs, ours) = (theirs.join(name), ours.join(name));
        if !ours.is_symlink() && !ours.exists() {
            // Dangling until the user has such a file.
            let _ = symlink(theirs, ours);
        }
    }
    let caches = folders(&theirs.join("registry/cache"));
    let indexes = folders(&theirs.join("registry/index"));
    for package in packages(lock) {
        if package.source.starts_with("git+") {
            adopt_repository(&package, theirs, ours);
            continue;
        }
        let archive = format!("{}-{}.crate", package.name, package.version);
        for cache in &caches {
            let from = cache.join(&archive);
            let to = ours.join("registry/cache").join(cache.file_name().unwrap_or_default()).join(&archive);
            if !to.exists() && from.exists() {
                // What can't be taken is downloaded.
                let _ = take_archive(&from, &to, package.checksum);
            }
        }
        for index in &indexes {
            let entry = Path::new(".cache").join(index_path(package.name));
            let registry = ours.join("registry/index").join(index.file_name().unwrap_or_default());
            for name in [Path::new("config.json"), &entry] {
                let (from, to) = (index.join(name), registry.join(name));
                if !to.exists() && from.is_file() {
                    let _ = take(&from, &to);
                }
            }
        }
    }
}

/// Reads the few lines of a lock file that matter. Cargo itself reads it properly later, and complains properly.
fn packages(lock: &str) -> impl Iterator<Item = Locked<'_>> {
    lock.split("[[package]]").skip(1).filter_map(|block| {
        let field = |name: &str| {
            block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        Some(Locked {
            name: field("name")?,
            version: field("version")?,
            source: field("source")?,
            checksum: field("checksum"),
        })
    })
}

fn take_archive(from: &Path, to: &Path, checksum: Option<&str>) -> io::Result<()> {
    let bytes = fs::read(from)?;
    let expected = checksum.and_then(|checksum| Digest::from_hex(checksum).ok());
    if expected != Some(Digest::of(&bytes)) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    write(to, &bytes)
}

fn take(from: &Path, to: &Path) -> io::Result<()> {
    write(to, &fs::read(from)?)
}

/// Beside and renamed: another build may look at the same moment.
fn write(to: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let draft =
        folder.join(format!(".{}.{}", to.file_name().unwrap_or_default().display(), std::process::id()));
    fs::write(&draft, bytes)?;
    fs::rename(&draft, to)
}

/// The bare repositories that may belong to a git source: cargo names them after the last part of the address.
fn adopt_repository(package: &Locked<'_>, theirs: &Path, ours: &Path) {
    let address = package.source.split(['?', '#']).next().unwrap_or_default();
    let name = address.trim_end_matches('/').rsplit('/').next().unwrap_or_default().trim_end_matches(".git");
    for from in folders(&theirs.join("git/db")) {
        let folder = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let to = ours.join("git/db").join(&folder);
        if folder.rsplit_once('-').is_some_and(|(prefix, _)| prefix.eq_ignore_ascii_case(name))
            && !to.exists()
        {
            let draft = ours.join("git/db").join(format!(".{folder}.{}", std::process::id()));
            if copy_folder(&from, &draft).and_then(|()| fs::rename(&draft, &to)).is_err() {
                let _ = fs::remove_dir_all(&draft);
            }
        }
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Where a sparse index keeps a package's entry.
fn index_path(name: &str) -> PathBuf {
    let name = name.to_ascii_lowercase();
    match name.len() {
        1 => Path::new("1").join(name),
        2 => Path::new("2").join(name),
        3 => Path::new("3").join(&name[..1]).join(name),
        _ => match (name.get(..2), name.get(2..4)) {
            (Some(first), Some(second)) => Path::new(first).join(second).join(&name),
            _ => PathBuf::from(name),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_archives_with_the_locked_digest_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (theirs, ours) = (folder.path().join("theirs"), folder.path().join("ours"));
        let cache = theirs.join("registry/cache/index-1");
        fs::create_dir_all(&cache).unwrap();
        fs::create_dir_all(&ours).unwrap();
        fs::write(cache.join("good-1.0.0.crate"), b"good").unwrap();
        fs::write(cache.join("evil-1.0.0.crate"), b"evil").unwrap();
        let block = |name: &str, digest: Digest| {
            let hex = digest.hex();
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsource = \"registry+x\"\nchecksum = \"{hex}\"\n\n"
            )
        };
        let lock = block("good", Digest::of(b"good")) + &block("evil", Digest::of(b"other"));
        adopt(&lock, &theirs, &ours);
        assert!(ours.join("registry/cache/index-1/good-1.0.0.crate").exists());
        assert!(!ours.join("registry/cache/index-1/evil-1.0.0.crate").exists());
        assert_eq!(fs::read_link(ours.join("config.toml")).unwrap(), theirs.join("config.toml"));
    }

    #[test]
    fn index_entries_lie_where_cargo_puts_them() {
        assert_eq!(index_path("serde"), Path::new("se/rd/serde"));
        assert_eq!(index_path("syn"), Path::new("3/s/syn"));
        assert_eq!(index_path("Cc"), Path::new("2/cc"));
    }
}
