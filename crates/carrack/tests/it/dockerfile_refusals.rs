//! What a Dockerfile that can't be built is told by the embedded engine before anything runs: the exit code and the words,
//! all of them.

use carrack_testkit::Project;

use crate::stage::Stage;

/// A Dockerfile, options, and the exit code and the whole of standard error that they get.
pub(crate) type Case = (&'static str, &'static [&'static str], i32, &'static str);

#[track_caller]
pub(crate) fn check(stage: &Stage, cases: &[Case]) {
    stage.project.write("a", "text\n");
    for (dockerfile, options, code, expected) in cases {
        stage.project.write("Dockerfile", dockerfile);
        let finished = stage.run(&[&["build", "-q"], *options].concat());
        let said = without_milliseconds(stage.filtered(&finished.stderr));
        assert_eq!(said.trim_end(), expected.trim(), "{dockerfile}\n{options:?}");
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(*code), ""), "{dockerfile}\n{options:?}");
    }
}

/// How long a connection took to fail, as git tells it, is not the same each time.
fn without_milliseconds(said: String) -> String {
    let told =
        said.split_once(" after ").and_then(|(before, rest)| Some((before, rest.split_once(" ms: ")?.1)));
    told.map(|(before, after)| format!("{before} after [N] ms: {after}")).unwrap_or(said)
}

/// What is refused before anything is run, at its place.
#[test]
fn what_a_dockerfile_says_can_not_be() {
    let stage = Stage::new(Project::new());
    check(
        &stage,
        &[
            (
                "# syntax=example.org/mine:1\nFROM scratch\n",
                &[],
                2,
                r#"
error: the syntax is that of `example.org/mine:1`
 --> ./Dockerfile:1:10
  |
1 | # syntax=example.org/mine:1
  |          ^^^^^^^^^^^^^^^^^^ only docker/dockerfile is known here
hint: take the line away, or build with `--engine docker`
"#,
            ),
            (
                "ARG BASE\nFROM ${BASE}\n",
                &[],
                2,
                r#"
error: `${BASE}` names no image
 --> ./Dockerfile:2:6
  |
2 | FROM ${BASE}
  |      ^^^^^^^ its variables are empty
hint: give it a value with --build-arg, or a default in an ARG before the first FROM
"#,
            ),
            (
                "FROM Debian/Base\n",
                &[],
                2,
                r#"
error: `Debian/Base` can't name an image
 --> ./Dockerfile:1:6
  |
1 | FROM Debian/Base
  |      ^^^^^^^^^^^ expected NAME:TAG
hint: mend it, or what its variables are: names are in small letters
"#,
            ),
            (
                "FROM --platform=linux/amd64/v2/x scratch\n",
                &[],
                2,
                r#"
error: `linux/amd64/v2/x` is no platform
 --> ./Dockerfile:1:17
  |
1 | FROM --platform=linux/amd64/v2/x scratch
  |                 ^^^^^^^^^^^^^^^^ expected os/architecture, as in linux/arm64
hint: take --platform away, or name one: $BUILDPLATFORM and $TARGETPLATFORM are always there
"#,
            ),
            (
                "ARG VERSION\nFROM scratch\nENV V=${VERSION:?unset}\n",
                &[],
                2,
                r#"
error: VERSION is not set: unset
 --> ./Dockerfile:3:1
  |
3 | ENV V=${VERSION:?unset}
  | ^^^^^^^^^^^^^^^^^^^^^^^
hint: give it a value, as in `--build-arg VERSION=VALUE`
"#,
            ),
            (
                "FROM scratch\nENV A=${B!c}\n",
                &[],
                2,
                r#"
error: `!` is no way to change a value
 --> ./Dockerfile:2:1
  |
2 | ENV A=${B!c}
  | ^^^^^^^^^^^^
hint: write ${NAME}, ${NAME:-default}, ${NAME:+other} or ${NAME:?message}
"#,
            ),
            (
                "FROM scratch\nENV A=\"b\n",
                &[],
                2,
                r#"
error: `"` is not closed
 --> ./Dockerfile:2:1
  |
2 | ENV A="b
  | ^^^^^^^^
hint: close it, or write \" if it is meant as it is
"#,
            ),
            (
                "FROM scratch\nARG STAGE=a\nCOPY --from=$STAGE a /\n",
                &[],
                2,
                r#"
error: `$STAGE` has a variable in it
 --> ./Dockerfile:3:13
  |
3 | COPY --from=$STAGE a /
  |             ^^^^^^ no variables are possible here
hint: name a stage with `FROM $VARIABLE AS name`, and copy from that
"#,
            ),
            (
                "FROM scratch\nCOPY --from=3 a /\n",
                &[],
                2,
                r#"
error: there is no stage 3
 --> ./Dockerfile:2:13
  |
2 | COPY --from=3 a /
  |             ^ stages are counted from 0
hint: name the stage with AS, and copy from its name
"#,
            ),
            (
                "FROM scratch AS a\nCOPY --from=b x /\nFROM a AS b\n",
                &[],
                2,
                r#"
error: stages need each other: a, b
 --> ./Dockerfile:3:1
  |
3 | FROM a AS b
  | ^^^^^^^^^^^
hint: let one of them do without the other
"#,
            ),
            (
                "FROM scratch AS a\nCOPY --from=b x /\nFROM scratch AS b\nFROM a\n",
                &[],
                2,
                r#"
error: the stage `b` comes later
 --> ./Dockerfile:2:1
  |
2 | COPY --from=b x /
  | ^^^^^^^^^^^^^^^^^
hint: move the stage `b` above this one
"#,
            ),
            (
                "FROM scratch\nRUN []\n",
                &[],
                2,
                r#"
error: there is nothing to run
 --> ./Dockerfile:2:1
  |
2 | RUN []
  | ^^^^^^ the list is empty
hint: write what runs, as in RUN ["/bin/true"]
"#,
            ),
            (
                "FROM scratch\nRUN --device=vendor.com/gpu=all [\"/x\"]\n",
                &[],
                2,
                r#"
error: the device `vendor.com/gpu=all` is asked for
 --> ./Dockerfile:2:1
  |
2 | RUN --device=vendor.com/gpu=all ["/x"]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ no devices are lent here
hint: build with `--engine docker`, or take --device away
"#,
            ),
            (
                "FROM scratch\nRUN --mount=type=cache,target=/ [\"/x\"]\n",
                &[],
                2,
                r#"
error: a mount can't be at /
 --> ./Dockerfile:2:1
  |
2 | RUN --mount=type=cache,target=/ ["/x"]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ it would hide the whole image
hint: mount at a folder, as in target=/src
"#,
            ),
            (
                "FROM scratch\nRUN --mount=type=cache,target=/c,mode=rwx [\"/x\"]\n",
                &[],
                2,
                r#"
error: the mount's `mode` can't be `rwx`
 --> ./Dockerfile:2:39
  |
2 | RUN --mount=type=cache,target=/c,mode=rwx ["/x"]
  |                                       ^^^ expected octal permissions, as in 0755
"#,
            ),
            (
                "FROM scratch\nCOPY --chmod=u+Q a /\n",
                &[],
                2,
                r#"
error: `u+Q` are no permissions
 --> ./Dockerfile:2:1
  |
2 | COPY --chmod=u+Q a /
  | ^^^^^^^^^^^^^^^^^^^^ expected 0755 or u=rwX,go=rX
hint: mend --chmod
"#,
            ),
            (
                "FROM scratch\nCOPY --exclude=[ a /\n",
                &[],
                2,
                r#"
error: `[` is no pattern
 --> ./Dockerfile:2:1
  |
2 | COPY --exclude=[ a /
  | ^^^^^^^^^^^^^^^^^^^^ a bracket is open, or a backslash is at its end
hint: write it as in .dockerignore
"#,
            ),
            (
                "FROM scratch\nCOPY https://example.org/x /\n",
                &[],
                2,
                r#"
error: `https://example.org/x` is not in the context
 --> ./Dockerfile:2:1
  |
2 | COPY https://example.org/x /
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ COPY takes files of the context only
hint: use ADD instead
"#,
            ),
            (
                "FROM scratch\nADD --checksum=sha256:00 a /\n",
                &[],
                2,
                r#"
error: a checksum is for one URL or repository
 --> ./Dockerfile:2:1
  |
2 | ADD --checksum=sha256:00 a /
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: give each address an ADD of its own, and files none
"#,
            ),
            (
                "FROM scratch\nADD --checksum=md5:00 https://example.org/x /\n",
                &[],
                2,
                r#"
error: `md5:00` is no checksum
 --> ./Dockerfile:2:1
  |
2 | ADD --checksum=md5:00 https://example.org/x /
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected sha256 and 64 digits; of a repository, a commit
hint: take it from `sha256sum FILE` or `git rev-parse HEAD`
"#,
            ),
            (
                "FROM scratch\nADD https://example.org/x.git?depth=1 /\n",
                &[],
                2,
                r#"
error: `https://example.org/x.git?depth=1` has `depth=1`, which is not known
 --> ./Dockerfile:2:1
  |
2 | ADD https://example.org/x.git?depth=1 /
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `depth=1` is not known
hint: after `?` there may be ref, branch, tag, commit, subdir, keep-git-dir and submodules
"#,
            ),
            (
                "FROM scratch\nEXPOSE 80 http\n",
                &[],
                2,
                r#"
error: `http` is no port
 --> ./Dockerfile:2:1
  |
2 | EXPOSE 80 http
  | ^^^^^^^^^^^^^^ expected 8080, 8080/udp or 8000-8010
hint: mend the port
"#,
            ),
            (
                "FROM scratch\nSTOPSIGNAL SIGSTOPP\n",
                &[],
                2,
                r#"
error: `SIGSTOPP` is no signal
 --> ./Dockerfile:2:1
  |
2 | STOPSIGNAL SIGSTOPP
  | ^^^^^^^^^^^^^^^^^^^ expected a name or a number
hint: write it as in SIGTERM or 15
"#,
            ),
            (
                "FROM scratch\nHEALTHCHECK --interval=1us CMD [\"/x\"]\n",
                &[],
                2,
                r#"
error: --interval can't be `1us`
 --> ./Dockerfile:2:1
  |
2 | HEALTHCHECK --interval=1us CMD ["/x"]
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected a millisecond or more
hint: write it as in 500ms, 30s or 1m30s
"#,
            ),
            (
                "FROM scratch\nVOLUME $DATA\n",
                &[],
                2,
                r#"
error: a volume has no path
 --> ./Dockerfile:2:1
  |
2 | VOLUME $DATA
  | ^^^^^^^^^^^^ its variables are empty
hint: name a folder, or give the variable a value with ARG or ENV
"#,
            ),
        ],
    );
}

/// What the options ask for.
#[test]
fn what_is_asked_for_can_not_be() {
    let stage = Stage::new(Project::new());
    check(
        &stage,
        &[
            (
                "FROM scratch AS server\nFROM scratch AS worker\n",
                &["--target", "sever"],
                2,
                r#"
error: there is no stage `sever`
hint: did you mean `server`?
"#,
            ),
            (
                "FROM scratch\n",
                &["--target", "server"],
                2,
                r#"
error: there is no stage `server`
hint: name a stage with `FROM … AS NAME`
"#,
            ),
            (
                "FROM scratch\n",
                &["--build-arg", "SOURCE_DATE_EPOCH=now"],
                2,
                r#"
error: SOURCE_DATE_EPOCH can't be `now`
hint: set it to seconds since 1970, as `git log -1 --format=%ct` prints them
"#,
            ),
            (
                "FROM base\n",
                &["--build-context", "base=oci-layout:///nowhere"],
                2,
                r#"
error: cannot find the image oci-layout:///nowhere
 --> ./Dockerfile:1:1
  |
1 | FROM base
  | ^^^^^^^^^ asks for it
  cannot read /nowhere
  No such file or directory (os error 2)
hint: check the path
"#,
            ),
            (
                "FROM base\n",
                &["--build-context", "base=docker-image://A/B"],
                2,
                r#"
error: `A/B` can't name an image
 --> ./Dockerfile:1:6
  |
1 | FROM base
  |      ^^^^ expected NAME:TAG
hint: mend it, or what its variables are: names are in small letters
"#,
            ),
            (
                "FROM base\n",
                &["--build-context", "base=nowhere"],
                2,
                r#"
error: --build-context cannot be `nowhere`: there is no such folder
hint: see `carrack build --help`
"#,
            ),
            (
                "FROM scratch\nCOPY a /\n",
                &["--secret", "id=token,env=NOT_SET"],
                2,
                r#"
error: --secret cannot be `id=token,env=NOT_SET`: the variable is not set
hint: see `carrack build --help`
"#,
            ),
            (
                "FROM scratch\n",
                &["--network", "bridge"],
                2,
                r#"
error: --network cannot be `bridge`: expected default, none or host
hint: see `carrack build --help`
"#,
            ),
        ],
    );
}
