use std::time::Duration;

/// The number of a step within one build, in the order in which steps were started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub u32);

/// Which stream of a step's process wrote a piece of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// It ran and succeeded.
    Ran,
    /// Its result was there already.
    Reused,
    /// It ran and failed; the build's error says why.
    Failed,
}

/// Everything that a build says while it runs. Closed: a new kind of news is a new variant.
///
/// Texts carry no escape sequences except in [`BuildEvent::StepOutput`], which is the step's own output, untouched.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildEvent {
    /// What is going to be built.
    Planned {
        /// What kind of thing it is, in one word (`Workspace`, `Dockerfile`).
        kind: String,
        /// What is built, in the front end's words (`rustcare · 7 members · 131 locked packages`).
        what: String,
        /// What compiles (`host (rustc 1.95.0)`).
        builder: String,
        /// What the images start from (`closure`); `None` where a Dockerfile says it.
        base: Option<String>,
    },
    /// Why a step, and what follows from it, has to run again.
    Why {
        /// The image concerned, or the whole build if there is none.
        image: Option<String>,
        /// One line (`server/src/main.rs changed`).
        reason: String,
    },
    /// A step began.
    StepStarted {
        /// Its number.
        step: StepId,
        /// Its name (`Compile`).
        name: String,
    },
    /// A step got on.
    StepProgress {
        /// Its number.
        step: StepId,
        /// Finished parts (compiled units).
        done: u64,
        /// All parts known so far; 0 if nobody knows. Such a step shows how it gets on by its output.
        total: u64,
        /// What is in the works now (`libsqlite3-sys, tokio`).
        current: String,
    },
    /// A piece of a step's output as its process wrote it.
    StepOutput {
        /// Its number.
        step: StepId,
        /// Where it was written.
        stream: OutputStream,
        /// The bytes, with their line ends.
        bytes: Vec<u8>,
    },
    /// One compiled unit is there.
    UnitFinished {
        /// The step that needed it.
        step: StepId,
        /// Package name and version (`serde 1.0.229`).
        package: String,
        /// Target name within the package.
        target: String,
        /// Whether it was there before the step ran.
        fresh: bool,
        /// Why it was not.
        reason: Option<String>,
        /// Where it came from, if it was there and was not made on this machine (`registry`).
        origin: Option<String>,
    },
    /// A step ended.
    StepFinished {
        /// Its number.
        step: StepId,
        /// How it ended.
        outcome: StepOutcome,
        /// What it did (`131 crates for 3 services`); empty if that is not worth a line.
        summary: String,
        /// Time between its start and its end.
        elapsed: Duration,
    },
    /// Something that the user should know and that does not stop the build.
    Warning {
        /// One sentence.
        message: String,
        /// What to do about it, beginning with a verb.
        hint: Option<String>,
    },
    /// An image is where the engine keeps images.
    ImageReady {
        /// Name and tag (`rustcare-server:latest`).
        image: String,
        /// Digest of its manifest, or of its configuration where the engine does not tell.
        digest: crate::Digest,
        /// Compressed size of its layers in bytes; `None` where the engine does not tell.
        size: Option<u64>,
        /// All of its layers.
        layers: u32,
        /// Layers that this build had to write; 0 if the image was there already.
        new_layers: u32,
        /// What the layers hold, with sizes (`libraries 3.1 MB · binary 10.9 MB`).
        contents: String,
        /// Whether nothing about the image changed.
        unchanged: bool,
    },
    /// The build is done.
    Done {
        /// The closing line (`3 images unchanged`).
        summary: String,
        /// Time since the process started.
        elapsed: Duration,
    },
}

/// Takes the events of a build, from any thread.
pub trait EventSink: Sync {
    /// Takes one event. Must not block for long: the step that speaks waits.
    fn emit(&self, event: BuildEvent);
}

impl<F: Fn(BuildEvent) + Sync> EventSink for F {
    fn emit(&self, event: BuildEvent) {
        self(event);
    }
}
