//! Kept units: whatever changes, and however, only what is new is compiled, and the result is the one of a clean build.
//!
//! Each row of these tables builds and looks at three things: which packages cargo compiled, what the program prints, and
//! whether the image is, byte for byte, the one that is built with nothing kept at all.

mod builds;
mod edits;
mod environment;
mod packages;
mod random;
mod store;
mod traps;
mod workspaces;

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use carrack_testkit::{Finished, Project};

use crate::scene::{Built, Scene};

/// Whatever is compiled.
const ANY: &str = "?";
/// At least one package is compiled.
const SOME: &str = "+";

/// A workspace with a store that keeps units, and another store that never uses any.
struct Yard {
    scene: Scene,
    /// Given to each build.
    arguments: Vec<String>,
    /// What clean builds made, by everything that they were made from.
    cleaned: Mutex<HashMap<String, Vec<String>>>,
}

impl Yard {
    fn new(project: Project) -> Self {
        Self::within(project, ".")
    }

    /// The workspace is a folder of the project.
    fn within(project: Project, folder: &str) -> Self {
        Self::of(Scene::within(project, folder))
    }

    fn of(scene: Scene) -> Self {
        Self { scene, arguments: Vec::new(), cleaned: Mutex::default() }
    }

    fn project(&self) -> &Project {
        &self.scene.project
    }

    fn write(&self, path: &str, text: &str) {
        self.project().write(path, text);
    }

    /// The file's text with `from`, which is there, replaced.
    fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.text(path);
        assert!(text.contains(from), "{from:?} in {path}:\n{text}");
        self.write(path, &text.replace(from, to));
    }

    fn text(&self, path: &str) -> String {
        let path = self.project().path().join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Another workspace with the same two stores.
    fn neighbour(&self, project: Project, folder: &str) -> Self {
        let mut scene = Scene::within(project, folder);
        let around = self.scene.around.path();
        let cargo_home = self.scene.cargo_home();
        for (name, place) in [("CARRACK_HOME", self.scene.state()), ("CARGO_HOME", cargo_home)] {
            scene.set(name, place.to_str().unwrap());
        }
        scene.set("HOME", around.join("home").to_str().unwrap());
        Self::of(scene)
    }

    /// Runs a build to its end, whatever that is.
    fn try_build(&self, more: &[&str]) -> Finished {
        let arguments: Vec<&str> =
            self.arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.scene.try_build(&arguments)
    }

    #[track_caller]
    fn build(&self) -> Built {
        Built::read(&self.try_build(&[]).expect_code(0))
    }

    /// The digests of the images that a build makes of the same sources in the same environment, with nothing kept.
    #[track_caller]
    fn clean(&self) -> Vec<String> {
        let inputs = self.inputs();
        if let Some(made) = self.cleaned.lock().unwrap().get(&inputs) {
            return made.clone();
        }
        let state = self.scene.around.path().join("clean");
        let program = self.scene.program().with_env("CARRACK_HOME", state);
        let mut arguments = vec!["build", "--offline", "--progress", "rawjson", "--no-cache"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let finished = program.run(&self.scene.workspace(), &arguments).expect_code(0);
        let made = Built::read(&finished).digests();
        self.cleaned.lock().unwrap().insert(inputs, made.clone());
        made
    }

    /// Everything that may decide about an image, as text.
    fn inputs(&self) -> String {
        let files = self.project().inventory().into_iter().map(|(path, ..)| path);
        let files = files.filter(|path| path.is_file() && !path.ends_with("README.md"));
        let relative = |path: &Path| path.strip_prefix(self.project().path()).unwrap().to_owned();
        let files: Vec<(PathBuf, Vec<u8>)> = files
            .filter(|path| !path.iter().any(|part| part == ".git"))
            .map(|path| (relative(&path), fs::read(&path).unwrap()))
            .collect();
        format!("{:?} {:?} {files:?}", self.arguments, self.scene.variables())
    }

    /// One row of a table. `compiled` are names of packages, with `/build` for their build scripts, separated by spaces.
    #[track_caller]
    fn check(&self, what: &str, compiled: &str, says: &str) -> Built {
        let built = self.build();
        let done = compiled_units(&built).into_iter().collect::<Vec<_>>().join(" ");
        match compiled {
            ANY => {}
            SOME => assert!(!done.is_empty(), "{what}: nothing was compiled"),
            compiled => assert_eq!(done, compiled, "{what}: compiled, and expected\n{}", told(&built)),
        }
        assert_eq!(self.scene.says("app"), says, "{what}");
        assert_eq!(built.digests(), self.clean(), "{what}: the image is not the one of a clean build");
        built
    }

    /// A row whose step has no kept result: cargo is asked, and nothing is compiled.
    #[track_caller]
    fn check_fresh(&self, what: &str, says: &str) -> Built {
        self.write("README.md", &format!("{what} {:?}", SystemTime::now()));
        let built = self.check(what, "", says);
        assert!(built.ran_cargo(), "{what}: cargo was not asked");
        built
    }

    /// Makes a lock file, with the newest versions that fit.
    fn lock(&self) {
        self.cargo(&["generate-lockfile"]);
        self.cargo(&["fetch"]);
    }

    /// Runs the user's cargo in the workspace.
    #[track_caller]
    fn cargo(&self, arguments: &[&str]) {
        let mut command = Command::new("cargo");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_")) {
            command.env_remove(name);
        }
        command.env_remove("RUSTUP_TOOLCHAIN").env("CARGO_HOME", self.cargo_home());
        let output = command.args(arguments).current_dir(self.scene.workspace()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo {arguments:?}: {said}");
    }

    fn cargo_home(&self) -> PathBuf {
        let mut variables = self.scene.variables().iter();
        let set = variables.find(|(name, _)| name == "CARGO_HOME").map(|(_, value)| PathBuf::from(value));
        set.unwrap_or_else(|| self.scene.cargo_home())
    }
}

/// A yard whose user has downloaded packages before, together with the users of other yards.
fn with_registry(project: Project, folder: &str) -> Yard {
    static FETCHING: Mutex<()> = Mutex::new(());
    let mut yard = Yard::within(project, folder);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("units-cargo");
    fs::create_dir_all(&home).unwrap();
    yard.scene.set("CARGO_HOME", home.to_str().unwrap());
    let _alone = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    if !yard.scene.workspace().join("Cargo.lock").exists() {
        yard.lock();
    }
    yard
}

/// What cargo compiled.
fn compiled_units(built: &Built) -> BTreeSet<String> {
    built.units(false).map(|(package, target)| named(package, target)).collect()
}

/// What cargo found to be fresh.
fn reused_units(built: &Built) -> BTreeSet<String> {
    built.units(true).map(|(package, target)| named(package, target)).collect()
}

fn named(package: &str, target: &str) -> String {
    if target == "build-script-build" { format!("{package}/build") } else { package.to_owned() }
}

/// Why something was compiled, to show where that was not expected.
fn told(built: &Built) -> String {
    let mut told: Vec<String> = built.reasons().into_iter().map(str::to_owned).collect();
    told.extend(built.unit_reasons());
    told.join("\n")
}

/// A manifest of package `name`.
fn manifest(name: &str, more: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}\n")
}

/// A line of a manifest's dependencies for each name.
fn depends(on: &[&str]) -> String {
    let lines = on.iter().map(|name| format!("{name} = {{ path = \"../{name}\" }}\n"));
    format!("[dependencies]\n{}", lines.collect::<String>())
}

/// A library's source.
fn number(number: &str) -> String {
    format!("pub fn number() -> u32 {{\n    {number}\n}}\n")
}

/// A program that prints `text`, a Rust expression.
fn prints(text: &str) -> String {
    format!("fn main() {{\n    println!(\"{{}}\", {text});\n}}\n")
}

/// `app` → `middle` → `leaf`, and `second` → `middle`. `app` prints its word and `middle`'s number, which is one more than `leaf`'s.
fn chain() -> Project {
    let project = Project::new();
    workspace(&project, &["app", "middle", "leaf", "second"]);
    project.write("app/Cargo.toml", &manifest("app", &depends(&["middle"])));
    project.write("app/src/main.rs", &prints("format_args!(\"one {}\", middle::number())"));
    project.write("second/Cargo.toml", &manifest("second", &depends(&["middle"])));
    project.write("second/src/main.rs", &prints("middle::number()"));
    project.write("middle/Cargo.toml", &manifest("middle", &depends(&["leaf"])));
    project.write("middle/src/lib.rs", &number("leaf::number() + 1"));
    project.write("leaf/Cargo.toml", &manifest("leaf", ""));
    project.write("leaf/src/lib.rs", &number("1"));
    project
}

/// Writes the manifest of a workspace.
fn workspace(project: &Project, members: &[&str]) {
    let members: Vec<String> = members.iter().map(|member| format!("\"{member}\"")).collect();
    let text = format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n", members.join(", "));
    project.write("Cargo.toml", &text);
}

/// Gives every file of a folder this modification time.
fn date(folder: &Path, time: SystemTime) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name == ".git") {
            continue;
        }
        if path.is_dir() {
            date(&path, time);
        } else {
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
    }
}

/// A time after everything.
fn far_ahead() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
}
