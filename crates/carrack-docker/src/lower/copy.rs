//! `COPY` and `ADD`.

use std::sync::Arc;

use carrack_base::Digest;
use carrack_graph::{CopyOp, CopySource, FetchOp, ModeChange, NodeId, Op, PathFilter, StepInfo, Unpack};

use super::argument::expand_flag;
use super::draw::{Current, Drawing, clean, image_path};
use super::error::Refusal;
use super::plan::Command;
use super::remote;
use crate::dockerfile::{Add, Copy, Source, Text, expand_document};
use crate::dockerignore::{Dockerignore, DockerignoreError};

/// What both instructions say.
struct Files<'f> {
    name: &'static str,
    sources: &'f [Source],
    destination: &'f Text,
    chown: &'f Option<Text>,
    chmod: &'f Option<Text>,
    exclude: &'f [Text],
    parents: bool,
    link: bool,
    /// What `ADD` says besides.
    add: Option<&'f Add>,
}

pub(super) fn copy(
    drawing: &mut Drawing<'_>,
    current: &mut Current,
    command: &Command<'_>,
    copy: &Copy,
    origins: &[Option<NodeId>],
) -> Result<(), Refusal> {
    let files = Files {
        name: "COPY",
        sources: &copy.sources,
        destination: &copy.destination,
        chown: &copy.chown,
        chmod: &copy.chmod,
        exclude: &copy.exclude,
        parents: copy.parents,
        link: copy.link,
        add: None,
    };
    files.draw(drawing, current, command, origins.first().copied().flatten())
}

pub(super) fn add(
    drawing: &mut Drawing<'_>,
    current: &mut Current,
    command: &Command<'_>,
    add: &Add,
) -> Result<(), Refusal> {
    let files = Files {
        name: "ADD",
        sources: &add.sources,
        destination: &add.destination,
        chown: &add.chown,
        chmod: &add.chmod,
        exclude: &add.exclude,
        parents: false,
        link: add.link,
        add: Some(add),
    };
    files.draw(drawing, current, command, None)
}

impl Files<'_> {
    fn draw(
        &self,
        drawing: &mut Drawing<'_>,
        current: &mut Current,
        command: &Command<'_>,
        from: Option<NodeId>,
    ) -> Result<(), Refusal> {
        let escape = drawing.dockerfile.escape;
        let variables = &current.state.variables;
        let owner = expand_flag(variables, self.chown, escape)?;
        let chmod = expand_flag(variables, self.chmod, escape)?;
        let mode = match &chmod {
            Some(text) => {
                Some(ModeChange::parse(text).ok_or_else(|| Refusal::BadMode { mode: text.clone() })?)
            }
            None => None,
        };
        let checksum = match self.add {
            Some(add) => expand_flag(variables, &add.checksum, escape)?,
            None => None,
        };
        let expanded = |text: &Text| current.expand(text, escape);
        let exclude = self.exclude.iter().map(expanded).collect::<Result<Vec<_>, _>>()?;
        let exclude = Dockerignore::of_patterns(&exclude)
            .map_err(|DockerignoreError { pattern, .. }| Refusal::BadPattern { pattern })?
            .map(|exclude| Arc::new(exclude) as Arc<dyn PathFilter>);
        let destination = expanded(self.destination)?;
        let mut paths = Vec::new();
        let mut documents = Vec::new();
        for source in self.sources {
            match source {
                Source::Path(path) => paths.push(expanded(path)?),
                Source::Heredoc(document) => {
                    let text = match document.expands {
                        true => {
                            let value_of = |name: &str| current.state.variables.get(name).map(str::to_owned);
                            expand_document(&document.text, &value_of)?
                        }
                        false => document.text.to_string(),
                    };
                    documents.push((document.name.clone(), text));
                }
            }
        }
        self.check(&paths, checksum.as_ref(), documents.len())?;
        let to = image_path(&current.folder(), &destination)?;
        let step = drawing.next_step(current, command, current.uncached);
        let mut sources = Vec::new();
        for path in &paths {
            sources.push(self.source(drawing, current, command, path, from, &checksum, &step)?);
        }
        let mut record = self.name.to_owned();
        let flags = [("--chown", &owner), ("--chmod", &chmod)];
        record.push_str(if self.parents { " --parents" } else { "" });
        for (flag, value) in flags.into_iter().filter_map(|(flag, value)| Some((flag, value.as_ref()?))) {
            record.push_str(&format!(" {flag}={value}"));
        }
        paths.iter().for_each(|path| record.push_str(&format!(" {path}")));
        documents.iter().for_each(|(name, _)| record.push_str(&format!(" <<{name}")));
        record.push_str(&format!(" {destination} # buildkit"));
        let texts = documents.into_iter().map(|(name, text)| CopySource::Text { name, text });
        sources.extend(texts);
        let op = CopyOp {
            step,
            onto: current.state.root,
            to_folder: is_folder(&destination),
            sources,
            to,
            owner,
            mode,
            exclude,
            parents: self.parents,
            link: self.link,
        };
        current.state.root = drawing.add(Op::Copy(op));
        current.state.image.record(record, true, drawing.globals.epoch);
        Ok(())
    }

    /// What can't go together.
    fn check(&self, paths: &[String], checksum: Option<&String>, documents: usize) -> Result<(), Refusal> {
        for path in paths {
            let is_remote = remote::git(path)?.is_some() || remote::is_url(path);
            if is_remote && self.add.is_none() {
                return Err(Refusal::RemoteCopy { address: path.clone() });
            }
            if checksum.is_some() && (paths.len() + documents != 1 || !is_remote) {
                return Err(Refusal::MisplacedChecksum);
            }
        }
        match checksum.is_some() && paths.is_empty() {
            true => Err(Refusal::MisplacedChecksum),
            false => Ok(()),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is another part of one instruction")]
    fn source(
        &self,
        drawing: &mut Drawing<'_>,
        current: &Current,
        command: &Command<'_>,
        path: &str,
        from: Option<NodeId>,
        checksum: &Option<String>,
        step: &StepInfo,
    ) -> Result<CopySource, Refusal> {
        let unpack = self.add.and_then(|add| add.unpack);
        if let Some(repository) = remote::git(path)? {
            if let (Some(said), Some(wanted)) = (&repository.checksum, checksum)
                && said != wanted
            {
                return Err(Refusal::BadChecksum { checksum: wanted.clone() });
            }
            let keep_git = self.add.is_some_and(|add| add.keep_git_dir);
            let git = repository.op(step.clone(), keep_git, checksum.clone());
            let from = drawing.add(Op::Git(git));
            return Ok(CopySource::Files { from, path: ".".to_owned(), unpack: Unpack::Never });
        }
        if remote::is_url(path) {
            let digest = match checksum {
                Some(text) => {
                    let digest = text.parse::<Digest>();
                    Some(digest.map_err(|_| Refusal::BadChecksum { checksum: text.clone() })?)
                }
                None => None,
            };
            let name = remote::file_name(path);
            let fetch =
                FetchOp { step: step.clone(), url: path.to_owned(), checksum: digest, name: name.clone() };
            let from = drawing.add(Op::Fetch(fetch));
            let unpack = if unpack == Some(true) { Unpack::Archives } else { Unpack::Never };
            return Ok(CopySource::Files { from, path: name, unpack });
        }
        let from = match from {
            Some(from) => from,
            None => drawing.context(None, &drawing.range(current, command))?,
        };
        let unpacks = unpack.unwrap_or(self.add.is_some());
        let unpack = if unpacks { Unpack::Archives } else { Unpack::Never };
        Ok(CopySource::Files { from, path: self.below(path), unpack })
    }

    /// A source's path below what it is a part of; `.` for all of it. The `/./` of `--parents` stays.
    fn below(&self, path: &str) -> String {
        let relative = |path: &str| clean("/", path)[1..].to_owned();
        if self.parents
            && let Some((folder, rest)) = path.split_once("/./")
        {
            let (folder, rest) = (relative(folder), relative(rest));
            if !folder.is_empty() {
                return format!("{folder}/./{rest}");
            }
            return if rest.is_empty() { ".".to_owned() } else { rest };
        }
        let relative = relative(path);
        if relative.is_empty() { ".".to_owned() } else { relative }
    }
}

/// Whether a destination is a folder by the way it is written.
fn is_folder(destination: &str) -> bool {
    let last = destination.rsplit('/').next().unwrap_or_default();
    ["", ".", ".."].contains(&last)
}
