use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use carrack_base::{Cancel, ContentDigest};
use carrack_context::{ContextError, EntryKind, StatCache, Tree, Walk};
use rustix::fs::{CWD, Mode};

use crate::fixture::{Fixture, lines, scan, try_scan, unprivileged};

const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# made by cargo\n";

#[test]
fn version_control_tagged_folders_and_exclusions_are_left_out() {
    let fixture = Fixture::new();
    fixture.write("src/lib.rs", "");
    fixture.write(".github/workflows/ci.yml", "");
    fixture.write(".git/HEAD", "");
    fixture.write("sub/.git", "gitdir: elsewhere");
    fixture.write(".jj/x", "");
    fixture.write("sub/.hg/x", "");
    fixture.write("sub/.svn/x", "");
    fixture.write("target/CACHEDIR.TAG", TAG);
    fixture.write("target/debug/x", "");
    fixture.write("not-a-cache/CACHEDIR.TAG", "Signature: something else, long enough to be compared");
    fixture.write("out/x", "");
    fixture.write("sub/out/x", "");
    fixture.write("notes.txt", "");
    let walk =
        fixture.walk().without("out").without(fixture.at("sub/out")).without("notes.txt").without("no/such");
    assert_eq!(fixture.lines(&walk), [".github/workflows/ci.yml", "not-a-cache/CACHEDIR.TAG", "src/lib.rs"]);
}

#[test]
fn a_tag_in_the_root_itself_does_not_count() {
    let fixture = Fixture::new();
    fixture.write("CACHEDIR.TAG", TAG);
    fixture.write("file", "");
    assert_eq!(fixture.lines(&fixture.walk()), ["CACHEDIR.TAG", "file"]);
}

#[test]
fn entries_are_sorted_by_the_bytes_of_their_paths() {
    let fixture = Fixture::new();
    for path in ["a/b", "a.b", "a-b", "a0", "a/-", "B", "a/b.c/d", "a/b.c.d"] {
        // `a/b` is a file here, so nothing is below it.
        fixture.write(path, path);
    }
    let tree = fixture.tree();
    let paths: Vec<&[u8]> = tree.iter().map(|entry| entry.path).collect();
    let mut sorted = paths.clone();
    sorted.sort();
    assert_eq!(paths, sorted);
    assert_eq!(tree.len(), 8);
    for path in paths {
        assert_eq!(tree.get(path).unwrap().digest, Some(ContentDigest::of(path)));
    }
    assert_eq!(tree.get(b"a"), None);
    let below: Vec<&[u8]> = tree.below(b"a").map(|entry| entry.path).collect();
    assert_eq!(below, [&b"a/-"[..], b"a/b", b"a/b.c.d", b"a/b.c/d"]);
    assert_eq!(tree.below(b"").len(), 8);
    assert_eq!(tree.below(b"nothing").len(), 0);
}

#[test]
fn special_files_are_listed_and_never_opened() {
    let fixture = Fixture::new();
    // Opening the fifo to read would wait for a writer for ever.
    rustix::fs::mkfifoat(CWD, fixture.at("fifo"), Mode::from_raw_mode(0o600)).unwrap();
    let _listener = UnixListener::bind(fixture.at("socket")).unwrap();
    fixture.link("to-fifo", "fifo");
    assert_eq!(fixture.lines(&fixture.walk()), ["fifo?", "socket?", "to-fifo -> fifo (no content)"]);
    let error = carrack_context::file_digest(&fixture.at("fifo"), &mut StatCache::default()).unwrap_err();
    assert!(matches!(error, ContextError::NotAFile { .. }), "{error}");
}

#[test]
fn names_need_not_be_utf8() {
    let fixture = Fixture::new();
    let name = b"caf\xe9\n\xff.rs";
    fs::write(fixture.root().join(OsStr::from_bytes(name)), "x").unwrap();
    let tree = fixture.tree();
    let entry = tree.get(name).unwrap();
    assert_eq!(entry.kind, EntryKind::File { executable: false });
    assert_eq!(entry.digest, Some(ContentDigest::of(b"x")));
}

#[test]
fn large_trees_and_large_files_come_out_as_small_ones_do() {
    // Enough folders, files and bytes to make several threads work.
    let fixture = Fixture::new();
    for index in 0..3000 {
        fixture.write(&format!("d{:02}/e{:03}/f{index}", index % 50, index % 500), &index.to_string());
    }
    let large = "0123456789abcdef".repeat(400_000);
    fixture.write("large", &large);
    let tree = fixture.tree();
    assert_eq!(tree.len(), 3001);
    let paths: Vec<&[u8]> = tree.iter().map(|entry| entry.path).collect();
    assert!(paths.is_sorted());
    for index in 0..3000 {
        let path = format!("d{:02}/e{:03}/f{index}", index % 50, index % 500);
        let digest = ContentDigest::of(index.to_string().as_bytes());
        assert_eq!(tree.get(path.as_bytes()).unwrap().digest, Some(digest));
    }
    assert_eq!(tree.get(b"large").unwrap().digest, Some(ContentDigest::of(large.as_bytes())));
    assert_eq!(fixture.tree().digest(), tree.digest());
}

#[test]
fn the_digest_is_the_documented_one() {
    let fixture = Fixture::new();
    fixture.write("a", "hello");
    fixture.write("b/run", "#!");
    fs::set_permissions(fixture.at("b/run"), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.link("c", "a");
    fixture.link("d", "nowhere");
    rustix::fs::mkfifoat(CWD, fixture.at("e"), Mode::from_raw_mode(0o600)).unwrap();

    let mut bytes = b"carrack tree 1\n".to_vec();
    bytes.extend_from_slice(b"\x01\0\0\0af=");
    bytes.extend_from_slice(ContentDigest::of(b"hello").as_bytes());
    bytes.extend_from_slice(b"\x05\0\0\0b/runx=");
    bytes.extend_from_slice(ContentDigest::of(b"#!").as_bytes());
    bytes.extend_from_slice(b"\x01\0\0\0cl\x01\0\0\0a=");
    bytes.extend_from_slice(ContentDigest::of(b"hello").as_bytes());
    bytes.extend_from_slice(b"\x01\0\0\0dl\x07\0\0\0nowhere-");
    bytes.extend_from_slice(b"\x01\0\0\0eo-");
    let digest = fixture.tree().digest();
    assert_eq!(digest, ContentDigest::of(&bytes));
    assert_eq!(digest.to_string(), "97f96136e352c6804520ac6c40f700f62a16e16ae42240ce56e852ff3aab892f");
    assert_eq!(Tree::default().digest(), ContentDigest::of(b"carrack tree 1\n"));
}

#[test]
fn a_root_that_is_no_folder_is_an_error_with_its_path() {
    let fixture = Fixture::new();
    let file = fixture.write("file", "");
    for path in [fixture.at("missing"), file] {
        let error = try_scan(&Walk::new(&path), &mut StatCache::default()).unwrap_err();
        assert!(matches!(&error, ContextError::Root { path: shown, .. } if *shown == path), "{error}");
    }
}

#[test]
fn the_unreadable_is_an_error_with_its_path() {
    let fixture = Fixture::new();
    fs::set_permissions(fixture.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.write("open/file", "");
    fixture.write("secret", "x");
    fixture.write("closed/file", "");
    fs::set_permissions(fixture.at("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(fixture.at("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    let (walk, secret, closed) = (fixture.walk(), fixture.at("secret"), fixture.at("closed"));
    unprivileged("the_unreadable_is_an_error_with_its_path", move || {
        let read = |walk: &Walk| match try_scan(walk, &mut StatCache::default()) {
            Err(ContextError::Read { path, source }) => Some((path, source.kind())),
            Err(other) => panic!("{other}"),
            Ok(tree) => panic!("{:?}", lines(&tree)),
        };
        let denied = std::io::ErrorKind::PermissionDenied;
        assert_eq!(read(&walk), Some((closed.clone(), denied)));
        let walk = walk.without("closed");
        assert_eq!(read(&walk), Some((secret.clone(), denied)));
        let tree = scan(&walk.without("secret"), &mut StatCache::default());
        assert_eq!(lines(&tree), ["open/file"]);

        let error = carrack_context::file_digest(&secret, &mut StatCache::default()).unwrap_err();
        assert!(matches!(error, ContextError::Read { .. }), "{error}");
    });
    // The temporary folder's removal needs to get in again.
    fs::set_permissions(fixture.at("closed"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_unreadable_behind_a_link_has_no_content() {
    let fixture = Fixture::new();
    fs::set_permissions(fixture.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    let secret = fixture.write_beside("theirs/secret", "x");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    fixture.link("theirs", "../theirs");
    fixture.link("secret", "../theirs/secret");
    let walk = fixture.walk();
    unprivileged("the_unreadable_behind_a_link_has_no_content", move || {
        assert_eq!(
            lines(&scan(&walk, &mut StatCache::default())),
            [
                "secret -> ../theirs/secret (no content)",
                "theirs -> ../theirs (no content)",
                "theirs/secret (no content)",
            ]
        );
    });
}

#[test]
fn files_that_come_and_go_during_the_walk_are_no_error() {
    let fixture = Fixture::new();
    fixture.write("stays", "here");
    let root = fixture.root();
    let stop = Cancel::default();
    let stopper = stop.clone();
    let churn = std::thread::spawn(move || {
        while !stopper.is_cancelled() {
            for index in 0..40 {
                let folder = root.join(format!("folder{index}"));
                fs::create_dir_all(&folder).unwrap();
                fs::write(folder.join("file"), "x").unwrap();
                fs::write(root.join(format!("file{index}")), "x").unwrap();
            }
            for index in 0..40 {
                fs::remove_file(root.join(format!("file{index}"))).unwrap();
                fs::remove_dir_all(root.join(format!("folder{index}"))).unwrap();
            }
        }
    });
    let mut cache = StatCache::default();
    for _ in 0..300 {
        let tree = scan(&fixture.walk(), &mut cache);
        assert!(tree.get(b"stays").is_some());
        assert!(tree.iter().all(|entry| entry.digest.is_some()), "{:?}", lines(&tree));
    }
    stop.cancel(15);
    churn.join().unwrap();
}

#[test]
fn a_cancelled_walk_stops() {
    let fixture = Fixture::new();
    fixture.write("file", "");
    let cancel = Cancel::default();
    cancel.cancel(2);
    let error = carrack_context::tree(&fixture.walk(), &mut StatCache::default(), &cancel).unwrap_err();
    assert!(matches!(error, ContextError::Cancelled { .. }), "{error}");
}
