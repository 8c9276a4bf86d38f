//! The program as a process, beside the real server.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{fs, thread};

use rustcare_core::{AppointmentDraft, PatientDraft};
use rustcare_storage::Database;
use rustix::process::{Pid, Signal, kill_process};
use time::macros::{date, datetime};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// The program with nothing of this process's environment.
fn program(server: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rustcare-sync"));
    command
        .env_clear()
        .env("RUSTCARE_SYNC_SERVER", server)
        .env("RUSTCARE_SYNC_FOLDER", folder)
        .env("RUSTCARE_SYNC_INTERVAL_SECONDS", "3600")
        .stdin(Stdio::null());
    command
}

/// A server with `count` appointments that ends with the test's process; its address.
fn server(folder: &Path, count: usize) -> String {
    let database = Database::open(&folder.join("rustcare.db")).unwrap();
    database.migrate(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations")).unwrap();
    let ada = PatientDraft { name: "Ada", birth_date: "1990-12-10", email: None };
    database
        .add_patient(&ada.check(date!(2026 - 01 - 01)).unwrap(), datetime!(2026-01-01 00:00 UTC))
        .unwrap();
    for index in 0..count {
        let clinician = format!("Dr {index}");
        let draft = AppointmentDraft {
            patient: "pat-1",
            clinician: &clinician,
            starts_at: "2026-03-01T09:00:00Z",
            minutes: 30,
            reason: "Z09",
        };
        database.book(&draft.check().unwrap()).unwrap();
    }
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        runtime.block_on(rustcare_server::serve(listener, Arc::new(database), std::future::pending()))
    });
    url
}

#[test]
fn one_snapshot_holds_every_page() {
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export");
    let output = program(&server(folder.path(), 401), &export).arg("--once").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = fs::read_to_string(export.join("appointments.csv")).unwrap();
    let ids: Vec<&str> = rows.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    let expected: Vec<String> = (1..=401).map(|number| format!("apt-{number}")).collect();
    assert_eq!(ids, expected);
    let json = fs::read_to_string(export.join("appointments.json")).unwrap();
    assert_eq!(json.matches("\"Follow-up examination after treatment\"").count(), 401);
}

#[test]
fn a_server_that_is_gone_leaves_the_old_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("appointments.csv"), "old").unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = program(&format!("http://{nobody}"), folder.path()).arg("--once").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains(&format!("can't read the appointments from http://{nobody}/appointments")),
        "{error}"
    );
    assert_eq!(fs::read_to_string(folder.path().join("appointments.csv")).unwrap(), "old");
}

#[test]
fn repeats_until_a_signal_ends_it() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let export = folder.path().join("export");
        let mut child = program(&server(folder.path(), 1), &export).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("snapshot taken") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the program ended by itself");
        }
        assert!(child.try_wait().unwrap().is_none());
        kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
        assert!(rest.contains("done"), "{rest}");
    }
}
