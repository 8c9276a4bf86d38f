use std::ops::Range;

use carrack_base::Span;

use crate::dockerfile::{Dockerfile, ExpandError, Problem};

/// Why there is no graph.
#[derive(Debug, thiserror::Error)]
pub enum LowerError<E> {
    /// The Dockerfile, or what is asked of it, can't be.
    #[error("plan {path}: {refusal}", path = span.source.path.display())]
    Refused {
        /// The place.
        span: Span,
        /// What is wrong there.
        refusal: Box<Refusal>,
    },
    /// An image can't be had.
    #[error("find the image {reference} for {path}", path = span.source.path.display())]
    Image {
        /// What asks for it.
        span: Span,
        /// Its whole name.
        reference: String,
        /// Why.
        source: E,
    },
}

impl<E> LowerError<E> {
    pub(super) fn at(dockerfile: &Dockerfile, range: Range<usize>, refusal: Refusal) -> Self {
        Self::Refused { span: dockerfile.span(range), refusal: Box::new(refusal) }
    }
}

/// What is wrong with a Dockerfile or a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such stage to build.
    #[error("there is no stage `{name}`")]
    UnknownTarget {
        /// What was asked for.
        name: String,
        /// A stage that looks like it.
        nearest: Option<String>,
        /// Every stage that has a name.
        known: Vec<String>,
    },
    /// `# syntax=` names a frontend that is none of Docker's.
    #[error("the syntax is that of `{image}`")]
    ForeignSyntax {
        /// The frontend's image.
        image: String,
    },
    /// A variable can't be expanded.
    #[error("{0}")]
    Expand(ExpandError),
    /// What a mount says once its variables are known.
    #[error("{0}")]
    Syntax(Problem),
    /// The name of the base image is empty.
    #[error("`{written}` names no image")]
    BlankImage {
        /// As written.
        written: String,
    },
    /// No image can have that name.
    #[error("`{reference}` can't name an image")]
    BadReference {
        /// The name.
        reference: String,
    },
    /// There can be no such platform.
    #[error("`{platform}` is no platform")]
    BadPlatform {
        /// The text.
        platform: String,
    },
    /// An image's configuration can't be understood.
    #[error("the configuration of {reference} can't be understood")]
    BadConfig {
        /// The image.
        reference: String,
    },
    /// What a base image wants to be done first can't be understood.
    #[error("ONBUILD {text}: {problem}")]
    Trigger {
        /// The instruction.
        text: String,
        /// What is wrong with it.
        problem: Problem,
    },
    /// Where files come from must not depend on variables.
    #[error("`{from}` has a variable in it")]
    VariableInFrom {
        /// As written.
        from: String,
    },
    /// There is no stage with that number.
    #[error("there is no stage {index}")]
    NoSuchStage {
        /// As written.
        index: String,
    },
    /// A stage copies from a stage that comes later.
    #[error("the stage `{name}` comes later")]
    LaterStage {
        /// Which.
        name: String,
    },
    /// A stage needs itself.
    #[error("stages need each other: {}", names.join(", "))]
    Circular {
        /// The stages, each needs the next.
        names: Vec<String>,
    },
    /// A path can't be in an image.
    #[error("`{path}` can't be a path")]
    BadPath {
        /// The path.
        path: String,
    },
    /// A mount would hide everything.
    #[error("a mount can't be at /")]
    MountAtRoot,
    /// A command is an empty list.
    #[error("there is nothing to run")]
    EmptyCommand,
    /// `RUN --device`.
    #[error("the device `{name}` is asked for")]
    Device {
        /// Which.
        name: String,
    },
    /// `--chmod` has neither octal permissions nor those that chmod knows.
    #[error("`{mode}` are no permissions")]
    BadMode {
        /// The text.
        mode: String,
    },
    /// `--exclude` is followed by no pattern.
    #[error("`{pattern}` is no pattern")]
    BadPattern {
        /// The text.
        pattern: String,
    },
    /// `COPY` takes no URL and no repository.
    #[error("`{address}` is not in the context")]
    RemoteCopy {
        /// As written.
        address: String,
    },
    /// `--checksum` with several sources, or with one that is no URL and no repository.
    #[error("a checksum is for one URL or repository")]
    MisplacedChecksum,
    /// It is no checksum.
    #[error("`{checksum}` is no checksum")]
    BadChecksum {
        /// The text.
        checksum: String,
    },
    /// The address of a repository says something that it can't.
    #[error("`{address}` has `{part}`, which {why}")]
    BadAddress {
        /// The address.
        address: String,
        /// The part of it.
        part: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There can be no such port.
    #[error("`{port}` is no port")]
    BadPort {
        /// As written.
        port: String,
    },
    /// There is no such signal.
    #[error("`{signal}` is no signal")]
    BadSignal {
        /// As written.
        signal: String,
    },
    /// A time is shorter than a millisecond, or can't be counted in nanoseconds.
    #[error("--{flag} can't be `{found}`")]
    BadDuration {
        /// The flag.
        flag: &'static str,
        /// Its value.
        found: String,
    },
    /// A volume has no path.
    #[error("a volume has no path")]
    BlankVolume,
    /// `SOURCE_DATE_EPOCH` is no number of seconds.
    #[error("SOURCE_DATE_EPOCH can't be `{found}`")]
    BadEpoch {
        /// Its value.
        found: String,
    },
}

impl From<ExpandError> for Refusal {
    fn from(error: ExpandError) -> Self {
        Self::Expand(error)
    }
}

impl From<(Range<usize>, Problem)> for Refusal {
    fn from((_, problem): (Range<usize>, Problem)) -> Self {
        Self::Syntax(problem)
    }
}
