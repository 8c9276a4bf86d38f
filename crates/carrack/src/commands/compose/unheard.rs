//! What services ask for that their builder can't do: a word about each, and the rest of what they ask.
//!
//! | key | a Dockerfile, built here | a Cargo service | Docker's engines |
//! | --- | --- | --- | --- |
//! | `cache_from`, `cache_to` | as `--cache-from` and `--cache-to` of `carrack build`; a kind that Carrack does not have is left out | the same | handed on |
//! | `privileged`, `entitlements` | both allow what is allowed here anyway (`RUN --security=insecure`, `RUN --network=host`); `device` is not heard | not heard | handed on |
//! | `provenance`, `sbom` | not heard | not heard | not heard |
//! | `isolation` | not heard | not heard | not heard |
//! | `secrets`, `ssh`, `network`, `extra_hosts`, `shm_size`, `ulimits` | obeyed | not heard: cargo runs in a sandbox of Carrack's | handed on |

use carrack_docker::compose::{Build, Service};
use carrack_remote::{Location, LocationError};

use crate::failure::chain_in_one_line;
use crate::shared::without_mode;

/// Rights that every step here can use.
const GRANTED: [&str; 2] = ["security.insecure", "network.host"];

/// What builds a service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Builder {
    Dockerfile,
    Cargo,
    Docker,
}

/// The keys that say something to nobody.
pub(super) fn keys(build: &Build, builder: Builder) -> Vec<&'static str> {
    let is_asked = |said: &Option<String>| {
        said.as_deref().is_some_and(|said| !matches!(said, "false" | "disabled=true" | "default" | ""))
    };
    let device = build.entitlements.iter().any(|right| !GRANTED.contains(&right.as_str()));
    let of_cargo = builder == Builder::Cargo;
    let unheard = [
        ("secrets", of_cargo && !build.secrets.is_empty()),
        ("ssh", of_cargo && !build.ssh.is_empty()),
        ("network", of_cargo && build.network.is_some()),
        ("extra_hosts", of_cargo && !build.extra_hosts.is_empty()),
        ("shm_size", of_cargo && build.shm_size.is_some()),
        ("ulimits", of_cargo && !build.ulimits.is_empty()),
        ("privileged", of_cargo && build.privileged),
        (
            "entitlements",
            (of_cargo && !build.entitlements.is_empty()) || (builder == Builder::Dockerfile && device),
        ),
        ("provenance", is_asked(&build.provenance)),
        ("sbom", is_asked(&build.sbom)),
        ("isolation", is_asked(&build.isolation)),
    ];
    unheard.into_iter().filter(|(_, unheard)| *unheard).map(|(key, _)| key).collect()
}

/// The caches of a service that Carrack knows, and what it says of the others.
#[derive(Default)]
pub(super) struct Caches {
    pub(super) from: Vec<String>,
    pub(super) to: Vec<String>,
    pub(super) unknown: Vec<String>,
}

impl Caches {
    /// Adds a service's.
    pub(super) fn add(&mut self, service: &Service) {
        let Some(build) = &service.build else { return };
        let Self { from, to, unknown } = self;
        for (key, texts, known) in
            [("cache_from", &build.cache_from, from), ("cache_to", &build.cache_to, to)]
        {
            for text in texts {
                match without_mode(text).parse::<Location>() {
                    Ok(_) if known.contains(text) => {}
                    Ok(_) => known.push(text.clone()),
                    Err(error) => {
                        unknown.push(format!(
                            "{}: {key} `{text}` is left out: {}",
                            service.name,
                            why(&error)
                        ));
                    }
                }
            }
        }
    }
}

fn why(error: &LocationError) -> String {
    match error {
        // Compose means BuildKit's own cache in an image by a bare name.
        LocationError::Field { .. } => "a cache needs a `type`: registry, s3 or local".to_owned(),
        error => chain_in_one_line(error),
    }
}
