//! A cache that machines share: where it lies, how its entries are published, found, trusted, and what they weigh.
//!
//! A [`Remote`] holds **entries** under flat names. An entry is a *head* (at most 32 MiB, of whoever published it) and a
//! list of *blobs*, named by their SHA-256. It may lie in three kinds of places, told by a [`Location`]:
//!
//! | location | the entry `NAME` | its head | its blobs |
//! | --- | --- | --- | --- |
//! | `type=registry,ref=HOST/REPO` | tag `NAME` of a manifest with artifact type `application/vnd.carrack.cache.v1` | the manifest's config blob | its layers |
//! | `type=s3,bucket=B,prefix=P/` | object `P/entries/NAME` (JSON) | `P/blobs/sha256/HEX` | likewise |
//! | `type=local,dest=FOLDER` | file `entries/NAME` (JSON) | `blobs/sha256/HEX` | likewise |
//!
//! - **Whole or not at all**: blobs are written first, the name last. Publishers of different names do not meet; of the
//!   same name, the last one wins with all of its entry.
//! - **Nothing is believed**: whatever comes in is compared with its digest and size ([`Remote::read`]). With trusted keys
//!   ([`Access::trusted`]), an entry that none of them signed counts as untrusted ([`signature`]).
//! - **A remote can't hold a build up**: every wait has a limit, all together have a deadline ([`Limits`]), and the first
//!   failure turns the remote off: later calls answer [`RemoteError::Off`] at once. What was only not found, damaged or
//!   untrusted does not turn it off; what was refused to a writer leaves reading on.
//!
//! [`pack`] puts many compiled units into one blob and takes them out again while it still comes in.
//!
//! Not here: what an entry means and when it is looked for (the engine's), who we are (the program's), and getting rid of
//! blobs that no entry names any more.
//!
//! Failure: [`RemoteError`] names the location, what was attempted and the cause. None of them may fail a build.

mod breaker;
mod carrier;
mod envelope;
mod error;
mod location;
pub mod pack;
mod remote;
pub mod signature;
mod verified;
mod wire;

pub use error::{Cause, Distrust, Operation, RemoteError};
pub use location::{Location, LocationError};
pub use remote::{
    Access, BlobInfo, BlobReader, Bytes, Entry, HEAD_LIMIT, Limits, Published, Remote, S3Keys, Upload,
};
