//! What a `COPY` takes of its sources, and the digest of it: names, kinds, modes, owners, contents; never times.

use std::sync::Arc;

use carrack_base::ContentDigest;
use carrack_graph::{Field, KeyRecord, Listing, NodeId, PathFilter};
use carrack_store::Bucket;

use super::files::{Files, Item, file_name, join, parts, resolve};
use super::pattern;
use crate::error::EngineError;
use crate::solve::Solver;

/// What is taken, before anything was looked at.
pub(crate) struct Taken<'t> {
    pub(crate) from: NodeId,
    /// As written.
    pub(crate) path: &'t str,
    pub(crate) parents: bool,
    pub(crate) exclude: Option<&'t Arc<dyn PathFilter>>,
}

/// Raised with every change of what is taken, or of its digest.
const VERSION: u32 = 1;

impl Solver<'_> {
    /// The digest of what is taken. Of a root it is kept: layers do not change, and to read what is in them takes time.
    pub(crate) fn taken(&self, taken: &Taken<'_>) -> Result<ContentDigest, EngineError> {
        let find = || {
            let (files, origin) = (self.files(taken.from)?, self.called(taken.from));
            let exclude = taken.exclude.cloned();
            let selection = Selection::find(files, taken.path, taken.parents, exclude, &origin)?;
            Ok::<_, EngineError>(selection.digest())
        };
        let Some(root) = self.root_of(taken.from)? else { return find() };
        let mut record = KeyRecord::new("taken", VERSION);
        record
            .set("root", Field::List(root.ids()))
            .text("path", taken.path)
            .text("parents", taken.parents.to_string())
            .text("exclude", taken.exclude.map(|filter| filter.fingerprint()).unwrap_or_default());
        let key = record.key();
        if let Some(digest) = self.found(&key)? {
            self.layers.note_made(&key, digest);
            return Ok(digest);
        }
        let digest = match self.shared_step(&key) {
            Some(step) => step.value,
            None => find()?,
        };
        self.layers.note_made(&key, digest);
        self.store().put(Bucket::Step, key.as_bytes(), digest.as_bytes().to_vec())?;
        Ok(digest)
    }
}

/// One source as it is found.
pub(crate) struct Match {
    /// What is copied: its place after links were followed.
    pub(crate) place: Vec<u8>,
    /// Its name at the destination.
    pub(crate) name: Vec<u8>,
    /// The folders that come along, for `--parents`: the part of its path that begins at the pivot, without its own name.
    pub(crate) above: Vec<u8>,
    /// Where `above` begins.
    pub(crate) pivot: Vec<u8>,
    pub(crate) item: Item,
}

/// Gets the path below a folder, its place in the tree, and what is there.
type Visit<'v, E> = dyn FnMut(&[u8], &[u8], &Item) -> Result<(), E> + 'v;

/// What is taken of one source.
pub(crate) struct Selection {
    pub(crate) files: Arc<dyn Files + Send>,
    pub(crate) matches: Vec<Match>,
    exclude: Option<Arc<dyn PathFilter>>,
}

impl Selection {
    /// Finds what `path` means in `files`.
    ///
    /// Errors: nothing is there; a pattern may match nothing.
    pub(crate) fn find(
        files: Arc<dyn Files + Send>,
        path: &str,
        parents: bool,
        exclude: Option<Arc<dyn PathFilter>>,
        origin: &str,
    ) -> Result<Self, EngineError> {
        let pivot = if parents { path.find("/./").map_or(0, |at| at + 1) } else { 0 };
        let missing = || EngineError::NoSource { path: path.to_owned(), of: origin.to_owned() };
        let found = match pattern::is_pattern(path) {
            true => pattern::matches(&*files, path),
            false => vec![resolve(&*files, path.as_bytes(), false).ok_or_else(missing)?],
        };
        let written: Vec<&[u8]> = parts(&path.as_bytes()[..pivot]).collect();
        let mut matches = Vec::new();
        for named in found {
            let place = resolve(&*files, &named, true).ok_or_else(missing)?;
            let item = files.item(&place).ok_or_else(missing)?;
            let name = file_name(&named).to_vec();
            let (mut pivot, mut above) = (Vec::new(), Vec::new());
            if parents {
                let names: Vec<&[u8]> = parts(&named).collect();
                let (before, after) = names.split_at(written.len().min(names.len()));
                pivot = before.join(&b'/');
                above = after[..after.len().saturating_sub(1)].join(&b'/');
                if item.is_folder() {
                    above = after.join(&b'/');
                }
            }
            // Patterns are about what is in a folder: a file that is named itself is taken, as with Docker.
            matches.push(Match { place, name, above, pivot, item });
        }
        Ok(Self { files, matches, exclude })
    }

    /// Calls `visit` for everything in a folder that is taken, parents first: path below the folder, place, what it is.
    pub(crate) fn walk<E>(&self, folder: &[u8], visit: &mut Visit<'_, E>) -> Result<(), E> {
        self.walk_below(folder, b"", visit)
    }

    fn walk_below<E>(&self, folder: &[u8], below: &[u8], visit: &mut Visit<'_, E>) -> Result<(), E> {
        for name in self.files.names(folder) {
            let (place, path) = (join(folder, &name), join(below, &name));
            let Some(item) = self.files.item(&place) else { continue };
            let text = String::from_utf8_lossy(&path);
            let ignored = self.exclude.as_ref().is_some_and(|exclude| exclude.ignores(&text));
            let hidden =
                ignored && !self.exclude.as_ref().is_some_and(|exclude| exclude.may_take_back(&text));
            if hidden || (ignored && !item.is_folder()) {
                continue;
            }
            visit(&path, &place, &item)?;
            if item.is_folder() {
                self.walk_below(&place, &path, visit)?;
            }
        }
        Ok(())
    }

    /// Everything that decides what is copied.
    pub(crate) fn digest(&self) -> ContentDigest {
        let mut hasher = blake3::Hasher::new();
        for found in &self.matches {
            for part in [&found.name, &found.above] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
            if self.exclude.is_none()
                && found.place.is_empty()
                && let Some(whole) = self.files.digest()
            {
                hasher.update(whole.as_bytes());
                continue;
            }
            hasher.update(found.item.digest().as_bytes());
            if found.item.is_folder() {
                let _: Result<(), std::convert::Infallible> =
                    self.walk(&found.place, &mut |path, _, item| {
                        hasher.update(&(path.len() as u64).to_le_bytes());
                        hasher.update(path);
                        hasher.update(item.digest().as_bytes());
                        Ok(())
                    });
            }
        }
        ContentDigest::from_bytes(*hasher.finalize().as_bytes())
    }

    /// The same by name, for whoever asks what changed.
    pub(crate) fn list(&self, listing: &mut Listing) {
        for found in &self.matches {
            let shown = |path: &[u8]| String::from_utf8_lossy(path).replace('\0', "\u{fffd}");
            if !found.item.is_folder() {
                listing.insert(shown(&found.place), found.item.digest());
                continue;
            }
            let _: Result<(), std::convert::Infallible> = self.walk(&found.place, &mut |_, place, item| {
                listing.insert(shown(place), item.digest());
                Ok(())
            });
        }
    }
}
