//! `carrack cargo`: real packages, real cargo, and what was compiled, put back and kept.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use carrack_testkit::{Finished, Program, Project, find_program};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::scene::{new_folder, rustup_home};

/// A state folder, and the CARGO_HOME of whoever runs the tests: its packages are those of this repository.
pub(crate) struct Yard {
    around: TempDir,
    cargo_home: PathBuf,
    env: Vec<(&'static str, String)>,
}

const MAIN: &str =
    "fn main() {\n    println!(\"{}\", serde_json::json!({\"number\": member::number()}));\n}\n";

/// A workspace with a program, a library of its own, and packages with macros and build scripts from the registry.
pub(crate) fn workspace() -> Project {
    let project = Project::new();
    project.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"member\"]\n\n[package]\nname = \"program\"\nversion = \"0.1.0\"\n\
         edition = \"2024\"\n\n[dependencies]\nmember = { path = \"member\" }\nserde_json = \"1\"\nlibc = \"0.2\"\n",
    );
    project.write("src/main.rs", MAIN);
    project.write(
        "member/Cargo.toml",
        "[package]\nname = \"member\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n\
         thiserror = \"2\"\n\n[dev-dependencies]\nitoa = \"1\"\n",
    );
    project.write(
        "member/src/lib.rs",
        "#[derive(Debug, thiserror::Error)]\n#[error(\"none\")]\npub struct None;\n\npub fn number() -> u32 {\n    1\n}\n\n\
         #[test]\nfn numbers() {\n    assert_eq!(itoa::Buffer::new().format(number()), \"1\");\n}\n",
    );
    project
}

impl Yard {
    pub(crate) fn new() -> Self {
        let own = || std::env::home_dir().unwrap().join(".cargo");
        let cargo_home = std::env::var_os("CARGO_HOME").map_or_else(own, PathBuf::from);
        Self { around: new_folder(), cargo_home, env: Vec::new() }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.around.path().join("state")
    }

    fn program(&self, program: impl Into<PathBuf>) -> Program {
        let program = Program::new(program).in_clean_environment();
        let program = [
            ("PATH", std::env::var("PATH").unwrap()),
            ("RUSTUP_HOME", rustup_home()),
            ("HOME", self.around.path().join("home").display().to_string()),
            ("CARGO_HOME", self.cargo_home.display().to_string()),
            ("CARGO_NET_OFFLINE", "true".to_owned()),
            ("CARRACK_HOME", self.state().display().to_string()),
        ]
        .into_iter()
        .fold(program, |program, (name, value)| program.with_env(name, value));
        self.env.iter().fold(program, |program, (name, value)| program.with_env(name, value))
    }

    /// `carrack` with these arguments.
    pub(crate) fn carrack(&self, folder: &Path, arguments: &[&str]) -> Finished {
        self.program(env!("CARGO_BIN_EXE_carrack")).run(folder, arguments)
    }

    /// `carrack cargo`, which has to work.
    #[track_caller]
    pub(crate) fn cargo(&self, project: &Project, arguments: &[&str]) -> Ran {
        Ran::of(&self.carrack(project.path(), &[&["cargo"], arguments].concat()).expect_code(0))
    }

    /// Cargo alone.
    #[track_caller]
    fn plain(&self, project: &Project, arguments: &[&str]) -> Ran {
        Ran::of(&self.program(find_program("cargo").unwrap()).run(project.path(), arguments).expect_code(0))
    }
}

/// What a run of cargo did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Names of packages.
    pub(crate) compiled: BTreeSet<String>,
    /// Units put back and kept.
    pub(crate) units: (usize, usize),
    stderr: String,
}

impl Ran {
    pub(crate) fn of(finished: &Finished) -> Self {
        let word = |line: &str| line.split(' ').next().map(str::to_owned);
        let compiled = finished.stderr.lines().filter_map(|line| {
            let line = line.trim_start();
            let rest = ["Compiling ", "Checking "].iter().find_map(|verb| line.strip_prefix(verb))?;
            word(rest)
        });
        let said = finished.stderr.lines().find_map(|line| line.strip_prefix("carrack: "));
        let number = |text: &str| text.split(' ').next().unwrap().parse().unwrap();
        let units = said.map_or((0, 0), |said| {
            let (back, kept) = said.split_once(", ").unwrap_or_else(|| panic!("{said}"));
            (number(back), number(kept))
        });
        Self { compiled: compiled.collect(), units, stderr: finished.stderr.clone() }
    }

    #[track_caller]
    pub(crate) fn expect_compiled(self, names: &[&str]) -> Self {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(self.compiled, names, "{}", self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn expect_fresh(self) -> Self {
        self.expect_compiled(&[])
    }
}

pub(crate) const MEMBERS: [&str; 2] = ["member", "program"];

#[test]
fn a_fresh_target_folder_gets_its_packages_back_and_only_members_are_compiled() {
    let (yard, project) = (Yard::new(), workspace());
    let first = yard.cargo(&project, &["build"]);
    assert!(first.compiled.contains("serde_core") && first.units.0 == 0 && first.units.1 > 20, "{first:?}");
    let program = project.path().join("target/debug/program");
    let built = fs::read(&program).unwrap();
    // Nothing to do, nothing said.
    let again = yard.cargo(&project, &["build"]).expect_fresh();
    assert_eq!(again.units, (0, 0));

    yard.carrack(project.path(), &["cargo", "clean"]).expect_code(0);
    assert!(!project.path().join("target").exists());
    let back = yard.cargo(&project, &["build"]).expect_compiled(&MEMBERS);
    assert_eq!(back.units, (first.units.1, 0));
    assert!(project.path().join("target/CACHEDIR.TAG").exists());
    assert_eq!(fs::read(&program).unwrap(), built);
    yard.plain(&project, &["build"]).expect_fresh();
    yard.cargo(&project, &["build"]).expect_fresh();

    // As cargo alone would have made it, at the same place.
    fs::remove_dir_all(project.path().join("target")).unwrap();
    yard.plain(&project, &["build"]);
    assert!(fs::read(&program).unwrap() == built, "the program differs from what cargo alone makes");
    // Another state folder knows nothing.
    fs::remove_dir_all(project.path().join("target")).unwrap();
    assert_eq!(Yard::new().cargo(&project, &["build", "-q"]).units, (0, 0));
    let output = Command::new(&program).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"number\":1}\n");
}

#[test]
fn each_command_finds_what_others_compiled() {
    let (yard, project) = (Yard::new(), workspace());
    yard.cargo(&project, &["build"]);
    yard.cargo(&project, &["test", "--workspace"]);
    yard.cargo(&project, &["check"]);
    yard.cargo(&project, &["build", "--release"]);
    yard.cargo(&project, &["build", "--target", "x86_64-unknown-linux-gnu"]);
    for folder in ["target", "member/target"] {
        let _ = fs::remove_dir_all(project.path().join(folder));
    }
    // (arguments, what is compiled)
    for (arguments, compiled) in [
        (&["check"][..], &MEMBERS[..]),
        (&["b"], &MEMBERS),
        (&["test", "--workspace", "--no-run"], &MEMBERS),
        (&["run", "--", "--release"], &[]),
        (&["build", "-r"], &MEMBERS),
        (&["build", "--target", "x86_64-unknown-linux-gnu"], &MEMBERS),
        (&["test", "-q", "-p", "member"], &[]),
    ] {
        let ran = yard.cargo(&project, arguments).expect_compiled(compiled);
        assert_eq!(ran.units.1, 0, "{arguments:?}: {ran:?}");
    }
    for arguments in
        [&["build", "--target-dir", "elsewhere"][..], &["--config", "build.target-dir='there'", "build"]]
    {
        let ran = yard.cargo(&project, arguments);
        assert!(ran.units.0 > 20 && ran.compiled.len() < 8, "{ran:?}");
    }
    assert!(project.path().join("elsewhere/debug/program").exists());
    assert!(project.path().join("there/debug/program").exists());
}

#[test]
fn another_checkout_shares_what_does_not_name_the_target_folder() {
    let (yard, project) = (Yard::new(), workspace());
    yard.cargo(&project, &["build"]);
    let other = project.copy();
    fs::remove_dir_all(other.path().join("target")).unwrap();
    let second = yard.cargo(&other, &["build"]);
    // The source that their build scripts write has the path of the target folder in it.
    for name in ["serde_core", "thiserror"] {
        assert!(second.compiled.contains(name), "{second:?}");
    }
    for name in ["libc", "syn", "quote", "proc-macro2", "itoa", "memchr"] {
        assert!(!second.compiled.contains(name), "{second:?}");
    }
    let path = other.path().to_str().unwrap();
    let old = project.path().to_str().unwrap();
    let program = fs::read(other.path().join("target/debug/program")).unwrap();
    let holds = |text: &str| program.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(path) && !holds(old), "the program names the other checkout");
    yard.plain(&other, &["build"]).expect_fresh();

    // With the target folder in common, only members differ.
    let mut yard = yard;
    yard.env.push(("CARGO_TARGET_DIR", yard.around.path().join("shared").display().to_string()));
    yard.cargo(&project, &["build"]);
    fs::remove_dir_all(yard.around.path().join("shared")).unwrap();
    yard.cargo(&other, &["build"]).expect_compiled(&MEMBERS);
}

#[test]
fn a_dependency_that_changes_is_compiled_once() {
    let (yard, project) = (Yard::new(), workspace());
    yard.cargo(&project, &["build"]);
    project.write(
        "member/Cargo.toml",
        &fs::read_to_string(project.path().join("member/Cargo.toml")).unwrap().replace(
            "thiserror = \"2\"",
            "thiserror = \"2\"\nmemchr = { version = \"2\", default-features = false }\nonce_cell = \"1\"",
        ),
    );
    let bumped = yard.cargo(&project, &["build"]);
    assert!(bumped.compiled.contains("once_cell") && !bumped.compiled.contains("syn"), "{bumped:?}");
    assert!(bumped.units.1 >= 1, "{bumped:?}");
    yard.plain(&project, &["build"]).expect_fresh();
    let target = project.path().join("target");
    fs::remove_dir_all(&target).unwrap();
    yard.cargo(&project, &["build"]).expect_compiled(&MEMBERS);
}

#[test]
fn what_does_not_compile_costs_nothing_that_was_compiled() {
    let (yard, project) = (Yard::new(), workspace());
    project.write("src/main.rs", "fn main() { nonsense }\n");
    let finished = yard.carrack(project.path(), &["cargo", "build"]).expect_code(101);
    let failed = Ran::of(&finished);
    assert!(failed.units.1 > 20, "{failed:?}");
    fs::remove_dir_all(project.path().join("target")).unwrap();
    project.write("src/main.rs", MAIN);
    yard.cargo(&project, &["build"]).expect_compiled(&MEMBERS);
    // Cargo's own words about a manifest come once.
    project.write("Cargo.toml", "[package\n");
    let finished = yard.carrack(project.path(), &["cargo", "build"]).expect_code(101);
    assert_eq!(finished.stderr.matches("error").count(), 1, "{}", finished.stderr);
    assert!(!finished.stderr.contains("carrack:"), "{}", finished.stderr);
}

#[test]
fn what_cargo_alone_left_is_not_disturbed() {
    let (yard, project) = (Yard::new(), workspace());
    yard.cargo(&project, &["build"]);
    let target = project.path().join("target");
    fs::remove_dir_all(&target).unwrap();
    yard.plain(&project, &["build"]);
    // It has all it needs; what it has is noted.
    yard.cargo(&project, &["build"]).expect_fresh();
    yard.plain(&project, &["build"]).expect_fresh();
    yard.cargo(&project, &["build"]).expect_fresh();

    // Where something is missing that others were compiled with, cargo makes it and them again.
    fs::remove_dir_all(&target).unwrap();
    yard.plain(&project, &["build"]);
    yard.plain(&project, &["clean", "-p", "serde_core"]);
    let again = yard.cargo(&project, &["build"]);
    assert!(again.compiled.contains("serde_core") && again.compiled.contains("program"), "{again:?}");
    yard.plain(&project, &["build"]).expect_fresh();
    // After that, too, everything can be had back.
    fs::remove_dir_all(&target).unwrap();
    yard.cargo(&project, &["build"]).expect_compiled(&MEMBERS);
    yard.plain(&project, &["build"]).expect_fresh();

    // An edit of a member is compiled, whatever its time says.
    project.write("member/src/lib.rs", "pub fn number() -> u32 {\n    2\n}\n");
    yard.cargo(&project, &["build"]).expect_compiled(&MEMBERS);
    let output = Command::new(target.join("debug/program")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"number\":2}\n");
}

#[test]
fn another_cargo_home_or_compiler_compiles_all() {
    let (mut yard, project) = (Yard::new(), workspace());
    yard.cargo(&project, &["build"]);
    let moved = yard.around.path().join("moved");
    fs::create_dir(&moved).unwrap();
    symlink(yard.cargo_home.join("registry"), moved.join("registry")).unwrap();
    let home = std::mem::replace(&mut yard.cargo_home, moved);
    let target = project.path().join("target");
    fs::remove_dir_all(&target).unwrap();
    let first = yard.cargo(&project, &["build"]);
    assert!(first.compiled.contains("libc") && first.units.0 == 0 && first.units.1 > 20, "{first:?}");
    yard.cargo_home = home;
    fs::remove_dir_all(&target).unwrap();
    yard.cargo(&project, &["build"]).expect_compiled(&MEMBERS);

    // Flags get into cargo's own names: nothing that is put back is used.
    yard.env.push(("RUSTFLAGS", "-Copt-level=1".to_owned()));
    let flagged = yard.cargo(&project, &["build"]);
    assert!(flagged.compiled.contains("libc") && flagged.units.1 > 20, "{flagged:?}");
}

#[test]
fn trouble_with_the_cache_is_one_line_and_cargo_runs() {
    let (yard, project) = (Yard::new(), workspace());
    yard.cargo(&project, &["build"]);
    let target = project.path().join("target");
    // (what is done to the state folder, whether something is said)
    let units = yard.state().join("units");
    for file in files_below(&units)
        .into_iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rlib"))
        .take(3)
    {
        fs::remove_file(file).unwrap();
    }
    fs::remove_dir_all(&target).unwrap();
    let ran = yard.cargo(&project, &["build"]);
    assert!(ran.compiled.len() > 2 && ran.units.0 > 0 && ran.units.1 > 0, "{ran:?}");
    yard.plain(&project, &["build"]).expect_fresh();
    fs::remove_dir_all(&target).unwrap();
    yard.cargo(&project, &["build"]).expect_compiled(&MEMBERS);

    fs::write(yard.state().join("index.db"), "no database").unwrap();
    fs::remove_dir_all(&target).unwrap();
    for folder in [yard.state(), "/proc/nothing".into()] {
        let mut yard = Yard::new();
        yard.env.push(("CARRACK_HOME", folder.display().to_string()));
        let finished = yard.carrack(project.path(), &["cargo", "build"]).expect_code(0);
        let lines: Vec<&str> = finished.stderr.lines().filter(|line| line.starts_with("carrack:")).collect();
        assert_eq!(lines.len(), 1, "{}", finished.stderr);
        assert!(lines[0].starts_with("carrack: compiled packages are not reused: "), "{}", lines[0]);
        assert!(target.join("debug/program").exists());
        let finished = yard.carrack(project.path(), &["cargo", "run"]).expect_code(0);
        assert_eq!(finished.stdout, "{\"number\":1}\n");
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn many_at_once() {
    let (yard, project) = (Yard::new(), workspace());
    yard.cargo(&project, &["build"]);
    let other = project.copy();
    for project in [&project, &other] {
        fs::remove_dir_all(project.path().join("target")).unwrap();
    }
    let program = yard.program(env!("CARGO_BIN_EXE_carrack"));
    let start = |project: &Project| program.start(project.path(), &["cargo", "build"]);
    let running = [start(&project), start(&project), start(&other), start(&other)];
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    for project in [&project, &other] {
        yard.plain(project, &["build"]).expect_fresh();
        yard.cargo(project, &["build"]).expect_fresh();
    }
}

#[test]
fn arguments_output_and_exit_code_are_cargos() {
    let (yard, project) = (Yard::new(), workspace());
    project.write(
        "src/main.rs",
        "fn main() {\n    let words: Vec<String> = std::env::args().skip(1).collect();\n    println!(\"{words:?}\");\n    \
         std::process::exit(words.len() as i32);\n}\n",
    );
    let run = |arguments: &[&str]| yard.carrack(project.path(), arguments);
    let ran = run(&["cargo", "run", "-q", "--", "--home", "--help", "--", "-x"]).expect_code(4);
    assert_eq!(ran.stdout, "[\"--home\", \"--help\", \"--\", \"-x\"]\n");
    assert_eq!(ran.stderr, "");
    let ran = run(&["carrack", "cargo", "run", "-q", "one"]).expect_code(1);
    assert_eq!(ran.stdout, "[\"one\"]\n");
    assert!(run(&["cargo", "--version"]).expect_code(0).stdout.starts_with("cargo 1."));
    assert!(run(&["cargo", "-V"]).expect_code(0).stdout.starts_with("cargo 1."));
    assert!(run(&["cargo", "build", "--help"]).expect_code(0).stdout.contains("--keep-going"));
    assert!(run(&["cargo", "--help"]).expect_code(0).stdout.contains("Examples:"));
    run(&["cargo", "nonsense"]).expect_code(101).expect_stderr("no such command");
    let said = run(&["cargo", "build", "--message-format", "json"]).expect_code(0).stdout;
    assert!(said.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{said}");
    project.write(".cargo/config.toml", "[alias]\nship = [\"build\", \"--release\"]\n");
    assert!(Ran::of(&run(&["cargo", "ship"]).expect_code(0)).units.1 > 20);
}

#[test]
fn signals_reach_what_cargo_runs() {
    let (yard, project) = (Yard::new(), workspace());
    project.write(
        "src/main.rs",
        "fn main() {\n    println!(\"ready\");\n    std::thread::sleep(std::time::Duration::from_secs(60));\n}\n",
    );
    yard.cargo(&project, &["build"]);
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let program = yard.program(env!("CARGO_BIN_EXE_carrack"));
        let mut child = program.start(project.path(), &["cargo", "run"]);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        let started = Instant::now();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn machines_share_packages_through_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("type=local,dest={}", folder.path().display());
    let project = workspace();
    let machine = |variable| {
        let mut yard = Yard::new();
        yard.env.push((variable, location.clone()));
        yard
    };
    let first = machine("CARRACK_CACHE_TO").cargo(&project, &["build"]);
    assert!(first.units.1 > 20, "{first:?}");
    fs::remove_dir_all(project.path().join("target")).unwrap();
    let second = machine("CARRACK_CACHE_FROM");
    let back = second.cargo(&project, &["build"]).expect_compiled(&MEMBERS);
    assert_eq!(back.units, (first.units.1, 0));
    assert!(back.stderr.contains(&format!("({} from folder)", first.units.1)), "{}", back.stderr);

    // Without the cache it is an ordinary run, with a word about it.
    fs::remove_dir_all(project.path().join("target")).unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    fs::write(folder.path(), "no folder").unwrap();
    let third = machine("CARRACK_CACHE_FROM");
    let finished = third.carrack(project.path(), &["cargo", "build"]).expect_code(0);
    assert!(
        finished.stderr.contains("carrack: the build goes on without a shared cache"),
        "{}",
        finished.stderr
    );
}
