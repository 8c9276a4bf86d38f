//! `RUN`: command, environment and mounts.

use carrack_base::ImagePath;
use carrack_graph::{
    AgentMount, CacheMount, CacheSharing, EnvValue, Network, NodeId, Op, RunMount, RunOp, SecretMount,
};

use super::draw::{Current, Drawing, clean, image_path};
use super::error::Refusal;
use super::plan::Command;
use super::steps::{shown_command, summary};
use crate::dockerfile::{CommandLine, Mount, MountKind, Problem, Run, Sharing, Text, read_expanded};

/// Where a script that says what runs it lies while it runs.
const SCRIPTS: &str = "/dev/pipes";

pub(super) fn run(
    drawing: &mut Drawing<'_>,
    current: &mut Current,
    command: &Command<'_>,
    run: &Run,
    origins: &[Option<NodeId>],
) -> Result<(), Refusal> {
    let escape = drawing.dockerfile.escape;
    let range = drawing.range(current, command);
    if let Some(device) = run.devices.first() {
        return Err(Refusal::Device { name: device.to_string() });
    }
    let mut line = command.instruction.text.to_string();
    let (argv, script) = argv(current, run)?;
    if let (Some(document), true) = (run.heredocs.first(), is_script(run)) {
        line.push_str(&format!(" ({})", summary(&document.text)));
    }
    let mut mounts = Vec::new();
    let mut hidden = Vec::new();
    for (index, mount) in run.mounts.iter().enumerate() {
        let expanded = read_expanded(mount, &|text: &str| current.expand(text, escape))?;
        let from = origins.get(index).copied().flatten();
        let agents = mounts.iter().filter(|mount| matches!(mount, RunMount::Agent(_))).count();
        let drawn = match expanded.kind {
            MountKind::Bind => {
                let from = match from {
                    Some(from) => from,
                    None => drawing.context(None, &range)?,
                };
                bind(current, &expanded, from)?
            }
            MountKind::Cache => cache(current, &expanded, from)?,
            MountKind::Tmpfs => memory(current, &expanded)?,
            MountKind::Secret => secret(current, &expanded)?,
            MountKind::Ssh => agent(current, &expanded, agents)?,
        };
        if let RunMount::Secret(SecretMount { env: Some(name), .. }) = &drawn {
            hidden.push(name.clone());
        }
        mounts.push(drawn);
    }
    mounts.extend(script);
    let hidden: Vec<&str> = hidden.iter().map(String::as_str).collect();
    let shown = shown_command(&line, escape, &current.state.variables, &hidden);
    let name = current.steps.next(&shown, command.is_trigger);
    let record = record(current, &argv);
    let op = RunOp {
        step: drawing.step(name, &range, current.uncached),
        root: current.state.root,
        argv,
        env: environment(drawing, current, &mounts),
        cwd: image_path("/", &current.folder())?,
        user: current.state.image.text("User").to_owned(),
        mounts,
        network: match run.network.as_deref() {
            Some("none") => Network::None,
            Some("host") => Network::Host,
            Some(_) => Network::Default,
            None => drawing.request.network,
        },
        insecure: run.security.as_deref() == Some("insecure"),
        hosts: drawing.request.add_hosts.clone(),
        shm_size: drawing.request.shm_size,
        limits: drawing.request.ulimits.clone(),
    };
    current.state.root = drawing.add(Op::Run(op));
    current.state.image.record(record, true, drawing.globals.epoch);
    Ok(())
}

/// Whether the command is one here-document and nothing else.
fn is_script(run: &Run) -> bool {
    match (&run.command, &run.heredocs[..]) {
        (CommandLine::Shell(text), [document]) => text.trim() == document.word.as_str(),
        _ => false,
    }
}

/// What is run, and the script that it needs.
fn argv(current: &Current, run: &Run) -> Result<(Vec<String>, Option<RunMount>), Refusal> {
    let text = match &run.command {
        CommandLine::Exec(words) if words.is_empty() => return Err(Refusal::EmptyCommand),
        CommandLine::Exec(words) => return Ok((words.iter().map(Text::to_string).collect(), None)),
        CommandLine::Shell(text) => text,
    };
    let mut argv = current.state.image.shell();
    let mut script = None;
    argv.push(match &run.heredocs[..] {
        [document] if is_script(run) && document.text.starts_with("#!") => {
            let target = image_path(SCRIPTS, &document.name)?;
            let path = target.to_string();
            script = Some(RunMount::Text { target, text: document.text.to_string(), mode: 0o755 });
            path
        }
        [document] if is_script(run) => document.text.to_string(),
        documents => {
            let mut whole = text.to_string();
            for document in documents {
                whole.push('\n');
                whole.push_str(&document.text);
                whole.push_str(&document.name);
            }
            whole
        }
    });
    Ok((argv, script))
}

/// `RUN |1 A=b /bin/sh -c make # buildkit`.
fn record(current: &Current, argv: &[String]) -> String {
    let mut arguments: Vec<(&str, String)> = Vec::new();
    for (name, value) in &current.state.arguments {
        let value = current.state.variables.get(name).or(value.as_deref()).unwrap_or_default();
        match arguments.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => arguments.push((name, value.to_owned())),
        }
    }
    let mut words = vec!["RUN".to_owned()];
    if !arguments.is_empty() {
        words.push(format!("|{}", arguments.len()));
        words.extend(arguments.iter().map(|(name, value)| format!("{name}={value}")));
    }
    words.extend(argv.iter().cloned());
    words.push("# buildkit".to_owned());
    words.join(" ")
}

fn environment(drawing: &Drawing<'_>, current: &Current, mounts: &[RunMount]) -> Vec<(String, EnvValue)> {
    let variables = &current.state.variables;
    let keyed = |value: &str| EnvValue { value: value.to_owned(), keyed: true };
    let mut env: Vec<(String, EnvValue)> =
        variables.iter().map(|(name, value)| (name.to_owned(), keyed(value))).collect();
    let agent = mounts.iter().find_map(|mount| match mount {
        RunMount::Agent(agent) => Some(&agent.target),
        _ => None,
    });
    if let Some(target) = agent
        && variables.get("SSH_AUTH_SOCK").is_none()
    {
        env.push(("SSH_AUTH_SOCK".to_owned(), keyed(target.as_str())));
    }
    for (name, value) in drawing.request.proxies() {
        for name in [name.to_owned(), name.to_ascii_lowercase()] {
            if variables.get(&name).is_none() {
                env.push((name, EnvValue { value: value.to_owned(), keyed: false }));
            }
        }
    }
    env
}

/// Where a mount is; never over everything.
fn target(current: &Current, text: &Option<Text>) -> Result<ImagePath, Refusal> {
    let target = text.as_deref().unwrap_or_default();
    match clean(&current.folder(), target).as_str() {
        "/" => Err(Refusal::MountAtRoot),
        path => image_path("/", path),
    }
}

fn bind(current: &Current, mount: &Mount, from: NodeId) -> Result<RunMount, Refusal> {
    Ok(RunMount::Bind {
        target: target(current, &mount.target)?,
        from,
        source: image_path("/", mount.source.as_deref().unwrap_or_default())?,
        writable: mount.readonly == Some(false),
    })
}

fn cache(current: &Current, mount: &Mount, from: Option<NodeId>) -> Result<RunMount, Refusal> {
    Ok(RunMount::Cache(CacheMount {
        target: target(current, &mount.target)?,
        id: cache_id(mount),
        sharing: match mount.sharing {
            Some(Sharing::Private) => CacheSharing::Private,
            Some(Sharing::Locked) => CacheSharing::Locked,
            Some(Sharing::Shared) | None => CacheSharing::Shared,
        },
        from,
        source: image_path("/", mount.source.as_deref().unwrap_or_default())?,
        readonly: mount.readonly == Some(true),
        mode: number(&mount.mode, "mode", 8)?.unwrap_or(0o755),
        uid: number(&mount.uid, "uid", 10)?.unwrap_or(0),
        gid: number(&mount.gid, "gid", 10)?.unwrap_or(0),
    }))
}

/// What a cache mount's content is known by.
pub(super) fn cache_id(mount: &Mount) -> String {
    let written = mount.target.as_deref().unwrap_or_default();
    said(&mount.id).unwrap_or_else(|| cleaned(written))
}

/// The secret that a mount lends.
pub(super) fn secret_id(mount: &Mount) -> String {
    let id = said(&mount.source).or_else(|| said(&mount.id));
    id.or_else(|| said(&mount.target).as_deref().map(last)).unwrap_or_default()
}

/// The SSH agent that a mount lends.
pub(super) fn agent_id(mount: &Mount) -> String {
    said(&mount.id).unwrap_or_else(|| "default".to_owned())
}

/// A value that is not empty.
fn said(text: &Option<Text>) -> Option<String> {
    text.as_deref().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The last name of a path.
fn last(path: &str) -> String {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}

/// The path as it was written, without detours: what names a cache that has no name.
fn cleaned(path: &str) -> String {
    let cleaned = clean("/", path);
    match path.starts_with('/') {
        true => cleaned,
        false => cleaned[1..].to_owned(),
    }
}

fn memory(current: &Current, mount: &Mount) -> Result<RunMount, Refusal> {
    let size = match mount.size.as_deref().filter(|size| !size.is_empty()) {
        Some(text) => Some(bytes(text).ok_or_else(|| bad("size", text, "a size, as in 64m"))?),
        None => None,
    };
    Ok(RunMount::Memory { target: target(current, &mount.target)?, size })
}

fn secret(current: &Current, mount: &Mount) -> Result<RunMount, Refusal> {
    let path = said(&mount.target);
    let id = secret_id(mount);
    let target = match (&path, &mount.env) {
        (Some(_), _) => Some(target(current, &mount.target)?),
        (None, Some(_)) => None,
        (None, None) => Some(image_path("/run/secrets", &last(&id))?),
    };
    Ok(RunMount::Secret(SecretMount {
        // A bare `env` takes the secret's own name.
        env: mount
            .env
            .as_deref()
            .map(|env| if env == "env" || env.is_empty() { id.clone() } else { env.to_owned() }),
        id,
        target,
        required: mount.required == Some(true),
        mode: number(&mount.mode, "mode", 8)?.unwrap_or(0o400),
        uid: number(&mount.uid, "uid", 10)?.unwrap_or(0),
        gid: number(&mount.gid, "gid", 10)?.unwrap_or(0),
    }))
}

fn agent(current: &Current, mount: &Mount, number_of_agent: usize) -> Result<RunMount, Refusal> {
    let target = match said(&mount.target) {
        Some(_) => target(current, &mount.target)?,
        None => image_path("/run/buildkit", &format!("ssh_agent.{number_of_agent}"))?,
    };
    Ok(RunMount::Agent(AgentMount {
        id: agent_id(mount),
        target,
        required: mount.required == Some(true),
        mode: number(&mount.mode, "mode", 8)?.unwrap_or(0o600),
        uid: number(&mount.uid, "uid", 10)?.unwrap_or(0),
        gid: number(&mount.gid, "gid", 10)?.unwrap_or(0),
    }))
}

fn number(text: &Option<Text>, key: &'static str, radix: u32) -> Result<Option<u32>, Refusal> {
    let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    let expected = if radix == 8 { "octal permissions, as in 0755" } else { "a number" };
    u32::from_str_radix(text, radix).map(Some).map_err(|_| bad(key, text, expected))
}

fn bad(key: &'static str, found: &str, expected: &'static str) -> Refusal {
    Refusal::Syntax(Problem::BadMountValue { key, found: found.to_owned(), expected })
}

/// `64m`, `1.5gb`, `1024`: units are powers of 1024, as for all memory in Docker.
fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = text[end..].trim();
    let unit = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit)?;
    let bytes = number * 1024_f64.powi(i32::try_from(power).ok()?);
    // Exact up to eight petabytes.
    (bytes < 9e15).then_some(bytes as u64)
}
