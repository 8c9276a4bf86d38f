use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use carrack_base::Digest;
use carrack_oci::wire::{Index, annotation};
use carrack_oci::{BlobError, CarrierError, Destination, NamedImage, docker_tar, oci_layout, oci_tar};
use serde_json::Value;

use crate::{Blobs, binary_like, image, names, sample_image};

fn entries(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    entries.collect()
}

fn index(folder: &Path) -> Index {
    serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap()
}

fn leftovers(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(leftovers(&entry.path()));
        } else if name.ends_with(".tmp") {
            found.push(name);
        }
    }
    found
}

#[test]
fn dockers_archive_is_a_layout_too_and_always_the_same() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let names = names(&["server", "ghcr.io/acme/server:1"]);
    let images = [NamedImage { image: &image, names: &names }];
    let mut first = Vec::new();
    docker_tar(Destination::Stream(&mut first), &images, &blobs).unwrap();
    let mut second = Vec::new();
    docker_tar(Destination::Stream(&mut second), &images, &blobs).unwrap();
    assert_eq!(Digest::of(&first), Digest::of(&second));

    let entries = entries(&first);
    for (path, bytes) in
        entries.iter().filter(|(path, _)| path.starts_with("blobs/sha256/") && path.len() > 13)
    {
        assert_eq!(path["blobs/sha256/".len()..], Digest::of(bytes).hex());
    }
    let manifest: Value = serde_json::from_slice(&entries["manifest.json"]).unwrap();
    assert_eq!(manifest[0]["RepoTags"], serde_json::json!(["server:latest", "ghcr.io/acme/server:1"]));
    assert_eq!(entries[manifest[0]["Config"].as_str().unwrap()], image.config_bytes());
    for (layer, path) in image.layers().iter().zip(manifest[0]["Layers"].as_array().unwrap()) {
        assert_eq!(entries[path.as_str().unwrap()], blobs.0[&layer.descriptor.digest]);
    }
    assert_eq!(entries["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
    let index: Index = serde_json::from_slice(&entries["index.json"]).unwrap();
    let annotations: Vec<_> = index.manifests.iter().map(|manifest| &manifest.annotations).collect();
    assert_eq!(annotations[0][annotation::CONTAINERD_NAME], "docker.io/library/server:latest");
    assert_eq!(annotations[0][annotation::REFERENCE_NAME], "latest");
    assert_eq!(annotations[1][annotation::CONTAINERD_NAME], "ghcr.io/acme/server:1");
    assert!(index.manifests.iter().all(|manifest| manifest.digest == image.digest()));
}

#[test]
fn images_in_one_archive_share_blobs() {
    let mut blobs = Blobs::default();
    let first = sample_image(&mut blobs);
    let second = image(&first.layers()[..1]);
    let (a, b) = (names(&["a"]), names(&["b"]));
    let images = [NamedImage { image: &first, names: &a }, NamedImage { image: &second, names: &b }];
    let mut tar = Vec::new();
    oci_tar(Destination::Stream(&mut tar), &images, &blobs).unwrap();
    let index: Index = serde_json::from_slice(&entries(&tar)["index.json"]).unwrap();
    let references: Vec<_> =
        index.manifests.iter().map(|manifest| &manifest.annotations[annotation::REFERENCE_NAME]).collect();
    assert_eq!(references, ["a:latest", "b:latest"], "their tags alone say nothing");
    let mut archive = tar::Archive::new(tar.as_slice());
    let paths: Vec<_> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned()).collect();
    // Two folders, two layers, two manifests, two configurations, index and version; each once.
    assert_eq!(paths.len(), 10);
    assert!(!paths.contains(&"manifest.json".into()));
}

#[test]
fn a_layout_is_merged() {
    let mut blobs = Blobs::default();
    let first = sample_image(&mut blobs);
    let second = image(&first.layers()[..1]);
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("deep/layout");
    let (a, b) = (names(&["a"]), names(&["b:1"]));
    oci_layout(&layout, &[NamedImage { image: &first, names: &a }], &blobs).unwrap();
    oci_layout(&layout, &[NamedImage { image: &first, names: &b }], &blobs).unwrap();
    let digests =
        |layout: &Path| index(layout).manifests.iter().map(|manifest| manifest.digest).collect::<Vec<_>>();
    assert_eq!(digests(&layout), [first.digest(), first.digest()]);
    // A name that is there gets the new image, in its place; doing it twice changes nothing.
    oci_layout(&layout, &[NamedImage { image: &second, names: &a }], &blobs).unwrap();
    let bytes = fs::read(layout.join("index.json")).unwrap();
    oci_layout(&layout, &[NamedImage { image: &second, names: &a }], &blobs).unwrap();
    assert_eq!(digests(&layout), [second.digest(), first.digest()]);
    assert_eq!(fs::read(layout.join("index.json")).unwrap(), bytes);
    // A blob that went bad is written again.
    let blob = layout.join("blobs/sha256").join(second.layers()[0].descriptor.digest.hex());
    fs::write(&blob, "bad").unwrap();
    oci_layout(&layout, &[NamedImage { image: &second, names: &[] }], &blobs).unwrap();
    assert_eq!(Digest::of(&fs::read(&blob).unwrap()), second.layers()[0].descriptor.digest);
    assert_eq!(digests(&layout).len(), 3);
    assert_eq!(leftovers(folder.path()), [""; 0]);
}

#[test]
fn a_folder_that_is_no_layout_is_left_alone() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let images = [NamedImage { image: &image, names: &[] }];
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let error = oci_layout(folder.path(), &images, &blobs).unwrap_err();
    assert!(matches!(error, CarrierError::NotALayout { .. }));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(
        oci_layout(folder.path(), &images, &blobs).unwrap_err(),
        CarrierError::NotALayout { .. }
    ));
    fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(folder.path().join("index.json"), "{").unwrap();
    assert!(matches!(oci_layout(folder.path(), &images, &blobs).unwrap_err(), CarrierError::Index { .. }));
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let images = [NamedImage { image: &image, names: &[] }];
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("image.tar");
    fs::write(&target, "before").unwrap();
    let layer = image.layers()[1].descriptor.digest;
    blobs.0.get_mut(&layer).unwrap()[20] ^= 1;
    let error = docker_tar(Destination::File(&target), &images, &blobs).unwrap_err();
    assert!(matches!(error, CarrierError::Blob(BlobError::Content { digest, .. }) if digest == layer));
    assert_eq!(fs::read(&target).unwrap(), b"before");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let layout = folder.path().join("layout");
    oci_layout(&layout, &images, &blobs).unwrap_err();
    assert!(!layout.join("index.json").exists());
    assert!(!layout.join("blobs/sha256").join(layer.hex()).exists());
    assert_eq!(leftovers(folder.path()), [""; 0]);
}

#[test]
fn unwritable_destinations_are_named() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let images = [NamedImage { image: &image, names: &[] }];
    let folder = tempfile::tempdir().unwrap();
    for target in [folder.path().join("missing/image.tar"), folder.path().to_owned(), "/dev/null".into()] {
        let error = oci_tar(Destination::File(&target), &images, &blobs).unwrap_err();
        assert!(matches!(error, CarrierError::Write { path, .. } if path == target), "{target:?}");
    }
    let mut full = fs::File::options().write(true).open("/dev/full").unwrap();
    let error = oci_tar(Destination::Stream(&mut full), &images, &blobs).unwrap_err();
    assert!(
        matches!(error, CarrierError::Stream(source) if source.kind() == std::io::ErrorKind::StorageFull)
    );
}

#[test]
fn a_symbolic_link_keeps_leading_to_the_archive() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let folder = tempfile::tempdir().unwrap();
    let (target, link) = (folder.path().join("target.tar"), folder.path().join("link.tar"));
    fs::write(&target, "").unwrap();
    std::os::unix::fs::symlink("target.tar", &link).unwrap();
    oci_tar(Destination::File(&link), &[NamedImage { image: &image, names: &[] }], &blobs).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::metadata(&target).unwrap().len() > 1024);
}

/// A file system of 256 KiB, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(folder.path())
            .output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_leaves_no_half_file() {
    let Some(disk) = SmallDisk::mount() else {
        println!("skipped: a_full_disk_leaves_no_half_file needs the right to mount");
        return;
    };
    let mut blobs = Blobs::default();
    let layer = blobs.add_tar(&binary_like(1 << 20));
    let image = image(&[layer]);
    let images = [NamedImage { image: &image, names: &[] }];
    let target = disk.0.path().join("image.tar");
    let error = docker_tar(Destination::File(&target), &images, &blobs).unwrap_err();
    assert!(
        matches!(error, CarrierError::Write { path, source } if path == target && source.kind() == std::io::ErrorKind::StorageFull)
    );
    assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 0);
    let error = oci_layout(&disk.0.path().join("layout"), &images, &blobs).unwrap_err();
    assert!(
        matches!(error, CarrierError::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
    );
    assert_eq!(leftovers(disk.0.path()), [""; 0]);
    assert!(!disk.0.path().join("layout/index.json").exists());
}
