use carrack_oci::{Reference, ReferenceError};

#[test]
fn names_are_read_as_docker_reads_them() {
    let digest = format!("sha256:{}", "a".repeat(64));
    // Written, registry, repository, tag, familiar form.
    let table = [
        ("debian", "docker.io", "library/debian", None, "debian"),
        ("debian:12", "docker.io", "library/debian", Some("12"), "debian:12"),
        ("docker.io/library/debian:12", "docker.io", "library/debian", Some("12"), "debian:12"),
        ("index.docker.io/acme/server", "docker.io", "acme/server", None, "acme/server"),
        ("acme/server:v1.2-rc_1", "docker.io", "acme/server", Some("v1.2-rc_1"), "acme/server:v1.2-rc_1"),
        ("localhost/server", "localhost", "server", None, "localhost/server"),
        ("localhost:5000/a/b:t", "localhost:5000", "a/b", Some("t"), "localhost:5000/a/b:t"),
        ("localhost:5000", "docker.io", "library/localhost", Some("5000"), "localhost:5000"),
        ("ghcr.io/acme/a__b--c.d", "ghcr.io", "acme/a__b--c.d", None, "ghcr.io/acme/a__b--c.d"),
        ("[::1]:5000/x", "[::1]:5000", "x", None, "[::1]:5000/x"),
        ("[::1]/x:t", "[::1]", "x", Some("t"), "[::1]/x:t"),
        ("Host/x", "Host", "x", None, "Host/x"),
        ("a/b/c", "docker.io", "a/b/c", None, "a/b/c"),
    ];
    for (text, registry, repository, tag, familiar) in table {
        let reference: Reference = text.parse().unwrap();
        assert_eq!(reference.to_string(), text);
        assert_eq!(reference.registry(), registry, "{text}");
        assert_eq!(reference.repository(), repository, "{text}");
        assert_eq!(reference.tag(), tag, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
    }
    let pinned: Reference = format!("debian:12@{digest}").parse().unwrap();
    assert_eq!(pinned.digest().unwrap().to_string(), digest);
    assert_eq!(pinned.canonical(), format!("docker.io/library/debian:12@{digest}"));
}

#[test]
fn latest_is_the_tag_of_a_name_that_has_none() {
    let tagged = |text: &str| text.parse::<Reference>().unwrap().tagged().canonical();
    assert_eq!(tagged("server"), "docker.io/library/server:latest");
    assert_eq!(tagged("server:1"), "docker.io/library/server:1");
    assert_eq!(tagged(&format!("server@sha256:{}", "0".repeat(64))), "docker.io/library/server:latest");
}

#[test]
fn tags_are_replaced() {
    let reference: Reference = "localhost:5000/server:1".parse().unwrap();
    assert_eq!(reference.with_tag("2").unwrap().to_string(), "localhost:5000/server:2");
    assert!(reference.with_tag("no tag").is_err());
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let at = |text: &str| match text.parse::<Reference>().unwrap_err() {
        ReferenceError::UpperCase { at, suggestion, .. } => format!("upper {at} {suggestion}"),
        ReferenceError::Character { at, found, .. } => format!("character {at} {found}"),
        ReferenceError::Incomplete { at, .. } => format!("incomplete {at}"),
        ReferenceError::TooLong { part, length, .. } => format!("long {part} {length}"),
        ReferenceError::Empty => "empty".to_owned(),
        ReferenceError::Identifier { .. } => "identifier".to_owned(),
        ReferenceError::Digest { .. } => "digest".to_owned(),
    };
    let table = [
        ("", "empty"),
        ("acme/Server:1", "upper 5 acme/server:1"),
        ("Server", "upper 0 server"),
        ("my server", "character 2  "),
        ("server:", "incomplete 7"),
        (":tag", "incomplete 0"),
        ("server:.tag", "character 7 ."),
        // With a colon in it, the first part is a registry, whose port this is.
        ("server:a/b", "character 7 a"),
        ("a//b", "incomplete 2"),
        ("a/", "incomplete 2"),
        ("/a", "incomplete 0"),
        ("-a", "character 0 -"),
        ("a-", "incomplete 2"),
        ("a..b", "character 2 ."),
        ("a___b", "character 2 _"),
        ("a._b", "character 2 _"),
        ("host:port/a", "character 5 p"),
        ("host.:1/a", "incomplete 5"),
        ("-h.io/a", "character 0 -"),
        ("[::g]/a", "character 3 g"),
        ("größe", "character 2 ö"),
        ("a@b", "digest"),
        ("a@sha256:12", "digest"),
    ];
    for (text, expected) in table {
        assert_eq!(at(text), expected, "{text}");
    }
    assert_eq!(at(&"0123456789abcdef".repeat(4)), "identifier");
    assert_eq!(at(&"a".repeat(256)), "long name 256");
    assert_eq!(at(&format!("a:{}", "t".repeat(129))), "long tag 129");
    let message = "acme/Server".parse::<Reference>().unwrap_err().to_string();
    assert_eq!(
        message,
        "image name `acme/Server` has an upper-case letter at byte 5, and repository names are lower case"
    );
}
