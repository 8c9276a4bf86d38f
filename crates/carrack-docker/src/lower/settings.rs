//! Instructions that change the configuration only, and `WORKDIR`.

use carrack_graph::{FolderOp, Op};
use serde_json::{Map, Value};

use super::draw::{Current, Drawing, image_path};
use super::error::Refusal;
use super::go;
use super::plan::{Command, trigger};
use crate::dockerfile::{
    Argument, CommandLine, Expose, Healthcheck, Instruction, Kind, Probe, Text, expand_words,
};

pub(super) fn set(
    drawing: &Drawing<'_>,
    current: &mut Current,
    instruction: &Instruction,
    kind: &Kind,
) -> Result<(), Refusal> {
    let escape = drawing.dockerfile.escape;
    let expanded = |current: &Current, text: &Text| current.expand(text, escape);
    let text = match kind {
        Kind::Arg(arguments) => arg(drawing, current, arguments)?,
        Kind::Env(pairs) => {
            // Every value sees what was there before the instruction.
            let mut said = Vec::new();
            for pair in pairs {
                said.push((expanded(current, &pair.name)?, expanded(current, &pair.value)?));
            }
            let mut line = "ENV".to_owned();
            for (name, value) in said {
                current.state.variables.set(&name, &value);
                current.state.image.set_env(&name, &value);
                line.push_str(&format!(" {name}={value}"));
            }
            line
        }
        Kind::Label(pairs) => {
            let mut line = "LABEL".to_owned();
            for pair in pairs {
                let (name, value) = (expanded(current, &pair.name)?, expanded(current, &pair.value)?);
                line.push_str(&format!(" {name}={value}"));
                current.state.image.set_entry("Labels", &name, value.into());
            }
            line
        }
        Kind::Expose(ports) => expose(current, ports, escape)?,
        Kind::Volume(folders) => {
            let mut volumes = Vec::new();
            for folder in folders {
                let folder = expanded(current, folder)?;
                if folder.is_empty() {
                    return Err(Refusal::BlankVolume);
                }
                current.state.image.set_entry("Volumes", &folder, Value::Object(Map::new()));
                volumes.push(folder);
            }
            format!("VOLUME [{}]", volumes.join(" "))
        }
        Kind::User(user) => {
            let user = expanded(current, user)?;
            current.state.image.set_text("User", &user);
            format!("USER {user}")
        }
        Kind::Stopsignal(signal) => {
            let signal = expanded(current, signal)?;
            if !is_signal(&signal) {
                return Err(Refusal::BadSignal { signal });
            }
            current.state.image.set_text("StopSignal", &signal);
            format!("STOPSIGNAL {signal}")
        }
        Kind::Shell(shell) => {
            let shell: Vec<String> = shell.iter().map(Text::to_string).collect();
            let line = format!("SHELL [{}]", shell.join(" "));
            current.state.image.set_list("Shell", shell);
            line
        }
        Kind::Cmd(command) => {
            let words = words(current, command, true);
            let line = format!("CMD {}", go::quoted_list(&words));
            current.state.image.set_list("Cmd", words);
            // It means something on Windows only, and BuildKit says it everywhere.
            current.state.image.set("ArgsEscaped", true.into());
            current.has_command = true;
            line
        }
        Kind::Entrypoint(command) => {
            let words = words(current, command, false);
            let line = format!("ENTRYPOINT {}", go::quoted_list(&words));
            current.state.image.set_list("Entrypoint", words);
            // What the base image would run are arguments for another program.
            if !current.has_command {
                current.state.image.set_list("Cmd", Vec::new());
            }
            line
        }
        Kind::Healthcheck(check) => healthcheck(current, check)?,
        Kind::Maintainer(author) => {
            current.state.image.set_author(author);
            format!("MAINTAINER {}", author.as_str())
        }
        Kind::Onbuild(_) => {
            let mut triggers = current.state.image.list("OnBuild");
            triggers.extend(trigger(instruction));
            current.state.image.set_list("OnBuild", triggers);
            return Ok(());
        }
        // These have a layer, or begin a stage.
        Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_) | Kind::From(_) => return Ok(()),
    };
    current.state.image.record(text, false, drawing.globals.epoch);
    Ok(())
}

pub(super) fn workdir(
    drawing: &mut Drawing<'_>,
    current: &mut Current,
    command: &Command<'_>,
    path: &Text,
) -> Result<(), Refusal> {
    let path = current.expand(path, drawing.dockerfile.escape)?;
    // An absolute path stays as it was written, double slashes and all.
    let written = path.starts_with('/').then(|| path.clone());
    let path = image_path(&current.folder(), &path)?;
    let said = written.unwrap_or_else(|| path.to_string());
    current.state.image.set_text("WorkingDir", &said);
    let line = format!("WORKDIR {said}");
    let has_layer = path.as_str() != "/";
    if has_layer {
        let user = current.state.image.text("User").to_owned();
        let step = drawing.next_step(current, command, false);
        let owner = Some(user).filter(|user| !user.is_empty());
        let onto = current.state.root;
        current.state.root = drawing.add(Op::Folder(FolderOp { step, onto, path, owner }));
    }
    current.state.image.record(line, has_layer, drawing.globals.epoch);
    Ok(())
}

fn arg(drawing: &Drawing<'_>, current: &mut Current, arguments: &[Argument]) -> Result<String, Refusal> {
    /// They are for BuildKit itself.
    const NOT_FOR_COMMANDS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];
    let mut line = "ARG".to_owned();
    for argument in arguments {
        let name = argument.name.as_str();
        let value = match (drawing.request.build_args.get(name), &argument.value) {
            (Some(value), _) => Some(value.clone()),
            (None, Some(default)) => Some(current.expand(default, drawing.dockerfile.escape)?),
            (None, None) => drawing.globals.variables.get(name).map(str::to_owned),
        };
        line.push_str(&format!(" {name}"));
        if let Some(value) = &value {
            line.push_str(&format!("={value}"));
            if !NOT_FOR_COMMANDS.contains(&name) {
                current.state.variables.set(name, value);
            }
        }
        current.state.arguments.push((name.to_owned(), value));
    }
    Ok(line)
}

/// The words of a command, with the shell in front of a text. An empty text for `ENTRYPOINT` is none.
fn words(current: &Current, command: &CommandLine, keeps_empty: bool) -> Vec<String> {
    match command {
        CommandLine::Exec(words) => words.iter().map(Text::to_string).collect(),
        CommandLine::Shell(text) if text.is_empty() && !keeps_empty => Vec::new(),
        CommandLine::Shell(text) => {
            let mut words = current.state.image.shell();
            words.push(text.to_string());
            words
        }
    }
}

fn expose(current: &mut Current, ports: &[Expose], escape: char) -> Result<String, Refusal> {
    let mut exposed = Vec::new();
    for expose in ports {
        let value_of = |name: &str| current.state.variables.get(name).map(str::to_owned);
        for port in expand_words(&expose.ports, escape, &value_of)? {
            exposed.extend(port_range(&port).ok_or(Refusal::BadPort { port })?);
        }
    }
    for port in &exposed {
        current.state.image.set_entry("ExposedPorts", port, Value::Object(Map::new()));
    }
    exposed.sort();
    Ok(format!("EXPOSE [{}]", exposed.join(" ")))
}

/// `8000-8001/udp` → each port with its protocol. What stands in front of colons is for the host and counts nothing.
fn port_range(text: &str) -> Option<Vec<String>> {
    let (host, container) = match text.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, text),
    };
    let (ports, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        _ => return None,
    };
    let (first, last) = numbers(ports)?;
    if let Some(host) = host {
        let (address, host_ports) = host.rsplit_once(':').map_or((None, host), |(ip, port)| (Some(ip), port));
        if let Some(address) = address.filter(|address| !address.is_empty()) {
            let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
            bare.parse::<std::net::IpAddr>().ok()?;
        }
        if !host_ports.is_empty() {
            let (host_first, host_last) = numbers(host_ports)?;
            if host_last - host_first != last - first && first != last {
                return None;
            }
        }
    }
    Some((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn numbers(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn healthcheck(current: &mut Current, check: &Healthcheck) -> Result<String, Refusal> {
    let mut test = Vec::new();
    let mut said = Map::new();
    let mut shown = String::new();
    let mut retries = 0;
    match check {
        Healthcheck::None => {
            test.push("NONE".to_owned());
            for name in ["Interval", "Timeout", "StartPeriod", "StartInterval"] {
                shown.push_str(&format!(" {name}:0s"));
            }
        }
        Healthcheck::Probe(probe) => {
            match &probe.command {
                CommandLine::Exec(words) => {
                    test.push("CMD".to_owned());
                    test.extend(words.iter().map(Text::to_string));
                }
                CommandLine::Shell(text) => test.extend(["CMD-SHELL".to_owned(), text.to_string()]),
            }
            for (name, flag, text) in times(probe) {
                let nanoseconds = match text {
                    None => 0,
                    Some(text) => {
                        let parsed = go::nanoseconds(text).filter(|time| *time == 0 || *time >= 1_000_000);
                        parsed.ok_or_else(|| Refusal::BadDuration { flag, found: text.to_string() })?
                    }
                };
                if nanoseconds > 0 {
                    said.insert(name.to_owned(), nanoseconds.into());
                }
                shown.push_str(&format!(" {name}:{}", go::duration(nanoseconds)));
            }
            retries = probe.retries.as_ref().and_then(|retries| retries.parse::<u32>().ok()).unwrap_or(0);
        }
    }
    let line = format!("HEALTHCHECK {{Test:[{}]{shown} Retries:{retries}}}", test.join(" "));
    let mut whole = Map::new();
    whole.insert("Test".to_owned(), test.into());
    whole.append(&mut said);
    if retries > 0 {
        whole.insert("Retries".to_owned(), retries.into());
    }
    current.state.image.set("Healthcheck", Value::Object(whole));
    Ok(line)
}

fn times(probe: &Probe) -> [(&'static str, &'static str, &Option<Text>); 4] {
    [
        ("Interval", "interval", &probe.interval),
        ("Timeout", "timeout", &probe.timeout),
        ("StartPeriod", "start-period", &probe.start_period),
        ("StartInterval", "start-interval", &probe.start_interval),
    ]
}

/// A number, or a name of Linux's with or without `SIG`.
fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 35] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
        "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
        "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN",
    ];
    if let Ok(number) = text.parse::<i32>() {
        return number != 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix: &str, most: u32| {
        let number = name.strip_prefix(prefix)?.parse::<u32>().ok()?;
        Some((1..=most).contains(&number))
    };
    NAMES.contains(&name)
        || name == "RTMAX"
        || offset("RTMIN+", 15) == Some(true)
        || offset("RTMAX-", 14) == Some(true)
}
