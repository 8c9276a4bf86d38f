use std::fs;
use std::sync::Barrier;

use carrack_base::{Cancel, Digest};
use carrack_store::{Bucket, Store};

use crate::fixture::{Fixture, Helper};

#[test]
fn sixteen_threads_open_a_new_store_at_once() {
    for _ in 0..10 {
        let fixture = Fixture::new();
        let barrier = Barrier::new(16);
        std::thread::scope(|scope| {
            for number in 0..16_u8 {
                let (fixture, barrier) = (&fixture, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    let store = Store::open(&fixture.root()).unwrap();
                    store.put(Bucket::Step, &[number], "here").unwrap();
                });
            }
        });
        let store = fixture.open();
        for number in 0..16_u8 {
            assert!(store.get(Bucket::Step, &[number]).unwrap().is_some(), "{number}");
        }
        assert_eq!(fs::read_to_string(fixture.at("format")).unwrap(), "1\n");
        let tag = fs::read_to_string(fixture.at("CACHEDIR.TAG")).unwrap();
        assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    }
}

#[test]
fn processes_open_a_new_store_at_once() {
    let fixture = Fixture::new();
    let helpers: Vec<Helper> = std::thread::scope(|scope| {
        let starting: Vec<_> =
            (0..16).map(|_| scope.spawn(|| Helper::start("open", &fixture.root()))).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let store = fixture.open();
    for helper in helpers {
        assert!(store.get(Bucket::Step, &helper.pid().to_le_bytes()).unwrap().is_some());
        helper.finish();
    }
}

#[test]
fn a_killed_writer_leaves_nothing_half() {
    let fixture = Fixture::new();
    for _ in 0..8 {
        Helper::start("write", &fixture.root()).kill();
        let store = fixture.open();
        for round in 0_u64.. {
            let digest = store.get(Bucket::Step, &round.to_le_bytes()).unwrap();
            let record = store.get(Bucket::Record, &round.to_le_bytes()).unwrap();
            assert_eq!(digest.is_some(), record.is_some(), "a batch is whole");
            let Some(digest) = digest else {
                assert!(round > 3);
                break;
            };
            let digest: Digest = String::from_utf8(digest).unwrap().parse().unwrap();
            let size = store.verify_blob(&digest).unwrap();
            assert_eq!(record.unwrap(), size.to_string().into_bytes());
        }
        for file in fixture.blob_files() {
            let name = file.file_name().unwrap().to_str().unwrap();
            assert_eq!(Digest::of(&fs::read(&file).unwrap()).hex(), name);
        }
        drop(store.lease(&Cancel::default()).unwrap());
        assert_eq!(fs::read_dir(fixture.at("scratch")).unwrap().count(), 0);
    }
}
