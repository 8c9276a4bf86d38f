//! Reads tar archives: ustar with PAX and GNU extensions, as far as images have them.

use std::collections::BTreeMap;

const BLOCK: usize = 512;
const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// One member.
#[derive(Debug, Default)]
pub(super) struct Entry<'a> {
    pub(super) path: Vec<u8>,
    /// The letter of its type: `0` file, `1` hard link, `2` symlink, `3` and `4` devices, `5` folder, `6` fifo.
    pub(super) kind: u8,
    pub(super) mode: u64,
    pub(super) user: u64,
    pub(super) group: u64,
    pub(super) device: (u64, u64),
    pub(super) link: Vec<u8>,
    pub(super) attributes: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) content: &'a [u8],
}

/// The members of an archive, in its order.
pub(super) fn entries(archive: &[u8]) -> Vec<Entry<'_>> {
    let mut entries = Vec::new();
    let mut extended: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut rest = archive;
    while let Some((header, after)) = rest.split_at_checked(BLOCK) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        let of_header = number(&header[124..136]);
        let kind = if header[156] == 0 { b'0' } else { header[156] };
        let is_extension = matches!(kind, b'x' | b'g' | b'L' | b'K');
        let own = |key: &[u8]| extended.get(key).filter(|_| !is_extension);
        let size = own(b"size").map_or(of_header, |text| decimal(text));
        let length = usize::try_from(size).expect("a member fits into memory");
        let (content, padded) = after.split_at_checked(length).expect("an archive is whole");
        rest = &padded[(BLOCK - length % BLOCK) % BLOCK..];
        match kind {
            b'x' => extended.extend(records(content)),
            b'g' => {}
            b'L' => drop(extended.insert(b"path".to_vec(), text(content).to_vec())),
            b'K' => drop(extended.insert(b"linkpath".to_vec(), text(content).to_vec())),
            b'0'..=b'6' => {
                let extended = std::mem::take(&mut extended);
                let get = |key: &[u8]| extended.get(key).cloned();
                let numeric =
                    |key: &[u8], field: &[u8]| get(key).map_or_else(|| number(field), |text| decimal(&text));
                assert!(!extended.keys().any(|key| key.starts_with(b"GNU.sparse")), "a sparse member");
                entries.push(Entry {
                    path: get(b"path").unwrap_or_else(|| path(header)),
                    kind,
                    mode: number(&header[100..108]) & 0o7777,
                    user: numeric(b"uid", &header[108..116]),
                    group: numeric(b"gid", &header[116..124]),
                    device: (number(&header[329..337]), number(&header[337..345])),
                    link: get(b"linkpath").unwrap_or_else(|| text(&header[157..257]).to_vec()),
                    attributes: extended
                        .iter()
                        .filter_map(|(key, value)| {
                            Some((key.strip_prefix(ATTRIBUTE)?.to_vec(), value.clone()))
                        })
                        .collect(),
                    content,
                });
            }
            other => panic!("a member of type {:?}", char::from(other)),
        }
    }
    entries
}

/// `length key=value\n`, where the length counts itself.
fn records(mut content: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut records = Vec::new();
    while !content.is_empty() {
        let space = content.iter().position(|byte| *byte == b' ').expect("a record has a length");
        let length = usize::try_from(decimal(&content[..space])).expect("a record fits into memory");
        let record = &content[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').expect("a record has a key");
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        content = &content[length..];
    }
    records
}

fn path(header: &[u8]) -> Vec<u8> {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    // GNU archives have other things where ustar has a prefix.
    if prefix.is_empty() || &header[257..263] != b"ustar\0" {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

/// Octal digits, or bytes behind a set bit.
fn number(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        let first = u64::from(field[0] & 0x7f);
        return field[1..].iter().fold(first, |number, byte| number << 8 | u64::from(*byte));
    }
    let digits = field.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, byte| number << 3 | u64::from(byte - b'0'))
}

fn decimal(text: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(text);
    // Some writers give owners a fraction.
    text.split('.').next().unwrap_or_default().parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}
