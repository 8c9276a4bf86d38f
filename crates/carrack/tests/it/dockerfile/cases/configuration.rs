//! Instructions that only say something about the image.

use serde_json::{Value, json};

use crate::dockerfile::case::{Case, case};

/// On busybox.
fn on_busybox(name: &'static str, text: &str) -> Case {
    case(name, &format!("FROM @busybox\n{text}\n")).old()
}

pub(crate) fn cases() -> Vec<Case> {
    let health = |name: &'static str, text: &str, expected: Value| {
        on_busybox(name, &format!("HEALTHCHECK {text}")).config("Healthcheck", expected)
    };
    vec![
        on_busybox("configuration-cmd-exec", "CMD [\"a\", \"b c\"]").config("Cmd", json!(["a", "b c"])),
        on_busybox("configuration-cmd-shell", "CMD a 'b c' $D")
            .config("Cmd", json!(["/bin/sh", "-c", "a 'b c' $D"])),
        on_busybox("configuration-cmd-empty", "CMD []").config("Entrypoint", json!(null)),
        on_busybox("configuration-last-cmd-counts", "CMD a\nCMD [\"b\"]").config("Cmd", json!(["b"])),
        on_busybox("configuration-entrypoint-resets-the-cmd-of-the-base", "ENTRYPOINT [\"e\"]")
            .config("Cmd", json!(null)),
        on_busybox("configuration-entrypoint-keeps-the-cmd-before", "CMD [\"c\"]\nENTRYPOINT [\"e\"]")
            .config("Cmd", json!(["c"])),
        on_busybox("configuration-cmd-after-entrypoint", "ENTRYPOINT e f\nCMD [\"c\"]")
            .config("Cmd", json!(["c"]))
            .config("Entrypoint", json!(["/bin/sh", "-c", "e f"])),
        on_busybox("configuration-entrypoint-empty", "ENTRYPOINT [\"e\"]\nENTRYPOINT []")
            .config("Entrypoint", json!(null)),
        case("configuration-entrypoint-over-a-parents", "FROM @parent\nENTRYPOINT [\"mine\"]\n")
            .old()
            .config("Cmd", json!(null)),
        case("configuration-cmd-over-a-parents", "FROM @parent\nCMD [\"mine\"]\n")
            .old()
            .config("Entrypoint", json!(["/entry"])),
        case(
            "configuration-entrypoint-after-a-stage-with-cmd",
            r#"
            FROM @busybox AS a
            CMD ["c"]
            FROM a
            ENTRYPOINT ["e"]
            "#,
        ),
        on_busybox("configuration-expose", "EXPOSE 80 443/tcp 53/udp\nEXPOSE 8000-8002\nEXPOSE 90/sctp 80")
            .config(
                "ExposedPorts",
                json!({
                    "443/tcp": {}, "53/udp": {}, "80/tcp": {}, "8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {},
                    "90/sctp": {},
                }),
            ),
        case("configuration-expose-bad", "FROM @busybox\nEXPOSE many\n").refused("many"),
        on_busybox("configuration-volumes", "VOLUME /a /b/c\nVOLUME [\"/d e\", \"/f\"]\nVOLUME relative")
            .config("Volumes", json!({ "/a": {}, "/b/c": {}, "/d e": {}, "/f": {}, "relative": {} })),
        on_busybox("configuration-user", "USER app\nUSER app:wheel\nUSER 5:6").config("User", json!("5:6")),
        on_busybox("configuration-user-unknown-but-nothing-runs", "USER nosuch")
            .config("User", json!("nosuch")),
        on_busybox("configuration-working-folder-is-made", "WORKDIR /a/b\nWORKDIR c")
            .config("WorkingDir", json!("/a/b/c"))
            .has("/a/b/c", "drwxr-xr-x 0:0"),
        on_busybox("configuration-working-folder-that-is-there", "WORKDIR /home/app\nWORKDIR /tmp/")
            .has("/home/app", "drwxr-xr-x 1000:1000")
            .has("/tmp", "drwxrwxrwt"),
        on_busybox("configuration-working-folder-of-a-user", "USER app\nWORKDIR /new")
            .has("/new", "drwxr-xr-x 1000:1000"),
        on_busybox("configuration-working-folder-cleaned", "WORKDIR /a/../b/./c//d/")
            .config("WorkingDir", json!("/a/../b/./c//d/")),
        on_busybox("configuration-working-folder-with-blanks", "WORKDIR /a b/c\nWORKDIR \"/q r\"")
            .config("WorkingDir", json!("/q r")),
        on_busybox(
            "configuration-working-folder-behind-a-symlink",
            "RUN mkdir /real && ln -s real /link\nWORKDIR /link/deep\n\
             RUN pwd -P > /out",
        )
        .config("WorkingDir", json!("/link/deep"))
        .reads("/out", "/real/deep\n"),
        case(
            "configuration-working-folder-relative-in-scratch",
            r#"
            FROM scratch
            WORKDIR a
            WORKDIR b
            COPY x .
            "#,
        )
        .files(&["x"])
        .old()
        .config("WorkingDir", json!("/a/b")),
        on_busybox("configuration-stop-signal", "STOPSIGNAL SIGTERM\nSTOPSIGNAL 9")
            .config("StopSignal", json!("9")),
        on_busybox("configuration-stop-signal-bad", "STOPSIGNAL SIGNOSUCH").refused("SIGNOSUCH"),
        on_busybox("configuration-labels", "LABEL a=1 b=\"2 3\"\nLABEL a=4\nLABEL \"c d\"=5 e.f-g/h=6")
            .config("Labels", json!({ "a": "4", "b": "2 3", "c d": "5", "e.f-g/h": "6" })),
        on_busybox("configuration-shell", "SHELL [\"/bin/sh\", \"-ec\"]\nCMD a\nHEALTHCHECK CMD b")
            .config("Shell", json!(["/bin/sh", "-ec"]))
            .config("Cmd", json!(["/bin/sh", "-ec", "a"])),
        health(
            "configuration-health-shell",
            "CMD wget -q x || exit 1",
            json!({ "Test": ["CMD-SHELL", "wget -q x || exit 1"] }),
        ),
        health("configuration-health-exec", "CMD [\"a\", \"b\"]", json!({ "Test": ["CMD", "a", "b"] })),
        health("configuration-health-none", "NONE", json!({ "Test": ["NONE"] })),
        health(
            "configuration-health-times",
            "--interval=1m30s --timeout=500ms --start-period=2s --retries=5 CMD a",
            json!({
                "Test": ["CMD-SHELL", "a"], "Interval": 90_000_000_000_u64, "Timeout": 500_000_000,
                "StartPeriod": 2_000_000_000, "Retries": 5,
            }),
        ),
        case(
            "configuration-health-start-interval",
            r#"
            FROM @busybox
            HEALTHCHECK --start-interval=3s --start-period=10s CMD ["a"]
            "#,
        )
        .config(
            "Healthcheck",
            json!({
                "Test": ["CMD", "a"], "StartPeriod": 10_000_000_000_u64, "StartInterval": 3_000_000_000_u64,
            }),
        ),
        health(
            "configuration-health-last-counts",
            "CMD a\nHEALTHCHECK --retries=2 CMD b",
            json!({ "Test": ["CMD-SHELL", "b"], "Retries": 2 }),
        ),
        case("configuration-health-bad-time", "FROM @busybox\nHEALTHCHECK --interval=1 CMD a\n")
            .refused("interval"),
        case("configuration-health-of-a-parent-off", "FROM @parent\nHEALTHCHECK NONE\n")
            .old()
            .config("Healthcheck", json!({ "Test": ["NONE"] })),
        on_busybox("configuration-args-are-not-kept", "ARG A=1\nLABEL a=$A")
            .config("Env", json!(["PATH=/bin"])),
        case("configuration-nothing-but-a-base", "FROM @parent\n").old().config("User", json!("app")),
        case(
            "configuration-unset-what-a-parent-had",
            r#"
            FROM @parent
            USER ""
            ENV FROM_PARENT=
            CMD []
            ENTRYPOINT []
            "#,
        ),
        case(
            "configuration-history",
            r#"
            FROM scratch
            LABEL a=b
            COPY x /x
            ENV A=1
            WORKDIR /w
            USER 5
            EXPOSE 1
            VOLUME /v
            CMD ["c"]
            ENTRYPOINT e
            STOPSIGNAL 9
            SHELL ["s"]
            HEALTHCHECK NONE
            ONBUILD RUN x
            ARG Z=1
            "#,
        )
        .files(&["x"]),
        case(
            "configuration-history-of-runs",
            r#"
            FROM @busybox
            ARG A=1
            ENV B=2
            RUN echo $A $B > /x
            RUN ["touch", "/y"]
            COPY --chown=5 --chmod=600 x z/ /d/
            ADD --chown=1:2 x /e
            "#,
        )
        .files(&["x", "z/y"]),
    ]
}
