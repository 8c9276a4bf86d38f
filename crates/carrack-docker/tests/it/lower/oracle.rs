//! The same Dockerfiles built by a real Docker engine: its steps, its configuration and its history are ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use carrack_testkit::Docker;

use super::*;

/// Nothing is run: a stage of its own has nothing to run it with.
const FILES: &[&str] = &[
    "FROM scratch AS x
ARG A=1 B
ENV A2=$A C=\"x y\" A2=$A
WORKDIR /app
WORKDIR sub/../x
WORKDIR /
USER 1:2
COPY a /b
ADD a b /c/
COPY a b /d
copy $A2 ${NOTHING:-a} \"a\" /e/
LABEL a=1 b=\"2 3\" c='$A' d=\"$A\"
VOLUME /v /w
VOLUME [\"/v w\"]
STOPSIGNAL SIGQUIT
SHELL [\"/bin/bash\", \"-c\"]
ENTRYPOINT a b
CMD [\"x\", \"y \\\"z\\\"\"]
MAINTAINER me
ONBUILD RUN x  y
",
    "ARG V=last
FROM scratch AS first
ENV A=1
CMD [\"kept\"]
COPY a /a
FROM scratch AS unused
COPY nowhere /a
FROM first
ENTRYPOINT [\"x\"]
COPY --from=FIRST /a \\
    /b
COPY --from=0 /a /c
ARG V
LABEL v=$V
WORKDIR $V/../z
",
    "FROM scratch AS base
WORKDIR /w
ENV A=1
LABEL a=b
SHELL [\"/s\", \"-x\"]
FROM base
ENV A=${A}2 B=$A
CMD a b
USER ${A:+u}:${N:-x}
HEALTHCHECK NONE
",
];

/// What Docker says of the image, without what is different each time.
fn built(docker: &Docker, context: &Path, number: usize) -> (Value, Vec<String>) {
    let tag = format!("oracle:{number}");
    let build = docker.build(context, &["--tag", &tag, "--build-arg", "V=asked"]).expect_code(0);
    let archive = context.join("image.tar");
    docker.run(&["save", "--output", archive.to_str().unwrap(), &tag]).expect_code(0);
    let config = docker.inspect(&tag)["Id"].as_str().unwrap().replace("sha256:", "");
    let tar =
        std::process::Command::new("tar").arg("-xOf").arg(&archive).arg(format!("{config}.json")).output();
    fs::remove_file(archive).unwrap();
    let config = serde_json::from_slice(&tar.unwrap().stdout).unwrap();
    let steps = shown(&build.stderr).into_iter().collect();
    (comparable(config), steps)
}

/// Every step that Docker says something about, its own apart.
fn shown(progress: &str) -> BTreeSet<String> {
    let lines = progress.lines().filter_map(|line| line.strip_prefix('#')?.split_once(' '));
    let steps = lines.filter(|(_, text)| text.starts_with('[') && !text.starts_with("[internal]"));
    steps.map(|(_, text)| text.to_owned()).collect()
}

/// Times, layers, and what BuildKit's releases say differently.
fn comparable(mut config: Value) -> Value {
    let whole = config.as_object_mut().unwrap();
    whole.remove("created");
    whole.remove("rootfs");
    let settings = whole["config"].as_object_mut().unwrap();
    settings.remove("ArgsEscaped");
    settings.retain(|_, value| !value.is_null());
    for entry in whole["history"].as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("created");
        let text = entry["created_by"].as_str().unwrap();
        if let Some(name) = ["HEALTHCHECK", "ARG"].iter().find(|name| text.starts_with(**name)) {
            entry["created_by"] = (*name).into();
        }
    }
    config
}

/// Each command prints what it sees.
const RUNS: &[&str] = &["ARG G=global H
FROM scratch AS base
COPY busybox /bin/sh
COPY busybox /bin/
ENV A=env B=base
FROM base AS parent
ARG A=arg
ARG U
ARG P=${A}x G H=1
RUN [\"busybox\", \"env\", \"N=1\"]
RUN : $A \"$A\" '$A' ${U} $NOPE ${NOPE:-x} ${A:-y} \\
    -- more
ENV A=env2 P=$P-$A
RUN [\"busybox\", \"env\", \"N=2\"]
ARG A
ARG TARGETARCH TARGETVARIANT V
RUN [\"busybox\", \"env\", \"N=3\"]
ARG HTTP_PROXY
ARG A=last
RUN [\"busybox\", \"env\", \"N=4\"]
FROM parent
RUN [\"busybox\", \"env\", \"N=5\"]
ENV U=now
RUN --mount=type=cache,target=c --mount=type=tmpfs,target=/t busybox env N=6
"];

/// What each command with `N=…` saw, as `number NAME=value`.
fn seen(progress: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut outputs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in progress.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(number), Some(time), Some(text)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if time.parse::<f64>().is_ok() && text.contains('=') {
            outputs.entry(number).or_default().push(text);
        }
    }
    for lines in outputs.values() {
        let number = lines.iter().find_map(|line| line.strip_prefix("N=")).unwrap();
        let own = ["N=", "HOME=", "HOSTNAME=", "PWD=", "SHLVL=", "_="];
        let others = lines.iter().filter(|line| !own.iter().any(|own| line.starts_with(own)));
        seen.extend(others.map(|line| format!("{number} {line}")));
    }
    seen
}

#[test]
fn commands_see_the_same() {
    const TEST: &str = "commands_see_the_same";
    let Some(busybox) = carrack_testkit::find_program("busybox") else {
        return carrack_testkit::skipped(TEST, "busybox-static is not installed");
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dockyard");
    let Some(docker) = Docker::start(TEST, &folder) else { return };
    let context = tempfile::tempdir().unwrap();
    fs::copy(busybox, context.path().join("busybox")).unwrap();
    for text in RUNS {
        fs::write(context.path().join("Dockerfile"), text).unwrap();
        let asked = ["V=asked", "HTTP_PROXY=http", "no_proxy=no"];
        let options: Vec<&str> = asked.iter().flat_map(|asked| ["--build-arg", asked]).collect();
        let build = docker.build(context.path(), &options);
        if build.stderr.contains("not found") || build.stderr.contains("no such file") {
            return carrack_testkit::skipped(TEST, "busybox does not run alone");
        }
        let build = build.expect_code(0);
        let lowered = lowered(text, |request| {
            let pairs = asked.iter().filter_map(|asked| asked.split_once('='));
            request.build_args = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        });
        let mut expected = BTreeSet::new();
        for op in lowered.graph.ops() {
            let Op::Run(run) = op else { continue };
            let last = run.argv.last().unwrap();
            if let Some(at) = last.find("N=") {
                let number = &last[at + 2..];
                expected
                    .extend(run.env.iter().map(|(name, value)| format!("{number} {name}={}", value.value)));
            }
        }
        assert_eq!(seen(&build.stderr), expected, "{}", build.stderr);
        let names: BTreeSet<&str> =
            steps(&lowered).into_iter().filter(|step| step.starts_with('[')).collect();
        assert_eq!(names, shown(&build.stderr).iter().map(String::as_str).collect());
    }
}

#[test]
fn docker_says_the_same() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dockyard");
    let Some(docker) = Docker::start("docker_says_the_same", &folder) else { return };
    let context = tempfile::tempdir().unwrap();
    for name in ["a", "b", "1"] {
        fs::write(context.path().join(name), name).unwrap();
    }
    for (number, text) in FILES.iter().enumerate() {
        fs::write(context.path().join("Dockerfile"), text).unwrap();
        let (expected, expected_steps) = built(&docker, context.path(), number);
        let lowered = lowered(text, |request| drop(request.build_args.insert("V".into(), "asked".into())));
        assert_eq!(comparable(config(&lowered)), expected, "{text}");
        let mut steps: Vec<&str> = steps(&lowered).into_iter().filter(|step| step.starts_with('[')).collect();
        steps.sort();
        assert_eq!(steps, expected_steps, "{text}");
    }
}
