//! What clients write while they build, in one form.
//!
//! [`rawjson`] reads `--progress=rawjson`, [`plain`] reads `--progress=plain`; both give [`News`]. A [`Board`] turns the
//! news of all clients of a run into the events of one build.
//!
//! Nothing here fails: a line that is no progress is the client's own words.

mod base64;
mod board;
mod plain;
mod rawjson;

use std::time::Duration;

use carrack_base::OutputStream;

pub(crate) use board::{Board, Sheet};
pub(crate) use plain::Plain;
pub(crate) use rawjson::rawjson;

/// One piece of a client's news. Vertices are BuildKit's steps; the text that names one is unique within one client.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// A vertex exists, or is in another state than before.
    Vertex { vertex: String, name: String, state: State },
    /// A piece of what a vertex's process wrote.
    Output { vertex: String, stream: OutputStream, bytes: Vec<u8> },
    /// What a vertex does just now (`transferring context: 2.1 MB`).
    Status { vertex: String, text: String },
    /// Something about the Dockerfile that is no error.
    Warning { message: String, hint: Option<String> },
    /// The client's own words.
    Words(String),
}

/// How far a vertex is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    Waiting,
    Running,
    /// `elapsed` if the client says it.
    Done {
        cached: bool,
        elapsed: Option<Duration>,
    },
    Failed(String),
    Cancelled,
}
