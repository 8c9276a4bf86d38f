use std::io;
use std::path::PathBuf;

use rustcare_core::{AppointmentId, PatientId};

/// Why the database could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file can't be opened or created.
    #[error("can't open the database {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A folder or file of the migrations can't be read.
    #[error("can't read the migrations in {path}", path = path.display())]
    ReadMigrations {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A migration's name does not continue the numbering.
    #[error("can't place the migration {path}: expected a name that starts with {expected:04}_", path = path.display())]
    MigrationName {
        /// The file.
        path: PathBuf,
        /// The number that should come.
        expected: u32,
    },
    /// A migration that the database has is another text now, or gone.
    #[error("can't migrate: the database has {name} in another form than the folder")]
    MigrationChanged {
        /// The migration, as the database knows it.
        name: String,
    },
    /// A migration's SQL failed; nothing was changed.
    #[error("can't apply the migration {name}")]
    Migrate {
        /// The migration.
        name: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A statement failed.
    #[error("can't {what}")]
    Query {
        /// What was attempted.
        what: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// There is no such patient.
    #[error("there is no patient {0}")]
    UnknownPatient(PatientId),
    /// Another patient has this address.
    #[error("another patient has this email address")]
    EmailTaken,
    /// The clinician sees somebody else at that time.
    #[error("the clinician is booked at that time: {0}")]
    ClinicianBusy(AppointmentId),
    /// Only a patient without appointments can be removed.
    #[error("{0} has appointments")]
    PatientHasAppointments(PatientId),
}
