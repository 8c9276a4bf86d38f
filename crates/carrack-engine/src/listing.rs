//! Listings on disk: `path NUL 32-byte digest` for each entry, compressed with zstd.

use carrack_base::ContentDigest;
use carrack_graph::Listing;

/// Level 1: the digests don't compress, and the paths do at any level.
const LEVEL: i32 = 1;

pub(crate) fn encode(listing: &Listing) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(listing.len() * 96);
    for (path, digest) in listing {
        bytes.extend_from_slice(path.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(digest.as_bytes());
    }
    zstd::encode_all(&bytes[..], LEVEL).expect("compressing in memory does not fail")
}

/// `None` if the bytes are no listing.
pub(crate) fn decode(bytes: &[u8]) -> Option<Listing> {
    let bytes = zstd::decode_all(bytes).ok()?;
    let mut listing = Listing::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == 0)?;
        let path = std::str::from_utf8(&rest[..end]).ok()?;
        let (digest, tail) = rest[end + 1..].split_at_checked(32)?;
        listing.insert(path.to_owned(), ContentDigest::from_bytes(digest.try_into().ok()?));
        rest = tail;
    }
    Some(listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_round_trip() {
        let listing = Listing::from([
            ("src/main.rs".to_owned(), ContentDigest::of(b"a")),
            ("src/ü.rs".to_owned(), ContentDigest::of(b"b")),
        ]);
        assert_eq!(decode(&encode(&listing)), Some(listing));
        assert_eq!(decode(b"nonsense"), None);
    }
}
