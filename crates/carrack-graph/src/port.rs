use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use carrack_base::{Cancel, Digest, EventSink, StepId};

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

/// Someone who knows the program that a step runs: reads its output, and knows what it reads and keeps.
pub trait Tool: Send + Sync {
    /// Makes the program build again what depends on `invalidation`, whatever it would conclude from times alone.
    ///
    /// Errors: the build folder could not be changed.
    fn invalidate(&self, invalidation: &Invalidation, places: &Places) -> io::Result<()>;

    /// Adapts an environment to a run outside of a sandbox, where the fixed places lie elsewhere, so that those places
    /// do not show in the result.
    fn run_outside(&self, env: &mut BTreeMap<String, String>, places: &Places);

    /// Starts to listen to one run.
    fn observe(&self, step: StepId) -> Box<dyn Observer>;
}

/// Sources that changed since a build folder was last used. Paths as the command sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invalidation {
    /// Files whose time is older than that last use although their content is new, and files that are gone: no
    /// comparison of times shows them.
    pub unseen: BTreeSet<PathBuf>,
    /// Files whose time shows that they changed.
    pub seen: BTreeSet<PathBuf>,
    /// Those of both that were not there before.
    pub appeared: BTreeSet<PathBuf>,
}

/// Listens to one run of a program.
pub trait Observer: Send {
    /// Takes what it wrote to standard output, in pieces of any length.
    fn stdout(&mut self, bytes: &[u8], events: &dyn EventSink);

    /// Takes what it wrote to standard error, in pieces of any length.
    fn stderr(&mut self, bytes: &[u8], events: &dyn EventSink);

    /// Both streams have ended.
    fn close(&mut self, events: &dyn EventSink);

    /// Sums up after the program ended well.
    ///
    /// Errors: something that the program left behind could not be read.
    fn finish(self: Box<Self>, places: &Places) -> io::Result<Observed>;

    /// The last part of what the program wrote to standard error, for whoever explains a failure.
    fn transcript(&self) -> String;
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
