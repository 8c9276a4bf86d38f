//! Cargo as commands in a root file system call it: what a call has to do with kept units.
//!
//! Asks cargo for nothing but where it works (`cargo metadata --no-deps`): that resolves and downloads nothing, so the root is
//! afterwards as it would be without. Which packages there are, the lock file says, or where cargo does not care for one
//! (`cargo install`), CARGO_HOME; where their sources are, CARGO_HOME does.
//!
//! | what decides about every unit | where it is from |
//! | --- | --- |
//! | cargo | digest of the program |
//! | rustc | digest of the program beside cargo and of the one in `PATH`, the name of its compiler library (has its version) |
//! | linker, C compiler, archiver, C library | digests of the files |
//! | target folder, CARGO_HOME | as cargo sees them |
//! | what is installed (build scripts look) | names and versions of development packages, names in `/usr/local` |
//!
//! Only reads files, regular ones: what a command put in the place of one must not hold anybody up. Whatever can't be read or
//! understood makes a call one that nothing is done for.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use carrack_base::{ContentDigest, Digest, MOST_TEXT, digest_regular, read_regular};
use carrack_graph::{
    Call, CallPlace, CalledProgram, Download, DownloadPlace, HarvestedUnit, Invocation, LocalUnit,
    OfferedUnit, Question, RootView,
};

use crate::crates_io;
use crate::line::Line;
use crate::locate::{self, Configured};
use crate::plan::{self, LockFile};
use crate::units::{FetchedPackage, FittingUnit, OrdinaryRun, local_units};

/// Where rustup keeps toolchains, besides RUSTUP_HOME.
const RUSTUP_HOMES: [&str; 2] = ["/usr/local/rustup", "/root/.rustup"];
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Files that cargo locks in the folder of a profile; newer ones have both.
pub const LOCKS: &[&str] = &[".cargo-lock", ".cargo-build-lock"];
/// A file in a target folder that cargo writes only where it makes the folder itself, and its text.
pub const MARK: (&str, &str) = (
    "CACHEDIR.TAG",
    "Signature: 8a477f597d28d172789f06886806bc55\n\
     # This file is a cache directory tag created by cargo.\n\
     # For information about cache directory tags see https://bford.info/cachedir/\n",
);
/// Variables that make another compiler than the one beside cargo work.
const OTHER_COMPILERS: [&str; 2] = ["RUSTC", "CARGO_BUILD_RUSTC"];
/// Variables that say how many jobs cargo runs: as a number, or as what it was given already.
const JOBS: [&str; 4] = ["CARGO_BUILD_JOBS", "CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS"];
const LINKING: [&str; 3] = ["cc", "ld", "ar"];
const C_LIBRARY: [&str; 3] = ["libc.so.6", "crt1.o", "libc.a"];
const LIBRARIES: [&str; 3] = ["/usr/lib", "/usr/lib64", "/lib"];
/// What build scripts use besides headers and libraries.
const TOOLS: [&str; 12] =
    ["clang", "cmake", "g++", "gcc", "llvm", "make", "nasm", "perl", "pkg", "protobuf", "protoc", "python"];
/// Where things lie that no package manager put there.
const BY_HAND: [&str; 5] = [
    "/usr/local/include",
    "/usr/local/lib",
    "/usr/local/lib/pkgconfig",
    "/usr/local/lib/cmake",
    "/usr/local/ssl",
];

/// Cargo.
#[derive(Debug, Clone, Copy, Default)]
pub struct CalledCargo;

/// One call of cargo that compiles.
struct CargoCall {
    invocation: Invocation,
    line: Line,
    /// Where cargo works.
    folder: PathBuf,
    cargo_home: PathBuf,
    /// The workspace's folder.
    root: PathBuf,
    run: Option<OrdinaryRun>,
    fitting: Vec<FittingUnit>,
}

impl CalledProgram for CalledCargo {
    fn programs(&self, root: &dyn RootView, variables: &BTreeMap<String, String>) -> Vec<String> {
        let variable = |name: &str| variables.get(name).map(String::as_str);
        let of_home = variable("HOME").map(|home| format!("{home}/.rustup"));
        let homes = variable("RUSTUP_HOME").into_iter().chain(of_home.as_deref()).chain(RUSTUP_HOMES);
        let toolchains = homes.flat_map(|home| {
            let folder = format!("{home}/toolchains");
            let names = root.names(&folder).into_iter();
            names.map(move |name| format!("{folder}/{name}/bin/cargo"))
        });
        let path = variable("PATH").unwrap_or(DEFAULT_PATH).split(':');
        let in_path = path.filter(|folder| folder.starts_with('/')).map(|folder| format!("{folder}/cargo"));
        let found = toolchains.chain(in_path).filter_map(|path| root.file(&path));
        let mut found: Vec<String> = found.filter(|path| !is_proxy(root, path)).collect();
        found.sort();
        found.dedup();
        found
    }

    fn called(&self, call: &Invocation) -> Option<Box<dyn Call>> {
        if OTHER_COMPILERS.iter().any(|name| call.variables.contains_key(*name)) {
            return None;
        }
        let variable = |name: &str| call.variables.get(name).map(PathBuf::from);
        let home = || variable("HOME").map(|home| home.join(".cargo"));
        let cargo_home = call.folder.join(variable("CARGO_HOME").or_else(home)?);
        let alias = |name: &str| {
            let variable = format!("CARGO_ALIAS_{}", name.to_uppercase().replace('-', "_"));
            if let Some(text) = call.variables.get(&variable) {
                return Some(text.split_whitespace().map(str::to_owned).collect());
            }
            locate::cargo_alias(name, &locate::cargo_configs(&call.folder, &cargo_home).ok()?)
        };
        let line = Line::read(&call.arguments, alias)?;
        let folder =
            line.folder.as_ref().map_or_else(|| call.folder.clone(), |folder| call.folder.join(folder));
        Some(Box::new(CargoCall {
            invocation: call.clone(),
            folder,
            line,
            cargo_home,
            root: PathBuf::new(),
            run: None,
            fitting: Vec::new(),
        }))
    }
}

/// Whether it is rustup, which calls one of the toolchains'.
fn is_proxy(root: &dyn RootView, path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    let rustup = root.content(&format!("{folder}/rustup"));
    name == "rustup" || rustup.is_some() && rustup == root.content(path)
}

impl CargoCall {
    fn run(&self) -> io::Result<&OrdinaryRun> {
        self.run.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Facts about what compiles, or `None` if it is not known.
    fn identity(&self, target: &Path) -> Option<BTreeMap<String, String>> {
        let program = &self.invocation.program;
        let beside = program.parent()?;
        let mut identity = BTreeMap::new();
        identity.insert("cargo".to_owned(), self.invocation.content?.to_string());
        let rustc = [Some(beside.join("rustc")), self.in_path("rustc")];
        let rustc: Vec<String> = rustc.iter().flatten().filter_map(|path| digest(path)).collect();
        if rustc.is_empty() {
            return None;
        }
        let folder = beside.parent()?.join("lib");
        let driver = names(&folder).into_iter().filter(|name| name.starts_with("librustc_driver"));
        identity.insert("rustc".to_owned(), format!("{rustc:?} {:?}", driver.collect::<Vec<_>>()));
        let programs =
            LINKING.iter().map(|name| self.in_path(name)).map(|path| path.and_then(|path| digest(&path)));
        identity.insert("linker".to_owned(), format!("{:?}", programs.collect::<Vec<_>>()));
        identity.insert("libc".to_owned(), format!("{:?}", c_library()));
        identity.insert("target folder".to_owned(), target.to_str()?.to_owned());
        Some(identity)
    }

    fn in_path(&self, name: &str) -> Option<PathBuf> {
        let path = self.invocation.variables.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        path.split(':').map(|folder| self.folder.join(folder).join(name)).find(|path| path.is_file())
    }

    fn lock_file(&self) -> PathBuf {
        self.root.join("Cargo.lock")
    }

    /// The packages that the lock file names.
    fn fetched(&self) -> Vec<FetchedPackage> {
        LockFile::read(&self.lock_file()).map(|lock| lock.fetched).unwrap_or_default()
    }
}

impl Call for CargoCall {
    fn question(&self) -> Question {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(folder) = &self.line.folder {
            arguments.extend(["-C".into(), folder.into()]);
        }
        arguments.extend(["metadata", "--no-deps", "--format-version", "1"].map(OsString::from));
        if let Some(path) = &self.line.manifest_path {
            arguments.extend(["--manifest-path".into(), path.clone()]);
        }
        arguments.extend(self.line.options.iter().cloned());
        let target = self.line.target_dir.clone().map(|folder| ("CARGO_TARGET_DIR".to_owned(), folder));
        Question { arguments, variables: target.into_iter().collect() }
    }

    fn answered(&mut self, answer: &[u8]) -> Option<CallPlace> {
        let (root, target) = plan::folders(answer).ok()?;
        let configs = locate::cargo_configs(&self.folder, &self.cargo_home).ok()?;
        let run = OrdinaryRun {
            cargo_home: self.cargo_home.clone(),
            identity: self.identity(&target)?,
            target,
            profile: self.line.profile.clone(),
            fetched: Vec::new(),
            variables: self.invocation.variables.clone(),
            configured: Configured::by(&configs),
            installed: Some(installed()),
        };
        self.root = root;
        let run = self.run.insert(run);
        Some(CallPlace {
            realm: run.realm(),
            folder: run.target.clone(),
            mark: MARK,
            part: run.profile.clone(),
            locks: LOCKS,
            workspace: self.root.display().to_string(),
        })
    }

    fn jobs_variable(&self) -> Option<&'static str> {
        let is_configured = self.run.as_ref().is_none_or(|run| run.configured.has_jobs);
        let is_said =
            self.line.has_jobs || self.invocation.variables.keys().any(|name| JOBS.contains(&&**name));
        (!is_configured && !is_said).then_some("CARGO_MAKEFLAGS")
    }

    fn download_place(&self) -> Option<DownloadPlace> {
        // The folders' names have digests in them, which are not the same in all versions.
        let program = self.invocation.content?.to_string();
        Some(DownloadPlace {
            name: format!("crates of cargo {}", program.get(..12)?),
            home: self.cargo_home.clone(),
            folder: "registry/cache",
            marked: "registry",
            mark: MARK,
            locks: &[".package-cache"],
        })
    }

    fn downloads(&self) -> Vec<Download> {
        let download = |package: FetchedPackage| {
            let digest = Digest::from_hex(&package.checksum?).ok()?;
            Some(Download { file: format!("{}-{}.crate", package.name, package.version), digest })
        };
        self.fetched().into_iter().filter_map(download).collect()
    }

    fn has_used(&self, download: &str) -> bool {
        let folder = download.strip_suffix(".crate").unwrap_or(download);
        self.cargo_home.join("registry/src").join(folder).is_dir()
    }

    fn choose(&mut self, offered: Vec<OfferedUnit>) -> Vec<ContentDigest> {
        let is_free = self.line.ignores_lock || !self.lock_file().is_file();
        let fetched = if is_free { crates_io::newest_of(&offered) } else { self.fetched() };
        let Some(run) = &mut self.run else { return Vec::new() };
        run.fetched = fetched;
        self.fitting = run.choose(offered);
        self.fitting.iter().map(|unit| unit.id).collect()
    }

    fn without_disturbing(&self, lying: &[ContentDigest]) -> io::Result<Vec<ContentDigest>> {
        let fitting = self.run()?.without_disturbing(self.fitting.clone(), lying)?;
        Ok(fitting.into_iter().map(|unit| unit.id).collect())
    }

    fn local(&self, since: Option<SystemTime>) -> io::Result<Vec<LocalUnit>> {
        let run = self.run()?;
        local_units(&run.target, &run.profile, &self.root, &run.cargo_home, since)
    }

    fn harvest(&mut self, kept: &[OfferedUnit]) -> io::Result<Vec<HarvestedUnit>> {
        let fetched = if self.line.ignores_lock {
            crates_io::unpacked(&self.cargo_home)
        } else {
            // Cargo may have written another lock file.
            with_folders(self.fetched(), &self.cargo_home)
        };
        let Some(run) = &mut self.run else { return Ok(Vec::new()) };
        run.fetched = fetched;
        run.harvest(kept)
    }

    fn unused(&self, planted: &[ContentDigest]) -> io::Result<Vec<ContentDigest>> {
        let planted = self.fitting.iter().filter(|unit| planted.contains(&unit.id)).cloned();
        self.run()?.unused(&planted.collect::<Vec<_>>())
    }
}

/// Those packages whose sources are there, in one place, with that place.
fn with_folders(packages: Vec<FetchedPackage>, cargo_home: &Path) -> Vec<FetchedPackage> {
    let below =
        |folder: &Path| -> Vec<PathBuf> { names(folder).iter().map(|name| folder.join(name)).collect() };
    let registries = below(&cargo_home.join("registry/src"));
    let checkouts =
        below(&cargo_home.join("git/checkouts")).iter().flat_map(|folder| below(folder)).collect();
    let checkouts: Vec<PathBuf> = checkouts;
    let placed = packages.into_iter().filter_map(|package| {
        let places: Vec<PathBuf> = match package.source.strip_prefix("git+") {
            Some(source) => {
                let (_, revision) = source.rsplit_once('#')?;
                let is_it = |folder: &&PathBuf| {
                    let name = folder.file_name().and_then(|name| name.to_str());
                    name.is_some_and(|name| !name.is_empty() && revision.starts_with(name))
                };
                checkouts.iter().filter(is_it).cloned().collect()
            }
            None => {
                let name = format!("{}-{}", package.name, package.version);
                registries.iter().map(|folder| folder.join(&name)).filter(|folder| folder.is_dir()).collect()
            }
        };
        match <[PathBuf; 1]>::try_from(places) {
            Ok([folder]) => Some(FetchedPackage { folder, ..package }),
            Err(_) => None,
        }
    });
    placed.collect()
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn digest(path: &Path) -> Option<String> {
    Some(digest_regular(path).ok()?.to_string())
}

/// The C libraries that are there, by content.
fn c_library() -> BTreeMap<PathBuf, String> {
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    let folders =
        LIBRARIES.iter().flat_map(|folder| [PathBuf::from(folder), Path::new(folder).join(&multiarch)]);
    let mut files: Vec<PathBuf> = folders
        .flat_map(|folder| C_LIBRARY.map(|name| folder.join(name)))
        .filter(|path| path.is_file())
        .collect();
    let musl = names(Path::new("/lib")).into_iter().filter(|name| name.starts_with("ld-musl-"));
    files.extend(musl.map(|name| Path::new("/lib").join(name)));
    files.into_iter().filter_map(|path| digest(&path).map(|digest| (path, digest))).collect()
}

/// Digest of what build scripts may find: development packages with their versions, and what was installed by hand.
fn installed() -> ContentDigest {
    let mut text = String::new();
    for (file, name, version) in
        [("/var/lib/dpkg/status", "Package: ", "Version: "), ("/lib/apk/db/installed", "P:", "V:")]
    {
        let Ok(bytes) = read_regular(Path::new(file), MOST_TEXT) else { continue };
        let database = String::from_utf8_lossy(&bytes).into_owned();
        let mut found: Vec<String> = database
            .split("\n\n")
            .filter_map(|entry| {
                let field = |name: &str| entry.lines().find_map(|line| line.strip_prefix(name));
                let package = field(name)?;
                let matters = package.ends_with("-dev") || TOOLS.iter().any(|tool| package.starts_with(tool));
                matters.then(|| format!("{package} {}\0", field(version).unwrap_or_default()))
            })
            .collect();
        found.sort();
        text.extend(found);
    }
    for database in
        ["/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages"]
    {
        text.extend(digest(Path::new(database)));
    }
    for folder in BY_HAND {
        text.push_str(&format!("{folder} {:?}\0", names(Path::new(folder))));
    }
    ContentDigest::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files with their contents.
    struct Files(BTreeMap<&'static str, &'static str>);

    impl RootView for Files {
        fn file(&self, path: &str) -> Option<String> {
            self.0.contains_key(path).then(|| path.to_owned())
        }

        fn content(&self, path: &str) -> Option<ContentDigest> {
            self.0.get(path).map(|text| ContentDigest::of(text.as_bytes()))
        }

        fn names(&self, folder: &str) -> Vec<String> {
            let below = self.0.keys().filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'));
            let mut names: Vec<String> =
                below.filter_map(|path| path.split('/').next()).map(str::to_owned).collect();
            names.dedup();
            names
        }
    }

    #[test]
    fn toolchains_are_found_and_proxies_are_not() {
        let root = Files(BTreeMap::from([
            ("/usr/local/cargo/bin/cargo", "rustup"),
            ("/usr/local/cargo/bin/rustup", "rustup"),
            ("/usr/local/rustup/toolchains/1.95/bin/cargo", "cargo"),
            ("/usr/local/rustup/toolchains/nightly/bin/cargo", "cargo of tomorrow"),
            ("/usr/local/rustup/toolchains/broken/bin/rustc", "rustc"),
            ("/home/dev/.rustup/toolchains/own/bin/cargo", "cargo"),
            ("/usr/bin/cargo", "Debian's"),
        ]));
        let variables = |home: &str| {
            let path = ("PATH".to_owned(), "/usr/local/cargo/bin:/usr/bin".to_owned());
            BTreeMap::from([path, ("HOME".to_owned(), home.to_owned())])
        };
        let of_all = [
            "/usr/bin/cargo",
            "/usr/local/rustup/toolchains/1.95/bin/cargo",
            "/usr/local/rustup/toolchains/nightly/bin/cargo",
        ];
        assert_eq!(CalledCargo.programs(&root, &variables("/root")), of_all);
        let of_dev = CalledCargo.programs(&root, &variables("/home/dev"));
        assert_eq!(of_dev[0], "/home/dev/.rustup/toolchains/own/bin/cargo");
        assert_eq!(of_dev[1..], of_all);
    }
}
