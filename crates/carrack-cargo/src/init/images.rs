//! Which images a Dockerfile starts from: the one that compiles, with a pinned Rust, and those that the services start
//! from, of the same Debian release or a newer one.

use crate::config::ServiceConfig;
use crate::plan::CargoPlan;

use super::{InitError, Surroundings};

/// Debian releases, from old to new, with their numbers.
const RELEASES: &[(&str, u8)] =
    &[("stretch", 9), ("buster", 10), ("bullseye", 11), ("bookworm", 12), ("trixie", 13), ("forky", 14)];
/// The release that is taken if nothing names one.
const RELEASE: &str = "bookworm";

/// What a service's stage starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) image: String,
    /// Whether it has a shell and apt-get. What has not gets the libraries as files.
    pub(super) is_debian: bool,
    /// Whether it has libc and its loader.
    pub(super) has_libc: bool,
}

/// The image that compiles: the configured one, else the official one with this workspace's Rust.
pub(super) fn builder(plan: &CargoPlan, around: &Surroundings) -> Result<String, InitError> {
    let configured = &plan.workspace.builder;
    if configured != "host" {
        let (name, tag) = split(configured);
        if tag.is_some_and(|tag| tag.contains("alpine")) || name.ends_with("alpine") {
            return Err(InitError::NotDebian { image: configured.clone() });
        }
        if name.ends_with("rust") && !configured.contains('@') && !tag.is_some_and(names_version) {
            return Err(InitError::Unpinned { image: configured.clone() });
        }
        return Ok(configured.clone());
    }
    let channel = around.channel.as_deref();
    let version = channel
        .filter(|channel| names_version(channel))
        .or_else(|| channel.is_none().then_some(plan.rust_version.as_deref()).flatten())
        .or_else(|| {
            channel.is_none_or(|channel| channel == "stable").then_some(around.rustc_release.as_str())
        })
        .filter(|version| names_version(version) && !version.contains('-'));
    match version {
        Some(version) => Ok(format!("rust:{version}-slim-{RELEASE}")),
        None => {
            Err(InitError::NoOfficialImage { channel: channel.unwrap_or(&around.rustc_release).to_owned() })
        }
    }
}

/// What a service starts from: the configured image, else Debian's small one of the builder's release.
pub(super) fn base(service: &str, config: &ServiceConfig, builder: &str) -> Result<Base, InitError> {
    let built_on = release(builder);
    let image = match config.base.as_deref() {
        None | Some("closure") => {
            format!("debian:{}-slim", built_on.map_or(RELEASE, |release| RELEASES[release].0))
        }
        Some(image) => image.to_owned(),
    };
    if let (Some(built_on), Some(runs_on)) = (built_on, release(&image))
        && runs_on < built_on
    {
        return Err(InitError::OlderBase {
            service: service.to_owned(),
            image,
            release: RELEASES[runs_on].0,
            builder: builder.to_owned(),
            builder_release: RELEASES[built_on].0,
        });
    }
    let (name, _) = split(&image);
    let is_debian = !image.contains("distroless") && image != "scratch" && {
        let name = name.rsplit('/').next().unwrap_or(name);
        name.contains("debian") || name.contains("ubuntu") || release(&image).is_some()
    };
    let has_libc = image != "scratch" && !name.ends_with("/static") && !name.contains("static-debian");
    Ok(Base { image, is_debian, has_libc })
}

/// The place in [`RELEASES`] of the release that an image's name or tag has in it.
fn release(image: &str) -> Option<usize> {
    let image = image.split('@').next().unwrap_or(image);
    RELEASES.iter().position(|(name, number)| {
        image.contains(name)
            || image.contains(&format!("debian{number}"))
            || image.contains(&format!("debian:{number}"))
    })
}

/// Name and tag of an image.
fn split(image: &str) -> (&str, Option<&str>) {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

/// Whether a tag or channel begins with a version's number: `1.95`, `1.95.0-slim`; `1` would move.
fn names_version(text: &str) -> bool {
    let mut parts = text.split(['.', '-']);
    let mut number = || parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
    number() && number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found_in_names() {
        let name = |image| release(image).map(|place| RELEASES[place].0);
        assert_eq!(name("rust:1.95-slim-trixie"), Some("trixie"));
        assert_eq!(name("gcr.io/distroless/cc-debian12"), Some("bookworm"));
        assert_eq!(name("gcr.io/distroless/cc-debian12:nonroot@sha256:abc"), Some("bookworm"));
        assert_eq!(name("debian:11-slim"), Some("bullseye"));
        assert_eq!(name("registry.example/base:7"), None);
    }

    #[test]
    fn an_older_base_is_refused() {
        let config = |image: &str| ServiceConfig { base: Some(image.to_owned()), ..ServiceConfig::default() };
        let base = |image, builder| base("app", &config(image), builder);
        assert!(matches!(
            base("debian:bullseye-slim", "rust:1.95-slim-bookworm"),
            Err(InitError::OlderBase { release: "bullseye", builder_release: "bookworm", .. })
        ));
        assert!(base("debian:trixie-slim", "rust:1.95-slim-bookworm").unwrap().is_debian);
        assert!(!base("gcr.io/distroless/cc-debian12", "rust:1.95-slim-bookworm").unwrap().is_debian);
        assert!(!base("scratch", "rust:1.95").unwrap().has_libc);
        assert_eq!(base("closure", "rust:1.95-slim-trixie").unwrap().image, "debian:trixie-slim");
    }

    #[test]
    fn versions_are_pinned_to_the_minor_at_least() {
        for pinned in ["1.95", "1.95.0", "1.95-slim", "1.95.0-slim-bookworm"] {
            assert!(names_version(pinned), "{pinned}");
        }
        for moving in ["latest", "1", "1-slim", "slim", "stable", "nightly-2026-01-01", ""] {
            assert!(!names_version(moving), "{moving}");
        }
    }
}
