//! What the options of a build ask of a Dockerfile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrack_base::Platform;
use carrack_buildkit::{BuildArgument, DockerBuild};
use carrack_docker::dockerignore::Dockerignore;
use carrack_docker::lower::{Context, Request};
use carrack_engine::{Secret, Supplies};
use carrack_graph::{Network, PathFilter};
use carrack_store::Store;

use super::Extras;
use super::agent::KeyAgents;
use crate::caller::Caller;
use crate::failure::Failure;

/// The authorities that the machine's administrator added, and the file in which Debian keeps all of them.
const ADDED_AUTHORITIES: &str = "/usr/local/share/ca-certificates";
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The request that a build is, for a context.
///
/// Errors: something that is asked makes no sense.
pub(super) fn of(
    build: &DockerBuild,
    extras: &Extras,
    caller: &Caller,
    context: Context,
) -> Result<Request, Failure> {
    let mut request = Request::new(context, Platform::host());
    request.target = build.target.clone();
    for (name, value) in &build.arguments {
        let value = match value {
            BuildArgument::Value(value) => Some(value.clone()),
            // As with docker: a variable that is not set is as good as not named.
            BuildArgument::FromEnvironment => caller.text(name),
        };
        request.build_args.extend(value.map(|value| (name.clone(), value)));
    }
    for (name, place) in &build.contexts {
        request.contexts.insert(name.clone(), named_context(place)?);
    }
    request.platform = match &build.platforms[..] {
        [] => None,
        [platform] => Some(platform.clone()),
        _ => {
            return Err(Failure::NoMeaning {
                option: "--platform with several platforms",
                here: "for the embedded engine",
                hint: "build one after the other, or add `--engine docker`",
            });
        }
    };
    request.labels = build.labels.clone();
    request.tags = build.tags.clone();
    request.name = Some(build.name.clone());
    request.no_cache = build.no_cache;
    request.programs = extras.programs.get(&build.name).cloned().unwrap_or_default();
    request.no_cache_filter = extras.no_cache_filter.iter().cloned().collect();
    request.network = network(build.network.as_deref())?;
    request.shm_size = build.shm_size;
    request.add_hosts = build.extra_hosts.iter().map(|host| host_line(host)).collect::<Result<_, _>>()?;
    request.ulimits = build.ulimits.iter().map(|limit| ulimit(limit)).collect::<Result<_, _>>()?;
    request.source_date_epoch = caller.text("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"] {
        let value = caller.text(name).or_else(|| caller.text(&name.to_lowercase()));
        request.proxies.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(request)
}

/// What commands get beyond that.
///
/// Errors: a secret or an agent that is not there.
pub(super) fn supplies(
    build: &DockerBuild,
    extras: &Extras,
    caller: &Caller,
    store: &Store,
    agents: &KeyAgents,
) -> Result<Supplies, Failure> {
    let mut supplies = Supplies::default();
    for text in &build.secrets {
        let (id, secret) = secret(text, caller)?;
        supplies.secrets.insert(id, secret);
    }
    for text in &build.ssh {
        let (id, places) = text.split_once('=').unwrap_or((text, ""));
        let socket = match (places, caller.variable("SSH_AUTH_SOCK")) {
            ("", Some(socket)) => PathBuf::from(socket),
            ("", None) => return Err(bad("--ssh", text, "SSH_AUTH_SOCK is not set")),
            (places, _) => agent(text, places, store, agents)?,
        };
        supplies.agents.insert(id.to_owned(), socket);
    }
    let added = fs::read_dir(ADDED_AUTHORITIES).is_ok_and(|mut files| files.next().is_some());
    if added && !extras.no_host_certificates && Path::new(AUTHORITIES).exists() {
        supplies.certificates = Some(AUTHORITIES.into());
    }
    Ok(supplies)
}

/// Whether two builds mean the same by each name that both have.
pub(super) fn agree(one: &Supplies, other: &Supplies) -> bool {
    let is_same = |one: &Secret, other: &Secret| match (one, other) {
        (Secret::File(one), Secret::File(other)) => one == other,
        (Secret::Value(one), Secret::Value(other)) => one == other,
        _ => false,
    };
    other.secrets.iter().all(|(id, secret)| one.secrets.get(id).is_none_or(|known| is_same(known, secret)))
        && other.agents.iter().all(|(id, agent)| one.agents.get(id).is_none_or(|known| known == agent))
}

/// The socket that `places` means: that of an agent, or of one that has the keys in these files.
fn agent(text: &str, places: &str, store: &Store, agents: &KeyAgents) -> Result<PathBuf, Failure> {
    let mut keys = Vec::new();
    for place in places.split(',') {
        let path = std::path::absolute(place).map_err(|_| bad("--ssh", text, "it names no file"))?;
        let found = fs::metadata(&path);
        let found = found.map_err(|_| bad("--ssh", text, &format!("there is no {}", path.display())))?;
        match found.file_type().is_socket() {
            true if !places.contains(',') => return Ok(path),
            true => return Err(bad("--ssh", text, "one agent's socket, or files with keys")),
            false => keys.push(path),
        }
    }
    agents.socket(&keys, store)
}

/// `id=ID,src=FILE`, `id=ID,env=NAME`, `id=ID`.
fn secret(text: &str, caller: &Caller) -> Result<(String, Secret), Failure> {
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for field in text.split(',') {
        let (name, value) = field.split_once('=').ok_or_else(|| bad("--secret", text, "expected id=ID"))?;
        fields.insert(name.trim(), value);
    }
    let id = *fields.get("id").ok_or_else(|| bad("--secret", text, "it has no `id`"))?;
    let file = fields.get("src").or_else(|| fields.get("source"));
    let variable = |name: &str| {
        let value = caller.text(name);
        value.map(|value| Secret::Value(value.into_bytes()))
    };
    let secret = match (file, fields.get("env")) {
        (Some(file), _) => {
            let path = std::path::absolute(file).map_err(|_| bad("--secret", text, "it names no file"))?;
            if !path.is_file() {
                return Err(bad("--secret", text, "there is no such file"));
            }
            Secret::File(path)
        }
        (None, Some(name)) => {
            variable(name).ok_or_else(|| bad("--secret", text, "the variable is not set"))?
        }
        // Docker looks for a variable of that name, then for a file.
        (None, None) => match variable(id) {
            Some(secret) => secret,
            None if Path::new(id).is_file() => Secret::File(PathBuf::from(id)),
            None => return Err(bad("--secret", text, "it has neither `src` nor `env`")),
        },
    };
    Ok((id.to_owned(), secret))
}

fn named_context(place: &str) -> Result<Context, Failure> {
    if let Some(reference) = place.strip_prefix("docker-image://") {
        return Ok(Context::Image { reference: reference.to_owned() });
    }
    if place.starts_with("oci-layout://") {
        return Ok(Context::Image { reference: place.to_owned() });
    }
    if carrack_docker::compose::is_remote(place) {
        return Ok(Context::Git { address: place.to_owned() });
    }
    let folder = PathBuf::from(place);
    if !folder.is_dir() {
        return Err(bad("--build-context", place, "there is no such folder"));
    }
    let filter = ignore_file(&folder.join(".dockerignore"))?.map(filter);
    Ok(Context::Folder { folder, filter })
}

/// What leaves out of a context what a `.dockerignore` says.
pub(super) fn filter(ignore: Dockerignore) -> Arc<dyn PathFilter> {
    Arc::new(ignore)
}

/// What a `.dockerignore` leaves out, if there is one.
pub(super) fn ignore_file(path: &Path) -> Result<Option<Dockerignore>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Failure::Unreadable { path: path.to_owned(), source }),
    };
    ignoring(&text, path).map(Some)
}

/// What the text of a `.dockerignore` leaves out.
pub(super) fn ignoring(text: &str, path: &Path) -> Result<Dockerignore, Failure> {
    Dockerignore::parse(text).map_err(|source| Failure::Dockerignore { path: path.to_owned(), source })
}

fn network(mode: Option<&str>) -> Result<Network, Failure> {
    match mode {
        None | Some("default") => Ok(Network::Default),
        Some("none") => Ok(Network::None),
        Some("host") => Ok(Network::Host),
        Some(other) => Err(bad("--network", other, "expected default, none or host")),
    }
}

/// `NAME:ADDRESS`, or `NAME=ADDRESS`, which knows addresses with colons; `host-gateway` is this machine.
fn host_line(text: &str) -> Result<(String, String), Failure> {
    let parts = text.split_once('=').or_else(|| text.split_once(':'));
    let (name, address) = parts.ok_or_else(|| bad("--add-host", text, "expected NAME:ADDRESS"))?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if address == "host-gateway" {
        return Ok((name.to_owned(), "127.0.0.1".to_owned()));
    }
    match address.parse::<std::net::IpAddr>() {
        Ok(_) if !name.is_empty() => Ok((name.to_owned(), address.to_owned())),
        _ => Err(bad("--add-host", text, "that is no address")),
    }
}

/// `NAME=SOFT[:HARD]`; -1 is no limit.
fn ulimit(text: &str) -> Result<(String, u64, u64), Failure> {
    let error = || bad("--ulimit", text, "expected NAME=SOFT[:HARD]");
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse::<u64>().map_err(|_| error()),
    };
    let (name, limits) = text.split_once('=').ok_or_else(error)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if name.is_empty() || soft > hard {
        return Err(error());
    }
    Ok((name.to_owned(), soft, hard))
}

fn bad(option: &'static str, value: &str, why: &str) -> Failure {
    Failure::BadOption { option, value: value.to_owned(), why: why.to_owned() }
}
