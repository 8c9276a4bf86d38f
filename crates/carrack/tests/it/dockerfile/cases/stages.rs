//! FROM, stages, targets, and which of them are built.

use serde_json::json;

use crate::dockerfile::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("stages-scratch-is-empty", "FROM scratch\n").lacks("/bin").config("Cmd", json!(null)),
        case("stages-base-alone", "FROM @busybox\n")
            .old()
            .has("/bin/busybox", "-")
            .config("Cmd", json!(["sh"])),
        case(
            "stages-last-is-built",
            r#"
            FROM @busybox AS first
            RUN echo 1 > /first
            FROM @busybox AS second
            RUN echo 2 > /second
            "#,
        )
        .old()
        .reads("/second", "2\n")
        .lacks("/first"),
        case(
            "stages-target",
            r#"
            FROM @busybox AS first
            RUN echo 1 > /first
            FROM first AS second
            RUN false
            "#,
        )
        .arguments(&["--target", "first"])
        .old()
        .reads("/first", "1\n"),
        case(
            "stages-target-in-other-case",
            r#"
            FROM @busybox AS First
            RUN echo 1 > /first
            FROM scratch AS other
            COPY --from=FIRST /first /got
            "#,
        )
        .arguments(&["--target", "OTHER"])
        .old()
        .reads("/got", "1\n"),
        case(
            "stages-unneeded-ones-are-not-built",
            r#"
            FROM @busybox AS broken
            RUN false
            FROM @registry/no/such:1 AS gone
            FROM scratch
            LABEL a=b
            "#,
        )
        .config("Labels", json!({ "a": "b" })),
        case(
            "stages-inherit-everything",
            r#"
            FROM @busybox AS base
            ENV A=1
            WORKDIR /w
            USER 5
            LABEL l=base
            EXPOSE 1
            VOLUME /v
            CMD ["c"]
            ENTRYPOINT ["e"]
            FROM base
            RUN echo $A $(pwd) $(id -u) > /tmp/out
            ENV B=$A
            LABEL m=child
            "#,
        )
        .old()
        .reads("/tmp/out", "1 /w 5\n")
        .config("Labels", json!({ "l": "base", "m": "child" }))
        .config("Entrypoint", json!(["e"]))
        .config("User", json!("5")),
        case(
            "stages-parent-image",
            r#"
            FROM @parent
            LABEL shared=child
            ENV X=$FROM_PARENT
            "#,
        )
        .old()
        .config("Labels", json!({ "parent": "1", "shared": "child" }))
        .config("Env", json!(["PATH=/parent/bin:/bin", "FROM_PARENT=1", "X=1"]))
        .config("Entrypoint", json!(["/entry"]))
        .config("Cmd", json!(["argument"]))
        .config("WorkingDir", json!("/parent"))
        .config("StopSignal", json!("SIGINT")),
        case(
            "stages-parent-image-runs-in-its-own-way",
            r#"
            FROM @parent
            USER root
            RUN false; true; pwd > out
            "#,
        )
        .refused("did not complete successfully: exit code: 1"),
        case(
            "stages-parent-image-shell",
            r#"
            FROM @parent
            USER 0
            RUN pwd > out; id -u >> out; echo $PATH >> out
            "#,
        )
        .reads("/parent/out", "/parent\n0\n/parent/bin:/bin\n")
        .config("Shell", json!(["/bin/sh", "-ec"])),
        case(
            "stages-platform",
            r#"
            FROM --platform=$TARGETPLATFORM @busybox AS a
            FROM --platform=linux/amd64 a
            LABEL p=1
            "#,
        )
        .config("Labels", json!({ "p": "1" })),
        case(
            "stages-build-platform",
            r#"
            FROM --platform=$BUILDPLATFORM @busybox AS build
            RUN echo 1 > /out
            FROM scratch
            COPY --from=build /out /
            "#,
        )
        .reads("/out", "1\n"),
        case(
            "stages-platform-that-the-image-has-not",
            r#"
            FROM --platform=linux/arm64 @busybox
            LABEL a=b
            "#,
        )
        .refused("no match for platform"),
        case(
            "stages-name-shadows-image",
            r#"
            FROM @busybox AS alpine
            RUN echo mine > /out
            FROM alpine
            "#,
        )
        .old()
        .reads("/out", "mine\n"),
        case(
            "stages-same-name-twice",
            r#"
            FROM @busybox AS a
            RUN echo 1 > /out
            FROM @busybox AS a
            RUN echo 2 > /out
            FROM a
            "#,
        ),
        case(
            "stages-diamond",
            r#"
            FROM @busybox AS base
            RUN echo base > /base
            FROM base AS left
            RUN echo left > /side && chmod 600 /base
            FROM base AS right
            RUN echo right > /side && rm /base
            FROM scratch
            COPY --from=left /side /base /left/
            COPY --from=right /side /right/
            "#,
        )
        .old()
        .has("/left/base", "-rw------- 0:0 5")
        .reads("/right/side", "right\n"),
        case(
            "stages-digest",
            r#"
            FROM @busybox AS base
            FROM base
            COPY --from=base /etc/passwd /copied
            "#,
        )
        .old()
        .has("/copied", "-rw-r--r-- 0:0"),
        case("stages-labels-of-the-command-line", "FROM scratch\nLABEL a=1 b=2\n")
            .arguments(&["--label", "b=3", "--label", "c=4 5", "--label", "d"])
            .old()
            .config("Labels", json!({ "a": "1", "b": "3", "c": "4 5", "d": "" })),
        case(
            "stages-named-context",
            r#"
            FROM other AS base
            FROM scratch
            COPY --from=other /a /a
            COPY --from=base /b /b
            "#,
        )
        .arguments(&["--build-context", "other=@self/other"])
        .context("main")
        .files(&["other/a", "other/b"])
        .reads("/a", "other/a")
        .reads("/b", "other/b"),
        case(
            "stages-named-context-replaces-a-stage",
            r#"
            FROM @busybox AS base
            RUN false
            FROM scratch
            COPY --from=base /a /a
            "#,
        )
        .arguments(&["--build-context", "base=@self/other"])
        .context("main")
        .files(&["other/a"])
        .reads("/a", "other/a"),
        case("stages-named-context-of-an-image", "FROM tool AS t\nRUN echo 1 > /out\n")
            .arguments(&["--build-context", "tool=docker-image://@busybox"])
            .reads("/out", "1\n"),
        case("stages-named-context-has-its-own-ignore-file", "FROM scratch\nCOPY --from=other . /all/\n")
            .arguments(&["--build-context", "other=@self/other"])
            .context("main")
            .files(&["other/a", "other/b", "main/c"])
            .file("other/.dockerignore", "b\n")
            .has("/all/a", "-")
            .has("/all/.dockerignore", "-"),
    ]
}
