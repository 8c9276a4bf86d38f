//! A Docker daemon for as long as standard input is open.
//!
//! `cargo run --release -p carrack-testkit --example dockyard FOLDER` starts this machine's, with the base images in it, and
//! with a further argument `current` a current release with nothing in it. Once it answers, `DOCKER_HOST=…`, `DOCKER_CONFIG=…`
//! and `CLIENT=…` are printed. What is made once is kept below FOLDER. A machine that can't have it gets a word about why, and
//! exit code 1.
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
    let (current, shared);
    let docker = if std::env::args_os().nth(2).is_some_and(|kind| kind == "current") {
        current = Docker::current(Path::new(&folder));
        match &current {
            Ok(docker) => docker,
            Err(why) => {
                eprintln!("skipped: dockyard: {why}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        shared = Docker::dockyard("dockyard", Path::new(&folder));
        let Some(docker) = shared else { return ExitCode::FAILURE };
        docker
    };
    println!("DOCKER_HOST={}", docker.host());
    println!("DOCKER_CONFIG={}", docker.settings().display());
    println!("CLIENT={}", docker.client_path().display());
    let ended = io::copy(&mut io::stdin(), &mut io::sink());
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
