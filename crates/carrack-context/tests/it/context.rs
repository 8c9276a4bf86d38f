//! Build contexts: what is in them, what a filter leaves, and what a second walk makes of a change.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use carrack_base::{Cancel, ContentDigest};
use carrack_context::{Context, ContextError, ContextFilter, ContextKind, StatCache, Walk};
use rustix::fs::{CWD, Mode, XattrFlags};

use crate::fixture::{Fixture, set_modified, settle, skip, unprivileged};

/// Ignores the paths (and what is below them) of the first list, takes those of the second back in.
struct Lists {
    ignored: &'static [&'static str],
    taken_back: &'static [&'static str],
}

impl ContextFilter for Lists {
    fn ignores(&self, path: &[u8]) -> bool {
        let among = |list: &[&str]| {
            list.iter().any(|known| {
                path.strip_prefix(known.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            })
        };
        among(self.ignored) && !among(self.taken_back)
    }

    fn may_take_back(&self, folder: &[u8]) -> bool {
        let inside = |known: &str| {
            known.as_bytes().strip_prefix(folder).is_some_and(|rest| rest.first() == Some(&b'/'))
        };
        self.taken_back.iter().any(|known| inside(known))
    }
}

fn try_take(
    root: &Path,
    filter: Option<&dyn ContextFilter>,
    cache: &mut StatCache,
) -> Result<Context, ContextError> {
    carrack_context::context(root, filter, cache, &Cancel::default())
}

fn take(root: &Path, cache: &mut StatCache) -> Context {
    try_take(root, None, cache).unwrap()
}

fn anew(root: &Path) -> Context {
    take(root, &mut StatCache::default())
}

/// Kind, mode and path of each entry.
fn lines(context: &Context) -> Vec<String> {
    context
        .iter()
        .map(|entry| {
            let path = String::from_utf8_lossy(entry.path);
            match entry.kind {
                ContextKind::Directory => format!("d {:o} {path}", entry.mode),
                ContextKind::File { size } => format!("f {:o} {path} {size}", entry.mode),
                ContextKind::Symlink { target } => format!("l {path} -> {}", String::from_utf8_lossy(target)),
                ContextKind::Other => format!("o {:o} {path}", entry.mode),
            }
        })
        .collect()
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Whether the file system takes attributes of users; says so if it does not.
fn attribute(test: &str, path: &Path, name: &str, value: &str) -> bool {
    match rustix::fs::lsetxattr(path, name, value.as_bytes(), XattrFlags::empty()) {
        Ok(()) => true,
        Err(errno) => {
            skip(test, &format!("no extended attributes here: {errno}"));
            false
        }
    }
}

#[test]
fn everything_counts_and_stands_for_itself() {
    let fixture = Fixture::new();
    mode(&fixture.root(), 0o755);
    fixture.write(".git/HEAD", "ref");
    fixture.write("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    fixture.write("target/debug/app", "binary");
    fixture.write(".hidden", "");
    fixture.write_beside("outside/secret", "x");
    fs::create_dir(fixture.at("empty")).unwrap();
    for folder in [".git", "target", "target/debug", "empty"] {
        mode(&fixture.at(folder), 0o750);
    }
    fixture.link("loop", ".");
    fixture.link("away", "../outside");
    fixture.link("target/self", "self");
    fixture.link("nowhere", "no/such");
    rustix::fs::mkfifoat(CWD, fixture.at("fifo"), Mode::from_raw_mode(0o640)).unwrap();
    let _listener = UnixListener::bind(fixture.at("socket")).unwrap();
    for (path, bits) in [(".hidden", 0o4711), (".git/HEAD", 0o000)] {
        mode(&fixture.at(path), bits);
    }
    for path in ["target/CACHEDIR.TAG", "target/debug/app"] {
        mode(&fixture.at(path), 0o644);
    }
    let context = anew(&fixture.root());
    let expected = [
        "d 750 .git",
        "f 0 .git/HEAD 3",
        "f 4711 .hidden 0",
        "l away -> ../outside",
        "d 750 empty",
        "o 640 fifo",
        "l loop -> .",
        "l nowhere -> no/such",
        "d 750 target",
        "f 644 target/CACHEDIR.TAG 44",
        "d 750 target/debug",
        "f 644 target/debug/app 6",
        "l target/self -> self",
    ];
    // The user who runs this may be kept from reading it.
    if rustix::process::geteuid().is_root() {
        assert_eq!(lines(&context), expected);
    }
    assert_eq!(context.get(b"target/debug/app").unwrap().identity, Some(ContentDigest::of(b"binary")));
    assert_eq!(context.get(b"loop").unwrap().identity, None);
    assert_eq!(context.get(b"target").unwrap().identity, None);
}

#[test]
fn entries_are_sorted_by_the_bytes_of_their_paths_with_folders_before_what_is_in_them() {
    let fixture = Fixture::new();
    for path in ["a/b", "a.b", "a-b", "a0", "a/-", "B", "a/b.c/d", "a/b.c.d", "a/b-c/e/f", "a/b-c/e-/g"] {
        fixture.write(path, path);
    }
    let context = anew(&fixture.root());
    let paths: Vec<&[u8]> = context.iter().map(|entry| entry.path).collect();
    assert!(paths.is_sorted(), "{:?}", lines(&context));
    assert_eq!(context.len(), 15);
    for path in paths {
        assert_eq!(context.get(path).unwrap().path, path);
        let parent = path.iter().rposition(|byte| *byte == b'/').map(|at| &path[..at]);
        assert!(parent.is_none_or(|parent| context.get(parent).unwrap().kind == ContextKind::Directory));
    }
    let names = |entries: &mut dyn Iterator<Item = &[u8]>| -> Vec<String> {
        entries.map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    };
    let below = names(&mut context.below(b"a/b-c").map(|entry| entry.path));
    assert_eq!(below, ["a/b-c/e", "a/b-c/e-", "a/b-c/e-/g", "a/b-c/e/f"]);
    let children = names(&mut context.children(b"a").map(|entry| entry.path));
    assert_eq!(children, ["a/-", "a/b", "a/b-c", "a/b.c", "a/b.c.d"]);
    let children = names(&mut context.children(b"").map(|entry| entry.path));
    assert_eq!(children, ["B", "a", "a-b", "a.b", "a0"]);
    assert_eq!(context.below(b"").len(), 15);
    assert_eq!((context.below(b"a/b").len(), context.children(b"none").count()), (0, 0));
    assert_eq!((context.get(b""), context.get(b"a/")), (None, None));
}

#[test]
fn names_may_be_of_any_bytes_and_as_long_as_the_kernel_takes_them() {
    let fixture = Fixture::new();
    let odd = b"caf\xe9\n\xff.rs";
    fs::write(fixture.root().join(OsStr::from_bytes(odd)), "x").unwrap();
    let long = "n".repeat(255);
    let deep = [long.as_str(); 12].join("/");
    fixture.write(&deep, "deep");
    let context = anew(&fixture.root());
    assert_eq!(context.get(odd).unwrap().identity, Some(ContentDigest::of(b"x")));
    let entry = context.get(deep.as_bytes()).unwrap();
    assert_eq!(
        (entry.kind, entry.identity),
        (ContextKind::File { size: 4 }, Some(ContentDigest::of(b"deep")))
    );
    assert_eq!(context.len(), 13);
}

#[test]
fn a_filter_leaves_out_and_takes_back() {
    let fixture = Fixture::new();
    for path in [
        "Cargo.toml",
        "docs/a/keep/one",
        "docs/a/other",
        "docs/b/two",
        "docs/c/three",
        "target/debug/app",
        "target/debug/deps/x",
        "targets",
    ] {
        fixture.write(path, "");
    }
    fs::create_dir_all(fixture.at("docs/c/kept")).unwrap();
    fixture.link("target/link", "debug");
    fixture.link("docs/link", "b");
    let check = |ignored, taken_back, expected: &[&str]| {
        let filter = Lists { ignored, taken_back };
        let context = try_take(&fixture.root(), Some(&filter), &mut StatCache::default()).unwrap();
        let paths: Vec<String> =
            context.iter().map(|entry| String::from_utf8_lossy(entry.path).into_owned()).collect();
        assert_eq!(paths, expected, "{ignored:?} {taken_back:?}");
    };
    check(&["docs", "target"], &[], &["Cargo.toml", "targets"]);
    check(
        &["docs", "target"],
        &["docs/a/keep"],
        &["Cargo.toml", "docs", "docs/a", "docs/a/keep", "docs/a/keep/one", "targets"],
    );
    // A folder that is taken back counts though it is empty, a link as itself.
    check(
        &["docs", "target", "Cargo.toml", "targets"],
        &["docs/c/kept", "target/link"],
        &["docs", "docs/c", "docs/c/kept", "target", "target/link"],
    );
    // What might have been taken back is not there: no trace of the folders on the way.
    check(&["docs", "target"], &["docs/a/keep/none", "target/debug/none"], &["Cargo.toml", "targets"]);
    check(
        &["docs/a", "docs/c/three", "target/debug"],
        &["target/debug/deps"],
        &[
            "Cargo.toml",
            "docs",
            "docs/b",
            "docs/b/two",
            "docs/c",
            "docs/c/kept",
            "docs/link",
            "target",
            "target/debug",
            "target/debug/deps",
            "target/debug/deps/x",
            "target/link",
            "targets",
        ],
    );
}

#[test]
fn nothing_is_opened_in_an_ignored_folder_that_is_not_taken_back() {
    let fixture = Fixture::new();
    mode(&fixture.beside(""), 0o755);
    fixture.write("open/file", "");
    fixture.write("secret", "x");
    fixture.write("closed/file", "");
    mode(&fixture.at("secret"), 0o000);
    mode(&fixture.at("closed"), 0o000);
    let (root, secret, closed) = (fixture.root(), fixture.at("secret"), fixture.at("closed"));
    unprivileged("nothing_is_opened_in_an_ignored_folder_that_is_not_taken_back", move || {
        let refused = |ignored: &'static [&'static str]| -> (PathBuf, std::io::ErrorKind) {
            let filter = Lists { ignored, taken_back: &[] };
            match try_take(&root, Some(&filter), &mut StatCache::default()) {
                Err(ContextError::Read { path, source }) => (path, source.kind()),
                Err(other) => panic!("{other}"),
                Ok(context) => panic!("{:?}", lines(&context)),
            }
        };
        let denied = std::io::ErrorKind::PermissionDenied;
        assert_eq!(refused(&[]), (closed.clone(), denied));
        assert_eq!(refused(&["closed"]), (secret.clone(), denied));
        let filter = Lists { ignored: &["closed", "secret"], taken_back: &[] };
        assert_eq!(try_take(&root, Some(&filter), &mut StatCache::default()).unwrap().len(), 2);
    });
    mode(&fixture.at("closed"), 0o755);
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Expect {
    Same,
    Changed,
}

/// Takes a context, modifies it, takes it again with the saved memory: the answer must be `expect`, and that without memory.
fn check(what: &str, expect: Expect, modify: impl Fn(&Fixture)) {
    for settled in [true, false] {
        let fixture = Fixture::new();
        fixture.write("Dockerfile", "FROM scratch\n");
        fixture.write("src/main.rs", "fn main() {}\n");
        fixture.write("src/other.rs", "// other 1234\n");
        fixture.write_beside("shared/data", "shared");
        fixture.link("link", "src/main.rs");
        fixture.link("data", "../shared/data");
        fs::create_dir(fixture.at("empty")).unwrap();
        set_modified(&fixture.at("src/main.rs"), 1_000_000_000);
        if settled {
            settle();
        }
        let mut cache = StatCache::default();
        let before = take(&fixture.root(), &mut cache);
        let file = fixture.beside("stat");
        cache.save(&file).unwrap();

        modify(&fixture);

        let after = take(&fixture.root(), &mut StatCache::load(&file));
        assert_eq!(
            after.digest(),
            anew(&fixture.root()).digest(),
            "{what}, settled: {settled}: stale content"
        );
        let seen = if after.digest() == before.digest() { Expect::Same } else { Expect::Changed };
        assert_eq!(seen, expect, "{what}, settled: {settled}");
    }
}

#[test]
fn a_second_walk_sees_what_changed_and_nothing_else() {
    use Expect::{Changed, Same};
    check("nothing", Same, |_| {});
    check("edit", Changed, |f| drop(f.write("src/main.rs", "fn main() { run() }\n")));
    check("edit of the same size", Changed, |f| drop(f.write("src/main.rs", "fn niam() {}\n")));
    check("edit and mtime put back", Changed, |f| {
        set_modified(&f.write("src/main.rs", "fn niam() {}\n"), 1_000_000_000);
    });
    check("contents of two files swapped, mtimes kept", Changed, |f| {
        f.write("src/main.rs", "// other 1234\n");
        set_modified(&f.write("src/other.rs", "fn main() {}\n"), 1_000_000_000);
    });
    check("touch", Same, |f| set_modified(&f.at("src/main.rs"), 1_700_000_000));
    check("touch of a folder", Same, |f| set_modified(&f.at("empty"), 1_700_000_000));
    check("rewritten with the same bytes", Same, |f| drop(f.write("src/main.rs", "fn main() {}\n")));
    check("chmod +x", Changed, |f| mode(&f.at("src/main.rs"), 0o755));
    check("chmod g-r", Changed, |f| mode(&f.at("src/main.rs"), 0o600));
    check("setgid on a folder", Changed, |f| mode(&f.at("src"), 0o2755));
    check("rename", Changed, |f| fs::rename(f.at("src/main.rs"), f.at("src/lib.rs")).unwrap());
    check("removed", Changed, |f| fs::remove_file(f.at("src/other.rs")).unwrap());
    check("empty folder added", Changed, |f| fs::create_dir(f.at("new")).unwrap());
    check("empty folder removed", Changed, |f| fs::remove_dir(f.at("empty")).unwrap());
    check("file replaced by empty folder", Changed, |f| {
        fs::remove_file(f.at("src/other.rs")).unwrap();
        fs::create_dir(f.at("src/other.rs")).unwrap();
    });
    check("file replaced by symlink to the same bytes", Changed, |f| {
        f.write_beside("same", "// other 1234\n");
        fs::remove_file(f.at("src/other.rs")).unwrap();
        f.link("src/other.rs", f.beside("same"));
    });
    check("other text, same target", Changed, |f| {
        fs::remove_file(f.at("link")).unwrap();
        symlink("./src/main.rs", f.at("link")).unwrap();
    });
    check("content behind a symlink", Same, |f| drop(f.write_beside("shared/data", "shareD")));
    check("socket added", Same, |f| drop(UnixListener::bind(f.at("socket")).unwrap()));
    check("something in .git", Changed, |f| drop(f.write(".git/HEAD", "ref")));
}

#[test]
fn attributes_are_part_of_what_is_copied() {
    use Expect::{Changed, Same};
    const TEST: &str = "attributes_are_part_of_what_is_copied";
    let fixture = Fixture::new();
    let probe = fixture.write("probe", "");
    if !attribute(TEST, &probe, "user.probe", "1") {
        return;
    }
    let set = |path: &str, name: &str, value: &str| {
        let (path, name, value) = (path.to_owned(), name.to_owned(), value.to_owned());
        move |f: &Fixture| assert!(attribute(TEST, &f.at(&path), &name, &value))
    };
    check("attribute of a file", Changed, set("src/main.rs", "user.note", "x"));
    check("attribute of a folder", Changed, set("src", "user.note", "x"));
    check("note of an overlay", Same, set("src/main.rs", "user.overlay.origin", "x"));
    check("note of an overlay on a folder", Same, set("src", "user.overlay.opaque", "y"));

    let identity = |attributes: &[(&str, &str)]| {
        for (name, value) in attributes {
            assert!(attribute(TEST, &probe, name, value));
        }
        anew(&fixture.root()).get(b"probe").unwrap().identity.unwrap()
    };
    let long = "v".repeat(600);
    let other = identity(&[("user.probe", "2")]);
    let many = identity(&[("user.aa", &long), ("user.b", "")]);
    assert_ne!(other, many);
    assert_ne!(many, identity(&[("user.b", "c")]));
    assert_eq!(many, identity(&[("user.b", "")]), "the same attributes are the same identity");
    for name in ["user.aa", "user.b", "user.probe"] {
        rustix::fs::lremovexattr(&probe, name).unwrap();
    }
    assert_eq!(identity(&[]), ContentDigest::of(b""), "without attributes it is the content's digest");
}

#[test]
fn a_cache_that_served_a_tree_is_not_taken_for_a_contexts() {
    let fixture = Fixture::new();
    for path in ["-first", "file", "./sub/file", "zz"] {
        fixture.write(path, path);
    }
    if !attribute(
        "a_cache_that_served_a_tree_is_not_taken_for_a_contexts",
        &fixture.at("file"),
        "user.note",
        "x",
    ) {
        return;
    }
    settle();
    let (tree, context) = (fixture.tree().digest(), anew(&fixture.root()).digest());
    let mut cache = StatCache::default();
    let file = fixture.beside("stat");
    for round in 0..3 {
        let walked = carrack_context::tree(&Walk::new(fixture.root()), &mut cache, &Cancel::default());
        assert_eq!(walked.unwrap().digest(), tree, "round {round}");
        assert_eq!(take(&fixture.root(), &mut cache).digest(), context, "round {round}");
        cache.save(&file).unwrap();
        cache = StatCache::load(&file);
    }
}

#[test]
fn what_the_cache_vouches_for_is_not_read() {
    // A file that may not be read any more, with all that vouches for it unchanged but the time of the change of its mode:
    // a walk that reads nothing does not notice. Only a user who is not root can be kept from reading.
    let fixture = Fixture::new();
    mode(&fixture.beside(""), 0o777);
    mode(&fixture.root(), 0o755);
    let (root, closed) = (fixture.root(), fixture.write("file", "x"));
    mode(&closed, 0o000);
    settle();
    let mut cache = StatCache::default();
    if !rustix::process::geteuid().is_root() {
        return skip("what_the_cache_vouches_for_is_not_read", "needs root");
    }
    let before = take(&root, &mut cache).digest();
    let file = fixture.beside("stat");
    cache.save(&file).unwrap();
    mode(&file, 0o644);
    unprivileged("what_the_cache_vouches_for_is_not_read", move || {
        assert_eq!(take(&root, &mut StatCache::load(&file)).digest(), before);
        assert!(try_take(&root, None, &mut StatCache::default()).is_err());
    });
}

#[test]
fn edits_in_quick_succession_are_never_missed() {
    let fixture = Fixture::new();
    let file = fixture.beside("stat");
    for round in 0..300 {
        let content = format!("{round:08}");
        fixture.write("counter", &content);
        let mut cache = StatCache::load(&file);
        let context = take(&fixture.root(), &mut cache);
        cache.save(&file).unwrap();
        let identity = context.get(b"counter").unwrap().identity;
        assert_eq!(identity, Some(ContentDigest::of(content.as_bytes())), "round {round}");
    }
}

#[test]
fn the_digest_is_the_documented_one() {
    let fixture = Fixture::new();
    fixture.write("a", "hello");
    fixture.write("b/run", "#!");
    for (path, bits) in [("a", 0o644), ("b", 0o1755), ("b/run", 0o4755)] {
        mode(&fixture.at(path), bits);
    }
    fixture.link("c", "a");
    rustix::fs::mkfifoat(CWD, fixture.at("e"), Mode::from_raw_mode(0o600)).unwrap();

    let mut bytes = b"carrack context 1\n".to_vec();
    bytes.extend_from_slice(b"\x01\0\0\0af\xa4\x01\0\0=");
    bytes.extend_from_slice(ContentDigest::of(b"hello").as_bytes());
    bytes.extend_from_slice(b"\x01\0\0\0bd\xed\x03\0\0-");
    bytes.extend_from_slice(b"\x05\0\0\0b/runf\xed\x09\0\0=");
    bytes.extend_from_slice(ContentDigest::of(b"#!").as_bytes());
    bytes.extend_from_slice(b"\x01\0\0\0cl\xff\x01\0\0\x01\0\0\0a-");
    bytes.extend_from_slice(b"\x01\0\0\0eo\x80\x01\0\0-");
    assert_eq!(anew(&fixture.root()).digest(), ContentDigest::of(&bytes));
    assert_eq!(Context::default().digest(), ContentDigest::of(b"carrack context 1\n"));
}

#[test]
fn a_root_that_is_no_folder_is_an_error_and_a_cancelled_walk_stops() {
    let fixture = Fixture::new();
    let file = fixture.write("file", "");
    for path in [fixture.at("missing"), file] {
        let error = try_take(&path, None, &mut StatCache::default()).unwrap_err();
        assert!(matches!(&error, ContextError::Root { path: shown, .. } if *shown == path), "{error}");
    }
    fs::create_dir(fixture.beside("real")).unwrap();
    symlink("real", fixture.beside("link")).unwrap();
    assert!(anew(&fixture.beside("link")).is_empty(), "the root itself may be a link");
    let cancel = Cancel::default();
    cancel.cancel(2);
    let error = carrack_context::context(&fixture.root(), None, &mut StatCache::default(), &cancel);
    assert!(matches!(error, Err(ContextError::Cancelled { .. })));
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
    for _ in 0..200 {
        let context = take(&fixture.root(), &mut cache);
        assert!(context.get(b"stays").is_some());
        let files = |kind| matches!(kind, ContextKind::File { .. });
        assert!(context.iter().all(|entry| entry.identity.is_some() == files(entry.kind)));
    }
    stop.cancel(15);
    churn.join().unwrap();
}

/// 50,000 files, 1 GB. `cargo test --release -p carrack-context -- --ignored --nocapture large`.
#[test]
#[ignore = "a measurement: it writes a gigabyte and says how long it took"]
fn a_large_context_that_did_not_change_takes_no_time() {
    let fixture = Fixture::new();
    let content = "0123456789abcdef".repeat(1_250);
    for index in 0..50_000 {
        fixture.write(&format!("d{:02}/e{:03}/f{index}", index % 50, index % 2_500), &content);
    }
    settle();
    let mut cache = StatCache::default();
    let measured = |what: &str, cache: &mut StatCache| {
        let start = std::time::Instant::now();
        let context = take(&fixture.root(), cache);
        let listed = start.elapsed();
        let digest = context.digest();
        println!("{what}: {} entries in {listed:?}, digest in {:?}", context.len(), start.elapsed() - listed);
        digest
    };
    let first = measured("first walk", &mut cache);
    let file = fixture.beside("stat");
    cache.save(&file).unwrap();
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let mut cache = StatCache::load(&file);
        println!("cache loaded in {:?}", start.elapsed());
        assert_eq!(measured("unchanged", &mut cache), first);
    }
}
