//! The same around an ordinary run of cargo, which works in the user's own folders and with the user's own CARGO_HOME.
//!
//! There are no fixed places and no sandbox, and the target folder is not empty. So only units of packages from elsewhere
//! are put back and kept, whose sources never change, and only where nothing is: what is there already is cargo's own.
//! A unit is put back only if everything that it needs is there, or comes with it, with the very same content.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use carrack_base::{ContentDigest, UnitContent, UnitFile};
use carrack_graph::{HarvestedUnit, OfferedUnit, World};

use super::choose::choose;
use super::harvest::{Scope, harvest};
use super::record::UnitRecord;
use super::{FetchedPackage, realm};
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
    /// What compiles: facts that decide about every unit, in words for people.
    pub identity: BTreeMap<String, String>,
}

/// A kept unit that fits a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FittingUnit {
    /// What it is called where it is kept.
    pub id: ContentDigest,
    /// Package and version.
    pub package: String,
    /// What it needs.
    pub needs: Vec<ContentDigest>,
    /// Its fingerprint file, relative to the target folder: there if a unit of this name is.
    pub fingerprint_file: String,
    /// What that file holds.
    pub fingerprint: String,
    /// Where it was found, if that is not this machine.
    pub origin: Option<String>,
}

impl OrdinaryRun {
    /// Under which name its units are kept.
    pub fn realm(&self) -> ContentDigest {
        let identity = self.identity.iter().map(|(name, value)| (name.clone(), value.clone()));
        realm(&self.tool(), identity, Path::new(""))
    }

    /// The units among `offered` that fit, each after those that it needs.
    pub fn choose(&self, offered: Vec<OfferedUnit>) -> Vec<FittingUnit> {
        let variables: BTreeSet<String> = self.variables.keys().cloned().collect();
        let choice = choose(&self.tool(), NO_SETTINGS, &variables, offered, &Environment(&self.variables));
        let fitting = choice.units.iter().map(|unit| {
            let record = &choice.records[&unit.id];
            FittingUnit {
                id: unit.id,
                package: record.package.to_string(),
                needs: record.needs.clone(),
                fingerprint_file: record.name.clone(),
                fingerprint: record.fingerprint.clone(),
                origin: choice.origins.get(&unit.id).cloned(),
            }
        });
        fitting.collect()
    }

    /// The units in the target folder that are not among `kept` and can be kept.
    ///
    /// Errors: something that is there can't be read.
    pub fn harvest(&self, kept: &[OfferedUnit]) -> io::Result<Vec<HarvestedUnit>> {
        let known: HashMap<ContentDigest, UnitRecord> =
            kept.iter().filter_map(|unit| Some((unit.id, UnitRecord::from_bytes(&unit.record)?))).collect();
        let variables: BTreeSet<String> = self.variables.keys().cloned().collect();
        let scope = Scope { folder: &self.target, known: &known, with_local: false, is_fixed: false };
        let world = Environment(&self.variables);
        let harvest = harvest(&self.tool(), (&self.realm(), NO_SETTINGS), &variables, scope, &world)?;
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

    fn tool(&self) -> CargoTool {
        CargoTool {
            workspace: PathBuf::new(),
            cargo_home: self.cargo_home.clone(),
            target: self.target.clone(),
            profile: self.profile.clone(),
            packages: Vec::new(),
            fetched: self.fetched.clone(),
            binaries: Vec::new(),
            wrapper: PathBuf::new(),
        }
    }
}

/// Whether the unit with these files lies in `target` as it is kept: what others compile against has the same bytes.
///
/// Errors: a file that is there can't be read.
pub fn lies_in(target: &Path, files: &[UnitFile]) -> io::Result<bool> {
    const COMPILED: [&str; 3] = [".rlib", ".rmeta", ".so"];
    for file in files.iter().filter(|file| COMPILED.iter().any(|end| file.path.ends_with(end))) {
        let UnitContent::File { digest, size, .. } = &file.content else { continue };
        let path = target.join(&file.path);
        let is_same = match std::fs::metadata(&path) {
            Ok(found) => found.len() == *size && ContentDigest::of(&std::fs::read(&path)?) == *digest,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !is_same {
            return Ok(false);
        }
    }
    Ok(true)
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
