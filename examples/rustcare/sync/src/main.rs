//! `rustcare-sync`: asks the server for its appointments and keeps a snapshot of them in a folder.
//!
//! A server that does not answer is a warning and the old snapshot stays; the next round tries again. With `--once`
//! it is the exit code. Nothing flows back to the server.

mod client;
mod snapshot;

use std::collections::BTreeMap;
use std::env;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use rustcare_config::{Config, SyncConfig};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use time::OffsetDateTime;

use crate::client::Client;

/// Keeps a snapshot of the appointments for the systems that read files.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Take one snapshot and exit: 0 if it is there, 1 if not.
    #[arg(long)]
    once: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // A variable that is not Unicode is no setting of ours.
    let variables: BTreeMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = Config::load(rustcare_config::file_to_read(&variables).as_deref(), &variables)?;
    rustcare_telemetry::start(&config.log, io::stderr().is_terminal())?;
    if arguments.once {
        return take_snapshot(&config.sync);
    }
    repeat(&config.sync, &stop_signals()?);
    Ok(())
}

fn repeat(config: &SyncConfig, stop: &Receiver<i32>) {
    let interval = Duration::from_secs(config.interval_seconds.into());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), server = config.server, ?interval, "started");
    loop {
        if let Err(error) = take_snapshot(config) {
            tracing::warn!(error = format!("{error:#}"), "no snapshot this time");
        }
        match stop.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(signal) => {
                tracing::info!(signal, "done");
                return;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn take_snapshot(config: &SyncConfig) -> Result<()> {
    let taken_at = OffsetDateTime::now_utc();
    let appointments = Client::new(&config.server).appointments()?;
    snapshot::write(&config.folder, taken_at, &appointments)
        .with_context(|| format!("can't write the snapshot to {}", config.folder.display()))?;
    tracing::info!(appointments = appointments.len(), "snapshot taken");
    Ok(())
}

/// Receives SIGTERM and SIGINT from now on, so that a snapshot that is being written is finished first.
fn stop_signals() -> Result<Receiver<i32>> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).context("can't handle SIGTERM and SIGINT")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
