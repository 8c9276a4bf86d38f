//! `.dockerignore`.

use crate::dockerfile::case::{Case, case};

/// `COPY . /all/` of a small tree under an ignore file.
fn ignoring(name: &'static str, ignore: &str) -> Case {
    case(name, "FROM scratch\nCOPY . /all/\n")
        .files(&[
            "a.txt",
            "b.md",
            "target/debug/app",
            "target/keep/me",
            "crates/one/target/x",
            "crates/one/src/lib.rs",
            "crates/two/notes.md",
            "docs/index.md",
            "docs/deep/page.md",
            ".env",
        ])
        .folder("empty")
        .file(".dockerignore", ignore)
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        ignoring("ignoring-at-the-root-only", "target\n*.md\n")
            .old()
            .lacks("/all/target")
            .lacks("/all/b.md")
            .has("/all/crates/one/target/x", "-")
            .has("/all/docs/index.md", "-"),
        ignoring("ignoring-at-any-depth", "**/target\n**/*.md\n")
            .old()
            .lacks("/all/crates/one/target")
            .lacks("/all/docs/deep/page.md")
            .has("/all/docs/deep", "d")
            .has("/all/crates/two", "d"),
        ignoring("ignoring-and-taking-back", "target\n!target/keep\n")
            .old()
            .has("/all/target/keep/me", "-")
            .lacks("/all/target/debug"),
        ignoring("ignoring-everything-but", "*\n!crates\n!a.txt\n")
            .old()
            .has("/all/crates/one/target/x", "-")
            .lacks("/all/docs")
            .lacks("/all/Dockerfile"),
        ignoring("ignoring-everything-but-deep", "**\n!docs/deep/page.md\n")
            .old()
            .has("/all/docs/deep/page.md", "-")
            .lacks("/all/docs/index.md"),
        ignoring("ignoring-last-match-decides", "*.md\n!b.md\nb*\n").old().lacks("/all/b.md"),
        ignoring("ignoring-taken-back-and-ignored-again", "docs\n!docs/deep\ndocs/deep/page.md\n")
            .old()
            .has("/all/docs/deep", "d")
            .lacks("/all/docs/index.md"),
        ignoring("ignoring-comments-and-blanks", "# target\n\n  b.md  \n\t\n #not-a-comment\n")
            .old()
            .has("/all/target/debug/app", "-")
            .lacks("/all/b.md"),
        ignoring("ignoring-leading-slash-and-dots", "/target\n./b.md\ndocs/../a.txt\ncrates/one/../two\n")
            .old()
            .lacks("/all/target")
            .lacks("/all/b.md")
            .lacks("/all/a.txt")
            .lacks("/all/crates/two"),
        ignoring("ignoring-trailing-slash", "target/\ncrates/one/\n")
            .old()
            .lacks("/all/target")
            .lacks("/all/crates/one"),
        ignoring("ignoring-question-marks-and-sets", "?.txt\n[b-c].md\ncrates/*/[^a-s]*\n")
            .old()
            .lacks("/all/a.txt")
            .lacks("/all/b.md")
            .lacks("/all/crates/one/target")
            .has("/all/crates/one/src", "d"),
        ignoring("ignoring-hidden-and-itself", ".*\n").old().lacks("/all/.env").lacks("/all/.dockerignore"),
        ignoring("ignoring-the-dockerfile", "Dockerfile\n.dockerignore\n")
            .old()
            .lacks("/all/Dockerfile")
            .has("/all/a.txt", "-"),
        ignoring("ignoring-double-star-inside", "crates/**/x\ndocs/**\n")
            .old()
            .lacks("/all/crates/one/target/x")
            .has("/all/crates/one/target", "d")
            .lacks("/all/docs/index.md"),
        ignoring("ignoring-byte-order-mark-and-windows-line-ends", "\u{feff}target\r\nb.md\r\n")
            .old()
            .lacks("/all/target")
            .lacks("/all/b.md"),
        ignoring("ignoring-nothing", "").old().has("/all/.dockerignore", "-"),
        ignoring("ignoring-empty-folder", "empty\n").old().lacks("/all/empty"),
        ignoring("ignoring-escapes", "\\*.md\n\\.env\n").old().has("/all/b.md", "-").lacks("/all/.env"),
        case("ignoring-what-is-copied-by-name", "FROM scratch\nCOPY secret /\n")
            .files(&["secret"])
            .file(".dockerignore", "secret\n")
            .old()
            .refused("not found"),
        case("ignoring-file-of-the-dockerfile", "FROM scratch\nCOPY . /all/\n")
            .dockerfile_at("build.Dockerfile")
            .files(&["a", "b"])
            .file(".dockerignore", "a\n")
            .file("build.Dockerfile.dockerignore", "b\n")
            .old()
            .has("/all/a", "-")
            .lacks("/all/b"),
        case("ignoring-file-of-a-dockerfile-in-a-folder", "FROM scratch\nCOPY . /all/\n")
            .dockerfile_at("docker/Dockerfile")
            .files(&["a", "b", "docker/c"])
            .file("docker/Dockerfile.dockerignore", "b\ndocker\n")
            .file("docker/.dockerignore", "a\n")
            .old()
            .has("/all/a", "-")
            .lacks("/all/b")
            .lacks("/all/docker"),
        case("ignoring-symlinks", "FROM scratch\nCOPY . /all/\n")
            .files(&["d/a"])
            .symlink("link", "d")
            .symlink("other", "d")
            .file(".dockerignore", "link\nother/a\n")
            .old()
            .lacks("/all/link")
            .has("/all/other", "l")
            .has("/all/d/a", "-"),
        case("ignoring-bad-pattern", "FROM scratch\nCOPY . /\n")
            .file(".dockerignore", "[a\n")
            .files(&["a"])
            .old()
            .refused(""),
        case("ignoring-wildcard-copy", "FROM scratch\nCOPY *.txt /\n")
            .files(&["a.txt", "b.txt"])
            .file(".dockerignore", "b.txt\n")
            .old()
            .has("/a.txt", "-")
            .lacks("/b.txt"),
        case(
            "ignoring-bind-mount",
            r#"
            FROM @busybox
            RUN --mount=type=bind,target=/src find /src | sort > /out
            "#,
        )
        .files(&["a", "b/c", "t/x"])
        .file(".dockerignore", "t\n")
        .reads("/out", "/src\n/src/.dockerignore\n/src/Dockerfile\n/src/a\n/src/b\n/src/b/c\n"),
    ]
}
