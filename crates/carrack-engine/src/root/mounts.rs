//! What a command finds mounted: parts of other roots and contexts, folders that stay, secrets.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrack_base::{BuildEvent, ContentDigest, ImagePath};
use carrack_graph::{CacheMount, CacheSharing, KeyRecord, NodeId, RunMount, RunOp};
use carrack_sandbox::Mount;
use carrack_store::{Bucket, Hold, MountFolder};

use super::agent::LentAgent;
use super::files::{Files, Item, resolve};
use super::layers::bring_mount;
use super::run::Secret;
use super::select::{Selection, Taken};
use super::stack::Stack;
use super::writer::LayerWriter;
use crate::error::{At, EngineError, give};
use crate::solve::Solver;

/// Raised with every change of what a part of a tree is as a layer.
const VERSION: u32 = 1;

/// Everything that is mounted for one command, and what holds it there.
#[derive(Default)]
pub(crate) struct Mounted {
    pub(crate) mounts: Vec<Mount>,
    /// Variables that hold secrets.
    pub(crate) env: Vec<(String, String)>,
    /// Where something is mounted.
    pub(crate) targets: Vec<ImagePath>,
    held: BTreeMap<String, MountFolder>,
    agents: Vec<LentAgent>,
}

impl Solver<'_> {
    /// A mount in one line for keys. Secrets and folders that stay count by name, everything else by content.
    pub(crate) fn described_mount(&self, mount: &RunMount) -> Result<String, EngineError> {
        Ok(match mount {
            RunMount::Bind { target, from, source, writable } => {
                let taken = Taken { from: *from, path: source.as_str(), parents: false, exclude: None };
                format!("bind {target} {} {writable}", self.taken(&taken)?)
            }
            RunMount::Cache(cache) => {
                format!("cache {} {} {:?} {}", cache.target, cache.id, cache.sharing, cache.readonly)
            }
            RunMount::Memory { target, size } => format!("memory {target} {size:?}"),
            RunMount::Secret(secret) => {
                let target = secret.target.as_ref().map(ToString::to_string);
                format!("secret {} {target:?} {:?}", secret.id, secret.env)
            }
            RunMount::Agent(agent) => format!("agent {} {}", agent.id, agent.target),
            RunMount::Text { target, text, mode } => {
                format!("text {target} {} {mode:o}", ContentDigest::of(text.as_bytes()))
            }
        })
    }

    fn part(&self, from: NodeId, source: &ImagePath) -> Result<Selection, EngineError> {
        Selection::find(self.files(from)?, source.as_str(), false, None, &self.called(from))
    }

    /// Prepares what `op` has mounted. `scratch` is a folder of this command's own.
    pub(crate) fn mounted(&self, op: &RunOp, scratch: &Path) -> Result<Mounted, EngineError> {
        let mut mounted = Mounted::default();
        self.hold(op, &mut mounted)?;
        for (number, mount) in op.mounts.iter().enumerate() {
            match mount {
                RunMount::Bind { target, from, source, writable } => {
                    let folder = scratch.join(format!("mount-{number}"));
                    mounted.mounts.push(self.bind(*from, source, target, *writable, &folder)?);
                    mounted.targets.push(target.clone());
                }
                RunMount::Cache(cache) => {
                    let held = &mounted.held[&cache.id];
                    let source = held.path().to_owned();
                    mounted.mounts.push(Mount::Bind {
                        source,
                        target: cache.target.as_str().into(),
                        writable: !cache.readonly,
                    });
                    mounted.targets.push(cache.target.clone());
                }
                RunMount::Memory { target, size } => {
                    mounted.mounts.push(Mount::Memory { target: target.as_str().into(), size: *size });
                    mounted.targets.push(target.clone());
                }
                RunMount::Text { target, text, mode } => {
                    mounted.mounts.push(Mount::Content {
                        target: target.as_str().into(),
                        bytes: text.clone().into_bytes(),
                        mode: *mode,
                        owner: (0, 0),
                    });
                    mounted.targets.push(target.clone());
                }
                RunMount::Secret(secret) => {
                    let bytes = match self.engine.supplies.secrets.get(&secret.id) {
                        None if secret.required => {
                            return Err(EngineError::NoSecret { id: secret.id.clone() });
                        }
                        None => continue,
                        Some(Secret::Value(value)) => value.clone(),
                        Some(Secret::File(path)) => fs::read(path).at("read", path)?,
                    };
                    if let Some(name) = &secret.env {
                        mounted.env.push((name.clone(), String::from_utf8_lossy(&bytes).into_owned()));
                    }
                    if let Some(target) = &secret.target {
                        mounted.mounts.push(Mount::Content {
                            target: target.as_str().into(),
                            bytes,
                            mode: secret.mode,
                            owner: (secret.uid, secret.gid),
                        });
                        mounted.targets.push(target.clone());
                    }
                }
                RunMount::Agent(agent) => {
                    let Some(socket) = self.engine.supplies.agents.get(&agent.id) else {
                        if agent.required {
                            return Err(EngineError::NoAgent { id: agent.id.clone() });
                        }
                        continue;
                    };
                    let lent = LentAgent::lend(socket, agent, &scratch.join(format!("agent-{number}")))?;
                    mounted.mounts.push(Mount::Bind {
                        source: lent.path().to_owned(),
                        target: agent.target.as_str().into(),
                        writable: true,
                    });
                    mounted.targets.push(agent.target.clone());
                    mounted.agents.push(lent);
                }
            }
        }
        Ok(mounted)
    }

    /// Takes the folders that stay, in the order of their names: so nobody waits for who waits for them.
    fn hold(&self, op: &RunOp, mounted: &mut Mounted) -> Result<(), EngineError> {
        let mut caches: BTreeMap<&str, &CacheMount> = BTreeMap::new();
        for mount in &op.mounts {
            if let RunMount::Cache(cache) = mount {
                let first = caches.entry(&cache.id).or_insert(cache);
                if cache.sharing == CacheSharing::Locked {
                    *first = cache;
                }
            }
        }
        for (id, cache) in caches {
            let hold = match cache.sharing {
                CacheSharing::Shared => Hold::Shared,
                CacheSharing::Private => Hold::Private,
                CacheSharing::Locked => Hold::Locked,
            };
            let waiting = || {
                let message = format!("waiting for the cache mount `{id}`, which another step uses");
                self.events.emit(BuildEvent::Warning { message, hint: None });
            };
            let folder = self.store().mount_folder(id, hold, self.cancel, waiting)?;
            if folder.is_new {
                let shared = &self.engine.shared;
                if cache.from.is_none() && !shared.from.is_empty() {
                    bring_mount(self.store(), shared, id, folder.path(), self.events)?;
                }
                self.fill(cache, folder.path())?;
            }
            mounted.held.insert(id.to_owned(), folder);
        }
        Ok(())
    }

    fn fill(&self, cache: &CacheMount, folder: &Path) -> Result<(), EngineError> {
        if let Some(from) = cache.from {
            let files = self.files(from)?;
            let place = resolve(&*files, cache.source.relative().as_bytes(), true).unwrap_or_default();
            let below = Stack::default();
            let mut writer =
                LayerWriter::new(&below, folder.to_owned(), self.layers.gives_away)?.with_own_bytes();
            writer.copy_below(&*files, &place, b"")?;
            writer.finish()?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(cache.mode)).at("set the mode of", folder)?;
        if self.layers.gives_away && (cache.uid, cache.gid) != (0, 0) {
            give(folder, (cache.uid, cache.gid))?;
        }
        Ok(())
    }

    /// A part of another root or of a context.
    fn bind(
        &self,
        from: NodeId,
        source: &ImagePath,
        target: &ImagePath,
        writable: bool,
        scratch: &Path,
    ) -> Result<Mount, EngineError> {
        let origin = self.called(from);
        let missing = || EngineError::NoSource { path: source.to_string(), of: origin.clone() };
        let (stack, place) = match self.stack_of(from)? {
            Some(stack) => {
                let place = resolve(&stack, source.relative().as_bytes(), true).ok_or_else(missing)?;
                (stack, place)
            }
            None => {
                let (snapshot, is_folder) = self.kept_part(from, source)?;
                let stack = Stack::new(vec![self.layers.view(&snapshot)?]);
                (stack, if is_folder { Vec::new() } else { b"file".to_vec() })
            }
        };
        let item: Item = stack.item(&place).ok_or_else(missing)?;
        let target = PathBuf::from(target.as_str());
        if !item.is_folder() {
            return Ok(Mount::Bind { source: stack.on_host(&place), target, writable: false });
        }
        let lower = stack.lower_of(&place);
        let [upper, work] = ["upper", "work"].map(|name| scratch.join(name));
        for folder in [&upper, &work] {
            fs::create_dir_all(folder).at("create", folder)?;
        }
        fs::set_permissions(&upper, fs::Permissions::from_mode(item.mode)).at("set the mode of", &upper)?;
        if self.layers.gives_away {
            give(&upper, (item.uid, item.gid))?;
        }
        // An overlay wants a layer below in any case.
        let lower = if lower.is_empty() { vec![stack_floor(scratch)?] } else { lower };
        Ok(Mount::Overlay { lower, upper, work, target, writable })
    }

    /// The part of a context as a layer, made at most once for a content.
    fn kept_part(&self, from: NodeId, source: &ImagePath) -> Result<(ContentDigest, bool), EngineError> {
        let selection = self.part(from, source)?;
        let is_folder = selection.matches[0].item.is_folder();
        let mut record = KeyRecord::new("part", VERSION);
        record.text("content", selection.digest().to_string());
        let key = record.key();
        if let Some(bytes) = self.store().get(Bucket::Step, key.as_bytes())?
            && let Ok(bytes) = <[u8; 32]>::try_from(&bytes[..])
        {
            let snapshot = ContentDigest::from_bytes(bytes);
            if self.store().snapshot(&snapshot).is_some() {
                return Ok((snapshot, is_folder));
            }
        }
        let files: Arc<dyn Files + Send> = self.files(from)?;
        let (snapshot, is_folder) = self.part_as_layer(files, source.as_str(), &self.called(from))?;
        self.store().put(Bucket::Step, key.as_bytes(), snapshot.as_bytes().to_vec())?;
        Ok((snapshot, is_folder))
    }
}

fn stack_floor(scratch: &Path) -> Result<PathBuf, EngineError> {
    let floor = scratch.join("floor");
    fs::create_dir_all(&floor).at("create", &floor)?;
    Ok(floor)
}
