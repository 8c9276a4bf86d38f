//! `RUN --mount=type=ssh` with an agent that answers: `@ssh` is an image with `ssh-add`.

use super::super::case::{Case, case};

const LENT: &[&str] = &["--ssh", "default=@agent"];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "ssh-agent",
            r#"
            FROM @ssh
            RUN --mount=type=ssh ssh-add -l > /out && echo $SSH_AUTH_SOCK > /where \
                && stat -c '%F %a %u:%g' $SSH_AUTH_SOCK > /mode
            RUN test ! -e /run/buildkit && echo [$SSH_AUTH_SOCK] > /after
            "#,
        )
        .arguments(LENT)
        .has("/out", "-rw-r--r-- 0:0 ")
        .reads("/where", "/run/buildkit/ssh_agent.0\n")
        .reads("/mode", "socket 600 0:0\n")
        .reads("/after", "[]\n"),
        case("ssh-agent-of-the-caller", "FROM @ssh\nRUN --mount=type=ssh,required ssh-add -l > /out\n")
            .arguments(&["--ssh", "default"])
            .environment("SSH_AUTH_SOCK", "@agent")
            .has("/out", "-rw-r--r-- 0:0 "),
        case(
            "ssh-signs",
            r#"
            FROM @ssh
            COPY key.pub /
            RUN --mount=type=ssh ssh-add -T /key.pub && echo signed > /out
            "#,
        )
        .arguments(LENT)
        .file("key.pub", "@public")
        .reads("/out", "signed\n"),
        case(
            "ssh-agent-keeps-its-keys",
            r#"
            FROM @ssh
            COPY key.pub key /
            RUN --mount=type=ssh chmod 600 /key; ! ssh-add -D; ! ssh-add -d /key.pub; ! ssh-add /key; \
                ssh-add -l > /out
            "#,
        )
        .arguments(LENT)
        .file("key.pub", "@public")
        .file("key", "no key")
        .has("/out", "-rw-r--r-- 0:0 "),
        case(
            "ssh-owner-and-mode",
            r#"
            FROM @ssh
            USER app
            RUN --mount=type=ssh,uid=1000,gid=2000,mode=0640 ssh-add -l > /tmp/out \
                && stat -c '%a %u:%g' $SSH_AUTH_SOCK > /tmp/mode
            "#,
        )
        .arguments(LENT)
        .has("/tmp/out", "-rw-r--r-- 1000:1000 ")
        .reads("/tmp/mode", "640 1000:2000\n"),
        case(
            "ssh-for-everybody",
            r#"
            FROM @ssh
            USER nobody
            RUN --mount=type=ssh,mode=0666 ssh-add -l > /tmp/out
            "#,
        )
        .arguments(LENT)
        .has("/tmp/out", "-rw-r--r-- 65534:65534 "),
        case(
            "ssh-of-root-is-for-root",
            r#"
            FROM @ssh
            USER app
            RUN --mount=type=ssh ! ssh-add -l && echo closed > /tmp/out
            "#,
        )
        .arguments(LENT)
        .reads("/tmp/out", "closed\n"),
        case(
            "ssh-several",
            r#"
            FROM @ssh
            RUN --mount=type=ssh,id=one --mount=type=ssh,id=two,target=/home/app/two \
                --mount=type=ssh,id=three \
                echo $SSH_AUTH_SOCK > /where && ls /run/buildkit > /list \
                && ssh-add -L | cut -d ' ' -f 2 > /one \
                && SSH_AUTH_SOCK=/home/app/two ssh-add -L | cut -d ' ' -f 2 > /two \
                && cmp /one /two && echo same > /out
            "#,
        )
        .arguments(&["--ssh", "one=@agent", "--ssh", "two=@key"])
        .reads("/where", "/run/buildkit/ssh_agent.0\n")
        .reads("/list", "ssh_agent.0\n")
        .reads("/out", "same\n"),
        case(
            "ssh-below-the-working-folder",
            "FROM @ssh\nWORKDIR /w\nRUN --mount=type=ssh,target=agent ssh-add -l > /out\n",
        )
        .arguments(LENT)
        .has("/out", "-rw-r--r-- 0:0 "),
        case("ssh-has-no-source", "FROM @ssh\nRUN --mount=type=ssh,source=default ssh-add -l\n")
            .arguments(LENT)
            .refused("source"),
        case(
            "ssh-variable-of-the-image",
            r#"
            FROM @ssh
            ENV SSH_AUTH_SOCK=/mine
            RUN --mount=type=ssh,target=/mine ssh-add -l > /out
            RUN --mount=type=ssh echo $SSH_AUTH_SOCK > /where
            "#,
        )
        .arguments(LENT)
        .has("/out", "-rw-r--r-- 0:0 ")
        .reads("/where", "/mine\n"),
        case(
            "ssh-keys-of-files",
            r#"
            FROM @ssh
            COPY key.pub /
            RUN --mount=type=ssh,required ssh-add -T /key.pub && ssh-add -l | wc -l > /out
            "#,
        )
        .arguments(&["--ssh", "default=@key"])
        .file("key.pub", "@public")
        .reads("/out", "1\n"),
        case("ssh-key-with-a-passphrase", "FROM @ssh\nRUN --mount=type=ssh ssh-add -l\n")
            .arguments(&["--ssh", "default=@locked"])
            .refused("passphrase"),
        case("ssh-key-that-is-none", "FROM @ssh\nRUN --mount=type=ssh ssh-add -l\n")
            .arguments(&["--ssh", "default=@self/key"])
            .file("key", "no key\n")
            .refused("ssh"),
        case("ssh-key-that-is-not-there", "FROM @ssh\nRUN --mount=type=ssh ssh-add -l\n")
            .arguments(&["--ssh", "default=@self/nothing"])
            .refused("no such file"),
        case("ssh-agent-and-key", "FROM @ssh\nRUN --mount=type=ssh ssh-add -l\n")
            .arguments(&["--ssh", "default=@agent,@key"])
            .refused("ssh"),
        case("ssh-of-another-id-is-required", "FROM @ssh\nRUN --mount=type=ssh,id=other,required true\n")
            .arguments(LENT)
            .refused("ssh"),
    ]
}
