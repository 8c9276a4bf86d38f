//! COPY --from: stages, images and contexts as sources.

use crate::dockerfile::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "from-stage-by-name-and-number",
            r#"
            FROM @busybox AS first
            RUN mkdir /o && echo 1 > /o/a
            FROM scratch
            COPY --from=first /o/a /named
            COPY --from=0 o/a /numbered
            "#,
        )
        .old()
        .reads("/named", "1\n")
        .reads("/numbered", "1\n"),
        case(
            "from-image",
            r#"
            FROM scratch
            COPY --from=@busybox /etc/passwd /home /copied/
            "#,
        )
        .old()
        .has("/copied/passwd", "-rw-r--r-- 0:0")
        .has("/copied/app", "drwxr-xr-x 1000:1000"),
        case(
            "from-keeps-owners",
            r#"
            FROM @busybox AS b
            RUN mkdir -p /o/d && touch /o/f /o/d/g && chown -R 5:6 /o && chown 7 /o/d/g
            FROM scratch
            COPY --from=b /o /o
            COPY --from=b /o/f /f
            "#,
        )
        .old()
        .has("/o/f", "-rw-r--r-- 5:6")
        .has("/o/d/g", "-rw-r--r-- 7:6")
        .has("/o", "drwxr-xr-x 0:0")
        .has("/f", "-rw-r--r-- 5:6"),
        case(
            "from-parents-of-the-target",
            r#"
            FROM @busybox AS b
            RUN mkdir -p -m 700 /o/p && chown 5:6 /o /o/p && touch /o/p/f
            FROM scratch
            COPY --from=b /o/p/f /o/p/f
            "#,
        )
        .old()
        .has("/o/p", "drwxr-xr-x 0:0"),
        case(
            "from-everything",
            r#"
            FROM @busybox AS b
            RUN touch /made && chmod 1777 /var
            FROM scratch
            COPY --from=b / /
            "#,
        )
        .old()
        .has("/made", "-")
        .has("/var", "drwxrwxrwt"),
        case(
            "from-wildcards",
            r#"
            FROM @busybox AS b
            RUN mkdir /o && touch /o/liba.so /o/libb.so.1 /o/other
            FROM scratch
            COPY --from=b /o/lib*.so* /lib/
            "#,
        )
        .old()
        .has("/lib/liba.so", "-")
        .has("/lib/libb.so.1", "-")
        .lacks("/lib/other"),
        case(
            "from-symlinks-are-of-the-stage",
            r#"
            FROM @busybox AS b
            RUN mkdir -p /real/d && echo 1 > /real/d/f && ln -s /real /abs && ln -s real/d /rel \
                && ln -s /real/d/f /file && ln -s ../../../../real/d/f /up
            FROM scratch
            COPY --from=b /abs/d/f /one
            COPY --from=b /rel /two
            COPY --from=b /file /three
            COPY --from=b /up /four
            "#,
        )
        .old()
        .reads("/one", "1\n")
        .reads("/two/f", "1\n")
        .reads("/three", "1\n"),
        case(
            "from-folder-with-symlinks",
            r#"
            FROM @busybox AS b
            RUN mkdir /o && ln -s /bin/sh /o/sh && ln -s nowhere /o/x && chown -h 5:6 /o/x
            FROM scratch
            COPY --from=b /o /o
            "#,
        )
        .old()
        .has("/o/sh", "lrwxrwxrwx 0:0 -> /bin/sh")
        .has("/o/x", "lrwxrwxrwx 5:6 -> nowhere"),
        case(
            "from-hard-links",
            r#"
            FROM @busybox AS b
            RUN mkdir /o && echo 1 > /o/a && ln /o/a /o/b && ln /o/a /c
            FROM scratch
            COPY --from=b /o /o
            COPY --from=b /c /o/a /p/
            "#,
        )
        .old(),
        case(
            "from-devices",
            r#"
            FROM @busybox AS b
            RUN mkdir /o && mknod -m 666 /o/null c 1 3 && mknod /o/disk b 7 1
            FROM scratch
            COPY --from=b /o /o
            "#,
        )
        .has("/o/null", "crw-rw-rw- 0:0 1,3"),
        case(
            "from-fifos",
            r#"
            FROM @busybox AS b
            RUN mkdir /o && mkfifo -m 620 /o/fifo && chown 5:6 /o/fifo
            FROM scratch
            COPY --from=b /o /o
            "#,
        )
        .has("/o/fifo", "prw--w---- 5:6"),
        case(
            "from-previous-stage-with-the-same-base",
            r#"
            FROM @busybox AS a
            RUN echo a > /a
            FROM @busybox
            RUN echo b > /b
            COPY --from=a /a /etc/passwd /c/
            "#,
        )
        .old()
        .reads("/c/a", "a\n"),
        case(
            "from-deleted-things-are-gone",
            r#"
            FROM @busybox AS a
            RUN mkdir /o && touch /o/a /o/b
            RUN rm /o/a
            FROM scratch
            COPY --from=a /o /o
            "#,
        )
        .old()
        .lacks("/o/a")
        .has("/o/b", "-"),
        case(
            "from-relative-path-is-from-the-root",
            r#"
            FROM @busybox AS a
            WORKDIR /w
            RUN touch x
            FROM scratch
            WORKDIR /t
            COPY --from=a w/x .
            "#,
        )
        .old()
        .has("/t/x", "-"),
        case(
            "from-name-in-other-case",
            r#"
            FROM @busybox AS Build
            RUN touch /x
            FROM scratch
            COPY --from=bUILD /x /x
            "#,
        )
        .old()
        .has("/x", "-"),
        case(
            "from-a-stage-of-the-same-name-as-an-image",
            r#"
            FROM @busybox AS debian
            RUN touch /x
            FROM scratch
            COPY --from=debian /x /x
            "#,
        )
        .old()
        .has("/x", "-"),
        case(
            "from-several-to-a-folder",
            r#"
            FROM @busybox AS a
            RUN mkdir -p /d1/s /d2 && touch /d1/s/a /d2/b /c
            FROM scratch
            COPY --from=a /d1 /d2 /c /t/
            "#,
        )
        .old()
        .has("/t/s/a", "-")
        .has("/t/b", "-")
        .has("/t/c", "-"),
        case(
            "from-a-mount-is-empty",
            r#"
            FROM @busybox AS a
            RUN --mount=type=cache,target=/target echo 1 > /target/app
            FROM scratch
            COPY --from=a /target/app /app
            "#,
        )
        .refused("not found"),
        case(
            "from-debian-libraries",
            r#"
            FROM @debian AS a
            FROM scratch
            COPY --from=a /lib/x86_64-linux-gnu/libc.so.6 /lib64/ld-linux-x86-64.so.2 /lib/
            "#,
        )
        .old()
        .has("/lib/libc.so.6", "-rwxr-xr-x 0:0"),
        case(
            "from-a-config-is-not-copied",
            r#"
            FROM @parent AS a
            FROM scratch
            COPY --from=a /etc/group /group
            "#,
        )
        .old()
        .config("Labels", serde_json::json!(null)),
    ]
}
