//! The checks that Docker's own builder makes, under Docker's names.
//!
//! They are about Dockerfiles of all kinds and know nothing of Rust; [`DOCKER_CHECKS`] is the table of all of them. Each has
//! a page at Docker ([`DockerCheck::url`]). `# check=skip=A,B;error=true` at the top of the file, or in the comment above an
//! instruction, says which of them are made and whether a finding is an error; those that Docker calls experimental are
//! made if `experimental=A,B` asks for them.
//!
//! What a base image says (its variables, its platform) is known if [`DockerFacts`] has it; without it nothing that depends
//! on it is said. Reads no file. Can't fail: what can't be expanded has no findings, and is refused when it is built.

mod files;
mod names;
mod scope;
mod variables;

use std::collections::BTreeMap;
use std::ops::Range;

use carrack_base::Span;
use carrack_graph::ResolvedImage;

use crate::dockerfile::{Comment, Dockerfile};
use crate::dockerignore::Dockerignore;
use crate::lower::{self, Request};
use scope::Walk;

/// One check of Docker's.
#[derive(Debug)]
pub struct DockerCheck {
    /// As Docker writes it.
    pub name: &'static str,
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// Whether it is made only where it is asked for.
    pub experimental: bool,
    /// Whether it is about what is in a stage, and not about how the file is written.
    in_stages: bool,
    find: fn(&Walk<'_>) -> Vec<Found>,
}

/// What is known besides the Dockerfile and what is asked of it.
#[derive(Debug, Clone, Default)]
pub struct DockerFacts {
    /// What is left out of the main context; `None` if nothing says so.
    pub ignore: Option<Dockerignore>,
    /// Base images by their whole names (`docker.io/library/alpine:latest`).
    pub images: BTreeMap<String, ResolvedImage>,
    /// Whether what is in a stage counts only if the wanted stage needs it, as for a build. If a stage is asked for by name it is
    /// so in any case.
    pub only_needed: bool,
}

/// What Docker's checks found.
#[derive(Debug, Clone, Default)]
pub struct DockerReport {
    /// By place.
    pub findings: Vec<DockerFinding>,
    /// Whether the file says that any finding is an error.
    pub are_errors: bool,
}

/// A place where a check of Docker's found something.
#[derive(Debug, Clone)]
pub struct DockerFinding {
    /// Which check.
    pub check: &'static DockerCheck,
    /// Where.
    pub span: Span,
    /// What is wrong there.
    pub mark: String,
}

/// What a rule found.
#[derive(Debug)]
struct Found {
    range: Range<usize>,
    mark: String,
}

impl Found {
    fn at(range: Range<usize>, mark: impl Into<String>) -> Self {
        Self { range, mark: mark.into() }
    }
}

impl DockerCheck {
    /// Its page.
    pub fn url(&self) -> String {
        let mut page = String::new();
        let letters: Vec<char> = self.name.chars().collect();
        for (index, letter) in letters.iter().enumerate() {
            let after_small = index > 0 && letters[index - 1].is_ascii_lowercase();
            let before_small = letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
            if letter.is_ascii_uppercase() && index > 0 && (after_small || before_small) {
                page.push('-');
            }
            page.push(letter.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{page}/")
    }
}

/// Everything that Docker's checks find, if `request` is what is asked for.
///
/// Source: Dockerfile frontend 1.x, "Build checks".
pub fn check_docker(dockerfile: &Dockerfile, request: &Request, facts: &DockerFacts) -> DockerReport {
    let directive = dockerfile.directive("check").map_or("", |value| value.as_str());
    let options = Options::default().with(directive);
    let walk = Walk::new(dockerfile, request, facts);
    let needed = match facts.only_needed || request.target.is_some() {
        true => lower::needed_stages(dockerfile, request),
        false => None,
    };
    let counts = |check: &DockerCheck, at: usize| {
        let after = dockerfile.stages.iter().rposition(|stage| stage.range.start <= at);
        !check.in_stages || needed.as_ref().zip(after).is_none_or(|(needed, stage)| needed.contains(&stage))
    };
    let mut findings = Vec::new();
    for check in DOCKER_CHECKS {
        let found = (check.find)(&walk).into_iter().filter(|found| counts(check, found.range.start));
        for Found { range, mark } in found {
            let comments = comments(dockerfile, range.start).into_iter();
            let own = comments.filter_map(|comment| comment.text.strip_prefix("check="));
            if own.fold(options.clone(), |options, text| options.with(text)).makes(check) {
                findings.push(DockerFinding { check, span: dockerfile.span(range), mark });
            }
        }
    }
    findings.sort_by_key(|finding| (finding.span.range.start, finding.check.name));
    DockerReport { are_errors: options.error && !findings.is_empty(), findings }
}

/// `skip=A,B;experimental=C;error=true`.
#[derive(Debug, Clone, Default)]
struct Options {
    skip: Vec<String>,
    experimental: Vec<String>,
    error: bool,
}

impl Options {
    fn with(mut self, text: &str) -> Self {
        for part in text.split(';') {
            let Some((key, value)) = part.split_once('=') else { continue };
            let names = value.split(',').map(|name| name.trim().to_owned());
            match key.trim() {
                "skip" => self.skip.extend(names),
                "experimental" => self.experimental.extend(names),
                "error" => {
                    self.error = ["true", "1", "t"].contains(&value.trim().to_ascii_lowercase().as_str())
                }
                _ => {}
            }
        }
        self
    }

    fn makes(&self, check: &DockerCheck) -> bool {
        let has = |names: &[String]| names.iter().any(|name| name == "all" || name == check.name);
        if check.experimental { has(&self.experimental) } else { !has(&self.skip) }
    }
}

/// The comments directly above the instruction that holds a place.
fn comments(dockerfile: &Dockerfile, at: usize) -> Vec<&Comment> {
    let stages = dockerfile.stages.iter().map(|stage| (&stage.range, &stage.comments));
    let instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let instructions = dockerfile.arguments.iter().chain(instructions);
    let all = stages.chain(instructions.map(|instruction| (&instruction.range, &instruction.comments)));
    all.filter(|(range, _)| range.contains(&at)).flat_map(|(_, comments)| comments).collect()
}

/// Every check there is.
pub static DOCKER_CHECKS: &[DockerCheck] = &[
    DockerCheck {
        name: "StageNameCasing",
        title: "a stage's name has capitals",
        experimental: false,
        in_stages: false,
        find: names::stage_name_casing,
    },
    DockerCheck {
        name: "FromAsCasing",
        title: "FROM and AS are not written alike",
        experimental: false,
        in_stages: false,
        find: names::from_as_casing,
    },
    DockerCheck {
        name: "NoEmptyContinuation",
        title: "an empty line is in the middle of an instruction",
        experimental: false,
        in_stages: false,
        find: names::no_empty_continuation,
    },
    DockerCheck {
        name: "ConsistentInstructionCasing",
        title: "an instruction is not written like most others",
        experimental: false,
        in_stages: false,
        find: names::consistent_instruction_casing,
    },
    DockerCheck {
        name: "DuplicateStageName",
        title: "two stages have the same name",
        experimental: false,
        in_stages: false,
        find: names::duplicate_stage_name,
    },
    DockerCheck {
        name: "ReservedStageName",
        title: "a stage's name means something else already",
        experimental: false,
        in_stages: false,
        find: names::reserved_stage_name,
    },
    DockerCheck {
        name: "JSONArgsRecommended",
        title: "a shell stands between signals and the program",
        experimental: false,
        in_stages: true,
        find: names::json_args_recommended,
    },
    DockerCheck {
        name: "MaintainerDeprecated",
        title: "MAINTAINER is deprecated",
        experimental: false,
        in_stages: false,
        find: names::maintainer_deprecated,
    },
    DockerCheck {
        name: "UndefinedArgInFrom",
        title: "FROM has a variable that no ARG declares",
        experimental: false,
        in_stages: false,
        find: variables::undefined_arg_in_from,
    },
    DockerCheck {
        name: "WorkdirRelativePath",
        title: "a working folder depends on the base image's",
        experimental: false,
        in_stages: true,
        find: files::workdir_relative_path,
    },
    DockerCheck {
        name: "UndefinedVar",
        title: "a variable is used that nothing defines",
        experimental: false,
        in_stages: true,
        find: variables::undefined_var,
    },
    DockerCheck {
        name: "MultipleInstructionsDisallowed",
        title: "an instruction counts for nothing",
        experimental: false,
        in_stages: true,
        find: names::multiple_instructions_disallowed,
    },
    DockerCheck {
        name: "LegacyKeyValueFormat",
        title: "name and value are not joined by `=`",
        experimental: false,
        in_stages: true,
        find: names::legacy_key_value_format,
    },
    DockerCheck {
        name: "InvalidBaseImagePlatform",
        title: "the base image is for other machines",
        experimental: false,
        in_stages: true,
        find: variables::invalid_base_image_platform,
    },
    DockerCheck {
        name: "RedundantTargetPlatform",
        title: "the target's platform is the default",
        experimental: false,
        in_stages: false,
        find: variables::redundant_target_platform,
    },
    DockerCheck {
        name: "SecretsUsedInArgOrEnv",
        title: "a secret is in ARG or ENV",
        experimental: false,
        in_stages: true,
        find: variables::secrets_used_in_arg_or_env,
    },
    DockerCheck {
        name: "InvalidDefaultArgInFrom",
        title: "the defaults of ARG make no name of an image",
        experimental: false,
        in_stages: false,
        find: variables::invalid_default_arg_in_from,
    },
    DockerCheck {
        name: "FromPlatformFlagConstDisallowed",
        title: "FROM has always the same platform",
        experimental: false,
        in_stages: false,
        find: variables::from_platform_flag_const_disallowed,
    },
    DockerCheck {
        name: "CopyIgnoredFile",
        title: "a file is copied that .dockerignore leaves out",
        experimental: false,
        in_stages: true,
        find: files::copy_ignored_file,
    },
    DockerCheck {
        name: "InvalidDefinitionDescription",
        title: "the comment above does not begin with the name",
        experimental: true,
        in_stages: false,
        find: names::invalid_definition_description,
    },
    DockerCheck {
        name: "ExposeProtoCasing",
        title: "a protocol has capitals",
        experimental: false,
        in_stages: true,
        find: files::expose_proto_casing,
    },
    DockerCheck {
        name: "ExposeInvalidFormat",
        title: "EXPOSE has an address or a port of the host",
        experimental: false,
        in_stages: true,
        find: files::expose_invalid_format,
    },
];
