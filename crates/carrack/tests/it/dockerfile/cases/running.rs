//! RUN: its forms, its surroundings, and what it must not leave behind.

use serde_json::json;

use crate::dockerfile::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "running-shell-and-exec",
            r#"
            FROM @busybox
            RUN echo $0 "a  b" > /one
            RUN ["/bin/sh", "-c", "echo exec > /two"]
            RUN ["touch", "/$A"]
            "#,
        )
        .old()
        .reads("/one", "/bin/sh a  b\n")
        .reads("/two", "exec\n")
        .has("/$A", "-"),
        case(
            "running-in-its-folder",
            r#"
            FROM @busybox
            RUN pwd > /one
            WORKDIR /new/deep
            RUN pwd > /two
            WORKDIR more
            RUN pwd > /three
            WORKDIR ../up
            RUN pwd > /four
            "#,
        )
        .old()
        .reads("/one", "/\n")
        .reads("/two", "/new/deep\n")
        .reads("/three", "/new/deep/more\n")
        .reads("/four", "/new/deep/up\n")
        .has("/new/deep", "drwxr-xr-x 0:0"),
        case(
            "running-as-a-user",
            r#"
            FROM @busybox
            USER app
            RUN id > /tmp/name && touch /tmp/file
            USER 1000
            RUN id > /tmp/number
            USER 55
            RUN id > /tmp/unknown
            USER app:clinic
            RUN id > /tmp/group
            USER 5:6
            RUN id > /tmp/both
            USER nobody
            RUN id > /tmp/nobody
            "#,
        )
        .old()
        .has("/tmp/file", "-rw-r--r-- 1000:1000")
        .reads("/tmp/name", "uid=1000(app) gid=1000(app) groups=10(wheel),1000(app),2000(clinic)\n")
        .has("/tmp/both", "-rw-r--r-- 5:6"),
        case("running-as-an-unknown-user", "FROM @busybox\nUSER nosuch\nRUN true\n").old().refused("nosuch"),
        case("running-fails", "FROM @busybox\nRUN exit 7\n").old().refused("exit code: 7"),
        case("running-what-is-not-there", "FROM @busybox\nRUN [\"nosuch\"]\n").old().refused("nosuch"),
        case("running-without-a-shell", "FROM scratch\nRUN true\n").old().refused(""),
        case(
            "running-in-another-shell",
            r#"
            FROM @busybox
            SHELL ["/bin/busybox", "sh", "-xc"]
            RUN echo $0 > /out
            CMD a b
            SHELL ["/bin/sh", "-c"]
            ENTRYPOINT c
            "#,
        )
        .old()
        .reads("/out", "sh\n")
        .config("Cmd", json!(["/bin/busybox", "sh", "-xc", "a b"]))
        .config("Entrypoint", json!(["/bin/sh", "-c", "c"]))
        .config("Shell", json!(["/bin/sh", "-c"])),
        case(
            "running-without-network",
            r#"
            FROM @busybox
            RUN --network=none ls /sys/class/net > /out; cat /proc/net/dev | wc -l > /lines
            "#,
        )
        .reads("/lines", "3\n"),
        case(
            "running-with-the-hosts-network",
            r#"
            FROM @busybox
            RUN --network=host wget -q -O /out @http/hello.txt
            "#,
        )
        .reads("/out", "hello\n"),
        case(
            "running-with-the-default-network",
            r#"
            FROM @busybox
            RUN --network=default wget -q -O /out @http/hello.txt
            "#,
        )
        .reads("/out", "hello\n"),
        case(
            "running-leaves-no-trace-of-the-sandbox",
            r#"
            FROM @busybox
            RUN ls -a / > /tmp/root; ls -a /etc > /tmp/etc; ls -a /dev > /dev/null; mount > /dev/null
            "#,
        )
        .lacks("/proc/self")
        .lacks("/sys/kernel"),
        case(
            "running-in-an-empty-root",
            r#"
            FROM scratch
            COPY --from=@busybox /bin/busybox /busybox
            RUN ["/busybox", "true"]
            "#,
        )
        .has("/busybox", "-")
        .has("/proc", "d"),
        case(
            "running-changes-hosts-and-resolver",
            r#"
            FROM @busybox
            RUN cat /etc/hosts /etc/resolv.conf > /dev/null
            RUN echo x > /tmp/x
            "#,
        )
        .lacks("/etc/hosts"),
        case(
            "running-with-hosts-and-resolver-of-the-image",
            r#"
            FROM @busybox
            COPY hosts resolv.conf /etc/
            RUN echo 1 > /out
            "#,
        )
        .files(&["hosts", "resolv.conf"])
        .reads("/etc/hosts", "hosts")
        .reads("/etc/resolv.conf", "resolv.conf"),
        case(
            "running-writes-to-dev-and-tmp",
            r#"
            FROM @busybox
            RUN echo x > /dev/shm/a; echo y > /dev/null; echo z > /tmp/z; echo w > /run 2>&1; true
            "#,
        )
        .reads("/tmp/z", "z\n"),
        case(
            "running-dev-of-the-image",
            r#"
            FROM @busybox
            RUN mkdir -p /dev /proc /sys /run/lock && ls /dev/null > /out
            "#,
        ),
        case(
            "running-umask",
            r#"
            FROM @busybox
            RUN umask > /out; touch /file; mkdir /folder
            "#,
        )
        .old()
        .reads("/out", "0022\n")
        .has("/file", "-rw-r--r--")
        .has("/folder", "drwxr-xr-x"),
        case("running-host-name", "FROM @busybox\nRUN hostname > /out\n").reads("/out", "buildkitsandbox\n"),
        case(
            "running-input-is-empty",
            r#"
            FROM @busybox
            RUN cat > /out; wc -c < /out > /count
            "#,
        )
        .old()
        .reads("/count", "0\n"),
        case(
            "running-is-no-terminal",
            r#"
            FROM @busybox
            RUN test -t 0 || test -t 1 || test -t 2 || echo none > /out
            "#,
        )
        .old()
        .reads("/out", "none\n"),
        case(
            "running-capabilities",
            r#"
            FROM @busybox
            RUN grep -E 'Cap|NoNewPrivs|Seccomp' /proc/self/status > /out
            USER app
            RUN grep -E 'Cap|NoNewPrivs|Seccomp' /proc/self/status > /tmp/out
            "#,
        )
        .has("/out", "-"),
        // Number and first argument, each with the error: refused ones of all kinds, by argument, without a call of that
        // number, newer than any list; and some that the kernel answers.
        case(
            "running-calls-are-refused",
            r#"
            FROM @debian
            RUN perl -e 'for (@ARGV) { my ($n, $a) = split /,/; \
                $! = 0; syscall($n + 0, ($a // 0) + 0, 0, 0, 0); print "$_ ", $! + 0, "\n" }' \
                272 165 166 308 155 428,-1 430 250,-1 248 249 321,-1 298 323,1 425 426,-1 427,-1 312 438,-1 304,-1 300,-1 179,-1 \
                279 238 237 239 256 163 167 168 169,-1 175 176 313,-1 246 320 172 173 180 212 227,-1 164 103,-1 153 174 177 \
                178 181 183 214 236 303,-1 310 311 440,-1 443,-1 450 459 461 400 334 340 422 \
                135,4294967295 135,0 135,8 135,131072 135,131080 135,262144 135,1 41,40 41,2 41,1 41,16 41,39 \
                56,268435968 56,131584 56,2048 435 467,-1 469,-1 480 600 5000 1073742344 \
                161 133 101,-1 319 447 449 451,-1 452,-1 453 454 457 458 462 463,-1 466,-1 39 > /out
            "#,
        )
        .has("/out", "-"),
        case(
            "running-capabilities-are-used",
            r#"
            FROM @busybox
            RUN touch /f && chown 77:78 /f && chmod 6755 /f && chroot / true
            "#,
        )
        .has("/f", "-rwsr-sr-x 77:78"),
        case("running-makes-devices", "FROM @busybox\nRUN mknod /n c 1 3\n").has("/n", "crw-r--r-- 0:0 1,3"),
        case(
            "running-cannot-mount",
            r#"
            FROM @busybox
            RUN mount -t tmpfs x /tmp 2>/dev/null && echo mounted > /out || echo refused > /out
            "#,
        )
        .reads("/out", "refused\n"),
        case(
            "running-processes-are-its-own",
            r#"
            FROM @busybox
            RUN echo $$ > /out; ps | wc -l > /dev/null
            RUN sleep 100 & echo started > /started
            "#,
        )
        .reads("/out", "1\n")
        .reads("/started", "started\n"),
        case(
            "running-limits",
            r#"
            FROM @busybox
            RUN ulimit -n > /dev/null; ulimit -c > /dev/null; echo ok > /out
            "#,
        )
        .reads("/out", "ok\n"),
        case(
            "running-nothing-new-makes-a-layer",
            r#"
            FROM @busybox
            RUN true
            RUN true
            ENV A=1
            RUN true
            "#,
        )
        .old(),
        case(
            "running-a-long-line",
            &format!("FROM @busybox\nRUN echo {} | wc -c > /out\n", "x".repeat(20_000)),
        )
        .reads("/out", "20001\n"),
        case(
            "running-signals-and-exit-codes",
            r#"
            FROM @busybox
            RUN sh -c 'kill -9 $$'; exit $?
            "#,
        )
        .refused("exit code: 137"),
        case(
            "running-in-a-folder-that-was-removed",
            r#"
            FROM @busybox
            WORKDIR /w
            RUN rmdir /w
            RUN pwd > /out
            "#,
        ),
        case(
            "running-home-that-is-not-there",
            r#"
            FROM @busybox
            USER 4242
            RUN echo $HOME > /tmp/out
            "#,
        )
        .reads("/tmp/out", "/\n"),
        case(
            "running-secret-free-history",
            r#"
            FROM @busybox
            ARG TOKEN
            RUN echo done > /out
            "#,
        )
        .arguments(&["--build-arg", "TOKEN=abc"])
        .reads("/out", "done\n"),
        case(
            "running-debian-packages-are-there",
            r#"
            FROM @debian
            RUN dpkg-query -W -f '${Package}\n' dash > /out && bash -c 'echo ${BASH_VERSINFO[0]}' >> /out
            "#,
        )
        .old()
        .reads("/out", "dash\n5\n"),
        case(
            "running-debian-user-added",
            r#"
            FROM @debian
            RUN useradd --create-home --uid 1234 mara && install -d -o mara -g mara /srv/mara
            USER mara
            WORKDIR /home/mara
            RUN touch file
            "#,
        )
        .old()
        .has("/home/mara/file", "-rw-r--r-- 1234:1234"),
        case(
            "running-working-folder-of-a-user",
            r#"
            FROM @busybox
            USER app
            WORKDIR /home/app/new
            RUN touch file 2>/dev/null && echo mine > /tmp/out || echo theirs > /tmp/out
            "#,
        )
        .reads("/tmp/out", "mine\n"),
    ]
}
