//! What the layers of an image amount to: one tree, computed without touching a file system.
//!
//! Layers are applied as OCI says: an entry replaces what has its path, `.wh.NAME` hides `NAME` of lower layers and
//! `.wh..wh..opq` hides everything of lower layers in its folder, wherever in the layer they come. Paths are resolved
//! as they would be with the image as root: `..` in an entry's path may not climb above the root, and symbolic links
//! among its parents lead where they would lead inside. What comes out has no link left among parents.
//!
//! Content is not kept: a file knows which entry of which layer holds it, and hard links share that.
//! Source: OCI image-spec v1.1, "layer"; moby's `pkg/archive/diff.go` where it is silent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use crate::tar_header::{Mtime, Xattrs};
use crate::tar_reader::TarEntry;

/// As many as the kernel follows.
const LINK_LIMIT: usize = 40;
pub(crate) const WHITEOUT: &[u8] = b".wh.";
pub(crate) const WHITEOUT_META: &[u8] = b".wh..wh.";
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";

/// Why an entry of a layer has no place in the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryProblem {
    /// Its path, its link's target or the file that it hides is above the root, is the root, or holds a NUL byte.
    #[error("it points outside of the image")]
    Outside,
    /// Something in its path is neither a folder nor a link to one.
    #[error("a part of its path is no folder")]
    NotADirectory,
    /// More than 40 symbolic links had to be followed.
    #[error("its path has too many symbolic links")]
    TooManyLinks,
    /// It is a hard link to something that is not there, or to a folder.
    #[error("it is a hard link, and there is no such file: {target}")]
    DanglingLink {
        /// Where it points.
        target: String,
    },
    /// Its type flag means nothing to us.
    #[error("it is of an unknown kind ({:?})", char::from(*.flag))]
    Kind {
        /// The flag.
        flag: u8,
    },
    /// No system has such a user or group.
    #[error("its owner {uid}:{gid} cannot exist")]
    Owner {
        /// User.
        uid: u64,
        /// Group.
        gid: u64,
    },
}

/// Where a file's bytes are: an entry of a layer, both counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ContentId {
    pub(crate) layer: usize,
    pub(crate) entry: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    layer: usize,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Mtime,
    pub(crate) xattrs: Xattrs,
    pub(crate) kind: NodeKind,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeKind {
    Directory,
    File { content: ContentId, size: u64 },
    Symlink { target: Vec<u8> },
    Fifo,
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}

/// Nodes by path, without leading slash; the root is the empty path and always there. Parents come before children.
pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<Vec<u8>, Node>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self { nodes: BTreeMap::from([(Vec::new(), Node::implied(0))]) }
    }

    /// Applies one entry. All entries of a layer come before those of the layers above it.
    pub(crate) fn apply(&mut self, id: ContentId, entry: TarEntry) -> Result<(), EntryProblem> {
        let mut parts = parts(&entry.path)?;
        let Some(name) = parts.pop() else {
            return self.apply_to_root(id, entry);
        };
        let name = name.to_vec();
        let folder = self.folder(&parts, id.layer)?;
        if name == OPAQUE {
            self.hide(&folder, false, id.layer);
            return Ok(());
        }
        if name.starts_with(WHITEOUT_META) {
            // Bookkeeping of aufs that means nothing outside of it.
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(EntryProblem::Outside);
            }
            self.hide(&join(&folder, hidden), true, id.layer);
            return Ok(());
        }
        let path = join(&folder, &name);
        let node = if entry.kind == b'1' { self.link_node(id, &entry)? } else { Node::new(id, entry)? };
        let stays_directory = |old: &Node| old.is_directory() && node.is_directory();
        if self.nodes.get(&path).is_some_and(|old| !stays_directory(old)) {
            self.remove_below(&path);
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    fn apply_to_root(&mut self, id: ContentId, entry: TarEntry) -> Result<(), EntryProblem> {
        let node = Node::new(id, entry)?;
        if !node.is_directory() {
            return Err(EntryProblem::Outside);
        }
        self.nodes.insert(Vec::new(), node);
        Ok(())
    }

    fn link_node(&mut self, id: ContentId, entry: &TarEntry) -> Result<Node, EntryProblem> {
        let dangling =
            || EntryProblem::DanglingLink { target: String::from_utf8_lossy(&entry.link).into_owned() };
        let mut parts = parts(&entry.link)?;
        let name = parts.pop().ok_or_else(dangling)?;
        let folder = self.folder(&parts, id.layer)?;
        let target = self.nodes.get(&join(&folder, name)).filter(|node| !node.is_directory());
        let target = target.ok_or_else(dangling)?;
        Ok(Node { layer: id.layer, ..target.clone() })
    }

    /// The path of the folder that `parts` lead to; folders that no layer has are made up.
    fn folder(&mut self, parts: &[&[u8]], layer: usize) -> Result<Vec<u8>, EntryProblem> {
        resolve(parts, |path| match self.nodes.get(path).map(|node| &node.kind) {
            Some(NodeKind::Directory) => Step::Folder,
            Some(NodeKind::Symlink { target }) => Step::Link(target.clone()),
            Some(_) => Step::Other,
            None => {
                self.nodes.insert(path.to_vec(), Node::implied(layer));
                Step::Folder
            }
        })
    }

    /// Hides what layers below `layer` have at (`with_itself`) and below `path`. A folder in which this layer has put
    /// something already has to stay.
    fn hide(&mut self, path: &[u8], with_itself: bool, layer: usize) {
        let (mut hidden, mut needed) = (Vec::new(), BTreeSet::new());
        let itself = self.nodes.get_key_value(path).filter(|_| with_itself && !path.is_empty());
        for (path, node) in itself.into_iter().chain(self.below(path)) {
            if node.layer < layer {
                hidden.push(path.clone());
                continue;
            }
            let mut parent = path.as_slice();
            while let Some(slash) = parent.iter().rposition(|byte| *byte == b'/') {
                parent = &parent[..slash];
                needed.insert(parent.to_vec());
            }
        }
        for path in hidden {
            if !needed.contains(&path) {
                self.nodes.remove(&path);
            }
        }
    }

    fn remove_below(&mut self, path: &[u8]) {
        let below: Vec<Vec<u8>> = self.below(path).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.nodes.remove(&path);
        }
    }

    fn below(&self, path: &[u8]) -> impl Iterator<Item = (&Vec<u8>, &Node)> {
        self.nodes.range(bounds_below(path))
    }
}

impl Node {
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.kind, NodeKind::Directory)
    }

    /// A folder that is there because something is in it.
    fn implied(layer: usize) -> Self {
        let (mtime, xattrs, kind) = (Mtime::default(), Xattrs::new(), NodeKind::Directory);
        Self { layer, mode: 0o755, uid: 0, gid: 0, mtime, xattrs, kind }
    }

    fn new(id: ContentId, entry: TarEntry) -> Result<Self, EntryProblem> {
        let (uid, gid) = owner(&entry)?;
        let (major, minor) = entry.device;
        let kind = match entry.kind {
            b'0' => NodeKind::File { content: id, size: entry.size },
            b'2' => NodeKind::Symlink { target: entry.link },
            b'3' => NodeKind::CharacterDevice { major, minor },
            b'4' => NodeKind::BlockDevice { major, minor },
            b'5' => NodeKind::Directory,
            b'6' => NodeKind::Fifo,
            flag => return Err(EntryProblem::Kind { flag }),
        };
        let mut xattrs = entry.xattrs;
        // What an overlay notes about itself would change the meaning of one that we mount.
        xattrs
            .retain(|name, _| !name.starts_with(b"user.overlay.") && !name.starts_with(b"trusted.overlay."));
        Ok(Self { layer: id.layer, mode: entry.mode, uid, gid, mtime: entry.mtime, xattrs, kind })
    }
}

/// What is at a path that another path leads through.
pub(crate) enum Step {
    /// A folder, or nothing yet.
    Folder,
    /// A symbolic link with this target.
    Link(Vec<u8>),
    /// Something that leads nowhere.
    Other,
}

/// The path of the folder that `parts` lead to, with symbolic links followed as if the image were the root.
pub(crate) fn resolve(parts: &[&[u8]], mut look: impl FnMut(&[u8]) -> Step) -> Result<Vec<u8>, EntryProblem> {
    let mut pending: VecDeque<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
    let mut current = Vec::new();
    let mut links = 0;
    while let Some(part) = pending.pop_front() {
        if part == b".." {
            // Only a link's target can say so; at the root it stays there, as in a real root.
            current.truncate(current.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
            continue;
        }
        let child = join(&current, &part);
        match look(&child) {
            Step::Folder => current = child,
            Step::Link(target) => {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(EntryProblem::TooManyLinks);
                }
                if target.starts_with(b"/") {
                    current.clear();
                }
                let steps = target.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b"."));
                for step in steps.rev() {
                    pending.push_front(step.to_vec());
                }
            }
            Step::Other => return Err(EntryProblem::NotADirectory),
        }
    }
    Ok(current)
}

/// The range of the sorted paths below `path`.
pub(crate) fn bounds_below(path: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    // Everything below `a` starts with `a/`, and the byte behind `/` is `0`.
    match path {
        b"" => (Bound::Excluded(Vec::new()), Bound::Unbounded),
        _ => (Bound::Included([path, b"/"].concat()), Bound::Excluded([path, b"0"].concat())),
    }
}

/// User and group of an entry, if a system can have them.
pub(crate) fn owner(entry: &TarEntry) -> Result<(u32, u32), EntryProblem> {
    // The highest number means "leave it" to chown.
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    let owner = id(entry.uid).zip(id(entry.gid));
    owner.ok_or(EntryProblem::Owner { uid: entry.uid, gid: entry.gid })
}

pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// The parts of an entry's path, which means the same with and without a leading slash.
pub(crate) fn parts(path: &[u8]) -> Result<Vec<&[u8]>, EntryProblem> {
    if path.contains(&0) {
        return Err(EntryProblem::Outside);
    }
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop().ok_or(EntryProblem::Outside)?;
            }
            name => parts.push(name),
        }
    }
    Ok(parts)
}
