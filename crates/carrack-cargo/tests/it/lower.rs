//! The graph that a plan becomes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carrack_base::Platform;
use carrack_cargo::lower::{LowerError, ServiceImage, Surroundings, lower, sources};
use carrack_cargo::plan::{CargoPlan, Selection};
use carrack_graph::{BuildGraph, ExecMount, ExecOp, ImageOp, LayerOp, LayerPart, Op, Owner};

use crate::fixture::{Fixture, package};

fn around() -> Surroundings {
    Surroundings {
        argv: vec!["/usr/bin/cargo".to_owned(), "build".to_owned()],
        env: BTreeMap::new(),
        identity: BTreeMap::from([("rustc".to_owned(), "1.95.0".to_owned())]),
        build_folder: "folder".to_owned(),
        state: PathBuf::from("/state"),
        cargo_home: PathBuf::from("/state/cargo"),
        cargo_configs: Vec::new(),
        lock_file: None,
        credentials: vec![PathBuf::from("/root/.ssh")],
        left_out: Vec::new(),
        platform: Platform::host(),
        created: 7,
        images: BTreeMap::new(),
        labels: BTreeMap::new(),
        bases: BTreeMap::new(),
    }
}

fn service(configuration: &str) -> (Fixture, CargoPlan) {
    let fixture = Fixture::new(&[
        ("Cargo.toml", &package("server", "")),
        ("src/main.rs", ""),
        ("carrack.toml", configuration),
        ("config/app.toml", ""),
    ]);
    let plan = fixture.plan("", &fixture.request(), &Selection::default()).unwrap();
    (fixture, plan)
}

fn exec(graph: &BuildGraph) -> &ExecOp {
    let found = graph.ops().iter().find_map(|op| match op {
        Op::Exec(exec) => Some(exec),
        _ => None,
    });
    found.unwrap()
}

fn image(graph: &BuildGraph) -> (&ImageOp, Vec<&LayerOp>) {
    let Op::Image(image) = graph.op(graph.images().next().unwrap()) else { panic!("it is an image") };
    let layer = |node: &carrack_graph::NodeId| match graph.op(*node) {
        Op::Layer(layer) => layer,
        other => panic!("{other:?}"),
    };
    (image, image.layers.iter().map(layer).collect())
}

fn titles(layers: &[&LayerOp]) -> Vec<&'static str> {
    layers.iter().map(|layer| layer.title).collect()
}

#[test]
fn a_service_without_configuration() {
    let (fixture, plan) = service("");
    let graph = lower(&plan, &around()).unwrap();
    let exec = exec(&graph);
    assert_eq!(exec.cwd, Path::new("/carrack/src"));
    assert_eq!(exec.artifacts.iter().collect::<Vec<_>>(), ["server"]);
    let scratch = |mount: &ExecMount| match mount {
        ExecMount::Scratch { source, target } => Some((source.clone(), target.clone())),
        _ => None,
    };
    let sources: Vec<_> = exec.mounts.iter().filter_map(scratch).collect();
    assert_eq!(sources, [(fixture.path(""), PathBuf::from("/carrack/src"))]);
    assert!(exec.mounts.contains(&ExecMount::Mask { target: PathBuf::from("/root/.ssh") }));

    let (image, layers) = image(&graph);
    assert_eq!((image.name.as_str(), &image.tags[..]), ("server", &["server:latest".to_owned()][..]));
    assert_eq!(titles(&layers), ["libraries", "binary"]);
    assert!(layers.iter().all(|layer| layer.mtime == 7));
    assert_eq!(image.settings.created, 7);
    assert_eq!(image.settings.entrypoint, ["/usr/local/bin/server"]);
    assert_eq!(image.settings.user, "65532:65532");
    assert_eq!(image.settings.workdir.as_str(), "/");
    let env: Vec<&str> = image.settings.env.iter().map(|entry| entry.split('=').next().unwrap()).collect();
    assert_eq!(env, ["PATH", "SSL_CERT_FILE"]);
}

#[test]
fn the_configuration_reaches_the_image() {
    let (fixture, plan) = service(
        r#"
        user = "app"
        workdir = "/srv"
        volumes = ["/data"]
        ports = [8080]
        env = { PATH = "/bin", MODE = "x" }
        labels = { team = "a" }
        cmd = ["serve"]
        files = [{ from = "config", to = "/srv/config", owner = "app", mode = "0640" }]
        "#,
    );
    let own = ServiceImage {
        name: "own".to_owned(),
        tags: vec!["docker.io/acme/own:1".to_owned()],
        labels: BTreeMap::from([("mine".to_owned(), "c".to_owned())]),
    };
    let around = Surroundings {
        images: BTreeMap::from([("server".to_owned(), vec![own])]),
        labels: BTreeMap::from([("team".to_owned(), "b".to_owned())]),
        ..around()
    };
    let graph = lower(&plan, &around).unwrap();
    let (image, layers) = image(&graph);
    assert_eq!(image.tags, ["docker.io/acme/own:1"]);
    assert_eq!(image.name, "own");
    assert_eq!(image.settings.labels["team"], "b", "the command line has the last word");
    assert_eq!(image.settings.labels["mine"], "c");
    assert_eq!(image.settings.env[..2], ["MODE=x", "PATH=/bin"]);
    assert_eq!(image.settings.ports.iter().collect::<Vec<_>>(), ["8080/tcp"]);
    assert_eq!(image.settings.cmd, ["serve"]);
    assert_eq!(titles(&layers), ["libraries", "binary", "files"]);
    let owner = Owner { uid: 65_532, gid: 65_532 };
    let mut folders = Vec::new();
    for part in &layers[2].parts {
        match part {
            LayerPart::Added(added) => {
                assert_eq!((&added.from, added.owner), (&fixture.path("config"), owner));
                assert_eq!((added.to.as_str(), added.mode), ("/srv/config", Some(0o640)));
            }
            // The service can write to its own folders.
            LayerPart::Folder { to, mode: 0o755, owner: of } if *of == owner => folders.push(to.as_str()),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(folders, ["/data", "/srv"]);
}

#[test]
fn owners_that_the_image_does_not_have() {
    // A name that nothing could hold is refused with its place in the configuration already.
    let (_fixture, plan) = service("files = [{ from = \"config\", to = \"/c\", owner = \"bob\" }]");
    let refused = lower(&plan, &around()).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, LowerError::User { service, .. } if service == "server"), "{refused:?}");
}

#[test]
fn trees_do_not_overlap_and_have_names_without_the_checkout() {
    let fixture = Fixture::new(&[
        (
            "app/Cargo.toml",
            &package(
                "app",
                "[dependencies]\nshared = { path = \"../shared\" }\ninner = { path = \"inner\" }",
            ),
        ),
        ("app/src/main.rs", ""),
        ("app/inner/Cargo.toml", &package("inner", "")),
        ("app/inner/src/lib.rs", ""),
        ("shared/Cargo.toml", &package("shared", "")),
        ("shared/src/lib.rs", ""),
    ]);
    let plan = fixture.plan("app", &fixture.request(), &Selection::default()).unwrap();
    let left_out = [fixture.path("app/target"), fixture.path("elsewhere")];
    let trees = sources(&plan, &left_out).trees;
    let named: Vec<_> =
        trees.iter().map(|tree| (tree.name.as_str(), tree.host.clone(), tree.exclude.clone())).collect();
    assert_eq!(
        named,
        [
            ("", fixture.path("app"), vec![fixture.path("app/target")]),
            ("../shared", fixture.path("shared"), Vec::new()),
        ]
    );
    let graph = lower(&plan, &around()).unwrap();
    assert_eq!(exec(&graph).cwd, Path::new("/carrack/src/app"));
}

#[test]
fn a_lock_file_that_cargo_made_is_shown_to_the_build() {
    let (_fixture, plan) = service("");
    let graph =
        lower(&plan, &Surroundings { lock_file: Some("version = 4\n".to_owned()), ..around() }).unwrap();
    let text = ExecMount::Text {
        target: PathBuf::from("/carrack/src/Cargo.lock"),
        text: "version = 4\n".to_owned(),
    };
    assert!(exec(&graph).mounts.contains(&text));
}
