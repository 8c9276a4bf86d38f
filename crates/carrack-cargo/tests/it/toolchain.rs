use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use carrack_cargo::toolchain::{
    ChosenBy, Toolchain, ToolchainError, ToolchainFile, locate, parse_verbose_version, read_toolchain_file,
};

use crate::fixture::Fixture;

/// A rustup home with the toolchains `1.90.0`, `stable` and `nightly`, and rustup's proxies in `bin`.
fn rustup() -> Fixture {
    let fixture = Fixture::new(&[
        ("bin/rustup", ""),
        ("work/deep/x", ""),
        (
            "rustup/settings.toml",
            "default_toolchain = \"stable-x86_64-unknown-linux-gnu\"\ndefault_host_triple = \"x86_64-unknown-linux-gnu\"\n",
        ),
    ]);
    for toolchain in ["stable", "1.90.0", "nightly"] {
        for program in ["cargo", "rustc"] {
            program_at(
                &fixture,
                &format!("rustup/toolchains/{toolchain}-x86_64-unknown-linux-gnu/bin/{program}"),
            );
        }
    }
    program_at(&fixture, "bin/rustup");
    symlink("rustup", fixture.path("bin/cargo")).unwrap();
    std::fs::hard_link(fixture.path("bin/rustup"), fixture.path("bin/rustc")).unwrap();
    fixture
}

fn program_at(fixture: &Fixture, path: &str) {
    fixture.write(path, "");
    std::fs::set_permissions(fixture.path(path), std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn find(fixture: &Fixture, variables: &[(&str, &str)]) -> Result<Toolchain, ToolchainError> {
    let variable = |name: &str| match name {
        "PATH" => {
            let folders = [fixture.path("empty"), fixture.path("bin")];
            Some(std::env::join_paths(folders).unwrap())
        }
        "RUSTUP_HOME" => Some(fixture.path("rustup").into_os_string()),
        other => variables.iter().find(|(name, _)| *name == other).map(|(_, value)| OsString::from(value)),
    };
    locate(variable, &fixture.path("work/deep"))
}

fn check(fixture: &Fixture, variables: &[(&str, &str)], name: &str) -> Toolchain {
    let toolchain = find(fixture, variables).unwrap();
    let folder = fixture.path(&format!("rustup/toolchains/{name}-x86_64-unknown-linux-gnu"));
    assert_eq!(toolchain.cargo, folder.join("bin/cargo"));
    assert_eq!(toolchain.rustc, folder.join("bin/rustc"));
    assert_eq!(toolchain.folder, Some(folder));
    toolchain
}

#[test]
fn rustup_chooses_in_its_own_order() {
    let fixture = rustup();
    let toolchain = check(&fixture, &[], "stable");
    for input in ["bin/cargo", "empty/cargo", "rustup/settings.toml", "work/rust-toolchain.toml"] {
        assert!(toolchain.inputs.contains(&fixture.path(input)), "{input}: {:?}", toolchain.inputs);
    }
    fixture
        .write("work/rust-toolchain.toml", "[toolchain]\nchannel = \"1.90.0\"\ncomponents = [\"clippy\"]\n");
    check(&fixture, &[], "1.90.0");
    // The nearest one wins, and only a file without extension may be a bare name.
    fixture.write("work/deep/rust-toolchain", "nightly\n");
    check(&fixture, &[], "nightly");
    let settings = format!(
        "default_toolchain = \"stable-x86_64-unknown-linux-gnu\"\n[overrides]\n\"{}\" = \"1.90.0-x86_64-unknown-linux-gnu\"\n",
        fixture.path("work/deep").display()
    );
    fixture.write("rustup/settings.toml", &settings);
    check(&fixture, &[], "1.90.0");
    check(&fixture, &[("RUSTUP_TOOLCHAIN", "stable")], "stable");
}

#[test]
fn toolchains_that_are_not_there_are_said() {
    let fixture = rustup();
    fixture.write("work/rust-toolchain.toml", "[toolchain]\nchannel = \"1.91.0\"\n");
    let error = find(&fixture, &[]).unwrap_err();
    let ToolchainError::NotInstalled { channel, chosen_by, .. } = error else { panic!("{error:?}") };
    assert_eq!(channel, "1.91.0");
    assert_eq!(chosen_by, ChosenBy::File(fixture.path("work/rust-toolchain.toml")));

    fixture.write("work/rust-toolchain.toml", "[toolchain]\npath = \"../custom\"\n");
    assert!(matches!(find(&fixture, &[]).unwrap_err(), ToolchainError::NotInstalled { .. }));
    program_at(&fixture, "custom/bin/cargo");
    assert!(
        matches!(find(&fixture, &[]).unwrap_err(), ToolchainError::Incomplete { program, .. } if program == "rustc")
    );
    program_at(&fixture, "custom/bin/rustc");
    assert_eq!(find(&fixture, &[]).unwrap().cargo, fixture.path("custom/bin/cargo"));

    fixture.write("work/rust-toolchain.toml", "channel = \"stable\"\n");
    assert!(matches!(find(&fixture, &[]).unwrap_err(), ToolchainError::Malformed { .. }));
    fixture.write("work/rust-toolchain.toml", "[toolchain]\ntargets = [\"x86_64-unknown-linux-musl\"]\n");
    fixture.write("rustup/settings.toml", "version = \"12\"\n");
    assert!(matches!(find(&fixture, &[]).unwrap_err(), ToolchainError::NoDefault { .. }));
    let error = locate(|_| None, &fixture.path("work")).unwrap_err();
    assert!(matches!(&error, ToolchainError::NotInPath { program } if program == "cargo"), "{error:?}");
}

#[test]
fn without_rustup_the_path_decides() {
    let fixture = Fixture::new(&[("work/deep/x", "")]);
    program_at(&fixture, "bin/cargo");
    program_at(&fixture, "bin/rustc");
    let toolchain = find(&fixture, &[("RUSTC", "/opt/rustc")]).unwrap();
    assert_eq!((toolchain.cargo, toolchain.rustc), (fixture.path("bin/cargo"), PathBuf::from("/opt/rustc")));
    assert_eq!(toolchain.folder, None);
    assert_eq!(find(&fixture, &[]).unwrap().rustc, fixture.path("bin/rustc"));
}

#[test]
fn the_tools_found_are_those_that_run() {
    let fixture = Fixture::new(&[("x", "")]);
    let variable = |name: &str| match name {
        // Cargo runs the tests with this set; what it names is found all the same.
        "RUSTUP_TOOLCHAIN" | "PATH" | "HOME" | "RUSTUP_HOME" => std::env::var_os(name),
        _ => None,
    };
    let toolchain = locate(variable, &fixture.path("")).unwrap();
    let version = |program: &PathBuf| Command::new(program).arg("-vV").output().unwrap().stdout;
    let found = String::from_utf8(version(&toolchain.rustc)).unwrap();
    let run = String::from_utf8(version(&PathBuf::from("rustc"))).unwrap();
    assert_eq!(parse_verbose_version(&found).unwrap(), parse_verbose_version(&run).unwrap());
    assert!(!parse_verbose_version(&found).unwrap().host.is_empty());
}

#[test]
fn verbose_versions_are_read() {
    let version = parse_verbose_version(
        "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\ncommit-hash: 59807616e\ncommit-date: 2026-04-14\n\
         host: x86_64-unknown-linux-gnu\nrelease: 1.95.0\nLLVM version: 22.1.2\n",
    )
    .unwrap();
    assert_eq!((version.release.as_str(), version.host.as_str()), ("1.95.0", "x86_64-unknown-linux-gnu"));
    assert_eq!(
        (version.commit_hash.as_deref(), version.llvm.as_deref()),
        (Some("59807616e"), Some("22.1.2"))
    );
    let unknown = parse_verbose_version("commit-hash: unknown\nhost: h\nrelease: r\n").unwrap();
    assert_eq!((unknown.commit_hash, unknown.llvm), (None, None));
    assert_eq!(parse_verbose_version("no rustc\n"), None);
}

#[test]
fn toolchain_files_say_channel_and_targets() {
    let fixture = Fixture::new(&[
        ("rust-toolchain", "1.90.0\n"),
        (
            "rust-toolchain.toml",
            "[toolchain]\nchannel = \"nightly\"\ntargets = [\"x86_64-unknown-linux-musl\"]\n",
        ),
        ("targets/rust-toolchain.toml", "[toolchain]\ntargets = [\"wasm32-wasip1\"]\n"),
        ("broken/rust-toolchain.toml", "channel = 1\n"),
    ]);
    let read = |path: &str| read_toolchain_file(&fixture.path(path));
    let file = |channel: Option<&str>, targets: &[&str]| ToolchainFile {
        channel: channel.map(str::to_owned),
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
    };
    assert_eq!(read("rust-toolchain").unwrap(), file(Some("1.90.0"), &[]));
    assert_eq!(read("rust-toolchain.toml").unwrap(), file(Some("nightly"), &["x86_64-unknown-linux-musl"]));
    assert_eq!(read("targets/rust-toolchain.toml").unwrap(), file(None, &["wasm32-wasip1"]));
    assert!(matches!(read("broken/rust-toolchain.toml"), Err(ToolchainError::Malformed { .. })));
    assert!(matches!(read("absent"), Err(ToolchainError::Unreadable { .. })));
}
