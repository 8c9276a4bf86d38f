//! Versions as programs write them.

use std::fmt;

/// The numbers at the beginning of a version; what is not there counts as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u64, pub(crate) u64, pub(crate) u64);

impl Version {
    /// Reads `20.10.24+dfsg1`, `v2.40.3-3`, `1.95`; `None` if it does not begin with a number.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(|character: char| !character.is_ascii_digit() && character != '.');
        let mut numbers = text[..end.unwrap_or(text.len())].split('.').map(|part| part.parse().ok());
        let first = numbers.next()??;
        let mut next = || numbers.next().flatten().unwrap_or(0);
        Some(Self(first, next(), next()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(Version::read("20.10.24+dfsg1"), Some(Version(20, 10, 24)));
        assert_eq!(Version::read("v2.40.3-3"), Some(Version(2, 40, 3)));
        assert_eq!(Version::read("1.97.0-nightly"), Some(Version(1, 97, 0)));
        assert_eq!(Version::read("1.95"), Some(Version(1, 95, 0)));
        assert_eq!(Version::read("unknown"), None);
        assert!(Version(9, 0, 0) < Version(20, 10, 0));
    }
}
