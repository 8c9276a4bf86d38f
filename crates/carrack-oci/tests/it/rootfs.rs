use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use carrack_oci::wire::{Descriptor, media_type};
use carrack_oci::{
    Attributes, BlobError, Content, Destination, Image, Layer, LayerBuilder, Ownership, RootfsError,
    rootfs_dir, rootfs_tar,
};
use tar::EntryType;

use crate::hostile::tar;
use crate::{Blobs, binary_like, bytes, image, path, sample_image, sample_layer};

const FILE: EntryType = EntryType::Regular;
const FOLDER: EntryType = EntryType::Directory;

/// Every path below `folder` with a file's content or a link's target, sorted.
fn listing(folder: &Path) -> Vec<String> {
    fn visit(root: &Path, folder: &Path, lines: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if kind.is_dir() {
                lines.push(format!("{name}/"));
                visit(root, &path, lines);
            } else if kind.is_symlink() {
                lines.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
            } else {
                lines.push(format!("{name} = {}", fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut lines = Vec::new();
    visit(folder, folder, &mut lines);
    lines.sort();
    lines
}

fn check(layers: &[&[(EntryType, &str, &str)]], expected: &[&str]) {
    let mut blobs = Blobs::default();
    let layers: Vec<Layer> = layers.iter().map(|entries| blobs.add_tar(&tar(entries))).collect();
    let image = image(&layers);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    rootfs_dir(&root, &image, &blobs, Ownership::Caller).unwrap();
    assert_eq!(listing(&root), expected);
    // The tar says the same, to another program.
    let mut archive = Vec::new();
    rootfs_tar(Destination::Stream(&mut archive), &image, &blobs).unwrap();
    let extracted = folder.path().join("extracted");
    tar::Archive::new(archive.as_slice()).unpack(&extracted).unwrap();
    assert_eq!(listing(&extracted), expected);
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let lower: &[_] =
        &[(FILE, "a/x", "1"), (FILE, "a/y", "1"), (FILE, "b/z", "1"), (FILE, "c", "1"), (FILE, "d/e/f", "1")];
    check(
        &[lower, &[(FILE, "a/.wh.x", ""), (FILE, ".wh.c", "")]],
        &["a/", "a/y = 1", "b/", "b/z = 1", "d/", "d/e/", "d/e/f = 1"],
    );
    check(&[lower, &[(FILE, ".wh.a", ""), (FILE, ".wh.b", ""), (FILE, ".wh.d", "")]], &["c = 1"]);
    // In one layer, whatever its order: what it brings stays.
    let opaque_last: &[_] = &[(FILE, "a/new", "2"), (FILE, "a/.wh..wh..opq", "")];
    let opaque_first: &[_] = &[(FILE, "a/.wh..wh..opq", ""), (FILE, "a/new", "2")];
    let rest = ["a/", "a/new = 2", "b/", "b/z = 1", "c = 1", "d/", "d/e/", "d/e/f = 1"];
    check(&[lower, opaque_last], &rest);
    check(&[lower, opaque_first], &rest);
    check(
        &[lower, &[(FILE, "d/e/new", "2"), (FILE, ".wh.d", "")]],
        &["a/", "a/x = 1", "a/y = 1", "b/", "b/z = 1", "c = 1", "d/", "d/e/", "d/e/new = 2"],
    );
    // Everything is hidden, then there again.
    check(&[lower, &[(FILE, ".wh..wh..opq", "")], &[(FILE, "a/x", "3")]], &["a/", "a/x = 3"]);
    // A name that only begins alike is another one.
    check(
        &[&[(FILE, "a/x", "1"), (FILE, "a-b/x", "1"), (FILE, "a.b", "1")], &[(FILE, ".wh.a", "")]],
        &["a-b/", "a-b/x = 1", "a.b = 1"],
    );
}

#[test]
fn upper_layers_replace() {
    check(&[&[(FILE, "a", "1")], &[(FILE, "a", "22")]], &["a = 22"]);
    check(&[&[(FILE, "a/x", "1")], &[(FILE, "a", "file")]], &["a = file"]);
    check(&[&[(FILE, "a", "1")], &[(FOLDER, "a", ""), (FILE, "a/x", "2")]], &["a/", "a/x = 2"]);
    check(&[&[(FILE, "a/x", "1")], &[(FOLDER, "a", "")]], &["a/", "a/x = 1"]);
    check(
        &[&[(FOLDER, "usr/lib", ""), (EntryType::Symlink, "lib", "usr/lib")], &[(FILE, "lib/so", "2")]],
        &["lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/so = 2"],
    );
}

#[test]
fn a_hard_link_outlives_its_first_name() {
    let lower: &[_] = &[(FILE, "a", "1"), (EntryType::Link, "b", "a"), (EntryType::Link, "c", "b")];
    check(&[lower, &[(FILE, ".wh.a", "")]], &["b = 1", "c = 1"]);
    check(&[lower, &[(FILE, "a", "2")]], &["a = 2", "b = 1", "c = 1"]);
    let mut blobs = Blobs::default();
    let layers = [blobs.add_tar(&tar(lower)), blobs.add_tar(&tar(&[(FILE, ".wh.a", "")]))];
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    rootfs_dir(&root, &image(&layers), &blobs, Ownership::Caller).unwrap();
    let inode = |name| fs::metadata(root.join(name)).unwrap().ino();
    assert_eq!(inode("b"), inode("c"));
}

#[test]
fn a_layer_comes_back_as_it_was_written() {
    let mut blobs = Blobs::default();
    let mut layer = LayerBuilder::new(1_000_000_007);
    layer.directory(path("/locked"), Attributes::new(0o555)).unwrap();
    layer.file(path("/locked/inside"), Attributes::new(0o400), bytes("secret")).unwrap();
    layer.file(path("/suid"), Attributes::new(0o6755), bytes("x")).unwrap();
    layer.file(path("/big"), Attributes::new(0o644), Content::Bytes(binary_like((3 << 20) + 1))).unwrap();
    let long = format!("/{}/{}/größe", "d".repeat(200), "e".repeat(200));
    layer.file(path(&long), Attributes::new(0o644), bytes("long")).unwrap();
    layer.symlink(path("/link"), "locked/inside").unwrap();
    let mut attributes = Attributes::new(0o644);
    attributes.xattrs.insert(b"user.note".to_vec(), b"two\nlines\0and a NUL".to_vec());
    attributes.xattrs.insert(b"user.overlay.opaque".to_vec(), b"y".to_vec());
    layer.file(path("/noted"), attributes, bytes("n")).unwrap();
    let image = image(&[blobs.add_layer(&layer)]);

    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let unpacked = rootfs_dir(&root, &image, &blobs, Ownership::Caller).unwrap();
    assert_eq!(fs::read(root.join("big")).unwrap(), binary_like((3 << 20) + 1));
    assert_eq!(fs::read_to_string(root.join(&long[1..])).unwrap(), "long");
    assert_eq!(fs::read_to_string(root.join("link")).unwrap(), "secret");
    let modes = [("locked", 0o555), ("locked/inside", 0o400), ("suid", 0o6755), ("big", 0o644)];
    for (name, mode) in modes {
        let metadata = fs::metadata(root.join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
        assert_eq!(metadata.mtime(), 1_000_000_007, "{name}");
    }
    assert_eq!(fs::symlink_metadata(root.join("link")).unwrap().mtime(), 1_000_000_007);
    let mut value = [0; 64];
    match rustix::fs::getxattr(root.join("noted"), "user.note", &mut value[..]) {
        Ok(size) => assert_eq!(value[..size], b"two\nlines\0and a NUL"[..]),
        Err(_) => assert_eq!(unpacked.skipped_xattrs, 1),
    }
    assert!(rustix::fs::getxattr(root.join("noted"), "user.overlay.opaque", &mut value[..]).is_err());
}

#[test]
fn recorded_owners_are_set_where_that_is_allowed() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: recorded_owners_are_set_where_that_is_allowed needs root");
        return;
    }
    let mut blobs = Blobs::default();
    let image = image(&[blobs.add_layer(&sample_layer())]);
    let folder = tempfile::tempdir().unwrap();
    let owner = |root: &Path| {
        let metadata = fs::metadata(root.join("etc/app/config.toml")).unwrap();
        (metadata.uid(), metadata.gid())
    };
    let recorded = folder.path().join("recorded");
    rootfs_dir(&recorded, &image, &blobs, Ownership::Recorded).unwrap();
    assert_eq!(owner(&recorded), (10, 20));
    // A change of owner would take the bit away if it came last.
    assert_eq!(fs::metadata(recorded.join("usr/bin/server")).unwrap().mode() & 0o7777, 0o4755);
    let caller = folder.path().join("caller");
    rootfs_dir(&caller, &image, &blobs, Ownership::Caller).unwrap();
    assert_eq!(owner(&caller), (0, 0));
}

#[test]
fn the_flattened_tar_is_always_the_same() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let write =
        || crate::digest_of(|writer| rootfs_tar(Destination::Stream(writer), &image, &blobs).unwrap());
    assert_eq!(write(), write());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rootfs.tar");
    rootfs_tar(Destination::File(&file), &image, &blobs).unwrap();
    assert_eq!(crate::Digest::of(&fs::read(&file).unwrap()), write());
}

#[test]
fn times_before_the_epoch_and_fractions_are_kept() {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, time) in [("early", "-1.25"), ("late", "1700000000.000000001")] {
        builder.append_pax_extensions([("mtime", time.as_bytes())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &b""[..]).unwrap();
    }
    let mut blobs = Blobs::default();
    let lower = image(&[blobs.add_tar(&builder.into_inner().unwrap())]);
    let folder = tempfile::tempdir().unwrap();
    // Once directly, once through a tar of ours.
    let mut archive = Vec::new();
    rootfs_tar(Destination::Stream(&mut archive), &lower, &blobs).unwrap();
    let again = image(&[blobs.add_tar(&archive)]);
    for (name, image) in [("direct", &lower), ("again", &again)] {
        let root = folder.path().join(name);
        rootfs_dir(&root, image, &blobs, Ownership::Caller).unwrap();
        let time = |file| {
            let metadata = fs::metadata(root.join(file)).unwrap();
            (metadata.mtime(), metadata.mtime_nsec())
        };
        assert_eq!(time("early"), (-2, 750_000_000));
        assert_eq!(time("late"), (1_700_000_000, 1));
    }
}

#[test]
fn damaged_layers_are_refused_before_anything_is_written() {
    let mut blobs = Blobs::default();
    let whole = sample_image(&mut blobs);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let unpack = |image: &Image, blobs: &Blobs| {
        let error = rootfs_dir(&root, image, blobs, Ownership::Caller).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        error
    };
    let digest = whole.layers()[1].descriptor.digest;
    let length = blobs.0[&digest].len();
    for position in [0, 5, length / 2, length - 1] {
        let mut damaged = blobs.clone();
        damaged.0.get_mut(&digest).unwrap()[position] ^= 0x10;
        let error = unpack(&whole, &damaged);
        assert!(matches!(error, RootfsError::Blob(BlobError::Content { .. })), "{position}: {error:?}");
    }
    let mut longer = blobs.clone();
    longer.0.get_mut(&digest).unwrap().push(0);
    assert!(matches!(unpack(&whole, &longer), RootfsError::Blob(BlobError::Size { .. })));

    let mut layers = whole.layers();
    layers[1].diff_id = layers[0].diff_id;
    assert!(matches!(unpack(&image(&layers), &blobs), RootfsError::DiffId { .. }));

    let mut layers = whole.layers();
    layers[0].descriptor.media_type = "application/vnd.oci.image.layer.v1.tar+lzma".to_owned();
    assert!(matches!(unpack(&image(&layers), &blobs), RootfsError::MediaType { .. }));

    // Not gzip, though it says so.
    let plain: Descriptor = blobs.add(media_type::LAYER_GZIP, b"plain");
    let layer = Layer { diff_id: plain.digest, descriptor: plain };
    assert!(matches!(unpack(&image(&[layer]), &blobs), RootfsError::Archive { .. }));
}

#[test]
fn a_folder_with_something_in_it_is_merged_into() {
    let mut blobs = Blobs::default();
    let image = sample_image(&mut blobs);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
    for _ in 0..2 {
        rootfs_dir(folder.path(), &image, &blobs, Ownership::Caller).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("thesis.txt")).unwrap(), "years of work");
        assert_eq!(fs::read_to_string(folder.path().join("srv/data")).unwrap(), "data");
        fs::write(folder.path().join("srv/data"), "something else, and longer").unwrap();
    }
    assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o750);

    // A link leads nowhere, and a folder is not lost for a file.
    let outside = tempfile::tempdir().unwrap();
    fs::remove_dir_all(folder.path().join("srv")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("srv")).unwrap();
    rootfs_dir(folder.path(), &image, &blobs, Ownership::Caller).unwrap_err();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    fs::remove_file(folder.path().join("srv")).unwrap();
    fs::create_dir_all(folder.path().join("srv/data/mine")).unwrap();
    let error = rootfs_dir(folder.path(), &image, &blobs, Ownership::Caller).unwrap_err();
    assert!(
        matches!(&error, RootfsError::Write { path, .. } if *path == folder.path().join("srv/data")),
        "{error}"
    );
    assert!(folder.path().join("srv/data/mine").is_dir());

    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    rootfs_dir(&empty, &image, &blobs, Ownership::Caller).unwrap();
    let mut content = String::new();
    fs::File::open(empty.join("srv/data")).unwrap().read_to_string(&mut content).unwrap();
    assert_eq!(content, "data");
    let under_nothing = folder.path().join("missing/root");
    let error = rootfs_dir(&under_nothing, &image, &blobs, Ownership::Caller).unwrap_err();
    assert!(matches!(error, RootfsError::Write { .. }));
}
