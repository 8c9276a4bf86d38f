//! Asks every `docker`, `docker-compose` and `podman` of `PATH`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use carrack_base::Cancel;
use serde_json::Value;

use super::ask::{PATIENCE, Pending};
use crate::caller::Caller;
use crate::commands::doctor::facts::{Client, DockerFacts, Tool};

const INFO: &[&str] = &["info", "--format", "{{json .}}"];

pub(super) fn gather(caller: &Caller, cancel: &Cancel) -> DockerFacts {
    let start = |path: &Path, arguments: &[&str]| Pending::start(path, arguments, cancel);
    let paths = caller.programs("docker");

    // All of them are started before the first one is waited for.
    let endpoint = ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"];
    let endpoint = paths.first().map(|path| start(path, &endpoint));
    let tool = |name: &str, arguments: &[&str]| {
        let path = caller.program(name)?;
        let pending = start(&path, arguments);
        Some((path, pending))
    };
    let compose = tool("docker-compose", &["version", "--short"]);
    let podman = tool("podman", &["--version"]);
    let asked = |path: PathBuf| {
        let asked = [
            Pending::start_command(without_daemon(&path, &["--version"]), cancel),
            Pending::start_command(without_daemon(&path, INFO), cancel),
            start(&path, &["version", "--format", "{{json .}}"]),
            start(&path, INFO),
        ];
        (path, asked)
    };
    let clients: Vec<_> = paths.into_iter().map(asked).collect();

    let client = |(path, asked): (PathBuf, [Pending; 4])| {
        let [name, plugins, version, info] = asked.map(Pending::answer);
        Client { path, name, plugins, version, info }
    };
    let clients: Vec<Client> = clients.into_iter().map(client).collect();
    let endpoint = endpoint.and_then(|pending| pending.answer().text().map(str::to_owned));
    let answers = clients.first().is_some_and(|first| first.version.text().is_some());
    let socket =
        endpoint.as_deref().filter(|_| answers).and_then(|endpoint| endpoint.strip_prefix("unix://"));
    let tool = |asked: (PathBuf, Pending)| Tool { path: asked.0, answer: asked.1.answer() };
    DockerFacts {
        daemon_asks_for_buildkit: socket.and_then(ping),
        clients,
        endpoint,
        host: caller.text("DOCKER_HOST"),
        buildkit: caller.text("DOCKER_BUILDKIT"),
        api_version: caller.text("DOCKER_API_VERSION"),
        compose_cli_build: caller.text("COMPOSE_DOCKER_CLI_BUILD"),
        compose: compose.map(tool),
        podman: podman.map(tool),
        buildctl: caller.program("buildctl"),
    }
}

/// What a client knows by itself: older ones ask the daemon even for that, and a hanging daemon would hide it.
fn without_daemon(client: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(client);
    command.args(arguments).env("DOCKER_HOST", "unix:///dev/null/docker.sock");
    command.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY").env_remove("DOCKER_API_VERSION");
    command
}

/// Asks a daemon that answers what clients ask first. No program prints it.
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
