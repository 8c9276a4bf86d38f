//! Chooses among kept units those that fit the sources and the environment as they are now.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use carrack_base::ContentDigest;
use carrack_graph::{ChosenUnit, OfferedUnit, World};

use super::record::{Package, UnitRecord};
use super::{VariableNames, Variables, undeclared_files};
use crate::tool::CargoTool;

/// Kept units of one target of one package differ by features, profiles and what they were compiled with. Of more than this
/// many only those that were used last are put back.
const VARIANTS: usize = 12;

/// What was chosen.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    /// Each after those that it needs.
    pub(crate) units: Vec<ChosenUnit>,
    pub(crate) records: HashMap<ContentDigest, UnitRecord>,
    /// Where a unit came from, if not from this machine.
    pub(crate) origins: HashMap<ContentDigest, String>,
    /// Why no kept unit of a package's target fits; the first of a package's target that was tried.
    misses: BTreeMap<(String, String), String>,
}

impl Choice {
    /// Why a target had to be compiled.
    pub(crate) fn miss(&self, package: &str, target: &str) -> String {
        let key = (package.to_owned(), target.to_owned());
        if let Some(miss) = self.misses.get(&key) {
            return miss.clone();
        }
        let mut chosen = self.records.values();
        if chosen.any(|record| record.package.to_string() == package && record.target_name() == target) {
            return "cargo found the kept unit out of date".to_owned();
        }
        "no unit of this package with these settings is kept".to_owned()
    }

    /// Where the units that `package`'s `target` was taken from came from, if one came from elsewhere.
    pub(crate) fn origin(&self, package: &str, target: &str) -> Option<&str> {
        self.origins.iter().find_map(|(id, origin)| {
            let record = &self.records[id];
            (record.package.to_string() == package && record.target_name() == target)
                .then_some(origin.as_str())
        })
    }
}

/// Chooses from `offered`, which has those first that were used last.
pub(crate) fn choose(
    tool: &CargoTool,
    settings: ContentDigest,
    names: &VariableNames,
    offered: Vec<OfferedUnit>,
    world: &dyn World,
) -> Choice {
    let mut judge = Judge::new(Variables { tool, names, world });
    let mut choice = Choice::default();
    let mut fitting: Vec<(ContentDigest, UnitRecord)> = Vec::new();
    let mut variants: HashMap<(Package, String), usize> = HashMap::new();
    let mut refused: HashMap<ContentDigest, String> = HashMap::new();
    let mut origins = HashMap::new();
    let mut offered: Vec<_> = offered
        .into_iter()
        .filter_map(|unit| Some((unit.id, UnitRecord::from_bytes(&unit.record)?, unit.origin)))
        .collect();
    offered.sort_by_key(|(_, record, _)| record.settings != settings);
    for (id, record, origin) in offered {
        if !is_of_profile(&record.name, &tool.profile) || !judge.knows(&record) {
            continue;
        }
        if let Some(why) = judge.objection(&record) {
            let target = (record.package.to_string(), record.target_name().to_owned());
            choice.misses.entry(target).or_insert_with(|| why.clone());
            refused.insert(id, why);
            continue;
        }
        origins.extend(origin.map(|origin| (id, origin)));
        fitting.push((id, record));
    }
    // What was compiled with something that does not fit counts for nothing: every content that a dependency ever had
    // leaves such units.
    without_what_misses(&mut fitting, &mut choice.misses);
    fitting.retain(|(_, record)| {
        let of_target = variants.entry((record.package.clone(), record.target.clone())).or_default();
        *of_target += 1;
        *of_target <= VARIANTS
    });
    let by_id: HashMap<ContentDigest, &UnitRecord> =
        fitting.iter().map(|(id, record)| (*id, record)).collect();
    let mut picker =
        Picker { by_id: &by_id, taken: HashMap::new(), refused: HashSet::new(), order: Vec::new() };
    for (id, record) in &fitting {
        if picker.pick(*id) {
            continue;
        }
        let needed = record.needs.iter().find(|need| !picker.has(need));
        let why = match needed.and_then(|need| by_id.get(need)) {
            Some(needed) => format!("it needs another {}", needed.package),
            None => "a dependency changed".to_owned(),
        };
        let target = (record.package.to_string(), record.target_name().to_owned());
        choice.misses.entry(target).or_insert(why);
    }
    let order = picker.order;
    // Why is only worth telling where nothing was put back.
    let there: HashSet<(String, String)> =
        order.iter().map(|id| (by_id[id].package.to_string(), by_id[id].target_name().to_owned())).collect();
    choice.misses.retain(|target, _| !there.contains(target));
    choice.units = order.iter().map(|id| ChosenUnit { id: *id, local: by_id[id].local }).collect();
    choice.origins = origins.into_iter().filter(|(id, _)| order.contains(id)).collect();
    choice.records = fitting.into_iter().filter(|(id, _)| order.contains(id)).collect();
    choice
}

/// Removes the units that need one that is not among them.
fn without_what_misses(
    fitting: &mut Vec<(ContentDigest, UnitRecord)>,
    misses: &mut BTreeMap<(String, String), String>,
) {
    loop {
        let ids: HashSet<ContentDigest> = fitting.iter().map(|(id, _)| *id).collect();
        fitting.retain(|(_, record)| {
            let is_whole = record.needs.iter().all(|need| ids.contains(need));
            if !is_whole {
                let target = (record.package.to_string(), record.target_name().to_owned());
                misses.entry(target).or_insert_with(|| "a dependency changed".to_owned());
            }
            is_whole
        });
        if fitting.len() == ids.len() {
            return;
        }
    }
}

/// Whether a fingerprint lies in the folder of `profile`, with or without a target triple before it.
fn is_of_profile(name: &str, profile: &str) -> bool {
    let mut parts = name.split('/');
    parts.next() == Some(profile) || parts.next() == Some(profile)
}

/// Picks units so that each name occurs once and each unit has all that it needs.
struct Picker<'a> {
    by_id: &'a HashMap<ContentDigest, &'a UnitRecord>,
    /// By name.
    taken: HashMap<&'a str, ContentDigest>,
    refused: HashSet<ContentDigest>,
    order: Vec<ContentDigest>,
}

impl<'a> Picker<'a> {
    /// Takes a unit and all that it needs, or nothing.
    fn pick(&mut self, id: ContentDigest) -> bool {
        let mut wanted = Vec::new();
        if !self.collect(id, &mut wanted, &mut HashSet::new()) {
            self.refused.insert(id);
            return false;
        }
        // What is wanted together may contradict itself, too.
        let mut names: HashMap<&str, ContentDigest> = HashMap::new();
        for id in &wanted {
            let name = self.by_id[id].name.as_str();
            if names.insert(name, *id).is_some() {
                self.refused.insert(*id);
                return false;
            }
        }
        self.taken.extend(names);
        self.order.extend(wanted);
        true
    }

    fn has(&self, id: &ContentDigest) -> bool {
        self.by_id.get(id).is_some_and(|record| self.taken.get(record.name.as_str()) == Some(id))
    }

    /// Adds what is not there yet, dependencies first; `false` if something can't be had.
    fn collect(
        &self,
        id: ContentDigest,
        wanted: &mut Vec<ContentDigest>,
        seen: &mut HashSet<ContentDigest>,
    ) -> bool {
        if !seen.insert(id) || self.has(&id) {
            return true;
        }
        if self.refused.contains(&id) {
            return false;
        }
        let Some(record) = self.by_id.get(&id) else { return false };
        if self.taken.contains_key(record.name.as_str()) {
            return false;
        }
        if !record.needs.iter().all(|need| self.collect(*need, wanted, seen)) {
            return false;
        }
        wanted.push(id);
        true
    }
}

/// Judges a unit by itself.
struct Judge<'a> {
    tool: &'a CargoTool,
    world: &'a dyn World,
    fetched: HashSet<Package>,
    variables: Variables<'a>,
    for_native_code: ContentDigest,
    named: ContentDigest,
    written: BTreeMap<PathBuf, ContentDigest>,
    contents: HashMap<PathBuf, Option<ContentDigest>>,
    undeclared: HashMap<&'a Path, ContentDigest>,
}

impl<'a> Judge<'a> {
    fn new(variables: Variables<'a>) -> Self {
        let Variables { tool, world, .. } = variables;
        Self {
            tool,
            world,
            fetched: tool.fetched.iter().map(|package| package.identity()).collect(),
            variables,
            for_native_code: variables.for_native_code(),
            named: variables.named(),
            written: world.written(),
            contents: HashMap::new(),
            undeclared: HashMap::new(),
        }
    }

    /// Whether the unit's package is one of this build's.
    fn knows(&self, record: &UnitRecord) -> bool {
        match record.package.source {
            Some(_) => self.fetched.contains(&record.package),
            None => self.tool.packages.iter().any(|package| package.identity() == record.package),
        }
    }

    /// Whether cargo will find the same newest file in the package's folder: its seconds, a dot, nanoseconds, and in
    /// parentheses its path, which may be relative.
    fn is_newest(&self, newest: &str, record: &UnitRecord) -> bool {
        let Some((time, file)) = newest.trim_end_matches(')').split_once(" (") else { return false };
        let package = self.tool.packages.iter().find(|package| package.identity() == record.package);
        let Some(folder) = package.map(|package| &package.folder) else { return false };
        let modified = |path: &Path| self.world.modified(path);
        let Some(at) = modified(&folder.join(file)) else { return false };
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        time.trim_end_matches('s') == format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
            && self
                .world
                .sources()
                .iter()
                .filter(|(path, _)| path.starts_with(folder))
                .all(|(path, _)| modified(path).is_some_and(|other| other <= at))
    }

    /// Why the unit does not fit; `None` if it does.
    fn objection(&mut self, record: &UnitRecord) -> Option<String> {
        if record.workspace.as_ref().is_some_and(|workspace| *workspace != self.tool.workspace) {
            return Some("the workspace is at another place".to_owned());
        }
        if record.target_folder.as_ref().is_some_and(|folder| *folder != self.tool.target) {
            return Some("the target folder is at another place".to_owned());
        }
        for (name, digest) in &record.env {
            if self.variables.digest(name) != *digest {
                return Some(format!("{name} changed"));
            }
        }
        if record.for_native_code.is_some_and(|variables| variables != self.for_native_code) {
            return Some("the variables for C compilers changed".to_owned());
        }
        if record.named.is_some_and(|variables| variables != self.named) {
            return Some("build-env changed".to_owned());
        }
        for (path, content) in &record.files {
            let now = match self.contents.get(path) {
                Some(now) => *now,
                None => *self.contents.entry(path.clone()).or_insert(self.world.content(path)),
            };
            if now != *content {
                let shown = path.strip_prefix(&self.tool.workspace).unwrap_or(path);
                return Some(format!("{} changed", shown.display()));
            }
        }
        if record.newest.as_ref().is_some_and(|newest| !self.is_newest(newest, record)) {
            return Some("its build script declares no file, and a file's time changed".to_owned());
        }
        for (path, content) in &record.written {
            if self.written.get(path) != Some(content) {
                return Some(format!("{} is not there as its build script wrote it", path.display()));
            }
        }
        let undeclared = record.undeclared?;
        let package = self.tool.packages.iter().find(|package| package.identity() == record.package)?;
        let (tool, world) = (self.tool, self.world);
        let now = *self
            .undeclared
            .entry(&package.folder)
            .or_insert_with(|| undeclared_files(tool, &package.folder, world));
        (now != undeclared).then(|| "a file changed that its macros may read".to_owned())
    }
}
