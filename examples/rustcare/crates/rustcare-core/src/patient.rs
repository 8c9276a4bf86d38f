use time::format_description::StaticFormatDescription;
use time::macros::{date, format_description};
use time::{Date, OffsetDateTime};

use crate::PatientId;
use crate::violation::{Checks, Violations, line};

const DATE: StaticFormatDescription = format_description!("[year]-[month]-[day]");
const EARLIEST_BIRTH: Date = date!(1900 - 01 - 01);

/// A patient as somebody typed it.
#[derive(Debug, Clone, Copy)]
pub struct PatientDraft<'a> {
    /// Full name.
    pub name: &'a str,
    /// Date of birth, `YYYY-MM-DD`.
    pub birth_date: &'a str,
    /// Address for reminders.
    pub email: Option<&'a str>,
}

/// A patient that was checked and is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPatient {
    name: String,
    birth_date: Date,
    email: Option<String>,
}

/// A stored patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patient {
    /// Identifier.
    pub id: PatientId,
    /// Full name.
    pub name: String,
    /// Date of birth.
    pub birth_date: Date,
    /// Address for reminders; no two patients share one.
    pub email: Option<String>,
    /// When it was stored, UTC, whole seconds.
    pub created_at: OffsetDateTime,
}

impl PatientDraft<'_> {
    /// Checks every field; `today` is the last possible day of birth.
    ///
    /// Errors: [`Violations`] that name `name`, `birth_date` and `email`.
    pub fn check(&self, today: Date) -> Result<NewPatient, Violations> {
        let mut checks = Checks::default();
        let name = checks.require("name", line(self.name, 200), "one line of 1 to 200 characters");
        let birth_date = Date::parse(self.birth_date, DATE)
            .ok()
            .filter(|birth_date| (EARLIEST_BIRTH..=today).contains(birth_date));
        let birth_date = checks.require(
            "birth_date",
            birth_date,
            "a day as YYYY-MM-DD, not before 1900 and not in the future",
        );
        let email = match self.email {
            None => Some(None),
            Some(text) => {
                checks.require("email", email(text), "an address such as name@example.org").map(Some)
            }
        };
        checks.finish(name.zip(birth_date).zip(email).map(|((name, birth_date), email)| NewPatient {
            name,
            birth_date,
            email,
        }))
    }
}

impl NewPatient {
    /// Full name, without surrounding blanks.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Date of birth.
    pub fn birth_date(&self) -> Date {
        self.birth_date
    }

    /// Address for reminders, its domain in lower case.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }
}

/// Only the shape is checked: whether mail arrives, the first reminder tells.
fn email(text: &str) -> Option<String> {
    let text = line(text, 254)?;
    let (local, domain) = text.rsplit_once('@')?;
    let labels_are_there = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
    let is_address = !local.is_empty() && labels_are_there && !text.contains(char::is_whitespace);
    is_address.then(|| format!("{local}@{}", domain.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Date = date!(2026 - 03 - 01);

    fn bad_fields(draft: PatientDraft<'_>) -> Vec<&'static str> {
        draft.check(TODAY).unwrap_err().iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn good_fields_are_normalised() {
        let draft =
            PatientDraft { name: " Ada Lovelace ", birth_date: "2026-03-01", email: Some("Ada@Example.ORG") };
        let patient = draft.check(TODAY).unwrap();
        assert_eq!(patient.name(), "Ada Lovelace");
        assert_eq!(patient.birth_date(), TODAY);
        assert_eq!(patient.email(), Some("Ada@example.org"));
    }

    #[test]
    fn every_bad_field_is_named_at_once() {
        let draft = PatientDraft { name: "\t", birth_date: "2026-03-02", email: Some("ada@") };
        assert_eq!(bad_fields(draft), ["name", "birth_date", "email"]);
    }

    #[test]
    fn days_and_addresses_have_limits() {
        for birth_date in ["1899-12-31", "2026-02-29", "01.03.2020", ""] {
            assert_eq!(
                bad_fields(PatientDraft { name: "A", birth_date, email: None }),
                ["birth_date"],
                "{birth_date}"
            );
        }
        for email in ["", "a", "@b.c", "a@b", "a@b..c", "a b@c.d", "a@b.c\nd"] {
            let draft = PatientDraft { name: "A", birth_date: "2000-01-01", email: Some(email) };
            assert_eq!(bad_fields(draft), ["email"], "{email}");
        }
    }
}
