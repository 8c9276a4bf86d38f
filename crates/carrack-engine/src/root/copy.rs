//! `COPY`, `ADD` and `WORKDIR`: which files go where, as BuildKit's copier does it.
//!
//! | source | destination is | result |
//! | --- | --- | --- |
//! | a file | a folder, or said to be one | the file in it, under its name |
//! | a file | anything else | the file there |
//! | a folder | whatever is no file | what is in it, there |
//!
//! Folders that are made on the way are 0755, or as `--chmod` says, and the owner's. A folder that is there keeps its attributes if it is the
//! destination, and gets the source's if it is below that. Something else in a folder's place, or a folder in a file's, is
//! an error.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use carrack_base::ContentDigest;
use carrack_graph::{CopyOp, CopySource, Field, FolderOp, KeyRecord, Listing, ModeChange, NodeId, Unpack};

use super::archive;
use super::files::{Files, Item, ItemKind, join, resolve};
use super::layers::RootValue;
use super::select::{Match, Selection, Taken};
use super::stack::Stack;
use super::step::LayerStep;
use super::writer::{Attributes, LayerWriter};
use crate::error::{At, EngineError};
use crate::solve::Solver;

/// Raised with every change of what a field means, or of what a step does.
const VERSION: u32 = 1;

impl Solver<'_> {
    pub(crate) fn copy(&self, op: &CopyOp) -> Result<RootValue, EngineError> {
        let onto = self.root_value(op.onto)?;
        let mut whole = blake3::Hasher::new();
        let mut described = Vec::new();
        for source in &op.sources {
            match source {
                CopySource::Files { from, path, unpack } => {
                    let taken =
                        Taken { from: *from, path, parents: op.parents, exclude: op.exclude.as_ref() };
                    whole.update(self.taken(&taken)?.as_bytes());
                    let unpacked = if *unpack == Unpack::Archives { ", unpacked" } else { "" };
                    described.push(format!("{path}{unpacked}"));
                }
                CopySource::Text { name, text } => {
                    whole.update(ContentDigest::of(text.as_bytes()).as_bytes());
                    described.push(name.clone());
                }
            }
        }
        let sources = ContentDigest::from_bytes(*whole.finalize().as_bytes());
        let mut record = KeyRecord::new("copy", VERSION);
        record
            .set("sources", Field::Listing(sources))
            .set("paths", Field::List(described))
            .text("to", format!("{}{}", op.to, if op.to_folder { "/" } else { "" }))
            .text("owner", op.owner.clone().unwrap_or_default())
            .text("mode", op.mode.as_ref().map(|mode| format!("{mode:?}")).unwrap_or_default())
            .text("exclude", op.exclude.as_ref().map(|filter| filter.fingerprint()).unwrap_or_default())
            .text("parents", op.parents.to_string())
            .text("link", op.link.to_string());
        // Names of owners are looked up in the root.
        let owner_is_named =
            op.owner.as_deref().is_some_and(|owner| owner.contains(|c: char| c.is_alphabetic()));
        if !op.link || owner_is_named {
            record.set("root", Field::List(onto.ids()));
        }
        let list = || self.list_sources(op).unwrap_or_default();
        let step = LayerStep { info: &op.step, record, sources: Some((sources, &list)) };
        let snapshot = self.layer_of(&step, |_| self.write_copy(op, &onto))?;
        Ok(onto.with(snapshot))
    }

    /// The content of what a step takes, by name.
    fn list_sources(&self, op: &CopyOp) -> Result<Listing, EngineError> {
        let mut listing = Listing::new();
        for source in &op.sources {
            match source {
                CopySource::Files { from, path, .. } => self.selected(op, *from, path)?.list(&mut listing),
                CopySource::Text { name, text } => {
                    listing.insert(name.clone(), ContentDigest::of(text.as_bytes()));
                }
            }
        }
        Ok(listing)
    }

    fn selected(&self, op: &CopyOp, from: NodeId, path: &str) -> Result<Selection, EngineError> {
        Selection::find(self.files(from)?, path, op.parents, op.exclude.clone(), &self.called(from))
    }

    fn write_copy(&self, op: &CopyOp, onto: &RootValue) -> Result<ContentDigest, EngineError> {
        let below = self.layers.stack(onto)?;
        let owner = op.owner.as_ref().map(|owner| below.accounts().owner(owner)).transpose()?;
        let below = if op.link { Stack::default() } else { below };
        self.write_layer_of(&op.step.name, &below, |writer, staging| {
            for (number, source) in op.sources.iter().enumerate() {
                match source {
                    CopySource::Text { name, text } => {
                        let to = destination(writer, op, name.as_bytes(), false)?;
                        make_above(writer, op, &to, owner)?;
                        let mode = op.mode.as_ref().map_or(0o644, |mode| mode.apply(0o644, false));
                        let (uid, gid) = owner.unwrap_or_default();
                        writer.text(&to, text.as_bytes(), Attributes { mode, uid, gid })?;
                    }
                    CopySource::Files { from, path, unpack } => {
                        let selection = self.selected(op, *from, path)?;
                        for (index, matched) in selection.matches.iter().enumerate() {
                            if *unpack == Unpack::Archives
                                && let Some(archive) = archive(&selection, matched)?
                            {
                                let to = folder_of(writer, op)?;
                                let (uid, gid) = owner.unwrap_or_default();
                                writer.make_folders(&to, Attributes { mode: 0o755, uid, gid })?;
                                let staging = staging.join(format!("{number}-{index}"));
                                fs::create_dir(&staging).at("create", &staging)?;
                                writer.unpack(archive, &to, &staging, owner)?;
                                continue;
                            }
                            copy_match(writer, op, &selection, matched, owner)?;
                        }
                    }
                }
            }
            Ok(())
        })
    }

    /// Writes a layer with `fill` and keeps it.
    pub(crate) fn write_layer_of(
        &self,
        name: &str,
        below: &Stack,
        fill: impl FnOnce(&mut LayerWriter<'_>, &Path) -> Result<(), EngineError>,
    ) -> Result<ContentDigest, EngineError> {
        let scratch = self.store().scratch()?;
        let [files, staging] = ["files", "staging"].map(|name| scratch.path().join(name));
        for folder in [&files, &staging] {
            fs::create_dir(folder).at("create", folder)?;
        }
        let mut writer = LayerWriter::new(below, files, self.layers.gives_away)?;
        fill(&mut writer, &staging)?;
        let (files, listing) = writer.finish()?;
        self.layers.keep(&files, &listing, name)
    }

    pub(crate) fn folder(&self, op: &FolderOp) -> Result<RootValue, EngineError> {
        let onto = self.root_value(op.onto)?;
        let mut record = KeyRecord::new("folder", VERSION);
        record
            .text("path", op.path.as_str())
            .text("owner", op.owner.clone().unwrap_or_default())
            .set("root", Field::List(onto.ids()));
        let step = LayerStep { info: &op.step, record, sources: None };
        let snapshot = self.layer_of(&step, |_| {
            let below = self.layers.stack(&onto)?;
            let owner = op.owner.as_ref().map(|owner| below.accounts().person(owner)).transpose()?;
            let (uid, gid) = owner.map(|person| (person.uid, person.gid)).unwrap_or_default();
            self.write_layer_of(&op.step.name, &below, |writer, _| {
                let path = resolved(writer, op.path.relative().as_bytes())?;
                writer.make_folders(&path, Attributes { mode: 0o755, uid, gid })
            })
        })?;
        Ok(onto.with(snapshot))
    }

    /// A part of a tree as a layer of its own, at its root: what a command can mount.
    pub(crate) fn part_as_layer(
        &self,
        files: Arc<dyn Files + Send>,
        path: &str,
        origin: &str,
    ) -> Result<(ContentDigest, bool), EngineError> {
        let selection = Selection::find(Arc::clone(&files), path, false, None, origin)?;
        let matched = &selection.matches[0];
        let below = Stack::default();
        let snapshot = self.write_layer_of(origin, &below, |writer, _| {
            let Item { mode, uid, gid, .. } = matched.item;
            if matched.item.is_folder() {
                return writer.copy_below(&*files, &matched.place, b"");
            }
            let attributes = Attributes { mode, uid, gid };
            writer.copy(&*files, &matched.place, &matched.item, b"file", attributes, true)
        })?;
        Ok((snapshot, matched.item.is_folder()))
    }
}

fn copy_match(
    writer: &mut LayerWriter<'_>,
    op: &CopyOp,
    selection: &Selection,
    matched: &Match,
    owner: Option<(u32, u32)>,
) -> Result<(), EngineError> {
    let files = &*selection.files;
    writer.forget_links();
    let attributes = |item: &Item| {
        let (uid, gid) = owner.unwrap_or((item.uid, item.gid));
        let is_link = matches!(item.kind, ItemKind::Link { .. });
        let mode = match &op.mode {
            Some(mode) if !is_link => mode.apply(item.mode, item.is_folder()),
            _ => item.mode,
        };
        Attributes { mode, uid, gid }
    };
    let to = if op.parents {
        let to = folder_of(writer, op)?;
        make_parents(writer, op, files, matched, &to, &attributes, owner)?
    } else {
        destination(writer, op, &matched.name, matched.item.is_folder())?
    };
    if !matched.item.is_folder() {
        make_above(writer, op, &to, owner)?;
        let to = if op.parents { join(&to, &matched.name) } else { to };
        return writer.copy(files, &matched.place, &matched.item, &to, attributes(&matched.item), true);
    }
    writer.make_folders(&to, folder_attributes(op, owner))?;
    selection.walk(&matched.place, &mut |path, place, item| {
        writer.copy(files, place, item, &join(&to, path), attributes(item), true)
    })
}

/// Makes the folders that come along with a source; returns the last.
fn make_parents(
    writer: &mut LayerWriter<'_>,
    op: &CopyOp,
    files: &dyn Files,
    matched: &Match,
    to: &[u8],
    attributes: &dyn Fn(&Item) -> Attributes,
    owner: Option<(u32, u32)>,
) -> Result<Vec<u8>, EngineError> {
    writer.make_folders(to, folder_attributes(op, owner))?;
    let (mut from, mut to) = (matched.pivot.clone(), to.to_vec());
    for name in super::files::parts(&matched.above) {
        (from, to) = (join(&from, name), join(&to, name));
        let place = resolve(files, &from, true).unwrap_or_default();
        match files.item(&place) {
            Some(item) => writer.copy(files, &place, &item, &to, attributes(&item), true)?,
            None => writer.make_folders(&to, folder_attributes(op, owner))?,
        }
    }
    Ok(to)
}

/// Where a source goes.
fn destination(
    writer: &LayerWriter<'_>,
    op: &CopyOp,
    name: &[u8],
    is_folder: bool,
) -> Result<Vec<u8>, EngineError> {
    let to = folder_of(writer, op)?;
    let into = op.to_folder || writer.item(&to).is_some_and(|there| there.is_folder());
    Ok(if into && !is_folder { join(&to, name) } else { to })
}

fn folder_of(writer: &LayerWriter<'_>, op: &CopyOp) -> Result<Vec<u8>, EngineError> {
    resolved(writer, op.to.relative().as_bytes())
}

fn resolved(writer: &LayerWriter<'_>, path: &[u8]) -> Result<Vec<u8>, EngineError> {
    resolve(writer, path, true)
        .ok_or_else(|| EngineError::CircularLink { path: format!("/{}", String::from_utf8_lossy(path)) })
}

fn make_above(
    writer: &mut LayerWriter<'_>,
    op: &CopyOp,
    path: &[u8],
    owner: Option<(u32, u32)>,
) -> Result<(), EngineError> {
    match super::files::parent(path) {
        Some(above) => writer.make_folders(above, folder_attributes(op, owner)),
        None => Ok(()),
    }
}

/// What folders get that are made on the way: they are the owner's, and a number of `--chmod` is for them too, under the usual
/// mask.
fn folder_attributes(op: &CopyOp, owner: Option<(u32, u32)>) -> Attributes {
    let (uid, gid) = owner.unwrap_or_default();
    let mode = match op.mode {
        Some(ModeChange::Bits(bits)) => bits & 0o755,
        Some(ModeChange::Clauses(_)) | None => 0o755,
    };
    Attributes { mode, uid, gid }
}

/// The archive that a file is, uncompressed, if it is one.
fn archive(selection: &Selection, matched: &Match) -> Result<Option<Box<dyn Read + Send>>, EngineError> {
    if !matches!(matched.item.kind, ItemKind::File { .. }) {
        return Ok(None);
    }
    let path = selection.files.on_host(&matched.place);
    let file = File::open(&path).at("open", &path)?;
    archive::recognised(file).at("read", &path)
}
