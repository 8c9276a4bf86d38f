//! Certificates, proxies and CI: what a container does not know although its host does.

use crate::commands::doctor::facts::NetworkFacts;
use crate::commands::doctor::finding::{Check, Finding, State};

/// None of it concerns anyone who never builds in a container, so most of it is a note.
pub(super) fn judge(network: &NetworkFacts, has_docker: bool) -> Vec<Finding> {
    [private_ca(network), proxy(network), ci(network, has_docker)].into_iter().flatten().collect()
}

fn private_ca(network: &NetworkFacts) -> Option<Finding> {
    if let Some((name, path, _)) = network.certificates.iter().find(|(_, _, there)| !there) {
        let what = format!("{name} names {}, which is not there: cargo trusts nobody", path.display());
        return Some(Finding::new(Check::PrivateCa, State::Warning, what).hint(format!("unset {name}")));
    }
    let by_variable = network.certificates.iter().map(|(name, _, _)| format!("{name} is set"));
    let names =
        network.added.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let signs: Vec<String> = by_variable.chain(names).collect();
    if signs.is_empty() {
        return None;
    }
    let bundle =
        network.certificates.iter().map(|(_, path, _)| path.as_path()).find(|path| path.is_absolute());
    let bundle = bundle.filter(|path| path.extension().is_some());
    let bundle =
        bundle.map_or_else(|| "/etc/ssl/certs/ca-certificates.crt".into(), |path| path.display().to_string());
    let what = format!(
        "this machine has certificates of its own ({}), which the containers of a Docker build lack: \
        give a RUN line `--mount=type=secret,id=ca-certificates,target=/etc/ssl/certs/ca-certificates.crt`",
        signs.join(", ")
    );
    let hint = format!("docker build --secret id=ca-certificates,src={bundle} .");
    Some(Finding::new(Check::PrivateCa, State::Note, what).hint(hint))
}

fn proxy(network: &NetworkFacts) -> Option<Finding> {
    let (name, address) = network.proxies.first()?;
    let host = address.split_once("://").map_or(address.as_str(), |(_, host)| host);
    let is_local = ["127.", "localhost", "[::1]"].iter().any(|local| host.starts_with(local));
    if is_local {
        let what =
            format!("{name} is {address}, which a container can't reach: there it is the container itself");
        let hint = format!("docker build --network host --build-arg {name} .");
        return Some(Finding::new(Check::Proxy, State::Warning, what).hint(hint));
    }
    let what = format!("{name} is {address}; a Docker build gets it only if it is told to");
    Some(Finding::new(Check::Proxy, State::Note, what).hint(format!("docker build --build-arg {name} .")))
}

fn ci(network: &NetworkFacts, has_docker: bool) -> Option<Finding> {
    let name = network.ci?;
    if !has_docker {
        let what =
            format!("{name}: a fresh machine compiles everything, unless the CI keeps the state folder");
        return Some(Finding::new(Check::Ci, State::Note, what));
    }
    let what =
        format!("{name}: cache mounts are gone on a fresh machine, and no cache exporter carries them");
    let cache = match name {
        "GitHub Actions" => "--cache-to type=gha,mode=max --cache-from type=gha",
        _ => "--cache-to type=registry,ref=$IMAGE:cache,mode=max --cache-from type=registry,ref=$IMAGE:cache",
    };
    Some(Finding::new(Check::Ci, State::Warning, what).hint(format!("docker buildx build {cache} .")))
}
