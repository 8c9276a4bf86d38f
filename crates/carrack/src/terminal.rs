//! What standard error and standard output can show, decided once.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

/// What one of them can show.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    terminal: bool,
    colour: bool,
    moving: bool,
}

impl Terminal {
    /// Looks at standard error and at `NO_COLOR`, `CLICOLOR_FORCE`, `CI` and `TERM`.
    pub(crate) fn of_stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    /// The same for standard output.
    pub(crate) fn of_stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    fn of(terminal: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let colour = !set("NO_COLOR") && (set("CLICOLOR_FORCE") || (terminal && !dumb));
        Self { terminal, colour, moving: terminal && !dumb && !set("CI") }
    }

    /// Whether the last line may move.
    pub(crate) fn is_live(&self) -> bool {
        self.moving
    }

    /// Whether a person sits in front of it.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether colours are wanted and shown.
    pub(crate) fn has_colour(&self) -> bool {
        self.colour
    }

    /// `text` in `style`, or as it is where there are no colours.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    pub(crate) fn green(&self) -> Style {
        AnsiColor::Green.on_default().bold()
    }

    pub(crate) fn yellow(&self) -> Style {
        AnsiColor::Yellow.on_default().bold()
    }

    pub(crate) fn red(&self) -> Style {
        AnsiColor::Red.on_default().bold()
    }

    pub(crate) fn cyan(&self) -> Style {
        AnsiColor::Cyan.on_default().bold()
    }
}
