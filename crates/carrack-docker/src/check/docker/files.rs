//! Paths and ports.

use carrack_graph::PathFilter;

use super::Found;
use super::scope::Walk;
use crate::dockerfile::{Kind, Source, expand_words};

pub(super) fn workdir_relative_path(walk: &Walk<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (instruction, scope) in walk.instructions() {
        if let Kind::Workdir(folder) = &instruction.kind
            && !scope.has_folder
            && let Some(path) = walk.known(folder, scope)
            && !path.starts_with('/')
        {
            found.push(Found::at(folder.range(), "it is seen from the base image's working folder"));
        }
    }
    found
}

pub(super) fn copy_ignored_file(walk: &Walk<'_>) -> Vec<Found> {
    let Some(ignore) = &walk.facts.ignore else { return Vec::new() };
    let mut found = Vec::new();
    for (instruction, scope) in walk.instructions() {
        let sources = match &instruction.kind {
            Kind::Copy(copy) if copy.from.is_none() => &copy.sources,
            Kind::Add(add) => &add.sources,
            _ => continue,
        };
        for source in sources {
            let Source::Path(text) = source else { continue };
            let Some(path) = walk.known(text, scope) else { continue };
            if path.contains("://") || path.starts_with("git@") {
                continue;
            }
            let names = path.split('/').filter(|name| !name.is_empty() && *name != ".");
            let path = names.collect::<Vec<_>>().join("/");
            let is_ignored = match path.is_empty() {
                true => ignore.ignores_everything(),
                false => ignore.ignores(&path),
            };
            if is_ignored && !ignore.may_take_back(&path) {
                found.push(Found::at(text.range(), "it does not reach the build"));
            }
        }
    }
    found
}

/// Each port of an `EXPOSE`, with its place.
fn ports(walk: &Walk<'_>, test: impl Fn(&str) -> Option<String>) -> Vec<Found> {
    let mut found = Vec::new();
    for (instruction, scope) in walk.instructions() {
        let Kind::Expose(exposed) = &instruction.kind else { continue };
        for expose in exposed {
            let value_of = |name: &str| scope.variables.get(name).map(str::to_owned);
            let ports = expand_words(&expose.ports, walk.dockerfile.escape, &value_of).unwrap_or_default();
            let marks = ports.iter().filter_map(|port| test(port));
            found.extend(marks.map(|mark| Found::at(expose.ports.range(), mark)));
        }
    }
    found
}

pub(super) fn expose_proto_casing(walk: &Walk<'_>) -> Vec<Found> {
    ports(walk, |port| {
        let (_, protocol) = port.rsplit_once('/')?;
        let lower = protocol.to_ascii_lowercase();
        (lower != protocol).then(|| format!("`{lower}` is how it is known"))
    })
}

pub(super) fn expose_invalid_format(walk: &Walk<'_>) -> Vec<Found> {
    ports(walk, |port| {
        let (host, _) = port.rsplit_once(':')?;
        (!host.is_empty()).then(|| "only the container's port counts here".to_owned())
    })
}
