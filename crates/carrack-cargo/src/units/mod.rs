//! Which compiled units fit a build, and which ones a build leaves.
//!
//! A *unit* is what one call of rustc made, or one run of a build script, with cargo's fingerprint of it. Units are kept,
//! and put into an empty target folder before cargo runs. Then *cargo decides*: it compares its own fingerprints, which
//! cover the compiler, features, profile, flags, declared variables and everything below a unit. What cargo can't see is
//! decided here:
//!
//! | what | how |
//! | --- | --- |
//! | content of a folder of the user's (cargo compares times) | each file that the unit declared, by content |
//! | files that a macro may read without saying so | every file of the sources that is no code of a package, for packages that use such a macro, and the names of their modules |
//! | where the workspace is (gets into what is compiled from it) | the workspace's place as cargo sees it |
//! | what a build script wrote into the sources | it has to be there, with that content |
//! | variables of C compilers, which a build script may use and not declare | their values, for runs of build scripts that leave native code or link to some |
//! | variables that the user names in `build-env`, which a build script or a macro may use and not declare | their values, for the same, for other scripts of the user's packages, and for their units that use such a macro |
//! | `[env]` of cargo's configuration | as if it were the environment's |
//! | two units of one name (two contents of one member) | only the one that fits is put back |
//! | a unit that was compiled with others | it needs exactly these, by the digests of their files |
//! | compiler, linker and its name, C library, CARGO_HOME and target folder | [`realm`](carrack_graph::Tool::realm): units of another one are never offered |
//!
//! What is not sure to fit is not put back, and cargo compiles it. A unit that declared a variable which holds a credential
//! is never kept: cargo writes values into its files.
//!
//! Only reads files, and fails only if one that is there can't be read.

mod choose;
mod harvest;
mod layout;
mod local;
mod ordinary;
mod record;

pub(crate) use choose::{Choice, choose};
pub(crate) use harvest::{Harvest, Scope, harvest};
pub(crate) use local::local_units;
pub use ordinary::{FittingUnit, OrdinaryRun, units_digest};
pub(crate) use record::Package;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use carrack_base::ContentDigest;
use carrack_graph::World;

use crate::environment::{Class, classify};
use crate::tool::CargoTool;

/// A package that is not compiled from a folder of the user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Cargo's name of where it is from.
    pub source: String,
    /// SHA-256 of its archive, if the lock file has one.
    pub checksum: Option<String>,
    /// Its folder, as cargo sees it.
    pub folder: PathBuf,
}

impl FetchedPackage {
    fn identity(&self) -> Package {
        Package {
            name: self.name.clone(),
            version: self.version.clone(),
            source: Some(self.source.clone()),
            checksum: self.checksum.clone(),
        }
    }
}

/// The package that a kept unit was compiled from, without its folder; `None` if it is the user's own.
pub(crate) fn package_of(record: &[u8]) -> Option<FetchedPackage> {
    let Package { name, version, source, checksum } = record::UnitRecord::from_bytes(record)?.package;
    Some(FetchedPackage { name, version, source: source?, checksum, folder: PathBuf::new() })
}

/// What every unit depends on and none says itself. `target` is the target folder as cargo sees it.
pub(crate) fn realm<'v>(
    tool: &CargoTool,
    identity: impl Iterator<Item = (String, String)>,
    variables: impl Iterator<Item = (&'v str, &'v str)>,
    target: &Path,
) -> ContentDigest {
    let mut text = format!("{}\0{}\0{}\0", record::VERSION, tool.cargo_home.display(), target.display());
    for (name, value) in identity {
        text.push_str(&format!("{name}={value}\0"));
    }
    // Cargo takes a linker of another name for another linker, in whatever it compiles.
    for linker in &tool.configured.linkers {
        text.push_str(&format!("linker {linker}\0"));
    }
    let is_linker = |name: &str| name.starts_with("CARGO_TARGET_") && name.ends_with("_LINKER");
    for (name, value) in variables.filter(|(name, _)| is_linker(name)) {
        text.push_str(&format!("{name}={value}\0"));
    }
    ContentDigest::of(text.as_bytes())
}

/// The names of a build's variables.
#[derive(Debug, Clone, Default)]
pub(crate) struct VariableNames {
    /// All that cargo gets.
    pub(crate) passed: BTreeSet<String>,
    /// Those that the user named for this build, whoever reads them.
    pub(crate) named: BTreeSet<String>,
}

/// What build scripts and macros find in their environment: cargo's own, and what its configuration adds.
#[derive(Clone, Copy)]
struct Variables<'a> {
    tool: &'a CargoTool,
    names: &'a VariableNames,
    world: &'a dyn World,
}

impl Variables<'_> {
    /// A variable's value may be a secret: only its digest is written down. `None` if it is not set.
    fn digest(&self, name: &str) -> Option<ContentDigest> {
        let value = self.world.variable(name);
        match self.tool.configured.variables.get(name) {
            None => value.map(|value| ContentDigest::of(value.as_bytes())),
            // Which of both counts, cargo decides.
            Some(configured) => {
                Some(ContentDigest::of(format!("{configured}\0{}", value.unwrap_or_default()).as_bytes()))
            }
        }
    }

    /// What a build script may use for native code without declaring it.
    fn for_native_code(&self) -> ContentDigest {
        let of_others = ["CARGO", "RUST", "SQLX_", "VERGEN_"];
        let is_of_c = |name: &&String| {
            classify(name) == Class::Keyed && !of_others.iter().any(|start| name.starts_with(start))
        };
        let of_c = self.names.passed.iter().chain(self.tool.configured.variables.keys()).filter(is_of_c);
        let variables = self.together(of_c.chain(&self.names.named).collect());
        match self.tool.installed {
            Some(installed) => ContentDigest::of(format!("{variables} {installed}").as_bytes()),
            None => variables,
        }
    }

    /// What the user named, as one expects it to be used.
    fn named(&self) -> ContentDigest {
        self.together(self.names.named.iter().collect())
    }

    fn together(&self, names: BTreeSet<&String>) -> ContentDigest {
        let values = names.into_iter().filter_map(|name| Some(format!("{name}={}\0", self.digest(name)?)));
        ContentDigest::of(values.collect::<String>().as_bytes())
    }
}

/// What a package may read without telling: every source that is no code, and which modules it has.
fn undeclared_files(tool: &CargoTool, folder: &Path, world: &dyn World) -> ContentDigest {
    let mut bytes = Vec::new();
    for (path, content) in world.sources() {
        let is_code = tool.is_code(&path);
        if is_code && path.starts_with(folder) || !is_code && !tool.is_for_people(&path) {
            bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
            bytes.push(0);
            if !is_code {
                bytes.extend_from_slice(content.as_bytes());
            }
        }
    }
    ContentDigest::of(&bytes)
}
