//! The build graph: closed, typed and keyed by content.
