//! The three scenarios that guides promise much for, first build, code change and no change, with real Docker.
//!
//! Four contenders make the same three services' images from copies of the example: a Dockerfile as guides teach it,
//! cargo-chef's, the one that `carrack init` writes, and Carrack's embedded engine. The goals hold for the last two,
//! against the first in the same run. What Docker downloads besides crates (Debian's packages) is in its times: it is
//! in the first build of everyone who builds with Docker.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::dockyard::Dockyard;
use super::neighbours::Neighbour;
use super::page::{Goal, Row, Scenario, Section};
use super::stage::{self, SERVICES, Stage};
use super::{in_turns, time};

const FIRST_BUILDS: usize = 1;
const CODE_CHANGES: usize = 5;
const NO_CHANGES: usize = 10;

/// The name that benches/docker/chef.Dockerfile has for its builder.
const CHEF_IMAGE: &str = "carrack-bench/chef";
const CHEF_DOCKERFILE: &str = "\
FROM rust:1.95-slim-bookworm
COPY cargo-chef /usr/local/cargo/bin/
";

const NAMES: [&str; 4] = [
    "the guide's Dockerfile, by hand",
    "cargo-chef's Dockerfile",
    "the Dockerfile of `carrack init`",
    "`carrack build`, no Docker",
];
/// Which of them have goals.
const OURS: [usize; 2] = [2, 3];

/// One way to make the images of the three services.
struct Contender<'a> {
    stage: &'a Stage<'a>,
    dockyard: &'a Dockyard,
    workspace: PathBuf,
    engine: Engine,
}

enum Engine {
    /// Docker, with images of this name.
    Docker(&'static str),
    /// Carrack's own, which keeps everything in this folder.
    Embedded(PathBuf),
}

pub(super) fn measure(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    eprintln!("  starting Docker with its base images");
    let dockyard = match Dockyard::start(stage)? {
        Ok(dockyard) => dockyard,
        Err(why) => return Ok(Err(why)),
    };
    let chef = provide_chef(stage, &dockyard)?;
    let written = |name: &'static str| -> Result<Contender<'_>, String> {
        let workspace = stage.copy(name)?;
        let from = stage.root.join(format!("benches/docker/{name}.Dockerfile"));
        let to = workspace.join("Dockerfile");
        fs::copy(&from, to).map_err(|error| format!("can't copy {}: {error}", from.display()))?;
        stage::write(&workspace.join(".dockerignore"), "target\n")?;
        Ok(Contender { stage, dockyard: &dockyard, workspace, engine: Engine::Docker(name) })
    };
    let (generated, embedded) = (stage.copy("generated")?, stage.copy("embedded")?);
    let home = stage.folder.path().join("embedded/home");
    let contenders = [
        written("guide")?,
        written("chef")?,
        Contender { stage, dockyard: &dockyard, workspace: generated, engine: Engine::Docker("generated") },
        Contender { stage, dockyard: &dockyard, workspace: embedded, engine: Engine::Embedded(home) },
    ];

    let mut first = [const { Vec::new() }; 4];
    for _ in 0..FIRST_BUILDS {
        for ((contender, times), name) in contenders.iter().zip(&mut first).zip(NAMES) {
            contender.forget()?;
            eprintln!("  first build: {name}");
            times.push(contender.build()?);
        }
    }
    eprintln!("  code change");
    // The first round, which does not count, builds anew what another one's first build has thrown away.
    let code = all_in_turns(&contenders, CODE_CHANGES, |contender, round| {
        stage.edit(&contender.workspace, round)?;
        contender.build()
    })?;
    eprintln!("  no change");
    let none = all_in_turns(&contenders, NO_CHANGES, |contender, _| contender.build())?;

    let mut section = Section::new("docker", "With Docker: examples/rustcare, three services' images");
    for (name, times, factor) in
        [("first build", first, 1.0), ("code change", code, 0.6), ("no change", none, 0.1)]
    {
        let rows = NAMES.into_iter().zip(times).map(|(name, times)| Row::new(name, times));
        let scenario = Scenario { name, rows: rows.collect() };
        for index in OURS {
            let words = format!("{factor:.1} × the guide's {name}");
            let limit = scenario.rows[0].median().mul_f64(factor);
            let goal = Goal::at_most(&words, scenario.rows[index].median(), limit);
            section.goals.push(goal.of(NAMES[index]));
        }
        section.scenarios.push(scenario);
    }
    section.notes.extend([
        "× is the ratio to the guide's form, [guide.Dockerfile](../benches/docker/guide.Dockerfile), in the same run."
            .to_owned(),
        format!(
            "docker {}, BuildKit, `docker build --target` once for each service; [{chef}](../benches/docker/chef.Dockerfile).",
            dockyard.version
        ),
        "First build: base images, and for `carrack build` the machine's own Rust, are there; crates and Debian's \
         packages are downloaded."
            .to_owned(),
        "Code change: one line of server/src/main.rs, another one in each round.".to_owned(),
    ]);
    Ok(Ok(section))
}

/// [`in_turns`] for all contenders; what is measured is told a number that is another one in each round.
fn all_in_turns(
    contenders: &[Contender<'_>; 4],
    rounds: usize,
    measure: impl Fn(&Contender<'_>, u32) -> Result<Duration, String>,
) -> Result<[Vec<Duration>; 4], String> {
    let mut measures = contenders.each_ref().map(|contender| {
        let (measure, mut round) = (&measure, 0);
        move || {
            round += 1;
            measure(contender, round)
        }
    });
    in_turns(rounds, measures.each_mut().map(|measure| measure as &mut dyn FnMut() -> _))
}

impl Contender<'_> {
    /// How long it takes to make all images.
    fn build(&self) -> Result<Duration, String> {
        match &self.engine {
            Engine::Docker(name) => SERVICES.iter().try_fold(Duration::ZERO, |total, service| {
                let tag = format!("carrack-bench/{name}-{service}");
                let mut command = self.dockyard.build(&self.workspace, &tag);
                Ok(total + time(command.args(["--target", service]))?)
            }),
            Engine::Embedded(home) => {
                let mut command = self.stage.carrack(&self.workspace);
                command.env("CARRACK_HOME", home.join("store")).env("CARGO_HOME", home.join("cargo"));
                time(&mut command)
            }
        }
    }

    /// Takes away all that former builds have left; with Docker those of the other contenders too.
    fn forget(&self) -> Result<(), String> {
        match &self.engine {
            Engine::Docker(_) => self.dockyard.forget(),
            Engine::Embedded(home) if home.exists() => {
                fs::remove_dir_all(home).map_err(|error| format!("can't remove {}: {error}", home.display()))
            }
            Engine::Embedded(_) => Ok(()),
        }
    }
}

/// Makes the builder with cargo-chef, which is compiled once; the words are its name and version.
fn provide_chef(stage: &Stage<'_>, dockyard: &Dockyard) -> Result<String, String> {
    let Neighbour { program, version } = Neighbour::find(stage, "cargo-chef")?;
    let context = stage.folder.path().join("chef-image");
    stage::write(&context.join("Dockerfile"), CHEF_DOCKERFILE)?;
    fs::copy(&program, context.join("cargo-chef"))
        .map_err(|error| format!("can't copy {}: {error}", program.display()))?;
    time(&mut dockyard.build(&context, CHEF_IMAGE))?;
    Ok(version)
}
