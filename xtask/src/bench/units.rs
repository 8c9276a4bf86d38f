//! The unit cache against bare cargo and against what others made for the same purpose.
//!
//! Two workspaces of `benches/units` are compiled by up to six contenders: cargo with its target folder, Carrack, cargo with
//! sccache or kache as wrapper around rustc, and Docker with cargo-chef or with a cache mount. Each has copies of its own, the
//! same compiler and flags, and all crates on its disk before. A neighbour that can't be had or does not build is left out
//! with a word in the notes.
//!
//! What a contender starts from in each situation is what it is made for:
//!
//! | | cargo, Docker | Carrack | sccache, kache |
//! | --- | --- | --- | --- |
//! | all fresh, dependency bumped, second workspace | what the last build left | the same; its build folder is always empty | an empty target folder |
//! | code change, other branch | what the last build left | the same | the target folder of the last build |

mod contender;
mod fresh_machine;
mod taken;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::dockyard::Dockyard;
use super::neighbours::{Daemon, Neighbour};
use super::page::{Goal, Row, Scenario, Section};
use super::stage::{self, Folder, Stage};
use super::time;
use contender::{Contender, Engine, Project, SOURCES, edited, remove};
use taken::{Taken, Told};

const CARGO: &str = "cargo, its target folder";
const CARRACK: &str = "`carrack build`";
const SCCACHE: &str = "cargo with sccache";
const KACHE: &str = "cargo with kache";
const CHEF: &str = "Docker, cargo-chef";
const MOUNT: &str = "Docker, cache mount";

/// What is edited: files of the first workspace with a place in each.
const SERVICE: &str = "server/src/main.rs";
const SERVICE_PLACE: &str = "harbour master on duty";
const LIBRARY: &str = "core/src/lib.rs";
const LIBRARY_PLACE: &str = "\"edition 1\"";
const CONFIGURATION: &str = "config/harbour.toml";
const CONFIGURATION_PLACE: &str = "127.0.0.1:8081";

/// The dependency in the middle of the graph that is bumped: its version in the lock file, and later ones that need the
/// same packages, with their checksums.
const BUMPED: &str = "http";
const LOCKED: (&str, &str) = ("1.4.0", "e3ba2a386d7f85a81f119ad7498ebe444d2e22c2af0b86b069416ace48b3311a");
const BUMPS: [(&str, &str); 3] = [
    ("1.4.1", "8be7462df143984c4598a256ef469b251d7d7f9e271135073e78fc535414f3d0"),
    ("1.4.2", "6970f50e31d6fc17d3fa27329444bfa74e196cf62e95052a3f6fee181dba6425"),
    ("1.5.0", "918d3568bebf352712bc2ef3d46a8bcf1a75b373be6539de198e9105cbbf9ce0"),
];

const IMAGE: &str = "carrack-bench/units";
/// The builder has all crates before anything is measured.
const IMAGE_DOCKERFILE: &str = "\
FROM rust:1.95-slim-bookworm
COPY cargo-chef /usr/local/cargo/bin/
COPY fetch /fetch
RUN for workspace in /fetch/*; do cargo fetch --locked --manifest-path $workspace/Cargo.toml || exit 1; done \\
 && rm -r /fetch
";

/// How often something is measured.
#[derive(Clone, Copy)]
struct Rounds {
    /// Those that do not count.
    first: usize,
    /// Those that do, at most.
    counted: usize,
    /// Who has spent this much makes no more rounds once one counts.
    budget: Duration,
}

const SHORT: Rounds = Rounds { first: 1, counted: 5, budget: Duration::from_secs(30) };
const BUMP_ROUNDS: Rounds = Rounds { first: 0, counted: BUMPS.len(), budget: Duration::from_secs(45) };
const ONCE: Rounds = Rounds { first: 0, counted: 1, budget: Duration::ZERO };

/// Starts a wrapper's daemon; the words say how it is used.
type Start = fn(&Stage<'_>, &Path) -> Result<(Engine<'static>, String), String>;

/// The times of each contender.
type Times = Vec<Vec<Taken>>;

pub(super) fn measure(stage: &Stage<'_>) -> Result<Result<Section, String>, String> {
    let folder = Folder::new("units")?;
    let mut notes = Vec::new();
    fetch(stage, folder.path())?;
    let dockyard = Dockyard::start(stage)?;
    let mut contenders = all(stage, folder.path(), &dockyard, &mut notes)?;
    let mut section = Section::new("units", "Kept units: a workspace with 203 packages, 249 units");

    let first = first_builds(&mut contenders, &mut notes)?;
    let contenders = &contenders[..];
    eprintln!("  all fresh");
    let fresh = all_fresh(contenders)?;
    eprintln!("  code change");
    let code = turns(contenders, SHORT, |contender, round| {
        let words = format!("{SERVICE_PLACE}, line {round}");
        contender.edit(Project::Harbour, SERVICE, &[(SERVICE_PLACE, &words)])?;
        contender.build(Project::Harbour)
    })?;
    eprintln!("  other branch");
    let branch = other_branch(contenders)?;
    eprintln!("  second workspace");
    let second = turns(contenders, ONCE, |contender, _| contender.build(Project::Lighthouse))?;
    eprintln!("  dependency bumped");
    let bumped = turns(contenders, BUMP_ROUNDS, |contender, round| {
        let [version, checksum] = bump(BUMPS[round]);
        let changes = [(&*version.0, &*version.1), (&*checksum.0, &*checksum.1)];
        contender.edit(Project::Harbour, "Cargo.lock", &changes)?;
        contender.empty_target(Project::Harbour)?;
        contender.build(Project::Harbour)
    })?;
    eprintln!("  fresh machine");
    let machine = fresh_machine::measure(&contenders[1], folder.path())?;

    let wall = |taken: &Taken| taken.wall;
    let processor = |taken: &Taken| taken.processor;
    section.goals = goals(&first, &fresh, &code, &bumped);
    section.rows = details(&fresh, &code, machine, &mut notes);
    section.scenarios = vec![
        scenario("first build", contenders, &first, wall),
        scenario("first build, processor", contenders, &first, processor),
        scenario("all fresh", contenders, &fresh.with_seeds, wall),
        scenario("code change", contenders, &code, wall),
        scenario("other branch", contenders, &branch, wall),
        scenario("second workspace", contenders, &second, wall),
        scenario("dependency bumped, processor", contenders, &bumped, processor),
        scenario("dependency bumped", contenders, &bumped, wall),
    ];
    section.notes = about();
    section.notes.extend(counts(&fresh, &code, &second, &bumped));
    section.notes.extend(notes);
    Ok(Ok(section))
}

/// Has cargo download everything that will be compiled.
fn fetch(stage: &Stage<'_>, folder: &Path) -> Result<(), String> {
    let sources = stage.root.join(SOURCES);
    let fetch = folder.join("image/fetch");
    for project in Project::ALL {
        stage::copy_sources(&sources.join(project.name()), &fetch.join(project.name()))?;
    }
    for to in BUMPS {
        let copy = fetch.join(format!("{BUMPED}-{}", to.0));
        stage::copy_sources(&sources.join(Project::Harbour.name()), &copy)?;
        let [version, checksum] = bump(to);
        let changes = [(&*version.0, &*version.1), (&*checksum.0, &*checksum.1)];
        let lock_file = edited(&sources.join(Project::Harbour.name()).join("Cargo.lock"), &changes)?;
        stage::write(&copy.join("Cargo.lock"), &lock_file)?;
    }
    let workspaces =
        std::fs::read_dir(&fetch).map_err(|error| format!("can't list {}: {error}", fetch.display()))?;
    for workspace in workspaces.flatten() {
        time(Command::new("cargo").args(["fetch", "--locked"]).current_dir(workspace.path()))?;
    }
    Ok(())
}

/// What changes in the lock file: the version, the checksum.
fn bump((version, checksum): (&str, &str)) -> [(String, String); 2] {
    let line = |version: &str| format!("name = \"{BUMPED}\"\nversion = \"{version}\"");
    [(line(LOCKED.0), line(version)), (LOCKED.1.to_owned(), checksum.to_owned())]
}

/// Cargo, Carrack, and every neighbour that can be had.
fn all<'a>(
    stage: &'a Stage<'a>,
    folder: &Path,
    dockyard: &'a Result<Dockyard, String>,
    notes: &mut Vec<String>,
) -> Result<Vec<Contender<'a>>, String> {
    let mut contenders = vec![
        Contender::new(CARGO, stage, folder.join("cargo"), Engine::Cargo)?,
        Contender::new(CARRACK, stage, folder.join("carrack"), Engine::Carrack)?,
    ];
    let wrappers: [(_, &str, Start); 2] = [(SCCACHE, "sccache", with_sccache), (KACHE, "kache", with_kache)];
    for (name, short, start) in wrappers {
        match start(stage, &folder.join(short)) {
            Ok((engine, version)) => {
                contenders.push(Contender::new(name, stage, folder.join(short), engine)?);
                notes.push(version);
            }
            Err(why) => leave_out(name, &why, notes),
        }
    }
    let image = match dockyard {
        Ok(dockyard) => make_image(stage, folder, dockyard).map(|version| (dockyard, version)),
        Err(why) => Err(why.clone()),
    };
    match image {
        Ok((dockyard, chef)) => {
            for (name, dockerfile) in [(CHEF, "chef.Dockerfile"), (MOUNT, "mounts.Dockerfile")] {
                let engine = Engine::Docker { dockyard, dockerfile };
                let folder = folder.join(dockerfile.replace(".Dockerfile", ""));
                contenders.push(Contender::new(name, stage, folder, engine)?);
            }
            notes.push(format!(
                "Docker {}, BuildKit, the service's image: [{chef}](../{SOURCES}/chef.Dockerfile) with a layer cache; a \
                 [cache mount](../{SOURCES}/mounts.Dockerfile) for the target folder.",
                dockyard.version
            ));
        }
        Err(why) => [CHEF, MOUNT].into_iter().for_each(|name| leave_out(name, &why, notes)),
    }
    Ok(contenders)
}

fn leave_out(name: &str, why: &str, notes: &mut Vec<String>) {
    let why = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    eprintln!("  left out: {name}: {}", why.join("\n    "));
    notes.push(format!(
        "Left out: {name}: {}.",
        why.first().unwrap_or(&"no word about it").trim_end_matches('.')
    ));
}

/// As sccache's README says: the wrapper, and a cache on this disk.
fn with_sccache(stage: &Stage<'_>, folder: &Path) -> Result<(Engine<'static>, String), String> {
    let Neighbour { program, version } = Neighbour::find(stage, "sccache")?;
    let socket = folder.join("socket");
    let mut variables = vec![
        ("SCCACHE_DIR", folder.join("cache").into_os_string()),
        ("SCCACHE_SERVER_UDS", socket.clone().into_os_string()),
        // No settings of the user's.
        ("SCCACHE_CONF", folder.join("none").into_os_string()),
        ("SCCACHE_IDLE_TIMEOUT", "0".into()),
    ];
    let mut server = Command::new(&program);
    server.envs(variables.iter().cloned()).env("SCCACHE_START_SERVER", "1").env("SCCACHE_NO_DAEMON", "1");
    let daemon = Daemon::start(&mut server, &folder.join("log"), || socket.exists())?;
    variables.push(("RUSTC_WRAPPER", program.into_os_string()));
    let words =
        format!("{version}: `RUSTC_WRAPPER`, cache on the same disk; crate cc uses it for C by itself.");
    Ok((Engine::Wrapper { variables, daemon }, words))
}

/// As `kache init` writes it into cargo's configuration: the wrapper, also for C, and its daemon with a local store.
fn with_kache(stage: &Stage<'_>, folder: &Path) -> Result<(Engine<'static>, String), String> {
    let Neighbour { program, version } = Neighbour::find(stage, "kache")?;
    let settings = folder.join("kache.toml");
    stage::write(&settings, "[cache]\nlocal_only = true\n")?;
    let socket = folder.join("run/socket");
    std::fs::create_dir_all(folder.join("run")).map_err(|error| error.to_string())?;
    let mut variables = vec![
        ("KACHE_CACHE_DIR", folder.join("cache").into_os_string()),
        ("KACHE_RUNTIME_DIR", folder.join("run").into_os_string()),
        ("KACHE_SOCKET_PATH", socket.clone().into_os_string()),
        ("KACHE_CONFIG", settings.into_os_string()),
        ("KACHE_HOST_CONFIG", "".into()),
    ];
    let mut server = Command::new(&program);
    server.args(["daemon", "run"]).envs(variables.iter().cloned());
    let daemon = Daemon::start(&mut server, &folder.join("log"), || socket.exists())?;
    let with = |compiler: &str| format!("{} {compiler}", program.display()).into();
    variables.extend([
        ("HOST_CC", with("cc")),
        ("HOST_CXX", with("c++")),
        ("CC_KNOWN_WRAPPER_CUSTOM", "kache".into()),
        ("RUSTC_WRAPPER", program.clone().into_os_string()),
    ]);
    let words = format!(
        "{version}: `RUSTC_WRAPPER`, `HOST_CC` and `HOST_CXX` as `kache init` sets them, its daemon, a local store only; it \
         keeps build scripts' runs and linked programs as well."
    );
    Ok((Engine::Wrapper { variables, daemon }, words))
}

/// Makes the builder image; the words are cargo-chef's name and version.
fn make_image(stage: &Stage<'_>, folder: &Path, dockyard: &Dockyard) -> Result<String, String> {
    let Neighbour { program, version } = Neighbour::find(stage, "cargo-chef")?;
    let context = folder.join("image");
    stage::write(&context.join("Dockerfile"), IMAGE_DOCKERFILE)?;
    std::fs::copy(&program, context.join("cargo-chef"))
        .map_err(|error| format!("can't copy {}: {error}", program.display()))?;
    time(&mut dockyard.build(&context, IMAGE))?;
    Ok(version)
}

/// One build of each with nothing kept, and a second one of those that the goal is about. A neighbour that fails is none
/// any more.
fn first_builds(contenders: &mut Vec<Contender<'_>>, notes: &mut Vec<String>) -> Result<Times, String> {
    let mut times = Vec::new();
    let mut able = Vec::new();
    for contender in contenders.drain(..) {
        eprintln!("  first build: {}", contender.name);
        match contender.build(Project::Harbour) {
            Ok(taken) => {
                times.push(vec![taken]);
                able.push(contender);
            }
            Err(why) if contender.is_neighbour() => leave_out(contender.name, &why, notes),
            Err(why) => return Err(why),
        }
    }
    for (contender, times) in able.iter().zip(&mut times).filter(|(contender, _)| !contender.is_neighbour()) {
        eprintln!("  first build: {}, again", contender.name);
        contender.forget()?;
        times.push(contender.build(Project::Harbour)?);
    }
    *contenders = able;
    Ok(times)
}

/// Builds of everything's contenders without any unit to compile, Carrack's in two ways.
struct Fresh {
    with_seeds: Times,
    without_seeds: Vec<Taken>,
}

/// A file changes that no unit was compiled from, so nobody may skip the build and nothing needs a compiler.
fn all_fresh(contenders: &[Contender<'_>]) -> Result<Fresh, String> {
    let mut without_seeds = Vec::new();
    let change = |contender: &Contender<'_>, port: usize| {
        let words = format!("127.0.0.1:{port}");
        contender.edit(Project::Harbour, CONFIGURATION, &[(CONFIGURATION_PLACE, &words)])
    };
    let with_seeds = turns(contenders, SHORT, |contender, round| {
        if contender.is_carrack() {
            remove(&contender.home().join("seeds"))?;
            change(contender, 10_000 + round)?;
            let taken = contender.build(Project::Harbour)?;
            if round >= SHORT.first {
                without_seeds.push(taken);
            }
        }
        change(contender, 20_000 + round)?;
        contender.empty_target(Project::Harbour)?;
        contender.build(Project::Harbour)
    })?;
    Ok(Fresh { with_seeds, without_seeds })
}

/// There and back between two contents of a library that all others need, with a new line in the service each time:
/// otherwise Carrack's and Docker's kept results would answer, and no unit would be needed.
fn other_branch(contenders: &[Contender<'_>]) -> Result<Times, String> {
    let rounds = Rounds { first: 2, counted: 6, budget: Duration::from_secs(40) };
    turns(contenders, rounds, |contender, round| {
        let edition = format!("\"edition {}\"", 1 + (round + 1) % 2);
        let words = format!("{SERVICE_PLACE}, branch {round}");
        contender.edit(Project::Harbour, LIBRARY, &[(LIBRARY_PLACE, &edition)])?;
        contender.edit(Project::Harbour, SERVICE, &[(SERVICE_PLACE, &words)])?;
        contender.build(Project::Harbour)
    })
}

/// Lets the contenders take turns; what is measured is told the round.
fn turns(
    contenders: &[Contender<'_>],
    rounds: Rounds,
    mut measure: impl FnMut(&Contender<'_>, usize) -> Result<Taken, String>,
) -> Result<Times, String> {
    let mut times: Times = contenders.iter().map(|_| Vec::new()).collect();
    let mut spent = vec![Duration::ZERO; contenders.len()];
    for round in 0..rounds.first + rounds.counted {
        for ((contender, times), spent) in contenders.iter().zip(&mut times).zip(&mut spent) {
            if *spent > rounds.budget && !times.is_empty() {
                continue;
            }
            let taken = measure(contender, round).map_err(|error| format!("{}: {error}", contender.name))?;
            *spent += taken.wall;
            if round >= rounds.first {
                times.push(taken);
            }
        }
    }
    Ok(times)
}

fn scenario(
    name: &'static str,
    contenders: &[Contender<'_>],
    times: &Times,
    of: impl Fn(&Taken) -> Duration,
) -> Scenario {
    let rows = contenders
        .iter()
        .zip(times)
        .map(|(contender, times)| Row::new(contender.name, times.iter().map(&of).collect()));
    Scenario { name, rows: rows.collect() }
}

fn median(times: &[Taken], of: impl Fn(&Taken) -> Duration) -> Duration {
    Row::new("", times.iter().map(of).collect()).median()
}

fn goals(first: &Times, fresh: &Fresh, code: &Times, bumped: &Times) -> Vec<Goal> {
    let milliseconds = Duration::from_millis;
    let restored = |times: &[Taken]| median(times, |taken| taken.told().restored);
    let with_seeds = &fresh.with_seeds[1];
    let first = [&first[0], &first[1]].map(|times| median(times, |taken| taken.wall));
    let bumped = [&bumped[0], &bumped[1]].map(|times| median(times, |taken| taken.processor));
    let harvested = median(&code[1], |taken| taken.told().harvested);
    let of = |words: &str, limit: &str, measured, at_most| Goal::at_most(limit, measured, at_most).of(words);
    vec![
        of("units in place, seed made anew", "300 ms", restored(&fresh.without_seeds), milliseconds(300)),
        of("units in place, seed kept", "300 ms", restored(with_seeds), milliseconds(300)),
        of(
            "all fresh, seed made anew",
            "800 ms",
            median(&fresh.without_seeds, |taken| taken.wall),
            milliseconds(800),
        ),
        of("dependency bumped", "1.05 × cargo's processor time", bumped[1], bumped[0].mul_f64(1.05)),
        of("first build", "1.03 × cargo", first[1], first[0].mul_f64(1.03)),
        of("units taken after a code change", "100 ms", harvested, milliseconds(100)),
    ]
}

/// Rows about Carrack alone.
fn details(
    fresh: &Fresh,
    code: &Times,
    machine: Result<Vec<Taken>, String>,
    notes: &mut Vec<String>,
) -> Vec<Row> {
    let row = |what: &str, times: &[Taken], of: fn(&Taken) -> Duration| {
        Row::new(what, times.iter().map(of).collect())
    };
    let restored = |taken: &Taken| taken.told().restored;
    let mut rows = vec![
        row("all fresh, seed made anew: until cargo starts", &fresh.without_seeds, restored),
        row("all fresh, seed made anew: whole", &fresh.without_seeds, |taken| taken.wall),
        row("all fresh, seed kept: until cargo starts", &fresh.with_seeds[1], restored),
        row("code change: from the last unit until all are kept", &code[1], |taken| taken.told().harvested),
    ];
    match machine {
        Ok(times) => {
            rows.push(row("code change on a fresh machine, registry on the loopback", &times, |taken| {
                taken.wall
            }))
        }
        Err(why) => leave_out("`carrack build` on a fresh machine", &why, notes),
    }
    rows
}

fn about() -> Vec<String> {
    [
        "× is the ratio to cargo with its target folder, in the same run. Processor: user and system time of the whole tree, \
         daemons included.",
        "All crates are downloaded before. First build: nothing is compiled yet; Carrack also unpacks the crates into a \
         CARGO_HOME of its own. Carrack and Docker make the service's image in every build, cargo makes none.",
        "All fresh: a file changed that no unit was compiled from. Second workspace: first build of \
         [lighthouse](../benches/units/lighthouse) after [harbour](../benches/units/harbour).",
        "Dependency bumped: http to the next version, 15 packages depend on it. Other branch: there and back between two \
         contents of a library, one line of the service changed each time.",
        "sccache and kache begin with an empty target folder where all is fresh, in the second workspace and after the bump, \
         else with that of the last build.",
        "Until cargo starts, from the last unit: by when the events of `--progress rawjson` arrive; the first contains \
         starting and planning, the second cargo's own end.",
    ]
    .map(str::to_owned)
    .into()
}

/// What Carrack did not have to compile, so that nobody has to believe it.
fn counts(fresh: &Fresh, code: &Times, second: &Times, bumped: &Times) -> Option<String> {
    let last = |times: &Times| times[1].last().map(Taken::told);
    let words = |told: Told| format!("{} of {}", told.compiled, told.compiled + told.fresh);
    Some(format!(
        "Targets that Carrack compiled: all fresh {}, code change {}, second workspace {}, dependency bumped {}.",
        words(last(&fresh.with_seeds)?),
        words(last(code)?),
        words(last(second)?),
        words(last(bumped)?),
    ))
}
