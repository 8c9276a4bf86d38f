//! How a Dockerfile is read: directives, comments, continuations, line ends.

use serde_json::json;

use crate::dockerfile::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "syntax-comments-and-continuations",
            r#"
            # A comment.
            FROM @busybox

              # An indented one.
            RUN echo one \
                # in the middle
                two \

                three > /out
            ENV A=1 \
            # in column 0
                B=2
            LABEL note="has # inside"
            "#,
        )
        .reads("/out", "one two three\n")
        .config("Labels", json!({ "note": "has # inside" })),
        case(
            "syntax-lower-case",
            r#"
            from @busybox as base
            run echo hi > /out
            From base
            cMd ["a"]
            "#,
        )
        .old()
        .reads("/out", "hi\n")
        .config("Cmd", json!(["a"])),
        case(
            "syntax-escape-directive",
            r#"
            # escape=`
            FROM @busybox
            RUN echo one `
                two > /out
            ENV A=C:\dir B="a`$b" C='a`$b'
            COPY a`*b.txt /
            "#,
        )
        .files(&["a*b.txt", "axb.txt"])
        .old()
        .reads("/out", "one two\n")
        .config("Env", json!(["PATH=/bin", "A=C:\\dir", "B=a$b", "C=a`$b"])),
        case(
            "syntax-directive-after-comment-is-none",
            r#"
            # A comment first.
            # escape=`
            FROM scratch
            LABEL a=b\
            c
            "#,
        )
        .old()
        .config("Labels", json!({ "a": "bc" })),
        case("syntax-byte-order-mark", "\u{feff}FROM scratch\nLABEL a=b\n")
            .old()
            .config("Labels", json!({ "a": "b" })),
        case(
            "syntax-shebang",
            r#"
            #!/usr/bin/env docker
            FROM scratch
            LABEL a=\
            b
            "#,
        )
        .config("Labels", json!({ "a": "b" })),
        case("syntax-line-ends-of-windows", "FROM @busybox\r\nRUN echo a \\\r\n  b > /out\r\nLABEL a=b\r\n")
            .old()
            .reads("/out", "a b\n")
            .config("Labels", json!({ "a": "b" })),
        case("syntax-no-line-end", "FROM scratch\nLABEL a=b\\").config("Labels", json!({ "a": "b" })),
        case(
            "syntax-check-directive",
            r#"
            # check=skip=all;error=true
            from scratch AS A
            LABEL a b
            "#,
        )
        .config("Labels", json!({ "a": "b" })),
        case("syntax-tabs-and-trailing-blanks", "FROM\tscratch  \nLABEL\ta=b \t\nENV  A=1\t B=2  \n")
            .old()
            .config(
                "Env",
                json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=1", "B=2"]),
            ),
        case("syntax-another-file", "FROM scratch\nCOPY . /all/\n")
            .dockerfile_at("build/My.Dockerfile")
            .files(&["a"])
            .old()
            .has("/all/build/My.Dockerfile", "-")
            .has("/all/a", "-"),
        case("syntax-dockerfile-outside-of-the-context", "FROM scratch\nCOPY . /all/\n")
            .context("inner")
            .dockerfile_at("../Other")
            .files(&["inner/a"])
            .old()
            .has("/all/a", "-")
            .lacks("/all/Other"),
        case(
            "syntax-json-that-is-none",
            r#"
            FROM @busybox
            CMD ['a', 'b']
            ENTRYPOINT ["a", ]
            "#,
        )
        .old()
        .config("Cmd", json!(["/bin/sh", "-c", "['a', 'b']"]))
        .config("Entrypoint", json!(["/bin/sh", "-c", "[\"a\", ]"])),
        case(
            "syntax-json-escapes",
            r#"
            FROM scratch
            CMD ["a\tb", "\u00e9", "c:\\d", "$HOME"]
            "#,
        )
        .old()
        .config("Cmd", json!(["a\tb", "é", "c:\\d", "$HOME"])),
        case(
            "syntax-maintainer",
            r#"
            FROM scratch
            MAINTAINER Mara <mara@clinic.example>
            LABEL a=b
            "#,
        )
        .old()
        .config("Labels", json!({ "a": "b" })),
        case(
            "syntax-text-of-many-languages",
            r#"
            FROM scratch
            LABEL name="Größe 寸 🦀"
            COPY größe.txt /寸/
            "#,
        )
        .files(&["größe.txt"])
        .old()
        .config("Labels", json!({ "name": "Größe 寸 🦀" })),
        case(
            "syntax-quotes-at-line-ends",
            r#"
            FROM @busybox
            RUN echo "a \
              b" 'c\
             d' > /out
            "#,
        )
        .old()
        .reads("/out", "a   b c d\n"),
        case("syntax-only-a-global-argument-before", "# c\nARG A=scratch\n\nFROM ${A}\nLABEL a=b\n")
            .old()
            .config("Labels", json!({ "a": "b" })),
    ]
}
