//! The tools that have to accept what is written. Each test says so when its tool is missing.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use carrack_base::Cancel;
use carrack_oci::pull::{Selection, import_archive, import_layout};
use carrack_oci::wire::media_type;
use carrack_oci::{
    Attributes, BlobSource, Content, Destination, Image, LayerBuilder, NamedImage, Ownership, docker_tar,
    oci_layout, oci_tar, rootfs_tar, snapshot,
};
use serde_json::Value;

use crate::{Blobs, Store, binary_like, bytes, image, names, path, sample_layer, write};

/// Runs a tool that must succeed; `None` if it is not installed.
fn run(test: &str, program: &str, arguments: &[&str], folder: &Path) -> Option<Output> {
    match Command::new(program).args(arguments).current_dir(folder).output() {
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{program} {arguments:?}: {stderr}");
            Some(output)
        }
        Err(_) => {
            println!("skipped: {test} needs {program}");
            None
        }
    }
}

/// Long names, several gzip members, links: everything that a reader could stumble over.
fn demanding_image(blobs: &mut Blobs) -> Image {
    let mut second = LayerBuilder::new(1_000_000_000);
    second.file(path("/big"), Attributes::new(0o755), Content::Bytes(binary_like((5 << 20) + 3))).unwrap();
    let long = format!("/{}/größe", "d".repeat(200));
    second.file(path(&long), Attributes::new(0o644), bytes("long")).unwrap();
    let layers = [blobs.add_layer(&sample_layer()), blobs.add_layer(&second)];
    image(&layers)
}

#[test]
fn gzip_and_tar_accept_a_layer() {
    let folder = tempfile::tempdir().unwrap();
    let mut layer = sample_layer();
    layer.file(path("/big"), Attributes::new(0o755), Content::Bytes(binary_like((5 << 20) + 3))).unwrap();
    fs::write(folder.path().join("layer.tar.gz"), write(&layer, 2).0).unwrap();
    let test = "gzip_and_tar_accept_a_layer";
    run(test, "gzip", &["-t", "layer.tar.gz"], folder.path());
    let arguments = ["--numeric-owner", "--utc", "-tvzf", "layer.tar.gz"];
    let Some(output) = run(test, "tar", &arguments, folder.path()) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let fields: Vec<Vec<&str>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        "-rwxr-xr-x 0/0 5242883 1970-01-01 00:00 big",
        "lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin -> usr/bin",
        "drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/",
        "drwxr-xr-x 0/0 0 1970-01-01 00:00 etc/app/",
        "-rw-r----- 10/20 9 1970-01-01 00:00 etc/app/config.toml",
        "drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/",
        "drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/",
        "drwxr-xr-x 0/0 0 1970-01-01 00:00 usr/bin/",
        "-rwsr-xr-x 0/0 12 1970-01-01 00:00 usr/bin/server",
        "hrwsr-xr-x 0/0 0 1970-01-01 00:00 usr/bin/alias link to usr/bin/server",
    ];
    assert_eq!(fields.iter().map(|fields| fields.join(" ")).collect::<Vec<_>>(), expected);
}

#[test]
fn skopeo_reads_layout_and_archives() {
    let test = "skopeo_reads_layout_and_archives";
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let image = demanding_image(&mut blobs);
    let names = names(&["server:1"]);
    let images = [NamedImage { image: &image, names: &names }];
    oci_layout(&folder.path().join("layout"), &images, &blobs).unwrap();
    oci_tar(Destination::File(&folder.path().join("oci.tar")), &images, &blobs).unwrap();
    docker_tar(Destination::File(&folder.path().join("docker.tar")), &images, &blobs).unwrap();
    for source in
        ["oci:layout:1", "oci-archive:oci.tar", "oci-archive:docker.tar", "docker-archive:docker.tar"]
    {
        let Some(output) = run(test, "skopeo", &["inspect", source], folder.path()) else { return };
        let inspected: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(inspected["Architecture"], "amd64", "{source}");
        assert_eq!(inspected["Layers"].as_array().unwrap().len(), 2, "{source}");
        if source.starts_with("oci") {
            assert_eq!(inspected["Digest"], image.digest().to_string(), "{source}");
        }
        // Copying reads every byte and compares every digest.
        let copy = format!("dir:copy-{}", source.replace([':', '.'], "-"));
        run(test, "skopeo", &["--insecure-policy", "copy", source, &copy], folder.path());
    }
}

#[test]
fn umoci_unpacks_a_layout() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let image = demanding_image(&mut blobs);
    let names = names(&["server:1"]);
    oci_layout(&folder.path().join("layout"), &[NamedImage { image: &image, names: &names }], &blobs)
        .unwrap();
    let arguments = ["unpack", "--rootless", "--image", "layout:1", "bundle"];
    if run("umoci_unpacks_a_layout", "umoci", &arguments, folder.path()).is_none() {
        return;
    }
    let root = folder.path().join("bundle/rootfs");
    assert_eq!(fs::read(root.join("big")).unwrap(), binary_like((5 << 20) + 3));
    assert_eq!(fs::read_to_string(root.join("bin/alias")).unwrap(), "#!/bin/true\n");
    assert_eq!(fs::read_to_string(root.join("d".repeat(200)).join("größe")).unwrap(), "long");
}

#[test]
fn tar_extracts_a_flattened_image() {
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let image = demanding_image(&mut blobs);
    fs::create_dir(folder.path().join("root")).unwrap();
    rootfs_tar(Destination::File(&folder.path().join("rootfs.tar")), &image, &blobs).unwrap();
    let arguments = ["--no-same-owner", "-xf", "rootfs.tar", "-C", "root"];
    let Some(output) = run("tar_extracts_a_flattened_image", "tar", &arguments, folder.path()) else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(fs::read(folder.path().join("root/big")).unwrap(), binary_like((5 << 20) + 3));
    assert_eq!(fs::read_to_string(folder.path().join("root/usr/bin/alias")).unwrap(), "#!/bin/true\n");
}

#[test]
fn what_skopeo_writes_comes_in() {
    let test = "what_skopeo_writes_comes_in";
    let folder = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let image = demanding_image(&mut blobs);
    let names = names(&["server:1"]);
    let layout = folder.path().join("layout");
    oci_layout(&layout, &[NamedImage { image: &image, names: &names }], &blobs).unwrap();
    let zstd = ["--dest-compress", "--dest-compress-format", "zstd"];
    for (source, target, further) in [
        ("oci:layout:1", "oci-archive:oci.tar:server:1", &[][..]),
        ("oci:layout:1", "docker-archive:docker.tar:server:1", &[][..]),
        // From an archive whose layers are not compressed.
        ("docker-archive:docker.tar:server:1", "oci:zstd:server:1", &zstd[..]),
    ] {
        let copy = [&["--insecure-policy", "copy"], further, &[source, target]].concat();
        if run(test, "skopeo", &copy, folder.path()).is_none() {
            return;
        }
        let (store, platform, cancel) = (Store::default(), "linux/amd64".parse().unwrap(), Cancel::default());
        let file = folder.path().join(target.split(':').nth(1).unwrap());
        let chosen = Selection::Name("server:1".to_owned());
        let imported = match target.starts_with("oci:") {
            true => import_layout(&file, &chosen, &platform, &store, &cancel),
            false => import_archive(&file, &chosen, &platform, &store, folder.path(), &cancel),
        };
        let imported = imported.unwrap_or_else(|error| panic!("{target}: {error}")).image;
        assert_eq!(imported.config().rootfs, image.config().rootfs, "{target}");
        if target.starts_with("oci:") {
            assert_eq!(imported.layers()[0].descriptor.media_type, media_type::LAYER_ZSTD);
        }
        // Whatever it is compressed with, it is the same layer.
        for (layer, original) in imported.layers().iter().zip(image.layers()) {
            let listing = |layer, blobs: &dyn BlobSource| {
                let root = tempfile::tempdir().unwrap();
                snapshot::unpack_layer(layer, blobs, root.path(), Ownership::Caller).unwrap().listing
            };
            assert_eq!(listing(layer, &store), listing(&original, &blobs), "{target}");
        }
    }
}

#[test]
fn tar_and_unpacking_agree_about_a_layer() {
    let test = "tar_and_unpacking_agree_about_a_layer";
    if !crate::snapshot::is_root(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (bytes, _) = write(&sample_layer(), 2);
    fs::write(folder.path().join("layer.tar.gz"), &bytes).unwrap();
    for name in ["theirs", "ours"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let arguments = ["--numeric-owner", "--same-owner", "-xpzf", "layer.tar.gz", "-C", "theirs"];
    if run(test, "tar", &arguments, folder.path()).is_none() {
        return;
    }
    let ours = folder.path().join("ours");
    let gzip = media_type::LAYER_GZIP;
    let unpacked = snapshot::unpack(bytes.as_slice(), gzip, &ours, Ownership::Recorded).unwrap();
    let threads = std::num::NonZeroUsize::MIN;
    let theirs = snapshot::scan(&folder.path().join("theirs"), Ownership::Recorded, threads).unwrap();
    assert_eq!(crate::snapshot::lines(&unpacked.listing), crate::snapshot::lines(&theirs));
    assert_eq!(unpacked.listing, theirs);
    // And the other way: tar reads what is packed from there.
    let mut packed = Vec::new();
    snapshot::pack(&ours, &theirs, None, &mut packed, threads).unwrap();
    fs::write(folder.path().join("packed.tar.gz"), &packed).unwrap();
    let Some(output) = run(test, "tar", &["-dpzf", "packed.tar.gz", "-C", "theirs"], folder.path()) else {
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}
