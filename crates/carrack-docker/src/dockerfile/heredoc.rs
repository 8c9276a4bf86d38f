//! Finds where here-documents are opened on an instruction's line.

use super::text::Text;
use super::words::word_ranges;

/// `<<NAME` on an instruction's line.
#[derive(Debug, Clone)]
pub(super) struct Opening {
    /// As written.
    pub(super) word: Text,
    pub(super) name: String,
    pub(super) descriptor: Option<u32>,
    pub(super) strips_tabs: bool,
    /// The name was not quoted.
    pub(super) expands: bool,
}

/// Whether the instruction is one that reads here-documents.
pub(super) fn may_follow(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let word = if first.eq_ignore_ascii_case("ONBUILD") { words.next().unwrap_or_default() } else { first };
    ["RUN", "COPY", "ADD"].iter().any(|name| word.eq_ignore_ascii_case(name)) && line.contains("<<")
}

/// Every opening on a line, in order. Between `<<` and the name may be white space.
pub(super) fn openings(line: &Text, escape: char) -> Vec<Opening> {
    let mut ranges = word_ranges(line, escape).into_iter().peekable();
    let mut openings = Vec::new();
    while let Some(mut range) = ranges.next() {
        let descriptor = line[range.clone()].strip_suffix("<<");
        if descriptor.is_some_and(|descriptor| descriptor.bytes().all(|byte| byte.is_ascii_digit()))
            && let Some(name) = ranges.next_if(|name| !line[name.clone()].contains('<'))
        {
            range.end = name.end;
        }
        openings.extend(opening(line.slice(range)));
    }
    openings
}

/// A word that opens a here-document.
pub(super) fn opening(word: Text) -> Option<Opening> {
    let (descriptor, rest) = word.split_once("<<")?;
    if !descriptor.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (strips_tabs, quoted) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest.trim_start()),
    };
    if quoted.is_empty() || quoted.contains('<') {
        return None;
    }
    let name: String = quoted.chars().filter(|character| !matches!(character, '"' | '\'' | '\\')).collect();
    if name.is_empty() {
        return None;
    }
    let descriptor = descriptor.parse().ok();
    let expands = name == quoted;
    Some(Opening { name, descriptor, strips_tabs, expands, word })
}
