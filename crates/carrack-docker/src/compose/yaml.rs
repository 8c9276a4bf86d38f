//! YAML text as nodes that know their place.
//!
//! Aliases and merge keys (`<<`) are gone afterwards; the tags `!reset` and `!override` are kept for merging. Plain
//! scalars are what YAML 1.2 says, with the numbers of docker compose (`017` and `0x0f` are 15, `1.0` is 1). Keys are text,
//! and each is there once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use carrack_base::{SourceText, Span};
use granit_parser::{Event, Parser, ScalarStyle, Tag, options};

use super::error::{ComposeError, Invalid};

/// Aliases may repeat this many nodes. Files that people write stay far below.
const MOST_REPEATED: usize = 100_000;

/// One value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) span: Span,
    pub(super) directive: Option<Directive>,
}

/// What merging does with a node beyond the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    /// `!reset`: neither this nor what it would have been merged into.
    Reset,
    /// `!override`: this and nothing of what it would have been merged into.
    Override,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As docker compose would print it.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// A key with its place.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Span,
}

/// Entries in the order of the text.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<(Key, Node)>,
}

impl Map {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    pub(super) fn entry(&self, key: &str) -> Option<&(Key, Node)> {
        self.entries.iter().find(|(known, _)| known.text == key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|(known, _)| known.text == key).map(|(_, node)| node)
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<(Key, Node)> {
        let index = self.entries.iter().position(|(known, _)| known.text == key)?;
        Some(self.entries.remove(index))
    }

    /// Puts a value where the key is, or at the end.
    pub(super) fn set(&mut self, key: Key, node: Node) {
        match self.get_mut(&key.text) {
            Some(place) => *place = node,
            None => self.entries.push((key, node)),
        }
    }
}

impl Node {
    pub(super) fn new(value: Value, span: &Span) -> Self {
        Self { value, span: span.clone(), directive: None }
    }

    pub(super) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, for an error.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The value of a scalar as text; `None` for lists and mappings.
    pub(super) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Null => Some(String::new()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(text) | Value::Text(text) => Some(text.clone()),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    fn size(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Self::size).sum::<usize>(),
            Value::Map(map) => 1 + map.entries.iter().map(|(_, node)| node.size()).sum::<usize>(),
            _ => 1,
        }
    }
}

/// The same value, wherever it was written.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(one), Value::Bool(other)) => one == other,
            (Value::Number(one), Value::Number(other)) | (Value::Text(one), Value::Text(other)) => {
                one == other
            }
            (Value::List(one), Value::List(other)) => one == other,
            (Value::Map(one), Value::Map(other)) => {
                one.entries.len() == other.entries.len()
                    && one.entries.iter().all(|(key, node)| other.get(&key.text) == Some(node))
            }
            _ => false,
        }
    }
}

/// The documents of a text; empty ones are left out.
pub(super) fn parse(source: &Arc<SourceText>) -> Result<Vec<Node>, ComposeError> {
    let mut events = Vec::new();
    for event in Parser::new_from_str_with_options(&source.text, options! { emit_comments: false }) {
        let (event, span) = event.map_err(|error| {
            let at = error.marker().byte_offset().unwrap_or(source.text.len());
            let span = Span { source: source.clone(), range: on_a_line(&source.text, at) };
            ComposeError::Syntax { span, message: error.info() }
        })?;
        let range = offset(span.start.byte_offset())..offset(span.end.byte_offset());
        events.push((event, range));
    }
    let mut loader = Loader { source, events: events.into_iter(), anchors: BTreeMap::new(), repeated: 0 };
    let mut documents = Vec::new();
    while let Some((event, range)) = loader.events.next() {
        match event {
            Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamStart | Event::StreamEnd => {}
            event => {
                let node = loader.node(event, range)?;
                if !matches!(node.value, Value::Null) {
                    documents.push(node);
                }
            }
        }
    }
    Ok(documents)
}

/// Offsets are known for texts that are there as a whole.
fn offset(bytes: Option<usize>) -> usize {
    bytes.unwrap_or_default()
}

/// What can be marked: the word that begins at `at`, or the last character before it that does not end a line.
fn on_a_line(text: &str, at: usize) -> Range<usize> {
    let at = at.min(text.len());
    match text[at..].find(char::is_whitespace).unwrap_or(text.len() - at) {
        0 => {
            let before = text[..at].trim_end();
            before.char_indices().next_back().map_or(0, |(index, _)| index)..before.len()
        }
        length => at..at + length,
    }
}

struct Loader<'a, 'text> {
    source: &'a Arc<SourceText>,
    events: std::vec::IntoIter<(Event<'text>, Range<usize>)>,
    /// `None` while an anchor's own node is being read.
    anchors: BTreeMap<usize, Option<Node>>,
    repeated: usize,
}

impl<'text> Loader<'_, 'text> {
    fn span(&self, range: Range<usize>) -> Span {
        Span { source: self.source.clone(), range }
    }

    fn next(&mut self) -> (Event<'text>, Range<usize>) {
        self.events.next().expect("the parser ends what it begins")
    }

    fn node(&mut self, event: Event<'text>, range: Range<usize>) -> Result<Node, ComposeError> {
        let span = self.span(range);
        let (value, anchor, tag, span) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref()), anchor, tag, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.anchors.insert(anchor, None);
                let mut items = Vec::new();
                let end = loop {
                    match self.next() {
                        (Event::SequenceEnd, range) => break range.end,
                        (event, range) => items.push(self.node(event, range)?),
                    }
                };
                let span = self.whole(&span, end);
                (Value::List(items), anchor, tag, span)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.anchors.insert(anchor, None);
                let (map, end) = self.map()?;
                let span = self.whole(&span, end);
                (Value::Map(map), anchor, tag, span)
            }
            Event::Alias(anchor) => return self.alias(anchor, span),
            other => unreachable!("{other:?} is no node"),
        };
        let directive = match tag.as_deref().map(Tag::to_string).as_deref() {
            Some("!reset") => Some(Directive::Reset),
            Some("!override") => Some(Directive::Override),
            _ => None,
        };
        let node = Node { value, span, directive };
        if anchor != 0 {
            self.anchors.insert(anchor, Some(node.clone()));
        }
        Ok(node)
    }

    /// A collection's place ends with its last line of text.
    fn whole(&self, start: &Span, end: usize) -> Span {
        let text = &self.source.text[start.range.start..end.max(start.range.start)];
        self.span(start.range.start..start.range.start + text.trim_end().len())
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Node, ComposeError> {
        let node = match self.anchors.get(&anchor) {
            Some(Some(node)) => Node { span: span.clone(), ..node.clone() },
            _ => return Err(ComposeError::invalid(&span, Invalid::AliasOfItself)),
        };
        self.repeated += node.size();
        if self.repeated > MOST_REPEATED {
            return Err(ComposeError::invalid(&span, Invalid::TooManyAliases));
        }
        Ok(node)
    }

    fn map(&mut self) -> Result<(Map, usize), ComposeError> {
        let mut map = Map::default();
        let mut merged: Option<Node> = None;
        let end = loop {
            let (event, range) = self.next();
            if matches!(event, Event::MappingEnd) {
                break range.end;
            }
            let plain = matches!(&event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = self.node(event, range)?;
            let Some(text) = key.as_text() else {
                return Err(ComposeError::invalid(&key.span, Invalid::Key { found: key.kind() }));
            };
            let (event, range) = self.next();
            let mut node = self.node(event, range)?;
            // Nothing can't be marked; what it is the value of can.
            if node.span.range.is_empty() {
                node.span = key.span.clone();
            }
            let twice = map.entry(text).is_some() || (plain && text == "<<" && merged.is_some());
            if twice {
                return Err(ComposeError::invalid(&key.span, Invalid::Twice { key: text.to_owned() }));
            }
            if plain && text == "<<" {
                merged = Some(node);
            } else {
                let text = text.to_owned();
                map.entries.push((Key { text, span: key.span }, node));
            }
        };
        if let Some(merged) = merged {
            merge_keys(&mut map, merged)?;
        }
        Ok((map, end))
    }
}

/// `<<`: what is written counts before what is merged in, and of several mappings the earlier one.
fn merge_keys(map: &mut Map, merged: Node) -> Result<(), ComposeError> {
    let span = merged.span.clone();
    let sources = match merged.value {
        Value::List(items) => items,
        value => vec![Node { value, span: span.clone(), directive: None }],
    };
    for source in sources {
        let Value::Map(source) = source.value else {
            return Err(ComposeError::invalid(&span, Invalid::MergeKey));
        };
        for (key, node) in source.entries {
            if map.get(&key.text).is_none() {
                map.entries.push((key, node));
            }
        }
    }
    Ok(())
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let core = tag.filter(|tag| tag.is_yaml_core_schema()).map(Tag::suffix);
    match core {
        Some("str") => Value::Text(text.to_owned()),
        None if style != ScalarStyle::Plain => Value::Text(text.to_owned()),
        _ => plain(text),
    }
}

/// What a scalar without quotes is.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        text => number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number),
    }
}

fn number(text: &str) -> Option<String> {
    let digits = text.replace('_', "");
    let (sign, rest) = match digits.as_bytes().first()? {
        b'-' => ("-", &digits[1..]),
        b'+' => ("", &digits[1..]),
        _ => ("", &digits[..]),
    };
    match rest {
        ".inf" | ".Inf" | ".INF" => return Some(if sign == "-" { "-Inf" } else { "+Inf" }.to_owned()),
        ".nan" | ".NaN" | ".NAN" if rest.len() == digits.len() => return Some("NaN".to_owned()),
        _ => {}
    }
    if !rest.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let radix = |prefix: &str, radix| {
        let digits = rest.strip_prefix(prefix)?;
        // `from_str_radix` would take a second sign.
        digits.starts_with(|first: char| first.is_ascii_alphanumeric()).then_some(())?;
        u64::from_str_radix(digits, radix).ok()
    };
    let whole = radix("0x", 16)
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0o", 8))
        .or_else(|| if rest.len() > 1 { radix("0", 8) } else { None });
    let decimal = || if rest.bytes().all(|byte| byte.is_ascii_digit()) { rest.parse().ok() } else { None };
    if let Some(whole) = whole.or_else(decimal) {
        return Some(if whole == 0 { "0".to_owned() } else { format!("{sign}{whole}") });
    }
    let looks = rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    if !looks {
        return None;
    }
    rest.parse().ok().map(|float: f64| format!("{sign}{}", shortest(float)))
}

/// A float in as few digits as tell it apart, with an exponent where Go's `%v` has one.
fn shortest(float: f64) -> String {
    let text = format!("{float:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float != 0.0 && !(-4..21).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    format!("{float}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match plain(text) {
            Value::Number(number) => format!("number {number}"),
            Value::Text(text) => format!("text {text}"),
            other => format!("{other:?}"),
        };
        assert_eq!(shown, expected, "{text}");
    }

    /// What docker compose 2.40 makes of build arguments, but for the dates, which it refuses.
    #[test]
    fn plain_scalars() {
        for (text, number) in [
            ("1", "1"),
            ("1.0", "1"),
            ("1.5", "1.5"),
            ("1.10", "1.1"),
            ("0x10", "16"),
            ("017", "15"),
            ("0o17", "15"),
            ("0b11", "3"),
            ("1e3", "1000"),
            ("1e30", "1e+30"),
            ("1e-7", "1e-07"),
            ("1_000", "1000"),
            ("+5", "5"),
            ("-0.0", "-0"),
            ("-12", "-12"),
            ("123456789012345678901234", "1.2345678901234569e+23"),
            (".inf", "+Inf"),
        ] {
            check(text, &format!("number {number}"));
        }
        for text in ["yes", "2020-01-01", "1.2.3", "0x", "1a", "-", "e3", ".", "0-1", "v1", "1:30", "08x"] {
            check(text, &format!("text {text}"));
        }
        check("~", "Null");
        check("True", "Bool(true)");
    }
}
