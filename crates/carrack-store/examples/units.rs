//! Measures what putting units back costs: `cargo run --release -p carrack-store --example units [folder]`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use carrack_base::{ContentDigest, UnitContent, UnitFile};
use carrack_store::{NewUnit, PruneRule, Store, Taking, UnitAge};
use rusqlite::Connection;

const UNITS: usize = 250;
const RUNS: usize = 7;

fn main() {
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => tempfile::tempdir_in(folder).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let root = folder.path().join("store");
    let made = folder.path().join("made");
    let units: Vec<NewUnit> = (0..UNITS).map(|number| unit(&made, number)).collect();
    let ids: Vec<ContentDigest> = units.iter().map(|unit| unit.id).collect();
    let files: usize = units.iter().map(|unit| unit.files.len()).sum();
    let store = Store::open(&root).unwrap();
    println!("{UNITS} units, {files} files");

    report("keep, by copies", 1, |_| {
        assert!(store.keep_units(units.clone(), Taking::Copy).unwrap() <= UNITS)
    });
    println!("{} MB", store.units_size().unwrap() / 1_000_000);
    report("keep, all known", RUNS, |_| {
        assert!(store.keep_units(units.clone(), Taking::Copy).unwrap() <= UNITS)
    });
    report("units of the realm", RUNS, |_| drop(store.units(&units[0].realm).unwrap()));
    report("note use", RUNS, |_| store.use_units(&ids));
    // One less each time, so that each is new.
    report("seed, new", RUNS, |run| assert!(!store.seed(&ids[run..]).unwrap().reused));
    report("seed, reused", RUNS, |_| assert!(store.seed(&ids).unwrap().reused));
    let targets: Vec<PathBuf> = (0..RUNS).map(|run| folder.path().join(format!("target-{run}"))).collect();
    report("plant", RUNS, |run| {
        let planted = store.plant(&ids, &targets[run]).unwrap();
        assert_eq!((planted.planted.len(), planted.linked), (UNITS, UNITS * 3));
    });
    report("plant, all there", RUNS, |run| {
        assert_eq!(store.plant(&ids, &targets[run]).unwrap().there.len(), UNITS);
    });
    let index = Connection::open(root.join("index.db")).unwrap();
    index.execute("UPDATE unit SET boot = 'another'", []).unwrap();
    report("seed, units verified, farm reused", 1, |_| drop(store.seed(&ids).unwrap()));
    // After creations: some file systems are slow to create what takes the place of something just deleted.
    report("forget", 1, |_| store.forget_units(&ids).unwrap());
    report("keep, by renames", 1, |_| {
        assert!(store.keep_units(units.clone(), Taking::Move).unwrap() <= UNITS)
    });
    let all = PruneRule { all: true, ..PruneRule::default() };
    report("prune all, and seeds", 1, |_| {
        assert_eq!(store.prune_units(Duration::ZERO, &all).unwrap().units, UNITS as u64);
    });
}

/// Ten files like those of a library with a build script, 1 MB in all.
fn unit(made: &Path, number: usize) -> NewUnit {
    let files = [
        (format!("release/deps/libx{number}-0123456789abcdef.rlib"), 700_000, false),
        (format!("release/deps/libx{number}-0123456789abcdef.rmeta"), 200_000, false),
        (format!("release/deps/x{number}-0123456789abcdef.d"), 800, false),
        (format!("release/.fingerprint/x{number}-0123456789abcdef/lib-x{number}"), 16, false),
        (format!("release/.fingerprint/x{number}-0123456789abcdef/lib-x{number}.json"), 900, false),
        (format!("release/.fingerprint/x{number}-0123456789abcdef/dep-lib-x{number}"), 60, false),
        (format!("release/.fingerprint/x{number}-0123456789abcdef/invoked.timestamp"), 48, false),
        (format!("release/build/x{number}-0123456789abcdef/build-script-build"), 100_000, true),
        (format!("release/build/x{number}-0123456789abcdef/output"), 300, false),
        (format!("release/build/x{number}-0123456789abcdef/out/generated.rs"), 4_000, false),
    ];
    let write = |(path, size, executable): (String, usize, bool)| {
        let place = made.join(&path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let bytes = number.to_le_bytes().repeat(size / 8);
        fs::write(place, &bytes).unwrap();
        let digest = ContentDigest::of(&bytes);
        UnitFile { path, content: UnitContent::File { digest, size: bytes.len() as u64, executable } }
    };
    let id = |number: usize| ContentDigest::of(&number.to_le_bytes());
    NewUnit {
        id: id(number),
        realm: ContentDigest::of(b"realm"),
        package: format!("x{number} 1.0.0"),
        workspace: "here".to_owned(),
        record: vec![7; 2000],
        needs: (number.saturating_sub(5)..number).map(id).collect(),
        files: files.map(write).into_iter().collect(),
        age: UnitAge::Old,
        from: made.into(),
    }
}

fn report(what: &str, runs: usize, mut run: impl FnMut(usize)) {
    let before = processor_time();
    let mut times: Vec<Duration> = (0..runs)
        .map(|number| {
            let started = Instant::now();
            run(number);
            started.elapsed()
        })
        .collect();
    times.sort();
    let processor = (processor_time() - before) / u32::try_from(runs).unwrap();
    let (median, slowest) = (times[runs / 2], times[runs - 1]);
    println!(
        "{what}: median {median:.2?}, slowest {slowest:.2?} of {runs}; {processor:.2?} of processor time each"
    );
}

/// What all threads of this process used so far; exact to 10 ms.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
