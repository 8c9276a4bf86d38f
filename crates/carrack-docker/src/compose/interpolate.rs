//! `$NAME` and `${NAME…}` in values. Keys are left as they are.
//!
//! | form | is |
//! | --- | --- |
//! | `$NAME`, `${NAME}` | the value; nothing, with a word about it, if it is not set |
//! | `${NAME:-other}`, `${NAME-other}` | `other` if it is not set (with `:` also if it is empty) |
//! | `${NAME:+other}`, `${NAME+other}` | `other` if it is set (with `:` and not empty), else nothing |
//! | `${NAME:?text}`, `${NAME?text}` | an error if it is not set (with `:` also if it is empty) |
//! | `$$` | a dollar sign |
//!
//! `other` and `text` may hold all of these again. A `$` before anything else stands for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use carrack_base::Span;

use super::error::{ComposeError, Invalid};
use super::yaml::{Node, Value};

/// Names and their values.
pub(super) type Variables = BTreeMap<String, String>;

/// Why a text has no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TemplateError {
    /// The bytes that look like a variable and are none.
    Invalid(Range<usize>),
    Required {
        name: String,
        message: String,
        at: Range<usize>,
    },
}

/// Replaces the variables in every value. Names without a value go to `unset`.
pub(super) fn interpolate(
    node: &mut Node,
    variables: &Variables,
    unset: &mut BTreeSet<String>,
) -> Result<(), ComposeError> {
    match &mut node.value {
        Value::Text(text) if text.contains('$') => {
            *text = substitute(text, variables, unset).map_err(|error| error.of(text, &node.span))?;
        }
        Value::List(items) => {
            for item in items {
                interpolate(item, variables, unset)?;
            }
        }
        Value::Map(map) => {
            for (_, node) in &mut map.entries {
                interpolate(node, variables, unset)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
    Ok(())
}

impl TemplateError {
    /// The error of a scalar `text` at `span`. Where the scalar is written as it is, the part concerned is marked.
    fn of(self, text: &str, span: &Span) -> ComposeError {
        let (at, what) = match self {
            Self::Invalid(at) => {
                let part = text[at.clone()].to_owned();
                (at, Invalid::Template { part })
            }
            Self::Required { name, message, at } => (at, Invalid::Required { name, message }),
        };
        let written = &span.source.text[span.range.clone()];
        let span = match written.find(&text[at.clone()]) {
            Some(found) => {
                let start = span.range.start + found;
                Span { source: span.source.clone(), range: start..start + at.len() }
            }
            None => span.clone(),
        };
        ComposeError::invalid(&span, what)
    }
}

/// Replaces the variables in a text.
pub(super) fn substitute(
    text: &str,
    variables: &Variables,
    unset: &mut BTreeSet<String>,
) -> Result<String, TemplateError> {
    let mut result = String::new();
    let mut at = 0;
    while let Some(dollar) = text[at..].find('$').map(|found| at + found) {
        result.push_str(&text[at..dollar]);
        let rest = &text[dollar + 1..];
        if rest.starts_with('$') {
            result.push('$');
            at = dollar + 2;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or(TemplateError::Invalid(dollar..text.len()))?;
            let whole = dollar..dollar + 2 + end + 1;
            result.push_str(&braced(&inner[..end], whole.clone(), variables, unset)?);
            at = whole.end;
        } else {
            let name = &rest[..name_length(rest)];
            match name {
                "" => result.push('$'),
                name => result.push_str(&value(name, variables, unset)),
            }
            at = dollar + 1 + name.len();
        }
    }
    result.push_str(&text[at..]);
    Ok(result)
}

/// What stands between the braces at `whole`.
fn braced(
    inner: &str,
    whole: Range<usize>,
    variables: &Variables,
    unset: &mut BTreeSet<String>,
) -> Result<String, TemplateError> {
    let (name, rest) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err(TemplateError::Invalid(whole));
    }
    if rest.is_empty() {
        return Ok(value(name, variables, unset));
    }
    let (or_empty, operation) = match rest.strip_prefix(':') {
        Some(operation) => (true, operation),
        None => (false, rest),
    };
    let known = variables.get(name).filter(|value| !or_empty || !value.is_empty());
    // A range within `operation` says nothing to the caller: the whole is marked.
    let mut other = |text: &str| {
        substitute(text, variables, unset).map_err(|error| match error {
            TemplateError::Invalid(_) => TemplateError::Invalid(whole.clone()),
            TemplateError::Required { name, message, .. } => {
                TemplateError::Required { name, message, at: whole.clone() }
            }
        })
    };
    match (operation.split_at_checked(1), known) {
        (Some(("-" | "?", _)), Some(value)) => Ok(value.clone()),
        (Some(("-", text)), None) | (Some(("+", text)), Some(_)) => other(text),
        (Some(("+", _)), None) => Ok(String::new()),
        (Some(("?", text)), None) => {
            let message = other(text)?;
            Err(TemplateError::Required { name: name.to_owned(), message, at: whole })
        }
        _ => Err(TemplateError::Invalid(whole)),
    }
}

fn value(name: &str, variables: &Variables, unset: &mut BTreeSet<String>) -> String {
    variables.get(name).cloned().unwrap_or_else(|| {
        unset.insert(name.to_owned());
        String::new()
    })
}

fn name_length(text: &str) -> usize {
    let part = |(index, character): (usize, char)| {
        !(character.is_ascii_alphabetic() || character == '_' || (index > 0 && character.is_ascii_digit()))
    };
    text.char_indices().find(|indexed| part(*indexed)).map_or(text.len(), |(index, _)| index)
}

/// Where the brace that ends `${` is. Braces within are counted; where that comes to no end, only those of variables.
fn closing(text: &str) -> Option<usize> {
    let find = |counts: fn(u8, u8) -> bool| {
        let mut open = 0_usize;
        let mut before = 0;
        for (index, byte) in text.bytes().enumerate() {
            match byte {
                b'}' if open == 0 => return Some(index),
                b'}' => open -= 1,
                b'{' if counts(before, byte) => open += 1,
                _ => {}
            }
            before = byte;
        }
        None
    };
    find(|_, _| true).or_else(|| find(|before, _| before == b'$'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let variables = [("V", "val"), ("E", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let result = substitute(text, &Variables::from(variables), &mut BTreeSet::new());
        let result = result.map_err(|error| match error {
            TemplateError::Invalid(at) => text[at].to_owned(),
            TemplateError::Required { name, message, .. } => format!("{name}: {message}"),
        });
        assert_eq!(result, expected.map(str::to_owned).map_err(str::to_owned), "{text}");
    }

    /// Each of these is docker compose 2.40's result for the same text.
    #[test]
    fn forms() {
        for (text, expected) in [
            ("$V", "val"),
            ("${V}", "val"),
            ("$1", "$1"),
            ("$ x", "$ x"),
            ("a$", "a$"),
            ("$$V", "$V"),
            ("$$${V}", "$val"),
            ("$${V}", "${V}"),
            ("${V:-d}", "val"),
            ("${E:-d}", "d"),
            ("${E-d}", ""),
            ("${U-d}", "d"),
            ("${U:-${V}}", "val"),
            ("${U:-a${V}b}c", "avalbc"),
            ("${U:-$V}", "val"),
            ("${U:-}", ""),
            ("${V:+x}", "x"),
            ("${E:+x}", ""),
            ("${E+x}", "x"),
            ("${U+x}", ""),
            ("${E?m}", ""),
            ("$U", ""),
            ("${U:-a}b}", "ab}"),
            ("${V:+${V}x}", "valx"),
            ("${U:-$$V}", "$V"),
            ("${v}", ""),
            ("${U:-a:-b}", "a:-b"),
            ("${U:-{}}", "{}"),
            ("${V:-{}}", "val"),
            ("${U:-{}", "{"),
            ("$Vé", "valé"),
            ("${U:-é}", "é"),
        ] {
            check(text, Ok(expected));
        }
        for (text, expected) in [
            ("a ${", "${"),
            ("${1}", "${1}"),
            ("${V", "${V"),
            ("${V:x}", "${V:x}"),
            ("${V }", "${V }"),
            ("${Vé}", "${Vé}"),
            ("${U:?m}", "U: m"),
            ("${U?m ${V}}", "U: m val"),
            ("${E:?}", "E: "),
            ("x ${U:-${1}} y", "${U:-${1}}"),
        ] {
            check(text, Err(expected));
        }
    }
}
