//! Files of variables: `.env`, `--env-file` and the `env_file` of an `include`.
//!
//! ```text
//! # a comment, on a line of its own or behind a value
//! NAME=value            export NAME=value        NAME: value
//! NAME="text with \n, $OTHER and ${OTHER:-more}, over several lines too"
//! NAME='text as it is'
//! NAME                  the caller's value, if there is one
//! ```
//!
//! A value may use the variables above it; those of the caller count before those of the file.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use carrack_base::{SourceText, Span};

use super::error::{ComposeError, Invalid};
use super::interpolate::{TemplateError, Variables, substitute};

/// Reads a file of variables into `found`. `known` are the caller's, which `found` does not replace.
pub(super) fn read(
    path: &Path,
    named_at: Option<&Span>,
    known: &Variables,
    found: &mut Variables,
) -> Result<(), ComposeError> {
    let text = std::fs::read_to_string(path).map_err(|source| ComposeError::Read {
        path: path.to_owned(),
        named_at: named_at.cloned(),
        source,
    })?;
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let source = Arc::new(SourceText { path: path.to_owned(), text });
    Reader { source: &source, at: 0, known }.read(found)
}

struct Reader<'a> {
    source: &'a Arc<SourceText>,
    at: usize,
    known: &'a Variables,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source.text[self.at..]
    }

    fn skip(&mut self, skipped: impl Fn(char) -> bool) {
        self.at = self.source.text.len() - self.rest().trim_start_matches(skipped).len();
    }

    fn line(&self) -> &'a str {
        self.rest().split('\n').next().unwrap_or_default()
    }

    fn span(&self, length: usize) -> Span {
        Span { source: self.source.clone(), range: self.at..self.at + length }
    }

    fn error(&self, length: usize, message: &'static str) -> ComposeError {
        ComposeError::Line { span: self.span(length), message }
    }

    fn read(mut self, found: &mut Variables) -> Result<(), ComposeError> {
        loop {
            self.skip(char::is_whitespace);
            if self.rest().is_empty() {
                return Ok(());
            }
            if self.rest().starts_with('#') {
                self.at += self.line().len();
                continue;
            }
            if let Some(rest) = self.rest().strip_prefix("export")
                && rest.starts_with([' ', '\t'])
            {
                self.at += "export".len();
                self.skip(|character| character == ' ' || character == '\t');
            }
            let line = self.line();
            let Some(end) = line.find(['=', ':']) else {
                let name = line.split(" #").next().unwrap_or_default().trim_end();
                self.name(name)?;
                if let Some(value) = self.known.get(name) {
                    found.insert(name.to_owned(), value.clone());
                }
                self.at += line.len();
                continue;
            };
            let name = line[..end].trim_end();
            self.name(name)?;
            self.at += end + 1;
            self.skip(|character| character == ' ' || character == '\t');
            let value = self.value(found)?;
            found.insert(name.to_owned(), value);
        }
    }

    fn name(&self, name: &str) -> Result<(), ComposeError> {
        let allowed = |character: char| character.is_alphanumeric() || "_.-[]".contains(character);
        match name.find(|character| !allowed(character)) {
            None => Ok(()),
            Some(_) => Err(self.error(name.len(), "this can't name a variable")),
        }
    }

    fn value(&mut self, found: &Variables) -> Result<String, ComposeError> {
        let quote = self.rest().chars().next().filter(|quote| *quote == '"' || *quote == '\'');
        let Some(quote) = quote else {
            let line = self.line();
            let text = line.split(" #").next().unwrap_or_default().trim_end();
            let value = self.expand(text, text.len(), found)?;
            self.at += line.len();
            return Ok(value);
        };
        let inner = &self.rest()[1..];
        let mut escaped = false;
        let end = inner.char_indices().find_map(|(index, character)| {
            let ends = character == quote && !escaped;
            // As docker compose has it: a backslash counts, whatever stands before it.
            escaped = character == '\\';
            ends.then_some(index)
        });
        let Some(end) = end else {
            return Err(self.error(self.line().len(), "this quote has no end"));
        };
        let text = &inner[..end];
        let value = match quote {
            '\'' => text.to_owned(),
            _ => self.expand(&unescape(text), end + 2, found)?,
        };
        self.at += end + 2;
        Ok(value)
    }

    /// Replaces variables; `length` bytes from here on are where they stand.
    fn expand(&self, text: &str, length: usize, found: &Variables) -> Result<String, ComposeError> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        let mut variables = found.clone();
        variables.extend(self.known.iter().map(|(name, value)| (name.clone(), value.clone())));
        substitute(text, &variables, &mut BTreeSet::new()).map_err(|error| {
            let what = match error {
                TemplateError::Invalid(at) => Invalid::Template { part: text[at].to_owned() },
                TemplateError::Required { name, message, .. } => Invalid::Required { name, message },
            };
            ComposeError::invalid(&self.span(length), what)
        })
    }
}

/// `\n` and its like; `\$` becomes the `$$` that stays a dollar sign.
fn unescape(text: &str) -> String {
    let mut result = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            result.push(character);
            continue;
        }
        match characters.next() {
            Some('a') => result.push('\u{7}'),
            Some('b') => result.push('\u{8}'),
            Some('f') => result.push('\u{c}'),
            Some('n') => result.push('\n'),
            Some('r') => result.push('\r'),
            Some('t') => result.push('\t'),
            Some('v') => result.push('\u{b}'),
            Some('$') => result.push_str("$$"),
            Some(escaped @ ('"' | '\\')) => result.push(escaped),
            Some(other) => result.extend(['\\', other]),
            None => result.push('\\'),
        }
    }
    result
}
