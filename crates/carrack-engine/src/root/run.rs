//! `RUN`: a command over the layers of its root, in a sandbox; what it wrote is a layer.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use carrack_base::{BuildEvent, ImagePath, OutputStream, StepId};
use carrack_graph::{EnvValue, Field, KeyRecord, Network, RunOp};
use carrack_oci::snapshot;
use carrack_sandbox::{Child, Command, Exit, IdMap, Limit, Mount, Root, Sandbox, Stdio, User};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT};

use super::calls::{Calls, Host};
use super::files::{Files, parent, parts, relative, resolve};
use super::layers::{RootValue, threads};
use super::stack::Stack;
use super::step::{LayerStep, Made};
use crate::error::{At, EngineError, give};
use crate::process;
use crate::solve::Solver;

/// Raised with every change of what a field means, or of what a command finds around it.
const VERSION: u32 = 1;

const HOSTNAME: &str = "carrack";

/// As Docker has it.
const SHM_SIZE: u64 = 64 << 20;

/// How much of what a failed command wrote is told with the error, in bytes.
const TRANSCRIPT: usize = 16 * 1024;

/// Where the host's certificates are mounted, and the variables that name them.
const CERTIFICATES: &str = "/run/carrack/ca-certificates.crt";
const CERTIFICATE_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
];

/// What the caller gives to commands, beyond the graph: nothing of it enters a key.
#[derive(Debug, Clone, Default)]
pub struct Supplies {
    /// Secrets by their names.
    pub secrets: BTreeMap<String, Secret>,
    /// Sockets of SSH agents by their names.
    pub agents: BTreeMap<String, PathBuf>,
    /// A file with the certificate authorities that this machine trusts, for commands that are to trust them too.
    pub certificates: Option<PathBuf>,
}

/// Where a secret is.
#[derive(Clone)]
pub enum Secret {
    /// In this file, read when a command needs it.
    File(PathBuf),
    /// Here.
    Value(Vec<u8>),
}

/// Does not show what is secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "File({})", path.display()),
            Self::Value(_) => formatter.write_str("Value(…)"),
        }
    }
}

impl Solver<'_> {
    pub(crate) fn run_step(&self, op: &RunOp) -> Result<RootValue, EngineError> {
        let root = self.root_value(op.root)?;
        let mounts = op.mounts.iter().map(|mount| self.described_mount(mount));
        let mut record = KeyRecord::new("run", VERSION);
        let keyed = op.env.iter().filter(|(_, value)| value.keyed);
        record
            .set("command", Field::List(op.argv.clone()))
            .set("env", Field::Map(keyed.map(|(name, value)| (name.clone(), value.value.clone())).collect()))
            .text("cwd", op.cwd.as_str())
            .text("user", &op.user)
            .set("mounts", Field::List(mounts.collect::<Result<_, _>>()?))
            .text("network", format!("{:?}", op.network))
            .text("insecure", op.insecure.to_string())
            .set("hosts", Field::List(op.hosts.iter().map(|(name, to)| format!("{name} {to}")).collect()))
            .text("limits", format!("{:?} {:?}", op.shm_size, op.limits))
            .set("root", Field::List(root.ids()));
        let step = LayerStep { info: &op.step, record, sources: None };
        let snapshot = self.layer_of(&step, |id| self.run_command(op, &root, id))?;
        Ok(root.with(snapshot))
    }

    fn run_command(&self, op: &RunOp, root: &RootValue, id: StepId) -> Result<Made, EngineError> {
        let stack = self.layers.stack(root)?;
        let scratch = self.store().scratch()?;
        let [upper, work, sandbox] = ["upper", "work", "sandbox"].map(|name| scratch.path().join(name));
        for folder in [&upper, &work, &sandbox] {
            fs::create_dir(folder).at("create", folder)?;
        }
        let floor = stack.item(b"");
        let (mode, uid, gid) = floor.map_or((0o755, 0, 0), |item| (item.mode, item.uid, item.gid));
        fs::set_permissions(&upper, fs::Permissions::from_mode(mode)).at("set the mode of", &upper)?;
        if self.layers.gives_away {
            give(&upper, (uid, gid))?;
        }

        let person = stack.accounts().person(&op.user)?;
        let mut mounted = self.mounted(op, scratch.path())?;
        let mut env: Vec<(OsString, OsString)> = op.env.iter().map(variable).collect();
        let has = |env: &[(OsString, OsString)], wanted: &str| env.iter().any(|(name, _)| name == wanted);
        if !has(&env, "HOME") {
            env.push(("HOME".into(), person.home.clone().into()));
        }
        env.extend(mounted.env.drain(..).map(|(name, value)| (name.into(), value.into())));
        if let Some(certificates) = &self.engine.supplies.certificates {
            mounted.mounts.push(Mount::Bind {
                source: certificates.clone(),
                target: CERTIFICATES.into(),
                writable: false,
            });
            let missing = CERTIFICATE_VARIABLES.iter().filter(|name| !has(&env, name));
            let added: Vec<_> =
                missing.map(|name| (OsString::from(name), OsString::from(CERTIFICATES))).collect();
            env.extend(added);
        }
        mounted.mounts.insert(
            0,
            Mount::Content {
                target: "/etc/hosts".into(),
                bytes: hosts(op).into_bytes(),
                mode: 0o644,
                owner: (0, 0),
            },
        );
        let host = Host {
            store: self.store(),
            jobs: &self.jobs,
            cancel: self.cancel,
            gives_away: self.layers.gives_away,
            asked: &self.asked,
            events: self.events,
            is_over: &|| self.cancel.is_cancelled() || self.is_stopped(),
        };
        let calls = match &self.engine.called {
            Some(called) if !self.engine.options.no_units => {
                Calls::prepare(called, &stack, &env, &host, scratch.path())?
            }
            _ => None,
        };
        for (target, mount) in calls.iter().flat_map(Calls::mounts) {
            mounted.targets.push(target);
            mounted.mounts.push(mount);
        }
        let stubs = Stubs::before(&stack, &upper, &mounted.targets);

        let command = Command {
            argv: op.argv.iter().map(OsString::from).collect(),
            env,
            cwd: op.cwd.as_str().into(),
            stdin: Stdio::Null,
            stdout: Stdio::Piped,
            stderr: Stdio::Piped,
            limits: op
                .limits
                .iter()
                .map(|(name, soft, hard)| Limit { name: name.clone(), soft: *soft, hard: *hard })
                .collect(),
        };
        let place = Sandbox {
            root: Root::Layers {
                privileged: op.insecure,
                names: false,
                lower: calls.iter().map(|calls| calls.layer().to_owned()).chain(stack.lower()).collect(),
                upper: upper.clone(),
                work,
            },
            mounts: mounted.mounts.clone(),
            hostname: HOSTNAME.to_owned(),
            user: Some(User { uid: person.uid, gid: person.gid, groups: person.groups }),
            ids: IdMap::Caller,
            network: match op.network {
                Network::Default | Network::Host => carrack_sandbox::Network::Host,
                Network::None => carrack_sandbox::Network::Loopback,
            },
            shm_size: Some(op.shm_size.unwrap_or(SHM_SIZE)),
            scratch: sandbox,
        };
        self.make_working_folder(op, &stack, &upper)?;
        let mut child = self.engine.launcher.spawn(&command, &place)?;
        let mut said = None;
        let followed = match &calls {
            None => self.follow(&mut child, id),
            Some(calls) => {
                let (followed, tally) = calls.serve(child.inside(), &host, || self.follow(&mut child, id));
                said = tally.words();
                followed
            }
        };
        let (exit, transcript) = followed?;
        drop(child);
        if exit != Exit::Code(0) {
            if let Some(signal) = self.cancel.signal() {
                return Err(EngineError::Cancelled { signal });
            }
            if self.is_stopped() {
                return Err(EngineError::Stopped);
            }
            return Err(EngineError::RunFailed { exit, transcript });
        }
        stubs.remove(&upper);
        let mut listing = snapshot::scan(&upper, self.layers.ownership(), threads())?;
        if let Some(calls) = &calls
            && calls.restore(&upper, &listing)?
        {
            listing = snapshot::scan(&upper, self.layers.ownership(), threads())?;
        }
        Ok(Made { snapshot: self.layers.keep(&upper, &listing, &op.step.name)?, said })
    }

    /// The working folder is there for a command, whatever its image says.
    fn make_working_folder(&self, op: &RunOp, stack: &Stack, upper: &Path) -> Result<(), EngineError> {
        let Some(place) = resolve(stack, op.cwd.relative().as_bytes(), true) else { return Ok(()) };
        if stack.item(&place).is_some() {
            return Ok(());
        }
        // What is below is copied up by making it: those folders have their own attributes then.
        let mut writer_path = PathBuf::from(upper);
        let mut path = Vec::new();
        for name in parts(&place) {
            path = super::files::join(&path, name);
            writer_path.push(relative(name));
            if fs::create_dir(&writer_path).is_ok()
                && let Some(item) = stack.item(&path)
            {
                fs::set_permissions(&writer_path, fs::Permissions::from_mode(item.mode))
                    .at("set the mode of", &writer_path)?;
                if self.layers.gives_away {
                    give(&writer_path, (item.uid, item.gid))?;
                }
            }
        }
        Ok(())
    }

    /// Passes on what the command writes until it ends or the build has to.
    fn follow(&self, child: &mut Child, step: StepId) -> Result<(Exit, String), EngineError> {
        let pipes = [child.stdout.take(), child.stderr.take()];
        let transcript: Mutex<Vec<u8>> = Mutex::default();
        let exit = std::thread::scope(|scope| {
            scope.spawn(|| {
                process::pump(pipes, |pipe, bytes| {
                    let stream = if pipe == 0 { OutputStream::Stdout } else { OutputStream::Stderr };
                    self.events.emit(BuildEvent::StepOutput { step, stream, bytes: bytes.to_vec() });
                    let mut transcript = transcript.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    transcript.extend_from_slice(bytes);
                    let surplus = transcript.len().saturating_sub(TRANSCRIPT);
                    transcript.drain(..surplus);
                });
            });
            process::wait(child, &|| self.cancel.is_cancelled() || self.is_stopped())
        })?;
        let transcript = transcript.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok((exit, String::from_utf8_lossy(&transcript).into_owned()))
    }
}

fn variable((name, value): &(String, EnvValue)) -> (OsString, OsString) {
    (name.into(), value.value.clone().into())
}

fn hosts(op: &RunOp) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {HOSTNAME}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in &op.hosts {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

/// Mount points that are only there because something was mounted: files and folders of the upper folder.
struct Stubs {
    /// Deepest last, with the times of the folders that they are in.
    paths: Vec<(PathBuf, Option<Timespec>)>,
}

/// Where every sandbox mounts something.
const ALWAYS: [&str; 7] =
    ["dev", "etc/hosts", "etc/resolv.conf", "proc", "run/carrack/ca-certificates.crt", "sys", "dev/shm"];

impl Stubs {
    /// What is not there yet of the places where something will be mounted.
    fn before(stack: &Stack, upper: &Path, targets: &[ImagePath]) -> Self {
        let mut paths: Vec<Vec<u8>> = Vec::new();
        let targets = targets.iter().map(|target| target.relative().as_bytes().to_vec());
        for target in ALWAYS.iter().map(|path| path.as_bytes().to_vec()).chain(targets) {
            let mut place = resolve(stack, &target, true).unwrap_or_default();
            while !place.is_empty() && stack.item(&place).is_none() {
                paths.push(place.clone());
                place = parent(&place).unwrap_or_default().to_vec();
            }
        }
        paths.sort();
        paths.dedup();
        let timed = paths.into_iter().map(|path| {
            let above = parent(&path).unwrap_or_default();
            let time = stack.item(above).and_then(|_| fs::symlink_metadata(stack.on_host(above)).ok());
            let time = time.map(|found| Timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() });
            (upper.join(relative(&path)), time)
        });
        Self { paths: timed.collect() }
    }

    /// Removes those that nothing was put into, and gives the folders that they were in their times back.
    fn remove(&self, upper: &Path) {
        for (path, time) in self.paths.iter().rev() {
            let Ok(found) = fs::symlink_metadata(path) else { continue };
            let removed = match found.is_dir() {
                true => fs::remove_dir(path),
                false if found.is_file() && found.len() == 0 => fs::remove_file(path),
                false => continue,
            };
            // A folder with something in it is the command's own.
            if removed.is_ok()
                && let (Some(time), Some(above)) =
                    (time, path.parent().filter(|above| above.starts_with(upper)))
            {
                let untouched = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
                let times = Timestamps { last_access: untouched, last_modification: *time };
                // A wrong time of a folder is worth no failure.
                let _ = rustix::fs::utimensat(CWD, above, &times, AtFlags::SYMLINK_NOFOLLOW);
            }
        }
    }
}
