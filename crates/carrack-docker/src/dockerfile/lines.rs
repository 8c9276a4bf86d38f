//! The outermost layer of the syntax: directives, comments, line continuations, here-documents' bodies.
//!
//! Gives one [`Line`] for each instruction, joined. Knows of instructions only which of them may have here-documents.

use std::ops::Range;

use super::ast::{Comment, Directive};
use super::error::Problem;
use super::heredoc::{self, Opening};
use super::text::Text;

/// An instruction's line, joined, and what stands above it and belongs to it.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: Text,
    /// The comment lines directly above.
    pub(super) comments: Vec<Comment>,
    pub(super) heredocs: Vec<(Opening, Text)>,
    /// From the first letter to the end of the last line, with here-documents.
    pub(super) range: Range<usize>,
}

/// What was found besides instructions.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) directives: Vec<Directive>,
    pub(super) escape: char,
    pub(super) lines: Vec<Line>,
}

/// A problem and its place.
pub(super) type Placed = (Range<usize>, Problem);

/// Physical lines, each with where it starts, without its line end.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Iterator for Reader<'t> {
    type Item = (usize, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        self.at += length;
        let line = rest[..length].trim_end_matches('\n');
        Some((start, line.strip_suffix('\r').unwrap_or(line)))
    }
}

pub(super) fn split(text: &str) -> Result<Lines, Placed> {
    let mut reader = Reader { text, at: 0 };
    if text.starts_with('\u{feff}') {
        reader.at = '\u{feff}'.len_utf8();
    }
    let mut found = Lines { directives: Vec::new(), escape: '\\', lines: Vec::new() };
    let mut comments = Vec::new();
    let mut directives_over = false;
    while let Some((start, physical)) = reader.next() {
        let trimmed = physical.trim_start();
        let indent = physical.len() - trimmed.len();
        if let Some(comment) = trimmed.strip_prefix('#') {
            let directive = if directives_over { None } else { directive(comment, start + indent + 1) };
            match directive {
                Some(directive) => add_directive(&mut found, directive)?,
                None => directives_over = true,
            }
            comments
                .push(Comment { text: Text::copied(comment.trim(), place(physical, comment.trim(), start)) });
            continue;
        }
        directives_over = true;
        if trimmed.is_empty() {
            comments.clear();
            continue;
        }
        let mut joined = Text::default();
        let (mut part, mut continues) = without_continuation(trimmed, found.escape);
        joined.push(part, start + indent);
        let mut end = start + physical.len();
        while continues {
            let Some((start, physical)) = reader.next() else { break };
            let trimmed = physical.trim_start();
            if trimmed.starts_with('#') || trimmed.is_empty() {
                continue;
            }
            (part, continues) = without_continuation(physical, found.escape);
            joined.push(part, start);
            end = start + physical.len();
        }
        // A lone continuation character is no instruction.
        let joined = joined.trimmed();
        if joined.is_empty() {
            continue;
        }
        let mut heredocs = Vec::new();
        if heredoc::may_follow(&joined) {
            for opening in heredoc::openings(&joined, found.escape) {
                let (body, after) = body(&mut reader, &opening)?;
                end = after;
                heredocs.push((opening, body));
            }
        }
        let range = joined.range().start..end;
        found.lines.push(Line { text: joined, comments: std::mem::take(&mut comments), heredocs, range });
    }
    Ok(found)
}

/// Where `part`, which lies in `whole`, starts in the source.
fn place(whole: &str, part: &str, start: usize) -> usize {
    start + (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize)
}

/// `key = value`, with a key of letters and digits that means something.
fn directive(comment: &str, start: usize) -> Option<Directive> {
    let (key, value) = comment.split_once('=')?;
    let (name, content) = (key.trim(), value.trim());
    let known = ["syntax", "escape", "check"].iter().any(|known| name.eq_ignore_ascii_case(known));
    (known && !content.is_empty()).then(|| Directive {
        name: Text::copied(name, place(comment, name, start)),
        value: Text::copied(content, place(comment, content, start)),
    })
}

fn add_directive(found: &mut Lines, directive: Directive) -> Result<(), Placed> {
    let same = |known: &&Directive| known.name.eq_ignore_ascii_case(&directive.name);
    if found.directives.iter().find(same).is_some() {
        return Err((directive.name.range(), Problem::DirectiveTwice { name: directive.name.to_string() }));
    }
    if directive.name.eq_ignore_ascii_case("escape") {
        found.escape = match directive.value.as_str() {
            "\\" => '\\',
            "`" => '`',
            other => return Err((directive.value.range(), Problem::BadEscape { found: other.to_owned() })),
        };
    }
    found.directives.push(directive);
    Ok(())
}

/// The line without the character that continues it, and whether it had one: a doubled one continues nothing.
fn without_continuation(line: &str, escape: char) -> (&str, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}

/// Reads up to the line that ends a here-document; gives its text and the end of that line.
fn body(reader: &mut Reader<'_>, opening: &Opening) -> Result<(Text, usize), Placed> {
    let mut body = Text::made_from(String::new(), reader.at..reader.at);
    while let Some((start, physical)) = reader.next() {
        let line = if opening.strips_tabs { physical.trim_start_matches('\t') } else { physical };
        let place = start + physical.len() - line.len();
        if line == opening.name {
            return Ok((body, start + physical.len()));
        }
        if body.is_empty() {
            body = Text::default();
        }
        body.push(&reader.text[place..reader.at], place);
    }
    Err((opening.word.range(), Problem::UnendedHeredoc { name: opening.name.clone() }))
}
