//! The clinic's HTTP API, JSON over HTTP/1.1.
//!
//! Owns routes, status codes and the form of errors; what is valid `rustcare-core` decides, what is stored
//! `rustcare-storage`. Knows no settings, no signals and no command line: those are the program's. A request fails
//! with an `ErrorBody`; the service itself only if the listener does.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /health` | 200 or 503 with the version and the schema's version |
//! | `GET POST /patients` | a page (`after`, `limit`) · 201 with the patient |
//! | `GET PUT DELETE /patients/{id}` | the patient · 204 |
//! | `GET POST /appointments` | a page (`patient`, `status`, `after`, `limit`) · 201 with the appointment |
//! | `GET /appointments/{id}` | the appointment |
//! | `POST /appointments/{id}/cancel` | the appointment, cancelled |
//! | `GET /codes` | the diagnosis codes that begin with `prefix` |

mod app;
mod appointments;
mod codes;
mod error;
mod extract;
mod health;
mod patients;

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use rustcare_storage::Database;
use tokio::net::TcpListener;
use tower_http::trace::TraceLayer;

use crate::app::App;
use crate::error::ApiError;

/// Serves `database` on `listener` until `shutdown` is there, then finishes the requests that have begun.
///
/// Errors: what the system says if the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    database: Arc<Database>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(App::new(database))).with_graceful_shutdown(shutdown).await
}

fn router(app: App) -> Router {
    Router::new()
        .route("/health", get(health::show))
        .route("/patients", get(patients::list).post(patients::create))
        .route("/patients/{id}", get(patients::show).put(patients::change).delete(patients::remove))
        .route("/appointments", get(appointments::list).post(appointments::book))
        .route("/appointments/{id}", get(appointments::show))
        .route("/appointments/{id}/cancel", post(appointments::cancel))
        .route("/codes", get(codes::list))
        .fallback(async || ApiError::NotFound("there is no such route".to_owned()))
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}
