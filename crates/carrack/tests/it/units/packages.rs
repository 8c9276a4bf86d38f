//! Packages that come and go, and where they come from.

use std::path::Path;
use std::process::Command;

use carrack_testkit::{Project, has_program, skipped};

use super::{SOME, Yard, chain, depends, manifest, number, prints, reused_units, with_registry, workspace};
use crate::scene::long_ago;

#[test]
fn one_dependency_bumped() {
    let project = chain();
    project.write("leaf/Cargo.toml", &manifest("leaf", "[dependencies]\nquote = \"1\"\nitoa = \"1\""));
    project.write(
        "leaf/src/lib.rs",
        "pub fn number() -> u32 {\n    let one = quote::quote!(1).to_string();\n    \
         itoa::Buffer::new().format(one.len()).parse().unwrap()\n}\n",
    );
    let yard = with_registry(project, ".");
    let precise = |package: &str, version: &str| {
        yard.cargo(&["update", "-p", package, "--precise", version]);
        yard.cargo(&["fetch"]);
    };
    precise("itoa", "1.0.9");
    precise("unicode-ident", "1.0.12");
    let members = "app leaf middle second";
    let all = "app itoa leaf middle proc-macro2 proc-macro2/build quote second unicode-ident";
    let built = yard.build();
    // Newer versions of `quote` have a build script.
    let done: Vec<String> =
        super::compiled_units(&built).into_iter().filter(|unit| unit != "quote/build").collect();
    assert_eq!(done.join(" "), all);
    precise("itoa", "1.0.10");
    yard.check("a dependency of a member", "app itoa leaf middle second", "one 2");
    precise("unicode-ident", "1.0.13");
    yard.check(
        "a dependency of dependencies",
        "app leaf middle proc-macro2 quote second unicode-ident",
        "one 2",
    );
    precise("itoa", "1.0.9");
    let built = yard.check("one back, the other not", members, "one 2");
    assert!(reused_units(&built).contains("itoa"));
    precise("unicode-ident", "1.0.12");
    yard.check_fresh("all back", "one 2");
}

#[test]
fn members_that_come_and_go() {
    let yard = Yard::new(chain());
    yard.check("first build", "app leaf middle second", "one 2");
    yard.write("new/Cargo.toml", &manifest("new", &depends(&["leaf"])));
    yard.write("new/src/lib.rs", &number("leaf::number() * 100"));
    workspace(yard.project(), &["app", "middle", "leaf", "second", "new"]);
    yard.check("a member that nobody needs", "", "one 2");
    yard.write("app/Cargo.toml", &manifest("app", &depends(&["middle", "new"])));
    yard.check("a member that nobody uses", "app new", "one 2");
    yard.write("app/src/main.rs", &prints("middle::number() + new::number()"));
    yard.check("a member that is used", "app", "102");
    yard.write("app/Cargo.toml", &manifest("app", &depends(&["middle"])));
    yard.write("app/src/main.rs", &prints("format_args!(\"one {}\", middle::number())"));
    workspace(yard.project(), &["app", "middle", "leaf", "second"]);
    yard.check_fresh("the member is gone", "one 2");
    workspace(yard.project(), &["app", "middle", "leaf"]);
    let built = yard.check("another one is gone", "", "one 2");
    assert_eq!(built.digests().len(), 1);
    workspace(yard.project(), &["app", "middle", "leaf", "second"]);
    assert_eq!(yard.check_fresh("and back", "one 2").digests().len(), 2);
}

#[test]
fn a_patched_package() {
    let project = chain();
    project.write(
        "leaf/Cargo.toml",
        &manifest("leaf", "[dependencies]\nitoa = \"=1.0.9\"\ncfg-if = \"=1.0.0\""),
    );
    let yard = with_registry(project, ".");
    let workspace = yard.text("Cargo.toml");
    let all = "app cfg-if itoa leaf middle second";
    yard.check("first build", all, "one 2");
    let lock = yard.text("Cargo.lock");
    let patched = manifest("itoa", "").replace("0.1.0", "1.0.9");
    yard.write("patched/Cargo.toml", &patched);
    yard.write("patched/src/lib.rs", "pub const PATCHED: u32 = 5;\n");
    yard.write(
        "Cargo.toml",
        &format!("{workspace}exclude = [\"patched\"]\n[patch.crates-io]\nitoa = {{ path = \"patched\" }}\n"),
    );
    yard.cargo(&["metadata", "--offline", "--format-version", "1"]);
    yard.check("patched, with the same version", "app itoa leaf middle second", "one 2");
    yard.write("leaf/src/lib.rs", &number("itoa::PATCHED"));
    yard.check("what only the patch has", "app leaf middle second", "one 6");
    yard.project().write_old("patched/src/lib.rs", "pub const PATCHED: u32 = 6;\n", long_ago());
    yard.check("the patch edited", "app itoa leaf middle second", "one 7");
    yard.write("leaf/src/lib.rs", &number("1"));
    yard.write("Cargo.toml", &workspace);
    yard.write("Cargo.lock", &lock);
    yard.check_fresh("no patch", "one 2");
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").args(identity).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_package_from_git() {
    if !has_program("git") {
        return skipped("a package from git", "no git");
    }
    let source = Project::new();
    let made = Project::new();
    git(source.path(), &["init", "-q", "-b", "main"]);
    let commit = |text: &str| {
        source.write("Cargo.toml", &manifest("fromgit", ""));
        source.write("src/lib.rs", &number(text));
        git(source.path(), &["add", "-A"]);
        git(source.path(), &["commit", "-qm", text]);
        git(source.path(), &["rev-parse", "HEAD"])
    };
    let first = commit("1");
    git(made.path(), &["clone", "-q", "--bare", source.path().to_str().unwrap(), "bare"]);
    let second = commit("2");
    let url = made.path().join("bare");
    git(source.path(), &["push", "-q", url.to_str().unwrap(), "main"]);
    let project = chain();
    let yard = Yard::new(project);
    let pin = |revision: &str| {
        let url = url.display();
        let needs = format!("[dependencies]\nfromgit = {{ git = \"file://{url}\", rev = \"{revision}\" }}");
        yard.write("leaf/Cargo.toml", &manifest("leaf", &needs));
        yard.cargo(&["fetch"]);
    };
    pin(&first);
    yard.write("leaf/src/lib.rs", &number("fromgit::number()"));
    yard.check("first build", "app fromgit leaf middle second", "one 2");
    pin(&second);
    yard.check("another commit", "app fromgit leaf middle second", "one 3");
    pin(&first);
    yard.check_fresh("the first one", "one 2");
    yard.edit("leaf/src/lib.rs", "fromgit::number()", "fromgit::number() + 1");
    yard.check("a member edited", "app leaf middle second", "one 3");
}

#[test]
fn vendored_sources() {
    let project = chain();
    let package = "0".repeat(64);
    project.write("leaf/Cargo.toml", &manifest("leaf", "[dependencies]\nvendored = \"1\""));
    project.write("leaf/src/lib.rs", &number("vendored::number()"));
    project.write(
        ".cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"vendor\"\n[source.vendor]\ndirectory = \"vendor\"\n",
    );
    project.write("vendor/vendored/Cargo.toml", &manifest("vendored", "").replace("0.1.0", "1.0.0"));
    let yard = Yard::new(project);
    let vendor = |text: &str, old: bool| {
        let source = number(text);
        let path = "vendor/vendored/src/lib.rs";
        if old {
            yard.project().write_old(path, &source, long_ago())
        } else {
            yard.write(path, &source)
        }
        let summed = Command::new("sha256sum").arg(yard.project().path().join(path)).output().unwrap();
        let sum = String::from_utf8(summed.stdout).unwrap().split(' ').next().unwrap().to_owned();
        yard.write(
            "vendor/vendored/.cargo-checksum.json",
            &format!("{{\"files\":{{\"src/lib.rs\":\"{sum}\"}},\"package\":\"{package}\"}}"),
        );
    };
    vendor("1", false);
    yard.cargo(&["generate-lockfile", "--offline"]);
    yard.check("first build", "app leaf middle second vendored", "one 2");
    vendor("2", false);
    yard.check("edited", "app leaf middle second vendored", "one 3");
    vendor("3", true);
    yard.check("edited, with an older time", "app leaf middle second vendored", "one 4");
    vendor("1", true);
    yard.check_fresh("as in the beginning", "one 2");
    yard.edit("leaf/src/lib.rs", "number()\n", "number() + 1\n");
    yard.check("a member edited", "app leaf middle second", "one 3");
}

#[test]
fn outside_of_the_workspace() {
    let project = Project::new();
    project.write("rust/Cargo.toml", &manifest("app", "[dependencies]\noutside = { path = \"../outside\" }"));
    project.write("rust/src/main.rs", &prints("format_args!(\"{} {}\", outside::number(), env!(\"PROTO\"))"));
    project.write(
        "rust/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=../proto\");\n    \
         println!(\"cargo::rustc-env=PROTO={}\", std::fs::read_to_string(\"../proto/text\").unwrap());\n}\n",
    );
    project.write("proto/text", "a");
    project.write("outside/Cargo.toml", &manifest("outside", ""));
    project.write("outside/src/lib.rs", &number("1"));
    project.write(".git/HEAD", "ref: refs/heads/main\n");
    let yard = Yard::within(project, "rust");
    let note = |text: &str| yard.write("rust/notes.txt", text);
    yard.check("first build", "app app/build outside", "1 a");
    yard.write("proto/text", "b");
    yard.check("a neighbour's file", "app", "1 b");
    yard.project().write_old("proto/text", "c", long_ago());
    yard.check("with an older time", "app", "1 c");
    yard.write("outside/src/lib.rs", &number("2"));
    yard.check("a package outside", "app outside", "2 c");
    yard.project().write_old("outside/src/lib.rs", &number("3"), long_ago());
    yard.check("with an older time", "app outside", "3 c");
    note("1");
    yard.check("a file that no crate reads", "", "3 c");
    yard.write("outside/src/lib.rs", &number("1"));
    yard.write("proto/text", "a");
    note("2");
    yard.check("all back", "", "1 a");
    yard.write("outside/src/lib.rs", &number("2"));
    yard.check("half of it", SOME, "2 a");
}

#[test]
fn manifests_of_packages_with_scripts() {
    let project = chain();
    project.write(
        "leaf/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
         println!(\"cargo::rustc-env=ABOUT={}\", std::env::var(\"CARGO_PKG_DESCRIPTION\").unwrap());\n}\n",
    );
    project.write("leaf/src/lib.rs", "pub fn number() -> u32 {\n    env!(\"ABOUT\").parse().unwrap()\n}\n");
    let yard = Yard::new(project);
    let about =
        |text: &str| yard.write("leaf/Cargo.toml", &manifest("leaf", &format!("description = \"{text}\"")));
    about("1");
    yard.check("first build", "app leaf leaf/build middle second", "one 2");
    for value in ["2", "3"] {
        about(value);
        let says = format!("one {}", value.parse::<u32>().unwrap() + 1);
        yard.check("another description", "app leaf middle second", &says);
        yard.check_fresh("the same description", &says);
    }
    about("1");
    yard.check_fresh("the first description", "one 2");
    yard.write("leaf/Cargo.toml", &manifest("leaf", "description = \"1\"\n[lints.rust]\nunused = \"allow\""));
    yard.check("lints", SOME, "one 2");
    yard.check_fresh("the same lints", "one 2");
}
