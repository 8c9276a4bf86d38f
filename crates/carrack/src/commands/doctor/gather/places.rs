//! How much room there is, and on what kind of file system.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::commands::doctor::facts::{Mount, Place, PlaceKind};

pub(super) fn gather(folders: Vec<(PlaceKind, PathBuf)>) -> Vec<Place> {
    let mounts = mounts(&fs::read("/proc/self/mountinfo").unwrap_or_default());
    folders.into_iter().filter_map(|(kind, path)| place(kind, &path, &mounts)).collect()
}

/// `None` if nobody may even look.
fn place(kind: PlaceKind, path: &Path, mounts: &[(PathBuf, Mount)]) -> Option<Place> {
    let path = existing(path)?;
    let device = fs::metadata(&path).ok()?.dev();
    let disk = rustix::fs::statvfs(&path).ok()?;
    Some(Place {
        kind,
        mount: mount_of(&path, mounts).cloned(),
        path,
        device,
        free: disk.f_bavail.saturating_mul(disk.f_frsize),
        inodes: (disk.f_files > 0).then_some(disk.f_favail),
    })
}

/// The deepest folder on the way to `path` that is there, without symbolic links.
pub(super) fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|path| path.canonicalize().ok())
}

/// The last mount whose place holds `path`: a later one covers an earlier one.
fn mount_of<'m>(path: &Path, mounts: &'m [(PathBuf, Mount)]) -> Option<&'m Mount> {
    let holding = mounts.iter().enumerate().filter(|(_, (place, _))| path.starts_with(place));
    holding
        .max_by_key(|(order, (place, _))| (place.components().count(), *order))
        .map(|(_, (_, mount))| mount)
}

/// Reads `/proc/self/mountinfo`: `36 35 98:0 /root /place options … - type source options`.
fn mounts(text: &[u8]) -> Vec<(PathBuf, Mount)> {
    let mount = |line: &[u8]| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        let options = fields.get(5)?.split(|byte| *byte == b',');
        let mount = Mount {
            file_system: String::from_utf8_lossy(fields.get(dash + 1)?).into_owned(),
            noexec: options.into_iter().any(|option| option == b"noexec"),
        };
        Some((PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.get(4)?))), mount))
    };
    text.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// The kernel writes a space, a tab, a line end and a backslash as `\040` and so on.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match escaped.filter(|_| *first == b'\\') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_on_the_deepest_and_last_mount() {
        let mounts = mounts(
            b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            30 22 0:40 / /home/ada rw,noexec - nfs4 server:/home rw\n\
            31 22 0:41 / /home/ada/my\\040work rw - fuse.sshfs x rw\n\
            32 22 0:42 / /home/ada/my\\040work rw - virtiofs share rw\n\
            broken line\n",
        );
        let kind = |path: &str| mount_of(Path::new(path), &mounts).map(|mount| mount.file_system.as_str());
        assert_eq!(kind("/srv"), Some("ext4"));
        assert_eq!(kind("/home/ada/x"), Some("nfs4"));
        assert_eq!(kind("/home/adam"), Some("ext4"));
        assert_eq!(kind("/home/ada/my work/x"), Some("virtiofs"));
        assert!(mount_of(Path::new("/home/ada"), &mounts).is_some_and(|mount| mount.noexec));
    }
}
