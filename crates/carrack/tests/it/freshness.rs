//! What is built again after which change: never too little, and no more than cargo needs.
//!
//! Each scenario builds, changes something, builds again, and looks at three things: whether cargo was started and which
//! packages it compiled, whether the image is a new one, and what the program in the image prints.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use carrack_testkit::{Project, has_program, skipped};

use crate::scene::{Built, Scene, long_ago, visible_folder};

/// What a build has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected<'e> {
    /// Nothing: cargo is not started, the images are there.
    Nothing,
    /// New images from old programs: cargo is not started.
    Image,
    /// These packages are compiled, separated by spaces; none, if cargo is asked and finds nothing to do.
    Compiled(&'e str),
    /// Something is compiled, it does not matter what.
    Something,
}
use Expected::{Compiled, Image, Nothing, Something};

/// Builds and checks what was done.
#[track_caller]
fn check(scene: &Scene, what: &str, arguments: &[&str], expected: Expected<'_>, says: &str) -> Built {
    let built = scene.build(arguments);
    let compiled = built.compiled().into_iter().collect::<Vec<_>>().join(" ");
    let done = match expected {
        Something if !compiled.is_empty() => Something,
        _ => match (built.ran_cargo(), built.unchanged()) {
            (true, _) => Compiled(&compiled),
            (false, true) => Nothing,
            (false, false) => Image,
        },
    };
    assert_eq!(done, expected, "{what}: {:?}", built.reasons());
    assert_eq!(scene.says("app"), says, "{what}");
    built
}

/// A package `app` whose binary prints `text`, a Rust expression.
fn app(text: &str) -> Project {
    let project = Project::binary("app", "");
    project.write("src/main.rs", &prints(text));
    project
}

/// A program that prints `text`, a Rust expression.
fn prints(text: &str) -> String {
    format!("fn main() {{\n    println!(\"{{}}\", {text});\n}}\n")
}

/// `app`, which depends on `shared`, whose number it prints.
fn workspace() -> Scene {
    let scene = Scene::new(Project::workspace(&["app"]));
    scene.project.write("README.md", "read me\n");
    scene
}

fn number(number: u32) -> String {
    format!("pub const NUMBER: u32 = {number};\n")
}

fn main_with(word: &str) -> String {
    prints(&format!("format_args!(\"{word} {{}}\", shared::NUMBER)"))
}

/// A manifest of `app` with something added.
fn manifest(more: &str) -> String {
    format!("[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}")
}

#[test]
fn sources() {
    let scene = workspace();
    let project = &scene.project;
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    step("first build", Compiled("app shared"), "app 1");
    step("nothing", Nothing, "app 1");

    project.write("app/src/main.rs", &main_with("edited"));
    let built = step("main.rs edited", Compiled("app"), "edited 1");
    assert_eq!(built.reasons(), ["app/src/main.rs changed"]);
    project.write("shared/src/lib.rs", &number(2));
    step("library edited", Compiled("app shared"), "edited 2");
    project.write("shared/src/lib.rs", &number(2));
    step("same content written again", Nothing, "edited 2");
    project.write_old("shared/src/lib.rs", &number(2), long_ago());
    step("only the time set back", Nothing, "edited 2");
    project.write("README.md", "read me again\n");
    step("file that no crate reads", Compiled(""), "edited 2");

    project.write_old("app/src/main.rs", &main_with("old"), long_ago());
    step("main.rs with an older time", Compiled("app"), "old 2");
    project.write_old("shared/src/lib.rs", &number(3), long_ago());
    step("library with an older time", Compiled("app shared"), "old 3");
    project.write_old("shared/src/lib.rs", &number(4), long_ago());
    step("library with the same time", Compiled("app shared"), "old 4");
    project.write_old("shared/src/lib.rs", &number(3), long_ago());
    step("library as it was", Image, "old 3");
    project.write_old("shared/src/lib.rs", &number(5), long_ago());
    step("another library, same time again", Compiled("app shared"), "old 5");
}

#[test]
fn modules_and_services() {
    let scene = Scene::new(app("1"));
    let project = &scene.project;
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    step("first build", Compiled("app"), "1");
    project.write("src/number.rs", "pub const NUMBER: u32 = 2;\n");
    step("module that nobody uses", Compiled(""), "1");
    let with_module = format!("mod number;\n{}", prints("number::NUMBER"));
    project.write("src/main.rs", &with_module);
    step("module used", Compiled("app"), "2");
    project.remove("src/number.rs");
    scene.try_build(&[]).expect_code(1).expect_stderr("file not found for module");
    project.write_old("src/number/mod.rs", "pub const NUMBER: u32 = 3;\n", long_ago());
    step("module moved", Compiled("app"), "3");

    project.write("src/bin/second.rs", &prints("\"second\""));
    let built = step("another service", Compiled("app"), "3");
    assert_eq!(built.digests().len(), 2);
    assert_eq!(scene.says("second"), "second");
    project.write("README.md", "two services\n");
    step("something else", Compiled(""), "3");
    project.remove("src/bin/second.rs");
    assert_eq!(step("service gone", Compiled(""), "3").digests().len(), 1);
}

#[test]
fn manifests() {
    let scene = Scene::new(app(
        "concat!(env!(\"CARGO_PKG_VERSION\"), cfg!(feature = \"extra\"), cfg!(debug_assertions))",
    ));
    let project = &scene.project;
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    step("first build", Compiled("app"), "0.1.0falsefalse");
    let lock = fs::read_to_string(project.path().join("Cargo.lock")).unwrap();
    project.write("Cargo.lock", &lock.replace("0.1.0", "0.2.0"));
    project.write("Cargo.toml", &manifest("").replace("0.1.0", "0.2.0"));
    step("version", Compiled("app"), "0.2.0falsefalse");
    project.write_old("Cargo.lock", &lock, long_ago());
    project.write_old("Cargo.toml", &manifest("[profile.release]\ndebug-assertions = true\n"), long_ago());
    step("profile, with an older time", Compiled("app"), "0.1.0falsetrue");
    project.write("Cargo.toml", &manifest("[features]\ndefault = [\"extra\"]\nextra = []\n"));
    step("feature", Compiled("app"), "0.1.0truefalse");
    project.write("Cargo.lock", &format!("{lock}\n"));
    step("lock file, in form only", Compiled(""), "0.1.0truefalse");

    let with = |what, arguments: &[&str], expected, says| check(&scene, what, arguments, expected, says);
    with("--no-default-features", &["--no-default-features"], Compiled("app"), "0.1.0falsefalse");
    with("--features", &["--no-default-features", "--features", "extra"], Compiled("app"), "0.1.0truefalse");
    with("--profile", &["--profile", "dev"], Compiled("app"), "0.1.0truetrue");
    with("as before", &["--no-default-features"], Image, "0.1.0falsefalse");
    with("--no-cache", &["--no-default-features", "--no-cache"], Compiled("app"), "0.1.0falsefalse");
}

#[test]
fn locked_versions() {
    let scene = Scene::new(app("dep::VERSION"));
    let project = &scene.project;
    let checksum = "0".repeat(64);
    let vendored = "[source.crates-io]\nreplace-with = \"vendor\"\n[source.vendor]\ndirectory = \"vendor\"\n";
    project.write(".cargo/config.toml", vendored);
    project.write("Cargo.toml", &manifest("[dependencies]\ndep = \"1\"\n"));
    let lock = |version: &str| {
        project.write(
            "Cargo.lock",
            &format!(
                "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\n \"dep\",\n]\n\n\
                [[package]]\nname = \"dep\"\nversion = \"{version}\"\n\
                source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{checksum}\"\n"
            ),
        );
    };
    for version in ["1.0.0", "1.0.1"] {
        let folder = format!("vendor/dep-{version}");
        let manifest = manifest("").replace("app", "dep").replace("0.1.0", version);
        project.write(&format!("{folder}/Cargo.toml"), &manifest);
        project
            .write(&format!("{folder}/src/lib.rs"), &format!("pub const VERSION: &str = \"{version}\";\n"));
        let checksums = format!("{{\"files\":{{}},\"package\":\"{checksum}\"}}");
        project.write(&format!("{folder}/.cargo-checksum.json"), &checksums);
    }
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    lock("1.0.0");
    step("first build", Compiled("app dep"), "1.0.0");
    lock("1.0.1");
    step("another version", Compiled("app dep"), "1.0.1");
    lock("1.0.0");
    step("as before", Image, "1.0.0");
}

#[test]
fn toolchain_file() {
    let installed = |name: &str| {
        std::process::Command::new("rustc")
            .args([&format!("+{name}"), "-V"])
            .output()
            .is_ok_and(|it| it.status.success())
    };
    if !installed("stable") || !installed("nightly") {
        return skipped("another toolchain", "rustup has no stable and nightly");
    }
    let scene =
        Scene::new(app("option_env!(\"RUSTUP_TOOLCHAIN\").unwrap_or(\"?\").split('-').next().unwrap()"));
    let channel = |name: &str| format!("[toolchain]\nchannel = \"{name}\"\n");
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    scene.project.write("rust-toolchain.toml", &channel("stable"));
    step("first build", Compiled("app"), "stable");
    scene.project.write("rust-toolchain.toml", &channel("nightly"));
    step("another toolchain", Compiled("app"), "nightly");
    scene.project.write_old("rust-toolchain.toml", &channel("stable"), long_ago());
    step("the first toolchain", Image, "stable");
}

/// Prints what cargo's configuration made of two settings.
const CONFIGURED: &str =
    "format_args!(\"{} {}\", option_env!(\"CONFIGURED\").unwrap_or(\"-\"), cfg!(flagged))";

#[test]
fn cargo_configuration() {
    let project = Project::new();
    project.write("app/Cargo.toml", &manifest("[lints.rust]\nunexpected_cfgs = \"allow\"\n"));
    project.write("app/Cargo.lock", "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n");
    project.write("app/src/main.rs", &prints(CONFIGURED));
    let scene = Scene::within(project, "app");
    let project = &scene.project;
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    let flags = "[build]\nrustflags = [\"--cfg\", \"flagged\"]\n";
    let env = |value: &str| format!("[env]\nCONFIGURED = \"{value}\"\n");
    step("first build", Compiled("app"), "- false");

    project.write("app/.cargo/config.toml", flags);
    step("rustflags in the workspace", Compiled("app"), "- true");
    project.write("app/.cargo/config.toml", &env("1"));
    step("env in the workspace", Compiled("app"), "1 false");
    project.write_old("app/.cargo/config.toml", &env("2"), long_ago());
    step("other env in the workspace, with an older time", Compiled("app"), "2 false");
    project.remove("app/.cargo/config.toml");
    step("no configuration", Image, "- false");

    project.write(".cargo/config.toml", flags);
    step("rustflags in the folder above", Compiled("app"), "- true");
    project.write_old(".cargo/config.toml", &env("3"), long_ago());
    step("env in the folder above, with an older time", Compiled("app"), "3 false");
    project.remove(".cargo/config.toml");
    step("no configuration", Image, "- false");

    let home = scene.cargo_home().join("config.toml");
    fs::write(&home, flags).unwrap();
    step("rustflags in CARGO_HOME, as before in the workspace", Compiled(""), "- true");
    fs::write(&home, env("4")).unwrap();
    step("env in CARGO_HOME", Compiled("app"), "4 false");
    fs::remove_file(&home).unwrap();
    step("no configuration", Image, "- false");
}

#[test]
fn a_configuration_above_moves_no_path_of_the_program() {
    let make = || {
        let project = Project::new();
        project.write("app/Cargo.toml", &manifest(""));
        project.write("app/Cargo.lock", "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n");
        project.write("app/src/main.rs", &prints("concat!(env!(\"CARGO_MANIFEST_DIR\"), \" \", file!())"));
        Scene::within(project, "app")
    };
    let old = make();
    old.build(&[]);
    let new = make();
    for scene in [&old, &new] {
        scene.project.write(".cargo/config.toml", "[term]\nverbose = false\n");
    }
    let digests = old.build(&[]).digests();
    assert_eq!(old.says("app"), new_says(&new));
    assert_eq!(digests, new.build(&[]).digests());
}

fn new_says(scene: &Scene) -> String {
    scene.build(&[]);
    scene.says("app")
}

#[test]
fn variables() {
    let text = "format_args!(\"{} {} {}\", option_env!(\"READ\").unwrap_or(\"-\"), cfg!(flagged), env!(\"FROM_SCRIPT\"))";
    let mut scene = Scene::new(app(text));
    scene.project.write("Cargo.toml", &manifest("[lints.rust]\nunexpected_cfgs = \"allow\"\n"));
    scene.project.write(
        "build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-env-changed=DECLARED\");\n    \
         let value = std::env::var(\"DECLARED\").unwrap_or(\"-\".into());\n    \
         println!(\"cargo::rustc-env=FROM_SCRIPT={value}\");\n}\n",
    );
    check(&scene, "first build", &[], Compiled("app"), "- false -");
    for (name, value, expected, says) in [
        ("UNRELATED", Some("1"), Nothing, "- false -"),
        // Nobody knows who reads it, but cargo sees that no crate here does.
        ("CC", Some("gcc"), Compiled(""), "- false -"),
        ("CC", None, Nothing, "- false -"),
        ("READ", Some("1"), Compiled("app"), "1 false -"),
        ("READ", Some("2"), Compiled("app"), "2 false -"),
        ("READ", None, Image, "- false -"),
        ("DECLARED", Some("1"), Compiled("app"), "- false 1"),
        ("DECLARED", None, Image, "- false -"),
        ("RUSTFLAGS", Some("--cfg flagged"), Compiled("app"), "- true -"),
        ("RUSTFLAGS", None, Image, "- false -"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", Some("1"), Compiled("app"), "- false -"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", None, Image, "- false -"),
    ] {
        match value {
            Some(value) => scene.set(name, value),
            None => scene.unset(name),
        }
        check(&scene, &format!("{name} {value:?}"), &[], expected, says);
    }
}

#[test]
fn packages_outside_of_the_workspace() {
    let project = Project::workspace(&["app"]);
    project.write("Cargo.toml", "");
    project.remove("Cargo.toml");
    fs::rename(project.path().join("Cargo.lock"), project.path().join("app/Cargo.lock")).unwrap();
    let scene = Scene::within(project, "app");
    let project = &scene.project;
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    step("first build", Compiled("app shared"), "app 1");
    step("nothing", Nothing, "app 1");
    project.write("shared/src/lib.rs", &number(2));
    step("edited", Compiled("app shared"), "app 2");
    project.write_old("shared/src/lib.rs", &number(3), long_ago());
    step("edited with an older time", Compiled("app shared"), "app 3");
    project.write_old("shared/src/lib.rs", &number(2), long_ago());
    step("as before", Image, "app 2");
}

#[test]
fn neighbours_in_the_repository() {
    let project = Project::new();
    project.write("rust/Cargo.toml", &manifest(""));
    project.write("rust/Cargo.lock", "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n");
    project.write("rust/src/main.rs", &prints("include_str!(\"../../proto/text.txt\")"));
    project.write("proto/text.txt", "first");
    project.write(".git/HEAD", "ref: refs/heads/main\n");
    let mut scene = Scene::within(project, "rust");
    let step = |scene: &Scene, what, expected, says| check(scene, what, &[], expected, says);
    step(&scene, "first build", Compiled("app"), "first");
    scene.project.write("proto/text.txt", "second");
    step(&scene, "a neighbour edited", Compiled("app"), "second");
    scene.project.write_old("proto/text.txt", "third", long_ago());
    step(&scene, "an old neighbour", Compiled("app"), "third");
    step(&scene, "nothing", Nothing, "third");
    // A CI job may only keep folders of the repository.
    for state in ["state", "rust/state"] {
        let state = scene.project.path().join(state);
        scene.set("CARRACK_HOME", &state.to_string_lossy());
        step(&scene, "state in the repository", Compiled("app"), "third");
        step(&scene, "nothing", Nothing, "third");
    }
}

#[test]
fn included_files() {
    let Some(elsewhere) = visible_folder() else {
        return skipped("a file elsewhere", "no folder outside of /tmp can be written to");
    };
    let outside = elsewhere.path().join("outside.txt");
    let text = |outside: &str| {
        prints(&format!(
            "concat!(include_str!(\"inside.txt\"), include_str!(\"../../beside/text.txt\"), include_str!(\"../../top.txt\"), \
             include_str!({outside:?}))"
        ))
    };
    let scene = Scene::new(Project::workspace(&["app", "beside"]));
    let project = &scene.project;
    project.write("app/src/main.rs", &text(outside.to_str().unwrap()));
    project.write("app/src/inside.txt", "1");
    project.write("beside/text.txt", "1");
    project.write("top.txt", "1");
    fs::write(&outside, "1").unwrap();
    let step = |what, expected, says| check(&scene, what, &["--bin", "app"], expected, says);
    step("first build", Compiled("app shared"), "1111");
    step("nothing", Nothing, "1111");
    project.write("app/src/inside.txt", "2");
    step("in the package", Compiled("app"), "2111");
    project.write_old("app/src/inside.txt", "3", long_ago());
    step("in the package, with an older time", Something, "3111");
    project.write("beside/text.txt", "2");
    step("in another package", Compiled("app"), "3211");
    project.write_old("beside/text.txt", "3", long_ago());
    step("in another package, with an older time", Something, "3311");
    project.write("top.txt", "2");
    step("beside the packages", Compiled("app"), "3321");
    project.write_old("top.txt", "3", long_ago());
    step("beside the packages, with an older time", Something, "3331");
    fs::write(&outside, "2").unwrap();
    step("elsewhere", Compiled("app"), "3332");
    fs::write(&outside, "3").unwrap();
    fs::File::options().write(true).open(&outside).unwrap().set_modified(long_ago()).unwrap();
    step("elsewhere, with an older time", Something, "3333");
    // Both at once: the key of the sources is one that nobody has seen.
    fs::write(&outside, "4").unwrap();
    fs::File::options().write(true).open(&outside).unwrap().set_modified(long_ago()).unwrap();
    project.write("shared/src/lib.rs", &number(2));
    step("elsewhere, with an older time, and another crate", Something, "3334");
}

/// A build script that joins the files of a folder, and watches what it says in `watched`.
fn joining_script(folder: &str, watched: &[&str]) -> String {
    let watched: String =
        watched.iter().map(|path| format!("println!(\"cargo::rerun-if-changed={path}\");\n")).collect();
    format!(
        "fn main() {{\n{watched}let mut texts: Vec<_> = std::fs::read_dir(\"{folder}\").unwrap()\
         .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect();\n\
         texts.sort();\nprintln!(\"cargo::rustc-env=JOINED={{}}\", texts.join(\"\"));\n}}\n"
    )
}

#[test]
fn files_of_build_scripts() {
    // Watched as a folder, watched in another package, not watched at all: then every file of the package counts.
    for (folder, watched) in [("texts", &["texts"][..]), ("../texts", &["../texts"]), ("texts", &[])] {
        let project = Project::workspace(&["app"]);
        project.write("app/src/main.rs", &prints("env!(\"JOINED\")"));
        project.write("app/build.rs", &joining_script(folder, watched));
        let scene = Scene::new(project);
        let project = &scene.project;
        let file = |name: &str| match folder.strip_prefix("../") {
            Some(folder) => format!("{folder}/{name}"),
            None => format!("app/{folder}/{name}"),
        };
        let step =
            |what: &str, expected, says| check(&scene, &format!("{watched:?}: {what}"), &[], expected, says);
        project.write(&file("a"), "a");
        step("first build", Compiled("app shared"), "a");
        project.write(&file("b"), "b");
        step("added", Compiled("app"), "ab");
        project.write_old(&file("c"), "c", long_ago());
        step("added with an older time", Something, "abc");
        project.write_old(&file("a"), "A", long_ago());
        step("edited with an older time", Something, "Abc");
        project.remove(&file("b"));
        let restored = fs::File::open(project.path().join(file("a")).parent().unwrap()).unwrap();
        restored.set_modified(long_ago()).unwrap();
        step("removed, and the folder's time set back", Something, "Ac");
    }
}

#[test]
fn a_file_that_is_left_out_of_the_sources() {
    let scene = Scene::new(app("env!(\"HEAD\")"));
    let project = &scene.project;
    project.write(
        "build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=.git/HEAD\");\n    \
         println!(\"cargo::rustc-env=HEAD={}\", std::fs::read_to_string(\".git/HEAD\").unwrap());\n}\n",
    );
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    project.write(".git/HEAD", "1");
    step("first build", Compiled("app"), "1");
    step("nothing", Nothing, "1");
    project.write(".git/HEAD", "2");
    step("edited", Compiled("app"), "2");
    project.write_old(".git/HEAD", "3", long_ago());
    step("edited with an older time", Compiled("app"), "3");
    project.write(".git/index", "anything");
    step("a file beside it", Nothing, "3");
}

#[test]
fn macros_that_read_without_telling() {
    let project = Project::workspace(&["app", "other"]);
    project.write(
        "macros/Cargo.toml",
        &format!("{}[lib]\nproc-macro = true\n", manifest("").replace("app", "macros")),
    );
    project.write(
        "macros/src/lib.rs",
        "extern crate proc_macro;\n#[proc_macro]\npub fn texts(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
         let top = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap() + \"/..\";\n    \
         let read = |path: &str| std::fs::read_to_string(format!(\"{top}/{path}\")).unwrap();\n    \
         let modules = std::fs::read_dir(format!(\"{top}/app/src/modules\")).unwrap().count();\n    \
         format!(\"{:?}\", [read(\"app/own.sql\"), read(\"other/its.sql\"), read(\"macros/our.sql\"), \
         read(\"top.sql\"), modules.to_string()].concat()).parse().unwrap()\n}\n",
    );
    project.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"app\", \"other\", \"shared\", \"macros\"]\n",
    );
    let app =
        manifest("[dependencies]\nshared = { path = \"../shared\" }\nmacros = { path = \"../macros\" }\n");
    project.write("app/Cargo.toml", &app);
    project.write("app/src/main.rs", &prints("macros::texts!()"));
    let package = |name: &str, needs: &str| {
        let needs = if needs.is_empty() { String::new() } else { format!("dependencies = [\n{needs}]\n") };
        format!("\n[[package]]\nname = \"{name}\"\nversion = \"0.1.0\"\n{needs}")
    };
    let lock = [
        "version = 4\n".to_owned(),
        package("app", " \"macros\",\n \"shared\",\n"),
        package("macros", ""),
        package("other", " \"shared\",\n"),
        package("shared", ""),
    ];
    project.write("Cargo.lock", &lock.concat());
    for file in ["app/own.sql", "other/its.sql", "macros/our.sql", "top.sql"] {
        project.write(file, "1");
    }
    project.write("app/src/modules/one.rs", "");
    let scene = Scene::new(project);
    let project = &scene.project;
    let step = |what, expected, says| check(&scene, what, &["--bin", "app"], expected, says);
    step("first build", Compiled("app macros shared"), "11111");
    for (file, says) in [
        ("app/own.sql", "21111"),
        ("other/its.sql", "22111"),
        ("macros/our.sql", "22211"),
        ("top.sql", "22221"),
    ] {
        project.write(file, "2");
        step(file, Something, says);
    }
    project.write("app/src/modules/two.rs", "");
    step("a module that only the macro sees", Compiled("app"), "22222");
    project.remove("app/src/modules/one.rs");
    step("a module less", Compiled("app"), "22221");
    project.write("app/src/main.rs", &format!("// edited\n{}", prints("macros::texts!()")));
    step("main.rs", Compiled("app"), "22221");
    project.write("shared/src/lib.rs", &number(2));
    step("library", Compiled("app shared"), "22221");
}

#[test]
fn build_scripts_that_write_into_the_sources() {
    let scene = Scene::new(app("0"));
    let project = &scene.project;
    let main = |word: &str| {
        format!("mod generated;\n{}", prints(&format!("format_args!(\"{word} {{}}\", generated::TEXT)")))
    };
    project.write("src/main.rs", &main("one"));
    let script = |text: &str| {
        format!(
            "fn main() {{\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
             std::fs::write(\"src/generated.rs\", \"pub const TEXT: &str = \\\"{text}\\\";\\n\").unwrap();\n}}\n"
        )
    };
    project.write("build.rs", &script("generated"));
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    step("first build", Compiled("app"), "one generated");
    assert!(!project.path().join("src/generated.rs").exists());
    step("nothing", Nothing, "one generated");
    project.write("src/main.rs", &main("two"));
    step("main.rs edited", Compiled("app"), "two generated");
    project.write("build.rs", &script("again"));
    step("script edited", Compiled("app"), "two again");
    project.write("src/generated.rs", "pub const TEXT: &str = \"mine\";\n");
    // As in a clean checkout: the script has the last word.
    step("the user's own file", Compiled("app"), "two again");
}

#[test]
fn configuration_compiles_nothing() {
    let scene = Scene::new(app("std::env::var(\"WORD\").unwrap_or_default()"));
    let project = &scene.project;
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    project.write("config/a.toml", "a");
    step("first build", Compiled("app"), "");
    for (what, configuration, says) in [
        ("env", "env = { WORD = \"1\" }", "1"),
        ("label", "env = { WORD = \"1\" }\nlabels = { a = \"b\" }", "1"),
        ("user", "env = { WORD = \"1\" }\nuser = \"1234\"", "1"),
        ("entrypoint", "env = { WORD = \"2\" }\nentrypoint = [\"/usr/local/bin/app\", \"x\"]", "2"),
        ("files", "files = [{ from = \"config\", to = \"/config\" }]", ""),
    ] {
        project.write("carrack.toml", &format!("{configuration}\n"));
        step(what, Image, says);
        step("nothing", Nothing, says);
    }
    let with = ["--label", "c=d"];
    check(&scene, "--label", &with, Image, "");
    check(&scene, "the same label", &with, Nothing, "");
    // What lies in a package may be read by its build script or by a macro: cargo is asked.
    project.write("config/a.toml", "b");
    assert!(!step("content of an added file", Compiled(""), "").unchanged());
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(project.path().join("config/a.toml"), mode).unwrap();
    assert!(!step("mode of an added file, which no time tells", Compiled(""), "").unchanged());
    project.remove("carrack.toml");
    step("no configuration", Image, "");
    project.write("Cargo.toml", &manifest("[package.metadata.carrack]\nenv = { WORD = \"3\" }\n"));
    let built = scene.build(&[]);
    assert!(built.compiled().is_empty() && !built.unchanged());
    assert_eq!(scene.says("app"), "3");
}

#[test]
fn branches() {
    if !has_program("git") {
        return skipped("a change of branches", "no git");
    }
    let scene = workspace();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
        scene.tool("git", &[&identity[..], arguments].concat());
    };
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    git(&["init", "-q", "-b", "one"]);
    git(&["add", "-A"]);
    git(&["commit", "-qm", "one"]);
    step("first build", Compiled("app shared"), "app 1");
    git(&["checkout", "-q", "-b", "two"]);
    step("another branch, same content", Nothing, "app 1");
    scene.project.write("shared/src/lib.rs", &number(2));
    git(&["commit", "-qam", "two"]);
    step("another branch", Compiled("app shared"), "app 2");
    git(&["checkout", "-q", "one"]);
    step("back", Image, "app 1");
    git(&["checkout", "-q", "two"]);
    step("there again", Image, "app 2");
    scene.project.write("app/src/main.rs", &main_with("edited"));
    step("edited there", Something, "edited 2");
}

#[test]
fn failed_builds() {
    let scene = workspace();
    let project = &scene.project;
    let step = |what, expected, says| check(&scene, what, &[], expected, says);
    let fails = || scene.try_build(&[]).expect_code(1);
    step("first build", Compiled("app shared"), "app 1");
    project.write("app/src/main.rs", "fn main() { nonsense }\n");
    fails().expect_stderr("nonsense");
    fails().expect_stderr("nonsense");
    project.write("app/src/main.rs", &main_with("mended"));
    step("mended", Compiled("app"), "mended 1");

    // The library compiles, its user does not: the folder holds a library that the next sources do not have.
    project.write("shared/src/lib.rs", &number(2));
    project.write("app/src/main.rs", "fn main() { nonsense }\n");
    fails();
    project.write_old("shared/src/lib.rs", &number(1), long_ago());
    project.write_old("app/src/main.rs", &main_with("old"), long_ago());
    step("mended with older times", Compiled("app"), "old 1");
}

#[test]
fn a_file_that_only_a_failed_build_has_read() {
    let scene = workspace();
    let project = &scene.project;
    // What is in `.git` is no source: that it is read is known only after a build.
    project.write(
        "shared/src/lib.rs",
        "pub const NUMBER: u32 = include_bytes!(\"../../.git/number\")[0] as u32 - b'0' as u32;\n",
    );
    project.write(".git/number", "1");
    project.write("app/src/main.rs", "fn main() { nonsense }\n");
    scene.try_build(&[]).expect_code(1).expect_stderr("nonsense");
    project.write_old(".git/number", "2", long_ago());
    project.write("app/src/main.rs", &main_with("mended"));
    check(&scene, "mended", &[], Compiled("app shared"), "mended 2");
    check(&scene, "nothing", &[], Nothing, "mended 2");

    project.write("app/src/main.rs", "fn main() { nonsense }\n");
    project.write_old(".git/number", "3", long_ago());
    scene.try_build(&[]).expect_code(1);
    project.write_old(".git/number", "2", long_ago());
    project.write("app/src/main.rs", &main_with("again"));
    check(&scene, "mended again", &[], Compiled("app"), "again 2");
}
