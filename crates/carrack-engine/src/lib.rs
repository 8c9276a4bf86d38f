//! Solves a build graph: keys, cache, sandboxed steps, image assembly.
