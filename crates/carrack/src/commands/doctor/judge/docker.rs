//! Docker's clients and daemon, BuildKit, compose, Podman.
//!
//! What the clients do with `DOCKER_BUILDKIT` and buildx, found by trying:
//!
//! | client | `DOCKER_BUILDKIT` unset | `=1` | `=0` |
//! | --- | --- | --- | --- |
//! | < 23 | as the daemon says: on from 23 unless `features.buildkit` is false, before only if it is true | on | off |
//! | ≥ 23 with buildx | on, whatever the daemon says | on | off |
//! | ≥ 23 without buildx | off | refuses to build | off |

use serde_json::Value;

use super::severe_for;
use crate::commands::doctor::facts::{Answer, Client, DockerFacts, Tool};
use crate::commands::doctor::finding::{Check, Finding, State};
use crate::commands::doctor::version::Version;
use crate::engine::EngineName;

/// The oldest with everything that the files of `carrack init` need.
const OLDEST: Version = Version(20, 10, 0);
/// From here on BuildKit is the default, by way of buildx.
const BUILDKIT_BY_DEFAULT: Version = Version(23, 0, 0);
const WITHOUT_BUILDKIT: &str =
    "the `--mount=type=cache` lines fail (\"the --mount option requires BuildKit\")";
const SWITCH_ON: &str = "export DOCKER_BUILDKIT=1";

/// What a client's answers say.
struct Known<'f> {
    client: &'f Client,
    /// `None` if it does not even say its own.
    version: Option<Version>,
    is_podman: bool,
    daemon: Daemon,
    /// Name and version; `None` if it did not say.
    plugins: Option<Vec<(String, String)>>,
    storage_driver: Option<String>,
}

enum Daemon {
    Answers {
        version: Option<Version>,
        text: String,
        api: String,
    },
    /// Podman's service answers, which has no BuildKit.
    Podman {
        version: String,
    },
    Silent,
    Denied,
    /// The client and the daemon speak different versions of the API; the daemon's words.
    Unfit(String),
    /// The client's words.
    Absent(String),
}

impl<'f> Known<'f> {
    fn of(client: &'f Client) -> Self {
        // `Docker version 20.10.24+dfsg1, build 297e128`, `podman version 4.3.1`.
        let name = client.name.text().unwrap_or_default();
        let (program, version) = name.split_once(" version ").unwrap_or_default();
        let plugin = |plugin: &Value| {
            // One that does not start is listed with its error.
            let starts = plugin["Err"].is_null();
            let text = |field: &str| plugin[field].as_str().map(str::to_owned);
            Some((text("Name").filter(|_| starts)?, text("Version").unwrap_or_default()))
        };
        let own = json(&client.plugins);
        let plugins = own["ClientInfo"]["Plugins"].as_array();
        Self {
            client,
            version: Version::read(version),
            is_podman: program.eq_ignore_ascii_case("podman"),
            daemon: daemon(&json(&client.version)["Server"], &client.version),
            plugins: plugins.map(|plugins| plugins.iter().filter_map(plugin).collect()),
            storage_driver: json(&client.info)["Driver"]
                .as_str()
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        }
    }

    /// The version of a plugin.
    fn plugin(&self, name: &str) -> Option<&str> {
        let plugin = self.plugins.as_ref()?.iter().find(|(known, _)| known == name);
        plugin.map(|(_, version)| version.as_str())
    }

    /// Whether it can build with BuildKit; `None` if nobody knows.
    fn has_buildkit(&self) -> Option<bool> {
        let version = self.version.filter(|_| !self.is_podman)?;
        if (OLDEST..BUILDKIT_BY_DEFAULT).contains(&version) {
            return Some(true);
        }
        self.plugins.as_ref().map(|_| self.plugin("buildx").is_some())
    }

    fn describe(&self) -> String {
        let path = self.client.path.display();
        match (self.version, self.is_podman) {
            (Some(version), true) => format!("{path} is Podman {version}"),
            (Some(version), false) => format!("{path} {version}"),
            (None, _) => format!("{path} (no version)"),
        }
    }
}

/// The document of an answer; the client prints one even if the daemon does not answer.
fn json(answer: &Answer) -> Value {
    match answer {
        Answer::Said { stdout, .. } => serde_json::from_str(stdout.trim()).unwrap_or_default(),
        Answer::Silent | Answer::NotStarted(_) => Value::Null,
    }
}

fn daemon(server: &Value, answer: &Answer) -> Daemon {
    if let (Some(version), Answer::Said { success: true, .. }) = (server["Version"].as_str(), answer) {
        let components = server["Components"].as_array().into_iter().flatten();
        if components.into_iter().any(|component| component["Name"] == "Podman Engine") {
            return Daemon::Podman { version: version.to_owned() };
        }
        let api = server["ApiVersion"].as_str().unwrap_or("?").to_owned();
        return Daemon::Answers { version: Version::read(version), text: version.to_owned(), api };
    }
    let complaint = match answer {
        Answer::Silent => return Daemon::Silent,
        Answer::Said { .. } | Answer::NotStarted(_) => answer.complaint(),
    };
    let complaint = complaint.trim_start_matches("Error response from daemon: ").to_owned();
    if complaint.contains("client version")
        && (complaint.contains("too new") || complaint.contains("too old"))
    {
        Daemon::Unfit(complaint)
    } else if complaint.contains("permission denied") {
        Daemon::Denied
    } else {
        Daemon::Absent(complaint)
    }
}

pub(super) fn judge(docker: &DockerFacts, engine: &EngineName) -> Vec<Finding> {
    let severe = severe_for(&EngineName::Docker, engine);
    let clients: Vec<Known<'_>> = docker.clients.iter().map(Known::of).collect();
    // Carrack itself takes the first client that can and switches BuildKit on; whoever types `docker build` does not.
    let can_build = clients.iter().any(|known| known.has_buildkit() == Some(true));
    let severe_alone = if can_build { State::Warning } else { severe };
    let mut findings = Vec::new();
    match clients.first() {
        None => findings.push(no_client(engine)),
        Some(first) => {
            findings.push(client(first, severe_alone));
            findings.extend(others(&clients));
            // A client that says nothing has told everything with that.
            if first.version.is_some() && !first.is_podman {
                findings.push(daemon_answers(docker, &first.daemon, severe));
                findings.extend(api(docker, &first.daemon, severe));
                findings.extend(buildkit(docker, first));
                findings.extend(buildx(first, severe_alone));
                findings.extend(first.storage_driver.as_deref().map(storage_driver));
            }
        }
    }
    findings.extend(buildctl(docker, can_build, engine));
    let plugin = clients.first().and_then(|first| first.plugin("compose"));
    findings.extend(compose(docker, plugin));
    findings.extend(podman(docker, &clients));
    findings
}

fn no_client(engine: &EngineName) -> Finding {
    let (state, what) = match engine {
        EngineName::Docker => (State::Broken, "not installed"),
        EngineName::Embedded | EngineName::BuildKit(_) => {
            (State::Note, "not installed; only `--load` and `--engine docker` need it")
        }
    };
    Finding::new(Check::DockerClient, state, what).hint("sudo apt-get install docker.io")
}

fn client(known: &Known<'_>, severe: State) -> Finding {
    let finding = |state, what: String| Finding::new(Check::DockerClient, state, what);
    let path = known.client.path.display();
    match (known.version, &known.client.name) {
        (Some(_), _) if known.is_podman => {
            let what = format!("{path} is Podman under another name: its builds know no shared cache mounts");
            finding(severe, what).hint("sudo apt-get install docker.io")
        }
        (Some(version), _) if version < OLDEST => {
            let what = format!("{path} is {version}, too old: what Carrack writes needs {OLDEST}");
            finding(severe, what).hint("sudo apt-get install docker.io")
        }
        (Some(version), _) => finding(State::Ok, format!("{path} {version}")),
        (None, answer) => {
            let what = format!("{path} does not say its version: {}", answer.complaint());
            finding(severe, what).hint("sudo apt-get install --reinstall docker.io")
        }
    }
}

/// Other clients behind the first one in `PATH`.
fn others(clients: &[Known<'_>]) -> Option<Finding> {
    let (first, others) = clients.split_first()?;
    let better = others.iter().find(|other| other.has_buildkit() == Some(true));
    if let Some(better) = better.filter(|_| first.is_podman || first.has_buildkit() == Some(false)) {
        let what = format!(
            "{} stands in PATH before {}, which can use BuildKit",
            first.describe(),
            better.describe()
        );
        let folder = better.client.path.parent().unwrap_or(&better.client.path);
        return Some(
            Finding::new(Check::DockerClients, State::Warning, what)
                .hint(format!("export PATH={}:$PATH", folder.display())),
        );
    }
    if others.iter().all(|other| other.version == first.version) {
        return None;
    }
    let behind: Vec<String> = others.iter().map(Known::describe).collect();
    let what = format!("{} is used, behind it in PATH: {}", first.describe(), behind.join(", "));
    Some(Finding::new(Check::DockerClients, State::Note, what))
}

fn daemon_answers(docker: &DockerFacts, daemon: &Daemon, severe: State) -> Finding {
    let endpoint = docker.host.as_deref().or(docker.endpoint.as_deref()).unwrap_or("its socket");
    let finding = |state, what: String| Finding::new(Check::DockerDaemon, state, what);
    match daemon {
        Daemon::Answers { version: Some(version), text, .. } if *version < OLDEST => {
            let what = format!("{text} at {endpoint} is too old: what Carrack writes needs {OLDEST}");
            finding(severe, what).hint("sudo apt-get install docker.io")
        }
        Daemon::Answers { text, .. } => finding(State::Ok, format!("{text} at {endpoint}")),
        Daemon::Podman { version } => {
            let what = format!(
                "Podman {version} answers at {endpoint}: it takes images, and builds without BuildKit"
            );
            finding(severe, what).hint(elsewhere(docker))
        }
        Daemon::Unfit(_) => finding(State::Ok, format!("answers at {endpoint}")),
        Daemon::Denied => {
            let what =
                format!("{endpoint} is closed to this user: who may use Docker is in the group docker");
            finding(severe, what).hint("sudo usermod -aG docker $USER && newgrp docker")
        }
        Daemon::Silent => finding(severe, format!("nothing at {endpoint} answers within 5 seconds"))
            .hint("sudo systemctl restart docker"),
        Daemon::Absent(complaint) => {
            let start = if endpoint.contains("/run/user/") {
                "systemctl --user start docker"
            } else if endpoint.contains("/.docker/desktop/") {
                "systemctl --user start docker-desktop"
            } else if endpoint.ends_with("/run/docker.sock") {
                "sudo systemctl start docker"
            } else {
                elsewhere(docker)
            };
            finding(severe, complaint.clone()).hint(start)
        }
    }
}

/// Takes the client back to this machine's own daemon.
fn elsewhere(docker: &DockerFacts) -> &'static str {
    if docker.host.is_some() { "unset DOCKER_HOST" } else { "docker context use default" }
}

fn api(docker: &DockerFacts, daemon: &Daemon, severe: State) -> Option<Finding> {
    match daemon {
        Daemon::Answers { api, .. } => {
            Some(Finding::new(Check::DockerApi, State::Ok, format!("client and daemon speak API {api}")))
        }
        Daemon::Unfit(complaint) => {
            let hint = match docker.api_version {
                Some(_) => "unset DOCKER_API_VERSION",
                None => "sudo apt-get install docker.io",
            };
            Some(Finding::new(Check::DockerApi, severe, complaint.clone()).hint(hint))
        }
        Daemon::Podman { .. } | Daemon::Silent | Daemon::Denied | Daemon::Absent(_) => None,
    }
}

/// As Go's `strconv.ParseBool`, which the clients use.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Whether `docker build` uses BuildKit. `None` for a newer client without buildx: that is [`buildx`]'s to say.
fn buildkit(docker: &DockerFacts, first: &Known<'_>) -> Option<Finding> {
    let off = |why: String| {
        let what = format!("{why}: {WITHOUT_BUILDKIT}");
        Finding::new(Check::Buildkit, State::Warning, what).hint(SWITCH_ON)
    };
    let on = |why: &str| Finding::new(Check::Buildkit, State::Ok, why);
    let version = first.version.filter(|_| !matches!(first.daemon, Daemon::Podman { .. }))?;
    match docker.buildkit.as_deref().map(|text| boolean(text).ok_or(text)) {
        Some(Err(text)) => {
            let what = format!("DOCKER_BUILDKIT={text} is neither true nor false: docker refuses to build");
            Some(Finding::new(Check::Buildkit, State::Warning, what).hint(SWITCH_ON))
        }
        Some(Ok(false)) => Some(off("DOCKER_BUILDKIT=0 switches it off".to_owned())),
        _ if version >= BUILDKIT_BY_DEFAULT => first.plugin("buildx").map(|_| on("on, by way of buildx")),
        Some(Ok(true)) => Some(on("on, by DOCKER_BUILDKIT")),
        None => Some(by_daemon(docker, first, version).map_or_else(off, on)),
    }
}

fn buildx(first: &Known<'_>, severe: State) -> Option<Finding> {
    if let Some(buildx) = first.plugin("buildx") {
        return Some(Finding::new(Check::Buildx, State::Ok, buildx));
    }
    let version = first.version.filter(|version| *version >= BUILDKIT_BY_DEFAULT)?;
    first.plugins.as_ref()?;
    let what = format!(
        "docker {version} builds with BuildKit only through buildx, which it has not: {WITHOUT_BUILDKIT}"
    );
    Some(Finding::new(Check::Buildx, severe, what).hint("sudo apt-get install docker-buildx"))
}

/// BuildKit's own client, which is of interest to those who chose a BuildKit.
fn buildctl(docker: &DockerFacts, can_build: bool, engine: &EngineName) -> Option<Finding> {
    let EngineName::BuildKit(address) = engine else { return None };
    let finding = |state, what: String| Finding::new(Check::Buildctl, state, what);
    Some(match (&docker.buildctl, address) {
        (Some(path), _) => finding(State::Ok, path.display().to_string()),
        (None, Some(address)) => {
            let what = format!("not installed, and nothing else reaches {address} by its address");
            finding(State::Broken, what)
                .hint(format!("docker buildx create --name remote --driver remote {address} --use"))
        }
        (None, None) if can_build => finding(State::Ok, "not needed: docker does".to_owned()),
        (None, None) => {
            finding(State::Broken, "neither buildctl nor a docker with BuildKit is installed".to_owned())
                .hint("sudo apt-get install docker.io")
        }
    })
}

/// What an older client does by itself. Says why BuildKit is off as the error.
fn by_daemon(docker: &DockerFacts, first: &Known<'_>, version: Version) -> Result<&'static str, String> {
    let daemon = match &first.daemon {
        Daemon::Answers { version, .. } => *version,
        Daemon::Podman { .. } | Daemon::Silent | Daemon::Denied | Daemon::Unfit(_) | Daemon::Absent(_) => {
            None
        }
    };
    let newer = daemon.is_some_and(|daemon| daemon >= BUILDKIT_BY_DEFAULT);
    match docker.daemon_asks_for_buildkit.unwrap_or(newer) {
        true => Ok("on, as the daemon asks"),
        false if newer => Err("the daemon's features.buildkit=false switches it off".to_owned()),
        false => Err(format!("docker {version} uses it only if asked to")),
    }
}

fn storage_driver(driver: &str) -> Finding {
    if driver != "vfs" {
        return Finding::new(Check::StorageDriver, State::Ok, driver);
    }
    let what = "vfs copies everything for each layer: slow, and it fills the disk";
    Finding::new(Check::StorageDriver, State::Warning, what)
        .hint("echo '{\"storage-driver\": \"overlay2\"}' | sudo tee /etc/docker/daemon.json && sudo systemctl restart docker")
}

fn compose(docker: &DockerFacts, plugin: Option<&str>) -> Option<Finding> {
    if let Some(version) = plugin {
        return Some(Finding::new(Check::Compose, State::Ok, format!("docker compose {version}")));
    }
    let Some(Tool { path, answer }) = &docker.compose else {
        let nothing = docker.clients.is_empty();
        let note = || {
            Finding::new(Check::Compose, State::Note, "not installed; `carrack compose build` needs none")
                .hint("sudo apt-get install docker-compose")
        };
        return (!nothing).then(note);
    };
    let path = path.display();
    let Some(version) = answer.text().and_then(Version::read) else {
        let what = format!("{path} does not say its version: {}", answer.complaint());
        return Some(Finding::new(Check::Compose, State::Warning, what).hint("docker-compose version"));
    };
    if version >= Version(2, 0, 0) {
        return Some(Finding::new(Check::Compose, State::Ok, format!("{path} {version}")));
    }
    let on = |value: &Option<String>| value.as_deref().and_then(boolean) == Some(true);
    if on(&docker.compose_cli_build) && on(&docker.buildkit) {
        let what = format!("{path} {version}, which is no longer maintained, builds with BuildKit");
        return Some(Finding::new(Check::Compose, State::Note, what));
    }
    let what = format!("{path} {version} builds without BuildKit unless it is told twice");
    let hint = "export COMPOSE_DOCKER_CLI_BUILD=1 DOCKER_BUILDKIT=1";
    Some(Finding::new(Check::Compose, State::Warning, what).hint(hint))
}

/// Of interest where it is, or where nothing else could take an image.
fn podman(docker: &DockerFacts, clients: &[Known<'_>]) -> Option<Finding> {
    let answers = clients
        .first()
        .is_some_and(|first| matches!(first.daemon, Daemon::Answers { .. } | Daemon::Podman { .. }));
    let Some(Tool { path, answer }) = &docker.podman else {
        let note = || {
            let what = "neither Docker nor Podman can take images: `--load` has nowhere to go";
            Finding::new(Check::Podman, State::Note, what).hint("sudo apt-get install podman")
        };
        return (!answers).then(note);
    };
    match answer.text() {
        Some(text) => {
            let version = text.rsplit(' ').next().unwrap_or(text);
            let what = format!("{} {version} takes images if Docker does not answer", path.display());
            Some(Finding::new(Check::Podman, State::Ok, what))
        }
        None => {
            let what = format!("{} does not say its version: {}", path.display(), answer.complaint());
            Some(Finding::new(Check::Podman, State::Note, what).hint("podman --version"))
        }
    }
}
