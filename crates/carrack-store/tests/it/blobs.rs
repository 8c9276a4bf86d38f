use std::fs;
use std::io::{self, Read, Write};

use carrack_base::Digest;
use carrack_store::StoreError;

use crate::fixture::{Fixture, blob_place, files_below};

#[test]
fn bytes_come_back_and_are_kept_once() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = store.put_bytes(b"layer").unwrap();
    assert_eq!(digest, Digest::of(b"layer"));
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"lay").unwrap();
    writer.write_all(b"er").unwrap();
    assert_eq!(writer.commit().unwrap(), (digest, 5));

    assert_eq!(store.blob_path(&digest), Some(blob_place(&fixture.root(), &digest)));
    assert_eq!(fixture.blob_files(), [blob_place(&fixture.root(), &digest)]);
    assert_eq!(store.read_blob_verified(&digest).unwrap(), b"layer");
    assert_eq!(store.verify_blob(&digest).unwrap(), 5);
    let mut text = String::new();
    store.open_blob(&digest).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "layer");

    let empty = store.blob_writer().unwrap().commit().unwrap();
    assert_eq!(empty, (Digest::of(b""), 0));
}

#[test]
fn a_blob_that_is_not_committed_leaves_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(&vec![1; 1 << 20]).unwrap();
    drop(writer);
    assert_eq!(fixture.blob_files().len(), 0);
    let left: Vec<_> = files_below(&fixture.at("scratch"));
    assert_eq!(left.len(), 1, "only the scratch folder's lock: {left:?}");
    drop(store);
    assert_eq!(fs::read_dir(fixture.at("scratch")).unwrap().count(), 0);
}

/// Ends with an error after some bytes, as a reader does that finds damage.
struct Damaged(usize);

impl Read for Damaged {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "damaged"));
        }
        let count = self.0.min(buffer.len());
        buffer[..count].fill(1);
        self.0 -= count;
        Ok(count)
    }
}

#[test]
fn what_a_reader_verifies_is_kept_only_if_it_ends_well() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let bytes = vec![7; 1_000_000];
    let digest = Digest::of(&bytes);
    let error = store.put_verified(&digest, 1_000_000, &mut Damaged(600_000)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert_eq!(fixture.blob_files().len(), 0);
    assert_eq!(files_below(&fixture.at("scratch")).len(), 1, "only the scratch folder's lock");
    for _ in 0..2 {
        store.put_verified(&digest, 1_000_000, &mut &bytes[..]).unwrap();
        assert_eq!(store.verify_blob(&digest).unwrap(), 1_000_000);
    }
    assert_eq!(fixture.blob_files(), [blob_place(&fixture.root(), &digest)]);
    assert_eq!(files_below(&fixture.at("scratch")).len(), 1, "only the scratch folder's lock");
}

#[test]
fn a_missing_blob_is_an_ordinary_answer() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let digest = Digest::of(b"never stored");
    assert_eq!(store.blob_path(&digest), None);
    for error in [store.open_blob(&digest).unwrap_err(), store.read_blob_verified(&digest).unwrap_err()] {
        assert!(matches!(error, StoreError::MissingBlob { digest: named, .. } if named == digest), "{error}");
    }
}

#[test]
fn a_corrupt_blob_is_moved_away_and_making_it_again_heals() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for verify in [
        |store: &carrack_store::Store, digest: &Digest| store.read_blob_verified(digest).map(drop),
        |store: &carrack_store::Store, digest: &Digest| store.verify_blob(digest).map(drop),
    ] {
        let digest = store.put_bytes(b"layer").unwrap();
        fs::write(blob_place(&fixture.root(), &digest), b"lAyer").unwrap();
        let error = verify(&store, &digest).unwrap_err();
        let StoreError::Corrupt { digest: named, path } = error else { panic!("{error}") };
        assert_eq!(named, digest);
        assert_eq!(fs::read(path).unwrap(), b"lAyer");
        assert_eq!(store.blob_path(&digest), None);
        store.put_bytes(b"layer").unwrap();
        assert_eq!(store.read_blob_verified(&digest).unwrap(), b"layer");
    }
    // A blob of the wrong length is replaced without anyone having verified it.
    let digest = store.put_bytes(b"layer").unwrap();
    fs::write(blob_place(&fixture.root(), &digest), b"").unwrap();
    store.put_bytes(b"layer").unwrap();
    assert_eq!(store.read_blob_verified(&digest).unwrap(), b"layer");
}
