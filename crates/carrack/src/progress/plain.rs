use carrack_base::{BuildEvent, StepId};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{words, write};
use crate::terminal::Terminal;

/// A line about a step that goes on is printed at most this often.
const PAUSE: Duration = Duration::from_secs(10);

/// Lines, none of which is ever taken back.
pub(crate) struct Plain {
    terminal: Terminal,
    names: words::Names,
    last: Mutex<(Option<StepId>, Instant)>,
    /// Whether what was printed last has no line end.
    open: AtomicBool,
}

impl Plain {
    pub(super) fn new(terminal: &Terminal) -> Self {
        let last = Mutex::new((None, Instant::now()));
        Self {
            terminal: terminal.clone(),
            names: words::Names::default(),
            last,
            open: AtomicBool::new(false),
        }
    }

    /// Ends a line that a step has left open.
    pub(super) fn close(&self) {
        if self.open.swap(false, Ordering::Relaxed) {
            write(b"\n");
        }
    }

    pub(super) fn emit(&self, event: &BuildEvent) {
        let name = self.names.of(event);
        match event {
            BuildEvent::StepOutput { bytes, .. } => {
                write(bytes);
                self.open.store(bytes.last().is_some_and(|last| *last != b'\n'), Ordering::Relaxed);
            }
            // Its output says more.
            BuildEvent::StepProgress { total: 0, .. } => {}
            BuildEvent::StepProgress { step, done, total, current } => {
                let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                if last.0 == Some(*step) && last.1.elapsed() < PAUSE {
                    return;
                }
                *last = (Some(*step), Instant::now());
                let text = format!("{done}/{total} {current}");
                write(format!("{}\n", words::line(&self.terminal, &name, &text, None)).as_bytes());
            }
            event => {
                for line in words::lines(event, &name, &self.terminal) {
                    self.close();
                    write(format!("{line}\n").as_bytes());
                }
            }
        }
    }
}
