//! Writes the JSON schema of Carrack's configuration to standard output.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(carrack_cargo::config::json_schema().as_bytes())
}
