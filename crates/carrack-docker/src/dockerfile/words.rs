//! Cuts an instruction's rest into words, flags and JSON.

use std::ops::Range;

use super::text::Text;

const SPACE: [char; 5] = [' ', '\t', '\u{b}', '\u{c}', '\r'];

/// The first word and the rest, both without white space around.
pub(super) fn first_word(text: &Text) -> (Text, Text) {
    let text = text.trimmed();
    match text.find(SPACE) {
        Some(end) => (text.slice(0..end), text.slice(end..text.len()).trimmed()),
        None => (text.clone(), text.slice(text.len()..text.len())),
    }
}

/// Words between white space, whatever quotes they have.
pub(super) fn plain_words(text: &Text) -> Vec<Text> {
    let mut words = Vec::new();
    let mut rest = text.trimmed();
    while !rest.is_empty() {
        let (word, behind) = first_word(&rest);
        words.push(word);
        rest = behind;
    }
    words
}

/// Words between white space that is neither quoted nor escaped. Quotes and escapes stay.
pub(super) fn words(text: &Text, escape: char) -> Vec<Text> {
    word_ranges(text, escape).into_iter().map(|range| text.slice(range)).collect()
}

/// Where these words are.
pub(super) fn word_ranges(text: &str, escape: char) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = None;
    let mut quote: Option<char> = None;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        let is_space = SPACE.contains(&character) || character == '\n';
        match quote {
            None if is_space => {
                ranges.extend(start.take().map(|start| start..at));
                continue;
            }
            None if matches!(character, '"' | '\'') => quote = Some(character),
            Some(open) if open == character => quote = None,
            _ if character == escape && quote != Some('\'') => {
                characters.next();
            }
            _ => {}
        }
        start = start.or(Some(at));
    }
    ranges.extend(start.map(|start| start..text.len()));
    ranges
}

/// `--name` or `--name=value` in front of an instruction's arguments.
#[derive(Debug)]
pub(super) struct Flag {
    pub(super) name: Text,
    /// Without quotes.
    pub(super) value: Option<Text>,
    pub(super) range: Range<usize>,
}

/// The flags at the beginning, and the rest.
pub(super) fn flags(text: &Text, escape: char) -> (Vec<Flag>, Text) {
    let mut flags = Vec::new();
    let mut rest = text.trimmed();
    while rest.starts_with("--") {
        let Some(word) = words(&rest, escape).into_iter().next() else { break };
        rest = rest.slice(word.len()..rest.len()).trimmed();
        if word.as_str() == "--" {
            break;
        }
        let (name, value) = match word.find('=') {
            Some(equals) => {
                (word.slice(2..equals), Some(unquoted(&word.slice(equals + 1..word.len()), escape)))
            }
            None => (word.slice(2..word.len()), None),
        };
        flags.push(Flag { name, value, range: word.range() });
    }
    (flags, rest)
}

/// Without quotes and escapes, as flags are read.
pub(super) fn unquoted(text: &Text, escape: char) -> Text {
    if !text.contains(['"', '\'', escape]) {
        return text.clone();
    }
    let mut value = String::new();
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match quote {
            None if matches!(character, '"' | '\'') => quote = Some(character),
            Some(open) if open == character => quote = None,
            _ if character == escape => value.extend(characters.next()),
            _ => value.push(character),
        }
    }
    Text::made_from(value, text.range())
}

/// What a text in brackets is.
pub(super) enum Json {
    /// A list of strings, unescaped.
    Strings(Vec<Text>),
    /// A list with something else in it.
    OtherThings,
    /// No JSON at all, or no list.
    No,
}

/// Reads a JSON list; each string keeps its place, quotes left out.
pub(super) fn json(text: &Text) -> Json {
    if !text.trim_start().starts_with('[') {
        return Json::No;
    }
    let Ok(serde_json::Value::Array(values)) = serde_json::from_str(text) else { return Json::No };
    let mut strings = Vec::new();
    let mut from = 0;
    for value in values {
        let serde_json::Value::String(value) = value else { return Json::OtherThings };
        let Some(inner) = string_at(text, from) else { return Json::No };
        from = inner.end + 1;
        strings.push(match text[inner.clone()] == value {
            true => text.slice(inner),
            false => Text::made_from(value, text.range_of(inner)),
        });
    }
    Json::Strings(strings)
}

/// The next JSON string from a place on, without its quotes.
fn string_at(text: &str, from: usize) -> Option<Range<usize>> {
    let start = from + text.get(from..)?.find('"')? + 1;
    let mut escaped = false;
    for (at, character) in text[start..].char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(start..start + at),
            _ => {}
        }
    }
    None
}
