//! Signatures of entries: who says that an entry is good.
//!
//! A key signs the *statement* of an entry, so that neither its head nor its blobs can be exchanged, and it can't be
//! passed off under another name:
//!
//! ```text
//! "carrack-entry-1\0"
//! u64 length of the name, the name
//! u64 number of blobs, for each: "sha256:…" (71 bytes), u64 size
//! u64 length of the head, the head
//! ```
//!
//! All numbers are little-endian. Keys are Ed25519, written as `ed25519:` and, for the one that must stay secret,
//! `ed25519-secret:` before 32 bytes in Base64.
//!
//! An old entry, properly signed under its name, can't be told from a new one: names should say what the entry is for
//! (a key's digest), so that an old one does no harm.
//!
//! Failure: [`KeyError`] says what is wrong with a key's text; it never holds a secret.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::BlobInfo;

const PUBLIC: &str = "ed25519:";
const SECRET: &str = "ed25519-secret:";

/// A key that signs. It is wiped from memory when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// A key that tells whether its secret counterpart signed something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It begins with neither prefix.
    #[error("a key begins with `{expected}`")]
    Prefix {
        /// What it should begin with.
        expected: &'static str,
    },
    /// A secret key where a public one belongs.
    #[error("this is a secret key, and a public one belongs here")]
    SecretInPublicPlace,
    /// A public key where a secret one belongs.
    #[error("this is a public key, and a secret one belongs here")]
    PublicInSecretPlace,
    /// What follows the prefix is no Base64.
    #[error("what follows `{prefix}` is no Base64")]
    Base64 {
        /// The prefix.
        prefix: &'static str,
    },
    /// Another number of bytes than 32.
    #[error("the key has {found} bytes where 32 are expected")]
    Length {
        /// Bytes that it has.
        found: usize,
    },
    /// 32 bytes that are no point of the curve, or one with which anything can be signed.
    #[error("these 32 bytes are no key")]
    NotAKey,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {said}")]
    Random {
        /// What it said.
        said: String,
    },
}

/// One signature as it lies in a head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireSignature {
    /// The public key's text.
    pub(crate) key: String,
    /// 64 bytes in Base64.
    pub(crate) signature: String,
}

impl SecretKey {
    /// A new key, from the system's random numbers.
    ///
    /// Errors: [`KeyError::Random`].
    pub fn generate() -> Result<Self, KeyError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| KeyError::Random { said: error.to_string() })?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Its public counterpart.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The text to be kept secret, `ed25519-secret:…`. There is no `Display`, so that nobody prints it by accident.
    pub fn to_secret_text(&self) -> String {
        format!("{SECRET}{}", BASE64_STANDARD.encode(self.0.as_bytes()))
    }

    /// Signs bytes: 64 bytes in Base64.
    pub fn sign(&self, bytes: &[u8]) -> String {
        BASE64_STANDARD.encode(self.0.sign(bytes).to_bytes())
    }
}

impl PublicKey {
    /// Whether `signature` (Base64) is this key's of `bytes`.
    pub fn verifies(&self, bytes: &[u8], signature: &str) -> bool {
        let Ok(signature) = BASE64_STANDARD.decode(signature) else { return false };
        let Ok(signature) = ed25519_dalek::Signature::from_slice(&signature) else { return false };
        self.0.verify_strict(bytes, &signature).is_ok()
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim().strip_prefix(SECRET) {
            Some(rest) => Ok(Self(SigningKey::from_bytes(&bytes(SECRET, rest)?))),
            None if text.trim().starts_with(PUBLIC) => Err(KeyError::PublicInSecretPlace),
            None => Err(KeyError::Prefix { expected: SECRET }),
        }
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let Some(rest) = text.strip_prefix(PUBLIC) else {
            return Err(match text.starts_with(SECRET) {
                true => KeyError::SecretInPublicPlace,
                false => KeyError::Prefix { expected: PUBLIC },
            });
        };
        let key = VerifyingKey::from_bytes(&bytes(PUBLIC, rest)?).map_err(|_| KeyError::NotAKey)?;
        if key.is_weak() {
            return Err(KeyError::NotAKey);
        }
        Ok(Self(key))
    }
}

fn bytes(prefix: &'static str, text: &str) -> Result<[u8; 32], KeyError> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| KeyError::Base64 { prefix })?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| KeyError::Length { found })
}

/// What is signed of an entry.
pub(crate) fn statement(name: &str, blobs: &[BlobInfo], head: &[u8]) -> Vec<u8> {
    let number = |number: usize| (number as u64).to_le_bytes();
    let mut statement = b"carrack-entry-1\0".to_vec();
    statement.extend(number(name.len()));
    statement.extend(name.as_bytes());
    statement.extend(number(blobs.len()));
    for blob in blobs {
        statement.extend(blob.digest.to_string().as_bytes());
        statement.extend(blob.size.to_le_bytes());
    }
    statement.extend(number(head.len()));
    statement.extend(head);
    statement
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PUBLIC}{}", BASE64_STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SecretKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_texts() {
        let secret = SecretKey::generate().unwrap();
        let again: SecretKey = secret.to_secret_text().parse().unwrap();
        let public: PublicKey = format!(" {}\n", secret.public()).parse().unwrap();
        assert_eq!(public, again.public());
        assert!(public.verifies(b"cargo", &again.sign(b"cargo")));
        assert!(!public.verifies(b"cargo.", &again.sign(b"cargo")));
        assert_ne!(SecretKey::generate().unwrap().public(), public);
        assert!(!format!("{secret:?}").contains(&secret.to_secret_text()[SECRET.len()..]));
    }

    #[test]
    fn what_is_no_key_says_why() {
        let secret = SecretKey::generate().unwrap();
        let short = BASE64_STANDARD.encode([7; 31]);
        for (text, expected) in [
            (String::new(), KeyError::Prefix { expected: PUBLIC }),
            ("rsa:AAAA".to_owned(), KeyError::Prefix { expected: PUBLIC }),
            (secret.to_secret_text(), KeyError::SecretInPublicPlace),
            ("ed25519:?".to_owned(), KeyError::Base64 { prefix: PUBLIC }),
            (format!("ed25519:{short}"), KeyError::Length { found: 31 }),
            // The neutral element signs everything.
            (
                format!("ed25519:{}", BASE64_STANDARD.encode([&[1_u8][..], &[0; 31]].concat())),
                KeyError::NotAKey,
            ),
        ] {
            assert_eq!(text.parse::<PublicKey>().unwrap_err(), expected, "{text}");
        }
        assert_eq!(
            secret.public().to_string().parse::<SecretKey>().unwrap_err(),
            KeyError::PublicInSecretPlace
        );
        assert_eq!("x".parse::<SecretKey>().unwrap_err(), KeyError::Prefix { expected: SECRET });
    }

    #[test]
    fn a_statement_is_told_apart_from_every_other() {
        let blob = |text: &[u8]| BlobInfo { digest: carrack_base::Digest::of(text), size: text.len() as u64 };
        let statements = [
            statement("a", &[], b"bc"),
            statement("ab", &[], b"c"),
            statement("a", &[blob(b"x")], b"bc"),
            statement("a", &[blob(b"y")], b"bc"),
            statement("a", &[blob(b"x"), blob(b"y")], b"bc"),
            statement("a", &[blob(b"y"), blob(b"x")], b"bc"),
        ];
        for (number, one) in statements.iter().enumerate() {
            assert!(statements[..number].iter().all(|other| other != one), "{number}");
        }
    }
}
