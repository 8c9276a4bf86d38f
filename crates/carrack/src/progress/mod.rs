//! Shows a build's events: live on a terminal, as lines elsewhere, as JSON for programs, or not at all.
//!
//! Everything goes to standard error; standard output carries results only. A step's own output (the compiler's
//! warnings and errors) passes through byte for byte.

mod live;
mod plain;
mod words;

use std::io::Write;
use std::sync::Mutex;

use carrack_base::{BuildEvent, EventSink, StepId, StepOutcome};

use crate::terminal::Terminal;

pub(crate) use words::{bytes, plural};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Progress {
    /// Live on a terminal, lines elsewhere.
    #[default]
    Auto,
    /// Live, with cursor movements.
    Tty,
    /// One line for each piece of news.
    Plain,
    /// One JSON object for each piece of news.
    Rawjson,
    /// Nothing but a failed build's own output.
    Quiet,
}

/// What steps wrote, kept until it is known which of them failed.
#[derive(Default)]
pub(crate) struct Held {
    output: Vec<(StepId, Vec<u8>)>,
    failed: Vec<StepId>,
}

/// Takes a build's events and shows them.
pub(crate) enum View {
    Live(live::Live),
    Plain(plain::Plain),
    Rawjson(Mutex<()>),
    Quiet(Mutex<Held>),
}

impl View {
    /// The view for `progress` on this terminal.
    pub(crate) fn new(progress: Progress, terminal: &Terminal) -> Self {
        match progress {
            Progress::Auto if terminal.is_live() => Self::Live(live::Live::new(terminal)),
            Progress::Tty => Self::Live(live::Live::new(terminal)),
            Progress::Auto | Progress::Plain => Self::Plain(plain::Plain::new(terminal)),
            Progress::Rawjson => Self::Rawjson(Mutex::new(())),
            Progress::Quiet => Self::Quiet(Mutex::default()),
        }
    }

    /// One line of advice for a person, after everything else.
    pub(crate) fn hint(&self, text: &str) {
        if matches!(self, Self::Live(_) | Self::Plain(_)) {
            write(format!("  {text}\n").as_bytes());
        }
    }

    /// Ends the view before an error is printed. A quiet view gives out what the failed step wrote.
    pub(crate) fn finish(&self, failed: bool) {
        match self {
            Self::Live(live) => live.finish(),
            Self::Plain(plain) => plain.close(),
            Self::Quiet(held) if failed => {
                let held = held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let of_failed =
                    |(step, _): &&(StepId, Vec<u8>)| held.failed.is_empty() || held.failed.contains(step);
                held.output.iter().filter(of_failed).for_each(|(_, bytes)| write(bytes));
            }
            Self::Rawjson(_) | Self::Quiet(_) => {}
        }
    }
}

impl EventSink for View {
    fn emit(&self, event: BuildEvent) {
        match self {
            Self::Live(live) => live.emit(&event),
            Self::Plain(plain) => plain.emit(&event),
            Self::Rawjson(lock) => {
                let _one_line_at_a_time = lock.lock();
                write(format!("{}\n", words::json(&event)).as_bytes());
            }
            Self::Quiet(held) => {
                let mut held = held.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                match event {
                    BuildEvent::StepOutput { step, bytes, .. } => held.output.push((step, bytes)),
                    BuildEvent::StepFinished { step, outcome: StepOutcome::Failed, .. } => {
                        held.failed.push(step)
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Writes to standard error. Someone who closed it does not want to read it: the build goes on.
fn write(bytes: &[u8]) {
    let _ = std::io::stderr().lock().write_all(bytes);
}
