//! Finds what a run of cargo left in its target folder, and writes down what each unit depends on.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use carrack_base::{ContentDigest, MOST_BYTES, MOST_TEXT, UnitContent, UnitFile, read_regular};
use carrack_graph::{HarvestedUnit, World};
use memchr::memmem;

use super::choose::Choice;
use super::layout::{self, Found, Local};
use super::record::{Package, UnitRecord};
use super::{VariableNames, Variables, undeclared_files};
use crate::discovered::Discovered;
use crate::environment::{Class, classify};
use crate::tool::{CargoTool, PathPackage};

/// What a run left.
#[derive(Debug, Default)]
pub(crate) struct Harvest {
    pub(crate) units: Vec<HarvestedUnit>,
    /// What its units declared, also those that can't be kept.
    declared: Discovered,
    /// What they need, whether they can be kept or not.
    needed: BTreeSet<ContentDigest>,
    records: HashMap<ContentDigest, UnitRecord>,
}

/// Where a unit's package is.
#[derive(Clone)]
enum Owner<'a> {
    Fetched(Package),
    /// A package from elsewhere that lies among the sources: vendored.
    Vendored(Package, &'a Path),
    Local(&'a PathPackage),
}

/// What is to be taken from a target folder.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The target folder as it can be read now.
    pub(crate) folder: &'a Path,
    /// Units of these names and fingerprints are known: they were put there, or are kept.
    pub(crate) known: &'a HashMap<ContentDigest, UnitRecord>,
    /// Whether units that were compiled from the user's folders are wanted.
    pub(crate) with_local: bool,
    /// Whether the folder is at the same place for everyone, so that it does not matter who mentions it.
    pub(crate) is_fixed: bool,
    /// Only units of this profile's folder.
    pub(crate) profile: Option<&'a str>,
}

/// The units of `scope`, as far as they are new.
///
/// Errors: something that is there can't be read.
pub(crate) fn harvest(
    tool: &CargoTool,
    (realm, settings): (&ContentDigest, ContentDigest),
    names: &VariableNames,
    scope: Scope<'_>,
    world: &dyn World,
) -> io::Result<Harvest> {
    let found = match scope.profile {
        Some(profile) => layout::find_of(scope.folder, profile)?,
        None => layout::find(scope.folder)?,
    };
    let known: HashSet<(&str, &str)> =
        scope.known.values().map(|record| (record.name.as_str(), record.fingerprint.as_str())).collect();
    let known_names: HashSet<&str> = known.iter().map(|(name, _)| *name).collect();
    // Outside of an overlay, what was put there is still there. A build script that ran again over what it left before is
    // not like one that ran for the first time.
    let is_new = |unit: &&Found| {
        let is_known = known.contains(&(unit.name.as_str(), unit.fingerprint.as_str()));
        let ran_again = unit.run.is_some() && scope.with_local && known_names.contains(unit.name.as_str());
        !is_known && !ran_again
    };
    // The run of a build script belongs to the package of its compilation.
    let (runs, compilations): (Vec<&Found>, Vec<&Found>) =
        found.iter().filter(is_new).partition(|unit| unit.run.is_some());
    let mut grower = Grower {
        tool,
        realm,
        world,
        target: if scope.is_fixed { None } else { Some(scope.folder) },
        variables: Variables { tool, names, world },
        settings,
        by_fingerprint: HashMap::new(),
        local: HashMap::new(),
        harvest: Harvest::default(),
    };
    let mut reader = Reader { tool, target: scope.folder, world, owners: HashMap::new() };
    for (id, record) in scope.known {
        grower.by_fingerprint.entry(record.fingerprint.clone()).or_default().push(*id);
        grower.local.insert(*id, record.local);
        reader.owners.extend(reader.owner_of(record).map(|owner| (record.fingerprint.clone(), owner)));
    }
    let mut statements = Vec::new();
    for unit in compilations.into_iter().chain(runs) {
        let statement = reader.statement(unit)?;
        let is_local = statement.owner.as_ref().is_none_or(|owner| owner.folder().is_some());
        if scope.with_local || !is_local {
            statements.push((unit, statement));
        }
    }
    for (_, Statement { declared, .. }) in &statements {
        grower.harvest.declared.env.extend(declared.env.iter().cloned());
        grower.harvest.declared.files.extend(declared.files.iter().cloned());
    }
    let needed: BTreeSet<String> = statements.iter().flat_map(|(unit, _)| unit.details.needs()).collect();
    let units: Vec<&Found> = statements.iter().map(|(unit, _)| *unit).collect();
    let contents = read_all(&units, scope)?;
    let mut waiting: Vec<_> = statements.into_iter().zip(contents).collect();
    // Each after those that it needs; what needs something that is not kept is never ready.
    loop {
        let before = waiting.len();
        let open: BTreeSet<String> = waiting.iter().map(|((unit, _), _)| unit.fingerprint.clone()).collect();
        let mut later = Vec::new();
        for ((unit, statement), content) in waiting {
            let is_there = |need: String| !open.contains(&need) && grower.by_fingerprint.contains_key(&need);
            if unit.details.needs().all(is_there) {
                grower.add(unit, statement, content);
            } else {
                later.push(((unit, statement), content));
            }
        }
        if later.len() == before {
            let ids = needed.iter().filter_map(|need| grower.by_fingerprint.get(need)).flatten();
            grower.harvest.needed = ids.copied().collect();
            return Ok(grower.harvest);
        }
        waiting = later;
    }
}

struct Grower<'a> {
    tool: &'a CargoTool,
    realm: &'a ContentDigest,
    world: &'a dyn World,
    /// The target folder, where it may get into what is compiled.
    target: Option<&'a Path>,
    variables: Variables<'a>,
    settings: ContentDigest,
    by_fingerprint: HashMap<String, Vec<ContentDigest>>,
    /// Whether what a unit was compiled from can change.
    local: HashMap<ContentDigest, bool>,
    harvest: Harvest,
}

/// What a unit says about itself.
struct Statement<'a> {
    /// `None` if nobody knows the package.
    owner: Option<Owner<'a>>,
    declared: Discovered,
    /// Whether it is the run of a build script that had something to do with a C compiler or a linker.
    native: bool,
    /// The newest time in its package's folder, if cargo watches that.
    newest: Option<String>,
}

impl<'a> Grower<'a> {
    fn add(&mut self, unit: &Found, statement: Statement<'a>, content: Content) {
        let Some(mut record) = self.record(unit, statement) else { return };
        let Content { files, mentions_target } = content;
        record.target_folder = self.target.filter(|_| mentions_target).map(Path::to_owned);
        let id = record.id(self.realm, &files);
        self.by_fingerprint.entry(unit.fingerprint.clone()).or_default().push(id);
        self.local.insert(id, record.local);
        self.harvest.units.push(HarvestedUnit {
            id,
            package: record.package.to_string(),
            record: record.to_bytes(),
            files,
            needs: record.needs.clone(),
            local: record.local,
            ran: unit.run.is_some(),
        });
        self.harvest.records.insert(id, record);
    }

    /// What is to be known about a unit; `None` if it can't be kept.
    fn record(&self, unit: &Found, statement: Statement<'a>) -> Option<UnitRecord> {
        let Statement { owner: Some(owner), declared, native, newest } = statement else { return None };
        if declared.env.iter().any(|name| self.is_set_secret(name)) {
            return None;
        }
        let mut files = BTreeMap::new();
        for file in declared.files {
            if !self.world.settled(&file) || file.to_str().is_none() {
                return None;
            }
            let content = self.world.content(&file);
            files.insert(file, content);
        }
        let (package, undeclared) = match &owner {
            Owner::Fetched(package) | Owner::Vendored(package, _) => (package.clone(), None),
            Owner::Local(package) => {
                let reads = package.reads_undeclared && unit.run.is_none();
                let undeclared = reads.then(|| undeclared_files(self.tool, &package.folder, self.world));
                (package.identity(), undeclared)
            }
        };
        let is_own = owner.folder().is_some();
        let needs: BTreeSet<ContentDigest> =
            unit.details.needs().flat_map(|need| self.by_fingerprint[&need].clone()).collect();
        let env = declared.env.into_iter().map(|name| (name.clone(), self.variables.digest(&name)));
        let is_run = unit.run.is_some();
        let uses_named = is_own && is_run || undeclared.is_some();
        Some(UnitRecord {
            name: unit.name.clone(),
            fingerprint: unit.fingerprint.clone(),
            package,
            target: unit.target.clone(),
            local: is_own || !files.is_empty() || needs.iter().any(|need| self.local[need]),
            needs: needs.into_iter().collect(),
            files,
            undeclared,
            env: env.collect(),
            written: if is_run && is_own { self.world.written() } else { BTreeMap::new() },
            for_native_code: native.then(|| self.variables.for_native_code()),
            named: uses_named.then(|| self.variables.named()),
            newest,
            settings: self.settings,
            workspace: is_own.then(|| self.tool.workspace.clone()),
            target_folder: None,
        })
    }

    fn is_set_secret(&self, name: &str) -> bool {
        classify(name) == Class::Credential && self.variables.digest(name).is_some()
    }
}

/// Reads what units say about themselves.
struct Reader<'a> {
    tool: &'a CargoTool,
    target: &'a Path,
    world: &'a dyn World,
    /// By the fingerprint of a build script's compilation.
    owners: HashMap<String, Owner<'a>>,
}

impl<'a> Reader<'a> {
    fn statement(&mut self, unit: &Found) -> io::Result<Statement<'a>> {
        let mut declared = Discovered::default();
        let (mut native, mut newest) = (false, None);
        let owner = match (&unit.dep_info, &unit.run) {
            (Some(dep_info), _) => {
                let text = self.read(dep_info)?;
                declared.add_dep_info(&text, &self.tool.workspace);
                declared.add_declared_variables(&text);
                declared.files = declared.files.iter().map(|file| self.inside(file)).collect();
                declared.files.iter().find_map(|file| self.owner(&unit.package, file))
            }
            (None, Some(_)) => unit.details.needs().find_map(|need| self.owners.get(&need).cloned()),
            (None, None) => None,
        };
        if let Some(owner) = owner.as_ref().filter(|_| unit.target.starts_with("build-script-")) {
            self.owners.insert(unit.fingerprint.clone(), owner.clone());
        }
        let folder = owner.as_ref().and_then(Owner::folder).map(Path::to_owned);
        if let Some(run) = &unit.run {
            let said = self.read(&run.said)?;
            // Also a script that found nothing installed has looked.
            let has_looked = self.tool.installed.is_some() || said.contains("rustc-link-");
            native = has_looked || unit.paths.iter().any(|path| is_native(path));
            declared.add_script_output(&said, folder.as_deref());
            declared.files = declared.files.iter().map(|file| self.inside(file)).collect();
        }
        for local in &unit.details.local {
            match local {
                Local::RerunIfEnvChanged { var } => drop(declared.env.insert(var.clone())),
                // Without a word of the script, cargo watches the whole package.
                Local::Precalculated(time) if folder.is_some() => {
                    newest = Some(time.clone());
                    declared.files.extend(folder.clone());
                }
                Local::Precalculated(_) => {}
                Local::RerunIfChanged { .. } | Local::CheckDepInfo {} => {}
            }
        }
        if let (Some(Owner::Local(package)), Some(_)) = (&owner, &unit.run) {
            // It gets much of its environment from there. Cargo would let it run again over what it left, and what is there
            // then is not what a first run leaves.
            declared.files.insert(package.folder.join("Cargo.toml"));
        }
        if let Some(Owner::Vendored(_, folder)) = &owner {
            declared.files.insert((*folder).to_owned());
        }
        declared.files.retain(|file| self.can_change(file));
        Ok(Statement { owner, declared, native, newest })
    }

    fn inside(&self, file: &Path) -> PathBuf {
        self.world.inside(&carrack_base::normalised(file))
    }

    /// Files of packages from elsewhere never change, and those in the target folder follow from others.
    fn can_change(&self, file: &Path) -> bool {
        !file.starts_with(&self.tool.cargo_home) && !file.starts_with(&self.tool.target)
    }

    /// The package of the name `name` whose folder is around `file`.
    fn owner(&self, name: &str, file: &Path) -> Option<Owner<'a>> {
        let tool = self.tool;
        let around = |folder: &Path, of: &str| of == name && file.starts_with(folder);
        let fetched = tool.fetched.iter().find(|package| around(&package.folder, &package.name));
        if let Some(package) = fetched {
            let identity = package.identity();
            return Some(if package.folder.starts_with(&tool.cargo_home) {
                Owner::Fetched(identity)
            } else {
                Owner::Vendored(identity, &package.folder)
            });
        }
        let local = tool.packages.iter().find(|package| around(&package.folder, &package.name));
        local.map(Owner::Local)
    }

    /// The package that an earlier unit belongs to.
    fn owner_of(&self, record: &UnitRecord) -> Option<Owner<'a>> {
        let tool = self.tool;
        match record.package.source {
            Some(_) => {
                let fetched = tool.fetched.iter().find(|package| package.identity() == record.package)?;
                self.owner(&fetched.name, &fetched.folder)
            }
            None => {
                let mut local = tool.packages.iter();
                local.find(|package| package.identity() == record.package).map(Owner::Local)
            }
        }
    }

    fn read(&self, path: &str) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&read_regular(&self.target.join(path), MOST_TEXT)?).into_owned())
    }
}

/// Whether a compiler other than rustc made a file of this name.
fn is_native(path: &str) -> bool {
    [".a", ".o", ".so", ".lo", ".obj"].iter().any(|end| path.ends_with(end)) || path.contains(".so.")
}

impl Owner<'_> {
    /// The folder whose content can change.
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Fetched(_) => None,
            Self::Vendored(_, folder) => Some(folder),
            Self::Local(package) => Some(&package.folder),
        }
    }
}

/// What a unit's files hold.
struct Content {
    files: Vec<UnitFile>,
    /// Whether the place of the target folder got into one of them that cargo does not rewrite.
    mentions_target: bool,
}

/// The content of each unit.
fn read_all(found: &[&Found], scope: Scope<'_>) -> io::Result<Vec<Content>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(found.len().max(1));
    let next = AtomicUsize::new(0);
    let work = || -> io::Result<Vec<(usize, Content)>> {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(unit) = found.get(number) else { return Ok(done) };
            done.push((number, content(unit, scope)?));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all: Vec<(usize, Content)> = Vec::new();
        for thread in running {
            all.extend(thread.join().expect("reading files does not panic")?);
        }
        Ok::<_, io::Error>(all)
    })?;
    all.sort_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, content)| content).collect())
}

fn content(unit: &Found, scope: Scope<'_>) -> io::Result<Content> {
    let target = memmem::Finder::new(scope.folder.as_os_str().as_encoded_bytes());
    let mut files = Vec::new();
    let mut mentions_target = false;
    for path in &unit.paths {
        let place = scope.folder.join(path);
        let metadata = fs::symlink_metadata(&place)?;
        let content = if metadata.is_dir() {
            UnitContent::Folder
        } else if metadata.is_symlink() {
            let to = fs::read_link(&place)?;
            mentions_target |= to.is_absolute();
            UnitContent::Link { to: to.to_string_lossy().into_owned() }
        } else {
            let bytes = read_regular(&place, MOST_BYTES)?;
            if !scope.is_fixed && !mentions_target && !unit.is_rewritten(path) {
                mentions_target = target.find(&bytes).is_some();
            }
            UnitContent::File {
                digest: ContentDigest::of(&bytes),
                size: bytes.len() as u64,
                executable: metadata.permissions().mode() & 0o111 != 0,
            }
        };
        files.push(UnitFile { path: path.clone(), content });
    }
    Ok(Content { files, mentions_target })
}

impl Harvest {
    /// What `binaries` and all that they need declared: files that can change, and variables.
    pub(crate) fn declared(&self, binaries: &[String], choice: &Choice) -> Discovered {
        let mut declared = self.declared.clone();
        let records: HashMap<&ContentDigest, &UnitRecord> =
            choice.records.iter().chain(&self.records).collect();
        let is_root = |record: &UnitRecord| {
            record.binary().is_some_and(|binary| binaries.iter().any(|name| name == binary))
        };
        let mut open: Vec<&ContentDigest> =
            records.iter().filter(|(_, record)| is_root(record)).map(|(id, _)| *id).collect();
        open.extend(&self.needed);
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            let Some(record) = records.get(id).filter(|_| seen.insert(id)) else { continue };
            declared.env.extend(record.env.keys().cloned());
            declared.files.extend(record.files.keys().cloned());
            open.extend(&record.needs);
        }
        declared
    }
}
