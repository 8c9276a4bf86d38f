//! COPY from the context: what goes where.

use crate::dockerfile::case::{Case, case};

/// More than an archive's header holds.
const LONG: &str = concat!(
    "n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123/",
    "m0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123/",
    "o0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123",
);
const LONG_FOLDER: &str = concat!(
    "n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123/",
    "m0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123",
);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("copying-file-to-a-name", "FROM scratch\nCOPY a.txt /b.txt\n")
            .files(&["a.txt"])
            .old()
            .reads("/b.txt", "a.txt"),
        case(
            "copying-file-to-a-folder",
            r#"
            FROM scratch
            COPY a.txt /dir/
            COPY a.txt /dir/deep/er/b
            "#,
        )
        .files(&["a.txt"])
        .old()
        .has("/dir", "drwxr-xr-x 0:0")
        .reads("/dir/a.txt", "a.txt")
        .reads("/dir/deep/er/b", "a.txt"),
        case(
            "copying-file-to-a-folder-that-is-there",
            r#"
            FROM @busybox
            COPY a.txt /etc
            COPY a.txt /tmp
            "#,
        )
        .files(&["a.txt"])
        .old()
        .reads("/etc/a.txt", "a.txt")
        .has("/tmp", "drwxrwxrwt 0:0"),
        case("copying-file-over-a-file", "FROM @busybox\nCOPY a.txt /etc/passwd\n")
            .files(&["a.txt"])
            .mode("a.txt", 0o600)
            .old()
            .has("/etc/passwd", "-rw------- 0:0 5"),
        case(
            "copying-several",
            r#"
            FROM scratch
            COPY a b /dir/
            COPY c ./d /dir/
            "#,
        )
        .files(&["a", "b", "c", "d"])
        .old()
        .has("/dir/d", "-"),
        case(
            "copying-folder-copies-what-is-in-it",
            r#"
            FROM scratch
            COPY src /dst
            COPY src/ /dst2/
            COPY src/. /dst3
            "#,
        )
        .files(&["src/a", "src/sub/b"])
        .folder("src/empty")
        .old()
        .has("/dst/sub/b", "-")
        .has("/dst2/empty", "drwxr-xr-x")
        .has("/dst3/a", "-")
        .lacks("/dst/src"),
        case("copying-folder-merges", "FROM @busybox\nCOPY one /d\nCOPY two /d\n")
            .files(&["one/a", "one/b", "two/b", "two/c"])
            .mode("one", 0o700)
            .mode("two", 0o750)
            .old()
            .reads("/d/b", "two/b")
            .has("/d/a", "-"),
        case("copying-everything", "FROM scratch\nCOPY . .\n")
            .files(&["a", ".hidden", "sub/b"])
            .folder("empty")
            .old()
            .has("/.hidden", "-")
            .has("/empty", "d")
            .has("/Dockerfile", "-"),
        case(
            "copying-relative-to-the-working-folder",
            r#"
            FROM scratch
            WORKDIR /w
            COPY a .
            COPY a ./x/
            COPY a y
            COPY a ../z
            "#,
        )
        .files(&["a"])
        .old()
        .has("/w/a", "-")
        .has("/w/x/a", "-")
        .has("/w/y", "-")
        .has("/z", "-"),
        case(
            "copying-leaves-the-context",
            r#"
            FROM scratch
            COPY ../a /one
            COPY /../../b /two
            COPY ./sub/../c /three
            "#,
        )
        .files(&["a", "b", "c", "sub/d"])
        .old()
        .has("/one", "-")
        .has("/two", "-")
        .has("/three", "-"),
        case("copying-leading-slash", "FROM scratch\nCOPY /a /x\nCOPY //sub//b /y\n")
            .files(&["a", "sub/b"])
            .old()
            .reads("/y", "sub/b"),
        case(
            "copying-wildcards",
            r#"
            FROM scratch
            COPY *.txt /txt/
            COPY ?.rs /rs/
            COPY [a-c]*.md /md/
            COPY s*/x /x/
            COPY \*.txt /star/
            "#,
        )
        .files(&[
            "a.txt", "b.txt", ".c.txt", "*.txt", "a.rs", "bb.rs", "a1.md", "d1.md", "sub/x", "sub2/x", "t/x",
        ])
        .has("/txt/a.txt", "-")
        .has("/rs/a.rs", "-")
        .lacks("/rs/bb.rs")
        .has("/md/a1.md", "-")
        .lacks("/md/d1.md")
        .has("/x/x", "-")
        .has("/star/*.txt", "-"),
        case("copying-wildcard-of-folders", "FROM scratch\nCOPY d* /all/\n")
            .files(&["d1/a", "d2/b", "d3", "e/c"])
            .old()
            .has("/all/a", "-")
            .has("/all/b", "-")
            .has("/all/d3", "-")
            .lacks("/all/d1"),
        case("copying-wildcard-matches-hidden", "FROM scratch\nCOPY * /all/\n")
            .files(&[".hidden", "a"])
            .old()
            .has("/all/.hidden", "-"),
        case(
            "copying-wildcard-with-one-match-to-a-name",
            r#"
            FROM scratch
            COPY a* /name
            COPY b?c /folder/
            "#,
        )
        .files(&["a1", "bxc"])
        .old()
        .reads("/name", "a1")
        .reads("/folder/bxc", "bxc"),
        case(
            "copying-wildcard-and-a-file-that-is-there",
            r#"
            FROM scratch
            COPY package.json yarn.lock* /app/
            "#,
        )
        .files(&["package.json"])
        .old()
        .has("/app/package.json", "-"),
        case("copying-names-with-blanks-need-the-list", "FROM scratch\nCOPY a\\ b.txt /g\n")
            .files(&["a b.txt"])
            .old()
            .refused("not found"),
        case(
            "copying-names-with-blanks",
            r#"
            FROM scratch
            COPY ["a b.txt", "c d/", "/e f/"]
            "#,
        )
        .files(&["a b.txt", "c d/x"])
        .old()
        .has("/e f/x", "-"),
        // Docker's client can't send such a name.
        case(
            "copying-names-of-any-bytes",
            r#"
            FROM scratch
            COPY odd /odd
            COPY odd/caf* /one/
            "#,
        )
        .odd_file("odd", b"caf\xe9", "latin")
        .beyond()
        .has("/odd/caf\\xe9", "-rw-r--r-- 0:0 5")
        .has("/one/caf\\xe9", "-"),
        case(
            "copying-odd-names",
            r#"
            FROM scratch
            COPY odd /odd
            COPY odd/t* /one/
            "#,
        )
        .odd_file("odd", b"new\nline", "line")
        .odd_file("odd", b"back\\slash", "slash")
        .odd_file("odd", b"tab\tquote\"'", "quote")
        .odd_file("odd", b" ", "blank")
        .odd_file("odd", b"$HOME", "dollar")
        .old(),
        case("copying-nothing-by-wildcard", "FROM scratch\nCOPY Dockerfile nosuch* /\n")
            .old()
            .has("/Dockerfile", "-"),
        case("copying-several-to-a-name", "FROM scratch\nCOPY a b /c\n").files(&["a", "b"]).old(),
        case("copying-long-names", "FROM scratch\nCOPY . /all/\n")
            .file(LONG, "long")
            .symlink("link", LONG_FOLDER)
            .old(),
        case("copying-modes", "FROM scratch\nCOPY . /all/\n")
            .files(&["a", "b", "c", "d/e"])
            .mode("a", 0o4755)
            .mode("b", 0o2711)
            .mode("c", 0o000)
            .mode("d", 0o1777)
            .old()
            .has("/all/a", "-rwsr-xr-x")
            .has("/all/b", "-rwx--s--x")
            .has("/all/c", "----------")
            .has("/all/d", "drwxrwxrwt"),
        case("copying-symlinks-in-folders-stay", "FROM scratch\nCOPY src /dst\n")
            .files(&["src/a"])
            .symlink("src/link", "a")
            .symlink("src/dangling", "no/such")
            .symlink("src/absolute", "/etc/passwd")
            .symlink("src/up", "../outside")
            .symlink("src/folder", ".")
            .old()
            .has("/dst/link", "lrwxrwxrwx 0:0 -> a")
            .has("/dst/dangling", "l")
            .has("/dst/folder", "lrwxrwxrwx 0:0 -> ."),
        case(
            "copying-symlink-by-name-is-followed",
            r#"
            FROM scratch
            COPY link /file
            COPY folder-link /folder
            COPY folder-link/a /inside
            "#,
        )
        .files(&["a", "folder/a"])
        .symlink("link", "a")
        .symlink("folder-link", "folder")
        .old()
        .reads("/file", "a")
        .reads("/folder/a", "folder/a")
        .reads("/inside", "folder/a"),
        case("copying-symlink-by-wildcard", "FROM scratch\nCOPY l* /all/\n")
            .files(&["a", "folder/b"])
            .symlink("link", "a")
            .symlink("link-to-folder", "folder")
            .old(),
        case("copying-symlink-out-of-the-context", "FROM scratch\nCOPY link /file\n")
            .context("inner")
            .files(&["outside"])
            .symlink("inner/link", "../outside")
            .old()
            .refused("not found"),
        case("copying-absolute-symlink-is-of-the-context", "FROM scratch\nCOPY link /file\n")
            .files(&["a"])
            .symlink("link", "/a")
            .old()
            .reads("/file", "a"),
        case(
            "copying-onto-a-symlink-to-a-folder",
            r#"
            FROM @busybox
            RUN mkdir /real && ln -s real /link
            COPY a /link/
            COPY d /link
            "#,
        )
        .files(&["a", "d/b"])
        .old()
        .has("/link", "lrwxrwxrwx 0:0 -> real")
        .has("/real/a", "-")
        .has("/real/b", "-"),
        case(
            "copying-through-an-absolute-symlink",
            r#"
            FROM @busybox
            RUN mkdir -p /real/deep && ln -s /real /link
            COPY a /link/deep/x
            COPY a /link/new/x
            "#,
        )
        .files(&["a"])
        .old()
        .has("/real/deep/x", "-")
        .has("/real/new/x", "-"),
        case(
            "copying-onto-a-symlink-to-a-file",
            r#"
            FROM @busybox
            RUN echo old > /real && ln -s real /link
            COPY a /link
            "#,
        )
        .files(&["a"])
        .old(),
        case(
            "copying-onto-a-dangling-symlink",
            r#"
            FROM @busybox
            RUN ln -s nowhere /link && ln -s gone /dir
            COPY a /link
            COPY a /dir/
            "#,
        )
        .files(&["a"])
        .old(),
        case(
            "copying-a-symlink-over-a-folder-is-refused",
            r#"
            FROM @busybox
            RUN mkdir -p /d/x && touch /d/x/y
            COPY src /d
            "#,
        )
        .symlink("src/x", "elsewhere")
        .old()
        .refused("cannot"),
        case(
            "copying-a-file-over-a-folder-is-refused",
            r#"
            FROM @busybox
            RUN mkdir -p /d/x && touch /d/x/y
            COPY src /d
            "#,
        )
        .files(&["src/x"])
        .old()
        .refused("cannot"),
        case(
            "copying-a-folder-over-a-file-is-refused",
            r#"
            FROM @busybox
            RUN mkdir -p /d && touch /d/x
            COPY src /d
            "#,
        )
        .files(&["src/x/y"])
        .old()
        .refused("cannot"),
        case("copying-a-folder-to-a-file-is-refused", "FROM @busybox\nCOPY src /etc/passwd\n")
            .files(&["src/x"])
            .old()
            .refused("cannot"),
        case(
            "copying-a-file-over-a-symlink",
            r#"
            FROM @busybox
            RUN mkdir /d && ln -s ../etc/passwd /d/x
            COPY src /d
            "#,
        )
        .files(&["src/x"])
        .old()
        .has("/d/x", "-rw-r--r-- 0:0 5"),
        case(
            "copying-hard-links",
            r#"
            FROM scratch
            COPY . /all/
            COPY a /one
            COPY a b /two/
            "#,
        )
        .files(&["a", "c"])
        .hard_link("b", "a")
        .hard_link("sub/d", "a"),
        case("copying-fifo", "FROM scratch\nCOPY dir /dir\n")
            .fifo("dir/fifo")
            .files(&["dir/a"])
            .has("/dir/fifo", "prw-r-----"),
        case("copying-attributes", "FROM scratch\nCOPY . /all/\nCOPY a /one\n")
            .files(&["a", "d/b"])
            .attribute("a", "user.note", b"value")
            .attribute("d", "user.note", b"folder")
            .attribute("d/b", "security.capability", b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        case("copying-large-and-empty-files", "FROM scratch\nCOPY large empty /x/\n")
            .file("large", "0123456789abcdef".repeat(200_000))
            .file("empty", "")
            .old()
            .has("/x/large", "-rw-r--r-- 0:0 3200000")
            .has("/x/empty", "-rw-r--r-- 0:0 0"),
        case(
            "copying-nothing-of-an-empty-folder",
            r#"
            FROM scratch
            COPY empty /dst
            COPY empty/ /dst2/
            "#,
        )
        .folder("empty")
        .mode("empty", 0o700)
        .old()
        .has("/dst", "d"),
        case(
            "copying-creates-folders-as-root",
            r#"
            FROM @busybox
            USER app
            WORKDIR /w
            COPY a deep/er/a
            COPY d deep2
            "#,
        )
        .files(&["a", "d/b"])
        .old()
        .has("/w/deep/er", "drwxr-xr-x 0:0")
        .has("/w/deep2/b", "-rw-r--r-- 0:0"),
        case(
            "copying-keeps-the-mode-of-folders-that-are-there",
            r#"
            FROM @busybox
            RUN mkdir -m 700 /d && chown 5:6 /d
            COPY src /d
            COPY src/a /d/x/
            "#,
        )
        .files(&["src/a"])
        .mode("src", 0o711)
        .old(),
        case(
            "copying-dot-of-a-subfolder",
            r#"
            FROM scratch
            COPY sub/./ /one
            COPY ./sub /two/
            "#,
        )
        .files(&["sub/a"])
        .old()
        .has("/one/a", "-")
        .has("/two/a", "-"),
        case("copying-to-the-root", "FROM @busybox\nCOPY src /\nCOPY a //\n")
            .files(&["src/etc/new", "a"])
            .mode("src/etc", 0o700)
            .old()
            .has("/etc/new", "-")
            .has("/a", "-"),
        case("copying-the-git-folder", "FROM scratch\nCOPY .git /git\nCOPY . /all\n")
            .files(&[".git/HEAD", ".git/refs/x"])
            .old()
            .has("/git/HEAD", "-")
            .has("/all/.git/HEAD", "-"),
        case("copying-the-same-twice", "FROM scratch\nCOPY a /a\nCOPY a /a\n")
            .files(&["a"])
            .old()
            .has("/a", "-"),
        case("copying-is-case-sensitive", "FROM scratch\nCOPY A /x/\nCOPY a /x/\n")
            .files(&["A", "a"])
            .old()
            .reads("/x/A", "A"),
    ]
}
