//! `carrack init`: what it writes, what it never overwrites, and what it finds out of date.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use carrack_testkit::Project;
use toml_edit::{DocumentMut, Item};

use crate::stage::Stage;

const FILES: [&str; 5] =
    ["Dockerfile", ".dockerignore", "compose.yaml", "Makefile", ".github/workflows/images.yaml"];

fn read(stage: &Stage, name: &str) -> String {
    fs::read_to_string(stage.file(name)).unwrap()
}

#[test]
fn all_files_are_written_and_found_true() {
    let stage = Stage::app();
    let written = stage.run(&["init"]).expect_code(0);
    for name in FILES {
        assert!(written.stderr.contains(&format!("Wrote  {name}\n")), "{}", written.stderr);
        assert!(read(&stage, name).starts_with("# Written by carrack init for "), "{name}");
    }
    let again = stage.run(&["init"]).expect_code(0);
    assert_eq!(again.stderr.matches("Unchanged").count(), FILES.len(), "{}", again.stderr);
    let checked = stage.run(&["init", "--check"]).expect_code(0);
    assert_eq!(checked.stdout, "");
    assert_eq!(checked.stderr, "        Ok  5 files fit\n");
}

#[test]
fn check_shows_what_no_longer_fits_and_writes_nothing() {
    let stage = Stage::app();
    stage.run(&["init"]).expect_code(0);
    let before = read(&stage, "Dockerfile");
    stage.configure("\n[package.metadata.carrack]\nports = [8080]\n");
    let checked = stage.run(&["init", "--check"]).expect_code(1);
    assert!(checked.stdout.contains("--- a/Dockerfile\n+++ b/Dockerfile\n"), "{}", checked.stdout);
    assert!(checked.stdout.contains("\n+EXPOSE 8080/tcp\n"), "{}", checked.stdout);
    assert!(checked.stdout.contains("\n+      - \"8080:8080\"\n"), "{}", checked.stdout);
    assert!(checked.stderr.contains("hint: run `carrack init` and commit the result"), "{}", checked.stderr);
    assert_eq!(read(&stage, "Dockerfile"), before);

    let updated = stage.run(&["init"]).expect_code(0);
    assert!(updated.stderr.contains("Updated  Dockerfile"), "{}", updated.stderr);
    assert!(updated.stderr.contains("Unchanged  .dockerignore"), "{}", updated.stderr);
    stage.run(&["init", "--check"]).expect_code(0);
}

#[test]
fn without_any_file_there_is_nothing_true() {
    let stage = Stage::app();
    let checked = stage.run(&["init", "--check"]).expect_code(1);
    assert!(checked.stdout.contains("+++ b/Dockerfile"), "{}", checked.stdout);
    assert!(!stage.file("Dockerfile").exists());
}

#[test]
fn what_a_person_wrote_or_changed_stays() {
    let stage = Stage::app();
    stage.project.write("Makefile", "all:\n\ttrue\n");
    let refused = stage.run(&["init"]).expect_code(2);
    assert!(refused.stderr.contains("a person wrote or changed these files"), "{}", refused.stderr);
    assert!(refused.stderr.contains("/Makefile\n"), "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing was written"), "{}", refused.stderr);
    assert!(!stage.file("Dockerfile").exists(), "all files or none");
    assert_eq!(read(&stage, "Makefile"), "all:\n\ttrue\n");

    stage.run(&["init", "--only", "dockerfile,dockerignore"]).expect_code(0);
    assert!(!stage.file("compose.yaml").exists());
    // Their own Makefile beside ours is a decision by now, and what was not wanted does not come.
    let again = stage.run(&["init"]).expect_code(0);
    assert!(again.stderr.contains("Yours  Makefile"), "{}", again.stderr);
    assert_eq!(read(&stage, "Makefile"), "all:\n\ttrue\n");
    assert!(!stage.file("compose.yaml").exists());

    let changed = read(&stage, "Dockerfile").replace("WORKDIR /src\n", "WORKDIR /src\nRUN true\n");
    stage.project.write("Dockerfile", &changed);
    stage.run(&["init"]).expect_code(2);
    assert_eq!(read(&stage, "Dockerfile"), changed);
    let checked = stage.run(&["init", "--check"]).expect_code(1);
    assert!(checked.stdout.contains("\n-RUN true\n"), "{}", checked.stdout);
    stage.run(&["init", "--force", "--only", "dockerfile"]).expect_code(0);
    assert!(!read(&stage, "Dockerfile").contains("RUN true"));
    assert_eq!(read(&stage, "Makefile"), "all:\n\ttrue\n");
}

#[test]
fn without_its_seal_a_file_is_a_persons_own() {
    let stage = Stage::app();
    stage.run(&["init"]).expect_code(0);
    let own: String = read(&stage, "Makefile").lines().skip(2).map(|line| format!("{line}\n")).collect();
    stage.project.write("Makefile", &own);
    let checked = stage.run(&["init", "--check"]).expect_code(0);
    assert!(checked.stderr.contains("Yours  Makefile"), "{}", checked.stderr);
}

#[test]
fn a_removed_file_stays_removed_until_it_is_asked_for() {
    let stage = Stage::app();
    stage.run(&["init"]).expect_code(0);
    fs::remove_file(stage.file("Makefile")).unwrap();
    stage.run(&["init", "--check"]).expect_code(0);
    stage.run(&["init"]).expect_code(0);
    assert!(!stage.file("Makefile").exists());
    stage.run(&["init", "--check", "--only", "makefile"]).expect_code(1);
    stage.run(&["init", "--only", "makefile"]).expect_code(0);
    assert!(stage.file("Makefile").exists());
}

#[test]
fn the_name_of_the_project_is_kept() {
    let stage = Stage::app();
    stage.run(&["init"]).expect_code(0);
    let name = stage.path().file_name().unwrap().to_str().unwrap().to_lowercase();
    assert!(read(&stage, "Dockerfile").contains(&format!("id={name}-target,")));
    let elsewhere = Stage::new(Project::binary("app", "hello"));
    for file in FILES {
        elsewhere.project.write(file, &read(&stage, file));
    }
    elsewhere.run(&["init", "--check"]).expect_code(0);
}

#[test]
fn one_file_can_be_printed() {
    let stage = Stage::app();
    let printed = stage.run(&["init", "--stdout", "--only", "dockerfile"]).expect_code(0);
    assert!(!stage.file("Dockerfile").exists());
    stage.run(&["init"]).expect_code(0);
    assert_eq!(printed.stdout, read(&stage, "Dockerfile"));
    let all = stage.run(&["init", "--stdout"]).expect_code(0).stdout;
    assert_eq!(all.matches("==> ").count(), FILES.len());
}

#[test]
fn line_ends_of_another_system_break_nothing() {
    let stage = Stage::app();
    stage.run(&["init"]).expect_code(0);
    let text = read(&stage, "compose.yaml").replace('\n', "\r\n");
    stage.project.write("compose.yaml", &text);
    stage.run(&["init", "--check"]).expect_code(0);
}

/// What a workspace says, and the line of the Dockerfile that follows from it.
#[test]
fn the_dockerfile_follows_the_workspace() {
    let table = [
        ("", "ARG RUNTIME=debian:bookworm-slim"),
        ("rust-version = \"1.90\"", "ARG RUST=rust:1.90-slim-bookworm"),
        (
            "[workspace]\n[workspace.metadata.carrack]\nbuilder = \"rust:1.95-slim-trixie\"",
            "ARG RUNTIME=debian:trixie-slim",
        ),
        (
            "[workspace]\n[workspace.metadata.carrack]\nbuilder = \"rust:1.95@sha256:0000\"",
            "ARG RUST=rust:1.95@sha256:0000",
        ),
        (
            "[package.metadata.carrack]\nbase = \"gcr.io/distroless/cc-debian12\"",
            "COPY --from=application /runtime/libraries/app/ /",
        ),
        (
            "[package.metadata.carrack]\npackages = { build = [\"libpq-dev\"] }",
            "apt-get install -y --no-install-recommends libpq-dev",
        ),
        ("[package.metadata.carrack]\npackages = { run = [\"libpq5\"] }", "$(cat /tmp/packages) libpq5; do"),
        ("[package.metadata.carrack]\nenv = { PRICE = \"5$ \\\"net\\\"\" }", r#"ENV PRICE="5\$ \"net\"""#),
        ("[package.metadata.carrack]\nuser = \"1000:1000\"", "USER 1000:1000"),
        (
            "[package.metadata.carrack]\nhealthcheck = { cmd = [\"/app\", \"ok\"], interval = \"1m30s\", retries = 2 }",
            r#"HEALTHCHECK --interval=90s --retries=2 CMD ["/app","ok"]"#,
        ),
        (
            "[workspace]\n[workspace.metadata.carrack]\nprofile = \"small\"\n[profile.small]\ninherits = \"release\"",
            "install -D -t /out \"/target/small/$program\"",
        ),
        (
            "[workspace]\n[workspace.metadata.carrack]\nbuild-env = { GREETING = true, API_TOKEN = true, FIXED = \"1\" }",
            "--mount=type=secret,id=API_TOKEN",
        ),
    ];
    for (configuration, expected) in table {
        let stage = Stage::configured(configuration);
        let text = stage.run(&["init", "--stdout", "--only", "dockerfile"]).expect_code(0).stdout;
        assert!(text.contains(expected), "{configuration}: {expected}\n{text}");
        assert!(text.contains("--locked"), "{text}");
        assert!(!text.contains("{{") && !text.contains("{%"), "{text}");
    }
}

#[test]
fn secrets_are_no_arguments() {
    let stage = Stage::configured(
        "[workspace]\n[workspace.metadata.carrack]\nbuild-env = { GREETING = true, API_TOKEN = true }",
    );
    let text = stage.run(&["init", "--stdout", "--only", "dockerfile"]).expect_code(0).stdout;
    assert!(text.contains("\nARG GREETING\n") && !text.contains("ARG API_TOKEN"), "{text}");
}

#[test]
fn the_toolchain_file_pins_rust() {
    let stage = Stage::app();
    let release = std::process::Command::new("rustc").arg("-V").output().unwrap().stdout;
    let release = String::from_utf8(release).unwrap().split(' ').nth(1).unwrap().to_owned();
    stage.project.write("rust-toolchain.toml", "[toolchain]\nchannel = \"stable\"\n");
    let text = stage.run(&["init", "--stdout", "--only", "dockerfile"]).expect_code(0).stdout;
    assert!(text.contains(&format!("ARG RUST=rust:{release}-slim-bookworm\n")), "{text}");
}

#[test]
fn a_context_above_the_workspace_sends_only_what_cargo_reads() {
    let stage = Stage::new(Project::new());
    let project = &stage.project;
    project.write("unrelated/big", "…");
    project.write(
        "shared/lib/Cargo.toml",
        "[package]\nname = \"lib\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    project.write("shared/lib/src/lib.rs", "");
    project.write(
        "service/Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [dependencies]\nlib = { path = \"../shared/lib\" }\n",
    );
    project.write("service/src/main.rs", "fn main() {}\n");
    project.write(
        "service/Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\n \"lib\",\n]\n\n\
         [[package]]\nname = \"lib\"\nversion = \"0.1.0\"\n",
    );
    stage.run(&["init", "service"]).expect_code(0);
    let ignored = read(&stage, "service/Dockerfile.dockerignore");
    assert!(ignored.contains("\n*\n!service\n!shared/lib\n"), "{ignored}");
    // What cargo reads besides counts, unless it is only about its commands.
    project.write(".cargo/config.toml", "[alias]\nb = \"build\"\n");
    stage.run(&["init", "--check", "service"]).expect_code(0);
    project.write(".cargo/config.toml", "[build]\nrustflags = [\"--cfg=clinic\"]\n");
    let checked = stage.run(&["init", "--check", "service"]).expect_code(1);
    assert!(checked.stdout.contains("\n+!.cargo\n"), "{}", checked.stdout);
    let compose = read(&stage, "service/compose.yaml");
    assert!(compose.contains("context: ..\n      dockerfile: service/Dockerfile\n"), "{compose}");
    assert!(read(&stage, "service/Dockerfile").contains("WORKDIR /src/service\n"));
}

/// Where no right file is possible, there is none.
#[test]
fn what_can_not_be_right_is_refused() {
    let builder = |image: &str| format!("[workspace]\n[workspace.metadata.carrack]\nbuilder = \"{image}\"");
    let table = [
        (builder("rust:latest"), "cannot pin Rust: rust:latest names no version"),
        (builder("rust:1"), "cannot pin Rust: rust:1 names no version"),
        (builder("rust:1.95-alpine"), "cannot compile in rust:1.95-alpine, which is no Debian"),
        (
            format!("{}\nbase = \"debian:bullseye-slim\"", builder("rust:1.95-slim-bookworm")),
            "cannot run app on debian:bullseye-slim",
        ),
        (
            "[package.metadata.carrack]\nfiles = [{ from = \"a b\", to = \"/a\" }]".to_owned(),
            "cannot write the path a b into a Dockerfile",
        ),
        (
            "[package.metadata.carrack]\npackages = { run = [\"libpq5; rm\"] }".to_owned(),
            "`libpq5; rm` is no name of a Debian package",
        ),
    ];
    for (configuration, message) in table {
        let stage = Stage::configured(&configuration);
        let refused = stage.run(&["init"]);
        assert!(refused.stderr.contains(message), "{message}\n{}", refused.stderr);
        assert_eq!(refused.code, Some(2), "{message}");
        assert!(
            refused.stderr.contains("hint: ") || message.contains("Debian package"),
            "{}",
            refused.stderr
        );
        assert!(!stage.file("Dockerfile").exists());
    }
    let stage = Stage::app();
    stage.project.remove("Cargo.lock");
    let refused = stage.run(&["init"]).expect_code(2);
    assert!(refused.stderr.contains("cargo generate-lockfile"), "{}", refused.stderr);
    assert!(!stage.file("Cargo.lock").exists() && !stage.file("Dockerfile").exists());
}

/// The Dockerfile's `manifests` stage on manifests that people wrote: those of every package in cargo's cache.
#[test]
fn reduced_manifests_say_the_same_about_dependencies() {
    let stage = Stage::app();
    let dockerfile = stage.run(&["init", "--stdout", "--only", "dockerfile"]).expect_code(0).stdout;
    let (_, program) = dockerfile.split_once("find . -name Cargo.toml -exec awk -v kept=' ' '").unwrap();
    let (program, _) = program.split_once("' {} +;").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let reduced = folder.path().join("Cargo.toml");
    // As docker hands it to the shell: in one line.
    let program =
        program.replace("\\\n", "").replace("\"/src/\" FILENAME", &format!("\"{}\"", reduced.display()));

    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home =
        cargo_home.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cargo"));
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let packages =
        entries(&cargo_home.join("registry/src")).into_iter().flat_map(|registry| entries(&registry));
    let mut seen = 0;
    for original in packages.map(|package| package.join("Cargo.toml.orig")).filter(|path| path.is_file()) {
        let awk = Command::new("awk").args(["-v", "kept= ", &program]).arg(&original).status().unwrap();
        assert!(awk.success(), "{}", original.display());
        let [before, after] = [&original, &reduced].map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let document = text.parse::<DocumentMut>();
            about_dependencies(
                &document.unwrap_or_else(|error| panic!("{}: {error}\n{text}", original.display())),
            )
        });
        assert_eq!(before, after, "{}", original.display());
        seen += 1;
    }
    assert!(seen > 100, "{seen} manifests");
}

/// The Dockerfile takes the names of stubs from cargo's messages, whose ids have been written in three ways.
#[test]
fn stubs_are_known_by_every_cargos_ids() {
    let stage = Stage::app();
    let dockerfile = stage.run(&["init", "--stdout", "--only", "dockerfile"]).expect_code(0).stdout;
    let (_, program) = dockerfile.split_once("    sed -n '").unwrap();
    let (program, _) = program.split_once("' /tmp/units").unwrap();
    let said =
        |id: &str| format!("{{\"reason\":\"compiler-artifact\",\"package_id\":\"{id}\",\"target\":{{}}}}\n");
    let units = [
        said("path+file:///src/server#rustcare-server@0.0.0"),
        said("path+file:///src/crates/rustcare_core#0.0.0"),
        said("old-form 0.0.0 (path+file:///src/old-form)"),
        said("registry+https://github.com/rust-lang/crates.io-index#serde@1.0.0"),
        said("libc 0.2.0 (registry+https://github.com/rust-lang/crates.io-index)"),
    ];
    stage.project.write("units", &units.concat());
    let names =
        Command::new("sed").args(["-n", &program.replace("\\\n", "")]).arg(stage.file("units")).output();
    let names = String::from_utf8(names.unwrap().stdout).unwrap();
    assert_eq!(names, "rustcare-server\nrustcare_core\nold-form\n");
}

/// What a manifest says about dependencies, in one spelling.
fn about_dependencies(manifest: &DocumentMut) -> BTreeMap<String, String> {
    const TABLES: [&str; 6] = ["features", "profile", "patch", "replace", "cargo-features", "target"];
    const OF_PACKAGE: [&str; 4] = ["name", "edition", "links", "resolver"];
    let mut said = BTreeMap::new();
    for (key, item) in manifest.as_table() {
        let of_package = (key == "package").then_some(&OF_PACKAGE[..]);
        let of_library = (key == "lib").then_some(&["proc-macro", "proc_macro"][..]);
        if let (Some(names), Some(table)) = (of_package.or(of_library), item.as_table_like()) {
            let values = names.iter().filter_map(|name| Some((*name, table.get(name)?)));
            said.extend(values.map(|(name, item)| (format!("{key}.{name}"), spelled(item, false))));
        } else if TABLES.contains(&key) || key.ends_with("dependencies") {
            said.insert(key.to_owned(), spelled(item, true));
        } else if let (true, Some(table)) = (key == "workspace", item.as_table_like()) {
            let kept = table.iter().filter(|(name, _)| !["lints", "metadata", "package"].contains(name));
            said.extend(kept.map(|(name, item)| (format!("{key}.{name}"), spelled(item, true))));
        }
    }
    said.retain(|_, text| text != "{}");
    said
}

/// A value without its layout, and without the version that a path makes pointless.
fn spelled(item: &Item, drop_versions: bool) -> String {
    match (item.as_table_like(), item.as_array()) {
        (Some(table), _) => {
            let pointless = |name: &str| drop_versions && name == "version" && table.contains_key("path");
            let entries = table.iter().filter(|(name, _)| !pointless(name));
            let entries: BTreeMap<&str, String> =
                entries.map(|(name, item)| (name, spelled(item, drop_versions))).collect();
            format!("{entries:?}")
        }
        (None, Some(array)) => {
            let values = array.iter().map(|value| spelled(&Item::Value(value.clone()), drop_versions));
            format!("{:?}", values.collect::<Vec<_>>())
        }
        (None, None) => match (item.as_str(), item.as_array_of_tables()) {
            (Some(text), _) => text.to_owned(),
            (None, Some(tables)) => format!("{} tables", tables.len()),
            (None, None) => item.to_string().trim().split('#').next().unwrap_or_default().trim().to_owned(),
        },
    }
}

/// What is committed beside the example is what would be written today.
#[test]
fn the_examples_files_are_true() {
    let stage = Stage::new(Project::new());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rustcare");
    let checked = stage.run(&["init", "--check", example.to_str().unwrap()]).expect_code(0);
    assert!(checked.stderr.contains("4 files fit"), "{}", checked.stderr);
}
