//! Who looks after the lamp.

use axum::extract::Query;
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use tokio::net::TcpListener;
use tracing::info;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: String,
    #[arg(long)]
    harbour: Option<String>,
}

async fn lamp(Query(query): Query<Vec<(String, String)>>) -> Json<serde_json::Value> {
    let rhythm = query.first().map_or("5s", |(_, rhythm)| rhythm.as_str());
    let flashes = lighthouse_lamp::flashes(rhythm, std::time::SystemTime::now().into());
    Json(serde_json::json!({ "flashes": flashes.unwrap_or_default() }))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().json().with_env_filter(EnvFilter::from_default_env()).init();
    let arguments = Arguments::parse();
    if let Some(harbour) = arguments.harbour {
        let answer: serde_json::Value = reqwest::get(harbour).await?.json().await?;
        info!(%answer, "the harbour is there");
    }
    let router = Router::new().route("/lamp", get(lamp));
    axum::serve(TcpListener::bind(arguments.listen).await?, router).await?;
    Ok(())
}
