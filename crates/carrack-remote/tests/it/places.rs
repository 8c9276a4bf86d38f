//! What each kind of place has to do.

use std::fs;
use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use carrack_remote::{Bytes, HEAD_LIMIT, Published, RemoteError, Upload};

use crate::fixture::{fetch, info, noise, places, publish, upload};

#[test]
fn what_is_published_is_found() {
    for place in places() {
        let (remote, kind) = (place.open(), place.kind);
        assert_eq!(remote.names("").unwrap(), Vec::<String>::new(), "{kind}");
        assert_eq!(remote.find("a-1").unwrap(), None, "{kind}");
        assert!(!remote.remove("a-1").unwrap(), "{kind}");
        let (large, small) = (noise(1, 3_000_000), noise(2, 10));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &large).unwrap();
        let open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(noise(2, 10)))) };
        let uploads = [
            Upload { blob: info(&large), bytes: Bytes::File(file.path()) },
            Upload { blob: info(&small), bytes: Bytes::Open(&open) },
            upload(b""),
        ];
        let published = remote.publish("a-1", b"head of a", &uploads).unwrap();
        assert!(published.sent > 3_000_010 && published.were_there == 0, "{kind} {published:?}");
        let again = remote.publish("a-1", b"head of a", &uploads).unwrap();
        assert_eq!(again, Published { sent: 0, were_there: published.sent }, "{kind}");
        publish(&remote, "b_2.x", b"", &[]).unwrap();
        publish(&remote, "a-2", b"head", &[&small]).unwrap();

        // Another process.
        let remote = place.open();
        let (entry, blobs) = fetch(&remote, "a-1").unwrap().unwrap();
        assert_eq!(entry.head, b"head of a", "{kind}");
        assert_eq!(entry.blobs, [info(&large), info(&small), info(b"")], "{kind}");
        assert!(blobs == [large, small.clone(), Vec::new()], "{kind}");
        let (entry, blobs) = fetch(&remote, "b_2.x").unwrap().unwrap();
        assert!(entry.head.is_empty() && blobs.is_empty(), "{kind}");
        assert_eq!(remote.names("").unwrap(), ["a-1", "a-2", "b_2.x"], "{kind}");
        assert_eq!(remote.names("a-").unwrap(), ["a-1", "a-2"], "{kind}");

        publish(&remote, "a-1", b"another", &[&small]).unwrap();
        let (entry, blobs) = fetch(&remote, "a-1").unwrap().unwrap();
        assert_eq!((entry.head.as_slice(), &blobs[..]), (&b"another"[..], &[small.clone()][..]), "{kind}");
        assert!(remote.remove("a-1").unwrap(), "{kind}");
        assert_eq!(remote.find("a-1").unwrap(), None, "{kind}");
        assert!(fetch(&remote, "a-2").unwrap().is_some(), "{kind}");
        assert_eq!(remote.names("").unwrap(), ["a-2", "b_2.x"], "{kind}");
    }
}

#[test]
fn equal_entries_of_two_names_are_removed_one_by_one() {
    for place in places() {
        let (remote, kind) = (place.open(), place.kind);
        publish(&remote, "one", b"same", &[b"blob"]).unwrap();
        publish(&remote, "two", b"same", &[b"blob"]).unwrap();
        assert!(remote.remove("one").unwrap(), "{kind}");
        assert_eq!(remote.find("one").unwrap(), None, "{kind}");
        assert!(fetch(&remote, "two").unwrap().is_some(), "{kind}");
    }
}

#[test]
fn names_that_could_be_something_else_are_refused() {
    for place in places() {
        let remote = place.open();
        let long = "a".repeat(121);
        for name in ["", ".", "..", ".a", "-a", "a/b", "A", "a b", "a%2f", "é", "a\0", &long] {
            for error in [
                remote.find(name).unwrap_err(),
                publish(&remote, name, b"", &[]).unwrap_err(),
                remote.remove(name).unwrap_err(),
            ] {
                assert!(matches!(error, RemoteError::BadName { .. }), "{} {name:?} {error:?}", place.kind);
            }
        }
        let longest = "a".repeat(120);
        publish(&remote, &longest, b"head", &[]).unwrap();
        assert_eq!(remote.names("").unwrap(), [longest]);
    }
}

#[test]
fn a_head_has_a_limit() {
    let place = crate::fixture::folder();
    let remote = place.open();
    let head = vec![7; HEAD_LIMIT as usize + 1];
    let error = publish(&remote, "a", &head, &[]).unwrap_err();
    assert!(matches!(error, RemoteError::HeadTooLarge { size, .. } if size == HEAD_LIMIT + 1), "{error:?}");
    publish(&remote, "a", &head[1..], &[]).unwrap();
    assert!(remote.find("a").unwrap().unwrap().head == head[1..]);
}

#[test]
fn two_publishers_do_not_disturb_each_other() {
    for place in places() {
        let kind = place.kind;
        let entry = |publisher: u64, number: u64| {
            let shared = noise(number, 20_000);
            (
                format!("p{publisher}-{number}"),
                noise(100 + publisher, 500),
                [noise(number * 2 + publisher, 30_000), shared],
            )
        };
        thread::scope(|scope| {
            for publisher in 0..2 {
                let remote = place.open();
                scope.spawn(move || {
                    for number in 0..20 {
                        let (name, head, blobs) = entry(publisher, number);
                        publish(&remote, &name, &head, &[&blobs[0], &blobs[1]]).unwrap();
                    }
                });
            }
        });
        let remote = place.open();
        assert_eq!(remote.names("p").unwrap().len(), 40, "{kind}");
        for (publisher, number) in (0..2).flat_map(|publisher| (0..20).map(move |number| (publisher, number)))
        {
            let (name, head, blobs) = entry(publisher, number);
            let (found, bytes) = fetch(&remote, &name).unwrap().unwrap();
            assert!(found.head == head && bytes == blobs, "{kind} {name}");
        }
    }
}

#[test]
fn of_two_publishers_of_one_name_one_wins_whole() {
    for place in places() {
        let kind = place.kind;
        thread::scope(|scope| {
            for publisher in 0..2_u64 {
                let remote = place.open();
                scope.spawn(move || {
                    for round in 0..10 {
                        let blob = noise(publisher * 1_000 + round, 20_000);
                        publish(&remote, "same", &blob[..100], &[&blob]).unwrap();
                    }
                });
            }
            let remote = place.open();
            scope.spawn(move || {
                for _ in 0..20 {
                    if let Some((entry, blobs)) = fetch(&remote, "same").unwrap() {
                        assert!(entry.head == blobs[0][..100], "{kind}");
                    }
                }
            });
        });
        let (entry, blobs) = fetch(&place.open(), "same").unwrap().unwrap();
        assert!(entry.head == blobs[0][..100], "{kind}");
        assert!([9, 1_009].iter().any(|seed| noise(*seed, 20_000) == blobs[0]), "{kind}");
    }
}

#[test]
fn a_deadline_holds_for_every_call() {
    for place in places() {
        let (remote, kind) = (place.open(), place.kind);
        publish(&remote, "a", b"head", &[b"blob"]).unwrap();
        let late = place.open().with_deadline(Some(Instant::now()));
        let start = Instant::now();
        let error = late.find("a").unwrap_err();
        assert!(matches!(error, RemoteError::Failed { .. }), "{kind} {error:?}");
        for error in [late.names("").unwrap_err(), publish(&late, "b", b"", &[]).unwrap_err()] {
            assert!(matches!(error, RemoteError::Off { .. }), "{kind} {error:?}");
        }
        assert!(start.elapsed() < Duration::from_millis(100), "{kind}");
        let soon = remote.with_deadline(Some(Instant::now() + Duration::from_secs(20)));
        assert!(fetch(&soon, "a").unwrap().is_some(), "{kind}");
    }
}
