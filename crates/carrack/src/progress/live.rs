use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use carrack_base::{BuildEvent, StepId, StepOutcome};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{words, write};
use crate::terminal::Terminal;

/// Output that a step without a measure keeps back, at most; the end of it says why it failed.
const HELD: usize = 64 * 1024;

/// One moving line for each step that runs; everything else scrolls by above them.
pub(crate) struct Live {
    terminal: Terminal,
    names: words::Names,
    lines: MultiProgress,
    running: Mutex<BTreeMap<StepId, Running>>,
}

/// A step that runs.
struct Running {
    bar: ProgressBar,
    /// What it wrote so far, if nobody knows how much it has to do: then its last line tells how it gets on, and the
    /// rest is of interest only if it fails.
    held: Option<Vec<u8>>,
}

impl Live {
    pub(super) fn new(terminal: &Terminal) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(12));
        Self { terminal: terminal.clone(), names: words::Names::default(), lines, running: Mutex::default() }
    }

    pub(super) fn emit(&self, event: &BuildEvent) {
        let name = self.names.of(event);
        match event {
            BuildEvent::StepStarted { step, .. } => self.start(*step, &name),
            BuildEvent::StepProgress { step, done, total, current } => self.with(*step, |running| {
                if *total == 0 {
                    running.held.get_or_insert_default();
                } else {
                    running.bar.set_style(self.style(true));
                    running.bar.set_length(*total);
                    running.bar.set_position(*done);
                }
                running.bar.set_message(current.clone());
            }),
            BuildEvent::StepOutput { step, bytes, .. } => {
                let mut kept = false;
                self.with(*step, |running| {
                    if let Some(held) = &mut running.held {
                        kept = true;
                        held.extend_from_slice(bytes);
                        held.drain(..held.len().saturating_sub(HELD));
                        if let Some(line) = last_line(bytes) {
                            running.bar.set_message(line);
                        }
                    }
                });
                if !kept {
                    self.lines.suspend(|| write(bytes));
                }
            }
            event => {
                let held = match event {
                    BuildEvent::StepFinished { step, outcome, .. } => {
                        self.end(*step).filter(|_| *outcome == StepOutcome::Failed)
                    }
                    _ => None,
                };
                if matches!(event, BuildEvent::Done { .. }) {
                    self.finish();
                }
                let lines = words::lines(event, &name, &self.terminal);
                if held.is_some() || !lines.is_empty() {
                    self.lines.suspend(|| {
                        let held = held.unwrap_or_default();
                        write(&held);
                        if held.last().is_some_and(|last| *last != b'\n') {
                            write(b"\n");
                        }
                        lines.iter().for_each(|line| write(format!("{line}\n").as_bytes()));
                    });
                }
            }
        }
    }

    pub(super) fn finish(&self) {
        let running =
            std::mem::take(&mut *self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        for step in running.into_values() {
            step.bar.finish_and_clear();
        }
    }

    fn start(&self, step: StepId, name: &str) {
        let bar = self.lines.add(ProgressBar::no_length());
        bar.set_style(self.style(false));
        bar.set_prefix(self.terminal.paint(self.terminal.green(), &format!("{name:>11}")));
        bar.enable_steady_tick(Duration::from_millis(250));
        let mut running = self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        running.insert(step, Running { bar, held: None });
    }

    /// Takes a step's line away; gives what it held.
    fn end(&self, step: StepId) -> Option<Vec<u8>> {
        let mut running = self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let step = running.remove(&step)?;
        step.bar.finish_and_clear();
        step.held
    }

    fn style(&self, measured: bool) -> ProgressStyle {
        let template = match measured {
            true => "{prefix}  [{bar:22}] {pos:>3}/{len}  {wide_msg} {clock:>7}",
            false => "{prefix}  {wide_msg} {clock:>7}",
        };
        ProgressStyle::with_template(template)
            .expect("the template is well-formed")
            .with_key("clock", clock)
            .progress_chars("=> ")
    }

    fn with(&self, step: StepId, act: impl FnOnce(&mut Running)) {
        let mut running = self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        running.get_mut(&step).map(act);
    }
}

/// The last line that has something in it, without what would move the cursor.
fn last_line(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let line = text.split(['\n', '\r']).rev().find(|line| !line.trim().is_empty())?;
    let mut plain = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            // The rest of a colour: parameters up to a letter.
            '\u{1b}' => drop(characters.by_ref().find(char::is_ascii_alphabetic)),
            character if character.is_control() => plain.push(' '),
            character => plain.push(character),
        }
    }
    Some(plain.trim().to_owned())
}

/// `0:38`, `12:05`.
fn clock(state: &ProgressState, writer: &mut dyn Write) {
    let seconds = state.elapsed().as_secs();
    // indicatif asks for text in memory, which takes everything.
    let _ = write!(writer, "{}:{:02}", seconds / 60, seconds % 60);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_stays_on_its_line() {
        assert_eq!(
            last_line(b"one\n\x1b[1m\x1b[32m   Compiling\x1b[0m serde\n\n").unwrap(),
            "Compiling serde"
        );
        assert_eq!(last_line(b"10%\r50%\ttwo").unwrap(), "50% two");
        assert_eq!(last_line(b" \n"), None);
    }
}
