//! What the checks say about cargo, asked of cargo itself.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// A package `my-app` whose stub was compiled before its sources came, which are older.
fn after_the_stub() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(
        path.join("Cargo.toml"),
        "[package]\nname = \"my-app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    )
    .unwrap();
    fs::create_dir(path.join("src")).unwrap();
    fs::write(path.join("src/main.rs"), "fn main() {}\n").unwrap();
    build(path);
    fs::remove_dir_all(path.join("src")).unwrap();
    fs::create_dir(path.join("src")).unwrap();
    let main = path.join("src/main.rs");
    fs::write(&main, "fn main() {\n    println!(\"real\");\n}\n").unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(main).unwrap().set_modified(long_ago).unwrap();
    folder
}

#[track_caller]
fn build(folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--offline", "--quiet"]).current_dir(folder).env_remove("CARGO_TARGET_DIR");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What is shipped after a command and another build.
#[track_caller]
fn shipped(before: &str) -> String {
    let folder = after_the_stub();
    let status = Command::new("sh").args(["-ec", before]).current_dir(folder.path()).status().unwrap();
    assert!(status.success(), "{before}");
    build(folder.path());
    let output = Command::new(folder.path().join("target/debug/my-app")).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_stub_is_shipped_unless_cargo_is_made_to_look() {
    for (before, says) in [
        ("true", ""),
        ("rm -f target/debug/my-app", ""),
        ("rm -f target/debug/deps/my-app*", ""),
        ("rm -f target/debug/deps/my_app*", "real\n"),
        ("rm -rf target/debug/.fingerprint/my-app-*", "real\n"),
        ("touch -c src/main.rs src/lib.rs", "real\n"),
    ] {
        assert_eq!(shipped(before), says, "{before}");
    }
}
