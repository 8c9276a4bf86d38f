use std::path::PathBuf;
use std::time::Duration;

use carrack_cargo::config::{
    BuildVariable, ConfigError, Configuration, FILE_KEYS, HEALTHCHECK_KEYS, Healthcheck, KEYS, Level,
    json_schema,
};

use crate::fixture::{Fixture, package};

/// Loads a workspace with the members `server` and `tool`.
fn load(
    root: &str,
    server: &str,
    further: &[(&str, &str)],
) -> (Fixture, Result<Configuration, Vec<ConfigError>>) {
    let fixture = Fixture::new(further);
    fixture.write("Cargo.toml", &format!("[workspace]\nmembers = [\"server\", \"tool\"]\n{root}"));
    fixture.write("server/Cargo.toml", &package("server", server));
    fixture.write("tool/Cargo.toml", &package("tool", ""));
    let members =
        ["server", "tool"].map(|name| (name.to_owned(), fixture.path(&format!("{name}/Cargo.toml"))));
    let configuration = Configuration::load(&fixture.path(""), &members);
    (fixture, configuration)
}

/// The single error of a configuration, and the text that it points at.
fn check_error(root: &str, server: &str, pointed_at: &str) -> ConfigError {
    let (_fixture, configuration) = load(root, server, &[]);
    let mut errors = configuration.unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let error = errors.remove(0);
    let span = error.span().unwrap();
    assert_eq!(&span.source.text[span.range.clone()], pointed_at, "{error:?}");
    error
}

#[test]
fn nothing_configured_has_good_defaults() {
    let (_fixture, configuration) = load("", "", &[]);
    let configuration = configuration.unwrap();
    assert_eq!(configuration.workspace.builder, "host");
    assert_eq!(configuration.workspace.profile, "release");
    assert!(configuration.workspace.default_features);
    assert!(!configuration.packages["server"].configured);
    assert_eq!(configuration.absent.len(), 3, "{:?}", configuration.absent);
    assert_eq!(configuration.files.len(), 3);
}

#[test]
fn every_key_reaches_its_place() {
    let (fixture, configuration) = load(
        r#"
        [workspace.metadata.carrack]
        builder = "rust:1.95"
        profile = "dist"
        features = ["tls"]
        default-features = false
        target = "x86_64-unknown-linux-musl"
        cargo-args = ["--timings"]
        build-env = { GIT_HASH = "abc", GH_TOKEN = true, N = 1 }
        registry = "ghcr.io/acme"
        "#,
        r#"
        [package.metadata.carrack]
        image = "api"
        tags = ["{version}", "latest"]
        base = "scratch"
        features = ["metrics"]
        env = { RUST_LOG = "info", PORT = 8080 }
        user = "1000:1000"
        workdir = "/app/./data/"
        entrypoint = ["/bin/api"]
        cmd = ["serve"]
        ports = [8080, "53/udp"]
        labels = { "org.example.a" = "b" }
        volumes = ["/data"]
        stop-signal = "int"
        timezones = true
        [package.metadata.carrack.healthcheck]
        cmd = ["/bin/api", "health"]
        interval = "1m30s"
        start-period = "500ms"
        retries = 3
        [[package.metadata.carrack.files]]
        from = "config"
        to = "/app/config"
        mode = "0644"
        owner = "app:app"
        [[package.metadata.carrack.files]]
        from = "../migrations"
        to = "/app/"
        "#,
        &[],
    );
    let configuration = configuration.unwrap();
    let workspace = &configuration.workspace;
    assert_eq!((workspace.builder.as_str(), workspace.profile.as_str()), ("rust:1.95", "dist"));
    assert_eq!(workspace.features, ["tls"]);
    assert!(!workspace.default_features);
    assert_eq!(workspace.target.as_deref(), Some("x86_64-unknown-linux-musl"));
    assert_eq!(workspace.cargo_args, ["--timings"]);
    assert_eq!(workspace.build_env["GIT_HASH"], BuildVariable::Value("abc".to_owned()));
    assert_eq!(workspace.build_env["GH_TOKEN"], BuildVariable::FromCaller);
    assert_eq!(workspace.build_env["N"], BuildVariable::Value("1".to_owned()));

    let package = &configuration.packages["server"];
    assert!(package.configured && !configuration.packages["tool"].configured);
    assert_eq!(package.features, ["metrics"]);
    let service = &package.service;
    assert_eq!(service.image.as_deref(), Some("api"));
    assert_eq!(service.tags.as_deref(), Some(&["{version}".to_owned(), "latest".to_owned()][..]));
    assert_eq!(service.registry.as_deref(), Some("ghcr.io/acme"));
    assert_eq!(configuration.packages["tool"].service.registry.as_deref(), Some("ghcr.io/acme"));
    assert_eq!(service.base.as_deref(), Some("scratch"));
    assert_eq!(service.env["PORT"], "8080");
    assert_eq!(service.user.as_deref(), Some("1000:1000"));
    assert_eq!(service.workdir.as_ref().unwrap().as_str(), "/app/data");
    assert_eq!(service.entrypoint.as_deref(), Some(&["/bin/api".to_owned()][..]));
    assert_eq!(service.cmd.as_deref(), Some(&["serve".to_owned()][..]));
    assert_eq!(service.ports.iter().map(ToString::to_string).collect::<Vec<_>>(), ["8080/tcp", "53/udp"]);
    assert_eq!(service.labels["org.example.a"], "b");
    assert_eq!(service.volumes[0].as_str(), "/data");
    assert_eq!(service.stop_signal.as_deref(), Some("SIGINT"));
    assert!(service.timezones);
    let Some(Healthcheck::Command { cmd, interval, start_period, retries, timeout, start_interval }) =
        &service.healthcheck
    else {
        panic!("{:?}", service.healthcheck)
    };
    assert_eq!(cmd, &["/bin/api", "health"]);
    assert_eq!(*interval, Some(Duration::from_secs(90)));
    assert_eq!(*start_period, Some(Duration::from_millis(500)));
    assert_eq!((*timeout, *start_interval, *retries), (None, None, Some(3)));
    assert_eq!(service.files[0].from, fixture.path("server/config"));
    assert_eq!((service.files[0].mode, service.files[0].owner.as_deref()), (Some(0o644), Some("app:app")));
    assert_eq!(service.files[1].from, fixture.path("migrations"));
    assert_eq!(service.files[1].to.as_str(), "/app/migrations");
}

#[test]
fn the_most_specific_place_wins_and_maps_merge() {
    let (fixture, configuration) = load(
        "[workspace.metadata.carrack]\nbase = \"one\"\nports = [1]\nenv = { A = \"1\", B = \"1\", C = \"1\", D = \"1\" }\nprofile = \"one\"\n",
        "[package.metadata.carrack]\nbase = \"three\"\nports = [3]\nenv = { C = \"3\", D = \"3\" }\n",
        &[
            (
                "carrack.toml",
                "base = \"two\"\nports = [2]\nenv = { B = \"2\", C = \"2\", D = \"2\" }\nprofile = \"two\"\n",
            ),
            (
                "server/carrack.toml",
                "base = \"four\"\nenv = { D = \"4\" }\nfiles = [{ from = \"x\", to = \"/x\" }]\n",
            ),
        ],
    );
    let configuration = configuration.unwrap();
    assert_eq!(configuration.workspace.profile, "two");
    let server = &configuration.packages["server"].service;
    assert_eq!(server.base.as_deref(), Some("four"));
    assert_eq!(server.ports.iter().map(|port| port.number).collect::<Vec<_>>(), [3]);
    let values: Vec<&str> = ["A", "B", "C", "D"].iter().map(|name| server.env[*name].as_str()).collect();
    assert_eq!(values, ["1", "2", "3", "4"]);
    assert_eq!(server.files[0].from, fixture.path("server/x"));
    let tool = &configuration.packages["tool"].service;
    assert_eq!(tool.base.as_deref(), Some("two"));
    assert_eq!(tool.ports.iter().map(|port| port.number).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_file_beside_a_root_package_speaks_for_both() {
    let fixture = Fixture::new(&[("carrack.toml", "image = \"mine\"\nprofile = \"dist\"\nports = [80]\n")]);
    fixture.write("Cargo.toml", &package("app", ""));
    let members = [("app".to_owned(), fixture.path("Cargo.toml"))];
    let configuration = Configuration::load(&fixture.path(""), &members).unwrap();
    assert_eq!(configuration.workspace.profile, "dist");
    let app = &configuration.packages["app"];
    assert_eq!(app.service.image.as_deref(), Some("mine"));
    assert_eq!(app.service.ports[0].number, 80);
    assert!(app.configured);
}

#[test]
fn unknown_keys_are_pointed_at_with_the_nearest_name() {
    let error = check_error("", "[package.metadata.carrack]\nprots = [8080]", "prots");
    assert!(
        matches!(&error, ConfigError::UnknownKey { key, nearest: Some("ports"), .. } if key == "prots"),
        "{error:?}"
    );
    let error =
        check_error("", "[package.metadata.carrack]\nfiles = [{ form = \"a\", to = \"/a\" }]", "form");
    assert!(matches!(error, ConfigError::UnknownKey { nearest: Some("from"), .. }), "{error:?}");
    let error =
        check_error("", "[package.metadata.carrack.healthcheck]\ncmd = [\"x\"]\nretires = 3", "retires");
    assert!(matches!(error, ConfigError::UnknownKey { nearest: Some("retries"), .. }), "{error:?}");
    let error = check_error("", "[package.metadata.carrack]\nstop_signal = \"INT\"", "stop_signal");
    assert!(matches!(error, ConfigError::UnknownKey { nearest: Some("stop-signal"), .. }), "{error:?}");
    let error = check_error("", "[package.metadata.carrack]\nxyzzy = 1", "xyzzy");
    assert!(matches!(error, ConfigError::UnknownKey { nearest: None, .. }), "{error:?}");
}

#[test]
fn wrong_types_are_pointed_at() {
    for (line, pointed_at) in [
        ("ports = 8080", "8080"),
        ("ports = [true]", "true"),
        ("image = [\"a\"]", "[\"a\"]"),
        ("timezones = \"yes\"", "\"yes\""),
        ("env = [\"A=1\"]", "[\"A=1\"]"),
        ("env = { A = [1] }", "[1]"),
        ("env.A = 1.5", "1.5"),
        ("cmd = \"serve\"", "\"serve\""),
        ("cmd = [1]", "1"),
        ("files = [\"a\"]", "\"a\""),
        ("healthcheck = { cmd = \"x\" }", "\"x\""),
        ("healthcheck = { cmd = [\"x\"], interval = 30 }", "30"),
    ] {
        let error = check_error("", &format!("[package.metadata.carrack]\n{line}"), pointed_at);
        assert!(matches!(error, ConfigError::WrongType { .. }), "{line}: {error:?}");
    }
    let error = check_error("[workspace.metadata]\ncarrack = 1", "", "1");
    assert!(matches!(error, ConfigError::WrongType { key: "carrack", .. }), "{error:?}");
}

#[test]
fn values_that_make_no_sense_are_pointed_at() {
    for (line, pointed_at) in [
        ("ports = [0]", "0"),
        ("ports = [80, 70000]", "70000"),
        ("ports = [\"80/icmp\"]", "\"80/icmp\""),
        ("image = \"My App\"", "\"My App\""),
        ("image = \"app:1\"", "\"app:1\""),
        ("registry = \"https://ghcr.io\"", "\"https://ghcr.io\""),
        ("tags = [\"{commit}\"]", "\"{commit}\""),
        ("workdir = \"app\"", "\"app\""),
        ("volumes = [\"/a/../..\"]", "\"/a/../..\""),
        ("user = \"a b\"", "\"a b\""),
        ("stop-signal = \"SIGNOPE\"", "\"SIGNOPE\""),
        ("cmd = []", "[]"),
        ("files = [{ from = \"a\", to = \"/a\", mode = \"rw\" }]", "\"rw\""),
        ("healthcheck = \"off\"", "\"off\""),
        ("healthcheck = { cmd = [\"x\"], retries = 0 }", "0"),
    ] {
        let error = check_error("", &format!("[package.metadata.carrack]\n{line}"), pointed_at);
        assert!(matches!(error, ConfigError::BadValue { .. }), "{line}: {error:?}");
    }
    let error = check_error("", "[package.metadata.carrack]\nfiles = [{ from = \"a\" }]", "{ from = \"a\" }");
    assert!(matches!(error, ConfigError::MissingKey { missing: "to", .. }), "{error:?}");
}

#[test]
fn keys_at_the_wrong_level_say_where_they_belong() {
    let error = check_error("", "[package.metadata.carrack]\nprofile = \"dev\"", "profile");
    assert!(matches!(error, ConfigError::WrongLevel { key: "profile", belongs: Level::Workspace, .. }));
    let error = check_error("[workspace.metadata.carrack]\nimage = \"x\"", "", "image");
    assert!(matches!(error, ConfigError::WrongLevel { key: "image", belongs: Level::Package, .. }));
}

#[test]
fn all_errors_of_all_files_come_at_once() {
    let (fixture, configuration) = load(
        "[workspace.metadata.carrack]\nbilder = \"host\"\n",
        "[package.metadata.carrack]\nprots = []\nimage = 3\n",
        &[("tool/carrack.toml", "ports = [80\n")],
    );
    let errors = configuration.unwrap_err();
    assert_eq!(errors.len(), 4, "{errors:?}");
    assert!(
        matches!(&errors[3], ConfigError::Syntax { span, .. } if span.source.path == fixture.path("tool/carrack.toml"))
    );
}

#[test]
fn unreadable_manifests_are_named() {
    let fixture = Fixture::new(&[("Cargo.toml", "[workspace]\n")]);
    let members = [("gone".to_owned(), PathBuf::from("/nowhere/Cargo.toml"))];
    let errors = Configuration::load(&fixture.path(""), &members).unwrap_err();
    assert!(
        matches!(&errors[..], [ConfigError::Unreadable { path, .. }] if path == &members[0].1),
        "{errors:?}"
    );
}

#[test]
fn the_committed_schema_is_fresh() {
    let committed = include_str!("../../schema/carrack.schema.json");
    assert!(
        committed == json_schema(),
        "schema/carrack.schema.json is stale: \
         cargo run -p carrack-cargo --example configuration schema > crates/carrack-cargo/schema/carrack.schema.json"
    );
}

#[test]
fn the_committed_reference_is_fresh() {
    let committed = include_str!("../../../../docs/configuration.md");
    assert!(
        committed == carrack_cargo::config::reference(),
        "docs/configuration.md is stale: \
         cargo run -p carrack-cargo --example configuration reference > docs/configuration.md"
    );
}

#[test]
fn the_schema_names_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    let properties = schema["properties"].as_object().unwrap();
    assert!(properties.keys().eq(KEYS.iter().map(|key| key.name)));
    let files = &properties["files"]["items"]["properties"];
    assert!(files.as_object().unwrap().keys().eq(FILE_KEYS.iter().map(|key| key.name)));
    let healthcheck = &properties["healthcheck"]["anyOf"][1]["properties"];
    assert!(healthcheck.as_object().unwrap().keys().eq(HEALTHCHECK_KEYS.iter().map(|key| key.name)));
}
