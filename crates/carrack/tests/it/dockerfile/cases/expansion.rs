//! ENV, LABEL and the expansion of variables.

use serde_json::json;

use crate::dockerfile::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let label = |name: &'static str, environment: &str, label: &str, expected: &str| {
        case(name, &format!("FROM scratch\nENV {environment}\nLABEL l={label}\n"))
            .config("Labels", json!({ "l": expected }))
    };
    vec![
        case(
            "expansion-env-forms",
            r#"
            FROM @busybox
            ENV ONE=1 TWO="2 and more" THREE='3 $ONE' FOUR=4\ and\ more FIVE="a\"b" SIX=a"b c"d SEVEN=
            ENV OLD form with   blanks and "quotes"
            ENV EMPTY ""
            RUN env | grep -E '^(ONE|TWO|THREE|FOUR|FIVE|SIX|SEVEN|OLD|EMPTY)=' | sort > /out
            "#,
        )
        .old()
        .config(
            "Env",
            json!([
                "PATH=/bin",
                "ONE=1",
                "TWO=2 and more",
                "THREE=3 $ONE",
                "FOUR=4 and more",
                "FIVE=a\"b",
                "SIX=ab cd",
                "SEVEN=",
                "OLD=form with   blanks and quotes",
                "EMPTY=",
            ]),
        ),
        case(
            "expansion-env-of-one-line-is-that-before-it",
            r#"
            FROM scratch
            ENV a=hello
            ENV a=bye b=$a
            ENV c=$a
            "#,
        )
        .old()
        .config(
            "Env",
            json!([
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "a=bye",
                "b=hello",
                "c=bye",
            ]),
        ),
        case("expansion-env-replaces-in-place", "FROM scratch\nENV A=1 B=2\nENV A=3 C=4\n").old().config(
            "Env",
            json!(
                ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=3", "B=2", "C=4",]
            ),
        ),
        case(
            "expansion-env-path-is-added-to",
            r#"
            FROM @busybox
            ENV PATH=/mine:$PATH
            ENV PATH="${PATH}:/more"
            RUN echo $PATH > /out
            "#,
        )
        .old()
        .reads("/out", "/mine:/bin:/more\n"),
        label("expansion-plain", "A=1 B=2", "$A${B}$C-", "12-").old(),
        label("expansion-escaped", "A=1", r"\$A-\${A}-\\$A-'$A'-\a", r"$A-${A}-\1-$A-a"),
        label("expansion-in-quotes", "A=1", r#""$A '$A' \" \$A \a""#, r#"1 '1' " $A \a"#),
        label("expansion-name-ends", "A=1 A_B=2", "$A.b-$A_B-${A}_B-$A-B", "1.b-2-1_B-1-B").old(),
        label("expansion-default", "A= B=b", "${A:-x}-${A-y}-${C:-z}-${C-w}-${B:-v}", "x--z-w-b"),
        label("expansion-alternative", "A= B=b", "${A:+x}-${A+y}-${C:+z}-${C+w}-${B:+v}", "-y---v"),
        label("expansion-nested", "A=a B=b", "${X:-${A}${Y:-$B}}", "ab").old(),
        label("expansion-error-that-does-not-happen", "A=a B=", "${A:?no}-${B?no}", "a-"),
        label(
            "expansion-prefix",
            "A=foobarbaz B=a/b/c.tar.gz",
            "${A#f*b}-${A##f*b}-${B##*/}-${B#*/}",
            "arbaz-az-c.tar.gz-b/c.tar.gz",
        ),
        label(
            "expansion-suffix",
            "A=foobarbaz B=a/b/c.tar.gz",
            "${A%b*}-${A%%b*}-${B%.*}-${B%%.*}-${B%/*}",
            "foobar-foo-a/b/c.tar-a/b/c-a/b",
        ),
        label(
            "expansion-replace",
            "A=foobarbaz",
            "${A/ba/X}-${A//ba/X}-${A/b?r/Y}-${A//o/}-${A/no/Z}",
            "fooXrbaz-fooXrXz-fooYbaz-fbarbaz-foobarbaz",
        ),
        label(
            "expansion-pattern-characters",
            r"A=a*b.c?d",
            r"${A#a\*}-${A%\?d}-${A/./X}",
            "b.c?d-a*b.c-a*bXc?d",
        ),
        label("expansion-positional-and-special", "A=1", "$1-$$-$-x", "--x"),
        case(
            "expansion-label-forms",
            r#"
            FROM scratch
            ENV A=1
            LABEL a=b "c d"="e f" multi="one \
            two" $A=key
            LABEL old form here
            LABEL a=again
            "#,
        )
        .old(),
        case(
            "expansion-not-in-run",
            r#"
            FROM @busybox
            ENV A=env
            RUN A=shell; echo $A ${A} "$A" '$A' > /out
            "#,
        )
        .old()
        .reads("/out", "shell shell shell $A\n"),
        case(
            "expansion-undefined-is-empty",
            r#"
            FROM @busybox
            COPY a${NO}.txt /x$NO/
            WORKDIR /w/$NO/z
            "#,
        )
        .files(&["a.txt"])
        .has("/x/a.txt", "-")
        .config("WorkingDir", json!("/w//z")),
        case(
            "expansion-words-are-not-split",
            r#"
            FROM @busybox
            ENV F="a b.txt"
            COPY $F /
            COPY ["$F", "/c d.txt"]
            EXPOSE 1 2
            "#,
        )
        .files(&["a b.txt"]),
        case(
            "expansion-home-of-the-user",
            r#"
            FROM @busybox
            RUN echo $HOME > /one
            USER app
            RUN echo $HOME > /tmp/two
            ENV HOME=/mine
            RUN echo $HOME > /tmp/three
            "#,
        )
        .old()
        .reads("/one", "/root\n")
        .reads("/tmp/two", "/home/app\n")
        .reads("/tmp/three", "/mine\n"),
        case(
            "expansion-whole-environment-of-a-step",
            r#"
            FROM @busybox
            ENV A=1
            ARG B=2
            RUN env | sort > /out
            "#,
        )
        .has("/out", "-rw-r--r-- 0:0"),
        case(
            "expansion-no-path-in-scratch",
            r#"
            FROM scratch
            COPY --from=@busybox /bin/busybox /bin/sh
            ENV A=1
            RUN export > /out
            "#,
        )
        .has("/out", "-"),
    ]
}
