//! The same around an ordinary run of cargo, which works in the user's own folders and with the user's own CARGO_HOME.
//!
//! There are no fixed places and no sandbox, and the target folder is not empty. So only units of packages from elsewhere
//! are put back and kept, whose sources never change, and only where nothing is: what is there already is cargo's own.
//! A unit is put back only if everything that it needs is there, or comes with it, with the very same content.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use carrack_base::ContentDigest;
use carrack_graph::{HarvestedUnit, OfferedUnit, World};

use super::choose::choose;
use super::harvest::{Scope, harvest};
use super::layout;
use super::record::UnitRecord;
use super::{FetchedPackage, VariableNames, realm};
use crate::locate::Configured;
use crate::tool::CargoTool;

/// Units of packages from elsewhere are told apart by what cargo puts into their names.
const NO_SETTINGS: ContentDigest = ContentDigest::from_bytes([0; 32]);

/// An ordinary run of cargo.
#[derive(Debug, Clone)]
pub struct OrdinaryRun {
    /// CARGO_HOME.
    pub cargo_home: PathBuf,
    /// Where cargo puts intermediate results.
    pub target: PathBuf,
    /// The folder of the profile below it (`release`).
    pub profile: String,
    /// Every package that comes from elsewhere.
    pub fetched: Vec<FetchedPackage>,
    /// The whole environment.
    pub variables: BTreeMap<String, String>,
    /// What cargo's configuration adds.
    pub configured: Configured,
    /// What compiles: facts that decide about every unit, in words for people.
    pub identity: BTreeMap<String, String>,
    /// Digest of what build scripts may find installed, where that is not among these facts.
    pub installed: Option<ContentDigest>,
}

/// A kept unit that fits a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FittingUnit {
    /// What it is called where it is kept.
    pub id: ContentDigest,
    /// Where it was found, if that is not this machine.
    pub origin: Option<String>,
    /// What it needs.
    needs: Vec<ContentDigest>,
    /// Cargo's fingerprint of it.
    fingerprint: String,
}

impl OrdinaryRun {
    /// Under which name its units are kept.
    pub fn realm(&self) -> ContentDigest {
        let identity = self.identity.iter().map(|(name, value)| (name.clone(), value.clone()));
        let variables = self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        realm(&self.tool(), identity, variables, Path::new(""))
    }

    /// The units among `offered` that fit, each after those that it needs.
    pub fn choose(&self, offered: Vec<OfferedUnit>) -> Vec<FittingUnit> {
        let choice = choose(&self.tool(), NO_SETTINGS, &self.names(), offered, &Environment(&self.variables));
        let fitting = choice.units.iter().map(|unit| {
            let record = &choice.records[&unit.id];
            FittingUnit {
                id: unit.id,
                needs: record.needs.clone(),
                fingerprint: record.fingerprint.clone(),
                origin: choice.origins.get(&unit.id).cloned(),
            }
        });
        fitting.collect()
    }

    /// Those of `fitting` that may be put into the target folder, where those named in `lying` are.
    ///
    /// Where a unit is missing that something there was compiled with, only cargo can make it again: it compiles what needs
    /// it again as well, because the unit is newer then. A kept one is not newer, and need not have the same bytes.
    ///
    /// Errors: something that is there can't be read.
    pub fn without_disturbing(
        &self,
        fitting: Vec<FittingUnit>,
        lying: &[ContentDigest],
    ) -> io::Result<Vec<FittingUnit>> {
        let found = layout::find_of(&self.target, &self.profile)?;
        let lying: HashSet<&ContentDigest> = lying.iter().collect();
        let is_lying = |unit: &&FittingUnit| lying.contains(&unit.id);
        let ours: HashSet<&str> =
            fitting.iter().filter(is_lying).map(|unit| unit.fingerprint.as_str()).collect();
        let foreign = found.iter().filter(|unit| !ours.contains(unit.fingerprint.as_str()));
        let needed: HashSet<String> = foreign.flat_map(|unit| unit.details.needs()).collect();
        let mut refused: HashSet<ContentDigest> = HashSet::new();
        for unit in &fitting {
            let is_refused =
                needed.contains(&unit.fingerprint) || unit.needs.iter().any(|need| refused.contains(need));
            if is_refused && !is_lying(&unit) {
                refused.insert(unit.id);
            }
        }
        Ok(fitting.into_iter().filter(|unit| !refused.contains(&unit.id)).collect())
    }

    /// The units in the target folder that are not among `kept` and can be kept, each after those that it needs. What is in
    /// `kept` must lie there, with the very same bytes: others are noted as compiled with it.
    ///
    /// Errors: something that is there can't be read.
    pub fn harvest(&self, kept: &[OfferedUnit]) -> io::Result<Vec<HarvestedUnit>> {
        let known: HashMap<ContentDigest, UnitRecord> =
            kept.iter().filter_map(|unit| Some((unit.id, UnitRecord::from_bytes(&unit.record)?))).collect();
        let scope = Scope {
            folder: &self.target,
            known: &known,
            with_local: false,
            is_fixed: false,
            profile: Some(&self.profile),
        };
        let world = Environment(&self.variables);
        let harvest = harvest(&self.tool(), (&self.realm(), NO_SETTINGS), &self.names(), scope, &world)?;
        // What depends on a folder of the user's is not ours to keep here.
        let mut local: HashSet<ContentDigest> = HashSet::new();
        let mut units = Vec::new();
        for unit in harvest.units {
            if unit.local || unit.needs.iter().any(|need| local.contains(need)) {
                local.insert(unit.id);
            } else {
                units.push(unit);
            }
        }
        Ok(units)
    }

    /// Those of `planted` that no other unit in the target folder was compiled with, directly or not. None if there is no
    /// other unit: then they are what was asked for.
    ///
    /// Errors: something that is there can't be read.
    pub fn unused(&self, planted: &[FittingUnit]) -> io::Result<Vec<ContentDigest>> {
        let found = layout::find_of(&self.target, &self.profile)?;
        let ours: HashSet<&str> = planted.iter().map(|unit| unit.fingerprint.as_str()).collect();
        let mut open: Vec<String> = Vec::new();
        let mut needs: HashMap<&str, Vec<String>> = HashMap::new();
        for unit in &found {
            needs.entry(&unit.fingerprint).or_default().extend(unit.details.needs());
            if !ours.contains(unit.fingerprint.as_str()) {
                open.push(unit.fingerprint.clone());
            }
        }
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let mut used = HashSet::new();
        while let Some(fingerprint) = open.pop() {
            if used.insert(fingerprint.clone()) {
                open.extend(needs.get(fingerprint.as_str()).into_iter().flatten().cloned());
            }
        }
        Ok(planted.iter().filter(|unit| !used.contains(&unit.fingerprint)).map(|unit| unit.id).collect())
    }

    fn names(&self) -> VariableNames {
        VariableNames { passed: self.variables.keys().cloned().collect(), named: BTreeSet::new() }
    }

    fn tool(&self) -> CargoTool {
        CargoTool {
            workspace: PathBuf::new(),
            cargo_home: self.cargo_home.clone(),
            target: self.target.clone(),
            profile: self.profile.clone(),
            packages: Vec::new(),
            fetched: self.fetched.clone(),
            binaries: Vec::new(),
            configs: Vec::new(),
            configured: self.configured.clone(),
            wrapper: PathBuf::new(),
            installed: self.installed,
            uses_units: true,
        }
    }
}

/// A digest of which units of a profile are in a target folder and when cargo made each, but for those of the packages
/// `own`. It stays the same for as long as cargo has no reason to compile another package.
///
/// Errors: something that is there can't be read.
pub fn units_digest(target: &Path, profile: &str, own: &BTreeSet<String>) -> io::Result<ContentDigest> {
    layout::digest_of(target, profile, own)
}

/// A world of which only the variables matter: what is chosen was made from nothing that can change.
struct Environment<'a>(&'a BTreeMap<String, String>);

impl World for Environment<'_> {
    fn content(&self, _: &Path) -> Option<ContentDigest> {
        None
    }

    fn modified(&self, _: &Path) -> Option<SystemTime> {
        None
    }

    fn settled(&self, _: &Path) -> bool {
        true
    }

    fn sources(&self) -> Vec<(PathBuf, ContentDigest)> {
        Vec::new()
    }

    fn written(&self) -> BTreeMap<PathBuf, ContentDigest> {
        BTreeMap::new()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn on_host(&self, seen: &Path) -> PathBuf {
        seen.to_owned()
    }

    fn inside(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}
