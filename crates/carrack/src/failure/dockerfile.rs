//! The words for what Docker would refuse.

use carrack_docker::dockerfile::{DockerfileError, Problem};

use super::Words;

pub(super) fn words(error: &DockerfileError) -> Words {
    let (mark, hint) = advice(&error.problem);
    let words = Words::new(error.problem.to_string()).at(&error.span, mark);
    match hint {
        Some(hint) => words.hint(hint),
        None => words,
    }
}

/// What is marked in the Dockerfile's lines, and what to do now.
pub(super) fn advice(problem: &Problem) -> (String, Option<String>) {
    let near = |nearest: &Option<&'static str>| match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => String::new(),
    };
    let (mark, hint): (String, Option<&str>) = match problem {
        Problem::NoStage => (String::new(), Some("begin with FROM and an image")),
        Problem::BeforeFrom { .. } => ("only ARG may stand here".to_owned(), Some("move it behind a FROM")),
        Problem::UnknownInstruction { nearest, .. } | Problem::UnknownMountKey { nearest, .. } => {
            (near(nearest), None)
        }
        Problem::UnknownFlag { nearest: Some(nearest), .. } => (format!("did you mean `--{nearest}`?"), None),
        Problem::UnknownFlag { nearest: None, .. } => (String::new(), None),
        Problem::TooFewArguments { .. } | Problem::TooManyArguments { .. } => (String::new(), None),
        Problem::FlagTwice { .. } => ("take one of them away".to_owned(), None),
        Problem::FlagWithoutValue { flag } => (format!("as in --{flag}=VALUE"), None),
        Problem::BadFlagValue { expected, .. } | Problem::BadMountValue { expected, .. } => {
            (format!("expected {expected}"), None)
        }
        Problem::MountKeyMisplaced { .. } => {
            (String::new(), Some("take the key away, or change the mount's type"))
        }
        Problem::MountLacks { key, .. } => (format!("add `{key}=…`"), None),
        Problem::BadStageName { .. } => {
            ("letters, digits, `-`, `_` and `.`, with a letter first".to_owned(), None)
        }
        Problem::NoEquals { .. } => ("expected name=value".to_owned(), Some("quote a value that has spaces")),
        Problem::EmptyName { .. } => ("a name is missing".to_owned(), None),
        Problem::NotStrings => (String::new(), Some("quote every word of the list")),
        Problem::NotAList { name } => match name.as_str() {
            "SHELL" => (r#"as in ["/bin/sh", "-c"]"#.to_owned(), None),
            _ => (String::new(), None),
        },
        Problem::UnendedHeredoc { name } => (
            format!("add a line with nothing but {name}"),
            Some("the line that ends it may not be indented, except by tabs after <<-"),
        ),
        Problem::HeredocDestination => {
            (String::new(), Some("name the place behind it, as in `COPY <<EOF /etc/file`"))
        }
        Problem::DirectiveTwice { .. } => (String::new(), Some("take one of them away")),
        Problem::BadEscape { .. } => ("expected a backslash or a backtick".to_owned(), None),
        Problem::BadTrigger { .. } => {
            (String::new(), Some("ONBUILD takes everything but ONBUILD, FROM and MAINTAINER"))
        }
    };
    (mark, hint.map(str::to_owned))
}
