use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A file that a person wrote, kept so that an error can show its lines.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Where it was read, as it should be shown.
    pub path: PathBuf,
    /// The whole text.
    pub text: String,
}

/// A place in a source text. Offsets are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub source: Arc<SourceText>,
    /// First byte and the byte behind the last.
    pub range: Range<usize>,
}
