//! Layers for dependencies: whether there is one, what it is keyed by, whether it has what cargo needs.

use std::collections::BTreeSet;

use super::super::Found;
use super::super::cargo::{CargoCall, Verb};
use super::super::model::{Model, Origin, Placed, Step, builds};
use super::super::shell::Word;

/// Whether what a call compiles stays on the machine whatever happens to layers.
fn is_kept(step: &Step<'_>, placed: &Placed) -> bool {
    let wrapper = ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"];
    let assigned = placed.command.assignments.iter().any(|(name, _)| wrapper.contains(&name.as_str()));
    assigned
        || wrapper.iter().any(|name| step.state.variables.contains_key(*name))
        || placed.target_folder.as_deref().is_none_or(|folder| step.cache_at(folder).is_some())
        // One that is meant for it and misses it is another check's.
        || step.caches().any(|mounted| mounted.target.as_deref().is_some_and(|target| target.ends_with("/target")))
}

/// The calls of a stage that compile dependencies before the sources are there.
fn dependency_calls<'a, 'm>(
    model: &'a Model<'m>,
    stage: usize,
) -> Vec<(&'a Step<'m>, &'a Placed, &'a CargoCall)> {
    let mut sources_came = false;
    let steps = model.history(stage);
    let inherited = steps.len() - model.stages[stage].steps.len();
    let mut calls = Vec::new();
    for (index, step) in steps.into_iter().enumerate() {
        sources_came |= step.brings_sources();
        let early = |call: &CargoCall| call.verb == Verb::Cook || (call.verb == Verb::Build && !sources_came);
        if index >= inherited {
            calls.extend(step.calls().filter(|(_, _, call)| early(call)));
        }
    }
    calls
}

/// The sources are there before anything is compiled.
pub(crate) fn no_dependency_layer(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for stage in 0..model.stages.len() {
        let mut sources_came = false;
        let steps = model.history(stage);
        let inherited = steps.len() - model.stages[stage].steps.len();
        // A target folder that comes from another stage brings its dependencies along.
        let has_results = steps.iter().any(|step| {
            let copied = step.copied.as_ref().filter(|copied| copied.origin != Origin::Context);
            copied.is_some_and(|copied| copied.paths.iter().any(|path| path.path.contains("target")))
        });
        for (index, step) in steps.iter().enumerate() {
            sources_came |= step.brings_sources();
            let Some((step, placed, call)) = step.calls().find(|(_, _, call)| call.compiles()) else {
                continue;
            };
            if sources_came && builds(call) && index >= inherited && !has_results && !is_kept(step, placed) {
                let mark = "compiles every dependency again after any change of a source";
                found.push(Found::at(call.verb_word.range.clone(), mark));
            }
            break;
        }
    }
    found
}

/// There is a layer for dependencies, and every byte of the manifests is its key.
pub(crate) fn keyed_by_manifests(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for stage in 0..model.stages.len() {
        let calls = dependency_calls(model, stage);
        let first = calls.into_iter().find(|(step, placed, _)| !is_kept(step, placed));
        found.extend(first.map(|(_, _, call)| {
            let mark = match call.verb {
                Verb::Cook => "compiles every dependency again after a change of any one of them",
                _ => "compiles every dependency again after any change of a manifest or the lock file",
            };
            Found::at(call.verb_word.range.clone(), mark)
        }));
    }
    found
}

/// Dependencies are compiled with a profile or for a target that no later build has.
pub(crate) fn unused(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for stage in 0..model.stages.len() {
        for (step, placed, call) in dependency_calls(model, stage) {
            let start = step.instruction.range.start;
            let mut later = Vec::new();
            for other in stage..model.stages.len() {
                let history = model.history(other);
                let is_after = history.iter().any(|step| step.instruction.range.start == start)
                    || history.iter().any(|step| {
                        step.copied.as_ref().is_some_and(|copied| copied.origin == Origin::Stage(stage))
                    });
                if is_after {
                    let calls = model
                        .calls(other)
                        .filter(|(step, _, call)| builds(call) && step.instruction.range.start > start);
                    later.extend(
                        calls.map(|(_, placed, call)| {
                            (call.profile_folder().to_owned(), placed.target.clone())
                        }),
                    );
                }
            }
            let own = (call.profile_folder().to_owned(), placed.target.clone());
            if let Some((profile, target)) = later.first().filter(|_| !later.contains(&own)) {
                let what = match target == &own.1 {
                    true => format!("compiles into `{}`, the build later into `{profile}`", own.0),
                    false => "compiles for another target than the build later".to_owned(),
                };
                found.push(Found::at(call.verb_word.range.clone(), what));
            }
        }
    }
    found
}

/// One `COPY` for each member's manifest.
pub(crate) fn copy_per_member(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for stage in &model.stages {
        let mut manifests = stage.steps.iter().filter_map(|step| {
            let copied = step.copied.as_ref().filter(|copied| copied.origin == Origin::Context)?;
            let [path] = &copied.paths[..] else { return None };
            let folder = path.path.strip_suffix("/Cargo.toml")?;
            (!copied.keeps_parents && !folder.contains('*')).then(|| step.instruction.range.clone())
        });
        let first = manifests.next();
        let more = manifests.count();
        found.extend(first.filter(|_| more > 0).map(|range| {
            Found::at(
                range,
                format!("and {more} more like it: each crate that is added or moved breaks them"),
            )
        }));
    }
    found
}

/// The manifests are copied one by one, and one that cargo needs is not among them.
pub(crate) fn missing_member(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let Some(workspace) = model.workspace() else { return found };
    let in_workspace = |path: &str| super::in_folder(&workspace.folder, path);
    'stages: for stage in 0..model.stages.len() {
        let steps = model.history(stage);
        let inherited = steps.len() - model.stages[stage].steps.len();
        for (index, step) in steps.iter().enumerate() {
            for (_, _, call) in step.calls() {
                let so_far = &steps[..=index];
                let needs_members = call.uses_workspace() && model.has(so_far, &in_workspace("Cargo.toml"));
                if !(needs_members || call.verb == Verb::Cook) || rewrites_manifests(so_far) {
                    continue;
                }
                let has_lock = model.has(so_far, &in_workspace("Cargo.lock"));
                let members = workspace.members.iter().filter(|member| {
                    needs_members && !member.folder.is_empty() && (member.listed || (call.locked && has_lock))
                });
                let needed: BTreeSet<&str> = members
                    .map(|member| member.folder.as_str())
                    .chain(workspace.outside.iter().map(String::as_str))
                    .collect();
                let missing: Vec<&str> = needed
                    .into_iter()
                    .filter(|folder| {
                        !model.has(so_far, &format!("{folder}/Cargo.toml")) && !is_made_up(so_far, folder)
                    })
                    .collect();
                if !missing.is_empty() && index >= inherited {
                    let mark = format!(
                        "cargo needs the manifest of {} here, and nothing copied it",
                        missing.join(", ")
                    );
                    found.push(Found::at(call.verb_word.range.clone(), mark));
                }
                if needs_members {
                    continue 'stages;
                }
            }
        }
    }
    found
}

/// Someone takes members out of the manifest, or makes it anew.
fn rewrites_manifests(steps: &[&Step<'_>]) -> bool {
    steps.iter().flat_map(|step| &step.commands).any(|placed| {
        let command = &placed.command;
        let edits = command
            .program()
            .is_some_and(|(program, _)| ["sed", "perl", "awk", "python3", "tar"].contains(&program));
        let names = |word: &Word| word.value.contains("Cargo.toml") || word.value.contains(".tar");
        (edits && command.words.iter().any(names))
            || command.outputs.iter().any(|word| word.value == "Cargo.toml")
    })
}

/// Whether a command made the manifest of a folder.
fn is_made_up(steps: &[&Step<'_>], folder: &str) -> bool {
    steps.iter().flat_map(|step| &step.commands).any(|placed| {
        let is_new = placed.cargo.as_ref().is_some_and(|call| {
            call.verb == Verb::New
                && call
                    .operand
                    .as_deref()
                    .is_some_and(|operand| operand.trim_end_matches('/').ends_with(folder))
        });
        let written = |word: &Word| {
            word.value.ends_with(&format!("{folder}/Cargo.toml"))
                || (word.value.contains('$') && word.value.ends_with("Cargo.toml"))
        };
        is_new || placed.command.outputs.iter().any(written)
    })
}

/// A manifest is copied from a folder that has none any more.
pub(crate) fn member_gone(model: &Model<'_>) -> Vec<Found> {
    let Some(workspace) = model.workspace() else { return Vec::new() };
    let copied = model.stages.iter().flat_map(|stage| &stage.steps).filter_map(|step| step.copied.as_ref());
    let paths = copied.filter(|copied| copied.origin == Origin::Context).flat_map(|copied| &copied.paths);
    paths
        .filter_map(|path| {
            let folder = path.path.strip_suffix("/Cargo.toml")?;
            if folder.contains(['*', '?', '[', '$']) || workspace.manifests.contains(folder) {
                return None;
            }
            let found = Found::at(path.range.clone(), "there is no such file");
            let name = folder.rsplit('/').next()?;
            let elsewhere = workspace.manifests.iter().find(|other| other.rsplit('/').next() == Some(name));
            Some(match elsewhere {
                Some(elsewhere) => {
                    found.hint(format!("copy {elsewhere}/Cargo.toml; that is where `{name}` is now"))
                }
                None => found,
            })
        })
        .collect()
}
