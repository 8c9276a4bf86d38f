use std::error::Error;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rustcare_api_types::HealthBody;

use crate::app::App;

pub(crate) async fn show(State(app): State<App>) -> (StatusCode, Json<HealthBody>) {
    let answer = app
        .with_database(|database| {
            database.schema_version().inspect_err(|error| {
                tracing::error!(error = error as &dyn Error, "the database does not answer");
            })
        })
        .await;
    let schema_version = answer.ok();
    let healthy = schema_version.is_some();
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(HealthBody { healthy, version: env!("CARGO_PKG_VERSION").to_owned(), schema_version }))
}
