use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use carrack_base::{Cancel, ContentDigest, UnitContent, UnitFile};
use carrack_store::{NewUnit, PruneRule, Pruned, Store, StoreError, Taking, UnitAge, UnitRow};
use rusqlite::Connection;

use crate::fixture::{Fixture, Helper, files_below};

const OLD: i64 = 946_684_800;
const NEW: i64 = 2_145_830_400;
const DAY: i64 = 24 * 60 * 60;

pub(crate) fn id(name: &str) -> ContentDigest {
    ContentDigest::of(name.as_bytes())
}

fn realm() -> ContentDigest {
    id("realm")
}

/// Writes the files of a unit into `folder`, each with `content`, and lists them. `*` before a path: executable.
pub(crate) fn unit(folder: &Path, name: &str, needs: &[&str], content: &str, paths: &[&str]) -> NewUnit {
    let write = |path: &&str| {
        let (path, executable) = path.strip_prefix('*').map_or((*path, false), |path| (path, true));
        let place = folder.join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, content).unwrap();
        let digest = ContentDigest::of(content.as_bytes());
        let content = UnitContent::File { digest, size: content.len() as u64, executable };
        UnitFile { path: path.to_owned(), content }
    };
    NewUnit {
        id: id(name),
        realm: realm(),
        package: format!("{name} 1.0.0"),
        workspace: "here".to_owned(),
        record: name.as_bytes().to_vec(),
        needs: needs.iter().map(|name| id(name)).collect(),
        files: paths.iter().map(write).collect(),
        age: UnitAge::Old,
        from: folder.into(),
    }
}

/// A unit that is like one of a library, 100 bytes in each of its two files.
fn library(fixture: &Fixture, name: &str, needs: &[&str]) -> NewUnit {
    let paths = [format!("release/deps/lib{name}.rlib"), format!("release/.fingerprint/{name}/lib")];
    let content = format!("{name:100}");
    unit(&fixture.at("../made"), name, needs, &content, &paths.each_ref().map(|path| &path[..]))
}

fn keep(fixture: &Fixture, store: &Store, libraries: &[(&str, &[&str])]) {
    let units = libraries.iter().map(|(name, needs)| library(fixture, name, needs)).collect();
    assert_eq!(store.keep_units(units, Taking::Move).unwrap(), libraries.len());
}

/// A unit with everything that there can be in one.
fn everything(folder: &Path) -> NewUnit {
    let mut unit = unit(
        folder,
        "everything",
        &[],
        "content",
        &[
            "*release/build/x-1/build-script-build",
            "*release/deps/server-1",
            "release/build/x-1/out/deep/gen.rs",
            "release/build/x-1/output",
            "release/deps/libx-1.rlib",
            "release/deps/x-1.d",
        ],
    );
    unit.age = UnitAge::Ran;
    fs::create_dir_all(folder.join("release/build/x-1/out/empty")).unwrap();
    symlink("../../no/such", folder.join("release/build/x-1/out/link")).unwrap();
    let listed = |path: &str, content| UnitFile { path: path.to_owned(), content };
    unit.files.push(listed("release/build/x-1/out/empty", UnitContent::Folder));
    let to = "../../no/such".to_owned();
    unit.files.push(listed("release/build/x-1/out/link", UnitContent::Link { to }));
    unit
}

/// Path, mode, modification time and content of all that is below a folder; folders' own times only where they matter.
fn look(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let time = metadata.mtime();
            if metadata.is_dir() {
                if name.contains("/out") {
                    lines.push(format!("{name} {time}"));
                }
                pending.push(path);
            } else if metadata.is_symlink() {
                lines.push(format!("{name} {time} -> {}", fs::read_link(&path).unwrap().display()));
            } else {
                let content = fs::read_to_string(&path).unwrap();
                lines.push(format!("{name} {time} {:o} {content}", metadata.mode() & 0o7777));
            }
        }
    }
    lines.sort();
    lines
}

fn what_everything_is() -> Vec<String> {
    vec![
        format!("release/build/x-1/build-script-build {NEW} 755 content"),
        format!("release/build/x-1/out {OLD}"),
        format!("release/build/x-1/out/deep {OLD}"),
        format!("release/build/x-1/out/deep/gen.rs {OLD} 644 content"),
        format!("release/build/x-1/out/empty {OLD}"),
        format!("release/build/x-1/out/link {OLD} -> ../../no/such"),
        format!("release/build/x-1/output {NEW} 644 content"),
        format!("release/deps/libx-1.rlib {NEW} 644 content"),
        format!("release/deps/server-1 {NEW} 755 content"),
        format!("release/deps/x-1.d {NEW} 644 content"),
    ]
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

fn names(rows: &[UnitRow]) -> Vec<&str> {
    rows.iter().map(|row| str::from_utf8(&row.record).unwrap()).collect()
}

fn index(fixture: &Fixture) -> Connection {
    Connection::open(fixture.at("index.db")).unwrap()
}

/// As if the machine had been started anew since everything was written.
fn restart(fixture: &Fixture) {
    index(fixture).execute("UPDATE unit SET boot = 'another'", []).unwrap();
}

fn place(fixture: &Fixture, id: &ContentDigest) -> PathBuf {
    let hex = id.to_string();
    fixture.at("units").join(&hex[..2]).join(hex)
}

/// Everything that is not a temporary leftover: the folders of units and seeds.
fn kept_folders(fixture: &Fixture) -> (usize, usize) {
    let count = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
    let units = fs::read_dir(fixture.at("units")).unwrap();
    (units.map(|folder| count(&folder.unwrap().path())).sum(), count(&fixture.at("seeds")))
}

#[test]
fn a_unit_comes_back_as_it_was_listed() {
    for taking in [Taking::Move, Taking::Copy] {
        let fixture = Fixture::new();
        let store = fixture.open();
        let from = fixture.at("../made");
        let unit = everything(&from);
        let messy = from.join("release/deps/libx-1.rlib");
        fs::set_permissions(&messy, fs::Permissions::from_mode(0o400)).unwrap();
        fs::write(from.join("release/deps/unlisted"), "x").unwrap();
        let inode_before = inode(&messy);
        assert_eq!(store.keep_units(vec![unit.clone()], taking).unwrap(), 1);

        let folder = store.unit_folder(&unit.id).unwrap();
        assert_eq!(look(&folder), what_everything_is(), "{taking:?}");
        assert_eq!(inode(&folder.join("release/deps/libx-1.rlib")) == inode_before, taking == Taking::Move);
        assert_eq!(messy.exists(), taking == Taking::Copy);
        assert_eq!(store.unit_files(&unit.id).unwrap(), Some(unit.files.clone()));
        let row = store.units(&realm()).unwrap().pop().unwrap();
        let (created_at, used_at) = (row.created_at, row.used_at);
        let expected = UnitRow {
            id: unit.id,
            realm: realm(),
            package: "everything 1.0.0".to_owned(),
            workspace: "here".to_owned(),
            size: 42,
            needs: Vec::new(),
            record: b"everything".to_vec(),
            age: UnitAge::Ran,
            created_at,
            used_at,
        };
        assert_eq!(row, expected);
        assert_eq!(store.units(&id("other realm")).unwrap(), []);
        assert_eq!(store.unit_usage().unwrap().len(), 1);
        assert_eq!(store.units_size().unwrap(), 42);
        assert_eq!(fs::read_dir(fixture.at("scratch")).unwrap().count(), 0);
    }
}

#[test]
fn a_unit_is_kept_once() {
    let fixture = Fixture::new();
    let store = fixture.open();
    keep(&fixture, &store, &[("a", &[])]);
    let inode_before = inode(&place(&fixture, &id("a")));
    let twice =
        vec![library(&fixture, "a", &[]), library(&fixture, "b", &["a"]), library(&fixture, "b", &["a"])];
    assert_eq!(store.keep_units(twice, Taking::Copy).unwrap(), 1);
    assert_eq!(inode(&place(&fixture, &id("a"))), inode_before);
    assert_eq!(store.units(&realm()).unwrap().len(), 2);
}

#[test]
fn what_is_not_as_it_was_said_to_be_is_not_kept() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let check = |change: &dyn Fn(&mut NewUnit)| {
        let mut unit = library(&fixture, "a", &[]);
        change(&mut unit);
        let error = store.keep_units(vec![unit], Taking::Copy).unwrap_err();
        assert_eq!(store.units(&realm()).unwrap(), []);
        assert_eq!(kept_folders(&fixture), (0, 0));
        error
    };
    let file = fixture.at("../made/release/deps/liba.rlib");
    for change in [
        &|_: &mut NewUnit| fs::write(&file, "longer than it was").unwrap() as _,
        &|_: &mut NewUnit| fs::remove_file(&file).unwrap(),
        &|_: &mut NewUnit| {
            fs::remove_file(&file).unwrap();
            symlink("/etc/passwd", &file).unwrap();
        },
    ] as [&dyn Fn(&mut NewUnit); 3]
    {
        let error = check(change);
        assert!(matches!(&error, StoreError::UnitChanged { path, .. } if *path == file), "{error}");
        let _ = fs::remove_file(&file);
    }
    for path in ["", "/etc/x", "../x", "a/../x", "a//x", "./a", "a/", "release/deps/liba.rlib/x"] {
        let error = check(&|unit| {
            let content = UnitContent::Folder;
            unit.files.push(UnitFile { path: path.to_owned(), content });
        });
        assert!(matches!(&error, StoreError::BadUnitPath { file, .. } if file == path), "{path}: {error}");
    }
}

#[test]
fn a_seed_is_hard_links_and_is_made_once() {
    let fixture = Fixture::new();
    let store = fixture.open();
    keep(&fixture, &store, &[("a", &[]), ("b", &["a"])]);
    let whole = everything(&fixture.at("../made"));
    store.keep_units(vec![whole.clone()], Taking::Move).unwrap();

    let seed = store.seed(&[whole.id]).unwrap();
    assert_eq!(look(&seed.path), what_everything_is());
    for file in files_below(&seed.path) {
        let kept = place(&fixture, &whole.id).join(file.strip_prefix(&seed.path).unwrap());
        assert!(file.is_symlink() || inode(&file) == inode(&kept), "{}", file.display());
    }

    let seed = store.seed(&[id("b"), id("a"), id("b"), id("no such")]).unwrap();
    let mut both = vec![id("a"), id("b")];
    both.sort();
    assert_eq!((&seed.units, &seed.missing), (&both, &vec![id("no such")]));
    assert_eq!((&seed.left_out[..], seed.reused), (&[][..], false));
    assert_eq!(files_below(&seed.path).len(), 4);
    let again = store.seed(&[id("a"), id("b")]).unwrap();
    assert_eq!((&again.path, &again.units, again.reused), (&seed.path, &both, true));
    assert_ne!(store.seed(&[id("a")]).unwrap().path, seed.path);
    assert_eq!(fs::read_dir(store.seed(&[]).unwrap().path).unwrap().count(), 0);
}

#[test]
fn a_unit_goes_nowhere_without_what_it_needs() {
    let fixture = Fixture::new();
    let store = fixture.open();
    keep(&fixture, &store, &[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]);
    fs::remove_dir_all(place(&fixture, &id("a"))).unwrap();
    let all = ["a", "b", "c", "d"].map(id);
    let mut dependents = vec![id("b"), id("c")];
    dependents.sort();

    let target = fixture.at("../target");
    let planted = store.plant(&all, &target).unwrap();
    assert_eq!((&planted.planted, &planted.missing), (&vec![id("d")], &vec![id("a")]));
    assert_eq!(planted.left_out, dependents);
    assert_eq!(files_below(&target).len(), 2);
    assert_eq!(store.units(&realm()).unwrap().len(), 3, "what is missing has no row");

    fs::remove_file(place(&fixture, &id("d")).join("release/deps/libd.rlib")).unwrap();
    let seed = store.seed(&all).unwrap();
    assert_eq!((seed.units, seed.left_out), (vec![], dependents));
    assert_eq!(seed.missing.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([id("a"), id("d")]));
}

#[test]
fn units_in_each_others_way_do_not_mix() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let at = |folder: &str, name: &str, needs: &[&str], content: &str, paths: &[&str]| {
        unit(&fixture.at("..").join(folder), name, needs, content, paths)
    };
    store
        .keep_units(
            vec![
                at("1", "one", &[], "same", &["deps/libx.rlib", "deps/one"]),
                at("2", "two", &[], "same", &["deps/libx.rlib", "deps/two"]),
                at("3", "three", &["three's own"], "other", &["deps/libx.rlib", "deps/three"]),
                at("4", "needs one", &["one"], "x", &["deps/4"]),
                at("5", "needs three", &["three"], "x", &["deps/5"]),
                at("6", "folder", &[], "x", &["deps/one/file"]),
            ],
            Taking::Move,
        )
        .unwrap();
    let all = ["one", "two", "three", "needs one", "needs three", "folder"].map(id);
    let seed = store.seed(&all).unwrap();
    assert_eq!(seed.units.len() + seed.left_out.len(), all.len());
    assert_eq!(seed.units.contains(&id("one")), seed.units.contains(&id("needs one")));
    assert_eq!(seed.units.contains(&id("three")), seed.units.contains(&id("needs three")));
    let again = store.seed(&all).unwrap();
    assert_eq!((&again.units, &again.left_out, again.reused), (&seed.units, &seed.left_out, true));

    let target = fixture.at("../target");
    let planted = store.plant(&all, &target).unwrap();
    assert_eq!((&planted.planted, &planted.left_out), (&seed.units, &seed.left_out));
    assert_eq!(look(&target), look(&seed.path));

    let pair = store.plant(&[id("one"), id("two")], fixture.at("../pair")).unwrap();
    assert_eq!(pair.planted.len(), 2, "the file that they have in common is the same");
    assert_eq!(files_below(&fixture.at("../pair")).len(), 3);
}

#[test]
fn plant_links_what_is_replaced_and_copies_what_is_written() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let whole = everything(&fixture.at("../made"));
    store.keep_units(vec![whole.clone()], Taking::Move).unwrap();
    let target = fixture.at("../target");
    let planted = store.plant(&[whole.id], &target).unwrap();
    assert_eq!(planted.planted, [whole.id]);
    assert_eq!((planted.linked, planted.copied), (3, 3));
    assert_eq!(look(&target), what_everything_is());
    for file in files_below(&target).iter().filter(|file| !file.is_symlink()) {
        let path = file.strip_prefix(&target).unwrap();
        let linked = inode(file) == inode(&place(&fixture, &whole.id).join(path));
        let name = path.file_name().unwrap().to_str().unwrap();
        let expected = ["build-script-build", "server-1", "libx-1.rlib"].contains(&name);
        assert_eq!(linked, expected, "{name}");
    }
    let again = store.plant(&[whole.id], &target).unwrap();
    assert_eq!((&again.there[..], again.linked + again.copied), (&[whole.id][..], 0));
}

#[test]
fn plant_overwrites_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    keep(&fixture, &store, &[("a", &[]), ("b", &["a"]), ("c", &[]), ("d", &[])]);
    let target = fixture.at("../target");
    fs::create_dir_all(target.join("release/deps")).unwrap();
    fs::write(target.join("release/deps/liba.rlib"), "the user's").unwrap();
    fs::write(target.join("release/.fingerprint"), "not a folder").unwrap();
    let planted = store.plant(&["a", "b", "c", "d"].map(id), &target).unwrap();
    assert_eq!((planted.skipped.len(), planted.linked, planted.copied), (4, 0, 0), "{planted:?}");
    assert_eq!(files_below(&target).len(), 2);

    fs::remove_file(target.join("release/.fingerprint")).unwrap();
    let planted = store.plant(&["a", "b", "c", "d"].map(id), &target).unwrap();
    assert_eq!((&planted.skipped, &planted.left_out), (&vec![id("a")], &vec![id("b")]));
    assert_eq!(planted.planted.len(), 2);
    assert_eq!(fs::read(target.join("release/deps/liba.rlib")).unwrap(), b"the user's");
    assert!(!target.join("release/.fingerprint/a").exists());
}

#[test]
fn what_was_copied_from_a_target_folder_can_be_like_what_was_planted() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let made = fixture.at("../made");
    let (whole, other) = (everything(&made), library(&fixture, "a", &[]));
    let ids = [whole.id, other.id];
    assert_eq!(store.newest_unit(&realm()).unwrap(), 0);
    store.keep_units(vec![whole.clone(), other], Taking::Copy).unwrap();
    let newest = store.newest_unit(&realm()).unwrap();
    assert!(newest > 0 && store.newest_unit(&id("another realm")).unwrap() == 0);
    assert_eq!(store.planted(&ids, &made).unwrap(), [], "their times are those of their making");
    store.settle(&ids, &made).unwrap();
    let mut sorted = ids.to_vec();
    sorted.sort();
    assert_eq!(store.planted(&ids, &made).unwrap(), sorted);
    assert_eq!(store.planted(&[ids[0], id("unknown")], &made).unwrap(), [ids[0]]);
    assert_eq!(store.plant(&ids, &made).unwrap().there, sorted);
    // What is made anew at the same place is not the kept one any more.
    fs::write(made.join("release/deps/liba.rlib"), format!("{:100}", "b")).unwrap();
    assert_eq!(store.planted(&ids, &made).unwrap(), [ids[0]]);
    keep(&fixture, &store, &[("c", &[])]);
    assert!(store.newest_unit(&realm()).unwrap() > newest);
}

#[test]
fn build_folders_are_emptied_unless_somebody_holds_one() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let target = store.target("one", &Cancel::default(), |_| {}).unwrap();
    assert_eq!(store.target_folders().unwrap(), [], "a lock alone is nothing");
    fs::create_dir(target.path().join("target")).unwrap();
    fs::write(target.path().join("target/file"), [1; 5000]).unwrap();
    fs::hard_link(target.path().join("target/file"), target.path().join("link")).unwrap();
    let folders = store.target_folders().unwrap();
    assert_eq!((folders.len(), &folders[0].id[..], folders[0].path.as_path()), (1, "one", target.path()));
    assert!((5000..10_000).contains(&folders[0].size), "a file with two names counts once: {folders:?}");
    assert!(!store.clear_target("one").unwrap());
    drop(target);
    // A child that another test is just starting has a copy of the lock until it runs its program.
    let is_emptied = || {
        store.clear_target("one").unwrap() || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            false
        }
    };
    assert!((0..100).any(|_| is_emptied()));
    assert_eq!(store.target_folders().unwrap(), []);
    assert!(fixture.at("targets/one/lock").exists());
}

#[test]
fn units_go_to_another_file_system_as_copies() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        crate::fixture::skip("units_go_to_another_file_system_as_copies", "there is no /dev/shm");
        return;
    };
    let whole = everything(&other.path().join("made"));
    store.keep_units(vec![whole.clone()], Taking::Move).unwrap();
    assert_eq!(look(&place(&fixture, &whole.id)), what_everything_is());
    let target = other.path().join("target");
    let planted = store.plant(&[whole.id], &target).unwrap();
    assert_eq!((planted.linked, planted.copied), (0, 6));
    assert_eq!(look(&target), what_everything_is());
}

#[test]
fn units_of_another_boot_are_verified_once() {
    let fixture = Fixture::new();
    let store = fixture.open();
    keep(&fixture, &store, &[("a", &[]), ("b", &["a"]), ("c", &[])]);
    let whole = everything(&fixture.at("../made"));
    store.keep_units(vec![whole.clone()], Taking::Move).unwrap();
    let ids = [id("a"), id("b"), id("c"), whole.id];
    restart(&fixture);
    let damaged = place(&fixture, &id("a")).join("release/deps/liba.rlib");
    fs::write(&damaged, format!("{:100}", "A")).unwrap();
    let lost_time = place(&fixture, &whole.id).join("release/deps/libx-1.rlib");
    fs::File::open(&lost_time).unwrap().set_modified(std::time::SystemTime::now()).unwrap();

    let seed = store.seed(&ids).unwrap();
    assert_eq!((&seed.missing[..], &seed.left_out[..]), (&[id("a")][..], &[id("b")][..]));
    assert_eq!(seed.units.len(), 2);
    assert_eq!(look(&place(&fixture, &whole.id)), what_everything_is());
    assert_eq!(store.unit_folder(&id("a")), None);
    assert!(!place(&fixture, &id("a")).exists());
    let unverified = "SELECT count(*) FROM unit WHERE boot IS NOT NULL";
    assert_eq!(index(&fixture).query_row(unverified, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    assert!(store.seed(&ids).unwrap().reused);

    // Once it is kept anew, the seed that is made has the new one.
    keep(&fixture, &store, &[("a", &[])]);
    let seed = store.seed(&ids).unwrap();
    assert_eq!((seed.units.len(), seed.reused), (4, false));

    for what in ["truncated", "removed", "a list that can't be read"] {
        restart(&fixture);
        let file = place(&fixture, &id("c")).join("release/deps/libc.rlib");
        match what {
            "truncated" => fs::write(&file, "").unwrap(),
            "removed" => fs::remove_file(&file).unwrap(),
            _ => drop(
                index(&fixture)
                    .execute("UPDATE unit SET files = x'00' WHERE id = ?1", [id("c").as_bytes()])
                    .unwrap(),
            ),
        }
        let planted = store.plant(&[id("c")], fixture.at("../target")).unwrap();
        assert_eq!(planted.missing, [id("c")], "{what}");
        assert!(!place(&fixture, &id("c")).exists(), "{what}");
        keep(&fixture, &store, &[("c", &[])]);
    }
}

#[test]
fn a_seed_does_not_outlive_its_units() {
    let fixture = Fixture::new();
    let store = fixture.open();
    keep(&fixture, &store, &[("a", &[]), ("b", &[])]);
    let before = store.seed(&[id("a")]).unwrap();
    let other = store.seed(&[id("b")]).unwrap();
    store.forget_units(&[id("a"), id("no such")]).unwrap();
    assert_eq!(store.seed(&[id("a")]).unwrap().missing, [id("a")]);
    keep(&fixture, &store, &[("a", &[])]);
    let after = store.seed(&[id("a")]).unwrap();
    assert!(!after.reused && after.path != before.path);
    assert_eq!(
        inode(&after.path.join("release/deps/liba.rlib")),
        inode(&place(&fixture, &id("a")).join("release/deps/liba.rlib"))
    );
    assert!(before.path.exists(), "a build that began before may use it still");

    // Unused for a day, or with a unit that is gone.
    index(&fixture)
        .execute("UPDATE seed SET used_at = used_at - 2 * 86400 WHERE units = ?1", [id("b").as_bytes()])
        .unwrap();
    store.forget_units(&[id("a")]).unwrap();
    let pruned = store.prune_units(Duration::ZERO, &PruneRule::default()).unwrap();
    assert_eq!((pruned.units, kept_folders(&fixture)), (0, (1, 1)), "the empty seed is of use still");
    assert!(!other.path.exists() && !before.path.exists() && !after.path.exists());
}

/// Sets when units were used, in days ago.
fn used(fixture: &Fixture, days: &[(&str, i64)]) {
    for (name, days) in days {
        let changed = index(fixture)
            .execute(
                "UPDATE unit SET used_at = unixepoch() - 100 - ?2 WHERE id = ?1",
                rusqlite::params![id(name).as_bytes(), days * DAY],
            )
            .unwrap();
        assert_eq!(changed, 1);
    }
}

fn sorted_names(store: &Store) -> Vec<String> {
    let rows = store.units(&realm()).unwrap();
    let mut names: Vec<String> = names(&rows).into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn the_least_recently_used_go_first_and_never_before_what_needs_them() {
    let check = |rule: PruneRule, kept: &[&str]| {
        let fixture = Fixture::new();
        let store = fixture.open();
        let made: [(&str, &[&str]); 5] =
            [("base", &[]), ("old", &["base"]), ("new", &["base"]), ("idle", &[]), ("top", &["old"])];
        keep(&fixture, &store, &made);
        index(&fixture)
            .execute("UPDATE unit SET workspace = 'there' WHERE package = 'top 1.0.0'", [])
            .unwrap();
        used(&fixture, &[("base", 50), ("idle", 40), ("old", 30), ("top", 30), ("new", 1)]);
        assert_eq!(store.units_size().unwrap(), 1000);
        let pruned = store.prune_units(Duration::ZERO, &rule).unwrap();
        assert_eq!(sorted_names(&store), kept, "{rule:?}");
        let gone = made.len() - kept.len();
        assert_eq!(pruned, Pruned { units: gone as u64, bytes: gone as u64 * 200, seeds: 0 }, "{rule:?}");
        assert_eq!(kept_folders(&fixture), (kept.len(), 0));
        assert_eq!(fs::read_dir(fixture.at("scratch")).unwrap().count(), 0);
    };
    let rule = PruneRule::default;
    let older_than = |days: u64| Some(days * 86400);
    let text = |text: &str| Some(text.to_owned());
    check(rule(), &["base", "idle", "new", "old", "top"]);
    check(PruneRule { older_than: older_than(45), ..rule() }, &["base", "idle", "new", "old", "top"]);
    check(PruneRule { older_than: older_than(35), ..rule() }, &["base", "new", "old", "top"]);
    check(PruneRule { older_than: older_than(20), ..rule() }, &["base", "new"]);
    check(PruneRule { keep_bytes: Some(1000), ..rule() }, &["base", "idle", "new", "old", "top"]);
    check(PruneRule { keep_bytes: Some(999), ..rule() }, &["base", "new", "old", "top"]);
    check(PruneRule { keep_bytes: Some(400), ..rule() }, &["base", "new"]);
    check(PruneRule { keep_bytes: Some(0), ..rule() }, &[]);
    check(PruneRule { older_than: older_than(35), keep_bytes: Some(500), ..rule() }, &["base", "new"]);
    check(PruneRule { all: true, ..rule() }, &[]);
    check(PruneRule { all: true, package: text("old"), ..rule() }, &["base", "idle", "new"]);
    check(PruneRule { all: true, package: text("old 1.0.0"), ..rule() }, &["base", "idle", "new"]);
    check(
        PruneRule { all: true, package: text("old 1.0.1"), ..rule() },
        &["base", "idle", "new", "old", "top"],
    );
    check(PruneRule { all: true, workspace: text("there"), ..rule() }, &["base", "idle", "new", "old"]);
    check(PruneRule { all: true, package: text("base"), ..rule() }, &["idle"]);
    check(
        PruneRule { older_than: older_than(35), package: text("base"), ..rule() },
        &["base", "idle", "new", "old", "top"],
    );
    check(
        PruneRule { keep_bytes: Some(900), package: text("new"), ..rule() },
        &["base", "idle", "old", "top"],
    );
}

#[test]
fn use_is_noted_once_a_day_and_orders_the_units() {
    let fixture = Fixture::new();
    let store = fixture.open();
    keep(&fixture, &store, &[("a", &[]), ("b", &[]), ("c", &[])]);
    used(&fixture, &[("a", 3), ("b", 2), ("c", 0)]);
    assert_eq!(names(&store.units(&realm()).unwrap()), ["c", "b", "a"]);
    let recently = store.units(&realm()).unwrap()[0].used_at;
    store.use_units(&["a", "c", "no such"].map(id));
    let rows = store.units(&realm()).unwrap();
    assert_eq!(names(&rows), ["a", "c", "b"]);
    assert!(rows[0].used_at >= recently + 100);
    assert_eq!(rows[1].used_at, recently);
    let usage: Vec<String> = store.unit_usage().unwrap().into_iter().map(|usage| usage.package).collect();
    assert_eq!(usage, ["a 1.0.0", "c 1.0.0", "b 1.0.0"]);
}

#[test]
fn nothing_is_pruned_while_a_build_runs() {
    let fixture = Fixture::new();
    let store = fixture.open();
    keep(&fixture, &store, &[("a", &[])]);
    let seed = store.seed(&[id("a")]).unwrap();
    let holder = Helper::start("hold lease", &fixture.root());
    let all = PruneRule { all: true, ..PruneRule::default() };
    let error = store.prune_units(Duration::from_millis(30), &all).unwrap_err();
    assert!(matches!(&error, StoreError::Busy { path, .. } if *path == fixture.at("lock")), "{error}");
    assert!(seed.path.is_dir() && store.unit_folder(&id("a")).is_some());
    std::thread::scope(|scope| {
        let pruning = scope.spawn(|| store.prune_units(Duration::from_secs(60), &all).unwrap());
        std::thread::sleep(Duration::from_millis(50));
        assert!(seed.path.is_dir());
        holder.kill();
        assert_eq!(pruning.join().unwrap(), Pruned { units: 1, bytes: 200, seeds: 1 });
    });
    assert_eq!(kept_folders(&fixture), (0, 0));
}

#[test]
fn what_a_crash_left_is_replaced_or_removed() {
    let fixture = Fixture::new();
    let store = fixture.open();
    keep(&fixture, &store, &[("a", &[]), ("b", &[]), ("c", &[])]);
    // Folders without rows, a row without a folder, a seed that is not known.
    index(&fixture).execute("DELETE FROM unit WHERE package IN ('a 1.0.0', 'b 1.0.0')", []).unwrap();
    fs::write(place(&fixture, &id("a")).join("release/deps/liba.rlib"), "half").unwrap();
    fs::remove_dir_all(place(&fixture, &id("c"))).unwrap();
    fs::create_dir_all(fixture.at("seeds/0000")).unwrap();
    assert_eq!(store.unit_folder(&id("a")), None);

    keep(&fixture, &store, &[("a", &[])]);
    let kept = fs::read_to_string(place(&fixture, &id("a")).join("release/deps/liba.rlib")).unwrap();
    assert_eq!(kept, format!("{:100}", "a"));
    store.collect(Duration::ZERO, |_| Ok(Vec::new())).unwrap();
    assert_eq!(sorted_names(&store), ["a"]);
    assert_eq!(kept_folders(&fixture), (1, 0));

    // A seed that got its place just before a crash is whole.
    let seed = store.seed(&[id("a")]).unwrap();
    index(&fixture).execute("DELETE FROM seed", []).unwrap();
    assert_eq!(store.seed(&[id("a")]).unwrap(), carrack_store::Seed { reused: true, ..seed });
}

#[test]
fn processes_keep_the_same_units_and_others_at_once() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let helpers: Vec<Helper> = std::thread::scope(|scope| {
        let starting: Vec<_> =
            (0..6).map(|_| scope.spawn(|| Helper::start("keep units", &fixture.root()))).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let store = fixture.open();
    let rows = store.units(&realm()).unwrap();
    assert_eq!(rows.len(), ROUNDS + helpers.len() * ROUNDS);
    verify_all(&fixture, &store);
    helpers.into_iter().for_each(Helper::finish);
    assert_eq!(fs::read_dir(fixture.at("scratch")).unwrap().count(), 0);
}

#[test]
fn a_killed_keeper_leaves_nothing_half() {
    let fixture = Fixture::new();
    for _ in 0..6 {
        Helper::start("keep units for ever", &fixture.root()).kill();
        let store = fixture.open();
        verify_all(&fixture, &store);
        drop(store.lease(&Cancel::default()).unwrap());
        assert_eq!(fs::read_dir(fixture.at("scratch")).unwrap().count(), 0);
        store.collect(Duration::ZERO, |_| Ok(Vec::new())).unwrap();
        assert_eq!(kept_folders(&fixture).0, store.units(&realm()).unwrap().len());
    }
}

/// Every row has its files, and they are those of the row and not another process's.
fn verify_all(fixture: &Fixture, store: &Store) {
    restart(fixture);
    let ids: Vec<ContentDigest> = store.units(&realm()).unwrap().into_iter().map(|row| row.id).collect();
    let seed = store.seed(&ids).unwrap();
    assert_eq!((seed.missing.len(), seed.left_out.len()), (0, 0));
    assert_eq!(files_below(&seed.path).len(), ids.len() * 2);
}

/// How many of each.
pub(crate) const ROUNDS: usize = 12;

/// What a process does that keeps units: those that all others keep too, with other content, and its own.
pub(crate) fn keep_some(store: &Store, rounds: usize, mut after: impl FnMut(usize)) {
    let folder = tempfile::tempdir().unwrap();
    let me = std::process::id().to_string();
    let _lease = store.lease(&Cancel::default()).unwrap();
    for round in 0..rounds {
        let unit = |name: &str| {
            let paths = [format!("deps/{name}.rlib"), format!(".fingerprint/{name}/lib")];
            unit(folder.path(), name, &[], &me.repeat(1000), &paths.each_ref().map(|path| &path[..]))
        };
        let units = vec![unit(&format!("all-{round}")), unit(&format!("{me}-{round}"))];
        store.keep_units(units, if round % 2 == 0 { Taking::Move } else { Taking::Copy }).unwrap();
        after(round);
    }
}

#[test]
fn an_index_of_schema_1_is_migrated_by_many_at_once() {
    let fixture = Fixture::new();
    drop(fixture.open());
    fs::remove_dir(fixture.at("units")).unwrap();
    fs::remove_dir(fixture.at("seeds")).unwrap();
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = fs::remove_file(fixture.at(name));
    }
    index(&fixture)
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE entry (
                 bucket INTEGER NOT NULL,
                 key BLOB NOT NULL,
                 used_at INTEGER NOT NULL,
                 value BLOB NOT NULL,
                 UNIQUE (bucket, key)
             ) STRICT;
             CREATE TABLE image (
                 name TEXT PRIMARY KEY NOT NULL,
                 manifest TEXT NOT NULL,
                 size INTEGER NOT NULL,
                 created_at INTEGER NOT NULL
             ) STRICT, WITHOUT ROWID;
             PRAGMA user_version = 1;
             INSERT INTO entry VALUES (3, x'6b6579', 5, x'76616c7565');
             INSERT INTO image VALUES ('a:1', 'sha256:' || hex(zeroblob(32)), 7, 8);",
        )
        .unwrap();
    let helpers: Vec<Helper> = std::thread::scope(|scope| {
        let starting: Vec<_> =
            (0..8).map(|_| scope.spawn(|| Helper::start("open", &fixture.root()))).collect();
        starting.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let store = fixture.open();
    assert_eq!(store.get(carrack_store::Bucket::Step, b"key").unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.images().unwrap().len(), 1);
    keep(&fixture, &store, &[("a", &[])]);
    assert_eq!(store.seed(&[id("a")]).unwrap().units, [id("a")]);
    helpers.into_iter().for_each(Helper::finish);

    index(&fixture).execute_batch("PRAGMA user_version = 3").unwrap();
    let error = Store::open(&fixture.root()).unwrap_err();
    assert!(matches!(&error, StoreError::NewerFormat { found: 3, known: 2, .. }), "{error}");
}
