//! Images from local files and engines.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use carrack_base::{Cancel, Digest, Platform};
use carrack_oci::pull::{
    PullError, Resolved, Selection, import_archive, import_from_engine, import_layout, split_selection,
};
use carrack_oci::wire::{Index, annotation, media_type};
use carrack_oci::{
    BlobError, Destination, EngineError, EngineKind, EngineProgram, Image, ImageConfig, NamedImage,
    docker_tar, oci_layout, oci_tar,
};

use crate::{Blobs, Store, config, names, sample_image};

fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn archive(file: &Path, selection: &Selection) -> Result<(Resolved, Store), PullError> {
    let (store, scratch) = (Store::default(), tempfile::tempdir().unwrap());
    let resolved = import_archive(file, selection, &amd64(), &store, scratch.path(), &Cancel::default());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    Ok((resolved?, store))
}

fn layout(folder: &Path, selection: &Selection) -> Result<(Resolved, Store), PullError> {
    let store = Store::default();
    let resolved = import_layout(folder, selection, &amd64(), &store, &Cancel::default());
    Ok((resolved?, store))
}

/// The image is there, whole.
fn check(outcome: Result<(Resolved, Store), PullError>, expected: &Image) {
    let (resolved, store) = outcome.unwrap();
    assert_eq!(&resolved.image, expected);
    assert!(resolved.fits);
    assert_eq!(&Image::read(&store, &expected.descriptor()).unwrap(), expected);
    for layer in expected.layers() {
        assert_eq!(store.0.lock().unwrap().0[&layer.descriptor.digest].len() as u64, layer.descriptor.size);
    }
}

fn name(text: &str) -> Selection {
    Selection::Name(text.to_owned())
}

#[test]
fn what_is_chosen_stands_behind_the_path() {
    let digest = Digest::of(b"");
    for (text, path, selection) in [
        ("images/base", "images/base", Selection::Only),
        ("images/base.tar:12", "images/base.tar", name("12")),
        ("base.tar:ghcr.io/acme/base:1", "base.tar", name("ghcr.io/acme/base:1")),
        (&format!("base@{digest}"), "base", Selection::Digest(digest)),
        ("base@12", "base@12", Selection::Only),
    ] {
        assert_eq!(split_selection(text), (PathBuf::from(path), selection));
    }
}

#[test]
fn what_the_carriers_write_comes_back() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let names = names(&["debian:12"]);
    let images = [NamedImage { image: &image, names: &names }];
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    oci_layout(&at("layout"), &images, &blobs).unwrap();
    oci_tar(Destination::File(&at("oci.tar")), &images, &blobs).unwrap();
    docker_tar(Destination::File(&at("docker.tar")), &images, &blobs).unwrap();
    let plain = fs::read(at("docker.tar")).unwrap();
    fs::write(at("docker.tar.zst"), zstd::bulk::compress(&plain, 1).unwrap()).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    fs::write(at("docker.tar.gz"), gzip.finish().unwrap()).unwrap();
    let selections = [
        Selection::Only,
        name("12"),
        name("debian:12"),
        name("docker.io/library/debian:12"),
        Selection::Digest(image.digest()),
    ];
    for selection in &selections {
        check(layout(&at("layout"), selection), &image);
        for file in ["oci.tar", "docker.tar", "docker.tar.zst", "docker.tar.gz"] {
            check(archive(&at(file), selection), &image);
        }
    }
    let absent = archive(&at("oci.tar"), &name("13")).map(|_| ()).unwrap_err();
    let PullError::Selection { names, wanted, .. } = &absent else { panic!("{absent:?}") };
    assert_eq!(
        (names.as_slice(), wanted.as_deref()),
        (&["docker.io/library/debian:12".to_owned()][..], Some("13"))
    );
    let digest = Digest::of(b"another");
    let absent = layout(&at("layout"), &Selection::Digest(digest)).map(|_| ()).unwrap_err();
    assert!(matches!(absent, PullError::MissingBlob { digest: found, .. } if found == digest));
}

/// The sample image for another platform.
fn image_for(platform: &str, blobs: &mut Blobs) -> Image {
    let platform: Platform = platform.parse().unwrap();
    let layers = sample_image(blobs).layers();
    let config = ImageConfig { architecture: platform.architecture, variant: platform.variant, ..config() };
    Image::assemble(config, &layers, BTreeMap::new())
}

#[test]
fn of_several_images_one_has_to_be_chosen() {
    let mut blobs = Blobs::default();
    let (first, second) = (sample_image(&mut blobs), image_for("linux/arm64", &mut blobs));
    let (one, two) = (names(&["one:1"]), names(&["two:2"]));
    let images = [NamedImage { image: &first, names: &one }, NamedImage { image: &second, names: &two }];
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("layout");
    oci_layout(&at, &images, &blobs).unwrap();
    check(layout(&at, &name("one:1")), &first);
    // What is chosen by name need not be for the platform.
    let (resolved, _) = layout(&at, &name("2")).unwrap();
    assert_eq!((resolved.image, resolved.fits), (second.clone(), false));
    let error = layout(&at, &Selection::Only).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has 2 images, and none was chosen", at.display()));
    // Two platforms of one image are one.
    let path = at.join("index.json");
    let mut index: Index = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for manifest in &mut index.manifests {
        manifest.annotations = BTreeMap::from([(annotation::REFERENCE_NAME.to_owned(), "both".to_owned())]);
    }
    fs::write(&path, serde_json::to_vec(&index).unwrap()).unwrap();
    for selection in [Selection::Only, name("both")] {
        check(layout(&at, &selection), &first);
    }
    let store = Store::default();
    let wanted: Platform = "linux/riscv64".parse().unwrap();
    let error = import_layout(&at, &Selection::Only, &wanted, &store, &Cancel::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} is not there for linux/riscv64, only for linux/amd64, linux/arm64", at.display())
    );
    // Without platforms, the images themselves are asked.
    for manifest in &mut index.manifests {
        manifest.platform = None;
    }
    index.manifests.reverse();
    let nested = serde_json::to_vec(&index).unwrap();
    let digest = Digest::of(&nested);
    fs::write(at.join("blobs/sha256").join(digest.hex()), &nested).unwrap();
    let mut outer = index.clone();
    outer.manifests.truncate(1);
    outer.manifests[0].media_type = media_type::INDEX.to_owned();
    (outer.manifests[0].digest, outer.manifests[0].size) = (digest, nested.len() as u64);
    fs::write(&path, serde_json::to_vec(&outer).unwrap()).unwrap();
    check(layout(&at, &Selection::Only), &first);
    assert_eq!(layout(&at, &Selection::Only).unwrap().0.named, digest);
}

/// What `docker save` wrote before version 25: the second layer's file is a link, the third is compressed.
fn old_archive(blobs: &Blobs, image: &Image, tags: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let layers = image.layers();
    add("aaa/layer.tar", &blobs.0[&layers[0].descriptor.digest]);
    add("ccc/layer.tar", &blobs.0[&layers[2].descriptor.digest]);
    add("config.json", image.config_bytes());
    let list = format!(
        r#"[{{"Config":"config.json","RepoTags":{tags},"Layers":["aaa/layer.tar","bbb/layer.tar","ccc/layer.tar"]}}]"#
    );
    add("manifest.json", list.as_bytes());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Symlink);
    builder.append_link(&mut header, "bbb/layer.tar", "../aaa/layer.tar").unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn dockers_old_archives_keep_their_configuration() {
    let mut blobs = Blobs::default();
    let plain = blobs.add_tar(&crate::hostile::tar(&[(tar::EntryType::Regular, "a", "1")]));
    let packed = sample_image(&mut blobs).layers().remove(0);
    let image = crate::image(&[plain.clone(), plain, packed]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.tar");
    for tags in [r#"["debian:12","acme/base:1"]"#, "null"] {
        fs::write(&file, old_archive(&blobs, &image, tags)).unwrap();
        let id = image.manifest().config.digest;
        let mut selections = vec![Selection::Only, Selection::Digest(id)];
        if tags != "null" {
            selections.extend([name("debian:12"), name("docker.io/acme/base:1")]);
        }
        for selection in selections {
            let (resolved, store) = archive(&file, &selection).unwrap();
            assert_eq!(resolved.image.config_bytes(), image.config_bytes());
            assert_eq!(resolved.image.layers(), image.layers());
            assert!(Image::read(&store, &resolved.image.descriptor()).is_ok());
        }
        let error = archive(&file, &name("debian:13")).map(|_| ()).unwrap_err();
        assert!(matches!(error, PullError::Selection { names, .. } if names.len() == 1));
    }
    // A layer that is not what the configuration names.
    let other =
        crate::image(&[blobs.add_tar(&[0; 1024]), image.layers()[1].clone(), image.layers()[2].clone()]);
    let mut mixed = blobs.clone();
    mixed.0.insert(other.layers()[0].descriptor.digest, vec![1; 1024]);
    fs::write(&file, old_archive(&mixed, &other, "null")).unwrap();
    let error = archive(&file, &Selection::Only).map(|_| ()).unwrap_err();
    assert!(matches!(error, PullError::Blob { .. }), "{error:?}");
}

#[test]
fn what_is_no_image_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let names = names(&["base"]);
    oci_layout(&at("layout"), &[NamedImage { image: &image, names: &names }], &blobs).unwrap();
    let problem = |error: PullError| match error {
        PullError::NotAnImage { problem, .. } => problem,
        other => panic!("{other:?}"),
    };
    fs::write(at("text"), "not a tar".repeat(200)).unwrap();
    assert!(
        problem(archive(&at("text"), &Selection::Only).map(|_| ()).unwrap_err())
            .starts_with("it is no tar archive")
    );
    fs::write(at("tar"), crate::hostile::tar(&[(tar::EntryType::Regular, "a", "1")])).unwrap();
    assert_eq!(
        problem(archive(&at("tar"), &Selection::Only).map(|_| ()).unwrap_err()),
        "it has neither oci-layout nor manifest.json"
    );
    fs::create_dir(at("empty")).unwrap();
    assert_eq!(
        problem(layout(&at("empty"), &Selection::Only).map(|_| ()).unwrap_err()),
        "it has no oci-layout"
    );
    let missing = archive(&at("missing"), &Selection::Only).map(|_| ()).unwrap_err();
    assert!(matches!(missing, PullError::Read { path, .. } if path == at("missing")));

    // A layer is damaged, then gone.
    let layer = image.layers()[1].descriptor.digest;
    let blob = at("layout").join("blobs/sha256").join(layer.hex());
    let mut bytes = fs::read(&blob).unwrap();
    bytes[20] ^= 1;
    fs::write(&blob, bytes).unwrap();
    match layout(&at("layout"), &Selection::Only).map(|_| ()).unwrap_err() {
        PullError::Blob { digest, source, .. } => {
            assert_eq!(digest, layer);
            let inner = source.get_ref().and_then(|inner| inner.downcast_ref::<BlobError>());
            assert!(matches!(inner, Some(BlobError::Content { .. })));
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(&blob).unwrap();
    let error = layout(&at("layout"), &Selection::Only).map(|_| ()).unwrap_err();
    assert!(matches!(error, PullError::MissingBlob { digest, .. } if digest == layer));

    let cancel = Cancel::default();
    cancel.cancel(2);
    let error =
        import_layout(&at("layout"), &Selection::Only, &amd64(), &Store::default(), &cancel).unwrap_err();
    assert!(matches!(error, PullError::Cancelled { .. }), "{error:?}");
}

#[test]
fn an_engine_hands_its_image_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let image_names = names(&["acme/base:1"]);
    let saved = folder.path().join("saved.tar");
    docker_tar(Destination::File(&saved), &[NamedImage { image: &image, names: &image_names }], &blobs)
        .unwrap();
    let program = folder.path().join("engine");
    let script = "#!/bin/sh\ntest \"$1 $2 $3 $5\" = 'image save --output acme/base:1' || { echo \"No such image: $5\" >&2; exit 1; }\ncp \"$SAVED\" \"$4\"\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let environment = vec![("SAVED".into(), saved.into())];
    let engine = EngineProgram { kind: EngineKind::Docker, program, environment };
    let scratch = tempfile::tempdir().unwrap();
    let import = |name: &str| {
        let store = Store::default();
        let name = name.parse().unwrap();
        let resolved =
            import_from_engine(&engine, &name, &amd64(), &store, scratch.path(), &Cancel::default());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        Ok((resolved?, store))
    };
    check(import("acme/base:1"), &image);
    match import("acme/base:2").map(|_| ()).unwrap_err() {
        PullError::Engine { source: EngineError::Failed { stderr, .. }, name } => {
            assert_eq!((stderr.trim(), name.as_str()), ("No such image: acme/base:2", "acme/base:2"));
        }
        other => panic!("{other:?}"),
    }
}
