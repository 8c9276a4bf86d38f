use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use carrack_base::{BuildEvent, EventSink, OutputStream, StepId, StepOutcome};

use super::{News, State};

/// Where the clients of one run tell their news.
///
/// Builds of one Dockerfile share their first steps, and BuildKit runs those once; each client hears of all of them. A
/// step is what has the same name in the same group of builds: it is told once, its output from whoever is ahead. Who comes
/// a moment later hears that the step is there already, and may say so before the other says that it ran: in a group,
/// that a step was there is told when all have ended.
pub(crate) struct Board<'a> {
    events: &'a dyn EventSink,
    state: Mutex<Steps>,
}

#[derive(Default)]
struct Steps {
    next: u32,
    steps: BTreeMap<(usize, String), Step>,
    /// Steps that somebody found there, with what stands before their words, in the order in which they were found.
    found: Vec<((usize, String), String)>,
    warnings: BTreeSet<(usize, String)>,
}

struct Step {
    id: StepId,
    started: Instant,
    /// Bytes of output that were told.
    told: usize,
    /// Who said that it ended; `None` while it runs.
    ended_by: Option<usize>,
    ran: bool,
    /// Whether it brought something here from elsewhere.
    fetched: bool,
}

/// One client's news.
pub(crate) struct Sheet<'a> {
    board: &'a Board<'a>,
    client: usize,
    group: usize,
    /// Whether the group has other clients.
    shared: bool,
    /// What stands before a step's words where several builds run that have nothing in common.
    prefix: String,
    vertices: BTreeMap<String, Seen>,
    failed: Option<FailedStep>,
    words: Vec<String>,
}

/// What a client said about one vertex.
struct Seen {
    name: String,
    written: usize,
}

/// The vertex that a build failed at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailedStep {
    pub(crate) name: String,
    pub(crate) said: String,
}

impl<'a> Board<'a> {
    pub(crate) fn new(events: &'a dyn EventSink) -> Self {
        Self { events, state: Mutex::default() }
    }

    /// All clients have ended: tells which steps were there already and were run by none.
    pub(crate) fn settle(&self) {
        let found = std::mem::take(&mut self.lock().found);
        for (key, prefix) in found {
            let has_ended = self.lock().steps.get(&key).is_some_and(|step| step.ended_by.is_some());
            if !has_ended {
                self.start(0, key.clone(), &prefix);
                self.end(0, &key, &prefix, StepOutcome::Reused, Some(Duration::ZERO));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn start(&self, client: usize, key: (usize, String), prefix: &str) {
        let mut state = self.lock();
        // Sources are looked at first and fetched later: the client that saw the end of the first sees the second.
        if state.steps.get(&key).is_some_and(|step| step.ended_by != Some(client)) {
            return;
        }
        let id = StepId(state.next);
        state.next += 1;
        let words = Words::of(&key.1);
        let current = format!("{prefix}{}", words.text);
        state.steps.insert(
            key,
            Step { id, started: Instant::now(), told: 0, ended_by: None, ran: false, fetched: false },
        );
        drop(state);
        self.events.emit(BuildEvent::StepStarted { step: id, name: words.label });
        self.events.emit(BuildEvent::StepProgress { step: id, done: 0, total: 0, current });
    }

    fn end(
        &self,
        client: usize,
        key: &(usize, String),
        prefix: &str,
        outcome: StepOutcome,
        elapsed: Option<Duration>,
    ) {
        let mut state = self.lock();
        let Some(step) = state.steps.get_mut(key).filter(|step| step.ended_by.is_none()) else { return };
        step.ended_by = Some(client);
        step.ran = outcome != StepOutcome::Reused;
        let (id, elapsed) = (step.id, elapsed.unwrap_or_else(|| step.started.elapsed()));
        let words = Words::of(&key.1);
        let summary =
            if words.kind == Kind::Instruction || step.fetched { words.text } else { String::new() };
        drop(state);
        let summary = if summary.is_empty() { summary } else { format!("{prefix}{summary}") };
        self.events.emit(BuildEvent::StepFinished { step: id, outcome, summary, elapsed });
    }
}

impl<'a> Sheet<'a> {
    /// A sheet for client number `client`, whose steps are the same as those of every client of `group`; `shared` if there
    /// are others.
    pub(crate) fn new(
        board: &'a Board<'a>,
        client: usize,
        group: usize,
        shared: bool,
        prefix: String,
    ) -> Self {
        let (vertices, words) = (BTreeMap::new(), Vec::new());
        Self { board, client, group, shared, prefix, vertices, failed: None, words }
    }

    /// Takes one piece of news.
    pub(crate) fn take(&mut self, news: News) {
        match news {
            News::Vertex { vertex, name, state } => {
                let key = self.key(&name);
                self.vertices.entry(vertex).or_insert(Seen { name, written: 0 });
                self.vertex(key, state);
            }
            News::Output { vertex, stream, bytes } => self.output(&vertex, stream, &bytes),
            News::Status { vertex, text } => self.status(&vertex, text),
            News::Warning { message, hint } => {
                if self.board.lock().warnings.insert((self.group, message.clone())) {
                    self.board.events.emit(BuildEvent::Warning { message, hint });
                }
            }
            News::Words(words) => self.words.push(words),
        }
    }

    /// The step that this client failed at.
    pub(crate) fn failed(&self) -> Option<&FailedStep> {
        self.failed.as_ref()
    }

    /// Whether an instruction of this build ran, for whomever. To be asked when all clients have ended.
    pub(crate) fn ran(&self) -> bool {
        let state = self.board.lock();
        self.vertices
            .values()
            .filter(|seen| Words::of(&seen.name).kind == Kind::Instruction)
            .any(|seen| state.steps.get(&self.key(&seen.name)).is_some_and(|step| step.ran))
    }

    /// Whether the client said anything about any step: then an engine answered.
    pub(crate) fn has_steps(&self) -> bool {
        !self.vertices.is_empty()
    }

    /// What the client said besides its progress.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// Steps of other builds can have equal names; what is no instruction is each client's own.
    fn key(&self, name: &str) -> (usize, String) {
        match Words::of(name).kind {
            Kind::Instruction | Kind::Base => (self.group, name.to_owned()),
            Kind::Other => (self.group, format!("{name}\0{}", self.client)),
        }
    }

    fn vertex(&mut self, key: (usize, String), state: State) {
        match state {
            State::Waiting => {}
            State::Running => self.board.start(self.client, key, &self.prefix),
            State::Done { cached: true, .. } if self.shared => {
                let mut state = self.board.lock();
                let known = state.found.iter().any(|(found, _)| *found == key);
                if !known {
                    state.found.push((key, self.prefix.clone()));
                }
            }
            State::Done { cached, elapsed } => {
                self.board.start(self.client, key.clone(), &self.prefix);
                let outcome = if cached { StepOutcome::Reused } else { StepOutcome::Ran };
                self.board.end(self.client, &key, &self.prefix, outcome, elapsed);
            }
            State::Failed(said) => {
                self.board.start(self.client, key.clone(), &self.prefix);
                self.board.end(self.client, &key, &self.prefix, StepOutcome::Failed, None);
                let name = key.1.split('\0').next().unwrap_or_default().to_owned();
                self.failed.get_or_insert(FailedStep { name, said });
            }
            // Nobody's fault; a step that was stopped has no end, as with the embedded engine.
            State::Cancelled => {}
        }
    }

    fn output(&mut self, vertex: &str, stream: OutputStream, bytes: &[u8]) {
        let Some(seen) = self.vertices.get_mut(vertex) else { return };
        let before = seen.written;
        seen.written += bytes.len();
        let (after, name) = (seen.written, seen.name.clone());
        let key = self.key(&name);
        let mut state = self.board.lock();
        let Some(step) = state.steps.get_mut(&key) else { return };
        let Some(new) = after.checked_sub(step.told.max(before)).filter(|new| *new > 0) else { return };
        step.told = after;
        let id = step.id;
        // Emitted under the lock: two clients must not get in each other's way in the middle of a line.
        let bytes = bytes[bytes.len() - new..].to_vec();
        self.board.events.emit(BuildEvent::StepOutput { step: id, stream, bytes });
    }

    fn status(&mut self, vertex: &str, text: String) {
        let Some(seen) = self.vertices.get(vertex) else { return };
        let key = self.key(&seen.name);
        let mut state = self.board.lock();
        let Some(step) = state.steps.get_mut(&key).filter(|step| step.ended_by.is_none()) else { return };
        step.fetched |= is_fetching(&text);
        let id = step.id;
        drop(state);
        let current = format!("{}{text}", self.prefix);
        self.board.events.emit(BuildEvent::StepProgress { step: id, done: 0, total: 0, current });
    }
}

/// Layers come by their digests.
fn is_fetching(status: &str) -> bool {
    status.starts_with("sha256:") || status.starts_with("extracting ")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `[builder 3/7] RUN cargo build`.
    Instruction,
    /// `[builder 1/7] FROM debian`: there is always one, and it says nothing unless it fetches.
    Base,
    /// Everything that BuildKit does around them.
    Other,
}

/// A vertex's name as it is shown.
struct Words {
    kind: Kind,
    label: String,
    text: String,
}

impl Words {
    fn of(name: &str) -> Self {
        let name = name.split('\0').next().unwrap_or_default();
        let bracketed = name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
        match bracketed {
            Some(("internal", text)) => {
                Self { kind: Kind::Other, label: label_of(text), text: text.to_owned() }
            }
            Some((stage, instruction)) => {
                let (verb, rest) = instruction.split_once(' ').unwrap_or((instruction, ""));
                let kind = if verb == "FROM" { Kind::Base } else { Kind::Instruction };
                let label = match verb {
                    "FROM" => "Pull".to_owned(),
                    verb => capitalised(verb),
                };
                Self { kind, label, text: format!("{stage} · {}", without_options(rest)) }
            }
            None => Self { kind: Kind::Other, label: label_of(name), text: name.to_owned() },
        }
    }
}

/// What an instruction does, in one line. Continued lines are joined with the blanks that they began with.
fn without_options(text: &str) -> String {
    text.split_whitespace().skip_while(|word| word.starts_with("--")).collect::<Vec<_>>().join(" ")
}

/// BuildKit's own steps have no verbs that fit everywhere.
fn label_of(text: &str) -> String {
    let label = match text.split(' ').next().unwrap_or_default() {
        "load" | "resolve" => "Load",
        "exporting" | "sending" => "Export",
        "pushing" => "Push",
        "importing" => "Import",
        _ => "Step",
    };
    label.to_owned()
}

/// `RUN` as `Run`.
fn capitalised(verb: &str) -> String {
    let mut characters = verb.chars();
    characters.next().into_iter().chain(characters.flat_map(char::to_lowercase)).collect()
}
