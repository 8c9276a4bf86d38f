//! Small workspaces that leave stale binaries, or stubs, where a Dockerfile trusts times, names or spellings.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use carrack_testkit::{Project, RUST_IMAGE};

use crate::foreign::lock;
use crate::site::{APPLICATION, DEPENDENCIES, Site, compiled, make_old};

/// A workspace in the folder `trap` with its members and their manifests below `[package]`.
fn workspace(members: &[(&str, &str)]) -> Project {
    let project = Project::new();
    let names = members.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    project.write("trap/Cargo.toml", &format!("[workspace]\nresolver = \"3\"\nmembers = [{names}]\n"));
    project.write("trap/carrack.toml", &format!("builder = {RUST_IMAGE:?}\n"));
    for (name, manifest) in members {
        project
            .write(&format!("trap/{name}/Cargo.toml"), &format!("[package]\nedition = \"2024\"\n{manifest}"));
    }
    project
}

fn locked(project: Project) -> Option<Project> {
    lock(&project.path().join("trap"));
    Some(project)
}

/// A macro that reads a file and does not tell.
#[test]
fn a_file_that_a_macro_reads_in_secret_is_not_missed() {
    let workspace = || {
        let project = Project::new();
        let package = "[package]\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        project
            .write("secret/Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"reading\", \"says\"]\n");
        project.write("secret/carrack.toml", "builder = \"rust:1.95-slim-bookworm\"\n");
        project.write(
            "secret/reading/Cargo.toml",
            &format!("{package}name = \"reading\"\n\n[lib]\nproc-macro = true\n"),
        );
        project.write(
            "secret/reading/src/lib.rs",
            "use proc_macro::{Literal, TokenStream, TokenTree};\n\n#[proc_macro]\npub fn text(_: TokenStream) -> TokenStream {\n    \
             let folder = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap();\n    \
             let text = std::fs::read_to_string(folder + \"/../words/text\").unwrap();\n    \
             TokenTree::from(Literal::string(text.trim())).into()\n}\n",
        );
        let dependency = "\n[dependencies]\nreading = { path = \"../reading\" }\n";
        project.write("secret/says/Cargo.toml", &format!("{package}name = \"says\"\n{dependency}"));
        project.write("secret/says/src/main.rs", "fn main() {\n    println!(\"{}\", reading::text!());\n}\n");
        project.write("secret/words/text", "one\n");
        Some(project)
    };
    const TEST: &str = "a_file_that_a_macro_reads_in_secret_is_not_missed";
    let Some(site) =
        Site::new(TEST, "secret", || workspace().inspect(|project| lock(&project.path().join("secret"))))
    else {
        return;
    };
    for (text, old) in
        [("one", false), ("two", false), ("three", true), ("one", false), ("four", false), ("two", true)]
    {
        let path = site.project.write("secret/words/text", text);
        if old {
            make_old(&path);
        }
        site.build("says");
        assert_eq!(site.says("says", &[]), format!("{text}\n"));
    }
    // As much as the last one, in two folders of one name: another checkout of the same project.
    let other = site.beside(site.project.copy());
    for (site, text) in [(&other, "five"), (&site, "six"), (&other, "seven"), (&site, "eight")] {
        site.project.write("secret/words/text", text);
        site.build("says");
        assert_eq!(site.says("says", &[]), format!("{text}\n"));
    }
}

#[test]
fn links_and_modes_are_content_too() {
    const TEST: &str = "links_and_modes_are_content_too";
    let project = || {
        let project = workspace(&[("says", "name = \"says\"\nversion = \"0.1.0\"\n")]);
        project.write("trap/words/one.rs", "pub(crate) const WORD: &str = \"one\";\n");
        project.write("trap/words/two.rs", "pub(crate) const WORD: &str = \"two\";\n");
        project.write(
            "trap/says/src/main.rs",
            "mod word;\n\nfn main() {\n    println!(\"{} {}\", word::WORD, env!(\"SAID\"));\n}\n",
        );
        let script = "fn main() {\n    let said = std::process::Command::new(\"../say\").output().unwrap();\n    \
                      println!(\"cargo::rustc-env=SAID={}\", String::from_utf8(said.stdout).unwrap());\n}\n";
        project.write("trap/says/build.rs", script);
        project.write("trap/say", "#!/bin/sh\necho by the script\n");
        symlink("../../words/one.rs", project.path().join("trap/says/src/word.rs")).unwrap();
        locked(project)
    };
    let Some(site) = Site::new(TEST, "trap", project) else { return };
    let failed = site.compose("says");
    assert!(failed.stderr.contains("Permission denied"), "{}", failed.stderr);
    let script = site.project.path().join("trap/say");
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    site.build("says");
    assert_eq!(site.says("says", &[]), "one by the script\n");

    let link = site.project.path().join("trap/says/src/word.rs");
    for word in ["two", "one"] {
        fs::remove_file(&link).unwrap();
        symlink(format!("../../words/{word}.rs"), &link).unwrap();
        // With this file the build is another one than those before.
        site.project.write("trap/words/unused.rs", &format!("// {word}\n"));
        site.build("says");
        assert_eq!(site.says("says", &[]), format!("{word} by the script\n"));
    }
}

/// TOML has several spellings for one thing; a stub in the place of a package that is spelled otherwise would stay.
#[test]
fn no_spelling_of_a_manifest_leaves_a_stub() {
    const TEST: &str = "no_spelling_of_a_manifest_leaves_a_stub";
    let project = || {
        let uses =
            "[dependencies]\nliteral = { path = '../literal' }\ndotted.path = \"../dotted\"\nitoa = \"1\"\n";
        let project = workspace(&[
            ("says", &format!("name = \"says\"\nversion = \"0.1.0\"\n\n{uses}")),
            ("literal", "name = 'literal'\nversion = '0.0.0'\n\n[dependencies]\nitoa = '1'\n"),
        ]);
        let dotted = "package.name = \"dotted\"\npackage.version = \"0.0.0\"\npackage.edition = \"2024\"\n\
                      dependencies.itoa = \"1\"\n";
        project.write("trap/dotted/Cargo.toml", dotted);
        let members = "[workspace]\nresolver = \"3\"\nmembers = ['says', 'literal', 'dotted']\n";
        project.write("trap/Cargo.toml", members);
        for name in ["literal", "dotted"] {
            project
                .write(&format!("trap/{name}/src/lib.rs"), &format!("pub const WORD: &str = \"{name}\";\n"));
        }
        let main = "fn main() {\n    let word = itoa::Buffer::new().format(7).to_owned();\n    \
                    println!(\"{word} {} {}\", literal::WORD, dotted::WORD);\n}\n";
        project.write("trap/says/src/main.rs", main);
        let project = locked(project)?;
        set_itoa(&project, "1.0.14");
        Some(project)
    };
    let Some(site) = Site::new(TEST, "trap", project) else { return };
    site.build("says").expect_ran(DEPENDENCIES);
    assert_eq!(site.says("says", &[]), "7 literal dotted\n");
    set_itoa(&site.project, "1.0.15");
    let steps = site.build("says");
    steps.expect_ran(DEPENDENCIES).expect_ran(APPLICATION);
    assert!(compiled(&steps, DEPENDENCIES).contains("itoa"));
    assert_eq!(site.says("says", &[]), "7 literal dotted\n");
}

/// Locks another version of the package from crates.io.
fn set_itoa(project: &Project, version: &str) {
    let mut cargo = Command::new("cargo");
    cargo.args(["update", "--quiet", "itoa", "--precise", version]).current_dir(project.path().join("trap"));
    assert!(cargo.status().unwrap().success());
}
