//! A stub is compiled in place of the sources, so that dependencies have a layer of their own. Cargo compares times of
//! modification; a copied file has the time it has in the repository, which is before that.

use super::super::cargo::{CargoCall, Verb};
use super::super::model::{Model, Placed, Step, builds, joined};
use super::super::shell::Operator;
use super::super::{Edit, Found};
use crate::dockerignore::Dockerignore;

/// A stub's file.
struct Stub {
    path: String,
    folder: Option<String>,
}

/// What of a build decides which files cargo writes, and whether they are in the layer or in a cache.
#[derive(PartialEq)]
struct Results {
    profile: String,
    target: Option<String>,
    folder: Option<String>,
    cache: Option<String>,
}

fn results(step: &Step<'_>, placed: &Placed, call: &CargoCall) -> Results {
    let cache = placed.target_folder.as_deref().and_then(|folder| step.cache_at(folder)).map(|mounted| {
        let id = mounted.mount.id.as_ref().map(|id| id.to_string());
        id.or_else(|| mounted.target.clone()).unwrap_or_default()
    });
    Results {
        profile: call.profile_folder().to_owned(),
        target: placed.target.clone(),
        folder: placed.target_folder.clone(),
        cache,
    }
}

/// Every file that a command makes up.
fn stubs(placed: &Placed) -> Vec<Stub> {
    let folder = || placed.folder.clone();
    let written = placed.command.outputs.iter();
    let mut paths: Vec<String> = written.map(|word| word.value.clone()).collect();
    match placed.command.program() {
        Some(("touch" | "tee", words)) => {
            paths.extend(
                words.iter().filter(|word| !word.value.starts_with('-')).map(|word| word.value.clone()),
            );
        }
        Some(("cp", [.., to])) => paths.push(to.value.clone()),
        _ => {}
    }
    if let Some(call) = placed.cargo.as_ref().filter(|call| call.verb == Verb::New) {
        let name = call.operand.as_deref().unwrap_or(".");
        let is_library = placed.command.words.iter().any(|word| word.value == "--lib");
        paths.push(format!("{name}/src/{}.rs", if is_library { "lib" } else { "main" }));
    }
    let sources = paths.into_iter().filter(|path| path.ends_with(".rs"));
    sources.map(|path| Stub { path, folder: folder() }).collect()
}

/// What makes cargo look again, although times say that nothing changed.
enum Clears<'p> {
    Nothing,
    /// These files, if they are there already: what is copied later is still too old.
    Touched(Vec<&'p str>),
    AllThatIsThere,
    Results,
}

fn clears(placed: &Placed) -> Clears<'_> {
    match placed.command.program() {
        Some(("touch", words)) => Clears::Touched(words.iter().map(|word| word.value.as_str()).collect()),
        Some(("find" | "xargs", words)) if words.iter().any(|word| word.value == "touch") => {
            Clears::AllThatIsThere
        }
        Some(("rm", words)) if words.iter().any(|word| removes_results(&word.value)) => Clears::Results,
        _ if placed.cargo.as_ref().is_some_and(|call| call.verb == Verb::Clean) => Clears::Results,
        _ => Clears::Nothing,
    }
}

/// Whether a stub's file is among those that are touched. One whose name a loop makes up is, if a pattern is.
fn is_touched(stub: &Stub, touched: &[&str], folder: Option<&str>) -> bool {
    let Some(path) = joined(stub.folder.as_deref().or(folder), &stub.path) else { return true };
    touched.iter().filter_map(|word| joined(folder, word)).any(|word| {
        let fits = Dockerignore::parse(&word).is_ok_and(|pattern| pattern.ignores(&path));
        word == path || fits || (path.contains('$') && word.contains(['*', '$']))
    })
}

/// Whether deleting this makes cargo compile again. Crates' files have underscores where packages have hyphens, and
/// the program next to `deps` is only a second name: cargo makes it again from the first.
fn removes_results(path: &str) -> bool {
    let Some(behind) = path
        .split_once("target")
        .map(|(_, behind)| behind)
        .or_else(|| path.split_once("TARGET_DIR").map(|(_, behind)| behind))
    else {
        return path.contains(".fingerprint");
    };
    if behind.contains(".fingerprint") {
        return true;
    }
    match behind.split_once("/deps/") {
        Some((_, name)) => !name.trim_end_matches('*').trim_end_matches('-').contains('-'),
        None => behind.trim_matches(['}', '/', '*']).split('/').count() <= 1,
    }
}

/// The stub is compiled, the sources come with old times, cargo takes the stub for fresh.
pub(crate) fn may_ship(model: &Model<'_>) -> Vec<Found> {
    (0..model.stages.len()).filter_map(|stage| stage_may_ship(model, stage)).collect()
}

fn stage_may_ship(model: &Model<'_>, stage: usize) -> Option<Found> {
    let steps = model.history(stage);
    let own = model.stages[stage].steps.len();
    let inherited = steps.len() - own;
    let mut stubs_seen: Vec<Stub> = Vec::new();
    let mut compiled: Vec<Results> = Vec::new();
    let mut sources_came = false;
    for (index, step) in steps.iter().enumerate() {
        if step.brings_sources() && !compiled.is_empty() {
            sources_came = true;
        }
        for placed in &step.commands {
            match clears(placed) {
                Clears::Results => compiled.clear(),
                Clears::AllThatIsThere if sources_came => compiled.clear(),
                Clears::Touched(touched) if sources_came => {
                    let folder = placed.folder.as_deref();
                    stubs_seen.retain(|stub| !is_touched(stub, &touched, folder));
                    if stubs_seen.is_empty() {
                        compiled.clear();
                    }
                }
                _ if sources_came => {}
                _ => stubs_seen.extend(stubs(placed)),
            }
            let Some(call) = placed.cargo.as_ref().filter(|call| builds(call)) else { continue };
            let results = results(step, placed, call);
            match sources_came {
                false if !stubs_seen.is_empty() && !step.brings_sources() => compiled.push(results),
                true if compiled.contains(&results) => {
                    return (index >= inherited).then(|| found(step, placed, call, &stubs_seen));
                }
                _ => {}
            }
        }
    }
    None
}

fn found(step: &Step<'_>, placed: &Placed, call: &CargoCall, stubs: &[Stub]) -> Found {
    let paths: Option<Vec<&str>> = stubs
        .iter()
        .map(|stub| {
            let plain = !stub.path.contains(['$', '*', '{', ' ']);
            let same = joined(stub.folder.as_deref(), "x") == joined(placed.folder.as_deref(), "x");
            (plain && (same || stub.path.starts_with('/'))).then_some(stub.path.as_str())
        })
        .collect();
    let found =
        Found::at(call.verb_word.range.clone(), "cargo may take the stub for the program that is built here");
    let can_insert = placed.command.in_shell
        && placed.command.before != Operator::Pipe
        && placed.command.start >= step.instruction.range.start;
    match paths.filter(|_| can_insert) {
        Some(mut paths) => {
            paths.sort_unstable();
            paths.dedup();
            let touch = format!("touch -c {} && ", paths.join(" "));
            let at = placed.command.start;
            found
                .hint(format!("run `touch {}` before this build", paths.join(" ")))
                .fix("touch the sources before the build", Edit::Replace { range: at..at, with: touch })
        }
        None => found,
    }
}
