//! What a command took, wall time and the processor's, and when it said what.
//!
//! The processor's time is that of the command and all of its children, plus what a daemon and all of its own did meanwhile:
//! compiler caches and Docker compile there. The kernel counts it in hundredths of a second.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cargo::start_failed;

/// The kernel's unit towards programs, the same on every machine.
const TICK: Duration = Duration::from_millis(10);

pub(super) struct Taken {
    pub(super) wall: Duration,
    pub(super) processor: Duration,
    /// The lines on standard error, each with its time after the start.
    said: Vec<(Duration, String)>,
}

/// What `carrack build --progress rawjson` told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// From the program's start until cargo was started: planning, and putting units in place.
    pub(super) restored: Duration,
    /// From the last compiled unit until the compile step was over: taking and keeping units.
    pub(super) harvested: Duration,
    /// Units that were there, and units that had to be compiled.
    pub(super) fresh: usize,
    pub(super) compiled: usize,
}

/// Runs `command`, whose work may be done by the daemon with this process id; it has to succeed.
pub(super) fn take(command: &mut Command, daemon: Option<u32>) -> Result<Taken, String> {
    let of_tree = || daemon.map(of_tree).transpose();
    let before = (of_children()?, of_tree()?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| start_failed(command, &error))?;
    let stderr = child.stderr.take().expect("standard error is piped");
    let mut said = Vec::new();
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line.map_err(|error| error.to_string())?;
        said.push((start.elapsed(), String::from_utf8_lossy(&line).into_owned()));
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let wall = start.elapsed();
    if !status.success() {
        let last = said.iter().rev().take(30).rev().map(|(_, line)| line.as_str());
        let last = last.collect::<Vec<_>>().join("\n");
        return Err(format!("{} failed:\n{last}", command.get_program().display()));
    }
    let processor = of_children()?.saturating_sub(before.0)
        + of_tree()?.unwrap_or_default().saturating_sub(before.1.unwrap_or_default());
    Ok(Taken { wall, processor, said })
}

impl Taken {
    /// What Carrack told of its compile step.
    pub(super) fn told(&self) -> Told {
        let mut told = Told::default();
        let mut last_unit = Duration::ZERO;
        for (at, line) in &self.said {
            let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
            match event["event"].as_str() {
                Some("step-started") if told.restored.is_zero() => told.restored = *at,
                Some("unit") => {
                    last_unit = *at;
                    *if event["fresh"] == true { &mut told.fresh } else { &mut told.compiled } += 1;
                }
                Some("step-finished") if told.harvested.is_zero() && !last_unit.is_zero() => {
                    told.harvested = *at - last_unit;
                }
                _ => {}
            }
        }
        told
    }
}

/// The processor's time of all children that have ended.
fn of_children() -> Result<Duration, String> {
    let process = Process::read("self").ok_or("can't read /proc/self/stat")?;
    Ok(process.of_children)
}

/// The processor's time of a living process and of everything below it.
fn of_tree(root: u32) -> Result<Duration, String> {
    let entries = fs::read_dir("/proc").map_err(|error| format!("can't list /proc: {error}"))?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let processes: BTreeMap<u32, Process> =
        numbers.filter_map(|number| Some((number, Process::read(&number.to_string())?))).collect();
    let is_below = |mut number: u32| {
        while number != root {
            match processes.get(&number) {
                Some(process) => number = process.parent,
                None => return false,
            }
        }
        true
    };
    let tree = processes.iter().filter(|(number, _)| is_below(**number));
    Ok(tree.map(|(_, process)| process.own + process.of_children).sum())
}

struct Process {
    parent: u32,
    own: Duration,
    /// Of those that have ended.
    of_children: Duration,
}

impl Process {
    /// `None` if it is gone.
    fn read(name: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{name}/stat")).ok()?)
    }

    /// The format: proc(5), "stat". The second field is a name in parentheses, with whatever is in it.
    fn parse(stat: &str) -> Option<Self> {
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
        let ticks = |index: usize| Some(TICK * fields.get(index)?.parse::<u32>().ok()?);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            of_children: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_times_are_those_of_proc() {
        let stat = "42 (a) b) S 7 42 42 0 -1 4194304 1 2 3 4 100 50 30 20 20 0 1 0 5 6 7";
        let process = Process::parse(stat).unwrap();
        assert_eq!((process.parent, process.own), (7, Duration::from_millis(1_500)));
        assert_eq!(process.of_children, Duration::from_millis(500));
    }

    #[test]
    fn work_of_a_command_and_of_a_daemon_is_counted() {
        let mut busy = Command::new("sh");
        busy.args(["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done >&2"]);
        let taken = take(&mut busy, Some(std::process::id())).unwrap();
        assert!(taken.processor >= TICK * 2, "{:?}", taken.processor);
        assert_eq!(taken.said.last().unwrap().1, "done");
    }

    #[test]
    fn carracks_events_tell_when_units_were_there_and_taken() {
        let said = [
            (5, r#"{"event":"planned"}"#),
            (40, r#"{"event":"step-started","step":0}"#),
            (90, r#"{"event":"unit","fresh":true}"#),
            (120, r#"{"event":"unit","fresh":false}"#),
            (150, r#"{"event":"step-finished","step":0}"#),
            (190, r#"{"event":"step-finished","step":1}"#),
        ];
        let said = said.map(|(at, line)| (Duration::from_millis(at), line.to_owned())).to_vec();
        let told = Taken { wall: Duration::ZERO, processor: Duration::ZERO, said }.told();
        let [restored, harvested] = [40, 30].map(Duration::from_millis);
        assert_eq!(told, Told { restored, harvested, fresh: 1, compiled: 1 });
    }
}
