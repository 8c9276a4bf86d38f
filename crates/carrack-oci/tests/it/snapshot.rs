//! Folders and their listings.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use carrack_base::ContentDigest;
use carrack_oci::Ownership;
use carrack_oci::snapshot::{Entry, Kind, Listing, SnapshotError, pack, scan};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, openat, setxattr, symlinkat};

pub(crate) fn threads(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// Some things are root's to do; a test of them says that it was skipped.
pub(crate) fn is_root(test: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: {test} needs root");
    }
    is_root
}

/// A listing as lines: what differs is then easy to see.
pub(crate) fn lines(listing: &Listing) -> Vec<String> {
    let line = |(path, entry): (&[u8], &Entry)| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let what = match &entry.kind {
            Kind::Directory { opaque: false } => "folder".to_owned(),
            Kind::Directory { opaque: true } => "opaque folder".to_owned(),
            Kind::File { size, link: None, .. } => format!("file of {size}"),
            Kind::File { link: Some(link), .. } => format!("same as {}", text(link)),
            Kind::Symlink { target } => format!("-> {}", text(target)),
            Kind::Fifo => "pipe".to_owned(),
            Kind::CharacterDevice { major, minor } => format!("character device {major}:{minor}"),
            Kind::BlockDevice { major, minor } => format!("block device {major}:{minor}"),
            Kind::Whiteout => return format!("{} deleted", text(path)),
        };
        let names: Vec<String> = entry.xattrs.keys().map(|name| text(name)).collect();
        let Entry { mode, uid, gid, .. } = entry;
        format!("{} {what} {mode:o} {uid}:{gid} {}", text(path), names.join(",")).trim_end().to_owned()
    };
    listing.iter().map(line).collect()
}

fn scanned(folder: &Path) -> Listing {
    scan(folder, Ownership::Recorded, threads(2)).unwrap()
}

fn sample() -> Listing {
    let mut listing = Listing::new();
    listing.insert(Vec::new(), Entry::directory(0o755));
    listing
        .insert(b"a".to_vec(), Entry { kind: Kind::Directory { opaque: true }, ..Entry::directory(0o1777) });
    let content = ContentDigest::of(b"content");
    let file = |link| Entry {
        kind: Kind::File { size: 7, content, link },
        mode: 0o4755,
        uid: 300,
        gid: 0,
        xattrs: BTreeMap::from([(b"user.k".to_vec(), b"v".to_vec())]),
    };
    listing.insert(b"a/f".to_vec(), file(None));
    listing.insert(b"a/g".to_vec(), file(Some(b"a/f".to_vec())));
    let other = |kind| Entry { kind, ..Entry::directory(0o644) };
    listing.insert(b"a/l".to_vec(), Entry { mode: 0o777, ..other(Kind::Symlink { target: b"/x".to_vec() }) });
    listing.insert(b"b\xff".to_vec(), other(Kind::Fifo));
    listing.insert(b"c".to_vec(), other(Kind::CharacterDevice { major: 1, minor: 3 }));
    listing.insert(b"d".to_vec(), other(Kind::BlockDevice { major: 8, minor: 1_000 }));
    listing.insert(b"e".to_vec(), Entry::whiteout());
    listing
}

#[test]
fn a_listing_has_the_bytes_of_its_specification() {
    let mut expected = b"carrack listing 1\n\x09".to_vec();
    // shared, rest of the path, kind, mode, uid, gid, attributes
    expected.extend_from_slice(b"\0\0\x00\xed\x03\0\0\0");
    expected.extend_from_slice(b"\0\x01a\x01\xff\x07\0\0\0");
    expected.extend_from_slice(b"\x01\x02/f\x02\xed\x13\xac\x02\0\x01\x06user.k\x01v\x07");
    expected.extend_from_slice(ContentDigest::of(b"content").as_bytes());
    expected.extend_from_slice(b"\x02\x01g\x03\xed\x13\xac\x02\0\x01\x06user.k\x01v\x07");
    expected.extend_from_slice(ContentDigest::of(b"content").as_bytes());
    expected.extend_from_slice(b"\x03a/f");
    expected.extend_from_slice(b"\x02\x01l\x04\xff\x03\0\0\0\x02/x");
    expected.extend_from_slice(b"\0\x02b\xff\x05\xa4\x03\0\0\0");
    expected.extend_from_slice(b"\0\x01c\x06\xa4\x03\0\0\0\x01\x03");
    expected.extend_from_slice(b"\0\x01d\x07\xa4\x03\0\0\0\x08\xe8\x07");
    expected.extend_from_slice(b"\0\x01e\x08");
    let listing = sample();
    assert_eq!(listing.to_bytes(), expected);
    assert_eq!(Listing::from_bytes(&expected).unwrap(), listing);
    assert_eq!(
        listing.digest().to_string(),
        "966be176b7fbe6316b67b2dc514719c61a9908d8c4f5571f8f82a2b00406675a"
    );
    assert_eq!(listing.size(), 7);
    assert_eq!(listing.below(b"a").count(), 3);
    assert_eq!(listing.below(b"").count(), 8);
}

#[test]
fn damaged_listings_are_refused() {
    let bytes = sample().to_bytes();
    for length in 0..bytes.len() {
        Listing::from_bytes(&bytes[..length]).unwrap_err();
    }
    Listing::from_bytes(&[bytes.as_slice(), b"\0"].concat()).unwrap_err();
    // Whatever a changed byte gives, it is another listing with the very same bytes, or none.
    for index in 0..bytes.len() {
        for change in [1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[index] ^= change;
            if let Ok(listing) = Listing::from_bytes(&changed) {
                assert_eq!(listing.to_bytes(), changed);
                assert_ne!(listing, sample());
            }
        }
    }
    let refuse = |path: &[u8], entry: Entry| {
        let mut listing = sample();
        listing.insert(path.to_vec(), entry);
        Listing::from_bytes(&listing.to_bytes()).unwrap_err().problem
    };
    assert_eq!(refuse(b"x/y", Entry::directory(0)), "a path without its folder");
    assert_eq!(refuse(b"a/f/y", Entry::directory(0)), "a path without its folder");
    assert_eq!(refuse(b"a/..", Entry::directory(0)), "a name that is none");
    assert_eq!(refuse(b"/", Entry::directory(0)), "a name that is none");
    assert_eq!(refuse(b"a/x\0", Entry::directory(0)), "a name that is none");
    assert_eq!(refuse(b"", Entry::whiteout()), "a root that is no folder");
    let kind = Kind::File { size: 1, content: ContentDigest::of(b"1"), link: Some(b"a/f".to_vec()) };
    assert_eq!(refuse(b"z", Entry { kind, ..Entry::directory(0) }), "a link to what is not the same file");
    let kind = Kind::CharacterDevice { major: u32::MAX, minor: 0 };
    assert_eq!(refuse(b"z", Entry { kind, ..Entry::directory(0) }), "a device that cannot exist");
}

#[test]
fn a_folder_is_listed_with_all_that_counts() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o750)).unwrap();
    let name = |bytes: &[u8]| root.join(std::ffi::OsStr::from_bytes(bytes));
    fs::create_dir(root.join("folder")).unwrap();
    fs::set_permissions(root.join("folder"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(root.join("folder/z"), "twice").unwrap();
    fs::hard_link(root.join("folder/z"), name(b"folder/\xff")).unwrap();
    fs::hard_link(root.join("folder/z"), root.join("a")).unwrap();
    fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o6711)).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("nowhere", root.join("link")).unwrap();
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    mknodat(CWD, root.join("gone"), FileType::CharacterDevice, Mode::empty(), makedev(0, 0)).unwrap();
    for (path, name, value) in [
        ("folder", "user.overlay.opaque", "y"),
        ("folder", "user.overlay.impure", "y"),
        ("empty", "user.overlay.origin", "x"),
        ("empty", "user.note", "n"),
    ] {
        setxattr(root.join(path), name, value.as_bytes(), XattrFlags::empty()).unwrap();
    }
    let owner = format!("{}:{}", root.metadata().unwrap().uid(), root.metadata().unwrap().gid());
    let expected = [
        " folder 750 O",
        "a file of 5 6711 O",
        "empty file of 0 600 O user.note",
        "folder opaque folder 1777 O",
        "folder/z same as a 6711 O",
        "folder/\u{fffd} same as a 6711 O",
        "gone deleted",
        "link -> nowhere 777 O",
        "pipe pipe 600 O",
    ];
    let expected: Vec<String> = expected.iter().map(|line| line.replace('O', &owner)).collect();
    let listing = scanned(root);
    assert_eq!(lines(&listing), expected);
    let Kind::File { content, .. } = listing.get(b"a").unwrap().kind else { panic!("a is a file") };
    assert_eq!(content, ContentDigest::of(b"twice"));
    assert_eq!(Listing::from_bytes(&listing.to_bytes()).unwrap(), listing);
    let caller = scan(root, Ownership::Caller, threads(1)).unwrap();
    assert!(caller.iter().all(|(_, entry)| (entry.uid, entry.gid) == (0, 0)));
}

#[test]
fn many_files_give_one_listing_whatever_the_threads() {
    let folder = tempfile::tempdir().unwrap();
    for index in 0..200 {
        let place = folder.path().join(format!("{}/{}", index % 7, index % 3));
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join(index.to_string()), crate::binary_like(index * 997)).unwrap();
    }
    let one = scan(folder.path(), Ownership::Recorded, threads(1)).unwrap();
    assert_eq!(one.iter().filter(|(_, entry)| matches!(entry.kind, Kind::File { .. })).count(), 200);
    for count in [2, 5] {
        assert_eq!(scan(folder.path(), Ownership::Recorded, threads(count)).unwrap(), one);
    }
}

/// A folder whose paths are longer than the kernel takes at once; its path relative to the root.
fn make_deep(root: &Path) -> Vec<u8> {
    let name = "n".repeat(250);
    let mut folder = openat(CWD, root, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    let mut path = Vec::new();
    for _ in 0..40 {
        rustix::fs::mkdirat(&folder, &name, Mode::from_raw_mode(0o755)).unwrap();
        folder = openat(&folder, &name, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
        path.extend_from_slice(name.as_bytes());
        path.push(b'/');
    }
    symlinkat("target", &folder, "link").unwrap();
    path.extend_from_slice(b"link");
    path
}

#[test]
fn paths_of_any_length_are_listed_and_packed() {
    let folder = tempfile::tempdir().unwrap();
    let path = make_deep(folder.path());
    assert!(path.len() > 10_000);
    let listing = scanned(folder.path());
    assert_eq!(listing.len(), 42);
    assert_eq!(listing.get(&path).unwrap().kind, Kind::Symlink { target: b"target".to_vec() });
    let mut blob = Vec::new();
    pack(folder.path(), &listing, None, &mut blob, threads(1)).unwrap();
    let other = tempfile::tempdir().unwrap();
    let gzip = carrack_oci::wire::media_type::LAYER_GZIP;
    let unpacked =
        carrack_oci::snapshot::unpack(blob.as_slice(), gzip, other.path(), Ownership::Recorded).unwrap();
    assert_eq!(lines(&unpacked.listing)[1..], lines(&listing)[1..]);
}

#[test]
fn packing_notices_what_the_listing_does_not_say() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let write = |content: &str| fs::write(&file, content).unwrap();
    write("before");
    let listing = scanned(folder.path());
    let check = |expected: &str| {
        let error = pack(folder.path(), &listing, None, &mut std::io::sink(), threads(1)).unwrap_err();
        match error {
            SnapshotError::Changed { path, problem } => assert_eq!((path, problem), (file.clone(), expected)),
            other => panic!("{other:?}"),
        }
    };
    write("longer than before");
    check("it has another size");
    write("after!");
    check("it has another content");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    check("it is of another kind");
    fs::remove_dir(&file).unwrap();
    let error = pack(folder.path(), &listing, None, &mut std::io::sink(), threads(1)).unwrap_err();
    assert!(matches!(error, SnapshotError::Read { path, .. } if path == file));
}

#[test]
fn a_name_that_would_delete_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".wh.file"), "").unwrap();
    let listing = scanned(folder.path());
    let error = pack(folder.path(), &listing, None, &mut std::io::sink(), threads(1)).unwrap_err();
    assert!(matches!(error, SnapshotError::ReservedName { .. }), "{error:?}");
}

#[test]
fn a_folder_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing: PathBuf = folder.path().join("missing");
    let error = scan(&missing, Ownership::Recorded, threads(1)).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read {}", missing.display()));
    fs::write(&missing, "").unwrap();
    scan(&missing, Ownership::Recorded, threads(1)).unwrap_err();
}
