use std::error::Error;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rustcare_api_types::{ErrorBody, FieldBody};
use rustcare_core::Violations;
use rustcare_storage::StorageError;

/// Why a request was not served.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The body's fields are not as they have to be.
    Invalid(Violations),
    /// Body or query can't be read.
    Malformed(StatusCode, String),
    /// There is nothing here.
    NotFound(String),
    /// There is something here, but not for this method.
    Method,
    /// What is stored forbids it.
    Conflict(String),
    /// Nothing that the client could change. The details go to the log only.
    Internal(Box<dyn Error + Send + Sync>),
}

impl From<Violations> for ApiError {
    fn from(violations: Violations) -> Self {
        Self::Invalid(violations)
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::UnknownPatient(_) => Self::NotFound(error.to_string()),
            StorageError::EmailTaken
            | StorageError::ClinicianBusy(_)
            | StorageError::PatientHasAppointments(_) => Self::Conflict(error.to_string()),
            StorageError::Open { .. }
            | StorageError::ReadMigrations { .. }
            | StorageError::MigrationName { .. }
            | StorageError::MigrationChanged { .. }
            | StorageError::Migrate { .. }
            | StorageError::Query { .. } => Self::Internal(error.into()),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut fields = Vec::new();
        let (status, code, message) = match self {
            Self::Invalid(violations) => {
                fields.extend(violations.iter().map(|violation| FieldBody {
                    field: violation.field.to_owned(),
                    expected: violation.expected.clone(),
                }));
                (
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "invalid",
                    "some fields are not as they have to be".to_owned(),
                )
            }
            Self::Malformed(status, message) => (status, "malformed", message),
            Self::NotFound(message) => (StatusCode::NOT_FOUND, "not_found", message),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "malformed",
                "this route does not take the method".to_owned(),
            ),
            Self::Conflict(message) => (StatusCode::CONFLICT, "conflict", message),
            Self::Internal(error) => {
                tracing::error!(error = error.as_ref() as &dyn Error, "request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server can't do this now".to_owned())
            }
        };
        (status, Json(ErrorBody { code: code.to_owned(), message, fields })).into_response()
    }
}
