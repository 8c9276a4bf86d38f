//! Units that real cargo makes, and whether cargo takes them for its own when they are put into an empty target folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use carrack_base::{ContentDigest, StepId, UnitContent};
use carrack_cargo::locate::Configured;
use carrack_cargo::tool::{CargoTool, PathPackage};
use carrack_cargo::units::FetchedPackage;
use carrack_graph::{
    BuildFolder, BuildGraph, EnvValue, ExecOp, ExecRoot, HarvestedUnit, OfferedUnit, Op, Tool, TreeOp, World,
};

use crate::fixture::{Fixture, package};

/// Which of cargo's layouts is used.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Layout {
    Old,
    New,
}

/// A workspace, its cargo, and the units of earlier builds with the bytes of their files.
pub(crate) struct Bench {
    fixture: Fixture,
    layout: Layout,
    variables: BTreeMap<String, String>,
    kept: Vec<(HarvestedUnit, BTreeMap<String, Vec<u8>>)>,
    local: Vec<(&'static str, bool)>,
}

/// What a build did.
struct Built {
    compiled: BTreeSet<String>,
    output: String,
    binary: Vec<u8>,
    harvested: Vec<HarvestedUnit>,
}

const LOCAL: [(&str, bool); 4] = [("app", false), ("core", false), ("generated", false), ("macros", false)];

impl Bench {
    /// `app` (with `include_str!` and a declared variable) → `core` → `generated` (with a build script), and a
    /// procedural macro; `itoa` comes from a registry.
    pub(crate) fn new(layout: Layout) -> Self {
        let fixture = Fixture::new(&[
            (
                "ws/Cargo.toml",
                "[workspace]\nmembers = [\"app\", \"core\", \"generated\", \"macros\"]\nresolver = \"2\"\n",
            ),
            (
                "ws/app/Cargo.toml",
                &package(
                    "app",
                    "[dependencies]\ncore = { path = \"../core\" }\nmacros = { path = \"../macros\" }",
                ),
            ),
            (
                "ws/app/src/main.rs",
                "fn main() {\n    println!(\"{} {} {:?} {}\", core::NUMBER, include_str!(\"../text\"), option_env!(\"APP_NAME\"), macros::seven!());\n}\n",
            ),
            ("ws/app/text", "text"),
            (
                "ws/core/Cargo.toml",
                &package("core", "[dependencies]\ngenerated = { path = \"../generated\" }\nitoa = \"1\""),
            ),
            ("ws/core/src/lib.rs", "pub const NUMBER: u32 = generated::NUMBER + 1;\n"),
            ("ws/generated/Cargo.toml", &package("generated", "")),
            ("ws/generated/src/lib.rs", "include!(concat!(env!(\"OUT_DIR\"), \"/number.rs\"));\n"),
            (
                "ws/generated/build.rs",
                "fn main() {\n    println!(\"cargo::rerun-if-changed=number\");\n    println!(\"cargo::rerun-if-env-changed=GENERATED\");\n    let number = std::fs::read_to_string(\"number\").unwrap();\n    std::fs::write(format!(\"{}/number.rs\", std::env::var(\"OUT_DIR\").unwrap()), format!(\"pub const NUMBER: u32 = {};\", number.trim())).unwrap();\n}\n",
            ),
            ("ws/generated/number", "1"),
            ("ws/macros/Cargo.toml", &package("macros", "[lib]\nproc-macro = true")),
            (
                "ws/macros/src/lib.rs",
                "#[proc_macro]\npub fn seven(_: proc_macro::TokenStream) -> proc_macro::TokenStream { \"7\".parse().unwrap() }\n",
            ),
        ]);
        let fetched = Command::new("cargo").arg("fetch").current_dir(fixture.path("ws")).output().unwrap();
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        Self { fixture, layout, variables: BTreeMap::new(), kept: Vec::new(), local: LOCAL.to_vec() }
    }

    pub(crate) fn tool(&self) -> CargoTool {
        let root = self.fixture.path("ws");
        let cargo_home = cargo_home();
        let fetched = || -> Option<FetchedPackage> {
            let lock = fs::read_to_string(root.join("Cargo.lock")).ok()?;
            let entry = lock.split("[[package]]").find(|entry| entry.contains("name = \"itoa\""))?;
            let field = |name: &str| {
                let line = entry.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")))?;
                Some(line.trim_matches('"').to_owned())
            };
            let version = field("version")?;
            let indexes = fs::read_dir(cargo_home.join("registry/src")).ok()?;
            let folder = indexes
                .flatten()
                .map(|index| index.path().join(format!("itoa-{version}")))
                .find(|folder| folder.exists())?;
            Some(FetchedPackage {
                name: "itoa".to_owned(),
                version,
                source: field("source")?,
                checksum: field("checksum"),
                folder,
            })
        };
        CargoTool {
            workspace: root.clone(),
            cargo_home: cargo_home.clone(),
            target: self.fixture.path("target"),
            profile: "debug".to_owned(),
            packages: self
                .local
                .iter()
                .map(|(name, reads_undeclared)| PathPackage {
                    name: (*name).to_owned(),
                    version: "1.2.3".to_owned(),
                    folder: root.join(name),
                    reads_undeclared: *reads_undeclared,
                })
                .collect(),
            fetched: fetched().into_iter().collect(),
            binaries: vec!["app".to_owned()],
            configs: Vec::new(),
            configured: Configured::default(),
            wrapper: PathBuf::new(),
            installed: None,
            uses_units: true,
        }
    }

    pub(crate) fn world(&self) -> impl World + use<> {
        Files { root: self.fixture.path("ws"), variables: self.variables.clone() }
    }

    pub(crate) fn op(&self) -> ExecOp {
        let mut graph = BuildGraph::default();
        let sources = graph.add(Op::Tree(TreeOp::default())).unwrap();
        let env = self
            .variables
            .iter()
            .map(|(name, value)| (name.clone(), EnvValue { value: value.clone(), keyed: false }));
        ExecOp {
            name: "Compile".to_owned(),
            root: ExecRoot::Host,
            tool: "cargo",
            argv: Vec::new(),
            env: env.collect(),
            cwd: self.fixture.path("ws"),
            sources,
            build_folder: BuildFolder {
                id: "test".to_owned(),
                target: self.fixture.path("target"),
                owner: String::new(),
            },
            mounts: Vec::new(),
            identity: BTreeMap::new(),
            artifacts: BTreeSet::new(),
        }
    }

    /// Builds in an empty target folder with the kept units that fit in it.
    fn build(&mut self) -> Built {
        let target = self.fixture.path("target");
        let _ = fs::remove_dir_all(&target);
        let (tool, op) = (self.tool(), self.op());
        let world = self.world();
        let realm = tool.realm(&op, &target).unwrap();
        // Those that were used last come first.
        let offered = self.kept.iter().rev().map(|(unit, _)| OfferedUnit {
            id: unit.id,
            record: unit.record.clone(),
            origin: None,
        });
        let mut run = tool.begin(StepId(0), &op, realm, offered.collect(), &world);
        for chosen in run.units() {
            let (unit, bytes) = self.kept.iter().find(|(unit, _)| unit.id == chosen.id).unwrap();
            put(unit, bytes, &target);
        }
        let mut command = Command::new("cargo");
        if self.layout == Layout::New {
            command.args(["+nightly", "-Zbuild-dir-new-layout"]);
        }
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME")
        {
            command.env_remove(name);
        }
        command.args(["build", "--message-format=json", "--target-dir"]).arg(&target);
        let output = command
            .current_dir(self.fixture.path("ws"))
            .envs(&self.variables)
            .env("CARGO_INCREMENTAL", "0")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let compiled = std::sync::Mutex::new(BTreeSet::new());
        let events = |event: carrack_base::BuildEvent| {
            if let carrack_base::BuildEvent::UnitFinished { package, target, fresh: false, .. } = event {
                compiled.lock().unwrap().insert(format!("{package} {target}"));
            }
        };
        run.stdout(&output.stdout, &events);
        run.close(&events);
        let harvested = run.harvest(&target, &world).unwrap();
        for unit in &harvested {
            let read = |path: &str| fs::read(target.join(path)).unwrap_or_default();
            let bytes = unit.files.iter().map(|file| (file.path.clone(), read(&file.path))).collect();
            self.kept.push((unit.clone(), bytes));
        }
        let program = target.join("debug/app");
        let said = Command::new(&program).output().unwrap();
        Built {
            compiled: compiled.into_inner().unwrap(),
            output: String::from_utf8(said.stdout).unwrap(),
            binary: fs::read(program).unwrap(),
            harvested,
        }
    }

    #[track_caller]
    fn check(&mut self, compiled: &[&str], output: &str) -> Built {
        let built = self.build();
        let expected: BTreeSet<String> = compiled.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(built.compiled, expected);
        assert_eq!(built.output.trim(), output);
        built
    }
}

fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"), PathBuf::from)
}

/// Puts a unit's files in place, dated as a store would.
fn put(unit: &HarvestedUnit, bytes: &BTreeMap<String, Vec<u8>>, target: &Path) {
    use std::os::unix::fs::PermissionsExt;
    for file in &unit.files {
        let path = target.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let UnitContent::File { executable, .. } = &file.content else {
            fs::create_dir_all(path).unwrap();
            continue;
        };
        fs::write(&path, &bytes[&file.path]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(if *executable { 0o755 } else { 0o644 }))
            .unwrap();
        let made = unit.ran && file.path.contains("/out/");
        let years = if unit.local && !made { 67 } else { 30 };
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(years * 365 * 24 * 3600);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
}

/// The files of the host, as they are.
struct Files {
    root: PathBuf,
    variables: BTreeMap<String, String>,
}

impl World for Files {
    fn content(&self, seen: &Path) -> Option<ContentDigest> {
        if seen.is_dir() {
            let mut all = Vec::new();
            files_below(seen, &mut all);
            all.sort();
            return Some(ContentDigest::of(format!("{all:?}").as_bytes()));
        }
        fs::read(seen).ok().map(|bytes| ContentDigest::of(&bytes))
    }

    fn modified(&self, seen: &Path) -> Option<SystemTime> {
        fs::metadata(seen).and_then(|metadata| metadata.modified()).ok()
    }

    fn settled(&self, _: &Path) -> bool {
        true
    }

    fn sources(&self) -> Vec<(PathBuf, ContentDigest)> {
        let mut all = Vec::new();
        files_below(&self.root, &mut all);
        all
    }

    fn written(&self) -> BTreeMap<PathBuf, ContentDigest> {
        BTreeMap::new()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn on_host(&self, seen: &Path) -> PathBuf {
        seen.to_owned()
    }

    fn inside(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
}

fn files_below(folder: &Path, all: &mut Vec<(PathBuf, ContentDigest)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, all);
        } else {
            let content = ContentDigest::of(&fs::read(&path).unwrap());
            all.push((path, content));
        }
    }
}

const ALL: [&str; 6] = [
    "app 1.2.3 app",
    "core 1.2.3 core",
    "generated 1.2.3 build-script-build",
    "generated 1.2.3 generated",
    "itoa 1.0.18 itoa",
    "macros 1.2.3 macros",
];

/// `all` with whatever version of itoa there is.
fn all(bench: &Bench) -> Vec<String> {
    let version = bench.tool().fetched.first().map(|itoa| itoa.version.clone()).unwrap_or_default();
    ALL.iter().map(|name| name.replace("1.0.18", &version)).collect()
}

fn scenario(layout: Layout) {
    let mut bench = Bench::new(layout);
    let first = bench.build();
    let expected: BTreeSet<String> = all(&bench).into_iter().collect();
    assert_eq!(first.compiled, expected);
    // Each compiled unit, and the run of the build script.
    assert_eq!(
        first.harvested.len(),
        7,
        "{:?}",
        first.harvested.iter().map(|unit| &unit.files[0].path).collect::<Vec<_>>()
    );
    let local: Vec<bool> = first.harvested.iter().map(|unit| unit.local).collect();
    assert_eq!(local.iter().filter(|local| !**local).count(), 1, "only itoa can't change");

    let again = bench.check(&[], "2 text None 7");
    assert!(again.binary == first.binary);

    // Only what the edit concerns, whatever the times say.
    bench.fixture.write("ws/core/src/lib.rs", "pub const NUMBER: u32 = generated::NUMBER + 2;\n");
    bench.check(&["core 1.2.3 core", "app 1.2.3 app"], "3 text None 7");
    bench.fixture.write("ws/core/src/lib.rs", "pub const NUMBER: u32 = generated::NUMBER + 1;\n");
    let reverted = bench.check(&[], "2 text None 7");
    assert!(reverted.binary == first.binary);

    bench.fixture.write("ws/app/text", "other");
    bench.check(&["app 1.2.3 app"], "2 other None 7");
    bench.variables.insert("APP_NAME".to_owned(), "me".to_owned());
    bench.check(&["app 1.2.3 app"], "2 other Some(\"me\") 7");

    bench.fixture.write("ws/generated/number", "5");
    let changed = bench.build();
    assert!(changed.compiled.contains("generated 1.2.3 generated"));
    assert!(!changed.compiled.contains("generated 1.2.3 build-script-build"));
    assert_eq!(changed.output.trim(), "6 other Some(\"me\") 7");
    bench.fixture.write("ws/generated/number", "1");
    bench.check(&[], "2 other Some(\"me\") 7");
    bench.variables.insert("GENERATED".to_owned(), "1".to_owned());
    assert!(bench.build().compiled.contains("generated 1.2.3 generated"));
}

#[test]
fn units_are_put_back_and_cargo_takes_them() {
    scenario(Layout::Old);
}

#[test]
fn units_of_the_newer_layout_too() {
    let probe = Command::new("cargo").args(["+nightly", "-Zbuild-dir-new-layout", "-V"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no nightly cargo to write the new target layout");
        return;
    }
    scenario(Layout::New);
}
