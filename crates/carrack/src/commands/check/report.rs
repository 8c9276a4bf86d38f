//! Findings as text, as JSON and as SARIF 2.1.0.

use annotate_snippets::Level;
use carrack_docker::check::{CHECKS, Edit, Finding, Severity};
use serde_json::{Value, json};

use crate::progress::plural;
use crate::snippet;
use crate::terminal::Terminal;

pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

pub(super) fn text(findings: &[Finding], terminal: &Terminal) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.check.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(finding.check.title).id(finding.check.name);
        text.push_str(&snippet::render_title(title, &finding.span, &finding.mark, terminal));
        let hint = terminal.paint(terminal.cyan(), "hint");
        let fixable = if finding.fix.is_some() { " (--fix does it)" } else { "" };
        text.push_str(&format!("  {}\n{hint}: {}{fixable}\n\n", finding.check.why, finding.hint()));
    }
    let count =
        |severity: Severity| findings.iter().filter(|finding| finding.check.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors + warnings > 0 {
        let (error, warning) = (plural(errors, "error"), plural(warnings, "warning"));
        text.push_str(&format!("{errors} {error}, {warnings} {warning}\n"));
    }
    text
}

/// Line and column of a byte, from 1; columns are characters.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn region(text: &str, range: &std::ops::Range<usize>) -> Value {
    let (line, column) = position(text, range.start);
    let (end_line, end_column) = position(text, range.end);
    json!({"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column})
}

/// One object a line.
pub(super) fn json(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let text = &finding.span.source.text;
        let (line, column) = position(text, finding.span.range.start);
        let (end_line, end_column) = position(text, finding.span.range.end);
        let object = json!({
            "check": finding.check.name,
            "severity": severity(finding.check.severity),
            "path": snippet::shown(&finding.span.source.path),
            "line": line,
            "column": column,
            "end_line": end_line,
            "end_column": end_column,
            "title": finding.check.title,
            "mark": finding.mark,
            "why": finding.check.why,
            "hint": finding.hint(),
            "fix": finding.fix.as_ref().map(|fix| &fix.description),
        });
        format!("{object}\n")
    };
    findings.iter().map(line).collect()
}

pub(super) fn sarif(findings: &[Finding]) -> String {
    // Where pages are read is known once the program says where its repository is.
    let repository = env!("CARGO_PKG_REPOSITORY");
    let rules = CHECKS.iter().map(|check| {
        let mut rule = json!({
            "id": check.name,
            "shortDescription": {"text": check.title},
            "fullDescription": {"text": check.why},
            "help": {"text": format!("{}. See docs/checks/{}.md.", check.hint, check.name)},
            "defaultConfiguration": {"level": severity(check.severity)},
        });
        if !repository.is_empty() {
            rule["helpUri"] = json!(format!("{repository}/blob/main/docs/checks/{}.md", check.name));
        }
        rule
    });
    let results = findings.iter().map(|finding| {
        let text = &finding.span.source.text;
        let artifact = json!({"uri": uri(&snippet::shown(&finding.span.source.path))});
        let index = CHECKS.iter().position(|check| check.name == finding.check.name);
        let mut result = json!({
            "ruleId": finding.check.name,
            "ruleIndex": index,
            "level": severity(finding.check.severity),
            "message": {"text": format!("{}: {}. {}.", finding.check.title, finding.mark, finding.hint())},
            "locations": [{"physicalLocation": {
                "artifactLocation": artifact,
                "region": region(text, &finding.span.range),
            }}],
        });
        if let Some(fix) = &finding.fix
            && let Edit::Replace { range, with } = &fix.edit
        {
            result["fixes"] = json!([{
                "description": {"text": fix.description},
                "artifactChanges": [{
                    "artifactLocation": artifact,
                    "replacements": [{
                        "deletedRegion": region(text, range),
                        "insertedContent": {"text": with},
                    }],
                }],
            }]);
        }
        result
    });
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "carrack check",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results.collect::<Vec<_>>(),
        }],
    });
    format!("{log:#}\n")
}

/// A path as a reference: relative if it is, with everything escaped that a reference can't have.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'~' => uri.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_characters() {
        assert_eq!(position("aé\nbü c", 0), (1, 1));
        assert_eq!(position("aé\nbü c", 3), (1, 3));
        assert_eq!(position("aé\nbü c", 8), (2, 4));
        assert_eq!(uri("a b/ä.Dockerfile"), "a%20b/%C3%A4.Dockerfile");
        assert_eq!(uri("/x/Dockerfile"), "file:///x/Dockerfile");
    }
}
