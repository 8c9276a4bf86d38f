//! Flags of COPY: --chown, --chmod, --link, --parents, --exclude.

use crate::dockerfile::case::{Case, case};

/// The context of most cases: a file, a program, a folder with both, a link.
fn tree(name: &'static str, text: &str) -> Case {
    case(name, text)
        .files(&["file", "program", "dir/file", "dir/sub/program", "dir/sub/deep/file"])
        .mode("file", 0o640)
        .mode("program", 0o755)
        .mode("dir/sub/program", 0o750)
        .mode("dir", 0o700)
        .mode("dir/sub", 0o2755)
        .symlink("dir/link", "file")
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        tree(
            "flags-chown-numbers",
            r#"
            FROM scratch
            COPY --chown=5:6 file dir /a/
            COPY --chown=7 file /b
            COPY --chown=8:0 dir /c/d
            "#,
        )
        .old()
        .has("/a/file", "-rw-r--r-- 5:6")
        .has("/a/link", "lrwxrwxrwx 5:6")
        .has("/a", "drwxr-xr-x 5:6")
        .has("/b", "-rw-r----- 7:7")
        .has("/c/d", "drwxr-xr-x 8:0"),
        tree(
            "flags-chown-names",
            r#"
            FROM @busybox
            COPY --chown=app file /a
            COPY --chown=app:wheel file /b
            COPY --chown=nobody:nogroup dir /c
            COPY --chown=app:5 file /d
            COPY --chown=5:clinic file /e
            "#,
        )
        .old()
        .has("/a", "-rw-r----- 1000:1000")
        .has("/b", "-rw-r----- 1000:10")
        .has("/c/file", "-rw-r--r-- 65534:65534")
        .has("/d", "-rw-r----- 1000:5")
        .has("/e", "-rw-r----- 5:2000"),
        tree(
            "flags-chown-names-made-before",
            r#"
            FROM @busybox
            RUN echo 'late:x:77:78::/:/bin/sh' >> /etc/passwd && echo 'lates:x:79:' >> /etc/group
            COPY --chown=late file /a
            COPY --chown=late:lates file /b
            "#,
        )
        .old()
        .has("/b", "-rw-r----- 77:79"),
        tree("flags-chown-unknown-name", "FROM @busybox\nCOPY --chown=nosuch file /a\n"),
        tree("flags-chown-name-in-scratch", "FROM scratch\nCOPY --chown=app file /a\n").old().refused(""),
        tree(
            "flags-chown-from",
            r#"
            FROM @busybox AS a
            RUN mkdir /o && touch /o/x && chown 9:9 /o/x
            FROM @busybox
            COPY --from=a --chown=app:app /o /o
            "#,
        )
        .old()
        .has("/o/x", "-rw-r--r-- 1000:1000")
        .has("/o", "drwxr-xr-x 1000:1000"),
        tree("flags-chown-large-number", "FROM scratch\nCOPY --chown=70000:80000 file /a\n")
            .old()
            .has("/a", "-rw-r----- 70000:80000"),
        tree("flags-chown-keeps-setuid", "FROM scratch\nCOPY --chown=5 tool /tool\n")
            .file("tool", "x")
            .mode("tool", 0o6755),
        tree(
            "flags-chmod-octal",
            r#"
            FROM scratch
            COPY --chmod=600 file /a
            COPY --chmod=0755 dir /b
            COPY --chmod=4711 file /c/d/e
            COPY --chmod=1777 dir/sub /s
            "#,
        )
        .old()
        .has("/a", "-rw-------")
        .has("/b/file", "-rwxr-xr-x")
        .has("/b/sub", "drwxr-xr-x")
        .has("/c/d/e", "-rws--x--x"),
        tree(
            "flags-chmod-symbolic",
            r#"
            FROM scratch
            COPY --chmod=u=rwX,go=rX file program dir /a/
            COPY --chmod=a+x file /b
            COPY --chmod=go-r,u+s program /c
            COPY --chmod=g=u dir /d
            "#,
        )
        .has("/a/program", "-rwxr-xr-x")
        .has("/a/file", "-rw-r--r--")
        .has("/b", "-rwxr-x--x"),
        tree("flags-chmod-and-symlinks", "FROM scratch\nCOPY --chmod=600 dir /b\n")
            .has("/b/link", "lrwxrwxrwx"),
        tree(
            "flags-chmod-of-a-variable",
            r#"
            FROM scratch
            ARG MODE=711
            COPY --chmod=$MODE --chown=${OWNER:-3}:4 file /a
            "#,
        )
        .has("/a", "-rwx--x--x 3:4"),
        tree(
            "flags-chmod-of-new-folders",
            r#"
            FROM scratch
            COPY --chmod=700 --chown=5:6 file /new/deep/a
            "#,
        )
        .old(),
        tree("flags-chmod-bad", "FROM scratch\nCOPY --chmod=999 file /a\n").refused("invalid"),
        tree(
            "flags-link",
            r#"
            FROM @busybox
            COPY --link file /a
            COPY --link dir /b/c
            COPY --link file /etc/
            "#,
        )
        .has("/a", "-rw-r----- 0:0")
        .has("/b", "drwxr-xr-x 0:0")
        .has("/etc/file", "-rw-r----- 0:0"),
        tree(
            "flags-link-with-owners",
            r#"
            FROM @busybox
            COPY --link --chown=5:6 --chmod=700 dir /x/y
            "#,
        )
        .has("/x/y/file", "-rwx------ 5:6"),
        tree("flags-link-off", "FROM @busybox\nCOPY --link=false file /a\n").has("/a", "-rw-r-----"),
        tree(
            "flags-link-does-not-follow-symlinks",
            r#"
            FROM @busybox
            RUN mkdir /real && ln -s real /link
            COPY --link file /link/
            "#,
        )
        .has("/link", "d"),
        tree(
            "flags-link-from",
            r#"
            FROM @busybox AS a
            RUN mkdir -p /o/p && touch /o/p/q && chown -R 5:6 /o
            FROM @busybox
            COPY --link --from=a /o /o
            RUN touch /o/more
            "#,
        )
        .has("/o/p/q", "-rw-r--r-- 5:6"),
        tree(
            "flags-link-over-a-file",
            r#"
            FROM @busybox
            COPY --link file /etc/passwd
            "#,
        )
        .has("/etc/passwd", "-rw-r-----"),
        tree(
            "flags-link-replaces-modes-of-folders",
            r#"
            FROM @busybox
            RUN mkdir -m 700 /d && chown 5 /d
            COPY --link file /d/
            COPY --link file /tmp/x
            "#,
        ),
        tree(
            "flags-exclude",
            r#"
            FROM scratch
            COPY --exclude=*.md --exclude=sub docs /d/
            "#,
        )
        .files(&["docs/a.md", "docs/b.txt", "docs/sub/c.txt", "docs/deep/d.md", "docs/deep/e.txt"])
        .has("/d/b.txt", "-")
        .lacks("/d/a.md")
        .lacks("/d/sub"),
        tree(
            "flags-exclude-at-any-depth",
            r#"
            FROM scratch
            COPY --exclude=**/*.md docs /d/
            "#,
        )
        .files(&["docs/a.md", "docs/b.txt", "docs/deep/d.md", "docs/deep/e.txt"])
        .has("/d/deep/e.txt", "-")
        .lacks("/d/deep/d.md"),
        tree(
            "flags-exclude-and-take-back",
            r#"
            FROM scratch
            COPY --exclude=* --exclude=!b.txt docs /d/
            "#,
        )
        .files(&["docs/a.md", "docs/b.txt"]),
        tree("flags-exclude-with-wildcard-sources", "FROM scratch\nCOPY --exclude=b* *.txt /d/\n")
            .files(&["a.txt", "b.txt"]),
        tree(
            "flags-exclude-from",
            r#"
            FROM @busybox AS a
            RUN mkdir -p /o/s && touch /o/x.o /o/y.c /o/s/z.o
            FROM scratch
            COPY --from=a --exclude=**/*.o /o /o
            "#,
        )
        .has("/o/y.c", "-")
        .lacks("/o/s/z.o"),
        tree(
            "flags-parents",
            r#"
            FROM scratch
            COPY --parents dir/sub/program file /p/
            "#,
        )
        .beyond()
        .has("/p/dir/sub/program", "-rwxr-x---")
        .has("/p/file", "-rw-r-----"),
        tree("flags-parents-wildcards", "FROM scratch\nCOPY --parents ./**/file /p/\n")
            .beyond()
            .has("/p/dir/file", "-")
            .has("/p/dir/sub/deep/file", "-")
            .has("/p/file", "-"),
        tree(
            "flags-parents-pivot",
            r#"
            FROM scratch
            COPY --parents dir/./sub/deep/file /p/
            "#,
        )
        .beyond()
        .has("/p/sub/deep/file", "-")
        .lacks("/p/dir"),
        tree(
            "flags-parents-of-manifests",
            r#"
            FROM scratch
            COPY --parents Cargo.toml crates/*/Cargo.toml ./
            "#,
        )
        .files(&["Cargo.toml", "crates/a/Cargo.toml", "crates/b/Cargo.toml", "crates/b/src/lib.rs"])
        .beyond()
        .has("/crates/a/Cargo.toml", "-")
        .has("/crates/b/Cargo.toml", "-")
        .lacks("/crates/b/src"),
    ]
}
