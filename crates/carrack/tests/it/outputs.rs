//! Where images go: every kind of output, what is on standard output, and that other tools take what is written.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use carrack_testkit::{Project, has_program, skipped};
use serde_json::{Value, json};

use crate::stage::{Stage, finish, is_root};

const CONFIGURED: &str = r#"
[package.metadata.carrack]
env = { MODE = "clinic", EMPTY = "" }
ports = [8080, "53/udp"]
labels = { "org.example.team" = "blue" }
healthcheck = { cmd = ["/usr/local/bin/app", "health"], interval = "30s", retries = 5 }
volumes = ["/data"]
stop-signal = "SIGINT"
workdir = "/srv"
cmd = ["serve"]
"#;

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .unwrap()
}

fn blob(layout: &Path, digest: &Value) -> Value {
    json_of(&layout.join("blobs").join(digest.as_str().unwrap().replace(':', "/")))
}

/// Tags of the images in a layout's index.
fn names(layout: &Path) -> Vec<String> {
    let index = json_of(&layout.join("index.json"));
    let name = |image: &Value| image["annotations"]["io.containerd.image.name"].as_str().unwrap().to_owned();
    index["manifests"].as_array().unwrap().iter().map(name).collect()
}

/// Unpacks a tar into a new folder beside it.
fn untar(archive: &Path) -> std::path::PathBuf {
    let folder = archive.with_extension("unpacked");
    fs::create_dir(&folder).unwrap();
    let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&folder).status().unwrap();
    assert!(status.success());
    folder
}

/// Runs `program` of an unpacked image, which is whole if it starts.
fn run_in(rootfs: &Path) -> String {
    let loader = rootfs.join("lib64/ld-linux-x86-64.so.2");
    let library = rootfs.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(loader);
    command.arg("--library-path").arg(library).arg(rootfs.join("usr/local/bin/app"));
    finish(&mut command).expect_code(0).stdout
}

#[test]
fn every_kind_at_once() {
    let stage = Stage::app();
    let finished = stage.build(&[
        "-q",
        "-o",
        "type=oci,dest=oci.tar",
        "-o",
        "type=oci,tar=false,dest=layout",
        "-o",
        "type=docker,dest=docker.tar",
        "-o",
        "type=tar,dest=root.tar",
        "-o",
        "type=local,dest=root",
        "-o",
        "other",
    ]);
    let id = finished.stdout.trim_end();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(finished.stderr, "");

    let layout = stage.file("layout");
    for folder in [&layout, &untar(&stage.file("oci.tar")), &untar(&stage.file("docker.tar"))] {
        assert_eq!(json_of(&folder.join("oci-layout")), json!({"imageLayoutVersion": "1.0.0"}));
        assert_eq!(names(folder), ["docker.io/library/app:latest"]);
        let manifest = blob(folder, &json_of(&folder.join("index.json"))["manifests"][0]["digest"]);
        assert_eq!(manifest["config"]["digest"], id);
        blob(folder, &manifest["config"]["digest"]);
    }
    let docker = json_of(&stage.file("docker.unpacked/manifest.json"));
    assert_eq!(docker[0]["RepoTags"], json!(["app:latest"]));
    assert_eq!(docker[0]["Config"], format!("blobs/{}", id.replace(':', "/")));
    for root in [stage.file("root"), stage.file("other"), untar(&stage.file("root.tar"))] {
        let binary = fs::metadata(root.join("usr/local/bin/app")).unwrap();
        assert_eq!(binary.permissions().mode() & 0o777, 0o755);
        if cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
            assert_eq!(run_in(&root), "hello\n");
        }
    }
    // The same again is the same, whatever is there already.
    let archives = || ["oci.tar", "docker.tar", "root.tar"].map(|name| fs::read(stage.file(name)).unwrap());
    let before = archives();
    stage.build(&[
        "-o",
        "type=oci,dest=oci.tar",
        "-o",
        "type=docker,dest=docker.tar",
        "-o",
        "type=tar,dest=root.tar",
    ]);
    assert!(before == archives());
}

#[test]
fn standard_output_carries_the_archive_and_nothing_else() {
    let stage = Stage::app();
    for output in ["-", "type=tar,dest=-", "type=oci,dest=-", "type=docker,dest=-"] {
        let done = stage.command(&["build", "-o", output]).output().unwrap();
        assert!(done.status.success());
        let mut tar = Command::new("tar")
            .args(["-tf", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(&done.stdout).unwrap();
        let listed = tar.wait_with_output().unwrap();
        assert!(listed.status.success(), "{output}");
        let entry = if output.contains("oci") || output.contains("docker") {
            "index.json"
        } else {
            "usr/local/bin/app"
        };
        let text = String::from_utf8(listed.stdout).unwrap();
        assert!(text.lines().any(|line| line == entry), "{output}: {text}");
    }
    // A reader that goes away early is a failure here: the archive is not whole.
    let mut child = stage
        .command(&["build", "-q", "-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&done.stderr).starts_with("error: cannot write standard output\n"));
}

#[test]
fn one_layout_for_several_services() {
    let stage = Stage::new(Project::workspace(&["front", "back"]));
    stage.build(&[
        "-o",
        "type=oci,tar=false,dest=layout",
        "-o",
        "type=docker,dest=both.tar",
        "-o",
        "deep/roots",
    ]);
    let expected = ["docker.io/library/front:latest", "docker.io/library/back:latest"];
    assert_eq!(names(&stage.file("layout")), expected);
    assert_eq!(names(&untar(&stage.file("both.tar"))), expected);
    for name in ["front", "back"] {
        assert!(stage.file(&format!("deep/roots/{name}/usr/local/bin/{name}")).is_file());
    }
    let layers = || -> BTreeSet<String> {
        let layout = stage.file("layout");
        let index = json_of(&layout.join("index.json"));
        let images = index["manifests"].as_array().unwrap().iter();
        let layers =
            images.flat_map(|image| blob(&layout, &image["digest"])["layers"].as_array().unwrap().clone());
        layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    };
    // Both have the same libraries, which are there once.
    assert_eq!(layers().len(), 3);

    // A second build puts its images into the places of the first; another name stays.
    stage.build(&["-p", "front", "-t", "front:2", "-o", "type=oci,tar=false,dest=layout"]);
    stage.project.write("shared/src/lib.rs", "pub const NUMBER: u32 = 2;\n");
    stage.build(&["-o", "type=oci,tar=false,dest=layout"]);
    assert_eq!(names(&stage.file("layout")), [expected[0], expected[1], "docker.io/library/front:2"]);
    assert_eq!(layers().len(), 4);
}

#[test]
fn a_folder_is_merged_into_as_docker_does() {
    let stage = Stage::app();
    stage.project.write("root/mine.txt", "mine");
    stage.project.write("root/usr/local/bin/app", "old");
    stage.build(&["-o", "root"]);
    stage.project.write("src/main.rs", "fn main() { println!(\"second\"); }\n");
    stage.build(&["-o", "root"]);
    assert_eq!(fs::read_to_string(stage.file("root/mine.txt")).unwrap(), "mine");
    if cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
        assert_eq!(run_in(&stage.file("root")), "second\n");
    }
    fs::remove_file(stage.file("root/usr/local/bin/app")).unwrap();
    fs::create_dir(stage.file("root/usr/local/bin/app")).unwrap();
    let finished = stage.run(&["build", "-q", "-o", "root"]).expect_code(3);
    assert_eq!(
        finished.stderr,
        "error: cannot write root\n  cannot write root/usr/local/bin/app\n  Is a directory (os error 21)\n\
        hint: choose another destination, or make this one writable\n"
    );
}

#[test]
fn ids_names_and_digests_for_programs() {
    let stage = Stage::new(Project::workspace(&["front", "back"]));
    let both = stage.build(&["-q", "--iidfile", "ids", "--metadata-file", "metadata.json"]);
    assert_eq!(both.stderr, "");
    assert_eq!(fs::read_to_string(stage.file("ids")).unwrap(), both.stdout);
    let ids: Vec<&str> = both.stdout.lines().collect();
    let metadata = json_of(&stage.file("metadata.json"));
    assert_eq!(metadata.as_object().unwrap().keys().collect::<Vec<_>>(), ["front", "back"]);
    assert_eq!(metadata["front"]["containerimage.config.digest"], ids[0]);
    assert_eq!(metadata["back"]["containerimage.config.digest"], ids[1]);

    let one = stage.build(&[
        "--bin",
        "front",
        "-t",
        "x/y:1",
        "-t",
        "z",
        "--iidfile",
        "id",
        "--metadata-file",
        "one.json",
    ]);
    assert_eq!(one.stdout, "");
    // As docker has it: a single id, without a line end.
    assert_eq!(fs::read_to_string(stage.file("id")).unwrap(), ids[0]);
    let metadata = json_of(&stage.file("one.json"));
    assert_eq!(metadata["image.name"], "x/y:1,z:latest");
    assert_eq!(metadata["containerimage.config.digest"], ids[0]);
    assert!(metadata["containerimage.digest"].as_str().unwrap().starts_with("sha256:"));
    assert!(metadata["carrack.size"].as_u64().unwrap() > 100_000);
}

#[test]
fn configuration_of_an_image() {
    let stage = Stage::configured(CONFIGURED);
    stage.build(&["-o", "type=oci,tar=false,dest=layout", "--label", "build=7"]);
    let layout = stage.file("layout");
    let manifest = blob(&layout, &json_of(&layout.join("index.json"))["manifests"][0]["digest"]);
    let mut image = blob(&layout, &manifest["config"]["digest"]);
    assert_eq!(image["os"], "linux");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let env = image["config"]["Env"].take();
    let env: BTreeSet<&str> = env.as_array().unwrap().iter().map(|entry| entry.as_str().unwrap()).collect();
    assert!(env.is_superset(&BTreeSet::from([path, "MODE=clinic", "EMPTY="])), "{env:?}");
    image["config"].as_object_mut().unwrap().remove("Env");
    assert_eq!(
        image["config"],
        json!({
            "User": "65532:65532",
            "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
            "Entrypoint": ["/usr/local/bin/app"],
            "Cmd": ["serve"],
            "Volumes": {"/data": {}},
            "WorkingDir": "/srv",
            "Labels": {"build": "7", "org.example.team": "blue"},
            "StopSignal": "SIGINT",
            "Healthcheck": {
                "Test": ["CMD", "/usr/local/bin/app", "health"],
                "Interval": 30_000_000_000_u64,
                "Retries": 5,
            },
        })
    );
}

#[test]
fn other_tools_take_the_layout() {
    let stage = Stage::configured(CONFIGURED);
    let id = stage.build(&["-q", "-o", "type=oci,tar=false,dest=layout"]).stdout;
    if has_program("skopeo") {
        let mut command = Command::new("skopeo");
        command.args(["inspect", "oci:layout:latest"]).current_dir(stage.path());
        let inspected: Value = serde_json::from_str(&finish(&mut command).expect_code(0).stdout).unwrap();
        assert_eq!(inspected["Labels"], json!({"org.example.team": "blue"}));
        let mut command = Command::new("skopeo");
        command.args(["copy", "-q", "oci:layout:latest", "dir:copied"]).current_dir(stage.path());
        finish(&mut command).expect_code(0);
        assert_eq!(json_of(&stage.file("copied/manifest.json"))["config"]["digest"], id.trim_end());
    } else {
        skipped("skopeo reads the layout", "no skopeo");
    }
    if has_program("umoci") {
        let mut command = Command::new("umoci");
        command
            .args(["unpack", "--rootless", "--image", "layout:latest", "bundle"])
            .current_dir(stage.path());
        finish(&mut command).expect_code(0);
        let process = &json_of(&stage.file("bundle/config.json"))["process"];
        assert_eq!(process["args"], json!(["/usr/local/bin/app", "serve"]));
        assert_eq!(process["user"]["uid"], 65532);
        assert!(stage.file("bundle/rootfs/usr/local/bin/app").is_file());
    } else {
        skipped("umoci unpacks the layout", "no umoci");
    }
}

#[test]
fn owners_are_kept_where_that_is_possible() {
    let stage = Stage::configured(
        "\n[package.metadata.carrack]\nfiles = [{ from = \"data\", to = \"/srv/data\", owner = \"1234:4321\", mode = \"0640\" }]\n",
    );
    stage.project.write("data/x", "x");
    stage.build(&["-o", "root"]);
    let file = fs::metadata(stage.file("root/srv/data/x")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o640);
    if is_root() {
        use std::os::unix::fs::MetadataExt;
        assert_eq!((file.uid(), file.gid()), (1234, 4321));
    } else {
        skipped("owners in a folder", "giving files away takes root");
    }
}
