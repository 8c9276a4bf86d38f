//! Measures Carrack against bare cargo, docker and other caches, side by side in one run, and writes `docs/benchmarks.md`.
//!
//! Each part is a section of that page; a part that was not measured this time keeps what it said. Times are wall
//! times of whole processes. What is compared takes turns, so that a busy moment of the machine meets both. A goal
//! that is missed is written down and fails nothing: the machine may be anyone's.

mod docker;
mod dockerfile;
mod dockyard;
mod neighbours;
mod page;
mod plot;
mod pull;
mod scenarios;
mod stage;
mod units;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo::{cargo, start_failed};
use docker::Docker;
use page::{Goal, Row, Section};
use stage::{Folder, Stage};

const PAGE: &str = "docs/benchmarks.md";
/// Files of the large workspace, and how many of them are in one folder.
const MANY_FILES: usize = 100_000;
const FILES_IN_FOLDER: usize = 100;

/// The inner error says why this machine can't measure it.
type Measure = fn(&Stage<'_>) -> Result<Result<Section, String>, String>;

/// What can be measured, by name.
const PARTS: &[(&str, Measure)] = &[
    ("no-change", no_change),
    ("many-files", many_files),
    ("code-change", code_change),
    ("first-build", first_build),
    ("sandbox", sandbox),
    ("docker", scenarios::measure),
    ("dockerfile", dockerfile::measure),
    ("pull", pull::measure),
    ("units", units::measure),
    ("own-build", own_build),
];

/// Measures the parts with these names, or all.
pub(crate) fn run(root: &Path, names: &[String]) -> Result<bool, String> {
    let known = PARTS.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("there is no part `{unknown}` to measure: choose from {}", known.join(", ")));
    }
    let path = root.join(PAGE);
    // The first run has no page yet.
    let mut sections = page::read(&fs::read_to_string(&path).unwrap_or_default());
    let stage = Stage::new(root)?;
    for (name, measure) in PARTS {
        if !names.is_empty() && !names.iter().any(|asked| asked == name) {
            continue;
        }
        eprintln!("measuring {name}");
        let section = match measure(&stage)? {
            Ok(section) => section,
            Err(why) => {
                eprintln!("  this machine can't: {why}");
                continue;
            }
        };
        let machine = page::machine();
        let text = section.text(&machine);
        print!("{text}");
        sections.insert((*name).to_owned(), text);
        stage::write(&path, &page::write(&known, &sections))?;
        if let Some(plot) = section.plot_name() {
            stage::write(
                &path.with_file_name(plot),
                &plot::draw(section.title, &section.scenarios, &machine),
            )?;
        }
    }
    Ok(true)
}

/// How long `command` takes; it has to succeed, and says nothing.
fn time(command: &mut Command) -> Result<Duration, String> {
    let start = Instant::now();
    let output = command.output().map_err(|error| start_failed(command, &error))?;
    let elapsed = start.elapsed();
    if output.status.success() {
        return Ok(elapsed);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} failed:\n{}", command.get_program().display(), said.trim_end()))
}

/// Measures several things in turns; the first round of each does not count.
fn in_turns<const N: usize>(
    rounds: usize,
    mut measure: [&mut dyn FnMut() -> Result<Duration, String>; N],
) -> Result<[Vec<Duration>; N], String> {
    let mut times = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for (measure, times) in measure.iter_mut().zip(&mut times) {
            let time = measure()?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    Ok(times)
}

fn no_change(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    stage.first_build()?;
    let mut section = Section::new("no-change", "Nothing changed: examples/rustcare");
    let mut carrack = || time(&mut stage.carrack(&stage.workspace));
    let mut bare = || time(&mut stage.bare_cargo());
    stage.bare_first_build()?;
    let carrack_name = "`carrack build`, three services";
    match Docker::start(stage)? {
        Err(why) => {
            section.notes.push(format!("No comparison with docker: {why}."));
            let [ours, cargo] = in_turns(30, [&mut carrack, &mut bare])?;
            section
                .rows
                .extend([Row::new(carrack_name, ours), Row::new("bare `cargo build --release`", cargo)]);
        }
        Ok(docker) => {
            let mut build = || time(&mut docker.build(stage));
            let [ours, cargo, theirs] = in_turns(30, [&mut carrack, &mut bare, &mut build])?;
            let (ours, theirs) =
                (Row::new(carrack_name, ours), Row::new("`docker build`, one service", theirs));
            let tenth = theirs.median() / 10;
            section.goals.push(Goal::at_most("a tenth of `docker build`", ours.median(), tenth));
            section.rows.extend([ours, Row::new("bare `cargo build --release`", cargo), theirs]);
            section.notes.push(format!(
                "docker: {}, BuildKit, every step of [benches/Dockerfile](../benches/Dockerfile) cached.",
                docker.version
            ));
        }
    }
    section.goals.insert(0, Goal::at_most("20 ms", section.rows[0].median(), Duration::from_millis(20)));
    Ok(Ok(section))
}

fn many_files(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    let folder = Folder::new("many-files")?;
    let write = |path: &str, text: &str| stage::write(&folder.path().join(path), text);
    write("Cargo.toml", "[package]\nname = \"large\"\nversion = \"0.1.0\"\nedition = \"2024\"\n")?;
    write("Cargo.lock", "version = 4\n\n[[package]]\nname = \"large\"\nversion = \"0.1.0\"\n")?;
    write("src/main.rs", "fn main() {}\n")?;
    for number in 0..MANY_FILES {
        write(&format!("data/{}/{number}.txt", number / FILES_IN_FOLDER), &format!("file {number}\n"))?;
    }
    let mut carrack = || time(&mut stage.carrack(folder.path()));
    let mut section = Section::new("many-files", "Nothing changed: a workspace of 100,000 files");
    let [ours] = in_turns(15, [&mut carrack])?;
    section.rows.push(Row::new("`carrack build`", ours));
    section.goals.push(Goal::at_most("300 ms", section.rows[0].median(), Duration::from_millis(300)));
    section.notes.push(format!("One package; the files are in folders of {FILES_IN_FOLDER}."));
    Ok(Ok(section))
}

fn code_change(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    stage.first_build()?;
    stage.bare_first_build()?;
    let (mut our_round, mut their_round) = (0, 0);
    let edit = |workspace: &Path, round: &mut u32| {
        *round += 1;
        stage.edit(workspace, *round)
    };
    let mut carrack = || {
        edit(&stage.workspace, &mut our_round)?;
        time(&mut stage.carrack(&stage.workspace))
    };
    let mut bare = || {
        edit(&stage.bare_workspace, &mut their_round)?;
        time(&mut stage.bare_cargo())
    };
    let [ours, theirs] = in_turns(7, [&mut carrack, &mut bare])?;
    for workspace in [&stage.workspace, &stage.bare_workspace] {
        stage.undo_edits(workspace)?;
    }
    let (ours, theirs) =
        (Row::new("`carrack build`", ours), Row::new("bare `cargo build --release`", theirs));
    let mut section =
        Section::new("code-change", "One line changed: server/src/main.rs of examples/rustcare");
    let limit = theirs.median().mul_f64(1.05) + Duration::from_millis(150);
    section.goals.push(Goal::at_most("1.05 × bare cargo + 150 ms", ours.median(), limit));
    section.rows.extend([ours, theirs]);
    section
        .notes
        .push("Both compile the three services and have compiled everything else before.".to_owned());
    Ok(Ok(section))
}

fn first_build(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    let (ours, theirs) = (stage.first_build()?, stage.bare_first_build()?);
    let (ours, theirs) =
        (Row::new("`carrack build`", vec![ours]), Row::new("bare `cargo build --release`", vec![theirs]));
    let mut section = Section::new("first-build", "First build: examples/rustcare");
    section.goals.push(Goal::at_most("1.05 × bare cargo", ours.median(), theirs.median().mul_f64(1.05)));
    section.rows.extend([ours, theirs]);
    section.notes.push("Nothing is compiled yet; cargo has downloaded all packages before.".to_owned());
    Ok(Ok(section))
}

fn sandbox(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    const NAME: &str = "host root with one overlay";
    let arguments =
        ["run", "--quiet", "--release", "--package", "carrack-sandbox", "--example", "start_time"];
    let mut command = cargo(stage.root, &arguments);
    let output = command.output().map_err(|error| start_failed(&command, &error))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut section = Section::new("sandbox", "Starting a command in the sandbox");
    let started =
        |line: &str| line.split_once("started ")?.1.split_once(',').map(|(time, _)| time.to_owned());
    for name in ["plain", NAME] {
        let line = said.lines().find(|line| line.starts_with(name));
        let time = line.and_then(started).and_then(|text| page::parse_duration(&text));
        let time = time.ok_or_else(|| format!("the example says nothing about `{name}`:\n{said}"))?;
        section.rows.push(Row::new(name, vec![time]));
    }
    section.goals.push(Goal::at_most("10 ms", section.rows[1].median(), Duration::from_millis(10)));
    section.notes.push("Medians of 200 starts, from `spawn` to the command's own start.".to_owned());
    Ok(Ok(section))
}

fn own_build(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    let target = Folder::new("own-build")?;
    let mut command = cargo(stage.root, &["build", "--release", "--package", "carrack", "--target-dir"]);
    let elapsed = time(command.arg(target.path()))?;
    let mut section = Section::new("own-build", "Compiling Carrack itself");
    section.rows.push(Row::new("`cargo build --release --package carrack`", vec![elapsed]));
    section.goals.push(Goal::at_most("3 min on 2 cores", elapsed, Duration::from_secs(180)));
    section.notes.push("Nothing is compiled yet; cargo has downloaded all packages before.".to_owned());
    Ok(Ok(section))
}
