//! `ARG`, `ENV` and what an instruction sees of them.

use super::*;

/// What the only `RUN` of the target sees, without `PATH`; `~` is what its key does not know.
#[track_caller]
fn seen(text: &str, asked: impl FnOnce(&mut Request)) -> String {
    let lowered = lowered(text, asked);
    let mut runs = lowered.graph.ops().iter().rev().filter_map(|op| match op {
        Op::Run(run) => Some(run),
        _ => None,
    });
    let run = runs.next().expect("something is run");
    let variables = run.env.iter().filter(|(name, _)| name != "PATH");
    let shown = variables
        .map(|(name, EnvValue { value, keyed })| format!("{}{name}={value}", if *keyed { "" } else { "~" }));
    shown.collect::<Vec<_>>().join(" ")
}

fn with(name: &str, value: &str) -> impl FnOnce(&mut Request) {
    move |request| drop(request.build_args.insert(name.to_owned(), value.to_owned()))
}

#[test]
fn variables_of_one_stage() {
    for (text, expected) in [
        ("RUN x", ""),
        ("ARG A\nRUN x", ""),
        ("ARG A=\nRUN x", "A="),
        ("ARG A=1\nRUN x", "A=1"),
        ("ENV A=1\nRUN x", "A=1"),
        ("ENV A 1 2\nRUN x", "A=1 2"),
        ("ENV A=\"1 2\" B='$A'\nRUN x", "A=1 2 B=$A"),
        // What was set last counts.
        ("ARG A=1\nENV A=2\nRUN x", "A=2"),
        ("ENV A=2\nARG A=1\nRUN x", "A=1"),
        ("ENV A=2\nARG A\nRUN x", "A=2"),
        ("ARG A=1\nENV A=${A}0\nRUN x", "A=10"),
        // An instruction sees what was there before it; arguments see those in front of them.
        ("ENV A=1\nENV A=2 B=$A\nRUN x", "A=2 B=1"),
        ("ARG A=1 B=$A\nRUN x", "A=1 B=1"),
        ("ARG A=1\nARG B=${A:-x}${C:-y}\nRUN x", "A=1 B=1y"),
        ("ENV B=$A\nARG A=1\nRUN x", "B= A=1"),
        ("ARG BUILDKIT_SBOM_SCAN_STAGE=1\nRUN x", ""),
    ] {
        assert_eq!(seen(&format!("FROM scratch\n{text}"), plain), expected, "{text}");
    }
}

#[test]
fn the_request_counts_more_than_defaults() {
    for (text, expected) in [
        ("FROM scratch\nRUN x", ""),
        ("FROM scratch\nARG A\nRUN x", "A=asked"),
        ("FROM scratch\nARG A=1\nRUN x", "A=asked"),
        ("FROM scratch\nARG A=1 B=$A\nRUN x", "A=asked B=asked"),
        ("FROM scratch\nARG A\nENV A=2\nRUN x", "A=2"),
        ("FROM app\nARG A\nRUN x", "A=asked EMPTY="),
        // In front of the first stage it is for FROM only.
        ("ARG A=1\nFROM scratch\nRUN x", ""),
        ("ARG A=1\nARG B=$A-b\nFROM scratch\nARG B\nRUN x", "B=asked-b"),
        ("ARG A=1\nFROM scratch\nARG A=2\nRUN x", "A=asked"),
    ] {
        assert_eq!(seen(text, with("A", "asked")), expected, "{text}");
    }
    for (text, expected) in [
        ("ARG A=1\nFROM scratch\nARG A\nRUN x", "A=1"),
        ("ARG A=1\nFROM scratch\nARG A=2\nRUN x", "A=2"),
        ("ARG A=1 B=$A$A\nFROM scratch\nARG B\nRUN x", "B=11"),
        ("ARG A\nFROM scratch\nARG A\nRUN x", ""),
    ] {
        assert_eq!(seen(text, plain), expected, "{text}");
    }
}

#[test]
fn stages_inherit() {
    for (text, expected) in [
        ("FROM scratch AS a\nARG A=1\nENV B=2\nFROM a\nRUN x", "A=1 B=2"),
        // The image's own variables count more than the arguments of the stage below.
        ("FROM scratch AS a\nENV A=1\nARG A=2\nFROM a\nRUN x", "A=1"),
        ("FROM scratch AS a\nARG A=1\nFROM scratch\nRUN x", ""),
        ("FROM app\nRUN x", "A=base EMPTY="),
        ("FROM app\nARG A=1\nRUN x", "A=1 EMPTY="),
    ] {
        assert_eq!(seen(text, plain), expected, "{text}");
    }
    // Arguments are no part of the image.
    let child = lowered("FROM scratch AS a\nARG A=1\nENV B=$A\nFROM a\nRUN x", plain);
    assert_eq!(settings(&child), json!({ "WorkingDir": "/", "Env": ["B=1"] }));
    let shell = lowered("FROM scratch AS a\nSHELL [\"/b\", \"-c\"]\nFROM a\nRUN x", plain);
    assert!(drawn(&shell).contains("run on 0 [\"/b\", \"-c\", \"x\"]"));
}

#[test]
fn platforms_are_known() {
    let cross = |request: &mut Request| request.platform = Some("linux/arm/v7".parse().unwrap());
    let text = "FROM scratch AS x\nARG BUILDPLATFORM BUILDARCH TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT TARGETSTAGE BUILDVARIANT\nRUN x";
    assert_eq!(
        seen(text, cross),
        "BUILDPLATFORM=linux/amd64 BUILDARCH=amd64 TARGETPLATFORM=linux/arm/v7 TARGETOS=linux TARGETARCH=arm \
         TARGETVARIANT=v7 TARGETSTAGE=x BUILDVARIANT="
    );
    assert_eq!(seen("FROM scratch\nARG TARGETSTAGE\nRUN x", plain), "TARGETSTAGE=default");
    assert_eq!(seen("FROM scratch\nARG TARGETOS\nRUN x", with("TARGETOS", "plan9")), "TARGETOS=plan9");
    // They are not there unless they are declared.
    assert_eq!(seen("FROM scratch\nENV A=$TARGETOS\nRUN x", plain), "A=");
}

#[test]
fn proxies_are_there_without_being_keyed() {
    let proxies = |request: &mut Request| {
        request.proxies.insert("http_proxy".into(), "h".into());
        request.proxies.insert("NO_PROXY".into(), "n".into());
        request.proxies.insert("FTP_PROXY".into(), String::new());
    };
    assert_eq!(seen("FROM scratch\nRUN x", proxies), "~HTTP_PROXY=h ~http_proxy=h ~NO_PROXY=n ~no_proxy=n");
    assert_eq!(seen("FROM scratch\nRUN x", with("HTTPS_PROXY", "s")), "~HTTPS_PROXY=s ~https_proxy=s");
    assert_eq!(
        seen("FROM scratch\nARG HTTPS_PROXY\nRUN x", with("HTTPS_PROXY", "s")),
        "HTTPS_PROXY=s ~https_proxy=s"
    );
    assert_eq!(
        seen("FROM scratch\nENV no_proxy=mine\nRUN x", proxies),
        "no_proxy=mine ~HTTP_PROXY=h ~http_proxy=h ~NO_PROXY=n"
    );
}

#[test]
fn arguments_that_nobody_asks_for_are_told() {
    let unused = |text: &str, names: &[&str]| {
        let lowered = lowered(text, |request| {
            request.build_args = names.iter().map(|name| ((*name).to_owned(), "v".to_owned())).collect();
        });
        let unused = lowered.unused.into_iter();
        unused.map(|unused| (unused.name, unused.nearest)).collect::<Vec<_>>()
    };
    let none: Vec<(String, Option<String>)> = Vec::new();
    assert_eq!(unused("ARG A\nFROM scratch\nARG B", &["A", "B"]), none);
    assert_eq!(
        unused("FROM scratch\nARG VERSION", &["VERSOIN", "OTHER"]),
        [("OTHER".to_owned(), None), ("VERSOIN".to_owned(), Some("VERSION".to_owned()))]
    );
    assert_eq!(unused("FROM scratch", &["http_proxy", "TARGETARCH", "BUILDKIT_INLINE_CACHE"]), none);
    assert_eq!(unused("FROM trigger", &["V"]), none);
}

#[test]
fn from_sees_what_stands_in_front_of_it() {
    let base = |text: &str, asked: &dyn Fn(&mut Request)| {
        let lowered = lowered(text, asked);
        drawn(&lowered).lines().next().unwrap().to_owned()
    };
    let alpine = "0 base docker.io/library/alpine:3 linux/amd64";
    assert_eq!(base("ARG V=3\nFROM alpine:$V", &plain), alpine);
    assert_eq!(base("ARG I=alpine V\nFROM ${I}:${V:-3}", &plain), alpine);
    assert_eq!(base("ARG V=2\nFROM alpine:$V", &|request| with("V", "3")(request)), alpine);
    assert_eq!(base("ARG S=scratch\nFROM $S", &plain), "0 scratch");
    assert_eq!(
        base("ARG P=linux/arm64\nFROM --platform=$P alpine:3", &plain),
        "0 base docker.io/library/alpine:3 linux/arm64"
    );
    let cross = |request: &mut Request| request.platform = Some("linux/arm64".parse().unwrap());
    assert_eq!(base("FROM alpine:3", &cross), "0 base docker.io/library/alpine:3 linux/arm64");
    assert_eq!(base("FROM --platform=$BUILDPLATFORM alpine:3", &cross), alpine);
    assert_eq!(base("FROM --platform=$TARGETPLATFORM alpine:3", &plain), alpine);
}

#[test]
fn the_history_says_what_arguments_were() {
    let text = "FROM scratch\nARG A=1 B\nARG C\nENV D=$A\nRUN make\nARG A=2\nRUN [\"make\", \"$A\"]";
    assert_eq!(
        history(&lowered(text, plain)),
        [
            "- ARG A=1 B",
            "- ARG C",
            "- ENV D=1",
            "+ RUN |3 A=1 B= C= /bin/sh -c make # buildkit",
            "- ARG A=2",
            "+ RUN |3 A=2 B= C= make $A # buildkit",
        ]
    );
    let text = "FROM scratch AS a\nARG A=1\nFROM a\nARG B=2\nRUN x";
    assert_eq!(
        history(&lowered(text, plain)),
        ["- ARG A=1", "- ARG B=2", "+ RUN |2 A=1 B=2 /bin/sh -c x # buildkit"]
    );
}
