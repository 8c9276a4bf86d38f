//! What builders themselves cost: Dockerfiles without cargo, with a current Docker and with the embedded engine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::dockyard::Dockyard;
use super::page::{Goal, Row, Scenario, Section};
use super::stage::{self, Stage};
use super::{in_turns, time};

/// A program without libraries that is every program of a small system.
const BUSYBOX: &str = "/bin/busybox";
const NAMES: [&str; 2] = ["`docker build`", "`carrack build -f Dockerfile`"];
/// The large context: about 1 GB.
const FILES: usize = 50_000;
const FILE_SIZE: usize = 20_000;
pub(super) const FILES_IN_FOLDER: usize = 500;
const COMMANDS: usize = 10;

const BASE: &str = "FROM scratch AS base\nCOPY rootfs /\n";

/// Both builders, and the folder with what they build.
struct Bench<'a> {
    stage: &'a Stage<'a>,
    dockyard: Dockyard,
    small: PathBuf,
    large: PathBuf,
    store: PathBuf,
}

impl Bench<'_> {
    fn docker(&self, context: &Path) -> Command {
        self.dockyard.build(context, "measured")
    }

    fn carrack(&self, context: &Path) -> Command {
        let mut command = self.stage.carrack(context);
        command.args(["--file", "Dockerfile", "--quiet", "--tag", "measured", "."]);
        command.env("CARRACK_HOME", &self.store);
        command
    }

    /// Builds the small context in turns, with a Dockerfile for each round.
    fn small(
        &self,
        name: &'static str,
        rounds: usize,
        dockerfile: impl Fn(usize) -> String,
    ) -> Result<Scenario, String> {
        eprintln!("  {name}");
        let turn = |command: &dyn Fn() -> Command, round: &mut usize| {
            stage::write(&self.small.join("Dockerfile"), &dockerfile(*round))?;
            *round += 1;
            time(&mut command())
        };
        let (mut theirs, mut ours) = (0, 0);
        let times = in_turns(
            rounds,
            [&mut || turn(&|| self.docker(&self.small), &mut theirs), &mut || {
                turn(&|| self.carrack(&self.small), &mut ours)
            }],
        )?;
        Ok(scenario(name, times))
    }
}

pub(super) fn measure(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    if !Path::new(BUSYBOX).exists() {
        return Ok(Err(format!("{BUSYBOX} is not installed")));
    }
    let dockyard = match Dockyard::current(stage)? {
        Ok(dockyard) => dockyard,
        Err(why) => return Ok(Err(why)),
    };
    let folder = |name: &str| stage.folder.path().join("dockerfile").join(name);
    let (small, large, store) = (folder("small"), folder("large"), folder("store"));
    let bench = Bench { stage, dockyard, small, large, store };
    let failed = |error: std::io::Error| format!("can't make the contexts: {error}");
    let programs = bench.small.join("rootfs/bin");
    fs::create_dir_all(&programs).map_err(failed)?;
    fs::copy(BUSYBOX, programs.join("busybox")).map_err(failed)?;
    for name in ["sh", "sleep"] {
        symlink("busybox", programs.join(name)).map_err(failed)?;
    }
    write_files(&bench.large, FILES)?;
    stage::write(&bench.large.join("Dockerfile"), "FROM scratch\nCOPY . /\n")?;

    let mut section = Section::new("dockerfile", "Dockerfiles: what the builders themselves cost");
    let mut add = |scenario: Scenario, words: &str, factor: f64| {
        let limit = scenario.rows[0].median().mul_f64(factor);
        section.goals.push(Goal::at_most(words, scenario.rows[1].median(), limit).of(scenario.name));
        section.scenarios.push(scenario);
    };

    let plain = format!("{BASE}RUN echo 1 > /1\nRUN echo 2 > /2\nFROM base\nCOPY --from=base / /\n");
    add(bench.small("no change", 20, |_| plain.clone())?, "a tenth", 0.1);
    let idle = bench.small("ten commands that do nothing", 10, |round| {
        BASE.to_owned() + &(0..COMMANDS).map(|number| format!("RUN : {round} {number}\n")).collect::<String>()
    })?;
    add(idle, "a tenth", 0.1);
    let four = bench.small("four stages side by side", 5, |round| {
        let stages = (0..4)
            .map(|stage| format!("FROM base AS stage{stage}\nRUN sleep 1; echo {round} > /{stage}\n"))
            .collect::<String>();
        let copies = (0..4).map(|stage| format!("COPY --from=stage{stage} /{stage} /\n")).collect::<String>();
        format!("{BASE}{stages}FROM base\n{copies}")
    })?;
    add(four, "its time", 1.0);

    eprintln!("  the large context");
    let first = [vec![time(&mut bench.docker(&bench.large))?], vec![time(&mut bench.carrack(&bench.large))?]];
    add(scenario("1 GB in 50,000 files, first COPY", first), "its time", 1.0);
    let times = in_turns(
        5,
        [&mut || time(&mut bench.docker(&bench.large)), &mut || time(&mut bench.carrack(&bench.large))],
    )?;
    add(scenario("the same, unchanged", times), "an eighth", 0.125);

    let label =
        bench.small("another label, no new layer", 20, |round| format!("{BASE}LABEL round={round}\n"))?;
    let limit = Goal::at_most("50 ms", label.rows[1].median(), Duration::from_millis(50)).of(label.name);
    section.goals.push(limit);
    section.scenarios.push(label);
    section.notes.push(format!(
        "docker {}, BuildKit, containerd's image store. Both are asked with `--quiet`; `carrack build` is a whole process each \
         time, `docker build` a client of a daemon that keeps running.",
        bench.dockyard.version
    ));
    Ok(Ok(section))
}

fn scenario(name: &'static str, times: [Vec<Duration>; 2]) -> Scenario {
    let rows = NAMES.into_iter().zip(times).map(|(name, times)| Row::new(name, times));
    Scenario { name, rows: rows.collect() }
}

/// Files of 20 kB of which no two are alike, and which can't be compressed away, in folders of 500 with numbers for names.
pub(super) fn write_files(folder: &Path, files: usize) -> Result<(), String> {
    let mut state: u64 = 1;
    for number in 0..files {
        let mut bytes = Vec::with_capacity(FILE_SIZE);
        while bytes.len() < FILE_SIZE {
            // The multiplier and increment of Knuth's MMIX.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(state >> 32).to_le_bytes()[..4]);
        }
        let path = folder.join(format!("{}/{number}", number / FILES_IN_FOLDER));
        let above = path.parent().unwrap_or(folder);
        fs::create_dir_all(above)
            .and_then(|()| fs::write(&path, bytes))
            .map_err(|error| format!("can't write {}: {error}", path.display()))?;
    }
    Ok(())
}
