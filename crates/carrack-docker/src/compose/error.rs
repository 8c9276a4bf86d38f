use std::io;
use std::path::PathBuf;

use carrack_base::Span;

/// Why there is no project.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// Neither the folder nor one above it has a compose file.
    #[error("find a compose file in {} or above it", folder.display())]
    NotFound {
        /// Where the search began.
        folder: PathBuf,
    },
    /// A file can't be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Where another file names it, if one does.
        named_at: Option<Span>,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file has no mapping in it.
    #[error("{} is empty", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file is no YAML.
    #[error("read {}: {message}", span.source.path.display())]
    Syntax {
        /// The place.
        span: Span,
        /// The parser's words.
        message: String,
    },
    /// A line of a file of variables is none.
    #[error("read {}: {message}", span.source.path.display())]
    Line {
        /// The place.
        span: Span,
        /// What is wrong.
        message: &'static str,
    },
    /// A place in a file says what makes no sense there.
    #[error("{}: {what}", span.source.path.display())]
    Invalid {
        /// The place.
        span: Span,
        /// What is wrong.
        what: Invalid,
    },
    /// The project has no usable name.
    #[error("`{name}` can't name a project")]
    ProjectName {
        /// The name; empty where the folder's name left nothing.
        name: String,
    },
    /// A service was asked for that no file has.
    #[error("no service `{name}`")]
    NoSuchService {
        /// What was asked for.
        name: String,
        /// What was probably meant.
        nearest: Option<String>,
        /// All services.
        known: Vec<String>,
    },
}

/// What a place in a file says wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A key is not text.
    #[error("a key is {found}")]
    Key {
        /// What it is.
        found: &'static str,
    },
    /// A key stands twice in a mapping.
    #[error("`{key}` stands there twice")]
    Twice {
        /// The key.
        key: String,
    },
    /// An alias lies within what it stands for.
    #[error("an alias repeats itself")]
    AliasOfItself,
    /// Aliases of aliases make the file too large.
    #[error("aliases repeat too much")]
    TooManyAliases,
    /// `<<` has neither a mapping nor a list of mappings.
    #[error("nothing to merge in")]
    MergeKey,
    /// A mapping has a key that it can't have.
    #[error("unknown key `{key}` in {place}")]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it stands (`services.web.build`).
        place: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A value is of the wrong kind.
    #[error("{place} is {found}, not {expected}")]
    Kind {
        /// Which value (`services.web.build.tags`).
        place: String,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value is of the right kind and means nothing.
    #[error("{place} can't be `{text}`")]
    Value {
        /// Which value (`services.web.build.shm_size`).
        place: String,
        /// The text.
        text: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// A required key is missing.
    #[error("{place} has no `{key}`")]
    Missing {
        /// What lacks it.
        place: String,
        /// The key.
        key: &'static str,
    },
    /// `${…}` that is none.
    #[error("`{part}` is no variable")]
    Template {
        /// From the `$` on.
        part: String,
    },
    /// `${NAME:?message}` without a value.
    #[error("{name} is required")]
    Required {
        /// The variable.
        name: String,
        /// What the file says about it; may be empty.
        message: String,
    },
    /// A service, project or similar has a name with forbidden characters.
    #[error("`{name}` can't name a {what}")]
    Name {
        /// The name.
        name: String,
        /// What is named.
        what: &'static str,
    },
    /// `extends` names a service that its file does not have.
    #[error("there is no service `{name}` to extend")]
    NothingToExtend {
        /// The name.
        name: String,
        /// The other file, if it is another one.
        file: Option<PathBuf>,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// Services extend each other, or files include each other.
    #[error("{} leads back to where it began", chain.join(" → "))]
    Circle {
        /// The way around, the first one at the end again.
        chain: Vec<String>,
    },
    /// A service needs another one that is not there.
    #[error("there is no service `{name}`")]
    UndefinedService {
        /// The other one.
        name: String,
        /// Whether it is there and its profile is not active.
        inactive: bool,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A build wants a secret that is not there.
    #[error("there is no secret `{name}`")]
    UndefinedSecret {
        /// The secret.
        name: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A service has neither `image` nor `build`.
    #[error("{service} has neither image nor build")]
    NoImage {
        /// The service.
        service: String,
    },
    /// A build has both `dockerfile` and `dockerfile_inline`.
    #[error("{service} has two Dockerfiles")]
    TwoDockerfiles {
        /// The service.
        service: String,
    },
    /// The service runs on a platform that it is not built for.
    #[error("{service} is not built for {platform}")]
    PlatformLeftOut {
        /// The service.
        service: String,
        /// Where it runs.
        platform: String,
    },
}

impl ComposeError {
    pub(super) fn invalid(span: &Span, what: Invalid) -> Self {
        Self::Invalid { span: span.clone(), what }
    }
}
