//! Layers that become folders, and folders that become layers.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use carrack_oci::snapshot::{Listing, SnapshotError, Unpacked, pack, scan, unpack, unpack_layer};
use carrack_oci::wire::media_type;
use carrack_oci::{Attributes, BlobError, Content, Layer, LayerBuilder, Ownership, rootfs_dir};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tar::EntryType;

use crate::hostile::tar;
use crate::snapshot::{is_root, lines, threads};
use crate::{Blobs, binary_like, bytes, image, path, sample_layer};

const FILE: EntryType = EntryType::Regular;
const FOLDER: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Link;
const SYMLINK: EntryType = EntryType::Symlink;

/// Who unpacks as far as this process can.
fn ownership() -> Ownership {
    if rustix::process::geteuid().is_root() { Ownership::Recorded } else { Ownership::Caller }
}

fn try_unpack(tar: &[u8]) -> Result<Unpacked, SnapshotError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("victim"), "untouched").unwrap();
    let root = folder.path().join("root");
    let unpacked = unpack(tar, media_type::LAYER_TAR, &root, ownership());
    if let Ok(unpacked) = &unpacked {
        let scanned = scan(&root, ownership(), threads(2)).unwrap();
        assert_eq!(lines(&scanned), lines(&unpacked.listing));
        assert_eq!(scanned, unpacked.listing);
    }
    assert_eq!(fs::read(folder.path().join("victim")).unwrap(), b"untouched");
    assert_eq!(fs::metadata(folder.path().join("victim")).unwrap().nlink(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    unpacked
}

/// Checks what entries become: lines without mode and owner.
fn check(entries: &[(EntryType, &str, &str)], expected: &[&str]) {
    let unpacked = try_unpack(&tar(entries)).unwrap();
    let short = |line: &String| line.split(" 0:0").next().unwrap().rsplit_once(' ').unwrap().0.to_owned();
    let found: Vec<String> = lines(&unpacked.listing)
        .iter()
        .map(|line| if line.ends_with("deleted") { line.clone() } else { short(line) })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn deletions_become_whiteouts_and_opaque_folders() {
    check(
        &[(FILE, "a/.wh.x", ""), (FILE, "a/y", "1"), (FILE, ".wh.b", "")],
        &[" folder", "a folder", "a/x deleted", "a/y file of 1", "b deleted"],
    );
    let opaque = [" folder", "a opaque folder", "a/x file of 1"];
    check(&[(FILE, "a/.wh..wh..opq", ""), (FILE, "a/x", "1")], &opaque);
    check(&[(FILE, "a/x", "1"), (FILE, "a/.wh..wh..opq", "")], &opaque);
    check(&[(FOLDER, "a", ""), (FILE, "a/x", "1"), (FILE, ".wh.a", "")], &opaque);
    check(&[(FILE, ".wh.a", ""), (FILE, "a/x", "1")], &opaque);
    check(&[(FILE, ".wh.a", ""), (FOLDER, "a", ""), (FILE, "a/x", "1")], &opaque);
    check(&[(FILE, "a", "1"), (FILE, ".wh.a", "")], &[" folder", "a file of 1"]);
    check(&[(FILE, ".wh.a", ""), (FILE, "a", "1")], &[" folder", "a file of 1"]);
    check(&[(FILE, ".wh..wh..opq", "")], &[" opaque folder"]);
    check(&[(FILE, ".wh..wh.plnk", ""), (FILE, "a", "")], &[" folder", "a file of 0"]);
}

#[test]
fn later_entries_replace_earlier_ones() {
    check(&[(FILE, "a", "1"), (FILE, "a", "22")], &[" folder", "a file of 2"]);
    check(&[(FILE, "a/x", "1"), (FILE, "a", "22")], &[" folder", "a file of 2"]);
    check(&[(FILE, "a/b/x", "1"), (SYMLINK, "a", "c")], &[" folder", "a -> c"]);
    // The file hid what lower layers have there.
    check(&[(FILE, "a", "1"), (FOLDER, "a", "")], &[" folder", "a opaque folder"]);
    check(&[(FILE, "a/x", "1"), (FOLDER, "a", "")], &[" folder", "a folder", "a/x file of 1"]);
    // Another name of the file that was replaced keeps its content.
    check(
        &[(FILE, "b", "1"), (LINK, "a", "b"), (FILE, "b", "22")],
        &[" folder", "a file of 1", "b file of 2"],
    );
    check(
        &[(FILE, "b", "1"), (LINK, "a", "b"), (LINK, "b", "a")],
        &[" folder", "a file of 1", "b same as a"],
    );
    check(&[(FILE, "a", "1"), (LINK, "a", "a")], &[" folder", "a file of 1"]);
    // The folder used last is not the one that is there now.
    check(
        &[(FILE, "a/x", "1"), (FILE, "a", ""), (FILE, ".wh.b", ""), (FOLDER, "a", ""), (FILE, "a/y", "1")],
        &[" folder", "a opaque folder", "a/y file of 1", "b deleted"],
    );
}

#[test]
fn links_among_parents_lead_within_the_layer() {
    check(
        &[(FOLDER, "usr/lib", ""), (SYMLINK, "lib", "usr/lib"), (FILE, "lib/so", "1")],
        &[" folder", "lib -> usr/lib", "usr folder", "usr/lib folder", "usr/lib/so file of 1"],
    );
    check(
        &[(SYMLINK, "out", "../../.."), (FILE, "out/victim", "overwritten")],
        &[" folder", "out -> ../../..", "victim file of 11"],
    );
    check(
        &[(SYMLINK, "out", "/etc"), (FILE, "out/passwd", "1")],
        &[" folder", "etc folder", "etc/passwd file of 1", "out -> /etc"],
    );
    check(
        &[(SYMLINK, "out", "/"), (LINK, "hard", "out/there"), (FILE, "x", "")][..1],
        &[" folder", "out -> /"],
    );
}

#[test]
fn hostile_layers_are_refused() {
    let refuse = |entries: &[(EntryType, &str, &str)], expected: &str| match try_unpack(&tar(entries)) {
        Err(SnapshotError::Entry { problem, .. }) => assert_eq!(problem.to_string(), expected),
        other => panic!("{other:?}"),
    };
    let outside = "it points outside of the image";
    refuse(&[(FILE, "../victim", "x")], outside);
    refuse(&[(FILE, "a/../../victim", "x")], outside);
    refuse(&[(FILE, "a/.wh...", "")], outside);
    refuse(&[(FILE, ".wh.", "")], outside);
    refuse(&[(SYMLINK, "/", "x")], outside);
    refuse(&[(LINK, "a", "../victim")], outside);
    refuse(&[(LINK, "a", "victim")], "it is a hard link, and there is no such file: victim");
    refuse(
        &[(SYMLINK, "s", "../"), (LINK, "a", "s/victim")],
        "it is a hard link, and there is no such file: s/victim",
    );
    refuse(&[(FILE, "a/x", ""), (LINK, "a", "a/x")], "it is a hard link, and there is no such file: a/x");
    refuse(&[(FILE, ".wh.w", ""), (LINK, "a", "w")], "it is a hard link, and there is no such file: w");
    refuse(&[(FILE, "a", "x"), (FILE, "a/b", "x")], "a part of its path is no folder");
    refuse(
        &[(SYMLINK, "a", "b"), (SYMLINK, "b", "a"), (FILE, "a/x", "")],
        "its path has too many symbolic links",
    );
    refuse(&[(EntryType::new(b'Z'), "a", "")], "it is of an unknown kind ('Z')");
}

/// A layer with one of everything that is not a device.
fn rich_layer() -> LayerBuilder {
    let mut layer = sample_layer();
    layer.directory(path("/locked"), Attributes::new(0o555)).unwrap();
    layer.file(path("/locked/inside"), Attributes::new(0o400), bytes("secret")).unwrap();
    layer.file(path("/big"), Attributes::new(0o644), Content::Bytes(binary_like((3 << 20) + 1))).unwrap();
    let long = format!("/{}/{}/größe", "d".repeat(200), "e".repeat(200));
    layer.file(path(&long), Attributes::new(0o644), bytes("long")).unwrap();
    let mut attributes = Attributes::new(0o644);
    attributes.xattrs.insert(b"user.note".to_vec(), b"two\nlines\0and a NUL".to_vec());
    attributes.xattrs.insert(b"user.overlay.opaque".to_vec(), b"y".to_vec());
    attributes.xattrs.insert(b"security.selinux".to_vec(), b"label".to_vec());
    layer.file(path("/noted"), attributes, bytes("n")).unwrap();
    layer
}

#[test]
fn a_layer_is_the_same_after_each_way() {
    if !is_root("a_layer_is_the_same_after_each_way") {
        return;
    }
    let mut blobs = Blobs::default();
    let mut builder = rich_layer();
    let mut attributes = Attributes::new(0o755);
    // cap_net_bind_service=ep, version 2.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    attributes.xattrs.insert(b"security.capability".to_vec(), capability.to_vec());
    builder.file(path("/capable"), attributes.owned_by(5, 6), bytes("c")).unwrap();
    let layer = blobs.add_layer(&builder);
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let unpacked = unpack_layer(&layer, &blobs, &first, Ownership::Recorded).unwrap();
    assert_eq!(unpacked.diff_id, layer.diff_id);
    assert_eq!((unpacked.skipped_devices, unpacked.skipped_xattrs), (0, 1));
    assert_eq!(unpacked.implied, [b"".to_vec()]);
    assert_eq!(fs::metadata(first.join("usr/bin/server")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(fs::metadata(first.join("locked")).unwrap().mode() & 0o7777, 0o555);
    assert_eq!(fs::metadata(first.join("etc/app/config.toml")).unwrap().uid(), 10);
    assert_eq!(unpacked.listing.get(b"capable").unwrap().xattrs.len(), 1);
    assert_eq!(scan(&first, Ownership::Recorded, threads(2)).unwrap(), unpacked.listing);

    let packed = |folder: &Path, listing: &Listing, clamp, count| {
        let mut blob = Vec::new();
        let written = pack(folder, listing, clamp, &mut blob, threads(count)).unwrap();
        (blob, written)
    };
    let (blob, written) = packed(&first, &unpacked.listing, None, 1);
    assert_eq!(packed(&first, &unpacked.listing, None, 3), (blob.clone(), written.clone()));
    blobs.0.insert(written.digest(), blob.clone());
    let second = folder.path().join("second");
    let again = unpack_layer(&written.layer, &blobs, &second, Ownership::Recorded).unwrap();
    assert_eq!(again.listing, unpacked.listing);
    assert_eq!(again.listing.digest(), unpacked.listing.digest());
    // From there, the same bytes once more.
    assert_eq!(packed(&second, &again.listing, None, 2), (blob, written));
}

#[test]
fn times_are_kept_in_the_folder_and_clamped_in_the_layer() {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, time) in [("early", "-1.25"), ("late", "1700000000.000000001")] {
        builder.append_pax_extensions([("mtime", time.as_bytes())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &b""[..]).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let blob = builder.into_inner().unwrap();
    let unpacked = unpack(blob.as_slice(), media_type::LAYER_TAR, folder.path(), ownership()).unwrap();
    let metadata = fs::metadata(folder.path().join("early")).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (-2, 750_000_000));
    let metadata = fs::metadata(folder.path().join("late")).unwrap();
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_700_000_000, 1));
    let times = |clamp| {
        let mut blob = Vec::new();
        pack(folder.path(), &unpacked.listing, clamp, &mut blob, threads(1)).unwrap();
        let root = tempfile::tempdir().unwrap();
        unpack(blob.as_slice(), media_type::LAYER_GZIP, root.path(), ownership()).unwrap();
        ["early", "late"].map(|name| {
            let metadata = fs::metadata(root.path().join(name)).unwrap();
            (metadata.mtime(), metadata.mtime_nsec())
        })
    };
    assert_eq!(times(None), [(-2, 0), (1_700_000_000, 0)]);
    assert_eq!(times(Some(1_000)), [(-2, 0), (1_000, 0)]);
}

#[test]
fn all_compressions_give_the_same_folder() {
    let content = binary_like(1 << 20);
    let mut builder = LayerBuilder::new(7);
    builder.file(path("/data"), Attributes::new(0o644), Content::Bytes(content)).unwrap();
    builder.file(path("/more"), Attributes::new(0o644), bytes("more")).unwrap();
    let (gzip, written) = crate::write(&builder, 2);
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(gzip.as_slice()).read_to_end(&mut plain).unwrap();
    let (one, two) = plain.split_at(plain.len() / 3);
    let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
    // A frame that decoders have to pass over, as seekable formats use it.
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"meta"].concat();
    let frames = [zstd(one), skippable.clone(), zstd(two), skippable].concat();
    let unpacked = |blob: &[u8], media_type: &str| {
        let folder = tempfile::tempdir().unwrap();
        unpack(blob, media_type, folder.path(), ownership()).unwrap()
    };
    let expected = unpacked(&plain, media_type::LAYER_TAR);
    assert_eq!(expected.diff_id, written.layer.diff_id);
    for (blob, media_type) in [
        (&plain, media_type::DOCKER_LAYER_TAR),
        (&gzip, media_type::LAYER_GZIP),
        (&gzip, media_type::DOCKER_LAYER_GZIP),
        (&zstd(&plain), media_type::LAYER_ZSTD),
        (&frames, media_type::DOCKER_LAYER_ZSTD),
    ] {
        assert_eq!(unpacked(blob, media_type), expected, "{media_type}");
    }
    let folder = tempfile::tempdir().unwrap();
    let error = unpack(gzip.as_slice(), "text/plain", folder.path(), ownership()).unwrap_err();
    assert!(matches!(error, SnapshotError::MediaType { media_type } if media_type == "text/plain"));
}

#[test]
fn damaged_layers_are_refused() {
    let mut blobs = Blobs::default();
    let layer = blobs.add_layer(&rich_layer());
    let digest = layer.descriptor.digest;
    let attempt = |layer: &Layer, blobs: &Blobs| {
        let folder = tempfile::tempdir().unwrap();
        unpack_layer(layer, blobs, folder.path(), ownership()).unwrap_err()
    };
    let length = blobs.0[&digest].len();
    for position in [0, 5, 1_000, length / 2, length - 1] {
        let mut damaged = blobs.clone();
        damaged.0.get_mut(&digest).unwrap()[position] ^= 0x10;
        let error = attempt(&layer, &damaged);
        assert!(matches!(error, SnapshotError::Blob(BlobError::Content { .. })), "{position}: {error:?}");
    }
    let mut shorter = blobs.clone();
    shorter.0.get_mut(&digest).unwrap().truncate(length / 2);
    assert!(matches!(attempt(&layer, &shorter), SnapshotError::Blob(BlobError::Size { .. })));
    let wrong = Layer { diff_id: digest, ..layer.clone() };
    assert!(matches!(attempt(&wrong, &blobs), SnapshotError::DiffId { .. }));
    assert!(matches!(attempt(&layer, &Blobs::default()), SnapshotError::Blob(BlobError::Read { .. })));
    let mut plain = layer;
    plain.descriptor.media_type = media_type::LAYER_TAR.to_owned();
    assert!(matches!(attempt(&plain, &blobs), SnapshotError::Archive(_)));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine"), "").unwrap();
    let error = unpack(&b""[..], media_type::LAYER_TAR, folder.path(), ownership()).unwrap_err();
    assert!(matches!(error, SnapshotError::Write { path, .. } if path == folder.path()));
    assert!(folder.path().join("mine").exists());
}

#[test]
fn devices_are_made_where_that_is_allowed() {
    let entries =
        [(EntryType::Char, "null", ""), (EntryType::Block, "disk", ""), (EntryType::Fifo, "pipe", "")];
    let unpacked = try_unpack(&tar(&entries)).unwrap();
    let made = unpacked.listing.len() as u64 - 2;
    assert_eq!(made + unpacked.skipped_devices, 2);
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(EntryType::Char);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    header.set_size(0);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_data(&mut header, "not-a-deletion", &b""[..]).unwrap();
    let unpacked = try_unpack(&builder.into_inner().unwrap()).unwrap();
    assert_eq!((unpacked.listing.len(), unpacked.skipped_devices), (1, 1));
}

/// An overlay that is taken away again.
struct Overlay(PathBuf);

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

fn mount_overlay(place: &Path, lower: &[PathBuf], upper: Option<&Path>) -> Overlay {
    fs::create_dir(place).unwrap();
    let lower: Vec<String> = lower.iter().rev().map(|path| path.display().to_string()).collect();
    let mut options = format!("userxattr,lowerdir={}", lower.join(":"));
    if let Some(upper) = upper {
        let work = upper.with_extension("work");
        fs::create_dir(&work).unwrap();
        options.push_str(&format!(",upperdir={},workdir={}", upper.display(), work.display()));
    }
    let options = std::ffi::CString::new(options).unwrap();
    mount("overlay", place, "overlay", MountFlags::empty(), options.as_c_str()).unwrap();
    Overlay(place.to_owned())
}

#[test]
fn stacked_snapshots_are_what_the_image_is() {
    if !is_root("stacked_snapshots_are_what_the_image_is") {
        return;
    }
    let mut blobs = Blobs::default();
    let lower: &[_] = &[
        (FILE, "a/x", "1"),
        (FILE, "a/y", "1"),
        (FILE, "b/z", "1"),
        (FILE, "c", "1"),
        (FILE, "d/e/f", "1"),
        (FOLDER, "g", ""),
        (FILE, "g/h", "1"),
        (FILE, "k", "1"),
        (SYMLINK, "l", "k"),
        (LINK, "m", "k"),
    ];
    let middle: &[_] = &[
        (FILE, "a/.wh.x", ""),
        (FILE, ".wh.c", ""),
        (FILE, "b/.wh..wh..opq", ""),
        (FILE, "b/new", "2"),
        (FILE, "d/e/new", "2"),
        (FILE, ".wh.d", ""),
        (FILE, "g", "a file now"),
        (FOLDER, "k", ""),
        (FILE, "k/inside", "2"),
    ];
    let upper: &[_] =
        &[(FILE, "a/x", "3"), (FILE, "c", "3"), (FILE, ".wh.g", ""), (FOLDER, "g", ""), (FILE, "g/i", "3")];
    let layers = [
        blobs.add_tar(&tar(lower)),
        blobs.add_tar(&tar(middle)),
        blobs.add_tar(&tar(upper)),
        blobs.add_layer(&rich_layer()),
    ];
    let folder = tempfile::tempdir().unwrap();
    let flat = folder.path().join("flat");
    rootfs_dir(&flat, &image(&layers), &blobs, Ownership::Recorded).unwrap();
    let mut snapshots = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let place = folder.path().join(number.to_string());
        let unpacked = unpack_layer(layer, &blobs, &place, Ownership::Recorded).unwrap();
        assert_eq!(scan(&place, Ownership::Recorded, threads(2)).unwrap(), unpacked.listing);
        snapshots.push(place);
    }
    let listing = |folder: &Path| scan(folder, Ownership::Recorded, threads(2)).unwrap();
    let upper = folder.path().join("upper");
    fs::create_dir(&upper).unwrap();
    let merged = folder.path().join("merged");
    let overlay = mount_overlay(&merged, &snapshots, Some(&upper));
    assert_eq!(lines(&listing(&merged)), lines(&listing(&flat)));
    assert_eq!(listing(&merged), listing(&flat));

    // What a command does there is a further layer.
    for root in [&merged, &flat] {
        fs::remove_dir_all(root.join("a")).unwrap();
        fs::remove_file(root.join("c")).unwrap();
        fs::write(root.join("k/inside"), "changed").unwrap();
        fs::remove_dir_all(root.join("b")).unwrap();
        fs::create_dir(root.join("b")).unwrap();
        fs::write(root.join("b/only"), "4").unwrap();
        fs::hard_link(root.join("b/only"), root.join("b/other")).unwrap();
        fs::set_permissions(root.join("b/only"), fs::Permissions::from_mode(0o4711)).unwrap();
        std::os::unix::fs::chown(root.join("locked"), Some(1), Some(2)).unwrap();
    }
    assert_eq!(listing(&merged), listing(&flat));
    drop(overlay);
    let changes = listing(&upper);
    let text = lines(&changes).join("\n");
    assert!(text.contains("a deleted") && text.contains("b opaque folder"), "{text}");
    let mut blob = Vec::new();
    let written = pack(&upper, &changes, Some(1_700_000_000), &mut blob, threads(2)).unwrap();
    blobs.0.insert(written.digest(), blob);
    let further = folder.path().join("further");
    let unpacked = unpack_layer(&written.layer, &blobs, &further, Ownership::Recorded).unwrap();
    assert_eq!(lines(&unpacked.listing), lines(&changes));
    assert_eq!(unpacked.listing, changes);
    snapshots.push(further);
    let again = folder.path().join("again");
    let _overlay = mount_overlay(&again, &snapshots, None);
    assert_eq!(listing(&again), listing(&flat));
    // The image with that layer is the same, too.
    let all: Vec<Layer> = layers.into_iter().chain([written.layer]).collect();
    let whole = folder.path().join("whole");
    rootfs_dir(&whole, &image(&all), &blobs, Ownership::Recorded).unwrap();
    assert_eq!(listing(&whole), listing(&flat));
}

/// Layers by chance: what overlayfs makes of their snapshots is what flattening makes of them, whatever they hide and
/// replace, in whatever order.
#[test]
fn any_stack_of_snapshots_is_what_the_image_is() {
    if !is_root("any_stack_of_snapshots_is_what_the_image_is") {
        return;
    }
    const NAMES: [&str; 12] =
        ["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/a", "a/a/b", "a/b/a", "b/a/a", "b/a/b", "c"];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chance = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % limit
    };
    let mut compared = 0;
    for case in 0..100 {
        let mut blobs = Blobs::default();
        let mut shown = Vec::new();
        let mut layers = Vec::new();
        for number in 0..3 {
            let mut entries = Vec::new();
            for _ in 0..1 + chance(6) {
                let name = NAMES[chance(NAMES.len())];
                let (parent, last) =
                    name.rsplit_once('/').map_or(("", name), |(parent, last)| (parent, last));
                let beside =
                    |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}/{name}") };
                let entry = match chance(8) {
                    0 | 1 => (FOLDER, name.to_owned(), String::new()),
                    2 => (EntryType::Fifo, name.to_owned(), String::new()),
                    3 | 4 => (FILE, beside(&format!(".wh.{last}")), String::new()),
                    5 => (FILE, beside(".wh..wh..opq"), String::new()),
                    _ => (FILE, name.to_owned(), format!("{number}")),
                };
                // Whoever deletes in a folder says that it is there, or it would not be clear whether it is.
                if entry.1.contains(".wh.") && !parent.is_empty() {
                    entries.push((FOLDER, parent.to_owned(), String::new()));
                }
                entries.push(entry);
            }
            let entries: Vec<_> =
                entries.iter().map(|(kind, name, text)| (*kind, name.as_str(), text.as_str())).collect();
            layers.push(blobs.add_tar(&tar(&entries)));
            shown.push(format!("{entries:?}"));
        }
        let folder = tempfile::tempdir().unwrap();
        let flat = folder.path().join("flat");
        // A path through what is no folder has no meaning in either form.
        if rootfs_dir(&flat, &image(&layers), &blobs, Ownership::Recorded).is_err() {
            continue;
        }
        let mut snapshots = vec![folder.path().join("nothing")];
        fs::create_dir(&snapshots[0]).unwrap();
        let mut is_whole = true;
        for (number, layer) in layers.iter().enumerate() {
            let place = folder.path().join(number.to_string());
            let Ok(unpacked) = unpack_layer(layer, &blobs, &place, Ownership::Recorded) else {
                is_whole = false;
                break;
            };
            assert_eq!(
                scan(&place, Ownership::Recorded, threads(1)).unwrap(),
                unpacked.listing,
                "{shown:#?}"
            );
            if lines(&unpacked.listing)[0].contains("opaque") {
                snapshots.truncate(1);
            }
            snapshots.push(place);
        }
        if !is_whole {
            continue;
        }
        let merged = folder.path().join("merged");
        let _overlay = mount_overlay(&merged, &snapshots, None);
        let listing = |folder: &Path| lines(&scan(folder, Ownership::Recorded, threads(1)).unwrap());
        assert_eq!(listing(&merged), listing(&flat), "case {case}: {shown:#?}");
        compared += 1;
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn output_that_refuses_is_told_from_a_folder_that_does() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "content").unwrap();
    let listing = scan(folder.path(), ownership(), threads(1)).unwrap();
    let error = pack(folder.path(), &listing, None, &mut Full, threads(1)).unwrap_err();
    assert!(matches!(error, SnapshotError::Output(_)), "{error:?}");
}
