//! Ops that change root file systems: what a Dockerfile's instructions are drawn with.
//!
//! A *root* is a whole file system as a stack of layers; *files* are what a step may take from without starting from it.
//! [`BaseOp`] gives the first root of a stage, [`RunOp`], [`CopyOp`] and [`FolderOp`] each give a root with one layer more,
//! and [`StageOp`] makes an image of the last one.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use carrack_base::{Digest, ImagePath, Platform, Span};

use crate::{EnvValue, ModeChange, NodeId};

/// What people see of a step, and how it is solved.
#[derive(Debug, Clone)]
pub struct StepInfo {
    /// What the progress view calls it (`[builder 3/7] RUN cargo build`).
    pub name: String,
    /// The instruction that asks for it.
    pub origin: Option<Span>,
    /// Whether no kept result may be used.
    pub uncached: bool,
}

/// A root file system to start from.
#[derive(Debug, Clone)]
pub struct BaseOp {
    /// What people see.
    pub step: StepInfo,
    /// An image, or nothing at all.
    pub image: Option<ResolvedImage>,
}

/// An image of which name and content are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The reference with its tag or digest (`docker.io/library/debian:bookworm-slim`).
    pub reference: String,
    /// Digest of the manifest for one platform.
    pub manifest: Digest,
    /// The configuration, as JSON.
    pub config: Vec<u8>,
    /// For which machines it is.
    pub platform: Platform,
}

/// Finds images by name, for a front end that has to know their configuration.
pub trait ImageResolver {
    /// Why an image can't be had.
    type Error;

    /// The image that `reference` names now, for `platform`.
    ///
    /// Errors: there is no such image, or nobody can be asked.
    fn resolve(&self, reference: &str, platform: &Platform) -> Result<ResolvedImage, Self::Error>;
}

/// A command that changes a root file system.
#[derive(Debug, Clone)]
pub struct RunOp {
    /// What people see.
    pub step: StepInfo,
    /// What it starts from.
    pub root: NodeId,
    /// Program and arguments. A program without a slash is looked for in `PATH`.
    pub argv: Vec<String>,
    /// The whole environment, in order.
    pub env: Vec<(String, EnvValue)>,
    /// Working folder.
    pub cwd: ImagePath,
    /// Who runs it: `user`, `user:group`, by name or number; root if empty.
    pub user: String,
    /// What is mounted for it, in order.
    pub mounts: Vec<RunMount>,
    /// What it may reach.
    pub network: Network,
    /// Whether it has all capabilities of its namespace.
    pub insecure: bool,
    /// More lines of its `/etc/hosts`: name and address.
    pub hosts: Vec<(String, String)>,
    /// Size of `/dev/shm` in bytes; the kernel's default if there is none.
    pub shm_size: Option<u64>,
    /// Limits by name (`nofile`): soft and hard.
    pub limits: Vec<(String, u64, u64)>,
}

/// What a command may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// What the builder gives to everyone.
    #[default]
    Default,
    /// Nothing but itself.
    None,
    /// What the host may reach.
    Host,
}

/// Something that is mounted for one command and is no part of its result.
#[derive(Debug, Clone)]
pub enum RunMount {
    /// Files from elsewhere. What the command writes there is thrown away.
    Bind {
        /// Where the command sees it.
        target: ImagePath,
        /// What it is a part of.
        from: NodeId,
        /// Which part; the whole is `/`.
        source: ImagePath,
        /// Whether the command may write.
        writable: bool,
    },
    /// A folder that stays on this machine.
    Cache(CacheMount),
    /// A memory file system.
    Memory {
        /// Where the command sees it.
        target: ImagePath,
        /// Largest size in bytes.
        size: Option<u64>,
    },
    /// A secret.
    Secret(SecretMount),
    /// An SSH agent.
    Agent(AgentMount),
    /// A file that can only be read.
    Text {
        /// Where the command sees it; folders above it are made.
        target: ImagePath,
        /// Its content.
        text: String,
        /// Permission bits.
        mode: u32,
    },
}

/// A folder that stays on this machine.
#[derive(Debug, Clone)]
pub struct CacheMount {
    /// Where the command sees it.
    pub target: ImagePath,
    /// Its name: mounts with the same name are the same folder.
    pub id: String,
    /// Who may use it at the same time.
    pub sharing: CacheSharing,
    /// What it holds in the beginning.
    pub from: Option<NodeId>,
    /// Which part of that.
    pub source: ImagePath,
    /// Whether the command may only read.
    pub readonly: bool,
    /// Permission bits of the folder when it is made.
    pub mode: u32,
    /// Its owner then.
    pub uid: u32,
    /// Its group then.
    pub gid: u32,
}

/// Who may use a cache mount at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheSharing {
    /// Everyone.
    Shared,
    /// Each command gets one of its own.
    Private,
    /// One command after the other.
    Locked,
}

/// A secret for one command.
#[derive(Debug, Clone)]
pub struct SecretMount {
    /// Its name.
    pub id: String,
    /// The file that it is in.
    pub target: Option<ImagePath>,
    /// The variable that it is in.
    pub env: Option<String>,
    /// Whether the command can't run without.
    pub required: bool,
    /// Permission bits of the file.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// An SSH agent's socket for one command.
#[derive(Debug, Clone)]
pub struct AgentMount {
    /// Its name.
    pub id: String,
    /// Where the command sees the socket.
    pub target: ImagePath,
    /// Whether the command can't run without.
    pub required: bool,
    /// Permission bits of the socket.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Files that are put into a root file system.
#[derive(Debug, Clone)]
pub struct CopyOp {
    /// What people see.
    pub step: StepInfo,
    /// What they are put onto.
    pub onto: NodeId,
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Where to. Symbolic links on the way are followed inside of the root.
    pub to: ImagePath,
    /// Whether that is a folder in any case: it was written with a slash at its end, or there are several sources.
    pub to_folder: bool,
    /// `user`, `user:group`, by name or number; as at the source if nothing is said (root for files of a context).
    pub owner: Option<String>,
    /// Permission bits; as at the source if nothing is said.
    pub mode: Option<ModeChange>,
    /// What is left out, by its path below each source.
    pub exclude: Option<Arc<dyn PathFilter>>,
    /// Whether the folders above a source come along, from a `/./` in its path or from its beginning.
    pub parents: bool,
    /// Whether nothing of the root below matters: no symbolic link is followed, no folder is looked for.
    pub link: bool,
}

/// One source of a [`CopyOp`].
#[derive(Debug, Clone)]
pub enum CopySource {
    /// A file, or what is in a folder.
    Files {
        /// What it is a part of.
        from: NodeId,
        /// Path or pattern below that, as written.
        path: String,
        /// What is done with archives.
        unpack: Unpack,
    },
    /// A file with this content, mode 0644.
    Text {
        /// Its name.
        name: String,
        /// Its content.
        text: String,
    },
}

/// What is done with archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unpack {
    /// They are files like others.
    #[default]
    Never,
    /// Those that are recognised by their content are unpacked (`ADD` of local files).
    Archives,
}

/// A folder that is made in a root file system, unless it is there.
#[derive(Debug, Clone)]
pub struct FolderOp {
    /// What people see.
    pub step: StepInfo,
    /// Where it is made.
    pub onto: NodeId,
    /// Its path; folders above it are made as well.
    pub path: ImagePath,
    /// Who owns what is made, as in [`CopyOp::owner`]; root if nothing is said.
    pub owner: Option<String>,
}

/// Which files of a context count.
pub trait PathFilter: fmt::Debug + Send + Sync {
    /// Whether a path, relative to the context, is left out.
    fn ignores(&self, path: &str) -> bool;

    /// Whether something below a folder that is left out may count nevertheless.
    fn may_take_back(&self, folder: &str) -> bool;

    /// Everything that decides, for keys.
    fn fingerprint(&self) -> String;
}

/// A folder of the host, from which a step takes what it selects.
#[derive(Debug, Clone)]
pub struct ContextOp {
    /// What people call it: `context`, or its name.
    pub name: String,
    /// Where it lies.
    pub folder: PathBuf,
    /// What of it counts; everything if there is none.
    pub filter: Option<Arc<dyn PathFilter>>,
}

/// A file that is downloaded.
#[derive(Debug, Clone)]
pub struct FetchOp {
    /// What people see.
    pub step: StepInfo,
    /// Its address.
    pub url: String,
    /// What it has to be.
    pub checksum: Option<Digest>,
    /// What it is called.
    pub name: String,
}

/// A commit of a git repository.
#[derive(Debug, Clone)]
pub struct GitOp {
    /// What people see.
    pub step: StepInfo,
    /// Its address, as git takes it.
    pub remote: String,
    /// Branch, tag or commit; the default branch if nothing is said.
    pub reference: Option<String>,
    /// The folder that counts.
    pub subfolder: Option<String>,
    /// Whether `.git` comes along.
    pub keep_git: bool,
    /// What its commit has to begin with.
    pub checksum: Option<String>,
    /// Whether submodules come along.
    pub submodules: bool,
}

/// A program of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageProgram {
    /// What an [`ExecOp`](crate::ExecOp) made.
    Artifact {
        /// The step.
        exec: NodeId,
        /// Which of its artifacts.
        artifact: String,
    },
    /// A file of the image.
    File(ImagePath),
}

/// An image that is a root file system and a configuration.
#[derive(Debug, Clone)]
pub struct StageOp {
    /// What people call it: its first tag, else its stage.
    pub name: String,
    /// References that it gets, each with a tag.
    pub tags: Vec<String>,
    /// What is in it.
    pub root: NodeId,
    /// More [`LayerOp`](crate::LayerOp)s over that, the lowest first.
    pub layers: Vec<NodeId>,
    /// Programs that have to find everything that they need in `root`.
    pub programs: Vec<StageProgram>,
    /// Its configuration as JSON, with a history that has an entry for each layer and without `rootfs`.
    pub config: Vec<u8>,
    /// Seconds since the epoch at which it says it was made.
    pub created: u64,
}
