//! What a Dockerfile says without being built: `carrack build --check` and `--call`; and what a build says by the way.

use carrack_testkit::Project;
use serde_json::{Value, json};

use crate::stage::Stage;

const SHOP: &str = "\
# VERSION is what the shop says of itself
ARG VERSION=1
ARG UNUSED=2
ARG IMAGE=scratch

# build makes the program
FROM ${IMAGE} AS build
ARG VERSION
ARG DEBUG
RUN --mount=type=secret,id=token,required --mount=type=cache,target=/cache ./make

FROM scratch AS other
RUN --mount=type=ssh ./other

FROM scratch

# server answers requests
FROM scratch AS Server
COPY --from=build /shop /
";

fn stage(text: &str) -> Stage {
    let stage = Stage::new(Project::new());
    stage.project.write("Dockerfile", text);
    stage
}

#[track_caller]
fn answers(stage: &Stage, arguments: &[&str], code: i32, expected: &str) {
    let finished = stage.run(&[&["build"], arguments].concat()).expect_code(code);
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), (expected, ""), "{arguments:?}");
}

#[test]
fn outline_and_targets() {
    let stage = stage(SHOP);
    answers(
        &stage,
        &["--call=outline", "--build-arg", "DEBUG=yes"],
        0,
        "TARGET:      server\nDESCRIPTION: answers requests\n\n\
        BUILD ARG   VALUE     DESCRIPTION\n\
        VERSION     1         is what the shop says of itself\n\
        IMAGE       scratch\n\
        DEBUG       yes\n\n\
        SECRET   REQUIRED\n\
        token    true\n\n\
        CACHE\n\
        /cache\n",
    );
    answers(
        &stage,
        &["--call", "outline", "--target", "OTHER"],
        0,
        "TARGET:      other\n\nSSH       REQUIRED\ndefault\n",
    );
    answers(
        &stage,
        &["--call=targets"],
        0,
        "TARGET             DESCRIPTION\n\
        build              makes the program\n\
        other\n\
        (no name)\n\
        server (default)   answers requests\n",
    );
    let json = |arguments: &[&str]| -> Value {
        let finished = stage.run(&[&["build"], arguments].concat()).expect_code(0);
        serde_json::from_str(&finished.stdout).unwrap()
    };
    let outline = json(&["--call=outline,format=json"]);
    let line = |line: u32| json!({"ranges": [{"start": {"line": line}, "end": {"line": line}}]});
    assert_eq!(outline["secrets"], json!([{"name": "token", "required": true, "location": line(10)}]));
    assert_eq!(outline.get("ssh"), None);
    assert_eq!(outline["args"][0]["value"], "1");
    let targets = json(&["--call=targets,format=json"]);
    assert_eq!(targets["targets"][2], json!({"base": "scratch", "location": line(15)}));
    assert_eq!(targets["targets"][3]["default"], true);

    let wrong = stage.run(&["build", "--call=outline", "--target", "sever"]).expect_code(2);
    assert_eq!(wrong.stderr, "error: there is no stage `sever`\nhint: did you mean `server`?\n");
    stage
        .run(&["build", "--call=nothing"])
        .expect_code(2)
        .expect_stderr("expected build, check, outline or targets");
    stage
        .run(&["build", "--check", "--engine", "docker"])
        .expect_code(2)
        .expect_stderr("--check has no meaning");
    Stage::app().run(&["build", "--check"]).expect_code(2).expect_stderr("run `carrack check`");
}

#[test]
fn checks_without_a_build() {
    let clean = stage("FROM scratch\nCOPY a /\n");
    answers(&clean, &["--check"], 0, "Check complete, no warnings found.\n");
    let odd = stage("FROM scratch AS Odd\nCOPY $SOURCE /\n");
    answers(
        &odd,
        &["--check"],
        1,
        "warning[StageNameCasing]: a stage's name has capitals\n --> ./Dockerfile:1:17\n  |\n\
        1 | FROM scratch AS Odd\n  |                 ^^^ names are compared in small letters\n\
        hint: see https://docs.docker.com/go/dockerfile/rule/stage-name-casing/\n\n\
        warning[UndefinedVar]: a variable is used that nothing defines\n --> ./Dockerfile:2:6\n  |\n\
        2 | COPY $SOURCE /\n  |      ^^^^^^^ nothing defines `SOURCE`\n\
        hint: see https://docs.docker.com/go/dockerfile/rule/undefined-var/\n\n\
        0 errors, 2 warnings\n",
    );
    let answer = odd.run(&["build", "--call=check,format=json"]).expect_code(1).stdout;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["warnings"][0]["ruleName"], "StageNameCasing");
    let start = &answer["warnings"][0]["location"]["ranges"][0]["start"];
    assert_eq!(*start, json!({"line": 1, "character": 16}));
    let broken = stage("FROM scratch AS Odd\nCOPY --from=$A a /\n");
    let answer = broken.run(&["build", "--call=check,format=json"]).expect_code(2).stdout;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["warnings"][0]["ruleName"], "StageNameCasing");
    assert_eq!(answer["buildError"]["location"]["ranges"][0]["start"]["line"], 2);
    let refused = broken.run(&["build", "--check"]).expect_code(2).expect_stderr("`$A` has a variable in it");
    assert!(refused.stdout.contains("StageNameCasing"), "{}", refused.stdout);
}

#[test]
fn a_build_says_what_checks_find() {
    let stage = stage("FROM scratch AS Odd\nCOPY Dockerfile /\nMAINTAINER me\n");
    let built = stage.build(&["--progress", "plain"]);
    let expected = "warning: StageNameCasing: a stage's name has capitals: names are compared in small letters (./Dockerfile:1)\n\
        warning: MaintainerDeprecated: MAINTAINER is deprecated";
    assert!(built.stderr.contains(expected), "{}", built.stderr);
    assert!(
        built.stderr.contains("(./Dockerfile:3)\nhint: see the lines with `carrack check`\n"),
        "{}",
        built.stderr
    );

    stage.project.write("Dockerfile", "# check=error=true\nFROM scratch AS Odd\nCOPY Dockerfile /\n");
    let failed = stage.run(&["build", "-q"]).expect_code(1);
    assert_eq!(
        failed.stderr,
        "error: StageNameCasing: a stage's name has capitals\n --> ./Dockerfile:2:17\n  |\n\
        2 | FROM scratch AS Odd\n  |                 ^^^ names are compared in small letters\n\
        hint: see https://docs.docker.com/go/dockerfile/rule/stage-name-casing/; the Dockerfile says check=error=true\n"
    );
    // What is not built is not at fault.
    let unused = "# check=error=true\nFROM scratch AS unused\nENV A 1\nFROM scratch\nCOPY Dockerfile /\n";
    stage.project.write("Dockerfile", unused);
    assert_eq!(stage.build(&["-q"]).stderr, "");
    stage.run(&["build", "--check"]).expect_code(1);
    stage.project.write(
        "Dockerfile",
        "# check=error=true;skip=StageNameCasing\nFROM scratch AS Odd\nCOPY Dockerfile /\n",
    );
    assert_eq!(stage.build(&["-q"]).stderr, "");
}
