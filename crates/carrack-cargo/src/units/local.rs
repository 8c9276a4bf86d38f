//! Units of a target folder that were compiled from the user's own folders, compared by content.
//!
//! Cargo takes such a unit for fresh if no source is newer than it. What lies in a target folder may have been compiled
//! from other sources that are older or not: stubs of an earlier layer, another branch, another project. So what a unit
//! consists of gets a digest, what its sources hold gets another, and whoever keeps pairs of both can tell.
//!
//! Sources are the files that the unit declared. For the run of a build script that declared none, all files of its package
//! count. The target folder, version control and other caches are never sources.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carrack_base::{ContentDigest, MOST_TEXT, digest_regular, normalised, read_regular};
use carrack_graph::LocalUnit;

use super::layout::{self, Found, Local};
use crate::discovered::Discovered;

/// Below CARGO_HOME: where cargo puts sources of packages from elsewhere, which never change.
const FETCHED: [&str; 2] = ["registry/src", "git/checkouts"];
/// Cargo touches it, and it says nothing.
const TIMESTAMP: &str = "invoked.timestamp";

/// The units of `profile` in `target` whose sources can change. `root` is the workspace's folder. A source that changed after
/// `since` makes its unit one of unknown sources.
///
/// Errors: something that is there can't be read.
pub(crate) fn local_units(
    target: &Path,
    profile: &str,
    root: &Path,
    cargo_home: &Path,
    since: Option<SystemTime>,
) -> io::Result<Vec<LocalUnit>> {
    let found = layout::find_of(target, profile)?;
    let mut reader =
        Reader { target, root, cargo_home, since, packages: HashMap::new(), contents: HashMap::new() };
    let (runs, compilations): (Vec<&Found>, Vec<&Found>) = found.iter().partition(|unit| unit.run.is_some());
    let mut units = Vec::new();
    // The run of a build script belongs to the package of its compilation.
    for unit in compilations.into_iter().chain(runs) {
        let Some(sources) = reader.sources(unit)? else { continue };
        units.push(LocalUnit {
            package: unit.package.clone(),
            key: key(target, unit)?,
            sources: reader.digest(&sources),
            proof: unit.name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned(),
        });
    }
    Ok(units)
}

struct Reader<'a> {
    target: &'a Path,
    root: &'a Path,
    cargo_home: &'a Path,
    since: Option<SystemTime>,
    /// Folders of packages, by the fingerprint of a build script's compilation.
    packages: HashMap<String, PathBuf>,
    contents: HashMap<PathBuf, Option<ContentDigest>>,
}

impl Reader<'_> {
    /// What a unit was made from; `None` if that can't change, or nobody knows.
    fn sources(&mut self, unit: &Found) -> io::Result<Option<BTreeSet<PathBuf>>> {
        let mut declared = Discovered::default();
        if let Some(dep_info) = &unit.dep_info {
            declared.add_dep_info(&self.read(dep_info)?, self.root);
        }
        let mut files: BTreeSet<PathBuf> = declared.files.iter().map(|file| normalised(file)).collect();
        if unit.target.starts_with("build-script-") {
            let folder = files.iter().find_map(|file| package_of(file));
            self.packages.extend(folder.map(|folder| (unit.fingerprint.clone(), folder)));
        }
        if let Some(run) = &unit.run {
            let Some(folder) = unit.details.needs().find_map(|need| self.packages.get(&need)).cloned() else {
                return Ok(None);
            };
            if self.is_fetched(&folder) {
                return Ok(None);
            }
            declared.add_script_output(&self.read(&run.said)?, Some(&folder));
            files.extend(declared.files.iter().map(|file| normalised(file)));
            if unit.details.local.iter().any(|local| matches!(local, Local::Precalculated(_))) {
                files.insert(folder);
            }
        }
        if files.iter().any(|file| self.is_fetched(file)) {
            return Ok(None);
        }
        files.retain(|file| !file.starts_with(self.target));
        Ok(Some(files))
    }

    fn is_fetched(&self, path: &Path) -> bool {
        FETCHED.iter().any(|folder| path.starts_with(self.cargo_home.join(folder)))
    }

    fn digest(&mut self, sources: &BTreeSet<PathBuf>) -> Option<ContentDigest> {
        let mut text = String::new();
        for path in sources {
            let content = match self.contents.get(path) {
                Some(content) => *content,
                None => {
                    let content = self.content(path);
                    *self.contents.entry(path.clone()).or_insert(content)
                }
            };
            text.push_str(&format!("{} {}\0", path.display(), content?));
        }
        Some(ContentDigest::of(text.as_bytes()))
    }

    /// `None` if it changed a moment ago.
    fn content(&self, path: &Path) -> Option<ContentDigest> {
        let mut text = Vec::new();
        let mut open = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            text.extend_from_slice(path.as_os_str().as_encoded_bytes());
            text.push(0);
            // What is not there, or can't be read, is as good as nothing, now and later.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                if path == self.target || path.ends_with(".git") || path.join("CACHEDIR.TAG").exists() {
                    continue;
                }
                let names = fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
                let mut names: Vec<PathBuf> = names.collect();
                names.sort();
                // Deep trees come with links that lead upwards.
                open.extend(names.into_iter().filter(|path| !path.is_symlink() || path.is_file()));
            } else if metadata.is_file() {
                if self.since.is_some_and(|since| changed_at(&metadata) >= since) {
                    return None;
                }
                let content = digest_regular(&path).unwrap_or_else(|_| ContentDigest::of(b""));
                text.extend_from_slice(content.as_bytes());
            }
        }
        Some(ContentDigest::of(&text))
    }

    fn read(&self, path: &str) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&read_regular(&self.target.join(path), MOST_TEXT)?).into_owned())
    }
}

/// Digest of all that a unit consists of.
fn key(target: &Path, unit: &Found) -> io::Result<ContentDigest> {
    let mut text = format!("local unit {} {}\0", unit.name, unit.fingerprint);
    for path in unit.paths.iter().filter(|path| !path.ends_with(TIMESTAMP)) {
        let place = target.join(path);
        let metadata = fs::symlink_metadata(&place)?;
        let content = if metadata.is_file() {
            digest_regular(&place)?.to_string()
        } else if metadata.is_symlink() {
            fs::read_link(&place)?.display().to_string()
        } else {
            String::new()
        };
        text.push_str(&format!("{path} {content}\0"));
    }
    Ok(ContentDigest::of(text.as_bytes()))
}

/// The folder of the package that a source belongs to.
fn package_of(file: &Path) -> Option<PathBuf> {
    file.ancestors().skip(1).find(|folder| folder.join("Cargo.toml").is_file()).map(Path::to_owned)
}

/// When content or metadata of a file changed, which nobody can set.
fn changed_at(metadata: &fs::Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or_default();
    UNIX_EPOCH + Duration::new(seconds, u32::try_from(metadata.ctime_nsec()).unwrap_or_default())
}
