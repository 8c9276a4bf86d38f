//! A command line of cargo's, as far as it matters to what is put back and kept: where cargo builds, with which profile,
//! and how to ask it about the same workspace. Everything else in it is cargo's own business.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::plan::profile_folder;

/// Short names of cargo's own subcommands.
const SHORT: [(&str, &str); 5] = [("b", "build"), ("c", "check"), ("d", "doc"), ("r", "run"), ("t", "test")];
/// Subcommands that compile into the workspace's target folder.
const BUILDING: [&str; 13] = [
    "bench", "build", "check", "clippy", "doc", "fix", "hack", "install", "nextest", "run", "rustc",
    "rustdoc", "test",
];
/// Subcommands of cargo that compile nothing there: no alias can have their names.
const IDLE: [&str; 30] = [
    "add",
    "clean",
    "config",
    "fetch",
    "fmt",
    "generate-lockfile",
    "help",
    "info",
    "init",
    "locate-project",
    "login",
    "logout",
    "metadata",
    "miri",
    "new",
    "owner",
    "package",
    "pkgid",
    "publish",
    "read-manifest",
    "remove",
    "report",
    "rm",
    "search",
    "tree",
    "uninstall",
    "update",
    "vendor",
    "verify-project",
    "version",
];
/// Options with a value in the next argument, unless it is in the same one.
const VALUED: [&str; 27] = [
    "--bench",
    "--bin",
    "--branch",
    "--cargo-profile",
    "--color",
    "--config",
    "--example",
    "--exclude",
    "--features",
    "--git",
    "--index",
    "--jobs",
    "--lockfile-path",
    "--manifest-path",
    "--message-format",
    "--out-dir",
    "--package",
    "--path",
    "--profile",
    "--registry",
    "--rev",
    "--root",
    "--tag",
    "--target",
    "--target-dir",
    "--test",
    "--version",
];
const VALUED_SHORT: [char; 5] = ['p', 'j', 'F', 'Z', 'C'];
/// How often an alias may stand for another one.
const DEPTH: usize = 8;

/// A command line that compiles something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `+nightly`, without the sign.
    pub toolchain: Option<String>,
    /// `-C`: where cargo goes before it does anything.
    pub folder: Option<PathBuf>,
    /// The folder of the profile below the target folder.
    pub profile: String,
    /// Target triples, besides those of the configuration.
    pub targets: Vec<String>,
    /// `--target-dir`.
    pub target_dir: Option<OsString>,
    /// `--manifest-path`, or that of the folder of `--path`.
    pub manifest_path: Option<OsString>,
    /// Options that `cargo metadata` has to get as well.
    pub options: Vec<OsString>,
    /// Cargo takes the newest packages, whatever the lock file says.
    pub ignores_lock: bool,
    /// Whether cargo is to say nothing.
    pub quiet: bool,
    /// `--jobs` was given.
    pub has_jobs: bool,
}

/// Goes through arguments one by one.
#[derive(Default)]
struct Reader {
    /// The subcommand.
    name: String,
    release: bool,
    debug: bool,
    profile: Option<String>,
    /// `-Z…`, `--config`, …: what counts before and after the subcommand.
    options: Vec<OsString>,
    folder: Option<PathBuf>,
    targets: Vec<String>,
    target_dir: Option<OsString>,
    manifest_path: Option<OsString>,
    path: Option<OsString>,
    quiet: bool,
    has_jobs: bool,
    /// It only shows something, or is about something that is not in this workspace.
    is_idle: bool,
}

impl Line {
    /// Reads the arguments of cargo. `alias` says what the configuration makes of a subcommand's name. `None` if nothing is
    /// compiled in a workspace.
    pub fn read(arguments: &[OsString], alias: impl Fn(&str) -> Option<Vec<String>>) -> Option<Self> {
        let mut rest = arguments.to_vec();
        let mut toolchain = None;
        if let Some(name) = rest.first().and_then(|first| first.to_str()?.strip_prefix('+')) {
            toolchain = Some(name.to_owned());
            rest.remove(0);
        }
        let mut reader = Reader::default();
        let at = reader.take(&rest, Stop::AtFirstWord)?;
        let mut words = rest.split_off(at);
        let mut name = words.remove(0).into_string().ok()?;
        for _ in 0..DEPTH {
            if let Some((_, long)) = SHORT.iter().find(|(short, _)| *short == name) {
                name = (*long).to_owned();
            }
            if BUILDING.contains(&name.as_str()) || IDLE.contains(&name.as_str()) {
                break;
            }
            let meant: Vec<OsString> = alias(&name)?.into_iter().map(OsString::from).collect();
            words.splice(0..0, meant);
            let at = reader.take(&words, Stop::AtFirstWord)?;
            words = words.split_off(at);
            name = words.remove(0).into_string().ok()?;
        }
        if !BUILDING.contains(&name.as_str()) {
            return None;
        }
        let stop = if name == "run" { Stop::AtFirstWord } else { Stop::Nowhere };
        reader.name = name;
        reader.take(&words, stop);
        reader.finish(toolchain)
    }
}

/// Where the options of cargo's end, if not at `--`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    AtFirstWord,
    Nowhere,
}

impl Reader {
    /// Takes options; returns where the first word is that is none, if the reading stops there.
    fn take(&mut self, arguments: &[OsString], stop: Stop) -> Option<usize> {
        let mut number = 0;
        while let Some(argument) = arguments.get(number) {
            let text = argument.to_string_lossy();
            number += 1;
            if text == "--" {
                return None;
            }
            if !text.starts_with('-') || text == "-" {
                match stop {
                    Stop::AtFirstWord => return Some(number - 1),
                    Stop::Nowhere => continue,
                }
            }
            let mut next = || {
                number += 1;
                arguments.get(number - 1).cloned().unwrap_or_default()
            };
            if text.starts_with("--") {
                match text.split_once('=') {
                    Some((name, value)) => self.option(name, Some(OsString::from(value))),
                    None if VALUED.contains(&&*text) => self.option(&text, Some(next())),
                    None => self.option(&text, None),
                }
                continue;
            }
            for (place, letter) in text.char_indices().skip(1) {
                if VALUED_SHORT.contains(&letter) {
                    let rest = &text[place + letter.len_utf8()..];
                    let value =
                        if rest.is_empty() { next() } else { OsString::from(rest.trim_start_matches('=')) };
                    self.option(&format!("-{letter}"), Some(value));
                    break;
                }
                self.option(&format!("-{letter}"), None);
            }
        }
        None
    }

    fn option(&mut self, name: &str, value: Option<OsString>) {
        let text = || value.as_ref().map(|value| value.to_string_lossy().into_owned());
        match name {
            "-h" | "--help" | "-V" | "--version" | "--list" | "--explain" => self.is_idle = true,
            "-q" | "--quiet" => self.quiet = true,
            "-j" | "--jobs" => self.has_jobs = true,
            "-r" | "--release" => self.release = true,
            "--debug" => self.debug = true,
            // Nextest's own `--profile` is about something else.
            "--profile" if self.name != "nextest" => self.profile = text(),
            "--cargo-profile" => self.profile = text(),
            "--target" => self.targets.extend(text()),
            "--target-dir" => self.target_dir = value,
            "--manifest-path" => self.manifest_path = value,
            "--path" => self.path = value,
            "--git" | "--registry" | "--index" => self.is_idle = true,
            "-C" => self.folder = value.map(PathBuf::from),
            "--locked" | "--offline" | "--frozen" => self.options.push(name.into()),
            "--config" | "-Z" | "--lockfile-path" => {
                // Cargo's configuration may say it as well.
                self.has_jobs |= text().is_some_and(|text| text.contains("jobs"));
                self.options.extend([name.into(), value.unwrap_or_default()])
            }
            _ => {}
        }
    }

    fn finish(self, toolchain: Option<String>) -> Option<Line> {
        let manifest_path = match (&self.name[..], self.path) {
            ("install", Some(path)) => Some(PathBuf::from(path).join("Cargo.toml").into_os_string()),
            // What is not in a folder is built in one that is removed again.
            ("install", None) => return None,
            _ => self.manifest_path,
        };
        if self.is_idle {
            return None;
        }
        let by_itself = self.name == "bench" || self.name == "install" && !self.debug;
        let follows_lock =
            self.options.iter().any(|option| ["--locked", "--frozen"].iter().any(|name| option == name));
        let default = if self.release || by_itself { "release" } else { "dev" };
        Some(Line {
            toolchain,
            folder: self.folder,
            profile: profile_folder(self.profile.as_deref().unwrap_or(default)).to_owned(),
            targets: self.targets,
            target_dir: self.target_dir,
            manifest_path,
            ignores_lock: self.name == "install" && !follows_lock,
            options: self.options,
            quiet: self.quiet,
            has_jobs: self.has_jobs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Line> {
        let arguments: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
        let alias = |name: &str| {
            let meant = match name {
                "xtask" => "run --quiet --package xtask --",
                "ship" => "-Zx b -r",
                "again" => "again",
                _ => return None,
            };
            Some(meant.split(' ').map(str::to_owned).collect())
        };
        Line::read(&arguments, alias)
    }

    #[test]
    fn profiles_are_where_cargo_puts_them() {
        for (text, profile) in [
            ("build", "debug"),
            ("b -r", "release"),
            ("build --release --features a", "release"),
            ("t --profile bench", "release"),
            ("test --profile=ci", "ci"),
            ("bench", "release"),
            ("-q +nightly", ""),
            ("+nightly clippy --profile test", "debug"),
            ("run -vr -- --profile x", "release"),
            ("run server --release", "debug"),
            ("run --bin server --release", "release"),
            ("r -pserver -r", "release"),
            ("install --path .", "release"),
            ("install --path . --debug", "debug"),
            ("nextest run --profile ci", "debug"),
            ("nextest run --cargo-profile ci", "ci"),
            ("test name -r", "release"),
            ("xtask build --release", "debug"),
            ("ship", "release"),
            ("rustc -- -C opt-level=3 --release", "debug"),
        ] {
            assert_eq!(read(text).map(|line| line.profile).unwrap_or_default(), profile, "{text}");
        }
    }

    #[test]
    fn what_compiles_nothing_here_is_left_alone() {
        for text in [
            "",
            "--version",
            "-V",
            "fmt",
            "clean",
            "metadata",
            "tree -r",
            "add serde",
            "build --help",
            "b -h",
            "--list",
            "install ripgrep",
            "install --git https://example.org",
            "install --path . --help",
            "nothing",
            "again",
            "help build",
            "-- build",
            "rm serde",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(read("test -- --help").is_some());
        assert!(read("run x --help").is_some());
    }

    #[test]
    fn the_lock_file_counts_unless_something_is_installed() {
        for (text, ignores_lock) in [
            ("build", false),
            ("install --path .", true),
            ("install --offline --path .", true),
            ("install --path . --locked", false),
            ("install --frozen --path .", false),
        ] {
            assert_eq!(read(text).map(|line| line.ignores_lock), Some(ignores_lock), "{text}");
        }
    }

    #[test]
    fn what_metadata_needs_is_found() {
        let line = read(
            "+1.95.0 --config a.toml -Zunstable-options -C sub build --locked --manifest-path x/Cargo.toml \
             --target-dir=out --target a --target=b -q --config=net.offline=true",
        );
        let line = line.unwrap();
        assert_eq!(line.toolchain.as_deref(), Some("1.95.0"));
        assert_eq!(line.folder, Some(PathBuf::from("sub")));
        assert_eq!(line.targets, ["a", "b"]);
        assert_eq!(line.target_dir, Some("out".into()));
        assert_eq!(line.manifest_path, Some("x/Cargo.toml".into()));
        let options =
            ["--config", "a.toml", "-Z", "unstable-options", "--locked", "--config", "net.offline=true"];
        assert_eq!(line.options, options);
        assert!(line.quiet && !line.has_jobs);
        assert!(
            ["-j 1", "-rj4", "--jobs=2", "--jobs 2", "--config build.jobs=1"]
                .iter()
                .all(|jobs| { read(&format!("build {jobs}")).is_some_and(|line| line.has_jobs) })
        );
    }
}
