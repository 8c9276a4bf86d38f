use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use carrack_base::{BuildEvent, StepId};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{words, write};
use crate::terminal::Terminal;

/// One moving line for the step that runs; everything else scrolls by above it.
pub(crate) struct Live {
    terminal: Terminal,
    bar: Mutex<Option<(StepId, ProgressBar)>>,
}

impl Live {
    pub(super) fn new(terminal: &Terminal) -> Self {
        Self { terminal: terminal.clone(), bar: Mutex::new(None) }
    }

    pub(super) fn emit(&self, event: &BuildEvent) {
        match event {
            BuildEvent::StepStarted { step, name } => self.start(*step, name),
            BuildEvent::StepProgress { step, done, total, current } => {
                self.with_bar(|bar| {
                    if let Some((_, bar)) = bar.as_ref().filter(|(running, _)| running == step) {
                        bar.set_length(*total);
                        bar.set_position(*done);
                        bar.set_message(current.clone());
                    }
                });
            }
            BuildEvent::StepOutput { bytes, .. } => self.above(|| write(bytes)),
            event => {
                if matches!(event, BuildEvent::StepFinished { .. } | BuildEvent::Done { .. }) {
                    self.finish();
                }
                let lines = words::lines(event, &self.terminal);
                self.above(|| lines.iter().for_each(|line| write(format!("{line}\n").as_bytes())));
            }
        }
    }

    pub(super) fn finish(&self) {
        self.with_bar(|bar| {
            if let Some((_, bar)) = bar.take() {
                bar.finish_and_clear();
            }
        });
    }

    fn start(&self, step: StepId, name: &str) {
        let label = self.terminal.paint(self.terminal.green(), &format!("{name:>11}"));
        let style =
            ProgressStyle::with_template("{prefix}  [{bar:22}] {pos:>3}/{len}  {wide_msg} {clock:>7}")
                .expect("the template is well-formed")
                .with_key("clock", clock)
                .progress_chars("=> ");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(12));
        bar.set_style(style);
        bar.set_prefix(label);
        bar.enable_steady_tick(Duration::from_millis(250));
        self.with_bar(|slot| *slot = Some((step, bar)));
    }

    fn above(&self, print: impl FnOnce()) {
        self.with_bar(|bar| match bar {
            Some((_, bar)) => bar.suspend(print),
            None => print(),
        });
    }

    fn with_bar<T>(&self, act: impl FnOnce(&mut Option<(StepId, ProgressBar)>) -> T) -> T {
        act(&mut self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

/// `0:38`, `12:05`.
fn clock(state: &ProgressState, writer: &mut dyn Write) {
    let seconds = state.elapsed().as_secs();
    // indicatif asks for text in memory, which takes everything.
    let _ = write!(writer, "{}:{:02}", seconds / 60, seconds % 60);
}
