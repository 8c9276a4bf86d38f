//! Headers of tar archives, byte for byte ours: layers' digests depend on them.
//!
//! POSIX ustar, with a PAX header before it only where ustar can't say something: a name or link that is too long or
//! not ASCII, a size of 8 GiB or more, an owner above 2,097,151, a time before the epoch or with a fraction, extended
//! attributes. No user names, no access times. The archive ends with two empty blocks and no further padding.
//!
//! Source: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; `SCHILY.xattr.` as GNU tar and Go.

use std::collections::BTreeMap;
use std::io::{self, Write};

const BLOCK: usize = 512;
const NAME_SIZE: usize = 100;
const PREFIX_SIZE: usize = 155;

/// The name under which PAX headers keep an extended attribute.
pub(crate) const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// Extended attributes, name → value.
pub(crate) type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// A time with its fraction: seconds since the epoch, and nanoseconds added to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mtime {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EntryKind<'a> {
    File { size: u64 },
    Directory,
    Symlink { target: &'a [u8] },
    HardLink { target: &'a [u8] },
    Fifo,
    CharacterDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}

/// What is written before an entry's content. `path` has no leading and no trailing slash; the root is empty.
pub(crate) struct Header<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) kind: EntryKind<'a>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Mtime,
    pub(crate) xattrs: &'a Xattrs,
}

impl Header<'_> {
    pub(crate) fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        let mut path = self.path.to_vec();
        if self.kind == EntryKind::Directory {
            path.extend_from_slice(if path.is_empty() { b"./" } else { b"/" });
        }
        let (kind, link, size, device) = match self.kind {
            EntryKind::File { size } => (b'0', &[][..], size, None),
            EntryKind::HardLink { target } => (b'1', target, 0, None),
            EntryKind::Symlink { target } => (b'2', target, 0, None),
            EntryKind::CharacterDevice { major, minor } => (b'3', &[][..], 0, Some((major, minor))),
            EntryKind::BlockDevice { major, minor } => (b'4', &[][..], 0, Some((major, minor))),
            EntryKind::Directory => (b'5', &[][..], 0, None),
            EntryKind::Fifo => (b'6', &[][..], 0, None),
        };
        let mut block = Block::new(kind);
        let mut records = Records::default();
        match split(&path) {
            Some((prefix, name)) => {
                block.text(0, name);
                block.text(345, prefix);
            }
            None => {
                records.add(b"path", &path);
                block.text(0, &path[..path.len().min(NAME_SIZE)]);
            }
        }
        if link.len() > NAME_SIZE || !link.is_ascii() {
            records.add(b"linkpath", link);
        }
        block.text(157, &link[..link.len().min(NAME_SIZE)]);
        block.octal(100, 7, u64::from(self.mode & 0o7777));
        block.octal_or_record(108, 7, u64::from(self.uid), b"uid", &mut records);
        block.octal_or_record(116, 7, u64::from(self.gid), b"gid", &mut records);
        block.octal_or_record(124, 11, size, b"size", &mut records);
        match (u64::try_from(self.mtime.seconds), self.mtime.nanoseconds) {
            (Ok(seconds), 0) => block.octal_or_record(136, 11, seconds, b"mtime", &mut records),
            _ => records.add(b"mtime", self.mtime.to_string().as_bytes()),
        }
        if let Some((major, minor)) = device {
            block.octal(329, 7, u64::from(major));
            block.octal(337, 7, u64::from(minor));
        }
        for (name, value) in self.xattrs {
            records.add(&[XATTR_PREFIX.as_bytes(), name].concat(), value);
        }
        records.write(output)?;
        output.write_all(&block.with_checksum())
    }
}

impl std::fmt::Display for Mtime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The fraction of a PAX time counts away from zero, ours counts up.
        let nanoseconds = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds);
        let (sign, magnitude) = (if nanoseconds < 0 { "-" } else { "" }, nanoseconds.unsigned_abs());
        let text = format!("{sign}{}.{:09}", magnitude / 1_000_000_000, magnitude % 1_000_000_000);
        formatter.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// Fills the last block of an entry's content of `size` bytes.
pub(crate) fn pad(output: &mut dyn Write, size: u64) -> io::Result<()> {
    let rest = (size % BLOCK as u64) as usize;
    output.write_all(&[0; BLOCK][..(BLOCK - rest) % BLOCK])
}

/// Ends the archive.
pub(crate) fn end(output: &mut dyn Write) -> io::Result<()> {
    output.write_all(&[0; 2 * BLOCK])
}

/// Splits a path into ustar's prefix and name, if it fits.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME_SIZE {
        return Some((&[], path));
    }
    // The slash between both is not stored, and a folder's trailing one is no place to split.
    let first = path.len() - NAME_SIZE - 1;
    let last = PREFIX_SIZE.min(path.len().saturating_sub(2));
    let slash = (first..=last).find(|&index| path[index] == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}

struct Block([u8; BLOCK]);

impl Block {
    fn new(kind: u8) -> Self {
        let mut block = Self([0; BLOCK]);
        block.0[156] = kind;
        block.text(257, b"ustar\x0000");
        for (offset, digits) in [(100, 7), (108, 7), (116, 7), (124, 11), (136, 11), (329, 7), (337, 7)] {
            block.octal(offset, digits, 0);
        }
        block
    }

    fn text(&mut self, offset: usize, text: &[u8]) {
        self.0[offset..offset + text.len()].copy_from_slice(text);
    }

    fn octal(&mut self, offset: usize, digits: usize, number: u64) {
        self.text(offset, format!("{number:0digits$o}").as_bytes());
    }

    fn octal_or_record(
        &mut self,
        offset: usize,
        digits: usize,
        number: u64,
        key: &[u8],
        records: &mut Records,
    ) {
        if number >> (3 * digits) == 0 {
            self.octal(offset, digits, number);
        } else {
            records.add(key, number.to_string().as_bytes());
        }
    }

    /// The block with the sum of its bytes, in which the sum itself counts as eight spaces.
    fn with_checksum(mut self) -> [u8; BLOCK] {
        self.text(148, b"        ");
        let sum: u64 = self.0.iter().map(|byte| u64::from(*byte)).sum();
        self.octal(148, 6, sum);
        self.0[154] = 0;
        self.0
    }
}

/// The records of a PAX header: `LENGTH KEY=VALUE\n`, where the length counts itself.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        for part in [&b" "[..], key, b"=", value, b"\n"] {
            self.0.extend_from_slice(part);
        }
    }

    fn write(&self, output: &mut dyn Write) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut block = Block::new(b'x');
        block.text(0, b"././@PaxHeader");
        block.octal(100, 7, 0o644);
        block.octal(124, 11, self.0.len() as u64);
        output.write_all(&block.with_checksum())?;
        output.write_all(&self.0)?;
        pad(output, self.0.len() as u64)
    }
}
