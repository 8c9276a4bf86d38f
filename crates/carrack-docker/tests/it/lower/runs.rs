use super::*;

#[test]
fn an_ordinary_file_is_drawn() {
    let text = "\
FROM alpine:3.20 AS builder
WORKDIR /app
COPY Cargo.toml src/ ./
RUN --mount=type=cache,target=target cargo build \\
    --release
FROM scratch
COPY --from=builder /app/target/release/app /
ENTRYPOINT [\"/app\"]
";
    let lowered = lowered(text, |request| request.tags = vec!["app:1".to_owned()]);
    assert_eq!(
        drawn(&lowered),
        "\
0 base docker.io/library/alpine:3.20 linux/amd64
1 folder on 0 /app
2 context context /work
3 copy on 1 2:Cargo.toml 2:src → /app/
4 run on 3 [\"/bin/sh\", \"-c\", \"cargo build     --release\"] in /app cache(/app/target target Shared 755 0:0)
5 scratch
6 copy on 5 4:app/target/release/app → //
7 image app:1 of 6 [\"app:1\"]
"
    );
    let digest = Digest::of(b"docker.io/library/alpine:3.20");
    assert_eq!(
        steps(&lowered),
        [
            &format!("[builder 1/4] FROM docker.io/library/alpine:3.20@{digest}"),
            "[builder 2/4] WORKDIR /app",
            "[builder 3/4] COPY Cargo.toml src/ ./",
            "[builder 4/4] RUN --mount=type=cache,target=target cargo build     --release",
            "FROM scratch",
            "[stage-1 1/1] COPY --from=builder /app/target/release/app /",
        ]
    );
    assert_eq!(history(&lowered), ["+ COPY /app/target/release/app / # buildkit", "- ENTRYPOINT [\"/app\"]"]);
    assert_eq!(settings(&lowered), json!({ "WorkingDir": "/", "Entrypoint": ["/app"] }));
}

/// The only `RUN`, behind `FROM scratch`, and what else is asked for.
#[track_caller]
fn run(text: &str) -> String {
    let drawn = drawn(&lowered(&format!("FROM scratch\n{text}"), plain));
    let run = drawn.lines().find_map(|line| line.split_once(" run on ")).expect("something is run");
    run.1.split_once(' ').unwrap().1.to_owned()
}

#[test]
fn commands_have_the_form_they_are_written_in() {
    for (text, expected) in [
        ("RUN a $B \"c\"", r#"["/bin/sh", "-c", "a $B \"c\""]"#),
        ("RUN [\"a\", \"$B\"]", r#"["a", "$B"]"#),
        ("RUN ['a']", r#"["/bin/sh", "-c", "['a']"]"#),
        ("SHELL [\"/bin/bash\", \"-euc\"]\nRUN a", r#"["/bin/bash", "-euc", "a"]"#),
        ("RUN a \\\n  # c\n  && b", r#"["/bin/sh", "-c", "a   && b"]"#),
        ("RUN <<EOF\na $B\nb\nEOF", r#"["/bin/sh", "-c", "a $B\nb\n"]"#),
        ("RUN <<-'EOF'\n\ta\n\tEOF", r#"["/bin/sh", "-c", "a\n"]"#),
        ("RUN cat <<EOF > /x\na $B\nEOF", r#"["/bin/sh", "-c", "cat <<EOF > /x\na $B\nEOF"]"#),
        ("RUN <<A cat <<B\na\nA\nb\nB", r#"["/bin/sh", "-c", "<<A cat <<B\na\nA\nb\nB"]"#),
        (
            "RUN <<EOF\n#!/usr/bin/env python\nprint(1)\nEOF",
            r##"["/bin/sh", "-c", "/dev/pipes/EOF"] text(/dev/pipes/EOF "#!/usr/bin/env python\nprint(1)\n" 755)"##,
        ),
        ("USER u\nWORKDIR /w\nRUN a", r#"["/bin/sh", "-c", "a"] in /w as u"#),
        ("RUN --network=none a", r#"["/bin/sh", "-c", "a"] None"#),
        ("RUN --network=host --security=insecure a", r#"["/bin/sh", "-c", "a"] Host insecure"#),
        ("RUN --security=sandbox a", r#"["/bin/sh", "-c", "a"]"#),
    ] {
        assert_eq!(run(text), expected, "{text}");
    }
}

#[test]
fn mounts_have_their_defaults() {
    for (text, expected) in [
        ("type=bind,target=/a", "bind(/a 1:/)"),
        ("source=src/../x,target=a,rw", "bind(/w/a 1:/x rw)"),
        ("src=../../x,dst=/a,ro=false", "bind(/a 1:/x rw)"),
        ("type=cache,target=/a/../b/", "cache(/b /b Shared 755 0:0)"),
        ("type=cache,target=./b", "cache(/w/b b Shared 755 0:0)"),
        ("type=cache,target=$T", "cache(/w/t t Shared 755 0:0)"),
        (
            "type=cache,target=/b,id=c-$T,sharing=$S,mode=0700,uid=1,gid=2,ro",
            "cache(/b c-t Locked 700 1:2 ro)",
        ),
        ("type=cache,target=/b,from=x,source=y", "cache(/b /b Shared 755 0:0 0:/y)"),
        ("type=tmpfs,target=/a", "memory(/a None)"),
        ("type=tmpfs,target=/a,size=64m", "memory(/a Some(67108864))"),
        ("type=secret,id=s", "secret(s /run/secrets/s - 400)"),
        ("type=secret,id=a/s,required", "secret(a/s /run/secrets/s - 400 required)"),
        ("type=secret,target=/x/y", "secret(y /x/y - 400)"),
        ("type=secret,id=s,target=y,mode=0444", "secret(s /w/y - 444)"),
        ("type=secret,id=s,env=TOKEN", "secret(s - TOKEN 400)"),
        ("type=secret,id=s,env=TOKEN,target=/x", "secret(s /x TOKEN 400)"),
    ] {
        let text =
            format!("FROM scratch AS x\nFROM scratch\nWORKDIR /w\nENV T=t S=locked\nRUN --mount={text} x");
        let drawn = drawn(&lowered(&text, plain)).replace("2:/", "1:/").replace("3:/", "1:/");
        let run = drawn.lines().find(|line| line.contains(" run on ")).unwrap();
        assert!(run.ends_with(&format!("in /w {expected}")), "{text}\n{run}");
    }
    let agents = run("RUN --mount=type=ssh --mount=type=ssh,id=k,target=/s,mode=0666 x");
    assert_eq!(
        agents,
        "[\"/bin/sh\", \"-c\", \"x\"] SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0 \
         agent(default /run/buildkit/ssh_agent.0 600) agent(k /s 666)"
    );
}

#[test]
fn mounts_are_of_stages_images_and_nothing() {
    let text = "FROM alpine AS a\nFROM scratch\nRUN --mount=from=a,target=/1 --mount=from=scratch,target=/2 \\
                --mount=from=alpine,target=/3 --mount=type=cache,from=a,source=s,target=/4 x\n";
    assert_eq!(
        drawn(&lowered(text, plain)),
        "\
0 base docker.io/library/alpine:latest linux/amd64
1 scratch
2 scratch
3 run on 1 [\"/bin/sh\", \"-c\", \"x\"] bind(/1 0:/) bind(/2 2:/) bind(/3 0:/) cache(/4 /4 Shared 755 0:0 0:/s)
4 image 1 of 3
"
    );
}

#[test]
fn the_request_says_what_all_commands_get() {
    let lowered = lowered("FROM scratch\nRUN a\nRUN --network=none b", |request| {
        request.network = Network::Host;
        request.add_hosts = vec![("h".to_owned(), "1.2.3.4".to_owned())];
        request.shm_size = Some(1 << 20);
        request.ulimits = vec![("nofile".to_owned(), 1, 2)];
    });
    let runs = lowered.graph.ops().iter().filter_map(|op| match op {
        Op::Run(run) => Some(run),
        _ => None,
    });
    let runs: Vec<_> = runs.collect();
    assert_eq!((runs[0].network, runs[1].network), (Network::Host, Network::None));
    assert_eq!(runs[0].hosts, [("h".to_owned(), "1.2.3.4".to_owned())]);
    assert_eq!(runs[1].shm_size, Some(1 << 20));
    assert_eq!(runs[1].limits, [("nofile".to_owned(), 1, 2)]);
}
