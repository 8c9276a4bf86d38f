//! What people call an image: `registry/repository:tag@digest`, in docker's grammar.
//!
//! A [`Reference`] keeps the name as it was written, because that is what a local store lists; the normalised form
//! (`docker.io/library/…`) is derived where another program needs it. It never asks anyone whether the image exists.
//!
//! Failure: [`ReferenceError`] says what is wrong and at which byte.
//! Source: github.com/distribution/reference, "Grammar" and `ParseNormalizedNamed`.

use std::fmt;
use std::str::FromStr;

use carrack_base::{Digest, DigestParseError};

const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
const NAME_LIMIT: usize = 255;
const TAG_LIMIT: usize = 128;

/// The name of an image, as its user wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    name: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no image name. Positions are byte offsets in `text`, which is the whole text that was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is no text.
    #[error("an image name cannot be empty")]
    Empty,
    /// Repositories are lower case; `suggestion` is the text in lower case.
    #[error("image name `{text}` has an upper-case letter at byte {at}, and repository names are lower case")]
    UpperCase {
        /// The whole text.
        text: String,
        /// Where the letter is.
        at: usize,
        /// The same name in lower case.
        suggestion: String,
    },
    /// A character that can't be there.
    #[error("image name `{text}` has {found:?} at byte {at} where {expected} is expected")]
    Character {
        /// The whole text.
        text: String,
        /// Where the character is.
        at: usize,
        /// The character.
        found: char,
        /// What could be there.
        expected: &'static str,
    },
    /// A part ends too early (`name:`, `a//b`, `name-`).
    #[error("image name `{text}` lacks {expected} at byte {at}")]
    Incomplete {
        /// The whole text.
        text: String,
        /// Where the part ends.
        at: usize,
        /// What should follow.
        expected: &'static str,
    },
    /// The name has more than 255 bytes, or the tag more than 128.
    #[error("image name `{text}` has a {part} of {length} bytes, and {limit} are allowed")]
    TooLong {
        /// The whole text.
        text: String,
        /// `name` or `tag`.
        part: &'static str,
        /// Bytes that it has.
        length: usize,
        /// Bytes that it may have.
        limit: usize,
    },
    /// 64 hexadecimal digits are an image's id, which docker does not take for a name.
    #[error("`{text}` is an image id and cannot be an image name")]
    Identifier {
        /// The whole text.
        text: String,
    },
    /// What follows `@` is not a SHA-256 digest.
    #[error("image name `{text}` has a malformed digest")]
    Digest {
        /// The whole text.
        text: String,
        /// What is wrong with the digest.
        #[source]
        source: DigestParseError,
    },
}

impl Reference {
    /// The name without tag and digest, as it was written (`acme/server`, `localhost:5000/server`).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag, if one was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was written.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same name with this tag and no digest.
    ///
    /// Errors: as parsing; the positions count from the start of the new text.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        format!("{}:{tag}", self.name).parse()
    }

    /// The same name with its tag, `latest` if it has none, and no digest: what an image can be given as a name.
    pub fn tagged(&self) -> Self {
        let tag = self.tag.clone().or_else(|| Some(DEFAULT_TAG.to_owned()));
        Self { name: self.name.clone(), tag, digest: None }
    }

    /// The registry's host and port; `docker.io` if none was written.
    pub fn registry(&self) -> &str {
        match split_registry(&self.name).0 {
            None | Some("index.docker.io") => DEFAULT_REGISTRY,
            Some(registry) => registry,
        }
    }

    /// The repository within the registry (`library/debian` for `debian`).
    pub fn repository(&self) -> String {
        let repository = split_registry(&self.name).1;
        if self.registry() == DEFAULT_REGISTRY && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        }
    }

    /// The full form that registries and containerd use (`docker.io/library/debian:latest`).
    pub fn canonical(&self) -> String {
        self.with_suffix(format!("{}/{}", self.registry(), self.repository()))
    }

    /// The short form that docker prints (`debian:latest` for `docker.io/library/debian:latest`).
    pub fn familiar(&self) -> String {
        let repository = self.repository();
        self.with_suffix(if self.registry() != DEFAULT_REGISTRY {
            format!("{}/{repository}", self.registry())
        } else {
            match repository.strip_prefix("library/") {
                Some(official) if !official.contains('/') => official.to_owned(),
                _ => repository,
            }
        })
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.with_suffix(self.name.clone()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (tagged, digest) = match text.split_once('@') {
            None => (text, None),
            Some((tagged, digest)) => {
                let malformed = |source| ReferenceError::Digest { text: text.to_owned(), source };
                (tagged, Some(digest.parse().map_err(malformed)?))
            }
        };
        // A colon before the last slash belongs to a registry's port.
        let last_part = tagged.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match tagged[last_part..].find(':') {
            None => (tagged, None),
            Some(colon) => (&tagged[..last_part + colon], Some(&tagged[last_part + colon + 1..])),
        };
        let check = Check { text };
        check.name(name)?;
        if let Some(tag) = tag {
            check.tag(tag, name.len() + 1)?;
        }
        if name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier { text: text.to_owned() });
        }
        Ok(Self { name: name.to_owned(), tag: tag.map(str::to_owned), digest })
    }
}

/// Docker's rule: the first part is a registry if it can't be anything else.
fn split_registry(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, name),
    }
}

/// Checks parts of `text`; every `start` is the byte at which the part begins.
struct Check<'a> {
    text: &'a str,
}

impl Check<'_> {
    fn name(&self, name: &str) -> Result<(), ReferenceError> {
        let (registry, repository) = split_registry(name);
        let mut start = 0;
        if let Some(registry) = registry {
            self.registry(registry)?;
            start = registry.len() + 1;
        }
        for component in repository.split('/') {
            self.component(component, start)?;
            start += component.len() + 1;
        }
        self.length("name", name, NAME_LIMIT)
    }

    fn registry(&self, registry: &str) -> Result<(), ReferenceError> {
        let (host, port) = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, port)) => {
                let expected = "an IPv6 address";
                self.characters(address, 1, expected, |byte| byte.is_ascii_hexdigit() || byte == b':')?;
                ("", port.strip_prefix(':').or((!port.is_empty()).then_some(port)))
            }
            None => registry.split_once(':').map_or((registry, None), |(host, port)| (host, Some(port))),
        };
        if !registry.starts_with('[') {
            let expected = "a letter or a digit of the registry's host name";
            let mut start = 0;
            for label in host.split('.') {
                let inner = label.len().saturating_sub(1);
                let ends = |index: usize| index == 0 || index == inner;
                self.characters(label, start, expected, |byte| byte.is_ascii_alphanumeric() || byte == b'-')?;
                if let Some(index) = label.bytes().enumerate().position(|(i, b)| b == b'-' && ends(i)) {
                    return Err(self.character(start + index, expected));
                }
                start += label.len() + 1;
            }
        }
        match port {
            None => Ok(()),
            Some(port) => {
                self.characters(port, registry.len() - port.len(), "a port", |byte| byte.is_ascii_digit())
            }
        }
    }

    /// Lower-case letters and digits, with single separators (`.`, `_`, `__`, or any number of `-`) between them.
    fn component(&self, component: &str, start: usize) -> Result<(), ReferenceError> {
        let expected = "a lower-case letter or a digit";
        let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        self.characters(component, start, expected, |byte| is_alphanumeric(byte) || b"._-".contains(&byte))?;
        let mut rest = component;
        while let Some(run) = rest.find(|character: char| "._-".contains(character)) {
            let separator_end = rest[run..].find(|character: char| !"._-".contains(character));
            let separator = &rest[run..separator_end.map_or(rest.len(), |end| run + end)];
            let at = start + component.len() - rest.len() + run;
            let is_one = matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
            if run == 0 || !is_one {
                return Err(self.character(if run == 0 { at } else { at + 1 }, expected));
            }
            if separator_end.is_none() {
                return Err(self.incomplete(start + component.len(), expected));
            }
            rest = &rest[run + separator.len()..];
        }
        Ok(())
    }

    fn tag(&self, tag: &str, start: usize) -> Result<(), ReferenceError> {
        let expected = "a letter, a digit, `_`, `.` or `-` of the tag";
        self.characters(tag, start, expected, |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))?;
        if tag.starts_with(['.', '-']) {
            return Err(self.character(start, "a letter, a digit or `_` at the start of the tag"));
        }
        self.length("tag", tag, TAG_LIMIT)
    }

    fn characters(
        &self,
        part: &str,
        start: usize,
        expected: &'static str,
        allowed: impl Fn(u8) -> bool,
    ) -> Result<(), ReferenceError> {
        match part.bytes().position(|byte| !allowed(byte)) {
            Some(index) => Err(self.character(start + index, expected)),
            None if part.is_empty() => Err(self.incomplete(start, expected)),
            None => Ok(()),
        }
    }

    fn character(&self, at: usize, expected: &'static str) -> ReferenceError {
        let text = self.text.to_owned();
        match self.text[at..].chars().next() {
            Some(letter) if letter.is_ascii_uppercase() => {
                ReferenceError::UpperCase { suggestion: text.to_ascii_lowercase(), text, at }
            }
            Some(found) => ReferenceError::Character { text, at, found, expected },
            None => ReferenceError::Incomplete { text, at, expected },
        }
    }

    fn incomplete(&self, at: usize, expected: &'static str) -> ReferenceError {
        ReferenceError::Incomplete { text: self.text.to_owned(), at, expected }
    }

    fn length(&self, part: &'static str, value: &str, limit: usize) -> Result<(), ReferenceError> {
        if value.len() > limit {
            let text = self.text.to_owned();
            return Err(ReferenceError::TooLong { text, part, length: value.len(), limit });
        }
        Ok(())
    }
}
