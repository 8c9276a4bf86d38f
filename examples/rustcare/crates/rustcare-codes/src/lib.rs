//! The diagnosis codes that an appointment may name.
//!
//! The table is made from `data/icd_codes.csv` when this crate is compiled: a malformed file or a code that is there
//! twice fails the build, never a running service. Not the whole catalogue, only what the clinic books for.

/// A code of ICD-10 with its short title.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// The code (`J45.9`), upper case.
    pub code: &'static str,
    /// What it stands for, in English.
    pub title: &'static str,
}

static CODES: &[Code] = include!(concat!(env!("OUT_DIR"), "/codes.rs"));

/// Every code, sorted.
pub fn all() -> &'static [Code] {
    CODES
}

/// The code that reads exactly `text`.
pub fn find(text: &str) -> Option<&'static Code> {
    CODES.binary_search_by(|code| code.code.cmp(text)).ok().map(|index| &CODES[index])
}

/// The codes that begin with `prefix`, sorted; all of them if it is empty.
pub fn with_prefix(prefix: &str) -> &'static [Code] {
    let start = CODES.partition_point(|code| code.code < prefix);
    let length = CODES[start..].partition_point(|code| code.code.starts_with(prefix));
    &CODES[start..start + length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_strictly_sorted() {
        assert!(all().len() > 50);
        assert!(all().windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn every_code_of_the_file_is_found() {
        for line in include_str!("../data/icd_codes.csv").lines().skip(1) {
            let code = line.split(',').next().unwrap();
            assert_eq!(find(code).map(|found| found.code), Some(code));
        }
        assert_eq!(find("J45.9").unwrap().title, "Asthma, unspecified");
        assert_eq!(find("j45.9"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn prefix_selects_a_run_of_the_table() {
        let codes: Vec<_> = with_prefix("J45").iter().map(|code| code.code).collect();
        assert_eq!(codes, ["J45.0", "J45.9"]);
        assert_eq!(with_prefix("").len(), all().len());
        assert!(with_prefix("ZZZ").is_empty());
    }
}
