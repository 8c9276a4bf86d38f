use std::fmt;

/// One field that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field's name as clients write it.
    pub field: &'static str,
    /// What is expected of it, a lower-case fragment.
    pub expected: String,
}

/// Every bad field of a draft; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// The fields, in the order in which they were checked.
    pub fn iter(&self) -> impl Iterator<Item = &Violation> {
        self.0.iter()
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{}: {}", violation.field, violation.expected)?;
        }
        Ok(())
    }
}

impl std::error::Error for Violations {}

/// Collects violations while a draft is read.
#[derive(Default)]
pub(crate) struct Checks(Vec<Violation>);

impl Checks {
    /// Keeps `value`, or notes what `field` should have been.
    pub(crate) fn require<T>(&mut self, field: &'static str, value: Option<T>, expected: &str) -> Option<T> {
        if value.is_none() {
            self.0.push(Violation { field, expected: expected.to_owned() });
        }
        value
    }

    /// `value` if nothing was noted.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Violations> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(Violations(self.0)),
        }
    }
}

/// `text` without surrounding blanks, if it is one line of 1 to `longest` characters.
pub(crate) fn line(text: &str, longest: usize) -> Option<String> {
    let text = text.trim();
    let fits = !text.is_empty() && text.chars().count() <= longest && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}
