//! The same sources give the same images, wherever and by whomever they are built, and a build writes to its own folders
//! only.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use carrack_testkit::{Finished, Program, Project, has_program, skipped};

use crate::scene::{Built, Scene, new_folder, visible_folder};

/// An ordinary user's number; nobody needs to have it.
const ORDINARY: u32 = 12_345;

/// A workspace whose program knows all that a compiler knows about places: paths of packages, of files and of a build
/// script's output, and where it panics.
fn telling() -> Project {
    let project = Project::workspace(&["app"]);
    project.write(
        "app/src/main.rs",
        "fn main() {\n    println!(\"{} {} {}\", env!(\"CARGO_MANIFEST_DIR\"), file!(), env!(\"MADE\"));\n    \
         println!(\"{}\", include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\")));\n    \
         assert_eq!(shared::NUMBER, 1, \"panics name a place\");\n}\n",
    );
    project.write(
        "app/build.rs",
        "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
         std::fs::write(format!(\"{out}/made.rs\"), \"file!()\").unwrap();\n    \
         println!(\"cargo::rustc-env=MADE={out}\");\n}\n",
    );
    project.write("carrack.toml", "files = [{ from = \"config\", to = \"/config\" }]\n");
    project.write("config/b.toml", "b");
    project.write("config/a.toml", "a");
    project.write("README.md", "read me\n");
    project
}

/// Moves the files of `project` into a folder deep below another project.
fn deeper(project: &Project) -> Scene {
    let outer = Project::new();
    let inner = "some/where/deep down/in a folder";
    for (path, ..) in project.inventory().into_iter().filter(|(path, ..)| path.is_file()) {
        let relative = path.strip_prefix(project.path()).unwrap();
        outer.write(&format!("{inner}/{}", relative.display()), &fs::read_to_string(&path).unwrap());
    }
    Scene::within(outer, inner)
}

#[test]
fn two_folders_and_two_stores() {
    let fresh = Scene::new(telling());
    let other = deeper(&fresh.project);
    let digests = fresh.build(&[]).digests();
    assert_eq!(digests.len(), 1);

    // A store with a history: other sources, another profile, a failure, and then these.
    let workspace = other.workspace();
    let write = |path: &str, text: &str| fs::write(workspace.join(path), text).unwrap();
    let main = fs::read_to_string(workspace.join("app/src/main.rs")).unwrap();
    write("app/src/main.rs", "fn main() { println!(\"another\") }\n");
    write("shared/src/lib.rs", "pub const NUMBER: u32 = 2;\n");
    other.build(&[]);
    write("app/src/main.rs", &main);
    other.build(&["--profile", "dev"]);
    write("app/src/main.rs", "nonsense\n");
    other.try_build(&[]).expect_code(1);
    write("app/src/main.rs", &main);
    write("shared/src/lib.rs", "pub const NUMBER: u32 = 1;\n");
    assert_eq!(other.build(&[]).digests(), digests);
    assert_eq!(other.says("app"), fresh.says("app"));
    assert!(!fresh.says("app").contains("project-"), "{}", fresh.says("app"));
    assert_eq!(fresh.build(&["--no-cache"]).digests(), digests);
}

#[test]
fn root_and_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() {
        return skipped("an ordinary user's build", "only root can become one");
    }
    if !has_program("setpriv") || !has_program("unshare") {
        return skipped("an ordinary user's build", "no setpriv and unshare");
    }
    let Some(public) = visible_folder() else {
        return skipped("an ordinary user's build", "no folder outside of /tmp can be written to");
    };
    fs::set_permissions(public.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let toolchain = toolchain_folder();
    // Root's toolchain may lie where nobody else may look. It shows at a place that everyone may enter, in a mount
    // namespace of this test.
    let shown = public.path().join("toolchain");
    fs::create_dir(&shown).unwrap();
    let binary = public.path().join("carrack");
    fs::copy(env!("CARGO_BIN_EXE_carrack"), &binary).unwrap();

    let build = |id: Option<u32>| {
        let project = telling();
        let around = new_folder();
        if let Some(id) = id {
            give(project.path(), id);
            give(around.path(), id);
        }
        let place = |name: &str| around.path().join(name);
        let script = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
        let program = [
            ("PATH", PathBuf::from(format!("{}/bin:/usr/bin:/bin:/usr/sbin:/sbin", shown.display()))),
            ("HOME", place("home")),
            ("CARGO_HOME", place("cargo")),
            ("CARRACK_HOME", place("state")),
        ]
        .into_iter()
        .fold(Program::new("unshare").in_clean_environment(), |program, (name, path)| {
            program.with_env(name, path)
        });
        let (toolchain, shown, binary) =
            (toolchain.to_str().unwrap(), shown.to_str().unwrap(), binary.to_str().unwrap());
        let mut arguments = vec!["--mount", "sh", "-c", script, "sh", toolchain, shown];
        let id = id.map(|id| id.to_string());
        if let Some(id) = &id {
            arguments.extend(["setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--"]);
        }
        arguments.extend([binary, "build", "--offline", "--progress", "rawjson"]);
        let finished = program.run(project.path(), &arguments).expect_code(0);
        if finished.stderr.contains("forbids the sandbox") {
            skipped("an ordinary user's sandbox", "this machine forbids it; the build was a plain process");
        }
        Built::read(&finished).digests()
    };
    let by_root = build(None);
    assert_eq!(by_root.len(), 1);
    assert_eq!(build(Some(ORDINARY)), by_root);
}

/// The folder of the toolchain that `cargo` means here.
fn toolchain_folder() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

fn give(folder: &Path, id: u32) {
    chown(folder, Some(id), Some(id)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path(), id);
        } else {
            chown(entry.path(), Some(id), Some(id)).unwrap();
        }
    }
}

#[test]
fn the_epoch_decides_about_times_only() {
    let mut scene = Scene::new(telling());
    let layers = |scene: &Scene| {
        let out = new_folder();
        let to = out.path().join("oci");
        scene.build(&["-o", &format!("type=oci,tar=false,dest={}", to.display())]);
        let out = new_folder();
        let rootfs = out.path().join("rootfs");
        scene.build(&["-o", &format!("type=local,dest={}", rootfs.display())]);
        let blob = |descriptor: &serde_json::Value| -> serde_json::Value {
            let hex = descriptor["digest"].as_str().unwrap().replace(':', "/");
            serde_json::from_slice(&fs::read(to.join("blobs").join(hex)).unwrap()).unwrap()
        };
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(to.join("index.json")).unwrap()).unwrap();
        let config = blob(&blob(&index["manifests"][0])["config"]);
        (config, times_and_contents(&rootfs))
    };
    let (config, epoch) = layers(&scene);
    assert_eq!(config["created"], "1970-01-01T00:00:00Z");
    scene.set("SOURCE_DATE_EPOCH", "1700000000");
    let (mut later_config, later) = layers(&scene);
    assert_eq!(later_config["created"], "2023-11-14T22:13:20Z");
    assert_eq!(epoch.keys().collect::<Vec<_>>(), later.keys().collect::<Vec<_>>());
    for (path, (time, content)) in &epoch {
        let (later_time, later_content) = &later[path];
        assert_eq!((*time, *later_time), (0, 1_700_000_000), "{}", path.display());
        assert_eq!(content, later_content, "{}", path.display());
    }
    for changing in ["created", "history", "rootfs"] {
        later_config[changing] = config[changing].clone();
    }
    assert_eq!(later_config, config);
}

/// Of each file in `folder`: when it was modified, and what is in it.
fn times_and_contents(folder: &Path) -> BTreeMap<PathBuf, (i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let relative = path.strip_prefix(folder).unwrap().to_owned();
            let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(relative, (metadata.mtime(), content));
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

#[test]
fn nothing_is_written_elsewhere() {
    // Without a lock file, which cargo would write, and with a build script that writes beside its sources.
    let scene = Scene::new(telling());
    scene.project.remove("Cargo.lock");
    scene.project.write(
        "app/build.rs",
        "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
         std::fs::write(format!(\"{out}/made.rs\"), \"file!()\").unwrap();\n    \
         std::fs::write(\"src/written.rs\", \"\").unwrap();\n    \
         let home = std::env::var(\"HOME\").unwrap();\n    \
         std::fs::write(format!(\"{home}/written\"), \"\").unwrap();\n    \
         println!(\"cargo::rustc-env=MADE={out}\");\n}\n",
    );
    fs::write(scene.cargo_home().join("config.toml"), "[term]\nverbose = false\n").unwrap();
    let before = (scene.project.inventory(), around(&scene));
    let finished: Finished = scene.try_build(&[]).expect_code(0);
    let built = Built::read(&finished);
    assert!(built.ran_cargo());
    let check = |what: &str| {
        assert_eq!(scene.project.inventory(), before.0, "{what}");
        assert_eq!(around(&scene), before.1, "{what}");
    };
    check("first build");
    let again = scene.build(&[]);
    assert!(!again.ran_cargo() && again.unchanged(), "a workspace without a lock file is built once");
    check("second build");
    scene.build(&["--no-cache"]);
    check("build without the cache");
    let out = new_folder();
    scene.build(&["-o", out.path().join("rootfs").to_str().unwrap()]);
    scene.says("app");
    check("output elsewhere, and a run");
    let written: Vec<_> = fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(written.len(), 3, "the output, and what was there: {written:?}");
}

/// Everything in HOME and in CARGO_HOME, with the times.
fn around(scene: &Scene) -> Vec<(PathBuf, (i64, Vec<u8>))> {
    let folders = [scene.around.path().join("home"), scene.cargo_home()];
    let mut names: Vec<_> =
        fs::read_dir(scene.around.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The state folder is Carrack's own.
    names.retain(|path| *path != scene.state());
    names.sort();
    let names = names.into_iter().map(|path| (path, (0, Vec::new())));
    names.chain(folders.iter().flat_map(|folder| times_and_contents(folder))).collect()
}

#[test]
fn a_lock_file_is_made_for_a_package_elsewhere_too() {
    let project = Project::workspace(&["app"]);
    for name in ["Cargo.toml", "Cargo.lock"] {
        project.remove(name);
    }
    let scene = Scene::within(project, "app");
    let before = scene.project.inventory();
    assert!(scene.build(&[]).ran_cargo());
    assert_eq!(scene.says("app"), "app 1");
    assert!(!scene.build(&[]).ran_cargo());
    assert_eq!(scene.project.inventory(), before);
}
