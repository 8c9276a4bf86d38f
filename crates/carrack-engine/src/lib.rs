//! Solves a build graph on this machine: keys, kept results, sandboxed commands, layers, images.
//!
//! [`Engine`] is the embedded [`Backend`]. It never knows which front end drew the graph; what it has to know about the
//! program that a step runs, a [`Tool`] tells it. [`Inputs`] hashes the sources where they lie.
//!
//! A result is used again when the step's static record has the same digest and everything that the step learned while
//! it ran is as it was, both by content. Modification times decide what is hashed again, never what is built again.
//!
//! # Why a result can be relied on
//!
//! | what may go wrong | what stands against it | module |
//! | --- | --- | --- |
//! | an input that is in no key | learned files and variables are compared by content before a result is used | `memo` |
//! | two checkouts with the same sources | learned files go by the paths that the command sees | `solve` |
//! | a program that compares times misses a change | it finds only results that fit by content, in a folder that is empty otherwise | `exec`, `world` |
//! | an input changes while the command runs | it runs again, or its result is not kept | `solve` |
//! | an input changes between being hashed and being packed | the layer is planned and written again | `layer` |
//! | the command writes into its sources | it writes into a layer above them; the user's version wins | `written` |
//! | another build changes the build folder | one build holds it; artifacts are hashed before their bytes are used | `solve` |
//! | the result was kept, its bytes are gone | the command runs again, once they are needed | `solve` |
//! | a killed run | what it built and wrote is thrown away | `exec` |
//!
//! What can't be recognised later (a learned path that is not UTF-8 or can't be read) is not kept: the command runs
//! each time.
//!
//! # Failure
//!
//! An [`EngineError`]. Whatever the end, what is in the store is whole: blobs first, the index last.

mod blobs;
mod closure;
mod error;
mod exec;
mod harvested;
mod image;
mod inputs;
mod keys;
mod layer;
mod listing;
mod memo;
mod process;
mod root;
mod shared;
mod solve;
mod why;
mod world;
mod written;

use std::collections::BTreeMap;
use std::sync::Arc;

use carrack_base::{Cancel, EventSink};
use carrack_graph::{Backend, BuildGraph, BuiltImage, CalledProgram, Tool};
use carrack_sandbox::Launcher;
use carrack_store::Store;

pub use blobs::StoreBlobs;
pub use error::EngineError;
pub use harvested::{PATIENCE, keep_harvested, take_locks};
pub use inputs::{Inputs, Source, Sources};
pub use root::{
    FetchedLayers, KeptLayer, LayerRule, LayerSource, Secret, Supplies, check_out, kept_layers,
    remove_layers, unpack_archive,
};
pub use shared::{AskedCaches, Mode, Patience, Shared, SharedCaches, export_mounts, import_mounts};

/// What a caller may choose about a build.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Uses nothing that an earlier build left.
    pub no_cache: bool,
    /// Uses and keeps no units around the calls of programs by commands of a root.
    pub no_units: bool,
    /// Whether files belong to this process, whatever their owners should be: it may not give any away.
    pub keeps_files: bool,
}

/// The embedded engine.
pub struct Engine<'a> {
    store: &'a Store,
    inputs: &'a Inputs<'a>,
    launcher: Launcher,
    tools: BTreeMap<&'static str, Arc<dyn Tool>>,
    shared: SharedCaches,
    source: Option<&'a dyn LayerSource>,
    supplies: Supplies,
    called: Option<Arc<dyn CalledProgram>>,
    options: Options,
}

impl<'a> Engine<'a> {
    /// An engine that keeps everything in `store` and starts commands through `launcher`.
    pub fn new(store: &'a Store, inputs: &'a Inputs<'a>, launcher: Launcher, options: Options) -> Self {
        let (tools, shared) = (BTreeMap::new(), SharedCaches::default());
        let (source, supplies, called) = (None, Supplies::default(), None);
        Self { store, inputs, launcher, tools, shared, source, supplies, called, options }
    }

    /// Makes a program known by the name that [`carrack_graph::ExecOp::tool`] uses.
    #[must_use]
    pub fn with_tool(mut self, name: &'static str, tool: Arc<dyn Tool>) -> Self {
        self.tools.insert(name, tool);
        self
    }

    /// Looks for units and results in caches that machines share, and puts them there.
    #[must_use]
    pub fn with_shared_caches(mut self, shared: SharedCaches) -> Self {
        self.shared = shared;
        self
    }

    /// Fetches layers of images from there.
    #[must_use]
    pub fn with_layers_from(mut self, source: &'a dyn LayerSource) -> Self {
        self.source = Some(source);
        self
    }

    /// Gives commands what no graph has: secrets, agents, certificates.
    #[must_use]
    pub fn with_supplies(mut self, supplies: Supplies) -> Self {
        self.supplies = supplies;
        self
    }

    /// Puts kept units around the calls of this program by commands of a root, unless the options say otherwise.
    #[must_use]
    pub fn with_called_program(mut self, called: Arc<dyn CalledProgram>) -> Self {
        self.called = Some(called);
        self
    }

    fn tool(&self, name: &str) -> &dyn Tool {
        &**self.tools.get(name).expect("whoever wires the engine names every tool that its front ends use")
    }
}

impl Backend<BuildGraph> for Engine<'_> {
    type Error = EngineError;

    fn build(
        &self,
        graph: &BuildGraph,
        events: &dyn EventSink,
        cancel: &Cancel,
    ) -> Result<Vec<BuiltImage>, EngineError> {
        let solver = solve::Solver::new(self, graph, self.inputs, events, cancel);
        let built = solver.images().and_then(|images| {
            solver.share()?;
            solver.share_steps()?;
            Ok(images)
        });
        let built = built.map_err(|error| EngineError::or_cancelled(error, cancel));
        self.inputs.save();
        built
    }
}
