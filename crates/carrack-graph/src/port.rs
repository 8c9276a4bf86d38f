use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use carrack_base::{Cancel, ContentDigest, Digest, EventSink, StepId, UnitFile};

use crate::ExecOp;

/// A whole build in, images out. `B` is what a backend takes a build to be: a [`BuildGraph`](crate::BuildGraph) where it
/// solves the steps itself, Dockerfiles where a solver of its own does.
pub trait Backend<B: ?Sized> {
    /// Why a build did not come to its end.
    type Error;

    /// Makes every image of `build`, in the build's order.
    ///
    /// Errors: the backend's own. A cancelled build is an error too. Whatever the end, what is kept is whole.
    fn build(
        &self,
        build: &B,
        events: &dyn EventSink,
        cancel: &Cancel,
    ) -> Result<Vec<BuiltImage>, Self::Error>;
}

/// An image that a backend made or found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// The service.
    pub name: String,
    /// The references that it has now.
    pub tags: Vec<String>,
    /// Digest of its manifest, or of the index of its manifests; `None` where the backend does not tell (Docker without
    /// containerd's store has none before a push).
    pub manifest: Option<Digest>,
    /// Digest of its configuration, which docker calls the image's id. An image for several platforms has no single
    /// one; then it is the index's.
    pub config: Digest,
    /// Compressed size of its layers in bytes; `None` where the backend does not tell.
    pub size: Option<u64>,
    /// Whether it was there already.
    pub unchanged: bool,
}

/// Where a command's folders lie on the host.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Pairs of (as the command sees it, on the host), the more specific first.
    pub pairs: Vec<(PathBuf, PathBuf)>,
}

impl Places {
    /// The host's path for a path that the command saw. What is mounted nowhere is the host's own.
    pub fn on_host(&self, seen: &Path) -> PathBuf {
        self.pairs
            .iter()
            .find_map(|(inside, host)| seen.strip_prefix(inside).ok().map(|rest| join(host, rest)))
            .unwrap_or_else(|| seen.to_owned())
    }

    /// The path at which the command sees this path of the host; the same where nothing is mounted.
    pub fn inside(&self, host: &Path) -> PathBuf {
        self.pairs
            .iter()
            .find_map(|(inside, folder)| host.strip_prefix(folder).ok().map(|rest| join(inside, rest)))
            .unwrap_or_else(|| host.to_owned())
    }

    /// `text` with every path that the command saw replaced by the host's.
    pub fn text_on_host(&self, text: &str) -> String {
        self.pairs.iter().fold(text.to_owned(), |text, (inside, host)| {
            text.replace(&*inside.to_string_lossy(), &host.to_string_lossy())
        })
    }
}

fn join(folder: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { folder.to_owned() } else { folder.join(rest) }
}

/// Someone who knows the program that a step runs: which kept units it can use, how to read its output, what it reads and
/// makes.
pub trait Tool: Send + Sync {
    /// Under which name units are kept that this step could use or make: everything that they depend on and that no unit
    /// says itself. `None` if the program makes no units.
    fn realm(&self, op: &ExecOp, target: &Path) -> Option<ContentDigest>;

    /// Prepares one run: chooses among the units that are kept, `offered` with those first that were used last.
    fn begin(
        &self,
        step: StepId,
        op: &ExecOp,
        realm: ContentDigest,
        offered: Vec<OfferedUnit>,
        world: &dyn World,
    ) -> Box<dyn Run>;

    /// Adapts an environment to a run outside of a sandbox, where the fixed places lie elsewhere, so that those places
    /// do not show in the result.
    fn run_outside(&self, env: &mut BTreeMap<String, String>, places: &Places);
}

/// A unit that is kept: what one call of a compiler or build script made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedUnit {
    /// What it is called where it is kept.
    pub id: ContentDigest,
    /// What its tool wrote about it.
    pub record: Vec<u8>,
    /// Where it was found, if that is not this machine (`registry`, `s3`).
    pub origin: Option<String>,
}

/// What a unit's tool may ask about files. Paths are as the command sees them.
pub trait World {
    /// What is at a path: the content of a file, or of a whole folder; `None` if nothing is there, or nothing that can be
    /// read.
    fn content(&self, seen: &Path) -> Option<ContentDigest>;

    /// The modification time of what is at a path, which proves nothing about its content.
    fn modified(&self, seen: &Path) -> Option<SystemTime>;

    /// Whether what is at a path was there, as it is now, all the time since the run began.
    fn settled(&self, seen: &Path) -> bool;

    /// Every source, and its content with its kind and mode.
    fn sources(&self) -> Vec<(PathBuf, ContentDigest)>;

    /// What earlier runs left among the sources, and its content.
    fn written(&self) -> BTreeMap<PathBuf, ContentDigest>;

    /// The value of a variable that the command gets.
    fn variable(&self, name: &str) -> Option<String>;

    /// Where a path lies on the host.
    fn on_host(&self, seen: &Path) -> PathBuf;

    /// The place inside of a sandbox that a path means, which may be the host's where there is none.
    fn inside(&self, path: &Path) -> PathBuf;
}

/// One run of a program, from the units that it finds to those that it leaves.
pub trait Run: Send {
    /// The units that it finds in its build folder, and whether each counts as newer than every source: only those do that
    /// were compiled from sources which can change.
    fn units(&self) -> &[ChosenUnit];

    /// Takes what it wrote to standard output, in pieces of any length.
    fn stdout(&mut self, bytes: &[u8], events: &dyn EventSink);

    /// Takes what it wrote to standard error, in pieces of any length.
    fn stderr(&mut self, bytes: &[u8], events: &dyn EventSink);

    /// Both streams have ended.
    fn close(&mut self, events: &dyn EventSink);

    /// The units that it made, whether it ended well or not. `target` is the build folder on the host, with what this run
    /// wrote; each unit comes after those that it needs.
    ///
    /// Errors: something that the program left behind could not be read.
    fn harvest(&mut self, target: &Path, world: &dyn World) -> io::Result<Vec<HarvestedUnit>>;

    /// Sums up after the program ended well and [`Run::harvest`] was called.
    ///
    /// Errors: as there.
    fn finish(self: Box<Self>, world: &dyn World) -> io::Result<Observed>;

    /// The last part of what the program wrote to standard error, for whoever explains a failure.
    fn transcript(&self) -> String;
}

/// A unit that a run finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChosenUnit {
    /// Which.
    pub id: ContentDigest,
    /// Whether what it was compiled from can change.
    pub local: bool,
}

/// A unit that a run made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HarvestedUnit {
    /// Digest of its record and of its files.
    pub id: ContentDigest,
    /// Package and version (`serde 1.0.229`).
    pub package: String,
    /// What the tool will want to know about it.
    pub record: Vec<u8>,
    /// Its files, below the build folder.
    pub files: Vec<UnitFile>,
    /// The units that have to be there with it.
    pub needs: Vec<ContentDigest>,
    /// Whether what it was compiled from can change.
    pub local: bool,
    /// Whether it is what a program of its own made when it ran (a build script), and not what a compiler did.
    pub ran: bool,
}

/// What a run made and what it read besides its declared inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Files that it made, by name; paths on the host.
    pub artifacts: BTreeMap<String, PathBuf>,
    /// Files and folders that decided the result, wherever they are; paths as the command sees them.
    pub files: BTreeSet<PathBuf>,
    /// Variables that decided the result.
    pub env: BTreeSet<String>,
    /// One line for the progress view (`131 crates for 3 services`).
    pub summary: String,
}
