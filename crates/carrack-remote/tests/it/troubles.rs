//! Each kind of place and each kind of trouble: in time, with the right error, and never with wrong bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use carrack_base::Digest;
use carrack_oci::registry::RegistryError;
use carrack_oci::transport::TransportError;
use carrack_remote::{Bytes, Cause, Location, Remote, RemoteError, Upload};
use carrack_testkit::{Proxy, Trouble, free_port, skipped};

use crate::fixture::{Place, bucket, fetch, folder, info, limits, noise, places, publish, registry};

/// What a call ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Well,
    TimedOut,
    Connection,
    Status(u16),
    Damaged,
    Missing,
    Source,
    Off,
}

fn end<T>(outcome: Result<T, RemoteError>) -> End {
    let error = match outcome {
        Ok(_) => return End::Well,
        Err(error) => error,
    };
    match error {
        RemoteError::Off { .. } => End::Off,
        RemoteError::Damaged { .. } => End::Damaged,
        RemoteError::MissingBlob { .. } => End::Missing,
        RemoteError::Source { .. } => End::Source,
        RemoteError::Failed { cause, .. } => match cause {
            Cause::Registry(RegistryError::Transport { source, .. }) | Cause::Transport(source) => {
                match source {
                    TransportError::TimedOut { .. } | TransportError::Deadline { .. } => End::TimedOut,
                    TransportError::Connection { .. } => End::Connection,
                    other => panic!("{other:?}"),
                }
            }
            Cause::Registry(RegistryError::Status { status, .. }) | Cause::Bucket { status, .. } => {
                End::Status(status)
            }
            Cause::Registry(RegistryError::Unauthorized { .. }) => End::Status(401),
            Cause::Registry(RegistryError::Denied { .. }) => End::Status(403),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// The longest that one call may take with the patience of the tests.
const BOUND: Duration = Duration::from_millis(3_500);

fn in_time<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let outcome = call();
    assert!(start.elapsed() < BOUND, "{what} took {:?}", start.elapsed());
    outcome
}

fn servers() -> Vec<Place> {
    [registry(), Some(bucket())].into_iter().flatten().collect()
}

#[test]
fn lasting_trouble_ends_in_time_and_turns_the_remote_off() {
    const BUSY: &str = "503 Service Unavailable\r\n";
    const LATER: &str = "429 Too Many Requests\r\nRetry-After: 3600\r\n";
    for place in servers() {
        let proxy = place.proxy.as_ref().unwrap();
        let blob = noise(1, 1_000_000);
        publish(&place.open(), "a", b"head", &[&blob]).unwrap();
        for (trouble, read_ends, publish_ends, reading_stays) in [
            (Trouble::HangUp, End::Connection, End::Connection, false),
            (Trouble::Stall(0), End::TimedOut, End::TimedOut, false),
            (Trouble::Answer(BUSY), End::Status(503), End::Status(503), true),
            (Trouble::Answer(LATER), End::Status(429), End::Status(429), true),
            (Trouble::Answer("507 Insufficient Storage\r\n"), End::Status(507), End::Status(507), true),
            (Trouble::Answer("401 Unauthorized\r\n"), End::Status(401), End::Status(401), true),
            (Trouble::Answer("403 Forbidden\r\n"), End::Status(403), End::Status(403), true),
        ] {
            let what = format!("{} {trouble:?}", place.kind);
            proxy.make(trouble);
            let remote = place.open();
            let (found, listed) = (remote.clone(), place.open());
            assert_eq!(in_time(&what, || end(found.find("a"))), read_ends, "{what}: find");
            assert_eq!(in_time(&what, || end(listed.names(""))), read_ends, "{what}: names");
            let remove = place.open();
            assert_eq!(in_time(&what, || end(remove.remove("a"))), publish_ends, "{what}: remove");
            let start = Instant::now();
            for _ in 0..50 {
                assert_eq!(end(remote.find("a")), End::Off, "{what}");
                assert_eq!(end(publish(&remote, "b", b"", &[])), End::Off, "{what}");
            }
            assert!(start.elapsed() < Duration::from_millis(50), "{what}");
            let writer = place.open();
            let publish_it = || end(publish(&writer, "b", b"head", &[&noise(2, 500_000)]));
            assert_eq!(in_time(&what, publish_it), publish_ends, "{what}: publish");
            proxy.make(Trouble::None);
            assert_eq!(end(publish(&writer, "b", b"", &[])), End::Off, "{what}");
            let expected = if reading_stays { End::Well } else { End::Off };
            assert_eq!(end(writer.find("a")), expected, "{what}: a writer that failed");
        }
    }
}

#[test]
fn a_blob_never_comes_in_wrong() {
    for place in servers() {
        let proxy = place.proxy.as_ref().unwrap();
        let blob = noise(1, 1_000_000);
        publish(&place.open(), "a", b"head", &[&blob]).unwrap();
        for (trouble, expected) in [
            (Trouble::Cut(300_000), End::Connection),
            (Trouble::Stall(300_000), End::TimedOut),
            (Trouble::Corrupt(999_999), End::Damaged),
            (Trouble::Corrupt(0), End::Damaged),
        ] {
            let what = format!("{} {trouble:?}", place.kind);
            let remote = place.open();
            let entry = remote.find("a").unwrap().unwrap();
            proxy.make(trouble);
            let read = || {
                let mut bytes = Vec::new();
                let outcome = std::io::Read::read_to_end(&mut remote.read(&entry.blobs[0])?, &mut bytes);
                outcome.map_err(|error| error.downcast::<RemoteError>().unwrap())
            };
            assert_eq!(in_time(&what, || end(read())), expected, "{what}");
            proxy.make(Trouble::None);
            let expected = if expected == End::Damaged { End::Well } else { End::Off };
            assert_eq!(end(fetch(&remote, "a")), expected, "{what}: afterwards");
        }
        // Heads are small: whatever is wrong with one byte of an answer, it is seen.
        for at in [0, 30, 60, 100, 200] {
            proxy.make(Trouble::Corrupt(at));
            if let Ok(Some((entry, blobs))) = fetch(&place.open(), "a") {
                assert!(entry.head == b"head" && blobs[0] == blob, "{} {at}", place.kind);
            }
        }
        proxy.make(Trouble::Slow(100_000));
        let deadline = Instant::now() + Duration::from_secs(2);
        let remote = place.open().with_deadline(Some(deadline));
        assert_eq!(in_time(place.kind, || end(fetch(&remote, "a"))), End::TimedOut, "{}", place.kind);
    }
}

#[test]
fn passing_trouble_is_got_over() {
    for place in servers() {
        let proxy = place.proxy.as_ref().unwrap();
        let remote = place.open();
        for (number, trouble) in [
            Trouble::Answer("429 Too Many Requests\r\nRetry-After: 1\r\n"),
            Trouble::Answer("503 Service Unavailable\r\n"),
            Trouble::HangUp,
        ]
        .into_iter()
        .enumerate()
        {
            let blob = noise(number as u64, 1_000_000);
            let name = format!("a-{number}");
            proxy.make_times(trouble, 2, "");
            publish(&remote, &name, b"head", &[&blob]).unwrap();
            proxy.make_times(trouble, 1, "PUT");
            publish(&remote, &format!("b-{number}"), &name.clone().into_bytes(), &[&blob[1..]]).unwrap();
            for (trouble, times) in [(trouble, 2), (Trouble::Cut(0), 1), (Trouble::Cut(20), 2)] {
                proxy.make_times(trouble, times, "GET");
                let what = format!("{} {trouble:?} {times}", place.kind);
                assert!(remote.find(&name).unwrap().is_some(), "{what}");
                assert_eq!(remote.names(&name).unwrap(), [name.as_str()], "{what}");
            }
            let remote = place.open();
            let entry = remote.find(&name).unwrap().unwrap();
            for (trouble, times) in [(Trouble::Cut(10), 1), (Trouble::Cut(400_000), 2), (trouble, 1)] {
                proxy.make_times(trouble, times, "GET");
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut remote.read(&entry.blobs[0]).unwrap(), &mut bytes).unwrap();
                assert!(bytes == blob, "{} {trouble:?} {times}", place.kind);
            }
            proxy.make(Trouble::None);
        }
    }
}

#[test]
fn nobody_there_costs_one_short_delay() {
    let port = free_port();
    for location in [
        format!("type=registry,ref=127.0.0.1:{port}/a"),
        format!("type=s3,bucket=b,endpoint_url=http://127.0.0.1:{port}"),
    ] {
        let location: Location = location.parse().unwrap();
        let remote = Remote::open(&location, &Default::default(), &limits()).unwrap();
        let start = Instant::now();
        assert_eq!(end(remote.find("a")), End::Connection, "{location}");
        for _ in 0..100 {
            assert_eq!(end(remote.find("a")), End::Off, "{location}");
        }
        assert!(start.elapsed() < Duration::from_secs(1), "{location}");
        let error = remote.check_on().unwrap_err().to_string();
        assert!(error.contains(&location.to_string()) && error.contains("earlier failure"), "{error}");
    }
}

#[test]
fn a_bucket_that_is_not_there_is_no_empty_cache() {
    let place = bucket();
    // What Amazon says, and this server does not.
    let amazon = Proxy::intercepting("127.0.0.1:1", |_| {
        let body =
            "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>It is not.</Message></Error>";
        Some(format!("404 Not Found\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    });
    let there = format!("type=s3,bucket=b,endpoint_url=http://{}", amazon.address()).parse().unwrap();
    let remote = || Remote::open(&there, &place.access, &limits()).unwrap();
    assert_eq!(end(remote().names("")), End::Status(404));
    let error = remote().find("a").unwrap_err();
    let RemoteError::Failed { cause: Cause::Bucket { said, .. }, .. } = error else { panic!("{error:?}") };
    assert_eq!(said, "NoSuchBucket: It is not.");
    assert_eq!(end(publish(&remote(), "a", b"", &[])), End::Status(404));
    let mut wrong = place.access.clone();
    wrong.s3_keys.as_mut().unwrap().secret_access_key.push('x');
    assert_eq!(end(place.open_as(&wrong).names("")), End::Status(403));
}

#[test]
fn what_lies_damaged_is_seen_and_does_not_turn_the_remote_off() {
    for place in places() {
        let kind = place.kind;
        let (good, bad) = (noise(1, 100_000), noise(2, 100_000));
        publish(&place.open(), "good", b"head", &[&good]).unwrap();
        publish(&place.open(), "bad", b"head", &[&bad]).unwrap();
        let file = place.file_of(&Digest::of(&bad));
        let mut flipped = bad.clone();
        flipped[50_000] ^= 4;
        let longer = [&bad[..], b"x"].concat();
        for (what, bytes, expected) in [
            ("flipped", Some(&flipped[..]), End::Damaged),
            ("longer", Some(&longer[..]), End::Damaged),
            ("missing", None, End::Missing),
        ] {
            match bytes {
                Some(bytes) => fs::write(&file, bytes).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let remote = place.open();
            assert_eq!(end(fetch(&remote, "bad")), expected, "{kind} {what}");
            assert_eq!(end(fetch(&remote, "good")), End::Well, "{kind} {what}");
        }
    }
}

#[test]
fn a_source_that_fails_publishes_nothing() {
    for place in places() {
        let (remote, kind) = (place.open(), place.kind);
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), b"short").unwrap();
        let missing = file.path().with_extension("missing");
        for path in [file.path(), &missing] {
            let blob = info(&noise(1, 100_000));
            let upload = Upload { blob, bytes: Bytes::File(path) };
            assert_eq!(end(remote.publish("a", b"head", &[upload])), End::Source, "{kind} {path:?}");
            assert_eq!(remote.find("a").unwrap(), None, "{kind}");
            assert!(remote.names("").unwrap().is_empty(), "{kind}");
        }
        publish(&remote, "a", b"head", &[]).unwrap();
    }
}

#[test]
fn a_blob_with_another_content_is_never_kept_under_its_name() {
    for place in places() {
        let kind = place.kind;
        let promised = noise(1, 50_000);
        let upload = Upload { blob: info(&promised), bytes: Bytes::Memory(&noise(2, 50_000)) };
        assert_eq!(end(place.open().publish("a", b"head", &[upload])), End::Source, "{kind}");
        let remote = place.open();
        assert_eq!(remote.find("a").unwrap(), None, "{kind}");
        publish(&remote, "a", b"head", &[&promised]).unwrap();
        assert!(fetch(&remote, "a").unwrap().unwrap().1 == [promised], "{kind}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_can_be_read() {
    let place = folder();
    publish(&place.open(), "a", b"head", &[b"blob"]).unwrap();
    if rustix_is_root() {
        return skipped("a folder without permission", "root may write everywhere");
    }
    let Location::Folder { path } = &place.location else { unreachable!() };
    for folder in ["entries", "blobs/sha256"] {
        fs::set_permissions(path.join(folder), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let remote = place.open();
    assert!(publish(&remote, "b", b"head", &[]).is_err());
    assert_eq!(end(publish(&remote, "b", b"head", &[])), End::Off);
    assert_eq!(end(fetch(&remote, "a")), End::Well);
}

#[test]
fn a_folder_with_something_else_in_its_place_says_so() {
    let place = folder();
    let Location::Folder { path } = &place.location else { unreachable!() };
    fs::write(path, b"a file").unwrap();
    for error in [
        place.open().names("").unwrap_err(),
        place.open().find("a").unwrap_err(),
        publish(&place.open(), "a", b"", &[]).unwrap_err(),
    ] {
        assert!(matches!(error, RemoteError::Failed { cause: Cause::Folder { .. }, .. }), "{error:?}");
    }
}

fn rustix_is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}
