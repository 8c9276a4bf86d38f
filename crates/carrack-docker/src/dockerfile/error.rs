use carrack_base::Span;

/// What Docker would refuse, and where.
#[derive(Debug, thiserror::Error)]
#[error("read {path}: {problem}", path = span.source.path.display())]
pub struct DockerfileError {
    /// The place.
    pub span: Span,
    /// What is wrong there.
    pub problem: Box<Problem>,
}

/// What is wrong with a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no `FROM`.
    #[error("there is no FROM")]
    NoStage,
    /// Only `ARG` may stand in front of the first `FROM`.
    #[error("{name} stands before the first FROM")]
    BeforeFrom {
        /// The instruction.
        name: String,
    },
    /// There is no such instruction.
    #[error("unknown instruction `{name}`")]
    UnknownInstruction {
        /// As written.
        name: String,
        /// A known one that looks like it.
        nearest: Option<&'static str>,
    },
    /// An instruction that needs arguments has none, or too few.
    #[error("{name} needs {needs}")]
    TooFewArguments {
        /// The instruction.
        name: String,
        /// What it needs.
        needs: &'static str,
    },
    /// An instruction has something behind its last argument.
    #[error("{name} takes {takes}")]
    TooManyArguments {
        /// The instruction.
        name: String,
        /// What it takes.
        takes: &'static str,
    },
    /// The instruction has no such flag.
    #[error("{name} has no flag --{flag}")]
    UnknownFlag {
        /// The instruction.
        name: String,
        /// The flag, without dashes.
        flag: String,
        /// A flag of the instruction that looks like it.
        nearest: Option<&'static str>,
    },
    /// A flag that may be given once is there twice.
    #[error("--{flag} is given twice")]
    FlagTwice {
        /// The flag.
        flag: &'static str,
    },
    /// A flag that needs a value has none.
    #[error("--{flag} needs a value")]
    FlagWithoutValue {
        /// The flag.
        flag: &'static str,
    },
    /// A flag's value is of the wrong kind.
    #[error("--{flag} can't be `{found}`")]
    BadFlagValue {
        /// The flag.
        flag: &'static str,
        /// Its value.
        found: String,
        /// What it can be.
        expected: &'static str,
    },
    /// A mount has no such key.
    #[error("a mount has no key `{key}`")]
    UnknownMountKey {
        /// The key.
        key: String,
        /// A key that looks like it.
        nearest: Option<&'static str>,
    },
    /// A key that this kind of mount does not have.
    #[error("a {kind} mount has no key `{key}`")]
    MountKeyMisplaced {
        /// The kind.
        kind: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A key's value is of the wrong kind.
    #[error("the mount's `{key}` can't be `{found}`")]
    BadMountValue {
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it can be.
        expected: &'static str,
    },
    /// A mount lacks what it needs.
    #[error("a {kind} mount needs `{key}`")]
    MountLacks {
        /// The kind.
        kind: &'static str,
        /// The key.
        key: &'static str,
    },
    /// Names of stages are made of letters, digits, `-`, `_` and `.`, and start with a letter.
    #[error("`{name}` can't name a stage")]
    BadStageName {
        /// As written.
        name: String,
    },
    /// A word of an `ENV` or `LABEL` has no equals sign.
    #[error("`{word}` has no `=`")]
    NoEquals {
        /// The word.
        word: String,
    },
    /// A name is empty.
    #[error("{name} has an empty name")]
    EmptyName {
        /// The instruction.
        name: String,
    },
    /// A list in brackets has something else in it than strings.
    #[error("the list has something else in it than strings")]
    NotStrings,
    /// An instruction needs a JSON list.
    #[error("{name} needs a list in brackets")]
    NotAList {
        /// The instruction.
        name: String,
    },
    /// A here-document has no end.
    #[error("no line `{name}` ends the here-document")]
    UnendedHeredoc {
        /// What would end it.
        name: String,
    },
    /// A here-document can't be where the files go.
    #[error("a here-document can't be the destination")]
    HeredocDestination,
    /// A directive is there twice.
    #[error("the directive `{name}` is there twice")]
    DirectiveTwice {
        /// Which.
        name: String,
    },
    /// The escape character is neither a backslash nor a backtick.
    #[error("`{found}` can't be the escape character")]
    BadEscape {
        /// What was asked for.
        found: String,
    },
    /// `ONBUILD` takes every instruction but three.
    #[error("ONBUILD can't have {name}")]
    BadTrigger {
        /// The instruction.
        name: String,
    },
}
