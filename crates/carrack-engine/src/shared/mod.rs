//! Caches that machines share: compiled units in packs, and whole results by their key.
//!
//! ```text
//! units-<realm>-<time>-<digest>   a pack: the units that a build used and that no pack had; <time> in seconds, hexadecimal
//! result-<key>                    what a compile step with this key came to: the kept results of it and of all that follows
//!                                 from it, and the images' layers as blobs
//! step-<key>                      what a step of a Dockerfile came to (`steps`)
//! ```
//!
//! A pack is never changed, and each has a name of its own: jobs that publish at once do not see each other. Readers look at
//! the [`PACKS`] newest of a realm; what has fallen out of these and is used again is published again, and the publisher
//! takes the oldest names away.
//!
//! **A shared cache makes a build faster or not.** Whatever goes wrong is one warning, after which the cache is left alone for
//! the rest of the build, and every wait has an end ([`Patience`]). Bytes are compared with their digests when they come
//! in, a unit's record and files with its id, a layer with both of its digests. Whom to believe is the caller's: a
//! [`Remote`] may demand signatures.

mod asked;
mod results;
mod steps;
mod units;

pub use asked::AskedCaches;
pub(crate) use results::SharedResult;
pub(crate) use steps::SharedStep;
pub use steps::{export_mounts, import_mounts};
pub(crate) use units::Offers;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use carrack_base::{BuildEvent, EventSink};
use carrack_remote::{Remote, RemoteError};

/// How many packs of a realm are looked at, and how many may lie there before the oldest are taken away.
const PACKS: usize = 32;
const MOST_PACKS: usize = 48;

/// How long shared caches may keep a build waiting.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For finding out what is there.
    pub look: Duration,
    /// For bringing it here.
    pub fetch: Duration,
    /// For publishing, after the build.
    pub publish: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { look: seconds(15), fetch: seconds(60), publish: seconds(300) }
    }
}

/// How much of the steps of Dockerfiles is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The bytes of layers that an image has.
    #[default]
    Min,
    /// The bytes of all layers, and cache mounts.
    Max,
}

/// A cache, and what people call it.
#[derive(Clone)]
pub struct Shared {
    /// Where it lies.
    pub remote: Remote,
    /// Its kind in one word (`registry`, `s3`, `folder`).
    pub kind: &'static str,
}

/// The caches of a build.
#[derive(Default)]
pub struct SharedCaches {
    /// Those that are read.
    pub from: Vec<Shared>,
    /// Those that are written to.
    pub to: Vec<Shared>,
    /// How long they may take.
    pub patience: Patience,
    /// How much is published.
    pub mode: Mode,
    complained: Mutex<BTreeSet<String>>,
}

impl SharedCaches {
    /// Caches to read and to write.
    pub fn new(from: Vec<Shared>, to: Vec<Shared>) -> Self {
        Self { from, to, ..Self::default() }
    }

    /// Says once what is wrong with a cache.
    fn complain(&self, shared: &Shared, error: &dyn std::error::Error, events: &dyn EventSink) {
        let mut complained = self.complained.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !complained.insert(shared.remote.name().to_owned()) {
            return;
        }
        let causes = std::iter::successors(error.source(), |error| error.source());
        let chain = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        events.emit(BuildEvent::Warning {
            message: format!("the build goes on without a shared cache: {chain}"),
            hint: None,
        });
    }

    /// Does something with every cache of `list`, side by side, and complains where it fails.
    fn with_each<T: Send>(
        &self,
        list: &[Shared],
        time: Duration,
        events: &dyn EventSink,
        work: impl Fn(usize, &Remote) -> Result<T, RemoteError> + Sync,
    ) -> Vec<Option<T>> {
        let deadline = Instant::now().checked_add(time);
        let results: Vec<Result<T, RemoteError>> = std::thread::scope(|scope| {
            let work = &work;
            let running: Vec<_> = list
                .iter()
                .enumerate()
                .map(|(number, shared)| {
                    scope.spawn(move || work(number, &shared.remote.with_deadline(deadline)))
                })
                .collect();
            running.into_iter().map(|thread| thread.join().expect("a cache is asked without panic")).collect()
        });
        let complaints = list.iter().zip(results).map(|(shared, result)| match result {
            Ok(value) => Some(value),
            // It was said before why.
            Err(RemoteError::Off { .. }) => None,
            Err(error) => {
                self.complain(shared, &error, events);
                None
            }
        });
        complaints.collect()
    }
}
