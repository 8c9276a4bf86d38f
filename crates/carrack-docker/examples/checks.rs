//! Writes what is made from the table of checks to standard output: the page `docs/checks/README.md`.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(carrack_docker::check::reference().as_bytes())
}
