//! Whether a cargo takes compiled units as Carrack expects: a build of a tiny workspace, which is done once for each
//! toolchain that is not known to be good.
//!
//! | build | what is new | what is expected |
//! | --- | --- | --- |
//! | first | everything | it works; else nothing is proven, and nothing is remembered |
//! | again | a file that no unit depends on, so that cargo runs | every unit is put back and fresh |
//! | edited | the text in a library, in a file that is older than its unit | library and program are compiled, and the program has the new text in it |
//!
//! It is the real thing from the plan to the program, with a state folder of its own that is removed afterwards.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use carrack_base::{BuildEvent, EventSink};
use carrack_cargo::locate::locate;
use carrack_cargo::lower::TOOL;
use carrack_engine::{Engine, Inputs, Options};
use carrack_graph::Backend;
use carrack_store::{Bucket, Store};

use super::toolchain::Builder;
use super::{Desk, Order, plan, prepare};
use crate::failure::Failure;

/// Releases that Carrack's own tests are run with, and the beginnings of their commits.
const KNOWN: [(&str, &str); 1] = [("1.95.0", "59807616e")];
/// Raised when [`prove`] asks for more.
const VERSION: u32 = 1;

const FILES: [(&str, &str); 7] = [
    (".git/HEAD", "ref: refs/heads/main\n"),
    ("Cargo.toml", "[workspace]\nresolver = \"2\"\nmembers = [\"library\", \"program\"]\n"),
    (
        "Cargo.lock",
        "version = 3\n\n[[package]]\nname = \"library\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"program\"\n\
         version = \"0.1.0\"\ndependencies = [\n \"library\",\n]\n",
    ),
    (
        "library/Cargo.toml",
        "[package]\nname = \"library\"\nversion = \"0.1.0\"\nedition = \"2021\"\nbuild = \"build.rs\"\n",
    ),
    (
        "library/build.rs",
        "fn main() {\n    println!(\"cargo:rerun-if-changed=build.rs\");\n    \
         let folder = std::env::var(\"OUT_DIR\").unwrap();\n    \
         std::fs::write(folder + \"/made.rs\", \"pub const MADE: u32 = 1;\").unwrap();\n}\n",
    ),
    (
        "program/Cargo.toml",
        "[package]\nname = \"program\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\n\
         library = { path = \"../library\" }\n",
    ),
    ("program/src/main.rs", "fn main() {\n    println!(\"{} {}\", library::TEXT, library::MADE);\n}\n"),
];
const LIBRARY: &str = "library/src/lib.rs";

/// What is known about a toolchain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) holds: bool,
    /// Whether it was found out just now.
    pub(crate) is_new: bool,
}

/// Whether compiled units can be used with these tools.
///
/// Errors: the store; the build was told to stop.
pub(crate) fn of(desk: &Desk<'_>, tools: &Builder) -> Result<Proof, Failure> {
    if is_known(tools) {
        return Ok(Proof { holds: true, is_new: false });
    }
    let key = format!("units {VERSION} {:?}", tools.identity).into_bytes();
    if let Some(kept) = desk.store.get(Bucket::Toolchain, &key)? {
        return Ok(Proof { holds: kept == b"good", is_new: false });
    }
    let answer = prove(desk, tools);
    if let Some(signal) = desk.cancel.signal() {
        return Err(Failure::Cancelled { signal });
    }
    // What does not even build says nothing about units; the user's own build will say what is wrong.
    let Ok(holds) = answer else { return Ok(Proof { holds: false, is_new: false }) };
    desk.store.put(Bucket::Toolchain, &key, if holds { "good" } else { "bad" })?;
    Ok(Proof { holds, is_new: true })
}

/// What is wrong where there is no proof.
pub(crate) fn words(tools: &Builder) -> String {
    let cargo = tools.toolchain.cargo.display();
    format!("{cargo} (rustc {}) does not take them as it should", tools.rustc.release)
}

/// Whether rustup installed cargo together with a rustc of a release that Carrack is tested with.
fn is_known(tools: &Builder) -> bool {
    let toolchain = &tools.toolchain;
    let commit = tools.rustc.commit_hash.as_deref().unwrap_or_default();
    let is_known =
        |(release, known): &(&str, &str)| *release == tools.rustc.release && commit.starts_with(known);
    KNOWN.iter().any(is_known)
        && toolchain
            .folder
            .as_ref()
            .is_some_and(|folder| toolchain.cargo.starts_with(folder) && toolchain.rustc.starts_with(folder))
}

/// Builds three times. Errors: a build failed, or something could not be written.
fn prove(desk: &Desk<'_>, tools: &Builder) -> Result<bool, Failure> {
    let scratch = desk.store.scratch()?;
    let workspace = Workspace { folder: scratch.path().join("workspace") };
    let state = scratch.path().join("state");
    FILES.iter().try_for_each(|(path, text)| workspace.write(path, text))?;
    workspace.write(LIBRARY, &library("before"))?;
    let store = Store::open(&state)?;
    // The toolchain file of the user's workspace does not count here.
    let toolchain = &tools.toolchain;
    let folder = toolchain.folder.as_ref().map(|folder| folder.to_string_lossy().into_owned());
    let caller = match toolchain.name.clone().or(folder) {
        Some(name) => desk.caller.with("RUSTUP_TOOLCHAIN", &name),
        None => desk.caller.clone(),
    };
    let build = || -> Result<Vec<(String, bool)>, Failure> {
        let inputs = Inputs::new(&store, desk.cancel.clone());
        let desk = Desk { caller: &caller, store: &store, inputs: &inputs, ..*desk };
        let _lease = store.lease(desk.cancel)?;
        let order = Order { profile: Some("dev".to_owned()), offline: true, ..Order::default() };
        let planned = plan(&desk, &order, locate(&workspace.folder, &caller.cargo_home())?)?;
        let prepared = prepare(&desk, &order, planned, std::collections::BTreeMap::new())?;
        let heard = Heard::default();
        let engine = Engine::new(&store, &inputs, desk.launcher.clone(), Options::default());
        engine.with_tool(TOOL, std::sync::Arc::new(prepared.tool)).build(
            &prepared.graph,
            &heard,
            desk.cancel,
        )?;
        Ok(heard.0.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    };
    if build()?.iter().any(|(_, fresh)| *fresh) {
        return Ok(false);
    }
    workspace.write("note", "")?;
    let again = build()?;
    if again.len() < 3 || again.iter().any(|(_, fresh)| !fresh) {
        return Ok(false);
    }
    workspace.write(LIBRARY, &library("after"))?;
    workspace.make_old(LIBRARY)?;
    let edited = build()?;
    let is_compiled =
        |package: &str| edited.iter().any(|(name, fresh)| !fresh && name.split(' ').next() == Some(package));
    let program =
        find(&state.join("targets"), "program").and_then(|path| fs::read(path).ok()).unwrap_or_default();
    let holds = |text: &str| program.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    Ok(is_compiled("library") && is_compiled("program") && holds(&mark("after")) && !holds(&mark("before")))
}

fn library(text: &str) -> String {
    let text = mark(text);
    format!("include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\n\npub const TEXT: &str = \"{text}\";\n")
}

fn mark(text: &str) -> String {
    format!("carrack was here {text}wards")
}

/// Which packages' units were compiled, and which were fresh.
#[derive(Default)]
struct Heard(Mutex<Vec<(String, bool)>>);

impl EventSink for Heard {
    fn emit(&self, event: BuildEvent) {
        if let BuildEvent::UnitFinished { package, fresh, .. } = event {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((package, fresh));
        }
    }
}

struct Workspace {
    folder: PathBuf,
}

impl Workspace {
    fn write(&self, path: &str, text: &str) -> Result<(), Failure> {
        let path = self.folder.join(path);
        let folder = path.parent().expect("the file is in a folder");
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text));
        written.map_err(failed("write", &path))
    }

    /// As an unpacked archive would have it.
    fn make_old(&self, path: &str) -> Result<(), Failure> {
        let path = self.folder.join(path);
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let set = File::options().write(true).open(&path).and_then(|file| file.set_modified(old));
        set.map_err(failed("write", &path))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::Io { action, path, source }
}

/// The first file of this name.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        // What can't be read holds no program.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(path),
                Ok(kind) if kind.is_file() && entry.file_name() == name => return Some(path),
                Ok(_) | Err(_) => {}
            }
        }
    }
    None
}
