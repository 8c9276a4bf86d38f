//! The snapshot's two files, `appointments.json` and `appointments.csv`.
//!
//! Each is written aside and renamed, so a reader sees the old file or the new one and never a part. Patients appear
//! by identifier only: names and addresses stay in the database.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use rustcare_api_types::AppointmentBody;
use serde::Serialize;
use time::OffsetDateTime;

const COLUMNS: [&str; 8] =
    ["id", "patient", "clinician", "starts_at", "minutes", "reason", "reason_title", "status"];

#[derive(Serialize)]
struct Snapshot<'a> {
    #[serde(with = "time::serde::rfc3339")]
    taken_at: OffsetDateTime,
    appointments: &'a [AppointmentBody],
}

/// Replaces the snapshot in `folder`, which is created if need be.
pub(crate) fn write(folder: &Path, taken_at: OffsetDateTime, appointments: &[AppointmentBody]) -> Result<()> {
    fs::create_dir_all(folder)?;
    replace(folder, "appointments.json", |file| {
        serde_json::to_writer_pretty(file, &Snapshot { taken_at, appointments })?;
        Ok(())
    })?;
    replace(folder, "appointments.csv", |file| {
        // The writer makes a header from the first row, and there may be none.
        let mut rows = csv::WriterBuilder::new().has_headers(false).from_writer(file);
        rows.write_record(COLUMNS)?;
        for appointment in appointments {
            rows.serialize(appointment)?;
        }
        rows.flush()?;
        Ok(())
    })
}

fn replace(folder: &Path, name: &str, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let aside = folder.join(format!(".{name}.new"));
    let mut file = BufWriter::new(File::create(&aside)?);
    fill(&mut file)?;
    file.flush()?;
    file.into_inner().map_err(io::Error::from)?.sync_all()?;
    fs::rename(&aside, folder.join(name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustcare_api_types::StatusBody;
    use rustcare_core::{AppointmentId, PatientId};
    use time::macros::datetime;

    use super::*;

    #[test]
    fn both_files_are_replaced_and_nothing_is_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        let appointment = AppointmentBody {
            id: AppointmentId::new(7),
            patient: PatientId::new(1),
            clinician: "Osler, William".to_owned(),
            starts_at: datetime!(2026-03-01 09:30 UTC),
            minutes: 30,
            reason: "Z09".to_owned(),
            reason_title: "Follow-up".to_owned(),
            status: StatusBody::Booked,
        };
        let now = datetime!(2026-02-01 00:00 UTC);
        write(folder.path(), now, &[]).unwrap();
        let header = fs::read_to_string(folder.path().join("appointments.csv")).unwrap();
        assert_eq!(header, "id,patient,clinician,starts_at,minutes,reason,reason_title,status\n");
        write(folder.path(), now, &[appointment]).unwrap();
        let rows = fs::read_to_string(folder.path().join("appointments.csv")).unwrap();
        let row = "apt-7,pat-1,\"Osler, William\",2026-03-01T09:30:00Z,30,Z09,Follow-up,booked\n";
        assert_eq!(rows, format!("{header}{row}"));
        let json = fs::read_to_string(folder.path().join("appointments.json")).unwrap();
        assert!(
            json.contains("\"taken_at\": \"2026-02-01T00:00:00Z\"") && json.contains("\"apt-7\""),
            "{json}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
