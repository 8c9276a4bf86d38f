//! From facts to findings. Pure: what is known decides, nothing is looked up.

mod disk;
mod docker;
mod network;
mod rust;
mod sandbox;
#[cfg(test)]
mod tests;

use super::facts::Facts;
use super::finding::{Check, Finding, State};
use crate::engine::EngineName;

/// Everything there is to say, in the order in which it is shown.
pub(super) fn judge(facts: &Facts, engine: &EngineName) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut unanswered = Vec::new();
    match &facts.rust {
        Some(rust) => findings.extend(rust::judge(rust, engine)),
        None => unanswered.push("the workspace and the toolchain"),
    }
    match &facts.sandbox {
        Some(sandbox) => findings.extend(sandbox::judge(sandbox, facts.is_root, &facts.user)),
        None => unanswered.push("the sandbox"),
    }
    match &facts.docker {
        Some(docker) => findings.extend(docker::judge(docker, engine)),
        None => unanswered.push("the programs in PATH"),
    }
    match &facts.state {
        Some(state) => findings.push(disk::state_folder(state)),
        None => unanswered.push("the state folder"),
    }
    match &facts.places {
        Some(places) => findings.extend(disk::judge(places)),
        None => unanswered.push("the disks"),
    }
    if !unanswered.is_empty() {
        let what = format!("looking at {} takes too long: does a network disk hang?", unanswered.join(", "));
        findings.push(Finding::new(Check::Unanswered, State::Broken, what).hint("df -h"));
    }
    if let Some(network) = &facts.network {
        findings.extend(network::judge(
            network,
            facts.docker.as_ref().is_some_and(|docker| !docker.clients.is_empty()),
        ));
    }
    if facts.is_root {
        for hint in findings.iter_mut().filter_map(|finding| finding.hint.as_mut()) {
            *hint = hint.replace("sudo ", "");
        }
    }
    findings
}

/// What keeps Docker from building is broken if Docker is to build, and a warning otherwise.
fn severe_for(needed_by: &EngineName, engine: &EngineName) -> State {
    if needed_by == engine { State::Broken } else { State::Warning }
}
