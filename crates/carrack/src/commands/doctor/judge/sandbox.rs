//! What the kernel allows.

use std::error::Error;

use carrack_sandbox::{SandboxError, Support};

use crate::commands::doctor::facts::SandboxFacts;
use crate::commands::doctor::finding::{Check, Finding, State};

/// A build without namespaces works, so none of this is ever broken.
pub(super) fn judge(sandbox: &SandboxFacts, is_root: bool, user: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &sandbox.support {
        Some(Support::Isolated) => {
            findings.push(Finding::new(Check::Namespaces, State::Ok, "builds are isolated"));
            findings.push(Finding::new(Check::Overlay, State::Ok, "overlays can be mounted"));
        }
        Some(Support::Plain { reason: SandboxError::Namespaces { source } }) => {
            findings.push(namespaces(sandbox, source, is_root));
        }
        Some(Support::Plain { reason }) => {
            findings.push(Finding::new(Check::Namespaces, State::Ok, "namespaces can be made"));
            let cause = reason.source().map(|source| format!(": {source}")).unwrap_or_default();
            let what =
                format!("builds run as plain processes, `carrack run` does not: cannot {reason}{cause}");
            findings.push(
                Finding::new(Check::Overlay, State::Warning, what)
                    .hint("export CARRACK_HOME=/var/tmp/carrack    # a folder on ext4, xfs or btrfs"),
            );
        }
        None => findings.push(Finding::new(
            Check::Namespaces,
            State::Note,
            "not tried: neither the state folder nor the temporary one can be written to",
        )),
    }
    if !is_root {
        findings.push(subordinate_ids(sandbox, user));
    }
    findings
}

fn namespaces(sandbox: &SandboxFacts, source: &std::io::Error, is_root: bool) -> Finding {
    let (why, command) = if sandbox.max_user_namespaces == Some(0) {
        ("user.max_user_namespaces is 0".to_owned(), "sudo sysctl -w user.max_user_namespaces=15000")
    } else if sandbox.userns_clone == Some(0) && !is_root {
        (
            "kernel.unprivileged_userns_clone is 0".to_owned(),
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        )
    } else if sandbox.apparmor_restricts == Some(1) && !is_root {
        (
            "kernel.apparmor_restrict_unprivileged_userns is 1".to_owned(),
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        )
    } else if sandbox.in_container {
        (format!("this container forbids them ({source})"), "docker run --security-opt seccomp=unconfined …")
    } else {
        (source.to_string(), "sudo sysctl -w user.max_user_namespaces=15000")
    };
    let what = format!("builds run as plain processes, `carrack run` does not: no user namespaces, {why}");
    Finding::new(Check::Namespaces, State::Warning, what).hint(command)
}

fn subordinate_ids(sandbox: &SandboxFacts, user: &str) -> Finding {
    let finding = |state, what: String| Finding::new(Check::SubordinateIds, state, what);
    if sandbox.subordinate_ids {
        return finding(State::Ok, format!("{user} has some in /etc/subuid and /etc/subgid"));
    }
    let missing = "a build on this host needs none, rootless Podman and steps with several users do";
    if !sandbox.newuidmap {
        return finding(State::Note, format!("newuidmap is not installed: {missing}"))
            .hint("sudo apt-get install uidmap");
    }
    finding(State::Note, format!("{user} has none in /etc/subuid and /etc/subgid: {missing}"))
        .hint(format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"))
}
