use carrack_cargo::locate::{LocateError, locate};

use crate::fixture::{Fixture, package, run, succeeded};

/// Locates from `start` and asks cargo for the same root.
fn check_root(fixture: &Fixture, start: &str, root: &str) {
    let location = fixture.locate(start);
    assert_eq!(location.root, fixture.path(root), "from {start}");
    let arguments = ["locate-project", "--workspace", "--message-format", "plain"].map(str::to_owned);
    let answer = succeeded(run(&fixture.path(start), &arguments, &[])).stdout;
    let manifest = String::from_utf8(answer).unwrap();
    assert_eq!(
        manifest.trim_end(),
        location.root.join("Cargo.toml").to_str().unwrap(),
        "cargo's view from {start}"
    );
}

#[test]
fn the_root_is_the_one_that_cargo_finds() {
    let fixture = Fixture::new(&[
        (
            "Cargo.toml",
            "[workspace]\nmembers = [\"crates/*\", \"excluded/but-member\", \"pointing\"]\nexclude = [\"excluded\"]\n",
        ),
        ("crates/a/Cargo.toml", &package("a", "")),
        ("crates/a/src/main.rs", ""),
        ("excluded/alone/Cargo.toml", &package("alone", "")),
        ("excluded/alone/src/main.rs", ""),
        ("excluded/but-member/Cargo.toml", &package("but-member", "")),
        ("excluded/but-member/src/main.rs", ""),
        ("pointing/Cargo.toml", &package("pointing", "workspace = \"..\"")),
        ("pointing/src/main.rs", ""),
        ("excluded/inner/Cargo.toml", "[workspace]\nmembers = [\"m\"]\n"),
        ("excluded/inner/m/Cargo.toml", &package("m", "")),
        ("excluded/inner/m/src/main.rs", ""),
    ]);
    check_root(&fixture, "", "");
    check_root(&fixture, "crates/a", "");
    check_root(&fixture, "crates/a/src", "");
    check_root(&fixture, "pointing", "");
    check_root(&fixture, "excluded/alone", "excluded/alone");
    check_root(&fixture, "excluded/but-member", "");
    check_root(&fixture, "excluded/inner/m", "excluded/inner");
    let location = fixture.locate("crates/a/src");
    assert_eq!(location.nearest_manifest, fixture.path("crates/a/Cargo.toml"));
}

#[test]
fn files_around_the_workspace_are_found_in_order() {
    let fixture = Fixture::new(&[
        ("up/.cargo/config.toml", ""),
        ("up/ws/.cargo/config", "include = \"more.toml\"\n"),
        ("up/ws/.cargo/config.toml", "this is [ignored by cargo, which reads the other"),
        ("up/ws/.cargo/more.toml", ""),
        ("up/ws/Cargo.toml", &package("app", "")),
        ("up/ws/src/main.rs", ""),
        ("up/rust-toolchain.toml", "[toolchain]\nchannel = \"stable\"\n"),
        ("rust-toolchain", "nightly\n"),
        ("cargo-home/config.toml", ""),
    ]);
    let location = fixture.locate("up/ws");
    assert_eq!(
        location.cargo_configs,
        ["up/ws/.cargo/config", "up/ws/.cargo/more.toml", "up/.cargo/config.toml", "cargo-home/config.toml"]
            .map(|path| fixture.path(path))
    );
    assert_eq!(location.toolchain_file, Some(fixture.path("up/rust-toolchain.toml")));
    assert_eq!(location.lock_file, None);
    for absent in ["up/ws/Cargo.lock", "up/ws/rust-toolchain.toml", "up/.cargo/config", ".cargo/config.toml"]
    {
        assert!(location.absent.contains(&fixture.path(absent)), "{absent}: {:?}", location.absent);
    }
    fixture.write("up/ws/Cargo.lock", "");
    assert_eq!(fixture.locate("up/ws").lock_file, Some(fixture.path("up/ws/Cargo.lock")));
}

#[test]
fn what_can_not_be_located_is_said() {
    let fixture = Fixture::new(&[("empty/x", ""), ("bad/Cargo.toml", "[package\n")]);
    let error = locate(&fixture.path("empty"), &fixture.cargo_home()).unwrap_err();
    assert!(
        matches!(&error, LocateError::NoManifest { start } if *start == fixture.path("empty")),
        "{error:?}"
    );
    let error = locate(&fixture.path("gone"), &fixture.cargo_home()).unwrap_err();
    assert!(matches!(error, LocateError::Unreadable { .. }), "{error:?}");
    let error = locate(&fixture.path("bad"), &fixture.cargo_home()).unwrap_err();
    assert!(
        matches!(&error, LocateError::Syntax { span, .. } if span.source.path == fixture.path("bad/Cargo.toml"))
    );
}
