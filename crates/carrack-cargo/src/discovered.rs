//! What was declared to cargo as an input: by rustc's and cargo's dep-info, and by what build scripts say.
//!
//! Paths come out as cargo saw them, that is inside of the sandbox. Only understands texts: does not read the sources,
//! so a proc-macro that opens files without declaring them goes unseen, as it does for cargo. It can't fail.

use std::collections::BTreeSet;
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

impl Discovered {
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
