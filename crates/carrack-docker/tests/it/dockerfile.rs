//! Each instruction with everything it can have, and each way to get it wrong.

use std::path::PathBuf;
use std::sync::Arc;

use carrack_base::SourceText;
use carrack_docker::dockerfile::{
    CommandLine, Dockerfile, Healthcheck, Kind, MountKind, Problem, Sharing, Source, parse,
};

pub(crate) fn source(text: &str) -> Arc<SourceText> {
    Arc::new(SourceText { path: PathBuf::from("Dockerfile"), text: text.to_owned() })
}

#[track_caller]
fn read(text: &str) -> Dockerfile {
    parse(&source(text)).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The instructions of the only stage.
#[track_caller]
fn kinds(text: &str) -> Vec<Kind> {
    let mut dockerfile = read(&format!("FROM x\n{text}"));
    dockerfile.stages.remove(0).instructions.into_iter().map(|instruction| instruction.kind).collect()
}

#[track_caller]
fn kind(text: &str) -> Kind {
    let mut kinds = kinds(text);
    assert_eq!(kinds.len(), 1, "{kinds:?}");
    kinds.remove(0)
}

fn shell(command: &CommandLine) -> &str {
    match command {
        CommandLine::Shell(text) => text,
        CommandLine::Exec(list) => panic!("{list:?}"),
    }
}

#[test]
fn stages_have_names_platforms_and_what_stands_above() {
    let text = "# syntax=docker/dockerfile:1\n# check=skip=A\n\nARG V=1\n# one\n# two\nFROM --platform=$BUILDPLATFORM rust:${V} AS Build\nRUN x\nfrom build as last\n";
    let dockerfile = read(text);
    assert_eq!(dockerfile.directive("Syntax").unwrap().as_str(), "docker/dockerfile:1");
    assert_eq!(dockerfile.directive("check").unwrap().as_str(), "skip=A");
    assert_eq!(dockerfile.arguments.len(), 1);
    let first = &dockerfile.stages[0];
    assert_eq!(first.from.image.as_str(), "rust:${V}");
    assert_eq!(first.from.platform.as_ref().unwrap().as_str(), "$BUILDPLATFORM");
    assert_eq!(first.from.name.as_ref().unwrap().as_str(), "Build");
    let comments: Vec<&str> = first.comments.iter().map(|comment| comment.text.as_str()).collect();
    assert_eq!(comments, ["one", "two"]);
    assert_eq!(&text[first.comments[1].text.range()], "two");
    assert_eq!(dockerfile.stage_named("BUILD", 1), Some(0));
    assert_eq!(dockerfile.stage_named("last", 1), None);
}

#[test]
fn lines_are_joined_over_comments_and_empty_lines() {
    let text = "FROM x\nRUN a && \\\n  # why\n\n  b \\\n\nRUN c\n\\\nRUN d \\";
    let dockerfile = read(text);
    let runs = dockerfile.stages[0].instructions.iter().map(|instruction| match &instruction.kind {
        Kind::Run(run) => shell(&run.command),
        other => panic!("{other:?}"),
    });
    // An empty line does not end a line that goes on.
    assert_eq!(runs.collect::<Vec<_>>(), ["a &&   b RUN c", "d"]);
}

#[test]
fn every_part_has_its_place() {
    let text = "FROM x\nRUN cargo build \\\n    --release\nCOPY --from=b /a /b\n";
    let dockerfile = read(text);
    let Kind::Run(run) = &dockerfile.stages[0].instructions[0].kind else { panic!() };
    let CommandLine::Shell(command) = &run.command else { panic!() };
    let at = command.find("--release").unwrap();
    assert_eq!(&text[command.range_of(at..at + 9)], "--release");
    assert_eq!(
        &text[dockerfile.stages[0].instructions[0].range.clone()],
        "RUN cargo build \\\n    --release"
    );
    let Kind::Copy(copy) = &dockerfile.stages[0].instructions[1].kind else { panic!() };
    assert_eq!(&text[copy.from.as_ref().unwrap().range()], "b");
    assert_eq!(&text[copy.destination.range()], "/b");
}

#[test]
fn the_escape_character_can_be_another() {
    let dockerfile = read("#escape=`\nFROM x\nRUN dir c:\\ && `\n  more\n");
    let Kind::Run(run) = &dockerfile.stages[0].instructions[0].kind else { panic!() };
    assert_eq!(shell(&run.command), "dir c:\\ &&   more");
    let windows = read("\u{feff}FROM x\r\nRUN a \\\r\n  b\r\n");
    let Kind::Run(run) = &windows.stages[0].instructions[0].kind else { panic!() };
    assert_eq!(shell(&run.command), "a   b");
    // Behind an instruction or a comment it is a comment.
    assert_eq!(read("# hello\n# escape=`\nFROM x\n").escape, '\\');
    assert_eq!(read("#!/usr/bin/docker\n# escape=`\nFROM x\n").escape, '\\');
}

#[test]
fn runs_have_mounts_and_documents() {
    let run = |text: &str| match kind(text) {
        Kind::Run(run) => run,
        other => panic!("{other:?}"),
    };
    let one = run(
        "RUN --network=none --security=insecure --device=a --mount=type=cache,target=/t,id=x,sharing=locked,uid=1 \
         --mount=from=b,source=/a,dst=/c,rw --mount=type=secret,id=s,env=TOKEN,required true",
    );
    assert_eq!(one.mounts.len(), 3);
    assert_eq!(one.mounts[0].kind, MountKind::Cache);
    assert_eq!(one.mounts[0].sharing, Some(Sharing::Locked));
    assert_eq!(one.mounts[1].kind, MountKind::Bind);
    assert_eq!(one.mounts[1].readonly, Some(false));
    assert_eq!(one.mounts[2].required, Some(true));
    assert_eq!(one.network.unwrap().as_str(), "none");
    assert_eq!(shell(&one.command), "true");

    let script = run("RUN <<-'END'\n\tset -e\n\tcargo build\n\tEND\n");
    assert_eq!(script.heredocs[0].text.as_str(), "set -e\ncargo build\n");
    assert!(!script.heredocs[0].expands);
    let two = run("RUN cat <<A 3<<\"B\" > /x\none\nA\ntwo\nB\n");
    assert_eq!(two.heredocs.len(), 2);
    assert_eq!(two.heredocs[1].descriptor, Some(3));
    assert_eq!(two.heredocs[1].text.as_str(), "two\n");
    assert_eq!(run("RUN [\"a\", \"b \\u0041\"]").command, {
        let list = run("RUN [\"a\", \"b \\u0041\"]").command;
        let CommandLine::Exec(words) = &list else { panic!() };
        assert_eq!(words[1].as_str(), "b A");
        list
    });
    assert_eq!(run("RUN cat << END\nx\nEND\n").heredocs[0].text.as_str(), "x\n");
    assert_eq!(run("RUN cat <<A << 'B'\na\nA\nb\nB\n").heredocs[1].name, "B");
    assert_eq!(shell(&run("RUN --mount=type=cache,target=/a").command), "");
    // No shift, no here-string.
    assert!(run("RUN echo $((1<<2)) && cat <<<x").heredocs.is_empty());
}

#[test]
fn copies_have_sources_of_all_kinds() {
    let Kind::Copy(copy) =
        kind("COPY --from=b --chown=1:2 --chmod=u=rwX --link --parents --exclude=*.a --exclude=*.b a b /c/")
    else {
        panic!()
    };
    assert!(copy.link && copy.parents);
    assert_eq!(copy.exclude.len(), 2);
    assert_eq!(copy.sources.len(), 2);
    let Kind::Copy(copy) = kind("COPY [\"a b\", \"/c\"]") else { panic!() };
    let Source::Path(path) = &copy.sources[0] else { panic!() };
    assert_eq!(path.as_str(), "a b");
    let Kind::Copy(copy) = kind("COPY x <<main.rs /src/\nfn main() {}\nmain.rs\n") else { panic!() };
    let Source::Heredoc(heredoc) = &copy.sources[1] else { panic!() };
    assert_eq!((heredoc.name.as_str(), heredoc.text.as_str()), ("main.rs", "fn main() {}\n"));
    let Kind::Add(add) = kind("ADD --checksum=sha256:1 --unpack=false --keep-git-dir=true https://x/y /z")
    else {
        panic!()
    };
    assert_eq!((add.unpack, add.keep_git_dir), (Some(false), true));
}

#[test]
fn the_small_ones() {
    let kinds = kinds(
        "ARG A B=2 C=\"x y\"\nENV A=1 B='a b'\nENV OLD the rest\nLABEL a=b c=d\nEXPOSE 80 53/udp\nUSER 1:2\n\
         VOLUME [\"/a\"]\nVOLUME /b /c\nWORKDIR /w x\nSTOPSIGNAL SIGINT\nSHELL [\"sh\", \"-ec\"]\nMAINTAINER me\n\
         HEALTHCHECK NONE\nHEALTHCHECK --interval=3s --retries=2 CMD curl x\nCMD [\"a\"]\nENTRYPOINT b\n\
         ONBUILD COPY a /b\nONBUILD RUN <<E\nx\nE\n",
    );
    let Kind::Arg(arguments) = &kinds[0] else { panic!() };
    assert_eq!(arguments[2].value.as_ref().unwrap().as_str(), "\"x y\"");
    let Kind::Env(pairs) = &kinds[2] else { panic!() };
    assert_eq!((pairs[0].name.as_str(), pairs[0].value.as_str()), ("OLD", "the rest"));
    let Kind::Workdir(folder) = &kinds[8] else { panic!() };
    assert_eq!(folder.as_str(), "/w x");
    let Kind::Healthcheck(Healthcheck::Probe(probe)) = &kinds[13] else { panic!() };
    assert_eq!(shell(&probe.command), "curl x");
    let Kind::Onbuild(trigger) = &kinds[17] else { panic!() };
    let Kind::Run(run) = &trigger.kind else { panic!() };
    assert_eq!(run.heredocs[0].text.as_str(), "x\n");
}

#[test]
fn what_docker_refuses_is_refused_at_its_place() {
    for (text, marked, problem) in [
        ("", "", "there is no FROM"),
        ("# nothing\n", "", "there is no FROM"),
        ("RUN x\nFROM y", "RUN", "RUN stands before the first FROM"),
        ("FROM x\nCOPPY a b", "COPPY", "unknown instruction `COPPY`"),
        ("FROM x\nUSER", "USER", "USER needs arguments"),
        ("FROM x\nRUN --network=some a", "some", "--network can't be `some`"),
        ("FROM x\nHEALTHCHECK --interval=3x CMD a", "3x", "--interval can't be `3x`"),
        ("FROM x\nHEALTHCHECK --retries=-1 CMD a", "-1", "--retries can't be `-1`"),
        ("FROM x\nHEALTHCHECK CMD []", "HEALTHCHECK", "HEALTHCHECK needs a command behind CMD"),
        ("FROM x\nCOPY --link --link b c", "--link", "--link is given twice"),
        ("FROM x\nCOPY a", "COPY", "COPY needs a source and a destination"),
        ("FROM x\nCOPY --form=a b c", "--form=a", "COPY has no flag --form"),
        ("FROM x\nUSER --x a", "--x", "USER has no flag --x"),
        ("FROM x\nCOPY --from b c", "--from", "--from needs a value"),
        ("FROM x\nCOPY --from=a --from=b c d", "b", "--from is given twice"),
        ("FROM x\nCOPY --link=maybe b c", "--link=maybe", "--link can't be `maybe`"),
        ("FROM x y", "y", "FROM takes IMAGE or IMAGE AS NAME"),
        ("FROM x AS 1a", "1a", "`1a` can't name a stage"),
        ("FROM x\nENV a=1 b", "b", "`b` has no `=`"),
        ("FROM x\nENV a", "ENV", "ENV needs name=value"),
        ("FROM x\nENV =a", "=a", "ENV has an empty name"),
        ("FROM x\nCMD [1]", "[1]", "the list has something else in it than strings"),
        ("FROM x\nSHELL bash", "bash", "SHELL needs a list in brackets"),
        ("FROM x\nRUN <<EOF\nx\n", "<<EOF", "no line `EOF` ends the here-document"),
        ("FROM x\nCOPY a <<EOF\nEOF\n", "<<EOF", "a here-document can't be the destination"),
        ("# escape=\\\n# escape=`\nFROM x", "escape", "the directive `escape` is there twice"),
        ("# escape=x\nFROM x", "x", "`x` can't be the escape character"),
        ("FROM x\nONBUILD FROM y", "FROM", "ONBUILD can't have FROM"),
        ("FROM x\nHEALTHCHECK x", "HEALTHCHECK", "HEALTHCHECK needs CMD or NONE"),
        ("FROM x\nHEALTHCHECK NONE x", "x", "HEALTHCHECK takes NONE alone"),
        ("FROM x\nRUN --mount=type=cash,target=/a b", "cash", "the mount's `type` can't be `cash`"),
        ("FROM x\nRUN --mount=type=cache b", "type=cache", "a cache mount needs `target`"),
        ("FROM x\nRUN --mount=type=cache,tarket=/a b", "tarket", "a mount has no key `tarket`"),
        (
            "FROM x\nRUN --mount=type=cache,target=/a,sharing=some b",
            "some",
            "the mount's `sharing` can't be `some`",
        ),
        (
            "FROM x\nRUN --mount=type=ssh,sharing=locked b",
            "type=ssh,sharing=locked",
            "a ssh mount has no key `sharing`",
        ),
        ("FROM x\nRUN --mount=type=ssh,source=a b", "type=ssh,source=a", "a ssh mount has no key `source`"),
        (
            "FROM x\nRUN --mount=type=secret,id=a,from=c b",
            "type=secret,id=a,from=c",
            "a secret mount has no key `from`",
        ),
        (
            "FROM x\nRUN --mount=target=/a,mode=0700 b",
            "target=/a,mode=0700",
            "a bind mount has no key `mode`",
        ),
        (
            "FROM x\nRUN --mount=type=tmpfs,target=/a,uid=1 b",
            "type=tmpfs,target=/a,uid=1",
            "a tmpfs mount has no key `uid`",
        ),
    ] {
        let error = parse(&source(text)).map(|_| ()).expect_err(text);
        assert_eq!(error.problem.to_string(), problem, "{text}");
        assert_eq!(&text[error.span.range.clone()], marked, "{text}");
    }
    let error = parse(&source("FROM x\nCOPPY a b")).unwrap_err();
    assert!(matches!(*error.problem, Problem::UnknownInstruction { nearest: Some("COPY"), .. }));
}
