use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use carrack_base::{BuildEvent, OutputStream, StepId, StepOutcome};
use serde_json::{Value, json};

use crate::terminal::Terminal;

/// Column in which the times of the right side end.
const WIDTH: usize = 100;

/// The names of the steps that run.
#[derive(Default)]
pub(super) struct Names(Mutex<BTreeMap<StepId, String>>);

impl Names {
    /// Learns from an event what its step is called, and says it.
    pub(super) fn of(&self, event: &BuildEvent) -> String {
        let mut names = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match event {
            BuildEvent::StepStarted { step, name } => {
                names.insert(*step, name.clone());
                name.clone()
            }
            BuildEvent::StepFinished { step, .. } => names.remove(step).unwrap_or_default(),
            BuildEvent::StepProgress { step, .. } => names.get(step).cloned().unwrap_or_default(),
            _ => String::new(),
        }
    }
}

/// The lines that an event is worth where nothing moves; empty for events that only a live view shows. `name` is that of
/// the event's step.
pub(super) fn lines(event: &BuildEvent, name: &str, terminal: &Terminal) -> Vec<String> {
    match event {
        BuildEvent::Planned { kind, what, builder, base } => {
            let base = base.iter().map(|base| format!(" · base {base}")).collect::<String>();
            vec![line(terminal, kind, &format!("{what} · builder {builder}{base}"), None)]
        }
        BuildEvent::Why { image: None, reason } => vec![line(terminal, "Why", reason, None)],
        BuildEvent::Why { image: Some(image), reason } => {
            vec![line(terminal, "Why", &format!("{image}: {reason}"), None)]
        }
        BuildEvent::StepFinished { outcome: StepOutcome::Ran, summary, elapsed, .. }
            if !summary.is_empty() =>
        {
            vec![line(terminal, name, &shortened(summary), Some(*elapsed))]
        }
        BuildEvent::Warning { message, hint } => {
            let warning = format!("{}: {message}", terminal.paint(terminal.yellow(), "warning"));
            let hint = hint.iter().map(|hint| format!("{}: {hint}", terminal.paint(terminal.cyan(), "hint")));
            std::iter::once(warning).chain(hint).collect()
        }
        BuildEvent::ImageReady { unchanged: true, .. } => Vec::new(),
        BuildEvent::ImageReady { image, digest, size, layers, new_layers, contents, .. } => {
            let layers = match layers - new_layers {
                0 => contents.clone(),
                reused => format!("{reused} of {layers} layers reused"),
            };
            // docker's short form of an id.
            let hex = digest.hex();
            let short = hex.get(..12).unwrap_or(&hex);
            let size = size.map(bytes).unwrap_or_default();
            let text = format!("{image:<26}  {short}  {size:>8}   {layers}");
            vec![line(terminal, "Image", text.trim_end(), None)]
        }
        BuildEvent::Done { summary, elapsed } => vec![line(terminal, "Done", summary, Some(*elapsed))],
        BuildEvent::StepStarted { .. }
        | BuildEvent::StepProgress { .. }
        | BuildEvent::StepOutput { .. }
        | BuildEvent::UnitFinished { .. }
        | BuildEvent::StepFinished { .. } => Vec::new(),
    }
}

/// A summary that leaves room for a label and a time; whoever wants all of it reads the JSON.
pub(super) fn shortened(text: &str) -> String {
    const ROOM: usize = WIDTH - 24;
    match text.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// `       Done  text                         9 ms`
pub(super) fn line(terminal: &Terminal, label: &str, text: &str, elapsed: Option<Duration>) -> String {
    let head = terminal.paint(terminal.green(), &format!("{label:>11}"));
    let Some(elapsed) = elapsed else { return format!("{head}  {text}") };
    let elapsed = duration(elapsed);
    let used = 13 + text.chars().count() + elapsed.chars().count();
    format!("{head}  {text}{}{elapsed}", " ".repeat(WIDTH.saturating_sub(used).max(2)))
}

/// `9 ms`, `2.4 s`, `1m 09s`.
pub(crate) fn duration(time: Duration) -> String {
    let milliseconds = time.as_millis();
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{:.1} s", time.as_secs_f64()),
        _ => format!("{}m {:02}s", time.as_secs() / 60, time.as_secs() % 60),
    }
}

/// `318 B`, `14.2 MB`; powers of ten, as docker prints them.
pub(crate) fn bytes(size: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let number = size as f64;
    match size {
        0..1_000 => format!("{size} B"),
        1_000..1_000_000 => format!("{:.1} kB", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number / 1e6),
        _ => format!("{:.2} GB", number / 1e9),
    }
}

/// The word for one of a thing, or for several.
pub(crate) fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// One JSON object for an event. The names are stable; texts are for people.
pub(super) fn json(event: &BuildEvent) -> Value {
    let seconds = |time: &Duration| time.as_secs_f64();
    match event {
        BuildEvent::Planned { kind, what, builder, base } => {
            json!({"event": "planned", "kind": kind, "what": what, "builder": builder, "base": base})
        }
        BuildEvent::Why { image, reason } => json!({"event": "why", "image": image, "reason": reason}),
        BuildEvent::StepStarted { step, name } => {
            json!({"event": "step-started", "step": step.0, "name": name})
        }
        BuildEvent::StepProgress { step, done, total, current } => {
            json!({"event": "step-progress", "step": step.0, "done": done, "total": total, "current": current})
        }
        BuildEvent::StepOutput { step, stream, bytes } => {
            let stream = match stream {
                OutputStream::Stdout => "stdout",
                OutputStream::Stderr => "stderr",
            };
            let text = String::from_utf8_lossy(bytes);
            json!({"event": "step-output", "step": step.0, "stream": stream, "text": text})
        }
        BuildEvent::UnitFinished { step, package, target, fresh, reason, origin } => {
            json!({"event": "unit", "step": step.0, "package": package, "target": target, "fresh": fresh,
                "reason": reason, "origin": origin})
        }
        BuildEvent::StepFinished { step, outcome, summary, elapsed } => {
            let outcome = match outcome {
                StepOutcome::Ran => "ran",
                StepOutcome::Reused => "reused",
                StepOutcome::Failed => "failed",
            };
            json!({"event": "step-finished", "step": step.0, "outcome": outcome, "summary": summary,
                "seconds": seconds(elapsed)})
        }
        BuildEvent::Warning { message, hint } => {
            json!({"event": "warning", "message": message, "hint": hint})
        }
        BuildEvent::ImageReady { image, digest, size, layers, new_layers, contents, unchanged } => {
            json!({"event": "image", "image": image, "digest": digest, "size": size,
                "layers": layers, "new-layers": new_layers, "contents": contents, "unchanged": unchanged})
        }
        BuildEvent::Done { summary, elapsed } => {
            json!({"event": "done", "summary": summary, "seconds": seconds(elapsed)})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(duration(Duration::from_millis(9)), "9 ms");
        assert_eq!(duration(Duration::from_millis(2_420)), "2.4 s");
        assert_eq!(duration(Duration::from_secs(69)), "1m 09s");
        assert_eq!(bytes(318), "318 B");
        assert_eq!(bytes(14_200_000), "14.2 MB");
    }
}
