//! Decides what goes into a layer, and writes it if no layer with the same content is there.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use carrack_base::{ContentDigest, Digest, ImagePath};
use carrack_context::{Entry, EntryKind};
use carrack_graph::{AddedFile, LayerOp, LayerPart, Owner};
use carrack_oci::{Attributes, Content, LayerBuilder, LayerError};
use serde::{Deserialize, Serialize};

use crate::closure::ClosureEntry;
use crate::error::{At, EngineError};
use crate::solve::{ClosureValue, Solver};

/// One entry of a layer before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) to: ImagePath,
    mode: u32,
    owner: Owner,
    kind: PlannedKind,
}

/// What kind of entry it is, and where its content comes from.
#[derive(Debug, Clone)]
enum PlannedKind {
    /// `on_the_way`: only there because something is in it.
    Folder {
        on_the_way: bool,
    },
    Link {
        target: String,
    },
    Text {
        text: String,
    },
    Host {
        from: PathBuf,
        digest: ContentDigest,
    },
    Artifact {
        exec: carrack_graph::NodeId,
        name: String,
        digest: ContentDigest,
    },
}

/// A layer in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WrittenLayer {
    /// Of the compressed blob.
    pub(crate) digest: Digest,
    /// Of the compressed blob, in bytes.
    pub(crate) size: u64,
    /// Of the tar within.
    pub(crate) diff_id: Digest,
}

impl Planned {
    /// Everything about the entry that reaches the layer, in one line for the key record.
    pub(crate) fn describe(&self) -> String {
        let Owner { uid, gid } = self.owner;
        let rest = format!("{:04o} {uid}:{gid}", self.mode);
        match &self.kind {
            PlannedKind::Folder { .. } => format!("folder {rest}"),
            PlannedKind::Link { target } => format!("link {target}"),
            PlannedKind::Text { text } => format!("file {} {rest}", ContentDigest::of(text.as_bytes())),
            PlannedKind::Host { digest, .. } | PlannedKind::Artifact { digest, .. } => {
                format!("file {digest} {rest}")
            }
        }
    }
}

impl Solver<'_> {
    /// The entries of a layer, with the digests of their content.
    pub(crate) fn planned(&self, op: &LayerOp) -> Result<Vec<Planned>, EngineError> {
        let mut planned = Vec::new();
        let root = Owner::default();
        for part in &op.parts {
            match part {
                LayerPart::Artifact { exec, artifact, to } => {
                    let value = self.exec_value(*exec)?;
                    let made = value.artifacts.get(artifact).ok_or_else(|| EngineError::NoArtifact {
                        step: op.title.to_owned(),
                        artifact: artifact.clone(),
                    })?;
                    let kind =
                        PlannedKind::Artifact { exec: *exec, name: artifact.clone(), digest: made.digest };
                    planned.push(Planned { to: to.clone(), mode: 0o755, owner: root, kind });
                }
                LayerPart::Closure(closure) => {
                    let value = self.closure_value(*closure)?;
                    self.plan_closure(&value, &mut planned)?;
                }
                LayerPart::Added(added) => self.plan_added(added, &mut planned)?,
                LayerPart::Text { to, text, mode } => {
                    let kind = PlannedKind::Text { text: text.clone() };
                    planned.push(Planned { to: to.clone(), mode: *mode, owner: root, kind });
                }
                LayerPart::Folder { to, mode, owner } => {
                    planned.push(Planned {
                        to: to.clone(),
                        mode: *mode,
                        owner: *owner,
                        kind: PlannedKind::Folder { on_the_way: false },
                    });
                }
            }
        }
        settle_folders(&mut planned);
        Ok(planned)
    }

    fn plan_closure(&self, closure: &ClosureValue, planned: &mut Vec<Planned>) -> Result<(), EngineError> {
        let owner = Owner::default();
        for entry in &closure.entries {
            let (to, mode, kind) = match entry {
                ClosureEntry::Folder { to, from } => {
                    let to = image_path(to);
                    let added = AddedFile { from: from.clone(), name: to.to_string(), to, mode: None, owner };
                    self.plan_added(&added, planned)?;
                    continue;
                }
                ClosureEntry::File { to, from } => {
                    let missing =
                        || EngineError::NoSuchFile { path: from.clone(), name: from.display().to_string() };
                    let digest = self.inputs.digest(from)?.ok_or_else(missing)?;
                    // Everyone may read a library, whatever the host's modes are, and none gives rights away.
                    let mode = if mode_of(from)? & 0o111 != 0 { 0o755 } else { 0o644 };
                    (to, mode, PlannedKind::Host { from: from.clone(), digest })
                }
                ClosureEntry::Link { to, target } => {
                    (to, 0o777, PlannedKind::Link { target: target.clone() })
                }
                ClosureEntry::Text { to, text } => (to, 0o644, PlannedKind::Text { text: text.clone() }),
            };
            planned.push(Planned { to: image_path(to), mode, owner, kind });
        }
        Ok(())
    }

    /// A file, or everything below a folder. A symbolic link to a file is followed, one to a folder is kept.
    fn plan_added(&self, added: &AddedFile, planned: &mut Vec<Planned>) -> Result<(), EngineError> {
        let missing = || EngineError::NoSuchFile { path: added.from.clone(), name: added.name.clone() };
        let owner = added.owner;
        let mode = |executable: bool| added.mode.unwrap_or(if executable { 0o755 } else { 0o644 });
        if !added.from.is_dir() {
            let digest = self.inputs.digest(&added.from)?.ok_or_else(missing)?;
            let mode = mode(mode_of(&added.from)? & 0o111 != 0);
            let kind = PlannedKind::Host { from: added.from.clone(), digest };
            planned.push(Planned { to: added.to.clone(), mode, owner, kind });
            return Ok(());
        }
        let on_the_way =
            |to| Planned { to, mode: 0o755, owner, kind: PlannedKind::Folder { on_the_way: true } };
        if added.to != ImagePath::root() {
            planned.push(on_the_way(added.to.clone()));
        }
        let tree = self.inputs.tree(&added.from, &[])?;
        for entry in tree.iter() {
            if tree.below(entry.path).len() > 0 {
                // A link to a folder elsewhere: what is in it comes along, and the image has no such place.
                continue;
            }
            let Ok(relative) = std::str::from_utf8(entry.path) else {
                return Err(EngineError::NotUtf8 { path: String::from_utf8_lossy(entry.path).into_owned() });
            };
            let to = added.to.join(relative).expect("a path in a tree has no `..`");
            let mut folder = to.parent().filter(|folder| *folder != added.to);
            while let Some(between) = folder {
                planned.push(on_the_way(between.clone()));
                folder = between.parent().filter(|folder| *folder != added.to);
            }
            if let Some((mode, kind)) = plan_entry(&entry, &added.from.join(relative), mode)? {
                planned.push(Planned { to, mode, owner, kind });
            }
        }
        Ok(())
    }

    /// Whether the files of a layer hold what was planned, after it was written.
    pub(crate) fn is_as_planned(&self, planned: &[Planned]) -> Result<bool, EngineError> {
        for entry in planned {
            if let PlannedKind::Host { from, digest } = &entry.kind
                && !self.inputs.still_has(from, *digest)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a layer into the store.
    pub(crate) fn write_layer(&self, planned: &[Planned], mtime: u64) -> Result<WrittenLayer, EngineError> {
        let mut builder = LayerBuilder::new(mtime);
        for entry in planned {
            let attributes = Attributes::new(entry.mode).owned_by(entry.owner.uid, entry.owner.gid);
            let to = entry.to.clone();
            match &entry.kind {
                PlannedKind::Folder { .. } => builder.directory(to, attributes)?,
                PlannedKind::Link { target } => builder.symlink(to, target)?,
                PlannedKind::Text { text } => {
                    builder.file(to, attributes, Content::Bytes(text.as_bytes().to_vec()))?
                }
                PlannedKind::Host { from, .. } => {
                    builder.file(to, attributes, Content::Path(from.clone()))?
                }
                PlannedKind::Artifact { exec, name, .. } => {
                    builder.file(to, attributes, Content::Path(self.artifact_path(*exec, name)?))?
                }
            };
        }
        let mut output = BufWriter::with_capacity(1 << 20, self.store().blob_writer()?);
        let written = builder.write(&mut output, self.threads())?;
        output.flush().map_err(LayerError::Write)?;
        let blob = output.into_inner().map_err(|error| LayerError::Write(error.into_error()))?;
        blob.commit()?;
        let descriptor = &written.layer.descriptor;
        Ok(WrittenLayer { digest: descriptor.digest, size: descriptor.size, diff_id: written.layer.diff_id })
    }
}

/// Where parts of a layer meet, a folder that was asked for counts more than those on the way to something, and of
/// these the first.
fn settle_folders(planned: &mut Vec<Planned>) {
    let is_on_the_way = |entry: &Planned| matches!(entry.kind, PlannedKind::Folder { on_the_way: true });
    let asked_for =
        planned.iter().filter(|entry| matches!(entry.kind, PlannedKind::Folder { on_the_way: false }));
    let mut settled: BTreeSet<ImagePath> = asked_for.map(|entry| entry.to.clone()).collect();
    planned.retain(|entry| !is_on_the_way(entry) || settled.insert(entry.to.clone()));
}

fn plan_entry(
    entry: &Entry<'_>,
    from: &Path,
    mode: impl Fn(bool) -> u32,
) -> Result<Option<(u32, PlannedKind)>, EngineError> {
    let host = |digest| PlannedKind::Host { from: from.to_owned(), digest };
    Ok(match (entry.kind, entry.digest) {
        (EntryKind::File { executable } | EntryKind::Symlink { executable, .. }, Some(digest)) => {
            Some((mode(executable), host(digest)))
        }
        (EntryKind::Symlink { target, .. }, None) => {
            let target = std::str::from_utf8(target)
                .map_err(|_| EngineError::NotUtf8 { path: String::from_utf8_lossy(target).into_owned() })?;
            Some((0o777, PlannedKind::Link { target: target.to_owned() }))
        }
        // Sockets and devices have no place in an image; a file without content vanished while it was read.
        (EntryKind::Other | EntryKind::File { .. }, _) => None,
    })
}

fn mode_of(path: &Path) -> Result<u32, EngineError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).at("read", path)?;
    Ok(metadata.permissions().mode())
}

fn image_path(text: &str) -> ImagePath {
    ImagePath::new(text).expect("the closure has absolute paths")
}
