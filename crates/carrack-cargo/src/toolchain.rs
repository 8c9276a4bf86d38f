//! Finds the cargo and rustc that would run, without running them.
//!
//! Follows PATH and, where that leads to rustup's proxies, rustup's own order: `RUSTUP_TOOLCHAIN`, then from the start
//! folder upward the nearest directory override or `rust-toolchain` file, then the default. With the answer come all
//! files whose change may change it (present or not), so that the caller may keep it for as long as their stats and
//! [`VARIABLES`] stay the same.
//!
//! Does not install toolchains or their components, and does not read `build.rustc` in cargo's configuration: cargo
//! itself obeys that. Fails if there is no cargo or rustc, or if the chosen toolchain is not installed.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use toml_edit::{Document, Item};

/// The variables that [`locate`] asks for.
pub const VARIABLES: &[&str] = &["PATH", "HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "RUSTC"];

/// The tools that would run. Paths are absolute unless PATH has relative entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// cargo itself, never rustup's proxy.
    pub cargo: PathBuf,
    /// rustc itself, never rustup's proxy; what `RUSTC` names if it is set.
    pub rustc: PathBuf,
    /// The folder with `bin/cargo` and `lib/`, if rustup manages it.
    pub folder: Option<PathBuf>,
    /// Its name in rustup (`stable-x86_64-unknown-linux-gnu`), if it has one.
    pub name: Option<String>,
    /// Files whose change, removal or appearance may change this answer, sorted.
    pub inputs: Vec<PathBuf>,
}

/// What `rustc -vV` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RustcVersion {
    /// `1.95.0`, `1.97.0-nightly`.
    pub release: String,
    /// The commit it was built from, where it is known.
    pub commit_hash: Option<String>,
    /// The target triple of the machine it runs on.
    pub host: String,
    /// Version of its LLVM.
    pub llvm: Option<String>,
}

/// What a `rust-toolchain` or `rust-toolchain.toml` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolchainFile {
    /// The channel, or the absolute folder of a toolchain; `None` if the file names only components or targets.
    pub channel: Option<String>,
    /// Target triples whose standard library has to be there, besides the host's.
    pub targets: Vec<String>,
}

/// Why there is no toolchain.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// No folder of PATH has the program.
    #[error("find {program} in PATH")]
    NotInPath {
        /// `cargo` or `rustc`.
        program: String,
    },
    /// The toolchain that was asked for is not there.
    #[error("find toolchain {channel} in {rustup_home}")]
    NotInstalled {
        /// As it was asked for: a channel, a version or a path.
        channel: String,
        /// What asked for it.
        chosen_by: ChosenBy,
        /// rustup's folder.
        rustup_home: PathBuf,
    },
    /// rustup is there, and nothing says which toolchain to take.
    #[error("choose a toolchain: rustup in {rustup_home} has no default")]
    NoDefault {
        /// rustup's folder.
        rustup_home: PathBuf,
    },
    /// A toolchain lacks one of its programs.
    #[error("find {program} in toolchain {folder}")]
    Incomplete {
        /// `cargo` or `rustc`.
        program: String,
        /// The toolchain's folder.
        folder: PathBuf,
    },
    /// A file of rustup can't be read.
    #[error("read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of rustup does not say what it should.
    #[error("parse {path}: {message}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// What decided about the toolchain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChosenBy {
    /// The variable `RUSTUP_TOOLCHAIN`.
    Environment,
    /// `rustup override set` for this folder.
    Override(PathBuf),
    /// This `rust-toolchain` or `rust-toolchain.toml`.
    File(PathBuf),
    /// rustup's default.
    Default,
}

/// Finds the tools for a build that starts in the folder `start`. `variable` looks up the caller's environment.
pub fn locate(
    variable: impl Fn(&str) -> Option<OsString>,
    start: &Path,
) -> Result<Toolchain, ToolchainError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let mut search = Search { path: set("PATH").unwrap_or_default(), inputs: BTreeSet::new() };
    let cargo = search.program("cargo")?;
    let mut rustup = None;
    let mut resolve = |program: &str, found: PathBuf, search: &mut Search| {
        if !is_rustup(&found) {
            return Ok(found);
        }
        if rustup.is_none() {
            let home = set("RUSTUP_HOME")
                .map(PathBuf::from)
                .or_else(|| set("HOME").map(|home| Path::new(&home).join(".rustup")))
                .unwrap_or_default();
            let wanted = set("RUSTUP_TOOLCHAIN").map(|name| name.to_string_lossy().into_owned());
            rustup = Some(rustup_toolchain(&home, wanted, start, &mut search.inputs)?);
        }
        let (folder, _) = rustup.as_ref().expect("it was set above");
        let tool = folder.join("bin").join(program);
        search.inputs.insert(tool.clone());
        if is_executable(&tool) {
            Ok(tool)
        } else {
            Err(ToolchainError::Incomplete { program: program.to_owned(), folder: folder.clone() })
        }
    };
    let cargo = resolve("cargo", cargo, &mut search)?;
    let rustc = match set("RUSTC") {
        Some(rustc) if Path::new(&rustc).components().count() > 1 => {
            let rustc = PathBuf::from(rustc);
            search.inputs.insert(rustc.clone());
            rustc
        }
        Some(rustc) => search.program(&rustc.to_string_lossy())?,
        None => search.program("rustc")?,
    };
    let rustc = resolve("rustc", rustc, &mut search)?;
    let (folder, name) = rustup.map_or((None, None), |(folder, name)| (Some(folder), name));
    Ok(Toolchain { cargo, rustc, folder, name, inputs: search.inputs.into_iter().collect() })
}

/// Reads the output of `rustc -vV`; `None` if it lacks the release or the host.
pub fn parse_verbose_version(output: &str) -> Option<RustcVersion> {
    let field = |name: &str| {
        let value = output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        Some(value.trim().to_owned()).filter(|value| value != "unknown")
    };
    Some(RustcVersion {
        release: field("release")?,
        commit_hash: field("commit-hash"),
        host: field("host")?,
        llvm: field("LLVM version"),
    })
}

/// Reads a `rust-toolchain` or `rust-toolchain.toml`, in its old or its new form.
///
/// Errors: [`ToolchainError::Unreadable`], [`ToolchainError::Malformed`].
pub fn read_toolchain_file(path: &Path) -> Result<ToolchainFile, ToolchainError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ToolchainError::Unreadable { path: path.to_owned(), source })?;
    // The old form is one line with a channel's name and nothing else, and only without an extension.
    let line = text.trim();
    if path.extension().is_none() && !line.is_empty() && !line.contains(['\n', '=', '[']) {
        return Ok(ToolchainFile { channel: Some(line.to_owned()), targets: Vec::new() });
    }
    let document = parse(path, text)?;
    let Some(toolchain) = document.get("toolchain") else {
        let message = "it has no [toolchain] table".to_owned();
        return Err(ToolchainError::Malformed { path: path.to_owned(), message });
    };
    let text = |key: &str| toolchain.get(key).and_then(Item::as_str);
    let folder = text("path").map(|folder| {
        let base = path.parent().expect("a file is in a folder");
        carrack_base::normalised(&base.join(folder)).to_string_lossy().into_owned()
    });
    let targets = toolchain.get("targets").and_then(Item::as_array).into_iter().flatten();
    Ok(ToolchainFile {
        channel: folder.or_else(|| text("channel").map(str::to_owned)),
        targets: targets.filter_map(|target| Some(target.as_str()?.to_owned())).collect(),
    })
}

struct Search {
    path: OsString,
    inputs: BTreeSet<PathBuf>,
}

impl Search {
    fn program(&mut self, name: &str) -> Result<PathBuf, ToolchainError> {
        for folder in std::env::split_paths(&self.path) {
            let candidate = folder.join(name);
            self.inputs.insert(candidate.clone());
            if is_executable(&candidate) {
                return Ok(candidate);
            }
        }
        Err(ToolchainError::NotInPath { program: name.to_owned() })
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// rustup's proxies are links to rustup, symbolic or hard, or lie beside it as the same file.
fn is_rustup(program: &Path) -> bool {
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    if matches!(real.file_name().and_then(OsStr::to_str), Some("rustup" | "rustup-init")) {
        return true;
    }
    let Ok(own) = program.metadata() else { return false };
    let beside = program.with_file_name("rustup").metadata();
    beside.is_ok_and(|beside| (beside.dev(), beside.ino()) == (own.dev(), own.ino()))
}

/// The folder of the toolchain that rustup would choose, and its name unless it was given by path.
fn rustup_toolchain(
    home: &Path,
    wanted: Option<String>,
    start: &Path,
    inputs: &mut BTreeSet<PathBuf>,
) -> Result<(PathBuf, Option<String>), ToolchainError> {
    let settings_path = home.join("settings.toml");
    inputs.insert(settings_path.clone());
    let settings = match std::fs::read_to_string(&settings_path) {
        Ok(text) => parse(&settings_path, text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => parse(&settings_path, String::new())?,
        Err(source) => return Err(ToolchainError::Unreadable { path: settings_path, source }),
    };
    let setting = |name: &str| settings.get(name).and_then(Item::as_str).map(str::to_owned);

    let (channel, chosen_by) = match wanted {
        Some(channel) => (channel, ChosenBy::Environment),
        None => match directory_choice(&settings, start, inputs)? {
            Some(choice) => choice,
            None => {
                let default = setting("default_toolchain").filter(|name| name != "none");
                let default =
                    default.ok_or_else(|| ToolchainError::NoDefault { rustup_home: home.to_owned() })?;
                (default, ChosenBy::Default)
            }
        },
    };
    // `toolchain.path` and an absolute path given by name are folders of their own.
    if Path::new(&channel).is_absolute() {
        let folder = PathBuf::from(&channel);
        inputs.insert(folder.join("bin/rustc"));
        if folder.is_dir() {
            return Ok((folder, None));
        }
        return Err(ToolchainError::NotInstalled { channel, chosen_by, rustup_home: home.to_owned() });
    }
    let architecture = std::env::consts::ARCH;
    let hosts = setting("default_host_triple")
        .into_iter()
        .chain(["gnu", "musl"].map(|libc| format!("{architecture}-unknown-linux-{libc}")));
    for name in std::iter::once(channel.clone()).chain(hosts.map(|host| format!("{channel}-{host}"))) {
        let folder = home.join("toolchains").join(&name);
        inputs.insert(folder.clone());
        if folder.is_dir() {
            // An update replaces the programs and notes the hash of what it installed.
            inputs.insert(home.join("update-hashes").join(&name));
            return Ok((folder, Some(name)));
        }
    }
    Err(ToolchainError::NotInstalled { channel, chosen_by, rustup_home: home.to_owned() })
}

/// The nearest override or toolchain file from `start` upward. In one folder, the override wins.
fn directory_choice(
    settings: &Document<String>,
    start: &Path,
    inputs: &mut BTreeSet<PathBuf>,
) -> Result<Option<(String, ChosenBy)>, ToolchainError> {
    let overrides = settings.get("overrides").and_then(Item::as_table_like);
    for folder in start.ancestors() {
        let name = overrides.and_then(|table| table.get(folder.to_str()?)).and_then(Item::as_str);
        if let Some(name) = name {
            return Ok(Some((name.to_owned(), ChosenBy::Override(folder.to_owned()))));
        }
        for path in [folder.join("rust-toolchain"), folder.join("rust-toolchain.toml")] {
            inputs.insert(path.clone());
            if !path.is_file() {
                continue;
            }
            if let Some(channel) = read_toolchain_file(&path)?.channel {
                return Ok(Some((channel, ChosenBy::File(path))));
            }
        }
    }
    Ok(None)
}

fn parse(path: &Path, text: String) -> Result<Document<String>, ToolchainError> {
    Document::parse(text).map_err(|error| ToolchainError::Malformed {
        path: path.to_owned(),
        message: error.message().to_owned(),
    })
}
