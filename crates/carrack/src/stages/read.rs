//! A build as far as nobody is asked for an image: its Dockerfile, and what is asked of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use carrack_base::SourceText;
use carrack_buildkit::DockerBuild;
use carrack_docker::check::{DockerFacts, DockerReport, check_docker};
use carrack_docker::dockerfile::{self, Dockerfile};
use carrack_docker::dockerignore::Dockerignore;
use carrack_docker::lower::Request;
use carrack_graph::ResolvedImage;
use carrack_store::Store;

use super::context::{self, Place};
use super::{Extras, request};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::snippet;

/// What a build's options and its Dockerfile say.
pub(crate) struct Read {
    pub(crate) dockerfile: Dockerfile,
    pub(crate) request: Request,
    ignore: Option<Dockerignore>,
    /// What was unpacked or checked out has to stay until the end.
    pub(super) place: Place,
}

impl Read {
    /// Reads them; `unnamed` is what a Dockerfile without a file is called.
    ///
    /// Errors: a file that is not there, a Dockerfile or an option that makes no sense.
    pub(crate) fn of(
        build: &DockerBuild,
        extras: &Extras,
        caller: &Caller,
        store: &Store,
        unnamed: &Path,
    ) -> Result<Self, Failure> {
        let place = context::place(build, caller, store)?;
        let (path, text) = place.dockerfile(build, unnamed)?;
        let dockerfile =
            dockerfile::parse(&Arc::new(SourceText { path, text })).map_err(Failure::Dockerfile)?;
        let ignore = place.ignore(build)?;
        let request = request::of(build, extras, caller, place.context(ignore.clone()))?;
        Ok(Self { dockerfile, request, ignore, place })
    }

    /// The Dockerfile's name for messages.
    pub(super) fn shown(&self) -> String {
        snippet::shown(&self.dockerfile.source.path)
    }

    /// What Docker's checks find in every stage, without asking for an image.
    pub(crate) fn check(&self) -> DockerReport {
        let facts = DockerFacts { ignore: self.ignore.clone(), ..DockerFacts::default() };
        check_docker(&self.dockerfile, &self.request, &facts)
    }

    /// What they find in what is built, with its base images.
    pub(super) fn check_build(&self, images: BTreeMap<String, ResolvedImage>) -> DockerReport {
        let facts = DockerFacts { ignore: self.ignore.clone(), images, only_needed: true };
        check_docker(&self.dockerfile, &self.request, &facts)
    }
}
