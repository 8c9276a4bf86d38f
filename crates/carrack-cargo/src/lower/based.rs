//! Services whose image starts from another one: nothing is added to it but packages, the program and files.
//!
//! ```text
//! Base ─► Run(apt-get install), if packages are asked for ─┐
//! Exec ─► Layer(binary), Layer(files, if any) ─────────────┴─► Stage    refused if the program would not start there
//! ```

use std::collections::BTreeMap;

use carrack_base::ImagePath;
use carrack_graph::{
    BaseOp, BuildGraph, EnvValue, LayerOp, Network, NodeId, Op, ResolvedImage, RunOp, StageOp, StageProgram,
    StepInfo,
};
use serde_json::{Map, Value, json};

use super::{BINARIES, ImageUser, LayerPart, ServiceError, ServiceImage, Surroundings, files, path, probe};
use crate::plan::Service;

/// Adds a service's images over `image`.
pub(super) fn add_service(
    graph: &mut BuildGraph,
    service: &Service,
    around: &Surroundings,
    exec: NodeId,
    image: &ResolvedImage,
) -> Result<(), ServiceError> {
    let config = &service.config;
    let user = ImageUser::new(config.user.as_deref())?;
    let mut document: Map<String, Value> = serde_json::from_slice(&image.config).unwrap_or_default();
    let mut history = document.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let created = document.get("created").cloned().unwrap_or_else(|| json!("1970-01-01T00:00:00Z"));
    let mut noted = |what: &str| history.push(json!({"created": created, "created_by": what}));

    let step = StepInfo {
        name: format!("[{}] FROM {}", service.binary, image.reference),
        origin: None,
        uncached: false,
    };
    let mut root = graph.add(Op::Base(BaseOp { step, image: Some(image.clone()) }))?;
    let packages = &config.packages.run;
    if !packages.is_empty() {
        let command = install(packages);
        noted(&format!("RUN {command}"));
        root = graph.add(Op::Run(run(service, root, command, &document)))?;
    }
    let layer = |title, parts| Op::Layer(LayerOp { title, parts, mtime: around.created });
    let binary = path(&format!("{BINARIES}/{}", service.binary));
    let artifact = service.binary.clone();
    let program = LayerPart::Artifact { exec, artifact: artifact.clone(), to: binary.clone() };
    let mut layers = vec![graph.add(layer("binary", vec![program]))?];
    noted("carrack: binary");
    let files = files(service, &user)?;
    if !files.is_empty() {
        layers.push(graph.add(layer("files", files))?);
        noted("carrack: files");
    }
    document.insert("history".to_owned(), history.into());
    document.remove("rootfs");

    let configured = || {
        let tags = service.tags.iter().map(|tag| format!("{}:{tag}", service.image));
        vec![ServiceImage { name: service.binary.clone(), tags: tags.collect(), labels: BTreeMap::new() }]
    };
    for named in around.images.get(&service.binary).cloned().unwrap_or_else(configured) {
        let mut document = document.clone();
        let mut labels = config.labels.clone();
        labels.extend(around.labels.clone());
        labels.extend(named.labels);
        set(&mut document, service, &user, &binary, &labels);
        graph.add(Op::Stage(StageOp {
            name: named.name,
            tags: named.tags,
            root,
            layers: layers.clone(),
            programs: vec![StageProgram::Artifact { exec, artifact: artifact.clone() }],
            config: serde_json::to_vec(&document).expect("a document can be written"),
            created: around.created,
        }))?;
    }
    Ok(())
}

/// Installs Debian packages and leaves no lists behind.
fn install(packages: &[String]) -> String {
    format!(
        "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {} && \
        rm -rf /var/lib/apt/lists/*",
        packages.join(" ")
    )
}

fn run(service: &Service, root: NodeId, command: String, document: &Map<String, Value>) -> RunOp {
    let env = document.get("config").and_then(|config| config.get("Env")).and_then(Value::as_array);
    let env = env.into_iter().flatten().filter_map(Value::as_str).filter_map(|entry| entry.split_once('='));
    let keyed = |value: &str| EnvValue { value: value.to_owned(), keyed: true };
    RunOp {
        step: StepInfo { name: format!("[{}] RUN {command}", service.binary), origin: None, uncached: false },
        root,
        argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), command],
        env: env.map(|(name, value)| (name.to_owned(), keyed(value))).collect(),
        cwd: ImagePath::root(),
        user: String::new(),
        mounts: Vec::new(),
        network: Network::Default,
        insecure: false,
        hosts: Vec::new(),
        shm_size: None,
        limits: Vec::new(),
    }
}

/// Puts what the configuration says over what the base says.
fn set(
    document: &mut Map<String, Value>,
    service: &Service,
    user: &ImageUser,
    binary: &ImagePath,
    labels: &BTreeMap<String, String>,
) {
    let config = &service.config;
    let settings = document.entry("config").or_insert_with(|| json!({}));
    if !settings.is_object() {
        *settings = json!({});
    }
    let settings = settings.as_object_mut().expect("it is an object now");
    let list = |settings: &Map<String, Value>, name: &str| -> Vec<String> {
        let entries = settings.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| entry.as_str().map(str::to_owned)).collect()
    };
    let mut env = list(settings, "Env");
    for (name, value) in &config.env {
        env.retain(|entry| entry.split_once('=').is_none_or(|(known, _)| known != name));
        env.push(format!("{name}={value}"));
    }
    settings.insert("Env".to_owned(), json!(env));
    settings.insert("User".to_owned(), json!(user.setting()));
    if let Some(workdir) = &config.workdir {
        settings.insert("WorkingDir".to_owned(), json!(workdir.as_str()));
    }
    let entrypoint = config.entrypoint.clone().unwrap_or_else(|| vec![binary.to_string()]);
    settings.insert("Entrypoint".to_owned(), json!(entrypoint));
    settings.insert("Cmd".to_owned(), json!(config.cmd));
    merge(settings, "ExposedPorts", config.ports.iter().map(|port| (port.to_string(), json!({}))));
    merge(settings, "Volumes", config.volumes.iter().map(|volume| (volume.to_string(), json!({}))));
    merge(settings, "Labels", labels.iter().map(|(name, value)| (name.clone(), json!(value))));
    if let Some(healthcheck) = config.healthcheck.as_ref().map(probe) {
        let mut check = Map::from_iter([("Test".to_owned(), json!(healthcheck.test))]);
        let times = [
            ("Interval", healthcheck.interval),
            ("Timeout", healthcheck.timeout),
            ("StartPeriod", healthcheck.start_period),
            ("StartInterval", healthcheck.start_interval),
            ("Retries", healthcheck.retries.map(u64::from)),
        ];
        check.extend(times.iter().filter_map(|(name, value)| Some(((*name).to_owned(), json!((*value)?)))));
        settings.insert("Healthcheck".to_owned(), check.into());
    }
    if let Some(signal) = &config.stop_signal {
        settings.insert("StopSignal".to_owned(), json!(signal));
    }
}

fn merge(settings: &mut Map<String, Value>, name: &str, more: impl Iterator<Item = (String, Value)>) {
    let mut known = settings.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
    known.extend(more);
    if !known.is_empty() {
        settings.insert(name.to_owned(), known.into());
    }
}
