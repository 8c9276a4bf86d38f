//! Variables, flags, profiles, features, linker and toolchain.

use std::process::Command;

use carrack_testkit::{Project, skipped};

use super::{SOME, Yard, chain, depends, manifest, prints, with_registry, workspace};

/// Prints what variables were when it was compiled.
fn variables() -> Yard {
    let project = Project::new();
    workspace(&project, &["app", "scripted"]);
    let lints = "[lints.rust]\nunexpected_cfgs = \"allow\"";
    project.write("app/Cargo.toml", &manifest("app", &format!("{}{lints}", depends(&["scripted"]))));
    project.write(
        "app/src/main.rs",
        &prints("format_args!(\"{} {} {}\", option_env!(\"READ\").unwrap_or(\"-\"), scripted::DECLARED, cfg!(flagged))"),
    );
    project.write("scripted/Cargo.toml", &manifest("scripted", ""));
    project.write(
        "scripted/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-env-changed=DECLARED\");\n    \
         let value = std::env::var(\"DECLARED\").unwrap_or(\"-\".into());\n    \
         println!(\"cargo::rustc-env=SCRIPTED={value}\");\n}\n",
    );
    project.write("scripted/src/lib.rs", "pub const DECLARED: &str = env!(\"SCRIPTED\");\n");
    Yard::new(project)
}

#[test]
fn declared_variables_and_flags() {
    let mut yard = variables();
    yard.check("first build", "app scripted scripted/build", "- - false");
    for (name, value, compiled, says) in [
        ("READ", "1", "app", "1 - false"),
        ("DECLARED", "1", "app scripted", "- 1 false"),
        ("RUSTFLAGS", "--cfg flagged", SOME, "- - true"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1", SOME, "- - false"),
        ("CARGO_PROFILE_RELEASE_LTO", "true", SOME, "- - false"),
        ("UNRELATED", "1", "", "- - false"),
        ("CFLAGS", "-DUNRELATED", "", "- - false"),
    ] {
        yard.scene.set(name, value);
        yard.check(&format!("{name}={value}"), compiled, says);
        yard.check_fresh(&format!("{name} again"), says);
        yard.scene.unset(name);
        yard.check_fresh(&format!("no {name}"), "- - false");
    }
    // Two values, one after the other, and the first one again.
    for (value, compiled) in [("1", ""), ("2", "app scripted"), ("1", "")] {
        yard.scene.set("DECLARED", value);
        yard.write("README.md", &format!("{value}{compiled}"));
        yard.check(&format!("DECLARED={value}"), compiled, &format!("- {value} false"));
    }
    yard.scene.set("READ", "3");
    yard.check("both", "app", "3 1 false");
}

#[test]
fn settings_of_cargo() {
    let yard = variables();
    let config = |text: &str| yard.write(".cargo/config.toml", text);
    config("");
    yard.check("first build", "app scripted scripted/build", "- - false");
    for (what, text, says) in [
        ("rustflags", "[build]\nrustflags = [\"--cfg\", \"flagged\"]\n", "- - true"),
        ("linker", "[target.'cfg(all())']\nlinker = \"cc\"\n", "- - false"),
        ("env for a crate", "[env]\nREAD = \"1\"\n", "1 - false"),
        ("env for a script", "[env]\nDECLARED = \"1\"\n", "- 1 false"),
        ("a profile", "[profile.release]\nopt-level = 1\n", "- - false"),
    ] {
        config(text);
        yard.check(what, SOME, says);
        yard.check_fresh(&format!("{what}, again"), says);
        config("");
        yard.check_fresh(&format!("{what} no more"), "- - false");
    }
    config("[env]\nREAD = \"2\"\n");
    yard.check("another env for a crate", SOME, "2 - false");
    config("[env]\nDECLARED = \"2\"\n");
    yard.check("another env for a script", SOME, "- 2 false");
}

/// A program that calls C, compiled by a build script that says nothing about variables.
fn calls_c() -> Yard {
    let project = Project::binary("app", "");
    project.remove("Cargo.lock");
    project.write("Cargo.toml", &manifest("app", "[build-dependencies]\ncc = \"=1.2.0\""));
    project.write(
        "build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=number.c\");\n    \
         let mut build = cc::Build::new();\n    \
         build.file(\"number.c\").emit_rerun_if_env_changed(false).compile(\"number\");\n}\n",
    );
    project.write(
        "number.c",
        "#ifndef NUMBER\n#define NUMBER 1\n#endif\nint number(void) {\n    return NUMBER;\n}\n",
    );
    project.write(
        "src/main.rs",
        "unsafe extern \"C\" {\n    safe fn number() -> i32;\n}\n\nfn main() {\n    println!(\"{}\", number());\n}\n",
    );
    with_registry(project, ".")
}

#[test]
fn undeclared_flags_of_a_c_compiler() {
    let mut yard = calls_c();
    yard.check("first build", "app app/build cc shlex", "1");
    for (name, value) in
        [("CFLAGS", "2"), ("CFLAGS_x86_64_unknown_linux_gnu", "3"), ("HOST_CFLAGS", "4"), ("CFLAGS", "5")]
    {
        yard.scene.set(name, &format!("-DNUMBER={value}"));
        // Whatever this compiler's flags are called, `cc` looks at the more special ones first.
        let says = yard.check(name, "app", value);
        assert!(says.ran_cargo());
        yard.scene.unset(name);
        yard.check_fresh(&format!("no {name}"), "1");
    }
    yard.edit("number.c", "return NUMBER", "return 10 + NUMBER");
    yard.check("the C source", "app", "11");
    yard.edit("number.c", "return 10 + NUMBER", "return NUMBER");
    yard.check_fresh("and back", "1");
    yard.write(".cargo/config.toml", "[env]\nCFLAGS = \"-DNUMBER=6\"\n");
    yard.check("flags in cargo's configuration", "app", "6");
    yard.write(".cargo/config.toml", "[env]\nCFLAGS = \"-DNUMBER=7\"\n");
    yard.check("other flags in cargo's configuration", "app", "7");
    yard.project().remove(".cargo/config.toml");
    yard.check_fresh("no configuration", "1");
}

#[test]
fn variables_that_only_the_configuration_names() {
    // Neither the script nor the macro tells anyone, but the user did.
    let project = Project::new();
    workspace(&project, &["app", "scripted", "macros"]);
    project.write("app/Cargo.toml", &manifest("app", &depends(&["scripted", "macros"])));
    project.write("app/src/main.rs", &prints("format_args!(\"{} {}\", scripted::VALUE, macros::value!())"));
    project.write("scripted/Cargo.toml", &manifest("scripted", ""));
    project.write(
        "scripted/build.rs",
        "fn main() {\n    println!(\"cargo::rerun-if-changed=build.rs\");\n    \
         println!(\"cargo::rustc-env=SCRIPTED={}\", std::env::var(\"SETTING\").unwrap());\n}\n",
    );
    project.write("scripted/src/lib.rs", "pub const VALUE: &str = env!(\"SCRIPTED\");\n");
    project.write("macros/Cargo.toml", &manifest("macros", "[lib]\nproc-macro = true"));
    project.write(
        "macros/src/lib.rs",
        "#[proc_macro]\npub fn value(_: proc_macro::TokenStream) -> proc_macro::TokenStream {\n    \
         format!(\"{:?}\", std::env::var(\"SETTING\").unwrap()).parse().unwrap()\n}\n",
    );
    let yard = Yard::new(project);
    let set = |value: &str| yard.write("carrack.toml", &format!("build-env = {{ SETTING = \"{value}\" }}\n"));
    set("1");
    yard.check("first build", "app macros scripted scripted/build", "1 1");
    set("2");
    yard.check("another value", SOME, "2 2");
    set("1");
    yard.check_fresh("and back", "1 1");
    set("3");
    yard.check("a third value", SOME, "3 3");
}

#[test]
fn features_and_profiles() {
    let project = chain();
    project.write("leaf/Cargo.toml", &manifest("leaf", "[features]\nten = []"));
    project.write(
        "leaf/src/lib.rs",
        "pub fn number() -> u32 {\n    if cfg!(feature = \"ten\") { 10 } else { 1 }\n}\n",
    );
    let middle = "[dependencies]\nleaf = { path = \"../leaf\" }\n\n[features]\nten = [\"leaf/ten\"]";
    project.write("middle/Cargo.toml", &manifest("middle", middle));
    project.write(
        "app/Cargo.toml",
        &manifest("app", &format!("{}\n[features]\nten = [\"middle/ten\"]", depends(&["middle"]))),
    );
    project.write(
        "app/src/main.rs",
        &prints("format_args!(\"{} {}\", cfg!(debug_assertions), middle::number())"),
    );
    let mut yard = Yard::new(project);
    let all = "app leaf middle second";
    let build = |yard: &mut Yard, arguments: &[&str], compiled, says| {
        yard.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        yard.write("README.md", &format!("{arguments:?} {compiled} {says}"));
        yard.check(&format!("{arguments:?}"), compiled, says);
    };
    build(&mut yard, &[], all, "false 2");
    build(&mut yard, &["-p", "app", "--features", "ten"], "app leaf middle", "false 11");
    build(&mut yard, &[], "", "false 2");
    build(&mut yard, &["-p", "app", "--features", "ten"], "", "false 11");
    build(&mut yard, &["--profile", "dev"], all, "true 2");
    build(&mut yard, &[], "", "false 2");
    build(&mut yard, &["--profile", "dev"], "", "true 2");
    yard.edit("leaf/src/lib.rs", "10", "20");
    build(&mut yard, &["--profile", "dev", "-p", "app", "--features", "ten"], "app leaf middle", "true 21");
    // With features, then without: what is kept of both never gets mixed.
    build(&mut yard, &["--profile", "dev"], all, "true 2");
    yard.edit("leaf/src/lib.rs", "20", "10");
    build(&mut yard, &["--profile", "dev"], "", "true 2");
    yard.edit("Cargo.toml", "[workspace]", "[profile.release]\ndebug-assertions = true\n\n[workspace]");
    build(&mut yard, &[], all, "true 2");
    yard.edit("Cargo.toml", "debug-assertions = true", "debug-assertions = false");
    build(&mut yard, &[], "", "false 2");
}

#[test]
fn incremental_compilation() {
    let mut yard = Yard::new(chain());
    yard.arguments = vec!["--profile".to_owned(), "dev".to_owned()];
    yard.check("first build", "app leaf middle second", "one 2");
    for (round, value) in [2, 3, 2, 4, 1].into_iter().enumerate() {
        yard.write("leaf/src/lib.rs", &super::number(&value.to_string()));
        let compiled = if round == 2 || round == 4 { "" } else { "app leaf middle second" };
        yard.write("README.md", &round.to_string());
        yard.check(&format!("edit {round}"), compiled, &format!("one {}", value + 1));
    }
    yard.edit("app/src/main.rs", "one", "two");
    yard.check("another member", "app", "two 2");
}

#[test]
fn toolchains() {
    let installed = |name: &str| {
        let output = Command::new("rustc").args([&format!("+{name}"), "-V"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !installed("stable") || !installed("nightly") {
        return skipped("another toolchain", "rustup has no stable and nightly");
    }
    let yard = Yard::new(chain());
    let channel =
        |name: &str| yard.write("rust-toolchain.toml", &format!("[toolchain]\nchannel = \"{name}\"\n"));
    channel("stable");
    yard.check("first build", "app leaf middle second", "one 2");
    channel("nightly");
    yard.check("another toolchain", "app leaf middle second", "one 2");
    channel("stable");
    yard.check_fresh("the first one", "one 2");
    channel("nightly");
    yard.check_fresh("the other one", "one 2");
    yard.write("leaf/src/lib.rs", &super::number("3"));
    yard.check("an edit there", "app leaf middle second", "one 4");
    channel("stable");
    yard.check("that edit here", "app leaf middle second", "one 4");
}
