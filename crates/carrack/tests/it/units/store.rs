//! A store in which something is damaged or missing: builds are right, and mend it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use carrack_testkit::{has_program, skipped};

use super::{ANY, Yard, chain, manifest, with_registry};

/// `chain` and a registry's package, built.
fn built() -> Yard {
    let project = chain();
    project.write("leaf/Cargo.toml", &manifest("leaf", "[dependencies]\nitoa = \"=1.0.9\""));
    let yard = with_registry(project, ".");
    yard.check("first build", "app itoa leaf middle second", "one 2");
    yard
}

/// The files of kept units whose path ends with one of these.
fn kept(yard: &Yard, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![yard.scene.state().join("units")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if ends.iter().any(|end| path.to_str().unwrap().ends_with(end)) {
                found.push(path);
            }
        }
    }
    found
}

/// Makes the store believe that its units were written before the machine was last started.
fn start_anew(yard: &Yard) {
    let index = fs::read_dir(yard.scene.state()).unwrap().map(|entry| entry.unwrap().path());
    let index =
        index.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "db")).unwrap();
    let script = "import sqlite3, sys\n\
        index = sqlite3.connect(sys.argv[1])\n\
        index.execute(\"update unit set boot = 'another one'\")\n\
        index.commit()\n";
    let output = Command::new("python3").args(["-c", script]).arg(index).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn after_a_crash() {
    if !has_program("python3") {
        return skipped("a damaged store", "no python3");
    }
    let yard = built();
    start_anew(&yard);
    yard.check_fresh("nothing is damaged", "one 2");
    for (what, ends) in [
        ("libraries", &[".rlib"][..]),
        ("what the compiler tells about a library", &[".rmeta"]),
        ("fingerprints", &["/lib-leaf", "/bin-app"]),
        ("dep-info", &["/dep-lib-leaf", "/dep-bin-app"]),
    ] {
        let files = kept(&yard, ends);
        assert!(!files.is_empty(), "{what}");
        for file in files {
            let file = File::options().write(true).open(file).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
        start_anew(&yard);
        yard.write("README.md", what);
        yard.check(what, ANY, "one 2");
        yard.check_fresh(&format!("{what} are mended"), "one 2");
    }
    // Same length, other bytes.
    for file in kept(&yard, &[".rlib", "app/src/main.rs"]) {
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&file, bytes).unwrap();
    }
    start_anew(&yard);
    yard.edit("app/src/main.rs", "one", "two");
    yard.check("flipped bits", ANY, "two 2");
    yard.check_fresh("they are mended", "two 2");
}

#[test]
fn folders_that_are_gone() {
    let yard = built();
    let state = yard.scene.state();
    for (number, gone) in ["units", "seeds", "one unit", "both"].into_iter().enumerate() {
        match gone {
            "one unit" => {
                let rlib =
                    kept(&yard, &[".rlib"]).into_iter().find(|path| path.to_str().unwrap().contains("itoa"));
                let unit = rlib.unwrap();
                let unit = unit.ancestors().nth(3).unwrap();
                assert_eq!(unit.parent().unwrap().parent().unwrap(), state.join("units"));
                fs::remove_dir_all(unit).unwrap();
                fs::remove_dir_all(state.join("seeds")).unwrap();
            }
            "both" => {
                fs::remove_dir_all(state.join("units")).unwrap();
                fs::remove_dir_all(state.join("seeds")).unwrap();
            }
            folder => fs::remove_dir_all(state.join(folder)).unwrap(),
        }
        yard.write("README.md", &number.to_string());
        yard.check(gone, ANY, "one 2");
        yard.edit("app/src/main.rs", "one", "two");
        yard.check(&format!("{gone}, and an edit"), ANY, "two 2");
        yard.edit("app/src/main.rs", "two", "one");
        yard.check_fresh("all is there again", "one 2");
    }
}

#[test]
fn build_folders_that_are_gone() {
    let yard = built();
    let folders = yard.scene.state().join("targets");
    assert!(folders.is_dir(), "{}", folders.display());
    fs::remove_dir_all(&folders).unwrap();
    yard.check_fresh("units are elsewhere", "one 2");
    fs::remove_dir_all(&folders).unwrap();
    yard.check("a kept result", "", "one 2");
}
