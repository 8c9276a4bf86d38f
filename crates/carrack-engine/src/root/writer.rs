//! Writes one layer as a folder, over layers that are there already.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use carrack_base::ContentDigest;
use carrack_oci::Ownership;
use carrack_oci::snapshot::{Entry, Kind, Listing, unpack};
use carrack_oci::wire::media_type;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags};

use super::files::{Files, Item, ItemKind, join, parent, relative};
use super::stack::{Stack, item};
use crate::error::{At, EngineError, give};

const BUFFER: usize = 256 * 1024;

/// Mode and owner that something gets when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Who owns what an archive has.
struct ArchiveOwner {
    /// Whoever the archive says if nobody is named.
    owner: Option<(u32, u32)>,
    /// Folders that the archive does not declare: they are root's.
    implied: BTreeSet<Vec<u8>>,
}

/// A layer that is being written.
pub(crate) struct LayerWriter<'a> {
    below: &'a Stack,
    files: PathBuf,
    listing: Listing,
    /// Whether files can be given away; else everything is ours.
    gives_away: bool,
    /// Whether every file is a copy.
    has_own_bytes: bool,
    /// Places where nothing of the layers below counts any more.
    cleared: BTreeSet<Vec<u8>>,
    /// Where a file of a source is already, by what tells it from others there.
    links: HashMap<Vec<u8>, Vec<u8>>,
    /// Files of sources that have a name here.
    taken: HashSet<Vec<u8>>,
    /// Times of folders, which are set last: putting something into them changes them.
    times: Vec<(PathBuf, Timespec)>,
    buffer: Vec<u8>,
}

impl<'a> LayerWriter<'a> {
    /// Begins a layer in the empty folder `files`.
    pub(crate) fn new(below: &'a Stack, files: PathBuf, gives_away: bool) -> Result<Self, EngineError> {
        let mut writer = Self {
            below,
            files,
            listing: Listing::new(),
            gives_away,
            has_own_bytes: false,
            cleared: BTreeSet::new(),
            links: HashMap::new(),
            taken: HashSet::new(),
            times: Vec::new(),
            buffer: vec![0; BUFFER],
        };
        writer.copy_up(b"")?;
        Ok(writer)
    }

    /// The same for a folder that somebody may write to: no file of it is one of an immutable source.
    pub(crate) fn with_own_bytes(self) -> Self {
        Self { has_own_bytes: true, ..self }
    }

    /// Ends it: where it lies, and what is in it.
    pub(crate) fn finish(self) -> Result<(PathBuf, Listing), EngineError> {
        for (path, time) in self.times.iter().rev() {
            set_time(path, *time)?;
        }
        Ok((self.files, self.listing))
    }

    /// Makes a folder and those above it where there are none.
    ///
    /// Errors: something else is in the way.
    pub(crate) fn make_folders(&mut self, path: &[u8], attributes: Attributes) -> Result<(), EngineError> {
        match self.item(path) {
            Some(item) if item.is_folder() => return Ok(()),
            Some(_) => return Err(in_the_way(path)),
            None => {}
        }
        if let Some(above) = parent(path) {
            self.make_folders(above, attributes)?;
        }
        self.new_folder(path, attributes)
    }

    /// Copies an entry of `source`; for a folder only itself. What is there already gives way, but a folder stays one; its
    /// attributes become the source's if it is `overwritten`.
    pub(crate) fn copy(
        &mut self,
        source: &dyn Files,
        from: &[u8],
        found: &Item,
        to: &[u8],
        attributes: Attributes,
        overwritten: bool,
    ) -> Result<(), EngineError> {
        let there = self.item(to);
        if found.is_folder() {
            match there {
                Some(there) if there.is_folder() && !overwritten => return Ok(()),
                Some(there) if there.is_folder() => {
                    self.copy_up(to)?;
                    self.set_folder(to, attributes)?;
                }
                Some(_) => return Err(in_the_way(to)),
                None => self.new_folder(to, attributes)?,
            }
            let host = source.on_host(from);
            self.set_xattrs(to, source.attributes(from))?;
            if let Ok(metadata) = fs::symlink_metadata(&host) {
                self.times.push((self.place(to), modified(&metadata)));
            }
            return Ok(());
        }
        if there.is_some_and(|there| there.is_folder()) {
            return Err(in_the_way(to));
        }
        self.make_room(to)?;
        match &found.kind {
            ItemKind::Folder => unreachable!("folders are dealt with"),
            ItemKind::File { .. } => self.copy_file(source, from, found, to, attributes),
            ItemKind::Link { target } => {
                let place = self.place(to);
                symlink(OsStr::from_bytes(target), &place).at("create", &place)?;
                self.give(&place, attributes)?;
                let metadata = fs::symlink_metadata(source.on_host(from));
                if let Ok(metadata) = metadata {
                    set_time(&place, modified(&metadata))?;
                }
                let kind = Kind::Symlink { target: target.clone() };
                self.insert(to, Entry { mode: 0o777, ..self.owned(kind, attributes) });
                Ok(())
            }
            ItemKind::Special(words) => {
                let place = self.place(to);
                if words == "fifo" {
                    rustix::fs::mknodat(CWD, &place, FileType::Fifo, Mode::from_raw_mode(attributes.mode), 0)
                        .map_err(io::Error::from)
                        .at("create", &place)?;
                    self.give(&place, attributes)?;
                    set_mode(&place, attributes.mode)?;
                    self.insert(to, self.owned(Kind::Fifo, attributes));
                }
                Ok(())
            }
        }
    }

    /// Makes a file with this content.
    pub(crate) fn text(&mut self, to: &[u8], text: &[u8], attributes: Attributes) -> Result<(), EngineError> {
        if self.item(to).is_some_and(|there| there.is_folder()) {
            return Err(in_the_way(to));
        }
        self.make_room(to)?;
        let place = self.place(to);
        fs::write(&place, text).at("write", &place)?;
        self.give(&place, attributes)?;
        set_mode(&place, attributes.mode)?;
        let kind = Kind::File { size: text.len() as u64, content: ContentDigest::of(text), link: None };
        self.insert(to, self.owned(kind, attributes));
        Ok(())
    }

    fn copy_file(
        &mut self,
        source: &dyn Files,
        from: &[u8],
        found: &Item,
        to: &[u8],
        attributes: Attributes,
    ) -> Result<(), EngineError> {
        let place = self.place(to);
        let group = source.link_group(from);
        if let Some(first) = group.as_ref().and_then(|group| self.links.get(group)).cloned()
            && let Some(entry) = self.listing.get(&first).cloned()
            && let Kind::File { size, content, .. } = entry.kind
        {
            fs::hard_link(self.place(&first), &place).at("create", &place)?;
            // Names are linked to the first in the order of the list.
            let (earlier, later) =
                if first.as_slice() < to { (first, to.to_vec()) } else { (to.to_vec(), first) };
            let kind = |link| Kind::File { size, content, link };
            self.listing.insert(later, Entry { kind: kind(Some(earlier.clone())), ..entry.clone() });
            self.listing.insert(earlier.clone(), Entry { kind: kind(None), ..entry });
            if let Some(group) = group {
                self.links.insert(group, earlier);
            }
            return Ok(());
        }
        let host = source.on_host(from);
        let xattrs = source.attributes(from);
        let same =
            found.mode == attributes.mode && (found.uid, found.gid) == (attributes.uid, attributes.gid);
        // The same file under two names would be one file here, which it was not to be.
        let is_first = group.as_ref().is_none_or(|group| self.taken.insert(group.clone()));
        let linked = same
            && is_first
            && !self.has_own_bytes
            && source.are_immutable()
            && fs::hard_link(&host, &place).is_ok();
        let (size, content) = match source.content(from).filter(|_| linked) {
            Some(known) => known,
            None => {
                if linked {
                    fs::remove_file(&place).at("remove", &place)?;
                }
                let (written, time) = self.copy_bytes(&host, &place)?;
                self.give(&place, attributes)?;
                set_mode(&place, attributes.mode)?;
                self.write_xattrs(&place, &xattrs)?;
                set_time(&place, time)?;
                written
            }
        };
        let kind = Kind::File { size, content, link: None };
        self.insert(to, Entry { xattrs, ..self.owned(kind, attributes) });
        if let Some(group) = group {
            self.links.insert(group, to.to_vec());
        }
        Ok(())
    }

    fn copy_bytes(
        &mut self,
        from: &Path,
        to: &Path,
    ) -> Result<((u64, ContentDigest), Timespec), EngineError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open(from, flags, Mode::empty()).map_err(io::Error::from);
        let mut source = File::from(opened.at("open", from)?);
        let metadata = source.metadata().at("read", from)?;
        let mut target = File::options().write(true).create_new(true).open(to).at("create", to)?;
        let mut hasher = blake3::Hasher::new();
        let mut size = 0;
        loop {
            let length = match source.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.at("read", from)?,
            };
            if length == 0 {
                break;
            }
            hasher.update(&self.buffer[..length]);
            target.write_all(&self.buffer[..length]).at("write", to)?;
            size += length as u64;
        }
        let content = ContentDigest::from_bytes(*hasher.finalize().as_bytes());
        Ok(((size, content), modified(&metadata)))
    }

    /// Unpacks an archive into a folder that is there or is made.
    pub(crate) fn unpack(
        &mut self,
        archive: impl Read + Send,
        to: &[u8],
        staging: &Path,
        owner: Option<(u32, u32)>,
    ) -> Result<(), EngineError> {
        let ownership = if self.gives_away { Ownership::Recorded } else { Ownership::Caller };
        let unpacked = unpack(archive, media_type::LAYER_TAR, staging, ownership)?;
        let layer = super::stack::SnapshotView { listing: unpacked.listing, files: staging.to_owned() };
        let source = Stack::new(vec![std::sync::Arc::new(layer)]);
        let implied = unpacked.implied.into_iter().collect();
        self.unpack_below(&source, b"", to, &ArchiveOwner { owner, implied })
    }

    /// Puts what an archive has in place of whatever is there; only a folder stays one.
    fn unpack_below(
        &mut self,
        source: &Stack,
        from: &[u8],
        to: &[u8],
        owner: &ArchiveOwner,
    ) -> Result<(), EngineError> {
        for name in source.names(from) {
            let (from, to) = (join(from, &name), join(to, &name));
            let Some(found) = source.item(&from) else { continue };
            if self.item(&to).is_some_and(|there| there.is_folder() != found.is_folder()) {
                self.clear(&to)?;
            }
            let (uid, gid) = match owner.owner {
                Some(ids) if !owner.implied.contains(&from) => ids,
                _ => (found.uid, found.gid),
            };
            self.copy(source, &from, &found, &to, Attributes { mode: found.mode, uid, gid }, true)?;
            if found.is_folder() {
                self.unpack_below(source, &from, &to, owner)?;
            }
        }
        Ok(())
    }

    /// The next source has files of its own: its links are none of those before.
    pub(crate) fn forget_links(&mut self) {
        self.links.clear();
    }

    /// Copies everything in a folder of `source`, as it is.
    pub(crate) fn copy_below(
        &mut self,
        source: &dyn Files,
        from: &[u8],
        to: &[u8],
    ) -> Result<(), EngineError> {
        for name in source.names(from) {
            let (from, to) = (join(from, &name), join(to, &name));
            let Some(found) = source.item(&from) else { continue };
            let attributes = Attributes { mode: found.mode, uid: found.uid, gid: found.gid };
            self.copy(source, &from, &found, &to, attributes, true)?;
            if found.is_folder() {
                self.copy_below(source, &from, &to)?;
            }
        }
        Ok(())
    }

    /// Takes away what is at a path of this layer, and hides what is there below.
    fn clear(&mut self, path: &[u8]) -> Result<(), EngineError> {
        if self.listing.get(path).is_some() {
            let below: Vec<Vec<u8>> = self.listing.below(path).map(|(path, _)| path.to_vec()).collect();
            for path in below.iter().rev().map(Vec::as_slice).chain([path]) {
                let place = self.place(path);
                let is_folder = self.listing.get(path).is_some_and(Entry::is_directory);
                let removed = if is_folder { fs::remove_dir(&place) } else { fs::remove_file(&place) };
                removed.at("remove", &place)?;
                self.listing.remove(path);
            }
        }
        self.cleared.insert(path.to_vec());
        Ok(())
    }

    fn new_folder(&mut self, path: &[u8], attributes: Attributes) -> Result<(), EngineError> {
        self.make_room(path)?;
        let place = self.place(path);
        fs::create_dir(&place).at("create", &place)?;
        self.set_folder(path, attributes)
    }

    fn set_folder(&mut self, path: &[u8], attributes: Attributes) -> Result<(), EngineError> {
        let place = self.place(path);
        self.give(&place, attributes)?;
        set_mode(&place, attributes.mode)?;
        let xattrs = self.listing.get(path).map(|entry| entry.xattrs.clone()).unwrap_or_default();
        let kind = Kind::Directory { opaque: false };
        self.insert(path, Entry { xattrs, ..self.owned(kind, attributes) });
        Ok(())
    }

    /// Makes sure that the folder of `path` is in this layer, and that nothing is at `path`.
    fn make_room(&mut self, path: &[u8]) -> Result<(), EngineError> {
        if let Some(above) = parent(path) {
            self.copy_up(above)?;
        }
        if self.listing.get(path).is_some() {
            let place = self.place(path);
            fs::remove_file(&place).at("remove", &place)?;
        }
        Ok(())
    }

    /// Makes a folder of the layers below one of this layer, with the same attributes.
    fn copy_up(&mut self, path: &[u8]) -> Result<(), EngineError> {
        if self.listing.get(path).is_some() {
            return Ok(());
        }
        let place = self.place(path);
        if let Some(above) = parent(path) {
            self.copy_up(above)?;
            fs::create_dir(&place).at("create", &place)?;
        }
        let found =
            self.below.entry(path).map(|(entry, layer)| (entry.clone(), layer.files.join(relative(path))));
        let (entry, time) = match found {
            Some((entry, lower)) => (entry, fs::symlink_metadata(lower).ok().map(|found| modified(&found))),
            None => (Entry::directory(0o755), None),
        };
        let attributes = Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid };
        self.give(&place, attributes)?;
        set_mode(&place, attributes.mode)?;
        self.write_xattrs(&place, &entry.xattrs)?;
        self.times.extend(time.map(|time| (place, time)));
        self.insert(path, Entry { kind: Kind::Directory { opaque: false }, ..entry });
        Ok(())
    }

    fn set_xattrs(&mut self, path: &[u8], xattrs: Xattrs) -> Result<(), EngineError> {
        self.write_xattrs(&self.place(path), &xattrs)?;
        if let Some(entry) = self.listing.get(path).cloned() {
            self.listing.insert(path.to_vec(), Entry { xattrs, ..entry });
        }
        Ok(())
    }

    fn write_xattrs(&self, place: &Path, xattrs: &Xattrs) -> Result<(), EngineError> {
        for (name, value) in xattrs {
            rustix::fs::lsetxattr(place, OsStr::from_bytes(name), value, XattrFlags::empty())
                .map_err(io::Error::from)
                .at("set an attribute of", place)?;
        }
        Ok(())
    }

    fn give(&self, place: &Path, attributes: Attributes) -> Result<(), EngineError> {
        if !self.gives_away || (attributes.uid, attributes.gid) == (0, 0) {
            return Ok(());
        }
        give(place, (attributes.uid, attributes.gid))
    }

    fn owned(&self, kind: Kind, attributes: Attributes) -> Entry {
        let Attributes { mode, uid, gid } = attributes;
        let (uid, gid) = if self.gives_away { (uid, gid) } else { (0, 0) };
        Entry { kind, mode, uid, gid, xattrs: Xattrs::new() }
    }

    fn insert(&mut self, path: &[u8], entry: Entry) {
        self.listing.insert(path.to_vec(), entry);
    }

    fn is_cleared(&self, path: &[u8]) -> bool {
        let above = std::iter::successors(Some(path), |path| parent(path));
        !self.cleared.is_empty() && above.into_iter().any(|path| self.cleared.contains(path))
    }

    fn place(&self, path: &[u8]) -> PathBuf {
        self.files.join(relative(path))
    }
}

/// Extended attributes, full name → value.
pub(crate) type Xattrs = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

/// What is there now: in this layer, else below.
impl Files for LayerWriter<'_> {
    fn item(&self, path: &[u8]) -> Option<Item> {
        let own = self.listing.get(path).map(item);
        own.or_else(|| if self.is_cleared(path) { None } else { self.below.item(path) })
    }

    fn names(&self, folder: &[u8]) -> Vec<Vec<u8>> {
        self.below.names(folder)
    }

    fn on_host(&self, path: &[u8]) -> PathBuf {
        self.place(path)
    }

    fn are_immutable(&self) -> bool {
        false
    }

    fn attributes(&self, path: &[u8]) -> Xattrs {
        self.listing.get(path).map(|entry| entry.xattrs.clone()).unwrap_or_default()
    }

    fn content(&self, _: &[u8]) -> Option<(u64, ContentDigest)> {
        None
    }

    fn link_group(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

fn in_the_way(path: &[u8]) -> EngineError {
    EngineError::InTheWay { path: format!("/{}", String::from_utf8_lossy(path)) }
}

fn modified(metadata: &fs::Metadata) -> Timespec {
    Timespec { tv_sec: metadata.mtime(), tv_nsec: metadata.mtime_nsec() }
}

fn set_time(place: &Path, time: Timespec) -> Result<(), EngineError> {
    let untouched = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let times = Timestamps { last_access: untouched, last_modification: time };
    rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(io::Error::from)
        .at("set the time of", place)
}

fn set_mode(place: &Path, mode: u32) -> Result<(), EngineError> {
    fs::set_permissions(place, fs::Permissions::from_mode(mode)).at("set the mode of", place)
}
