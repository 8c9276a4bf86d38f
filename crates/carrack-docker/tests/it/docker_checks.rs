//! Docker's own checks: what each has to find, and what it must leave in peace.

use std::collections::BTreeSet;

use carrack_base::Digest;
use carrack_docker::check::{DOCKER_CHECKS, DockerFacts, DockerReport, check_docker};
use carrack_docker::dockerfile::parse;
use carrack_docker::dockerignore::Dockerignore;
use carrack_docker::lower::Request;
use carrack_graph::ResolvedImage;
use serde_json::json;

use crate::dockerfile::source;
use crate::lower::{amd64, request};

/// `alpine` is known, as an image for another machine `foreign` is.
fn facts() -> DockerFacts {
    let image = |name: &str, platform: &str| {
        let reference = format!("docker.io/library/{name}:latest");
        let config = json!({ "config": { "Env": ["PATH=/bin", "BASE=1"] } });
        let image = ResolvedImage {
            reference: reference.clone(),
            manifest: Digest::of(b""),
            config: config.to_string().into_bytes(),
            platform: platform.parse().unwrap(),
        };
        (reference, image)
    };
    DockerFacts {
        ignore: Some(Dockerignore::parse("target\n*.md\ndocs\n!docs/keep").unwrap()),
        images: [image("alpine", "linux/amd64"), image("foreign", "linux/arm64")].into(),
        only_needed: false,
    }
}

#[track_caller]
fn report(text: &str, request: &Request) -> DockerReport {
    let dockerfile = parse(&source(text)).unwrap_or_else(|error| panic!("{error}\n{text}"));
    check_docker(&dockerfile, request, &facts())
}

/// What one check marks.
#[track_caller]
fn marked(name: &str, text: &str) -> Vec<String> {
    let report = report(text, &request());
    let own = report.findings.iter().filter(|finding| finding.check.name == name);
    own.map(|finding| text[finding.span.range.clone()].to_owned()).collect()
}

/// A check; Dockerfiles with what it marks in them; Dockerfiles in which it marks nothing.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const TABLE: &[Row] = &[
    ("StageNameCasing", &[("FROM alpine AS Build", "Build")], &["FROM alpine AS build-1", "FROM alpine"]),
    (
        "FromAsCasing",
        &[("FROM alpine as a", "as"), ("from alpine AS a", "AS"), ("FROM alpine \\\n  As a", "As")],
        &["FROM alpine AS a", "from alpine as a", "From alpine as a", "FROM alpine"],
    ),
    (
        "NoEmptyContinuation",
        &[("FROM alpine\nRUN a \\\n\n\n  b", ""), ("FROM alpine \\\n\n AS b", "")],
        &["FROM alpine\nRUN a \\\n  # c\n  b\n\nRUN c", "FROM alpine\nRUN <<E\na\n\nb\nE"],
    ),
    (
        "ConsistentInstructionCasing",
        &[
            ("FROM alpine\nRUN x\nrun y", "run"),
            ("FROM alpine\nRun x", "Run"),
            ("from alpine\nrun x\nRUN y", "RUN"),
            ("from alpine\nRUN x", "from"),
        ],
        &["FROM alpine\nRUN x", "from alpine\nrun x", "arg A=1\nFROM alpine\nRUN x"],
    ),
    (
        "DuplicateStageName",
        &[("FROM alpine AS a\nFROM alpine AS A", "A")],
        &["FROM alpine AS a\nFROM alpine AS b\nFROM alpine"],
    ),
    (
        "ReservedStageName",
        &[("FROM alpine AS scratch", "scratch"), ("FROM alpine AS Context", "Context")],
        &["FROM alpine AS contexts", "FROM scratch"],
    ),
    (
        "JSONArgsRecommended",
        &[("FROM alpine\nCMD a b", "a b"), ("FROM alpine\nENTRYPOINT a", "a")],
        &[
            "FROM alpine\nCMD [\"a\"]",
            "FROM alpine\nSHELL [\"/bin/bash\", \"-c\"]\nCMD a",
            "FROM alpine AS a\nSHELL [\"/bin/bash\", \"-c\"]\nFROM a\nENTRYPOINT a",
            "FROM alpine\nRUN a",
        ],
    ),
    (
        "MaintainerDeprecated",
        &[("FROM alpine\nMAINTAINER me", "MAINTAINER")],
        &["FROM alpine\nLABEL org.opencontainers.image.authors=me"],
    ),
    (
        "UndefinedArgInFrom",
        &[("FROM alpine:${V}", "alpine:${V}"), ("ARG V\nFROM --platform=$W alpine:$V", "$W")],
        &[
            "ARG V\nFROM alpine:$V",
            "FROM --platform=$BUILDPLATFORM alpine",
            "FROM alpine:${V:-latest}",
            "FROM alpine",
        ],
    ),
    (
        "WorkdirRelativePath",
        &[
            ("FROM alpine\nWORKDIR app", "app"),
            ("FROM unknown\nWORKDIR app/x", "app/x"),
            ("FROM alpine\nENV A=b\nWORKDIR $A", "$A"),
        ],
        &[
            "FROM alpine\nWORKDIR /app\nWORKDIR x",
            "FROM alpine AS a\nWORKDIR /a\nFROM a\nWORKDIR x",
            "FROM unknown\nWORKDIR $HOME",
        ],
    ),
    (
        "UndefinedVar",
        &[
            ("FROM alpine\nCOPY $A /b", "$A"),
            ("FROM scratch\nENV A=$B", "$B"),
            ("FROM alpine\nARG A=$B B=1", "$B"),
            ("FROM alpine AS a\nRUN x\nFROM a\nLABEL a=${X}", "${X}"),
            ("FROM alpine\nRUN --mount=type=cache,target=$T x", "$T"),
            ("FROM alpine\nCOPY <<E /x\n$A\nE", "$A\n"),
        ],
        &[
            "FROM alpine\nENV A=$BASE:$PATH",
            "FROM alpine\nARG A\nCOPY $A /b",
            "FROM alpine\nARG A=1 B=$A\nLABEL a=$B",
            "FROM alpine AS a\nARG A=1\nFROM a\nLABEL a=$A",
            "FROM unknown\nENV A=$B",
            "FROM alpine\nENV A=${B:-c} D='$E'",
            "FROM alpine\nRUN echo $A",
            "FROM alpine\nCOPY <<'E' /x\n$A\nE",
        ],
    ),
    (
        "MultipleInstructionsDisallowed",
        &[
            ("FROM alpine\nCMD [\"a\"]\nCMD [\"b\"]", "CMD [\"a\"]"),
            ("FROM alpine\nHEALTHCHECK NONE\nHEALTHCHECK CMD x", "HEALTHCHECK NONE"),
        ],
        &[
            "FROM alpine AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]",
            "FROM alpine\nENTRYPOINT [\"a\"]\nCMD [\"b\"]",
        ],
    ),
    (
        "LegacyKeyValueFormat",
        &[("FROM alpine\nENV A b c", "A b c"), ("FROM alpine\nLABEL a \"b=c\"", "a \"b=c\"")],
        &["FROM alpine\nENV A=b C=", "FROM alpine\nLABEL \"a b\"=c"],
    ),
    (
        "InvalidBaseImagePlatform",
        &[("FROM foreign", "foreign")],
        &["FROM alpine", "FROM --platform=linux/arm64 foreign"],
    ),
    (
        "RedundantTargetPlatform",
        &[
            ("FROM --platform=$TARGETPLATFORM alpine", "$TARGETPLATFORM"),
            ("FROM --platform=${TARGETPLATFORM} alpine", "${TARGETPLATFORM}"),
        ],
        &[
            "FROM --platform=$BUILDPLATFORM alpine",
            "FROM --platform=linux/$TARGETPLATFORM alpine",
            "FROM alpine",
        ],
    ),
    (
        "SecretsUsedInArgOrEnv",
        &[
            ("FROM alpine\nARG GITHUB_TOKEN", "GITHUB_TOKEN"),
            ("FROM alpine\nENV a=b auth_x=c", "auth_x"),
            ("FROM alpine\nENV ApiKey=x", "ApiKey"),
        ],
        &["FROM alpine\nARG TOKENS", "FROM alpine\nENV PUBLIC_KEY=x TOKEN_FILE=/x", "ARG TOKEN\nFROM alpine"],
    ),
    (
        "InvalidDefaultArgInFrom",
        &[("ARG V\nFROM alpine:$V", "alpine:$V"), ("ARG I\nFROM ${I}", "${I}")],
        &["ARG V=3\nFROM alpine:$V", "ARG V\nFROM alpine:${V:-3}", "FROM scratch"],
    ),
    (
        "FromPlatformFlagConstDisallowed",
        &[
            ("FROM --platform=linux/amd64 alpine", "linux/amd64"),
            ("FROM --platform=linux/arm64 alpine AS x", "linux/arm64"),
        ],
        &[
            "FROM --platform=linux/amd64 alpine AS build-amd64",
            "ARG P=linux/amd64\nFROM --platform=$P alpine",
        ],
    ),
    (
        "CopyIgnoredFile",
        &[
            ("FROM alpine\nCOPY target/app /", "target/app"),
            ("FROM alpine\nADD ./README.md /", "./README.md"),
            ("FROM alpine\nENV T=target\nCOPY a $T /", "$T"),
        ],
        &[
            "FROM alpine\nCOPY src .",
            "FROM alpine\nCOPY docs /",
            "FROM alpine AS a\nFROM alpine\nCOPY --from=a target /",
            "FROM alpine\nCOPY . .",
        ],
    ),
    (
        "InvalidDefinitionDescription",
        &[
            ("# check=experimental=all\n\n# the image\nFROM alpine AS a", "the image"),
            (
                "# check=experimental=InvalidDefinitionDescription\n\n# version\nARG V=1\nFROM alpine",
                "version",
            ),
        ],
        &[
            "# the image\nFROM alpine AS a",
            "# check=experimental=all\n# a is built\nFROM alpine AS a",
            "# check=experimental=all\nFROM alpine AS a",
            "# check=experimental=all\n# x\n\nFROM alpine AS a\n# V is it\nARG V",
        ],
    ),
    ("ExposeProtoCasing", &[("FROM alpine\nEXPOSE 80/TCP 81", "80/TCP")], &["FROM alpine\nEXPOSE 80/tcp 81"]),
    (
        "ExposeInvalidFormat",
        &[
            ("FROM alpine\nEXPOSE 80:80", "80:80"),
            ("FROM alpine\nEXPOSE 127.0.0.1:80:80 1", "127.0.0.1:80:80"),
        ],
        &["FROM alpine\nEXPOSE 80-90/udp"],
    ),
];

#[test]
fn each_finds_what_is_wrong_and_nothing_else() {
    for (name, wrong, right) in TABLE {
        for (text, mark) in *wrong {
            assert_eq!(marked(name, text), [mark.to_owned()], "{name} in\n{text}");
        }
        for text in *right {
            let marks = marked(name, text);
            assert!(marks.is_empty(), "{name} marks {marks:?} in\n{text}");
        }
    }
    let tested: BTreeSet<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
    let all: BTreeSet<&str> = DOCKER_CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(tested, all);
    assert_eq!(all.len(), 22);
}

#[test]
fn what_is_asked_for_counts() {
    let text = "ARG V\nFROM foreign:$V\n";
    let mut asked = request();
    asked.build_args.insert("V".into(), "latest".into());
    asked.platform = Some("linux/arm64".parse().unwrap());
    let names = |request: &Request| {
        let report = report(text, request);
        report.findings.iter().map(|finding| finding.check.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&asked), ["InvalidDefaultArgInFrom"]);
    asked.platform = Some(amd64());
    assert_eq!(names(&asked), ["InvalidBaseImagePlatform", "InvalidDefaultArgInFrom"]);
}

/// What is written badly is so wherever it is written; what a stage does counts if the stage is built.
#[test]
fn stages_that_are_not_needed() {
    let text = "FROM alpine AS Unused\nMAINTAINER me\nENV A 1\nCMD x\nFROM alpine AS used\nENV B 1\nFROM used\nEXPOSE 1/TCP\n";
    let dockerfile = parse(&source(text)).unwrap();
    let names = |request: &Request, only_needed: bool| {
        let report = check_docker(&dockerfile, request, &DockerFacts { only_needed, ..facts() });
        report.findings.iter().map(|finding| finding.check.name).collect::<Vec<_>>().join(" ")
    };
    let all = "StageNameCasing MaintainerDeprecated LegacyKeyValueFormat JSONArgsRecommended LegacyKeyValueFormat ExposeProtoCasing";
    assert_eq!(names(&request(), false), all);
    let built = "StageNameCasing MaintainerDeprecated LegacyKeyValueFormat ExposeProtoCasing";
    assert_eq!(names(&request(), true), built);
    let mut used = request();
    used.target = Some("used".into());
    for only_needed in [false, true] {
        assert_eq!(names(&used, only_needed), "StageNameCasing MaintainerDeprecated LegacyKeyValueFormat");
    }
}

#[test]
fn the_file_says_which_are_made() {
    let body = "FROM alpine AS A\nMAINTAINER me\n";
    let of = |head: &str| {
        let report = report(&format!("{head}{body}"), &request());
        let names = report.findings.iter().map(|finding| finding.check.name);
        (names.collect::<Vec<_>>().join(" "), report.are_errors)
    };
    let is = |names: &str, are_errors| (names.to_owned(), are_errors);
    assert_eq!(of(""), is("StageNameCasing MaintainerDeprecated", false));
    assert_eq!(of("# check=skip=StageNameCasing\n"), is("MaintainerDeprecated", false));
    assert_eq!(of("# check=skip=StageNameCasing, MaintainerDeprecated;error=true\n"), is("", false));
    assert_eq!(of("# check=skip=all\n"), is("", false));
    assert_eq!(of("# check=error=true\n"), is("StageNameCasing MaintainerDeprecated", true));
    let above = "FROM alpine\n# check=skip=MaintainerDeprecated\nMAINTAINER me\nCMD a\n";
    let report = report(above, &request());
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].check.name, "JSONArgsRecommended");
}

#[test]
fn each_has_its_page() {
    let url = |name: &str| DOCKER_CHECKS.iter().find(|check| check.name == name).unwrap().url();
    let page = |page: &str| format!("https://docs.docker.com/go/dockerfile/rule/{page}/");
    assert_eq!(url("JSONArgsRecommended"), page("json-args-recommended"));
    assert_eq!(url("SecretsUsedInArgOrEnv"), page("secrets-used-in-arg-or-env"));
    assert_eq!(url("UndefinedVar"), page("undefined-var"));
}
