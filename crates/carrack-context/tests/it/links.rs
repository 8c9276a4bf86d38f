use std::fs;

use carrack_context::StatCache;

use crate::fixture::{Fixture, scan};

#[test]
fn folder_outside_is_walked_once_and_folder_inside_not_again() {
    let fixture = Fixture::new();
    fixture.write("src/lib.rs", "");
    fixture.write_beside("shared/deep/a.rs", "a");
    fixture.write_beside("shared/b.rs", "b");
    fixture.link("inside", "src");
    fixture.link("one", "../shared");
    fixture.link("two", "../shared");
    fixture.link("zoom", "../shared/deep");
    assert_eq!(
        fixture.lines(&fixture.walk()),
        [
            "inside -> src (no content)",
            "one -> ../shared (no content)",
            "one/b.rs",
            "one/deep/a.rs",
            "src/lib.rs",
            "two -> ../shared (no content)",
            "zoom -> ../shared/deep (no content)",
        ]
    );
    let tree = fixture.tree();
    for entry in tree.iter() {
        assert_eq!(tree.get(entry.path), Some(entry));
    }
}

#[test]
fn cycles_end() {
    let fixture = Fixture::new();
    fixture.write("a/file", "");
    fixture.link("a/self", ".");
    fixture.link("a/up", "..");
    fixture.link("loop", "loop");
    fixture.write_beside("left/file", "");
    fixture.write_beside("right/file", "");
    fixture.link("left", "../left");
    fixture.link("../left/right", "../right");
    fixture.link("../right/left", "../left");
    fixture.link("../right/tree", "../tree");
    assert_eq!(
        fixture.lines(&fixture.walk()),
        [
            "a/file",
            "a/self -> . (no content)",
            "a/up -> .. (no content)",
            "left -> ../left (no content)",
            "left/file",
            "left/right -> ../right (no content)",
            "left/right/file",
            "left/right/left -> ../left (no content)",
            "left/right/tree -> ../tree (no content)",
            "loop -> loop (no content)",
        ]
    );
}

#[test]
fn links_into_the_machine_and_above_the_tree_stay_text() {
    let fixture = Fixture::new();
    fixture.link("root", "/");
    fixture.link("proc", "/proc");
    fixture.link("kmsg", "/proc/kmsg");
    fixture.link("null", "/dev/null");
    fixture.link("above", fixture.beside(""));
    assert!(fixture.lines(&fixture.walk()).iter().all(|line| line.ends_with("(no content)")));
    assert_eq!(fixture.tree().len(), 5);
}

#[test]
fn a_link_never_brings_back_what_was_left_out() {
    let fixture = Fixture::new();
    fixture.write("target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    fixture.write("target/debug/app", "binary");
    fixture.write("out/file", "made");
    fixture.write(".git/HEAD", "ref");
    fixture.write_beside("elsewhere/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n");
    fixture.write_beside("elsewhere/file", "built");
    fixture.link("app", "target/debug/app");
    fixture.link("debug", "target/debug");
    fixture.link("made", "out/file");
    fixture.link("head", ".git/HEAD");
    fixture.link("outside", "../elsewhere");
    let lines = fixture.lines(&fixture.walk().without("out"));
    assert_eq!(
        lines,
        [
            "app -> target/debug/app (no content)",
            "debug -> target/debug (no content)",
            "head -> .git/HEAD (no content)",
            "made -> out/file (no content)",
            "outside -> ../elsewhere (no content)",
        ]
    );
}

#[test]
fn exclusion_holds_for_the_place_and_for_what_a_link_there_leads_to() {
    let fixture = Fixture::new();
    fixture.write_beside("disk/target/file", "");
    fixture.link("target", fixture.beside("disk/target"));
    fixture.link("again", fixture.beside("disk/target"));
    fixture.write("kept", "");
    let again = format!("again -> {} (no content)", fixture.beside("disk/target").display());
    assert_eq!(fixture.lines(&fixture.walk().without("target")), [again, "kept".to_owned()]);
}

#[test]
fn files_behind_folder_links_are_remembered_and_watched() {
    let fixture = Fixture::new();
    fixture.write_beside("shared/a.rs", "one");
    fixture.link("src", "../shared");
    let mut cache = StatCache::default();
    let before = scan(&fixture.walk(), &mut cache);
    fs::write(fixture.beside("shared/a.rs"), "two").unwrap();
    let after = scan(&fixture.walk(), &mut cache);
    assert_ne!(before.get(b"src/a.rs").unwrap().digest, after.get(b"src/a.rs").unwrap().digest);
}
