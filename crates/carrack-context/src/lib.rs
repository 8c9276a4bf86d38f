//! Walks and hashes a source tree where it lies.
