//! `COPY` and `ADD`.

use super::*;

/// All ops behind `FROM scratch`, the image apart.
#[track_caller]
fn ops(text: &str) -> String {
    let drawn = drawn(&lowered(&format!("FROM scratch\n{text}"), plain));
    let lines: Vec<&str> = drawn.lines().collect();
    lines[1..lines.len() - 1].join("\n")
}

#[test]
fn copies_from_the_context() {
    for (text, expected) in [
        ("COPY a b", "2 copy on 0 1:a → /b"),
        ("COPY a b/", "2 copy on 0 1:a → /b/"),
        ("COPY . .", "2 copy on 0 1:. → //"),
        ("COPY ./a/../../b/ /x/../../y", "2 copy on 0 1:b → /y"),
        ("COPY a b c", "2 copy on 0 1:a 1:b → /c"),
        ("COPY [\"a b\", \"c\"]", "2 copy on 0 1:a b → /c"),
        ("COPY *.toml src/** /x/", "2 copy on 0 1:*.toml 1:src/** → /x/"),
        ("COPY --chown=1:2 --chmod=755 --link a b", "2 copy on 0 1:a → /b owner 1:2 mode 755 link"),
        ("COPY --chmod=u=rwX,go=r a b", "2 copy on 0 1:a → /b mode 644"),
        ("COPY --exclude=*.md --exclude=x a b", "2 copy on 0 1:a → /b but *.md but x"),
        ("COPY --parents a/b ./x/./y/../z /d/", "2 copy on 0 1:a/b 1:x/./z → /d/ parents"),
        ("COPY --parents /./a/b /d/", "2 copy on 0 1:a/b → /d/ parents"),
        ("ADD a b", "2 copy on 0 1:a unpacked → /b"),
        ("ADD --unpack=false a b", "2 copy on 0 1:a → /b"),
    ] {
        assert_eq!(ops(text), format!("1 context context /work\n{expected}"), "{text}");
    }
    let folder = ops("WORKDIR /w\nENV A=a O=me M=600\nCOPY --chown=$O --chmod=$M $A ${A}/b");
    assert_eq!(
        folder,
        "1 folder on 0 /w\n2 context context /work\n3 copy on 1 2:a → /w/a/b owner me mode 600"
    );
}

#[test]
fn copies_from_elsewhere() {
    let text = "FROM alpine AS a\nFROM scratch\nCOPY --from=a /x y\nCOPY --from=A /x y\nCOPY --from=0 /x y\nCOPY --from=app:1 /x y\nCOPY --from=app:1 z y\n";
    assert_eq!(
        drawn(&lowered(text, plain)),
        "\
0 base docker.io/library/alpine:latest linux/amd64
1 scratch
2 copy on 1 0:x → /y
3 copy on 2 0:x → /y
4 copy on 3 0:x → /y
5 base docker.io/library/app:1 linux/amd64
6 copy on 4 5:x → /y
7 copy on 6 5:z → /y
8 image 1 of 7
"
    );
}

#[test]
fn texts_are_files() {
    for (text, expected) in [
        ("COPY <<EOF /x\na $V \"b\" '$V'\nEOF", r#"1 copy on 0 EOF="a 1 \"b\" '1'\n" → /x"#),
        ("COPY <<'EOF' /x\na $V\nEOF", r#"1 copy on 0 EOF="a $V\n" → /x"#),
        ("COPY <<-A <<B /x/\n\ta\n\tA\nb\nB", r#"1 copy on 0 A="a\n" B="b\n" → /x/"#),
        ("COPY a <<B /x/\nb\nB", "1 context context /work\n2 copy on 0 1:a B=\"b\\n\" → /x/"),
        ("ADD --chmod=700 <<EOF /x\na\\$V\nEOF", r#"1 copy on 0 EOF="a$V\n" → /x mode 700"#),
    ] {
        assert_eq!(ops(&format!("ENV V=1\n{text}")), expected, "{text}");
    }
    let history = history(&lowered("FROM scratch\nCOPY --chown=1 --parents a <<B /x/\nb\nB", plain));
    assert_eq!(history, ["+ COPY --parents --chown=1 a <<B /x/ # buildkit"]);
}

#[test]
fn files_and_repositories_are_fetched() {
    let digest = Digest::of(b"");
    for (text, expected) in [
        ("ADD https://x/a/b.tar /c/", "1 fetch https://x/a/b.tar as b.tar\n2 copy on 0 1:b.tar → /c/".to_owned()),
        ("ADD --unpack https://x/b.tar /c/", "1 fetch https://x/b.tar as b.tar\n2 copy on 0 1:b.tar unpacked → /c/".to_owned()),
        (
            &format!("ADD --checksum={digest} http://x/ /c"),
            format!("1 fetch http://x/ as __unnamed__ {digest}\n2 copy on 0 1:__unnamed__ → /c"),
        ),
        ("ADD https://x/a.git /c", "1 git https://x/a.git\n2 copy on 0 1:. → /c".to_owned()),
        (
            "ADD --keep-git-dir --checksum=abc git@x:a/b.git#v1:docs /c",
            "1 git git@x:a/b.git ref v1 in docs is abc with .git\n2 copy on 0 1:. → /c".to_owned(),
        ),
        (
            "ADD https://x/a.git?branch=b&submodules=false&keep-git-dir=true /c",
            "1 git https://x/a.git ref refs/heads/b with .git without submodules\n2 copy on 0 1:. → /c".to_owned(),
        ),
        (
            "ENV V=1\nADD https://x/a-$V.tar b /c/",
            "1 fetch https://x/a-1.tar as a-1.tar\n2 context context /work\n3 copy on 0 1:a-1.tar 2:b unpacked → /c/".to_owned(),
        ),
    ] {
        assert_eq!(ops(text), expected, "{text}");
    }
}
