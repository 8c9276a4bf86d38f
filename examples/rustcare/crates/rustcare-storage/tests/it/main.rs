//! The storage on real files and the workspace's own migrations.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

use rustcare_core::{
    AppointmentDraft, AppointmentId, NewAppointment, NewPatient, PatientDraft, PatientId, Status,
};
use rustcare_storage::{AppointmentFilter, Database, Page, StorageError};
use tempfile::TempDir;
use time::macros::{date, datetime};

const ALL: Page = Page { after: 0, limit: 100 };

fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations")
}

fn database() -> (TempDir, Database) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("rustcare.db")).unwrap();
    database.migrate(&migrations()).unwrap();
    (folder, database)
}

fn patient(name: &str, email: Option<&str>) -> NewPatient {
    PatientDraft { name, birth_date: "1990-05-17", email }.check(date!(2026 - 01 - 01)).unwrap()
}

fn appointment(patient: &str, clinician: &str, starts_at: &str, minutes: u16) -> NewAppointment {
    AppointmentDraft { patient, clinician, starts_at, minutes, reason: "Z09" }.check().unwrap()
}

#[test]
fn patients_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rustcare.db");
    let now = datetime!(2026-01-01 08:00 UTC);
    let stored = {
        let database = Database::open(&path).unwrap();
        database.migrate(&migrations()).unwrap();
        database.add_patient(&patient("Ada", Some("ada@example.org")), now).unwrap()
    };
    assert_eq!((stored.id, stored.created_at), (PatientId::new(1), now));
    let database = Database::open(&path).unwrap();
    assert_eq!(database.patient(stored.id).unwrap(), Some(stored));
    assert_eq!(database.patient(PatientId::new(2)).unwrap(), None);
}

#[test]
fn patients_are_changed_and_removed() {
    let (_folder, database) = database();
    let now = datetime!(2026-01-01 08:00 UTC);
    let ada = database.add_patient(&patient("Ada", Some("ada@example.org")), now).unwrap();
    let bob = database.add_patient(&patient("Bob", None), now).unwrap();
    let taken = patient("Bob", Some("ada@example.org"));
    assert!(matches!(database.add_patient(&taken, now), Err(StorageError::EmailTaken)));
    assert!(matches!(database.change_patient(bob.id, &taken), Err(StorageError::EmailTaken)));
    let changed = database.change_patient(ada.id, &patient("Ada L.", None)).unwrap().unwrap();
    assert_eq!((changed.name.as_str(), changed.email, changed.created_at), ("Ada L.", None, now));
    assert!(database.change_patient(bob.id, &taken).unwrap().is_some());
    assert!(database.remove_patient(bob.id).unwrap());
    assert!(!database.remove_patient(bob.id).unwrap());
    assert!(database.change_patient(bob.id, &patient("Bob", None)).unwrap().is_none());
}

#[test]
fn pages_follow_each_other() {
    let (_folder, database) = database();
    for name in ["Ada", "Bob", "Cleo"] {
        database.add_patient(&patient(name, None), datetime!(2026-01-01 08:00 UTC)).unwrap();
    }
    let names = |page| -> Vec<String> {
        database.patients(page).unwrap().into_iter().map(|patient| patient.name).collect()
    };
    assert_eq!(names(Page { after: 0, limit: 2 }), ["Ada", "Bob"]);
    assert_eq!(names(Page { after: 2, limit: 2 }), ["Cleo"]);
    assert!(names(Page { after: 3, limit: 2 }).is_empty());
}

#[test]
fn a_clinician_sees_one_patient_at_a_time() {
    let (_folder, database) = database();
    database.add_patient(&patient("Ada", None), datetime!(2026-01-01 08:00 UTC)).unwrap();
    let first = database.book(&appointment("pat-1", "Dr Osler", "2026-03-01T09:00:00Z", 30)).unwrap();
    assert_eq!((first.id, first.minutes(), first.status), (AppointmentId::new(1), 30, Status::Booked));
    for (starts_at, minutes) in [
        ("2026-03-01T09:00:00Z", 30),
        ("2026-03-01T08:50:00Z", 11),
        ("2026-03-01T09:29:00Z", 5),
        ("2026-03-01T08:00:00Z", 120),
        ("2026-03-01T09:10:00Z", 5),
    ] {
        let result = database.book(&appointment("pat-1", "Dr Osler", starts_at, minutes));
        assert!(
            matches!(result, Err(StorageError::ClinicianBusy(id)) if id == first.id),
            "{starts_at} {minutes}"
        );
    }
    database.book(&appointment("pat-1", "Dr Osler", "2026-03-01T08:50:00Z", 10)).unwrap();
    database.book(&appointment("pat-1", "Dr Osler", "2026-03-01T09:30:00Z", 10)).unwrap();
    database.book(&appointment("pat-1", "Dr Blackwell", "2026-03-01T09:00:00Z", 30)).unwrap();
    assert_eq!(database.cancel(first.id).unwrap().unwrap().status, Status::Cancelled);
    database.book(&appointment("pat-1", "Dr Osler", "2026-03-01T09:00:00Z", 30)).unwrap();
    assert_eq!(database.cancel(AppointmentId::new(99)).unwrap(), None);
}

#[test]
fn appointments_need_a_patient_and_hold_on_to_it() {
    let (_folder, database) = database();
    let booking = appointment("pat-1", "Dr Osler", "2026-03-01T09:00:00Z", 30);
    assert!(
        matches!(database.book(&booking), Err(StorageError::UnknownPatient(id)) if id == PatientId::new(1))
    );
    database.add_patient(&patient("Ada", None), datetime!(2026-01-01 08:00 UTC)).unwrap();
    let booked = database.book(&booking).unwrap();
    assert_eq!(database.appointment(booked.id).unwrap(), Some(booked));
    let removed = database.remove_patient(PatientId::new(1));
    assert!(matches!(removed, Err(StorageError::PatientHasAppointments(id)) if id == PatientId::new(1)));
}

#[test]
fn filters_and_statistics_agree() {
    let (_folder, database) = database();
    for name in ["Ada", "Bob"] {
        database.add_patient(&patient(name, None), datetime!(2026-01-01 08:00 UTC)).unwrap();
    }
    for (patient, starts_at) in [
        ("pat-1", "2026-03-01T09:00:00Z"),
        ("pat-1", "2026-03-01T10:00:00Z"),
        ("pat-2", "2026-03-01T11:00:00Z"),
    ] {
        database.book(&appointment(patient, "Dr Osler", starts_at, 30)).unwrap();
    }
    database.cancel(AppointmentId::new(1)).unwrap();
    let ids = |filter| -> Vec<i64> {
        database
            .appointments(filter, ALL)
            .unwrap()
            .into_iter()
            .map(|appointment| appointment.id.get())
            .collect()
    };
    let ada = Some(PatientId::new(1));
    assert_eq!(ids(AppointmentFilter::default()), [1, 2, 3]);
    assert_eq!(ids(AppointmentFilter { patient: ada, status: None }), [1, 2]);
    assert_eq!(ids(AppointmentFilter { patient: ada, status: Some(Status::Booked) }), [2]);
    assert_eq!(ids(AppointmentFilter { patient: None, status: Some(Status::Cancelled) }), [1]);
    let statistics = database.statistics().unwrap();
    assert_eq!((statistics.patients, statistics.booked, statistics.cancelled), (2, 2, 1));
    assert_eq!(statistics.reasons, [(rustcare_codes::find("Z09").unwrap(), 2)]);
}

#[test]
fn migrations_apply_once() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("rustcare.db")).unwrap();
    assert_eq!(database.schema_version().unwrap(), 0);
    let first = database.migrate(&migrations()).unwrap();
    assert_eq!(first.applied, ["0001_patients", "0002_appointments", "0003_clinician_calendar"]);
    assert_eq!((first.version, database.schema_version().unwrap()), (3, 3));
    assert!(database.migrate(&migrations()).unwrap().applied.is_empty());
}

#[test]
fn a_failing_migration_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("0001_a.sql"), "CREATE TABLE a (x);").unwrap();
    fs::write(folder.path().join("0002_b.sql"), "CREATE TABLE b (x); CREATE GARBAGE;").unwrap();
    let database = Database::open(&folder.path().join("rustcare.db")).unwrap();
    let error = database.migrate(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), "can't apply the migration 0002_b");
    assert!(error.source().unwrap().to_string().contains("GARBAGE"), "{error:?}");
    assert_eq!(database.schema_version().unwrap(), 0);
    fs::write(folder.path().join("0002_b.sql"), "CREATE TABLE b (x);").unwrap();
    assert_eq!(database.migrate(folder.path()).unwrap().version, 2);
}

#[test]
fn edited_removed_and_misnumbered_migrations_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&folder.path().join("rustcare.db")).unwrap();
    let first = folder.path().join("0001_a.sql");
    fs::write(&first, "CREATE TABLE a (x);").unwrap();
    fs::write(folder.path().join("0003_c.sql"), "CREATE TABLE c (x);").unwrap();
    assert!(matches!(database.migrate(folder.path()), Err(StorageError::MigrationName { expected: 2, .. })));
    fs::remove_file(folder.path().join("0003_c.sql")).unwrap();
    database.migrate(folder.path()).unwrap();
    fs::write(&first, "CREATE TABLE a (x, y);").unwrap();
    assert!(
        matches!(database.migrate(folder.path()), Err(StorageError::MigrationChanged { name }) if name == "0001_a")
    );
    fs::remove_file(&first).unwrap();
    assert!(matches!(database.migrate(folder.path()), Err(StorageError::MigrationChanged { .. })));
    let missing = database.migrate(Path::new("/nonexistent"));
    assert!(
        matches!(missing, Err(StorageError::ReadMigrations { path, .. }) if path == Path::new("/nonexistent"))
    );
}
