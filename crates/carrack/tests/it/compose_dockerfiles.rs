//! `carrack compose build` of services that have a Dockerfile of their own, with the embedded engine.

use std::fs;
use std::path::Path;

use carrack_testkit::{Project, skipped};
use serde_json::json;

use crate::compose::{all, build, compose, images};
use crate::docker_build::with_dockerfile;
use crate::stage::Stage;

/// A project with a compose file, and `base:1` in the store: an image with a shell.
fn with_base(test: &str, project: Project, compose_file: &str) -> Option<Stage> {
    if !Path::new("/bin/busybox").exists() {
        skipped(test, "busybox-static is not installed");
        return None;
    }
    let base = with_dockerfile("FROM scratch\nCOPY rootfs /\n");
    let stage = Stage::new(project);
    let folder = base.path().to_str().unwrap();
    let dockerfile = base.file("Dockerfile");
    stage.build(&["-f", dockerfile.to_str().unwrap(), folder, "-t", "base:1", "-q"]);
    stage.project.write("compose.yaml", compose_file);
    Some(stage)
}

/// What an image's program prints.
#[track_caller]
fn says(stage: &Stage, image: &str) -> String {
    stage.run(&["run", image]).expect_code(0).stdout
}

#[test]
fn services_share_their_steps() {
    let services = r#"
name: clinic
services:
  web:
    build:
      context: ./app
      target: web
      args: {WHO: "${WHO}"}
      labels: {of: compose}
      tags: [web:extra]
  worker:
    image: example.org/worker:2
    build: {context: ./app, target: worker, args: [WHO=file]}
"#;
    let Some(stage) = with_base("services_share_their_steps", Project::new(), services) else { return };
    stage.project.write(".env", "WHO=environment\n");
    let say = "CMD [\"/bin/busybox\", \"cat\", \"/id\", \"/who\", \"/page\"]";
    stage.project.write(
        "app/Dockerfile",
        &format!(
            "FROM base:1 AS shared\nRUN busybox cat /proc/sys/kernel/random/uuid > /id\n\
            FROM shared AS web\nARG WHO\nRUN echo \"web for $WHO\" > /who\nCOPY page* /\n{say}\n\
            FROM shared AS worker\nARG WHO\nRUN echo \"worker for $WHO\" > /who\nCOPY page* /\n{say}\n"
        ),
    );
    stage.project.write("app/page", "a page\n");
    stage.project.write("app/page.secret", "none\n");
    stage.project.write("app/.dockerignore", "*.secret\n");
    let first = build(&stage, &[]);
    assert_eq!(all(&first, "image", "image"), ["clinic-web:latest", "example.org/worker:2"]);
    assert_eq!(images(&stage), ["base:1", "clinic-web:latest", "example.org/worker:2", "web:extra"]);
    let web = says(&stage, "web:extra");
    let (id, rest) = web.split_once('\n').unwrap();
    assert_eq!((id.len(), rest), (36, "web for environment\na page\n"));
    assert_eq!(says(&stage, "example.org/worker:2"), format!("{id}\nworker for file\na page\n"), "ran once");
    let labels = crate::compose::config(&stage, "web:extra")["config"]["Labels"].clone();
    assert_eq!(labels, json!({"of": "compose"}));

    let again = build(&stage, &["--engine", "embedded"]);
    assert!(again.iter().all(|event| event["event"] != "image" || event["unchanged"] == true), "{again:?}");
    build(&stage, &["--build-arg", "WHO=line"]);
    assert_eq!(says(&stage, "clinic-web"), format!("{id}\nweb for line\na page\n"));
    assert_eq!(says(&stage, "example.org/worker:2"), format!("{id}\nworker for line\na page\n"));
    build(&stage, &["--no-cache", "web"]);
    assert!(!says(&stage, "clinic-web").starts_with(id), "it ran again");
}

#[test]
fn services_begin_with_others() {
    let services = r#"
name: clinic
services:
  web: {build: .}
  # Its name is before that of the service that it needs.
  around:
    build:
      dockerfile_inline: |
        FROM inner
        COPY --from=files notes /
      additional_contexts: {inner: "service:web", files: ./files}
  outer:
    build:
      dockerfile_inline: |
        FROM middle
        RUN echo outer >> /who
      additional_contexts: ["middle=service:zone"]
  zone:
    build:
      dockerfile_inline: |
        FROM base
        RUN echo zone > /who
        CMD ["/bin/busybox", "cat", "/who"]
      additional_contexts: {base: "oci-layout://${LAYOUT}"}
"#;
    let project = Project::workspace(&["web"]);
    let Some(stage) = with_base("services_begin_with_others", project, services) else { return };
    let base = with_dockerfile("FROM base:1\n");
    let layout = stage.home.path().join("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let dockerfile = base.file("Dockerfile");
    let folder = base.path().to_str().unwrap();
    stage.build(&["-f", dockerfile.to_str().unwrap(), folder, "-q", "-t", "other:1", "-o", &output]);
    stage.run(&["rm", "other:1"]).expect_code(0);
    stage.run(&["rm", "base:1"]).expect_code(0);
    stage.project.write(".env", &format!("LAYOUT={}\n", layout.display()));
    stage.project.write("files/notes", "noted\n");

    let events = build(&stage, &["outer", "around"]);
    let names = ["clinic-around:latest", "clinic-outer:latest", "clinic-web:latest", "clinic-zone:latest"];
    assert_eq!(all(&events, "image", "image"), names, "what others begin with is built too");
    assert_eq!(says(&stage, "clinic-around"), "web 1\n");
    assert_eq!(says(&stage, "clinic-outer"), "zone\nouter\n");
    let again = build(&stage, &["outer", "around"]);
    assert!(again.iter().all(|event| event["event"] != "image" || event["unchanged"] == true), "{again:?}");
}

#[test]
fn secrets_of_one_name() {
    let services = r#"
name: clinic
services:
  file:
    build: {dockerfile_inline: "${TEXT}", args: {WHO: file}, secrets: [{source: from_file, target: token}]}
  variable:
    build: {dockerfile_inline: "${TEXT}", args: {WHO: variable}, secrets: [{source: from_env, target: token}]}
secrets:
  from_file: {file: ./token.txt}
  from_env: {environment: CLINIC_TOKEN}
"#;
    let text = "FROM base:1\nARG WHO\nRUN --mount=type=secret,id=token,required \
        echo $$WHO $$(busybox cat /run/secrets/token) > /seen\nCMD [\"/bin/busybox\", \"cat\", \"/seen\"]\n";
    let services = services.replace("${TEXT}", &text.replace('"', "\\\"").replace('\n', "\\n"));
    let Some(stage) = with_base("secrets_of_one_name", Project::new(), &services) else { return };
    stage.project.write("token.txt", "in a file");
    let missing = compose(&stage, &["build", "variable"]).expect_code(2);
    assert!(
        missing.stderr.starts_with(
            "error: cannot build variable: its `secrets` can't be `id=token,env=CLINIC_TOKEN`\n --> compose.yaml:6:3\n"
        ),
        "{}",
        missing.stderr
    );
    stage.project.write(".env", "CLINIC_TOKEN=in the environment\n");
    build(&stage, &[]);
    assert_eq!(says(&stage, "clinic-file"), "file in a file\n");
    assert_eq!(says(&stage, "clinic-variable"), "variable in the environment\n");
}

#[test]
fn caches_of_a_service_are_its_own() {
    if !Path::new("/bin/busybox").exists() {
        return skipped("caches_of_a_service_are_its_own", "busybox-static is not installed");
    }
    let shared = tempfile::tempdir().unwrap();
    let place = shared.path().join("cache").display().to_string();
    let services = format!(
        r#"
name: clinic
services:
  web:
    build:
      context: .
      args: {{WHO: web}}
      cache_from: ["type=local,src={place}", "example.org/web:latest"]
      cache_to: ["type=local,dest={place},mode=max", "type=gha"]
  worker: {{build: {{context: ., args: {{WHO: worker}}, cache_from: ["type=local,src={place}"]}}}}
"#
    );
    let machine = || {
        let text = "FROM scratch\nCOPY rootfs /\nARG WHO\nRUN busybox cat /proc/sys/kernel/random/uuid > /id\n\
            CMD [\"/bin/busybox\", \"cat\", \"/id\"]\n";
        let stage = with_dockerfile(text);
        stage.project.write("compose.yaml", &services);
        stage
    };
    let (first, second) = (machine(), machine());
    let events = build(&first, &[]);
    assert_eq!(
        all(&events, "warning", "message"),
        [
            "web: cache_from `example.org/web:latest` is left out: a cache needs a `type`: registry, s3 or local",
            "web: cache_to `type=gha` is left out: there is no cache of type `gha`"
        ]
    );
    build(&second, &[]);
    assert_eq!(says(&second, "clinic-web"), says(&first, "clinic-web"), "it came from there");
    assert_ne!(says(&second, "clinic-worker"), says(&first, "clinic-worker"), "nobody published it");
}

#[test]
fn what_is_not_done_is_said() {
    let services = r#"
name: clinic
services:
  quiet:
    build:
      dockerfile_inline: "FROM base:1\nRUN --security=insecure true\n"
      privileged: true
      entitlements: [security.insecure, network.host]
      provenance: false
      sbom: "false"
  loud:
    build:
      dockerfile_inline: "FROM base:1\n"
      entitlements: [device]
      provenance: mode=max
      sbom: true
"#;
    let Some(stage) = with_base("what_is_not_done_is_said", Project::new(), services) else { return };
    let events = build(&stage, &[]);
    assert_eq!(
        all(&events, "warning", "message"),
        ["loud: entitlements, provenance, sbom mean nothing here"]
    );
}

#[test]
fn failures_name_the_service_and_the_line() {
    let services = "name: clinic\nservices:\n  web:\n    build:\n      dockerfile_inline: |\n        \
        FROM base:1\n        RUN exit 7\n  site: {build: ./site}\n";
    let Some(stage) = with_base("failures_name_the_service_and_the_line", Project::new(), services) else {
        return;
    };
    fs::create_dir_all(stage.file("site")).unwrap();
    stage.project.write("site/Dockerfile", "FROM base:1\nCOPY nothing /\n");
    let failed = compose(&stage, &["build", "web"]).expect_code(1);
    let expected = " --> dockerfile_inline of web:2:1\n  |\n2 | RUN exit 7\n";
    assert!(failed.stderr.contains(expected), "{}", failed.stderr);
    let failed = compose(&stage, &["build", "site"]).expect_code(1);
    assert!(failed.stderr.contains("site/Dockerfile:2:1\n"), "{}", failed.stderr);
    assert_eq!(images(&stage), ["base:1"]);
}
