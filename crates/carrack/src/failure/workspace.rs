//! The words for what is wrong with a workspace: its place, its toolchain, its configuration, its plan.

use carrack_cargo::config::{ConfigError, Level};
use carrack_cargo::init::InitError;
use carrack_cargo::locate::LocateError;
use carrack_cargo::plan::PlanError;
use carrack_cargo::toolchain::{ChosenBy, ToolchainError};

use super::{Words, io_hint, syntax};

pub(super) fn init(error: &InitError) -> Words {
    let words = Words::chain(error);
    let words = Words { message: format!("cannot {}", words.message), ..words };
    match error {
        InitError::NoLockFile { .. } => words.hint("run `cargo generate-lockfile` and commit Cargo.lock"),
        InitError::Unpinned { image } => words
            .note(format!("{image} is another Rust with every release"))
            .hint("name a version, as in `builder = \"rust:1.95-slim-bookworm\"`"),
        InitError::NotDebian { .. } => {
            words.hint("set `builder` to a Debian image, as in \"rust:1.95-slim-bookworm\"")
        }
        InitError::NoOfficialImage { .. } => words.hint(
            "set `builder` to an image that has this toolchain, or name a release in rust-toolchain.toml",
        ),
        InitError::OlderBase { release, builder, builder_release, .. } => words
            .note(format!(
                "{builder} compiles against the libc of {builder_release}, which {release} is older than"
            ))
            .hint(format!("set `base` to an image of {builder_release}, or `builder` to one of {release}")),
        InitError::LineEnd { .. } => {
            words.hint("leave line ends out of it, or build with `--engine embedded`, which takes them")
        }
        InitError::User { .. } => words.hint(
            "mend `user` or `owner` in the configuration; numbers are always possible, as in \"1000:1000\"",
        ),
        InitError::Path { .. } => words.hint("rename it: letters, digits and `_-./+@,=~` are possible"),
        InitError::Template(_) => words.hint("report this with the configuration"),
    }
}

pub(super) fn locate(error: &LocateError) -> Words {
    match error {
        LocateError::NoManifest { start } => {
            Words::new(format!("there is no Cargo.toml in {} or above it", start.display()))
                .hint("run carrack in a Cargo workspace, or name one: `carrack build PATH`")
        }
        LocateError::Unreadable { path, source } => Words::new(format!("cannot read {}", path.display()))
            .note(source.to_string())
            .hint(io_hint(source)),
        LocateError::Syntax { span, message } => syntax(span, message),
    }
}

pub(super) fn toolchain(error: &ToolchainError) -> Words {
    let words = Words::chain(error);
    let words = Words { message: format!("cannot {}", words.message), ..words };
    match error {
        ToolchainError::NotInPath { .. } | ToolchainError::NoDefault { .. } => {
            words.hint("install Rust, or run `rustup default stable`")
        }
        ToolchainError::NotInstalled { channel, chosen_by, .. } => {
            let words = match chosen_by {
                ChosenBy::Environment => words.note("RUSTUP_TOOLCHAIN asks for it"),
                ChosenBy::Override(folder) => {
                    words.note(format!("`rustup override` asks for it in {}", folder.display()))
                }
                ChosenBy::File(file) => words.note(format!("{} asks for it", file.display())),
                ChosenBy::Default => words.note("it is rustup's default"),
            };
            words.hint(format!("run `rustup toolchain install {channel}`"))
        }
        ToolchainError::Incomplete { .. } => words.hint("run `rustup update`"),
        _ => words.hint("run `rustc -vV` and mend what it says"),
    }
}

pub(super) fn configuration(error: &ConfigError) -> Words {
    match error {
        ConfigError::Unreadable { path, source } => Words::new(format!("cannot read {}", path.display()))
            .note(source.to_string())
            .hint(io_hint(source)),
        ConfigError::Syntax { span, message } => syntax(span, message),
        ConfigError::UnknownKey { key, nearest, span } => {
            let mark = nearest.map(|nearest| format!("did you mean `{nearest}`?")).unwrap_or_default();
            Words::new(format!("unknown key `{key}`")).at(span, mark)
        }
        ConfigError::WrongType { key, expected, found, span } => {
            Words::new(format!("`{key}` has the wrong type"))
                .at(span, format!("expected {expected}, found {found}"))
        }
        ConfigError::BadValue { key, why, span } => {
            Words::new(format!("`{key}` makes no sense")).at(span, why)
        }
        ConfigError::WrongLevel { key, belongs, span } => {
            let place = match belongs {
                Level::Workspace => {
                    "[workspace.metadata.carrack], or carrack.toml beside the workspace's Cargo.toml"
                }
                _ => "[package.metadata.carrack], or carrack.toml beside the package's Cargo.toml",
            };
            Words::new(format!("`{key}` stands in the wrong place"))
                .at(span, "")
                .hint(format!("move it to {place}"))
        }
        ConfigError::MissingKey { key, missing, span } => {
            Words::new(format!("`{key}` lacks `{missing}`")).at(span, format!("`{missing}` is missing"))
        }
    }
}

pub(super) fn plan(error: &PlanError) -> Words {
    let near = |nearest: &Option<String>, known: &[String]| match nearest {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => {
            let mut known = known.to_vec();
            known.sort_unstable();
            format!("choose one of {}", known.join(", "))
        }
    };
    match error {
        PlanError::Metadata(_) => Words::chain(error),
        PlanError::Unreadable { path, source } => Words::new(format!("cannot read {}", path.display()))
            .note(source.to_string())
            .hint(io_hint(source)),
        PlanError::Syntax { span, message } => syntax(span, message),
        PlanError::UnknownPackage { name, nearest, known } => {
            Words::new(format!("the workspace has no package `{name}`")).hint(near(nearest, known))
        }
        PlanError::UnknownBinary { name, nearest, known } => {
            Words::new(format!("there is no binary `{name}`")).hint(near(nearest, known))
        }
        PlanError::MissingFeatures { package, binary, missing_features } => {
            let features = missing_features.join(",");
            Words::new(format!("binary `{binary}` of {package} needs features that are off: {features}"))
                .hint(format!("add `--features {features}`"))
        }
        PlanError::NoBinaries { packages, skipped } => {
            let words =
                Words::new(format!("there is no binary to make an image of in {}", packages.join(", ")));
            let words = skipped.iter().fold(words, |words, binary| {
                words.note(format!(
                    "{} needs the features {}",
                    binary.binary,
                    binary.missing_features.join(", ")
                ))
            });
            words.hint("add src/main.rs to a package, or name another package with -p")
        }
        PlanError::DuplicateImage { image, services } => {
            Words::new(format!("two services would make the image {image}: {}", services.join(", ")))
                .hint("give one of them another name with the key `image`")
        }
        PlanError::DuplicateBinary { binary, packages } => {
            Words::new(format!("{} all have a binary `{binary}`", packages.join(", ")))
                .hint("choose one package with -p")
        }
        PlanError::UnusableName { binary, name } => {
            Words::new(format!("`{name}`, made from the binary `{binary}`, can't name an image"))
                .hint("name it with the keys `image` and `tags`")
        }
    }
}
