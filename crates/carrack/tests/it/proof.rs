//! Whether a cargo takes compiled units as it should: found out once, and obeyed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use carrack_testkit::{Project, skipped};

use crate::scene::{Scene, rustup_home, visible_folder};

/// The programs of an installed toolchain.
fn toolchain(name: &str) -> Option<PathBuf> {
    let toolchains = fs::read_dir(Path::new(&rustup_home()).join("toolchains")).ok()?;
    let mut folders = toolchains.flatten().map(|entry| entry.path());
    let bin =
        folders.find(|path| path.file_name().is_some_and(|own| own.to_string_lossy().starts_with(name)))?;
    Some(bin.join("bin"))
}

/// `PATH` with this cargo in front, which is a shell script, and the toolchain's rustc.
fn with_cargo(folder: &Path, script: &str, bin: &Path) -> String {
    let cargo = folder.join("cargo");
    let rustc = folder.join("rustc");
    let script = script.replace("REAL", &bin.join("cargo").display().to_string());
    for (path, text) in [
        (&cargo, format!("#!/bin/sh\n{script}\n")),
        (&rustc, format!("#!/bin/sh\nexec {} \"$@\"\n", bin.join("rustc").display())),
    ] {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

fn answers(scene: &Scene) -> Vec<Vec<u8>> {
    // Keys and values of the index, as they are in its file and its log.
    let files = ["index.db", "index.db-wal"].map(|name| scene.state().join(name));
    files.iter().filter_map(|file| fs::read(file).ok()).collect()
}

fn has_answer(scene: &Scene) -> bool {
    answers(scene).iter().any(|bytes| bytes.windows(8).any(|window| window == b"units 1 "))
}

#[test]
fn a_known_toolchain_is_not_tried() {
    let Some(_) = toolchain("1.95.0-") else { return skipped("proof", "1.95.0 is not installed") };
    let mut scene = Scene::new(Project::binary("app", "hello"));
    scene.set("RUSTUP_TOOLCHAIN", "1.95.0");
    scene.build(&[]);
    assert!(!has_answer(&scene));
}

#[test]
fn a_toolchain_that_is_not_known_is_tried_once() {
    let Some(_) = toolchain("nightly-") else { return skipped("proof", "nightly is not installed") };
    let mut scene = Scene::new(Project::workspace(&["one"]));
    scene.set("RUSTUP_TOOLCHAIN", "nightly");
    let finished = scene.try_build(&[]).expect_code(0);
    assert!(!finished.stderr.contains("compiled units are not reused"), "{}", finished.stderr);
    assert!(has_answer(&scene));
    assert!(
        fs::read_dir(scene.state().join("scratch")).unwrap().next().is_none(),
        "something was left behind"
    );
    scene.project.write("one/src/main.rs", "fn main() {\n    println!(\"two {}\", shared::NUMBER);\n}\n");
    assert_eq!(scene.build(&[]).compiled(), ["one".to_owned()].into());
    assert_eq!(scene.says("one"), "two 1");
}

#[test]
fn a_cargo_that_finds_kept_units_dirty_gets_none() {
    let (Some(bin), Some(folder)) = (toolchain("1.95.0-"), visible_folder()) else {
        return skipped("proof", "1.95.0 is not installed, or there is no folder that a sandbox shows");
    };
    // What was put back is newer than what was compiled with it.
    let dirty = "if [ \"$1\" = build ]; then find \"$CARGO_BUILD_BUILD_DIR\" -name '*.rmeta' -exec touch -d 2040-01-01 {} +; fi\n\
                 exec REAL \"$@\"";
    let mut scene = Scene::new(Project::workspace(&["one"]));
    scene.set("PATH", &with_cargo(folder.path(), dirty, &bin));
    let finished = scene.try_build(&[]).expect_code(0);
    assert!(finished.stderr.contains("compiled units are not reused"), "{}", finished.stderr);
    assert_eq!(scene.says("one"), "one 1");
    // From now on it is known: no unit is kept or put back, and nothing is said.
    scene.project.write("one/src/main.rs", "fn main() {\n    println!(\"two {}\", shared::NUMBER);\n}\n");
    let finished = scene.try_build(&[]).expect_code(0);
    assert!(!finished.stderr.contains("compiled units are not reused"), "{}", finished.stderr);
    assert_eq!(scene.says("one"), "two 1");
    let units = fs::read_dir(scene.state().join("units")).unwrap();
    assert_eq!(units.count(), 0);

    let program = |arguments: &[&str]| scene.program().run(scene.project.path(), arguments);
    let finished = program(&["cargo", "build", "--offline"]).expect_code(0);
    assert!(!finished.stderr.contains("carrack:"), "{}", finished.stderr);
    let other = scene.around.path().join("other");
    let program = scene.program().with_env("CARRACK_HOME", other);
    let finished = program.run(scene.project.path(), &["cargo", "build", "--offline"]).expect_code(0);
    assert!(finished.stderr.contains("carrack: compiled packages are not reused: "), "{}", finished.stderr);
}
