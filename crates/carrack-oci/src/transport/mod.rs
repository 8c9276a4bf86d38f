//! HTTP with a limit on every wait: what lies below registries and other stores of blobs.
//!
//! A [`Transport`] sends a [`Request`] and gives back the [`Response`], whatever its status. It owns connections, TLS,
//! patience and second attempts:
//!
//! | trouble | what happens |
//! | --- | --- |
//! | name or connection takes too long | [`TransportError::TimedOut`] after `connect_timeout`, no second attempt |
//! | no byte goes in either direction | [`TransportError::TimedOut`] after `stall_timeout`, no second attempt |
//! | refused, reset or cut connection | asked again, `attempts` in all, with growing pauses; a download goes on where it stopped ([`Download`]) |
//! | 408, 429, 500, 502, 503, 504 | asked again likewise; `Retry-After` in seconds is honoured up to `longest_pause` |
//! | the deadline passes | [`TransportError::Deadline`], whatever was under way |
//!
//! So a call ends within `attempts` times the waits, and never after its deadline. Authentication is not done here, and
//! no header is sent on to another host when a server redirects.
//!
//! Nothing is read from the environment: proxy and root certificates are options.
//!
//! Failure: [`TransportError`] names the address without its query, which may hold a signature.

mod agent;
mod download;
mod error;
mod message;

pub use agent::{Roots, Transport, TransportOptions};
pub(crate) use agent::{is_loopback, is_transient};
pub use download::Download;
pub use error::{TransportError, Wait};
pub use message::{Body, Method, Request, Response, ResponseReader};
