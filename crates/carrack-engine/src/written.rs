//! Files that a command wrote into its sources: kept in the build folder's `upper`, never in the sources themselves.
//!
//! A build script that generates a file beside its sources finds it again in the next run, as it would without a
//! sandbox. But once the user changes, adds or removes that file, the user's version counts: so `written` keeps what lay
//! below everything in `upper` that hides something when it was written, and what does not fit any more is taken away
//! before the next run. What hides something: a file, the mark of a removed file or folder, and a folder whose opaque
//! mark keeps everything below it out of sight.
//!
//! ```text
//! <build folder>/written   for each entry: path NUL digest of what lay below it, zeros where there was nothing
//! ```
//!
//! A run that was killed could note nothing: what it wrote is thrown away.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use carrack_base::ContentDigest;
use rustix::io::Errno;

use crate::error::{At, EngineError};

/// The mark of a folder that hides what lies below it, in an overlay of an unprivileged user.
const OPAQUE: &str = "user.overlay.opaque";
const NOTHING: [u8; 32] = [0; 32];

/// What lies below an entry of `upper`, told apart by kind, mode, size and times; `None` where there is nothing.
type Below = Option<ContentDigest>;

/// Something in `upper`.
enum Upper {
    /// A folder that shows what lies below it, and whatever is in it comes after it.
    Merged(PathBuf),
    /// A folder that hides it.
    Opaque(PathBuf),
    /// Everything else.
    File(PathBuf),
}

/// Notes what lies below everything in `upper`.
pub(crate) fn note(folder: &Path, sources: &Path) -> Result<(), EngineError> {
    let path = folder.join("written");
    let mut bytes = Vec::new();
    for entry in entries(&folder.join("upper"))? {
        let (Upper::Opaque(relative) | Upper::File(relative)) = entry else { continue };
        bytes.extend_from_slice(relative.as_os_str().as_bytes());
        bytes.push(0);
        let below = below(&sources.join(&relative)).at("read", sources.join(&relative))?;
        bytes.extend_from_slice(below.as_ref().map_or(&NOTHING, |below| below.as_bytes()));
    }
    if bytes.is_empty() && !path.exists() {
        return Ok(());
    }
    fs::write(&path, bytes).at("write", path)
}

/// Everything in `upper` that hides something.
pub(crate) fn paths(upper: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let hiding = |entry| match entry {
        Upper::Opaque(path) | Upper::File(path) => Some(path),
        Upper::Merged(_) => None,
    };
    Ok(entries(upper)?.into_iter().filter_map(hiding).collect())
}

/// Takes away from `upper` what the user has changed since.
pub(crate) fn refresh(folder: &Path, sources: &Path) -> Result<(), EngineError> {
    let upper = folder.join("upper");
    let noted = read(&folder.join("written"));
    let mut emptied = Vec::new();
    let mut hiding: Vec<&Path> = Vec::new();
    let entries = entries(&upper)?;
    for entry in &entries {
        let (Upper::Merged(relative) | Upper::Opaque(relative) | Upper::File(relative)) = entry;
        let (path, source) = (upper.join(relative), sources.join(relative));
        let settled = hiding.iter().any(|folder| relative.starts_with(folder));
        if settled || path.symlink_metadata().is_err() {
            // It stays, or went, with its folder.
            continue;
        }
        let below = below(&source).at("read", &source)?;
        let is_hidden_file = below.is_some() && !source.symlink_metadata().is_ok_and(|found| found.is_dir());
        let fits = noted.get(relative).is_some_and(|noted| *noted == below);
        match entry {
            Upper::File(_) if !fits => fs::remove_file(&path).at("remove", path)?,
            Upper::Opaque(_) if fits => hiding.push(relative),
            Upper::Opaque(_) if is_hidden_file => fs::remove_dir_all(&path).at("remove", path)?,
            Upper::Opaque(_) => {
                rustix::fs::removexattr(&path, OPAQUE).map_err(io::Error::from).at("open up", path)?;
            }
            Upper::Merged(_) if is_hidden_file => fs::remove_dir_all(&path).at("remove", path)?,
            Upper::Merged(_) if below.is_none() => emptied.push(path),
            Upper::Merged(_) | Upper::File(_) => {}
        }
    }
    for folder in emptied.iter().rev() {
        // Only there because the user had such a folder; one in which something was made stays.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

fn read(path: &Path) -> BTreeMap<PathBuf, Below> {
    let bytes = fs::read(path).unwrap_or_default();
    let mut noted = BTreeMap::new();
    let mut rest = &bytes[..];
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        let Some((digest, tail)) = rest[end + 1..].split_first_chunk() else { break };
        let below = (*digest != NOTHING).then(|| ContentDigest::from_bytes(*digest));
        noted.insert(PathBuf::from(std::ffi::OsStr::from_bytes(&rest[..end])), below);
        rest = tail;
    }
    noted
}

/// A folder counts with everything in it.
fn below(path: &Path) -> io::Result<Below> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut facts = Vec::new();
    if metadata.is_dir() {
        let mut names =
            fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for name in names {
            facts.extend_from_slice(name.as_bytes());
            facts.push(0);
            facts.extend_from_slice(
                below(&path.join(name))?.as_ref().map_or(&NOTHING, |below| below.as_bytes()),
            );
        }
    } else {
        let (inode, size, mode) = (metadata.ino(), metadata.len(), metadata.mode());
        facts.extend(format!("{inode} {size} {mode} {} {}", metadata.mtime(), metadata.mtime_nsec()).bytes());
    }
    Ok(Some(ContentDigest::of(&facts)))
}

/// Everything in `upper`, each folder before what is in it.
fn entries(upper: &Path) -> Result<Vec<Upper>, EngineError> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let place = upper.join(&folder);
        for entry in fs::read_dir(&place).at("read", &place)? {
            let entry = entry.at("read", &place)?;
            let relative = folder.join(entry.file_name());
            if !entry.file_type().at("read", entry.path())?.is_dir() {
                found.push(Upper::File(relative));
                continue;
            }
            folders.push(relative.clone());
            let opaque = is_opaque(&entry.path()).at("read", entry.path())?;
            found.push(if opaque { Upper::Opaque(relative) } else { Upper::Merged(relative) });
        }
    }
    Ok(found)
}

fn is_opaque(folder: &Path) -> io::Result<bool> {
    let mut value = [0; 8];
    match rustix::fs::getxattr(folder, OPAQUE, &mut value) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}
