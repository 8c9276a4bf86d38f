//! ARG: where it holds, what beats it, and which are there without being declared.

use serde_json::json;

use crate::dockerfile::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "arguments-default-and-given",
            r#"
            FROM @busybox
            ARG A=1
            ARG B=2
            ARG C
            RUN echo $A-$B-$C-${C-unset} > /out
            "#,
        )
        .arguments(&["--build-arg", "B=given", "--build-arg", "C="])
        .old()
        .reads("/out", "1-given--\n")
        .config("Env", json!(["PATH=/bin"])),
        case(
            "arguments-from-the-environment",
            r#"
            FROM @busybox
            ARG A
            ARG B=default
            RUN echo $A $B > /out
            "#,
        )
        .arguments(&["--build-arg", "A", "--build-arg", "B"])
        .environment("A", "mine")
        .old()
        .reads("/out", "mine default\n"),
        case("arguments-undeclared-are-unset", "FROM @busybox\nRUN echo [$A] > /out\n")
            .arguments(&["--build-arg", "A=1"])
            .reads("/out", "[]\n"),
        case(
            "arguments-hold-from-their-line-on",
            r#"
            FROM @busybox
            ENV E=before-$A
            ARG A=1
            ENV F=after-$A
            RUN echo $E $F > /out
            "#,
        )
        .old()
        .reads("/out", "before- after-1\n"),
        case(
            "arguments-declared-again",
            r#"
            FROM @busybox
            ARG A=1
            RUN echo $A > /one
            ARG A=2
            RUN echo $A > /two
            ARG A
            RUN echo $A > /three
            "#,
        )
        .old()
        .reads("/one", "1\n")
        .reads("/two", "2\n")
        .reads("/three", "2\n"),
        case(
            "arguments-given-beat-every-default",
            r#"
            FROM @busybox
            ARG A=1
            RUN echo $A > /one
            ARG A=2
            RUN echo $A > /two
            "#,
        )
        .arguments(&["--build-arg", "A=x"])
        .old()
        .reads("/one", "x\n")
        .reads("/two", "x\n"),
        case(
            "arguments-global-hold-in-from-only",
            r#"
            ARG IMAGE=@busybox
            ARG A=global
            FROM $IMAGE
            RUN echo [$A] > /one
            ARG A
            RUN echo [$A] > /two
            "#,
        )
        .old()
        .reads("/one", "[]\n")
        .reads("/two", "[global]\n"),
        case(
            "arguments-global-default-and-own-default",
            r#"
            ARG A=global
            FROM @busybox
            ARG A=own
            RUN echo $A > /out
            "#,
        )
        .old()
        .reads("/out", "own\n"),
        case(
            "arguments-global-build-on-each-other",
            r#"
            ARG NAME=busy
            ARG FULL=${NAME}box
            FROM @busybox AS busybox
            ARG FULL
            RUN echo $FULL > /out
            FROM ${FULL}
            "#,
        )
        .old()
        .reads("/out", "busybox\n"),
        case(
            "arguments-stages-inherit",
            r#"
            FROM @busybox AS a
            ARG A=1
            ENV E=$A
            FROM a
            RUN echo [$A] [$E] > /out
            "#,
        )
        .reads("/out", "[1] [1]\n"),
        case(
            "arguments-other-stages-do-not",
            r#"
            FROM @busybox AS a
            ARG A=1
            FROM @busybox
            RUN echo [$A] > /out
            "#,
        )
        .old()
        .reads("/out", "[]\n"),
        case(
            "arguments-after-the-environment-beat-it",
            r#"
            FROM @busybox
            ENV A=env
            ARG A=arg
            RUN echo $A > /one
            ENV B=$A
            "#,
        )
        .arguments(&["--build-arg", "A=given"])
        .old()
        .reads("/one", "given\n")
        .config("Env", json!(["PATH=/bin", "A=env", "B=given"])),
        case(
            "arguments-environment-after-them",
            r#"
            FROM @busybox
            ARG A=arg
            RUN echo $A > /one
            ENV A=env-$A
            RUN echo $A > /two
            "#,
        )
        .old()
        .reads("/one", "arg\n")
        .reads("/two", "env-arg\n"),
        case(
            "arguments-beat-the-base-image",
            r#"
            FROM @parent
            USER root
            ARG FROM_PARENT=2
            RUN echo $FROM_PARENT > /out
            "#,
        )
        .arguments(&["--build-arg", "FROM_PARENT=3"])
        .old()
        .reads("/out", "3\n"),
        case(
            "arguments-several-a-line",
            r#"
            FROM @busybox
            ARG A=1 B=$A-2 C
            RUN echo $A $B $C > /out
            "#,
        )
        .arguments(&["--build-arg", "C=3"])
        .reads("/out", "1 1-2 3\n"),
        case(
            "arguments-quoted",
            r#"
            FROM @busybox
            ARG A="a b" B='c $A' C=d\ e
            RUN echo "$A|$B|$C" > /out
            "#,
        )
        .reads("/out", "a b|c $A|d e\n"),
        case(
            "arguments-used-everywhere",
            r#"
            FROM @busybox
            ARG A=a
            ARG PORT=8080
            ARG OWNER=1000
            COPY --chown=$OWNER:${OWNER} $A.txt /$A/${A}.txt
            WORKDIR /$A/w
            EXPOSE $PORT
            VOLUME /v/$A
            USER $OWNER
            LABEL $A=$A b="$A"
            STOPSIGNAL ${SIGNAL:-SIGUSR1}
            "#,
        )
        .files(&["a.txt"])
        .old()
        .has("/a/a.txt", "-rw-r--r-- 1000:1000")
        .config("WorkingDir", json!("/a/w"))
        .config("ExposedPorts", json!({ "8080/tcp": {} }))
        .config("User", json!("1000"))
        .config("Labels", json!({ "a": "a", "b": "a" }))
        .config("StopSignal", json!("SIGUSR1")),
        case(
            "arguments-not-in-cmd-and-entrypoint",
            r#"
            FROM @busybox
            ARG A=1
            CMD echo $A
            ENTRYPOINT ["x", "$A"]
            HEALTHCHECK CMD echo $A
            "#,
        )
        .old()
        .config("Cmd", json!(["/bin/sh", "-c", "echo $A"]))
        .config("Entrypoint", json!(["x", "$A"]))
        .config("Healthcheck", json!({ "Test": ["CMD-SHELL", "echo $A"] })),
        case(
            "arguments-predefined-proxies",
            r#"
            FROM @busybox
            RUN echo $http_proxy $HTTPS_PROXY $no_proxy $FTP_PROXY $all_proxy > /out
            "#,
        )
        .arguments(&[
            "--build-arg",
            "http_proxy=http://one",
            "--build-arg",
            "HTTPS_PROXY=http://two",
            "--build-arg",
            "no_proxy=three",
            "--build-arg",
            "FTP_PROXY=four",
            "--build-arg",
            "all_proxy=five",
        ])
        .reads("/out", "http://one http://two three four five\n")
        .config("Env", json!(["PATH=/bin"])),
        case(
            "arguments-predefined-platforms",
            r#"
            FROM @busybox
            ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDOS BUILDARCH BUILDVARIANT
            RUN echo $TARGETPLATFORM $TARGETOS $TARGETARCH [$TARGETVARIANT] \
                $BUILDPLATFORM $BUILDOS $BUILDARCH [$BUILDVARIANT] > /out
            "#,
        )
        .reads("/out", "linux/amd64 linux amd64 [] linux/amd64 linux amd64 []\n"),
        case(
            "arguments-predefined-platforms-only-if-declared",
            r#"
            FROM @busybox
            RUN echo [$TARGETPLATFORM] > /out
            "#,
        )
        .old()
        .reads("/out", "[]\n"),
        case(
            "arguments-platform-with-a-default",
            r#"
            FROM @busybox
            ARG TARGETOS=mine
            RUN echo $TARGETOS > /out
            "#,
        )
        .reads("/out", "mine\n"),
        case(
            "arguments-target-stage",
            r#"
            FROM @busybox AS a
            ARG TARGETSTAGE
            RUN echo $TARGETSTAGE > /out
            FROM a AS b
            "#,
        )
        .arguments(&["--target", "b"]),
        case("arguments-unused-given", "FROM scratch\nLABEL a=b\n")
            .arguments(&["--build-arg", "NOBODY=asked"])
            .old()
            .config("Labels", json!({ "a": "b" })),
        case(
            "arguments-required",
            r#"
            FROM @busybox
            ARG A
            RUN echo ${A:?is needed} > /out
            "#,
        )
        .refused("A: is needed"),
        case(
            "arguments-required-in-an-instruction",
            r#"
            FROM @busybox
            ARG A
            ENV B=${A:?is needed}
            "#,
        )
        .refused("is needed"),
    ]
}
