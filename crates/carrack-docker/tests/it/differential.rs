//! The parser against another one that knows nothing of it, on what both read: the other knows no here-document that is
//! opened behind a command's first word.

use carrack_docker::dockerfile::{CommandLine, Dockerfile, Kind, Source, Text, parse};
use parse_dockerfile::{Command, Instruction, Source as OtherSource};

use crate::dockerfile::source;

const TEXTS: &[&str] = &[
    "# syntax=docker/dockerfile:1\nARG RUST=1.95\nFROM --platform=$BUILDPLATFORM rust:${RUST}-slim AS build\nWORKDIR /app\n\
     COPY --chown=1:1 Cargo.toml Cargo.lock ./\nRUN --mount=type=cache,target=/app/target,sharing=locked cargo build\n\n\
     FROM debian:bookworm-slim\nCOPY --from=build /app/x /usr/bin/x\nENTRYPOINT [\"x\"]\nCMD [\"--help\"]\n",
    "FROM alpine\nRUN apk add a && \\\n    # a comment\n    apk add b \\\n    && apk add c\nUSER 1000:1000\nEXPOSE 80 443/tcp\n",
    "from alpine as one\nrun <<EOF\nset -e\necho one\nEOF\n",
    "FROM alpine\nCOPY <<one.txt <<-two.txt /etc/\none\none.txt\n\ttwo\n\ttwo.txt\nENV A=1 B=\"two words\"\nLABEL x=y\n",
    "FROM alpine\nVOLUME [\"/a\", \"/b\"]\nVOLUME /c /d\nSHELL [\"/bin/sh\", \"-ec\"]\nSTOPSIGNAL SIGTERM\nHEALTHCHECK NONE\n\
     HEALTHCHECK --interval=5s CMD wget -q -O- http://localhost/\nONBUILD RUN true\nMAINTAINER someone\n",
    "# escape=`\nFROM alpine\nRUN one `\n  two\nADD https://example.org/a.tar /a/\nARG X=1\n",
    "FROM scratch\r\nCOPY a b c /d/\r\nCMD run \\\r\n  it\r\n",
];

/// An instruction as both can say it.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    at: usize,
    name: String,
    values: Vec<String>,
}

#[test]
fn both_parsers_read_the_same() {
    for text in TEXTS {
        let ours = ours(&parse(&source(text)).unwrap(), text);
        let theirs = parse_dockerfile::parse(text).unwrap();
        let theirs: Vec<Said> =
            theirs.instructions.iter().map(|instruction| said(instruction, text)).collect();
        assert_eq!(ours, theirs, "{text}");
    }
}

fn ours(dockerfile: &Dockerfile, text: &str) -> Vec<Said> {
    let mut all = Vec::new();
    let mut add = |keyword: &Text, kind: &Kind| {
        let values = match kind {
            Kind::Copy(copy) => files(&copy.sources, &copy.destination),
            Kind::Add(add) => files(&add.sources, &add.destination),
            Kind::Run(run) => {
                let documents = run.heredocs.iter().map(|heredoc| heredoc.text.to_string());
                words(&run.command, text).into_iter().chain(documents).collect()
            }
            Kind::Cmd(command) | Kind::Entrypoint(command) => words(command, text),
            Kind::User(value) | Kind::Workdir(value) | Kind::Stopsignal(value) | Kind::Maintainer(value) => {
                vec![value.to_string()]
            }
            Kind::Expose(ports) => ports.iter().map(|expose| expose.ports.to_string()).collect(),
            Kind::Volume(list) | Kind::Shell(list) => list.iter().map(|word| word.to_string()).collect(),
            _ => Vec::new(),
        };
        all.push(Said { at: keyword.range().start, name: keyword.to_ascii_uppercase(), values });
    };
    for instruction in &dockerfile.arguments {
        add(&instruction.keyword, &instruction.kind);
    }
    for stage in &dockerfile.stages {
        add(&stage.keyword, &Kind::From(stage.from.clone()));
        stage.instructions.iter().for_each(|instruction| add(&instruction.keyword, &instruction.kind));
    }
    for (said, stage) in all.iter_mut().filter(|said| said.name == "FROM").zip(&dockerfile.stages) {
        let name = stage.from.name.iter().map(|name| name.to_string());
        said.values = [stage.from.image.to_string()].into_iter().chain(name).collect();
    }
    all
}

fn files(sources: &[Source], destination: &Text) -> Vec<String> {
    let sources = sources.iter().map(|source| match source {
        Source::Path(path) => path.to_string(),
        Source::Heredoc(heredoc) => heredoc.text.to_string(),
    });
    sources.chain([destination.to_string()]).collect()
}

/// The other parser keeps shell commands as they are in the file.
fn words(command: &CommandLine, text: &str) -> Vec<String> {
    match command {
        CommandLine::Exec(words) => words.iter().map(|word| word.to_string()).collect(),
        CommandLine::Shell(command) if command.starts_with("<<") => Vec::new(),
        CommandLine::Shell(command) => vec![text[command.range()].to_owned()],
    }
}

fn said(instruction: &Instruction<'_>, text: &str) -> Said {
    let theirs = |sources: &[OtherSource<'_>], destination: &str| {
        let sources = sources.iter().map(|source| match source {
            OtherSource::Path(path) => path.value.to_string(),
            OtherSource::HereDoc(document) => document.value.to_string(),
            other => panic!("{other:?}"),
        });
        sources.chain([destination.to_owned()]).collect()
    };
    let command = |command: &Command<'_>| match command {
        Command::Exec(words) => words.value.iter().map(|word| word.value.to_string()).collect(),
        Command::Shell(shell) if shell.value.is_empty() => Vec::new(),
        Command::Shell(shell) => vec![text[shell.span.clone()].trim_end().to_owned()],
        other => panic!("{other:?}"),
    };
    let (keyword, values): (_, Vec<String>) = match instruction {
        Instruction::Copy(copy) => (&copy.copy, theirs(&copy.src, &copy.dest.value)),
        Instruction::Add(add) => (&add.add, theirs(&add.src, &add.dest.value)),
        Instruction::Run(run) => {
            let documents = run.here_docs.iter().map(|document| document.value.to_string());
            (&run.run, command(&run.arguments).into_iter().chain(documents).collect())
        }
        Instruction::Cmd(cmd) => (&cmd.cmd, command(&cmd.arguments)),
        Instruction::Entrypoint(entrypoint) => (&entrypoint.entrypoint, command(&entrypoint.arguments)),
        Instruction::From(from) => {
            let name = from.as_.iter().map(|(_, name)| name.value.to_string());
            (&from.from, [from.image.value.to_string()].into_iter().chain(name).collect())
        }
        Instruction::User(user) => (&user.user, vec![user.arguments.value.to_string()]),
        Instruction::Workdir(workdir) => (&workdir.workdir, vec![workdir.arguments.value.to_string()]),
        Instruction::Stopsignal(signal) => (&signal.stopsignal, vec![signal.arguments.value.to_string()]),
        Instruction::Maintainer(maintainer) => {
            (&maintainer.maintainer, vec![maintainer.name.value.to_string()])
        }
        Instruction::Expose(expose) => {
            (&expose.expose, expose.arguments.iter().map(|ports| ports.value.to_string()).collect())
        }
        Instruction::Shell(shell) => {
            (&shell.shell, shell.arguments.iter().map(|word| word.value.to_string()).collect())
        }
        Instruction::Volume(volume) => {
            let list = match &volume.arguments {
                parse_dockerfile::JsonOrStringArray::Json(list) => &list.value,
                parse_dockerfile::JsonOrStringArray::String(list) => list,
            };
            (&volume.volume, list.iter().map(|word| word.value.to_string()).collect())
        }
        Instruction::Arg(arg) => (&arg.arg, Vec::new()),
        Instruction::Env(env) => (&env.env, Vec::new()),
        Instruction::Label(label) => (&label.label, Vec::new()),
        Instruction::Healthcheck(healthcheck) => (&healthcheck.healthcheck, Vec::new()),
        Instruction::Onbuild(onbuild) => (&onbuild.onbuild, Vec::new()),
        other => panic!("{other:?}"),
    };
    let name = text[keyword.span.clone()].to_ascii_uppercase();
    Said { at: keyword.span.start, name, values }
}
