use std::fs;
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;

use carrack_base::Digest;
use carrack_oci::{Attributes, Content, LayerBuilder, LayerError};
use flate2::read::MultiGzDecoder;

use crate::{binary_like, bytes, path, sample_layer, write};

fn untar(layer: &LayerBuilder) -> Vec<u8> {
    let mut tar = Vec::new();
    MultiGzDecoder::new(write(layer, 1).0.as_slice()).read_to_end(&mut tar).unwrap();
    tar
}

/// `kind path mode uid:gid mtime [-> link]` of each entry, as the tar crate reads it.
fn listing(layer: &LayerBuilder) -> Vec<String> {
    let tar = untar(layer);
    let mut archive = tar::Archive::new(tar.as_slice());
    let line = |entry: tar::Result<'_>| {
        let entry = entry.unwrap();
        let header = entry.header();
        let link =
            entry.link_name().unwrap().map(|link| format!(" -> {}", link.display())).unwrap_or_default();
        format!(
            "{} {} {:o} {}:{} {}{link}",
            char::from(header.entry_type().as_byte()),
            entry.path().unwrap().display(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.mtime().unwrap(),
        )
    };
    archive.entries().unwrap().map(line).collect()
}

mod tar {
    pub(super) use ::tar::Archive;
    pub(super) type Result<'a> = std::io::Result<::tar::Entry<'a, &'a [u8]>>;
}

#[test]
fn entries_come_by_path_with_their_parents_and_links_last() {
    let mut layer = LayerBuilder::new(7);
    layer.hard_link(path("/a"), path("/z/file")).unwrap();
    layer.file(path("/z/file"), Attributes::new(0o600).owned_by(1, 2), bytes("x")).unwrap();
    layer.file(path("/b/c/d"), Attributes::new(0o644), bytes("y")).unwrap();
    layer.directory(path("/b"), Attributes::new(0o700)).unwrap();
    layer.symlink(path("/l"), "/b/../c").unwrap();
    let expected = [
        "5 b/ 700 0:0 7",
        "5 b/c/ 755 0:0 7",
        "0 b/c/d 644 0:0 7",
        "2 l 777 0:0 7 -> /b/../c",
        "5 z/ 755 0:0 7",
        "0 z/file 600 1:2 7",
        "1 a 600 1:2 7 -> z/file",
    ];
    assert_eq!(listing(&layer), expected);
}

#[test]
fn the_order_of_insertion_does_not_matter() {
    let mut forward = LayerBuilder::new(0);
    let mut backward = LayerBuilder::new(0);
    let entries: Vec<u32> = (0..50).collect();
    for (layer, entries) in
        [(&mut forward, entries.clone()), (&mut backward, entries.into_iter().rev().collect())]
    {
        for entry in entries {
            let file = path(&format!("/d{}/f{entry}", entry % 7));
            layer.file(file, Attributes::new(0o644), bytes(&entry.to_string())).unwrap();
        }
    }
    assert_eq!(write(&forward, 2), write(&backward, 2));
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let mut layer = LayerBuilder::new(0);
    layer
        .file(path("/big"), Attributes::new(0o755), Content::Bytes(binary_like((7 << 20) + 12_345)))
        .unwrap();
    let one = write(&layer, 1);
    for threads in [2, 3, 8, 64] {
        assert!(write(&layer, threads) == one, "{threads} threads");
    }
    let (compressed, written) = one;
    assert_eq!(written.layer.descriptor.digest, Digest::of(&compressed));
    assert_eq!(written.layer.descriptor.size, compressed.len() as u64);
    let tar = untar(&layer);
    assert_eq!(written.layer.diff_id, Digest::of(&tar));
    assert_eq!(written.uncompressed_size, tar.len() as u64);
}

#[test]
fn sizes_around_the_member_size_are_whole() {
    // A header before the file and two blocks behind it: the tar ends at, before and behind the border.
    for size in [(1 << 20) - 1536, (1 << 20) - 1535, (1 << 20) - 2048, (2 << 20) - 1536, 0] {
        let mut layer = LayerBuilder::new(0);
        layer.file(path("/f"), Attributes::new(0o644), Content::Bytes(binary_like(size))).unwrap();
        let tar = untar(&layer);
        assert_eq!(write(&layer, 3).1.layer.diff_id, Digest::of(&tar), "{size}");
        assert_eq!(tar.len(), 1536 + size.next_multiple_of(512), "{size}");
    }
}

#[test]
fn a_source_files_place_times_and_mode_do_not_matter() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let digests = [0o600, 0o777].into_iter().zip(&folders).map(|(mode, folder)| {
        let source = folder.path().join(format!("source-{mode}"));
        fs::write(&source, binary_like(3 << 20)).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(mode)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(mode));
        fs::File::options().write(true).open(&source).unwrap().set_modified(time).unwrap();
        let mut layer = LayerBuilder::new(5);
        layer.file(path("/bin/server"), Attributes::new(0o755), Content::Path(source)).unwrap();
        write(&layer, 2).1
    });
    let digests: Vec<_> = digests.collect();
    assert_eq!(digests[0], digests[1]);
    let mut in_memory = LayerBuilder::new(5);
    let content = Content::Bytes(binary_like(3 << 20));
    in_memory.file(path("/bin/server"), Attributes::new(0o755), content).unwrap();
    assert_eq!(write(&in_memory, 2).1, digests[0]);
}

#[test]
fn everything_that_is_said_enters_the_digest() {
    let digest = |mtime, mode, uid, content: &str| {
        let mut layer = LayerBuilder::new(mtime);
        layer.file(path("/f"), Attributes::new(mode).owned_by(uid, 0), bytes(content)).unwrap();
        write(&layer, 1).1.digest()
    };
    let all = [
        digest(0, 0o644, 0, "a"),
        digest(1, 0o644, 0, "a"),
        digest(0, 0o755, 0, "a"),
        digest(0, 0o644, 1, "a"),
        digest(0, 0o644, 0, "b"),
    ];
    let different: std::collections::HashSet<_> = all.into_iter().collect();
    assert_eq!(different.len(), 5);
}

#[test]
fn long_and_foreign_names_are_kept() {
    let splits = format!("/{}/{}", "p".repeat(150), "n".repeat(99));
    let long = format!("/{}/{}", "d".repeat(200), "n".repeat(120));
    let target = "t".repeat(300);
    let mut layer = LayerBuilder::new(0);
    for name in [splits.as_str(), long.as_str(), "/größe/日本"] {
        layer.file(path(name), Attributes::new(0o644), bytes(name)).unwrap();
    }
    layer.symlink(path("/link"), &target).unwrap();
    layer.hard_link(path("/hard"), path(&long)).unwrap();
    let listing = listing(&layer);
    for expected in [&splits[1..], &long[1..], "größe/日本"] {
        assert!(listing.iter().any(|line| line.contains(&format!("0 {expected} 644"))), "{expected}");
    }
    assert!(listing.contains(&format!("2 link 777 0:0 0 -> {target}")));
    assert!(listing.contains(&format!("1 hard 644 0:0 0 -> {}", &long[1..])));
}

#[test]
fn plain_entries_need_no_pax_headers() {
    let tar = untar(&sample_layer());
    let kinds: Vec<u8> =
        tar.chunks(512).filter(|block| block[257..262] == *b"ustar").map(|block| block[156]).collect();
    assert!(!kinds.is_empty() && !kinds.contains(&b'x'), "{kinds:?}");
}

#[test]
fn conflicts_are_named() {
    let mut layer = LayerBuilder::new(0);
    layer.file(path("/a/b"), Attributes::new(0o644), bytes("1")).unwrap();
    // The same again is no conflict.
    layer.file(path("/a/b"), Attributes::new(0o644), bytes("1")).unwrap();
    let conflict = |error: LayerError| match error {
        LayerError::Conflict { path, first, second } => format!("{path}: {first}, {second}"),
        other => panic!("{other}"),
    };
    let other = layer.file(path("/a/b"), Attributes::new(0o644), bytes("2")).unwrap_err();
    assert_eq!(conflict(other), "/a/b: a file, a file");
    let below = layer.file(path("/a/b/c"), Attributes::new(0o644), bytes("")).unwrap_err();
    assert_eq!(conflict(below), "/a/b: a file, a folder");
    let parent = layer.symlink(path("/a"), "b").unwrap_err();
    assert_eq!(conflict(parent), "/a: a folder, a symbolic link");
    layer.directory(path("/a"), Attributes::new(0o700)).unwrap();
    let mode = layer.directory(path("/a"), Attributes::new(0o755)).unwrap_err();
    assert_eq!(conflict(mode), "/a: a folder, a folder");
}

#[test]
fn a_hard_link_needs_its_file() {
    let mut layer = LayerBuilder::new(0);
    layer.hard_link(path("/a"), path("/b")).unwrap();
    let error = layer.write(&mut Vec::new(), NonZeroUsize::MIN).unwrap_err();
    assert!(matches!(error, LayerError::DanglingLink { target, .. } if target == path("/b")));
}

#[test]
fn unreadable_sources_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for source in [folder.path().join("missing"), folder.path().to_owned(), "/dev/zero".into()] {
        let mut layer = LayerBuilder::new(0);
        layer.file(path("/f"), Attributes::new(0o644), Content::Path(source.clone())).unwrap();
        let error = layer.write(&mut Vec::new(), NonZeroUsize::MIN).unwrap_err();
        assert!(
            matches!(error, LayerError::Source { source_path, .. } if source_path == source),
            "{source:?}"
        );
    }
}

#[test]
fn a_source_that_lies_about_its_size_is_noticed() {
    // Files of procfs say that they have no bytes, and then have some.
    let mut layer = LayerBuilder::new(0);
    layer.file(path("/f"), Attributes::new(0o644), Content::Path("/proc/self/status".into())).unwrap();
    let error = layer.write(&mut Vec::new(), NonZeroUsize::MIN).unwrap_err();
    assert!(matches!(error, LayerError::SourceChanged { expected: 0, .. }), "{error}");
}

#[test]
fn a_full_disk_is_an_error() {
    let mut layer = LayerBuilder::new(0);
    layer.file(path("/big"), Attributes::new(0o644), Content::Bytes(binary_like(5 << 20))).unwrap();
    let mut full = fs::File::options().write(true).open("/dev/full").unwrap();
    let error = layer.write(&mut full, NonZeroUsize::new(2).unwrap()).unwrap_err();
    assert!(matches!(error, LayerError::Write(source) if source.kind() == std::io::ErrorKind::StorageFull));
}
