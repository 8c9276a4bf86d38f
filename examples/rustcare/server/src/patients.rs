use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rustcare_api_types::{PageBody, PatientBody, PatientRequest};
use rustcare_core::{Patient, PatientId};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::app::{App, page, page_body};
use crate::error::ApiError;
use crate::extract::{Body, Parameters, PathId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PatientQuery {
    after: Option<PatientId>,
    limit: Option<u32>,
}

pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<PatientQuery>,
) -> Result<Json<PageBody<PatientBody>>, ApiError> {
    let page = page(query.after.map(PatientId::get), query.limit);
    let patients = app.with_database(move |database| database.patients(page)).await?;
    Ok(Json(page_body(page, patients, |patient| patient.id.to_string())))
}

pub(crate) async fn create(
    State(app): State<App>,
    Body(request): Body<PatientRequest>,
) -> Result<(StatusCode, Json<PatientBody>), ApiError> {
    let now = OffsetDateTime::now_utc();
    let patient = request.draft().check(now.date())?;
    let patient = app.with_database(move |database| database.add_patient(&patient, now)).await?;
    tracing::info!(patient = %patient.id, "patient entered");
    Ok((StatusCode::CREATED, Json(patient.into())))
}

pub(crate) async fn show(
    State(app): State<App>,
    PathId(id): PathId<PatientId>,
) -> Result<Json<PatientBody>, ApiError> {
    found(id, app.with_database(move |database| database.patient(id)).await?)
}

pub(crate) async fn change(
    State(app): State<App>,
    PathId(id): PathId<PatientId>,
    Body(request): Body<PatientRequest>,
) -> Result<Json<PatientBody>, ApiError> {
    let patient = request.draft().check(OffsetDateTime::now_utc().date())?;
    found(id, app.with_database(move |database| database.change_patient(id, &patient)).await?)
}

pub(crate) async fn remove(
    State(app): State<App>,
    PathId(id): PathId<PatientId>,
) -> Result<StatusCode, ApiError> {
    match app.with_database(move |database| database.remove_patient(id)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(id)),
    }
}

fn found(id: PatientId, patient: Option<Patient>) -> Result<Json<PatientBody>, ApiError> {
    patient.map(|patient| Json(patient.into())).ok_or_else(|| unknown(id))
}

fn unknown(id: PatientId) -> ApiError {
    ApiError::NotFound(format!("there is no patient {id}"))
}
