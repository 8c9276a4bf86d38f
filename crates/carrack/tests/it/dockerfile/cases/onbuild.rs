//! ONBUILD.

use serde_json::json;

use crate::dockerfile::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "onbuild-is-kept",
            r#"
            FROM @busybox
            ONBUILD RUN touch /x
            ONBUILD COPY a /a
            "#,
        )
        .old()
        .config("OnBuild", json!(["RUN touch /x", "COPY a /a"]))
        .lacks("/x"),
        case("onbuild-runs-in-the-child", "FROM @trigger\nRUN cat /given /ran > /out\n")
            .files(&["given"])
            .old()
            .reads("/out", "given\n")
            .config("OnBuild", json!(null))
            .config("Env", json!(["PATH=/bin", "TRIGGERED=yes"])),
        case(
            "onbuild-of-a-stage",
            r#"
            FROM @busybox AS a
            ONBUILD RUN touch /triggered
            FROM a AS b
            RUN test -e /triggered
            FROM b
            "#,
        )
        .old()
        .has("/triggered", "-"),
        case("onbuild-missing-file", "FROM @trigger\n").old().refused("given"),
        case("onbuild-in-the-child-again", "FROM @trigger\nONBUILD ENV AGAIN=1\n")
            .files(&["given"])
            .old()
            .config("OnBuild", json!(["ENV AGAIN=1"])),
        case("onbuild-not-of-a-grandparent", "FROM @trigger AS a\nRUN rm /given\nFROM a\n")
            .files(&["given"])
            .old()
            .lacks("/given"),
        case("onbuild-onbuild", "FROM @busybox\nONBUILD ONBUILD RUN x\n").old().refused("ONBUILD"),
        case("onbuild-from", "FROM @busybox\nONBUILD FROM x\n").old().refused("FROM"),
        case("onbuild-maintainer", "FROM @busybox\nONBUILD MAINTAINER x\n").old().refused("MAINTAINER"),
        case(
            "onbuild-copy-from-a-stage",
            r#"
            FROM @busybox AS other
            RUN echo 1 > /x
            FROM @busybox AS base
            ONBUILD COPY --from=other /x /y
            FROM base
            "#,
        )
        .reads("/y", "1\n"),
        case(
            "onbuild-arguments",
            r#"
            FROM @busybox AS base
            ONBUILD ARG A=1
            ONBUILD RUN echo $A > /out
            FROM base
            "#,
        )
        .arguments(&["--build-arg", "A=2"])
        .old()
        .reads("/out", "2\n"),
        case(
            "onbuild-variables-are-the-childs",
            r#"
            FROM @busybox AS base
            ENV V=parent
            ONBUILD LABEL v=$V
            ONBUILD WORKDIR /on/$V
            FROM base
            ENV V=child
            "#,
        )
        .old()
        .config("Labels", json!({ "v": "parent" })),
    ]
}
