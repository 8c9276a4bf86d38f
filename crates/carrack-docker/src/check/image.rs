//! What is known of public images by their names. What is not known is never guessed.

/// An image's name in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// Without `docker.io/library/`.
    pub(super) name: String,
    pub(super) tag: Option<String>,
    pub(super) has_digest: bool,
}

/// The C library of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Libc {
    /// With its version.
    Glibc(u32, u32),
    /// Of an unknown version.
    SomeGlibc,
    Musl,
    /// No loader at all.
    None,
    Unknown,
}

const DEBIAN: [(&str, (u32, u32)); 4] =
    [("buster", (2, 28)), ("bullseye", (2, 31)), ("bookworm", (2, 36)), ("trixie", (2, 41))];
const NUMBERS: [(&str, (u32, u32)); 4] = [("10", (2, 28)), ("11", (2, 31)), ("12", (2, 36)), ("13", (2, 41))];
const UBUNTU: [(&str, (u32, u32)); 8] = [
    ("18.04", (2, 27)),
    ("bionic", (2, 27)),
    ("20.04", (2, 31)),
    ("focal", (2, 31)),
    ("22.04", (2, 35)),
    ("jammy", (2, 35)),
    ("24.04", (2, 39)),
    ("noble", (2, 39)),
];

impl Image {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.contains(['$', ' ']) {
            return None;
        }
        let (rest, has_digest) = match text.split_once('@') {
            Some((rest, _)) => (rest, true),
            None => (text, false),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (rest, None),
        };
        let known = ["docker.io/library/", "index.docker.io/library/", "docker.io/", "library/"];
        let name = known.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
        Some(Self { name: name.to_owned(), tag, has_digest })
    }

    fn tag(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// The official image of Rust.
    pub(super) fn is_rust(&self) -> bool {
        [
            "rust",
            "rustlang/rust",
            "ghcr.io/rust-lang/rust",
            "public.ecr.aws/docker/library/rust",
            "mirror.gcr.io/library/rust",
        ]
        .contains(&self.name.as_str())
    }

    /// Whether it has Rust where the official image has it.
    pub(super) fn is_based_on_rust(&self) -> bool {
        self.is_rust() || self.name == "lukemathwalker/cargo-chef"
    }

    /// The version of Rust in the tag, as written, and where it is in the tag.
    pub(super) fn rust_version(&self) -> Option<&str> {
        let part = self.tag.as_deref()?.split('-').next()?;
        part.starts_with(|first: char| first.is_ascii_digit()).then_some(part)
    }

    /// Whether the tag says at least major and minor version.
    pub(super) fn names_a_version(&self) -> bool {
        self.rust_version().is_some_and(|version| version.contains('.'))
    }

    pub(super) fn libc(&self) -> Libc {
        let tag = self.tag();
        let of = |table: &[(&str, (u32, u32))]| {
            let parts: Vec<&str> = tag.split('-').collect();
            let found = table.iter().find(|(suite, _)| parts.contains(suite));
            found.map(|(_, (major, minor))| Libc::Glibc(*major, *minor))
        };
        match self.name.as_str() {
            "scratch" => Libc::None,
            "alpine" => Libc::Musl,
            "debian" => {
                let numbered = |(number, version): &(&'static str, (u32, u32))| {
                    let release = tag.split(['-', '.']).next() == Some(number);
                    release.then_some(Libc::Glibc(version.0, version.1))
                };
                of(&DEBIAN).or_else(|| NUMBERS.iter().find_map(numbered)).unwrap_or(Libc::SomeGlibc)
            }
            "ubuntu" => of(&UBUNTU).unwrap_or(Libc::SomeGlibc),
            _ if self.is_based_on_rust() => {
                if tag.split('-').any(|part| part.starts_with("alpine")) {
                    return Libc::Musl;
                }
                of(&DEBIAN).unwrap_or_else(|| self.default_suite())
            }
            name if name.starts_with("gcr.io/distroless/") => {
                let image = name.trim_start_matches("gcr.io/distroless/");
                if image.starts_with("static") {
                    return Libc::None;
                }
                let number = |(number, version): &(&'static str, (u32, u32))| {
                    image.ends_with(&format!("debian{number}")).then_some(Libc::Glibc(version.0, version.1))
                };
                NUMBERS.iter().find_map(number).unwrap_or(Libc::SomeGlibc)
            }
            _ => Libc::Unknown,
        }
    }

    /// The official image's suite where the tag says none: Debian 13 since August 2025, in the middle of 1.89.
    fn default_suite(&self) -> Libc {
        let Some(version) = self.rust_version().and_then(version) else {
            return if self.is_rust() { Libc::Glibc(2, 41) } else { Libc::SomeGlibc };
        };
        match version {
            (1, 90..) => Libc::Glibc(2, 41),
            (1, 74..=88) => Libc::Glibc(2, 36),
            (1, 58..=69) => Libc::Glibc(2, 31),
            _ => Libc::SomeGlibc,
        }
    }

    /// Whether it lacks certificates of authorities, for certain.
    pub(super) fn lacks_certificates(&self) -> bool {
        ["scratch", "debian", "ubuntu", "busybox"].contains(&self.name.as_str())
    }

    /// Whether it starts as root, for certain.
    pub(super) fn starts_as_root(&self) -> bool {
        let plain = [
            "scratch",
            "debian",
            "ubuntu",
            "alpine",
            "busybox",
            "fedora",
            "rockylinux",
            "almalinux",
            "amazonlinux",
        ];
        let distroless = self.name.starts_with("gcr.io/distroless/") && !self.tag().contains("nonroot");
        plain.contains(&self.name.as_str()) || self.is_rust() || distroless
    }
}

/// Major and minor of `1.95`, `1.95.0`, and `1`'s nothing.
pub(super) fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_libraries_are_known_by_name() {
        for (name, libc) in [
            ("rust:1.95-slim-bookworm", Libc::Glibc(2, 36)),
            ("docker.io/library/rust:1.95", Libc::Glibc(2, 41)),
            ("rust", Libc::Glibc(2, 41)),
            ("rust:1.80-slim", Libc::Glibc(2, 36)),
            ("rust:1.89", Libc::SomeGlibc),
            ("rust:1.95-alpine3.22", Libc::Musl),
            ("lukemathwalker/cargo-chef:latest-rust-1.95-bookworm", Libc::Glibc(2, 36)),
            ("debian:bullseye-slim", Libc::Glibc(2, 31)),
            ("debian:12.5-slim", Libc::Glibc(2, 36)),
            ("debian:stable-slim", Libc::SomeGlibc),
            ("ubuntu:24.04", Libc::Glibc(2, 39)),
            ("gcr.io/distroless/cc-debian12:nonroot", Libc::Glibc(2, 36)),
            ("gcr.io/distroless/static-debian12", Libc::None),
            ("scratch", Libc::None),
            ("localhost:5000/own/rust:1.2", Libc::Unknown),
        ] {
            assert_eq!(Image::parse(name).unwrap().libc(), libc, "{name}");
        }
        assert_eq!(Image::parse("rust:$V"), None);
        assert_eq!(Image::parse("localhost:5000/rust").unwrap().tag, None);
    }
}
