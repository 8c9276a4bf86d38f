//! Measures the walk: `cargo run --release -p carrack-context --example scan -- [FILES]` (100,000 unless said otherwise).
//!
//! Makes a tree of small files, ten to a folder, in the temporary folder; walks it cold, then unchanged, then with one
//! file edited; prints the median of several runs each.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use carrack_base::Cancel;
use carrack_context::{StatCache, Tree, Walk, tree};

const RUNS: usize = 15;

fn main() {
    let files: usize = std::env::args().nth(1).map_or(100_000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    for index in 0..files {
        let place = root.join(format!("group{:03}/module{:05}", index / 1000, index / 10));
        if index % 10 == 0 {
            fs::create_dir_all(&place).unwrap();
        }
        fs::write(place.join(format!("source_file_{index}.rs")), format!("// file {index}\n").repeat(40))
            .unwrap();
    }
    let cache = folder.path().join("stat");
    std::thread::sleep(Duration::from_millis(50));

    let started = Instant::now();
    let found = scan(&root, &cache);
    println!("{} files, first walk (all hashed, cache saved): {:.2?}", found.len(), started.elapsed());
    println!("cache file: {} bytes", fs::metadata(&cache).unwrap().len());

    report("unchanged: load + walk", || {
        scan(&root, &cache);
    });
    report("unchanged: load only", || {
        StatCache::load(&cache);
    });
    let mut loaded = StatCache::load(&cache);
    report("unchanged: walk only", || {
        tree(&Walk::new(&root), &mut loaded, &Cancel::default()).unwrap();
    });
    report("tree digest", || {
        found.digest();
    });
    let mut edits = 0;
    report("one file edited: load + walk + save", || {
        edits += 1;
        fs::write(root.join("group000/module00000/source_file_0.rs"), format!("// edit {edits}\n")).unwrap();
        scan(&root, &cache);
    });
}

fn scan(root: &Path, cache: &Path) -> Tree {
    let mut loaded = StatCache::load(cache);
    let found = tree(&Walk::new(root), &mut loaded, &Cancel::default()).unwrap();
    loaded.save(cache).unwrap();
    found
}

fn report(what: &str, mut run: impl FnMut()) {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed()
        })
        .collect();
    times.sort();
    println!("{what}: median {:.2?}, best {:.2?}", times[RUNS / 2], times[0]);
}
