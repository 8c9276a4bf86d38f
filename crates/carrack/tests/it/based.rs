//! Services whose image starts from another one.

use std::fs;

use crate::stage::Stage;

/// A workspace with `app`, whose image starts from `base`, and more of its configuration.
fn configured(stage: &Stage, base: &str, more: &str) {
    stage.configure(&format!("\n[package.metadata.carrack]\nbase = {base:?}\n{more}"));
}

/// Makes the image `runtime:1` in the store of `stage`: what `app` needs, with a variable and a label.
fn runtime(stage: &Stage) {
    stage.configure("\n[package.metadata.carrack]\n");
    stage.build(&["--offline", "-t", "plain:1"]);
    let text = "FROM plain:1\nENV LANG=C.UTF-8 APP=old\nLABEL made=here\nENTRYPOINT []\nUSER 0\n";
    stage.project.write("runtime/Dockerfile", text);
    stage.build(&["-f", "runtime/Dockerfile", "-t", "runtime:1", "runtime"]);
}

#[test]
fn a_program_is_put_onto_a_named_base() {
    let stage = Stage::app();
    runtime(&stage);
    stage.project.write("extra/note", "from a file\n");
    configured(
        &stage,
        "runtime:1",
        "env = { APP = \"new\" }\nlabels = { more = \"too\" }\nports = [8080]\n\
         files = [{ from = \"extra/note\", to = \"/etc/note\" }]\n",
    );
    let built = stage.build(&["--offline", "-t", "based:1", "-o", "type=oci,dest=out,tar=false"]);
    assert!(built.stderr.contains(" base runtime:1"), "{}", built.stderr);
    let config = config(&stage, "out");
    let env: Vec<&str> =
        config["config"]["Env"].as_array().unwrap().iter().filter_map(|one| one.as_str()).collect();
    assert!(
        env.contains(&"LANG=C.UTF-8") && env.contains(&"APP=new") && !env.contains(&"APP=old"),
        "{env:?}"
    );
    assert_eq!(config["config"]["Labels"]["made"], "here");
    assert_eq!(config["config"]["Labels"]["more"], "too");
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/local/bin/app");
    assert_eq!(config["config"]["User"], "65532:65532");
    let layers = config["rootfs"]["diff_ids"].as_array().unwrap().len();
    let with_layer = |one: &&serde_json::Value| one["empty_layer"] != true;
    assert_eq!(config["history"].as_array().unwrap().iter().filter(with_layer).count(), layers);
    assert_eq!(stage.run(&["run", "based:1"]).expect_code(0).stdout, "hello\n");
    // Only the program's layer is another one after a change.
    stage.project.write("src/main.rs", "fn main() { println!(\"good bye\"); }\n");
    let again = stage.build(&["--offline", "-t", "based:1"]);
    assert!(again.stderr.contains("layers reused"), "{}", again.stderr);
    assert_eq!(stage.run(&["run", "based:1"]).expect_code(0).stdout, "good bye\n");
    let idle = stage.build(&["--offline", "-t", "based:1"]);
    assert!(idle.stderr.contains("1 image unchanged"), "{}", idle.stderr);
}

#[test]
fn a_base_without_the_libraries_is_refused() {
    let stage = Stage::app();
    stage.project.write("empty/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    stage.build(&["-f", "empty/Dockerfile", "-t", "empty:1", "empty"]);
    configured(&stage, "empty:1", "");
    stage
        .run(&["build", "--offline", "-t", "based:1"])
        .expect_code(1)
        .expect_stderr("error: /usr/local/bin/app cannot start in the image of app: /lib")
        .expect_stderr(" is missing\n");
    stage.run(&["run", "based:1"]).expect_code(2);
    configured(&stage, "nosuch.invalid/base:1", "");
    stage
        .run(&["build", "--offline", "-t", "based:1"])
        .expect_code(4)
        .expect_stderr("error: cannot find the image nosuch.invalid/base:1")
        .expect_stderr("the key `base` names it");
}

/// The configuration of the image in an OCI layout.
fn config(stage: &Stage, layout: &str) -> serde_json::Value {
    let read = |name: &str| -> serde_json::Value {
        let bytes = fs::read(stage.file(layout).join(name)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let blob = |digest: &serde_json::Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
    let manifest = read(&blob(&read("index.json")["manifests"][0]["digest"]));
    read(&blob(&manifest["config"]["digest"]))
}
