//! An image's configuration as JSON, in Docker's words; what nobody here knows of it stays.

use std::collections::BTreeMap;
use std::time::SystemTime;

use carrack_base::Platform;
use serde_json::{Map, Value, json};

use super::go;

/// What an image begins with that has nothing to look for programs in.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const COMMENT: &str = "buildkit.dockerfile.v0";

/// Fields that say how a base image was made; they would be lies about this one.
const MAKING: [&str; 6] = ["id", "parent", "container", "container_config", "docker_version", "rootfs"];

#[derive(Debug, Clone)]
pub(super) struct ImageConfig {
    /// `architecture`, `os`, `history` …; `config` apart.
    whole: Map<String, Value>,
    config: Map<String, Value>,
    history: Vec<Value>,
}

impl ImageConfig {
    /// That of `FROM scratch`.
    pub(super) fn empty(platform: &Platform) -> Self {
        let mut image = Self { whole: Map::new(), config: Map::new(), history: Vec::new() };
        image.set_platform(platform);
        image.set_env("PATH", PATH);
        image.set_text("WorkingDir", "/");
        image
    }

    /// That of an image; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let Value::Object(mut whole) = serde_json::from_slice(bytes).ok()? else { return None };
        let mut object = |name: &str| match whole.remove(name) {
            Some(Value::Object(object)) => Some(object),
            None | Some(Value::Null) => Some(Map::new()),
            Some(_) => None,
        };
        let config = object("config")?;
        let layers = match object("rootfs")?.remove("diff_ids") {
            Some(Value::Array(layers)) => layers.len(),
            _ => 0,
        };
        let history = match whole.remove("history") {
            Some(Value::Array(history)) => history,
            None | Some(Value::Null) => Vec::new(),
            Some(_) => return None,
        };
        for name in MAKING.into_iter().chain(["created"]) {
            whole.remove(name);
        }
        let mut image = Self { whole, config, history };
        image.fit_history(layers);
        Some(image)
    }

    /// One entry for each layer: what is missing is added, what is too much has no layer.
    fn fit_history(&mut self, layers: usize) {
        let mut seen = 0;
        for entry in &mut self.history {
            let Value::Object(entry) = entry else { continue };
            if entry.get("empty_layer").and_then(Value::as_bool) == Some(true) {
                continue;
            }
            seen += 1;
            if seen > layers {
                entry.insert("empty_layer".into(), true.into());
            }
        }
        self.history.retain(Value::is_object);
        for _ in seen..layers {
            self.history.push(json!({ "created_by": "", "comment": "buildkit.exporter.image.v0" }));
        }
    }

    /// Variables as `NAME=value`.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        let split = |variable: String| match variable.split_once('=') {
            Some((name, value)) => (name.to_owned(), value.to_owned()),
            None => (variable, String::new()),
        };
        self.list("Env").into_iter().map(split).collect()
    }

    pub(super) fn set_env(&mut self, name: &str, value: &str) {
        let mut env = self.list("Env");
        let variable = format!("{name}={value}");
        match env.iter_mut().find(|known| known.split('=').next() == Some(name)) {
            Some(known) => *known = variable,
            None => env.push(variable),
        }
        self.set_list("Env", env);
    }

    /// Makes sure that programs are found.
    pub(super) fn ensure_path(&mut self) {
        if self.os() != "windows" && !self.env().iter().any(|(name, _)| name == "PATH") {
            self.set_env("PATH", PATH);
        }
    }

    /// A list of texts; empty if there is none.
    pub(super) fn list(&self, field: &str) -> Vec<String> {
        let Some(Value::Array(values)) = self.config.get(field) else { return Vec::new() };
        values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    }

    /// Sets a list; an empty one is none.
    pub(super) fn set_list(&mut self, field: &str, list: Vec<String>) {
        if list.is_empty() {
            self.config.shift_remove(field);
        } else {
            self.config.insert(field.to_owned(), list.into());
        }
    }

    pub(super) fn text(&self, field: &str) -> &str {
        self.config.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn set_text(&mut self, field: &str, text: &str) {
        self.set(field, text.into());
    }

    pub(super) fn set(&mut self, field: &str, value: Value) {
        self.config.insert(field.to_owned(), value);
    }

    /// Sets an entry of a field that is an object.
    pub(super) fn set_entry(&mut self, field: &str, name: &str, value: Value) {
        let object = self.config.entry(field).or_insert_with(|| Value::Object(Map::new()));
        if !object.is_object() {
            *object = Value::Object(Map::new());
        }
        if let Value::Object(object) = object {
            object.insert(name.to_owned(), value);
        }
    }

    /// The command before which a shell form's text stands.
    pub(super) fn shell(&self) -> Vec<String> {
        let shell = self.list("Shell");
        match shell.is_empty() {
            true if self.os() == "windows" => vec!["cmd".to_owned(), "/S".to_owned(), "/C".to_owned()],
            true => vec!["/bin/sh".to_owned(), "-c".to_owned()],
            false => shell,
        }
    }

    pub(super) fn os(&self) -> &str {
        self.whole.get("os").and_then(Value::as_str).unwrap_or("linux")
    }

    /// Who made it.
    pub(super) fn set_author(&mut self, author: &str) {
        self.whole.insert("author".to_owned(), author.into());
    }

    fn set_platform(&mut self, platform: &Platform) {
        self.whole.insert("architecture".to_owned(), platform.architecture.clone().into());
        self.whole.insert("os".to_owned(), platform.os.clone().into());
        match &platform.variant {
            Some(variant) => {
                self.whole.insert("variant".to_owned(), variant.clone().into());
            }
            None => {
                self.whole.shift_remove("variant");
            }
        }
    }

    /// The platform that was asked for, whatever the base image says. Its variant stays if nothing else is said.
    pub(super) fn claim_platform(&mut self, platform: &Platform) {
        let is = |name: &str, value: &str| self.whole.get(name).and_then(Value::as_str) == Some(value);
        let same = is("os", &platform.os) && is("architecture", &platform.architecture);
        if !same || platform.variant.is_some() {
            self.set_platform(platform);
        }
    }

    /// What the instruction that was drawn last is called in the history.
    pub(super) fn record(&mut self, text: String, has_layer: bool, time: Option<SystemTime>) {
        let mut entry = Map::new();
        let time = time.unwrap_or(SystemTime::UNIX_EPOCH);
        entry.insert("created".to_owned(), go::timestamp(time).into());
        entry.insert("created_by".to_owned(), text.into());
        entry.insert("comment".to_owned(), COMMENT.into());
        if !has_layer {
            entry.insert("empty_layer".to_owned(), true.into());
        }
        self.history.push(Value::Object(entry));
    }

    /// The whole configuration.
    pub(super) fn finish(mut self, labels: &BTreeMap<String, String>, time: Option<SystemTime>) -> Vec<u8> {
        for (name, value) in labels {
            self.set_entry("Labels", name, value.clone().into());
        }
        let created = go::timestamp(time.unwrap_or(SystemTime::UNIX_EPOCH));
        self.whole.insert("created".to_owned(), created.into());
        self.whole.insert("config".to_owned(), Value::Object(self.config));
        self.whole.insert("history".to_owned(), Value::Array(self.history));
        Value::Object(self.whole).to_string().into_bytes()
    }
}
