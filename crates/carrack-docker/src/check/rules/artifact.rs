//! Where the program is, and where it is looked for.

use std::ops::Range;

use super::super::Found;
use super::super::cargo::CargoCall;
use super::super::model::{Model, Origin, Placed, Step, builds, joined, lies_in, plain};
use crate::dockerfile::{CommandLine, Kind};

/// A place where someone takes a file that a stage should have.
struct Taken<'a, 'm> {
    /// Absolute, without variables and patterns.
    path: String,
    range: Range<usize>,
    /// Whose file system it is.
    stage: usize,
    /// The step that takes it, if it is one of that stage.
    step: Option<&'a Step<'m>>,
}

fn is_literal(path: &str) -> bool {
    !path.contains(['*', '?', '[', '$'])
}

/// Everything that is taken out of stages: by `COPY --from`, by commands, by the entry point.
fn taken<'a, 'm>(model: &'a Model<'m>) -> Vec<Taken<'a, 'm>> {
    let mut taken = Vec::new();
    for (index, stage) in model.stages.iter().enumerate() {
        for step in &stage.steps {
            if let Some(copied) = &step.copied
                && let Origin::Stage(from) = copied.origin
            {
                for path in copied.paths.iter().filter(|path| is_literal(&path.path)) {
                    let absolute = format!("/{}", path.path);
                    taken.push(Taken { path: absolute, range: path.range.clone(), stage: from, step: None });
                }
            }
            for placed in &step.commands {
                let Some(("cp" | "mv" | "install" | "strip" | "ln", words)) = placed.command.program() else {
                    continue;
                };
                let operands: Vec<_> = words.iter().filter(|word| !word.value.starts_with('-')).collect();
                let sources = operands.len().saturating_sub(1).max(1);
                for word in operands.into_iter().take(sources) {
                    let plain = plain(&word.value, &step.state.variables).filter(|path| is_literal(path));
                    if let Some(path) = plain.and_then(|path| joined(placed.folder.as_deref(), &path)) {
                        taken.push(Taken { path, range: word.range.clone(), stage: index, step: Some(step) });
                    }
                }
            }
            let (Kind::Cmd(CommandLine::Exec(words)) | Kind::Entrypoint(CommandLine::Exec(words))) =
                &step.instruction.kind
            else {
                continue;
            };
            if let Some(first) = words.first().filter(|word| word.contains('/') && is_literal(word))
                && let Some(path) = joined(step.state.folder.as_deref(), first)
            {
                taken.push(Taken { path, range: first.range(), stage: index, step: Some(step) });
            }
        }
    }
    taken
}

/// Every build that made what a stage is.
fn built<'a, 'm>(model: &'a Model<'m>, stage: usize) -> Vec<(&'a Step<'m>, &'a Placed, &'a CargoCall)> {
    let steps = model.history(stage);
    steps.into_iter().flat_map(Step::calls).filter(|(_, _, call)| builds(call)).collect()
}

/// Whether something else puts files there: a copy, or a command outside of the cache mount.
fn is_put_there(model: &Model<'_>, stage: usize, path: &str) -> bool {
    model.history(stage).iter().any(|step| {
        let copied = step.copied.as_ref().and_then(|copied| copied.destination.as_deref());
        let copied = copied.is_some_and(|to| {
            lies_in(path, to)
                && to != "/"
                && step.copied.as_ref().is_some_and(|copied| {
                    matches!(copied.origin, Origin::Stage(_) | Origin::Elsewhere) || lies_in(to, path)
                })
        });
        let written = step.commands.iter().any(|placed| {
            let Some(("cp" | "mv" | "install", words)) = placed.command.program() else { return false };
            let to = words.last().and_then(|word| joined(placed.folder.as_deref(), &word.value));
            let folder = path.rsplit_once('/').map(|(folder, _)| folder);
            to.is_some_and(|to| to == path || Some(to.as_str()) == folder) && step.cache_at(path).is_none()
        });
        copied || written
    })
}

/// What lies in a cache mount is in no layer.
pub(crate) fn in_cache_mount(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for taken in taken(model) {
        // A step that mounts the same cache sees what is in it.
        if taken.step.is_some_and(|step| step.cache_at(&taken.path).is_some()) {
            continue;
        }
        let builds = built(model, taken.stage);
        let in_cache = builds.iter().find_map(|(step, placed, _)| {
            let folder = placed.target_folder.as_deref()?;
            let mounted = step.cache_at(&taken.path)?;
            (lies_in(&taken.path, folder) || lies_in(folder, &taken.path)).then_some(mounted)
        });
        let in_layer = builds.iter().any(|(step, placed, _)| {
            placed
                .target_folder
                .as_deref()
                .is_none_or(|folder| lies_in(&taken.path, folder) && step.cache_at(&taken.path).is_none())
        });
        if let Some(mounted) =
            in_cache.filter(|_| !in_layer && !is_put_there(model, taken.stage, &taken.path))
        {
            let target = mounted.target.as_deref().unwrap_or_default();
            found.push(Found::at(
                taken.range,
                format!("{target} is a cache mount: nothing of it is in the stage"),
            ));
        }
    }
    found
}

/// The profile, the target or the folder is another than where the file is looked for.
pub(crate) fn elsewhere(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for taken in taken(model) {
        let builds = built(model, taken.stage);
        let folders: Option<Vec<String>> =
            builds.iter().map(|(_, placed, call)| results(placed, call)).collect();
        let Some(folders) = folders.filter(|folders| !folders.is_empty()) else { continue };
        // Only what looks like cargo's results.
        let parts: Vec<&str> = taken.path.split('/').collect();
        let profile = ["release", "debug"].iter().any(|name| parts[..parts.len() - 1].contains(name));
        let in_target = builds.iter().any(|(_, placed, _)| {
            placed
                .target_folder
                .as_deref()
                .is_some_and(|folder| lies_in(&taken.path, folder) && taken.path != folder)
        });
        let looks_like_results = profile && (parts.contains(&"target") || in_target);
        if !looks_like_results
            || folders.iter().any(|folder| lies_in(&taken.path, folder) || lies_in(folder, &taken.path))
            || is_put_there(model, taken.stage, &taken.path)
        {
            continue;
        }
        let place = folders.last().map_or("", String::as_str);
        found.push(Found::at(taken.range, format!("the build writes to {place}")));
    }
    found
}

fn results(placed: &Placed, call: &CargoCall) -> Option<String> {
    let folder = placed.target_folder.as_deref()?;
    let profile = call.profile_folder();
    if call.has_many_targets
        || profile.contains('$')
        || placed.target.as_deref().is_some_and(|target| target.contains('$'))
    {
        return None;
    }
    Some(match &placed.target {
        Some(target) => format!("{folder}/{}/{profile}", target.trim_end_matches(".json")),
        None => format!("{folder}/{profile}"),
    })
}

/// The workspace makes no program of that name.
pub(crate) fn no_such_binary(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    let Some(workspace) = model.workspace() else { return found };
    let known: Vec<&str> =
        workspace.members.iter().flat_map(|member| &member.binaries).map(String::as_str).collect();
    for taken in taken(model) {
        let folder = built(model, taken.stage).iter().find_map(|(_, placed, call)| {
            let folder = results(placed, call)?;
            Some(taken.path.strip_prefix(&folder)?.strip_prefix('/')?.to_owned())
        });
        let Some(name) = folder.filter(|name| !name.is_empty() && !name.contains(['/', '.', '$'])) else {
            continue;
        };
        if known.is_empty()
            || known.contains(&name.as_str())
            || ["deps", "build", "examples"].contains(&name.as_str())
        {
            continue;
        }
        found.push(
            Found::at(taken.range, format!("no package makes a program `{name}`"))
                .hint(format!("choose one of {}", known.join(", "))),
        );
    }
    found
}

/// What is shipped was compiled without optimisation.
pub(crate) fn debug_build(model: &Model<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for taken in taken(model) {
        for (_, placed, call) in built(model, taken.stage) {
            let is_debug = call.profile == "dev"
                && results(placed, call).is_some_and(|folder| lies_in(&taken.path, &folder));
            let range = call.verb_word.range.clone();
            if is_debug && found.iter().all(|found| found.range != range) {
                found.push(Found::at(range, "compiles without optimisation what is shipped later"));
            }
        }
    }
    found
}

/// Code for this very processor.
pub(crate) fn native(model: &Model<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for step in model.stages.iter().flat_map(|stage| &stage.steps) {
        let text = &model.dockerfile.source.text[step.instruction.range.clone()];
        let is_place = matches!(step.instruction.kind, Kind::Env(_) | Kind::Arg(_) | Kind::Run(_));
        if let Some(at) = text.find("target-cpu=native").filter(|_| is_place) {
            let start = step.instruction.range.start + at;
            let mark = "the program may not start on another machine";
            found.push(Found::at(start..start + "target-cpu=native".len(), mark));
        }
    }
    found
}
