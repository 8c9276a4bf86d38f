//! The build graph: what has to be done, closed and typed before anything is done.
//!
//! A front end draws a [`BuildGraph`] of [`Op`]s; a [`Backend`] solves it. Nothing here runs or stores anything. The key
//! of every step is the digest of a [`KeyRecord`]; the record is kept, so that two of them can be compared field by
//! field ([`KeyRecord::changes`]) when someone asks why a step ran again.

mod call;
mod graph;
mod mode;
mod op;
mod port;
mod record;
mod stage;

pub use call::{
    Call, CallPlace, CalledProgram, Download, DownloadPlace, Invocation, LocalUnit, Question, RootView,
};
pub use graph::{BuildGraph, GraphError, NodeId};
pub use mode::{ModeChange, ModeClause};
pub use op::{
    AddedFile, BuildFolder, ClosureOp, EnvValue, ExecMount, ExecOp, ExecRoot, HostTree, ImageOp,
    ImageSettings, LayerOp, LayerPart, Op, Owner, Probe, TreeOp,
};
pub use port::{
    Backend, BuiltImage, ChosenUnit, HarvestedUnit, Observed, OfferedUnit, Places, Run, Tool, World,
};
pub use record::{Change, ChangeKind, Field, KeyRecord, Listing, RecordError};
pub use stage::{
    AgentMount, BaseOp, CacheMount, CacheSharing, ContextOp, CopyOp, CopySource, FetchOp, FolderOp, GitOp,
    ImageResolver, Network, PathFilter, ResolvedImage, RunMount, RunOp, SecretMount, StageOp, StageProgram,
    StepInfo, Unpack,
};
