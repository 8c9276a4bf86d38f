//! Reading tar archives that anyone may have written.
//!
//! Understands ustar and v7, GNU's long names and base-256 numbers, and PAX headers with any bytes in their values (a
//! binary extended attribute may hold a line end). Global PAX headers are skipped, as docker does. Sparse files are
//! refused: no image builder writes them, and they are where archive readers disagree.
//!
//! Nothing is believed about paths here; they come out as they are in the archive.
//! Failure: [`io::ErrorKind::InvalidData`] for what is no archive, [`io::ErrorKind::UnexpectedEof`] for half of one.

use std::io::{self, Read, Seek, SeekFrom};

use crate::tar_header::{Mtime, XATTR_PREFIX, Xattrs};

const BLOCK: usize = 512;
/// No path and no set of extended attributes on Linux needs more, and headers are held in memory.
const EXTENSION_LIMIT: u64 = 1 << 20;

/// The archive, at an entry's content.
pub(crate) struct TarReader<R> {
    input: R,
    /// Bytes of the current entry's content that are still unread.
    content: u64,
    /// Bytes that follow the content up to the next block.
    padding: u64,
}

/// What an archive says about an entry. `kind` is the type flag, `b'0'` for every spelling of a regular file.
pub(crate) struct TarEntry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: u8,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) size: u64,
    pub(crate) mtime: Mtime,
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Xattrs,
}

/// What headers before an entry say about it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<Mtime>,
    xattrs: Xattrs,
}

impl<R: Read> TarReader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, content: 0, padding: 0 }
    }

    pub(crate) fn into_inner(self) -> R {
        self.input
    }

    /// Goes on to the next entry, past what is left of this one's content. `None` at the end.
    pub(crate) fn next_entry(&mut self) -> io::Result<Option<TarEntry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let mut block = [0; BLOCK];
            if !self.read_block(&mut block)? || block == [0; BLOCK] {
                return Ok(None);
            }
            check_sum(&block)?;
            let size = number(&block[124..136])?;
            match block[156] {
                b'x' => extensions.read_records(&self.read_extension(size)?)?,
                b'L' => extensions.path = Some(text(&self.read_extension(size)?).to_vec()),
                b'K' => extensions.link = Some(text(&self.read_extension(size)?).to_vec()),
                b'g' => self.start_content(size),
                _ => {
                    let entry = extensions.entry(&block, size)?;
                    self.start_content(entry.size);
                    return Ok(Some(entry));
                }
            }
        }
    }

    fn start_content(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let rest = self.content.saturating_add(self.padding);
        (self.content, self.padding) = (0, 0);
        match io::copy(&mut (&mut self.input).take(rest), &mut io::sink())? {
            skipped if skipped == rest => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Whether there was a block. Some archives end without empty ones.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> io::Result<bool> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn read_extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > EXTENSION_LIMIT {
            return Err(invalid("a header before an entry is too long"));
        }
        self.start_content(size);
        let mut bytes = vec![0; size as usize];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read + Seek> TarReader<R> {
    /// Skips the current entry's content without reading it, and says where it begins.
    pub(crate) fn seek_past(&mut self) -> io::Result<u64> {
        let start = self.input.stream_position()?;
        let rest = self.content.saturating_add(self.padding);
        (self.content, self.padding) = (0, 0);
        let end = start.checked_add(rest).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.input.seek(SeekFrom::Start(end))?;
        Ok(start)
    }
}

/// Reads the current entry's content.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.content.min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        match self.input.read(&mut buffer[..wanted])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.content -= count as u64;
                Ok(count)
            }
        }
    }
}

impl Extensions {
    fn read_records(&mut self, mut records: &[u8]) -> io::Result<()> {
        let malformed = || invalid("a PAX record is malformed");
        while !records.is_empty() {
            let space = records.iter().position(|byte| *byte == b' ').ok_or_else(malformed)?;
            let length = decimal(&records[..space]).ok_or_else(malformed)?;
            let length = usize::try_from(length).map_err(|_| malformed())?;
            if length < space + 2 || length > records.len() || records[length - 1] != b'\n' {
                return Err(malformed());
            }
            let record = &records[space + 1..length - 1];
            let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(malformed)?;
            self.add(&record[..equals], &record[equals + 1..]).ok_or_else(malformed)?;
            records = &records[length..];
        }
        Ok(())
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(decimal(value)?),
            b"uid" => self.uid = Some(decimal(value)?),
            b"gid" => self.gid = Some(decimal(value)?),
            b"mtime" => self.mtime = Some(Mtime::parse(value)?),
            _ if key.starts_with(b"GNU.sparse.") => return None,
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX.as_bytes()) {
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                }
            }
        }
        Some(())
    }

    fn entry(self, block: &[u8; BLOCK], size: u64) -> io::Result<TarEntry> {
        let header_path = || match (text(&block[345..500]), text(&block[..100])) {
            (prefix, name) if &block[257..263] == b"ustar\0" && !prefix.is_empty() => {
                [prefix, b"/", name].concat()
            }
            (_, name) => name.to_vec(),
        };
        let path = self.path.unwrap_or_else(header_path);
        let kind = match block[156] {
            b'\0' | b'0' | b'7' if path.ends_with(b"/") => b'5',
            b'\0' | b'7' => b'0',
            kind => kind,
        };
        let device =
            |field| u32::try_from(number(field)?).map_err(|_| invalid("a device number is too large"));
        let is_device = matches!(kind, b'3' | b'4');
        Ok(TarEntry {
            kind,
            link: self.link.unwrap_or_else(|| text(&block[157..257]).to_vec()),
            mode: (number(&block[100..108])? & 0o7777) as u32,
            uid: self.uid.map_or_else(|| number(&block[108..116]), Ok)?,
            gid: self.gid.map_or_else(|| number(&block[116..124]), Ok)?,
            // As Go reads them: only files have content, whatever the others claim.
            size: if matches!(kind, b'1'..=b'6') { 0 } else { self.size.unwrap_or(size) },
            mtime: match self.mtime {
                Some(mtime) => mtime,
                None => Mtime { seconds: signed_number(&block[136..148])?, nanoseconds: 0 },
            },
            device: if is_device { (device(&block[329..337])?, device(&block[337..345])?) } else { (0, 0) },
            xattrs: self.xattrs,
            path,
        })
    }
}

impl Mtime {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (is_negative, magnitude) = match text.strip_prefix('-') {
            Some(magnitude) => (true, magnitude),
            None => (false, text),
        };
        let (seconds, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
        let seconds = i64::try_from(decimal(seconds.as_bytes())?).ok()?;
        if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        let nanoseconds: u32 = digits.parse().ok()?;
        Some(match (is_negative, nanoseconds) {
            (false, _) => Self { seconds, nanoseconds },
            (true, 0) => Self { seconds: -seconds, nanoseconds },
            (true, _) => Self { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
        })
    }
}

fn check_sum(block: &[u8; BLOCK]) -> io::Result<()> {
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let stored: u64 = block[148..156].iter().map(|byte| u64::from(*byte)).sum();
    if number(&block[148..156])? != sum - stored + 8 * u64::from(b' ') {
        return Err(invalid("a header's checksum is wrong"));
    }
    Ok(())
}

/// The bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    // `parse` would take a sign.
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

fn number(field: &[u8]) -> io::Result<u64> {
    u64::try_from(signed_number(field)?).map_err(|_| invalid("a number is negative"))
}

/// Octal digits among spaces and NULs, or GNU's base 256, marked by the first bit and possibly negative.
fn signed_number(field: &[u8]) -> io::Result<i64> {
    if field[0] & 0x80 != 0 {
        let start = if field[0] & 0x40 != 0 { -1 } else { i128::from(field[0] & 0x3f) };
        let value = field[1..]
            .iter()
            .try_fold(start, |value: i128, byte| value.checked_mul(256)?.checked_add(i128::from(*byte)));
        return value
            .and_then(|value| i64::try_from(value).ok())
            .ok_or_else(|| invalid("a number is too large"));
    }
    let text = text(field).trim_ascii();
    if text.is_empty() {
        return Ok(0);
    }
    let digits =
        std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_digit()));
    let value = digits.and_then(|digits| i64::from_str_radix(digits, 8).ok());
    value.ok_or_else(|| invalid("a number is not octal"))
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
