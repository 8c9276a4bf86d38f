//! What a Dockerfile is drawn as: ops, what people see of them, and the image's configuration.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::PathBuf;

use carrack_base::{Digest, Platform};
use carrack_docker::dockerfile::parse;
use carrack_docker::lower::{Context, LowerError, Lowered, Refusal, Request, lower};
use carrack_graph::{
    CopySource, EnvValue, ImageResolver, Network, Op, ResolvedImage, RunMount, StepInfo, Unpack,
};
use serde_json::{Value, json};

use crate::dockerfile::source;

/// Images by name; what is asked for is noted.
pub(crate) struct Images {
    asked: RefCell<Vec<String>>,
}

/// There is no such image.
#[derive(Debug, thiserror::Error)]
#[error("no such image")]
pub(crate) struct Missing;

impl Images {
    pub(crate) fn new() -> Self {
        Self { asked: RefCell::new(Vec::new()) }
    }
}

impl ImageResolver for Images {
    type Error = Missing;

    fn resolve(&self, reference: &str, platform: &Platform) -> Result<ResolvedImage, Missing> {
        self.asked.borrow_mut().push(format!("{reference} {platform}"));
        let name = reference.strip_prefix("docker.io/library/").unwrap_or(reference);
        let name = name.split([':', '@']).next().unwrap();
        let mut config = json!({
            "architecture": platform.architecture,
            "os": platform.os,
            "created": "2024-01-01T00:00:00Z",
            "container": "abc",
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(b"layer")] },
            "history": [{ "created_by": "ADD base", "created": "2024-01-01T00:00:00Z" }],
        });
        config["config"] = match name {
            "alpine" => json!({ "Env": ["PATH=/usr/bin"], "Cmd": ["/bin/sh"] }),
            "app" => json!({
                "Env": ["PATH=/bin", "A=base", "EMPTY="],
                "User": "app",
                "WorkingDir": "/srv/",
                "Entrypoint": ["/app"],
                "Cmd": ["serve"],
                "Labels": { "from": "base" },
                "ExposedPorts": { "80/tcp": {} },
                "Volumes": { "/data": {} },
                "Shell": ["/bin/bash", "-ec"],
                "StopSignal": "SIGINT",
                "Unknown": { "kept": true },
            }),
            "bare" => Value::Null,
            "trigger" => json!({
                "Env": ["PATH=/bin"],
                "OnBuild": ["ARG V=1", "COPY . /app", "RUN <<EOF\nmake $V\nEOF"],
            }),
            "trigger-from" => json!({ "OnBuild": ["COPY --from=build /a /b"] }),
            "trigger-bad" => json!({ "OnBuild": ["FROM x"] }),
            "broken" => json!([]),
            _ => return Err(Missing),
        };
        Ok(ResolvedImage {
            reference: reference.to_owned(),
            manifest: Digest::of(reference.as_bytes()),
            config: config.to_string().into_bytes(),
            platform: platform.clone(),
        })
    }
}

pub(crate) fn amd64() -> Platform {
    "linux/amd64".parse().unwrap()
}

pub(crate) fn request() -> Request {
    Request::new(Context::Folder { folder: PathBuf::from("/work"), filter: None }, amd64())
}

/// Nothing more than a Dockerfile.
fn plain(_: &mut Request) {}

#[track_caller]
fn lowered(text: &str, asked: impl FnOnce(&mut Request)) -> Lowered {
    let mut request = request();
    asked(&mut request);
    let dockerfile = parse(&source(text)).unwrap_or_else(|error| panic!("{error}\n{text}"));
    lower(&dockerfile, &request, &Images::new()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Where a refusal is, and what it is.
#[track_caller]
fn refused(text: &str, asked: impl FnOnce(&mut Request)) -> (String, Refusal) {
    let mut request = request();
    asked(&mut request);
    let dockerfile = parse(&source(text)).unwrap_or_else(|error| panic!("{error}\n{text}"));
    match lower(&dockerfile, &request, &Images::new()) {
        Err(LowerError::Refused { span, refusal }) => (text[span.range].to_owned(), *refusal),
        other => panic!("{other:?}\n{text}"),
    }
}

/// The image's configuration.
fn config(lowered: &Lowered) -> Value {
    match lowered.graph.op(lowered.image) {
        Op::Stage(stage) => serde_json::from_slice(&stage.config).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// `config` of the configuration, without `PATH` in `Env`.
fn settings(lowered: &Lowered) -> Value {
    let mut settings = config(lowered)["config"].clone();
    let env = settings["Env"].as_array_mut().unwrap();
    env.retain(|variable| !variable.as_str().unwrap().starts_with("PATH="));
    if env.is_empty() {
        settings.as_object_mut().unwrap().remove("Env");
    }
    settings
}

/// One line for each entry of the history that is not the base image's: `+` if it has a layer.
fn history(lowered: &Lowered) -> Vec<String> {
    let config = config(lowered);
    let entries = config["history"].as_array().unwrap().iter();
    let own = entries.filter(|entry| entry["comment"] == "buildkit.dockerfile.v0");
    own.map(|entry| {
        let sign = if entry["empty_layer"] == true { "-" } else { "+" };
        format!("{sign} {}", entry["created_by"].as_str().unwrap())
    })
    .collect()
}

/// A line for each op; what is as usual is left out.
fn drawn(lowered: &Lowered) -> String {
    let mut text = String::new();
    for node in lowered.graph.nodes() {
        let line = line(lowered.graph.op(node));
        writeln!(text, "{} {line}", node.index()).unwrap();
    }
    text
}

fn line(op: &Op) -> String {
    let mut words = Vec::new();
    let uncached = |step: &StepInfo| if step.uncached { " uncached" } else { "" };
    match op {
        Op::Base(base) => match &base.image {
            None => "scratch".to_owned(),
            Some(image) => format!("base {} {}", image.reference, image.platform),
        },
        Op::Context(context) => format!("context {} {}", context.name, context.folder.display()),
        Op::Run(run) => {
            words.push(format!("run on {}{} {:?}", run.root.index(), uncached(&run.step), run.argv));
            let env = run.env.iter().filter(|(name, _)| name != "PATH");
            words.extend(env.map(|(name, EnvValue { value, keyed })| {
                format!("{}{name}={value}", if *keyed { "" } else { "~" })
            }));
            if run.cwd.as_str() != "/" {
                words.push(format!("in {}", run.cwd));
            }
            if !run.user.is_empty() {
                words.push(format!("as {}", run.user));
            }
            if run.network != Network::Default {
                words.push(format!("{:?}", run.network));
            }
            if run.insecure {
                words.push("insecure".to_owned());
            }
            words.extend(run.mounts.iter().map(mount));
            words.join(" ")
        }
        Op::Copy(copy) => {
            words.push(format!("copy on {}{}", copy.onto.index(), uncached(&copy.step)));
            words.extend(copy.sources.iter().map(|source| match source {
                CopySource::Files { from, path, unpack } => {
                    let unpack = if *unpack == Unpack::Archives { " unpacked" } else { "" };
                    format!("{}:{path}{unpack}", from.index())
                }
                CopySource::Text { name, text } => format!("{name}={text:?}"),
            }));
            words.push(format!("→ {}{}", copy.to, if copy.to_folder { "/" } else { "" }));
            words.extend(copy.owner.iter().map(|owner| format!("owner {owner}")));
            words.extend(copy.mode.iter().map(|mode| format!("mode {:o}", mode.apply(0, false))));
            let patterns = copy.exclude.as_ref().map(|filter| filter.fingerprint()).unwrap_or_default();
            words.extend(patterns.lines().map(|pattern| format!("but {}", pattern.trim_matches('"'))));
            words.extend(copy.parents.then(|| "parents".to_owned()));
            words.extend(copy.link.then(|| "link".to_owned()));
            words.join(" ")
        }
        Op::Folder(folder) => {
            words.push(format!("folder on {} {}", folder.onto.index(), folder.path));
            words.extend(folder.owner.iter().map(|owner| format!("owner {owner}")));
            words.join(" ")
        }
        Op::Fetch(fetch) => {
            words.push(format!("fetch {} as {}", fetch.url, fetch.name));
            words.extend(fetch.checksum.map(|checksum| checksum.to_string()));
            words.join(" ")
        }
        Op::Git(git) => {
            words.push(format!("git {}", git.remote));
            words.extend(git.reference.iter().map(|reference| format!("ref {reference}")));
            words.extend(git.subfolder.iter().map(|folder| format!("in {folder}")));
            words.extend(git.checksum.iter().map(|checksum| format!("is {checksum}")));
            words.extend(git.keep_git.then(|| "with .git".to_owned()));
            words.extend((!git.submodules).then(|| "without submodules".to_owned()));
            words.join(" ")
        }
        Op::Stage(stage) => {
            let tags = if stage.tags.is_empty() { String::new() } else { format!(" {:?}", stage.tags) };
            format!("image {} of {}{tags}", stage.name, stage.root.index())
        }
        other => panic!("{other:?}"),
    }
}

fn mount(mount: &RunMount) -> String {
    match mount {
        RunMount::Bind { target, from, source, writable } => {
            let writable = if *writable { " rw" } else { "" };
            format!("bind({target} {}:{source}{writable})", from.index())
        }
        RunMount::Cache(cache) => {
            let from = cache.from.map(|from| format!(" {}:{}", from.index(), cache.source));
            format!(
                "cache({} {} {:?} {:o} {}:{}{}{})",
                cache.target,
                cache.id,
                cache.sharing,
                cache.mode,
                cache.uid,
                cache.gid,
                from.unwrap_or_default(),
                if cache.readonly { " ro" } else { "" }
            )
        }
        RunMount::Memory { target, size } => format!("memory({target} {size:?})"),
        RunMount::Secret(secret) => format!(
            "secret({} {} {} {:o}{})",
            secret.id,
            secret.target.as_ref().map_or("-", |target| target.as_str()),
            secret.env.as_deref().unwrap_or("-"),
            secret.mode,
            if secret.required { " required" } else { "" }
        ),
        RunMount::Agent(agent) => format!("agent({} {} {:o})", agent.id, agent.target, agent.mode),
        RunMount::Text { target, text, mode } => format!("text({target} {text:?} {mode:o})"),
    }
}

/// What people see of each step that has a layer or is an image.
fn steps(lowered: &Lowered) -> Vec<&str> {
    let steps = lowered.graph.ops().iter().filter_map(|op| match op {
        Op::Base(base) => Some(&base.step),
        Op::Run(run) => Some(&run.step),
        Op::Copy(copy) => Some(&copy.step),
        Op::Folder(folder) => Some(&folder.step),
        _ => None,
    });
    steps.map(|step| step.name.as_str()).collect()
}

mod arguments;
mod files;
mod images;
mod mutations;
mod oracle;
mod refusals;
mod runs;
mod stages;
