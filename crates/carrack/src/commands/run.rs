use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use carrack_base::Cancel;
use carrack_engine::StoreBlobs;
use carrack_oci::wire::ContainerConfig;
use carrack_oci::{Ownership, rootfs_dir};
use carrack_sandbox::{Child, Command, Exit, IdMap, Launcher, Network, Root, Sandbox, Stdio, User};
use carrack_store::Store;

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
    let row = blobs::find(&store, &arguments.image)?;
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

    let accounts = Accounts::read(&rootfs);
    let account = accounts.find(arguments.user.as_deref().unwrap_or(&config.user))?;
    let argv = argv(arguments, config, &row.name)?;
    let command = Command {
        argv: argv.into_iter().map(Into::into).collect(),
        env: env(arguments, config, caller, &account),
        cwd: workdir(arguments, config),
        stdin: Stdio::Inherit,
        stdout: Stdio::Inherit,
        stderr: Stdio::Inherit,
        limits: Vec::new(),
    };
    let (uid, gid) = (account.uid, account.gid);
    let sandbox = Sandbox {
        root: Root::Layers { privileged: false, names: true, lower: vec![rootfs], upper, work },
        mounts: Vec::new(),
        hostname: "carrack".to_owned(),
        user: is_root.then(|| User { uid, gid, groups: Vec::new() }),
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
    if !arguments.arguments.is_empty() {
        argv.extend(arguments.arguments.iter().cloned());
    } else if arguments.entrypoint.is_none() {
        argv.extend(config.cmd.clone().unwrap_or_default());
    }
    if argv.is_empty() { Err(Failure::NothingToRun { image: image.to_owned() }) } else { Ok(argv) }
}

fn env(
    arguments: &Run,
    config: &ContainerConfig,
    caller: &Caller,
    account: &Account,
) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let mut env = BTreeMap::from([("HOME".to_owned(), account.home.clone())]);
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

/// `/etc/passwd` and `/etc/group` of an image.
struct Accounts {
    users: Vec<Account>,
    groups: Vec<(String, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

impl Accounts {
    /// An image without these files has no names.
    fn read(rootfs: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(rootfs.join("etc").join(name)).unwrap_or_default();
        Self::parse(&read("passwd"), &read("group"))
    }

    fn parse(passwd: &str, group: &str) -> Self {
        let user = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
            Some(Account {
                name: name.to_owned(),
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
                home: home.to_owned(),
            })
        };
        let named = |line: &str| {
            let mut fields = line.split(':');
            Some((fields.next()?.to_owned(), fields.nth(1)?.parse().ok()?))
        };
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(named).collect(),
        }
    }

    /// Whom `text` means: nobody says nothing, then it is root.
    fn find(&self, text: &str) -> Result<Account, Failure> {
        let unknown = || Failure::User { user: text.to_owned() };
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let listed = self.users.iter().find(|account| match user.parse::<u32>() {
            Ok(uid) => account.uid == uid,
            Err(_) => account.name == user,
        });
        let mut account = match (listed, user.parse()) {
            (Some(account), _) => account.clone(),
            (None, Ok(uid)) => Account { name: String::new(), uid, gid: 0, home: "/".to_owned() },
            (None, Err(_)) => return Err(unknown()),
        };
        if let Some(group) = group {
            let listed = self.groups.iter().find(|(name, _)| name == group).map(|(_, gid)| *gid);
            account.gid = group.parse().ok().or(listed).ok_or_else(unknown)?;
        }
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let accounts =
            Accounts::parse("root:x:0:0::/root:/bin/sh\napp:x:1000:100::/home/app:\n", "staff:x:50:\n");
        let ids =
            |text: &str| accounts.find(text).map(|account| (account.uid, account.gid, account.home)).ok();
        assert_eq!(ids(""), Some((0, 0, "/root".into())));
        assert_eq!(ids("app"), Some((1000, 100, "/home/app".into())));
        assert_eq!(ids("1000"), Some((1000, 100, "/home/app".into())));
        assert_eq!(ids("7"), Some((7, 0, "/".into())));
        assert_eq!(ids("app:staff"), Some((1000, 50, "/home/app".into())));
        assert_eq!(ids("7:8"), Some((7, 8, "/".into())));
        assert_eq!(ids("bob"), None);
        assert_eq!(ids("app:nogroup"), None);
    }
}
