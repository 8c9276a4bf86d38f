//! Writes what is made from the table of configuration keys to standard output: the JSON schema (`schema`) or the
//! reference page (`reference`).

use std::io::{self, Write};

use carrack_cargo::config::{json_schema, reference};

fn main() -> io::Result<()> {
    let text = match std::env::args().nth(1).as_deref() {
        Some("schema") => json_schema(),
        Some("reference") => reference(),
        _ => return Err(io::Error::other("say `schema` or `reference`")),
    };
    io::stdout().write_all(text.as_bytes())
}
