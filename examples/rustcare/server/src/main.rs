//! `rustcare-server`: settings, signals and logging around the API, and the image's health check.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use rustcare_api_types::HealthBody;
use rustcare_config::Config;
use rustcare_storage::Database;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// The clinic's HTTP API.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT (the default).
    Serve,
    /// Ask the server that runs with the same settings whether it is healthy: exit code 0 or 1.
    Health,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // A variable that is not Unicode is no setting of ours.
    let variables: BTreeMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = Config::load(rustcare_config::file_to_read(&variables).as_deref(), &variables)?;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(&config),
        Command::Health => check_health(config.server.listen),
    }
}

#[tokio::main]
async fn serve(config: &Config) -> Result<()> {
    rustcare_telemetry::start(&config.log, io::stderr().is_terminal())?;
    // Registered before anything else can take time: as the first process of a container, a signal that nobody
    // handles is lost.
    let mut terminate = signal(SignalKind::terminate()).context("can't handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("can't handle SIGINT")?;

    let database = Database::open(&config.database.path)?;
    let migrated = database.migrate(&config.database.migrations)?;
    tracing::info!(applied = ?migrated.applied, version = migrated.version, "database ready");
    let listen = config.server.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("can't listen on {listen}"))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), address = %listener.local_addr()?, "listening");

    let shutdown = async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "shutting down");
    };
    rustcare_server::serve(listener, Arc::new(database), shutdown).await.context("can't serve any longer")?;
    tracing::info!("done");
    Ok(())
}

fn check_health(listen: SocketAddr) -> Result<()> {
    let url = format!("http://{}/health", reachable(listen));
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(HEALTH_TIMEOUT))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .new_agent();
    let answer = agent.get(&url).call().with_context(|| format!("can't reach {url}"))?;
    let health: HealthBody = serde_json::from_reader(answer.into_body().into_reader())
        .with_context(|| format!("can't read the answer of {url}"))?;
    ensure!(health.healthy, "the server at {url} is not healthy");
    Ok(())
}

/// A server that listens on all addresses is asked on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_addresses_become_the_loopback() {
        for (listen, asked) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
