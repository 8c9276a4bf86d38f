//! `ops-cli`: looks after the clinic's database file, beside a running server or without one.
//!
//! Results go to standard output and everything else to standard error; the exit code is 1 if the file could not do
//! what was asked and 2 for wrong arguments.

mod seed;

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use rustcare_api_types::{AppointmentBody, PatientBody};
use rustcare_config::Config;
use rustcare_core::Patient;
use rustcare_storage::{AppointmentFilter, Database, Page};
use time::OffsetDateTime;

/// Looks after the clinic's database file.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The SQLite file, instead of the one that the settings name.
    #[arg(long, global = true, value_name = "FILE")]
    database: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply the migrations that the file does not have yet.
    Migrate {
        /// The folder of the migrations, instead of the one that the settings name.
        #[arg(long, value_name = "FOLDER")]
        migrations: Option<PathBuf>,
    },
    /// Fill the file with made-up patients and appointments.
    Seed {
        /// How many patients.
        #[arg(long, default_value_t = 10)]
        patients: u32,
    },
    /// Print patients or appointments.
    List {
        /// What to print.
        what: Listed,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print how much is stored.
    Stats,
}

#[derive(Clone, Copy, ValueEnum)]
enum Listed {
    Patients,
    Appointments,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// Columns between tabs.
    Text,
    /// One JSON object a line.
    Json,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // A variable that is not Unicode is no setting of ours.
    let variables: BTreeMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = Config::load(rustcare_config::file_to_read(&variables).as_deref(), &variables)?;
    let database = Database::open(&arguments.database.unwrap_or(config.database.path))?;
    let output = io::stdout().lock();
    match arguments.command {
        Command::Migrate { migrations } => {
            migrate(&database, &migrations.unwrap_or(config.database.migrations), output)
        }
        Command::Seed { patients } => seed::seed(&database, patients, OffsetDateTime::now_utc(), output),
        Command::List { what: Listed::Patients, format } => list_patients(&database, format, output),
        Command::List { what: Listed::Appointments, format } => list_appointments(&database, format, output),
        Command::Stats => print_statistics(&database, output),
    }
}

fn migrate(database: &Database, folder: &std::path::Path, mut output: impl Write) -> Result<()> {
    let migrated = database.migrate(folder)?;
    for name in &migrated.applied {
        writeln!(output, "applied {name}")?;
    }
    writeln!(output, "schema version {}", migrated.version)?;
    Ok(())
}

fn list_patients(database: &Database, format: Format, mut output: impl Write) -> Result<()> {
    each(
        |page| database.patients(page),
        |patient| patient.id.get(),
        |patient: Patient| {
            match format {
                Format::Text => {
                    let email = patient.email.as_deref().unwrap_or("-");
                    writeln!(output, "{}\t{}\t{}\t{email}", patient.id, patient.name, patient.birth_date)?;
                }
                Format::Json => writeln!(output, "{}", serde_json::to_string(&PatientBody::from(patient))?)?,
            }
            Ok(())
        },
    )
}

fn list_appointments(database: &Database, format: Format, mut output: impl Write) -> Result<()> {
    each(
        |page| database.appointments(AppointmentFilter::default(), page),
        |appointment| appointment.id.get(),
        |appointment| {
            match format {
                Format::Text => writeln!(
                    output,
                    "{}\t{}\t{}\t{}\t{} min\t{}\t{}",
                    appointment.id,
                    appointment.patient,
                    appointment.clinician,
                    appointment.starts_at,
                    appointment.minutes(),
                    appointment.reason.code,
                    appointment.status
                )?,
                Format::Json => {
                    writeln!(output, "{}", serde_json::to_string(&AppointmentBody::from(appointment))?)?
                }
            }
            Ok(())
        },
    )
}

fn print_statistics(database: &Database, mut output: impl Write) -> Result<()> {
    let statistics = database.statistics()?;
    writeln!(output, "patients\t{}", statistics.patients)?;
    writeln!(output, "booked\t{}", statistics.booked)?;
    writeln!(output, "cancelled\t{}", statistics.cancelled)?;
    for (code, count) in statistics.reasons {
        writeln!(output, "reason {}\t{count}\t{}", code.code, code.title)?;
    }
    Ok(())
}

/// Walks a list page by page, so that a large file needs little memory.
fn each<T>(
    page_of: impl Fn(Page) -> Result<Vec<T>, rustcare_storage::StorageError>,
    number: impl Fn(&T) -> i64,
    mut visit: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    let mut page = Page { after: 0, limit: 500 };
    loop {
        let entries = page_of(page)?;
        let Some(last) = entries.last() else { return Ok(()) };
        page.after = number(last);
        entries.into_iter().try_for_each(&mut visit)?;
    }
}
