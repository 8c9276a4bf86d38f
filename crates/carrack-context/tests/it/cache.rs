use std::fs;

use carrack_base::ContentDigest;
use carrack_context::{ContextError, StatCache, file_digest};

use crate::fixture::{Fixture, scan, settle};

/// A settled tree of a few files and its saved cache.
fn saved() -> Fixture {
    let fixture = Fixture::new();
    for index in 0..5 {
        fixture.write(&format!("src/file{index}"), &index.to_string());
    }
    settle();
    let mut cache = StatCache::default();
    scan(&fixture.walk(), &mut cache);
    cache.save(&fixture.beside("stat")).unwrap();
    fixture
}

/// Replaces the digest that the cache holds for the file with the content `from` by that of `to`, checksum included.
fn forge(fixture: &Fixture, from: &str, to: &str) {
    let file = fixture.beside("stat");
    let mut bytes = fs::read(&file).unwrap();
    let known = *ContentDigest::of(from.as_bytes()).as_bytes();
    let at = bytes.windows(32).position(|window| window == known).expect("the cache holds the digest");
    bytes[at..at + 32].copy_from_slice(ContentDigest::of(to.as_bytes()).as_bytes());
    let body = b"carrack stat cache 1\n".len() + 32;
    let checksum = ContentDigest::of(&bytes[body..]);
    bytes[body - 32..body].copy_from_slice(checksum.as_bytes());
    fs::write(file, bytes).unwrap();
}

#[test]
fn what_the_cache_vouches_for_is_not_read() {
    let fixture = saved();
    forge(&fixture, "3", "forged");
    let tree = scan(&fixture.walk(), &mut StatCache::load(&fixture.beside("stat")));
    assert_eq!(tree.get(b"src/file3").unwrap().digest, Some(ContentDigest::of(b"forged")));
}

#[test]
fn a_damaged_or_foreign_cache_is_empty() {
    let fixture = saved();
    let expected = fixture.tree().digest();
    forge(&fixture, "3", "forged");
    let file = fixture.beside("stat");
    let good = fs::read(&file).unwrap();
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    for at in [0, 20, 30, 53, 60, 64, good.len() / 2, good.len() - 1] {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        damaged.push(bytes);
    }
    for length in [0, 10, 21, 53, 60, good.len() / 2, good.len() - 1] {
        damaged.push(good[..length].to_vec());
    }
    damaged.push([&good[..], b"more"].concat());
    damaged.push([b"carrack stat cache 2\n", &good[21..]].concat());
    damaged.push(b"SQLite format 3\0".to_vec());
    for (index, bytes) in damaged.into_iter().enumerate() {
        fs::write(&file, bytes).unwrap();
        let mut cache = StatCache::load(&file);
        assert_eq!(scan(&fixture.walk(), &mut cache).digest(), expected, "damage {index}");
        cache.save(&file).unwrap();
        let mut healed = StatCache::load(&file);
        scan(&fixture.walk(), &mut healed);
        assert_eq!(fs::read(&file).unwrap().len(), good.len(), "damage {index} is healed");
    }
}

#[test]
fn the_file_is_written_only_when_something_changed() {
    let fixture = saved();
    let file = fixture.beside("stat");
    let mut cache = StatCache::load(&file);
    scan(&fixture.walk(), &mut cache);
    fs::remove_file(&file).unwrap();
    cache.save(&file).unwrap();
    assert!(!file.exists(), "nothing changed, so nothing is written");

    fs::remove_file(fixture.at("src/file0")).unwrap();
    scan(&fixture.walk(), &mut cache);
    cache.save(&file).unwrap();
    assert!(file.exists(), "one file less is a change");
    let leftovers = fs::read_dir(fixture.beside("")).unwrap().count();
    assert_eq!(leftovers, 2, "tree and stat, no temporary file");
}

#[test]
fn fresh_files_are_not_remembered() {
    // A stamp in the future stands for a clock that was set back after the file was written.
    let fixture = saved();
    crate::fixture::set_modified(&fixture.at("src/file3"), 4_000_000_000);
    settle();
    let file = fixture.beside("stat");
    let mut cache = StatCache::load(&file);
    scan(&fixture.walk(), &mut cache);
    cache.save(&file).unwrap();
    let bytes = fs::read(&file).unwrap();
    let holds = |text: &str| {
        let digest = *ContentDigest::of(text.as_bytes()).as_bytes();
        bytes.windows(32).any(|window| window == digest)
    };
    assert!(holds("2") && !holds("3"));
}

#[test]
fn single_files_are_remembered_beside_the_tree() {
    let fixture = saved();
    let file = fixture.beside("stat");
    let extra = fixture.write_beside("extra/config.toml", "extra");
    settle();
    let mut cache = StatCache::load(&file);
    assert_eq!(file_digest(&extra, &mut cache).unwrap(), Some(ContentDigest::of(b"extra")));
    assert_eq!(file_digest(&fixture.beside("extra/none"), &mut cache).unwrap(), None);
    assert_eq!(file_digest(&extra.join("below"), &mut cache).unwrap(), None);
    cache.save(&file).unwrap();

    forge(&fixture, "extra", "forged");
    let mut cache = StatCache::load(&file);
    scan(&fixture.walk(), &mut cache);
    assert_eq!(file_digest(&extra, &mut cache).unwrap(), Some(ContentDigest::of(b"forged")));

    fs::write(&extra, "EXTRA").unwrap();
    assert_eq!(file_digest(&extra, &mut cache).unwrap(), Some(ContentDigest::of(b"EXTRA")));
    fs::remove_file(&extra).unwrap();
    assert_eq!(file_digest(&extra, &mut cache).unwrap(), None);
    let error = file_digest(&fixture.root(), &mut cache).unwrap_err();
    assert!(matches!(error, ContextError::NotAFile { .. }), "{error}");
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_with_its_path() {
    let fixture = saved();
    let mut cache = StatCache::default();
    scan(&fixture.walk(), &mut cache);
    let nowhere = fixture.beside("missing/stat");
    let error = cache.save(&nowhere).unwrap_err();
    assert!(matches!(&error, ContextError::Save { path, .. } if *path == nowhere), "{error}");
}
