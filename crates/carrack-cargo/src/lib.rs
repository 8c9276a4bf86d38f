//! Reads a Cargo workspace: what is built, from which inputs, into which images.
