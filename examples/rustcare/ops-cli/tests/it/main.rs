//! The program as a process, on files of its own.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

struct Clinic {
    folder: tempfile::TempDir,
}

impl Clinic {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("rustcare.db")
    }

    /// Exit code, standard output and standard error; nothing of this process's environment.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_ops-cli"))
            .env_clear()
            .env("RUSTCARE_DATABASE", self.database())
            .env("RUSTCARE_MIGRATIONS", Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations"))
            .args(arguments)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let (code, output, error) = self.run(arguments);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{output}");
        output
    }
}

#[test]
fn migrates_once() {
    let clinic = Clinic::new();
    let first = clinic.succeed(&["migrate"]);
    assert_eq!(
        first,
        "applied 0001_patients\napplied 0002_appointments\napplied 0003_clinician_calendar\nschema version 3\n"
    );
    assert_eq!(clinic.succeed(&["migrate"]), "schema version 3\n");
}

#[test]
fn seeds_lists_and_counts() {
    let clinic = Clinic::new();
    clinic.succeed(&["migrate"]);
    assert_eq!(clinic.succeed(&["stats"]), "patients\t0\nbooked\t0\ncancelled\t0\n");
    clinic.succeed(&["seed", "--patients", "600"]);
    assert_eq!(clinic.succeed(&["seed"]), "seeded 10 patients\n");
    let statistics = clinic.succeed(&["stats"]);
    assert!(statistics.starts_with("patients\t610\nbooked\t610\ncancelled\t0\nreason "), "{statistics}");
    let patients = clinic.succeed(&["list", "patients"]);
    assert_eq!(patients.lines().count(), 610);
    assert_eq!(patients.lines().next(), Some("pat-1\tAda Adeyemi\t1940-01-01\t-"));
    let appointments = clinic.succeed(&["list", "appointments", "--format", "json"]);
    let last: serde_json::Value = serde_json::from_str(appointments.lines().last().unwrap()).unwrap();
    assert_eq!((&last["id"], &last["status"]), (&"apt-610".into(), &"booked".into()));
}

#[test]
fn the_option_wins_over_the_variable() {
    let clinic = Clinic::new();
    let other = clinic.folder.path().join("other.db");
    clinic.succeed(&["migrate", "--database", other.to_str().unwrap()]);
    assert!(other.exists() && !clinic.database().exists());
}

#[test]
fn a_file_without_tables_is_an_error() {
    let (code, output, error) = Clinic::new().run(&["stats"]);
    assert_eq!((code, output.as_str()), (Some(1), ""));
    assert!(error.contains("can't count what is stored") && error.contains("no such table"), "{error}");
}

#[test]
fn wrong_arguments_have_their_own_code() {
    assert_eq!(Clinic::new().run(&["list", "clinicians"]).0, Some(2));
}
