use std::fmt;
use std::ops::{Deref, Range};

/// A part of a source text after its lines were joined: every byte knows where it came from.
///
/// It is what the person wrote: variables are not expanded and quotes are kept, unless its field says otherwise.
/// Where the text is no copy (an escape in JSON, a stripped tab) a place in it leads to the whole of what it was made
/// from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    value: String,
    /// In order; each reaches to the start of the next.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    start: usize,
    source: Range<usize>,
}

impl Text {
    /// A copy of the source's bytes from `at`.
    pub(crate) fn copied(value: &str, at: usize) -> Self {
        Self { value: value.to_owned(), pieces: vec![Piece { start: 0, source: at..at + value.len() }] }
    }

    /// Something that stands for the source's bytes in `range`.
    pub(crate) fn made_from(value: String, range: Range<usize>) -> Self {
        Self { value, pieces: vec![Piece { start: 0, source: range }] }
    }

    /// Appends a copy of the source's bytes from `at`.
    pub(crate) fn push(&mut self, value: &str, at: usize) {
        if !value.is_empty() {
            self.pieces.push(Piece { start: self.value.len(), source: at..at + value.len() });
            self.value.push_str(value);
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.value
    }

    /// First byte in the source and the byte behind the last, with everything between them.
    pub fn range(&self) -> Range<usize> {
        self.range_of(0..self.value.len())
    }

    /// The same for a part of this text.
    pub fn range_of(&self, part: Range<usize>) -> Range<usize> {
        let start = self.locate(part.start).map_or(0, |(piece, offset, copied)| match copied {
            true => piece.source.start + offset,
            false => piece.source.start,
        });
        if part.is_empty() {
            return start..start;
        }
        let end = self.locate(part.end - 1).map_or(start, |(piece, offset, copied)| match copied {
            true => piece.source.start + offset + 1,
            false => piece.source.end,
        });
        start..end.max(start)
    }

    /// A part of this text.
    ///
    /// # Panics
    /// If `part` does not lie on character boundaries of this text.
    pub fn slice(&self, part: Range<usize>) -> Self {
        let value = self.value[part.clone()].to_owned();
        if part.is_empty() {
            return Self::made_from(value, self.range_of(part));
        }
        let ends = self.pieces.iter().skip(1).map(|piece| piece.start).chain([self.value.len()]);
        let pieces = self.pieces.iter().zip(ends).filter_map(|(piece, end)| {
            let (from, to) = (piece.start.max(part.start), end.min(part.end));
            (from < to).then(|| Piece { start: from - part.start, source: self.range_of(from..to) })
        });
        Self { pieces: pieces.collect(), value }
    }

    /// Without white space at both ends.
    pub fn trimmed(&self) -> Self {
        let start = self.value.len() - self.value.trim_start().len();
        let end = self.value.trim_end().len().max(start);
        self.slice(start..end)
    }

    /// The piece that holds a byte, the offset in it, and whether it is a copy.
    fn locate(&self, at: usize) -> Option<(&Piece, usize, bool)> {
        let index = self.pieces.partition_point(|piece| piece.start <= at).checked_sub(1)?;
        let piece = &self.pieces[index];
        let end = self.pieces.get(index + 1).map_or(self.value.len(), |next| next.start);
        Some((piece, at - piece.start, end - piece.start == piece.source.len()))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_knows_its_place() {
        let source = "RUN ab \\\n  cd";
        let mut text = Text::copied("RUN ab ", 0);
        text.push("  cd", 9);
        assert_eq!(text.as_str(), "RUN ab   cd");
        assert_eq!(&source[text.range_of(4..6)], "ab");
        assert_eq!(&source[text.range_of(9..11)], "cd");
        assert_eq!(&source[text.range_of(4..11)], "ab \\\n  cd");
        assert_eq!(&source[text.slice(5..10).range_of(4..5)], "c");
        assert_eq!(text.slice(7..11).trimmed().range(), 11..13);
        assert_eq!(text.slice(4..4).range(), 4..4);
    }

    #[test]
    fn what_is_no_copy_leads_to_its_whole_source() {
        let text = Text::made_from("a\tb".to_owned(), 10..16);
        assert_eq!(text.range_of(1..2), 10..16);
        assert_eq!(text.slice(0..1).range(), 10..16);
    }
}
