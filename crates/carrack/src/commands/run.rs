use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use carrack_base::{Cancel, MOST_TEXT};
use carrack_engine::StoreBlobs;
use carrack_oci::wire::ContainerConfig;
use carrack_oci::{Accounts, Ownership, Person, rootfs_dir};
use carrack_sandbox::{Child, Command, Exit, IdMap, Launcher, Network, Root, Sandbox, Stdio, User};
use carrack_store::Store;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::arguments::Run;
use crate::blobs;
use crate::caller::Caller;
use crate::failure::{Failure, code};

/// How often a waiting run looks for a signal that it has to pass on.
const PATIENCE: Duration = Duration::from_millis(10);

/// Runs an image of the store in the sandbox; its exit code becomes this program's.
pub(crate) fn run(
    arguments: &Run,
    caller: &Caller,
    state: &Path,
    cancel: &Cancel,
) -> Result<ExitCode, Failure> {
    let store = Store::open(state)?;
    let _lease = store.lease(cancel)?;
    let row = blobs::find(&store, arguments.image())?;
    let image = blobs::image(&store, &row.manifest)?;
    let config = &image.config().config;

    let scratch = store.scratch()?;
    let [rootfs, upper, work, sandbox] =
        ["rootfs", "upper", "work", "sandbox"].map(|name| scratch.path().join(name));
    for folder in [&upper, &work, &sandbox] {
        fs::create_dir(folder).map_err(|source| Failure::Io {
            action: "create",
            path: folder.clone(),
            source,
        })?;
    }
    let ownership = super::ownership();
    let is_root = ownership == Ownership::Recorded;
    rootfs_dir(&rootfs, &image, &StoreBlobs(&store), ownership)
        .map_err(|source| Failure::Rootfs { to: rootfs.clone(), source })?;

    let accounts = Accounts::read(|path| read(&rootfs, path));
    let person =
        accounts.person(arguments.user.as_deref().unwrap_or(&config.user)).map_err(Failure::Account)?;
    let argv = argv(arguments, config, &row.name)?;
    let command = Command {
        argv: argv.into_iter().map(Into::into).collect(),
        env: env(arguments, config, caller, &person),
        cwd: workdir(arguments, config),
        stdin: Stdio::Inherit,
        stdout: Stdio::Inherit,
        stderr: Stdio::Inherit,
        limits: Vec::new(),
    };
    let (uid, gid) = (person.uid, person.gid);
    let sandbox = Sandbox {
        root: Root::Layers { privileged: false, names: true, lower: vec![rootfs], upper, work },
        mounts: Vec::new(),
        hostname: "carrack".to_owned(),
        user: is_root.then_some(User { uid, gid, groups: person.groups }),
        // An ordinary user has one id to give: the image's user gets it, and with it the image's files.
        ids: if is_root { IdMap::Caller } else { IdMap::Single { uid, gid } },
        network: Network::Host,
        shm_size: None,
        scratch: sandbox,
    };
    let mut child = Launcher::this_program().spawn(&command, &sandbox)?;
    let ended = match wait(&mut child, cancel)? {
        Exit::Code(exit) => u8::try_from(exit).unwrap_or(code::BUG),
        Exit::Signal(signal) => code::SIGNAL + u8::try_from(signal).unwrap_or(0),
    };
    Ok(ExitCode::from(ended))
}

/// Waits for the end; a signal that this program gets is the command's, which decides what to make of it.
fn wait(child: &mut Child, cancel: &Cancel) -> Result<Exit, Failure> {
    let mut passed_on = false;
    loop {
        if let Some(exit) = child.try_wait()? {
            return Ok(exit);
        }
        if let Some(signal) = cancel.signal().filter(|_| !passed_on) {
            child.signal(signal)?;
            passed_on = true;
        }
        std::thread::sleep(PATIENCE);
    }
}

fn argv(arguments: &Run, config: &ContainerConfig, image: &str) -> Result<Vec<String>, Failure> {
    let mut argv = match &arguments.entrypoint {
        Some(program) => vec![program.clone()],
        None => config.entrypoint.clone().unwrap_or_default(),
    };
    if !arguments.arguments().is_empty() {
        argv.extend(arguments.arguments().iter().cloned());
    } else if arguments.entrypoint.is_none() {
        argv.extend(config.cmd.clone().unwrap_or_default());
    }
    if argv.is_empty() { Err(Failure::NothingToRun { image: image.to_owned() }) } else { Ok(argv) }
}

fn env(
    arguments: &Run,
    config: &ContainerConfig,
    caller: &Caller,
    person: &Person,
) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let mut env = BTreeMap::from([("HOME".to_owned(), person.home.clone())]);
    if let Some(term) = caller.text("TERM") {
        env.insert("TERM".to_owned(), term);
    }
    let pairs = config.env.iter().filter_map(|entry| entry.split_once('='));
    env.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for entry in &arguments.env {
        let (name, value) = match entry.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (entry.as_str(), caller.text(entry)),
        };
        match value {
            Some(value) => env.insert(name.to_owned(), value),
            None => env.remove(name),
        };
    }
    env.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn workdir(arguments: &Run, config: &ContainerConfig) -> PathBuf {
    let folder = arguments.workdir.as_deref().unwrap_or(&config.working_dir);
    Path::new("/").join(folder)
}

/// A file of the image. Whatever is a link on the way leads on within it.
fn read(rootfs: &Path, path: &str) -> Option<Vec<u8>> {
    let folder = rustix::fs::open(rootfs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(folder.ok()?, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
    let file = File::from(file.ok()?);
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    let mut bytes = Vec::new();
    is_file.then(|| file.take(MOST_TEXT).read_to_end(&mut bytes).ok())??;
    Some(bytes)
}
