//! `cargo xtask`: what this repository needs besides cargo. Each command is one module; `just` and CI call the same.
//!
//! Owns the house rules, the one way to run all tests, to lint and to measure. It builds no product code of its own
//! and depends on no crate of the product, so it works while the product does not compile.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program talks to the terminal")]

mod bench;
mod cargo;
mod debian;
mod lint;
mod source;
mod test;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  bench [PART…]    measure everything, or these parts, and write docs/benchmarks.md
  lint             formatting, clippy, house rules and, if it is installed, cargo-deny
  test [FILTER…]   every test of the repository, or those whose names contain a filter
  tidy             the house rules alone
";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package is in a folder of the repository");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bench", ..] => bench::run(root, &arguments[1..]),
        ["lint"] => lint::run(root),
        ["test", ..] => test::run(root, &arguments[1..]),
        ["tidy"] => tidy::run(root),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
