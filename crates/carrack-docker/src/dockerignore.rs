//! Which files of a context a `.dockerignore` leaves out.
//!
//! | rule | |
//! | --- | --- |
//! | `#` | a comment, in the first column only |
//! | white space, `/` at the beginning, `.`, `..` and double slashes | are taken away; an empty pattern is none |
//! | `*` `?` | match within one name; `[a-z]` `[^a-z]` match a character; `\` takes the meaning away |
//! | `**` | matches any number of folders, none too; at the end, everything |
//! | a match of a folder | leaves out everything in it |
//! | `!` | takes back in; the last pattern that matches decides |
//!
//! That is what Docker's own matcher does with `MatchesOrParentMatches`. Unlike git, a pattern without a slash matches at
//! the root only: `target` leaves `crates/a/target` in. Reads no file; a pattern that is malformed is an error.

use carrack_graph::PathFilter;

/// A `.dockerignore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dockerignore {
    patterns: Vec<Pattern>,
}

/// A pattern can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("understand the pattern `{pattern}` in line {line}")]
pub struct DockerignoreError {
    /// The pattern as written.
    pub pattern: String,
    /// From 1.
    pub line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    takes_back: bool,
    /// Cleaned; decides everything.
    written: String,
    parts: Vec<Part>,
}

/// One state of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Anything but a slash, any number of times.
    Star,
    /// Anything at all, any number of times.
    Anything,
    /// The next parts, as many as said, may be left out.
    Optional(usize),
    One,
    Literal(char),
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Dockerignore {
    /// Reads the text of a `.dockerignore`.
    pub fn parse(text: &str) -> Result<Self, DockerignoreError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                continue;
            }
            let written = line.trim();
            let (takes_back, rest) = match written.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, written),
            };
            let cleaned = clean(rest).join("/");
            let error = || DockerignoreError { pattern: written.to_owned(), line: number + 1 };
            match parts(&cleaned) {
                Some(parts) if !cleaned.is_empty() => {
                    patterns.push(Pattern { takes_back, written: cleaned, parts });
                }
                Some(_) if takes_back => return Err(error()),
                Some(_) => {}
                None => return Err(error()),
            }
        }
        Ok(Self { patterns })
    }

    /// Patterns one by one, none of which is a comment. `None` if there are none.
    pub(crate) fn of_patterns(patterns: &[String]) -> Result<Option<Self>, DockerignoreError> {
        let mut all = Self::default();
        for pattern in patterns {
            // A space in front keeps a hash from being a comment.
            all.patterns.extend(Self::parse(&format!(" {pattern}"))?.patterns);
        }
        Ok(Some(all).filter(|all| !all.patterns.is_empty()))
    }

    /// Whether a pattern leaves out all there is, apart from what is taken back in.
    pub(crate) fn ignores_everything(&self) -> bool {
        let all = ["*", "**", "**/*"];
        self.patterns.iter().any(|pattern| !pattern.takes_back && all.contains(&pattern.written.as_str()))
    }

    /// Whether a path is left out. It is relative to the context and has slashes.
    pub fn ignores(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        let mut ignored = false;
        for pattern in &self.patterns {
            if pattern.takes_back == ignored && pattern.matches_it_or_a_folder_above(&names) {
                ignored = !pattern.takes_back;
            }
        }
        ignored
    }
}

impl PathFilter for Dockerignore {
    fn ignores(&self, path: &str) -> bool {
        Self::ignores(self, path)
    }

    /// Some pattern takes something back, and what it begins with does not lead elsewhere.
    fn may_take_back(&self, folder: &str) -> bool {
        let folder = folder.trim_matches('/');
        self.patterns.iter().filter(|pattern| pattern.takes_back).any(|pattern| {
            let fixed = pattern.fixed();
            let leads_here = |inner: &str, outer: &str| {
                inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            folder.is_empty() || fixed.is_empty() || leads_here(&fixed, folder) || leads_here(folder, &fixed)
        })
    }

    fn fingerprint(&self) -> String {
        let pattern = |pattern: &Pattern| {
            let sign = if pattern.takes_back { "!" } else { "" };
            format!("{sign}{:?}\n", pattern.written)
        };
        self.patterns.iter().map(pattern).collect()
    }
}

impl Pattern {
    /// The whole names that a pattern begins with.
    fn fixed(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(character) => text.push(*character),
                _ => {
                    text.truncate(text.rfind('/').unwrap_or(0));
                    break;
                }
            }
        }
        text
    }

    fn matches_it_or_a_folder_above(&self, path: &[&str]) -> bool {
        (1..=path.len()).any(|length| matches(&self.parts, &path[..length].join("/")))
    }
}

/// The names of a path as Go's `filepath.Clean` leaves them; `..` at the beginning stays, and matches nothing.
fn clean(pattern: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for name in pattern.split('/') {
        match name {
            "" | "." => {}
            ".." if pattern.starts_with('/') && names.is_empty() => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    names
}

fn parts(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let part = match character {
            '*' if characters.next_if_eq(&'*').is_some() => {
                characters.next_if_eq(&'/');
                if characters.peek().is_some() {
                    parts.extend([Part::Optional(2), Part::Anything]);
                    Part::Literal('/')
                } else {
                    Part::Anything
                }
            }
            '*' => Part::Star,
            '?' => Part::One,
            '\\' => Part::Literal(characters.next()?),
            '[' => {
                let negated = characters.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    let first = match characters.next()? {
                        ']' if !ranges.is_empty() => break,
                        ']' | '-' => return None,
                        '\\' => characters.next()?,
                        other => other,
                    };
                    let last = match characters.next_if_eq(&'-') {
                        None => first,
                        Some(_) => match characters.next()? {
                            ']' | '-' => return None,
                            '\\' => characters.next()?,
                            other => other,
                        },
                    };
                    ranges.push((first, last));
                }
                Part::Set { negated, ranges }
            }
            other => Part::Literal(other),
        };
        parts.push(part);
    }
    Some(parts)
}

/// Whether a whole path fits.
fn matches(parts: &[Part], path: &str) -> bool {
    let skip = |reached: &mut Vec<bool>| {
        for (index, part) in parts.iter().enumerate() {
            match part {
                Part::Star | Part::Anything if reached[index] => reached[index + 1] = true,
                Part::Optional(count) if reached[index] => {
                    reached[index + 1] = true;
                    reached[index + 1 + count] = true;
                }
                _ => {}
            }
        }
    };
    let mut reached = vec![false; parts.len() + 1];
    reached[0] = true;
    skip(&mut reached);
    for character in path.chars() {
        let mut next = vec![false; parts.len() + 1];
        for (index, part) in parts.iter().enumerate().filter(|(index, _)| reached[*index]) {
            match part {
                Part::Star => next[index] |= character != '/',
                Part::Anything => next[index] = true,
                Part::Optional(_) => {}
                Part::One => next[index + 1] |= character != '/',
                Part::Literal(literal) => next[index + 1] |= *literal == character,
                Part::Set { negated, ranges } => {
                    let inside = ranges.iter().any(|(first, last)| (*first..=*last).contains(&character));
                    next[index + 1] |= inside != *negated;
                }
            }
        }
        skip(&mut next);
        reached = next;
    }
    reached[parts.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_docker_matches_them() {
        for (patterns, path, ignored) in [
            ("target", "target/release/app", true),
            ("target", "crates/a/target", false),
            ("**/target", "target", true),
            ("**/target", "crates/a/target/x", true),
            ("/target/", "target/x", true),
            ("./target", "target", true),
            ("a/../target", "target", true),
            ("  target  ", "target", true),
            ("# target", "target", false),
            (" # target", "target", false),
            ("*", "a/b", true),
            ("*\n!src", "src/main.rs", false),
            ("*\n!src\nsrc/secret", "src/secret/key", true),
            ("*\n!src/main.rs", "src/main.rs", false),
            ("*\n!src/main.rs", "src/lib.rs", true),
            ("!src\n*", "src/main.rs", true),
            ("*.rs", "src/main.rs", false),
            ("*/*.rs", "src/main.rs", true),
            ("**/*.rs", "main.rs", true),
            ("src/**", "src/a/b", true),
            ("src/**", "src", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "a", false),
            ("\\*", "*", true),
            ("a**b", "aXXb", false),
            ("a**b", "aX/b", true),
            ("a**", "abc/d", true),
            ("../x", "x", false),
            ("", "x", false),
        ] {
            let ignore = Dockerignore::parse(patterns).unwrap();
            assert_eq!(ignore.ignores(path), ignored, "{patterns:?} {path}");
        }
    }

    #[test]
    fn folders_are_entered_for_what_is_taken_back() {
        for (patterns, folder, enters) in [
            ("*", "src", false),
            ("*\n!src/main.rs", "src", true),
            ("*\n!src/main.rs", "docs", false),
            ("*\n!src/main.rs", "sr", false),
            ("*\n!src", "src/deep", true),
            ("*\n!src/*.rs", "src", true),
            ("*\n!src/*.rs", "src/deep", true),
            ("*\n!s*/a", "docs", true),
            ("*\n!**/a", "docs", true),
            ("*\n!a/b/c", "a/b", true),
            ("*\n!a/b/c", "a/x", false),
        ] {
            let ignore = Dockerignore::parse(patterns).unwrap();
            assert_eq!(ignore.may_take_back(folder), enters, "{patterns:?} {folder}");
        }
        let fingerprint = |text: &str| Dockerignore::parse(text).unwrap().fingerprint();
        assert_eq!(fingerprint("/a/\n# c\n!b"), fingerprint("a\n!./b"));
        assert_ne!(fingerprint("a\n!b"), fingerprint("!b\na"));
        assert_ne!(fingerprint("a*b"), fingerprint("a\\*b"));
    }

    #[test]
    fn a_malformed_pattern_is_an_error() {
        for pattern in ["[", "[]", "a[b", "[b-]", "\\", "!"] {
            let error = Dockerignore::parse(&format!("x\n{pattern}\n")).unwrap_err();
            assert_eq!((error.pattern.as_str(), error.line), (pattern, 2));
        }
    }
}
