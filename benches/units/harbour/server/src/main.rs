//! The harbour master's HTTP API.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use futures::FutureExt;
use harbour_core::{Berths, EDITION};
use harbour_tides::Tables;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use tower_http::compression::CompressionLayer;
use tower_http::cors::CorsLayer;
use tower_http::trace::TraceLayer;
use tracing::info;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, env = "HARBOUR_CONFIG", default_value = "config/harbour.toml")]
    config: std::path::PathBuf,
}

#[derive(Debug, Deserialize)]
struct Config {
    listen: SocketAddr,
    tides: String,
}

#[derive(Default)]
struct Harbour {
    berths: RwLock<Berths>,
    tables: Tables,
}

async fn moor(
    State(harbour): State<Arc<Harbour>>,
    Path(berth): Path<u16>,
    papers: String,
) -> Result<Json<serde_json::Value>, (StatusCode, String)> {
    let mut berths = harbour.berths.write().await;
    let ship = berths.moor(berth, &papers).map_err(|error| (StatusCode::CONFLICT, error.to_string()))?;
    Ok(Json(serde_json::json!({ "berth": berth, "ship": ship })))
}

async fn seal(State(harbour): State<Arc<Harbour>>) -> String {
    harbour.berths.read().await.seal()
}

async fn keep(State(harbour): State<Arc<Harbour>>) -> Result<String, StatusCode> {
    harbour.tables.keep().await.map_err(|_| StatusCode::INSUFFICIENT_STORAGE)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().json().with_env_filter(EnvFilter::from_default_env()).init();
    let arguments = Arguments::parse();
    let text = std::fs::read_to_string(&arguments.config).context("no configuration")?;
    let config: Config = toml::from_str(&text)?;
    let harbour = Arc::new(Harbour::default());
    harbour.tables.fetch(&config.tides, "cuxhaven").map(drop).await;
    let router = Router::new()
        .route("/berths/{berth}", post(moor))
        .route("/seal", get(seal))
        .route("/tides", post(keep))
        .layer(CompressionLayer::new())
        .layer(CorsLayer::permissive())
        .layer(TraceLayer::new_for_http())
        .with_state(harbour);
    info!(edition = EDITION, "harbour master on duty");
    axum::serve(TcpListener::bind(config.listen).await?, router).await?;
    Ok(())
}
