//! What happens before and after cargo: units of packages from registries and git are put into its build folder where they
//! are missing, and those that it made are kept.
//!
//! A run that has nothing to do finds that out without asking cargo. Two values in the index are for that:
//!
//! | key | value |
//! | --- | --- |
//! | `around <question>`: folder, options and profile of a command line | [`Question`]: what cargo answered, and a digest of everything that the answer depends on |
//! | `build folder <folder>`: build folder and profile | [`Folder`]: the units that are known to lie there, and a digest of what was there after the last run |
//!
//! Nobody has to do anything if the answer still holds, nothing in the build folder changed, and no other unit was kept since.
//!
//! While units are put there or read, cargo's own lock of the build folder is held. If cargo or an editor holds it for longer
//! than a moment, this run does without: nothing is lost but time.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use carrack_base::{BuildEvent, ContentDigest};
use carrack_cargo::called::{LOCKS, MARK};
use carrack_cargo::config::Configuration;
use carrack_cargo::environment::{Class, classify};
use carrack_cargo::locate::{Configured, cargo_configs};
use carrack_cargo::plan::{self, Surroundings};
use carrack_cargo::units::{OrdinaryRun, units_digest};
use carrack_engine::{AskedCaches, Inputs, PATIENCE, SharedCaches, keep_harvested, take_locks};
use carrack_graph::OfferedUnit;
use carrack_sandbox::Launcher;
use carrack_store::{Batch, Bucket, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::commands::upkeep;
use crate::failure::Failure;
use crate::shared::CacheChoice;
use crate::signals::Relay;
use crate::terminal::Terminal;
use crate::workspace::toolchain::{self, Builder};
use crate::workspace::{Desk, proof};
use carrack_cargo::line::Line;

/// The unit cache around one run of cargo.
pub(super) struct Around<'a> {
    line: &'a Line,
    caller: Caller,
    program: &'a Path,
    relay: &'a Relay,
    store: Store,
    builder: Builder,
    /// Where cargo works.
    folder: PathBuf,
    cargo_home: PathBuf,
    configured: Configured,
    realm: ContentDigest,
    question: Question,
    /// Cargo's whole answer, if it was asked.
    answer: Option<Surroundings>,
    /// What was in the build folder before cargo ran.
    found: Option<ContentDigest>,
    /// Units that are known to lie in the build folder.
    lying: BTreeSet<ContentDigest>,
    /// Number of units, by where they came from.
    put_back: BTreeMap<Option<String>, usize>,
    /// The caches that machines share, once it is known what the workspace says about them.
    shared: SharedCaches,
}

/// What cargo says about a workspace, as far as it matters to a run that has nothing to do.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Question {
    /// Of everything that this depends on.
    inputs: Option<ContentDigest>,
    root: PathBuf,
    build_folder: PathBuf,
    own: BTreeSet<String>,
    manifests: BTreeSet<PathBuf>,
}

/// A build folder as the last run left it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Folder {
    inputs: Option<ContentDigest>,
    found: Option<ContentDigest>,
    /// The newest unit that was kept then.
    newest: i64,
    units: BTreeSet<ContentDigest>,
}

impl<'a> Around<'a> {
    /// Opens the store and finds the toolchain.
    pub(super) fn new(
        line: &'a Line,
        caller: &Caller,
        program: &'a Path,
        state: &Path,
        relay: &'a Relay,
    ) -> Result<Self, Failure> {
        let caller = match &line.toolchain {
            Some(name) => caller.with("RUSTUP_TOOLCHAIN", name),
            None => caller.clone(),
        };
        let here = caller.folder().map_err(|source| Failure::Io {
            action: "find",
            path: PathBuf::from("the working folder"),
            source,
        })?;
        let store = Store::open(state)?;
        let inputs = Inputs::new(&store, relay.cancel.clone());
        let builder = toolchain::find(&caller, &here, &store, &inputs)?;
        inputs.save();
        let (launcher, terminal) = (Launcher::this_program(), Terminal::of_stderr());
        let cancel = &relay.cancel;
        let (inputs, launcher, terminal) = (&inputs, &launcher, &terminal);
        let desk = Desk { caller: &caller, store: &store, inputs, launcher, terminal, cancel };
        let proof = proof::of(&desk, &builder)?;
        if !proof.holds {
            return Err(Failure::Unproven { what: proof::words(&builder), is_new: proof.is_new });
        }
        let folder = line.folder.as_ref().map_or_else(|| here.clone(), |folder| here.join(folder));
        let cargo_home = folder.join(caller.cargo_home());
        let configured = Configured::by(&cargo_configs(&folder, &cargo_home)?);
        let mut around = Self {
            line,
            caller,
            program,
            relay,
            store,
            builder,
            folder,
            cargo_home,
            configured,
            realm: ContentDigest::of(b""),
            question: Question::default(),
            answer: None,
            found: None,
            lying: BTreeSet::new(),
            put_back: BTreeMap::new(),
            shared: SharedCaches::default(),
        };
        around.realm = around.run().realm();
        Ok(around)
    }

    /// How many units were put back, by where they came from.
    pub(super) fn put_back(&self) -> &BTreeMap<Option<String>, usize> {
        &self.put_back
    }

    /// Puts back what is missing.
    pub(super) fn before(&mut self) -> Result<(), Failure> {
        if self.has_nothing_to_do()? {
            return Ok(());
        }
        self.ask()?;
        // Of what else lies there, only size and times are known: it is read again when it is to be kept.
        self.lying = self.folder()?.units;
        let _lease = self.store.lease(&self.relay.cancel)?;
        let Some(_lock) = self.lock()? else { return Ok(()) };
        let run = self.run();
        let choose = |mut offered: Vec<OfferedUnit>| -> Result<_, StoreError> {
            // Of two that would fit alike, the one that lies there.
            offered.sort_by_key(|unit| !self.lying.contains(&unit.id));
            Ok(run.choose(offered))
        };
        let asked = AskedCaches::new(&self.shared, &complain);
        let fitting = asked.choose(&self.realm, &self.store, choose, |unit| unit.id)?;
        let ids = |fitting: &[carrack_cargo::units::FittingUnit]| -> Vec<ContentDigest> {
            fitting.iter().map(|unit| unit.id).collect()
        };
        let target = &self.question.build_folder;
        let lying = self.store.planted(&ids(&fitting), target)?;
        let fitting = run.without_disturbing(fitting, &lying).map_err(self.unreadable())?;
        if self.relay.cancel.is_cancelled() {
            return Ok(());
        }
        let planted = self.store.plant(&ids(&fitting), target)?;
        self.store.use_units(&[&planted.planted[..], &planted.there].concat());
        for unit in fitting.iter().filter(|unit| planted.planted.contains(&unit.id)) {
            *self.put_back.entry(unit.origin.clone()).or_default() += 1;
        }
        self.lying.extend(planted.planted);
        Ok(())
    }

    /// Keeps what is new; returns how many units.
    pub(super) fn after(&mut self) -> Result<usize, Failure> {
        if self.found.is_some() && self.find()? == self.found {
            return Ok(0);
        }
        if self.answer.is_none() {
            self.ask()?;
            self.lying = self.folder()?.units;
        }
        let _lease = self.store.lease(&self.relay.cancel)?;
        let Some(_lock) = self.lock()? else { return Ok(0) };
        let target = self.question.build_folder.clone();
        // Cargo may have replaced some of them.
        let lying: Vec<ContentDigest> = self.lying.iter().copied().collect();
        let lying: HashSet<ContentDigest> = self.store.planted(&lying, &target)?.into_iter().collect();
        let rows = self.store.units(&self.realm)?.into_iter().filter(|row| lying.contains(&row.id));
        let kept: Vec<OfferedUnit> =
            rows.map(|row| OfferedUnit { id: row.id, record: row.record, origin: None }).collect();
        let harvested = self.run().harvest(&kept).map_err(self.unreadable())?;
        let ids: Vec<ContentDigest> = harvested.iter().map(|unit| unit.id).collect();
        let workspace = self.question.root.display().to_string();
        let of = (self.realm, workspace.as_str());
        let number = keep_harvested(&self.store, of, harvested, &(&target).into())?;
        let used: HashSet<ContentDigest> =
            kept.iter().map(|unit| unit.id).chain(ids.iter().copied()).collect();
        self.shared.publish_units(&self.realm, &used, &self.store, &complain)?;
        // The next run knows them.
        self.note(kept.into_iter().map(|unit| unit.id).chain(ids).collect())?;
        Ok(number)
    }

    /// Removes what is too old or too much, now that something new was kept.
    pub(super) fn look_after_store(&self) {
        // A configuration that makes no sense is for the command to complain about that it is made for.
        let configuration = Configuration::load(&self.question.root, &[]);
        let limits = configuration.map(|configuration| configuration.workspace.cache);
        upkeep::after_build(&self.store, &limits.unwrap_or_default());
    }

    /// Whether nothing changed since the last run.
    fn has_nothing_to_do(&mut self) -> Result<bool, Failure> {
        let kept = self.store.get(Bucket::Plan, &self.question_key())?;
        let Some(question) = kept.and_then(|bytes| serde_json::from_slice::<Question>(&bytes).ok()) else {
            return Ok(false);
        };
        self.question = question;
        if self.question.inputs != Some(self.inputs()?) {
            return Ok(false);
        }
        let found = self.find()?;
        let folder = self.folder()?;
        let is_same = folder.inputs == self.question.inputs
            && folder.found == found
            && folder.newest == self.store.newest_unit(&self.realm)?;
        self.found = found.filter(|_| is_same);
        Ok(is_same)
    }

    /// Writes down what the next run will compare.
    fn note(&mut self, units: BTreeSet<ContentDigest>) -> Result<(), Failure> {
        self.question.inputs = Some(self.inputs()?);
        let folder = Folder {
            inputs: self.question.inputs,
            found: self.find()?,
            newest: self.store.newest_unit(&self.realm)?,
            units,
        };
        let mut batch = Batch::default();
        batch.put(Bucket::Plan, &self.question_key(), json(&self.question)?);
        batch.put(Bucket::Plan, &self.folder_key(), json(&folder)?);
        Ok(self.store.commit(batch)?)
    }

    /// What is known about the build folder.
    fn folder(&self) -> Result<Folder, Failure> {
        let kept = self.store.get(Bucket::Plan, &self.folder_key())?;
        Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    fn question_key(&self) -> Vec<u8> {
        let Line { profile, targets, target_dir, manifest_path, options, .. } = self.line;
        let asked = format!("{profile} {targets:?} {target_dir:?} {manifest_path:?} {options:?}");
        let asked = format!("{}\0{asked}\0{}", self.folder.display(), self.realm);
        format!("around {}", ContentDigest::of(asked.as_bytes())).into_bytes()
    }

    fn folder_key(&self) -> Vec<u8> {
        let folder =
            format!("{}\0{}\0{}", self.question.build_folder.display(), self.line.profile, self.realm);
        format!("build folder {}", ContentDigest::of(folder.as_bytes())).into_bytes()
    }

    /// Digest of what is in the build folder.
    fn find(&self) -> Result<Option<ContentDigest>, Failure> {
        let Question { build_folder, own, .. } = &self.question;
        units_digest(build_folder, &self.line.profile, own).map(Some).map_err(self.unreadable())
    }

    /// Digest of what cargo's answer and the choice of units depend on.
    fn inputs(&self) -> Result<ContentDigest, Failure> {
        let inputs = Inputs::new(&self.store, self.relay.cancel.clone());
        let mut text = String::new();
        let nearest =
            self.folder.ancestors().map(|folder| folder.join("Cargo.toml")).find(|path| path.is_file());
        let configs = cargo_configs(&self.folder, &self.cargo_home)?;
        let lock_file = self.question.root.join("Cargo.lock");
        let files = configs.iter().chain(&self.question.manifests).chain(&nearest).chain([&lock_file]);
        for path in files {
            text.push_str(&format!("{}={:?}\0", path.display(), inputs.digest(path)?));
        }
        inputs.save();
        let matters = |name: &str| matches!(classify(name), Class::Ours | Class::Keyed | Class::Declared);
        for (name, value) in self.caller.texts().filter(|(name, _)| matters(name)) {
            text.push_str(&format!("{name}={value}\0"));
        }
        Ok(ContentDigest::of(text.as_bytes()))
    }

    /// Asks cargo about the workspace.
    fn ask(&mut self) -> Result<(), Failure> {
        let mut command = Command::new(self.program);
        command.args(self.line.toolchain.as_ref().map(|name| format!("+{name}")));
        if let Some(folder) = &self.line.folder {
            command.args([&OsString::from("-C"), folder.as_os_str()]);
        }
        command.args(["metadata", "--format-version", "1"]);
        let host = &self.builder.rustc.host;
        // A target may be a JSON file of its own, which cargo metadata does not take.
        if !self.line.targets.iter().any(|target| target.ends_with(".json")) {
            let platforms =
                std::iter::once(host).chain(self.line.targets.iter().filter(|target| *target != host));
            command.args(platforms.flat_map(|platform| ["--filter-platform", platform]));
        }
        if let Some(path) = &self.line.manifest_path {
            command.arg("--manifest-path").arg(path);
        }
        command.args(&self.line.options).args(self.line.quiet.then_some("--quiet"));
        if let Some(folder) = &self.line.target_dir {
            command.env("CARGO_TARGET_DIR", folder);
        }
        let failed = |source| Failure::Io { action: "run", path: self.program.to_owned(), source };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (status, answer, said) = std::thread::scope(|scope| {
            let stdout = scope.spawn(|| {
                let mut bytes = Vec::new();
                stdout.map(|mut pipe| pipe.read_to_end(&mut bytes));
                bytes
            });
            let stderr = scope.spawn(|| stderr.map(hand_on_news).unwrap_or_default());
            let status = self.relay.wait(&mut child);
            let answer = stdout.join().expect("reading a pipe does not panic");
            (status, answer, stderr.join().expect("reading a pipe does not panic"))
        });
        if !status.map_err(failed)?.success() {
            return Err(Failure::Metadata { said });
        }
        let Surroundings { root, build_folder, own, manifests, .. } =
            self.answer.insert(plan::surroundings(&answer)?).clone();
        self.question = Question { inputs: None, root, build_folder, own, manifests };
        let configuration = Configuration::load(&self.question.root, &[]).map_err(Failure::Configuration)?;
        self.shared =
            CacheChoice::of(&[], &[], Some(&configuration.workspace), &self.caller).open(&self.caller)?;
        Ok(())
    }

    /// The run as the front end knows it.
    fn run(&self) -> OrdinaryRun {
        let variables = self.caller.texts();
        OrdinaryRun {
            cargo_home: self.cargo_home.clone(),
            target: self.question.build_folder.clone(),
            profile: self.line.profile.clone(),
            fetched: self.answer.as_ref().map(|answer| answer.fetched.clone()).unwrap_or_default(),
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            configured: self.configured.clone(),
            identity: self.builder.identity.clone(),
            installed: None,
        }
    }

    /// Takes cargo's locks of the build folder; `None` if somebody else holds one. Makes the folder if there is none.
    fn lock(&self) -> Result<Option<Vec<File>>, Failure> {
        let target = &self.question.build_folder;
        let folder = target.join(&self.line.profile);
        let io = |action| {
            let path = folder.clone();
            move |source| Failure::Io { action, path, source }
        };
        if !target.exists() {
            fs::create_dir_all(target).map_err(io("create"))?;
            // Cargo writes it only where it makes the folder itself.
            fs::write(target.join(MARK.0), MARK.1).map_err(io("create"))?;
        }
        fs::create_dir_all(&folder).map_err(io("create"))?;
        let has_to_stop = |waited| waited > PATIENCE || self.relay.cancel.is_cancelled();
        take_locks(&folder, LOCKS, &has_to_stop, &|_| Ok(())).map_err(io("lock"))
    }

    fn unreadable(&self) -> impl FnOnce(std::io::Error) -> Failure + use<> {
        let path = self.question.build_folder.clone();
        move |source| Failure::Io { action: "read", path, source }
    }
}

/// Says what is wrong with a shared cache.
fn complain(event: BuildEvent) {
    if let BuildEvent::Warning { message, .. } = event {
        super::say(&message);
    }
}

/// Hands on what cargo says while it updates and downloads; returns all that it said.
fn hand_on_news(pipe: impl Read) -> String {
    const NEWS: [&str; 6] = ["Updating", "Downloading", "Downloaded", "Locking", "Blocking", "Adding"];
    let mut said = String::new();
    for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned() + "\n";
        if NEWS.iter().any(|word| line.trim_start().starts_with(word)) {
            let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), line.as_bytes());
        }
        said.push_str(&line);
    }
    said
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::bug(&error))
}
