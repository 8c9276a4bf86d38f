//! A document in its long form: checked for unknown keys, short forms written out, relative paths made absolute.
//!
//! What building does not need is checked for its name only and then left out.

use std::path::{Path, PathBuf};

use carrack_base::{Span, nearest, normalised};

use super::error::{ComposeError, Invalid};
use super::yaml::{Key, Map, Node, Value};

const TOP: &[&str] =
    &["version", "name", "services", "networks", "volumes", "secrets", "configs", "include", "models"];

/// Keys of a service that building needs.
const SERVICE_USED: &[&str] = &[
    "build",
    "depends_on",
    "extends",
    "image",
    "ipc",
    "links",
    "network_mode",
    "pid",
    "platform",
    "profiles",
    "provider",
    "volumes_from",
];

#[rustfmt::skip]
const SERVICE_OTHER: &[&str] = &[
    "annotations", "attach", "blkio_config", "cap_add", "cap_drop", "cgroup", "cgroup_parent", "command", "configs",
    "container_name", "cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime",
    "cpu_shares", "cpus", "cpuset", "credential_spec", "deploy", "develop", "device_cgroup_rules", "devices", "dns",
    "dns_opt", "dns_search", "domainname", "entrypoint", "env_file", "environment", "expose", "external_links",
    "extra_hosts", "gpus", "group_add", "healthcheck", "hostname", "init", "isolation", "label_file", "labels",
    "logging", "mac_address", "mem_limit", "mem_reservation", "mem_swappiness", "memswap_limit", "models", "networks",
    "oom_kill_disable", "oom_score_adj", "pids_limit", "ports", "post_start", "pre_stop", "privileged", "pull_policy",
    "pull_refresh_after", "read_only", "restart", "runtime", "scale", "secrets", "security_opt", "shm_size",
    "stdin_open", "stop_grace_period", "stop_signal", "storage_opt", "sysctls", "tmpfs", "tty", "ulimits",
    "use_api_socket", "user", "userns_mode", "uts", "volumes", "working_dir",
];

const BUILD: &[&str] = &[
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

const EXTENDS: &[&str] = &["file", "service"];
const INCLUDE: &[&str] = &["path", "project_directory", "env_file"];

/// Where relative paths and `~` lead.
pub(super) struct Places<'a> {
    pub(super) folder: &'a Path,
    pub(super) home: Option<&'a Path>,
}

impl Places<'_> {
    /// A path of a file, without `.` and `..` in it.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let home = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let path = match (home, self.home) {
            (Some(rest), Some(home)) => home.join(rest.trim_start_matches('/')),
            _ => self.folder.join(path),
        };
        normalised(&path)
    }

    fn replace(&self, node: &mut Node) {
        if let Value::Text(text) = &mut node.value {
            *text = self.resolve(text).to_string_lossy().into_owned();
        }
    }
}

/// Whether a context is fetched by who builds instead of read here.
pub fn is_remote(context: &str) -> bool {
    context.contains("://") || ["git@", "github.com/"].iter().any(|prefix| context.starts_with(prefix))
}

/// Brings a document into its long form.
pub(super) fn normalise(document: &mut Node, places: &Places<'_>) -> Result<(), ComposeError> {
    let top = map(document, "the file")?;
    keep(top, &[TOP], TOP, "the file")?;
    if let Some(services) = section(top, "services")? {
        for (key, service) in &mut services.entries {
            let place = format!("services.{}", key.text);
            let allowed = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
            if key.text.is_empty() || !key.text.chars().all(allowed) {
                let what = Invalid::Name { name: key.text.clone(), what: "service" };
                return Err(ComposeError::invalid(&key.span, what));
            }
            if service.directive.is_none() || !matches!(service.value, Value::Null) {
                normalise_service(service, &place, places)?;
            }
        }
    }
    if let Some(secrets) = section(top, "secrets")? {
        for (_, secret) in &mut secrets.entries {
            if let Some(file) = secret.as_map_mut().and_then(|secret| secret.get_mut("file")) {
                places.replace(file);
            }
        }
    }
    if let Some(include) = top.get_mut("include") {
        normalise_include(include)?;
    }
    Ok(())
}

fn normalise_service(service: &mut Node, place: &str, places: &Places<'_>) -> Result<(), ComposeError> {
    let service = map(service, place)?;
    keep(service, &[SERVICE_USED, SERVICE_OTHER], SERVICE_USED, place)?;
    if let Some(build) = service.get_mut("build") {
        // A short form of its own; it may replace a longer one with a tag.
        if let Value::Text(_) = build.value {
            let context = Node { directive: None, ..build.clone() };
            build.value = Value::Map(single("context", context));
        }
        let place = format!("{place}.build");
        if build.directive.is_none() || !matches!(build.value, Value::Null) {
            normalise_build(build, &place, places)?;
        }
    }
    if let Some(extends) = service.get_mut("extends") {
        let place = format!("{place}.extends");
        if let Value::Text(_) = extends.value {
            extends.value = Value::Map(single("service", extends.clone()));
        }
        let extends = map(extends, &place)?;
        keep(extends, &[EXTENDS], EXTENDS, &place)?;
        if let Some(file) = extends.get_mut("file") {
            places.replace(file);
        }
    }
    if let Some(dependencies) = service.get_mut("depends_on") {
        pairs(dependencies, &format!("{place}.depends_on"), |text| (text, None))?;
    }
    Ok(())
}

fn normalise_build(build: &mut Node, place: &str, places: &Places<'_>) -> Result<(), ComposeError> {
    let build = map(build, place)?;
    keep(build, &[BUILD], BUILD, place)?;
    for key in ["args", "labels", "additional_contexts", "ssh"] {
        if let Some(node) = build.get_mut(key) {
            pairs(node, &format!("{place}.{key}"), assignment)?;
        }
    }
    if let Some(context) = build.get_mut("context")
        && context.as_text().is_some_and(|text| !is_remote(text))
    {
        places.replace(context);
    }
    let contexts = build.get_mut("additional_contexts").and_then(Node::as_map_mut);
    for (_, context) in contexts.into_iter().flat_map(|contexts| &mut contexts.entries) {
        if context.as_text().is_some_and(|text| !is_remote(text) && !text.starts_with("service:")) {
            places.replace(context);
        }
    }
    for item in build.get_mut("secrets").into_iter().flat_map(items) {
        if let Value::Text(_) = item.value {
            item.value = Value::Map(single("source", item.clone()));
        }
    }
    if let Some(hosts) = build.get_mut("extra_hosts") {
        normalise_hosts(hosts);
    }
    Ok(())
}

/// Every host as `name=address`.
fn normalise_hosts(hosts: &mut Node) {
    let host = |name: &str, address: &str| {
        let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
        Value::Text(format!("{name}={}", bare.unwrap_or(address)))
    };
    if let Value::Map(map) = &hosts.value {
        let mut list = Vec::new();
        for (key, node) in &map.entries {
            let addresses = match &node.value {
                Value::List(items) => items.iter().collect(),
                _ => vec![node],
            };
            for address in addresses {
                // What is no text stays as it is, for a later word about it.
                let value = address.as_text().map(|text| host(&key.text, text));
                list.push(value.map_or(address.clone(), |value| Node::new(value, &address.span)));
            }
        }
        hosts.value = Value::List(list);
    }
    for item in items(hosts) {
        if let Value::Text(text) = &mut item.value
            && let Some((name, address)) = text.split_once('=').or_else(|| text.split_once(':'))
        {
            item.value = host(name, address);
        }
    }
}

fn normalise_include(include: &mut Node) -> Result<(), ComposeError> {
    let Value::List(_) = include.value else {
        return Err(kind(include, "include", "a list"));
    };
    for item in items(include) {
        if let Value::Text(_) = item.value {
            item.value = Value::Map(single("path", item.clone()));
        }
        let map = map(item, "include")?;
        keep(map, &[INCLUDE], INCLUDE, "include")?;
        for key in ["path", "env_file"] {
            if let Some(node) = map.get_mut(key)
                && let Value::Text(_) = node.value
            {
                node.value = Value::List(vec![node.clone()]);
            }
        }
    }
    Ok(())
}

/// A list of `name` and `name=value` as a mapping.
fn pairs(
    node: &mut Node,
    place: &str,
    split: impl Fn(&str) -> (&str, Option<&str>),
) -> Result<(), ComposeError> {
    let Value::List(items) = &node.value else { return Ok(()) };
    let mut map = Map::default();
    for item in items {
        let Some(text) = item.scalar() else {
            return Err(kind(item, &format!("an entry of {place}"), "text"));
        };
        let (name, value) = split(&text);
        let value = value.map_or(Value::Null, |value| Value::Text(value.to_owned()));
        let key = Key { text: name.to_owned(), span: item.span.clone() };
        map.set(key, Node { directive: item.directive, ..Node::new(value, &item.span) });
    }
    node.value = Value::Map(map);
    Ok(())
}

fn assignment(text: &str) -> (&str, Option<&str>) {
    text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)))
}

fn items(node: &mut Node) -> &mut [Node] {
    match &mut node.value {
        Value::List(items) => items,
        _ => &mut [],
    }
}

fn single(key: &str, node: Node) -> Map {
    Map { entries: vec![(Key { text: key.to_owned(), span: node.span.clone() }, node)] }
}

fn section<'a>(top: &'a mut Map, key: &str) -> Result<Option<&'a mut Map>, ComposeError> {
    match top.get_mut(key) {
        None => Ok(None),
        Some(node) if matches!(node.value, Value::Null) => Ok(None),
        Some(node) => map(node, key).map(Some),
    }
}

fn map<'a>(node: &'a mut Node, place: &str) -> Result<&'a mut Map, ComposeError> {
    if node.as_map().is_none() {
        return Err(kind(node, place, "a mapping"));
    }
    Ok(node.as_map_mut().expect("it is a mapping"))
}

/// The error that `node` is of another kind.
pub(super) fn kind(node: &Node, place: &str, expected: &'static str) -> ComposeError {
    let what = Invalid::Kind { place: place.to_owned(), expected, found: node.kind() };
    ComposeError::invalid(&node.span, what)
}

/// Refuses keys that are unknown and drops those that are not used.
fn keep(map: &mut Map, known: &[&[&str]], used: &[&str], place: &str) -> Result<(), ComposeError> {
    let is_extension = |key: &str| key.starts_with("x-");
    let all = || known.iter().copied().flatten().copied();
    for (key, _) in map.entries.iter().filter(|(key, _)| !is_extension(&key.text)) {
        if !all().any(|known| known == key.text) {
            return Err(unknown(&key.text, &key.span, place, nearest(&key.text, all()).map(str::to_owned)));
        }
    }
    map.entries.retain(|(key, _)| used.contains(&key.text.as_str()));
    Ok(())
}

fn unknown(key: &str, span: &Span, place: &str, nearest: Option<String>) -> ComposeError {
    let what = Invalid::UnknownKey { key: key.to_owned(), place: place.to_owned(), nearest };
    ComposeError::invalid(span, what)
}
