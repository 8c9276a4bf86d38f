//! The house rules that no compiler checks: which crate may know which, and what source may hold.
//!
//! | rule | why |
//! | --- | --- |
//! | crates know each other only along [`EDGES`] | a front end that reaches the store can't be replaced |
//! | `unsafe` only in [`UNSAFE_CRATE`] | one place to audit |
//! | libraries read no environment, home or terminal, and print nothing | the program hands them typed options |
//! | a file has at most [`FILE_LINES`] lines besides its tests | past that it is two rooms |
//! | ARCHITECTURE.md has fewer than [`ARCHITECTURE_LINES`] lines | a map that nobody reads is no map |
//!
//! Each violation is a [`Violation`], one line of output. The sources are read as text ([`crate::source`]): a rule can
//! be dodged on purpose, not by accident. A file that can't be read is an error and not a violation.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Dependency, Package};
use crate::source;

const BASE: &str = "carrack-base";
const PROGRAM: &str = "carrack";
const TESTKIT: &str = "carrack-testkit";
const UNSAFE_CRATE: &str = "carrack-sandbox";
const FILE_LINES: usize = 1_000;
const ARCHITECTURE_LINES: usize = 300;

/// Which crates a crate may depend on, besides [`BASE`]. [`PROGRAM`] may on all; on [`TESTKIT`] every crate may, as a
/// dev-dependency. A crate that is not here has no place in the house yet.
const EDGES: &[(&str, &[&str])] = &[
    (BASE, &[]),
    ("carrack-graph", &[]),
    ("carrack-cargo", &["carrack-graph"]),
    ("carrack-docker", &["carrack-graph"]),
    ("carrack-context", &[]),
    ("carrack-store", &[]),
    ("carrack-sandbox", &[]),
    ("carrack-oci", &[]),
    ("carrack-remote", &["carrack-oci"]),
    (
        "carrack-engine",
        &[
            "carrack-graph",
            "carrack-store",
            "carrack-sandbox",
            "carrack-context",
            "carrack-oci",
            "carrack-remote",
        ],
    ),
    ("carrack-buildkit", &["carrack-graph", "carrack-context"]),
    (PROGRAM, &[]),
    (TESTKIT, &[]),
    ("xtask", &[]),
];

/// One place that breaks one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// Relative to the repository's root.
    file: PathBuf,
    /// From 1.
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file.display(), self.line, self.rule)
    }
}

/// Prints the violations; whether there are none.
pub(crate) fn run(root: &Path) -> Result<bool, String> {
    let violations = check(root)?;
    for violation in &violations {
        println!("{violation}");
    }
    Ok(violations.is_empty())
}

/// Every violation in the repository at `root`, by file and line.
pub(crate) fn check(root: &Path) -> Result<Vec<Violation>, String> {
    let mut violations = Vec::new();
    for package in cargo::packages(root)? {
        violations.extend(check_edges(&package, &read(root, &package.manifest)?));
        let folder = package.manifest.parent().unwrap_or(Path::new(""));
        let mut files = BTreeSet::new();
        rust_files(root, folder, &mut files)?;
        violations.extend(check_sources(&package.name, folder, files, |file| read(root, file))?);
    }
    let architecture = Path::new("ARCHITECTURE.md");
    if root.join(architecture).exists() {
        violations.extend(check_architecture(architecture, &read(root, architecture)?));
    }
    violations.sort();
    Ok(violations)
}

fn check_edges(package: &Package, manifest: &str) -> Vec<Violation> {
    let violation = |line, rule| Violation { file: package.manifest.clone(), line, rule };
    let name = package.name.as_str();
    let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
        return vec![violation(1, format!("{name} has no place in the list of crates and edges"))];
    };
    let may_depend_on = |dependency: &Dependency| match dependency.name.as_str() {
        TESTKIT => dependency.table == "dev-dependencies",
        BASE => name != "xtask",
        PROGRAM => false,
        other => name == PROGRAM || allowed.contains(&other),
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.name == PROGRAM || dependency.name.starts_with("carrack-"))
        .filter(|dependency| !may_depend_on(dependency))
        .map(|dependency| {
            let rule = format!("{name} may not have {} in its {}", dependency.name, dependency.table);
            violation(dependency_line(manifest, dependency), rule)
        })
        .collect()
}

/// The line that names `dependency`; 1 if none does in a form that is known here.
fn dependency_line(manifest: &str, dependency: &Dependency) -> usize {
    let key = dependency.rename.as_ref().unwrap_or(&dependency.name);
    let mut in_table = false;
    for (line, number) in manifest.lines().zip(1..) {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            let (table, last) = header.rsplit_once('.').unwrap_or(("", header));
            in_table = last == dependency.table;
            if last == key
                && (table == dependency.table || table.ends_with(&format!(".{}", dependency.table)))
            {
                return number;
            }
        } else if in_table && line.split(['.', '=', ' ']).next() == Some(key) {
            return number;
        }
    }
    1
}

/// Checks the files of the package in `folder`; `read` gives the text of one.
fn check_sources(
    package: &str,
    folder: &Path,
    files: BTreeSet<PathBuf>,
    read: impl Fn(&Path) -> Result<String, String>,
) -> Result<Vec<Violation>, String> {
    let mut violations = Vec::new();
    let mut sources = Vec::new();
    let mut test_modules: BTreeSet<PathBuf> = BTreeSet::new();
    for file in files {
        let code = source::code(&read(&file)?);
        if package != UNSAFE_CRATE {
            violations.extend(source::words(&code, "unsafe").map(|at| Violation {
                file: file.clone(),
                line: source::line_of(&code, at),
                rule: format!("only {UNSAFE_CRATE} may hold `unsafe`"),
            }));
        }
        let (kept, modules) = source::without_tests(&code);
        test_modules.extend(modules.iter().map(|module| module_folder(&file).join(module)));
        sources.push((file, kept));
    }
    for (file, code) in sources {
        let is_tested_code = file.starts_with(folder.join("src"))
            && !test_modules
                .iter()
                .any(|module| file.starts_with(module) || file.with_extension("") == *module);
        if !is_tested_code {
            continue;
        }
        violations.extend(check_length(&file, &code));
        if package.starts_with("carrack-") && package != TESTKIT {
            violations.extend(check_library(&file, &code));
        }
    }
    Ok(violations)
}

/// The folder of a module's own modules.
fn module_folder(file: &Path) -> PathBuf {
    match file.file_name().and_then(|name| name.to_str()) {
        Some("lib.rs" | "main.rs" | "mod.rs") => file.parent().unwrap_or(Path::new("")).to_owned(),
        _ => file.with_extension(""),
    }
}

/// Counts the lines up to the last one that is not a test's: tests stand at the end of a file.
fn check_length(file: &Path, code: &str) -> Option<Violation> {
    let lines = code.trim_end().lines().count();
    (lines > FILE_LINES).then(|| Violation {
        file: file.to_owned(),
        line: FILE_LINES + 1,
        rule: format!("{lines} lines besides the tests, {FILE_LINES} are allowed"),
    })
}

fn check_library(file: &Path, code: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut report = |at, rule: &str| {
        violations.push(Violation {
            file: file.to_owned(),
            line: source::line_of(code, at),
            rule: rule.to_owned(),
        });
    };
    for at in source::words(code, "env") {
        if reads_environment(&code[at + "env".len()..]) {
            report(at, "a library may not read the environment or the home");
        }
    }
    for name in ["print", "println", "eprint", "eprintln", "dbg"] {
        for at in source::words(code, name) {
            if code[at + name.len()..].starts_with('!') {
                report(at, "a library may not print");
            }
        }
    }
    for name in ["stdout", "stderr"] {
        for at in source::words(code, name) {
            // Handing the descriptor to a child is not printing.
            if code[..at].ends_with("io::") && !code[at + name.len()..].starts_with("().as_fd()") {
                report(at, "a library may not print");
            }
        }
    }
    for at in source::words(code, "is_terminal") {
        report(at, "a library may not look at the terminal");
    }
    violations
}

/// Whether what follows `env` names a function that reads, as a path or in a group of imports.
fn reads_environment(after: &str) -> bool {
    const READS: [&str; 5] = ["var", "var_os", "vars", "vars_os", "home_dir"];
    let Some(path) = after.strip_prefix("::") else { return false };
    let names = match path.strip_prefix('{') {
        Some(group) => group.split('}').next().unwrap_or_default(),
        None => path
            .split(|character: char| !character.is_alphanumeric() && character != '_')
            .next()
            .unwrap_or_default(),
    };
    READS.iter().any(|read| source::words(names, read).next().is_some())
}

fn check_architecture(file: &Path, text: &str) -> Option<Violation> {
    let lines = text.lines().count();
    (lines >= ARCHITECTURE_LINES).then(|| Violation {
        file: file.to_owned(),
        line: ARCHITECTURE_LINES,
        rule: format!("{lines} lines, it has to stay under {ARCHITECTURE_LINES}"),
    })
}

fn read(root: &Path, file: &Path) -> Result<String, String> {
    fs::read_to_string(root.join(file)).map_err(|error| format!("can't read {}: {error}", file.display()))
}

fn rust_files(root: &Path, folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<(), String> {
    let failed = |error| format!("can't list {}: {error}", folder.display());
    for entry in fs::read_dir(root.join(folder)).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = folder.join(entry.file_name());
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        if is_folder && entry.file_name() != "target" {
            rust_files(root, &path, files)?;
        } else if !is_folder && path.extension().is_some_and(|extension| extension == "rs") {
            files.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(name: &str, table: &'static str, dependency: &str) -> Vec<String> {
        let package = Package {
            name: name.to_owned(),
            manifest: "crates/x/Cargo.toml".into(),
            dependencies: vec![Dependency { name: dependency.to_owned(), rename: None, table }],
        };
        let manifest = format!("[package]\n\n[{table}]\nserde = \"1\"\n{dependency}.workspace = true\n");
        check_edges(&package, &manifest).iter().map(ToString::to_string).collect()
    }

    /// The violations of a package's files, without the folder `crates/x`.
    fn sources(package: &str, files: &[(&str, &str)]) -> Vec<String> {
        let folder = Path::new("crates/x");
        let paths = files.iter().map(|(file, _)| folder.join(file)).collect();
        let text = |path: &Path| {
            let (_, text) = files.iter().find(|(file, _)| folder.join(file) == path).unwrap();
            Ok((*text).to_owned())
        };
        let violations = check_sources(package, folder, paths, text).unwrap();
        violations.iter().map(|violation| violation.to_string().replace("crates/x/", "")).collect()
    }

    #[test]
    fn the_repository_keeps_its_rules() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let violations: Vec<String> = check(root).unwrap().iter().map(ToString::to_string).collect();
        assert!(violations.is_empty(), "\n{}", violations.join("\n"));
    }

    #[test]
    fn edges_are_the_allowed_ones() {
        for (name, table, dependency) in [
            ("carrack-store", "dependencies", "carrack-base"),
            ("carrack-cargo", "dependencies", "carrack-graph"),
            ("carrack-docker", "dependencies", "carrack-graph"),
            ("carrack-engine", "dependencies", "carrack-oci"),
            ("carrack-engine", "dependencies", "carrack-remote"),
            ("carrack-remote", "dependencies", "carrack-oci"),
            ("carrack-buildkit", "dependencies", "carrack-context"),
            ("carrack", "dependencies", "carrack-engine"),
            ("carrack-oci", "dev-dependencies", "carrack-testkit"),
            ("carrack-oci", "dependencies", "serde"),
        ] {
            assert!(edges(name, table, dependency).is_empty(), "{name} {dependency}");
        }
        for (name, table, dependency) in [
            ("carrack-base", "dependencies", "carrack-graph"),
            ("carrack-cargo", "dependencies", "carrack-engine"),
            ("carrack-docker", "dependencies", "carrack-store"),
            ("carrack-store", "dependencies", "carrack-oci"),
            ("carrack-remote", "dependencies", "carrack-store"),
            ("carrack-oci", "dependencies", "carrack-remote"),
            ("carrack-sandbox", "build-dependencies", "carrack-context"),
            ("carrack-context", "dev-dependencies", "carrack-sandbox"),
            ("carrack-engine", "dependencies", "carrack"),
            ("carrack-buildkit", "dependencies", "carrack-store"),
            ("carrack-oci", "dependencies", "carrack-testkit"),
            ("carrack", "dependencies", "carrack-testkit"),
            ("xtask", "dependencies", "carrack-base"),
        ] {
            let expected = format!("crates/x/Cargo.toml:5: {name} may not have {dependency} in its {table}");
            assert_eq!(edges(name, table, dependency), [expected]);
        }
        assert_eq!(
            edges("carrack-new", "dependencies", "serde"),
            ["crates/x/Cargo.toml:1: carrack-new has no place in the list of crates and edges"]
        );
    }

    #[test]
    fn dependencies_are_found_in_every_form_of_table() {
        let dependency = |rename: Option<&str>| Dependency {
            name: "carrack-oci".to_owned(),
            rename: rename.map(str::to_owned),
            table: "dependencies",
        };
        for (manifest, rename, line) in [
            ("[dev-dependencies]\ncarrack-oci.workspace = true\n[dependencies]\ncarrack-oci = {}\n", None, 4),
            ("[package]\n[dependencies.carrack-oci]\nworkspace = true\n", None, 2),
            ("[target.'cfg(unix)'.dependencies]\nserde = \"1\"\ncarrack-oci.workspace = true\n", None, 3),
            ("[dependencies]\noci = { package = \"carrack-oci\" }\n", Some("oci"), 2),
        ] {
            assert_eq!(dependency_line(manifest, &dependency(rename)), line, "{manifest}");
        }
    }

    #[test]
    fn only_one_crate_may_be_unsafe() {
        let files = [
            ("src/lib.rs", "// unsafe\nfn a() {\n    unsafe {}\n}\n"),
            ("tests/it/main.rs", "unsafe fn a() {}"),
        ];
        let expected = [
            "src/lib.rs:3: only carrack-sandbox may hold `unsafe`",
            "tests/it/main.rs:1: only carrack-sandbox may hold `unsafe`",
        ];
        assert_eq!(sources("carrack-store", &files), expected);
        assert_eq!(sources("carrack", &files), expected);
        assert!(sources("carrack-sandbox", &files).is_empty());
    }

    #[test]
    fn libraries_keep_to_themselves() {
        for (line, rule) in [
            ("let a = std::env::var(\"A\");", "read the environment or the home"),
            ("env::vars_os();", "read the environment or the home"),
            ("use std::env::{self, var_os};", "read the environment or the home"),
            ("std::env::home_dir()", "read the environment or the home"),
            ("println!(\"a\");", "print"),
            ("dbg!(a);", "print"),
            ("let a = std::io::stderr();", "print"),
            ("a.is_terminal()", "look at the terminal"),
        ] {
            let expected = format!("src/a.rs:2: a library may not {rule}");
            assert_eq!(sources("carrack-oci", &[("src/a.rs", &format!("\n{line}\n"))]), [expected], "{line}");
            for program in ["carrack", "xtask", "carrack-testkit"] {
                assert!(sources(program, &[("src/a.rs", line)]).is_empty(), "{program}: {line}");
            }
        }
        for line in [
            "env!(\"A\")",
            "std::env::consts::ARCH",
            "command.stdout(a).env(b, c)",
            "fn print() {}",
            "io::stdout().as_fd()",
            "\"println!\"",
        ] {
            assert!(sources("carrack-oci", &[("src/a.rs", line)]).is_empty(), "{line}");
        }
    }

    #[test]
    fn tests_of_libraries_may_look_around() {
        let reads = "fn a() { std::env::var(\"A\"); println!(\"skipped: a\"); }";
        let files = [
            ("src/lib.rs", &*format!("#[cfg(test)]\nmod tests {{ {reads} }}\n#[cfg(test)]\nmod oracle;\n")),
            ("src/oracle.rs", reads),
            ("src/oracle/inner.rs", reads),
            ("tests/it/main.rs", reads),
            ("examples/schema.rs", reads),
            ("build.rs", reads),
        ];
        assert!(sources("carrack-oci", &files).is_empty());
        assert_eq!(sources("carrack-oci", &[("src/oracle.rs", reads)]).len(), 2);
    }

    #[test]
    fn long_files_are_two_rooms() {
        let line = "fn a() {}\n";
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(500));
        let fits = format!("{}{tests}", line.repeat(1_000));
        assert!(
            sources("carrack", &[("src/a.rs", &fits), ("tests/it/main.rs", &line.repeat(2_000))]).is_empty()
        );
        assert_eq!(
            sources("carrack", &[("src/a.rs", &format!("{line}{fits}"))]),
            ["src/a.rs:1001: 1001 lines besides the tests, 1000 are allowed"]
        );
    }

    #[test]
    fn the_map_stays_short() {
        let file = Path::new("ARCHITECTURE.md");
        assert_eq!(check_architecture(file, &"line\n".repeat(299)), None);
        let violation = check_architecture(file, &"line\n".repeat(300)).unwrap();
        assert_eq!(violation.to_string(), "ARCHITECTURE.md:300: 300 lines, it has to stay under 300");
    }
}
