//! ADD: archives, downloads, git.

use std::io::Write;

use carrack_testkit::has_program;

use crate::dockerfile::case::{Case, case};

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packed {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// An archive with owners, a link, a hard link, a setuid program and a folder that it does not mention.
pub(crate) fn archive(packed: Packed) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("dir/sub")).unwrap();
    std::fs::write(at("dir/file"), "file").unwrap();
    std::fs::write(at("dir/sub/tool"), "tool").unwrap();
    std::fs::hard_link(at("dir/file"), at("dir/same")).unwrap();
    std::os::unix::fs::symlink("file", at("dir/link")).unwrap();
    let mode = |name: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("dir", 0o750);
    mode("dir/sub/tool", 0o4755);
    mode("dir/file", 0o644);
    let mut command = std::process::Command::new("tar");
    command.current_dir(folder.path()).args([
        "--create",
        "--owner=7",
        "--group=8",
        "--numeric-owner",
        "--mtime=@0",
    ]);
    command.args([
        "--no-recursion",
        "--format=gnu",
        "dir",
        "dir/file",
        "dir/link",
        "dir/same",
        "dir/sub/tool",
    ]);
    let plain = command.output().unwrap().stdout;
    let (program, option) = match packed {
        Packed::Plain => return plain,
        Packed::Gzip => ("gzip", "-n"),
        Packed::Bzip2 => ("bzip2", "-1"),
        Packed::Xz => ("xz", "-1"),
        Packed::Zstd => ("zstd", "-1"),
    };
    let mut child = std::process::Command::new(program)
        .args([option, "-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&plain).unwrap());
    let packed = child.wait_with_output().unwrap().stdout;
    writer.join().unwrap();
    packed
}

/// An archive under a name that says nothing.
fn unpacking(name: &'static str, packed: Packed) -> Case {
    case(name, "FROM @busybox\nADD thing /x/\nADD --chown=5:6 thing /y\n")
        .file("thing", archive(packed))
        .has("/x/dir", "drwxr-x--- 7:8")
        .has("/x/dir/sub/tool", "-rwsr-xr-x 7:8 4")
        .has("/x/dir/same", "-rw-r--r-- 7:8 4")
        .has("/x/dir/link", "lrwxrwxrwx 7:8 -> file")
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case(
            "add-file-and-folder",
            r#"
            FROM scratch
            ADD a.txt /x/
            ADD dir /y
            ADD *.md /z/
            "#,
        )
        .files(&["a.txt", "dir/b", "c.md", "d.md"])
        .old()
        .reads("/x/a.txt", "a.txt")
        .has("/y/b", "-")
        .has("/z/d.md", "-"),
        case(
            "add-archive-over-what-is-there",
            r#"
            FROM @busybox
            RUN mkdir -m 700 -p /x/dir && echo old > /x/dir/file && ln -s /etc /x/dir/sub
            ADD thing.tar /x
            "#,
        )
        .file("thing.tar", archive(Packed::Plain))
        .old(),
        case("add-archive-of-an-archive", "FROM scratch\nADD outer /x/\n")
            .file("outer", archive(Packed::Gzip))
            .old()
            .has("/x/dir/file", "-"),
        case("add-what-only-looks-like-an-archive", "FROM scratch\nADD a.tar.gz b.gz /x/\n")
            .file("a.tar.gz", "no archive")
            .file("b.gz", {
                let mut bytes = vec![0x1f, 0x8b];
                bytes.extend_from_slice(b"not really");
                bytes
            })
            .old(),
        case("add-compressed-file-that-is-no-archive", "FROM scratch\nADD notes.gz /x/\n")
            .file("notes.gz", gzip(b"only a text"))
            .old()
            .has("/x/notes.gz", "-"),
        case("add-archive-not-unpacked-in-a-folder", "FROM scratch\nADD dir /x\n")
            .file("dir/thing.tar", archive(Packed::Plain))
            .old()
            .has("/x/thing.tar", "-"),
        case("add-archive-by-wildcard", "FROM scratch\nADD *.tar /x/\n")
            .file("one.tar", archive(Packed::Plain))
            .files(&["two.tar"])
            .old()
            .has("/x/dir/file", "-")
            .has("/x/two.tar", "-"),
        case(
            "add-archive-with-modes",
            r#"
            FROM scratch
            ADD --chmod=700 thing.tar a /x/
            "#,
        )
        .file("thing.tar", archive(Packed::Plain))
        .files(&["a"])
        .has("/x/a", "-rwx------"),
        case(
            "add-unpack-off",
            r#"
            FROM scratch
            ADD --unpack=false thing.tar /x/
            "#,
        )
        .file("thing.tar", archive(Packed::Plain))
        .has("/x/thing.tar", "-"),
        case("add-link", "FROM @busybox\nADD --link thing.tar a /x/\n")
            .file("thing.tar", archive(Packed::Gzip))
            .files(&["a"])
            .has("/x/dir/file", "-rw-r--r-- 7:8"),
        case("add-exclude", "FROM scratch\nADD --exclude=*.md dir /x/\n")
            .files(&["dir/a.md", "dir/b"])
            .has("/x/b", "-")
            .lacks("/x/a.md"),
        case("add-url-to-a-folder", "FROM scratch\nADD @http/hello.txt /x/\n")
            .old()
            .has("/x/hello.txt", "-rw------- 0:0 6"),
        case(
            "add-url-to-a-name",
            r#"
            FROM scratch
            ADD @http/dir/data.bin /x/name
            "#,
        )
        .old()
        .has("/x/name", "-rw------- 0:0 4"),
        case(
            "add-url-with-flags",
            r#"
            FROM @busybox
            ADD --chown=app:clinic --chmod=644 @http/hello.txt /x/
            "#,
        )
        .old()
        .has("/x/hello.txt", "-rw-r--r-- 1000:2000"),
        case(
            "add-url-with-a-query",
            r#"
            FROM scratch
            ADD @http/hello.txt?version=1#part /x/
            "#,
        )
        .old()
        .has("/x/hello.txt", "-"),
        case(
            "add-url-moved",
            r#"
            FROM scratch
            ADD @http/moved/hello.txt /x/
            "#,
        )
        .old()
        .has("/x/hello.txt", "-"),
        case(
            "add-url-that-names-its-file",
            r#"
            FROM scratch
            ADD @http/named/hello.txt /x/
            "#,
        ),
        case(
            "add-url-dated",
            r#"
            FROM scratch
            ADD @http/dated/hello.txt /x/
            "#,
        )
        .old()
        .has("/x/hello.txt", "-"),
        case("add-url-of-an-archive-is-not-unpacked", "FROM scratch\nADD @http/archive.tar.gz /x/\n")
            .old()
            .has("/x/archive.tar.gz", "-"),
        case(
            "add-url-unpacked",
            r#"
            FROM scratch
            ADD --unpack=true @http/archive.tar.gz /x/
            "#,
        )
        .has("/x/dir/file", "-"),
        case(
            "add-url-of-a-variable",
            r#"
            FROM scratch
            ARG BASE=@http
            ADD ${BASE}/hello.txt /x/
            "#,
        )
        .old()
        .has("/x/hello.txt", "-"),
        case("add-url-and-file", "FROM scratch\nADD @http/hello.txt a /x/\n")
            .files(&["a"])
            .old()
            .has("/x/a", "-")
            .has("/x/hello.txt", "-"),
        case(
            "add-url-checksum",
            r#"
            FROM scratch
            ADD --checksum=sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03 \
                @http/hello.txt /x/
            "#,
        )
        .has("/x/hello.txt", "-"),
        case(
            "add-url-wrong-checksum",
            r#"
            FROM scratch
            ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 \
                @http/hello.txt /x/
            "#,
        )
        .refused("digest mismatch"),
        case("add-url-missing", "FROM scratch\nADD @http/no/such /x/\n").old().refused("404"),
        case(
            "add-url-link",
            r#"
            FROM @busybox
            ADD --link @http/hello.txt /x/y/
            "#,
        )
        .has("/x/y/hello.txt", "-rw-------"),
        case("add-git", "FROM scratch\nADD @git/clinic.git /src\n")
            .reads("/src/readme", "second")
            .has("/src/tool", "-rwxr-xr-x")
            .has("/src/link", "l")
            .lacks("/src/.git"),
        case("add-git-submodules", "FROM scratch\nADD @git/fleet.git /src\n")
            .reads("/src/readme", "second")
            .reads("/src/lib/lib.txt", "library"),
        case(
            "add-git-branch-tag-and-folder",
            r#"
            FROM scratch
            ADD @git/clinic.git#dev /dev
            ADD @git/clinic.git#v1 /v1
            ADD @git/clinic.git#main:sub /sub
            "#,
        )
        .reads("/dev/readme", "development")
        .reads("/v1/readme", "first")
        .reads("/sub/deep/file", "deep"),
        case(
            "add-git-with-owner",
            r#"
            FROM @busybox
            ADD --chown=app --chmod=640 @git/clinic.git#v1:sub /src/
            ADD --link @git/clinic.git#v1 /linked
            "#,
        )
        .has("/src/deep/file", "-rw-r----- 1000:1000"),
        case(
            "add-git-by-query",
            r#"
            FROM scratch
            ADD @git/clinic.git?branch=dev&subdir=sub /a
            ADD @git/clinic.git?tag=v1 /b
            "#,
        )
        .reads("/a/deep/file", "deep")
        .reads("/b/readme", "first"),
        case(
            "add-git-missing-branch",
            r#"
            FROM scratch
            ADD @git/clinic.git#nosuch /a
            "#,
        )
        .refused(""),
        case(
            "add-git-keeping-its-folder",
            r#"
            FROM @busybox AS a
            ADD --keep-git-dir=true @git/clinic.git#v1 /src
            RUN cp /src/.git/HEAD /head
            FROM scratch
            COPY --from=a /head /head
            "#,
        )
        .has("/head", "-"),
    ];
    for (name, packed, program) in [
        ("add-archive-plain", Packed::Plain, "tar"),
        ("add-archive-gzip", Packed::Gzip, "gzip"),
        ("add-archive-bzip2", Packed::Bzip2, "bzip2"),
        ("add-archive-xz", Packed::Xz, "xz"),
        ("add-archive-zstd", Packed::Zstd, "zstd"),
    ] {
        if has_program(program) {
            cases.push(unpacking(name, packed));
        }
    }
    cases
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .args(["-n", "-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child.wait_with_output().unwrap().stdout
}
