//! Finds the facts: asks programs and the file system, all at once, each with a limit. Changes nothing: the sandbox is
//! tried in a temporary folder that is removed again. What can't be found out is a fact too, so nothing here fails.

mod ask;
mod docker;
mod places;
mod rust;
mod sandbox;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use carrack_base::Cancel;

use super::facts::{Facts, NetworkFacts, PlaceKind};
use crate::caller::Caller;
use ask::{PATIENCE, in_background};

/// Finds out everything about this machine, and about the workspace around `path`.
pub(super) fn gather(caller: &Caller, state: &Path, path: &Path, cancel: &Cancel) -> Facts {
    let start = Instant::now();
    // Programs end in time by themselves, so only a file system can reach this limit.
    let left = || (PATIENCE * 2).saturating_sub(start.elapsed());
    let shared = Arc::new(caller.clone());

    let docker = {
        let (caller, cancel) = (shared.clone(), cancel.clone());
        in_background(move || docker::gather(&caller, &cancel))
    };
    let rust = {
        let (caller, path, cancel) = (shared.clone(), path.to_owned(), cancel.clone());
        in_background(move || rust::gather(&caller, &path, &cancel))
    };
    let sandbox = {
        let (caller, state) = (shared.clone(), state.to_owned());
        in_background(move || sandbox::gather(&caller, &state))
    };
    let network = in_background(move || network(&shared));

    let docker = docker.recv_timeout(left()).ok();
    let rust = rust.recv_timeout(left()).ok();
    let mut folders = vec![(PlaceKind::State, state.to_owned())];
    if let Some(workspace) = rust.as_ref().and_then(|rust| rust.workspace.as_ref()) {
        folders.push((PlaceKind::Workspace, workspace.path.clone()));
        folders.push((PlaceKind::Target, workspace.path.join("target")));
    }
    if let Some(data) = docker.as_ref().and_then(docker::data_folder) {
        folders.push((PlaceKind::Docker, data));
    }
    let places = in_background(move || places::gather(folders));
    let sandbox = sandbox.recv_timeout(left()).ok();
    let (sandbox, state) = sandbox.map_or((None, None), |(sandbox, state)| (Some(sandbox), Some(state)));
    Facts {
        is_root: rustix::process::geteuid().is_root(),
        user: user(),
        rust,
        sandbox,
        docker,
        state,
        places: places.recv_timeout(left()).ok(),
        network: network.recv_timeout(left()).ok(),
    }
}

fn user() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or(uid)
}

/// Variables that make programs trust other certificates than the machine's.
const CERTIFICATES: [&str; 3] = ["CARGO_HTTP_CAINFO", "SSL_CERT_FILE", "SSL_CERT_DIR"];
/// Where Debian and Fedora keep the certificates that somebody added.
const ADDED: [&str; 2] = ["/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors"];
/// CIs by a variable that they set, the particular ones first.
const CIS: [(&str, &str); 9] = [
    ("GITHUB_ACTIONS", "GitHub Actions"),
    ("GITLAB_CI", "GitLab CI"),
    ("CIRCLECI", "CircleCI"),
    ("BUILDKITE", "Buildkite"),
    ("BITBUCKET_BUILD_NUMBER", "Bitbucket Pipelines"),
    ("TF_BUILD", "Azure Pipelines"),
    ("JENKINS_URL", "Jenkins"),
    ("TRAVIS", "Travis CI"),
    ("CI", "a CI"),
];

fn network(caller: &Caller) -> NetworkFacts {
    let path = |name: &'static str| Some((name, PathBuf::from(caller.variable(name)?)));
    let certificates = CERTIFICATES.iter().filter_map(|name| path(name));
    let added = ADDED.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut added: Vec<PathBuf> = added.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    added.sort();
    let proxies = caller.texts().filter(|(name, value)| {
        let name = name.to_ascii_lowercase();
        matches!(name.as_str(), "http_proxy" | "https_proxy" | "all_proxy") && !value.is_empty()
    });
    let set = |name: &str| caller.text(name).is_some_and(|value| value != "false" && value != "0");
    NetworkFacts {
        certificates: certificates.map(|(name, path)| (name, path.clone(), path.exists())).collect(),
        added,
        proxies: proxies.map(|(name, value)| (name.to_owned(), without_password(value))).collect(),
        ci: CIS.iter().find(|(variable, _)| set(variable)).map(|(_, name)| *name),
    }
}

/// A proxy's address may hold a user's name and password, which are nobody's business.
fn without_password(proxy: &str) -> String {
    let (scheme, rest) = proxy.split_once("://").map_or(("", proxy), |(scheme, rest)| (scheme, rest));
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let address = rest[..authority_end].rsplit('@').next().unwrap_or_default();
    if scheme.is_empty() { address.to_owned() } else { format!("{scheme}://{address}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_not_kept() {
        assert_eq!(without_password("http://ada:s3cret@proxy:3128/x"), "http://proxy:3128");
        assert_eq!(without_password("http://ada:s3@cret@proxy:3128"), "http://proxy:3128");
        assert_eq!(without_password("ada:s3cret@proxy:3128"), "proxy:3128");
        assert_eq!(without_password("proxy:3128"), "proxy:3128");
    }
}
