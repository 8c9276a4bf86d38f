//! Scenario × modification × expectation: what a second walk, with the first one's memory, makes of a change.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use carrack_context::StatCache;

use crate::fixture::{Fixture, scan, set_modified, settle};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Expect {
    Same,
    Changed,
}

/// Walks, modifies, walks again with the saved memory: the answer must be `expect`, and that of a walk without memory.
fn check(what: &str, expect: Expect, modify: impl Fn(&Fixture)) {
    for settled in [true, false] {
        let fixture = Fixture::new();
        fixture.write("Cargo.toml", "[package]\n");
        fixture.write("src/main.rs", "fn main() {}\n");
        fixture.write("src/other.rs", "// other 1234\n");
        fixture.write("empty/placeholder", "");
        fixture.write_beside("shared/data", "shared");
        fixture.link("link", "src/main.rs");
        fixture.link("data", "../shared/data");
        set_modified(&fixture.at("src/main.rs"), 1_000_000_000);
        if settled {
            settle();
        }
        let mut cache = StatCache::default();
        let before = scan(&fixture.walk(), &mut cache);
        let file = fixture.beside("stat");
        cache.save(&file).unwrap();

        modify(&fixture);

        let after = scan(&fixture.walk(), &mut StatCache::load(&file));
        assert_eq!(after.digest(), fixture.tree().digest(), "{what}, settled: {settled}: stale content");
        let seen = if after.digest() == before.digest() { Expect::Same } else { Expect::Changed };
        assert_eq!(seen, expect, "{what}, settled: {settled}");
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn second_walk_sees_what_changed_and_nothing_else() {
    use Expect::{Changed, Same};
    check("nothing", Same, |_| {});
    check("edit", Changed, |f| drop(f.write("src/main.rs", "fn main() { run() }\n")));
    check("edit of the same size", Changed, |f| drop(f.write("src/main.rs", "fn niam() {}\n")));
    check("edit and mtime put back", Changed, |f| {
        set_modified(&f.write("src/main.rs", "fn niam() {}\n"), 1_000_000_000);
    });
    check("other file of the same size and mtime renamed over it", Changed, |f| {
        let other = f.write_beside("other", "fn niam() {}\n");
        set_modified(&other, 1_000_000_000);
        fs::rename(other, f.at("src/main.rs")).unwrap();
    });
    check("contents of two files swapped, mtimes kept", Changed, |f| {
        f.write("src/main.rs", "// other 1234\n");
        set_modified(&f.write("src/other.rs", "fn main() {}\n"), 1_000_000_000);
    });
    check("touch", Same, |f| set_modified(&f.at("src/main.rs"), 1_700_000_000));
    check("rewritten with the same bytes", Same, |f| drop(f.write("src/main.rs", "fn main() {}\n")));
    check("chmod +x", Changed, |f| mode(&f.at("src/main.rs"), 0o755));
    check("chmod g-r", Same, |f| mode(&f.at("src/main.rs"), 0o600));
    check("rename", Changed, |f| fs::rename(f.at("src/main.rs"), f.at("src/lib.rs")).unwrap());
    check("removed", Changed, |f| fs::remove_file(f.at("src/other.rs")).unwrap());
    check("added", Changed, |f| drop(f.write("src/new.rs", "")));
    check("file replaced by folder", Changed, |f| {
        fs::remove_file(f.at("src/other.rs")).unwrap();
        f.write("src/other.rs/inner", "// other 1234\n");
    });
    check("file replaced by symlink to the same bytes", Changed, |f| {
        f.write_beside("same", "// other 1234\n");
        fs::remove_file(f.at("src/other.rs")).unwrap();
        f.link("src/other.rs", f.beside("same"));
    });
    check("symlink retargeted", Changed, |f| {
        fs::remove_file(f.at("link")).unwrap();
        symlink("src/other.rs", f.at("link")).unwrap();
    });
    check("other text, same target", Changed, |f| {
        fs::remove_file(f.at("link")).unwrap();
        symlink("./src/main.rs", f.at("link")).unwrap();
    });
    check("content behind a symlink, outside", Changed, |f| drop(f.write_beside("shared/data", "shareD")));
    check("file behind a symlink removed", Changed, |f| fs::remove_file(f.beside("shared/data")).unwrap());
    check("empty folder added", Same, |f| fs::create_dir_all(f.at("new/empty")).unwrap());
    check("moved to another folder", Same, |f| {
        fs::rename(f.root(), f.beside("moved")).unwrap();
        fs::rename(f.beside("moved"), f.root()).unwrap();
    });
}

#[test]
fn edits_in_quick_succession_are_never_missed() {
    // Same inode, same size, no pause: on kernels with coarse time stamps only the racy rule tells these apart.
    let fixture = Fixture::new();
    let file = fixture.beside("stat");
    for round in 0..300 {
        let content = format!("{round:08}");
        fixture.write("counter", &content);
        let mut cache = StatCache::load(&file);
        let tree = scan(&fixture.walk(), &mut cache);
        cache.save(&file).unwrap();
        let digest = carrack_base::ContentDigest::of(content.as_bytes());
        assert_eq!(tree.get(b"counter").unwrap().digest, Some(digest), "round {round}");
    }
}
