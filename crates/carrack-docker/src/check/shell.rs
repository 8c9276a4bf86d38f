//! Shell commands, as far as a check needs them: words, what divides commands, where output goes.
//!
//! Knows quotes, escapes, comments, redirections, assignments, and `sh -c '…'`. Does not run anything in its head:
//! what stands in `$(…)` is a part of a word, loops and conditions are commands one after the other.

use std::ops::Range;

use crate::dockerfile::Text;

/// What stands between two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// Nothing: the beginning or the end.
    Edge,
    And,
    Or,
    /// `;`, `&` or a line end.
    Then,
    Pipe,
}

/// A simple command.
#[derive(Debug, Clone)]
pub(super) struct ShellCommand {
    pub(super) assignments: Vec<(String, String)>,
    pub(super) words: Vec<Word>,
    /// Files that output is written to.
    pub(super) outputs: Vec<Word>,
    pub(super) before: Operator,
    pub(super) after: Operator,
    /// Where it starts in the source, with its assignments.
    pub(super) start: usize,
    /// Whether something can be inserted in front of it.
    pub(super) in_shell: bool,
    /// Whether the shell stops at the first command that fails.
    pub(super) stops: bool,
    /// Whether a pipe fails if any of its commands does.
    pub(super) pipe_fails: bool,
}

/// A word without its quotes.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) value: String,
    pub(super) range: Range<usize>,
}

impl ShellCommand {
    /// Without what only runs another program.
    pub(super) fn program(&self) -> Option<(&str, &[Word])> {
        const WRAPPERS: [&str; 9] = ["sudo", "env", "time", "nice", "exec", "command", "then", "do", "if"];
        let mut words = &self.words[..];
        while let [first, rest @ ..] = words {
            let name = first.value.rsplit('/').next().unwrap_or_default();
            let skipped = WRAPPERS.contains(&name) || ["else", "!", "{", "while"].contains(&name);
            if !skipped && !is_assignment(&first.value) {
                return Some((name, rest));
            }
            words = rest;
        }
        None
    }
}

fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The commands of a script. `stops` and `pipe_fails` are what the shell was started with.
pub(super) fn commands(script: &Text, mut stops: bool, mut pipe_fails: bool) -> Vec<ShellCommand> {
    let mut commands: Vec<ShellCommand> = Vec::new();
    let mut before = Operator::Edge;
    let mut lexer = Lexer { script, at: 0 };
    loop {
        let (mut command, after) = lexer.command(before);
        command.after = after.unwrap_or(Operator::Edge);
        command.stops = stops;
        command.pipe_fails = pipe_fails;
        if command.words.first().is_some_and(|word| word.value == "set") {
            for word in &command.words[1..] {
                stops |=
                    word.value.starts_with('-') && word.value.contains('e') && !word.value.starts_with("--");
                pipe_fails |= word.value == "pipefail";
            }
        }
        let is_empty = command.words.is_empty() && command.outputs.is_empty();
        if !is_empty {
            let inner = inner_script(&command, script);
            commands.push(command);
            if let Some((script, flags)) = inner {
                commands.extend(self::commands(&script, flags.contains('e'), false));
            }
        }
        match after {
            // Several line ends in a row are one.
            Some(operator) if !is_empty => before = operator,
            Some(_) => {}
            None => return commands,
        }
    }
}

/// The script of `sh -c 'script'`, and the flags.
fn inner_script(command: &ShellCommand, script: &Text) -> Option<(Text, String)> {
    let (program, words) = command.program()?;
    let [flags, word, ..] = words else { return None };
    if !["sh", "bash", "ash", "dash"].contains(&program)
        || !flags.value.starts_with('-')
        || !flags.value.ends_with('c')
    {
        return None;
    }
    // Only what is written there letter by letter has places.
    let at = script.find(&word.value)?;
    let inner = script.slice(at..at + word.value.len());
    (inner.range().start >= word.range.start).then(|| (inner, flags.value.clone()))
}

struct Lexer<'s> {
    script: &'s Text,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.script.as_str()[self.at..]
    }

    fn command(&mut self, before: Operator) -> (ShellCommand, Option<Operator>) {
        let mut command = ShellCommand {
            assignments: Vec::new(),
            words: Vec::new(),
            outputs: Vec::new(),
            before,
            after: Operator::Edge,
            start: 0,
            in_shell: true,
            stops: false,
            pipe_fails: false,
        };
        let mut started = false;
        loop {
            self.skip_space();
            let rest = self.rest();
            let Some(first) = rest.chars().next() else { return (command, None) };
            let operators = [
                ("&&", Operator::And),
                ("||", Operator::Or),
                (";", Operator::Then),
                ("\n", Operator::Then),
                ("|", Operator::Pipe),
                ("(", Operator::Then),
                (")", Operator::Then),
            ];
            if let Some((text, operator)) = operators.iter().find(|(text, _)| rest.starts_with(text)) {
                self.at += text.len();
                return (command, Some(*operator));
            }
            if first == '&' && !rest.starts_with("&>") {
                self.at += 1;
                return (command, Some(Operator::Then));
            }
            if !started {
                command.start = self.script.range_of(self.at..self.at + first.len_utf8()).start;
                started = true;
            }
            let digits = rest.len() - rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
            let behind = rest[digits..].strip_prefix('&').unwrap_or(&rest[digits..]);
            if behind.starts_with('>') || behind.starts_with('<') {
                let writes = behind.starts_with('>');
                let signs = behind.len() - behind.trim_start_matches(['>', '<', '&', '|']).len();
                self.at += rest.len() - behind.len() + signs;
                self.skip_space();
                let target = self.word();
                if writes {
                    command.outputs.push(target);
                }
                continue;
            }
            let word = self.word();
            match word.value.split_once('=') {
                Some((name, value)) if command.words.is_empty() && is_assignment(&word.value) => {
                    command.assignments.push((name.to_owned(), value.to_owned()));
                }
                _ => command.words.push(word),
            }
        }
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\r']);
            let mut skipped = rest.len() - trimmed.len();
            if trimmed.starts_with("\\\n") {
                skipped += 2;
            } else if trimmed.starts_with('#') {
                skipped += trimmed.find('\n').unwrap_or(trimmed.len());
            }
            if skipped == 0 {
                return;
            }
            self.at += skipped;
        }
    }

    /// The word that starts here. Variables in it stay.
    fn word(&mut self) -> Word {
        let start = self.at;
        let mut value = String::new();
        let mut quote: Option<char> = None;
        while let Some(character) = self.rest().chars().next() {
            let length = character.len_utf8();
            match quote {
                None if " \t\r\n;&|()<>".contains(character) => break,
                None if matches!(character, '"' | '\'') => quote = Some(character),
                Some(open) if open == character => quote = None,
                _ if character == '\\' && quote != Some('\'') => {
                    self.at += 1;
                    if let Some(escaped) = self.rest().chars().next() {
                        value.push(escaped);
                        self.at += escaped.len_utf8();
                    }
                    continue;
                }
                _ if character == '$' && self.rest().starts_with("$(") && quote != Some('\'') => {
                    let end = closing(self.rest());
                    value.push_str(&self.rest()[..end]);
                    self.at += end;
                    continue;
                }
                _ => value.push(character),
            }
            self.at += length;
        }
        Word { value, range: self.script.range_of(start..self.at) }
    }
}

/// The end of `$(…)`, with what is nested in it.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 1 => return at + 1,
            ')' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(script: &str) -> Vec<String> {
        let commands = commands(&Text::copied(script, 0), false, false);
        let shown = commands.iter().map(|command| {
            let words: Vec<&str> = command.words.iter().map(|word| word.value.as_str()).collect();
            let outputs: Vec<&str> = command.outputs.iter().map(|word| word.value.as_str()).collect();
            format!("{} > {} {:?}", words.join("·"), outputs.join("·"), command.after)
        });
        shown.collect()
    }

    #[test]
    fn scripts_are_cut_into_commands() {
        let script = "mkdir -p src && echo 'fn main() {}' > src/main.rs; A=1 cargo build --release 2>&1 || true # no\n\n(x | y)";
        assert_eq!(
            shown(script),
            [
                "mkdir·-p·src >  And",
                "echo·fn main() {} > src/main.rs Then",
                "cargo·build·--release > 1 Or",
                "true >  Then",
                "x >  Pipe",
                "y >  Then",
            ]
        );
    }

    #[test]
    fn scripts_within_scripts_are_read() {
        let script = "bash -ec \"cargo build; cp a b\" && x $(y && z)";
        let commands = commands(&Text::copied(script, 10), false, false);
        assert_eq!(commands[1].words[0].value, "cargo");
        assert_eq!(commands[1].words[0].range, 20..25);
        assert!(commands[1].stops && !commands[0].stops);
        assert_eq!(commands[3].words[1].value, "$(y && z)");
    }

    #[test]
    fn what_is_left_open_ends_somewhere() {
        for script in ["echo 'a", "echo \"", "a \\", "$(", ">", "&", "|", "sh -c", "2>&1", "a &> b", "<<E"] {
            commands(&Text::copied(script, 0), false, false);
        }
    }
}
