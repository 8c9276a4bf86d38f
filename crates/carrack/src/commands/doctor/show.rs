//! The report for people and for programs.

use anstyle::Style;
use serde_json::json;

use super::finding::{Finding, Group, State};
use crate::engine::EngineName;
use crate::terminal::Terminal;

/// Version of the JSON document; fields are only ever added under the same number.
const FORMAT: u64 = 1;
/// Where the text of a line begins.
const INDENT: usize = 33;

/// A heading for each group, a line for each finding, the command that mends it below.
pub(super) fn text(findings: &[Finding], terminal: &Terminal) -> String {
    let mut text = String::new();
    for group in Group::ALL {
        let findings: Vec<_> = findings.iter().filter(|finding| finding.check.group() == group).collect();
        if findings.is_empty() {
            continue;
        }
        text.push_str(&format!("{}\n", terminal.paint(Style::new().bold(), group.heading())));
        for finding in findings {
            let style = match finding.state {
                State::Ok => terminal.green(),
                State::Note => terminal.cyan(),
                State::Warning => terminal.yellow(),
                State::Broken => terminal.red(),
            };
            let state = terminal.paint(style, &format!("{:>11}", finding.state.name()));
            text.push_str(&format!("{state}  {:<19} {}\n", finding.check.name(), finding.what));
            if let Some(hint) = &finding.hint {
                let word = terminal.paint(terminal.cyan(), "hint");
                text.push_str(&format!("{:INDENT$}{word}: {hint}\n", ""));
            }
        }
    }
    text.push_str(&format!("{}\n", summary(findings, terminal)));
    text
}

fn summary(findings: &[Finding], terminal: &Terminal) -> String {
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let warnings = match count(State::Warning) {
        0 => String::new(),
        1 => " · 1 warning".to_owned(),
        warnings => format!(" · {warnings} warnings"),
    };
    let (style, word, what) = match count(State::Broken) {
        0 => (terminal.green(), "Done", "nothing is broken".to_owned()),
        1 => (terminal.red(), "Done", "1 thing is broken".to_owned()),
        broken => (terminal.red(), "Done", format!("{broken} things are broken")),
    };
    format!("{}  {what}{warnings}", terminal.paint(style, &format!("{word:>11}")))
}

/// One document.
pub(super) fn json(findings: &[Finding], engine: &EngineName) -> String {
    let listed = findings.iter().map(|finding| {
        json!({
            "group": finding.check.group().heading().to_ascii_lowercase(),
            "name": finding.check.name(),
            "state": finding.state.name(),
            "what": finding.what,
            "hint": finding.hint,
        })
    });
    let document = json!({
        "format": FORMAT,
        "carrack": env!("CARGO_PKG_VERSION"),
        "engine": match engine {
            EngineName::Embedded => "embedded",
            EngineName::Docker => "docker",
            EngineName::BuildKit(_) => "buildkit",
        },
        "broken": findings.iter().any(|finding| finding.state == State::Broken),
        "findings": listed.collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}
