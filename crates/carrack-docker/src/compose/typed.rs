//! The merged document as services with their types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use carrack_base::nearest;

use super::error::{ComposeError, Invalid};
use super::interpolate::Variables;
use super::model::{
    Build, Context, Dependency, Dockerfile, NamedContext, Secret, SecretSource, Service, Ulimit,
};
use super::normal::{is_remote, kind};
use super::yaml::{Map, Node, Value};

/// The services of a document.
pub(super) fn services(
    document: &mut Node,
    variables: &Variables,
) -> Result<BTreeMap<String, Service>, ComposeError> {
    let top = document.as_map_mut().expect("the long form is a mapping");
    let secrets = top.remove("secrets").map(|(_, secrets)| secrets);
    let secrets = secrets.as_ref().and_then(Node::as_map);
    let Some((_, services)) = top.remove("services") else { return Ok(BTreeMap::new()) };
    let Value::Map(services) = services.value else { return Ok(BTreeMap::new()) };
    let service = |(key, node): &(super::yaml::Key, Node)| {
        let service = Section::new(node, format!("services.{}", key.text))?;
        let build = match service.map.get("build") {
            None => None,
            Some(node) => Some(build(&key.text, node, secrets, variables)?),
        };
        let service = Service {
            name: key.text.clone(),
            span: key.span.clone(),
            image: service.text("image")?.filter(|image| !image.is_empty()),
            build,
            platform: service.text("platform")?.filter(|platform| !platform.is_empty()),
            profiles: service.texts("profiles")?,
            depends_on: dependencies(&service)?,
            active: true,
            provided: service.map.get("provider").is_some(),
        };
        Ok((key.text.clone(), service))
    };
    services.entries.iter().map(service).collect()
}

/// A mapping with its place, for errors.
struct Section<'a> {
    map: &'a Map,
    place: String,
}

impl<'a> Section<'a> {
    fn new(node: &'a Node, place: String) -> Result<Self, ComposeError> {
        match node.as_map() {
            Some(map) => Ok(Self { map, place }),
            None => Err(kind(node, &place, "a mapping")),
        }
    }

    fn place(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    /// A value that is there and not nothing.
    fn some(&self, key: &str) -> Option<&'a Node> {
        self.map.get(key).filter(|node| !matches!(node.value, Value::Null))
    }

    fn kind(&self, node: &Node, key: &str, expected: &'static str) -> ComposeError {
        kind(node, &self.place(key), expected)
    }

    fn value(&self, node: &Node, key: &str, expected: &'static str) -> ComposeError {
        let text = node.scalar().unwrap_or_default();
        let what = Invalid::Value { place: self.place(key), text, expected };
        ComposeError::invalid(&node.span, what)
    }

    fn text(&self, key: &str) -> Result<Option<String>, ComposeError> {
        let Some(node) = self.map.get(key) else { return Ok(None) };
        node.as_text().map(str::to_owned).map(Some).ok_or_else(|| self.kind(node, key, "text"))
    }

    fn texts(&self, key: &str) -> Result<Vec<String>, ComposeError> {
        let Some(node) = self.some(key) else { return Ok(Vec::new()) };
        let Value::List(items) = &node.value else { return Err(self.kind(node, key, "a list")) };
        let text = |item: &Node| {
            let text = item.as_text().map(str::to_owned);
            text.ok_or_else(|| kind(item, &format!("an entry of {}", self.place(key)), "text"))
        };
        items.iter().map(text).collect()
    }

    fn map(&self, key: &str) -> Result<Option<&'a Map>, ComposeError> {
        let Some(node) = self.some(key) else { return Ok(None) };
        node.as_map().map(Some).ok_or_else(|| self.kind(node, key, "a mapping"))
    }

    /// Names with values; `None` for those with nothing.
    fn pairs(&self, key: &str) -> Result<Vec<(String, Option<String>)>, ComposeError> {
        let Some(map) = self.map(key)? else { return Ok(Vec::new()) };
        let pair = |(name, node): &(super::yaml::Key, Node)| {
            let value = match &node.value {
                Value::Null => None,
                _ => match node.scalar() {
                    Some(text) => Some(text),
                    None => return Err(self.kind(node, &format!("{key}.{}", name.text), "text")),
                },
            };
            Ok((name.text.clone(), value))
        };
        map.entries.iter().map(pair).collect()
    }

    fn flag(&self, key: &str) -> Result<bool, ComposeError> {
        let Some(node) = self.some(key) else { return Ok(false) };
        match &node.value {
            Value::Bool(value) => Ok(*value),
            Value::Text(text) => match text.to_lowercase().as_str() {
                "true" | "yes" | "y" | "on" => Ok(true),
                "false" | "no" | "n" | "off" => Ok(false),
                _ => Err(self.value(node, key, "true or false")),
            },
            _ => Err(self.kind(node, key, "true or false")),
        }
    }

    /// What may be a flag or text.
    fn attestation(&self, key: &str) -> Result<Option<String>, ComposeError> {
        let Some(node) = self.some(key) else { return Ok(None) };
        match &node.value {
            Value::Bool(_) | Value::Text(_) => Ok(node.scalar()),
            _ => Err(self.kind(node, key, "text, true or false")),
        }
    }

    fn size(&self, key: &str) -> Result<Option<u64>, ComposeError> {
        let Some(node) = self.some(key) else { return Ok(None) };
        let (Value::Text(text) | Value::Number(text)) = &node.value else {
            return Err(self.kind(node, key, "a size"));
        };
        let size = bytes(text).ok_or_else(|| self.value(node, key, "a size, as in 64mb"))?;
        Ok(Some(size))
    }
}

/// `64mb`, `1.5 GiB`, `1000`; a thousand is 1024 in all of them.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_lowercase();
    let end = text.find(|character: char| !(character.is_ascii_digit() || character == '.'));
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let exponent = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << (10 * exponent));
    }
    let float: f64 = number.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "digits make no negative number"
    )]
    let size = (float * f64::from(1024).powi(exponent)) as u64;
    Some(size)
}

/// What a service starts after, and what it shares namespaces or folders with.
fn dependencies(service: &Section<'_>) -> Result<Vec<Dependency>, ComposeError> {
    let mut all: Vec<Dependency> = Vec::new();
    for (key, node) in service.map("depends_on")?.into_iter().flat_map(|map| &map.entries) {
        let required = node.as_map().and_then(|options| options.get("required"));
        let required = !required.is_some_and(|node| matches!(node.value, Value::Bool(false)));
        all.push(Dependency { service: key.text.clone(), required, span: key.span.clone() });
    }
    let mut add = |name: &str, node: &Node| {
        if !all.iter().any(|known| known.service == name) {
            all.push(Dependency { service: name.to_owned(), required: true, span: node.span.clone() });
        }
    };
    for key in ["links", "volumes_from"] {
        let Some(Value::List(items)) = service.some(key).map(|node| &node.value) else { continue };
        for item in items {
            let text = item.as_text().unwrap_or_default();
            // `volumes_from` may name a container that is none of the project's.
            if !text.is_empty() && !text.starts_with("container:") {
                add(text.split(':').next().unwrap_or_default(), item);
            }
        }
    }
    for key in ["network_mode", "ipc", "pid"] {
        if let Some(node) = service.some(key)
            && let Some(name) = node.as_text().and_then(|text| text.strip_prefix("service:"))
        {
            add(name, node);
        }
    }
    Ok(all)
}

fn build(
    service: &str,
    node: &Node,
    secrets: Option<&Map>,
    variables: &Variables,
) -> Result<Build, ComposeError> {
    let section = Section::new(node, format!("services.{service}.build"))?;
    let context = section.text("context")?.unwrap_or_default();
    let context = match is_remote(&context) {
        true => Context::Remote(context),
        false => Context::Folder(PathBuf::from(context)),
    };
    let dockerfile = match (section.text("dockerfile")?, section.text("dockerfile_inline")?) {
        (Some(_), Some(_)) => {
            let what = Invalid::TwoDockerfiles { service: service.to_owned() };
            return Err(ComposeError::invalid(&node.span, what));
        }
        (None, Some(text)) => Dockerfile::Inline(text),
        (file, None) => {
            Dockerfile::File(file.filter(|file| !file.is_empty()).unwrap_or("Dockerfile".to_owned()))
        }
    };
    let named = |(key, node): &(super::yaml::Key, Node)| {
        let place = format!("additional_contexts.{}", key.text);
        let text = node.as_text().ok_or_else(|| section.kind(node, &place, "text"))?;
        let context = match text.strip_prefix("service:") {
            Some(name) => NamedContext::Service { name: name.to_owned(), span: node.span.clone() },
            None if is_remote(text) => NamedContext::Remote(text.to_owned()),
            None => NamedContext::Folder(PathBuf::from(text)),
        };
        Ok((key.text.clone(), context))
    };
    let contexts = section.map("additional_contexts")?.into_iter().flat_map(|map| &map.entries);
    let given = |(name, value): (String, Option<String>)| {
        let value = value.or_else(|| variables.get(&name).cloned())?;
        Some((name, value))
    };
    let labels = section.pairs("labels")?.into_iter();
    let target = section.some("target").map(|_| section.text("target")).transpose()?.flatten();
    Ok(Build {
        span: node.span.clone(),
        context,
        dockerfile,
        args: section.pairs("args")?.into_iter().filter_map(given).collect(),
        args_span: section.map.entry("args").map(|(key, _)| key.span.clone()),
        additional_contexts: contexts.map(named).collect::<Result<_, _>>()?,
        target: target.filter(|target| !target.is_empty()),
        tags: section.texts("tags")?,
        labels: labels.map(|(name, value)| (name, value.unwrap_or_default())).collect(),
        cache_from: section.texts("cache_from")?,
        cache_to: section.texts("cache_to")?,
        network: section.text("network")?.filter(|network| !network.is_empty()),
        platforms: section.texts("platforms")?,
        ssh: section.pairs("ssh")?.into_iter().collect(),
        secrets: granted(&section, secrets)?,
        shm_size: section.size("shm_size")?,
        ulimits: ulimits(&section)?,
        extra_hosts: section.texts("extra_hosts")?,
        entitlements: section.texts("entitlements")?,
        isolation: section.text("isolation")?,
        no_cache: section.flag("no_cache")?,
        pull: section.flag("pull")?,
        privileged: section.flag("privileged")?,
        provenance: section.attestation("provenance")?,
        sbom: section.attestation("sbom")?,
    })
}

fn granted(section: &Section<'_>, known: Option<&Map>) -> Result<Vec<Secret>, ComposeError> {
    let Some(node) = section.some("secrets") else { return Ok(Vec::new()) };
    let Value::List(items) = &node.value else { return Err(section.kind(node, "secrets", "a list")) };
    let secret = |item: &Node| {
        let grant = Section::new(item, format!("an entry of {}", section.place("secrets")))?;
        let Some(name) = grant.text("source")? else {
            let what = Invalid::Missing { place: grant.place.clone(), key: "source" };
            return Err(ComposeError::invalid(&item.span, what));
        };
        let Some((key, node)) = known.and_then(|known| known.entry(&name)) else {
            let names = known.into_iter().flat_map(|known| &known.entries);
            let nearest = nearest(&name, names.map(|(key, _)| key.text.as_str())).map(str::to_owned);
            return Err(ComposeError::invalid(&item.span, Invalid::UndefinedSecret { name, nearest }));
        };
        let definition = Section::new(node, format!("secrets.{}", key.text))?;
        let file = definition.text("file")?;
        let variable = definition.text("environment")?;
        let source = match (file, variable) {
            _ if definition.some("external").is_some() => SecretSource::External,
            (Some(file), None) => SecretSource::File(PathBuf::from(file)),
            (None, Some(variable)) => SecretSource::Variable(variable),
            _ => {
                let what = Invalid::Missing { place: definition.place, key: "file` or `environment" };
                return Err(ComposeError::invalid(&key.span, what));
            }
        };
        Ok(Secret { id: grant.text("target")?.unwrap_or(name), source })
    };
    items.iter().map(secret).collect()
}

fn ulimits(section: &Section<'_>) -> Result<BTreeMap<String, Ulimit>, ComposeError> {
    let limit = |node: &Node, key: &str| {
        let text = node.scalar().ok_or_else(|| section.kind(node, key, "a number"))?;
        text.parse::<i64>().map_err(|_| section.value(node, key, "a number"))
    };
    let both = |(name, node): &(super::yaml::Key, Node)| {
        let key = format!("ulimits.{}", name.text);
        let ulimit = match node.as_map() {
            None => {
                let both = limit(node, &key)?;
                Ulimit { soft: both, hard: both }
            }
            Some(map) => {
                let get = |part: &'static str| match map.get(part) {
                    Some(node) => limit(node, &format!("{key}.{part}")),
                    None => {
                        let what = Invalid::Missing { place: section.place(&key), key: part };
                        Err(ComposeError::invalid(&node.span, what))
                    }
                };
                Ulimit { soft: get("soft")?, hard: get("hard")? }
            }
        };
        Ok((name.text.clone(), ulimit))
    };
    section.map("ulimits")?.into_iter().flat_map(|map| &map.entries).map(both).collect()
}
