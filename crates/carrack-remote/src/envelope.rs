//! What a head looks like where it lies: its signatures before it.
//!
//! ```text
//! carrack-head-1\n
//! {"signatures":[{"key":"ed25519:…","signature":"…"}]}\n
//! the head's bytes
//! ```

use serde::{Deserialize, Serialize};

use crate::BlobInfo;
use crate::error::Distrust;
use crate::signature::{PublicKey, SecretKey, WireSignature, statement};

const MAGIC: &[u8] = b"carrack-head-1\n";
/// Signatures beyond this are not looked at: checking them takes time.
const SIGNATURES: usize = 16;

#[derive(Serialize, Deserialize)]
struct Line {
    signatures: Vec<WireSignature>,
}

/// A head with its signatures.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) head: Vec<u8>,
    signatures: Vec<WireSignature>,
}

impl Envelope {
    /// The bytes of `head`, signed if there is a key.
    pub(crate) fn seal(name: &str, blobs: &[BlobInfo], head: &[u8], key: Option<&SecretKey>) -> Vec<u8> {
        let sign = |key: &SecretKey| WireSignature {
            key: key.public().to_string(),
            signature: key.sign(&statement(name, blobs, head)),
        };
        let line = Line { signatures: key.map(sign).into_iter().collect() };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(serde_json::to_vec(&line).expect("texts can be written"));
        bytes.push(b'\n');
        bytes.extend(head);
        bytes
    }

    /// Takes an envelope apart; `Err` says what is wrong with it.
    pub(crate) fn open(bytes: &[u8]) -> Result<Self, &'static str> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("its head is none of this program's")?;
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("its head has no end of signatures")?;
        let line: Line =
            serde_json::from_slice(&rest[..end]).map_err(|_| "the signatures of its head are malformed")?;
        Ok(Self { head: rest[end + 1..].to_vec(), signatures: line.signatures })
    }

    /// Whether one of the `trusted` keys signed this head, for these blobs and under this name.
    pub(crate) fn check(
        &self,
        name: &str,
        blobs: &[BlobInfo],
        trusted: &[PublicKey],
    ) -> Result<(), Distrust> {
        let statement = statement(name, blobs, &self.head);
        let (mut unknown, mut wrong) = (Vec::new(), None);
        for WireSignature { key, signature } in self.signatures.iter().take(SIGNATURES) {
            let Ok(key) = key.parse::<PublicKey>() else { continue };
            if !trusted.contains(&key) {
                unknown.push(key);
            } else if key.verifies(&statement, signature) {
                return Ok(());
            } else {
                wrong = Some(key);
            }
        }
        Err(match wrong {
            Some(key) => Distrust::WrongSignature(key),
            None if unknown.is_empty() => Distrust::Unsigned,
            None => Distrust::UnknownKeys(unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrack_base::Digest;

    #[test]
    fn only_what_a_trusted_key_signed_is_trusted() {
        let (mine, other) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
        let blobs = [BlobInfo { digest: Digest::of(b"x"), size: 1 }];
        let smaller = [BlobInfo { digest: Digest::of(b"x"), size: 0 }];
        let trusted = [other.public(), mine.public()];
        let signed = Envelope::open(&Envelope::seal("a", &blobs, b"head", Some(&mine))).unwrap();
        assert_eq!(signed.head, b"head");
        let unsigned = Envelope::open(&Envelope::seal("a", &blobs, b"head", None)).unwrap();
        let changed = Envelope { head: b"Head".to_vec(), signatures: signed.signatures.clone() };
        let mut renamed = Envelope { head: b"head".to_vec(), signatures: signed.signatures.clone() };
        renamed.signatures[0].key = other.public().to_string();
        let mut garbled = Envelope { head: b"head".to_vec(), signatures: signed.signatures.clone() };
        garbled.signatures[0].signature = "????".to_owned();
        let mut second = Envelope { head: b"head".to_vec(), signatures: signed.signatures.clone() };
        second.signatures.insert(0, WireSignature { key: "ed448:x".to_owned(), signature: String::new() });
        let wrong = |key: &SecretKey| Err(Distrust::WrongSignature(key.public()));
        let unknown = || Err(Distrust::UnknownKeys(vec![mine.public()]));
        for (number, (envelope, name, blobs, trusted, expected)) in [
            (&signed, "a", &blobs[..], &trusted[..], Ok(())),
            (&second, "a", &blobs, &trusted, Ok(())),
            (&signed, "b", &blobs, &trusted, wrong(&mine)),
            (&signed, "a", &smaller, &trusted, wrong(&mine)),
            (&signed, "a", &[], &trusted, wrong(&mine)),
            (&changed, "a", &blobs, &trusted, wrong(&mine)),
            (&garbled, "a", &blobs, &trusted, wrong(&mine)),
            (&renamed, "a", &blobs, &trusted, wrong(&other)),
            (&signed, "a", &blobs, &trusted[..1], unknown()),
            (&unsigned, "a", &blobs, &trusted, Err(Distrust::Unsigned)),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(envelope.check(name, blobs, trusted), expected, "{number}");
        }
    }

    #[test]
    fn other_bytes_are_no_envelope() {
        for bytes in
            [&b""[..], b"carrack-head-2\n{}\n", b"carrack-head-1\n", b"carrack-head-1\n{\"signatures\":3}\n"]
        {
            assert!(Envelope::open(bytes).is_err(), "{bytes:?}");
        }
    }
}
