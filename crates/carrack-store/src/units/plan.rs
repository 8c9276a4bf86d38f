//! Which units go into one folder together.

use std::collections::{BTreeSet, HashMap, HashSet};

use carrack_base::{ContentDigest, UnitContent, UnitFile};

use super::place::UnitAge;
use super::rows::Kept;

/// Units that don't stand in each other's way, and what of each is to be made.
#[derive(Debug)]
pub(super) struct Plan<'u> {
    /// All folders that there are to be, each after the one that it is in.
    pub(super) folders: BTreeSet<&'u str>,
    pub(super) units: Vec<Part<'u>>,
    /// Units that have another file than an earlier one at the same path, and those that need one of them.
    pub(super) left_out: Vec<ContentDigest>,
}

/// What is to be made of one unit: its files, but for those that an earlier one has as well.
#[derive(Debug)]
pub(super) struct Part<'u> {
    pub(super) id: ContentDigest,
    pub(super) serial: i64,
    pub(super) age: UnitAge,
    pub(super) files: Vec<&'u UnitFile>,
    /// The earlier ones.
    pub(super) shares_with: Vec<ContentDigest>,
}

/// What is at which path.
#[derive(Default)]
struct Places<'u> {
    folders: BTreeSet<&'u str>,
    files: HashMap<&'u str, (&'u UnitContent, ContentDigest)>,
}

impl<'u> Plan<'u> {
    /// Plans `units`, whose files must be loaded. Which of two units in each other's way is left out depends on their
    /// order only.
    pub(super) fn of(units: &'u [Kept]) -> Self {
        let mut places = Places::default();
        let mut in_the_way = HashSet::new();
        for unit in units {
            if unit.files().iter().all(|file| places.has_room_for(file)) {
                places.take(unit);
            } else {
                in_the_way.insert(unit.id);
            }
        }
        let left_out = with_dependents(in_the_way, units.iter().map(|unit| (unit.id, &unit.needs[..])));
        // Anew: some of those that took a place may be left out because of what they need.
        let mut places = Places::default();
        let (without, units): (Vec<&Kept>, Vec<&Kept>) =
            units.iter().partition(|unit| left_out.contains(&unit.id));
        let parts = units.into_iter().map(|unit| places.take(unit)).collect();
        let left_out = without.into_iter().map(|unit| unit.id).collect();
        Self { folders: places.folders, units: parts, left_out }
    }
}

impl<'u> Places<'u> {
    fn has_room_for(&self, file: &UnitFile) -> bool {
        let is_free = match &file.content {
            UnitContent::Folder => !self.files.contains_key(&file.path[..]),
            content => {
                !self.folders.contains(&file.path[..])
                    && self.files.get(&file.path[..]).is_none_or(|(there, _)| *there == content)
            }
        };
        is_free && folders_above(&file.path).all(|folder| !self.files.contains_key(folder))
    }

    fn take(&mut self, unit: &'u Kept) -> Part<'u> {
        let Kept { id, serial, age, .. } = *unit;
        let mut part = Part { id, serial, age, files: Vec::new(), shares_with: Vec::new() };
        for file in unit.files() {
            self.folders.extend(folders_above(&file.path));
            match &file.content {
                UnitContent::Folder => {
                    self.folders.insert(&file.path);
                }
                content => {
                    let (_, owner) = self.files.entry(&file.path).or_insert((content, id));
                    if *owner != id {
                        part.shares_with.push(*owner);
                        continue;
                    }
                }
            }
            part.files.push(file);
        }
        part
    }
}

/// The folders that `path` is in, the nearest first.
fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(above, _)| above)).skip(1)
}

/// `ids`, and all `units` (with what they need) that need one of them, directly or not.
pub(super) fn with_dependents<'u>(
    ids: HashSet<ContentDigest>,
    units: impl Iterator<Item = (ContentDigest, &'u [ContentDigest])>,
) -> HashSet<ContentDigest> {
    if ids.is_empty() {
        return ids;
    }
    let dependents = dependents(units);
    let mut pending: Vec<ContentDigest> = ids.iter().copied().collect();
    let mut all = ids;
    while let Some(id) = pending.pop() {
        for dependent in dependents.get(&id).into_iter().flatten() {
            if all.insert(*dependent) {
                pending.push(*dependent);
            }
        }
    }
    all
}

/// By unit, the units that need it directly.
pub(super) fn dependents<'u>(
    units: impl Iterator<Item = (ContentDigest, &'u [ContentDigest])>,
) -> HashMap<ContentDigest, Vec<ContentDigest>> {
    let mut dependents: HashMap<ContentDigest, Vec<ContentDigest>> = HashMap::new();
    for (id, needs) in units {
        for need in needs {
            dependents.entry(*need).or_default().push(id);
        }
    }
    dependents
}
