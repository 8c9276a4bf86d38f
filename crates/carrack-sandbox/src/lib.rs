//! Runs one process isolated from the host.
