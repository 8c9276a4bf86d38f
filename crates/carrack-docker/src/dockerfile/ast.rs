use std::ops::Range;
use std::sync::Arc;

use carrack_base::{SourceText, Span};

use super::text::Text;

/// A Dockerfile.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// The text it was read from; every range is in it.
    pub source: Arc<SourceText>,
    /// The `# name=value` lines at the top.
    pub directives: Vec<Directive>,
    /// The character that continues lines and escapes.
    pub escape: char,
    /// The `ARG` instructions in front of the first stage: they feed `FROM` lines only.
    pub arguments: Vec<Instruction>,
    /// At least one.
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// A place in this file.
    pub fn span(&self, range: Range<usize>) -> Span {
        Span { source: Arc::clone(&self.source), range }
    }

    /// The stage that a name means for the stage with the index `before`: an earlier one, the last of that name.
    pub fn stage_named(&self, name: &str, before: usize) -> Option<usize> {
        let earlier = self.stages.iter().take(before).enumerate().rev();
        earlier
            .into_iter()
            .find_map(|(index, stage)| stage.from.name.as_ref()?.eq_ignore_ascii_case(name).then_some(index))
    }

    /// The value of a directive.
    pub fn directive(&self, name: &str) -> Option<&Text> {
        let found = self.directives.iter().find(|directive| directive.name.eq_ignore_ascii_case(name));
        found.map(|directive| &directive.value)
    }
}

/// `# name=value` at the top of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directive {
    /// `syntax`, `escape` or `check`, in whatever case.
    pub name: Text,
    /// What follows the equals sign.
    pub value: Text,
}

/// A comment line directly above an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Without the hash and the white space around.
    pub text: Text,
}

/// A `FROM` and what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// What it is based on.
    pub from: From,
    /// `FROM` as written.
    pub keyword: Text,
    /// The comment lines directly above.
    pub comments: Vec<Comment>,
    /// Where the `FROM` instruction is.
    pub range: Range<usize>,
    /// In order.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// The instruction's name as written.
    pub keyword: Text,
    /// The comment lines directly above.
    pub comments: Vec<Comment>,
    /// From the name to the end of the last line, here-documents included.
    pub range: Range<usize>,
    /// Name and arguments in one line, without here-documents.
    pub text: Text,
    /// What it says.
    pub kind: Kind,
}

/// What an instruction says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Files from elsewhere, archives unpacked.
    Add(Add),
    /// Build arguments.
    Arg(Vec<Argument>),
    /// The image's command.
    Cmd(CommandLine),
    /// Files from the context, a stage or an image.
    Copy(Copy),
    /// The image's entry point.
    Entrypoint(CommandLine),
    /// Variables.
    Env(Vec<Pair>),
    /// Ports.
    Expose(Vec<Expose>),
    /// The beginning of a stage; never among a stage's instructions.
    From(From),
    /// How to see whether a container is well.
    Healthcheck(Healthcheck),
    /// Labels.
    Label(Vec<Pair>),
    /// Who wrote it; deprecated.
    Maintainer(Text),
    /// What a stage that is based on this one does first.
    Onbuild(Box<Instruction>),
    /// A command that is run.
    Run(Run),
    /// The shell of the instructions that follow.
    Shell(Vec<Text>),
    /// The signal that stops a container.
    Stopsignal(Text),
    /// Who runs what follows.
    User(Text),
    /// Folders that are volumes.
    Volume(Vec<Text>),
    /// The folder of what follows.
    Workdir(Text),
}

/// `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// An image, an earlier stage, or `scratch`.
    pub image: Text,
    /// `--platform`.
    pub platform: Option<Text>,
    /// `AS name`, as written; names are compared without case.
    pub name: Option<Text>,
}

/// One name of an `ARG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: Text,
    /// Its default.
    pub value: Option<Text>,
}

/// One `name=value` of an `ENV` or a `LABEL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub name: Text,
    /// The value.
    pub value: Text,
}

/// One word of an `EXPOSE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expose {
    /// Ports as written: `8080`, `53/udp`, `8000-8010`.
    pub ports: Text,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// A list of words; no shell sees them, and JSON's escapes are gone.
    Exec(Vec<Text>),
    /// A text for the shell.
    Shell(Text),
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `--mount`, in order.
    pub mounts: Vec<Mount>,
    /// `--network`.
    pub network: Option<Text>,
    /// `--security`.
    pub security: Option<Text>,
    /// `--device`, in order.
    pub devices: Vec<Text>,
    /// The command. A lone here-document is a script: then this is what opens it.
    pub command: CommandLine,
    /// In order.
    pub heredocs: Vec<Heredoc>,
}

/// `<<NAME` and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// What opens it, as written.
    pub word: Text,
    /// What ends it; the file's name where it is copied.
    pub name: String,
    /// The number in front of `<<`.
    pub descriptor: Option<u32>,
    /// The text; tabs at the beginning of its lines are gone if it was opened with `<<-`.
    pub text: Text,
    /// Whether variables in it are expanded: its name was not quoted.
    pub expands: bool,
}

/// One `--mount` of a `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What it is.
    pub kind: MountKind,
    /// Where in the container.
    pub target: Option<Text>,
    /// Which part of what is mounted.
    pub source: Option<Text>,
    /// The stage or image it is from.
    pub from: Option<Text>,
    /// What names a cache, a secret or an agent.
    pub id: Option<Text>,
    /// Who may use a cache at the same time.
    pub sharing: Option<Sharing>,
    /// `ro` (true), `rw` (false), or neither.
    pub readonly: Option<bool>,
    /// Whether the build fails without the secret or agent.
    pub required: Option<bool>,
    /// The variable that takes a secret; its own name if none is said.
    pub env: Option<Text>,
    /// Largest size of a memory file system.
    pub size: Option<Text>,
    /// Octal permissions.
    pub mode: Option<Text>,
    /// Owner.
    pub uid: Option<Text>,
    /// Group.
    pub gid: Option<Text>,
    /// The flag's value as written.
    pub text: Text,
}

/// What a mount is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    /// Files of a stage, an image or the context; what is written is thrown away.
    Bind,
    /// A folder that stays on the machine.
    Cache,
    /// A memory file system.
    Tmpfs,
    /// A secret's file or variable.
    Secret,
    /// An SSH agent's socket.
    Ssh,
}

/// Who may use a cache mount at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Everyone; the default.
    Shared,
    /// Each gets one of its own.
    Private,
    /// One after the other.
    Locked,
}

/// One source of a `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path or pattern, for `ADD` a URL too.
    Path(Text),
    /// A text that stands here.
    Heredoc(Heredoc),
}

/// `COPY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Stage, its index, named context, or image; the context if there is none.
    pub from: Option<Text>,
    /// `--chown`.
    pub chown: Option<Text>,
    /// `--chmod`.
    pub chmod: Option<Text>,
    /// `--link`.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`, in order.
    pub exclude: Vec<Text>,
    /// At least one.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: Text,
}

/// `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// `--chown`.
    pub chown: Option<Text>,
    /// `--chmod`.
    pub chmod: Option<Text>,
    /// `--link`.
    pub link: bool,
    /// `--keep-git-dir`.
    pub keep_git_dir: bool,
    /// `--unpack`; by the source if it is not said.
    pub unpack: Option<bool>,
    /// `--checksum`.
    pub checksum: Option<Text>,
    /// `--exclude`, in order.
    pub exclude: Vec<Text>,
    /// At least one.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: Text,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// Switches off what the base image has.
    None,
    /// A command and when to run it.
    Probe(Box<Probe>),
}

/// The command of a `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The command.
    pub command: CommandLine,
    /// `--interval`.
    pub interval: Option<Text>,
    /// `--timeout`.
    pub timeout: Option<Text>,
    /// `--start-period`.
    pub start_period: Option<Text>,
    /// `--start-interval`.
    pub start_interval: Option<Text>,
    /// `--retries`.
    pub retries: Option<Text>,
}
