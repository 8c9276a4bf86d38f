use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use carrack_base::{ImagePath, Platform};

use crate::{
    BaseOp, ContextOp, CopyOp, CopySource, FetchOp, FolderOp, GitOp, NodeId, RunMount, RunOp, StageOp,
    StageProgram,
};

/// One thing that a build has to do.
#[derive(Debug, Clone)]
pub enum Op {
    /// Folders of the host, hashed where they lie.
    Tree(TreeOp),
    /// A command in a root file system.
    Exec(ExecOp),
    /// What a program needs of the host to start: loader, libraries, certificates.
    Closure(ClosureOp),
    /// One layer of an image.
    Layer(LayerOp),
    /// One image.
    Image(ImageOp),
    /// A root file system to start from.
    Base(BaseOp),
    /// A command that changes a root file system.
    Run(RunOp),
    /// Files that are put into a root file system.
    Copy(CopyOp),
    /// A folder that is made in a root file system, unless it is there.
    Folder(FolderOp),
    /// A folder of the host, from which a step takes what it selects.
    Context(ContextOp),
    /// A file that is downloaded.
    Fetch(FetchOp),
    /// A commit of a git repository.
    Git(GitOp),
    /// An image that is a root file system and a configuration.
    Stage(StageOp),
}

/// Folders of the host whose content is an input.
#[derive(Debug, Clone, Default)]
pub struct TreeOp {
    /// The folders; none lies within another.
    pub trees: Vec<HostTree>,
}

/// One folder of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostTree {
    /// Where it lies.
    pub host: PathBuf,
    /// What keys and explanations call it: a path relative to the workspace, so that two checkouts agree; empty for
    /// the workspace itself.
    pub name: String,
    /// Folders below it, absolute, that are no input (the build folder).
    pub exclude: Vec<PathBuf>,
}

/// A command in a root file system.
#[derive(Debug, Clone)]
pub struct ExecOp {
    /// What the progress view calls it (`Compile`).
    pub name: String,
    /// Where it runs.
    pub root: ExecRoot,
    /// Which [`crate::Tool`] knows the program.
    pub tool: &'static str,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, EnvValue>,
    /// Working folder, as the command sees it.
    pub cwd: PathBuf,
    /// The [`TreeOp`] with its sources.
    pub sources: NodeId,
    /// Where it keeps what it builds.
    pub build_folder: BuildFolder,
    /// What else is mounted for it.
    pub mounts: Vec<ExecMount>,
    /// More facts that decide the result: what compiles, with which settings. Every one enters the key.
    pub identity: BTreeMap<String, String>,
    /// Names of the files that it has to make.
    pub artifacts: BTreeSet<String>,
}

/// The folder in which a command builds. One command uses it at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildFolder {
    /// Its name in the store: commands that name the same share it.
    pub id: String,
    /// Where the command sees it.
    pub target: PathBuf,
    /// Whose it is, in words for people: the folder of the workspace.
    pub owner: String,
}

/// The root file system of an [`ExecOp`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecRoot {
    /// The host's own, read-only.
    Host,
}

/// One variable of a command's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvValue {
    /// Its value.
    pub value: String,
    /// Whether it enters the key in any case. A variable that does not enters it once the command says that it read it.
    pub keyed: bool,
}

/// Something that a command finds at a fixed place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecMount {
    /// A folder of the host that the command may write to without changing it: writes go to a scratch folder that
    /// stays with the build folder.
    Scratch {
        /// Folder of the host.
        source: PathBuf,
        /// Where the command sees it.
        target: PathBuf,
    },
    /// A folder of Carrack's own that outlives the command.
    Folder {
        /// Folder of the host.
        source: PathBuf,
        /// Where the command sees it.
        target: PathBuf,
    },
    /// A file or folder of the host that the command may only read.
    ReadOnly {
        /// What the host has.
        source: PathBuf,
        /// Where the command sees it.
        target: PathBuf,
    },
    /// A file that is not there otherwise.
    Text {
        /// Where the command sees it.
        target: PathBuf,
        /// Its content.
        text: String,
    },
    /// A file or folder of the host that the command must not see.
    Mask {
        /// What is hidden.
        target: PathBuf,
    },
}

/// What a program needs of the host to start.
#[derive(Debug, Clone)]
pub struct ClosureOp {
    /// The [`ExecOp`] that made the program.
    pub exec: NodeId,
    /// Which of its artifacts.
    pub artifact: String,
    /// Whether the time zone database comes along.
    pub timezones: bool,
}

/// One layer of an image.
#[derive(Debug, Clone)]
pub struct LayerOp {
    /// What people call it (`libraries`, `binary`, `files`).
    pub title: &'static str,
    /// What is in it.
    pub parts: Vec<LayerPart>,
    /// Modification time of every entry, in seconds since the epoch.
    pub mtime: u64,
}

/// Something that goes into a layer.
#[derive(Debug, Clone)]
pub enum LayerPart {
    /// A program that an [`ExecOp`] made: mode 0755, owned by root.
    Artifact {
        /// The step.
        exec: NodeId,
        /// Which of its artifacts.
        artifact: String,
        /// Where it goes.
        to: ImagePath,
    },
    /// Everything that a [`ClosureOp`] found.
    Closure(NodeId),
    /// Files and folders of the host.
    Added(AddedFile),
    /// A file with these bytes.
    Text {
        /// Where it goes.
        to: ImagePath,
        /// Its content.
        text: String,
        /// Permission bits.
        mode: u32,
    },
    /// An empty folder.
    Folder {
        /// Where it goes.
        to: ImagePath,
        /// Permission bits.
        mode: u32,
        /// Who owns it.
        owner: Owner,
    },
}

/// A file or a whole folder of the host, copied into an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedFile {
    /// Where it lies.
    pub from: PathBuf,
    /// What keys and explanations call it (relative to the workspace).
    pub name: String,
    /// Where it goes; a folder's content goes below it.
    pub to: ImagePath,
    /// Permission bits of its files; as found (0644 or 0755) if there are none.
    pub mode: Option<u32>,
    /// Who owns it.
    pub owner: Owner,
}

/// Numeric owner of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One image.
#[derive(Debug, Clone)]
pub struct ImageOp {
    /// What people call it: the service.
    pub name: String,
    /// References that it gets, each with a tag.
    pub tags: Vec<String>,
    /// Its [`LayerOp`]s, lowest first.
    pub layers: Vec<NodeId>,
    /// Its configuration.
    pub settings: ImageSettings,
}

/// The configuration of an image in the words of `docker inspect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// For which machines it is.
    pub platform: Platform,
    /// Seconds since the epoch at which it says it was made.
    pub created: u64,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// User, as in `65532:65532`.
    pub user: String,
    /// Working folder.
    pub workdir: ImagePath,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that a caller replaces.
    pub cmd: Vec<String>,
    /// Ports, as in `8080/tcp`.
    pub ports: BTreeSet<String>,
    /// Folders that outlive a container.
    pub volumes: BTreeSet<ImagePath>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How to ask whether the service is well.
    pub healthcheck: Option<Probe>,
    /// Signal that stops it.
    pub stop_signal: Option<String>,
}

/// A health check. Times are nanoseconds; `None` leaves docker's default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `["CMD", program, …]`, or `["NONE"]`.
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval: Option<u64>,
    /// Time after which a check has failed.
    pub timeout: Option<u64>,
    /// Time at the start in which a failure does not count.
    pub start_period: Option<u64>,
    /// Time between two checks at the start.
    pub start_interval: Option<u64>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
}

impl Op {
    /// The name of its kind, as errors say it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tree(_) => "tree",
            Self::Exec(_) => "exec",
            Self::Closure(_) => "closure",
            Self::Layer(_) => "layer",
            Self::Image(_) | Self::Stage(_) => "image",
            Self::Base(_) | Self::Run(_) | Self::Copy(_) | Self::Folder(_) => "root",
            Self::Context(_) | Self::Fetch(_) | Self::Git(_) => "files",
        }
    }

    /// What it needs, with the kinds of which each may be.
    pub fn inputs(&self) -> Vec<(NodeId, &'static [&'static str])> {
        const ROOT: &[&str] = &["root"];
        const FILES: &[&str] = &["files", "root"];
        match self {
            Self::Tree(_) | Self::Base(_) | Self::Context(_) | Self::Fetch(_) | Self::Git(_) => Vec::new(),
            Self::Exec(exec) => vec![(exec.sources, &["tree"])],
            Self::Closure(closure) => vec![(closure.exec, &["exec"])],
            Self::Layer(layer) => layer
                .parts
                .iter()
                .filter_map(|part| match part {
                    LayerPart::Artifact { exec, .. } => Some((*exec, &["exec"][..])),
                    LayerPart::Closure(closure) => Some((*closure, &["closure"][..])),
                    LayerPart::Added(_) | LayerPart::Text { .. } | LayerPart::Folder { .. } => None,
                })
                .collect(),
            Self::Image(image) => image.layers.iter().map(|layer| (*layer, &["layer"][..])).collect(),
            Self::Run(run) => {
                let mounted = run.mounts.iter().filter_map(|mount| match mount {
                    RunMount::Bind { from, .. } => Some((*from, FILES)),
                    RunMount::Cache(cache) => cache.from.map(|from| (from, FILES)),
                    RunMount::Memory { .. }
                    | RunMount::Secret(_)
                    | RunMount::Agent(_)
                    | RunMount::Text { .. } => None,
                });
                std::iter::once((run.root, ROOT)).chain(mounted).collect()
            }
            Self::Copy(copy) => {
                let sources = copy.sources.iter().filter_map(|source| match source {
                    CopySource::Files { from, .. } => Some((*from, FILES)),
                    CopySource::Text { .. } => None,
                });
                std::iter::once((copy.onto, ROOT)).chain(sources).collect()
            }
            Self::Folder(folder) => vec![(folder.onto, ROOT)],
            Self::Stage(stage) => {
                let layers = stage.layers.iter().map(|layer| (*layer, &["layer"][..]));
                let made = stage.programs.iter().filter_map(|program| match program {
                    StageProgram::Artifact { exec, .. } => Some((*exec, &["exec"][..])),
                    StageProgram::File(_) => None,
                });
                std::iter::once((stage.root, ROOT)).chain(layers).chain(made).collect()
            }
        }
    }

    /// Calls `change` with everything that it needs, so that it can be another node.
    pub(crate) fn for_each_input(&mut self, change: &mut dyn FnMut(&mut NodeId)) {
        match self {
            Self::Tree(_) | Self::Base(_) | Self::Context(_) | Self::Fetch(_) | Self::Git(_) => {}
            Self::Exec(exec) => change(&mut exec.sources),
            Self::Closure(closure) => change(&mut closure.exec),
            Self::Layer(layer) => {
                for part in &mut layer.parts {
                    match part {
                        LayerPart::Artifact { exec, .. } => change(exec),
                        LayerPart::Closure(closure) => change(closure),
                        LayerPart::Added(_) | LayerPart::Text { .. } | LayerPart::Folder { .. } => {}
                    }
                }
            }
            Self::Image(image) => image.layers.iter_mut().for_each(change),
            Self::Run(run) => {
                change(&mut run.root);
                for mount in &mut run.mounts {
                    match mount {
                        RunMount::Bind { from, .. } => change(from),
                        RunMount::Cache(cache) => cache.from.iter_mut().for_each(&mut *change),
                        RunMount::Memory { .. }
                        | RunMount::Secret(_)
                        | RunMount::Agent(_)
                        | RunMount::Text { .. } => {}
                    }
                }
            }
            Self::Copy(copy) => {
                change(&mut copy.onto);
                for source in &mut copy.sources {
                    if let CopySource::Files { from, .. } = source {
                        change(from);
                    }
                }
            }
            Self::Folder(folder) => change(&mut folder.onto),
            Self::Stage(stage) => {
                change(&mut stage.root);
                stage.layers.iter_mut().for_each(&mut *change);
                for program in &mut stage.programs {
                    if let StageProgram::Artifact { exec, .. } = program {
                        change(exec);
                    }
                }
            }
        }
    }
}
