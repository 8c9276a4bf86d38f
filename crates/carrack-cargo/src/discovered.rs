//! What a build turned out to read: the files and variables that its units and build scripts declared.
//!
//! Reads what cargo and rustc left in the target folder, in both of cargo's layouts:
//!
//! ```text
//! <profile>/<binary>.d                        make-style: every local source of the binary, build scripts' files
//! <profile>/deps/<crate>-<hash>.d             rustc's: `# env-dep:NAME=VALUE` lines
//! <profile>/build/<package>-<hash>/output     what a build script said; `out/` beside it is its OUT_DIR
//! <profile>/.fingerprint/<package>-<hash>/    why cargo holds a unit for fresh
//!
//! <profile>/build/<package>/<hash>/out/*.d    cargo 1.100: rustc's
//! <profile>/build/<package>/<hash>/run/       what a build script said: `stdout` or `output`
//! ```
//!
//! Paths come out as cargo saw them, that is inside of the sandbox. Files of registry packages are not listed: they
//! never change under one version. Does not read the sources, so a proc-macro that opens files without declaring
//! them goes unseen, as it does for cargo. Fails only if a file that is there can't be read; what is missing declares
//! nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use crate::environment;

/// What a build declared as its inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Files, and folders whose whole content counts.
    pub files: BTreeSet<PathBuf>,
    /// Variables of the caller, set or not. Those that cargo itself sets are left out.
    pub env: BTreeSet<String>,
}

/// A run of a build script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptRun {
    /// Its OUT_DIR, as a path that can be read now.
    pub out_dir: PathBuf,
    /// The folder of its package, as cargo saw it.
    pub package_folder: PathBuf,
    /// Whether the package is in a registry or git: its own files are then no inputs.
    pub immutable: bool,
}

/// A file of the target folder can't be read.
#[derive(Debug, thiserror::Error)]
#[error("read {path}")]
pub struct DiscoveredError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl Discovered {
    /// Reads what a build left in `profile_folder` (`target/release`), a path that can be read now.
    ///
    /// `binaries` are the names of the built binaries, `working_folder` is what cargo's relative paths start from (the
    /// workspace's root, as cargo saw it).
    pub fn collect(
        profile_folder: &Path,
        binaries: &[&str],
        working_folder: &Path,
        script_runs: &[ScriptRun],
    ) -> Result<Self, DiscoveredError> {
        let mut discovered = Self::default();
        for binary in binaries {
            if let Some(text) = read(&profile_folder.join(format!("{binary}.d")))? {
                discovered.add_dep_info(&text, working_folder);
            }
        }
        for path in rustc_dep_infos(profile_folder)? {
            if let Some(text) = read(&path)? {
                discovered.add_declared_variables(&text);
            }
        }
        for run in script_runs {
            let said = run.out_dir.parent().unwrap_or(&run.out_dir);
            for name in ["output", "run/stdout", "run/output"] {
                if let Some(text) = read(&said.join(name))? {
                    let folder = (!run.immutable).then_some(run.package_folder.as_path());
                    discovered.add_script_output(&text, folder);
                }
            }
        }
        Ok(discovered)
    }

    /// Adds the files that make-style dep-info names, as cargo and rustc write it. Relative ones start from `folder`.
    pub fn add_dep_info(&mut self, text: &str, folder: &Path) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((_, files)) = line.split_once(": ") else { continue };
            self.files.extend(split_escaped(files).into_iter().map(|file| folder.join(file)));
        }
    }

    /// Adds the variables of rustc's `# env-dep:NAME` and `# env-dep:NAME=VALUE` lines.
    pub fn add_declared_variables(&mut self, dep_info: &str) {
        for declared in dep_info.lines().filter_map(|line| line.strip_prefix("# env-dep:")) {
            let name = declared.split_once('=').map_or(declared, |(name, _)| name);
            self.add_variable(unescape(name));
        }
    }

    /// Adds what a build script declared by `rerun-if-changed` and `rerun-if-env-changed`, in both spellings.
    ///
    /// Relative files start from `package_folder`; without one, files are left out.
    pub fn add_script_output(&mut self, text: &str, package_folder: Option<&Path>) {
        for line in text.lines() {
            let Some(instruction) = line.strip_prefix("cargo::").or_else(|| line.strip_prefix("cargo:"))
            else {
                continue;
            };
            match (instruction.split_once('='), package_folder) {
                (Some(("rerun-if-changed", path)), Some(folder)) => {
                    self.files.insert(carrack_base::normalised(&folder.join(path.trim_end())));
                }
                (Some(("rerun-if-env-changed", name)), _) => self.add_variable(name.trim().to_owned()),
                _ => {}
            }
        }
    }

    fn add_variable(&mut self, name: String) {
        if !name.is_empty() && !environment::is_set_by_cargo(&name) {
            self.env.insert(name);
        }
    }
}

/// The folders to delete so that cargo compiles `package` again for sure, whatever the mtimes say.
///
/// `profile_folder` is `target/release` or the like; in cargo's new layout the whole units are named. A missing
/// folder has none.
pub fn fingerprint_folders(profile_folder: &Path, package: &str) -> Result<Vec<PathBuf>, DiscoveredError> {
    let mut folders = Vec::new();
    for (name, path) in entries(&profile_folder.join(".fingerprint"))? {
        if name.rsplit_once('-').is_some_and(|(name, hash)| name == package && is_hash(hash)) {
            folders.push(path);
        }
    }
    for (name, path) in entries(&profile_folder.join("build").join(package))? {
        if is_hash(&name) {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The local files that each unit in `profile_folder` was compiled from, one set for each unit. Relative ones start from
/// `working_folder`.
pub fn files_of_units(
    profile_folder: &Path,
    working_folder: &Path,
) -> Result<Vec<BTreeSet<PathBuf>>, DiscoveredError> {
    let mut units = Vec::new();
    for path in rustc_dep_infos(profile_folder)? {
        if let Some(text) = read(&path)? {
            let mut discovered = Discovered::default();
            discovered.add_dep_info(&text, working_folder);
            units.push(discovered.files.iter().map(|file| carrack_base::normalised(file)).collect());
        }
    }
    Ok(units)
}

/// The files and folders that the build scripts of `package`, in `package_folder`, declared in `profile_folder`.
pub fn files_of_scripts(
    profile_folder: &Path,
    package: &str,
    package_folder: &Path,
) -> Result<BTreeSet<PathBuf>, DiscoveredError> {
    let mut discovered = Discovered::default();
    for (name, unit_or_package) in entries(&profile_folder.join("build"))? {
        let is_unit = name.rsplit_once('-').is_some_and(|(name, hash)| name == package && is_hash(hash));
        let runs = match (is_unit, name == package) {
            (true, _) => vec![unit_or_package],
            (_, true) => entries(&unit_or_package)?.into_iter().map(|(_, unit)| unit.join("run")).collect(),
            _ => Vec::new(),
        };
        for path in runs.iter().flat_map(|run| ["output", "stdout"].map(|name| run.join(name))) {
            if let Some(text) = read(&path)? {
                discovered.add_script_output(&text, Some(package_folder));
            }
        }
    }
    Ok(discovered.files)
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn rustc_dep_infos(profile_folder: &Path) -> Result<Vec<PathBuf>, DiscoveredError> {
    let mut folders = vec![profile_folder.join("deps")];
    for (_, unit_or_package) in entries(&profile_folder.join("build"))? {
        // In the old layout a compiled build script's dep-info is beside it.
        for (_, unit) in entries(&unit_or_package)?.into_iter().filter(|(name, _)| name != "out") {
            folders.push(unit.join("out"));
        }
        folders.push(unit_or_package);
    }
    let mut files = Vec::new();
    for folder in folders {
        let paths = entries(&folder)?.into_iter().map(|(_, path)| path);
        files.extend(paths.filter(|path| path.extension().is_some_and(|extension| extension == "d")));
    }
    Ok(files)
}

/// Names and paths in `folder`; none if it is not a folder.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, DiscoveredError> {
    let unreadable = |source| DiscoveredError { path: folder.to_owned(), source };
    let list = match std::fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unreadable(error)),
    };
    let entry = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry.map_err(unreadable)?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    };
    list.map(entry).collect()
}

/// The text of a file, lossily decoded; `None` if there is none.
fn read(path: &Path) -> Result<Option<String>, DiscoveredError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiscoveredError { path: path.to_owned(), source }),
    }
}

/// Splits at spaces, except at those behind a backslash, which are part of a name.
fn split_escaped(text: &str) -> Vec<String> {
    const SPACE: char = '\0';
    let joined = text.replace("\\ ", "\0");
    let names = joined.split(' ').filter(|name| !name.is_empty());
    names.map(|name| name.replace(SPACE, " ")).collect()
}

/// Undoes rustc's `\n`, `\r` and `\\` in names and values of variables.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some(other) => plain.push(other),
                None => {}
            },
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dep_info_names_files_and_variables() {
        let text = "/target/release/app: src/main.rs src/a\\ b/t.txt /abs/x.rs\n\n\
            src/main.rs:\nsrc/a\\ b/t.txt:\n\n\
            # env-dep:CARGO_PKG_NAME=app\n# env-dep:UNSET\n# env-dep:WEIRD=a\\nb\\\\c=d\n";
        let mut discovered = Discovered::default();
        discovered.add_dep_info(text, Path::new("/w"));
        discovered.add_declared_variables(text);
        let files = ["/abs/x.rs", "/w/src/a b/t.txt", "/w/src/main.rs"].map(PathBuf::from);
        assert_eq!(discovered.files, BTreeSet::from(files));
        assert_eq!(discovered.env, BTreeSet::from(["UNSET", "WEIRD"].map(str::to_owned)));
    }

    #[test]
    fn build_scripts_declare_in_both_spellings() {
        let text = "cargo:rerun-if-changed=../migrations\nnoise\ncargo::rerun-if-changed=proto dir\n\
            cargo:rerun-if-env-changed=GIT_HASH\ncargo::rerun-if-env-changed=OUT_DIR\ncargo:rustc-cfg=x\n";
        let mut local = Discovered::default();
        local.add_script_output(text, Some(Path::new("/w/server")));
        assert_eq!(local.files, BTreeSet::from(["/w/migrations", "/w/server/proto dir"].map(PathBuf::from)));
        assert_eq!(local.env, BTreeSet::from(["GIT_HASH".to_owned()]));

        let mut registry = Discovered::default();
        registry.add_script_output(text, None);
        assert!(registry.files.is_empty() && registry.env == local.env);
    }
}
