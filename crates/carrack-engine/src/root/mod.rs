//! Root file systems: steps that change them, each adding a layer.
//!
//! ```text
//! BaseOp ──► layers of an image ─┐
//!                                ├─► RunOp · CopyOp · FolderOp ──► one layer more ──► … ──► StageOp ──► image
//! ContextOp · FetchOp · GitOp ───┘
//! ```
//!
//! A layer is known by the digest of what is in it (a snapshot's listing: kinds, modes, owners, contents, attributes, no
//! times), a layer of an image that nobody had to unpack yet by the digest of its bytes. The key of a step names the
//! layers that it starts from and what it takes of its sources, by content: a step that made the same again changes
//! nothing for those that follow, whatever ran.
//!
//! Layers of images are fetched and unpacked when a step has to read or change them, and not before; a layer is packed
//! when an image has to have it.
//!
//! | module | |
//! | --- | --- |
//! | `files`, `pattern`, `select` | trees of files, and what a step takes of them |
//! | `stack` | layers over one another, read without mounting them |
//! | `archive` | archives that `ADD` unpacks |
//! | `context` | a folder of the host as such a tree |
//! | `layers` | layers as the store has them: kept, fetched, unpacked, packed |
//! | `step` | what all steps have in common: keys, kept results, why-lines, events |
//! | `copy`, `writer` | `COPY`, `ADD`, `WORKDIR` |
//! | `fetch` | downloads and git repositories |
//! | `care` | what is kept, and how it goes |
//! | `run`, `mounts`, `agent` | `RUN` |
//! | `calls` | programs that commands call, with kept units around each call |
//! | `stage`, `loadable` | an image of a stage, and whether its programs would start |

mod agent;
mod archive;
mod calls;
mod care;
mod context;
mod copy;
mod fetch;
mod files;
mod layers;
mod loadable;
mod mounts;
mod pattern;
mod run;
mod select;
mod stack;
mod stage;
mod step;
mod writer;

pub use archive::unpack_archive;
pub(crate) use calls::Jobs;
pub use care::{KeptLayer, LayerRule, kept_layers, remove_layers};
pub(crate) use context::{ContextFiles, Filter};
pub use fetch::check_out;
pub(crate) use files::Files;
pub use layers::{FetchedLayers, LayerSource};
pub(crate) use layers::{Layers, RootValue, bring_mount, packed_folder};
pub use run::{Secret, Supplies};
pub(crate) use stack::Stack;
