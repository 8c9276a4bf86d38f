//! The words of everything that can be wrong about a compose file and its services.

use carrack_base::Span;
use carrack_docker::compose::{ComposeError, Invalid};

use super::{ServiceProblem, Words, io_hint};

pub(super) fn words(error: &ComposeError) -> Words {
    match error {
        ComposeError::NotFound { folder } => {
            Words::new(format!("there is no compose file in {} or above it", folder.display())).hint(
                "name one with `carrack compose -f FILE build`, or build a workspace with `carrack build`",
            )
        }
        ComposeError::Read { path, named_at, source } => {
            let words = Words::new(format!("cannot read {}", path.display()));
            let words = match named_at {
                Some(span) => words.at(span, ""),
                None => words,
            };
            words.note(source.to_string()).hint(io_hint(source))
        }
        ComposeError::Empty { path } => {
            Words::new(format!("{} says nothing", path.display())).hint("give it a mapping `services`")
        }
        ComposeError::Syntax { span, message } => {
            Words::new(format!("{} is not valid YAML", name(span))).at(span, message.trim())
        }
        ComposeError::Line { span, message } => Words::new(format!("{} is no file of variables", name(span)))
            .at(span, *message)
            .hint("write NAME=value, one a line; quotes may hold anything"),
        ComposeError::Invalid { span, what } => invalid(span, what),
        ComposeError::ProjectName { name } if name.is_empty() => {
            Words::new("the folder's name can't name a project")
                .hint("name it with -p NAME, or with the key `name`")
        }
        ComposeError::ProjectName { name } => Words::new(format!("`{name}` can't name a project"))
            .note("a name has lower-case letters, digits, `-` and `_`, and begins with a letter or digit"),
        ComposeError::NoSuchService { name, nearest, known } => {
            Words::new(format!("there is no service `{name}`")).hint(near(nearest.as_deref(), known))
        }
    }
}

/// The file's own name: its folder is in the line that says the place.
fn name(span: &Span) -> String {
    span.source.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn near(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if known.is_empty() => "there is none at all".to_owned(),
        None => format!("choose one of {}", known.join(", ")),
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|nearest| format!("did you mean `{nearest}`?")).unwrap_or_default()
}

fn invalid(span: &Span, what: &Invalid) -> Words {
    let at = |message: String, mark: &str| Words::new(message).at(span, mark);
    match what {
        Invalid::Key { found } => {
            at("a key has to be text".to_owned(), &format!("this is {found}")).hint("put quotes around it")
        }
        Invalid::Twice { key } => at(format!("`{key}` stands there twice"), "the second one"),
        Invalid::AliasOfItself => at("an alias repeats itself".to_owned(), "lies within what it stands for"),
        Invalid::TooManyAliases => at("aliases make this file too large".to_owned(), "this one is too much"),
        Invalid::MergeKey => {
            at("`<<` has nothing to merge in".to_owned(), "expected a mapping or a list of mappings")
        }
        Invalid::UnknownKey { key, place, nearest } => {
            at(format!("unknown key `{key}` in {place}"), &did_you_mean(nearest.as_deref()))
        }
        Invalid::Kind { place, expected, found } => {
            at(format!("{place} has the wrong type"), &format!("expected {expected}, found {found}"))
        }
        Invalid::Value { place, expected, .. } => {
            at(format!("{place} makes no sense"), &format!("expected {expected}"))
        }
        Invalid::Missing { place, key } => {
            at(format!("{place} lacks `{key}`"), &format!("`{key}` is missing"))
        }
        Invalid::Template { part } => at(format!("`{part}` is no variable"), "")
            .hint("write ${NAME}, ${NAME:-default} or ${NAME:?message}; a dollar sign is $$"),
        Invalid::Required { name, message } => {
            let message = if message.is_empty() { "it is required" } else { message };
            at(format!("the variable {name} has no value"), message)
                .hint(format!("set {name}, or add it to .env"))
        }
        Invalid::Name { name, what } => {
            at(format!("`{name}` can't name a {what}"), "").hint("use letters, digits, `.`, `_` and `-`")
        }
        Invalid::NothingToExtend { name, file, nearest } => {
            let place = file.as_deref().map_or("this file".to_owned(), |file| file.display().to_string());
            at(
                format!("there is no service `{name}` to extend in {place}"),
                &did_you_mean(nearest.as_deref()),
            )
        }
        Invalid::Circle { chain } => {
            at(format!("this leads in a circle: {}", chain.join(" → ")), "one of the steps around")
        }
        Invalid::UndefinedService { name, inactive: true, .. } => {
            at(format!("the service `{name}` is not active"), "needs it")
                .hint("activate one of its profiles with `carrack compose --profile NAME build`")
        }
        Invalid::UndefinedService { name, nearest, .. } => {
            at(format!("there is no service `{name}`"), &did_you_mean(nearest.as_deref()))
        }
        Invalid::UndefinedSecret { name, nearest } => {
            at(format!("there is no secret `{name}`"), &did_you_mean(nearest.as_deref()))
                .hint("define it in the file's section `secrets`")
        }
        Invalid::NoImage { service } => {
            at(format!("{service} has neither `image` nor `build`"), "").hint("give it one of them")
        }
        Invalid::TwoDockerfiles { service } => {
            at(format!("{service} has both `dockerfile` and `dockerfile_inline`"), "")
                .hint("keep one of them")
        }
        Invalid::PlatformLeftOut { service, platform } => {
            at(format!("{service} runs on {platform} and is not built for it"), "")
                .hint(format!("add {platform} to `platforms`"))
        }
    }
}

pub(super) fn service(service: &str, span: &Span, why: &ServiceProblem) -> Words {
    match why {
        ServiceProblem::NoContext { folder } => {
            Words::new(format!("cannot build {service}: there is no folder {}", folder.display()))
                .at(span, "its context")
                .hint("mend `context`; it starts at the folder of the compose file")
        }
        ServiceProblem::NoDockerfile { path } => {
            Words::new(format!("cannot build {service}: there is no {}", path.display()))
                .at(span, "its Dockerfile")
                .hint("mend `dockerfile`; it starts at the context")
        }
        ServiceProblem::NothingToBuild { dockerfile } => Words::new(format!(
            "cannot build {service}: there is neither {} nor a Cargo workspace around its context",
            dockerfile.display()
        ))
        .at(span, "")
        .hint("mend `context` or `dockerfile`"),
        ServiceProblem::NoBinary { workspace, tried, nearest, known } => {
            let tried: Vec<String> = tried.iter().map(|name| format!("`{name}`")).collect();
            let words = Words::new(format!(
                "cannot build {service}: {} has no binary {}",
                workspace.display(),
                tried.join(" or ")
            ));
            words.at(span, did_you_mean(nearest.as_deref())).hint(match &known[..] {
                [] => "add src/main.rs to a package of the workspace".to_owned(),
                known => format!("set `target` to one of {}", known.join(", ")),
            })
        }
        ServiceProblem::Platform { text } => {
            Words::new(format!("cannot build {service}: `{text}` is no platform"))
                .at(span, "expected os/architecture, as in linux/amd64")
        }
        ServiceProblem::Key { key, value, why } => {
            Words::new(format!("cannot build {service}: its `{key}` can't be `{value}`"))
                .at(span, why.clone())
                .hint(match *key {
                    "secrets" => "set the variable, or add it to .env; or mend the file's name".to_owned(),
                    "ssh" => "start ssh-agent, or name a socket".to_owned(),
                    key => format!("mend `{key}`"),
                })
        }
    }
}

pub(super) fn needs_docker(services: &[(String, String)]) -> Words {
    let names: Vec<&str> = services.iter().map(|(name, _)| name.as_str()).collect();
    let verb = if names.len() == 1 { "needs" } else { "need" };
    let words = Words::new(format!("{} {verb} an engine of Docker's", names.join(", ")));
    let words = services.iter().fold(words, |words, (name, why)| words.note(format!("{name}: {why}")));
    words.hint("leave `--engine embedded` out, or name the services that can be built on this machine")
}
