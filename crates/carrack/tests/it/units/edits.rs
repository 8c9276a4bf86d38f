//! Edits of members, and what members declare or read.

use std::fs;

use carrack_testkit::{Project, has_program, skipped};

use super::{
    ANY, SOME, Yard, chain, date, depends, far_ahead, manifest, number, prints, reused_units, with_registry,
    workspace,
};
use crate::scene::long_ago;

#[test]
fn members() {
    let yard = Yard::new(chain());
    let project = yard.project();
    yard.check("first build", "app leaf middle second", "one 2");
    yard.check_fresh("a file that no crate reads", "one 2");
    yard.edit("app/src/main.rs", "one", "two");
    yard.check("what nothing depends on", "app", "two 2");
    yard.write("leaf/src/lib.rs", &number("5"));
    yard.check("what everything depends on", "app leaf middle second", "two 6");
    yard.edit("middle/src/lib.rs", "+ 1", "+ 2");
    yard.check("what lies between", "app middle second", "two 7");

    // The kept result of the whole step does not fit: what fits is found unit by unit.
    yard.edit("middle/src/lib.rs", "+ 2", "+ 1");
    yard.check_fresh("edit taken back", "two 6");
    yard.write("leaf/src/lib.rs", &number("1"));
    yard.check_fresh("another one taken back", "two 2");
    yard.edit("app/src/main.rs", "two", "three");
    yard.check("an edit beside it", "app", "three 2");
    yard.edit("app/src/main.rs", "three", "one");
    yard.check_fresh("all as in the beginning", "one 2");

    date(project.path(), std::time::SystemTime::now());
    yard.check_fresh("touched", "one 2");
    date(project.path(), long_ago());
    yard.check_fresh("all older than what was kept", "one 2");
    project.write_old("leaf/src/lib.rs", &number("7"), long_ago());
    yard.check("an edit with the same old time", "app leaf middle second", "one 8");
    project.write_old("leaf/src/lib.rs", &number("1"), far_ahead());
    yard.check("a time that is to come", ANY, "one 2");
    project.write_old("leaf/src/lib.rs", &number("8"), far_ahead());
    yard.check("an edit with a time that is to come", SOME, "one 9");
    date(project.path(), long_ago());
    yard.check_fresh("old again", "one 9");
}

#[test]
fn modules() {
    let yard = Yard::new(chain());
    let main = |module: &str| {
        format!("mod {module};\n{}", prints(&format!("{module}::number() + middle::number()")))
    };
    yard.write("app/src/main.rs", &main("first"));
    yard.write("app/src/first.rs", &number("1"));
    yard.check("first build", "app leaf middle second", "3");
    yard.project().remove("app/src/first.rs");
    yard.write("app/src/renamed.rs", &number("1"));
    yard.write("app/src/main.rs", &main("renamed"));
    yard.check("module renamed", "app", "3");
    yard.project().remove("app/src/renamed.rs");
    yard.write("app/src/first.rs", &number("1"));
    yard.write("app/src/main.rs", &main("first"));
    yard.check_fresh("and renamed back", "3");
    yard.project().remove("app/src/first.rs");
    yard.write("app/src/first/mod.rs", &number("1"));
    yard.check("module moved, nothing else", "app", "3");
    yard.write("app/src/first/unused.rs", &number("9"));
    yard.check_fresh("a module that nobody uses", "3");
    yard.project().remove("app/src/first/mod.rs");
    yard.try_build(&[]).expect_code(1).expect_stderr("file not found for module");
}

#[test]
fn branches() {
    if !has_program("git") {
        return skipped("a change of branches", "no git");
    }
    let yard = Yard::new(chain());
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
        yard.scene.tool("git", &[&identity[..], arguments].concat());
    };
    git(&["init", "-q", "-b", "one"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "one"]);
    yard.check("first branch", "app leaf middle second", "one 2");
    git(&["checkout", "-q", "-b", "two"]);
    yard.write("middle/src/lib.rs", &number("leaf::number() + 10"));
    git(&["commit", "-qam", "two"]);
    yard.check("second branch", "app middle second", "one 11");
    git(&["checkout", "-q", "one"]);
    yard.check_fresh("back", "one 2");
    git(&["checkout", "-q", "two"]);
    date(yard.project().path(), long_ago());
    yard.check_fresh("there again, with older times", "one 11");
    git(&["checkout", "-q", "one"]);
    date(yard.project().path(), long_ago());
    yard.check_fresh("and back, with older times", "one 2");
    yard.edit("app/src/main.rs", "one", "branch one");
    yard.check("an edit on a branch", "app", "branch one 2");
}

/// What a build script says about its only input.
const SAYS_INPUT: &str = "println!(\"cargo::rerun-if-changed=number\");";

/// A build script that makes Rust of a number.
fn script(says: &str, to: &str) -> String {
    format!(
        "fn main() {{\n    {says}\n    let number = std::fs::read_to_string(\"number\").unwrap();\n    \
         let text = format!(\"pub const NUMBER: u32 = {{}};\\n\", number.trim());\n    \
         std::fs::write({to}, text).unwrap();\n}}\n"
    )
}

/// Prints what it read while it was compiled, in as many ways as there are.
fn reader() -> Project {
    let project = Project::new();
    workspace(&project, &["app", "generated", "watcher", "macros", "expanded"]);
    project.write("app/Cargo.toml", &manifest("app", &depends(&["generated", "watcher", "expanded"])));
    project.write(
        "app/src/main.rs",
        &prints(
            "format_args!(\"{}{}{}{}\", include_str!(\"../included\"), generated::NUMBER, watcher::NUMBER, \
             expanded::number())",
        ),
    );
    project.write("app/included", "1");
    let out = "std::env::var(\"OUT_DIR\").unwrap() + \"/number.rs\"";
    let includes = "include!(concat!(env!(\"OUT_DIR\"), \"/number.rs\"));\n";
    for (name, says) in [
        ("generated", SAYS_INPUT),
        // Not a word: cargo watches the whole package.
        ("watcher", ""),
    ] {
        project.write(&format!("{name}/Cargo.toml"), &manifest(name, ""));
        project.write(&format!("{name}/build.rs"), &script(says, out));
        project.write(&format!("{name}/src/lib.rs"), includes);
        project.write(&format!("{name}/number"), "1\n");
    }
    project.write("macros/Cargo.toml", &manifest("macros", "[lib]\nproc-macro = true"));
    project.write(
        "macros/src/lib.rs",
        "#[proc_macro]\npub fn number(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
         let path = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap() + \"/number\";\n    \
         std::fs::read_to_string(path).unwrap().parse().unwrap()\n}\n",
    );
    project.write("expanded/Cargo.toml", &manifest("expanded", &depends(&["macros"])));
    project.write("expanded/src/lib.rs", "pub fn number() -> u32 {\n    macros::number!()\n}\n");
    project.write("expanded/number", "1\n");
    project
}

#[test]
fn what_is_read_while_compiling() {
    let yard = Yard::new(reader());
    let project = yard.project();
    let all = "app expanded generated generated/build macros watcher watcher/build";
    yard.check("first build", all, "1111");
    for old in [false, true] {
        let write = |path: &str, text: &str| {
            if old { project.write_old(path, text, long_ago()) } else { yard.write(path, text) }
        };
        let (word, number) = if old { ("old", "3") } else { ("new", "2") };
        write("app/included", number);
        yard.check(&format!("{word} included file"), SOME, &"1111".replacen('1', number, 1));
        write("app/included", "1");
        yard.check("and back", "", "1111");
        write("generated/number", number);
        yard.check(
            &format!("{word} input of a build script"),
            "app expanded generated",
            &format!("1{number}11"),
        );
        write("generated/number", "1\n");
        yard.check("and back", "", "1111");
        write("watcher/number", number);
        yard.check(&format!("{word} input of a script without a word"), SOME, &format!("11{number}1"));
        write("watcher/number", "1\n");
        yard.write("README.md", word);
        // Its time is another one, and cargo goes by times here.
        yard.check("and back", ANY, "1111");
        write("expanded/number", number);
        yard.check(&format!("{word} file that a macro reads"), "app expanded", &format!("111{number}"));
        write("expanded/number", "1\n");
        yard.check("and back", "", "1111");
    }
    yard.edit(
        "macros/src/lib.rs",
        "read_to_string(path).unwrap()",
        "read_to_string(path).unwrap().replace('1', \"9\")",
    );
    yard.check("the macro itself", "app expanded macros", "1119");
    yard.edit("macros/src/lib.rs", ".replace('1', \"9\")", "");
    yard.check("and back", "", "1111");
}

#[test]
fn a_script_that_writes_into_its_sources() {
    let project = Project::new();
    workspace(&project, &["app", "writer"]);
    project.write("app/Cargo.toml", &manifest("app", &depends(&["writer"])));
    project.write("app/src/main.rs", &prints("format_args!(\"one {}\", writer::NUMBER)"));
    project.write("writer/Cargo.toml", &manifest("writer", ""));
    project.write("writer/build.rs", &script(SAYS_INPUT, "\"src/written.rs\""));
    project.write("writer/src/lib.rs", "mod written;\npub use written::NUMBER;\n");
    project.write("writer/number", "1");
    let yard = Yard::new(project);
    yard.check("first build", "app writer writer/build", "one 1");
    assert!(!yard.project().path().join("writer/src/written.rs").exists());
    yard.check_fresh("a file that no crate reads", "one 1");
    yard.write("writer/number", "2");
    yard.check("another input", "app writer", "one 2");
    yard.check_fresh("again", "one 2");
    yard.project().write_old("writer/number", "3", long_ago());
    yard.check("another input with an older time", "app writer", "one 3");
    yard.project().write_old("writer/number", "1", long_ago());
    yard.check("back", ANY, "one 1");
    yard.edit("app/src/main.rs", "one", "two");
    // What the script wrote last is not what it wrote for this input: it runs once more.
    yard.check("back, and an edit", SOME, "two 1");
    yard.edit("app/src/main.rs", "two", "three");
    yard.check("and another one", "app", "three 1");
    // Somebody else, who never saw the script's file.
    let clone = yard.neighbour(yard.project().copy(), ".");
    clone.check("a clone", ANY, "three 1");
    // The user's own file takes the place of what the script wrote.
    yard.write("writer/src/written.rs", "pub const NUMBER: u32 = 7;\n");
    yard.check("the user's file", SOME, "three 1");
    yard.project().remove("writer/src/written.rs");
    yard.check("the user's file is gone", ANY, "three 1");
}

#[test]
fn back_after_many_edits() {
    let yard = Yard::new(chain());
    let first = yard.build();
    for value in 2..17 {
        yard.write("leaf/src/lib.rs", &number(&value.to_string()));
        yard.build();
    }
    yard.write("leaf/src/lib.rs", &number("1"));
    let last = yard.check_fresh("back after many edits", "one 2");
    assert_eq!(first.digests(), last.digests());
}

#[test]
fn a_file_that_a_script_finds_and_removes() {
    // The script writes what another package includes, and counts files of a folder that it watches.
    let project = Project::new();
    workspace(&project, &["app", "counter"]);
    project.write("app/Cargo.toml", &manifest("app", &depends(&["counter"])));
    project.write("app/src/main.rs", &prints("counter::COUNT"));
    project.write("counter/Cargo.toml", &manifest("counter", ""));
    project.write(
        "counter/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=counted\");\n    \
         let count = std::fs::read_dir(\"counted\").unwrap().count();\n    \
         println!(\"cargo::rustc-env=COUNT={count}\");\n}\n",
    );
    project.write("counter/src/lib.rs", "pub const COUNT: &str = env!(\"COUNT\");\n");
    project.write("counter/counted/one", "");
    let yard = Yard::new(project);
    let project = yard.project();
    yard.check("first build", "app counter counter/build", "1");
    project.write_old("counter/counted/two", "", long_ago());
    yard.check("a file more", "app counter", "2");
    project.remove("counter/counted/one");
    fs::File::open(project.path().join("counter/counted")).unwrap().set_modified(long_ago()).unwrap();
    yard.check("a file less", "app counter", "1");
    project.remove("counter/counted/two");
    project.write("counter/counted/one", "");
    yard.check_fresh("as in the beginning", "1");
    fs::rename(project.path().join("counter/counted/one"), project.path().join("counter/counted/uno"))
        .unwrap();
    yard.check("a file renamed", ANY, "1");
}

#[test]
fn members_with_dependencies_from_a_registry() {
    let project = chain();
    project.write(
        "leaf/Cargo.toml",
        &manifest("leaf", "[dependencies]\nitoa = \"=1.0.9\"\ncfg-if = \"=1.0.0\""),
    );
    project.write(
        "leaf/src/lib.rs",
        "pub fn number() -> u32 {\n    itoa::Buffer::new().format(1).parse().unwrap()\n}\n",
    );
    let yard = with_registry(project, ".");
    yard.check("first build", "app cfg-if itoa leaf middle second", "one 2");
    yard.edit("leaf/src/lib.rs", "format(1)", "format(2)");
    let built = yard.check("edited", "app leaf middle second", "one 3");
    assert_eq!(reused_units(&built), ["cfg-if", "itoa"].map(str::to_owned).into());
    yard.edit("leaf/src/lib.rs", "format(2)", "format(1)");
    let built = yard.check_fresh("taken back", "one 2");
    assert_eq!(reused_units(&built).len(), 6);
}

#[test]
fn a_library_for_other_languages() {
    // Cargo puts no hash into the name of a member's shared library.
    let project = chain();
    project.write("leaf/Cargo.toml", &manifest("leaf", "[lib]\ncrate-type = [\"rlib\", \"cdylib\"]"));
    let yard = Yard::new(project);
    yard.check("first build", "app leaf middle second", "one 2");
    yard.check_fresh("a file that no crate reads", "one 2");
    yard.edit("app/src/main.rs", "one", "two");
    yard.check("an edit above it", "app", "two 2");
    yard.write("leaf/src/lib.rs", &number("2"));
    yard.check("an edit of it", "app leaf middle second", "two 3");
    yard.write("leaf/src/lib.rs", &number("1"));
    yard.check_fresh("taken back", "two 2");
}

#[test]
fn a_macro_that_reads_rust() {
    let project = Project::new();
    workspace(&project, &["app", "macros"]);
    project.write("macros/Cargo.toml", &manifest("macros", "[lib]\nproc-macro = true"));
    project.write(
        "macros/src/lib.rs",
        "#[proc_macro]\npub fn text(path: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
         let folder = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap();\n    \
         let path = format!(\"{folder}/{}\", path.to_string().trim_matches('\"'));\n    \
         format!(\"{:?}\", std::fs::read_to_string(path).unwrap().trim()).parse().unwrap()\n}\n",
    );
    project.write("app/Cargo.toml", &manifest("app", &depends(&["macros"])));
    project.write(
        "app/src/main.rs",
        &prints("concat!(macros::text!(\"templates/own.rs\"), macros::text!(\"../templates/ours.rs\"))"),
    );
    project.write("app/templates/own.rs", "// 1\n");
    project.write("templates/ours.rs", "// 1\n");
    let yard = Yard::new(project);
    yard.check("first build", "app macros", "// 1// 1");
    yard.check_fresh("a file that no crate reads", "// 1// 1");
    yard.write("app/templates/own.rs", "// 2\n");
    yard.check("a file in the package", "app", "// 2// 1");
    yard.write("templates/ours.rs", "// 2\n");
    yard.check("a file beside it", "app", "// 2// 2");
    yard.write("app/tests/test.rs", "#[test]\nfn test() {}\n");
    yard.check("a file that may be a module", ANY, "// 2// 2");
    yard.write("app/tests/test.rs", "#[test]\nfn tested() {}\n");
    yard.check_fresh("code that others compile", "// 2// 2");
}
