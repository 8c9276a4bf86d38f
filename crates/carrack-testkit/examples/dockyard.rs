//! A Docker daemon with the base images in it, for as long as standard input is open.
//!
//! `cargo run --release -p carrack-testkit --example dockyard FOLDER` prints `DOCKER_HOST=…` once the daemon answers. The
//! images are made once and kept below FOLDER. A machine that can't have it gets a word about why, and exit code 1.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io;
use std::path::Path;
use std::process::ExitCode;

use carrack_testkit::Docker;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: dockyard FOLDER");
        return ExitCode::from(2);
    };
    let Some(docker) = Docker::dockyard("dockyard", Path::new(&folder)) else { return ExitCode::FAILURE };
    println!("DOCKER_HOST={}", docker.host());
    let ended = io::copy(&mut io::stdin(), &mut io::sink());
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
