use std::process::{Command, Stdio};

use crate::client::Client;
use crate::error::BuildKitError;
use crate::said;

/// What of an engine's build cache goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prune {
    /// Also what images still use.
    pub all: bool,
    /// Docker's filters, `until=24h`.
    pub filters: Vec<String>,
    /// How much may stay, as docker writes sizes (`10GB`).
    pub keep: Option<String>,
}

/// Clears the build cache of the engine behind `client`; gives what that freed, in the client's words (`1.2GB`).
///
/// Errors: [`BuildKitError::Start`], [`BuildKitError::Unreachable`] with what the client says if it fails.
pub fn prune(client: &Client, prune: &Prune) -> Result<String, BuildKitError> {
    let (program, command, target) = match client {
        Client::Buildx { docker, builder, .. } => {
            let builder = builder.iter().flat_map(|builder| ["--builder", builder]).collect();
            (docker, ["buildx", "prune", "--force"].as_slice(), builder)
        }
        Client::Classic { docker, .. } => (docker, ["builder", "prune", "--force"].as_slice(), Vec::new()),
        Client::Buildctl { program, address, .. } => {
            let address = address.iter().flat_map(|address| ["--addr", address]).collect();
            (program, ["prune"].as_slice(), address)
        }
    };
    let is_buildctl = matches!(client, Client::Buildctl { .. });
    let mut command_line = Command::new(program);
    // buildctl takes the address before its command, buildx takes the builder behind it.
    match is_buildctl {
        true => command_line.args(target).args(command),
        false => command_line.args(command).args(target),
    };
    let mut command = command_line;
    if prune.all {
        command.arg("--all");
    }
    for filter in &prune.filters {
        command.args(["--filter", filter]);
    }
    if let Some(keep) = &prune.keep {
        command.args(["--keep-storage", keep]);
    }
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|source| BuildKitError::Start { program: program.clone(), source })?;
    if !output.status.success() {
        let words: Vec<String> = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
        return Err(BuildKitError::Unreachable { client: client.describe(), said: said::message(&words) });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let total = text.lines().rev().find_map(|line| line.strip_prefix("Total"));
    let amount = total.and_then(|total| total.rsplit([':', '\t', ' ']).find(|word| !word.is_empty()));
    Ok(amount.unwrap_or(if is_buildctl { "everything unused" } else { "0B" }).to_owned())
}
