//! Words for what goes wrong with Docker's engines and their clients.

use carrack_buildkit::{BuildKitError, Tried, Why};

use super::{Words, code, io_hint};

pub(super) fn exit_code(error: &BuildKitError) -> u8 {
    match error {
        BuildKitError::StepFailed { .. } => code::BUILD_FAILED,
        BuildKitError::Unsupported { .. }
        | BuildKitError::NotThere { .. }
        | BuildKitError::Dockerfile { .. } => code::USAGE,
        BuildKitError::NoClient { .. }
        | BuildKitError::NoBuildctl { .. }
        | BuildKitError::Start { .. }
        | BuildKitError::Io { .. } => code::MACHINE,
        BuildKitError::Unreachable { .. } | BuildKitError::Refused { .. } | BuildKitError::NoImage { .. } => {
            code::ENGINE
        }
        BuildKitError::Cancelled { signal } => code::SIGNAL + u8::try_from(*signal).unwrap_or(0),
    }
}

pub(super) fn words(error: &BuildKitError) -> Words {
    match error {
        BuildKitError::NoClient { tried } => no_client(tried),
        BuildKitError::NoBuildctl { address } => {
            Words::new(format!("cannot build at {address}: buildctl is not installed")).hint(format!(
                "install buildctl, or let buildx know the place: \
                    `docker buildx create --name there --driver remote {address}`, \
                    then `carrack build --engine buildkit --builder there`"
            ))
        }
        BuildKitError::Unsupported { client, what, said: None } => {
            Words::new(format!("{client} cannot do this: {what}"))
                .hint("install docker buildx, or leave that out")
        }
        BuildKitError::Unsupported { client, said: Some(said), .. } => said
            .lines()
            .fold(Words::new(format!("{client} cannot do this")), Words::note)
            .hint("use a builder that can (`docker buildx create --use`), or leave that out"),
        BuildKitError::NotThere { build, what, path } => {
            Words::new(format!("cannot build {build}: its {what} {} is not there", path.display()))
                .hint("check the path")
        }
        BuildKitError::Start { program, source } => Words::new(format!("cannot run {}", program.display()))
            .note(source.to_string())
            .hint("check the program"),
        BuildKitError::Io { action, path, source } => {
            Words::new(format!("cannot {action} {}", path.display()))
                .note(source.to_string())
                .hint(io_hint(source))
        }
        BuildKitError::Unreachable { client, said } => {
            let words =
                said.lines().fold(Words::new(format!("the engine does not answer {client}")), Words::note);
            match said.contains("permission denied") {
                true => words.hint("join the group docker, or run it as root"),
                false if said.contains("no builder") => {
                    words.hint("run `docker buildx ls` to see the builders")
                }
                false => words.hint(
                    "start Docker, or point DOCKER_HOST at one that runs; `carrack doctor` looks further",
                ),
            }
        }
        BuildKitError::Refused { build, step, said, place } => {
            let at = step.as_ref().map(|step| format!(" at `{step}`")).unwrap_or_default();
            let message = format!("cannot build {build}: the engine gave up{at}");
            let words = said.lines().fold(Words::new(message), Words::note);
            let words = match place {
                Some(span) => words.at(span, ""),
                None => words,
            };
            words.hint(match is_network(said) {
                true => "check the network and the registry's name",
                false => "see what the engine says, and its log",
            })
        }
        BuildKitError::Dockerfile { build, said, place } => {
            let words = Words::new(format!("the Dockerfile of {build} makes no sense"));
            match place {
                Some(span) => words.at(span, said.clone()),
                None => said.lines().fold(words, Words::note),
            }
        }
        BuildKitError::StepFailed { build, step, exit, said, place } => {
            let how = exit.map(|exit| format!("exit {exit}"));
            let instruction = step.split_once("] ").map_or(step.as_str(), |(_, instruction)| instruction);
            let verb = instruction.split(' ').next().unwrap_or_default();
            let failed = match &how {
                Some(how) => format!("{build} does not build: {verb} failed ({how})"),
                None => format!("{build} does not build: {verb} failed"),
            };
            let words = Words::new(failed);
            match (place, how) {
                (Some(span), Some(how)) => words.at(span, how),
                (Some(span), None) => words.at(span, said.clone()),
                (None, Some(_)) => words.note(format!("in {step}")),
                (None, None) => words.note(format!("in {step}")).note(said.clone()),
            }
        }
        BuildKitError::NoImage { build, client } => {
            Words::new(format!("{client} does not say which image it made of {build}"))
                .hint("update docker buildx")
        }
        BuildKitError::Cancelled { signal } => Words::new(format!("stopped by signal {signal}")),
    }
}

fn is_network(said: &str) -> bool {
    ["dial tcp", "no such host", "i/o timeout", "connection refused", "TLS handshake"]
        .iter()
        .any(|text| said.contains(text))
}

fn no_client(tried: &[Tried]) -> Words {
    let words = Words::new("no docker client on this machine can drive BuildKit");
    let words = tried.iter().fold(words, |words, Tried { program, why }| {
        let program = program.display();
        words.note(match why {
            Why::NotDocker(said) if said.is_empty() => format!("{program}: does not say its version"),
            Why::NotDocker(said) => format!("{program}: is no docker client ({said})"),
            Why::NoBuildx { version } => {
                format!("{program}: version {version} needs the plugin buildx, which is missing")
            }
            Why::NoBuilders { version } => {
                format!(
                    "{program}: version {version} has no plugin buildx, which alone knows builders by name"
                )
            }
            Why::TooOld { version } => format!("{program}: version {version} has no BuildKit"),
        })
    });
    let has_docker = tried.iter().any(|tried| !matches!(tried.why, Why::NotDocker(_)));
    words.hint(match has_docker {
        true => {
            "install the plugin: `apt-get install docker-buildx`, or docker-buildx-plugin from docker.com"
        }
        false => "install Docker, or build with `--engine embedded`, which needs none",
    })
}
