//! Variables, and what `ARG` in front of the first `FROM` and the request make of them.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use carrack_base::nearest;

use super::UnusedArgument;
use super::error::{LowerError, Refusal};
use super::request::{Request, proxy};
use crate::dockerfile::{Dockerfile, Kind, Text, expand};

/// Variables in the order in which they were set first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(Vec<(String, String)>);

impl Variables {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// A text with these variables.
    pub(crate) fn expand(&self, text: &str, escape: char) -> Result<String, Refusal> {
        Ok(expand(text, escape, &|name| self.get(name).map(str::to_owned))?)
    }
}

/// What holds for the whole Dockerfile.
#[derive(Debug)]
pub(super) struct Globals {
    /// What `FROM` lines see, and what an `ARG` without a default takes over.
    pub(super) variables: Variables,
    /// The time that everything new gets, if one is given.
    pub(super) epoch: Option<SystemTime>,
}

impl Globals {
    /// Seconds since the epoch at which the image says it was made.
    pub(super) fn created(&self) -> u64 {
        let since = self.epoch.and_then(|epoch| epoch.duration_since(SystemTime::UNIX_EPOCH).ok());
        since.map_or(0, |since| since.as_secs())
    }
}

impl Globals {
    pub(super) fn read<E>(dockerfile: &Dockerfile, request: &Request) -> Result<Self, LowerError<E>> {
        syntax(dockerfile)?;
        let mut variables = predefined(dockerfile, request);
        for instruction in &dockerfile.arguments {
            let Kind::Arg(arguments) = &instruction.kind else { continue };
            for argument in arguments {
                let value = match (request.build_args.get(argument.name.as_str()), &argument.value) {
                    (Some(value), _) => value.clone(),
                    (None, Some(text)) => variables
                        .expand(text, dockerfile.escape)
                        .map_err(|refusal| LowerError::at(dockerfile, text.range(), refusal))?,
                    (None, None) => continue,
                };
                variables.set(&argument.name, &value);
            }
        }
        let said = request.build_args.get(EPOCH).map(String::as_str);
        let said = said.or_else(|| variables.get(EPOCH)).filter(|said| !said.is_empty());
        let seconds = match said {
            Some(said) => Some(said.parse::<u32>().map(u64::from).map_err(|_| {
                LowerError::at(dockerfile, 0..0, Refusal::BadEpoch { found: said.to_owned() })
            })?),
            None => request.source_date_epoch,
        };
        let epoch =
            seconds.and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        Ok(Self { variables, epoch })
    }
}

const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What there is of each platform.
const PLATFORM_PARTS: [&str; 5] = ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT"];

/// Whether a variable is there without anybody having to set it.
pub(super) fn is_predefined(name: &str) -> bool {
    let mut parts = ["BUILD", "TARGET"].iter().filter_map(|prefix| name.strip_prefix(prefix));
    parts.any(|part| part == "STAGE" || PLATFORM_PARTS.contains(&part))
}

/// Variables that are there without being declared, in front of the first `FROM`.
fn predefined(dockerfile: &Dockerfile, request: &Request) -> Variables {
    let mut variables = Variables::default();
    let both = [("BUILD", &request.build_platform), ("TARGET", request.target_platform())];
    for (prefix, platform) in both {
        let variant = platform.variant.clone().unwrap_or_default();
        let values = [
            platform.to_string(),
            platform.os.clone(),
            String::new(),
            platform.architecture.clone(),
            variant,
        ];
        for (part, value) in PLATFORM_PARTS.iter().zip(values) {
            variables.set(&format!("{prefix}{part}"), &value);
        }
    }
    let last = dockerfile.stages.last().and_then(|stage| stage.from.name.as_ref());
    let stage = request.target.clone().or_else(|| last.map(|name| name.to_ascii_lowercase()));
    variables.set("TARGETSTAGE", stage.as_deref().unwrap_or("default"));
    for (name, value) in &request.build_args {
        if variables.get(name).is_some() {
            variables.set(name, value);
        }
    }
    variables
}

/// Refuses a frontend that is none of Docker's.
fn syntax<E>(dockerfile: &Dockerfile) -> Result<(), LowerError<E>> {
    let Some(syntax) = dockerfile.directive("syntax") else { return Ok(()) };
    let image = syntax.split_ascii_whitespace().next().unwrap_or_default();
    let plain = image.strip_prefix("docker.io/").or_else(|| image.strip_prefix("index.docker.io/"));
    let plain = plain.unwrap_or(image);
    let name = plain.split_once([':', '@']).map_or(plain, |(name, _)| name);
    if ["docker/dockerfile", "docker/dockerfile-upstream"].contains(&name) {
        return Ok(());
    }
    Err(LowerError::at(dockerfile, syntax.range(), Refusal::ForeignSyntax { image: image.to_owned() }))
}

/// Build arguments that no `ARG` asks for; `declared` are those of triggers.
pub(super) fn unused(
    dockerfile: &Dockerfile,
    request: &Request,
    declared: BTreeSet<String>,
) -> Vec<UnusedArgument> {
    let stages = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let instructions = dockerfile.arguments.iter().chain(stages);
    let names = instructions.filter_map(|instruction| match &instruction.kind {
        Kind::Arg(arguments) => Some(arguments.iter().map(|argument| argument.name.to_string())),
        _ => None,
    });
    let declared: BTreeSet<String> = names.flatten().chain(declared).collect();
    let platforms = predefined(dockerfile, request);
    let is_used = |name: &str| {
        declared.contains(name)
            || proxy(name).is_some()
            || name.starts_with("BUILDKIT_")
            || name == EPOCH
            || platforms.get(name).is_some()
    };
    let unused = request.build_args.keys().filter(|name| !is_used(name));
    unused
        .map(|name| UnusedArgument {
            name: name.clone(),
            nearest: nearest(name, declared.iter().map(String::as_str)).map(str::to_owned),
        })
        .collect()
}

/// A flag's value with its variables, and its place.
pub(super) fn expand_flag(
    variables: &Variables,
    flag: &Option<Text>,
    escape: char,
) -> Result<Option<String>, Refusal> {
    let value = flag.as_ref().map(|text| variables.expand(text, escape)).transpose()?;
    Ok(value.filter(|value| !value.is_empty()))
}
