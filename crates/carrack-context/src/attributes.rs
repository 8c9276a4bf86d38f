//! Extended attributes of a file or folder, as far as a copy of it has them.

use std::os::fd::AsFd;

use carrack_base::ContentDigest;
use rustix::io::Errno;

/// What another copy of the same file need not have: the machine's label, and what an overlay notes about itself.
const SELINUX: &[u8] = b"security.selinux";
const OVERLAY: [&[u8]; 2] = [b"user.overlay.", b"trusted.overlay."];
/// Holds what nearly every file with attributes has.
const SMALL: usize = 256;
/// The kernel's limit for a value, and for a list of names.
const LARGEST: usize = 64 * 1024;

/// At least one attribute with its value, sorted by name.
pub(crate) struct Attributes(Vec<(Vec<u8>, Vec<u8>)>);

/// Returns the attributes of what is open. `None` if there are none, as on most files.
pub(crate) fn of(open: impl AsFd) -> Result<Option<Attributes>, Errno> {
    let list = match grown(|list| rustix::fs::flistxattr(&open, list)) {
        // A file system without them.
        Err(Errno::NOTSUP) => return Ok(None),
        list => list?,
    };
    let mut attributes = Vec::new();
    for name in list.split(|byte| *byte == 0).filter(|name| counts(name)) {
        match grown(|value| rustix::fs::fgetxattr(&open, name, value)) {
            Ok(value) => attributes.push((name.to_vec(), value)),
            // Gone, or its value is only for others, who can't have it copied by us.
            Err(Errno::NODATA | Errno::ACCESS | Errno::PERM | Errno::NOTSUP) => {}
            Err(errno) => return Err(errno),
        }
    }
    attributes.sort();
    Ok((!attributes.is_empty()).then_some(Attributes(attributes)))
}

impl Attributes {
    /// BLAKE3 over `carrack attributes 1\n`, and for each attribute: length of name, name, length of value, value. Lengths
    /// are 32-bit little-endian.
    pub(crate) fn digest(&self) -> ContentDigest {
        let mut bytes = b"carrack attributes 1\n".to_vec();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            let length = u32::try_from(text.len()).expect("the kernel keeps attributes below 64 KiB");
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(text);
        }
        ContentDigest::of(&bytes)
    }

    /// BLAKE3 over `carrack file with attributes 1\n`, the digest of the file's bytes and [`Self::digest`].
    pub(crate) fn digest_with(&self, content: &ContentDigest) -> ContentDigest {
        let start: &[u8] = b"carrack file with attributes 1\n";
        ContentDigest::of(&[start, content.as_bytes(), self.digest().as_bytes()].concat())
    }
}

fn counts(name: &[u8]) -> bool {
    !name.is_empty() && name != SELINUX && !OVERLAY.iter().any(|prefix| name.starts_with(prefix))
}

/// What `read` writes to a buffer, which is made large if need be.
fn grown(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; SMALL];
    match read(&mut small) {
        Err(Errno::RANGE) => {
            let mut large = vec![0; LARGEST];
            let length = read(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        length => Ok(small[..length?].to_vec()),
    }
}
