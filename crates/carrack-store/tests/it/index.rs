use std::time::{SystemTime, UNIX_EPOCH};

use carrack_base::Digest;
use carrack_store::{Batch, Bucket, ImageRow};
use rusqlite::Connection;

use crate::fixture::Fixture;

#[test]
fn values_are_kept_by_bucket_and_key() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.put(Bucket::Plan, b"key", "plan").unwrap();
    store.put(Bucket::Step, b"key", "step").unwrap();
    store.put(Bucket::Step, b"\0\xff", vec![0, 255]).unwrap();
    store.put(Bucket::Step, b"key", "new step").unwrap();
    drop(store);

    let store = fixture.open();
    assert_eq!(store.get(Bucket::Plan, b"key").unwrap().as_deref(), Some(&b"plan"[..]));
    assert_eq!(store.get(Bucket::Step, b"key").unwrap().as_deref(), Some(&b"new step"[..]));
    assert_eq!(store.get(Bucket::Step, b"\0\xff").unwrap(), Some(vec![0, 255]));
    assert_eq!(store.get(Bucket::Record, b"key").unwrap(), None);
    store.delete(Bucket::Step, b"key").unwrap();
    store.delete(Bucket::Step, b"never there").unwrap();
    assert_eq!(store.get(Bucket::Step, b"key").unwrap(), None);
}

#[test]
fn a_batch_is_made_in_order() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let manifest = store.put_bytes(b"manifest").unwrap();
    let image = ImageRow { name: "a:1".to_owned(), manifest, size: u64::MAX, created_at: -5 };
    let mut batch = Batch::default();
    batch.put(Bucket::Step, b"key", "first");
    batch.put(Bucket::Step, b"key", "second");
    batch.put(Bucket::Latest, b"gone", "x");
    batch.delete(Bucket::Latest, b"gone");
    batch.tag_image(image.clone());
    batch.tag_image(ImageRow { name: "b:1".to_owned(), ..image.clone() });
    batch.untag("b:1");
    store.commit(batch).unwrap();
    assert_eq!(store.get(Bucket::Step, b"key").unwrap().as_deref(), Some(&b"second"[..]));
    assert_eq!(store.get(Bucket::Latest, b"gone").unwrap(), None);
    assert_eq!(store.images().unwrap(), [image]);
}

#[test]
fn a_batch_that_fails_changes_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    // The second change runs into a trigger that another connection set.
    let other = Connection::open(fixture.at("index.db")).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON image BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
        .unwrap();
    let mut batch = Batch::default();
    batch.put(Bucket::Step, b"key", "value");
    batch.tag_image(ImageRow { name: "a".to_owned(), manifest: Digest::of(b""), size: 0, created_at: 0 });
    let error = store.commit(batch).unwrap_err();
    assert!(error.to_string().contains("index.db"), "{error}");
    assert_eq!(store.get(Bucket::Step, b"key").unwrap(), None);
    store.put(Bucket::Step, b"key", "value").unwrap();
}

#[test]
fn use_is_noted_once_a_day_and_the_unused_is_forgotten() {
    let fixture = Fixture::new();
    let store = fixture.open();
    for key in [b"read", b"idle"] {
        store.put(Bucket::Step, key, "value").unwrap();
    }
    let other = Connection::open(fixture.at("index.db")).unwrap();
    let used_at = |key: &str| -> i64 {
        other
            .query_row("SELECT used_at FROM entry WHERE key = ?1", [key.as_bytes()], |row| row.get(0))
            .unwrap()
    };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    assert!((used_at("read") - now).abs() < 600);

    let recently = now - 3600;
    other.execute("UPDATE entry SET used_at = ?1", [recently]).unwrap();
    store.get(Bucket::Step, b"read").unwrap().unwrap();
    assert_eq!(used_at("read"), recently, "a read within a day writes nothing");

    let long_ago = now - 40 * 24 * 3600;
    other.execute("UPDATE entry SET used_at = ?1", [long_ago]).unwrap();
    store.get(Bucket::Step, b"read").unwrap().unwrap();
    assert!((used_at("read") - now).abs() < 600);
    assert_eq!(used_at("idle"), long_ago);

    assert_eq!(store.forget_unused(now - 30 * 24 * 3600).unwrap(), 1);
    assert!(store.get(Bucket::Step, b"read").unwrap().is_some());
    assert!(store.get(Bucket::Step, b"idle").unwrap().is_none());
}

#[test]
fn images_are_found_by_name() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    store.tag_image("server:latest", &one, 10, 100).unwrap();
    store.tag_image("server:1.0", &one, 10, 100).unwrap();
    store.tag_image("cli:latest", &two, 20, 200).unwrap();
    let names = |rows: Vec<ImageRow>| rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
    assert_eq!(names(store.images().unwrap()), ["cli:latest", "server:1.0", "server:latest"]);
    assert_eq!(
        store.image("cli:latest").unwrap(),
        Some(ImageRow { name: "cli:latest".to_owned(), manifest: two, size: 20, created_at: 200 })
    );
    assert_eq!(store.image("cli").unwrap(), None);

    store.tag_image("server:latest", &two, 20, 300).unwrap();
    assert_eq!(store.image("server:latest").unwrap().unwrap().manifest, two);
    assert!(store.untag("server:latest").unwrap());
    assert!(!store.untag("server:latest").unwrap());
    assert_eq!(names(store.images().unwrap()), ["cli:latest", "server:1.0"]);
}
