//! RUN --mount.

use crate::dockerfile::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "mounts-bind-the-context",
            r#"
            FROM @busybox
            RUN --mount=target=/src cp /src/a /out && ls -a /src > /list
            "#,
        )
        .files(&["a", "b/c"])
        .reads("/out", "a")
        .reads("/list", ".\n..\nDockerfile\na\nb\n"),
        case(
            "mounts-bind-leaves-an-empty-folder",
            r#"
            FROM @busybox
            RUN --mount=type=bind,target=/new/deep,source=b cat /new/deep/c > /out
            "#,
        )
        .files(&["b/c"])
        .reads("/out", "b/c"),
        case(
            "mounts-bind-over-what-is-there",
            r#"
            FROM @busybox
            RUN mkdir /d && touch /d/mine
            RUN --mount=type=bind,source=b,target=/d ls /d > /out
            "#,
        )
        .files(&["b/c"])
        .reads("/out", "c\n")
        .has("/d/mine", "-"),
        case(
            "mounts-bind-a-file",
            r#"
            FROM @busybox
            RUN --mount=type=bind,source=a,target=/x/a.txt cat /x/a.txt > /out
            RUN --mount=type=bind,source=a,target=/etc/passwd cat /etc/passwd > /two
            "#,
        )
        .files(&["a"])
        .reads("/out", "a")
        .reads("/two", "a")
        .has("/etc/passwd", "-rw-r--r-- 0:0 1"),
        case(
            "mounts-bind-is-read-only",
            r#"
            FROM @busybox
            RUN --mount=target=/src touch /src/x 2>/dev/null || echo refused > /out
            "#,
        )
        .reads("/out", "refused\n"),
        case(
            "mounts-bind-written-is-thrown-away",
            r#"
            FROM @busybox
            RUN --mount=target=/src,rw echo new > /src/a && cp /src/a /out
            RUN --mount=target=/src cat /src/a > /two
            "#,
        )
        .files(&["a"])
        .reads("/out", "new\n")
        .reads("/two", "a"),
        case(
            "mounts-bind-from-a-stage",
            r#"
            FROM @busybox AS a
            RUN mkdir /o && echo 1 > /o/x
            FROM @busybox
            RUN --mount=from=a,source=/o,target=/in cp /in/x /out
            RUN --mount=type=bind,from=a,target=/all,readwrite=true touch /all/y && ls /all/o > /list
            "#,
        )
        .reads("/out", "1\n")
        .reads("/list", "x\n"),
        case(
            "mounts-bind-from-an-image",
            r#"
            FROM @busybox
            RUN --mount=from=@parent,source=/etc,target=/in cp /in/group /out
            "#,
        )
        .has("/out", "-"),
        case(
            "mounts-bind-from-a-named-context",
            r#"
            FROM @busybox
            RUN --mount=from=extra,target=/in cp /in/a /out
            "#,
        )
        .arguments(&["--build-context", "extra=@self/extra"])
        .context("main")
        .files(&["extra/a"])
        .reads("/out", "extra/a"),
        case(
            "mounts-bind-missing-source",
            r#"
            FROM @busybox
            RUN --mount=source=nosuch,target=/in true
            "#,
        )
        .refused("not found"),
        case(
            "mounts-bind-relative-target",
            r#"
            FROM @busybox
            WORKDIR /w
            RUN --mount=target=in cat in/a > /out
            "#,
        )
        .files(&["a"])
        .reads("/out", "a"),
        case(
            "mounts-cache-is-not-in-the-image",
            r#"
            FROM @busybox
            RUN --mount=type=cache,target=/c echo 1 > /c/x && cat /c/x > /out
            "#,
        )
        .reads("/out", "1\n")
        .lacks("/c/x"),
        case(
            "mounts-cache-is-there-again",
            r#"
            FROM @busybox
            RUN --mount=type=cache,id=again,target=/c echo 1 >> /c/x
            RUN --mount=type=cache,id=again,target=/d cat /d/x > /out
            "#,
        )
        .reads("/out", "1\n"),
        case(
            "mounts-cache-by-target",
            r#"
            FROM @busybox
            RUN --mount=type=cache,target=/by-target echo 1 > /by-target/x
            RUN --mount=type=cache,target=/by-target/ ls /by-target > /out
            RUN --mount=type=cache,target=/by-target,id=other ls /by-target > /other
            "#,
        )
        .reads("/out", "x\n")
        .reads("/other", ""),
        case(
            "mounts-cache-over-what-is-there",
            r#"
            FROM @busybox
            RUN mkdir /c && touch /c/mine
            RUN --mount=type=cache,id=over,target=/c ls /c > /out && touch /c/theirs
            "#,
        )
        .reads("/out", "")
        .has("/c/mine", "-")
        .lacks("/c/theirs"),
        case(
            "mounts-cache-owner-and-mode",
            r#"
            FROM @busybox
            USER app
            RUN --mount=type=cache,id=owned,target=/c,uid=1000,gid=2000,mode=0750 \
                stat -c '%a %u:%g' /c > /tmp/out && touch /c/x
            "#,
        )
        .reads("/tmp/out", "750 1000:2000\n"),
        case(
            "mounts-cache-default-mode",
            r#"
            FROM @busybox
            RUN --mount=type=cache,id=default-mode,target=/c stat -c '%a %u:%g' /c > /out
            "#,
        )
        .reads("/out", "755 0:0\n"),
        case(
            "mounts-cache-from-a-stage",
            r#"
            FROM @busybox AS a
            RUN mkdir /o && echo 1 > /o/x
            FROM @busybox
            RUN --mount=type=cache,id=seeded,from=a,source=/o,target=/c cat /c/x > /out
            "#,
        )
        .reads("/out", "1\n"),
        case(
            "mounts-cache-sharing",
            r#"
            FROM @busybox
            RUN --mount=type=cache,id=locked,target=/c,sharing=locked \
                --mount=type=cache,id=private,target=/d,sharing=private touch /c/x /d/y && ls /c /d > /out
            "#,
        )
        .reads("/out", "/c:\nx\n\n/d:\ny\n"),
        case(
            "mounts-cache-read-only",
            r#"
            FROM @busybox
            RUN --mount=type=cache,id=read-only,target=/c,ro touch /c/x 2>/dev/null || echo refused > /out
            "#,
        )
        .reads("/out", "refused\n"),
        case(
            "mounts-cache-relative-target",
            r#"
            FROM @busybox
            WORKDIR /w
            RUN --mount=type=cache,id=relative,target=cache touch cache/x && ls /w > /out
            "#,
        )
        .reads("/out", "cache\n"),
        case(
            "mounts-cache-target-of-a-variable",
            r#"
            FROM @busybox
            ARG DIR=/from/variable
            ENV ID=variable
            RUN --mount=type=cache,id=$ID,target=${DIR} touch $DIR/x && echo ok > /out
            "#,
        )
        .reads("/out", "ok\n"),
        case(
            "mounts-tmpfs",
            r#"
            FROM @busybox
            RUN --mount=type=tmpfs,target=/t touch /t/x && stat -f -c %T /t > /out && stat -c %a /t > /mode
            "#,
        )
        .reads("/out", "tmpfs\n")
        .lacks("/t/x"),
        case(
            "mounts-tmpfs-size",
            r#"
            FROM @busybox
            RUN --mount=type=tmpfs,target=/t,size=1m \
                dd if=/dev/zero of=/t/x bs=1k count=2000 2>/dev/null || ls -l /t/x | awk '{print $5}' > /out
            "#,
        )
        .reads("/out", "1048576\n"),
        case(
            "mounts-tmpfs-over-a-folder",
            r#"
            FROM @busybox
            RUN --mount=type=tmpfs,target=/etc ls /etc > /out && touch /etc/x
            "#,
        )
        .reads("/out", "")
        .lacks("/etc/x")
        .has("/etc/passwd", "-"),
        case(
            "mounts-secret-file",
            r#"
            FROM @busybox
            RUN --mount=type=secret,id=token cat /run/secrets/token > /out \
                && stat -c '%a %u:%g' /run/secrets/token > /mode
            "#,
        )
        .arguments(&["--secret", "id=token,src=@self/token"])
        .context("main")
        .file("token", "sesame")
        .reads("/out", "sesame")
        .reads("/mode", "400 0:0\n")
        .lacks("/run/secrets/token"),
        case(
            "mounts-secret-elsewhere",
            r#"
            FROM @busybox
            USER app
            RUN --mount=type=secret,id=token,target=/home/app/.token,uid=1000,gid=2000,mode=0440 \
                cat /home/app/.token > /tmp/out && stat -c '%a %u:%g' /home/app/.token > /tmp/mode
            "#,
        )
        .arguments(&["--secret", "id=token,src=@self/token"])
        .context("main")
        .file("token", "sesame")
        .reads("/tmp/out", "sesame")
        .reads("/tmp/mode", "440 1000:2000\n"),
        case(
            "mounts-secret-as-a-variable",
            r#"
            FROM @busybox
            RUN --mount=type=secret,id=token,env=TOKEN echo $TOKEN > /out; test ! -e /run/secrets
            "#,
        )
        .arguments(&["--secret", "id=token,env=MINE"])
        .environment("MINE", "sesame")
        .reads("/out", "sesame\n"),
        case(
            "mounts-secret-as-a-variable-and-a-file",
            r#"
            FROM @busybox
            RUN --mount=type=secret,id=token,env=TOKEN,target=/t echo $TOKEN > /out; cat /t >> /out
            "#,
        )
        .arguments(&["--secret", "id=token,env=MINE"])
        .environment("MINE", "sesame")
        .reads("/out", "sesame\nsesame"),
        case(
            "mounts-secret-missing-is-skipped",
            r#"
            FROM @busybox
            RUN --mount=type=secret,id=token test ! -e /run/secrets/token && echo none > /out
            "#,
        )
        .reads("/out", "none\n"),
        case(
            "mounts-secret-missing-is-required",
            r#"
            FROM @busybox
            RUN --mount=type=secret,id=token,required true
            "#,
        )
        .refused("token"),
        case(
            "mounts-secret-leaves-a-place",
            r#"
            FROM @busybox
            RUN --mount=type=secret,id=token,target=/etc/deep/token echo 1 > /out
            "#,
        )
        .arguments(&["--secret", "id=token,src=@self/token"])
        .context("main")
        .file("token", "sesame")
        .lacks("/etc/deep/token"),
        case(
            "mounts-ssh-missing-is-skipped",
            r#"
            FROM @busybox
            RUN --mount=type=ssh echo [$SSH_AUTH_SOCK] > /out
            "#,
        )
        .reads("/out", "[/run/buildkit/ssh_agent.0]\n"),
        case(
            "mounts-ssh-missing-is-required",
            r#"
            FROM @busybox
            RUN --mount=type=ssh,required true
            "#,
        )
        .refused("ssh"),
        case("mounts-bind-has-no-mode", "FROM @busybox\nRUN --mount=target=/a,mode=0700 true\n")
            .refused("mode"),
        case("mounts-tmpfs-has-no-owner", "FROM @busybox\nRUN --mount=type=tmpfs,target=/a,uid=1 true\n")
            .refused("uid"),
        case("mounts-secret-has-no-source", "FROM @busybox\nRUN --mount=type=secret,id=a,from=b true\n")
            .refused("from"),
        case(
            "mounts-several",
            r#"
            FROM @busybox
            RUN --mount=target=/src --mount=type=tmpfs,target=/t \
              --mount=type=cache,id=several,target=/c \
              cp /src/a /t/a && cp /t/a /c/a && cp /c/a /out
            "#,
        )
        .files(&["a"])
        .reads("/out", "a"),
        case(
            "mounts-inside-of-each-other",
            r#"
            FROM @busybox
            RUN --mount=type=tmpfs,target=/m --mount=source=b,target=/m/b ls /m/b > /out
            "#,
        )
        .files(&["b/c"])
        .reads("/out", "c\n"),
        case(
            "mounts-options-spelled-otherwise",
            r#"
            FROM @busybox
            RUN --mount=type=bind,src=b,dst=/in,readonly=false touch /in/x && ls /in > /out
            RUN --mount=type=bind,source=b,destination=/in,readonly ls /in > /two
            "#,
        )
        .files(&["b/c"])
        .reads("/out", "c\nx\n")
        .reads("/two", "c\n"),
        case(
            "mounts-unknown-option",
            r#"
            FROM @busybox
            RUN --mount=type=bind,target=/x,nosuch=1 true
            "#,
        )
        .refused("nosuch"),
        case(
            "mounts-unknown-type",
            r#"
            FROM @busybox
            RUN --mount=type=nosuch,target=/x true
            "#,
        )
        .refused("nosuch"),
        case("mounts-without-target", "FROM @busybox\nRUN --mount=type=cache true\n").refused("target"),
        case(
            "mounts-heredoc",
            r#"
            FROM @busybox
            RUN --mount=target=/src <<EOF
            cp /src/a /out
            EOF
            "#,
        )
        .files(&["a"])
        .reads("/out", "a"),
        case(
            "mounts-exec-form",
            r#"
            FROM @busybox
            RUN --mount=target=/src ["cp", "/src/a", "/out"]
            "#,
        )
        .files(&["a"])
        .reads("/out", "a"),
    ]
}
