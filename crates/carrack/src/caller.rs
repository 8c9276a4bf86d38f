//! What the caller's process tells: variables and places. The only module that reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use carrack_sandbox::Standing;

/// The caller's environment.
#[derive(Clone)]
pub(crate) struct Caller {
    variables: BTreeMap<OsString, OsString>,
    /// What this process may do with the owners of files.
    pub(crate) standing: Standing,
}

impl Caller {
    /// Reads this process's environment.
    pub(crate) fn of_this_process(standing: Standing) -> Self {
        Self { variables: std::env::vars_os().collect(), standing }
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.get(&OsString::from(name)).filter(|value| !value.is_empty()).cloned()
    }

    /// The same caller, with a variable set.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut caller = self.clone();
        caller.variables.insert(name.into(), value.into());
        caller
    }

    /// The same as text; one that is not UTF-8 counts as not set, because no key could hold it.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.variable(name)?.into_string().ok()
    }

    /// Every variable that is UTF-8.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
    }

    /// The home folder; `/` if nobody says.
    pub(crate) fn home(&self) -> PathBuf {
        self.variable("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from)
    }

    /// Where the caller is.
    pub(crate) fn folder(&self) -> std::io::Result<PathBuf> {
        std::env::current_dir()
    }

    /// Cargo's home as cargo would find it.
    pub(crate) fn cargo_home(&self) -> PathBuf {
        self.variable("CARGO_HOME").map_or_else(|| self.home().join(".cargo"), PathBuf::from)
    }

    /// Carrack's state: the argument, else the cache folder.
    pub(crate) fn state(&self, argument: Option<PathBuf>) -> PathBuf {
        let folder = argument.unwrap_or_else(|| {
            let cache = self.variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
            cache.unwrap_or_else(|| self.home().join(".cache")).join("carrack")
        });
        std::path::absolute(&folder).unwrap_or(folder)
    }

    /// The first program of this name in `PATH`.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        self.programs(name).into_iter().next()
    }

    /// Every program of this name in `PATH`; one that is there under two paths, once.
    pub(crate) fn programs(&self, name: &str) -> Vec<PathBuf> {
        let path = self.variable("PATH").unwrap_or_default();
        let mut real = BTreeSet::new();
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .filter(|path| {
                is_executable(path) && real.insert(path.canonicalize().unwrap_or_else(|_| path.clone()))
            })
            .collect()
    }

    /// Where temporary files go.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.variable("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
    }
}

fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
