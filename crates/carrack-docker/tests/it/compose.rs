//! Compose projects, each in a file of `tests/compose`, resolved here and by docker compose.
//!
//! ```text
//! # what it is about
//! arguments: -f a.yaml --profile web         (as docker compose takes them)
//! variables: A=1 B=2
//! folder: sub                                (where the caller is)
//! oracle: 1.29                               (docker-compose 1.29 gives the same answer, each time the test runs)
//! --- compose.yaml
//! services: …
//! === resolves                               (or `=== fails` and the error's place and words)
//! {"name": "project", "services": …}
//! ```
//!
//! The expected answers are those of Docker Compose 2.40.3, whose `config` was asked for each of them; `newer:` says why
//! an answer is another one. With `CARRACK_DOCKER_COMPOSE` naming a docker-compose of that line, it is asked again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use carrack_docker::compose::{
    Build, ComposeError, Context, Dockerfile, NamedContext, Options, Project, SecretSource, resolve,
};
use carrack_testkit::{Program, has_program, skipped};
use serde_json::{Map, Value, json};

/// One file of `tests/compose`.
struct Case {
    name: String,
    arguments: Vec<String>,
    variables: BTreeMap<String, String>,
    folder: String,
    oracle: bool,
    newer: bool,
    files: Vec<(String, String)>,
    fails: bool,
    expected: String,
}

impl Case {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let (head, expected) = text.split_once("\n=== ").unwrap_or_else(|| panic!("{}", path.display()));
        let (result, expected) = expected.split_once('\n').unwrap();
        let mut parts = head.split("\n--- ");
        let header = parts.next().unwrap();
        let line = |name: &str| {
            let lines = header.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            lines.collect::<Vec<_>>().join(" ")
        };
        let words = |name: &str| line(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let file = |part: &str| {
            let (name, text) = part.split_once('\n').unwrap_or((part, ""));
            (name.to_owned(), format!("{text}\n"))
        };
        Self {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            arguments: words("arguments"),
            variables: words("variables")
                .iter()
                .map(|word| word.split_once('=').unwrap())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            folder: line("folder"),
            oracle: line("oracle") == "1.29",
            newer: !line("newer").is_empty(),
            files: parts.map(file).collect(),
            fails: result == "fails",
            expected: expected.trim_end().to_owned(),
        }
    }

    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose");
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// Writes the files; the project's folder is always called `project`.
    fn stage(&self) -> (tempfile::TempDir, PathBuf) {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().canonicalize().unwrap().join("project");
        for (name, text) in &self.files {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        (around, root)
    }

    fn options(&self, root: &Path) -> Options {
        let mut options = Options {
            folder: match self.folder.as_str() {
                "" => root.to_owned(),
                folder => root.join(folder),
            },
            variables: self.variables.clone(),
            home: Some(PathBuf::from("/home/somebody")),
            ..Options::default()
        };
        for pair in self.arguments.chunks(2) {
            let value = &pair[1];
            match pair[0].as_str() {
                "-f" => options.files.push(value.into()),
                "-p" => options.project_name = Some(value.clone()),
                "--profile" => options.profiles.push(value.clone()),
                "--env-file" => options.env_files.push(value.into()),
                "--project-directory" => options.project_directory = Some(value.into()),
                other => panic!("{other}"),
            }
        }
        options
    }

    /// The answer of a docker-compose program; `None` if it refuses.
    fn ask(&self, program: &str, root: &Path, arguments: &[&str]) -> Option<String> {
        let program = Program::new(program).in_clean_environment();
        let path = std::env::var("PATH").unwrap();
        let program = [("PATH", path.as_str()), ("HOME", "/home/somebody")]
            .into_iter()
            .chain(self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .fold(program, |program, (name, value)| program.with_env(name, value));
        let own = self.arguments.iter().map(String::as_str);
        let finished =
            program.run(&root.join(&self.folder), &own.chain(arguments.iter().copied()).collect::<Vec<_>>());
        (finished.code == Some(0)).then_some(finished.stdout)
    }
}

/// Paths below the project begin with `R`.
fn shown(text: &str, root: &Path) -> String {
    text.replace(root.to_str().unwrap(), "R")
}

/// The project's active services as docker compose's `config` writes them, without what is default.
fn as_config(project: &Project) -> Value {
    let services = project.services.values().filter(|service| service.active).map(|service| {
        let mut config = Map::new();
        if let Some(image) = &service.image {
            config.insert("image".to_owned(), json!(image));
        }
        if let Some(build) = &service.build {
            config.insert("build".to_owned(), build_config(build));
        }
        (service.name.clone(), Value::Object(config))
    });
    json!({"name": project.name, "services": services.collect::<Map<_, _>>()})
}

fn build_config(build: &Build) -> Value {
    let context = match &build.context {
        Context::Folder(path) => path.display().to_string(),
        Context::Remote(address) => address.clone(),
    };
    let (dockerfile, inline) = match &build.dockerfile {
        Dockerfile::File(file) => (Some(file), None),
        Dockerfile::Inline(text) => (None, Some(text)),
    };
    let contexts = build.additional_contexts.iter().map(|(name, context)| {
        let context = match context {
            NamedContext::Folder(path) => path.display().to_string(),
            NamedContext::Service { name, .. } => format!("service:{name}"),
            NamedContext::Remote(address) => address.clone(),
        };
        (name.clone(), json!(context))
    });
    let secrets = build.secrets.iter().map(|secret| {
        let source = match &secret.source {
            SecretSource::File(path) => json!({"file": path}),
            SecretSource::Variable(name) => json!({"environment": name}),
            SecretSource::External => json!({"external": true}),
        };
        json!({"id": secret.id, "source": source})
    });
    let ssh = build.ssh.iter().map(|(id, path)| match path {
        Some(path) => format!("{id}={path}"),
        None => id.clone(),
    });
    let ulimits = build
        .ulimits
        .iter()
        .map(|(name, limit)| (name.clone(), json!({"soft": limit.soft, "hard": limit.hard})));
    without_defaults(json!({
        "context": context,
        "dockerfile": dockerfile,
        "dockerfile_inline": inline,
        "args": build.args,
        "additional_contexts": contexts.collect::<Map<_, _>>(),
        "target": build.target,
        "tags": build.tags,
        "labels": build.labels,
        "cache_from": build.cache_from,
        "cache_to": build.cache_to,
        "network": build.network,
        "platforms": build.platforms,
        "ssh": ssh.collect::<Vec<_>>(),
        "secrets": secrets.collect::<Vec<_>>(),
        "shm_size": build.shm_size.map(|size| size.to_string()),
        "ulimits": ulimits.collect::<Map<_, _>>(),
        "extra_hosts": build.extra_hosts,
        "entitlements": build.entitlements,
        "isolation": build.isolation,
        "no_cache": build.no_cache,
        "pull": build.pull,
        "privileged": build.privileged,
        "provenance": build.provenance,
        "sbom": build.sbom,
    }))
}

fn without_defaults(mut section: Value) -> Value {
    section.as_object_mut().unwrap().retain(|key, value| {
        let default = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Object(map) => map.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::String(text) => key == "dockerfile" && text == "Dockerfile",
            _ => false,
        };
        !default
    });
    section
}

/// A program's `config` in the same form.
fn normalised(config: &Value) -> Value {
    let secrets = &config["secrets"];
    let services = config["services"].as_object().into_iter().flatten().map(|(name, service)| {
        let mut kept = Map::new();
        if let Some(image) = service["image"].as_str() {
            kept.insert("image".to_owned(), json!(image));
        }
        if let Some(build) = service["build"].as_object() {
            let mut build = build.clone();
            for item in build.get_mut("secrets").and_then(Value::as_array_mut).into_iter().flatten() {
                let source = item["source"].as_str().unwrap().to_owned();
                let id = item["target"].as_str().unwrap_or(&source).to_owned();
                let mut definition = secrets[&source].clone();
                definition.as_object_mut().unwrap().remove("name");
                *item = json!({"id": id, "source": definition});
            }
            for (_, limit) in build.get_mut("ulimits").and_then(Value::as_object_mut).into_iter().flatten() {
                if let Some(both) = limit.as_i64() {
                    *limit = json!({"soft": both, "hard": both});
                }
            }
            // What several files add to a list is there once in ours.
            for (_, value) in &mut build {
                if let Value::Array(items) = value {
                    let mut seen = Vec::new();
                    items.retain(|item| {
                        !seen.contains(item) && {
                            seen.push(item.clone());
                            true
                        }
                    });
                }
            }
            kept.insert("build".to_owned(), without_defaults(Value::Object(build)));
        }
        (name.clone(), Value::Object(kept))
    });
    json!({"name": config["name"], "services": services.collect::<Map<_, _>>()})
}

/// `compose.yaml:3: `mark`: words`.
fn error(error: &ComposeError, root: &Path) -> String {
    let place = match error {
        ComposeError::Syntax { span, .. }
        | ComposeError::Line { span, .. }
        | ComposeError::Invalid { span, .. } => Some(span),
        ComposeError::Read { named_at, .. } => named_at.as_ref(),
        _ => None,
    };
    let words = match error {
        ComposeError::Invalid { what, .. } => what.to_string(),
        ComposeError::Syntax { message, .. } => message.clone(),
        ComposeError::Line { message, .. } => (*message).to_owned(),
        error => error.to_string(),
    };
    let place = place.map_or(String::new(), |span| {
        let text = &span.source.text;
        let line = text[..span.range.start].matches('\n').count() + 1;
        let path = span.source.path.strip_prefix(root).unwrap_or(&span.source.path);
        format!("{}:{line}: `{}`: ", path.display(), &text[span.range.clone()])
    });
    shown(&format!("{place}{words}"), root)
}

#[test]
fn projects() {
    let newer = std::env::var("CARRACK_DOCKER_COMPOSE").ok();
    let older = has_program("docker-compose");
    if !older {
        skipped("comparing with docker-compose 1.29", "no docker-compose");
    }
    let mut wrong = Vec::new();
    let cases = Case::all();
    assert!(cases.len() >= 25, "{} cases", cases.len());
    for case in &cases {
        let (_around, root) = case.stage();
        let answer = resolve(&case.options(&root));
        let ours = match &answer {
            Ok(project) => {
                assert!(!case.fails, "{}: it resolves", case.name);
                let config = as_config(project);
                serde_json::from_str(&shown(&config.to_string(), &root)).unwrap()
            }
            Err(error) => Value::String(self::error(error, &root)),
        };
        let expected = match case.fails {
            true => Value::String(case.expected.clone()),
            false => serde_json::from_str(&case.expected).unwrap(),
        };
        if ours != expected {
            wrong.push(format!("{}:\n   ours {ours}\nexpected {expected}", case.name));
        }
        if let Some(program) = newer.as_ref().filter(|_| !case.newer) {
            let theirs = case.ask(program, &root, &["config", "--format", "json"]);
            check_oracle(case, program, theirs, &root, &expected, &mut wrong);
        }
        if case.oracle && older {
            // YAML, and the only program here that reads it for us is the one under test: python has a reader too.
            let theirs = case.ask("docker-compose", &root, &["config"]);
            let theirs = theirs.map(|yaml| to_json(&yaml));
            let theirs = theirs.map(|json| {
                let mut config: Value = serde_json::from_str(&json).unwrap();
                config["name"] = expected["name"].clone();
                config.to_string()
            });
            check_oracle(case, "docker-compose", theirs, &root, &expected, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Files that end anywhere, lack a line or hold another character: an answer or an error, whose place is in the text.
#[test]
fn no_text_is_too_broken() {
    for case in Case::all() {
        let (_around, root) = case.stage();
        let options = case.options(&root);
        for (name, text) in &case.files {
            let path = root.join(name);
            let try_with = |broken: &str| {
                std::fs::write(&path, broken).unwrap();
                if let Err(answer) = resolve(&options) {
                    error(&answer, &root);
                }
            };
            // Every place would take minutes.
            for (at, character) in text.char_indices().step_by(11) {
                try_with(&text[..at]);
                let rest = &text[at + character.len_utf8()..];
                for other in ["", "\t", "{", "é:", "\"", "\n", "*", "!reset "] {
                    try_with(&format!("{}{other}{rest}", &text[..at]));
                }
            }
            std::fs::write(&path, text).unwrap();
        }
    }
}

fn check_oracle(
    case: &Case,
    program: &str,
    theirs: Option<String>,
    root: &Path,
    expected: &Value,
    wrong: &mut Vec<String>,
) {
    let theirs = theirs.map(|text| {
        // `config` writes a dollar sign as it would have to be in a file.
        let text = shown(&text, root).replace("$$", "$");
        normalised(&serde_json::from_str(&text).unwrap())
    });
    let same = match &theirs {
        Some(theirs) => !case.fails && theirs == expected,
        None => case.fails,
    };
    if !same {
        let theirs = theirs.map_or("a failure".to_owned(), |theirs| theirs.to_string());
        wrong.push(format!("{}:\n{program} {theirs}\nexpected {expected}", case.name));
    }
}

/// docker-compose 1.29 is a Python program, so Python's YAML reader is there with it.
fn to_json(yaml: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.yaml"), yaml).unwrap();
    let script = "import json, yaml; print(json.dumps(yaml.safe_load(open('config.yaml'))))";
    Program::new("/usr/bin/python3").run(folder.path(), &["-c", script]).expect_code(0).stdout
}
