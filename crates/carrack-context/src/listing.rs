//! Strings the folders of a walk into one sorted list, and walks the folders outside of the root that symlinks lead to.
//!
//! Cycles end because every outside folder is walked once, by its path without symlinks, and a link into a folder that
//! was walked already adds nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use carrack_base::Cancel;
use rustix::fs::{Mode, OFlags};

use crate::ContextError;
use crate::bounds::{Bounds, Walk};
use crate::folders::{self, Base, Folder, LinkEnd, Node, Rules};
use crate::stat::Stat;
use crate::tree::{Slot, SlotKind, Tree};

/// A tree whose contents are not known yet.
#[derive(Default)]
pub(crate) struct Listing {
    pub(crate) text: Vec<u8>,
    /// Sorted by path.
    pub(crate) items: Vec<Item>,
}

pub(crate) struct Item {
    pub(crate) slot: Slot,
    /// The file's, or the linked file's; `None` if there is nothing to read.
    pub(crate) stat: Option<Stat>,
    /// Whether what can't be read is an error.
    pub(crate) strict: bool,
}

/// A symlink to a folder outside of the root.
struct Door {
    /// The link's path in the tree.
    path: Vec<u8>,
    /// Where it leads, without symlinks.
    place: PathBuf,
}

struct Stringer<'l> {
    listing: &'l mut Listing,
    doors: &'l mut Vec<Door>,
    folders: Vec<Folder>,
    strict: bool,
}

/// Lists the tree.
pub(crate) fn list(walk: &Walk, cancel: &Cancel) -> Result<Listing, ContextError> {
    let bounds = Bounds::new(walk)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(&bounds.root, flags, Mode::empty())
        .map_err(|errno| ContextError::Root { path: walk.root().to_owned(), source: errno.into() })?;
    let root = Base {
        rules: Rules::Tree(&bounds),
        folder,
        real: bounds.root.clone(),
        shown: walk.root().to_owned(),
        is_root: true,
    };
    let mut listing = Listing::default();
    let mut doors = Vec::new();
    listing.add(&root, Vec::new(), &mut doors, cancel)?;

    let mut walked: Vec<PathBuf> = Vec::new();
    while !doors.is_empty() {
        // The order decides under which of several links a folder is listed: it must not depend on the threads.
        doors.sort_by(|a, b| a.path.cmp(&b.path));
        for Door { mut path, place } in std::mem::take(&mut doors) {
            if walked.iter().any(|walked| place.starts_with(walked)) {
                continue;
            }
            let Ok(folder) = rustix::fs::open(&place, flags | OFlags::NOFOLLOW, Mode::empty()) else {
                continue;
            };
            let shown = walk.root().join(OsStr::from_bytes(&path));
            let rules = Rules::Tree(&bounds);
            let base = Base { rules, folder, real: place.clone(), shown, is_root: false };
            path.push(b'/');
            listing.add(&base, path, &mut doors, cancel)?;
            walked.push(place);
        }
    }
    if !walked.is_empty() {
        let text = &listing.text;
        listing.items.sort_by(|a, b| a.slot.path(text).cmp(b.slot.path(text)));
    }
    Ok(listing)
}

impl Listing {
    pub(crate) fn into_tree(self) -> Tree {
        Tree::new(self.text, self.items.into_iter().map(|item| item.slot).collect())
    }

    /// Keeps the text of an entry without a digest. The slot is the caller's to put into order.
    pub(crate) fn slot(&mut self, path: &[u8], target: &[u8], kind: SlotKind, stat: Option<&Stat>) -> Slot {
        let length = |text: &[u8]| u32::try_from(text.len()).expect("paths are shorter than 4 GiB");
        let start = self.text.len();
        self.text.extend_from_slice(path);
        self.text.extend_from_slice(target);
        let executable = stat.is_some_and(Stat::is_executable);
        Slot { start, path_len: length(path), target_len: length(target), kind, executable, digest: None }
    }

    fn add(
        &mut self,
        base: &Base<'_>,
        prefix: Vec<u8>,
        doors: &mut Vec<Door>,
        cancel: &Cancel,
    ) -> Result<(), ContextError> {
        let folders = folders::read(base, cancel)?;
        let mut stringer = Stringer { listing: self, doors, folders, strict: base.is_root };
        let mut path = prefix;
        stringer.string(0, &mut path);
        Ok(())
    }
}

impl Stringer<'_> {
    /// Depth is bounded by the longest path that the kernel opens (4096 bytes).
    fn string(&mut self, index: u32, path: &mut Vec<u8>) {
        let folder = folders::take(&mut self.folders, index);
        let length = path.len();
        for (name, node) in folder.children() {
            path.extend_from_slice(name);
            match node {
                Node::Folder(index) => self.string(*index, path),
                Node::File(stat) => self.push(path, b"", SlotKind::File, Some(*stat), self.strict),
                Node::Other(_) => self.push(path, b"", SlotKind::Other, None, self.strict),
                Node::Symlink(link) => {
                    let stat = match &link.end {
                        LinkEnd::File(stat) => Some(*stat),
                        LinkEnd::Nowhere | LinkEnd::Unfollowed(_) => None,
                        LinkEnd::Outside(place) => {
                            self.doors.push(Door { path: path.clone(), place: place.clone() });
                            None
                        }
                    };
                    self.push(path, &link.target, SlotKind::Symlink, stat, false);
                }
            }
            path.truncate(length);
        }
    }

    fn push(&mut self, path: &[u8], target: &[u8], kind: SlotKind, stat: Option<Stat>, strict: bool) {
        let slot = self.listing.slot(path, target, kind, stat.as_ref());
        self.listing.items.push(Item { slot, stat, strict });
    }
}
