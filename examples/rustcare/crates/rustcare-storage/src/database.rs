use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Row, Transaction, TransactionBehavior, ffi, params};
use rustcare_codes::Code;
use rustcare_core::{Appointment, AppointmentId, NewAppointment, NewPatient, Patient, PatientId, Status};
use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::StorageError;
use crate::migration::{self, Migrated};

const DATE: StaticFormatDescription = format_description!("[year]-[month]-[day]");
const PATIENT: &str = "id, name, birth_date, email, created_at";
const APPOINTMENT: &str = "id, patient_id, clinician, starts_at, ends_at, reason, status";

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database file. Calls from several threads take turns.
#[derive(Debug)]
pub struct Database(Mutex<Connection>);

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Entries with a higher number only; 0 is the beginning.
    pub after: i64,
    /// At most so many entries.
    pub limit: u32,
}

/// Which appointments; every condition that is there has to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppointmentFilter {
    /// Of this patient.
    pub patient: Option<PatientId>,
    /// With this status.
    pub status: Option<Status>,
}

/// How much is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// Patients.
    pub patients: u32,
    /// Appointments that take place.
    pub booked: u32,
    /// Appointments that do not.
    pub cancelled: u32,
    /// Codes of booked appointments with their number, the most frequent first.
    pub reasons: Vec<(&'static Code, u32)>,
}

impl Database {
    /// Opens `path` and creates the file if it is not there; its folder has to be.
    ///
    /// Errors: [`StorageError::Open`].
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        connect(path)
            .map(|connection| Self(Mutex::new(connection)))
            .map_err(|source| StorageError::Open { path: path.to_owned(), source })
    }

    /// Applies the migrations in `folder` that the file does not have yet: all of them or, on an error, none.
    ///
    /// Errors: [`StorageError::ReadMigrations`], [`StorageError::MigrationName`], [`StorageError::MigrationChanged`],
    /// [`StorageError::Migrate`].
    pub fn migrate(&self, folder: &Path) -> Result<Migrated, StorageError> {
        migration::migrate(&mut self.connection(), folder)
    }

    /// Number of the newest migration that the file has; 0 if it has none.
    ///
    /// Errors: [`StorageError::Query`] if the file does not answer.
    pub fn schema_version(&self) -> Result<u32, StorageError> {
        migration::version(&self.connection())
    }

    /// Stores a patient as entered at `now`.
    ///
    /// Errors: [`StorageError::EmailTaken`].
    pub fn add_patient(&self, patient: &NewPatient, now: OffsetDateTime) -> Result<Patient, StorageError> {
        self.connection()
            .query_row(
                &format!(
                    "INSERT INTO patients (name, birth_date, email, created_at) VALUES (?1, ?2, ?3, ?4) RETURNING {PATIENT}"
                ),
                params![patient.name(), date_text(patient), patient.email(), now.unix_timestamp()],
                patient_row,
            )
            .map_err(|source| email_taken_or("store a patient", source))
    }

    /// Replaces what is known of a patient; `None` if there is no such patient.
    ///
    /// Errors: [`StorageError::EmailTaken`].
    pub fn change_patient(
        &self,
        id: PatientId,
        patient: &NewPatient,
    ) -> Result<Option<Patient>, StorageError> {
        self.connection()
            .query_row(
                &format!("UPDATE patients SET name = ?2, birth_date = ?3, email = ?4 WHERE id = ?1 RETURNING {PATIENT}"),
                params![id.get(), patient.name(), date_text(patient), patient.email()],
                patient_row,
            )
            .optional()
            .map_err(|source| email_taken_or("change a patient", source))
    }

    /// Removes a patient; `false` if there is no such patient.
    ///
    /// Errors: [`StorageError::PatientHasAppointments`].
    pub fn remove_patient(&self, id: PatientId) -> Result<bool, StorageError> {
        match self.connection().execute("DELETE FROM patients WHERE id = ?1", [id.get()]) {
            Ok(removed) => Ok(removed > 0),
            Err(source) if violates(&source, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => {
                Err(StorageError::PatientHasAppointments(id))
            }
            Err(source) => Err(StorageError::Query { what: "remove a patient", source }),
        }
    }

    /// The patient, if there is one.
    ///
    /// Errors: [`StorageError::Query`].
    pub fn patient(&self, id: PatientId) -> Result<Option<Patient>, StorageError> {
        self.connection()
            .query_row(&format!("SELECT {PATIENT} FROM patients WHERE id = ?1"), [id.get()], patient_row)
            .optional()
            .map_err(|source| StorageError::Query { what: "read a patient", source })
    }

    /// One page of the patients, by identifier.
    ///
    /// Errors: [`StorageError::Query`].
    pub fn patients(&self, page: Page) -> Result<Vec<Patient>, StorageError> {
        self.connection()
            .prepare_cached(&format!("SELECT {PATIENT} FROM patients WHERE id > ?1 ORDER BY id LIMIT ?2"))
            .and_then(|mut statement| {
                statement.query_map(params![page.after, page.limit], patient_row)?.collect()
            })
            .map_err(|source| StorageError::Query { what: "list the patients", source })
    }

    /// Books an appointment if the clinician is free for all of it.
    ///
    /// Errors: [`StorageError::ClinicianBusy`] with the first appointment in the way, [`StorageError::UnknownPatient`].
    pub fn book(&self, appointment: &NewAppointment) -> Result<Appointment, StorageError> {
        let mut connection = self.connection();
        let query = |source| StorageError::Query { what: "book an appointment", source };
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(query)?;
        if let Some(busy) = overlapping(&transaction, appointment).map_err(query)? {
            return Err(StorageError::ClinicianBusy(busy));
        }
        let booked = transaction
            .query_row(
                &format!(
                    "INSERT INTO appointments (patient_id, clinician, starts_at, ends_at, reason, status)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING {APPOINTMENT}"
                ),
                params![
                    appointment.patient().get(),
                    appointment.clinician(),
                    appointment.starts_at().unix_timestamp(),
                    appointment.ends_at().unix_timestamp(),
                    appointment.reason().code,
                    Status::Booked.as_str(),
                ],
                appointment_row,
            )
            .map_err(|source| match violates(&source, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) {
                true => StorageError::UnknownPatient(appointment.patient()),
                false => query(source),
            })?;
        transaction.commit().map_err(query)?;
        Ok(booked)
    }

    /// Cancels an appointment, which may be cancelled already; `None` if there is no such appointment.
    ///
    /// Errors: [`StorageError::Query`].
    pub fn cancel(&self, id: AppointmentId) -> Result<Option<Appointment>, StorageError> {
        self.connection()
            .query_row(
                &format!("UPDATE appointments SET status = ?2 WHERE id = ?1 RETURNING {APPOINTMENT}"),
                params![id.get(), Status::Cancelled.as_str()],
                appointment_row,
            )
            .optional()
            .map_err(|source| StorageError::Query { what: "cancel an appointment", source })
    }

    /// The appointment, if there is one.
    ///
    /// Errors: [`StorageError::Query`].
    pub fn appointment(&self, id: AppointmentId) -> Result<Option<Appointment>, StorageError> {
        self.connection()
            .query_row(
                &format!("SELECT {APPOINTMENT} FROM appointments WHERE id = ?1"),
                [id.get()],
                appointment_row,
            )
            .optional()
            .map_err(|source| StorageError::Query { what: "read an appointment", source })
    }

    /// One page of the appointments that `filter` lets through, by identifier.
    ///
    /// Errors: [`StorageError::Query`].
    pub fn appointments(
        &self,
        filter: AppointmentFilter,
        page: Page,
    ) -> Result<Vec<Appointment>, StorageError> {
        let patient = filter.patient.map(PatientId::get);
        let status = filter.status.map(Status::as_str);
        self.connection()
            .prepare_cached(&format!(
                "SELECT {APPOINTMENT} FROM appointments
                 WHERE id > ?1 AND (?3 IS NULL OR patient_id = ?3) AND (?4 IS NULL OR status = ?4)
                 ORDER BY id LIMIT ?2"
            ))
            .and_then(|mut statement| {
                statement
                    .query_map(params![page.after, page.limit, patient, status], appointment_row)?
                    .collect()
            })
            .map_err(|source| StorageError::Query { what: "list the appointments", source })
    }

    /// Counts what is stored, all at one moment.
    ///
    /// Errors: [`StorageError::Query`].
    pub fn statistics(&self) -> Result<Statistics, StorageError> {
        let mut connection = self.connection();
        connection
            .transaction()
            .and_then(|transaction| statistics(&transaction))
            .map_err(|source| StorageError::Query { what: "count what is stored", source })
    }

    /// A panic in the middle of a transaction rolled it back, so the connection behind a poisoned lock is sound.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(path: &Path) -> Result<Connection, Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Readers, such as `ops-cli`, do not stop the server's writes with a write-ahead log.
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn overlapping(
    transaction: &Transaction<'_>,
    appointment: &NewAppointment,
) -> Result<Option<AppointmentId>, Error> {
    transaction
        .query_row(
            "SELECT id FROM appointments
             WHERE clinician = ?1 AND status = 'booked' AND starts_at < ?3 AND ends_at > ?2
             ORDER BY starts_at LIMIT 1",
            params![
                appointment.clinician(),
                appointment.starts_at().unix_timestamp(),
                appointment.ends_at().unix_timestamp()
            ],
            |row| row.get(0).map(AppointmentId::new),
        )
        .optional()
}

fn statistics(transaction: &Transaction<'_>) -> Result<Statistics, Error> {
    let count = |sql| transaction.query_row(sql, [], |row| row.get(0));
    Ok(Statistics {
        patients: count("SELECT count(*) FROM patients")?,
        booked: count("SELECT count(*) FROM appointments WHERE status = 'booked'")?,
        cancelled: count("SELECT count(*) FROM appointments WHERE status = 'cancelled'")?,
        reasons: transaction
            .prepare(
                "SELECT reason, count(*) AS frequency FROM appointments WHERE status = 'booked'
                 GROUP BY reason ORDER BY frequency DESC, reason",
            )?
            .query_map([], |row| Ok((code(row, 0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?,
    })
}

fn patient_row(row: &Row<'_>) -> Result<Patient, Error> {
    let birth_date: String = row.get(2)?;
    Ok(Patient {
        id: PatientId::new(row.get(0)?),
        name: row.get(1)?,
        birth_date: Date::parse(&birth_date, DATE)
            .map_err(|source| Error::FromSqlConversionFailure(2, Type::Text, source.into()))?,
        email: row.get(3)?,
        created_at: timestamp(row, 4)?,
    })
}

fn appointment_row(row: &Row<'_>) -> Result<Appointment, Error> {
    let status: String = row.get(6)?;
    Ok(Appointment {
        id: AppointmentId::new(row.get(0)?),
        patient: PatientId::new(row.get(1)?),
        clinician: row.get(2)?,
        starts_at: timestamp(row, 3)?,
        ends_at: timestamp(row, 4)?,
        reason: code(row, 5)?,
        status: status.parse().map_err(|()| unknown(6, format!("`{status}` is no status")))?,
    })
}

fn timestamp(row: &Row<'_>, column: usize) -> Result<OffsetDateTime, Error> {
    OffsetDateTime::from_unix_timestamp(row.get(column)?)
        .map_err(|source| Error::FromSqlConversionFailure(column, Type::Integer, source.into()))
}

fn code(row: &Row<'_>, column: usize) -> Result<&'static Code, Error> {
    let text: String = row.get(column)?;
    rustcare_codes::find(&text).ok_or_else(|| unknown(column, format!("`{text}` is no diagnosis code")))
}

fn unknown(column: usize, message: String) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, message.into())
}

fn date_text(patient: &NewPatient) -> String {
    // `Display` of a `Date` is `YYYY-MM-DD`, the form that `DATE` reads.
    patient.birth_date().to_string()
}

fn email_taken_or(what: &'static str, source: Error) -> StorageError {
    match violates(&source, ffi::SQLITE_CONSTRAINT_UNIQUE) {
        true => StorageError::EmailTaken,
        false => StorageError::Query { what, source },
    }
}

fn violates(error: &Error, constraint: i32) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == constraint)
}
