//! The program: reads the command line, wires the libraries, shows progress and errors.
//!
//! ```text
//! arguments → workspace (plan, graph) → engine → images → output
//!                                         └→ events → progress
//! ```

mod arguments;
mod blobs;
mod call;
mod caller;
mod commands;
mod engine;
mod failure;
mod output;
mod progress;
mod registries;
mod remap;
mod shared;
mod signals;
mod snippet;
mod stages;
mod terminal;
mod workspace;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use carrack_base::Cancel;
use carrack_sandbox::Standing;
use clap::Parser;

use arguments::{Arguments, Command};
use caller::Caller;
use failure::{Failure, code};
use terminal::Terminal;

fn main() -> ExitCode {
    // This program is also the sandbox's helper, and rustc's stand-in where there is no sandbox.
    carrack_sandbox::run_init_if_asked();
    if let Some(ended) = remap::run_if_asked() {
        return ended;
    }
    let start = Instant::now();
    let terminal = Terminal::of_stderr();
    let standing = match carrack_sandbox::standing() {
        Ok(standing) => standing,
        Err(error) => return fail(&Failure::Sandbox(error), &terminal, false),
    };
    let mut words: Vec<_> = std::env::args_os().collect();
    // `cargo carrack build` runs `cargo-carrack carrack build`.
    if words.get(1).is_some_and(|word| word == "carrack") {
        words.remove(1);
    }
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // If even that can't be printed, the exit code has to do.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { code::USAGE } else { 0 });
        }
    };
    if let Command::Cargo(cargo) = &arguments.command {
        let caller = Caller::of_this_process(standing);
        let state = caller.state(arguments.home);
        return commands::cargo::run(cargo, &caller, &state)
            .unwrap_or_else(|failure| fail(&failure, &terminal, false));
    }
    let for_programs = arguments.command.speaks_json();
    let cancel = Cancel::default();
    let result = signals::watch(&cancel)
        .map_err(|error| Failure::bug(&error))
        .and_then(|()| run(arguments, standing, &terminal, &cancel, start));
    match (result, cancel.signal()) {
        (Ok(ended), _) => ended,
        // What failed because of the signal is no failure of its own.
        (Err(_), Some(signal)) => fail(&Failure::Cancelled { signal }, &terminal, for_programs),
        (Err(failure), None) => fail(&failure, &terminal, for_programs),
    }
}

fn fail(failure: &Failure, terminal: &Terminal, for_programs: bool) -> ExitCode {
    let text = if for_programs { failure.events() } else { failure.report(terminal) };
    // Someone who closed standard error does not want to read it.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    ExitCode::from(failure.code())
}

fn run(
    arguments: Arguments,
    standing: Standing,
    terminal: &Terminal,
    cancel: &Cancel,
    start: Instant,
) -> Result<ExitCode, Failure> {
    let caller = Caller::of_this_process(standing);
    let state = caller.state(arguments.home);
    match arguments.command {
        Command::Build(build) => commands::build::run(&build, &caller, &state, terminal, cancel, start),
        Command::Init(init) => commands::init::run(&init, &caller, &state, terminal, cancel),
        Command::Compose(compose) => {
            commands::compose::run(&compose, &caller, &state, terminal, cancel, start)
        }
        Command::Check(check) => commands::check::run(&check, &caller, terminal),
        Command::Run(run) => commands::run::run(&run, &caller, &state, cancel),
        Command::Images(images) => commands::images::run(&images, &state),
        Command::Rm(rm) => commands::rm::run(&rm, &state),
        Command::Cache(cache) => commands::cache::run(&cache, &caller, &state),
        Command::Cargo(_) => unreachable!("it was run before anyone listened to signals"),
        Command::Doctor(doctor) => commands::doctor::run(&doctor, &caller, &state, cancel),
        Command::Completions { shell } => commands::completions::run(shell),
    }
}
