//! Findings as text, as JSON and as SARIF 2.1.0.

use annotate_snippets::Level;
use carrack_base::Span;
use carrack_docker::check::{
    CHECKS, DOCKER_CHECKS, DockerFinding, DockerReport, Edit, Finding, Fix, Severity,
};
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

/// What a check found.
pub(in crate::commands) enum Found {
    /// One of Carrack's.
    Ours(Finding),
    /// One of Docker's, which the Dockerfile itself may make an error.
    Dockers(DockerFinding, Severity),
}

impl Found {
    /// Everything that Docker's checks found.
    pub(in crate::commands) fn of_docker(report: DockerReport) -> impl Iterator<Item = Self> {
        let severity = if report.are_errors { Severity::Error } else { Severity::Warning };
        report.findings.into_iter().map(move |finding| Self::Dockers(finding, severity))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ours(finding) => finding.check.name,
            Self::Dockers(finding, _) => finding.check.name,
        }
    }

    pub(super) fn severity(&self) -> Severity {
        match self {
            Self::Ours(finding) => finding.check.severity,
            Self::Dockers(_, severity) => *severity,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Ours(finding) => finding.check.title,
            Self::Dockers(finding, _) => finding.check.title,
        }
    }

    pub(super) fn span(&self) -> &Span {
        match self {
            Self::Ours(finding) => &finding.span,
            Self::Dockers(finding, _) => &finding.span,
        }
    }

    fn mark(&self) -> &str {
        match self {
            Self::Ours(finding) => &finding.mark,
            Self::Dockers(finding, _) => &finding.mark,
        }
    }

    fn why(&self) -> Option<&'static str> {
        match self {
            Self::Ours(finding) => Some(finding.check.why),
            Self::Dockers(..) => None,
        }
    }

    /// What to do.
    fn hint(&self) -> Option<&str> {
        match self {
            Self::Ours(finding) => Some(finding.hint()),
            Self::Dockers(..) => None,
        }
    }

    /// Where more is said, if not in this repository.
    fn url(&self) -> Option<String> {
        match self {
            Self::Ours(_) => None,
            Self::Dockers(finding, _) => Some(finding.check.url()),
        }
    }

    pub(super) fn fix(&self) -> Option<&Fix> {
        match self {
            Self::Ours(finding) => finding.fix.as_ref(),
            Self::Dockers(..) => None,
        }
    }
}

pub(in crate::commands) fn text(findings: &[Found], terminal: &Terminal) -> String {
    let mut text = String::new();
    for finding in findings {
        let level = match finding.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(finding.title()).id(finding.name());
        text.push_str(&snippet::render_title(title, finding.span(), finding.mark(), terminal));
        if let Some(why) = finding.why() {
            text.push_str(&format!("  {why}\n"));
        }
        let hint = terminal.paint(terminal.cyan(), "hint");
        let fixable = if finding.fix().is_some() { " (--fix does it)" } else { "" };
        match (finding.hint(), finding.url()) {
            (Some(said), _) => text.push_str(&format!("{hint}: {said}{fixable}\n\n")),
            (None, Some(url)) => text.push_str(&format!("{hint}: see {url}\n\n")),
            (None, None) => text.push('\n'),
        }
    }
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity() == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors + warnings > 0 {
        let (error, warning) = (plural(errors, "error"), plural(warnings, "warning"));
        text.push_str(&format!("{errors} {error}, {warnings} {warning}\n"));
    }
    text
}

/// Line and column of a byte, from 1; columns are characters.
pub(in crate::commands) fn position(text: &str, at: usize) -> (usize, usize) {
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
pub(super) fn json(findings: &[Found]) -> String {
    let line = |finding: &Found| {
        let span = finding.span();
        let (line, column) = position(&span.source.text, span.range.start);
        let (end_line, end_column) = position(&span.source.text, span.range.end);
        let object = json!({
            "check": finding.name(),
            "severity": severity(finding.severity()),
            "path": snippet::shown(&span.source.path),
            "line": line,
            "column": column,
            "end_line": end_line,
            "end_column": end_column,
            "title": finding.title(),
            "mark": finding.mark(),
            "why": finding.why(),
            "hint": finding.hint(),
            "url": finding.url(),
            "fix": finding.fix().map(|fix| &fix.description),
        });
        format!("{object}\n")
    };
    findings.iter().map(line).collect()
}

pub(super) fn sarif(findings: &[Found]) -> String {
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
    let rules = rules.chain(DOCKER_CHECKS.iter().map(|check| {
        json!({
            "id": check.name,
            "shortDescription": {"text": check.title},
            "fullDescription": {"text": check.title},
            "help": {"text": format!("See {}.", check.url())},
            "helpUri": check.url(),
            "defaultConfiguration": {"level": severity(Severity::Warning), "enabled": !check.experimental},
        })
    }));
    let names: Vec<&str> =
        CHECKS.iter().map(|check| check.name).chain(DOCKER_CHECKS.iter().map(|check| check.name)).collect();
    let results = findings.iter().map(|finding| {
        let text = &finding.span().source.text;
        let artifact = json!({"uri": uri(&snippet::shown(&finding.span().source.path))});
        let index = names.iter().position(|name| *name == finding.name());
        let hint = finding.hint().map(|hint| format!(" {hint}.")).unwrap_or_default();
        let mut result = json!({
            "ruleId": finding.name(),
            "ruleIndex": index,
            "level": severity(finding.severity()),
            "message": {"text": format!("{}: {}.{hint}", finding.title(), finding.mark())},
            "locations": [{"physicalLocation": {
                "artifactLocation": artifact,
                "region": region(text, &finding.span().range),
            }}],
        });
        if let Some(fix) = finding.fix()
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
