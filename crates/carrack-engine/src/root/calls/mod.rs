//! Programs that a command calls on its own, with kept units around each call.
//!
//! ```text
//! a layer over the root's   <program>                      a script that stands in for it
//! mounted                   /run/carrack/calls/<n>/real    the program itself
//!                           /run/carrack/calls/talk/<slot> where scripts and this process talk (`talk`)
//!                           /run/carrack/calls/jobs        the jobs that all calls of the build share (`jobs`)
//! ```
//!
//! The scripts are in a layer rather than mounted over the programs, so that a command can still replace, move or remove
//! those. What a command copied of a script, or changed about it (mode, owner), is the program again in the layer that is
//! kept: [`Calls::restore`].
//!
//! Nothing here makes a command fail: where something is wrong, the program runs as if nobody had looked.

mod around;
mod downloads;
mod jobs;
mod talk;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrack_base::{ContentDigest, ImagePath};
use carrack_graph::{CalledProgram, RootView};
use carrack_oci::snapshot::{Kind, Listing};
use carrack_sandbox::Mount;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::files::{Files, Item, ItemKind, parent, relative, resolve};
use super::stack::Stack;
use crate::error::{At, EngineError};
pub(crate) use jobs::Jobs;
pub(crate) use talk::Host;
use talk::Talk;

/// Where everything is mounted.
const PLACE: &str = "/run/carrack/calls";
const JOBS: &str = "/run/carrack/calls/jobs";
const SCRIPT: &str = include_str!("stand_in.sh");
/// What programs tell those that they start about themselves: cargo does.
const VARIABLE: &str = "CARGO";

/// The programs of one root, and what stands in for them.
pub(crate) struct Calls {
    tool: Arc<dyn CalledProgram>,
    programs: Vec<Program>,
    /// Has the scripts.
    layer: PathBuf,
    talk: Talk,
    /// The FIFO of the build's jobs.
    jobs: PathBuf,
}

/// A program that is stood in for.
struct Program {
    path: String,
    /// Its bytes.
    on_host: PathBuf,
    content: Option<ContentDigest>,
    /// Digest of the script.
    script: ContentDigest,
}

impl Calls {
    /// Prepares stand-ins for the programs of `stack` in `scratch`. `None` if there are none.
    pub(crate) fn prepare(
        tool: &Arc<dyn CalledProgram>,
        stack: &Stack,
        env: &[(OsString, OsString)],
        host: &Host<'_>,
        scratch: &Path,
    ) -> Result<Option<Self>, EngineError> {
        let gives_away = host.gives_away;
        let text = |(name, value): &(OsString, OsString)| {
            Some((name.to_str()?.to_owned(), value.to_str()?.to_owned()))
        };
        let variables: BTreeMap<String, String> = env.iter().filter_map(text).collect();
        let view = View(stack);
        let paths = match view.file("/bin/sh") {
            Some(_) => tool.programs(&view, &variables),
            None => Vec::new(),
        };
        if paths.is_empty() {
            return Ok(None);
        }
        let layer = scratch.join("stand-ins");
        let talk = Talk::prepare(&scratch.join("talk"))?;
        let mut programs = Vec::new();
        let mut folders = BTreeMap::new();
        for path in paths {
            let place = path.trim_start_matches('/').as_bytes().to_vec();
            let script = script(&path, programs.len(), &talk);
            let Some(item) = stack.item(&place) else { continue };
            let mut above = parent(&place).map(<[u8]>::to_vec);
            while let Some(folder) = above.filter(|folder| !folder.is_empty()) {
                above = parent(&folder).map(<[u8]>::to_vec);
                folders.insert(folder, ());
            }
            let to = layer.join(relative(&place));
            fs::create_dir_all(to.parent().unwrap_or(&layer)).at("create", &to)?;
            fs::write(&to, &script).at("write", &to)?;
            let on_host = stack.on_host(&place);
            like(&to, &item, &on_host, gives_away)?;
            let content = stack.content(&place).map(|(_, content)| content);
            programs.push(Program { path, on_host, content, script: ContentDigest::of(script.as_bytes()) });
        }
        // In an overlay, the topmost folder's attributes count. The deepest first: making something changes a time.
        for folder in folders.keys().rev() {
            let Some(item) = stack.item(folder) else { continue };
            like(&layer.join(relative(folder)), &item, &stack.on_host(folder), gives_away)?;
        }
        Ok(Some(Self {
            tool: Arc::clone(tool),
            programs,
            layer,
            talk,
            jobs: host.jobs.provide(host.store)?.to_owned(),
        }))
    }

    /// The layer that comes over the root's own.
    pub(crate) fn layer(&self) -> &Path {
        &self.layer
    }

    /// What has to be mounted.
    pub(crate) fn mounts(&self) -> Vec<(ImagePath, Mount)> {
        let bind = |source: &Path, target: String, writable| {
            let path = ImagePath::new(&target).ok()?;
            Some((path, Mount::Bind { source: source.to_owned(), target: target.into(), writable }))
        };
        let programs = self.programs.iter().enumerate();
        let real = programs.map(|(number, program)| bind(&program.on_host, real(number), false));
        let shared = [
            bind(self.talk.folder(), format!("{PLACE}/talk"), true),
            bind(&self.jobs, JOBS.to_owned(), true),
        ];
        real.chain(shared).flatten().collect()
    }

    /// Makes every copy of a script in a command's upper folder the program that it stands in for. Whether there was one.
    pub(crate) fn restore(&self, upper: &Path, listing: &Listing) -> Result<bool, EngineError> {
        let mut restored = false;
        for (path, entry) in listing.below(b"") {
            let Kind::File { content, .. } = &entry.kind else { continue };
            let Some(program) = self.programs.iter().find(|program| program.script == *content) else {
                continue;
            };
            let path = upper.join(relative(path));
            let bytes = fs::read(&program.on_host).at("read", &program.on_host)?;
            let times = fs::metadata(&path).at("read", &path)?;
            let mut file = File::options().write(true).truncate(true).open(&path).at("write", &path)?;
            file.write_all(&bytes).at("write", &path)?;
            drop(file);
            // Writing takes away what lets a program run as its owner.
            fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode))
                .at("set the mode of", &path)?;
            set_time(&path, &times)?;
            restored = true;
        }
        Ok(restored)
    }
}

/// Where a program itself is mounted.
fn real(number: usize) -> String {
    format!("{PLACE}/{number}/real")
}

fn script(path: &str, number: usize, talk: &Talk) -> String {
    let slots: Vec<String> = (0..talk.slots()).map(|slot| slot.to_string()).collect();
    SCRIPT
        .replace("@VARIABLE@", VARIABLE)
        .replace("@PATH@", &quoted(path))
        .replace("@SLOTS@", &slots.join(" "))
        .replace("@TALK@", &format!("{PLACE}/talk"))
        .replace("@JOBS@", JOBS)
        .replace("@REAL@", &real(number))
        .replace("@NUMBER@", &number.to_string())
}

/// As one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Gives what is at `path` the mode, owner and time of what it hides.
fn like(path: &Path, item: &Item, hidden: &Path, gives_away: bool) -> Result<(), EngineError> {
    if gives_away {
        chown(path, Some(item.uid), Some(item.gid)).at("give away", path)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(item.mode)).at("set the mode of", path)?;
    set_time(path, &fs::symlink_metadata(hidden).at("read", hidden)?)
}

fn set_time(path: &Path, like: &fs::Metadata) -> Result<(), EngineError> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: like.atime(), tv_nsec: like.atime_nsec() },
        last_modification: Timespec { tv_sec: like.mtime(), tv_nsec: like.mtime_nsec() },
    };
    let set = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
    set.map_err(std::io::Error::from).at("set the time of", path)
}

struct View<'s>(&'s Stack);

impl View<'_> {
    fn place(&self, path: &str) -> Option<Vec<u8>> {
        resolve(self.0, path.trim_matches('/').as_bytes(), true)
    }
}

impl RootView for View<'_> {
    fn file(&self, path: &str) -> Option<String> {
        let place = self.place(path)?;
        let is_file = matches!(self.0.item(&place)?.kind, ItemKind::File { .. });
        is_file.then(|| String::from_utf8(place).ok().map(|place| format!("/{place}")))?
    }

    fn content(&self, path: &str) -> Option<ContentDigest> {
        self.0.content(&self.place(path)?).map(|(_, content)| content)
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let names = self.place(folder).map(|place| self.0.names(&place)).unwrap_or_default();
        names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect()
    }
}
