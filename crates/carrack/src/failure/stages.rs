//! The words for what goes wrong while a Dockerfile is built here.

use std::path::Path;

use carrack_base::Span;
use carrack_docker::check::DockerFinding;
use carrack_docker::lower::LowerError;
use carrack_engine::EngineError;
use carrack_oci::UnknownAccount;
use carrack_oci::pull::PullError;
use carrack_oci::snapshot::SnapshotError;
use carrack_sandbox::{Exit, SandboxError};

use super::{Words, code, engine, io_hint, is_full, machine, refusal, with_context};
use crate::stages::ImageFailure;

/// What stands in a Dockerfile, or is asked of it, can't be.
pub(super) fn refused(error: &LowerError<ImageFailure>) -> Words {
    match error {
        LowerError::Refused { span, refusal } => {
            let (mark, hint) = refusal::advice(refusal);
            let words = Words::new(refusal.to_string());
            // What is asked for on the command line has no place.
            let words = if span.range.is_empty() { words } else { words.at(span, mark) };
            match hint {
                Some(hint) => words.hint(hint),
                None => words,
            }
        }
        LowerError::Image { span, reference, source } => image(reference, source).at(span, "asks for it"),
    }
}

/// A finding of one of Docker's checks, where they are errors.
pub(super) fn found(finding: &DockerFinding) -> Words {
    Words::new(format!("{}: {}", finding.check.name, finding.check.title))
        .at(&finding.span, finding.mark.clone())
        .hint(format!("see {}; the Dockerfile says check=error=true", finding.check.url()))
}

pub(super) fn refused_code(error: &LowerError<ImageFailure>) -> u8 {
    match error {
        LowerError::Refused { .. } => code::USAGE,
        LowerError::Image { source, .. } => image_code(source),
    }
}

pub(super) fn image_code(failure: &ImageFailure) -> u8 {
    match failure {
        ImageFailure::Name(_) | ImageFailure::Registries(_) => code::USAGE,
        ImageFailure::Store(_) => code::MACHINE,
        ImageFailure::Pull(error) => match error {
            PullError::Platform { .. }
            | PullError::SchemaOne { .. }
            | PullError::Read { .. }
            | PullError::NotAnImage { .. }
            | PullError::Selection { .. }
            | PullError::Blocked { .. } => code::USAGE,
            PullError::Sink { .. } => code::MACHINE,
            PullError::Registry { .. }
            | PullError::NotFound { .. }
            | PullError::MissingBlob { .. }
            | PullError::Blob { .. }
            | PullError::Document { .. }
            | PullError::Image { .. }
            | PullError::Engine { .. }
            | PullError::Cancelled { .. } => code::ENGINE,
        },
    }
}

/// An image that services start from can't be had.
pub(super) fn base(name: &str, failure: &ImageFailure) -> Words {
    image(name, failure).note("the key `base` names it")
}

/// An image can't be had.
fn image(reference: &str, source: &ImageFailure) -> Words {
    let words = with_context(format!("cannot find the image {reference}"), source);
    match source {
        ImageFailure::Name(_) => words.hint("write it as NAME:TAG"),
        ImageFailure::Registries(_) => words.hint("mend that file: podman and docker read it too"),
        ImageFailure::Store(error) => {
            let words = words.hint("look at the state folder, or use another with --home");
            if is_full(error) { words.hint("make room on that disk") } else { words }
        }
        ImageFailure::Pull(error) => words.hint(match error {
            PullError::NotFound { .. } => {
                "check the name; build it first if it is one of yours, with `carrack build -t NAME`"
            }
            PullError::Registry { .. } => "check the name, `docker login`, and the network",
            PullError::Blocked { .. } => "use another image, or see `blocked` in podman's registries.conf",
            PullError::MissingBlob { .. } | PullError::Blob { .. } => "try again; it may be pushed just now",
            PullError::Sink { source, .. } => io_hint(source),
            PullError::Platform { .. } => "choose one of these with --platform",
            PullError::SchemaOne { .. } => "push it anew with a current docker",
            PullError::Document { .. } | PullError::Image { .. } => "push it anew, or use another image",
            PullError::Read { source, .. } => io_hint(source),
            PullError::NotAnImage { .. } => "name the folder of an OCI layout, or an archive of one",
            PullError::Selection { .. } => "choose one, as in oci-layout://FOLDER:TAG",
            PullError::Engine { .. } => "look at the engine's own log",
            PullError::Cancelled { .. } => "build again",
        }),
    }
}

/// A step failed.
pub(super) fn step(name: &str, origin: Option<&Span>, source: &EngineError) -> Words {
    let (words, mark) = match source {
        EngineError::RunFailed { exit, transcript } => run_failed(*exit, transcript),
        EngineError::Sandbox(error) => (sandbox(error), String::new()),
        EngineError::NoSource { .. } => (engine(source), "not there".to_owned()),
        source => (engine(source), String::new()),
    };
    match origin {
        Some(span) => words.at(span, mark),
        None => words.note(format!("in the step {name}")),
    }
}

/// The exit code for what stops a step, or a build outside of any step.
pub(super) fn step_code(source: &EngineError) -> u8 {
    match source {
        EngineError::RunFailed { .. }
        | EngineError::InTheWay { .. }
        | EngineError::NoSource { .. }
        | EngineError::CircularLink { .. }
        | EngineError::UnknownAccount(_)
        | EngineError::Checksum { .. }
        | EngineError::OtherCommit { .. }
        | EngineError::NoReference { .. }
        | EngineError::CannotStart { .. }
        | EngineError::Stopped
        | EngineError::Snapshot(
            SnapshotError::Archive(_) | SnapshotError::Entry { .. } | SnapshotError::ReservedName { .. },
        )
        | EngineError::Sandbox(
            SandboxError::ProgramNotFound { .. }
            | SandboxError::WorkingDirectory { .. }
            | SandboxError::Execute { .. }
            | SandboxError::User { .. }
            | SandboxError::Unrepresentable { .. },
        ) => code::BUILD_FAILED,
        EngineError::NoSecret { .. }
        | EngineError::NoAgent { .. }
        | EngineError::DeadAgent { .. }
        | EngineError::Sandbox(SandboxError::UnknownLimit { .. }) => code::USAGE,
        EngineError::Layers { .. }
        | EngineError::Download { .. }
        | EngineError::Git { .. }
        | EngineError::Snapshot(SnapshotError::MediaType { .. } | SnapshotError::DiffId { .. }) => {
            code::ENGINE
        }
        EngineError::Configuration { .. } => code::BUG,
        _ => code::MACHINE,
    }
}

/// The words, and what is marked.
fn run_failed(exit: Exit, transcript: &str) -> (Words, String) {
    let how = match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
    };
    let words = Words::new(format!("the command failed ({how})"));
    let last: Vec<&str> = transcript.lines().rev().filter(|line| !line.trim().is_empty()).take(1).collect();
    let words = last.iter().fold(words, |words, line| words.note(line.trim()));
    let words = match exit {
        Exit::Code(126) => words.hint("make the program executable, or name another one"),
        Exit::Code(127) => words.hint("install the program in an earlier step, or mend its name"),
        Exit::Signal(9) => words.hint("see whether the machine ran out of memory (`dmesg`)"),
        _ => words.hint("see its output above"),
    };
    (words, how)
}

/// A command could not even be started.
fn sandbox(error: &SandboxError) -> Words {
    match error {
        SandboxError::ProgramNotFound { program } => {
            let program = program.display();
            Words::new(format!("cannot run {program}: the image has no such program"))
                .hint(r#"use an image that has it, or copy it before; RUN ["/program"] needs no shell"#)
        }
        SandboxError::Execute { program, source } => {
            with_context(format!("cannot run {}", program.display()), source)
                .hint("check that it is executable, made for this machine, and has its loader in the image")
        }
        SandboxError::WorkingDirectory { path, source } => {
            with_context(format!("cannot enter the working folder {}", path.display()), source)
                .hint("check WORKDIR, and whether USER may enter it")
        }
        SandboxError::User { uid, gid, source } => {
            with_context(format!("cannot run as the user {uid} with the group {gid}"), source)
                .hint("check USER; an ordinary user has few ids to give (see /etc/subuid)")
        }
        SandboxError::UnknownLimit { name } => {
            Words::new(format!("cannot limit `{name}`: there is no such limit"))
                .hint("mend --ulimit, as in nofile=1024")
        }
        SandboxError::Unrepresentable { text } => {
            Words::new(format!("cannot pass {text:?} to a program")).hint("take its zero byte away")
        }
        error => machine::sandbox(error),
    }
}

/// An error of a step, without the step.
pub(super) fn bare(error: &EngineError) -> Words {
    let because = |message: String, source: &(dyn std::error::Error + 'static)| with_context(message, source);
    match error {
        EngineError::InTheWay { path } => Words::new(format!("cannot write {path}: something else is there"))
            .hint("choose another place: a folder can't replace a file, nor a file a folder"),
        // Steps are called as in `[build 1/2] COPY a b`.
        EngineError::NoSource { path, of } if of.starts_with('[') => {
            Words::new(format!("cannot find `{path}`: it is not there after {of}"))
                .hint("mend the path, or see what that stage makes")
        }
        EngineError::NoSource { path, of } => Words::new(format!("cannot find `{path}` in {of}"))
            .hint("mend the path, or see whether .dockerignore leaves it out"),
        EngineError::CannotStart { program, base, library, needed_by, symbol } => {
            let (what, hint) = match symbol {
                Some(symbol) => (
                    format!("{library} has no {symbol}"),
                    "choose a base of the builder's release or a newer one, or `base = \"closure\"`",
                ),
                None => (
                    format!("{library} is missing"),
                    "add its package to `packages.run`, or choose `base = \"closure\"`",
                ),
            };
            Words::new(format!("{program} cannot start in the image of {base}: {what}"))
                .note(format!("{needed_by} needs it"))
                .hint(hint)
        }
        EngineError::CircularLink { path } => {
            Words::new(format!("cannot write {path}: symbolic links lead in a circle"))
                .hint("mend the links in the image, or choose another place")
        }
        EngineError::UnknownAccount(UnknownAccount { what, name }) => {
            Words::new(format!("the image has no {what} `{name}`"))
                .hint(format!("add it before, as with `RUN {what}add {name}`, or use a number"))
        }
        EngineError::NoSecret { id } => Words::new(format!("cannot run this: nobody gave the secret `{id}`"))
            .hint(format!("give it with `--secret id={id},src=FILE`, or in the `secrets` of a compose file")),
        EngineError::NoAgent { id } => {
            Words::new(format!("cannot run this: nobody gave the SSH agent `{id}`"))
                .hint(format!("give it with `--ssh {id}`, or with `ssh` in a compose file"))
        }
        EngineError::DeadAgent { id, path, source } => {
            because(format!("cannot run this: the SSH agent `{id}` does not answer"), source)
                .note(format!("its socket is {}", path.display()))
                .hint("start ssh-agent, and set SSH_AUTH_SOCK or name its socket")
        }
        EngineError::Owner { path, uid, gid } => no_such_owner(path, *uid, *gid),
        EngineError::Layers { image, source } => {
            because(format!("cannot fetch the layers of {image}"), &**source)
                .hint("check the network and `docker login`, then build again")
        }
        EngineError::Download { url, source } => because(format!("cannot download {url}"), &**source)
            .hint("check the address and the network, then build again"),
        EngineError::Checksum { url, expected, found } => {
            Words::new(format!("{url} is not the file that --checksum says"))
                .note(format!("expected {expected}"))
                .note(format!("found    {found}"))
                .hint("see who changed it; mend --checksum if that was meant to be")
        }
        EngineError::Git { remote, source } => because(format!("cannot get {remote} with git"), &**source)
            .hint("check the address, and what git may do there"),
        EngineError::NoReference { remote, reference } => {
            Words::new(format!("{remote} has no branch, tag or commit `{reference}`"))
                .hint("mend what follows `#`, or `ref`, `branch` and `tag`")
        }
        EngineError::OtherCommit { remote, expected, found } => {
            Words::new(format!("{remote} is not at the commit that was asked for"))
                .note(format!("expected {expected}"))
                .note(format!("found    {found}"))
                .hint("see who changed it; mend the checksum if that was meant to be")
        }
        EngineError::DamagedSnapshot { snapshot } => {
            Words::new(format!("cannot use the kept layer {snapshot}: it is damaged"))
                .hint("build with --no-cache")
        }
        EngineError::Configuration { source } => {
            because("cannot read the image's configuration".to_owned(), source)
                .hint("report this with the Dockerfile")
        }
        EngineError::Image(source) => {
            because("cannot use a kept image".to_owned(), source).hint("build with --pull")
        }
        EngineError::Snapshot(source) => snapshot(source),
        EngineError::Stopped => Words::new("stopped because another step failed").hint("mend that step"),
        error => Words::chain(error).hint("report this with the Dockerfile"),
    }
}

/// An ordinary user has a range of numbers, and the kernel takes no others.
fn no_such_owner(path: &Path, uid: u32, gid: u32) -> Words {
    Words::new(format!("cannot give a file to {uid}:{gid}: this user has not so many subordinate ids"))
        .note(path.display().to_string())
        .hint("add a larger range to /etc/subuid and /etc/subgid, or choose a smaller number for the owner")
}

/// A layer, or an archive, could not be unpacked or written.
fn snapshot(error: &SnapshotError) -> Words {
    let words = with_context("cannot unpack or write a layer".to_owned(), error);
    match error {
        error if is_full(error) => words.hint("make room on that disk"),
        SnapshotError::Archive(_) | SnapshotError::Entry { .. } => {
            words.hint("see whether `tar` can unpack it, or use COPY, which does not unpack")
        }
        SnapshotError::Blob(_) | SnapshotError::DiffId { .. } => {
            words.hint("ask for the image again with --pull")
        }
        SnapshotError::MediaType { .. } => words.hint("push the image anew, with gzip or zstd"),
        SnapshotError::Changed { .. } => words.hint("stop what changes it, then build again"),
        SnapshotError::ReservedName { .. } => words.hint("rename the file, or remove it in the same step"),
        SnapshotError::Owner { path, uid, gid } => no_such_owner(path, *uid, *gid),
        SnapshotError::Read { source, .. }
        | SnapshotError::Write { source, .. }
        | SnapshotError::Output(source) => words.hint(io_hint(source)),
    }
}
