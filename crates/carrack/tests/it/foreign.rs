//! Workspaces of three shapes that were not written here: published packages, arranged. Each compiles in seconds.

use std::fs;
use std::path::Path;
use std::process::Command;

use carrack_testkit::{Project, published};

/// The Rust of the base images, since published packages name one that is years old.
const BUILDER: &str = concat!("builder = \"rust:", env!("CARGO_PKG_RUST_VERSION"), "-slim-bookworm\"\n");

/// A single package: a library, the programs `brotli` and `catbrotli`, examples.
pub(crate) fn library_and_programs() -> Option<Project> {
    let project = Project::new();
    published("brotli@8.0.2", project.path())?;
    project.write("carrack.toml", BUILDER);
    Some(project)
}

/// A virtual workspace in the folder `workspace`, with the programs `pulldown-cmark` (with a build script) and `zopfli`,
/// which depend on packages beside that folder.
pub(crate) fn outside_packages() -> Option<Project> {
    let project = Project::new();
    let outside = [("unicase", "2.8.1"), ("getopts", "0.2.21"), ("crc32fast", "1.4.2")];
    for (name, version) in outside {
        published(&format!("{name}@{version}"), &project.path().join("libraries").join(name))?;
    }
    for (name, version) in [("pulldown-cmark", "0.13.0"), ("zopfli", "0.8.2")] {
        let folder = project.path().join("workspace").join(name);
        published(&format!("{name}@{version}"), &folder)?;
        // A member of a workspace has none of its own.
        fs::remove_file(folder.join("Cargo.lock")).unwrap();
        for (name, _) in outside {
            depend_on_path(&folder.join("Cargo.toml"), name, &format!("../../libraries/{name}"));
        }
    }
    let members = "[workspace]\nresolver = \"2\"\nmembers = [\"pulldown-cmark\", \"zopfli\"]\n";
    project.write("workspace/Cargo.toml", members);
    project.write("workspace/carrack.toml", BUILDER);
    lock(&project.path().join("workspace"));
    Some(project)
}

/// The package `b3sum`, whose `blake3` (with a build script that compiles assembly) and `anyhow` (with one that asks the
/// compiler) are patched with copies in the folder `vendor`.
pub(crate) fn patched_packages() -> Option<Project> {
    let project = Project::new();
    published("b3sum@1.8.2", project.path())?;
    let manifest = project.path().join("Cargo.toml");
    let mut patch = "\n[patch.crates-io]\n".to_owned();
    for (name, version) in [("blake3", "1.8.2"), ("anyhow", "1.0.98")] {
        published(&format!("{name}@{version}"), &project.path().join("vendor").join(name))?;
        patch += &format!("{name} = {{ path = \"vendor/{name}\" }}\n");
    }
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text + &patch).unwrap();
    project.write("carrack.toml", BUILDER);
    lock(project.path());
    Some(project)
}

/// Has the dependency `name`, if there is one, come from a folder.
fn depend_on_path(manifest: &Path, name: &str, path: &str) {
    let text = fs::read_to_string(manifest).unwrap();
    let table = format!("[dependencies.{name}]\n");
    fs::write(manifest, text.replace(&table, &format!("{table}path = \"{path}\"\n"))).unwrap();
}

/// Has cargo write, or change, the lock file.
pub(crate) fn lock(workspace: &Path) {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--quiet", "--format-version", "1"]).current_dir(workspace);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
