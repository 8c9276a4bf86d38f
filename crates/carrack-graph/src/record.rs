//! Key records, byte by byte.
//!
//! A record is a kind (`exec`), a version and named fields. Its canonical bytes, whose BLAKE3 digest is the key:
//!
//! ```text
//! record  = text(kind) u32(version) u32(count) field*      fields sorted by name
//! field   = text(name) tag value
//! value   = 'T' text                                        one text
//!         | 'L' u32(count) text*                            a list, order kept
//!         | 'M' u32(count) (text text)*                     a map, sorted by key
//!         | 'D' 32 bytes                                    the digest of a listing that is kept beside the record
//! text    = u32(length in bytes) bytes                      numbers are little-endian
//! ```
//!
//! A listing (path → digest of the content) is far larger than the rest; only its digest enters the record.

use std::collections::BTreeMap;

use carrack_base::ContentDigest;

/// Named fields that decide a result. See the module's documentation for its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    kind: String,
    version: u32,
    fields: BTreeMap<String, Field>,
}

/// The value of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// One text.
    Text(String),
    /// Texts whose order counts.
    List(Vec<String>),
    /// Texts by name.
    Map(BTreeMap<String, String>),
    /// The digest of a [`Listing`].
    Listing(ContentDigest),
}

/// Content by path: what stands behind a [`Field::Listing`].
pub type Listing = BTreeMap<String, ContentDigest>;

/// How something differs between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It has another value.
    Changed,
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
}

/// One difference between two records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The field (`sources`, `env`).
    pub field: String,
    /// The entry within it (`server/src/main.rs`, `RUSTFLAGS`); `None` if the field is a single value.
    pub entry: Option<String>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Old and new value, where they are texts that may be shown.
    pub values: Option<(String, String)>,
}

/// Bytes that are no record, or a record of another version of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a key record")]
pub struct RecordError;

impl KeyRecord {
    /// A record without fields. `version` is raised whenever the meaning of the kind's fields changes.
    pub fn new(kind: &str, version: u32) -> Self {
        Self { kind: kind.to_owned(), version, fields: BTreeMap::new() }
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, field: Field) -> &mut Self {
        self.fields.insert(name.to_owned(), field);
        self
    }

    /// Sets a field to one text.
    pub fn text(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.set(name, Field::Text(value.into()))
    }

    /// The fields by name.
    pub fn fields(&self) -> &BTreeMap<String, Field> {
        &self.fields
    }

    /// The digest of the canonical bytes.
    pub fn key(&self) -> ContentDigest {
        ContentDigest::of(&self.to_bytes())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_text(&mut bytes, &self.kind);
        put_number(&mut bytes, self.version);
        put_count(&mut bytes, self.fields.len());
        for (name, field) in &self.fields {
            put_text(&mut bytes, name);
            match field {
                Field::Text(text) => {
                    bytes.push(b'T');
                    put_text(&mut bytes, text);
                }
                Field::List(texts) => {
                    bytes.push(b'L');
                    put_count(&mut bytes, texts.len());
                    texts.iter().for_each(|text| put_text(&mut bytes, text));
                }
                Field::Map(map) => {
                    bytes.push(b'M');
                    put_count(&mut bytes, map.len());
                    for (key, value) in map {
                        put_text(&mut bytes, key);
                        put_text(&mut bytes, value);
                    }
                }
                Field::Listing(digest) => {
                    bytes.push(b'D');
                    bytes.extend_from_slice(digest.as_bytes());
                }
            }
        }
        bytes
    }

    /// Reads canonical bytes.
    ///
    /// Errors: [`RecordError`] if they end early, go on, or hold an unknown tag.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut rest = bytes;
        let kind = take_text(&mut rest)?;
        let version = take_number(&mut rest)?;
        let mut fields = BTreeMap::new();
        for _ in 0..take_number(&mut rest)? {
            let name = take_text(&mut rest)?;
            let field = match take(&mut rest, 1)?[0] {
                b'T' => Field::Text(take_text(&mut rest)?),
                b'L' => {
                    let count = take_number(&mut rest)?;
                    Field::List((0..count).map(|_| take_text(&mut rest)).collect::<Result<_, _>>()?)
                }
                b'M' => {
                    let count = take_number(&mut rest)?;
                    let pair = |_| Ok((take_text(&mut rest)?, take_text(&mut rest)?));
                    Field::Map((0..count).map(pair).collect::<Result<_, _>>()?)
                }
                b'D' => {
                    let digest = take(&mut rest, 32)?.try_into().map_err(|_| RecordError)?;
                    Field::Listing(ContentDigest::from_bytes(digest))
                }
                _ => return Err(RecordError),
            };
            fields.insert(name, field);
        }
        if rest.is_empty() { Ok(Self { kind, version, fields }) } else { Err(RecordError) }
    }

    /// What is different in `newer`, field by field. `listing` finds the listing behind a digest; where it can't, the
    /// field counts as changed as a whole.
    pub fn changes(&self, newer: &Self, listing: &dyn Fn(&ContentDigest) -> Option<Listing>) -> Vec<Change> {
        let mut changes = Vec::new();
        for (name, kind, old, new) in paired(&self.fields, &newer.fields) {
            let whole = |kind, values| Change { field: name.clone(), entry: None, kind, values };
            match (old, new) {
                (Some(old), Some(new)) if old == new => {}
                (Some(Field::Text(old)), Some(Field::Text(new))) => {
                    changes.push(whole(kind, Some((old.clone(), new.clone()))));
                }
                (Some(Field::Map(old)), Some(Field::Map(new))) => {
                    entries(&mut changes, name, old, new, |old, new| Some((old.clone(), new.clone())));
                }
                (Some(Field::Listing(old)), Some(Field::Listing(new))) => {
                    match (listing(old), listing(new)) {
                        (Some(old), Some(new)) => entries(&mut changes, name, &old, &new, |_, _| None),
                        _ => changes.push(whole(kind, None)),
                    }
                }
                _ => changes.push(whole(kind, None)),
            }
        }
        changes
    }
}

fn entries<V: PartialEq>(
    changes: &mut Vec<Change>,
    field: &str,
    old: &BTreeMap<String, V>,
    new: &BTreeMap<String, V>,
    values: impl Fn(&V, &V) -> Option<(String, String)>,
) {
    for (name, kind, old, new) in paired(old, new) {
        if old == new {
            continue;
        }
        let values = old.zip(new).and_then(|(old, new)| values(old, new));
        changes.push(Change { field: field.to_owned(), entry: Some(name.clone()), kind, values });
    }
}

type Pair<'a, V> = (&'a String, ChangeKind, Option<&'a V>, Option<&'a V>);

/// Every name of either map, in the order of the names.
fn paired<'a, V>(old: &'a BTreeMap<String, V>, new: &'a BTreeMap<String, V>) -> Vec<Pair<'a, V>> {
    let mut pairs: Vec<Pair<'a, V>> = old
        .iter()
        .map(|(name, value)| match new.get(name) {
            Some(newer) => (name, ChangeKind::Changed, Some(value), Some(newer)),
            None => (name, ChangeKind::Removed, Some(value), None),
        })
        .chain(
            new.iter()
                .filter(|(name, _)| !old.contains_key(*name))
                .map(|(name, value)| (name, ChangeKind::Added, None, Some(value))),
        )
        .collect();
    pairs.sort_by_key(|(name, ..)| *name);
    pairs
}

fn put_number(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    put_number(bytes, u32::try_from(count).expect("a record stays far below 4 GiB"));
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_count(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], RecordError> {
    let (head, tail) = rest.split_at_checked(length).ok_or(RecordError)?;
    *rest = tail;
    Ok(head)
}

fn take_number(rest: &mut &[u8]) -> Result<u32, RecordError> {
    take(rest, 4)?.try_into().map(u32::from_le_bytes).map_err(|_| RecordError)
}

fn take_text(rest: &mut &[u8]) -> Result<String, RecordError> {
    let length = usize::try_from(take_number(rest)?).map_err(|_| RecordError)?;
    String::from_utf8(take(rest, length)?.to_vec()).map_err(|_| RecordError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> KeyRecord {
        let mut record = KeyRecord::new("exec", 1);
        record
            .text("profile", "release")
            .set("argv", Field::List(vec!["cargo".into(), "build".into()]))
            .set("env", Field::Map(BTreeMap::from([("RUSTFLAGS".into(), "-C debuginfo=1".into())])))
            .set("sources", Field::Listing(ContentDigest::of(b"one")));
        record
    }

    #[test]
    fn golden_key() {
        assert_eq!(
            sample().key().to_string(),
            "6984c6ac0536e7062ed01f12cd0ab2e30324b2768731296bf154e45f72d8af3d"
        );
    }

    #[test]
    fn bytes_round_trip_and_damage_is_seen() {
        let bytes = sample().to_bytes();
        assert_eq!(KeyRecord::from_bytes(&bytes), Ok(sample()));
        for length in 0..bytes.len() {
            assert_eq!(KeyRecord::from_bytes(&bytes[..length]), Err(RecordError), "cut at {length}");
        }
        assert_eq!(KeyRecord::from_bytes(&[bytes, vec![0]].concat()), Err(RecordError));
    }

    #[test]
    fn changes_name_field_entry_and_values() {
        let old = sample();
        let mut new = sample();
        new.text("profile", "dev")
            .set("env", Field::Map(BTreeMap::from([("CC".into(), "clang".into())])))
            .set("sources", Field::Listing(ContentDigest::of(b"two")));
        let listings = |digest: &ContentDigest| {
            let content = if *digest == ContentDigest::of(b"one") { b"a" } else { b"b" };
            Some(Listing::from([("src/main.rs".to_owned(), ContentDigest::of(content))]))
        };
        let change = |field: &str, entry: Option<&str>, kind, values: Option<(&str, &str)>| Change {
            field: field.to_owned(),
            entry: entry.map(str::to_owned),
            kind,
            values: values.map(|(old, new)| (old.to_owned(), new.to_owned())),
        };
        assert_eq!(
            old.changes(&new, &listings),
            [
                change("env", Some("CC"), ChangeKind::Added, None),
                change("env", Some("RUSTFLAGS"), ChangeKind::Removed, None),
                change("profile", None, ChangeKind::Changed, Some(("release", "dev"))),
                change("sources", Some("src/main.rs"), ChangeKind::Changed, None),
            ]
        );
        assert_eq!(old.changes(&old, &listings), []);
        assert_eq!(
            old.changes(&new, &|_| None).last(),
            Some(&change("sources", None, ChangeKind::Changed, None))
        );
    }
}
