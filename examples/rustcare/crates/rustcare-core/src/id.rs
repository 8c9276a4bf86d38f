use rustcare_macros::Id;

/// A patient's identifier, `pat-42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Id)]
#[id(prefix = "pat")]
pub struct PatientId(i64);

/// An appointment's identifier, `apt-42`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Id)]
#[id(prefix = "apt")]
pub struct AppointmentId(i64);

/// A text that should have been an identifier and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an identifier: expected `{prefix}-` and a number from 1")]
pub struct ParseIdError {
    prefix: &'static str,
    text: String,
}

impl ParseIdError {
    /// Reads `prefix`, a hyphen and a number from 1, without sign or leading zeros. For the derived `FromStr`.
    ///
    /// Errors: itself, for any other text.
    pub fn parse(prefix: &'static str, text: &str) -> Result<i64, Self> {
        text.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('-'))
            .filter(|digits| digits.starts_with(|first: char| matches!(first, '1'..='9')))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Self { prefix, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_round_trip() {
        let id = PatientId::new(42);
        assert_eq!(id.to_string(), "pat-42");
        assert_eq!("pat-42".parse(), Ok(id));
        assert_eq!("apt-7".parse().map(AppointmentId::get), Ok(7));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "42",
            "pat-",
            "pat-0",
            "pat--1",
            "pat-+1",
            "pat-01",
            "apt-1",
            "pat-1x",
            "pat-99999999999999999999",
        ] {
            assert!(text.parse::<PatientId>().is_err(), "{text}");
        }
    }
}
