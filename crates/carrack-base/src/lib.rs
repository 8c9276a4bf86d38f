//! Vocabulary that the other crates share. No async, no policy, and no I/O but one rule about it.
//!
//! A type enters this crate only when three others need it: digests ([`Digest`], [`ContentDigest`]), the
//! [`Platform`], paths inside images ([`ImagePath`]), places in source text ([`Span`]), what a build says while it
//! runs ([`BuildEvent`]), how it is stopped ([`Cancel`]) and the files of a compiled unit ([`UnitFile`]). So do the
//! rules [`nearest`], [`normalised`], [`parse_size`], [`parse_age`], and how files are read that others may have tampered with:
//! [`read_regular`].

mod amount;
mod cancel;
mod digest;
mod event;
mod host_path;
mod image_path;
mod platform;
mod regular;
mod span;
mod spelling;
mod unit;

pub use amount::{parse_age, parse_size};
pub use cancel::Cancel;
pub use digest::{ContentDigest, Digest, DigestParseError, Sha256Writer};
pub use event::{BuildEvent, EventSink, OutputStream, StepId, StepOutcome};
pub use host_path::normalised;
pub use image_path::{ImagePath, ImagePathError};
pub use platform::{Platform, PlatformParseError};
pub use regular::{MOST_BYTES, MOST_TEXT, digest_regular, open_regular_itself, read_regular};
pub use span::{SourceText, Span};
pub use spelling::nearest;
pub use unit::{UnitContent, UnitFile, unit_id};
