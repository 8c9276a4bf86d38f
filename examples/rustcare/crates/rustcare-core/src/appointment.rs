use std::fmt;
use std::str::FromStr;

use rustcare_codes::Code;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::violation::{Checks, Violations, line};
use crate::{AppointmentId, PatientId};

const SHORTEST: u16 = 5;
const LONGEST: u16 = 480;

/// An appointment as somebody typed it.
#[derive(Debug, Clone, Copy)]
pub struct AppointmentDraft<'a> {
    /// Who comes.
    pub patient: &'a str,
    /// Who sees the patient.
    pub clinician: &'a str,
    /// Begin, RFC 3339 with any offset.
    pub starts_at: &'a str,
    /// Length in minutes.
    pub minutes: u16,
    /// Diagnosis code.
    pub reason: &'a str,
}

/// An appointment that was checked and is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAppointment {
    patient: PatientId,
    clinician: String,
    starts_at: OffsetDateTime,
    ends_at: OffsetDateTime,
    reason: &'static Code,
}

/// A stored appointment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appointment {
    /// Identifier.
    pub id: AppointmentId,
    /// Who comes.
    pub patient: PatientId,
    /// Who sees the patient.
    pub clinician: String,
    /// Begin, UTC, whole seconds.
    pub starts_at: OffsetDateTime,
    /// End, UTC, whole seconds; the next appointment may begin in this second.
    pub ends_at: OffsetDateTime,
    /// Why the patient comes.
    pub reason: &'static Code,
    /// Whether it still takes place.
    pub status: Status,
}

/// Whether an appointment takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It does.
    Booked,
    /// It does not; its time is free again.
    Cancelled,
}

impl AppointmentDraft<'_> {
    /// Checks every field. Appointments in the past are allowed: walk-ins are entered afterwards.
    ///
    /// Errors: [`Violations`] that name `patient`, `clinician`, `starts_at`, `minutes` and `reason`.
    pub fn check(&self) -> Result<NewAppointment, Violations> {
        let mut checks = Checks::default();
        let patient =
            checks.require("patient", self.patient.parse().ok(), "a patient's identifier such as pat-1");
        let clinician =
            checks.require("clinician", line(self.clinician, 200), "one line of 1 to 200 characters");
        let starts_at =
            checks.require("starts_at", whole_second(self.starts_at), "a time as 2026-03-01T09:30:00Z");
        let minutes = Some(self.minutes).filter(|minutes| (SHORTEST..=LONGEST).contains(minutes));
        let minutes = checks.require("minutes", minutes, &format!("{SHORTEST} to {LONGEST}"));
        let reason =
            checks.require("reason", rustcare_codes::find(self.reason), "a known diagnosis code such as Z09");
        let times = starts_at.zip(minutes).and_then(|(starts_at, minutes)| {
            Some((starts_at, starts_at.checked_add(Duration::minutes(minutes.into()))?))
        });
        if starts_at.is_some() && minutes.is_some() {
            checks.require("starts_at", times, "a time before the year 10000");
        }
        checks.finish(patient.zip(clinician).zip(times).zip(reason).map(
            |(((patient, clinician), (starts_at, ends_at)), reason)| NewAppointment {
                patient,
                clinician,
                starts_at,
                ends_at,
                reason,
            },
        ))
    }
}

impl NewAppointment {
    /// Who comes.
    pub fn patient(&self) -> PatientId {
        self.patient
    }

    /// Who sees the patient.
    pub fn clinician(&self) -> &str {
        &self.clinician
    }

    /// Begin, UTC, whole seconds.
    pub fn starts_at(&self) -> OffsetDateTime {
        self.starts_at
    }

    /// End, UTC, whole seconds.
    pub fn ends_at(&self) -> OffsetDateTime {
        self.ends_at
    }

    /// Why the patient comes.
    pub fn reason(&self) -> &'static Code {
        self.reason
    }
}

impl Appointment {
    /// Length in minutes.
    pub fn minutes(&self) -> i64 {
        (self.ends_at - self.starts_at).whole_minutes()
    }
}

impl Status {
    /// The word that files and clients use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = ();

    /// Reads what [`Status::as_str`] wrote; any other text is an error.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "booked" => Ok(Self::Booked),
            "cancelled" => Ok(Self::Cancelled),
            _ => Err(()),
        }
    }
}

/// Reads an RFC 3339 time. Files keep whole seconds, so a fraction is refused rather than dropped.
fn whole_second(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .and_then(|at| at.checked_to_offset(UtcOffset::UTC))
        .filter(|at| at.nanosecond() == 0)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const GOOD: AppointmentDraft<'_> = AppointmentDraft {
        patient: "pat-1",
        clinician: "Dr Osler",
        starts_at: "2026-03-01T10:30:00+01:00",
        minutes: 30,
        reason: "J45.9",
    };

    fn bad_fields(draft: AppointmentDraft<'_>) -> Vec<&'static str> {
        draft.check().unwrap_err().iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn times_become_utc() {
        let appointment = GOOD.check().unwrap();
        assert_eq!(appointment.starts_at(), datetime!(2026-03-01 09:30 UTC));
        assert_eq!(appointment.starts_at().offset(), UtcOffset::UTC);
        assert_eq!(appointment.ends_at(), datetime!(2026-03-01 10:00 UTC));
        assert_eq!(appointment.reason().title, "Asthma, unspecified");
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let draft =
            AppointmentDraft { patient: "1", clinician: "", starts_at: "soon", minutes: 4, reason: "?" };
        assert_eq!(bad_fields(draft), ["patient", "clinician", "starts_at", "minutes", "reason"]);
    }

    #[test]
    fn limits_hold_on_both_sides() {
        for minutes in [5, 480] {
            assert!(AppointmentDraft { minutes, ..GOOD }.check().is_ok(), "{minutes}");
        }
        for minutes in [0, 4, 481] {
            assert_eq!(bad_fields(AppointmentDraft { minutes, ..GOOD }), ["minutes"], "{minutes}");
        }
        for starts_at in
            ["9999-12-31T23:59:00Z", "9999-12-31T23:59:00-01:00", "2026-03-01T09:30:00.5Z", "2026-03-01"]
        {
            assert_eq!(bad_fields(AppointmentDraft { starts_at, ..GOOD }), ["starts_at"], "{starts_at}");
        }
    }
}
