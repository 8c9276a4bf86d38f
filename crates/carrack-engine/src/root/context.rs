//! A folder of the host as a tree of files.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use carrack_base::ContentDigest;
use carrack_context::{Context, ContextEntry, ContextFilter, ContextKind};
use carrack_graph::PathFilter;

use super::files::{Files, Item, ItemKind, relative};
use super::writer::Xattrs;

/// The content of a context, and where it lies.
pub(crate) struct ContextFiles {
    pub(crate) folder: PathBuf,
    pub(crate) content: Arc<Context>,
}

/// A front end's filter as the walk wants it.
pub(crate) struct Filter<'f>(pub(crate) &'f dyn PathFilter);

impl ContextFilter for Filter<'_> {
    fn ignores(&self, path: &[u8]) -> bool {
        self.0.ignores(&String::from_utf8_lossy(path))
    }

    fn may_take_back(&self, folder: &[u8]) -> bool {
        self.0.may_take_back(&String::from_utf8_lossy(folder))
    }
}

impl Files for ContextFiles {
    fn item(&self, path: &[u8]) -> Option<Item> {
        if path.is_empty() {
            return Some(Item { kind: ItemKind::Folder, mode: 0o755, uid: 0, gid: 0 });
        }
        self.content.get(path).map(|entry| item(&entry))
    }

    fn names(&self, folder: &[u8]) -> Vec<Vec<u8>> {
        let start = if folder.is_empty() { 0 } else { folder.len() + 1 };
        let mut names: Vec<Vec<u8>> =
            self.content.children(folder).map(|entry| entry.path[start..].to_vec()).collect();
        names.sort();
        names
    }

    fn on_host(&self, path: &[u8]) -> PathBuf {
        self.folder.join(relative(path))
    }

    fn are_immutable(&self) -> bool {
        false
    }

    /// None: as with Docker, what is copied from a context has no attributes of the host's files.
    fn attributes(&self, _: &[u8]) -> Xattrs {
        Xattrs::new()
    }

    fn content(&self, _: &[u8]) -> Option<(u64, ContentDigest)> {
        None
    }

    fn link_group(&self, path: &[u8]) -> Option<Vec<u8>> {
        let metadata = std::fs::symlink_metadata(self.on_host(path)).ok()?;
        (metadata.nlink() > 1).then(|| [metadata.dev().to_le_bytes(), metadata.ino().to_le_bytes()].concat())
    }

    fn digest(&self) -> Option<ContentDigest> {
        Some(self.content.digest())
    }
}

fn item(entry: &ContextEntry<'_>) -> Item {
    let nothing = ContentDigest::from_bytes([0; 32]);
    let kind = match entry.kind {
        ContextKind::Directory => ItemKind::Folder,
        ContextKind::File { size } => ItemKind::File { size, identity: entry.identity.unwrap_or(nothing) },
        ContextKind::Symlink { target } => ItemKind::Link { target: target.to_vec() },
        ContextKind::Other => ItemKind::Special("fifo".to_owned()),
    };
    Item { kind, mode: entry.mode, uid: 0, gid: 0 }
}
