//! A Dockerfile and what is asked of it → a closed [`BuildGraph`], with the meaning that BuildKit gives it.
//!
//! ```text
//! Dockerfile ─┐
//! Request ────┼─ plan: which stages are needed, what each is based on ─ draw: instruction by instruction ─► Lowered
//! images ─────┘        (ONBUILD triggers of base images included)         (variables, configuration, ops)
//! ```
//!
//! | instruction | in the graph | in the configuration |
//! | --- | --- | --- |
//! | `FROM` | [`BaseOp`](carrack_graph::BaseOp), or the root of an earlier stage | everything that the base image says |
//! | `RUN` | [`RunOp`](carrack_graph::RunOp) | history |
//! | `COPY`, `ADD` | [`CopyOp`](carrack_graph::CopyOp), and what it copies from | history |
//! | `WORKDIR` | [`FolderOp`](carrack_graph::FolderOp), but not for `/` | `WorkingDir`, history |
//! | `ARG` | nothing | history, without a layer |
//! | all others | nothing | their field, and history without a layer |
//!
//! Of variables with the same name the one that was set last counts, be it by `ENV` or by `ARG`; a stage that is based on
//! another one begins with its `ARG`s, but the `ENV`s of that stage count more. Only `ENV` gets into the configuration.
//!
//! Several sources of a `COPY` make its destination a folder, with or without a slash at its end: BuildKit refuses neither.
//!
//! Only stages that the wanted one needs are drawn. Base images are asked for while it is planned, because their
//! configuration has to be known; nothing else is fetched, no file of a context is looked at. Fails at the first thing that
//! Docker would refuse before it runs anything, with its place; never panics, whatever the text is.

mod argument;
mod copy;
mod draw;
mod error;
mod go;
mod image;
mod outline;
mod plan;
mod reference;
mod remote;
mod request;
mod run;
mod settings;
mod steps;

use std::collections::BTreeSet;
use std::convert::Infallible;

use carrack_graph::{BuildGraph, GitOp, ImageResolver, NodeId, StepInfo};

use crate::dockerfile::Dockerfile;

pub use error::{LowerError, Refusal};
pub use outline::{Outline, OutlineArgument, OutlineMount, TargetStage, outline, targets};
pub use request::{Context, Request};

pub(crate) use argument::Variables;
pub(crate) use reference::whole as whole_reference;

/// What a Dockerfile has to be done.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// Everything that the image needs.
    pub graph: BuildGraph,
    /// The image.
    pub image: NodeId,
    /// The stage that it is made of: its name, or its number.
    pub stage: String,
    /// Build arguments of the request that no `ARG` asks for.
    pub unused: Vec<UnusedArgument>,
}

/// A build argument that nothing asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedArgument {
    /// Its name.
    pub name: String,
    /// An argument of the Dockerfile that looks like it.
    pub nearest: Option<String>,
}

/// The git repository that an address means; `None` if it is that of something else.
///
/// Errors: it is one of a repository, and makes no sense.
pub fn repository(address: &str) -> Result<Option<GitOp>, Refusal> {
    let step = StepInfo { name: address.to_owned(), origin: None, uncached: false };
    Ok(remote::git(address)?.map(|repository| repository.op(step, false, None)))
}

/// Draws what a Dockerfile has to be done for `request`.
///
/// Errors: the first thing that Docker would refuse, or an image that can't be had.
/// Source: Dockerfile frontend 1.x, "Dockerfile reference".
pub fn lower<E>(
    dockerfile: &Dockerfile,
    request: &Request,
    resolver: &dyn ImageResolver<Error = E>,
) -> Result<Lowered, LowerError<E>> {
    let globals = argument::Globals::read(dockerfile, request)?;
    let plan = plan::plan(dockerfile, request, &globals, resolver)?;
    draw::draw(dockerfile, request, &globals, &plan, resolver)
}

/// The numbers of the stages that the wanted one needs, itself included; `None` if that can't be told.
pub(crate) fn needed_stages(dockerfile: &Dockerfile, request: &Request) -> Option<BTreeSet<usize>> {
    let globals = argument::Globals::read::<Infallible>(dockerfile, request).ok()?;
    let plan = plan::without_images::<Infallible>(dockerfile, request, &globals).ok()?;
    Some(plan.reached())
}

/// What `FROM` lines see; `None` if something can't be expanded.
pub(crate) fn globals(dockerfile: &Dockerfile, request: &Request) -> Option<Variables> {
    argument::Globals::read::<Infallible>(dockerfile, request).ok().map(|globals| globals.variables)
}
