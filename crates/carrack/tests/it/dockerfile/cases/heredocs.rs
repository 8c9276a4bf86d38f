//! Heredocs of RUN, COPY and ADD.

use crate::dockerfile::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "heredocs-run",
            r#"
            FROM @busybox
            RUN <<EOF
            echo one > /out
              echo two >> /out

            echo three >> /out
            EOF
            "#,
        )
        .reads("/out", "one\ntwo\nthree\n"),
        case(
            "heredocs-run-fails-in-the-middle-and-goes-on",
            r#"
            FROM @busybox
            RUN <<EOF
            false
            echo after > /out
            EOF
            "#,
        )
        .reads("/out", "after\n"),
        case(
            "heredocs-run-variables-are-the-shells",
            r#"
            FROM @busybox
            ENV A=env
            RUN <<EOF
            A=shell
            echo $A "\$A" > /out
            EOF
            RUN <<'EOF'
            echo $A > /two
            EOF
            "#,
        )
        .reads("/out", "shell $A\n")
        .reads("/two", "env\n"),
        case(
            "heredocs-run-script",
            r#"
            FROM @busybox
            RUN <<EOF
            #!/bin/busybox sh
            echo $0 $A > /out
            id -u >> /out
            EOF
            "#,
        )
        .has("/out", "-"),
        case(
            "heredocs-run-script-of-awk",
            r#"
            FROM @busybox
            RUN <<EOF
            #!/bin/awk -f
            BEGIN { print "awk" > "/out" }
            EOF
            "#,
        )
        .reads("/out", "awk\n"),
        case(
            "heredocs-run-script-leaves-nothing",
            r#"
            FROM @busybox
            RUN <<EOF
            #!/bin/sh
            ls -a / | grep -v -e '^\.' > /dev/null
            echo done > /out
            EOF
            "#,
        )
        .reads("/out", "done\n"),
        case(
            "heredocs-run-input-of-a-command",
            r#"
            FROM @busybox
            RUN cat <<EOF > /out
            a $PATH
            EOF
            RUN cat <<'EOF' | tr a-z A-Z > /two
            b $PATH
            EOF
            "#,
        )
        .reads("/out", "a /bin\n")
        .reads("/two", "B $PATH\n"),
        case(
            "heredocs-run-two-inputs",
            r#"
            FROM @busybox
            RUN cat <<A > /one && cat <<B > /two
            first
            A
            second
            B
            "#,
        )
        .reads("/one", "first\n")
        .reads("/two", "second\n"),
        case(
            "heredocs-run-two-scripts",
            r#"
            FROM @busybox
            RUN <<A <<B
            echo 1 > /one
            A
            echo 2 > /two
            B
            "#,
        ),
        case(
            "heredocs-tabs-are-taken-away",
            "FROM @busybox\nRUN <<-EOF\n\techo a > /out\n\t\techo b >> /out\n\tEOF\n\
             COPY <<-EOF /file\n\tone\n\t  two\n\t\tthree\nEOF\n",
        )
        .reads("/out", "a\nb\n")
        .reads("/file", "one\n  two\nthree\n"),
        case(
            "heredocs-copy",
            r#"
            FROM scratch
            COPY <<EOF /a.txt
            hello
            EOF
            COPY <<a.conf <<b.conf /etc/
            one
            a.conf
            two
            b.conf
            "#,
        )
        .reads("/a.txt", "hello\n")
        .reads("/etc/a.conf", "one\n")
        .reads("/etc/b.conf", "two\n")
        .has("/a.txt", "-rw-r--r-- 0:0"),
        case(
            "heredocs-copy-variables",
            r#"
            FROM scratch
            ARG A=1
            ENV B=2
            COPY <<EOF /expanded
            $A ${B} \$A ${C:-c} "q"
            EOF
            COPY <<"EOF" /literal
            $A ${B} \$A
            EOF
            "#,
        )
        .reads("/expanded", "1 2 $A c \"q\"\n")
        .reads("/literal", "$A ${B} \\$A\n"),
        case(
            "heredocs-copy-with-flags",
            r#"
            FROM @busybox
            COPY --chown=app --chmod=755 <<EOF /bin/hello
            #!/bin/sh
            echo hello
            EOF
            RUN hello > /out
            "#,
        )
        .reads("/out", "hello\n")
        .has("/bin/hello", "-rwxr-xr-x 1000:1000"),
        case("heredocs-copy-beside-files", "FROM scratch\nCOPY a <<b c /d/\ninline\nb\n")
            .files(&["a", "c"])
            .reads("/d/b", "inline\n")
            .reads("/d/c", "c"),
        case("heredocs-copy-empty", "FROM scratch\nCOPY <<EOF /empty\nEOF\n").reads("/empty", ""),
        case(
            "heredocs-copy-link",
            r#"
            FROM @busybox
            COPY --link <<EOF /etc/motd
            hi
            EOF
            "#,
        )
        .reads("/etc/motd", "hi\n"),
        case(
            "heredocs-add",
            r#"
            FROM scratch
            ADD <<EOF /x
            added
            EOF
            ADD --chmod=600 <<name /dir/
            more
            name
            "#,
        )
        .reads("/x", "added\n")
        .has("/dir/name", "-rw-------"),
        case(
            "heredocs-hold-instructions-and-comments",
            r#"
            FROM scratch
            COPY <<EOF /Dockerfile
            FROM x
            # a comment
            RUN y \
              z

            EOF
            "#,
        )
        .reads("/Dockerfile", "FROM x\n# a comment\nRUN y \n  z\n\n"),
        case(
            "heredocs-hold-backslashes-quoted",
            r#"
            FROM scratch
            COPY <<'EOF' /x
            a \
              b
            \n \$
            EOF
            "#,
        )
        .reads("/x", "a \\\n  b\n\\n \\$\n"),
        case("heredocs-unfinished", "FROM @busybox\nRUN <<EOF\necho a\n").refused("unterminated heredoc"),
        case(
            "heredocs-not-in-quotes",
            r#"
            FROM @busybox
            RUN echo '<<EOF' > /out
            RUN echo "a <<B" >> /out
            "#,
        )
        .reads("/out", "<<EOF\na <<B\n"),
        case(
            "heredocs-in-a-working-folder-as-a-user",
            r#"
            FROM @busybox
            WORKDIR /tmp/w
            USER app
            COPY <<EOF rel.txt
            x
            EOF
            RUN <<EOF
            pwd > /tmp/out
            id -un >> /tmp/out
            EOF
            "#,
        )
        .has("/tmp/w/rel.txt", "-rw-r--r-- 0:0")
        .reads("/tmp/out", "/tmp/w\napp\n"),
        case(
            "heredocs-in-another-shell",
            r#"
            FROM @busybox
            SHELL ["/bin/sh", "-ec"]
            RUN <<EOF
            false
            echo after > /out
            EOF
            "#,
        )
        .refused("exit code: 1"),
    ]
}
