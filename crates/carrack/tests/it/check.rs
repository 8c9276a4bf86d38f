//! `carrack check`: what is found and said, what is mended, and with which exit codes.

use std::fs;

use carrack_testkit::{Finished, Program, Project};
use serde_json::Value;

/// A workspace with a service and a library, with a lock file and a toolchain file, and a Dockerfile.
fn shop(dockerfile: &str) -> Project {
    let project = Project::workspace(&["shop"]);
    project.write("rust-toolchain.toml", "[toolchain]\nchannel = \"1.95\"\n");
    project.write("Dockerfile", dockerfile);
    project
}

fn run(project: &Project, arguments: &[&str]) -> Finished {
    let program = Program::new(env!("CARGO_BIN_EXE_carrack")).in_clean_environment();
    let program = program.with_env("PATH", std::env::var("PATH").unwrap()).with_env("NO_COLOR", "1");
    program.run(project.path(), &[&["check"], arguments].concat())
}

fn names(finished: &Finished) -> Vec<String> {
    let objects = finished.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    objects.map(|object| object["check"].as_str().unwrap().to_owned()).collect()
}

const CLEAN: &str = "\
FROM rust:1.95-bookworm AS build
WORKDIR /app
COPY . .
RUN --mount=type=cache,id=shop-target,target=/app/target,sharing=locked \\
    cargo build --release --locked && cp target/release/shop /usr/local/bin/shop

FROM debian:bookworm-slim
COPY --from=build /usr/local/bin/shop /usr/local/bin/shop
USER 65532:65532
ENTRYPOINT [\"shop\"]
";

/// Every fix there is, and comments, odd spacing and a line end that must stay.
const MENDABLE: &str = "\
# syntax=docker/dockerfile:1

# The builder
FROM   rust:slim-bookworm  AS build
WORKDIR /app
COPY --parents Cargo.toml Cargo.lock **/Cargo.toml ./
RUN --mount=type=cache,id=shop-target,target=/app/target   \\
    # stubs
    --mount=type=cache,target=/root/.cargo/registry \\
    mkdir -p shop/src shared/src && touch shared/src/lib.rs && echo 'fn main() {}' > shop/src/main.rs && \\
    cargo build --release
COPY . .
RUN --mount=type=cache,id=shop-target,target=/app/target,sharing=shared \\
\tcargo   build --release && cp target/release/shop /usr/local/bin/

FROM debian:bookworm-slim
COPY --from=build /usr/local/bin/shop /usr/local/bin/shop
USER 65532:65532
ENTRYPOINT [\"shop\"]";

#[test]
fn exit_codes() {
    let project = shop(CLEAN);
    project.write(".dockerignore", "target\n");
    let clean = run(&project, &[]).expect_code(0);
    assert_eq!((clean.stdout.as_str(), clean.stderr.as_str()), ("", ""));

    let warned = CLEAN.replace("USER 65532:65532\n", "");
    project.write("Dockerfile", &warned);
    run(&project, &[]).expect_code(0);
    run(&project, &["--strict"]).expect_code(1);

    project.write("Dockerfile", &CLEAN.replace("release/shop /", "release/shop-server /"));
    run(&project, &[]).expect_code(1);

    project.write("Dockerfile", "FROM rust:1.95\nCOPPY . .\n");
    run(&project, &[]).expect_code(2).expect_stderr("did you mean `COPY`?");
    run(&project, &["no/such/Dockerfile"]).expect_code(2).expect_stderr("cannot read no/such/Dockerfile");
    project.write("empty/x", "");
    run(&project, &["empty"]).expect_code(2).expect_stderr("there is no Dockerfile in empty");
    project.write("Dockerfile", CLEAN);
    project.write(".dockerignore", "target\n[\n");
    run(&project, &[]).expect_code(2).expect_stderr("cannot understand line 2 of");
    run(&project, &["--frobnicate"]).expect_code(2);
}

#[test]
fn one_bad_file_does_not_hide_what_others_have() {
    let project = shop(&CLEAN.replace("release/shop /", "release/shop-server /"));
    project.write(".dockerignore", "target\n");
    project.write("Dockerfile.bad", "FORM x\n");
    let both = run(&project, &[]).expect_code(2).expect_stderr("unknown instruction `FORM`");
    assert!(both.stdout.contains("error[no-such-binary]"), "{}", both.stdout);
}

#[test]
fn files_are_found_by_their_names() {
    let project = shop(CLEAN);
    project.write(".dockerignore", "target\n");
    let wrong = CLEAN.replace("USER 65532:65532\n", "");
    for name in ["Dockerfile.two", "three.Dockerfile", "deploy/Dockerfile", "Dockerfile.two.dockerignore"] {
        project.write(name, if name.ends_with("ignore") { "target\n" } else { &wrong });
    }
    let found = run(&project, &["--format", "json"]).expect_code(0);
    let paths: Vec<String> = found
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(paths, ["Dockerfile.two", "three.Dockerfile"]);
    // The context of a file elsewhere is the workspace.
    let deploy = run(&project, &["--format", "json", "deploy"]).expect_code(0);
    assert_eq!(names(&deploy), ["runs-as-root"]);
}

#[test]
fn a_finding_is_said_with_its_lines() {
    let project = shop(&CLEAN.replace("release/shop /", "release/shop-server /"));
    project.write(".dockerignore", "target\n");
    let said = run(&project, &[]).expect_code(1).stdout;
    let expected = r#"error[no-such-binary]: the workspace makes no such program
 --> Dockerfile:5:42
  |
5 |     cargo build --release --locked && cp target/release/shop-server /usr/local/bin/shop
  |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^ no package makes a program `shop-server`
  The package or the program was renamed, and the path still has the old name.
hint: choose one of shop

1 error, 0 warnings
"#;
    assert_eq!(said, expected);
}

#[test]
fn fixes_change_what_they_must_and_nothing_else() {
    let project = shop(MENDABLE);
    let before = names(&run(&project, &["--format", "json"]));
    assert_eq!(
        before,
        [
            "unpinned-rust",
            "unlocked-cache-mount",
            "cargo-home-mount-at-wrong-place",
            "not-locked",
            "no-dockerignore",
            "unlocked-cache-mount",
            "stub-may-ship",
            "not-locked",
        ]
    );
    let fixed = run(&project, &["--fix"]).expect_code(0);
    assert_eq!(fixed.stdout, "", "everything here can be mended");
    assert!(
        fixed.stderr.contains("   Fixed  Dockerfile:4  pin rust:slim-bookworm to rust:1.95-slim-bookworm")
    );
    let expected = MENDABLE
        .replace("rust:slim-bookworm", "rust:1.95-slim-bookworm")
        .replace("target=/app/target   \\", "target=/app/target,sharing=locked   \\")
        .replace("/root/.cargo/registry", "/usr/local/cargo/registry")
        .replace("sharing=shared", "sharing=locked")
        .replace("cargo build --release", "cargo build --locked --release")
        .replace(
            "\tcargo   build",
            "\ttouch -c shared/src/lib.rs shop/src/main.rs && cargo   build --locked",
        );
    let text = fs::read_to_string(project.path().join("Dockerfile")).unwrap();
    assert_eq!(text, expected);
    assert_eq!(fs::read_to_string(project.path().join(".dockerignore")).unwrap(), "target\n");
    // Again: nothing to do, nothing done.
    let again = run(&project, &["--fix"]).expect_code(0);
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("", ""));
    assert_eq!(fs::read_to_string(project.path().join("Dockerfile")).unwrap(), expected);
}

#[test]
fn an_ignore_file_is_extended_as_it_is_written() {
    let project = shop(CLEAN);
    project.write(".dockerignore", "# ours\r\n.git");
    run(&project, &["--fix"]).expect_code(0).expect_stderr("add target to .dockerignore");
    assert_eq!(
        fs::read_to_string(project.path().join(".dockerignore")).unwrap(),
        "# ours\r\n.git\r\ntarget\r\n"
    );
    // Not if another Dockerfile wants what would be left out.
    project.write(".dockerignore", ".git\n");
    project.write("Dockerfile.prebuilt", "FROM debian\nCOPY target/release/shop /\nUSER 1\n");
    run(&project, &["--fix"]).expect_code(0);
    assert_eq!(fs::read_to_string(project.path().join(".dockerignore")).unwrap(), ".git\n");
}

#[test]
fn the_workspace_is_known() {
    let project = shop(
        "FROM rust:1.90-bookworm\nWORKDIR /app\nCOPY Cargo.toml Cargo.lock ./\nCOPY old/Cargo.toml old/\nRUN cargo fetch --locked\n",
    );
    project.write(".dockerignore", "target\nCargo.lock\n");
    project.write(".github/workflows/ci.yml", "steps:\n  - uses: docker/build-push-action@v6\n");
    let found = names(&run(&project, &["--format", "json"]).expect_code(1));
    let expected =
        ["toolchain-differs", "lock-file-ignored", "CopyIgnoredFile", "member-gone", "missing-member"];
    assert_eq!(found, expected);
    project.write("Dockerfile", CLEAN);
    project.write(".dockerignore", "target\n");
    assert_eq!(names(&run(&project, &["--format", "json"]).expect_code(0)), ["cache-mount-lost-in-ci"]);
    project.write("Cargo.toml", "[workspace\n");
    run(&project, &[]).expect_code(2);
}

#[test]
fn sarif_has_what_code_scanning_needs() {
    let project = shop(MENDABLE);
    let sarif: Value =
        serde_json::from_str(&run(&project, &["--format", "sarif"]).expect_code(1).stdout).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert!(run["tool"]["driver"]["name"].is_string());
    for rule in rules {
        for key in ["shortDescription", "fullDescription", "help"] {
            assert!(!rule[key]["text"].as_str().unwrap().is_empty(), "{rule}");
        }
        assert!(["error", "warning"].contains(&rule["defaultConfiguration"]["level"].as_str().unwrap()));
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 8);
    let mut replaced = 0;
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "Dockerfile");
        assert!(
            place["region"]["startLine"].as_u64().unwrap() > 0
                && place["region"]["endColumn"].as_u64().unwrap() > 0
        );
        for fix in result["fixes"].as_array().into_iter().flatten() {
            let change = &fix["artifactChanges"][0];
            assert!(change["artifactLocation"]["uri"].is_string() && fix["description"]["text"].is_string());
            assert!(change["replacements"][0]["deletedRegion"]["startLine"].is_u64());
            assert!(change["replacements"][0]["insertedContent"]["text"].is_string());
            replaced += 1;
        }
    }
    assert_eq!(replaced, 7);
    let pin = &results[0];
    assert_eq!(pin["ruleId"], "unpinned-rust");
    assert_eq!(
        pin["locations"][0]["physicalLocation"]["region"],
        serde_json::json!({"startLine": 4, "startColumn": 8, "endLine": 4, "endColumn": 26})
    );
}

#[test]
fn every_check_is_listed() {
    let project = Project::new();
    let list = run(&project, &["--list"]).expect_code(0).stdout;
    let pages = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/checks")).unwrap();
    let dockers = list.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    let dockers = dockers.count();
    assert_eq!((list.lines().count() - dockers + 1, dockers), (pages.count(), 22));
}

/// Four of Docker's checks find something, ours nothing.
const ODD: &str = "FROM scratch as Build\nMAINTAINER me\nENV GREETING hello\nCOPY secret.txt /\n";

#[test]
fn dockers_checks_are_made_too() {
    let project = Project::new();
    project.write("Dockerfile", ODD);
    project.write(".dockerignore", "*.txt\n");
    let found = run(&project, &["--format", "json"]).expect_code(0);
    let expected = [
        "FromAsCasing",
        "StageNameCasing",
        "MaintainerDeprecated",
        "LegacyKeyValueFormat",
        "CopyIgnoredFile",
    ];
    let mut sorted = names(&found);
    sorted.sort_unstable();
    let mut wanted = expected.to_vec();
    wanted.sort_unstable();
    assert_eq!(sorted, wanted);
    let first: Value = serde_json::from_str(found.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["line"], &first["severity"]), (&1.into(), &"warning".into()));
    assert!(first["url"].as_str().unwrap().starts_with("https://docs.docker.com/go/dockerfile/rule/"));
    run(&project, &["--strict"]).expect_code(1);

    let said = run(&project, &[]).expect_code(0).stdout;
    let expected = "\
warning[MaintainerDeprecated]: MAINTAINER is deprecated
 --> Dockerfile:2:1
  |
2 | MAINTAINER me
  | ^^^^^^^^^^ ";
    assert!(said.contains(expected), "{said}");
    let hint = "\nhint: see https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\n\n";
    assert!(said.contains(hint) && said.ends_with("0 errors, 5 warnings\n"), "{said}");
    let sarif: Value = serde_json::from_str(&run(&project, &["--format", "sarif"]).stdout).unwrap();
    let (rules, results) = (&sarif["runs"][0]["tool"]["driver"]["rules"], &sarif["runs"][0]["results"]);
    for result in results.as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(rules[index]["helpUri"].is_string());
    }

    // What the file itself says about checks counts.
    project.write("Dockerfile", &format!("# check=skip=all\n{ODD}"));
    assert_eq!(names(&run(&project, &["--format", "json"]).expect_code(0)), [""; 0]);
    project.write("Dockerfile", &format!("# check=skip=FromAsCasing,CopyIgnoredFile;error=true\n{ODD}"));
    let failed = run(&project, &[]).expect_code(1).stdout;
    assert!(failed.ends_with("3 errors, 0 warnings\n"), "{failed}");
}

#[test]
fn what_init_wrote_is_clean() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/rustcare");
    let checked = run(&Project::new(), &["--strict", example]).expect_code(0);
    assert_eq!(checked.stdout, "");
}
