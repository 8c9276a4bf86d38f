//! The clinic's domain: patients, appointments and what makes them valid.
//!
//! A [`NewPatient`] or [`NewAppointment`] exists only after its fields were checked; storage and API take nothing
//! else. No I/O and no clock: who needs the present time hands it in. Checks fail with [`Violations`], which name
//! every bad field at once.

// The derived identifiers name this crate by its outside path, in here too.
extern crate self as rustcare_core;

mod appointment;
mod id;
mod patient;
mod violation;

pub use appointment::{Appointment, AppointmentDraft, NewAppointment, Status};
pub use id::{AppointmentId, ParseIdError, PatientId};
pub use patient::{NewPatient, Patient, PatientDraft};
pub use violation::{Violation, Violations};
