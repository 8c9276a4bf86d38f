use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use rustcare_api_types::{AppointmentBody, AppointmentRequest, PageBody, StatusBody};
use rustcare_core::{Appointment, AppointmentId, PatientId, Status};
use rustcare_storage::AppointmentFilter;
use serde::Deserialize;

use crate::app::{App, page, page_body};
use crate::error::ApiError;
use crate::extract::{Body, Parameters, PathId};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppointmentQuery {
    patient: Option<PatientId>,
    status: Option<StatusBody>,
    after: Option<AppointmentId>,
    limit: Option<u32>,
}

pub(crate) async fn list(
    State(app): State<App>,
    Parameters(query): Parameters<AppointmentQuery>,
) -> Result<Json<PageBody<AppointmentBody>>, ApiError> {
    let filter = AppointmentFilter { patient: query.patient, status: query.status.map(Status::from) };
    let page = page(query.after.map(AppointmentId::get), query.limit);
    let appointments = app.with_database(move |database| database.appointments(filter, page)).await?;
    Ok(Json(page_body(page, appointments, |appointment| appointment.id.to_string())))
}

pub(crate) async fn book(
    State(app): State<App>,
    Body(request): Body<AppointmentRequest>,
) -> Result<(StatusCode, Json<AppointmentBody>), ApiError> {
    let appointment = request.draft().check()?;
    let appointment = app.with_database(move |database| database.book(&appointment)).await?;
    tracing::info!(appointment = %appointment.id, "appointment booked");
    Ok((StatusCode::CREATED, Json(appointment.into())))
}

pub(crate) async fn show(
    State(app): State<App>,
    PathId(id): PathId<AppointmentId>,
) -> Result<Json<AppointmentBody>, ApiError> {
    found(id, app.with_database(move |database| database.appointment(id)).await?)
}

pub(crate) async fn cancel(
    State(app): State<App>,
    PathId(id): PathId<AppointmentId>,
) -> Result<Json<AppointmentBody>, ApiError> {
    found(id, app.with_database(move |database| database.cancel(id)).await?)
}

fn found(id: AppointmentId, appointment: Option<Appointment>) -> Result<Json<AppointmentBody>, ApiError> {
    appointment
        .map(|appointment| Json(appointment.into()))
        .ok_or_else(|| ApiError::NotFound(format!("there is no appointment {id}")))
}
