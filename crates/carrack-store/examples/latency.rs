//! Measures what every build pays: `cargo run --release -p carrack-store --example latency`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::io::Write;
use std::time::{Duration, Instant};

use carrack_base::Cancel;
use carrack_store::{Bucket, Store};

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let started = Instant::now();
    let store = Store::open(&root).unwrap();
    println!("create: {:.2?}", started.elapsed());
    for key in 0..1000_u32 {
        store.put(Bucket::Step, &key.to_le_bytes(), vec![7; 2000]).unwrap();
    }
    store.put(Bucket::Plan, b"plan", vec![7; 1_000_000]).unwrap();
    drop(store);

    report("open, first get, close", 200, || {
        let store = Store::open(&root).unwrap();
        store.get(Bucket::Step, &7_u32.to_le_bytes()).unwrap().unwrap();
    });
    let mut open = Vec::new();
    report("open only, beside open ones", 200, || open.push(Store::open(&root).unwrap()));
    drop(open);
    report("open, put, close", 200, || {
        Store::open(&root).unwrap().put(Bucket::Step, b"key", "value").unwrap();
    });
    let store = Store::open(&root).unwrap();
    report("get of 2 kB", 5000, || {
        store.get(Bucket::Step, &7_u32.to_le_bytes()).unwrap().unwrap();
    });
    report("get of nothing", 5000, || assert!(store.get(Bucket::Step, b"none").unwrap().is_none()));
    report("get of 1 MB", 500, || {
        store.get(Bucket::Plan, b"plan").unwrap().unwrap();
    });
    report("put of 2 kB", 2000, || store.put(Bucket::Step, b"key", vec![7; 2000]).unwrap());
    report("lease", 500, || drop(store.lease(&Cancel::default()).unwrap()));
    report("scratch folder, made and removed", 500, || drop(store.scratch().unwrap()));
    let mut number = 0_u32;
    report("put_bytes of 1 kB, new", 200, || {
        number += 1;
        store.put_bytes(number.to_string().repeat(200).as_bytes()).unwrap();
    });
    let megabyte = vec![7; 1 << 20];
    let started = Instant::now();
    let mut writer = store.blob_writer().unwrap();
    for _ in 0..256 {
        writer.write_all(&megabyte).unwrap();
    }
    writer.commit().unwrap();
    println!("blob of 256 MiB: {:.2?}", started.elapsed());
}

fn report(what: &str, runs: usize, mut run: impl FnMut()) {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed()
        })
        .collect();
    times.sort();
    println!("{what}: median {:.2?}, 95th percentile {:.2?}", times[runs / 2], times[runs * 95 / 100]);
}
