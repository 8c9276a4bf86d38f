//! Packages of crates.io that no lock file names: without one, and for `cargo install` always, cargo takes the newest ones.
//!
//! What crates.io once had under a version it has for ever, so a kept unit's name and version say which package cargo means,
//! if it asks for that one. Of other registries nobody knows.
//!
//! ```text
//! CARGO_HOME/registry/src/<registry>/<name>-<version>/         sources, as cargo unpacked them
//! CARGO_HOME/registry/cache/<registry>/<name>-<version>.crate  the archive
//! CARGO_HOME/registry/index/<registry>/.cache/<letters>/<name> what the registry says about all versions of it: after a
//!                                                              head, each version and its JSON with a zero byte at the end
//! ```

use std::collections::HashMap;
use std::path::Path;

use carrack_base::{Digest, MOST_TEXT, read_regular};
use carrack_graph::OfferedUnit;
use serde::Deserialize;

use crate::called::names;
use crate::units::{FetchedPackage, package_of};

const SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// How the folders begin that cargo has for it: by HTTP and by git.
const FOLDERS: [&str; 2] = ["index.crates.io-", "github.com-"];

/// The three numbers of a version.
type Release = [u64; 3];
/// What the newer version has more of: its numbers, and whether it is released.
type Age = (Release, bool);

/// A version's entry in the index.
#[derive(Deserialize)]
struct Entry {
    cksum: String,
}

/// The packages from there that `offered` were compiled from: of versions that can stand for each other, the newest one.
pub(crate) fn newest_of(offered: &[OfferedUnit]) -> Vec<FetchedPackage> {
    let mut newest: HashMap<(String, Release), (Age, FetchedPackage)> = HashMap::new();
    for package in offered.iter().filter_map(|unit| package_of(&unit.record)) {
        let Some(age) = age(&package.version).filter(|_| package.source == SOURCE) else { continue };
        let slot = newest.entry((package.name.clone(), compatible(age.0)));
        let slot = slot.or_insert_with(|| (age, package.clone()));
        if slot.0 < age {
            *slot = (age, package);
        }
    }
    newest.into_values().map(|(_, package)| package).collect()
}

/// The packages from there whose sources are there, from archives that are as the index says.
pub(crate) fn unpacked(cargo_home: &Path) -> Vec<FetchedPackage> {
    let registry = cargo_home.join("registry");
    let mut found = Vec::new();
    for folder in names(&registry.join("src")) {
        if !FOLDERS.iter().any(|start| folder.starts_with(start)) {
            continue;
        }
        let sources = registry.join("src").join(&folder);
        found.extend(names(&sources).into_iter().filter_map(|place| {
            let (name, version) = split(&place)?;
            let archive = registry.join("cache").join(&folder).join(format!("{place}.crate"));
            let checksum = Digest::of(&read_regular(&archive, MOST_TEXT).ok()?).hex();
            let index = registry.join("index").join(&folder).join(".cache").join(letters(name));
            let index = read_regular(&index.join(name.to_lowercase()), MOST_TEXT).ok()?;
            (checksum_of(version, &index)? == checksum).then(|| FetchedPackage {
                name: name.to_owned(),
                version: version.to_owned(),
                source: SOURCE.to_owned(),
                checksum: Some(checksum),
                folder: sources.join(&place),
            })
        }));
    }
    found
}

/// Name and version of `<name>-<version>`; there may be `-` and digits in both.
fn split(place: &str) -> Option<(&str, &str)> {
    let mut dashes = place.match_indices('-').map(|(at, _)| (&place[..at], &place[at + 1..]));
    dashes.find(|(_, version)| age(version).is_some())
}

fn age(version: &str) -> Option<Age> {
    let version = version.split('+').next()?;
    let (release, is_released) =
        version.split_once('-').map_or((version, true), |(release, _)| (release, false));
    let numbers = release.split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
    Some((Release::try_from(numbers).ok()?, is_released))
}

/// The numbers that versions have in common which cargo takes for each other: up to the first that is not 0.
fn compatible(release: Release) -> Release {
    match release {
        [0, 0, _] => release,
        [0, minor, _] => [0, minor, 0],
        [major, _, _] => [major, 0, 0],
    }
}

/// The folders that an index has for a name.
fn letters(name: &str) -> String {
    let name = name.to_lowercase();
    match name.len() {
        0..=2 => name.len().to_string(),
        3 => format!("3/{}", name.get(..1).unwrap_or_default()),
        _ => [name.get(..2), name.get(2..4)].map(Option::unwrap_or_default).join("/"),
    }
}

fn checksum_of(version: &str, index: &[u8]) -> Option<String> {
    let mut pieces = index.split(|byte| *byte == 0);
    pieces.find(|piece| *piece == version.as_bytes())?;
    serde_json::from_slice::<Entry>(pieces.next()?).ok().map(|entry| entry.cksum)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn names_and_versions_are_told_apart() {
        for (place, name, version) in [
            ("itoa-1.0.11", "itoa", "1.0.11"),
            ("sha-1-0.10.1", "sha-1", "0.10.1"),
            ("zstd-sys-2.1.3+zstd.1.5.7", "zstd-sys", "2.1.3+zstd.1.5.7"),
            ("object-0.1.0-beta.1", "object", "0.1.0-beta.1"),
            ("a-1.0.0-1.0.0", "a", "1.0.0-1.0.0"),
        ] {
            assert_eq!(split(place), Some((name, version)));
        }
        for place in ["itoa", "itoa-", "itoa-1.0", "itoa-1..0", "1.0.0"] {
            assert_eq!(split(place), None, "{place}");
        }
    }

    #[test]
    fn newer_versions_are_known() {
        let ordered = ["0.9.10", "0.10.0", "1.0.0-rc.1", "1.0.0+build", "1.2.3", "1.10.0"]
            .map(|text| age(text).unwrap());
        assert!(ordered.is_sorted() && ordered[2] != ordered[3]);
        for (release, common) in [([1, 2, 3], [1, 0, 0]), ([0, 2, 3], [0, 2, 0]), ([0, 0, 3], [0, 0, 3])] {
            assert_eq!(compatible(release), common);
        }
    }

    #[test]
    fn folders_of_an_index_are_those_of_the_name() {
        for (name, folder) in
            [("a", "1"), ("cc", "2"), ("Syn", "3/s"), ("ItoA", "it/oa"), ("serde_json", "se/rd")]
        {
            assert_eq!(letters(name), folder);
        }
    }

    #[test]
    fn only_what_the_index_says_is_believed() {
        let home = tempfile::tempdir().unwrap();
        let place = |path: &str| home.path().join("registry").join(path);
        let write = |path: &str, bytes: &[u8]| {
            fs::create_dir_all(place(path).parent().unwrap()).unwrap();
            fs::write(place(path), bytes).unwrap();
        };
        let good = Digest::of(b"good").hex();
        let line = |version: &str| {
            format!("{version}\0{{\"name\":\"itoa\",\"vers\":\"{version}\",\"cksum\":\"{good}\"}}\0")
        };
        let registry = "index.crates.io-1949cf8c6b5b557f";
        write(
            &format!("index/{registry}/.cache/it/oa/itoa"),
            format!("\x03\0etag: x\0{}{}", line("1.0.0"), line("1.0.1")).as_bytes(),
        );
        for (version, bytes) in [("1.0.0", "good"), ("1.0.1", "bad"), ("1.0.2", "good")] {
            write(&format!("cache/{registry}/itoa-{version}.crate"), bytes.as_bytes());
            write(&format!("src/{registry}/itoa-{version}/Cargo.toml"), b"");
        }
        write(&format!("cache/{registry}/itoa-1.0.3.crate"), b"good");
        write("src/other.example-1949cf8c6b5b557f/itoa-1.0.0/Cargo.toml", b"");
        let expected = FetchedPackage {
            name: "itoa".to_owned(),
            version: "1.0.0".to_owned(),
            source: SOURCE.to_owned(),
            checksum: Some(good),
            folder: place(&format!("src/{registry}/itoa-1.0.0")),
        };
        assert_eq!(unpacked(home.path()), [expected]);
    }
}
