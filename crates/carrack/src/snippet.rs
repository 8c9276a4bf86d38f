//! Shows a place in a text that a person wrote, as rustc shows it.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, Title};
use carrack_base::Span;

use crate::terminal::Terminal;

/// `error: message`, the lines of `span` with `mark` below the place, and a line end.
pub(crate) fn render(message: &str, span: &Span, mark: &str, terminal: &Terminal) -> String {
    render_title(Level::ERROR.primary_title(message), span, mark, terminal)
}

/// The same with a title of the caller's: a warning, or an error with a name.
pub(crate) fn render_title(title: Title<'_>, span: &Span, mark: &str, terminal: &Terminal) -> String {
    let source = &span.source;
    let path = shown(&source.path);
    let end = span.range.end.min(source.text.len());
    let range = span.range.start.min(end)..end;
    let annotation = AnnotationKind::Primary.span(range).label(mark);
    let snippet = Snippet::source(source.text.as_str()).path(path.as_str()).annotation(annotation);
    let report = [title.element(snippet)];
    let renderer = if terminal.has_colour() { Renderer::styled() } else { Renderer::plain() };
    format!("{}\n", renderer.render(&report))
}

/// Relative to where the user is, if it lies below.
pub(crate) fn shown(path: &std::path::Path) -> String {
    let here = std::env::current_dir().ok();
    let relative = here.as_deref().and_then(|here| path.strip_prefix(here).ok());
    relative.unwrap_or(path).display().to_string()
}
