//! `carrack compose build`: real compose files over real workspaces.

use std::fs;

use carrack_testkit::{Docker, Finished, Project};
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::stage::dockyard_folder;

/// A workspace with three binaries, and a compose file.
fn clinic(compose: &str) -> Stage {
    let project = Project::workspace(&["web", "worker", "tool"]);
    project.write("compose.yaml", compose);
    Stage::new(project)
}

pub(crate) fn compose(stage: &Stage, arguments: &[&str]) -> Finished {
    stage.run(&[&["compose"], arguments].concat())
}

/// Builds, which has to work, and what happened.
#[track_caller]
pub(crate) fn build(stage: &Stage, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["build", "--progress", "rawjson"], arguments].concat();
    events(&compose(stage, &arguments).expect_code(0))
}

#[track_caller]
pub(crate) fn events(finished: &Finished) -> Vec<Value> {
    let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    finished.stderr.lines().map(event).collect()
}

/// A field of every event of one kind, sorted.
pub(crate) fn all<'e>(events: &'e [Value], kind: &str, field: &str) -> Vec<&'e str> {
    let of_kind = events.iter().filter(|event| event["event"] == kind);
    let mut values: Vec<&str> = of_kind.map(|event| event[field].as_str().unwrap()).collect();
    values.sort_unstable();
    values
}

/// The names of the store's images.
pub(crate) fn images(stage: &Stage) -> Vec<String> {
    let listed = stage.run(&["images", "--format", "json"]).expect_code(0).stdout;
    let name = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        row["name"].as_str().unwrap().to_owned()
    };
    let mut names: Vec<String> = listed.lines().map(name).collect();
    names.sort_unstable();
    names
}

/// What an image's configuration says.
pub(crate) fn config(stage: &Stage, image: &str) -> Value {
    let listed = stage.run(&["images", "--format", "json"]).expect_code(0).stdout;
    let rows = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let row = rows.into_iter().find(|row| row["name"] == image).unwrap();
    let hex = row["id"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let blob = stage.home.path().join("blobs/sha256").join(&hex[..2]).join(&hex);
    serde_json::from_slice(&fs::read(&blob).unwrap_or_else(|error| panic!("{}: {error}", blob.display())))
        .unwrap()
}

#[test]
fn caches_of_cargo_services_are_read_and_written() {
    let shared = tempfile::tempdir().unwrap();
    let place = shared.path().join("cache").display().to_string();
    let services = format!(
        "name: clinic\nservices:\n  web:\n    build:\n      context: .\n      cache_from: ['type=local,src={place}']\n      \
        cache_to: ['type=local,dest={place}', type=inline]\n      network: host\n      sbom: true\n"
    );
    let (first, second) = (clinic(&services), clinic(&services));
    let events = build(&first, &[]);
    assert_eq!(
        all(&events, "warning", "message"),
        [
            "web: cache_to `type=inline` is left out: there is no cache of type `inline`",
            "web: network, sbom mean nothing to cargo, which builds it"
        ]
    );
    assert_eq!(all(&events, "step-started", "name"), ["Compile"]);
    let origins: Vec<Value> =
        build(&second, &[]).into_iter().filter(|event| event["event"] == "unit").collect();
    assert!(origins.iter().all(|event| event["origin"] != "compiled"), "{origins:?}");
    assert_eq!(second.run(&["run", "clinic-web"]).expect_code(0).stdout, "web 1\n");
}

#[test]
fn services_of_a_workspace_are_one_compilation() {
    let stage = clinic(
        r#"
name: clinic
services:
  web:
    build: .
  jobs:
    image: example.org/clinic/jobs:2
    build:
      context: .
      target: worker
      tags: [jobs:extra]
      labels: {org.example.team: blue}
  db:
    image: postgres
"#,
    );
    let first = build(&stage, &[]);
    assert_eq!(all(&first, "step-started", "name"), ["Compile"], "one run of cargo");
    let compiled: Vec<&str> = all(&first, "unit", "package").into_iter().collect();
    assert_eq!(compiled, ["shared 0.1.0", "web 0.1.0", "worker 0.1.0"], "each crate once, tool not at all");
    assert_eq!(all(&first, "image", "image"), ["clinic-web:latest", "example.org/clinic/jobs:2"]);
    assert_eq!(images(&stage), ["clinic-web:latest", "example.org/clinic/jobs:2", "jobs:extra"]);
    assert_eq!(stage.run(&["run", "clinic-web"]).expect_code(0).stdout, "web 1\n");
    assert_eq!(stage.run(&["run", "jobs:extra"]).expect_code(0).stdout, "worker 1\n");
    let of_jobs = config(&stage, "jobs:extra");
    assert_eq!(of_jobs["config"]["Labels"], json!({"org.example.team": "blue"}));
    assert_eq!(config(&stage, "clinic-web:latest")["config"]["Labels"], Value::Null);

    let again = build(&stage, &[]);
    assert!(all(&again, "step-started", "name").is_empty());
    assert!(again.iter().all(|event| event["event"] != "image" || event["unchanged"] == true), "{again:?}");

    stage
        .project
        .write("worker/src/main.rs", "fn main() {\n    println!(\"worker {}\", shared::NUMBER + 1);\n}\n");
    let changed = build(&stage, &[]);
    let news = changed.iter().filter(|event| event["event"] == "image" && event["unchanged"] == false);
    assert_eq!(news.map(|event| &event["image"]).collect::<Vec<_>>(), ["example.org/clinic/jobs:2"]);
    assert_eq!(stage.run(&["run", "jobs:extra"]).expect_code(0).stdout, "worker 2\n");
}

#[test]
fn several_services_of_one_binary() {
    let stage = clinic(
        "name: clinic\nservices:\n  web: {build: {context: ., target: web}}\n  \
        admin: {build: {context: ., target: web, labels: {role: admin}}, command: [admin]}\n",
    );
    let events = build(&stage, &[]);
    assert_eq!(all(&events, "unit", "package"), ["shared 0.1.0", "web 0.1.0"]);
    assert_eq!(images(&stage), ["clinic-admin:latest", "clinic-web:latest"]);
    assert_eq!(config(&stage, "clinic-admin:latest")["config"]["Labels"], json!({"role": "admin"}));
    assert_eq!(config(&stage, "clinic-web:latest")["config"]["Labels"], Value::Null);
}

#[test]
fn named_services_profiles_and_variables() {
    let stage = clinic(
        r#"
name: clinic
services:
  web:
    image: web:${VERSION:-none}
    build: .
    depends_on: [worker]
  worker:
    build: .
  tool:
    build: {context: .}
    profiles: [tools]
"#,
    );
    stage.project.write(".env", "VERSION=7\n");
    stage.project.write("other.env", "VERSION=8\n");
    build(&stage, &["web"]);
    assert_eq!(images(&stage), ["web:7"]);
    build(&stage, &["--with-dependencies", "web"]);
    assert_eq!(images(&stage), ["clinic-worker:latest", "web:7"]);
    // A name makes a service active, and so does its profile.
    build(&stage, &["tool"]);
    assert_eq!(images(&stage), ["clinic-tool:latest", "clinic-worker:latest", "web:7"]);
    let shown = compose(
        &stage,
        &["--profile", "tools", "-p", "other", "--env-file", "other.env", "build", "--progress", "rawjson"],
    );
    let built = events(&shown.expect_code(0));
    assert_eq!(all(&built, "image", "image"), ["other-tool:latest", "other-worker:latest", "web:8"]);

    let quiet = compose(&stage, &["build", "-q", "web", "worker"]).expect_code(0);
    let ids: Vec<&str> = quiet.stdout.lines().collect();
    assert_eq!((ids.len(), ids[0].starts_with("sha256:"), quiet.stderr.as_str()), (2, true, ""));
}

#[test]
fn files_over_each_other_and_folders_above() {
    let stage = clinic("services:\n  web: {build: ., image: web}\n");
    stage.project.write("ci.yaml", "services:\n  web: {image: \"web:ci\"}\n  worker: {build: .}\n");
    let folder = stage.path().join("web/src");
    let program = |arguments: &[&str]| {
        let mut command = stage.command(arguments);
        crate::stage::finish(command.current_dir(&folder)).expect_code(0)
    };
    program(&["compose", "build"]);
    assert_eq!(images(&stage), ["web:latest"]);
    program(&["compose", "-f", "../../compose.yaml", "-f", "../../ci.yaml", "-p", "ci", "build"]);
    assert_eq!(images(&stage), ["ci-worker:latest", "web:ci", "web:latest"]);
}

#[test]
fn workspaces_side_by_side() {
    let project = Project::new();
    for name in ["one", "two"] {
        let package = Project::binary(name, name);
        for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
            project.write(&format!("{name}/{file}"), &fs::read_to_string(package.path().join(file)).unwrap());
        }
    }
    project.write("compose.yaml", "name: both\nservices:\n  one: {build: ./one}\n  two: {build: two/}\n");
    let stage = Stage::new(project);
    let events = build(&stage, &[]);
    assert_eq!(all(&events, "unit", "package"), ["one 0.1.0", "two 0.1.0"]);
    assert_eq!(images(&stage), ["both-one:latest", "both-two:latest"]);
    let done = events.last().unwrap();
    assert_eq!((&done["event"], &done["summary"]), (&json!("done"), &json!("2 images built")));
}

#[test]
fn generated_files_are_cargo_services() {
    let stage = clinic("");
    stage.project.remove("compose.yaml");
    stage.run(&["init"]).expect_code(0);
    let events = build(&stage, &[]);
    assert_eq!(all(&events, "step-started", "name"), ["Compile"]);
    assert_eq!(all(&events, "image", "image").len(), 3, "{events:?}");

    // A stage that is no binary, and a person's change, are nothing that cargo could do: the Dockerfile is built.
    stage.project.write("compose.override.yaml", "services:\n  tool: {build: {target: nowhere}}\n");
    let refused = compose(&stage, &["build", "tool"]).expect_code(2);
    assert!(refused.stderr.contains("there is no stage `nowhere`"), "{}", refused.stderr);
    stage.project.remove("compose.override.yaml");
    let dockerfile = stage.path().join("Dockerfile");
    let text = fs::read_to_string(&dockerfile).unwrap();
    fs::write(&dockerfile, format!("{text}RAN true\n")).unwrap();
    let refused = compose(&stage, &["build", "web"]).expect_code(2);
    assert!(refused.stderr.contains("unknown instruction `RAN`"), "{}", refused.stderr);
}

#[test]
fn the_image_or_the_service_names_the_binary() {
    let stage = clinic(
        "name: clinic\nservices:\n  api: {build: ., image: \"example.org/web:3\"}\n  tool: {build: ./tool}\n",
    );
    build(&stage, &[]);
    assert_eq!(images(&stage), ["clinic-tool:latest", "example.org/web:3"]);
    assert_eq!(stage.run(&["run", "example.org/web:3"]).expect_code(0).stdout, "web 1\n");
}

#[test]
fn warnings() {
    let stage = clinic(
        "services:\n  web:\n    image: web:${TAG}x\n    build: {context: ., args: {MODE: fast, OTHER: x}}\n  \
        db: {image: db}\n",
    );
    let events = build(&stage, &["web", "db", "--build-arg", "A=1"]);
    let mut warnings = all(&events, "warning", "message");
    warnings.sort_unstable();
    assert_eq!(
        warnings,
        [
            "--build-arg means nothing here: cargo builds these services",
            "db has nothing to build: it has no `build` section",
            "the variable TAG is not set and counts as empty",
            "web: args mean nothing to cargo, which builds it: MODE, OTHER",
        ]
    );
    assert_eq!(images(&stage), ["web:x"]);

    stage.project.write("compose.yaml", "services:\n  db: {image: db}\n");
    let nothing = build(&stage, &[]);
    assert_eq!(all(&nothing, "warning", "message"), ["no service has anything to build"]);
}

/// The whole of standard error, and nothing in the store.
#[track_caller]
fn refused(file: &str, arguments: &[&str], code: i32, expected: &str) {
    let stage = clinic(file);
    let finished = compose(&stage, arguments).expect_code(code);
    assert_eq!(stage.filtered(&finished.stderr), expected);
    assert_eq!(finished.stdout, "");
}

#[test]
fn refusals_show_the_line() {
    refused(
        "services:\n  web:\n    build:\n      context: .\n      dockerfil: Dockerfile\n",
        &["build"],
        2,
        "error: unknown key `dockerfil` in services.web.build\n --> compose.yaml:5:7\n  |\n\
        5 |       dockerfil: Dockerfile\n  |       ^^^^^^^^^ did you mean `dockerfile`?\n",
    );
    refused(
        "services:\n  web:\n    image: web:${VERSION:?set it in CI}\n    build: .\n",
        &["build"],
        2,
        "error: the variable VERSION has no value\n --> compose.yaml:3:16\n  |\n\
        3 |     image: web:${VERSION:?set it in CI}\n  |                ^^^^^^^^^^^^^^^^^^^^^^^^ set it in CI\n\
        hint: set VERSION, or add it to .env\n",
    );
    refused(
        "services:\n  web: {build: .}\n",
        &["build", "wbe"],
        2,
        "error: there is no service `wbe`\nhint: did you mean `web`?\n",
    );
    refused(
        "services:\n  tol: {build: .}\n",
        &["build"],
        2,
        "error: cannot build tol: [PROJECT] has no binary `tol`\n --> compose.yaml:2:3\n  |\n\
        2 |   tol: {build: .}\n  |   ^^^ did you mean `tool`?\nhint: set `target` to one of tool, web, worker\n",
    );
    refused(
        "services:\n  web: {build: ./nowhere}\n",
        &["build"],
        2,
        "error: cannot build web: there is no folder [PROJECT]/nowhere\n --> compose.yaml:2:3\n  |\n\
        2 |   web: {build: ./nowhere}\n  |   ^^^ its context\n\
        hint: mend `context`; it starts at the folder of the compose file\n",
    );
    refused(
        "services:\n  web: {build: {context: ., dockerfile: prod.Dockerfile}}\n",
        &["build"],
        2,
        "error: cannot build web: there is no [PROJECT]/prod.Dockerfile\n --> compose.yaml:2:3\n  |\n\
        2 |   web: {build: {context: ., dockerfile: prod.Dockerfile}}\n  |   ^^^ its Dockerfile\n\
        hint: mend `dockerfile`; it starts at the context\n",
    );
    refused(
        "services:\n  web: {build: {context: ., target: web}, image: same}\n  \
        tool: {build: {context: ., target: tool}, image: same}\n",
        &["build"],
        2,
        "error: two services would make the image same:latest: tool, web\n\
        hint: give one of them another name with the key `image`\n",
    );
}

#[test]
fn no_compose_file() {
    let stage = Stage::app();
    let finished = compose(&stage, &["build"]).expect_code(2);
    assert_eq!(
        stage.filtered(&finished.stderr),
        "error: there is no compose file in [PROJECT] or above it\n\
        hint: name one with `carrack compose -f FILE build`, or build a workspace with `carrack build`\n"
    );
}

#[test]
fn what_needs_docker() {
    let stage = clinic(
        "services:\n  web: {build: .}\n  site: {build: {context: ./site, platforms: [linux/s390x, linux/amd64]}}\n  \
        over: {build: {dockerfile_inline: \"FROM far\", additional_contexts: {far: \"service:far\"}}}\n  \
        far: {build: {context: ., target: tool, platforms: [linux/s390x]}}\n",
    );
    stage.project.write("site/Dockerfile", "FROM scratch\n");
    let finished =
        compose(&stage, &["build", "--engine", "embedded", "--progress", "rawjson"]).expect_code(3);
    let events = events(&finished);
    let error = events.last().unwrap();
    assert_eq!(error["message"], "far, over, site need an engine of Docker's");
    assert_eq!(
        error["notes"],
        json!([
            "far: it is for linux/s390x",
            "over: it begins with the image of far",
            "site: it is for linux/s390x, linux/amd64",
        ])
    );
    assert!(images(&stage).is_empty(), "nothing is built before");
}

/// Dockerfiles are built by a real Docker, if that is asked for.
#[test]
fn dockerfiles_by_docker() {
    let Some(docker) = Docker::start("dockerfiles_by_docker", &dockyard_folder()) else { return };
    let stage = clinic(
        r#"
name: clinic
services:
  site:
    image: example.org/site:${VERSION}
    build:
      context: ./site
      args: {WHO: file, KEPT: yes}
      labels: {of: compose}
      target: last
      tags: [site:extra]
  inline:
    build:
      context: ./site
      dockerfile_inline: |
        FROM scratch
        COPY page /inline
"#,
    );
    let dockerfile =
        "FROM scratch AS last\nARG WHO\nARG KEPT\nLABEL who=$WHO kept=$KEPT\nCOPY page /\nFROM nowhere\n";
    stage.project.write("site/Dockerfile", dockerfile);
    stage.project.write("site/page", "hello\n");
    let mut command = stage.command(&[
        "compose",
        "build",
        "--engine",
        "docker",
        "--progress",
        "rawjson",
        "--build-arg",
        "WHO=line",
    ]);
    command.env("DOCKER_HOST", docker.host()).env("VERSION", "3");
    let events = events(&crate::stage::finish(&mut command).expect_code(0));
    let labels = |image: &str| docker.inspect(image)["Config"]["Labels"].clone();
    assert_eq!(labels("example.org/site:3"), json!({"who": "line", "kept": "yes", "of": "compose"}));
    assert_eq!(labels("site:extra"), labels("example.org/site:3"));
    docker.inspect("clinic-inline:latest");
    assert!(images(&stage).is_empty(), "they are Docker's");
    assert_eq!(events.last().unwrap()["summary"], "2 images built");

    stage.project.write("site/Dockerfile", "FROM scratch AS last\nCOPY nothing /\n");
    let mut command = stage.command(&["compose", "build", "--engine", "docker", "site"]);
    command.env("DOCKER_HOST", docker.host()).env("VERSION", "3");
    let failed = crate::stage::finish(&mut command).expect_code(1);
    assert!(failed.stderr.contains("COPY nothing /"), "{}", failed.stderr);
}

#[test]
fn errors_are_events_too() {
    let stage = clinic("services:\n  web:\n    build: .\n    imge: web\n");
    let finished = compose(&stage, &["build", "--progress", "rawjson"]).expect_code(2);
    let events = events(&finished);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["event"], "error");
    assert_eq!(events[0]["place"]["line"], 4);
    assert_eq!(events[0]["place"]["mark"], "did you mean `image`?");
}

#[test]
fn a_failed_compilation_is_the_users() {
    let stage = clinic("services:\n  web: {build: .}\n  worker: {build: .}\n");
    stage.project.write("worker/src/main.rs", "fn main() { let }\n");
    let finished = compose(&stage, &["build"]).expect_code(1);
    assert!(
        finished.stderr.ends_with("error: the workspace does not compile (cargo exit 101)\n"),
        "{}",
        finished.stderr
    );
    assert!(images(&stage).is_empty());
}
