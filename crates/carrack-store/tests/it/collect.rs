use std::fs;
use std::time::Duration;

use carrack_base::{Cancel, Digest};
use carrack_store::{Collected, StoreError};

use crate::fixture::{Fixture, Helper, blob_place};

#[test]
fn only_what_an_image_refers_to_stays() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let layer = store.put_bytes(b"layer").unwrap();
    let shared = store.put_bytes(b"shared layer").unwrap();
    let manifest = store.put_bytes(b"manifest").unwrap();
    let other = store.put_bytes(b"other manifest").unwrap();
    let stray = store.put_bytes(b"stray!").unwrap();
    fs::write(blob_place(&fixture.root(), &stray).with_extension("corrupt"), "x").unwrap();
    store.tag_image("one:latest", &manifest, 1, 1).unwrap();
    store.tag_image("one:again", &manifest, 1, 1).unwrap();
    store.tag_image("two:latest", &other, 1, 1).unwrap();
    let live = |digest: &Digest| match *digest {
        digest if digest == manifest => Ok(vec![layer, shared]),
        digest if digest == other => Ok(vec![shared]),
        digest => panic!("{digest} was never tagged"),
    };
    let removed = |blobs, bytes| Collected { blobs, bytes };
    assert_eq!(store.collect(Duration::ZERO, live).unwrap(), removed(2, 7));
    assert_eq!(store.blob_path(&stray), None);
    assert_eq!(fixture.blob_files().len(), 4);

    store.untag("one:latest").unwrap();
    assert_eq!(store.collect(Duration::ZERO, live).unwrap(), removed(0, 0), "another name holds it");
    store.untag("one:again").unwrap();
    assert_eq!(store.collect(Duration::ZERO, live).unwrap(), removed(2, 13));
    assert_eq!(store.blob_path(&layer), None);
    assert_eq!(store.read_blob_verified(&shared).unwrap(), b"shared layer");
}

#[test]
fn nothing_is_removed_when_what_is_live_is_not_known() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let manifest = store.put_bytes(b"manifest").unwrap();
    let layer = store.put_bytes(b"layer").unwrap();
    store.tag_image("one", &manifest, 1, 1).unwrap();
    let error = store
        .collect(Duration::ZERO, |_| store.read_blob_verified(&Digest::of(b"no such")).map(|_| Vec::new()))
        .unwrap_err();
    assert!(matches!(error, StoreError::MissingBlob { .. }), "{error}");
    assert!(store.blob_path(&layer).is_some());
}

#[test]
fn a_lease_in_another_process_keeps_everything() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let blob = store.put_bytes(b"in flight").unwrap();
    let first = Helper::start("hold lease", &fixture.root());
    let second = Helper::start("hold lease", &fixture.root());
    let collect = || store.collect(Duration::from_millis(30), |_| Ok(Vec::new()));
    for holder in [first, second] {
        let error = collect().unwrap_err();
        assert!(matches!(&error, StoreError::Busy { path, .. } if *path == fixture.at("lock")), "{error}");
        assert!(store.blob_path(&blob).is_some());
        holder.kill();
    }
    assert_eq!(collect().unwrap(), Collected { blobs: 1, bytes: 9 });
}

#[test]
fn a_lease_waits_for_a_collection_and_can_be_called_off() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let manifest = store.put_bytes(b"manifest").unwrap();
    store.tag_image("one", &manifest, 1, 1).unwrap();
    store
        .collect(Duration::ZERO, |_| {
            let cancel = Cancel::default();
            cancel.cancel(2);
            let error = fixture.open().lease(&cancel).unwrap_err();
            assert!(matches!(error, StoreError::Cancelled { .. }), "{error}");
            Ok(Vec::new())
        })
        .unwrap();
    drop(store.lease(&Cancel::default()).unwrap());
}
