//! Where cargo keeps what belongs to a unit, in both of its layouts.
//!
//! ```text
//! <profile>/.fingerprint/<package>-<hash>/<target>         the fingerprint; `<target>.json` says what is in it
//! <profile>/deps/*-<hash>[.*], <profile>/examples/…        what was compiled, and rustc's `.d`
//! <profile>/deps/lib<library>.{rlib,so}, <library>.d       the same, of a member that is a shared library
//! <profile>/build/<package>-<hash>/                        a compiled build script, or a run: `output`, `out/` …
//!
//! <profile>/build/<package>/<hash>/fingerprint/<target>    the newer layout: all of a unit in one folder,
//! <profile>/build/<package>/<hash>/{out,run}/              `out` is what was compiled, or OUT_DIR beside `run`
//! ```
//!
//! `<profile>` is `release` or `<triple>/release`. Only looks; a unit that is not whole, or has a name that is not UTF-8, is
//! left out. Fails if a folder that is there can't be read.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use carrack_base::{ContentDigest, MOST_TEXT, read_regular};
use serde::Deserialize;

/// A unit in a target folder.
#[derive(Debug)]
pub(super) struct Found {
    /// Its fingerprint file, relative to the target folder.
    pub(super) name: String,
    /// The name of its package.
    pub(super) package: String,
    /// What its fingerprint file is called.
    pub(super) target: String,
    pub(super) fingerprint: String,
    pub(super) details: Details,
    /// All that belongs to it, relative to the target folder: files, links, empty folders.
    pub(super) paths: Vec<String>,
    /// rustc's dep-info among them.
    pub(super) dep_info: Option<String>,
    /// For the run of a build script: what it said, and its OUT_DIR.
    pub(super) run: Option<ScriptRun>,
}

/// A run of a build script, as paths relative to the target folder.
#[derive(Debug)]
pub(super) struct ScriptRun {
    pub(super) said: String,
    pub(super) out_dir: String,
}

/// What cargo notes about a fingerprint.
#[derive(Debug, Deserialize)]
pub(super) struct Details {
    /// Each with the fingerprint of what is depended on as its last part.
    deps: Vec<(u64, String, bool, u64)>,
    pub(super) local: Vec<Local>,
}

/// What cargo watches for a unit.
#[derive(Debug, Deserialize)]
pub(super) enum Local {
    /// A version, or the newest time in a folder and which file has it.
    Precalculated(String),
    CheckDepInfo {},
    RerunIfChanged {},
    RerunIfEnvChanged {
        var: String,
    },
}

impl Found {
    /// Whether cargo rewrites a file of this unit for another target folder, or looks at it only to explain itself.
    pub(super) fn is_rewritten(&self, path: &str) -> bool {
        let is_made = self.run.as_ref().is_some_and(|run| Path::new(path).starts_with(&run.out_dir));
        let is_compiled = path.ends_with(".rlib") || path.ends_with(".rmeta") || path.ends_with(".so");
        let is_program = !path.contains("/.fingerprint/")
            && !path.contains("/fingerprint/")
            && self.run.is_none()
            && !path.ends_with(".d");
        !is_made && !is_compiled && !is_program
    }
}

impl Details {
    /// The fingerprints of the units that this one was compiled with, as their files have them.
    pub(super) fn needs(&self) -> impl Iterator<Item = String> {
        self.deps.iter().map(|(_, _, _, fingerprint)| {
            fingerprint.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }
}

/// Every whole unit in `target`.
pub(super) fn find(target: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for profile in profiles(target)? {
        units_of(target, &profile, &mut found)?;
    }
    Ok(found)
}

/// Every whole unit in `target` that was compiled with a profile, for whatever platform.
pub(super) fn find_of(target: &Path, profile: &str) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for folder in profiles_of(target, profile)? {
        units_of(target, &folder, &mut found)?;
    }
    Ok(found)
}

/// A digest of the names of the units of a profile, but for those of the packages `own`, and of when cargo made each.
pub(super) fn digest_of(target: &Path, profile: &str, own: &BTreeSet<String>) -> io::Result<ContentDigest> {
    let mut text = String::new();
    let mut add = |folder: String| {
        // Cargo touches it when it makes a unit.
        let time = fs::metadata(target.join(&folder).join("invoked.timestamp"));
        let time = time.map(|metadata| (metadata.mtime(), metadata.mtime_nsec())).unwrap_or_default();
        text.push_str(&format!("{folder} {time:?}\n"));
    };
    for profile in profiles_of(target, profile)? {
        for folder in names(&target.join(&profile).join(".fingerprint"))? {
            let package =
                hash_of(&folder).map_or(&folder[..], |hash| &folder[..folder.len() - hash.len() - 1]);
            if !own.contains(package) {
                add(format!("{profile}/.fingerprint/{folder}"));
            }
        }
        // In the older layout, these have no folders that are called like a hash.
        for package in names(&target.join(&profile).join("build"))? {
            if hash_of(&package).is_some() || own.contains(&package) {
                continue;
            }
            for hash in names(&target.join(&profile).join("build").join(&package))? {
                add(format!("{profile}/build/{package}/{hash}/fingerprint"));
            }
        }
    }
    Ok(ContentDigest::of(text.as_bytes()))
}

/// The folders of profiles: there, or in the folder of a target triple.
fn profiles(target: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in names(target)? {
        if is_profile(&target.join(&name)) {
            found.push(name);
            continue;
        }
        for below in names(&target.join(&name))? {
            let profile = format!("{name}/{below}");
            if is_profile(&target.join(&profile)) {
                found.push(profile);
            }
        }
    }
    Ok(found)
}

fn profiles_of(target: &Path, profile: &str) -> io::Result<Vec<String>> {
    let is_of_profile = |folder: &String| folder.rsplit('/').next() == Some(profile);
    Ok(profiles(target)?.into_iter().filter(is_of_profile).collect())
}

fn is_profile(folder: &Path) -> bool {
    [".fingerprint", "build", "deps"].iter().any(|name| folder.join(name).is_dir())
}

fn units_of(target: &Path, profile: &str, found: &mut Vec<Found>) -> io::Result<()> {
    let mut outputs: HashMap<String, Vec<String>> = HashMap::new();
    let mut unhashed: HashMap<String, Vec<String>> = HashMap::new();
    for folder in ["deps", "examples"] {
        for name in names(&target.join(profile).join(folder))? {
            let (stem, extension) = name.split_once('.').unwrap_or((&name, ""));
            let path = format!("{profile}/{folder}/{name}");
            if let Some(hash) = hash_of(stem) {
                outputs.entry(hash.to_owned()).or_default().push(path);
            } else if folder == "deps" {
                let library = if extension == "d" { Some(stem) } else { stem.strip_prefix("lib") };
                let library = library.unwrap_or(stem).to_owned();
                unhashed.entry(library).or_default().push(path);
            }
        }
    }
    let fingerprints = names(&target.join(profile).join(".fingerprint"))?;
    let mut claims: HashMap<String, Vec<&str>> = HashMap::new();
    for folder in &fingerprints {
        let Some(hash) = hash_of(folder).filter(|hash| !outputs.contains_key(*hash)) else { continue };
        let files = names(&target.join(profile).join(".fingerprint").join(folder))?;
        let mut libraries = files.iter().filter_map(|file| file.strip_suffix(".json")?.strip_prefix("lib-"));
        if let Some(library) = libraries.next() {
            claims.entry(library.to_owned()).or_default().push(hash);
        }
    }
    // Of two units that write to the same files, nobody can say whose they are.
    for (library, hashes) in claims {
        if let ([hash], Some(paths)) = (&hashes[..], unhashed.remove(&library)) {
            outputs.insert((*hash).to_owned(), paths);
        }
    }
    for folder in &fingerprints {
        let Some(hash) = hash_of(folder) else { continue };
        let package = folder[..folder.len() - hash.len() - 1].to_owned();
        let place = format!("{profile}/.fingerprint/{folder}");
        let mut paths = outputs.remove(hash).unwrap_or_default();
        let build = format!("{profile}/build/{folder}");
        let ok = all_below(target, &place, &mut paths)? && all_below(target, &build, &mut paths)?;
        let run = ScriptRun { said: format!("{build}/output"), out_dir: format!("{build}/out") };
        found.extend(unit(target, &place, package, paths, run)?.filter(|_| ok));
    }
    for package in names(&target.join(profile).join("build"))? {
        for hash in names(&target.join(profile).join("build").join(&package))? {
            let place = format!("{profile}/build/{package}/{hash}");
            if !is_hash(&hash) || !target.join(&place).join("fingerprint").is_dir() {
                continue;
            }
            let mut paths = Vec::new();
            let ok = all_below(target, &place, &mut paths)?;
            let run = ScriptRun { said: format!("{place}/run/stdout"), out_dir: format!("{place}/out") };
            found.extend(
                unit(target, &format!("{place}/fingerprint"), package.clone(), paths, run)?.filter(|_| ok),
            );
        }
    }
    Ok(())
}

/// The unit whose fingerprint is in `place`, if there is one there that is whole.
fn unit(
    target: &Path,
    place: &str,
    package: String,
    paths: Vec<String>,
    run: ScriptRun,
) -> io::Result<Option<Found>> {
    let names = names(&target.join(place))?;
    let mut described = names.iter().filter_map(|name| name.strip_suffix(".json"));
    // Cargo puts one into each folder.
    let (Some(name), None) = (described.next(), described.next()) else { return Ok(None) };
    let read = |name: &str| read_regular(&target.join(place).join(name), MOST_TEXT).ok();
    // Written last, once the unit is there.
    let fingerprint = read(name).and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(fingerprint) = fingerprint.filter(|text| is_hash(text)) else { return Ok(None) };
    let details = read(&format!("{name}.json"));
    let Some(details) = details.and_then(|bytes| serde_json::from_slice(&bytes).ok()) else {
        return Ok(None);
    };
    let run = name.starts_with("run-build-script-").then_some(run);
    let dep_info = paths.iter().find(|path| path.ends_with(".d") && !path.contains("/out/build/")).cloned();
    let is_whole = match &run {
        Some(run) => paths.contains(&run.said),
        // Without rustc's dep-info, its files have no hash in their names.
        None => dep_info.is_some(),
    };
    Ok(is_whole.then(|| Found {
        name: format!("{place}/{name}"),
        package,
        target: name.to_owned(),
        fingerprint,
        details,
        paths,
        dep_info: dep_info.filter(|_| run.is_none()),
        run,
    }))
}

/// Adds everything below `folder`; whether all of it has a name that can be written down.
fn all_below(target: &Path, folder: &str, paths: &mut Vec<String>) -> io::Result<bool> {
    let entries = match fs::read_dir(target.join(folder)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    let mut is_empty = true;
    let mut ok = true;
    for entry in entries {
        let entry = entry?;
        is_empty = false;
        let Ok(name) = entry.file_name().into_string() else {
            ok = false;
            continue;
        };
        let path = format!("{folder}/{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            ok &= all_below(target, &path, paths)?;
        } else if kind.is_file() || kind.is_symlink() {
            // What else there is marks in an overlay that something is gone.
            paths.push(path);
        }
    }
    if is_empty {
        paths.push(folder.to_owned());
    }
    Ok(ok)
}

/// Names in a folder, sorted; those that are not UTF-8 are none of cargo's.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        // In an overlay, a device marks that something is gone.
        if !entry.file_type()?.is_char_device() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

/// The hash at the end of `name-<hash>`.
fn hash_of(name: &str) -> Option<&str> {
    name.rsplit_once('-').map(|(_, hash)| hash).filter(|hash| is_hash(hash))
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}
