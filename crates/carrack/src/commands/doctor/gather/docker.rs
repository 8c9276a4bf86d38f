//! Asks every `docker`, `docker-compose` and `podman` of `PATH`.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use carrack_base::Cancel;
use serde_json::Value;

use super::ask::{PATIENCE, Pending, in_background};
use crate::caller::Caller;
use crate::commands::doctor::facts::{Client, DockerFacts, Tool};

const INFO: &[&str] = &["info", "--format", "{{json .}}"];

/// Programs that were started.
pub(super) struct Asked {
    facts: DockerFacts,
    clients: Vec<(PathBuf, [Pending; 4])>,
    endpoint: Option<Pending>,
    compose: Option<(PathBuf, Pending)>,
    podman: Option<(PathBuf, Pending)>,
}

impl Asked {
    pub(super) fn start(caller: &Caller, cancel: &Cancel) -> Self {
        let start = |path: &PathBuf, arguments: &[&str]| Pending::start(path, arguments, cancel);
        // `/bin` is `/usr/bin` on most machines: the same program is asked once.
        let mut known = BTreeSet::new();
        let mut clients = caller.programs("docker");
        clients.retain(|path| known.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
        let tool = |name: &str, arguments: &[&str]| {
            let path = caller.program(name)?;
            let pending = start(&path, arguments);
            Some((path, pending))
        };
        Self {
            facts: DockerFacts {
                host: caller.text("DOCKER_HOST"),
                buildkit: caller.text("DOCKER_BUILDKIT"),
                api_version: caller.text("DOCKER_API_VERSION"),
                compose_cli_build: caller.text("COMPOSE_DOCKER_CLI_BUILD"),
                ..DockerFacts::default()
            },
            endpoint: clients
                .first()
                .map(|path| start(path, &["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"])),
            compose: tool("docker-compose", &["version", "--short"]),
            podman: tool("podman", &["--version"]),
            clients: clients
                .into_iter()
                .map(|path| {
                    let asked = [
                        Pending::start_command(without_daemon(&path, &["--version"]), cancel),
                        Pending::start_command(without_daemon(&path, INFO), cancel),
                        start(&path, &["version", "--format", "{{json .}}"]),
                        start(&path, INFO),
                    ];
                    (path, asked)
                })
                .collect(),
        }
    }

    pub(super) fn facts(self) -> DockerFacts {
        let tool = |asked: Option<(PathBuf, Pending)>| {
            asked.map(|(path, pending)| Tool { path, answer: pending.answer() })
        };
        let client = |(path, asked): (PathBuf, [Pending; 4])| {
            let [name, plugins, version, info] = asked.map(Pending::answer);
            Client { path, name, plugins, version, info }
        };
        let endpoint = self.endpoint.and_then(|pending| pending.answer().text().map(str::to_owned));
        let socket = endpoint.as_deref().and_then(|endpoint| endpoint.strip_prefix("unix://"));
        let pinged = socket.map(str::to_owned).map(|socket| in_background(move || ping(&socket)));
        DockerFacts {
            clients: self.clients.into_iter().map(client).collect(),
            daemon_asks_for_buildkit: pinged.and_then(|answer| answer.recv_timeout(PATIENCE).ok().flatten()),
            endpoint,
            compose: tool(self.compose),
            podman: tool(self.podman),
            ..self.facts
        }
    }
}

/// What a client knows by itself: older ones ask the daemon even for that, and a hanging daemon would hide it.
fn without_daemon(client: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(client);
    command.args(arguments).env("DOCKER_HOST", "unix:///dev/null/docker.sock");
    command.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY").env_remove("DOCKER_API_VERSION");
    command
}

/// Asks a daemon what clients ask first. No program prints the answer.
fn ping(socket: &str) -> Option<bool> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.").then(|| asks_for_buildkit(&answer))
}

fn asks_for_buildkit(answer: &str) -> bool {
    let headers = answer.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let mut builder = headers.filter(|(name, _)| name.eq_ignore_ascii_case("Builder-Version"));
    builder.any(|(_, version)| version.trim() == "2")
}

/// Where the daemon keeps everything, if it is a daemon of this machine.
pub(super) fn data_folder(docker: &DockerFacts) -> Option<PathBuf> {
    if !docker.endpoint.as_deref()?.starts_with("unix://") {
        return None;
    }
    let info: Value = serde_json::from_str(docker.clients.first()?.info.text()?).ok()?;
    info["DockerRootDir"].as_str().filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_says_which_builder_it_wants() {
        let answer = |header: &str| format!("HTTP/1.0 200 OK\r\nApi-Version: 1.41\r\n{header}\r\nOK");
        assert!(asks_for_buildkit(&answer("Builder-Version: 2\r\n")));
        assert!(!asks_for_buildkit(&answer("Builder-Version: 1\r\n")));
        assert!(!asks_for_buildkit(&answer("")));
    }
}
