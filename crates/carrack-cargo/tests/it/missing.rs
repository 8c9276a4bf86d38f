use carrack_cargo::missing::{Diagnosis, SYSTEM_PACKAGES, diagnose};

use crate::fixture::{Fixture, package, run};

/// The output, the crate that lacks something, the first Debian package that brings it.
const MISSING: &[(&str, Option<&str>, &str)] = &[
    (
        "error: failed to run custom build command for `openssl-sys v0.9.109`\n\nCaused by:\n  process didn't exit \
         successfully: `/t/build-script-main` (exit status: 101)\n  --- stderr\n\n  Could not find directory of OpenSSL \
         installation, and this `-sys` crate cannot\n  proceed without this knowledge.\n",
        Some("openssl-sys"),
        "libssl-dev",
    ),
    (
        "error: failed to run custom build command for `pq-sys v0.7.2`\n  The system library `libpq` required by crate \
         `pq-sys` was not found.\n  The file `libpq.pc` needs to be installed\n",
        Some("pq-sys"),
        "libpq-dev",
    ),
    (
        "error: failed to run custom build command for `libdbus-sys v0.2.5`\n  called `Result::unwrap()` on an `Err` value:\n  \
         Could not run `PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 pkg-config --libs --cflags dbus-1`\n  The pkg-config command could \
         not be found.\n",
        Some("libdbus-sys"),
        "pkg-config",
    ),
    (
        "error: failed to run custom build command for `foo v1.0.0`\n  thread 'main' panicked: could not find system library \
         'glib-2.0' required by the 'glib-sys' crate\n",
        Some("foo"),
        "libglib2.0-dev",
    ),
    (
        "error: failed to run custom build command for `alsa-sys v0.3.1`\n  Package alsa was not found in the pkg-config \
         search path.\n",
        Some("alsa-sys"),
        "libasound2-dev",
    ),
    (
        "error: failed to run custom build command for `app v0.1.0 (/carrack/src)`\n  Error: Custom { kind: NotFound, error: \
         \"Could not find `protoc`. If `protoc` is installed, try setting the `PROTOC` environment variable\" }\n",
        Some("app"),
        "protobuf-compiler",
    ),
    (
        "error: failed to run custom build command for `libz-ng-sys v1.1.0`\n  failed to execute command: No such file or \
         directory (os error 2)\n  is `cmake` not installed?\n",
        Some("libz-ng-sys"),
        "cmake",
    ),
    (
        "error: failed to run custom build command for `ring v0.17.14`\n  error occurred in cc-rs: failed to find tool \"cc\": \
         No such file or directory (os error 2)\n",
        Some("ring"),
        "gcc",
    ),
    (
        "error: failed to run custom build command for `clang-sys v1.8.1`\n  Unable to find libclang: \"couldn't find any \
         valid shared libraries matching: ['libclang.so']\"\n",
        Some("clang-sys"),
        "libclang-dev",
    ),
    ("error: linker `cc` not found\n  |\n  = note: No such file or directory (os error 2)\n", None, "gcc"),
    ("  = note: /usr/bin/ld: cannot find -lpq: No such file or directory\n", None, "libpq-dev"),
    ("  = note: rust-lld: error: unable to find library -lsqlite3\n", None, "libsqlite3-dev"),
    ("  = note: mold: fatal: library not found: z\n", None, "zlib1g-dev"),
];

#[test]
fn missing_system_packages_are_named() {
    for (output, crate_name, debian) in MISSING {
        let colored = output.replace("error:", "\u{1b}[1m\u{1b}[91merror\u{1b}[0m:");
        for text in [output, colored.as_str()] {
            let Diagnosis::MissingSystemPackage(missing) = diagnose(text) else { panic!("{output}") };
            assert_eq!(missing.crate_name.as_deref(), *crate_name, "{output}");
            assert_eq!(missing.debian[0], *debian, "{output}");
            assert!(output.contains(&missing.evidence), "{output}");
        }
    }
}

#[test]
fn other_failures_are_told_apart() {
    for (output, expected) in [
        (
            "error: the lock file /w/Cargo.lock needs to be updated but --locked was passed to prevent this\nhelp: to generate \
             the lock file without accessing the network, remove the --locked flag and use --offline instead.\n",
            Diagnosis::LockNeedsUpdate,
        ),
        (
            "error[E0425]: cannot find value `x`\nerror: could not compile `app` (bin \"app\")\n",
            Diagnosis::CompileError,
        ),
        (
            "error[E0463]: can't find crate for `std`\n  = note: the `aarch64-unknown-linux-gnu` target may not be installed\n",
            Diagnosis::MissingTarget { target: "aarch64-unknown-linux-gnu".to_owned() },
        ),
        (
            "error: failed to write /t/x: No space left on device (os error 28)\n",
            Diagnosis::DiskFull {
                evidence: "error: failed to write /t/x: No space left on device (os error 28)".to_owned(),
            },
        ),
        (
            "Caused by:\n  failed to download from `https://index.crates.io/config.json`\n",
            Diagnosis::Network {
                evidence: "failed to download from `https://index.crates.io/config.json`".to_owned(),
            },
        ),
        // A known crate whose script fails for reasons of its own lacks nothing.
        (
            "error: failed to run custom build command for `libsqlite3-sys v0.30.1`\n  sqlite3.c:5: error: expected ';'\n",
            Diagnosis::Other,
        ),
        ("error: something else\n", Diagnosis::Other),
    ] {
        assert_eq!(diagnose(output), expected, "{output}");
    }
}

#[test]
fn cargos_own_words_are_recognised() {
    let fixture = Fixture::new(&[("Cargo.toml", &package("app", "")), ("src/main.rs", "")]);
    let build = |arguments: &[&str]| {
        let command: Vec<String> = ["build"].iter().chain(arguments).map(|word| (*word).to_owned()).collect();
        let output = run(&fixture.path(""), &command, &[]);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(diagnose(&build(&["--locked"])), Diagnosis::LockNeedsUpdate);
    fixture.write("Cargo.lock", "version = 4\n");
    assert_eq!(diagnose(&build(&["--locked", "--offline"])), Diagnosis::LockNeedsUpdate);
    fixture.write("src/main.rs", "fn main() { nothing }");
    assert_eq!(diagnose(&build(&["--offline"])), Diagnosis::CompileError);
    fixture.write("Cargo.toml", &package("app", "[dependencies]\nthere-is-no-such-crate = \"77\""));
    let output = build(&["--offline"]);
    assert!(matches!(diagnose(&output), Diagnosis::Offline { .. }), "{output}");
}

#[test]
fn no_name_is_in_the_table_twice() {
    let names = |pick: fn(&carrack_cargo::missing::SystemPackage) -> &'static [&'static str]| {
        let mut names: Vec<&str> = SYSTEM_PACKAGES.iter().flat_map(pick).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    };
    names(|package| package.crates);
    names(|package| package.modules);
    names(|package| package.libraries);
    assert!(SYSTEM_PACKAGES.iter().all(|package| !package.debian.is_empty()));
}
