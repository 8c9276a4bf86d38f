//! `--check` and `--call`, which build nothing: what Docker answers, and what Carrack does.
//!
//! Of each finding the check's name, its page and its line are compared, of each answer whether it is a success. Docker names
//! the lines of the whole instruction, Carrack the characters that are wrong: those have to be within. The words are each
//! one's own. What a file declares and which stages it has is compared as a whole, but for what [`shape`] leaves out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use carrack_testkit::{Finished, skipped};
use serde_json::{Value, json};

use super::oracle::Oracle;

/// A Dockerfile, how it is asked, and files of its context.
struct Question {
    name: &'static str,
    dockerfile: &'static str,
    arguments: &'static [&'static str],
    files: &'static [(&'static str, &'static str)],
}

const fn of(name: &'static str, dockerfile: &'static str) -> Question {
    Question { name, dockerfile, arguments: &[], files: &[] }
}

impl Question {
    const fn asked(self, arguments: &'static [&'static str]) -> Self {
        Self { arguments, ..self }
    }

    const fn with(self, files: &'static [(&'static str, &'static str)]) -> Self {
        Self { files, ..self }
    }

    fn lay_out(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("Dockerfile"), self.dockerfile).unwrap();
        for (path, text) in self.files {
            fs::write(folder.join(path), text).unwrap();
        }
    }
}

/// What one of them finds and the other does not: question, check, who finds it, and why that is meant.
const MEANT: &[(&str, &str, &str, &str)] = &[
    (
        "arg-in-from-default",
        "UndefinedArgInFrom",
        "docker",
        "what `${X:-…}` says stands for it: nothing is missing",
    ),
    ("undefined", "UndefinedVar", "docker", "as above"),
    (
        "secrets",
        "SecretsUsedInArgOrEnv",
        "docker",
        "later releases take names of files and versions for harmless",
    ),
    (
        "skip-one",
        "MaintainerDeprecated",
        "docker",
        "a comment above an instruction counts for each check, not for some",
    ),
    (
        "description",
        "InvalidDefinitionDescription",
        "docker",
        "an empty line ends a description, as the check's page says",
    ),
    (
        "ignored",
        "CopyIgnoredFile",
        "carrack",
        "Docker makes it on request; the build would fail there in any case",
    ),
    (
        "ignored-written-otherwise",
        "CopyIgnoredFile",
        "carrack",
        "`./x` and `/x` are left out as well as `x` is",
    ),
    ("ignored-in-part", "CopyIgnoredFile", "docker", "what is taken back with `!` does reach the build"),
];

/// Checks whose line is another one.
const PLACED_OTHERWISE: &[(&str, &str)] = &[
    ("NoEmptyContinuation", "Carrack names the empty line, Docker the last one of the instruction"),
    ("InvalidDefinitionDescription", "Carrack names the comment, Docker what it is above of"),
];

/// Files that Docker refuses and Carrack answers for.
const REFUSED_BY_DOCKER: &[(&str, &str)] = &[
    ("copy-from-an-image", "Docker asks for the image, and nobody has it; Carrack asks for none"),
    ("refused-in-a-step", "Carrack draws no steps before it builds"),
];

const CHECKS: &[Question] = &[
    of("clean", "FROM scratch\nCOPY a /\n"),
    of("clean-stages", "ARG V=1\nFROM scratch AS a\nARG V\nCOPY a /\nFROM scratch\nCOPY --from=a /a /\nCMD [\"/a\"]\n"),
    of("stage-name", "FROM scratch AS Odd\nCOPY a /\n"),
    of("from-as", "FROM scratch as x\nCOPY a /\n"),
    of("from-as-small", "from scratch AS x\ncopy a /\n"),
    of("continuation", "FROM scratch\nRUN a \\\n\n  b\nCOPY a \\\n\n\n /\n"),
    of("continuation-comment", "FROM scratch\nRUN a \\\n# c\n  b\n"),
    of("casing", "FROM scratch\ncopy a /\nRUN b\nCopy b /\n"),
    of("casing-small", "from scratch\ncopy a /\nCOPY b /\nlabel x=y\n"),
    of("casing-of-arg", "arg X=1\nFROM scratch\nCOPY a /\n"),
    of("duplicate", "FROM scratch AS x\nCOPY a /\nFROM scratch AS X\nCOPY a /\n"),
    of("reserved", "FROM scratch AS scratch\nCOPY a /\nFROM scratch AS context\nCOPY a /\n"),
    of("shell-form", "FROM scratch\nENTRYPOINT run me\nCMD go\n"),
    of("shell-form-with-a-shell", "FROM scratch\nSHELL [\"/x\"]\nENTRYPOINT run me\n"),
    of("maintainer", "FROM scratch\nMAINTAINER me\nCOPY a /\n"),
    of("arg-in-from", "FROM scratch$TAG\nCOPY a /\n"),
    of("arg-in-from-default", "FROM ${X:-scratch}\nCOPY a /\n"),
    of("folders", "FROM scratch\nWORKDIR app\nWORKDIR b\nWORKDIR /c\nWORKDIR d\n"),
    of("folders-of-a-stage", "FROM scratch AS a\nWORKDIR /a\nFROM a\nWORKDIR b\n"),
    of(
        "undefined",
        "FROM scratch\nCOPY $SOURCE /\nENV A=$B\nARG C\nLABEL x=$C y=$PATH z=${D:-1}\nWORKDIR /$PAHT\n",
    ),
    of(
        "undefined-everywhere",
        "FROM scratch\nRUN echo $NO\nCMD [\"$NO\"]\nEXPOSE $PORT\nUSER $USER\nVOLUME /$V\nENV A=1 B=$A\n\
        LABEL $N=1\nENV $M=2\nCOPY --chown=$U --chmod=6$C a /\nADD $Q /\n",
    ),
    of("undefined-global", "ARG V=1\nFROM scratch\nLABEL v=$V\nARG V\nLABEL v=$V\n"),
    of("undefined-twice", "FROM scratch\nLABEL a=$X b=$X$Y\nARG X=1\nLABEL c=$X\n"),
    of("undefined-in-a-mount", "FROM scratch\nRUN --mount=type=cache,target=/x$T,id=a$I echo\n"),
    of("undefined-in-a-heredoc", "FROM scratch\nCOPY <<E /x\n$NO\nE\n"),
    of("undefined-in-a-trigger", "FROM scratch\nONBUILD LABEL a=$X\n"),
    of("undefined-and-given", "FROM scratch\nARG X\nLABEL a=$X b=$Y\n").asked(&["--build-arg", "Y=1"]),
    of(
        "several",
        "FROM scratch\nCMD [\"a\"]\nCMD [\"b\"]\nENTRYPOINT [\"a\"]\nENTRYPOINT [\"b\"]\nENTRYPOINT [\"c\"]\n\
        HEALTHCHECK CMD [\"a\"]\nHEALTHCHECK NONE\n",
    ),
    of("several-in-stages", "FROM scratch AS a\nCMD [\"a\"]\nFROM a\nCMD [\"b\"]\n"),
    of("legacy", "FROM scratch\nENV A 1 2\nLABEL b 2\nENV C=1\n"),
    of("platform", "FROM --platform=$TARGETPLATFORM scratch\nFROM --platform=${TARGETPLATFORM} scratch\nCOPY a /\n"),
    of("platform-is-fixed", "FROM --platform=linux/amd64 scratch\nCOPY a /\n"),
    of("platform-is-named", "FROM --platform=linux/amd64 scratch AS build-amd64\nCOPY a /\n"),
    of("platform-of-the-builder", "FROM --platform=$BUILDPLATFORM scratch\nCOPY a /\n"),
    of(
        "secrets",
        "FROM scratch\nARG GITHUB_TOKEN\nENV API_KEY=1 PUBLIC_KEY=2 NAME=3\nARG PASSWORD_FILE PASSWD=x AUTHOR\nENV MY_AUTH a\n",
    ),
    of("secrets-before-stages", "ARG TOKEN\nFROM scratch\nCOPY a /\n"),
    of("default-arg", "ARG IMAGE\nFROM $IMAGE\nCOPY a /\n").asked(&["--build-arg", "IMAGE=scratch"]),
    of("default-arg-is-fine", "ARG IMAGE=scratch\nFROM $IMAGE\nCOPY a /\n"),
    of("ignored", "FROM scratch\nCOPY a secret/x /\nADD secret /\nCOPY . /\n").with(&[(".dockerignore", "secret\n")]),
    of(
        "ignored-on-request",
        "# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY a secret /x/\nADD secret /\nCOPY . /\nCOPY *.md /\nCOPY se* /\n",
    )
    .with(&[(".dockerignore", "secret\n*.md\n")]),
    of("ignored-all", "# check=experimental=all\nFROM scratch\nCOPY . /\nCOPY a /\n").with(&[(".dockerignore", "*\n")]),
    of("ignored-in-part", "# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY b/c /\nCOPY b /\nCOPY b/d /\n")
        .with(&[(".dockerignore", "b\n!b/c\n")]),
    of("ignored-written-otherwise", "# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY /secret ./secret /\n")
        .with(&[(".dockerignore", "secret\n")]),
    of("ignored-elsewhere", "FROM scratch AS x\nCOPY a /\nFROM scratch\nCOPY --from=x secret /\n")
        .with(&[(".dockerignore", "secret\n")]),
    of(
        "description",
        "# check=experimental=InvalidDefinitionDescription\n# bar is it\nARG foo=1\n# other thing\nFROM scratch AS base\n\
        COPY a /\n# x\n\nARG apart\n# base is\nFROM base AS base2\n# y\nARG own other\n",
    ),
    of("description-is-not-asked-for", "# bar is it\nARG foo=1\nFROM scratch\nCOPY a /\n"),
    of("ports", "FROM scratch\nEXPOSE 80/TCP 81/tcp 82/Udp\nEXPOSE 127.0.0.1:80:80 5000:90 8080\n"),
    of("skip", "# check=skip=StageNameCasing,MaintainerDeprecated\nFROM scratch AS Odd\nMAINTAINER me\nLABEL a 1\n"),
    of("skip-all", "# check=skip=all\nFROM scratch AS Odd\nMAINTAINER me\nLABEL a 1\n"),
    of("skip-one", "FROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER me\nMAINTAINER you\n"),
    of("error", "# check=error=true\nFROM scratch AS Odd\nCOPY a /\n"),
    of("error-and-skip", "# check=skip=StageNameCasing;error=true\nFROM scratch AS Odd\nLABEL a 1\n"),
    of("error-and-clean", "# check=error=true\nFROM scratch\nCOPY a /\n"),
    of("stages", STAGES),
    of("stages-first", STAGES).asked(&["--target", "early"]),
    of("stages-middle", STAGES).asked(&["--target", "mid"]),
    of("stages-last", STAGES).asked(&["--target", "late"]),
    of("stages-none", STAGES).asked(&["--target", "nothing"]),
    of(
        "many",
        "FROM scratch as Build\nMAINTAINER me\nWORKDIR app\nENV A 1\nCMD run $X\nCMD other\nEXPOSE 1/TCP\n",
    ),
    of("many-lines", "FROM scratch\nLABEL a=1 \\\n  b=$NO \\\n  c=3\nENV x \\\n  1\n"),
    of("line-ends", "FROM scratch AS Odd\r\nMAINTAINER me\r\nCOPY a /\r\n"),
    of("escape", "# escape=`\nFROM scratch AS Odd\nCOPY a `\n  /\nMAINTAINER me\n"),
    of("triggers", "FROM scratch\nONBUILD CMD x\nONBUILD ENV a 1\n"),
    of("copy-from-an-image", "FROM scratch\nCOPY --from=127.0.0.1:1/nope a /\n"),
    of("refused-instruction", "FROM scratch\nCOPPY a /\n"),
    of("refused-flag", "FROM scratch AS Odd\nCOPY --chwon=1 a /\n"),
    of("refused-without-from", "RUN x\n"),
    of("refused-in-a-step", "FROM scratch\nCOPY a /\nVOLUME $V\n"),
    of("refused-empty", "# nothing\n"),
];

const STAGES: &str = "\
FROM scratch AS early
ENV a 1
CMD x
LABEL u=$NO
FROM scratch AS mid
LABEL v=$NO
ENV b 1
WORKDIR q
CMD [\"a\"]
CMD [\"b\"]
EXPOSE 1/TCP
ARG TOKEN
FROM mid
ENV c 1
FROM --platform=$TARGETPLATFORM scratch AS LATE
MAINTAINER me
ENV d 1
LABEL w=$NO
CMD z
CMD zz
";

const SHOP: &str = "\
# VERSION is what the shop says of itself
ARG VERSION=1
ARG UNUSED=2
ARG IMAGE=scratch
# build makes the program
FROM ${IMAGE} AS build
ARG VERSION
ARG DEBUG
ARG OTHER=$VERSION-x
RUN --mount=type=secret,id=token,required --mount=type=cache,target=/cache ./make
RUN --mount=type=secret,id=token --mount=type=secret,id=second,env=S --mount=type=ssh,id=k,required=true ./make

FROM scratch AS other
RUN --mount=type=ssh ./other

FROM scratch

# server answers requests
FROM scratch AS Server
ARG TARGETARCH
COPY --from=build /shop /
";

const DECLARATIONS: &[Question] = &[
    of("nothing", "FROM scratch\n"),
    of("shop", SHOP).asked(&["--build-arg", "DEBUG=yes"]),
    of("shop-other", SHOP).asked(&["--target", "other"]),
    of("shop-build", SHOP).asked(&["--target", "build", "--build-arg", "OTHER=2"]),
    of("stages", STAGES),
];

pub(crate) fn all() {
    let oracle = match Oracle::shared() {
        Ok(oracle) if oracle.is_current => oracle,
        Ok(_) => return skipped("dockerfile calls", "they need a current Docker"),
        Err(why) => return skipped("dockerfile calls", why),
    };
    let mut needed = BTreeSet::new();
    let mut wrong = String::new();
    for question in CHECKS {
        let folder = oracle.folder(&format!("calls/{}", question.name));
        question.lay_out(&folder);
        let ask = [&["--call", "check,format=json"], question.arguments].concat();
        let (docker, carrack) = (oracle.ask_docker(&folder, &ask), oracle.ask_carrack(&folder, &ask));
        for told in findings(question.name, &docker, &carrack, &mut needed) {
            let _ = writeln!(wrong, "{}: {told}", question.name);
        }
    }
    for (question, check, who, why) in MEANT {
        if !needed.contains(&(*question, *check, *who)) {
            let _ = writeln!(wrong, "{question}: {check} by {who} alone is no longer needed ({why})");
        }
    }
    for question in DECLARATIONS {
        let folder = oracle.folder(&format!("calls/declared-{}", question.name));
        question.lay_out(&folder);
        for call in ["outline", "targets"] {
            let json = format!("{call},format=json");
            for method in [call, &json] {
                let ask = [&["--call", method], question.arguments].concat();
                let both = (oracle.ask_docker(&folder, &ask), oracle.ask_carrack(&folder, &ask));
                let (docker, carrack) = (shape(&both.0.stdout), shape(&both.1.stdout));
                if (both.0.code, &docker) != (both.1.code, &carrack) {
                    let _ = writeln!(
                        wrong,
                        "{} {method}:\n{docker:#}\n  is with Carrack\n{carrack:#}",
                        question.name
                    );
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A warning: check and page, and the first and the last line.
type Warning = (String, u64, u64);

/// In what two answers to `--call=check,format=json` differ.
fn findings(
    question: &'static str,
    docker: &Finished,
    carrack: &Finished,
    needed: &mut BTreeSet<(&'static str, &'static str, &'static str)>,
) -> Vec<String> {
    let read = |finished: &Finished| -> Value { serde_json::from_str(&finished.stdout).unwrap_or_default() };
    let (docker_said, carrack_said) = (read(docker), read(carrack));
    if REFUSED_BY_DOCKER.iter().any(|(name, _)| *name == question) {
        let is_so = docker_said["buildError"].is_object() && carrack_said["buildError"].is_null();
        return if is_so { Vec::new() } else { vec!["both refuse it, or none".to_owned()] };
    }
    if docker_said["buildError"].is_object() || carrack_said["buildError"].is_object() {
        return refusals(docker, &docker_said, carrack, &carrack_said);
    }
    let mut told = Vec::new();
    let mut left = warnings(&carrack_said);
    for (check, first, last) in warnings(&docker_said) {
        let name = check.split(' ').next().unwrap_or_default();
        let anywhere = PLACED_OTHERWISE.iter().any(|(other, _)| *other == name);
        let is_same = |own: &Warning| own.0 == check && (anywhere || first <= own.1 && own.2 <= last);
        match left.iter().position(is_same) {
            Some(found) => drop(left.remove(found)),
            None => match meant(question, name, "docker") {
                Some(entry) => drop(needed.insert(entry)),
                None => told.push(format!("only Docker says {check} of lines {first} to {last}")),
            },
        }
    }
    for (check, first, _) in left {
        let name = check.split(' ').next().unwrap_or_default();
        match meant(question, name, "carrack") {
            Some(entry) => drop(needed.insert(entry)),
            None => told.push(format!("only Carrack says {check} of line {first}")),
        }
    }
    let found = |said: &Value| said["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
    for (who, finished, said) in [("Docker", docker, &docker_said), ("Carrack", carrack, &carrack_said)] {
        if finished.code != Some(i32::from(found(said))) {
            told.push(format!("{who} ends with {:?}: {}{}", finished.code, finished.stdout, finished.stderr));
        }
    }
    told
}

/// Both refuse, in the same line if they name one.
fn refusals(docker: &Finished, docker_said: &Value, carrack: &Finished, carrack_said: &Value) -> Vec<String> {
    let error = |said: &Value| (said["buildError"].is_object(), lines(&said["buildError"]));
    let ((docker_refuses, of_docker), (carrack_refuses, of_carrack)) =
        (error(docker_said), error(carrack_said));
    let mut told = Vec::new();
    // One error of the user's is told by code from another with Carrack.
    if !(docker_refuses && carrack_refuses && docker.code == Some(1) && matches!(carrack.code, Some(1 | 2))) {
        told.push(format!(
            "Docker ends with {:?}, Carrack with {:?}: {carrack_said}",
            docker.code, carrack.code
        ));
    }
    if let (Some((first, last)), Some((own, _))) = (of_docker, of_carrack)
        && !(first..=last).contains(&own)
    {
        told.push(format!("Docker refuses line {first} to {last}, Carrack line {own}"));
    }
    told
}

fn meant(question: &str, check: &str, who: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let entry = MEANT.iter().find(|entry| (entry.0, entry.1, entry.2) == (question, check, who));
    entry.map(|entry| (entry.0, entry.1, entry.2))
}

fn warnings(said: &Value) -> Vec<Warning> {
    let warning = |warning: &Value| {
        let text = |key: &str| warning[key].as_str().unwrap_or_default().to_owned();
        let (first, last) = lines(warning).unwrap_or_default();
        (format!("{} {}", text("ruleName"), text("url")), first, last)
    };
    said["warnings"].as_array().into_iter().flatten().map(warning).collect()
}

/// The first and the last line of a place.
fn lines(placed: &Value) -> Option<(u64, u64)> {
    let ranges = placed["location"]["ranges"].as_array()?;
    Some((ranges.first()?["start"]["line"].as_u64()?, ranges.last()?["end"]["line"].as_u64()?))
}

/// An answer as far as both have it: without `sources`, which Docker adds to show them, and without caches, of which it says
/// nothing; with what has no order in an order. `base` is left out where Docker leaves variables in it. Of a text the words of
/// each line count; what has no name has one with Carrack.
fn shape(answer: &str) -> Value {
    let Ok(mut value) = serde_json::from_str::<Value>(answer) else {
        let text = answer.split("\nCACHE\n").next().unwrap_or_default();
        let text = text.replace("(no name)", "").replace("TARGET:      default\n", "");
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        let mut lines: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
        lines.sort();
        return json!(lines);
    };
    for key in ["sources", "cache"] {
        value.as_object_mut().unwrap().remove(key);
    }
    for key in ["secrets", "ssh"] {
        if let Some(lent) = value[key].as_array_mut() {
            lent.sort_by_key(|lent| lent["name"].to_string());
        }
    }
    for target in value["targets"].as_array_mut().into_iter().flatten() {
        if target["name"] == "build" {
            target.as_object_mut().unwrap().remove("base");
        }
    }
    // What was looked for and not there.
    value.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    value
}
