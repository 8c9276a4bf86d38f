//! Files of the host in an image.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use carrack_engine::EngineError;
use carrack_graph::{AddedFile, LayerPart, Owner};
use carrack_oci::LayerError;

use crate::workshop::{Recipe, Workshop, added, entries, image_path};

const COPY: &str = "cp source /carrack/target/app";

#[test]
fn modes_and_owners() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write("config/app.toml", "");
    workshop.project.write("config/deep/run.sh", "");
    fs::set_permissions(workshop.path("config/deep/run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::set_permissions(workshop.path("config/app.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    let owner = Owner { uid: 7, gid: 8 };
    let found = AddedFile { owner, ..added(workshop.path("config"), "/etc/found") };
    let asked = AddedFile { mode: Some(0o640), ..added(workshop.path("config"), "/etc/asked") };
    let one = AddedFile { mode: Some(0o400), owner, ..added(workshop.path("source"), "/etc/one") };
    let folder = LayerPart::Folder { to: image_path("/data"), mode: 0o700, owner };
    let parts = [found, asked, one].map(LayerPart::Added).into_iter().chain([folder]).collect();
    let outcome = workshop.build(&Recipe::new(COPY).with_layer(parts));
    let layer = &workshop.layers(&outcome.images()[0])[1];
    assert_eq!(
        entries(layer),
        [
            "drwx------ 7/8 data/",
            "drwxr-xr-x 0/0 etc/",
            "drwxr-xr-x 0/0 etc/asked/",
            "-rw-r----- 0/0 etc/asked/app.toml",
            "drwxr-xr-x 0/0 etc/asked/deep/",
            "-rw-r----- 0/0 etc/asked/deep/run.sh",
            "drwxr-xr-x 7/8 etc/found/",
            "-rw-r--r-- 7/8 etc/found/app.toml",
            "drwxr-xr-x 7/8 etc/found/deep/",
            "-rwxr-xr-x 7/8 etc/found/deep/run.sh",
            "-r-------- 7/8 etc/one",
        ]
    );
}

#[test]
fn folders_that_meet() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write("one/data/a", "");
    workshop.project.write("two/data/b", "");
    workshop.project.write("whole/etc/c", "");
    let owner = Owner { uid: 7, gid: 8 };
    let two = AddedFile { owner, ..added(workshop.path("two"), "/srv") };
    let parts = vec![
        LayerPart::Added(added(workshop.path("one"), "/srv")),
        LayerPart::Added(two),
        LayerPart::Added(added(workshop.path("whole"), "/")),
        LayerPart::Folder { to: image_path("/srv/data"), mode: 0o700, owner },
    ];
    let outcome = workshop.build(&Recipe::new(COPY).with_layer(parts));
    let found = entries(&workshop.layers(&outcome.images()[0])[1]);
    assert_eq!(
        found,
        [
            "drwxr-xr-x 0/0 etc/",
            "-rw-r--r-- 0/0 etc/c",
            "drwxr-xr-x 0/0 srv/",
            "drwx------ 7/8 srv/data/",
            "-rw-r--r-- 0/0 srv/data/a",
            "-rw-r--r-- 7/8 srv/data/b",
        ]
    );
}

#[test]
fn a_changed_file_makes_one_layer_anew() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write("config/app.toml", "a");
    let part = || LayerPart::Added(added(workshop.path("config"), "/etc/app"));
    let mut recipe = Recipe::new(COPY).with_layer(vec![part()]);
    recipe.exclude = vec![workshop.path("config")];
    let first = workshop.build(&recipe);
    workshop.project.write("config/app.toml", "b");
    let second = workshop.build(&recipe);
    assert_eq!(second.runs(), 0);
    assert_eq!(second.reasons(), ["/etc/app/app.toml changed"]);
    let [before, after] = [first, second].map(|outcome| workshop.layers(&outcome.images()[0]));
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
}

#[test]
fn what_the_sources_leave_out_can_be_added() {
    let Some(workshop) = Workshop::new() else { return };
    workshop.project.write("out/data", "x");
    let parts = vec![LayerPart::Added(added(workshop.project.path().to_owned(), "/srv"))];
    let mut recipe = Recipe::new(COPY).with_layer(parts);
    recipe.exclude = vec![workshop.path("out")];
    let outcome = workshop.build(&recipe);
    assert_eq!(workshop.content(&outcome.images()[0], "/srv/out/data"), "x");
    let sources_still_leave_it_out = workshop.build(&recipe);
    assert_eq!(sources_still_leave_it_out.runs(), 0);
}

#[test]
fn links_to_files_become_files_and_links_to_folders_become_folders() {
    let Some(workshop) = Workshop::new() else { return };
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("shared"), "shared").unwrap();
    workshop.project.write("config/real/file", "real");
    symlink("real", workshop.path("config/inside")).unwrap();
    symlink("real/file", workshop.path("config/file")).unwrap();
    symlink(outside.path(), workshop.path("config/outside")).unwrap();
    symlink("nowhere", workshop.path("config/broken")).unwrap();
    let parts = vec![LayerPart::Added(added(workshop.path("config"), "/etc/app"))];
    let outcome = workshop.build(&Recipe::new(COPY).with_layer(parts));
    let image = &outcome.images()[0];
    assert_eq!(workshop.content(image, "/etc/app/outside/shared"), "shared");
    assert_eq!(workshop.content(image, "/etc/app/file"), "real");
    let found = entries(&workshop.layers(image)[1]);
    let has = |end: &str| assert!(found.iter().any(|entry| entry.ends_with(end)), "{end} in {found:#?}");
    has(" etc/app/inside -> real");
    has(" etc/app/broken -> nowhere");
    has("drwxr-xr-x 0/0 etc/app/outside/");
}

#[test]
fn bad_additions_are_refused() {
    let Some(workshop) = Workshop::new() else { return };
    let build = |parts: Vec<AddedFile>| {
        let parts = parts.into_iter().map(LayerPart::Added).collect();
        workshop.build(&Recipe::new(COPY).with_layer(parts))
    };
    let missing = build(vec![added(workshop.path("missing"), "/etc/missing")]);
    assert!(matches!(missing.error(), EngineError::NoSuchFile { name, .. } if name == "missing"));

    workshop.project.write("other", "other");
    let [one, other] = ["source", "other"].map(|name| added(workshop.path(name), "/etc/same"));
    // Layers of each of them are known: that must not hide the contradiction.
    build(vec![one.clone()]).images();
    build(vec![other.clone()]).images();
    let conflict = build(vec![one.clone(), other]);
    assert!(
        matches!(conflict.error(), EngineError::Layer(LayerError::Conflict { .. })),
        "{:?}",
        conflict.error()
    );
    let below = build(vec![one.clone(), added(workshop.path("other"), "/etc/same/below")]);
    assert!(matches!(below.error(), EngineError::Layer(LayerError::Conflict { .. })), "{:?}", below.error());
    // The same twice is no contradiction.
    build(vec![one.clone(), one]).images();

    fs::create_dir(workshop.path("names")).unwrap();
    fs::write(workshop.path("names").join(OsStr::from_bytes(b"a\xff")), "").unwrap();
    let name = build(vec![added(workshop.path("names"), "/etc/names")]);
    assert!(matches!(name.error(), EngineError::NotUtf8 { .. }), "{:?}", name.error());

    fs::create_dir(workshop.path("links")).unwrap();
    symlink(OsStr::from_bytes(b"a\xff"), workshop.path("links/link")).unwrap();
    let link = build(vec![added(workshop.path("links"), "/etc/links")]);
    assert!(matches!(link.error(), EngineError::NotUtf8 { .. }), "{:?}", link.error());
}
