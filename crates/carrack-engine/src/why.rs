//! Puts the difference of two records into one line.

use carrack_graph::{Change, ChangeKind};

/// How many changes a line names before it counts the rest.
const NAMED: usize = 3;

/// One line for `changes`; `None` if there are none.
pub(crate) fn line(changes: &[Change]) -> Option<String> {
    // The command line follows from settings and services, which have fields of their own.
    let telling = |change: &&Change| change.field != "argv";
    let alone = !changes.iter().any(|change| telling(&change));
    join(changes.iter().filter(|change| alone || telling(change)).map(phrase).collect())
}

/// One line for changes that are words already.
pub(crate) fn join(mut phrases: Vec<String>) -> Option<String> {
    phrases.dedup();
    let rest = phrases.len().saturating_sub(NAMED);
    phrases.truncate(NAMED);
    let named = phrases.join(", ");
    match (named.is_empty(), rest) {
        (true, _) => None,
        (false, 0) => Some(named),
        (false, rest) => Some(format!("{named} and {rest} more")),
    }
}

fn phrase(change: &Change) -> String {
    let verb = match change.kind {
        ChangeKind::Changed => "changed",
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
    };
    let subject = match (&change.entry, change.field.as_str()) {
        (Some(entry), "label") => format!("label {entry}"),
        (Some(entry), _) => entry.clone(),
        (None, "argv") => "cargo's arguments".to_owned(),
        (None, "artifacts") => "choice of services".to_owned(),
        (None, field) => field.to_owned(),
    };
    // A variable may hold a password, and what is said here ends up in logs.
    let is_variable = change.field == "env";
    match &change.values {
        Some((old, new)) if !is_variable && presentable(old) && presentable(new) => {
            format!("{subject} {verb} ({old} → {new})")
        }
        _ => format!("{subject} {verb}"),
    }
}

/// Short words help; digests and long values do not.
fn presentable(value: &str) -> bool {
    !value.is_empty() && value.len() <= 40 && !value.contains(['\n', '='])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(field: &str, entry: Option<&str>, values: Option<(&str, &str)>) -> Change {
        Change {
            field: field.to_owned(),
            entry: entry.map(str::to_owned),
            kind: ChangeKind::Changed,
            values: values.map(|(old, new)| (old.to_owned(), new.to_owned())),
        }
    }

    #[test]
    fn a_line_names_three_and_counts_the_rest() {
        let files = ["a.rs", "b.rs", "c.rs", "d.rs", "e.rs"].map(|name| change("sources", Some(name), None));
        assert_eq!(line(&files[..1]).as_deref(), Some("a.rs changed"));
        assert_eq!(line(&files).as_deref(), Some("a.rs changed, b.rs changed, c.rs changed and 2 more"));
        assert_eq!(line(&[change("argv", None, None), files[0].clone()]).as_deref(), Some("a.rs changed"));
        assert_eq!(line(&[change("argv", None, None)]).as_deref(), Some("cargo's arguments changed"));
        assert_eq!(line(&[]), None);
        let rustc = change("rustc", None, Some(("1.94.0", "1.95.0")));
        let variable = change("env", Some("TOKEN"), Some(("old", "new")));
        assert_eq!(line(&[variable]).as_deref(), Some("TOKEN changed"));
        assert_eq!(line(&[rustc]).as_deref(), Some("rustc changed (1.94.0 → 1.95.0)"));
    }
}
