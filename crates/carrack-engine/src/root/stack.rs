//! A root file system as a stack of snapshots, read without mounting it.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use carrack_base::ContentDigest;
use carrack_oci::Accounts;
use carrack_oci::snapshot::{Entry, Kind, Listing};

use super::files::{Files, Item, ItemKind, file_name, parent, parts, relative, resolve};
use super::writer::Xattrs;

/// One layer: what is in it, and where.
#[derive(Debug)]
pub(crate) struct SnapshotView {
    pub(crate) listing: Listing,
    pub(crate) files: PathBuf,
}

/// Layers over one another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stack {
    /// The lowest first.
    layers: Vec<Arc<SnapshotView>>,
}

impl Stack {
    /// Puts layers over one another, the lowest first.
    pub(crate) fn new(layers: Vec<Arc<SnapshotView>>) -> Self {
        let is_bottom = |layer: &Arc<SnapshotView>| {
            let root = layer.listing.get(b"").map(|entry| &entry.kind);
            matches!(root, Some(Kind::Directory { opaque: true }))
        };
        let bottom = layers.iter().rposition(is_bottom).unwrap_or(0);
        // What is in a layer counts where it comes last; overlayfs takes no folder twice.
        let mut seen = BTreeSet::new();
        let mut layers: Vec<_> =
            layers[bottom..].iter().rev().filter(|layer| seen.insert(layer.files.clone())).cloned().collect();
        layers.reverse();
        Self { layers }
    }

    /// The layers' folders as overlayfs wants them: topmost first.
    pub(crate) fn lower(&self) -> Vec<PathBuf> {
        self.layers.iter().rev().map(|layer| layer.files.clone()).collect()
    }

    /// The folder `path` alone as overlayfs wants it, topmost first. The path is resolved and a folder.
    pub(crate) fn lower_of(&self, path: &[u8]) -> Vec<PathBuf> {
        let mut lower = Vec::new();
        for layer in self.layers.iter().rev() {
            match layer.listing.get(path).map(|entry| &entry.kind) {
                Some(Kind::Directory { opaque }) => {
                    lower.push(layer.files.join(relative(path)));
                    if *opaque {
                        break;
                    }
                }
                Some(_) => break,
                None => {}
            }
            if hides(&layer.listing, path) {
                break;
            }
        }
        lower
    }

    /// The entry at a path and the layer that it is in.
    pub(crate) fn entry(&self, path: &[u8]) -> Option<(&Entry, &SnapshotView)> {
        for layer in self.layers.iter().rev() {
            match layer.listing.get(path) {
                Some(Entry { kind: Kind::Whiteout, .. }) => return None,
                Some(entry) => return Some((entry, layer)),
                None if hides(&layer.listing, path) => return None,
                None => {}
            }
        }
        None
    }

    /// What a file holds, if there is one. Links are followed.
    pub(crate) fn read(&self, path: &[u8]) -> Option<Vec<u8>> {
        let place = resolve(self, path, true)?;
        let (entry, layer) = self.entry(&place)?;
        let is_file = matches!(entry.kind, Kind::File { .. });
        is_file.then(|| std::fs::read(layer.files.join(relative(&place))).ok())?
    }

    /// Who has a name in it.
    pub(crate) fn accounts(&self) -> Accounts {
        Accounts::read(|path| self.read(path.as_bytes()))
    }
}

impl Files for Stack {
    fn item(&self, path: &[u8]) -> Option<Item> {
        if path.is_empty() && self.layers.is_empty() {
            return Some(Item { kind: ItemKind::Folder, mode: 0o755, uid: 0, gid: 0 });
        }
        let (entry, _) = self.entry(path)?;
        Some(item(entry))
    }

    fn names(&self, folder: &[u8]) -> Vec<Vec<u8>> {
        let mut seen = BTreeSet::new();
        let mut names = BTreeSet::new();
        for layer in self.layers.iter().rev() {
            let above = layer.listing.get(folder);
            if above.is_some_and(|entry| !entry.is_directory()) {
                break;
            }
            for (path, entry) in children(&layer.listing, folder) {
                let name = file_name(path);
                if seen.insert(name.to_vec()) && entry.kind != Kind::Whiteout {
                    names.insert(name.to_vec());
                }
            }
            let is_opaque = matches!(above.map(|entry| &entry.kind), Some(Kind::Directory { opaque: true }));
            if is_opaque || hides(&layer.listing, folder) {
                break;
            }
        }
        names.into_iter().collect()
    }

    fn on_host(&self, path: &[u8]) -> PathBuf {
        let found = self.entry(path).map(|(_, layer)| layer.files.join(relative(path)));
        found.unwrap_or_else(|| relative(path))
    }

    fn are_immutable(&self) -> bool {
        true
    }

    fn attributes(&self, path: &[u8]) -> Xattrs {
        self.entry(path).map(|(entry, _)| entry.xattrs.clone()).unwrap_or_default()
    }

    fn content(&self, path: &[u8]) -> Option<(u64, ContentDigest)> {
        match &self.entry(path)?.0.kind {
            Kind::File { size, content, .. } => Some((*size, *content)),
            _ => None,
        }
    }

    fn link_group(&self, path: &[u8]) -> Option<Vec<u8>> {
        let (entry, layer) = self.entry(path)?;
        let Kind::File { link, .. } = &entry.kind else { return None };
        let first = link.as_deref().unwrap_or(path);
        Some([layer.files.as_os_str().as_bytes(), b"\0", first].concat())
    }
}

/// Whether a layer hides what lower layers have at `path` by what it has above of it.
fn hides(listing: &Listing, path: &[u8]) -> bool {
    let mut above = parent(path);
    while let Some(folder) = above {
        match listing.get(folder).map(|entry| &entry.kind) {
            Some(Kind::Directory { opaque: false }) | None => {}
            Some(_) => return true,
        }
        above = parent(folder);
    }
    false
}

/// The entries right in a folder.
fn children<'l>(listing: &'l Listing, folder: &'l [u8]) -> impl Iterator<Item = (&'l [u8], &'l Entry)> {
    let depth = parts(folder).count() + 1;
    listing.below(folder).filter(move |(path, _)| parts(path).count() == depth)
}

pub(crate) fn item(entry: &Entry) -> Item {
    let kind = match &entry.kind {
        Kind::Directory { .. } => ItemKind::Folder,
        Kind::File { size, content, .. } => {
            let identity = match entry.xattrs.is_empty() {
                true => *content,
                false => with_attributes(*content, entry),
            };
            ItemKind::File { size: *size, identity }
        }
        Kind::Symlink { target } => ItemKind::Link { target: target.clone() },
        Kind::Fifo => ItemKind::Special("fifo".to_owned()),
        Kind::CharacterDevice { major, minor } => ItemKind::Special(format!("character {major} {minor}")),
        Kind::BlockDevice { major, minor } => ItemKind::Special(format!("block {major} {minor}")),
        Kind::Whiteout => ItemKind::Special("nothing".to_owned()),
    };
    Item { kind, mode: entry.mode, uid: entry.uid, gid: entry.gid }
}

fn with_attributes(content: ContentDigest, entry: &Entry) -> ContentDigest {
    let mut bytes = content.as_bytes().to_vec();
    for (name, value) in &entry.xattrs {
        for part in [name, value] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    ContentDigest::of(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, Entry)]) -> Arc<SnapshotView> {
        let mut listing = Listing::new();
        listing.insert(Vec::new(), Entry::directory(0o755));
        for (path, entry) in entries {
            listing.insert(path.as_bytes().to_vec(), entry.clone());
        }
        let files = PathBuf::from(listing.digest().to_string());
        Arc::new(SnapshotView { listing, files })
    }

    fn link(target: &str) -> Entry {
        Entry { kind: Kind::Symlink { target: target.into() }, ..Entry::directory(0o777) }
    }

    #[test]
    fn upper_layers_hide_lower_ones() {
        let folder = || Entry::directory(0o755);
        let opaque = || Entry { kind: Kind::Directory { opaque: true }, ..folder() };
        let stack = Stack::new(vec![
            layer(&[
                ("a", folder()),
                ("a/x", link("1")),
                ("a/y", link("1")),
                ("b", folder()),
                ("b/z", link("1")),
            ]),
            layer(&[("a", folder()), ("a/x", Entry::whiteout()), ("a/w", link("2")), ("b", opaque())]),
            layer(&[("b", folder()), ("b/new", link("3")), ("c", Entry::whiteout())]),
        ]);
        let names = |folder: &str| {
            let names = stack.names(folder.as_bytes()).into_iter();
            names.map(|name| String::from_utf8(name).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["a", "b"]);
        assert_eq!(names("a"), ["w", "y"]);
        assert_eq!(names("b"), ["new"]);
        assert!(stack.item(b"a/x").is_none() && stack.item(b"b/z").is_none() && stack.item(b"c").is_none());
        assert!(stack.item(b"a/y").is_some());
        assert_eq!(stack.lower_of(b"a").len(), 2);
        assert_eq!(stack.lower_of(b"b").len(), 2);
    }
}
