//! What a store that is not as it should be gets: a typed error with the path.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use carrack_base::Cancel;
use carrack_store::{Bucket, Store, StoreError};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::fixture::{Fixture, skip, unprivileged};

fn open_error(root: &Path) -> StoreError {
    Store::open(root).unwrap_err()
}

#[test]
fn other_formats_are_refused() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let format = fixture.at("format");
    fs::write(&format, "7\n").unwrap();
    let error = open_error(&fixture.root());
    assert!(
        matches!(&error, StoreError::NewerFormat { path, found: 7, known: 1 } if *path == format),
        "{error}"
    );
    for text in ["", "one\n", "0\n", "-1\n", "1.5", "\u{fffd}", "99999999999999999999999\n"] {
        fs::write(&format, text).unwrap();
        let error = open_error(&fixture.root());
        assert!(matches!(&error, StoreError::DamagedFormat { path } if *path == format), "{text}: {error}");
    }
}

#[test]
fn a_damaged_index_says_what_to_delete_and_deleting_it_helps() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let blob = store.put_bytes(b"blob").unwrap();
    store.put(Bucket::Step, b"key", "value").unwrap();
    drop(store);
    let index = fixture.at("index.db");
    let sound = fs::read(&index).unwrap();
    let mut broken_page = sound.clone();
    broken_page[100..].fill(0xff);
    for bytes in [b"this is no database, it is a text file".repeat(50), Vec::new(), broken_page] {
        fs::write(&index, &bytes).unwrap();
        let error = match Store::open(&fixture.root()) {
            Err(error) => error,
            Ok(store) => store.get(Bucket::Step, b"key").unwrap_err(),
        };
        assert!(matches!(&error, StoreError::DamagedIndex { path, .. } if *path == index), "{error}");
        assert!(error.to_string().contains("delete it"), "{error}");

        fs::remove_file(&index).unwrap();
        let store = fixture.open();
        assert_eq!(store.get(Bucket::Step, b"key").unwrap(), None);
        assert_eq!(store.read_blob_verified(&blob).unwrap(), b"blob");
    }
}

#[test]
fn the_log_of_a_deleted_index_is_not_replayed() {
    let fixture = Fixture::new();
    let store = fixture.open();
    store.put(Bucket::Step, b"key", "old").unwrap();
    let log = fs::read(fixture.at("index.db-wal")).unwrap();
    assert!(!log.is_empty());
    drop(store);
    fs::write(fixture.at("index.db-wal"), log).unwrap();
    fs::remove_file(fixture.at("index.db")).unwrap();
    let store = fixture.open();
    assert_eq!(store.get(Bucket::Step, b"key").unwrap(), None);
    store.put(Bucket::Step, b"key", "new").unwrap();
}

#[test]
fn a_creation_that_was_cut_short_is_finished() {
    let fixture = Fixture::new();
    drop(fixture.open());
    fs::remove_file(fixture.at("format")).unwrap();
    fs::remove_file(fixture.at("index.db")).unwrap();
    fs::remove_dir(fixture.at("scratch")).unwrap();
    fs::write(fixture.at("index.db.new"), "half").unwrap();
    fs::write(fixture.at("format.new"), "").unwrap();
    let store = fixture.open();
    store.put(Bucket::Step, b"key", "value").unwrap();
    drop(store.scratch().unwrap());
    assert!(fixture.at("format").exists());
}

#[test]
fn a_root_that_is_a_file_is_named() {
    let fixture = Fixture::new();
    fs::write(fixture.root(), "").unwrap();
    let error = open_error(&fixture.root());
    assert!(matches!(&error, StoreError::Io { path, .. } if path.starts_with(fixture.root())), "{error}");
}

#[test]
fn a_store_that_this_user_may_not_write_is_named() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(fixture.root().parent().unwrap(), 0o755);
    mode(&fixture.at("index.db"), 0o444);
    mode(&fixture.root(), 0o555);
    let root = fixture.root();
    unprivileged("a_store_that_this_user_may_not_write_is_named", move || {
        let index = root.join("index.db");
        let error = open_error(&root);
        assert!(matches!(&error, StoreError::ReadOnly { path } if *path == index), "{error:?}");
        let error = open_error(&root.join("below"));
        let below = root.join("below");
        assert!(matches!(&error, StoreError::Io { path, .. } if *path == below), "{error:?}");
    });
    mode(&fixture.root(), 0o000);
    let root = fixture.root();
    unprivileged("a_store_that_this_user_may_not_write_is_named", move || {
        let error = open_error(&root);
        assert!(matches!(&error, StoreError::Io { path, .. } if path.starts_with(&root)), "{error:?}");
        let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
    });
    // The temporary folder's removal needs to get in again.
    mode(&fixture.root(), 0o755);
}

/// A file system of a few MiB, unmounted when dropped.
struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    fn mount(path: &'p Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        rustix::mount::mount("none", path, "tmpfs", MountFlags::empty(), Some(c"size=2m")).ok()?;
        Some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_told_with_the_path_and_leaves_the_store_sound() {
    let fixture = Fixture::new();
    let root = fixture.root();
    let Some(_disk) = SmallDisk::mount(&root) else {
        skip("a_full_disk_is_told_with_the_path_and_leaves_the_store_sound", "mounting takes root");
        return;
    };
    let store = fixture.open();
    store.put(Bucket::Step, b"key", "value").unwrap();
    let small = store.put_bytes(b"small").unwrap();

    let mut writer = store.blob_writer().unwrap();
    let error = std::iter::repeat_with(|| writer.write_all(&[7; 100_000]))
        .take(100)
        .find_map(Result::err)
        .expect("10 MB do not fit");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("scratch/"), "{error}");
    drop(writer);

    let error = store.put_bytes(&[7; 10_000_000]).unwrap_err();
    assert!(matches!(&error, StoreError::DiskFull { path, .. } if path.starts_with(&root)), "{error:?}");

    let error = (0..100_u8)
        .find_map(|key| store.put(Bucket::Step, &[key], vec![key; 100_000]).err())
        .expect("10 MB do not fit");
    assert!(matches!(&error, StoreError::DiskFull { path, .. } if path.starts_with(&root)), "{error:?}");

    assert_eq!(store.get(Bucket::Step, b"key").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.read_blob_verified(&small).unwrap(), b"small");
    drop(store);
    fs::write(root.join("filler"), vec![0; 4_000_000]).unwrap_err();
    fs::remove_file(root.join("filler")).unwrap();
    let store = fixture.open();
    assert_eq!(store.get(Bucket::Step, b"key").unwrap().as_deref(), Some(&b"value"[..]));
    drop(store.lease(&Cancel::default()).unwrap());
}
