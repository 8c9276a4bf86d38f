//! What others got wrong in public.

use carrack_testkit::Project;

use super::{SOME, Yard, chain, depends, manifest, number, prints, workspace};
use crate::scene::long_ago;

#[test]
fn stubs_first_and_then_sources_with_older_times() {
    // As layers of a Dockerfile do it: manifests with stubs, a build, then the sources with the times of a checkout.
    let real = chain();
    let project = chain();
    for (path, text) in [
        ("app/src/main.rs", "fn main() {}\n"),
        ("second/src/main.rs", "fn main() {}\n"),
        ("middle/src/lib.rs", ""),
        ("leaf/src/lib.rs", ""),
    ] {
        project.write(path, text);
    }
    let yard = Yard::new(project);
    yard.check("stubs", "app leaf middle second", "");
    for path in ["app/src/main.rs", "second/src/main.rs", "middle/src/lib.rs", "leaf/src/lib.rs"] {
        let text = std::fs::read_to_string(real.path().join(path)).unwrap();
        yard.project().write_old(path, &text, long_ago());
    }
    yard.check("the sources", "app leaf middle second", "one 2");
    yard.project().write_old("app/src/main.rs", "fn main() {}\n", long_ago());
    yard.check("one stub again, of the same time", "app", "");
}

#[test]
fn same_length_and_same_time() {
    let yard = Yard::new(chain());
    let write = |value: &str| yard.project().write_old("leaf/src/lib.rs", &number(value), long_ago());
    write("1");
    yard.check("first build", "app leaf middle second", "one 2");
    for (value, says) in [("2", "one 3"), ("3", "one 4")] {
        write(value);
        yard.check(value, "app leaf middle second", says);
    }
    write("1");
    yard.check_fresh("the first one", "one 2");
    write("3");
    yard.check_fresh("the last one", "one 4");
}

#[test]
fn a_library_that_comes_out_the_same() {
    // Only a comment: cargo compiles what depends on it, and the image stays as it is.
    let yard = Yard::new(chain());
    let first = yard.check("first build", "app leaf middle second", "one 2");
    yard.write("leaf/src/lib.rs", &format!("{}// A word about it.\n", number("1")));
    let built = yard.check("a comment", SOME, "one 2");
    assert_eq!(built.digests(), first.digests());
    yard.write("middle/src/lib.rs", &number("leaf::number() + 2"));
    yard.check("an edit above it", "app middle second", "one 3");
    yard.write("leaf/src/lib.rs", &number("1"));
    yard.check("the comment is gone", super::ANY, "one 3");
    yard.write("middle/src/lib.rs", &number("leaf::number() + 1"));
    yard.check_fresh("all as in the beginning", "one 2");
}

#[test]
fn generic_code_of_a_dependency() {
    // What is instantiated in another crate, and inlined into a third one.
    let project = chain();
    project.write(
        "leaf/src/lib.rs",
        "pub fn twice<T: std::ops::Add<Output = T> + Copy>(value: T) -> T {\n    value + value\n}\n",
    );
    project.write(
        "middle/src/lib.rs",
        "#[inline(always)]\npub fn number() -> u32 {\n    leaf::twice(1)\n}\n#[macro_export]\nmacro_rules! word {\n    () => { \"one\" };\n}\n",
    );
    project.write("app/src/main.rs", &prints("format_args!(\"{} {}\", middle::word!(), middle::number())"));
    let yard = Yard::new(project);
    yard.check("first build", "app leaf middle second", "one 2");
    yard.edit("leaf/src/lib.rs", "value + value", "value + value + value");
    yard.check("generic code", "app leaf middle second", "one 3");
    yard.edit("middle/src/lib.rs", "\"one\"", "\"two\"");
    yard.check("a macro", "app middle second", "two 3");
    yard.edit("leaf/src/lib.rs", "value + value + value", "value + value");
    yard.check("generic code taken back, not the macro", "app middle second", "two 2");
    yard.edit("middle/src/lib.rs", "\"two\"", "\"one\"");
    yard.check_fresh("both", "one 2");
}

#[test]
fn a_build_dependency_is_not_the_dependency() {
    // One library for the host's build script and for the program.
    let project = Project::new();
    workspace(&project, &["app", "leaf"]);
    let needs = depends(&["leaf"]);
    project.write(
        "app/Cargo.toml",
        &manifest("app", &format!("{needs}\n{}", needs.replace("[dep", "[build-dep"))),
    );
    project.write(
        "app/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
         println!(\"cargo::rustc-env=SCRIPTED={}\", leaf::number());\n}\n",
    );
    project.write("app/src/main.rs", &prints("format_args!(\"{} {}\", env!(\"SCRIPTED\"), leaf::number())"));
    project.write("leaf/Cargo.toml", &manifest("leaf", ""));
    project.write("leaf/src/lib.rs", &number("1"));
    let yard = Yard::new(project);
    yard.check("first build", "app app/build leaf", "1 1");
    yard.project().write_old("leaf/src/lib.rs", &number("2"), long_ago());
    yard.check("edited", "app app/build leaf", "2 2");
    yard.project().write_old("leaf/src/lib.rs", &number("1"), long_ago());
    yard.check_fresh("taken back", "1 1");
    yard.edit("app/src/main.rs", "{} {}", "{}-{}");
    yard.check("the program only", "app", "1-1");
}

#[test]
fn a_script_whose_output_depends_on_another_ones() {
    // `links` and metadata: a script reads what the script of a dependency said.
    let project = Project::new();
    workspace(&project, &["app", "native"]);
    project.write("native/Cargo.toml", &manifest("native", "links = \"native\""));
    project.write(
        "native/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=number\");\n    \
         let number = std::fs::read_to_string(\"number\").unwrap();\n    \
         println!(\"cargo::metadata=number={}\", number.trim());\n}\n",
    );
    project.write("native/number", "1");
    project.write("native/src/lib.rs", "");
    project.write("app/Cargo.toml", &manifest("app", &depends(&["native"])));
    project.write(
        "app/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
         println!(\"cargo::rustc-env=NUMBER={}\", std::env::var(\"DEP_NATIVE_NUMBER\").unwrap());\n}\n",
    );
    project.write("app/src/main.rs", &prints("env!(\"NUMBER\")"));
    let yard = Yard::new(project);
    yard.check("first build", "app app/build native native/build", "1");
    yard.project().write_old("native/number", "2", long_ago());
    yard.check("another number", SOME, "2");
    yard.project().write_old("native/number", "1", long_ago());
    yard.check_fresh("the first one", "1");
    yard.edit("app/src/main.rs", "env!", "std::env!");
    yard.check("an edit", "app", "1");
    yard.project().write_old("native/number", "2", long_ago());
    yard.check("the second one with the edit", SOME, "2");
}
