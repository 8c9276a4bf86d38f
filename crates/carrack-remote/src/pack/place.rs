//! Writing one unit's files, whatever its list says.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use carrack_base::{ContentDigest, UnitContent, UnitFile};

use super::read::UnitError;

/// Says whether every path of the list leads below the folder, and to a place of its own.
pub(super) fn check(files: &[UnitFile]) -> Result<(), UnitError> {
    let mut kinds: HashMap<&str, bool> = HashMap::with_capacity(files.len());
    for file in files {
        let refused = |problem| Err(UnitError::Path { path: file.path.clone(), problem });
        if file.path.contains('\0') {
            return refused("it has a NUL");
        }
        if file.path.starts_with('/') {
            return refused("it is absolute");
        }
        for part in file.path.split('/') {
            match part {
                "" => return refused("it has an empty part"),
                "." | ".." => return refused("it has a part `.` or `..`"),
                _ => {}
            }
        }
        match &file.content {
            UnitContent::Link { to } if to.is_empty() || to.contains('\0') => {
                return refused("it is a link that says nothing, or a NUL");
            }
            _ => {}
        }
        if kinds.insert(&file.path, matches!(file.content, UnitContent::Folder)).is_some() {
            return refused("it is there twice");
        }
    }
    for file in files {
        let slashes = file.path.match_indices('/').map(|(at, _)| at);
        for before in slashes.map(|at| &file.path[..at]) {
            if kinds.get(before) == Some(&false) {
                let (path, problem) = (file.path.clone(), "it goes through a file or a link");
                return Err(UnitError::Path { path, problem });
            }
        }
    }
    Ok(())
}

/// Writes the files of a unit whose paths were checked into the empty folder `root`, their bytes from `content`.
pub(super) fn place(
    root: &Path,
    files: &[UnitFile],
    content: &mut impl Read,
    time: SystemTime,
    buffer: &mut [u8],
) -> Result<(), UnitError> {
    let mut folder = PathBuf::new();
    for file in files {
        let path = root.join(&file.path);
        let failed = |source| UnitError::Write { path: path.clone(), source };
        let parent = path.parent().unwrap_or(root);
        if folder != parent {
            fs::create_dir_all(parent).map_err(failed)?;
            folder = parent.to_owned();
        }
        match &file.content {
            UnitContent::Folder => fs::create_dir_all(&path).map_err(failed)?,
            // Links are made at last: while there is none, nothing can go through one.
            UnitContent::Link { .. } => {}
            UnitContent::File { digest, size, executable } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                let mut options = OpenOptions::new();
                let output = options.write(true).create_new(true).mode(mode).open(&path).map_err(failed)?;
                let outcome = copy(content, &output, *size, buffer);
                let found = outcome.map_err(|error| match error {
                    CopyError::Content(source) => UnitError::Inflate { source },
                    CopyError::Short => UnitError::TooShort { path: file.path.clone() },
                    CopyError::Write(source) => failed(source),
                })?;
                if found != *digest {
                    return Err(UnitError::Content { path: file.path.clone(), expected: *digest, found });
                }
                output.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
                output.set_modified(time).map_err(failed)?;
            }
        }
    }
    for file in files {
        if let UnitContent::Link { to } = &file.content {
            let path = root.join(&file.path);
            symlink(to, &path).map_err(|source| UnitError::Write { path, source })?;
        }
    }
    match content.read(&mut buffer[..1]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(UnitError::TooLong),
        Err(source) => Err(UnitError::Inflate { source }),
    }
}

enum CopyError {
    Content(io::Error),
    Short,
    Write(io::Error),
}

/// Copies `size` bytes and gives back their digest.
fn copy(
    from: &mut impl Read,
    mut to: &File,
    size: u64,
    buffer: &mut [u8],
) -> Result<ContentDigest, CopyError> {
    let mut hasher = blake3::Hasher::new();
    let mut left = size;
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = match from.read(&mut buffer[..wanted]) {
            Ok(0) => return Err(CopyError::Short),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Content(error)),
        };
        hasher.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(CopyError::Write)?;
        left -= count as u64;
    }
    Ok(ContentDigest::from_bytes(*hasher.finalize().as_bytes()))
}
