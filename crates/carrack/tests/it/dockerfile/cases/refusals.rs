//! What no engine may build.

use crate::dockerfile::case::{Case, case};

/// A Dockerfile that is refused with `said`.
fn refused(name: &'static str, text: &str, said: &'static str) -> Case {
    case(name, text).old().refused(said)
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        refused("refusals-empty", "\n# nothing\n", ""),
        refused("refusals-no-from", "RUN true\n", ""),
        refused("refusals-unknown-instruction", "FROM scratch\nFRMO x\n", "FRMO"),
        refused("refusals-unknown-flag", "FROM scratch\nCOPY --nosuch a /\n", "nosuch"),
        refused("refusals-flag-of-another-instruction", "FROM scratch\nENV --chown=5 A=1\n", ""),
        refused("refusals-copy-one-word", "FROM scratch\nCOPY a\n", "COPY requires at least two arguments"),
        refused("refusals-copy-missing", "FROM scratch\nCOPY nosuch /\n", "not found"),
        refused(
            "refusals-copy-from-unknown-stage",
            r#"
            FROM scratch
            COPY --from=@registry/no/such:1 /a /
            "#,
            "",
        ),
        refused("refusals-copy-from-itself", "FROM @busybox AS a\nCOPY --from=a /etc /x\n", "circular"),
        refused("refusals-copy-from-later-stage-number", "FROM @busybox\nCOPY --from=3 /etc /x\n", ""),
        refused(
            "refusals-copy-from-missing-path",
            r#"
            FROM @busybox AS a
            FROM scratch
            COPY --from=a /nosuch /x
            "#,
            "not found",
        ),
        refused("refusals-from-unknown-image", "FROM @registry/no/such:1\n", ""),
        refused("refusals-from-unset-argument", "FROM ${NOSUCH}\n", ""),
        refused("refusals-from-two-words", "FROM a b\n", ""),
        refused("refusals-bad-stage-name", "FROM scratch AS 1a\n", "1a"),
        refused("refusals-unknown-target", "FROM scratch AS a\n", "nosuch")
            .arguments(&["--target", "nosuch"]),
        refused("refusals-env-without-value", "FROM scratch\nENV A\n", "ENV"),
        refused("refusals-env-half-pairs", "FROM scratch\nENV A=1 B\n", ""),
        refused("refusals-label-without-value", "FROM scratch\nLABEL\n", "LABEL"),
        refused("refusals-bad-expansion", "FROM scratch\nENV A=${B\n", ""),
        refused("refusals-unknown-modifier", "FROM scratch\nENV A=${B!x}\n", ""),
        refused("refusals-onbuild-alone", "FROM scratch\nONBUILD\n", "ONBUILD"),
        refused("refusals-shell-that-is-no-list", "FROM scratch\nSHELL /bin/sh -c\n", "SHELL"),
        refused("refusals-healthcheck-of-no-kind", "FROM scratch\nHEALTHCHECK a\n", "HEALTHCHECK"),
        refused("refusals-user-without-name", "FROM scratch\nUSER\n", "USER"),
        refused("refusals-workdir-without-path", "FROM scratch\nWORKDIR\n", "WORKDIR"),
        refused("refusals-arg-without-name", "FROM scratch\nARG =1\n", ""),
        refused("refusals-target-by-number", "FROM @busybox\nFROM scratch\n", "could not be found")
            .arguments(&["--target", "1"]),
        refused(
            "refusals-directive-after-shebang",
            r#"
            #!/usr/bin/env docker
            # escape=`
            FROM scratch
            LABEL a=`
            b
            "#,
            "",
        ),
        refused("refusals-two-escape-directives", "# escape=`\n# escape=\\\nFROM scratch\n", "escape"),
        refused("refusals-bad-escape-directive", "# escape=x\nFROM scratch\n", "escape"),
        case(
            "refusals-checks-that-are-errors",
            r#"
            # check=error=true
            FROM @busybox as a
            CMD echo a
            "#,
        )
        .refused("lint violation"),
        refused(
            "refusals-step-after-step",
            r#"
            FROM @busybox
            RUN touch /a
            RUN test -e /b
            RUN touch /c
            "#,
            "exit code: 1",
        ),
        refused("refusals-missing-dockerfile-argument", "FROM @busybox AS a\nFROM b\n", "").old(),
    ]
}
