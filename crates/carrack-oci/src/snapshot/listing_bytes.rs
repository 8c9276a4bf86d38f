//! A listing as bytes: what is kept beside a snapshot, and what its digest is of.
//!
//! ```text
//! listing   "carrack listing 1\n", number of entries, entries by path
//! entry     shared: how many bytes its path has in common with the path before; the rest of the path: text
//!           kind: one byte of the table below
//!           mode, uid, gid, number of attributes, each its name and its value: text, text   (not of a whiteout)
//!           what the kind has besides
//! number    little end first, seven bits a byte, the highest bit set in all but the last (LEB128), no byte too many
//! text      its length: number; its bytes
//! ```
//!
//! | kind | is | has besides |
//! | --- | --- | --- |
//! | 0 | folder | |
//! | 1 | opaque folder | |
//! | 2 | file | size: number; BLAKE3 digest: 32 bytes |
//! | 3 | further name of a file | the same, and the first name: text |
//! | 4 | symbolic link | target: text |
//! | 5 | pipe | |
//! | 6 | character device | major, minor: numbers |
//! | 7 | block device | major, minor: numbers |
//! | 8 | whiteout | |
//!
//! A listing has one form only: what is not byte for byte what [`Listing::to_bytes`] writes is refused, so that a digest
//! names one listing. So are listings that no folder has: entries without parents, names that are none, links to
//! what is no file.

use std::collections::BTreeMap;

use carrack_base::ContentDigest;

use super::{Entry, Kind, Listing};
use crate::folder::split;

const MAGIC: &[u8] = b"carrack listing 1\n";
/// As many as Linux has, for drivers and their devices.
pub(super) const DEVICE_LIMITS: (u32, u32) = (1 << 12, 1 << 20);

const DIRECTORY: u8 = 0;
const OPAQUE_DIRECTORY: u8 = 1;
const FILE: u8 = 2;
const FILE_LINK: u8 = 3;
const SYMLINK: u8 = 4;
const FIFO: u8 = 5;
const CHARACTER_DEVICE: u8 = 6;
const BLOCK_DEVICE: u8 = 7;
const WHITEOUT: u8 = 8;

/// Bytes that are no listing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read a listing: {problem} at byte {offset}")]
pub struct MalformedListing {
    /// Where reading stopped.
    pub offset: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl Listing {
    /// The listing's one form as bytes, specified in the documentation of its module.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        number(&mut bytes, self.len() as u64);
        let mut previous: &[u8] = b"";
        for (path, entry) in self.iter() {
            let shared = shared_length(previous, path);
            number(&mut bytes, shared as u64);
            text(&mut bytes, &path[shared..]);
            entry.write(&mut bytes);
            previous = path;
        }
        bytes
    }

    /// Reads what [`Listing::to_bytes`] wrote.
    ///
    /// Errors: [`MalformedListing`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MalformedListing> {
        let mut reader = Reader { bytes, offset: 0 };
        let listing = reader
            .listing()
            .map_err(|problem| MalformedListing { offset: reader.offset.min(bytes.len()), problem })?;
        check(&listing).map_err(|problem| MalformedListing { offset: bytes.len(), problem })?;
        let canonical = listing.to_bytes();
        if canonical == bytes {
            return Ok(listing);
        }
        let offset = shared_length(&canonical, bytes);
        Err(MalformedListing { offset, problem: "a longer form than needed" })
    }
}

impl Entry {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.push(match &self.kind {
            Kind::Directory { opaque: false } => DIRECTORY,
            Kind::Directory { opaque: true } => OPAQUE_DIRECTORY,
            Kind::File { link: None, .. } => FILE,
            Kind::File { link: Some(_), .. } => FILE_LINK,
            Kind::Symlink { .. } => SYMLINK,
            Kind::Fifo => FIFO,
            Kind::CharacterDevice { .. } => CHARACTER_DEVICE,
            Kind::BlockDevice { .. } => BLOCK_DEVICE,
            Kind::Whiteout => WHITEOUT,
        });
        if self.kind == Kind::Whiteout {
            return;
        }
        for field in [self.mode, self.uid, self.gid] {
            number(bytes, field.into());
        }
        number(bytes, self.xattrs.len() as u64);
        for (name, value) in &self.xattrs {
            text(bytes, name);
            text(bytes, value);
        }
        match &self.kind {
            Kind::File { size, content, link } => {
                number(bytes, *size);
                bytes.extend_from_slice(content.as_bytes());
                if let Some(link) = link {
                    text(bytes, link);
                }
            }
            Kind::Symlink { target } => text(bytes, target),
            Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                number(bytes, (*major).into());
                number(bytes, (*minor).into());
            }
            Kind::Directory { .. } | Kind::Fifo | Kind::Whiteout => {}
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn listing(&mut self) -> Result<Listing, &'static str> {
        if self.take(MAGIC.len())? != MAGIC {
            return Err("another format or version");
        }
        let mut listing = Listing::new();
        let mut previous = Vec::new();
        for index in 0..self.number()? {
            let shared = self.length()?;
            let mut path = previous.get(..shared).ok_or("more shared bytes than there are")?.to_vec();
            path.extend_from_slice(self.text()?);
            if index > 0 && path <= previous {
                return Err("a path that is out of order");
            }
            let entry = self.entry()?;
            previous.clone_from(&path);
            listing.insert(path, entry);
        }
        if self.offset < self.bytes.len() {
            return Err("more bytes than a listing has");
        }
        Ok(listing)
    }

    fn entry(&mut self) -> Result<Entry, &'static str> {
        let kind = self.take(1)?[0];
        if kind == WHITEOUT {
            return Ok(Entry::whiteout());
        }
        let mode = self.small_number()?;
        if mode > 0o7777 {
            return Err("a mode of more than 12 bits");
        }
        let (uid, gid) = (self.small_number()?, self.small_number()?);
        let mut xattrs = BTreeMap::new();
        for _ in 0..self.number()? {
            xattrs.insert(self.text()?.to_vec(), self.text()?.to_vec());
        }
        let kind = match kind {
            DIRECTORY => Kind::Directory { opaque: false },
            OPAQUE_DIRECTORY => Kind::Directory { opaque: true },
            FILE | FILE_LINK => {
                let size = self.number()?;
                let content: [u8; 32] = self.take(32)?.try_into().expect("32 bytes were taken");
                let link = (kind == FILE_LINK).then(|| self.text()).transpose()?.map(<[u8]>::to_vec);
                Kind::File { size, content: ContentDigest::from_bytes(content), link }
            }
            SYMLINK => Kind::Symlink { target: self.text()?.to_vec() },
            FIFO => Kind::Fifo,
            CHARACTER_DEVICE | BLOCK_DEVICE => {
                let (major, minor) = (self.small_number()?, self.small_number()?);
                if major >= DEVICE_LIMITS.0 || minor >= DEVICE_LIMITS.1 {
                    return Err("a device that cannot exist");
                }
                match kind {
                    CHARACTER_DEVICE => Kind::CharacterDevice { major, minor },
                    _ => Kind::BlockDevice { major, minor },
                }
            }
            _ => return Err("an unknown kind"),
        };
        Ok(Entry { kind, mode, uid, gid, xattrs })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let end = self.offset.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or("an end before the end")?;
        let taken = &self.bytes[self.offset..end];
        self.offset = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number that is too large")
    }

    fn small_number(&mut self) -> Result<u32, &'static str> {
        u32::try_from(self.number()?).map_err(|_| "a number that is too large")
    }

    fn length(&mut self) -> Result<usize, &'static str> {
        usize::try_from(self.number()?).map_err(|_| "a number that is too large")
    }

    fn text(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.length()?;
        self.take(length)
    }
}

/// Whether a folder can look like that.
fn check(listing: &Listing) -> Result<(), &'static str> {
    for (path, entry) in listing.iter() {
        if path.is_empty() {
            if !entry.is_directory() {
                return Err("a root that is no folder");
            }
            continue;
        }
        let (parent, name) = split(path);
        if name.contains(&0) || matches!(name, b"" | b"." | b"..") {
            return Err("a name that is none");
        }
        if !listing.get(parent).is_some_and(Entry::is_directory) {
            return Err("a path without its folder");
        }
        if let Kind::File { link: Some(link), size, content } = &entry.kind {
            let kind = Kind::File { size: *size, content: *content, link: None };
            // A link later in order would be the first name.
            if link.as_slice() >= path || listing.get(link) != Some(&Entry { kind, ..entry.clone() }) {
                return Err("a link to what is not the same file");
            }
        }
    }
    Ok(())
}

fn shared_length(first: &[u8], second: &[u8]) -> usize {
    first.iter().zip(second).take_while(|(first, second)| first == second).count()
}

fn number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn text(bytes: &mut Vec<u8>, text: &[u8]) {
    number(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}
