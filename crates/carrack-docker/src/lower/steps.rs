//! What people see of a step: `[builder 3/7] RUN cargo build`.

use super::argument::Variables;
use crate::dockerfile::{expand, expand_known};

/// Counts the steps of one stage.
#[derive(Debug, Clone)]
pub(super) struct Steps {
    /// The stage's name, if it is said at all.
    pub(super) stage: Option<String>,
    pub(super) done: usize,
    /// Nothing is counted if there is nothing to count.
    pub(super) total: usize,
}

impl Steps {
    /// The name of the next step.
    pub(super) fn next(&mut self, text: &str, is_trigger: bool) -> String {
        if self.total == 0 {
            return text.to_owned();
        }
        self.done += 1;
        let stage = self.stage.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
        let width = self.total.to_string().len();
        let trigger = if is_trigger { "ONBUILD " } else { "" };
        format!("[{stage}{:>width$}/{}] {trigger}{text}", self.done, self.total)
    }
}

/// An instruction's line as it is shown: with its variables, its name in capitals.
pub(super) fn shown(line: &str, escape: char, variables: &Variables) -> String {
    let value_of = |name: &str| variables.get(name).map(str::to_owned);
    capital(&expand(line, escape, &value_of).unwrap_or_else(|_| line.to_owned()))
}

/// The same for a command: its quotes stay, and what the shell will know.
pub(super) fn shown_command(line: &str, escape: char, variables: &Variables, hidden: &[&str]) -> String {
    let value_of = |name: &str| match hidden.contains(&name) {
        true => Some("****".to_owned()),
        false => variables.get(name).map(str::to_owned),
    };
    capital(&expand_known(line, escape, &value_of).unwrap_or_else(|_| line.to_owned()))
}

fn capital(line: &str) -> String {
    match line.split_once(' ') {
        Some((name, rest)) => format!("{} {rest}", name.to_uppercase()),
        None => line.to_uppercase(),
    }
}

/// The first line of a here-document.
pub(super) fn summary(document: &str) -> String {
    let document = document.trim();
    match document.split_once('\n') {
        Some((first, _)) => format!("{}...", first.trim_end_matches('\r')),
        None => document.to_owned(),
    }
}
