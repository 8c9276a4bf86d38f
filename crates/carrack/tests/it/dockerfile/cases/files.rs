//! File systems that a RUN leaves behind: what of them gets into layers.

use crate::dockerfile::case::{Case, case};

/// `perl /set-attribute PATH NAME VALUE`, for images without setfattr; the value is hexadecimal.
const SET_ATTRIBUTE: &str = r#"
my ($path, $name, $value) = @ARGV;
$value = pack("H*", $value);
syscall(188, $path, $name, $value, length $value, 0) == 0 or die $!;
"#;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "files-removed",
            r#"
            FROM @busybox
            RUN mkdir -p /d/s && touch /d/a /d/s/b /c
            RUN rm -r /d/s /c
            RUN rm /etc/passwd && rmdir /var/empty
            "#,
        )
        .old()
        .has("/d/a", "-")
        .lacks("/d/s")
        .lacks("/etc/passwd")
        .lacks("/var/empty"),
        case(
            "files-folder-made-anew",
            r#"
            FROM @busybox
            RUN mkdir /d && touch /d/old
            RUN rm -r /d && mkdir /d && touch /d/new
            "#,
        )
        .old()
        .has("/d/new", "-")
        .lacks("/d/old"),
        case(
            "files-folder-of-the-base-made-anew",
            r#"
            FROM @busybox
            RUN rm -r /home && mkdir /home && touch /home/only
            "#,
        )
        .old()
        .has("/home/only", "-")
        .lacks("/home/app"),
        case(
            "files-folder-made-anew-with-the-same-files",
            r#"
            FROM @busybox
            RUN mkdir /d && echo 1 > /d/a && echo 2 > /d/b
            RUN rm -r /d && mkdir /d && echo 1 > /d/a
            "#,
        )
        .old()
        .has("/d/a", "-")
        .lacks("/d/b"),
        case(
            "files-folder-to-file-and-back",
            r#"
            FROM @busybox
            RUN mkdir -p /d/s && touch /d/s/x /f
            RUN rm -r /d && echo 1 > /d && rm /f && mkdir -p /f/y
            RUN rm -r /d /f && mkdir /d && touch /f
            "#,
        )
        .old()
        .has("/d", "drwxr-xr-x")
        .has("/f", "-rw-r--r--")
        .lacks("/d/s"),
        case(
            "files-folder-to-symlink-and-back",
            r#"
            FROM @busybox
            RUN mkdir /d /e && touch /d/x && ln -s d /l
            RUN rm -r /d && ln -s e /d && rm /l && mkdir /l && touch /l/y
            "#,
        )
        .old()
        .has("/d", "lrwxrwxrwx 0:0 -> e")
        .has("/l/y", "-"),
        case(
            "files-renamed",
            r#"
            FROM @busybox
            RUN mkdir -p /d/s && echo 1 > /d/s/x && echo 2 > /f
            RUN mv /d /moved && mv /f /g && mv /home /house
            "#,
        )
        .old()
        .reads("/moved/s/x", "1\n")
        .lacks("/d")
        .lacks("/home")
        .has("/house/app", "drwxr-xr-x 1000:1000"),
        case(
            "files-modes-and-owners-changed",
            r#"
            FROM @busybox
            RUN touch /a /b && mkdir /d
            RUN chmod 4711 /a && chown 5:6 /b && chmod 1770 /d && chown 7 /d
            RUN chown 8:9 /etc/group && chmod 700 /root
            "#,
        )
        .old()
        .has("/a", "-rws--x--x 0:0")
        .has("/b", "-rw-r--r-- 5:6")
        .has("/d", "drwxrwx--T 7:0")
        .has("/etc/group", "-rw-r--r-- 8:9"),
        case(
            "files-large-owners",
            r#"
            FROM @busybox
            RUN touch /a && chown 2000000:3000000 /a && mkdir /d && chown 65534:60000 /d
            "#,
        )
        .old()
        .has("/a", "-rw-r--r-- 2000000:3000000"),
        case(
            "files-hard-links",
            r#"
            FROM @busybox
            RUN mkdir /d && echo 1 > /d/a && ln /d/a /d/b && ln /d/a /c && ln /d/b /zz
            "#,
        )
        .old()
        .has("/d/b", "-rw-r--r-- 0:0 2"),
        case(
            "files-hard-links-in-later-steps",
            r#"
            FROM @busybox
            RUN echo 1 > /a && ln /a /b
            RUN ln /a /c
            RUN echo 2 >> /a
            "#,
        )
        .old(),
        case(
            "files-hard-link-to-a-file-of-the-base",
            r#"
            FROM @busybox
            RUN ln /etc/passwd /linked && ln -s passwd /etc/soft
            "#,
        )
        .old(),
        case(
            "files-hard-linked-symlinks",
            r#"
            FROM @busybox
            RUN ln -s nowhere /a && ln /a /b; ls -l /a /b > /dev/null
            "#,
        )
        .old(),
        case(
            "files-hard-link-broken",
            r#"
            FROM @busybox
            RUN echo 1 > /a && ln /a /b && ln /a /c
            RUN rm /a && echo 2 > /b
            "#,
        )
        .old()
        .lacks("/a"),
        case(
            "files-fifos",
            r#"
            FROM @busybox
            RUN mkfifo -m 600 /fifo && mkfifo /root/fifo && chown 5:6 /fifo && ln /fifo /again
            "#,
        )
        .old()
        .has("/fifo", "prw------- 5:6"),
        case(
            "files-devices",
            r#"
            FROM @busybox
            RUN mknod -m 620 /char c 5 1 && mknod /block b 7 300
            "#,
        )
        .old()
        .has("/char", "crw--w---- 0:0 5,1"),
        case(
            "files-sparse",
            r#"
            FROM @busybox
            RUN truncate -s 3000000 /sparse \
                && printf x | dd of=/sparse bs=1 seek=1000000 conv=notrunc 2>/dev/null
            "#,
        )
        .old()
        .has("/sparse", "-rw-r--r-- 0:0 3000000"),
        case(
            "files-names-of-any-bytes",
            r#"
            FROM @busybox
            RUN touch -- "$(printf 'caf\351')" "$(printf 'new\nline')" "$(printf 'tab\there')" größe
            RUN touch -- 'back\slash' ' lead' 'trail ' '-dash' "quote'\"" '*'
            "#,
        )
        .old()
        .has("/*", "-")
        .has("/caf\\xe9", "-"),
        case(
            "files-long-names-and-links",
            r#"
            FROM @busybox
            RUN n=$(head -c 250 /dev/zero | tr '\0' n) && cd / && mkdir $n && cd $n && mkdir $n \
                && cd $n && echo deep > $n && ln $n hard && ln -s /$n/$n/$n soft \
             && ln -s $(head -c 1000 /dev/zero | tr '\0' t) dangling
            RUN n=$(head -c 250 /dev/zero | tr '\0' n) && rm /$n/$n/$n
            "#,
        )
        .old(),
        case(
            "files-many",
            r#"
            FROM @busybox
            RUN mkdir /m && cd /m && for i in $(seq 1 700); do echo $i > f$i; mkdir -p d$((i % 30)); done
            RUN rm /m/f1* && rm -r /m/d2*
            "#,
        )
        .old()
        .has("/m/f2", "-")
        .lacks("/m/f1")
        .lacks("/m/d2"),
        case(
            "files-written-and-removed-in-one-step",
            r#"
            FROM @busybox
            RUN touch /a /tmp/b && rm /a /tmp/b && mkdir /d && rmdir /d
            "#,
        )
        .old()
        .lacks("/a")
        .lacks("/d"),
        case(
            "files-touched-only",
            r#"
            FROM @busybox
            RUN touch /etc/passwd && echo x > /etc/x && rm /etc/x
            "#,
        )
        .old()
        .has("/etc/passwd", "-"),
        case(
            "files-rewritten-with-the-same",
            r#"
            FROM @busybox
            RUN cp /etc/passwd /p && cat /p > /etc/passwd && rm /p
            "#,
        )
        .old()
        .has("/etc/passwd", "-"),
        case(
            "files-whiteout-names",
            r#"
            FROM @busybox
            RUN mkdir /d && touch /d/wh.x /d/.wh /d/x.wh.y && rm -r /d && mkdir /d && touch /d/wh
            "#,
        )
        .old()
        .has("/d/wh", "-"),
        case(
            "files-attributes",
            r#"
            FROM @debian AS a
            COPY set-attribute /
            RUN cp /bin/true /tool
            RUN perl /set-attribute /tool security.capability 0100000200200000000000000000000000000000
            RUN perl /set-attribute /tool user.note 78
            FROM scratch
            COPY --from=a /tool /tool
            "#,
        )
        .file("set-attribute", SET_ATTRIBUTE)
        .old(),
        case(
            "files-attributes-of-a-step",
            r#"
            FROM @debian
            COPY set-attribute /
            RUN cp /bin/true /tool
            RUN perl /set-attribute /tool security.capability 0100000200200000000000000000000000000000
            RUN perl /set-attribute /root user.note 78 && chmod 711 /tool
            "#,
        )
        .file("set-attribute", SET_ATTRIBUTE)
        .old(),
        case(
            "files-sticky-and-setgid-folders",
            r#"
            FROM @busybox
            RUN mkdir /d && chown 0:5 /d && chmod 3777 /d && touch /d/x && mkdir /d/s
            "#,
        )
        .old()
        .has("/d", "drwxrwsrwt 0:5")
        .has("/d/x", "-rw-r--r-- 0:5"),
        case(
            "files-removed-and-copied-back",
            r#"
            FROM @busybox
            COPY d /d
            RUN rm -r /d
            COPY d/a /d/a
            "#,
        )
        .files(&["d/a", "d/b"])
        .old()
        .has("/d/a", "-")
        .lacks("/d/b"),
        case(
            "files-unreadable",
            r#"
            FROM @busybox
            RUN mkdir -m 000 /d && touch /d/x && echo secret > /f && chmod 000 /f && chown 5 /f
            "#,
        )
        .old()
        .has("/f", "---------- 5:0 7")
        .has("/d/x", "-"),
        case(
            "files-volume-content",
            r#"
            FROM @busybox
            VOLUME /v
            RUN mkdir -p /v && echo 1 > /v/x
            "#,
        )
        .old()
        .reads("/v/x", "1\n"),
    ]
}
