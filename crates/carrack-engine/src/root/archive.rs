//! Archives by their content: tar, as it is or compressed with gzip, bzip2, xz or zstd.

use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use carrack_oci::Ownership;
use carrack_oci::snapshot::{SnapshotError, unpack};
use carrack_oci::wire::media_type;

const BLOCK: u64 = 512;

/// The bytes of an archive, uncompressed; `None` if it is no archive.
pub(crate) fn recognised(source: impl Read + Send + 'static) -> io::Result<Option<Box<dyn Read + Send>>> {
    let mut reader = uncompressed(source)?;
    let mut block = Vec::new();
    // A header's checksum tells an archive from any other file.
    match reader.by_ref().take(BLOCK).read_to_end(&mut block) {
        Ok(_) if is_header(&block) => Ok(Some(Box::new(Cursor::new(block).chain(reader)))),
        Ok(_) | Err(_) => Ok(None),
    }
}

/// Unpacks an archive, compressed or not, into an empty folder. Everything in it belongs to the caller.
///
/// Errors: it is no archive, or the folder can't take it.
pub fn unpack_archive(source: impl Read + Send, folder: &Path) -> Result<(), SnapshotError> {
    let reader = uncompressed(source).map_err(SnapshotError::Archive)?;
    unpack(reader, media_type::LAYER_TAR, folder, Ownership::Caller).map(drop)
}

fn uncompressed<'r>(mut source: impl Read + Send + 'r) -> io::Result<Box<dyn Read + Send + 'r>> {
    let mut head = Vec::new();
    source.by_ref().take(6).read_to_end(&mut head)?;
    let magic = head.clone();
    let whole = BufReader::with_capacity(256 * 1024, Cursor::new(head).chain(source));
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(whole)?),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::read::MultiBzDecoder::new(whole)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(lzma_rust2::XzReader::new(whole, true)),
        _ => Box::new(whole),
    })
}

fn is_header(block: &[u8]) -> bool {
    let Some(stored) = block.get(148..156).filter(|_| block.len() as u64 == BLOCK) else { return false };
    let stored = std::str::from_utf8(stored).ok().map(|text| text.trim_matches([' ', '\0']));
    let Some(stored) = stored.and_then(|text| u64::from_str_radix(text, 8).ok()) else { return false };
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    stored == sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..])
}
