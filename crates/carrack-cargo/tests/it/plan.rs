use std::path::Path;

use carrack_cargo::plan::{CargoPlan, KeptPlanError, PlanError, Request, Selection, build_command};

use crate::fixture::{Fixture, line, package, run, succeeded};

fn names(plan: &CargoPlan) -> Vec<String> {
    plan.services.iter().map(|service| format!("{}/{}", service.package, service.binary)).collect()
}

fn select(packages: &[&str], binaries: &[&str]) -> Selection {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Selection { packages: owned(packages), binaries: owned(binaries), workspace: false }
}

/// A virtual workspace: two services, a tool with two binaries, a library.
fn team() -> Fixture {
    Fixture::new(&[
        ("Cargo.toml", "[workspace]\nresolver = \"2\"\nmembers = [\"services/*\", \"tool\", \"library\"]\n"),
        (
            "services/server/Cargo.toml",
            &package("server", "[dependencies]\nlibrary = { path = \"../../library\" }"),
        ),
        ("services/server/src/main.rs", ""),
        ("services/sync/Cargo.toml", &package("sync", "")),
        ("services/sync/src/main.rs", ""),
        ("tool/Cargo.toml", &package("tool", "")),
        ("tool/src/main.rs", ""),
        ("tool/src/bin/extra.rs", "fn main() {}"),
        ("library/Cargo.toml", &package("library", "")),
        ("library/src/lib.rs", ""),
    ])
}

#[test]
fn without_configuration_all_binaries_of_default_members_are_services() {
    let fixture = team();
    let plan = fixture.plan("", &fixture.request(), &Selection::default()).unwrap();
    assert_eq!(names(&plan), ["server/server", "sync/sync", "tool/extra", "tool/tool"]);
    assert_eq!(plan.members.len(), 4);
    assert_eq!(plan.services[0].image, "server");
    assert_eq!(plan.services[0].tags, ["latest"]);
    assert_eq!(plan.services[0].version, "1.2.3");
    // `cargo metadata` has made a lock file by then, but there was none when the workspace was located.
    assert_eq!((plan.has_lock_file, plan.locked_packages), (false, 4));
    assert_eq!(
        line(&build_command(&plan, &fixture.request())),
        format!(
            "build --release --package server --package sync --package tool --bin server --bin sync --bin extra --bin tool \
             --offline --target-dir {} --message-format=json",
            fixture.path("target").display()
        )
    );
}

#[test]
fn default_members_and_tables_narrow_the_default() {
    let fixture = team();
    fixture.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"2\"\nmembers = [\"services/*\", \"tool\", \"library\"]\ndefault-members = [\"tool\"]\n",
    );
    let plan = |start| names(&fixture.plan(start, &fixture.request(), &Selection::default()).unwrap());
    assert_eq!(plan(""), ["tool/extra", "tool/tool"]);
    fixture.write(
        "services/sync/carrack.toml",
        "tags = [\"{version}\", \"v{version}\"]\nregistry = \"ghcr.io/acme\"\n",
    );
    fixture.write("library/carrack.toml", "");
    assert_eq!(plan(""), ["sync/sync"]);
    // As with cargo, a folder inside of a member means this member.
    assert_eq!(plan("services/server/src"), ["server/server"]);

    let everything = Selection { workspace: true, ..Selection::default() };
    let everything = fixture.plan("tool", &fixture.request(), &everything).unwrap();
    assert_eq!(names(&everything), ["server/server", "sync/sync", "tool/extra", "tool/tool"]);
    let sync = &everything.services[1];
    assert_eq!(
        (sync.image.as_str(), &sync.tags[..]),
        ("ghcr.io/acme/sync", &["1.2.3".to_owned(), "v1.2.3".to_owned()][..])
    );
}

#[test]
fn packages_and_binaries_are_selected_as_cargo_does() {
    let fixture = team();
    let plan = |selection: Selection| fixture.plan("", &fixture.request(), &selection);
    assert_eq!(names(&plan(select(&["sync"], &[])).unwrap()), ["sync/sync"]);
    assert_eq!(names(&plan(select(&["s*"], &[])).unwrap()), ["server/server", "sync/sync"]);
    assert_eq!(names(&plan(select(&["sync@1.2.3"], &[])).unwrap()), ["sync/sync"]);
    assert_eq!(names(&plan(select(&["sync@1.2"], &[])).unwrap()), ["sync/sync"]);
    assert_eq!(names(&plan(select(&[], &["extra"])).unwrap()), ["tool/extra"]);
    assert_eq!(names(&plan(select(&["tool"], &["e*"])).unwrap()), ["tool/extra"]);

    let error = plan(select(&["servr"], &[])).unwrap_err();
    let PlanError::UnknownPackage { name, nearest, known } = error else { panic!("{error:?}") };
    assert_eq!((name.as_str(), nearest.as_deref(), known.len()), ("servr", Some("server"), 4));
    let error = plan(select(&["sync@2"], &[])).unwrap_err();
    assert!(matches!(error, PlanError::UnknownPackage { .. }), "{error:?}");
    let error = plan(select(&["tool"], &["extr"])).unwrap_err();
    assert!(
        matches!(&error, PlanError::UnknownBinary { nearest: Some(nearest), .. } if nearest == "extra"),
        "{error:?}"
    );
    let error = plan(select(&["library"], &[])).unwrap_err();
    assert!(
        matches!(&error, PlanError::NoBinaries { packages, .. } if packages == &["library"]),
        "{error:?}"
    );
}

#[test]
fn the_command_that_comes_out_is_one_that_cargo_takes() {
    let fixture = team();
    fixture.write(
        "services/server/Cargo.toml",
        &package("server", "[features]\nextra = []\n[package.metadata.carrack]\nfeatures = [\"extra\"]\n"),
    );
    fixture.write(
        "services/server/src/main.rs",
        "#[cfg(not(feature = \"extra\"))]\ncompile_error!(\"extra is off\");\nfn main() {}\n",
    );
    fixture.write("carrack.toml", "profile = \"dev\"\ncargo-args = [\"-v\"]\n");
    let request = Request { locked: Some(false), color: true, ..fixture.request() };
    // The feature of a package that is not selected must not get into the command.
    for packages in [&["server", "sync"][..], &["sync"]] {
        let plan = fixture.plan("", &request, &select(packages, &[])).unwrap();
        let command = build_command(&plan, &request);
        assert_eq!(line(&command).contains("--features server/extra"), packages.len() == 2);
        assert!(line(&command).contains("--profile dev"));
        succeeded(run(&plan.root, &command, &[]));
        for package in packages {
            assert!(fixture.path("target/debug").join(package).is_file());
        }
    }
}

#[test]
fn requests_override_the_configuration() {
    let fixture = team();
    fixture.write("Cargo.lock", "version = 4\n");
    fixture.write(
        "carrack.toml",
        "features = [\"a\"]\ndefault-features = true\ntarget = \"x86_64-unknown-linux-musl\"\n",
    );
    let plan = {
        let request = Request { locked: Some(false), ..fixture.request() };
        fixture.write("tool/Cargo.toml", &package("tool", "[features]\na = []\nb = []\nc = []"));
        fixture.plan("", &request, &select(&["tool"], &[])).unwrap()
    };
    let request = Request {
        profile: Some("dist".to_owned()),
        features: vec!["b,c".to_owned()],
        no_default_features: true,
        target: Some("aarch64-unknown-linux-gnu".to_owned()),
        target_dir: "/carrack/target".into(),
        ..Request::default()
    };
    assert_eq!(
        line(&build_command(&plan, &request)),
        "build --profile dist --package tool --bin extra --bin tool --features a,b,c --no-default-features --locked \
         --target aarch64-unknown-linux-gnu --target-dir /carrack/target --message-format=json"
    );
}

#[test]
fn binaries_whose_features_are_off_are_left_out() {
    let fixture = Fixture::new(&[
        (
            "Cargo.toml",
            &package(
                "app",
                "[features]\ndefault = [\"base\"]\nbase = []\nfull = [\"admin\"]\nadmin = []\n\
                 [[bin]]\nname = \"app\"\npath = \"src/main.rs\"\nrequired-features = [\"base\"]\n\
                 [[bin]]\nname = \"admin\"\npath = \"src/main.rs\"\nrequired-features = [\"admin\"]\n",
            ),
        ),
        ("src/main.rs", ""),
    ]);
    let request = fixture.request();
    let plan = fixture.plan("", &request, &Selection::default()).unwrap();
    assert_eq!(names(&plan), ["app/app"]);
    assert_eq!(plan.skipped[0].binary, "admin");
    assert_eq!(plan.skipped[0].missing_features, ["admin"]);

    let error = fixture.plan("", &request, &select(&[], &["admin"])).unwrap_err();
    assert!(matches!(error, PlanError::MissingFeatures { .. }), "{error:?}");
    let with = |features: &str| Request { features: vec![features.to_owned()], ..fixture.request() };
    assert_eq!(
        names(&fixture.plan("", &with("full"), &Selection::default()).unwrap()),
        ["app/admin", "app/app"]
    );
    assert_eq!(
        names(&fixture.plan("", &with("app/admin"), &select(&[], &["admin"])).unwrap()),
        ["app/admin"]
    );
    let without = Request { no_default_features: true, ..fixture.request() };
    let error = fixture.plan("", &without, &Selection::default()).unwrap_err();
    assert!(matches!(&error, PlanError::NoBinaries { skipped, .. } if skipped.len() == 2), "{error:?}");
}

#[test]
fn names_that_collide_are_refused() {
    let fixture = team();
    fixture.write("services/server/carrack.toml", "image = \"app\"\n");
    fixture.write("services/sync/carrack.toml", "image = \"app\"\n");
    let error = fixture.plan("", &fixture.request(), &Selection::default()).unwrap_err();
    let PlanError::DuplicateImage { image, services } = error else { panic!("{error:?}") };
    assert_eq!((image.as_str(), services.len()), ("app", 2));

    let fixture = team();
    fixture.write("services/sync/src/bin/extra.rs", "fn main() {}");
    let error = fixture.plan("", &fixture.request(), &Selection::default()).unwrap_err();
    let PlanError::DuplicateBinary { binary, packages } = error else { panic!("{error:?}") };
    assert_eq!((binary.as_str(), packages), ("extra", vec!["sync".to_owned(), "tool".to_owned()]));
    // One of them alone is no problem.
    assert_eq!(
        names(&fixture.plan("", &fixture.request(), &select(&["sync"], &["extra"])).unwrap()),
        ["sync/extra"]
    );
}

#[test]
fn packages_outside_of_the_workspace_are_found_whatever_leads_to_them() {
    let fixture = Fixture::new(&[
        (
            "repo/ws/Cargo.toml",
            "[workspace]\nmembers = [\"app\"]\nresolver = \"2\"\n[patch.crates-io]\npatched = { path = \"../../patches/patched\" }\n",
        ),
        (
            "repo/ws/app/Cargo.toml",
            &package(
                "app",
                "[dependencies]\nnear = { path = \"../../near\" }\noptional = { path = \"../../optional\", optional = true }\n\
                 patched = \"1\"\n[target.'cfg(windows)'.dependencies]\nwindows-only = { path = \"../../windows-only\" }\n",
            ),
        ),
        ("repo/ws/app/src/main.rs", ""),
        ("repo/near/Cargo.toml", &package("near", "[dependencies]\nfar = { path = \"../other/far\" }")),
        ("repo/near/src/lib.rs", ""),
        (
            "repo/other/Cargo.toml",
            "[workspace]\nmembers = [\"far\"]\n[workspace.package]\nversion = \"3.0.0\"\n",
        ),
        (
            "repo/other/far/Cargo.toml",
            "[package]\nname = \"far\"\nversion.workspace = true\nedition = \"2021\"\n",
        ),
        ("repo/other/far/src/lib.rs", ""),
        ("repo/optional/Cargo.toml", &package("optional", "")),
        ("repo/optional/src/lib.rs", ""),
        (
            "repo/windows-only/Cargo.toml",
            &package("windows-only", "[build-dependencies]\nbehind = { path = \"../behind\" }"),
        ),
        ("repo/windows-only/src/lib.rs", ""),
        ("repo/behind/Cargo.toml", &package("behind", "")),
        ("repo/behind/src/lib.rs", ""),
        ("patches/patched/Cargo.toml", &package("patched", "")),
        ("patches/patched/src/lib.rs", ""),
    ]);
    let plan = fixture.plan("repo/ws", &fixture.request(), &Selection::default()).unwrap();
    let outside = [
        "patches/patched",
        "repo/behind",
        "repo/near",
        "repo/optional",
        "repo/other/far",
        "repo/windows-only",
    ];
    assert_eq!(plan.outside_packages, outside.map(|path| fixture.path(path)));
    assert_eq!(plan.outside_manifests, [fixture.path("repo/other/Cargo.toml")]);
    assert_eq!(plan.source_root, fixture.path(""));
    assert_eq!(plan.in_sandbox(&plan.root).unwrap(), Path::new("/carrack/src/repo/ws"));

    // CARGO_HOME lies below the source root here, and still has its own place.
    let registry = fixture.path("cargo-home/registry");
    assert_eq!(plan.in_sandbox(&registry).unwrap(), Path::new("/carrack/cargo/registry"));
    for host in [plan.root.clone(), registry, plan.source_root.clone()] {
        assert_eq!(plan.on_host(&plan.in_sandbox(&host).unwrap()).unwrap(), host);
    }
    assert_eq!(plan.in_sandbox(Path::new("/etc/passwd")), None);
    assert_eq!(plan.on_host(Path::new("/carrack/target/release/app")), None);

    let kept = plan.to_bytes().unwrap();
    assert_eq!(CargoPlan::from_bytes(&kept).unwrap(), plan);
    let other = String::from_utf8(kept).unwrap().replacen("\"format\":4", "\"format\":999", 1);
    assert!(matches!(CargoPlan::from_bytes(other.as_bytes()), Err(KeptPlanError::Format { found: 999 })));
    assert!(matches!(CargoPlan::from_bytes(b"{"), Err(KeptPlanError::Malformed(_))));
}

#[test]
fn configurations_on_the_way_up_and_vendored_sources_widen_the_source_root() {
    let workspace = [("a/b/Cargo.toml", package("app", "")), ("a/b/src/main.rs", String::new())];
    let check = |further: &[(&str, &str)], source_root: &str, vendored: &[&str]| {
        let mut files: Vec<(&str, &str)> =
            workspace.iter().map(|(path, text)| (*path, text.as_str())).collect();
        files.extend(further);
        let fixture = Fixture::new(&files);
        let plan = fixture.plan("a/b", &fixture.request(), &Selection::default()).unwrap();
        assert_eq!(plan.source_root, fixture.path(source_root), "{further:?}");
        assert_eq!(plan.vendored, vendored.iter().map(|path| fixture.path(path)).collect::<Vec<_>>());
    };
    check(&[], "a/b", &[]);
    check(&[("a/.cargo/config.toml", "")], "a", &[]);
    // CARGO_HOME's own configuration is no reason to mount what holds CARGO_HOME.
    check(&[("cargo-home/config.toml", "")], "a/b", &[]);
    let replaced = "[source.crates-io]\nreplace-with = \"v\"\n[source.v]\ndirectory = \"../vendor\"\n";
    check(&[("a/b/.cargo/config.toml", replaced), ("a/vendor/x", "")], "a", &["a/vendor"]);
}

#[test]
fn registry_packages_come_with_their_checksums() {
    let fixture = Fixture::new(&[("Cargo.toml", &package("app", "")), ("src/main.rs", "")]);
    let source = "registry+https://github.com/rust-lang/crates.io-index";
    fixture.write(
        "Cargo.lock",
        &format!(
            "version = 4\n[[package]]\nname = \"app\"\nversion = \"1.2.3\"\n\
             [[package]]\nname = \"dep\"\nversion = \"0.1.0\"\nsource = \"{source}\"\nchecksum = \"abc\"\n"
        ),
    );
    let location = fixture.locate("");
    let configuration = fixture.configuration(&location).unwrap();
    let manifest = fixture.path("Cargo.toml");
    let root = fixture.path("");
    let metadata = serde_json::json!({
        "packages": [
            {
                "id": "app", "name": "app", "version": "1.2.3", "source": null, "manifest_path": manifest, "features": {},
                "dependencies": [], "targets": [{ "name": "app", "kind": ["bin"] }],
            },
            {
                "id": "dep", "name": "dep", "version": "0.1.0", "source": source, "features": {}, "dependencies": [],
                "manifest_path": "/home/registry/dep-0.1.0/Cargo.toml", "targets": [],
            },
        ],
        "workspace_members": ["app"],
        "workspace_default_members": ["app"],
        "workspace_root": root,
        "target_directory": root.join("target"),
    });
    let metadata = serde_json::to_vec(&metadata).unwrap();
    let (request, selection) = (fixture.request(), Selection::default());
    let plan = CargoPlan::from_metadata(&metadata, &location, &configuration, &request, &selection).unwrap();
    assert_eq!((plan.has_lock_file, plan.locked_packages), (true, 2));
    let dep = &plan.external_packages[0];
    assert_eq!(
        (dep.name.as_str(), dep.version.as_str(), dep.checksum.as_deref()),
        ("dep", "0.1.0", Some("abc"))
    );
    assert!(line(&build_command(&plan, &request)).contains("--locked"));
    let error = CargoPlan::from_metadata(b"{}", &location, &configuration, &request, &selection).unwrap_err();
    assert!(matches!(error, PlanError::Metadata(_)), "{error:?}");
}
