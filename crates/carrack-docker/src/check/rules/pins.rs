//! Whether the same commit is built the same way tomorrow.

use super::super::cargo::{CargoCall, Verb};
use super::super::image::{Image, version};
use super::super::model::Model;
use super::super::{Edit, Found};

/// The `FROM` lines that name an image of Rust, with the text of the tag in the file if it stands there.
fn rust_images<'a>(model: &'a Model<'_>) -> impl Iterator<Item = (&'a Image, &'a crate::dockerfile::Text)> {
    let stages = model.stages.iter().filter(|stage| stage.parent.is_none());
    stages.filter_map(|stage| {
        let image = stage.image.as_ref().filter(|image| image.is_based_on_rust())?;
        Some((image, &stage.stage.from.image))
    })
}

/// The workspace's version if it is one: `1.95`, `1.95.0`.
fn wanted<'a>(model: &Model<'a>) -> Option<&'a str> {
    let channel = model.workspace()?.toolchain.as_deref()?;
    version(channel).map(|_| channel)
}

/// The version is whatever is newest.
pub(crate) fn unpinned(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (image, text) in rust_images(model).filter(|(image, _)| !image.has_digest) {
        let pinned = match image.is_rust() {
            true => image.names_a_version(),
            // `latest-rust-1.95`, `0.1.72-rust-1.95`.
            false => image
                .tag
                .as_deref()
                .and_then(|tag| tag.split_once("rust-"))
                .is_some_and(|(_, rest)| version(rest.split('-').next().unwrap_or_default()).is_some()),
        };
        if pinned {
            continue;
        }
        let one = Found::at(text.range(), "the newest Rust, whichever that is on the day of the build");
        let is_plain = image.is_rust() && !text.contains('$');
        match wanted(model).filter(|_| is_plain) {
            Some(wanted) => {
                let tag = image.tag.as_deref().unwrap_or_default();
                let first = tag.split('-').next().unwrap_or_default();
                let suffix = match tag {
                    "" | "latest" => "",
                    _ if image.rust_version().is_some() || first == "latest" => &tag[first.len()..],
                    _ if tag == "nightly" || tag == "beta" => {
                        found.push(one);
                        continue;
                    }
                    _ => tag,
                };
                let separator = if suffix.is_empty() || suffix.starts_with('-') { "" } else { "-" };
                let name = text
                    .rsplit_once(':')
                    .filter(|(_, tag)| !tag.contains('/'))
                    .map_or(text.as_str(), |(name, _)| name);
                let pinned = format!("{name}:{wanted}{separator}{suffix}");
                found.push(one.hint(format!("use {pinned}, as rust-toolchain says")).fix(
                    format!("pin {} to {pinned}", text.as_str()),
                    Edit::Replace { range: text.range(), with: pinned },
                ));
            }
            None => found.push(one),
        }
    }
    for step in model.stages.iter().flat_map(|stage| &stage.steps) {
        for placed in &step.commands {
            let floats = placed.command.words.windows(2).find(|pair| {
                let sets = ["--default-toolchain", "default"].contains(&pair[0].value.as_str());
                sets && ["stable", "nightly", "beta"].contains(&pair[1].value.as_str())
            });
            let by_rustup = placed.command.words.iter().any(|word| {
                word.value == "--default-toolchain" || word.value.rsplit('/').next() == Some("rustup")
            });
            if let Some(pair) = floats.filter(|_| by_rustup && wanted(model).is_none()) {
                let mark = "the newest Rust, whichever that is on the day of the build";
                found.push(Found::at(pair[1].range.clone(), mark));
            }
        }
    }
    found
}

/// The image has another version than the workspace asks for.
pub(crate) fn differs(model: &Model<'_>) -> Vec<Found> {
    let Some(wanted) = wanted(model) else { return Vec::new() };
    let other = rust_images(model).filter_map(|(image, text)| {
        let has = image.rust_version().filter(|_| image.is_rust() && image.names_a_version())?;
        let same = version(has) == version(wanted)
            && (has == wanted || has.split('.').count() < 3 || wanted.split('.').count() < 3);
        (!same).then(|| {
            let mark = format!("has Rust {has}, and rust-toolchain asks for {wanted}");
            Found::at(text.range(), mark).hint(format!("use the image with the tag {wanted}"))
        })
    });
    other.collect()
}

/// The image's version is older than a package allows.
pub(crate) fn too_old(model: &Model<'_>) -> Vec<Found> {
    let Some(workspace) = model.workspace() else { return Vec::new() };
    let Some(needed) = workspace.rust_version.as_deref().filter(|_| workspace.toolchain.is_none()) else {
        return Vec::new();
    };
    let older = rust_images(model).filter_map(|(image, text)| {
        let has = image.rust_version().filter(|_| image.is_rust())?;
        (version(has)? < version(needed)?).then(|| {
            let mark = format!("has Rust {has}, and the workspace needs {needed}");
            Found::at(text.range(), mark).hint(format!("use rust:{needed} or newer"))
        })
    });
    older.collect()
}

/// Cargo may take other versions than the lock file says.
pub(crate) fn not_locked(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let workspace = model.workspace();
    for stage in 0..model.stages.len() {
        let steps = model.history(stage);
        let inherited = steps.len() - model.stages[stage].steps.len();
        for (index, step) in steps.iter().enumerate().skip(inherited) {
            for (_, placed, call) in step.calls().filter(|(_, _, call)| !call.locked && resolves(call)) {
                let is_tool = call.verb == Verb::InstallTool;
                let has_no_lock = workspace.is_some_and(|workspace| workspace.locked.is_none());
                if has_no_lock && !is_tool {
                    continue;
                }
                let mark = match (is_tool, call.verb_word.value.as_str()) {
                    (true, _) => "takes the newest dependencies of the tool, not those it was released with",
                    (_, "install") => "`cargo install` does not even look at Cargo.lock without --locked",
                    _ => "cargo changes Cargo.lock here if it does not fit, and says nothing",
                };
                let one = Found::at(call.verb_word.range.clone(), mark);
                // Without the lock file, or without a member, `--locked` would fail.
                let so_far = &steps[..=index];
                let lock_is_there = workspace.is_some_and(|workspace| {
                    let file = |path: &str| super::in_folder(&workspace.folder, path);
                    model.has(so_far, &file("Cargo.lock"))
                        && workspace
                            .members
                            .iter()
                            .all(|member| model.has(so_far, &super::in_folder(&member.folder, "Cargo.toml")))
                });
                let end = call.verb_word.range.end;
                found.push(match placed.command.in_shell && (is_tool || lock_is_there) {
                    true => one
                        .fix("add --locked", Edit::Replace { range: end..end, with: " --locked".to_owned() }),
                    false => one,
                });
            }
        }
    }
    found
}

fn resolves(call: &CargoCall) -> bool {
    let uses = [
        "build", "b", "rustc", "install", "test", "t", "check", "c", "run", "r", "fetch", "bench", "clippy",
        "zigbuild",
    ];
    uses.contains(&call.verb_word.value.as_str())
        && matches!(call.verb, Verb::Build | Verb::OtherUse | Verb::InstallTool)
}
