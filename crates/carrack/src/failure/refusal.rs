//! The words for what a Dockerfile says, or is asked for, and what can't be.

use carrack_docker::dockerfile::ExpandError;
use carrack_docker::lower::Refusal;

use super::dockerfile;

/// What is marked in the Dockerfile's lines, and what to do now.
pub(super) fn advice(refusal: &Refusal) -> (String, Option<String>) {
    let both = |mark: &str, hint: &str| (mark.to_owned(), Some(hint.to_owned()));
    let hint = |hint: String| (String::new(), Some(hint));
    match refusal {
        Refusal::UnknownTarget { nearest: Some(nearest), .. } => hint(format!("did you mean `{nearest}`?")),
        Refusal::UnknownTarget { known, .. } if !known.is_empty() => {
            hint(format!("choose one of {}", known.join(", ")))
        }
        Refusal::UnknownTarget { .. } => hint("name a stage with `FROM … AS NAME`".to_owned()),
        Refusal::ForeignSyntax { .. } => both(
            "only docker/dockerfile is known here",
            "take the line away, or build with `--engine docker`",
        ),
        Refusal::Expand(error) => expand(error),
        Refusal::Syntax(problem) => dockerfile::advice(problem),
        Refusal::BlankImage { .. } => both(
            "its variables are empty",
            "give it a value with --build-arg, or a default in an ARG before the first FROM",
        ),
        Refusal::BadReference { .. } => {
            both("expected NAME:TAG", "mend it, or what its variables are: names are in small letters")
        }
        Refusal::BadPlatform { .. } => both(
            "expected os/architecture, as in linux/arm64",
            "take --platform away, or name one: $BUILDPLATFORM and $TARGETPLATFORM are always there",
        ),
        Refusal::BadConfig { .. } => {
            both("its configuration is broken", "ask for it again with --pull, or use another image")
        }
        Refusal::Trigger { .. } => {
            both("its image wants that to be done here", "use another image, or mend its ONBUILD")
        }
        Refusal::VariableInFrom { .. } => both(
            "no variables are possible here",
            "name a stage with `FROM $VARIABLE AS name`, and copy from that",
        ),
        Refusal::NoSuchStage { .. } => {
            both("stages are counted from 0", "name the stage with AS, and copy from its name")
        }
        Refusal::LaterStage { name } => hint(format!("move the stage `{name}` above this one")),
        Refusal::Circular { .. } => hint("let one of them do without the other".to_owned()),
        Refusal::BadPath { .. } => both("it leads out of the image", "begin at / and use fewer `..`"),
        Refusal::MountAtRoot => both("it would hide the whole image", "mount at a folder, as in target=/src"),
        Refusal::EmptyCommand => both("the list is empty", r#"write what runs, as in RUN ["/bin/true"]"#),
        Refusal::Device { .. } => {
            both("no devices are lent here", "build with `--engine docker`, or take --device away")
        }
        Refusal::BadMode { .. } => both("expected 0755 or u=rwX,go=rX", "mend --chmod"),
        Refusal::BadPattern { .. } => {
            both("a bracket is open, or a backslash is at its end", "write it as in .dockerignore")
        }
        Refusal::RemoteCopy { .. } => both("COPY takes files of the context only", "use ADD instead"),
        Refusal::MisplacedChecksum => both("", "give each address an ADD of its own, and files none"),
        Refusal::BadChecksum { .. } => both(
            "expected sha256 and 64 digits; of a repository, a commit",
            "take it from `sha256sum FILE` or `git rev-parse HEAD`",
        ),
        Refusal::BadAddress { part, why, .. } => (
            format!("`{part}` {why}"),
            Some(
                "after `?` there may be ref, branch, tag, commit, subdir, keep-git-dir and submodules"
                    .to_owned(),
            ),
        ),
        Refusal::BadPort { .. } => both("expected 8080, 8080/udp or 8000-8010", "mend the port"),
        Refusal::BadSignal { .. } => both("expected a name or a number", "write it as in SIGTERM or 15"),
        Refusal::BadDuration { .. } => {
            both("expected a millisecond or more", "write it as in 500ms, 30s or 1m30s")
        }
        Refusal::BlankVolume => {
            both("its variables are empty", "name a folder, or give the variable a value with ARG or ENV")
        }
        Refusal::BadEpoch { .. } => {
            hint("set it to seconds since 1970, as `git log -1 --format=%ct` prints them".to_owned())
        }
    }
}

fn expand(error: &ExpandError) -> (String, Option<String>) {
    let hint = |hint: String| (String::new(), Some(hint));
    match error {
        ExpandError::Unclosed { open } => {
            hint(format!("close it, or write \\{open} if it is meant as it is"))
        }
        ExpandError::UnknownForm { .. } => {
            hint("write ${NAME}, ${NAME:-default}, ${NAME:+other} or ${NAME:?message}".to_owned())
        }
        ExpandError::Required { name, .. } => {
            hint(format!("give it a value, as in `--build-arg {name}=VALUE`"))
        }
        ExpandError::TooLong => hint("see which variables double others".to_owned()),
        ExpandError::TooDeep => hint("use fewer braces within braces".to_owned()),
    }
}
