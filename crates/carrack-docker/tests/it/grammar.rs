//! Lines out of a grammar of instructions, and bytes that are no text: whatever is read is drawn, checked and outlined, or
//! refused at a place that is in the text. `PROPTEST_CASES` says how often.

use std::path::PathBuf;

use carrack_docker::check::{
    CHECKS, DockerFacts, Edit, Fix, Surroundings, Workspace, apply, check, check_docker,
};
use carrack_docker::dockerfile::{Dockerfile, parse};
use carrack_docker::dockerignore::Dockerignore;
use carrack_docker::lower::{Context, LowerError, Request, lower, outline, targets};
use carrack_graph::Op;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;

use crate::dockerfile::source;
use crate::lower::{Images, Missing, request};

/// `PROPTEST_CASES` if that is set, else `cases`.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { default.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..default }
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = String> + Clone {
    select(words).prop_map(str::to_owned)
}

/// What a value may be: words, variables in every form, quotes and escapes, and what is none of these.
fn word() -> BoxedStrategy<String> {
    let name = one_of(&["A", "B", "a", "PATH", "TARGETARCH", "HTTP_PROXY", "x1", "", "é", "TOKEN"]);
    let plain = one_of(&[
        "a",
        "b",
        "/",
        ".",
        "..",
        "/a/b",
        "a*",
        "[a",
        "[!a-z]?",
        "é\u{301}",
        "\u{1F600}",
        "a:b",
        "0",
        "8080/udp",
        "1-3",
        "-1",
        "99999999999999999999",
        "linux/arm64",
        "https://x/y.git#z:q",
        "git@x:y",
        "https://x/a.tar.gz",
        "alpine",
        "app:1",
        "trigger",
        "scratch",
        "sha256:00",
        "u=rwX,go=rX",
        "0755",
        "SIGTERM",
        "1h2m3.5s",
        "~",
        "$$",
        "--",
        "--x",
        "=",
        ",",
        "#",
        "\u{0}",
        "\u{feff}",
        "cargo",
        "rust:1.95",
        "target/release/a",
    ]);
    let leaf =
        prop_oneof![6 => plain, 2 => name.clone().prop_map(|name| format!("${name}")), 1 => "\\PC{0,6}"];
    let leaf = leaf.boxed();
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let form = one_of(&[":-", ":+", ":?", "-", "+", "?", "#", "##", "%", "%%", "/", "//", ":", "!", ""]);
        prop_oneof![
            3 => (name.clone(), form, inner.clone()).prop_map(|(name, form, word)| format!("${{{name}{form}{word}}}")),
            1 => inner.clone().prop_map(|word| format!("\"{word}\"")),
            1 => inner.clone().prop_map(|word| format!("'{word}'")),
            1 => inner.clone().prop_map(|word| format!("\\{word}")),
            1 => (inner.clone(), inner).prop_map(|(one, other)| format!("{one}{other}")),
        ]
    })
    .boxed()
}

fn words(separator: &'static str, most: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(word(), 0..most).prop_map(move |words| words.join(separator))
}

fn pair() -> impl Strategy<Value = String> {
    (word(), one_of(&["=", " ", "==", ""]), word())
        .prop_map(|(name, equals, value)| format!("{name}{equals}{value}"))
}

fn mount() -> impl Strategy<Value = String> {
    let kind = one_of(&["bind", "cache", "tmpfs", "secret", "ssh", "x", ""]);
    let key = one_of(&[
        "target", "dst", "source", "src", "from", "id", "sharing", "readonly", "ro", "rw", "required", "env",
        "size", "mode", "uid", "gid", "x", "",
    ]);
    let value = prop_oneof![word(), one_of(&["true", "false", "locked", "private", "a", "b", "0", "64m"])];
    let field = (key, proptest::option::of(value))
        .prop_map(|(key, value)| value.map_or(key.clone(), |value| format!("{key}={value}")));
    (kind, proptest::collection::vec(field, 0..4))
        .prop_map(|(kind, fields)| format!("--mount=type={kind},{}", fields.join(",")))
}

fn flag() -> impl Strategy<Value = String> {
    let name = one_of(&[
        "from",
        "chown",
        "chmod",
        "link",
        "parents",
        "exclude",
        "platform",
        "network",
        "security",
        "device",
        "keep-git-dir",
        "unpack",
        "checksum",
        "interval",
        "timeout",
        "start-period",
        "retries",
        "x",
    ]);
    let value = prop_oneof![word(), one_of(&["a", "b", "0", "1", "true", "none", "host", "files"])];
    let plain = (name, proptest::option::of(value))
        .prop_map(|(name, value)| value.map_or(format!("--{name}"), |value| format!("--{name}={value}")));
    prop_oneof![2 => plain, 1 => mount()]
}

fn list() -> impl Strategy<Value = String> {
    let item = word().prop_map(|word| format!("{word:?}"));
    let end = one_of(&["]", "] ", "", "] x", ",]"]);
    (proptest::collection::vec(item, 0..4), end)
        .prop_map(|(items, end)| format!("[{}{end}", items.join(", ")))
}

fn document() -> impl Strategy<Value = String> {
    let open = one_of(&["<<E", "<<-E", "<<\"E\"", "<<'E'", "3<<E", "<<E <<F", "<<$A"]);
    let end = one_of(&["E", "\tE", " E", "F\nE", "E\nF", "", "$A"]);
    (open, proptest::collection::vec(words(" ", 4), 0..3), end)
        .prop_map(|(open, lines, end)| format!("{open} /x\n{}\n{end}", lines.join("\n")))
}

fn shell() -> impl Strategy<Value = String> {
    let program = one_of(&[
        "cargo build --release",
        "cargo fetch",
        "cd /app",
        "export A=1",
        "cp target/release/a /b",
        "set -e",
        "true",
        "echo \"$A\" > src/main.rs",
        "mkdir -p src",
        "rustup target add x",
        "apt-get install -y x",
        "sh -c 'x'",
    ]);
    let join = one_of(&[" && ", "; ", " | ", " || ", " \\\n ", " \\\n# c\n", " \\\n\n", "\n"]);
    let part = prop_oneof![2 => program, 1 => words(" ", 4)];
    proptest::collection::vec((part, join), 0..4)
        .prop_map(|parts| parts.into_iter().map(|(part, join)| format!("{part}{join}")).collect())
}

/// One instruction, mostly one that could be.
fn instruction() -> BoxedStrategy<String> {
    let arguments = prop_oneof![
        4 => words(" ", 4),
        2 => proptest::collection::vec(pair(), 0..3).prop_map(|pairs| pairs.join(" ")),
        2 => list(),
        1 => document(),
        2 => shell(),
        1 => Just("NONE".to_owned()),
    ];
    let plain = (
        one_of(&[
            "RUN",
            "COPY",
            "ADD",
            "ENV",
            "ARG",
            "LABEL",
            "WORKDIR",
            "USER",
            "EXPOSE",
            "VOLUME",
            "CMD",
            "ENTRYPOINT",
            "SHELL",
            "STOPSIGNAL",
            "HEALTHCHECK",
            "MAINTAINER",
            "run",
            "Copy",
            "X",
        ]),
        proptest::collection::vec(flag(), 0..3),
        arguments,
    )
        .prop_map(|(keyword, flags, arguments)| format!("{keyword} {} {arguments}", flags.join(" ")));
    let image =
        prop_oneof![one_of(&["scratch", "alpine", "app", "trigger", "bare", "rust:1.95", "a", "b"]), word()];
    let from = (
        proptest::option::of(word()),
        image,
        proptest::option::of(one_of(&["a", "b", "C", "d-1", "context", "1"])),
    )
        .prop_map(|(platform, image, name)| {
            let platform = platform.map_or(String::new(), |platform| format!("--platform={platform} "));
            format!("FROM {platform}{image}{}", name.map_or(String::new(), |name| format!(" AS {name}")))
        });
    let comment = one_of(&[
        "# a says",
        "# check=skip=all",
        "# carrack: allow(unpinned-rust)",
        "# check=error=true;experimental=all",
        "",
        " ",
        "# A is",
        "# \u{301}",
    ]);
    let plain = plain.boxed();
    prop_oneof![
        6 => plain.clone(),
        2 => from,
        1 => plain.prop_map(|inner| format!("ONBUILD {inner}")),
        1 => comment,
    ]
    .boxed()
}

/// What becomes of lines that alone could not be.
#[derive(Debug, Clone, Copy)]
enum Keep {
    All,
    Readable,
    Buildable,
}

impl Keep {
    fn keeps(self, line: &str) -> bool {
        let text = format!("FROM scratch AS a\nFROM scratch AS b\nFROM alpine AS c\n{line}\n");
        let readable = || parse(&source(&text));
        match self {
            Self::All => true,
            Self::Readable => readable().is_ok(),
            Self::Buildable => {
                readable().is_ok_and(|dockerfile| lower(&dockerfile, &request(), &Images::new()).is_ok())
            }
        }
    }
}

/// A whole file: directives, lines with ends.
fn file() -> impl Strategy<Value = String> {
    let head = one_of(&[
        "",
        "# syntax=docker/dockerfile:1\n",
        "# escape=`\n",
        "# check=skip=UndefinedVar;error=true\n",
        "\u{feff}",
        "ARG A=alpine\n",
        "#!/bin/x\n#syntax=x/y\n",
    ]);
    let first = one_of(&["FROM alpine AS a\n", "FROM scratch AS b\n", "FROM rust:1.95 AS build\n", ""]);
    let end = one_of(&["\r\n", "\n\n", "\\\n", "`\n"]);
    let line = (instruction(), prop_oneof![12 => Just("\n".to_owned()), 1 => end]);
    let keep = prop_oneof![1 => Just(Keep::All), 1 => Just(Keep::Readable), 2 => Just(Keep::Buildable)];
    (head, first, keep, proptest::collection::vec(line, 0..16)).prop_map(|(head, first, keep, lines)| {
        let lines = lines.into_iter().filter(|(line, _)| keep.keeps(line));
        lines.fold(format!("{head}{first}"), |text, (line, end)| text + &line + &end)
    })
}

/// Most of what the grammar makes gets far.
#[test]
fn the_grammar_makes_what_could_be() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut counts = (0, 0, 0);
    for _ in 0..600 {
        let text = file().new_tree(&mut runner).unwrap().current();
        counts.0 += text.lines().count();
        let Ok(dockerfile) = parse(&source(&text)) else { continue };
        counts.1 += 1;
        counts.2 += usize::from(lower(&dockerfile, &request(), &Images::new()).is_ok());
    }
    assert!(counts.0 > 2400 && counts.1 > 200 && counts.2 > 60, "lines, read, drawn: {counts:?}");
}

/// Everything that can be asked of a text.
fn is_read_or_refused(text: &str, target: Option<&str>) {
    let dockerfile = match parse(&source(text)) {
        Ok(dockerfile) => dockerfile,
        Err(error) => {
            assert!(text.get(error.span.range).is_some(), "{:?}", error.problem);
            return;
        }
    };
    let mut request = request();
    let files = Context::Folder { folder: PathBuf::from("/files"), filter: None };
    request.contexts.insert("files".to_owned(), files);
    request.target = target.map(str::to_owned);
    request.build_args.insert("B".to_owned(), "\u{e9}$A".to_owned());
    is_checked(text, &dockerfile, &request);
    let outlined = outline::<Missing>(&dockerfile, &request);
    let listed = targets::<Missing>(&dockerfile, &request);
    if let Ok(listed) = &listed {
        assert_eq!(listed.len(), dockerfile.stages.len());
    }
    match lower(&dockerfile, &request, &Images::new()) {
        Ok(lowered) => {
            assert!(outlined.is_ok() && listed.is_ok(), "what is drawn has an outline");
            for node in lowered.graph.nodes() {
                let step = match lowered.graph.op(node) {
                    Op::Base(op) => &op.step,
                    Op::Run(op) => &op.step,
                    Op::Copy(op) => &op.step,
                    Op::Folder(op) => &op.step,
                    Op::Fetch(op) => &op.step,
                    Op::Git(op) => &op.step,
                    _ => continue,
                };
                assert!(step.origin.iter().all(|span| text.get(span.range.clone()).is_some()));
            }
        }
        Err(LowerError::Refused { span, .. } | LowerError::Image { span, .. }) => {
            assert!(text.get(span.range).is_some());
        }
    }
}

/// Findings lie in the text, and what a fix makes can still be read.
fn is_checked(text: &str, dockerfile: &Dockerfile, request: &Request) {
    let ignore = Dockerignore::parse("*.x\n!a\n").ok();
    let facts = DockerFacts { ignore: ignore.clone(), ..DockerFacts::default() };
    for finding in check_docker(dockerfile, request, &facts).findings {
        assert!(text.get(finding.span.range).is_some(), "{}", finding.check.name);
    }
    let workspace = Some(Workspace { rust_version: Some("1.80".to_owned()), ..Workspace::default() });
    let surroundings = Surroundings { workspace, ignore, ci: vec!["ci.yml".to_owned()] };
    let findings = check(dockerfile, &surroundings);
    for finding in &findings {
        assert!(text.get(finding.span.range.clone()).is_some(), "{}", finding.check.name);
        assert!(CHECKS.iter().any(|check| check.name == finding.check.name));
    }
    let fixes: Vec<&Fix> = findings.iter().filter_map(|finding| finding.fix.as_ref()).collect();
    let fixes: Vec<&Fix> = fixes.into_iter().filter(|fix| matches!(fix.edit, Edit::Replace { .. })).collect();
    let fixed = apply(text, &fixes);
    assert!(parse(&source(&fixed)).is_ok(), "a fix made {fixed:?}");
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn lines_of_a_grammar(text in file(), target in proptest::option::of(select(vec!["a", "b", "0", "1", "x"]))) {
        is_read_or_refused(&text, target);
    }

    #[test]
    fn bytes_that_are_no_text(bytes in proptest::collection::vec(any::<u8>(), 0..300), is_file: bool) {
        let text = String::from_utf8_lossy(&bytes);
        is_read_or_refused(&if is_file { format!("FROM alpine AS a\n{text}") } else { text.into_owned() }, None);
    }
}
