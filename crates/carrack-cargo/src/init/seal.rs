//! How a generated file knows that nobody changed it.
//!
//! Its first line says who wrote it and for which project, its second holds the digest of everything below:
//!
//! ```text
//! # Written by carrack init for rustcare. Change Cargo.toml or carrack.toml and run `carrack init` again.
//! # Seal: 1f0c9d2a44ab65e7. Remove these two lines to make this file your own.
//! ```
//!
//! A file without these lines is a person's. Line ends that an editor or git changed break no seal.

use carrack_base::ContentDigest;

const WRITTEN_BY: &str = "# Written by carrack init for ";
const SEAL: &str = "# Seal: ";
/// Hexadecimal digits.
const LENGTH: usize = 16;

/// Who has a say about a file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// It is as it was written.
    Sealed {
        /// The project that it was written for.
        project: String,
    },
    /// It was written by `carrack init`, and changed by someone since.
    Broken {
        /// The project that it was written for.
        project: String,
    },
    /// It is someone's own.
    Foreign,
}

/// `body` with the two lines above it.
pub(super) fn seal(project: &str, body: &str) -> String {
    format!(
        "{WRITTEN_BY}{project}. Change Cargo.toml or carrack.toml and run `carrack init` again.\n\
         {SEAL}{}. Remove these two lines to make this file your own.\n{body}",
        digest(body)
    )
}

/// Whose the file with this text is.
pub fn ownership(text: &str) -> Ownership {
    let text = text.replace("\r\n", "\n");
    let mut lines = text.splitn(3, '\n');
    let (Some(first), Some(second)) = (lines.next(), lines.next()) else { return Ownership::Foreign };
    let body = lines.next().unwrap_or_default();
    let project = first.strip_prefix(WRITTEN_BY).and_then(|rest| rest.split_once(". ")).map(|(name, _)| name);
    let (Some(project), Some(sealed)) = (project, second.strip_prefix(SEAL)) else {
        return Ownership::Foreign;
    };
    let project = project.to_owned();
    if sealed.starts_with(&digest(body)) {
        Ownership::Sealed { project }
    } else {
        Ownership::Broken { project }
    }
}

fn digest(body: &str) -> String {
    ContentDigest::of(body.as_bytes()).to_string()[..LENGTH].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_breaks_with_the_text() {
        let sealed = seal("clinic", "\nFROM scratch\n");
        let project = "clinic".to_owned();
        assert_eq!(ownership(&sealed), Ownership::Sealed { project: project.clone() });
        assert_eq!(ownership(&sealed.replace('\n', "\r\n")), Ownership::Sealed { project: project.clone() });
        assert_eq!(ownership(&sealed.replace("scratch", "debian")), Ownership::Broken { project });
        for foreign in ["", "FROM scratch\n", "# Written by carrack init for x", &sealed[1..]] {
            assert_eq!(ownership(foreign), Ownership::Foreign, "{foreign}");
        }
    }
}
