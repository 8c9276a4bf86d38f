use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use carrack_base::Cancel;
use carrack_store::StoreError;

use crate::fixture::{Fixture, Helper, unprivileged};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn places_are_made_and_bad_names_refused() {
    let fixture = Fixture::new();
    let store = fixture.open();
    assert_eq!(store.cargo_home("abc").unwrap(), fixture.at("cargo/abc"));
    assert!(fixture.at("cargo/abc").is_dir());
    assert_eq!(store.stat_cache_path("0-f_1.x").unwrap(), fixture.at("stat/0-f_1.x"));
    assert!(fixture.at("stat").is_dir());
    for id in ["", ".", "..", ".hidden", "a/b", "../x", "a b", "é", &"x".repeat(201)] {
        let error = store.cargo_home(id).unwrap_err();
        assert!(matches!(&error, StoreError::BadId { id: named } if named == id), "{error}");
        assert!(store.stat_cache_path(id).is_err());
        assert!(store.target(id, &Cancel::default(), |_| ()).is_err());
    }
}

#[test]
fn a_target_folder_has_one_holder_and_the_other_learns_who() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let holder = Helper::start("hold target", &fixture.root());

    let cancel = Cancel::default();
    let mut told = None;
    let error = store
        .target("workspace", &cancel, |pid| {
            told = Some(pid);
            cancel.cancel(2);
        })
        .unwrap_err();
    assert!(matches!(error, StoreError::Cancelled { .. }), "{error}");
    assert_eq!(told, Some(Some(holder.pid())));

    let other = store.target("another", &Cancel::default(), |_| panic!("nobody holds it")).unwrap();
    assert_eq!(other.path(), fixture.at("targets/another"));

    let mut holder = Some(holder);
    let target = store.target("workspace", &Cancel::default(), |_| holder.take().unwrap().kill()).unwrap();
    assert!(holder.is_none(), "it had to wait");
    fs::write(target.path().join("kept"), "x").unwrap();
    drop(target);
    let again = store.target("workspace", &Cancel::default(), |_| panic!("it was let go")).unwrap();
    assert!(again.path().join("kept").exists());
}

#[test]
fn threads_of_one_process_exclude_each_other_too() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let held = store.target("workspace", &Cancel::default(), |_| ()).unwrap();
    let cancel = Cancel::default();
    let error = store
        .target("workspace", &cancel, |pid| {
            assert_eq!(pid, Some(std::process::id()));
            cancel.cancel(15);
        })
        .unwrap_err();
    assert!(matches!(error, StoreError::Cancelled { .. }), "{error}");
    drop(held);
}

/// What overlay and cargo leave behind: folders without any permission, read-only folders, symlinks to elsewhere.
fn fill_with_trouble(folder: &Path, elsewhere: &Path) {
    fs::create_dir_all(folder.join("work/work/deep")).unwrap();
    fs::write(folder.join("work/work/deep/file"), "x").unwrap();
    fs::create_dir_all(folder.join("registry")).unwrap();
    fs::write(folder.join("registry/file"), "x").unwrap();
    symlink(elsewhere, folder.join("link")).unwrap();
    symlink(elsewhere, folder.join("work/link")).unwrap();
    mode(&folder.join("registry"), 0o555);
    mode(&folder.join("work/work"), 0o000);
}

#[test]
fn a_scratch_folder_goes_whatever_is_in_it() {
    let fixture = Fixture::new();
    // The unprivileged thread has to get in and to write.
    mode(fixture.root().parent().unwrap(), 0o777);
    let (root, home) = (fixture.root(), fixture.root().parent().unwrap().to_owned());
    unprivileged("a_scratch_folder_goes_whatever_is_in_it", move || {
        let elsewhere = home.join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("precious"), "x").unwrap();
        let store = carrack_store::Store::open(&root).unwrap();
        let (one, two) = (store.scratch().unwrap(), store.scratch().unwrap());
        assert_ne!(one.path(), two.path());
        fill_with_trouble(one.path(), &elsewhere);
        let path = one.path().to_owned();
        drop(one);
        assert!(!path.exists());
        assert!(two.path().exists());
        drop(two);
        assert_eq!(fs::read_dir(root.join("scratch")).unwrap().count(), 0);
        assert!(elsewhere.join("precious").exists());
        mode(&elsewhere, 0o700);
    });
}

#[test]
fn scratch_folders_of_dead_processes_are_swept_and_of_living_ones_not() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let dead = Helper::start("hold scratch", &fixture.root());
    let alive = Helper::start("hold scratch", &fixture.root());
    let mine = store.scratch().unwrap();
    fs::create_dir(fixture.at("scratch/999999-0")).unwrap();
    fs::create_dir(fixture.at("scratch/not ours")).unwrap();
    let folder_of = |pid: u32| fixture.at(&format!("scratch/{pid}-0"));
    let (dead_folder, alive_folder) = (folder_of(dead.pid()), folder_of(alive.pid()));
    fill_with_trouble(&dead_folder, &fixture.root());

    drop(store.lease(&Cancel::default()).unwrap());
    assert!(dead_folder.join("file").exists(), "it lives still");
    dead.kill();
    drop(store.lease(&Cancel::default()).unwrap());
    assert!(!dead_folder.exists());
    assert!(alive_folder.join("file").exists());
    assert!(mine.path().exists());
    assert!(!fixture.at("scratch/999999-0").exists(), "a folder whose maker died before it locked it");
    assert!(fixture.at("scratch/not ours").exists());
    alive.finish();
    assert!(!alive_folder.exists());
}

#[test]
fn scratch_folders_survive_sweepers_that_come_by_while_they_are_made() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        let sweepers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !cancel.is_cancelled() {
                        drop(fixture.open().lease(&Cancel::default()).unwrap());
                    }
                })
            })
            .collect();
        // Nothing may panic before the sweepers are told to stop.
        let swept = (0..300).filter(|_| {
            let scratch = store.scratch();
            !scratch.is_ok_and(|scratch| {
                fs::write(scratch.path().join("file"), "x").is_ok() && scratch.path().join("lock").exists()
            })
        });
        let swept = swept.count();
        cancel.cancel(15);
        sweepers.into_iter().for_each(|sweeper| sweeper.join().unwrap());
        assert_eq!(swept, 0);
    });
}
