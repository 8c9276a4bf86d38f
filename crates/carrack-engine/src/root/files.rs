//! Trees of files from which steps take, wherever the files lie.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use carrack_base::ContentDigest;

use super::writer::Xattrs;

/// Symbolic links that are followed in one path.
const MOST_LINKS: u32 = 255;

/// What a path of a tree stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) kind: ItemKind,
    /// Permissions with setuid, setgid and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemKind {
    Folder,
    File {
        size: u64,
        /// Digest of content and extended attributes.
        identity: ContentDigest,
    },
    Link {
        target: Vec<u8>,
    },
    /// A fifo or a device, in a few words that tell it from others.
    Special(String),
}

/// A tree of files. Paths are relative, without a slash at either end; the root is empty.
pub(crate) trait Files: Sync {
    /// What is at a path, without following a link at its end. Links on the way are none: the path has to be resolved.
    fn item(&self, path: &[u8]) -> Option<Item>;

    /// The names in a folder, sorted.
    fn names(&self, folder: &[u8]) -> Vec<Vec<u8>>;

    /// Where the bytes of a file lie, or the file itself.
    fn on_host(&self, path: &[u8]) -> PathBuf;

    /// Whether files may be had by a further name in the store, since nobody changes them.
    fn are_immutable(&self) -> bool;

    /// Extended attributes of a file or folder that belong to it wherever it is.
    fn attributes(&self, path: &[u8]) -> Xattrs;

    /// Size and digest of a file's content, where that is known for sure.
    fn content(&self, path: &[u8]) -> Option<(u64, ContentDigest)>;

    /// What the names of one file have in common, if it may have several.
    fn link_group(&self, path: &[u8]) -> Option<Vec<u8>>;

    /// A digest of everything, where there is one.
    fn digest(&self) -> Option<ContentDigest> {
        None
    }
}

impl Item {
    pub(crate) fn is_folder(&self) -> bool {
        self.kind == ItemKind::Folder
    }

    /// Everything that decides what a copy of it is.
    pub(crate) fn digest(&self) -> ContentDigest {
        let mut hasher = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        part(format!("{:o} {} {}", self.mode, self.uid, self.gid).as_bytes());
        match &self.kind {
            ItemKind::Folder => part(b"folder"),
            ItemKind::File { size, identity } => {
                part(format!("file {size}").as_bytes());
                part(identity.as_bytes());
            }
            ItemKind::Link { target } => {
                part(b"link");
                part(target);
            }
            ItemKind::Special(words) => part(words.as_bytes()),
        }
        ContentDigest::from_bytes(*hasher.finalize().as_bytes())
    }
}

/// The place that `path` means: links are followed inside of the tree, also one at the end if `last` says so, and what is
/// above the root is the root. Parts that are not there stay as they are.
///
/// Returns `None` if links lead in circles.
pub(crate) fn resolve(files: &dyn Files, path: &[u8], last: bool) -> Option<Vec<u8>> {
    let mut links = 0;
    let mut place: Vec<u8> = Vec::new();
    let mut open: Vec<Vec<u8>> = parts(path).map(<[u8]>::to_vec).collect();
    open.reverse();
    while let Some(part) = open.pop() {
        if part == b".." {
            let length = place.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            place.truncate(length);
            continue;
        }
        let next = join(&place, &part);
        if !last && open.is_empty() {
            return Some(next);
        }
        match files.item(&next).map(|item| item.kind) {
            Some(ItemKind::Link { target }) => {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                if target.starts_with(b"/") {
                    place.clear();
                }
                open.extend(parts(&target).map(<[u8]>::to_vec).rev());
            }
            _ => place = next,
        }
    }
    Some(place)
}

/// The parts of a path that mean something.
pub(crate) fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// `name` in `folder`.
pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    match (folder.is_empty(), name.is_empty()) {
        (true, _) => name.to_vec(),
        (_, true) => folder.to_vec(),
        (false, false) => [folder, b"/", name].concat(),
    }
}

/// The folder that a path is in; `None` for the root.
pub(crate) fn parent(path: &[u8]) -> Option<&[u8]> {
    if path.is_empty() {
        return None;
    }
    Some(path.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |slash| &path[..slash]))
}

/// The last part of a path.
pub(crate) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}

/// A path of a tree as a path relative to a folder of the host.
pub(crate) fn relative(path: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Table(BTreeMap<&'static str, &'static str>);

    impl Files for Table {
        fn item(&self, path: &[u8]) -> Option<Item> {
            let target = self.0.get(std::str::from_utf8(path).unwrap())?;
            let kind = match *target {
                "" => ItemKind::Folder,
                target => ItemKind::Link { target: target.into() },
            };
            Some(Item { kind, mode: 0o755, uid: 0, gid: 0 })
        }

        fn names(&self, _: &[u8]) -> Vec<Vec<u8>> {
            Vec::new()
        }

        fn on_host(&self, path: &[u8]) -> PathBuf {
            relative(path)
        }

        fn are_immutable(&self) -> bool {
            true
        }

        fn attributes(&self, _: &[u8]) -> Xattrs {
            Xattrs::new()
        }

        fn content(&self, _: &[u8]) -> Option<(u64, ContentDigest)> {
            None
        }

        fn link_group(&self, _: &[u8]) -> Option<Vec<u8>> {
            None
        }
    }

    #[test]
    fn links_are_followed_inside_of_the_tree() {
        let files = Table(BTreeMap::from([
            ("usr", ""),
            ("usr/lib", ""),
            ("lib", "usr/lib"),
            ("up", "../../../usr"),
            ("absolute", "/usr/lib"),
            ("usr/back", "../lib/x"),
            ("a", "b"),
            ("b", "a"),
        ]));
        for (path, last, expected) in [
            ("lib/x.so", true, "usr/lib/x.so"),
            ("lib", false, "lib"),
            ("lib/", true, "usr/lib"),
            ("up/lib", true, "usr/lib"),
            ("absolute/../y", true, "usr/y"),
            ("usr/back/z", true, "usr/lib/x/z"),
            ("../../etc/new", true, "etc/new"),
            ("./usr//./lib", true, "usr/lib"),
            ("", true, ""),
        ] {
            let resolved = resolve(&files, path.as_bytes(), last).unwrap();
            assert_eq!(String::from_utf8(resolved).unwrap(), expected, "{path}");
        }
        assert_eq!(resolve(&files, b"a/x", true), None);
    }
}
