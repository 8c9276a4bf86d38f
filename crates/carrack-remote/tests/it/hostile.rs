//! Packs of somebody who means harm.

use std::fs;

use carrack_base::{ContentDigest, UnitContent, UnitFile};
use carrack_remote::pack::{IndexError, PackIndex, UnitError};
use serde_json::{Value, json};

use crate::packs::{Units, file, id};

fn frame(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

fn index_of(units: &[(ContentDigest, Vec<UnitFile>, u64)]) -> Result<PackIndex, IndexError> {
    let mut offset = 0;
    let mut list = Vec::new();
    for (id, files, length) in units {
        list.push(json!({"id": id, "record": "", "files": files, "offset": offset, "length": length}));
        offset += length;
    }
    index_from(json!({"version": 1, "units": list}))
}

fn index_from(json: Value) -> Result<PackIndex, IndexError> {
    PackIndex::from_bytes(&zstd::bulk::compress(json.to_string().as_bytes(), 3).unwrap())
}

fn link(path: &str, to: &str) -> UnitFile {
    UnitFile { path: path.to_owned(), content: UnitContent::Link { to: to.to_owned() } }
}

fn empty(path: &str) -> UnitFile {
    UnitFile { path: path.to_owned(), content: UnitContent::Folder }
}

/// A pack of one bad unit between two good ones. Gives the bad one's error, after seeing that nothing else came of it.
fn bad_one(files: Vec<UnitFile>, content: &[u8]) -> UnitError {
    bad_frame(files, &frame(content))
}

fn bad_frame(files: Vec<UnitFile>, bad: &[u8]) -> UnitError {
    let good = frame(b"good");
    let unit = |number| (id(number), vec![file("a/b", b"good", false)], good.len() as u64);
    let index = index_of(&[unit(1), (id(2), files, bad.len() as u64), unit(3)]).unwrap();
    let out = Units::new();
    // Whoever climbs out lands here.
    let above = out.path(&id(2)).parent().unwrap().to_owned();
    let mut unpacked = out.read(&index, &[&good, bad, &good].concat()[..]);
    assert!(unpacked.ended.is_none());
    assert_eq!(unpacked.placed.len(), 2, "{:?}", unpacked.failed);
    assert_eq!(unpacked.failed.len(), 1);
    assert_eq!(unpacked.failed[0].id, id(2));
    assert!(!out.path(&id(2)).exists());
    assert_eq!(fs::read_dir(above).unwrap().count(), 2);
    unpacked.failed.remove(0).error
}

#[test]
fn paths_lead_nowhere_else() {
    let evil = |path: &str| file(path, b"evil", false);
    let through = || vec![link("a", "/tmp"), evil("a/evil")];
    for (files, expected) in [
        (vec![evil("/evil")], "absolute"),
        (vec![evil("../evil")], "`..`"),
        (vec![evil("a/../../evil")], "`..`"),
        (vec![evil("a/..")], "`..`"),
        (vec![evil("./evil")], "`..`"),
        (vec![evil("")], "empty part"),
        (vec![evil("a//evil")], "empty part"),
        (vec![evil("evil/")], "empty part"),
        (vec![evil("a\0b")], "NUL"),
        (vec![empty("../folder")], "`..`"),
        (vec![link("/link", "x")], "absolute"),
        (vec![link("a", "")], "says nothing"),
        (vec![link("a", "b\0")], "NUL"),
        (through(), "through"),
        (through().into_iter().rev().collect(), "through"),
        (vec![link("a/b", ".."), evil("a/b/c/evil")], "through"),
        (vec![link("a", ".."), empty("a/b")], "through"),
        (vec![evil("a"), link("a/b", "x")], "through"),
        (vec![evil("a"), link("a", "/etc/passwd")], "twice"),
        (vec![link("a", "/tmp/evil"), evil("a")], "twice"),
        (vec![empty("a"), empty("a")], "twice"),
    ] {
        let text = format!("{files:?}");
        match bad_one(files, b"evil") {
            UnitError::Path { problem, .. } => assert!(problem.contains(expected), "{text}: {problem}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn what_links_say_is_written_and_not_followed() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    let target = secret.path().to_str().unwrap();
    let good = frame(b"file");
    let files = vec![link("out", target), link("up", "../../.."), file("a", b"file", false)];
    let index = index_of(&[(id(1), files, good.len() as u64)]).unwrap();
    let out = Units::new();
    assert_eq!(out.read(&index, &good[..]).placed, [id(1)]);
    assert_eq!(fs::read_link(out.path(&id(1)).join("out")).unwrap(), secret.path());
    assert_eq!(fs::read(secret.path()).unwrap(), b"");
}

#[test]
fn a_folder_may_be_listed_with_something_in_it() {
    let good = frame(b"file");
    let index = index_of(&[(id(1), vec![empty("a"), file("a/b", b"file", false)], good.len() as u64)]);
    let out = Units::new();
    assert_eq!(out.read(&index.unwrap(), &good[..]).placed, [id(1)]);
}

#[test]
fn contents_are_what_the_index_says() {
    let one = || vec![file("a", b"content", false)];
    assert!(matches!(bad_one(one(), b"Content"), UnitError::Content { .. }));
    assert!(matches!(bad_one(one(), b"conten"), UnitError::TooShort { .. }));
    assert!(matches!(bad_one(one(), b"content!"), UnitError::TooLong));
    assert!(matches!(bad_one(Vec::new(), b"x"), UnitError::TooLong));
    assert!(matches!(bad_frame(one(), b"no frame at all"), UnitError::Inflate { .. }));
    let mut cut = frame(b"content");
    cut.pop();
    assert!(matches!(bad_frame(one(), &cut), UnitError::Inflate { .. } | UnitError::TooShort { .. }));
    // Inflates to a gigabyte; what is written ends with the promised bytes.
    let bomb = {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        std::io::copy(&mut std::io::Read::take(std::io::repeat(0), 1 << 28), &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    assert!(matches!(
        bad_frame(vec![file("a", &[0; 7], false)], &bomb),
        UnitError::TooLong | UnitError::Frame { .. }
    ));
    // A frame that its files can't account for.
    assert!(matches!(bad_frame(one(), &[0; 10_000]), UnitError::Frame { length: 10_000, content: 7 }));
}

#[test]
fn promises_cost_no_memory() {
    let huge = UnitContent::File { digest: ContentDigest::of(b""), size: u64::MAX, executable: false };
    let files = vec![
        UnitFile { path: "a".to_owned(), content: huge.clone() },
        UnitFile { path: "b".to_owned(), content: huge },
    ];
    let out = Units::new();
    let index = index_of(&[(id(1), files.clone(), u64::MAX)]).unwrap();
    let unpacked = out.read(&index, &b"short"[..]);
    assert!(matches!(unpacked.failed[0].error, UnitError::Frame { .. }), "{unpacked:?}");
    let index = index_of(&[(id(1), files, 1 << 30)]).unwrap();
    let unpacked = out.read(&index, &b"short"[..]);
    assert!(matches!(unpacked.failed[0].error, UnitError::Ended), "{unpacked:?}");
    assert!(unpacked.ended.is_some());
}

#[test]
fn an_index_is_one_or_is_refused() {
    let unit = |offset: u64, length: u64| json!({"id": id(1), "record": "", "files": [], "offset": offset, "length": length});
    let of = |units: &[Value]| index_from(json!({"version": 1, "units": units}));
    assert!(of(&[unit(0, 5), unit(5, 1)]).is_ok());
    assert!(matches!(of(&[unit(0, 5), unit(4, 1)]), Err(IndexError::Offset { expected: 5, .. })));
    assert!(matches!(of(&[unit(1, 5)]), Err(IndexError::Offset { expected: 0, .. })));
    assert!(matches!(of(&[unit(0, u64::MAX), unit(3, 1)]), Err(IndexError::Offset { .. })));
    assert!(matches!(
        index_from(json!({"version": 2, "units": []})),
        Err(IndexError::Version { found: 2, .. })
    ));
    assert!(matches!(index_from(json!({"version": 1})), Err(IndexError::Json(_))));
    assert!(matches!(PackIndex::from_bytes(b"{}"), Err(IndexError::Inflate(_))));
    assert!(matches!(PackIndex::from_bytes(b""), Err(IndexError::Json(_) | IndexError::Inflate(_))));
    let bomb = {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        std::io::copy(&mut std::io::Read::take(std::io::repeat(b' '), 600 << 20), &mut encoder).unwrap();
        encoder.finish().unwrap()
    };
    assert!(matches!(PackIndex::from_bytes(&bomb), Err(IndexError::Inflate(_))));
}
