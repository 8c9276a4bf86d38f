//! Made-up patients and appointments, the same ones every time.

use std::io::Write;

use anyhow::{Context, Result};
use rustcare_core::{AppointmentDraft, PatientDraft};
use rustcare_storage::Database;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, Time};

const FIRST_NAMES: [&str; 8] = ["Ada", "Bela", "Chidi", "Dana", "Emre", "Freya", "Goro", "Hana"];
const LAST_NAMES: [&str; 7] = ["Adeyemi", "Bauer", "Costa", "Dubois", "Eriksen", "Fujita", "Garcia"];
const CLINICIANS: [&str; 3] = ["Dr Osler", "Dr Blackwell", "Dr Virchow"];

/// Adds `count` patients with one appointment each, from the day after `now` on.
///
/// Numbering goes on where the last run ended, as the appointments of one clinician can't overlap.
pub(crate) fn seed(
    database: &Database,
    count: u32,
    now: OffsetDateTime,
    mut output: impl Write,
) -> Result<()> {
    let codes = rustcare_codes::all();
    let before = database.statistics()?.patients;
    let tomorrow = now.replace_time(Time::MIDNIGHT) + Duration::days(1);
    for index in before..before + count {
        let position = index as usize;
        let name = format!(
            "{} {}",
            FIRST_NAMES[position % FIRST_NAMES.len()],
            LAST_NAMES[position / FIRST_NAMES.len() % LAST_NAMES.len()]
        );
        let birth_date = format!("{}-{:02}-{:02}", 1940 + index % 70, 1 + index % 12, 1 + index % 28);
        let draft = PatientDraft { name: &name, birth_date: &birth_date, email: None };
        let patient = database.add_patient(&draft.check(now.date())?, now)?;

        let slot = position / CLINICIANS.len();
        let starts_at = tomorrow
            + Duration::days((slot / 16) as i64)
            + Duration::hours(8)
            + Duration::minutes((slot % 16 * 30) as i64);
        let draft = AppointmentDraft {
            patient: &patient.id.to_string(),
            clinician: CLINICIANS[position % CLINICIANS.len()],
            starts_at: &starts_at.replace_nanosecond(0)?.format(&Rfc3339).context("can't write a time")?,
            minutes: 30,
            reason: codes[position * 7 % codes.len()].code,
        };
        database.book(&draft.check()?)?;
    }
    writeln!(output, "seeded {count} patients")?;
    Ok(())
}
