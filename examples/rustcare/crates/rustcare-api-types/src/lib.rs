//! What travels over HTTP between the server and its clients, as JSON.
//!
//! Plain data: requests carry text as somebody typed it, and `rustcare-core` checks it. A field that is added must be
//! optional, so that an old client and a new server understand each other.

use rustcare_core::{Appointment, AppointmentDraft, AppointmentId, Patient, PatientDraft, PatientId, Status};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Body of `POST /patients` and `PUT /patients/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatientRequest {
    /// Full name.
    pub name: String,
    /// `YYYY-MM-DD`.
    pub birth_date: String,
    /// Address for reminders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

/// A patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatientBody {
    /// Identifier.
    pub id: PatientId,
    /// Full name.
    pub name: String,
    /// `YYYY-MM-DD`.
    pub birth_date: String,
    /// Address for reminders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// When the patient was entered, RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Body of `POST /appointments`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppointmentRequest {
    /// Who comes.
    pub patient: String,
    /// Who sees the patient.
    pub clinician: String,
    /// Begin, RFC 3339.
    pub starts_at: String,
    /// Length in minutes.
    pub minutes: u16,
    /// Diagnosis code.
    pub reason: String,
}

/// An appointment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppointmentBody {
    /// Identifier.
    pub id: AppointmentId,
    /// Who comes.
    pub patient: PatientId,
    /// Who sees the patient.
    pub clinician: String,
    /// Begin, RFC 3339.
    #[serde(with = "time::serde::rfc3339")]
    pub starts_at: OffsetDateTime,
    /// Length in minutes.
    pub minutes: i64,
    /// Diagnosis code.
    pub reason: String,
    /// The code's short title.
    pub reason_title: String,
    /// `booked` or `cancelled`.
    pub status: StatusBody,
}

/// Whether an appointment takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusBody {
    /// It does.
    Booked,
    /// It does not.
    Cancelled,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageBody<T> {
    /// The entries, by identifier.
    pub items: Vec<T>,
    /// The value of `after` that asks for the next page; absent on the last one.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A diagnosis code, as `GET /codes` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeBody {
    /// The code.
    pub code: String,
    /// Its short title.
    pub title: String,
}

/// Answer of `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthBody {
    /// Whether requests can be served.
    pub healthy: bool,
    /// The server's version.
    pub version: String,
    /// Number of the newest migration in the database; absent if the database did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
}

/// Body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What kind of problem it is, for programs (`invalid`, `not_found`, `malformed`, `conflict`, `internal`).
    pub code: String,
    /// What happened, for people.
    pub message: String,
    /// The fields that have to change, for `invalid`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldBody>,
}

/// One bad field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldBody {
    /// Its name.
    pub field: String,
    /// What is expected of it.
    pub expected: String,
}

impl PatientRequest {
    /// The draft that has to be checked.
    pub fn draft(&self) -> PatientDraft<'_> {
        PatientDraft { name: &self.name, birth_date: &self.birth_date, email: self.email.as_deref() }
    }
}

impl AppointmentRequest {
    /// The draft that has to be checked.
    pub fn draft(&self) -> AppointmentDraft<'_> {
        AppointmentDraft {
            patient: &self.patient,
            clinician: &self.clinician,
            starts_at: &self.starts_at,
            minutes: self.minutes,
            reason: &self.reason,
        }
    }
}

impl From<Patient> for PatientBody {
    fn from(patient: Patient) -> Self {
        Self {
            id: patient.id,
            name: patient.name,
            birth_date: patient.birth_date.to_string(),
            email: patient.email,
            created_at: patient.created_at,
        }
    }
}

impl From<Appointment> for AppointmentBody {
    fn from(appointment: Appointment) -> Self {
        Self {
            id: appointment.id,
            patient: appointment.patient,
            starts_at: appointment.starts_at,
            minutes: appointment.minutes(),
            reason: appointment.reason.code.to_owned(),
            reason_title: appointment.reason.title.to_owned(),
            status: appointment.status.into(),
            clinician: appointment.clinician,
        }
    }
}

impl From<Status> for StatusBody {
    fn from(status: Status) -> Self {
        match status {
            Status::Booked => Self::Booked,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

impl From<StatusBody> for Status {
    fn from(status: StatusBody) -> Self {
        match status {
            StatusBody::Booked => Self::Booked,
            StatusBody::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appointments_keep_their_form() {
        let text = r#"{"id":"apt-7","patient":"pat-1","clinician":"Dr Osler","starts_at":"2026-03-01T09:30:00Z","minutes":30,"reason":"Z09","reason_title":"Follow-up","status":"booked"}"#;
        let body: AppointmentBody = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&body).unwrap(), text);
    }

    #[test]
    fn unknown_fields_of_requests_are_refused() {
        let text = r#"{"name":"Ada","birth_date":"1990-01-01","mail":"a@b.c"}"#;
        assert!(serde_json::from_str::<PatientRequest>(text).is_err());
    }

    #[test]
    fn last_page_has_no_next() {
        let page: PageBody<CodeBody> = serde_json::from_str(r#"{"items":[]}"#).unwrap();
        assert_eq!(page.next, None);
        assert_eq!(serde_json::to_string(&page).unwrap(), r#"{"items":[]}"#);
    }
}
