//! The plan of a workspace: the kept one if nothing that it depends on has changed, else cargo's new answer.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use carrack_base::ContentDigest;
use carrack_cargo::config::Configuration;
use carrack_cargo::environment::{Class, classify};
use carrack_cargo::locate::Location;
use carrack_cargo::lower;
use carrack_cargo::plan::{self, CargoPlan, Request, Selection, members_command, metadata_command};
use carrack_engine::Sources;
use carrack_sandbox::{Command, Exit, IdMap, Mount, Network, Root, Sandbox, Stdio, Support};
use carrack_store::Bucket;
use serde::{Deserialize, Serialize};

use super::toolchain::Builder;
use super::{Desk, adopt, cargo_home, configs_at_home, configurations, id, left_out};
use crate::failure::Failure;

/// A plan, and how it was come by.
pub(super) struct Planned {
    pub(super) plan: CargoPlan,
    /// The lock file that cargo made for a workspace without one.
    pub(super) lock_file: Option<String>,
    pub(super) anew: bool,
}

/// A kept plan with what it depends on.
#[derive(Serialize, Deserialize)]
struct Kept {
    identity: ContentDigest,
    /// [`CargoPlan::to_bytes`], which is text.
    plan: String,
    lock_file: Option<String>,
}

/// The plan for what is asked.
pub(super) fn plan(
    desk: &Desk<'_>,
    location: &Location,
    builder: &Builder,
    request: &Request,
    selection: &Selection,
) -> Result<Planned, Failure> {
    // Packages lie in Carrack's CARGO_HOME for this one of the user's.
    let places = format!("{}\0{}", location.nearest_manifest.display(), location.cargo_home.display());
    let asked = format!("{places}\0{request:?}\0{selection:?}");
    let key = format!("plan {}", id(&asked)).into_bytes();
    let kept = desk.store.get(Bucket::Plan, &key)?;
    if let Some(kept) = kept.and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok())
        && let Ok(plan) = CargoPlan::from_bytes(kept.plan.as_bytes())
    {
        let sources = desk.inputs.sources(&lower::sources(&plan, &left_out(location, &plan)))?;
        if identity(desk, location, builder, &plan, &sources)? == kept.identity {
            return Ok(Planned { plan, lock_file: kept.lock_file, anew: false });
        }
    }
    let began = SystemTime::now();
    let made = make(desk, location, builder, request, selection)?;
    desk.inputs.forget();
    let sources = desk.inputs.sources(&lower::sources(&made.plan, &left_out(location, &made.plan)))?;
    // A manifest that was written while cargo read them may not be the one that cargo saw: the answer counts for this
    // build, which hashes the sources again, and for no other.
    if !sources.iter().any(|source| counts(&source.name) && written_since(began, &sources, &source.name)) {
        let kept = Kept {
            identity: identity(desk, location, builder, &made.plan, &sources)?,
            plan: text(made.plan.to_bytes().map_err(|error| Failure::bug(&error))?)?,
            lock_file: made.lock_file.clone(),
        };
        let bytes = serde_json::to_vec(&kept).map_err(|error| Failure::bug(&error))?;
        desk.store.put(Bucket::Plan, &key, bytes)?;
    }
    Ok(made)
}

fn text(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| Failure::bug(&error))
}

/// Whether cargo's answer depends on the content of a source.
fn counts(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    matches!(file, "Cargo.toml" | "Cargo.lock" | "carrack.toml")
        || name.ends_with(".cargo/config.toml")
        || name.ends_with(".cargo/config")
}

/// Whether a source was written after `moment`, as far as its times tell; one that is gone was.
fn written_since(moment: SystemTime, sources: &Sources, name: &str) -> bool {
    let metadata = sources.on_host(name).and_then(|path| std::fs::metadata(path).ok());
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    metadata.is_none_or(|metadata| {
        // File systems keep coarser times than clocks.
        let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        changed + 20_000_000 >= i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
    })
}

/// Everything that cargo's answer depends on, as the table in [`carrack_cargo::plan`] has it.
fn identity(
    desk: &Desk<'_>,
    location: &Location,
    builder: &Builder,
    plan: &CargoPlan,
    sources: &Sources,
) -> Result<ContentDigest, Failure> {
    let mut parts: Vec<String> = Vec::new();
    for source in sources.iter() {
        if counts(&source.name) {
            let digest = source.entry.digest.map(|digest| digest.to_string()).unwrap_or_default();
            parts.push(format!("{}={digest}", source.name));
        } else if source.name.ends_with(".rs") {
            parts.push(source.name);
        }
    }
    let configurations = configurations(location, plan);
    for path in location.cargo_configs.iter().chain(&plan.outside_manifests).chain(&configurations) {
        let digest = desk.inputs.digest(path)?.map(|digest| digest.to_string()).unwrap_or_default();
        parts.push(format!("{}={digest}", path.display()));
    }
    parts.extend(builder.identity.iter().map(|(name, value)| format!("{name}={value}")));
    let keyed = desk.caller.texts().filter(|(name, _)| classify(name) == Class::Keyed);
    parts.extend(keyed.map(|(name, value)| format!("{name}={value}")));
    Ok(ContentDigest::of(parts.join("\0").as_bytes()))
}

fn make(
    desk: &Desk<'_>,
    location: &Location,
    builder: &Builder,
    request: &Request,
    selection: &Selection,
) -> Result<Planned, Failure> {
    let home = cargo_home(desk.store, location)?;
    let lock = match &location.lock_file {
        Some(path) => std::fs::read_to_string(path).map_err(|source| Failure::Io {
            action: "read",
            path: path.clone(),
            source,
        })?,
        None => String::new(),
    };
    adopt::adopt(&lock, &location.cargo_home, &home);
    let cargo = Cargo { desk, location, builder, home };
    let (answer, _) = cargo.ask(members_command())?;
    let members = plan::members(&answer)?;
    let configuration = Configuration::load(&location.root, &members).map_err(Failure::Configuration)?;
    let (answer, lock_file) = cargo.ask(metadata_command(request, location, &configuration))?;
    let plan = CargoPlan::from_metadata(&answer, location, &configuration, request, selection)?;
    Ok(Planned { plan, lock_file, anew: true })
}

/// Cargo, asked about the workspace where it lies. It may download into Carrack's own CARGO_HOME, with the user's
/// credentials; it runs nothing of the workspace's, and writes nothing but a lock file where there is none.
struct Cargo<'a> {
    desk: &'a Desk<'a>,
    location: &'a Location,
    builder: &'a Builder,
    home: PathBuf,
}

impl Cargo<'_> {
    /// What cargo answers, and the lock file that it made, if it made one.
    fn ask(&self, arguments: Vec<String>) -> Result<(Vec<u8>, Option<String>), Failure> {
        let scratch = self.desk.store.scratch()?;
        let io = |path: &PathBuf| {
            let path = path.clone();
            move |source| Failure::Io { action: "create", path, source }
        };
        let folders @ [sandbox, upper, work, target] =
            &["sandbox", "upper", "work", "target"].map(|name| scratch.path().join(name));
        for folder in folders {
            std::fs::create_dir(folder).map_err(io(folder))?;
        }
        let argv = std::iter::once(self.builder.toolchain.cargo.clone().into_os_string());
        let command = Command {
            argv: argv.chain(arguments.into_iter().map(Into::into)).collect(),
            env: self.env(target).into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            cwd: self.location.root.clone(),
            stdin: Stdio::Null,
            stdout: Stdio::Piped,
            stderr: Stdio::Piped,
            limits: Vec::new(),
        };
        let launcher = self.desk.launcher;
        // Only where a lock file would be written is there something to protect.
        let protect =
            self.location.lock_file.is_none() && matches!(launcher.support(sandbox), Support::Isolated);
        let mut child = if protect {
            let root = self.location.root.clone();
            let bind =
                |path: &PathBuf| Mount::Bind { source: path.clone(), target: path.clone(), writable: true };
            let overlay = Mount::Overlay {
                lower: vec![root.clone()],
                upper: upper.clone(),
                work: work.clone(),
                target: root.clone(),
                writable: true,
            };
            let seen = |source: PathBuf, target: PathBuf| Mount::Bind { source, target, writable: false };
            // A sandbox has these folders for itself, and a path dependency may lie anywhere in them.
            let hidden = ["/tmp", "/var/tmp"].map(PathBuf::from).into_iter();
            let hidden =
                hidden.filter(|folder| root.starts_with(folder)).map(|folder| seen(folder.clone(), folder));
            let configs = configs_at_home(self.location).into_iter().map(|config| {
                let ours = self.home.join(config.file_name().unwrap_or_default());
                seen(config, ours)
            });
            let sandbox = Sandbox {
                root: Root::Host,
                mounts: hidden.chain([overlay, bind(&self.home), bind(target)]).chain(configs).collect(),
                hostname: "carrack".to_owned(),
                user: None,
                ids: IdMap::Caller,
                network: Network::Host,
                shm_size: None,
                scratch: sandbox.clone(),
            };
            launcher.spawn(&command, &sandbox)?
        } else {
            launcher.spawn_plain(&command)?
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (exit, stdout, stderr) = std::thread::scope(|scope| {
            let stdout = scope.spawn(|| read(stdout));
            let stderr = scope.spawn(|| read(stderr));
            let exit = loop {
                if let Some(exit) = child.try_wait()? {
                    break exit;
                }
                if let Some(signal) = self.desk.cancel.signal() {
                    child.kill()?;
                    return Err(Failure::Cancelled { signal });
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            };
            let text = |bytes: std::thread::Result<Vec<u8>>| bytes.expect("reading a pipe does not panic");
            Ok((exit, text(stdout.join()), text(stderr.join())))
        })?;
        if exit != Exit::Code(0) {
            return Err(Failure::Metadata { said: String::from_utf8_lossy(&stderr).into_owned() });
        }
        Ok((stdout, std::fs::read_to_string(upper.join("Cargo.lock")).ok()))
    }

    fn env(&self, target: &std::path::Path) -> BTreeMap<String, String> {
        let caller = self.desk.caller.texts();
        let mut env: BTreeMap<String, String> =
            caller.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        env.insert("CARGO_HOME".to_owned(), self.home.to_string_lossy().into_owned());
        env.insert("CARGO_TARGET_DIR".to_owned(), target.to_string_lossy().into_owned());
        env.insert("CARGO_TERM_COLOR".to_owned(), "never".to_owned());
        if let Some(name) = &self.builder.toolchain.name {
            env.insert("RUSTUP_TOOLCHAIN".to_owned(), name.clone());
        }
        env
    }
}

fn read(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What could be read is what there is; how the program ended tells the rest.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}
