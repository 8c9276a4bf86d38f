//! Several workspaces with one store.

use std::fs;
use std::process::Command;

use carrack_testkit::Project;

use super::{Yard, chain, compiled_units, date, manifest, number, prints, reused_units, with_registry};
use crate::scene::{Built, long_ago};

#[test]
fn a_fresh_clone() {
    let mut yard = Yard::new(chain());
    yard.check("first build", "app leaf middle second", "one 2");
    let clone = yard.project().copy();
    let first = std::mem::replace(&mut yard.scene.project, clone);
    yard.check_fresh("a clone", "one 2");
    date(yard.project().path(), long_ago());
    yard.check_fresh("a clone with older times", "one 2");
    yard.write("leaf/src/lib.rs", &number("2"));
    yard.check("an edit there", "app leaf middle second", "one 3");
    yard.scene.project = first;
    yard.check_fresh("the first one is as it was", "one 2");
    yard.write("leaf/src/lib.rs", &number("2"));
    yard.check_fresh("the same edit here", "one 3");
}

#[test]
fn a_moved_workspace() {
    let project = Project::new();
    let chain = chain();
    let place = |name: &str| project.path().join(name);
    fs::create_dir(place("here")).unwrap();
    let status =
        Command::new("cp").arg("-a").arg(chain.path().join(".")).arg(place("here")).status().unwrap();
    assert!(status.success());
    fs::create_dir(place("deeper")).unwrap();
    let moves = [(place("here"), place("there")), (place("there"), place("deeper/there"))];
    let mut yard = Yard::within(project, "here");
    yard.check("first build", "app leaf middle second", "one 2");
    for (number, (from, to)) in moves.into_iter().enumerate() {
        fs::rename(&from, &to).unwrap();
        yard.scene.folder = ["there", "deeper/there"][number].to_owned();
        fs::write(to.join("README.md"), number.to_string()).unwrap();
        let built = yard.check("moved", "", "one 2");
        assert!(built.ran_cargo());
    }
}

#[test]
fn twins() {
    // Same names, same versions, same features: cargo gives their units the same names.
    let first = Yard::new(chain());
    let project = chain();
    project.write("leaf/src/lib.rs", &number("10"));
    project.write("app/src/main.rs", &prints("format_args!(\"twin {}\", middle::number())"));
    let second = first.neighbour(project, ".");
    first.check("first", "app leaf middle second", "one 2");
    second.check("second", "app leaf middle second", "twin 11");
    first.check_fresh("first again", "one 2");
    second.check_fresh("second again", "twin 11");
    first.write("middle/src/lib.rs", &number("leaf::number() + 2"));
    first.check("first edited", "app middle second", "one 3");
    second.check_fresh("second as before", "twin 11");
    second.write("middle/src/lib.rs", &number("leaf::number() + 2"));
    second.check("the same edit over another dependency", "app middle second", "twin 12");
    second.write("leaf/src/lib.rs", &number("1"));
    second.check("now it is the first's", "app", "twin 3");
}

#[test]
fn shared_dependencies() {
    let needs = |more: &str| {
        format!(
            "[dependencies]\nitoa = \"=1.0.9\"\nmemchr = {{ version = \"=2.7.4\"{more} }}\nquote = \"=1.0.35\"\nproc-macro2 = \"=1.0.78\"\nunicode-ident = \"=1.0.12\""
        )
    };
    let binary = |more: &str, says: &str| {
        let project = Project::binary("app", says);
        project.remove("Cargo.lock");
        project.write("Cargo.toml", &manifest("app", &needs(more)));
        project
    };
    let first = with_registry(binary("", "first"), ".");
    first.check("first", "app itoa memchr proc-macro2 proc-macro2/build quote unicode-ident", "first");
    let mut second = first.neighbour(binary("", "second"), ".");
    second.scene.set("CARGO_HOME", first.cargo_home().to_str().unwrap());
    second.lock();
    let built = second.check("second", "app", "second");
    let shared = ["itoa", "memchr", "proc-macro2", "proc-macro2/build", "quote", "unicode-ident"];
    assert_eq!(reused_units(&built), shared.map(str::to_owned).into());
    // Another set of features is another unit of one package, and nothing else.
    second.write("Cargo.toml", &manifest("app", &needs(", default-features = false")));
    second.check("other features", "app memchr", "second");
    first.check_fresh("first again", "first");
    // A folder in another place, and a user's CARGO_HOME in another place: neither gets into what is compiled elsewhere.
    let other_home = first.scene.around.path().join("other-cargo");
    let copied = Command::new("cp").arg("-a").args([&first.cargo_home(), &other_home]).status().unwrap();
    assert!(copied.success());
    second.write("Cargo.toml", &manifest("app", &needs("")));
    second.scene.set("CARGO_HOME", other_home.to_str().unwrap());
    second.check_fresh("another CARGO_HOME", "second");
    second.write("src/main.rs", &prints("\"edited\""));
    second.check("another CARGO_HOME, and an edit", "app", "edited");
}

#[test]
fn side_by_side() {
    let yard = Yard::new(chain());
    let arguments = ["build", "--offline", "--progress", "rawjson", "-p"];
    let run = |package: &'static str| {
        let program = yard.scene.program();
        let workspace = yard.scene.workspace();
        move || program.run(&workspace, &[&arguments[..], &[package]].concat()).expect_code(0)
    };
    let (first, second) = std::thread::scope(|scope| {
        let threads = [scope.spawn(run("app")), scope.spawn(run("second"))];
        let [first, second] = threads.map(|thread| thread.join().unwrap());
        (Built::read(&first), Built::read(&second))
    });
    // They take turns; whoever came second found what both need.
    let mut all: Vec<String> = compiled_units(&first).into_iter().chain(compiled_units(&second)).collect();
    all.sort();
    assert_eq!(all, ["app", "leaf", "middle", "second"]);
    yard.check_fresh("both", "one 2");

    // Two workspaces compile what both need at once, and keep it once.
    let twin = yard.neighbour(chain(), ".");
    for yard in [&yard, &twin] {
        yard.write("leaf/src/lib.rs", &number("3"));
    }
    std::thread::scope(|scope| {
        let threads = [&yard, &twin].map(|yard| scope.spawn(|| yard.build()));
        for thread in threads {
            thread.join().unwrap();
        }
    });
    yard.check_fresh("one", "one 4");
    twin.check_fresh("the other", "one 4");
}
