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
//! | files that a macro may read without saying so | every file of the sources that is not Rust, for packages that use such a macro, and the names of their modules |
//! | where the workspace is (gets into what is compiled from it) | the workspace's place as cargo sees it |
//! | what a build script wrote into the sources | it has to be there, with that content |
//! | variables of C compilers, which a build script may use and not declare | their values, for runs of build scripts that leave native code or link to some |
//! | two units of one name (two contents of one member) | only the one that fits is put back |
//! | a unit that was compiled with others | it needs exactly these, by the digests of their files |
//! | compiler, linker, C library, CARGO_HOME and target folder | [`realm`](carrack_graph::Tool::realm): units of another one are never offered |
//!
//! What is not sure to fit is not put back, and cargo compiles it. A unit that declared a variable which holds a credential
//! is never kept: cargo writes values into its files.
//!
//! Only reads files, and fails only if one that is there can't be read.

mod choose;
mod harvest;
mod layout;
mod ordinary;
mod record;

pub(crate) use choose::{Choice, choose};
pub(crate) use harvest::{Harvest, Scope, harvest};
pub use ordinary::{FittingUnit, OrdinaryRun, units_digest};
pub(crate) use record::Package;

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

/// What every unit depends on and none says itself. `target` is the target folder as cargo sees it.
pub(crate) fn realm(
    tool: &CargoTool,
    identity: impl Iterator<Item = (String, String)>,
    target: &Path,
) -> ContentDigest {
    let mut text = format!("{}\0{}\0{}\0", record::VERSION, tool.cargo_home.display(), target.display());
    for (name, value) in identity {
        text.push_str(&format!("{name}={value}\0"));
    }
    ContentDigest::of(text.as_bytes())
}

/// The part of the environment that a build script may use without declaring it.
fn undeclared_variables(names: impl Iterator<Item = String>, world: &dyn World) -> ContentDigest {
    let is_of_c = |name: &String| {
        classify(name) == Class::Keyed && !name.starts_with("CARGO") && !name.starts_with("RUST")
    };
    let mut text = String::new();
    for name in names.filter(is_of_c) {
        if let Some(value) = world.variable(&name) {
            text.push_str(&format!("{name}={value}\0"));
        }
    }
    ContentDigest::of(text.as_bytes())
}

/// What a package may read without telling: every source that is not Rust, and which modules it has.
fn undeclared_files(tool: &CargoTool, folder: &Path, world: &dyn World) -> ContentDigest {
    let mut bytes = Vec::new();
    for (path, content) in world.sources() {
        let is_rust = crate::tool::is_rust(&path);
        if is_rust && path.starts_with(folder) || !is_rust && !tool.is_for_people(&path) {
            bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
            bytes.push(0);
            if !is_rust {
                bytes.extend_from_slice(content.as_bytes());
            }
        }
    }
    ContentDigest::of(&bytes)
}

/// A variable's value may be a secret: only its digest is written down.
fn digest_of_value(value: &str) -> ContentDigest {
    ContentDigest::of(value.as_bytes())
}
