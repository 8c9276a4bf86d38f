//! Lowers what the caller asked for to the steps that pid 1 takes. All policy about what the inside looks like is
//! here; [`init`](crate::init) only does as it is told.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use crate::command::{Command, Limit, Mount, Network, Root, Sandbox};
use crate::wire::{IdPlan, Isolation, LimitPlan, Plan, Source, Step, Text, UserPlan};
use crate::{SandboxError, ids};

/// What a shell assumes where there is no `PATH`.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

const DEVICE_LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Parts of procfs that obey uid 0 without asking for a capability.
const PROC_PROTECTED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The names that Docker has for them.
const LIMITS: [(&str, u32); 15] = [
    ("as", libc::RLIMIT_AS),
    ("core", libc::RLIMIT_CORE),
    ("cpu", libc::RLIMIT_CPU),
    ("data", libc::RLIMIT_DATA),
    ("fsize", libc::RLIMIT_FSIZE),
    ("locks", libc::RLIMIT_LOCKS),
    ("memlock", libc::RLIMIT_MEMLOCK),
    ("msgqueue", libc::RLIMIT_MSGQUEUE),
    ("nice", libc::RLIMIT_NICE),
    ("nofile", libc::RLIMIT_NOFILE),
    ("nproc", libc::RLIMIT_NPROC),
    ("rss", libc::RLIMIT_RSS),
    ("rtprio", libc::RLIMIT_RTPRIO),
    ("sigpending", libc::RLIMIT_SIGPENDING),
    ("stack", libc::RLIMIT_STACK),
];

/// What containers usually grant.
const CONTAINER_CAPABILITIES: CapabilitySet = CapabilitySet::AUDIT_WRITE
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// The plan for `command`, in `sandbox` or on the plain host. Makes the folders in the scratch folder.
pub(crate) fn lower(command: &Command, sandbox: Option<&Sandbox>) -> Result<Plan, SandboxError> {
    if command.argv.is_empty() {
        return Err(SandboxError::Unrepresentable { text: String::new() });
    }
    let mut env = Vec::with_capacity(command.env.len());
    for (name, value) in &command.env {
        let mut entry = name.clone();
        entry.push("=");
        entry.push(value);
        env.push(Text::new(entry)?);
    }
    let path = command.env.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(DEFAULT_PATH, |(_, value)| value.as_bytes());
    let search = path.split(|byte| *byte == b':').map(|folder| Path::new(OsStr::from_bytes(folder)).into());
    Ok(Plan {
        argv: command.argv.iter().map(Text::new).collect::<Result<_, _>>()?,
        env,
        search: search.collect(),
        cwd: Text::new(&command.cwd)?,
        limits: command.limits.iter().map(limit).collect::<Result<_, _>>()?,
        isolation: sandbox.map(isolate).transpose()?,
    })
}

/// The plan that sets `sandbox` up and ends.
pub(crate) fn probe(sandbox: &Sandbox) -> Result<Plan, SandboxError> {
    let isolation = Some(isolate(sandbox)?);
    let cwd = Text::new("/")?;
    Ok(Plan { argv: Vec::new(), env: Vec::new(), search: Vec::new(), cwd, limits: Vec::new(), isolation })
}

fn limit(limit: &Limit) -> Result<LimitPlan, SandboxError> {
    let known = LIMITS.iter().find(|(name, _)| *name == limit.name);
    let (_, resource) = known.ok_or_else(|| SandboxError::UnknownLimit { name: limit.name.clone() })?;
    Ok(LimitPlan { name: limit.name.clone(), resource: *resource, soft: limit.soft, hard: limit.hard })
}

fn isolate(sandbox: &Sandbox) -> Result<Isolation, SandboxError> {
    let scratch = Scratch::prepare(&sandbox.scratch)?;
    let mut steps = Vec::new();
    let (root, capabilities, new_privileges) = match &sandbox.root {
        Root::Host => {
            host_entries(&mut steps)?;
            system_folders(sandbox, &mut steps);
            host_run(&mut steps);
            writable_host_folders(&scratch, &mut steps)?;
            (memory("755"), CapabilitySet::empty(), false)
        }
        Root::Layers { privileged, names, lower, upper, work } => {
            system_folders(sandbox, &mut steps);
            steps.push(attach(read_only(Path::new("/etc/resolv.conf")), "/etc/resolv.conf"));
            if *names {
                steps.push(attach(read_only(Path::new("/etc/hosts")), "/etc/hosts"));
                let hostname = scratch.path("hostname");
                fs::write(&hostname, format!("{}\n", sandbox.hostname)).map_err(preparing(&hostname))?;
                steps.push(attach(read_only(&hostname), "/etc/hostname"));
            }
            // An image without layers: an overlay wants one all the same.
            let nothing = [scratch.path("empty-folder")];
            let lower = if lower.is_empty() { &nothing[..] } else { lower };
            let capabilities = if *privileged { CapabilitySet::all() } else { CONTAINER_CAPABILITIES };
            (overlay(lower, upper, work, true)?, capabilities, true)
        }
    };
    for mount in &sandbox.mounts {
        steps.push(match mount {
            Mount::Bind { source, target, writable } => Step::Attach {
                source: Source::Bind {
                    path: Text::new(source)?,
                    read_only: !writable,
                    devices: false,
                    optional: false,
                },
                target: Text::new(target)?,
            },
            Mount::Overlay { lower, upper, work, target, writable } => {
                Step::Attach { source: overlay(lower, upper, work, *writable)?, target: Text::new(target)? }
            }
            Mount::Content { target, bytes, mode, owner } => Step::Attach {
                source: Source::Content { bytes: bytes.clone(), mode: *mode, owner: *owner },
                target: Text::new(target)?,
            },
            Mount::Memory { target, size } => Step::Attach {
                source: Source::Tmpfs { mode: "1777".to_owned(), size: *size },
                target: Text::new(target)?,
            },
            Mount::Mask { target } => Step::Mask {
                target: Text::new(target)?,
                empty_file: scratch.text("empty-file"),
                empty_folder: scratch.text("empty-folder"),
            },
        });
    }
    if matches!(sandbox.root, Root::Host) {
        steps.extend(["/", "/dev", "/run"].map(|target| Step::Seal { target: text(target) }));
    }
    let ids = ids::plan(&sandbox.ids)?;
    let groups_are_fixed = matches!(ids, IdPlan::Write { deny_setgroups: true, .. });
    Ok(Isolation {
        ids,
        root,
        steps,
        hostname: sandbox.hostname.clone(),
        user: sandbox.user.as_ref().map(|user| UserPlan {
            uid: user.uid,
            gid: user.gid,
            groups: (!groups_are_fixed).then(|| user.groups.clone()),
        }),
        capabilities: capabilities.bits(),
        new_privileges,
        refuses_calls: matches!(sandbox.root, Root::Layers { privileged: false, .. }),
        own_network: sandbox.network == Network::Loopback,
        staging: scratch.text("staging"),
    })
}

/// The folders and files in the caller's scratch folder.
struct Scratch(PathBuf);

impl Scratch {
    fn prepare(scratch: &Path) -> Result<Self, SandboxError> {
        // A relative path would mean something else to the helper if the caller changed its working directory.
        let scratch = Self(std::path::absolute(scratch).map_err(preparing(scratch))?);
        Text::new(&scratch.0)?;
        for folder in ["staging", "empty-folder"] {
            scratch.folder(folder)?;
        }
        let empty_file = scratch.path("empty-file");
        fs::write(&empty_file, "").map_err(preparing(&empty_file))?;
        Ok(scratch)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn text(&self, name: &str) -> Text {
        self.path(name).as_path().into()
    }

    fn folder(&self, name: &str) -> Result<PathBuf, SandboxError> {
        let path = self.path(name);
        DirBuilder::new().recursive(true).mode(0o755).create(&path).map_err(preparing(&path))?;
        Ok(path)
    }
}

/// Everything in the host's `/` but what has a meaning of its own. Binding `/` itself would hide nothing, and as an
/// ordinary user it can't be a layer: the mounts below it are locked.
fn host_entries(steps: &mut Vec<Step>) -> Result<(), SandboxError> {
    let root = Path::new("/");
    for entry in fs::read_dir(root).map_err(preparing(root))? {
        let path = entry.map_err(preparing(root))?.path();
        if ["/dev", "/proc", "/run", "/sys", "/tmp"].iter().any(|special| path == Path::new(special)) {
            continue;
        }
        steps.push(match fs::read_link(&path) {
            Ok(points_to) => {
                Step::Symlink { target: path.as_path().into(), points_to: points_to.as_path().into() }
            }
            Err(_) => Step::Attach { source: read_only(&path), target: path.as_path().into() },
        });
    }
    Ok(())
}

/// `/proc`, `/sys` and `/dev`.
fn system_folders(sandbox: &Sandbox, steps: &mut Vec<Step>) {
    steps.push(attach(Source::Proc, "/proc"));
    steps.extend(PROC_PROTECTED.map(|target| Step::Protect { target: text(target) }));
    // The host's shows the host's network devices.
    let sys = match sandbox.network {
        Network::Host => read_only(Path::new("/sys")),
        Network::Loopback => Source::Sys,
    };
    steps.push(attach(sys, "/sys"));
    steps.push(attach(memory("755"), "/dev"));
    for name in DEVICES {
        let path = format!("/dev/{name}");
        let source = Source::Bind { path: text(&path), read_only: false, devices: true, optional: true };
        steps.push(attach(source, &path));
    }
    for (target, points_to) in DEVICE_LINKS {
        steps.push(Step::Symlink { target: text(target), points_to: text(points_to) });
    }
    steps.push(attach(Source::Tmpfs { mode: "1777".to_owned(), size: sandbox.shm_size }, "/dev/shm"));
    steps.push(attach(Source::DevPts, "/dev/pts"));
}

/// An empty `/run`, since a socket obeys whoever may open it, read-only mount or not: a root's build would reach
/// systemd and Docker through theirs. What name resolution and NixOS's programs need is let in.
fn host_run(steps: &mut Vec<Step>) {
    steps.push(attach(memory("755"), "/run"));
    let resolver = fs::canonicalize("/etc/resolv.conf").ok();
    if let Some(file) = resolver.filter(|file| file.starts_with("/run")) {
        // The folder, because the file is replaced by renaming when the network changes.
        let folder = file.parent().filter(|folder| *folder != Path::new("/run"));
        let path = folder.unwrap_or(&file);
        steps.push(Step::Attach { source: read_only(path), target: path.into() });
    }
    if let Ok(points_to) = fs::read_link("/run/current-system") {
        let points_to = points_to.as_path().into();
        steps.push(Step::Symlink { target: text("/run/current-system"), points_to });
    }
}

fn writable_host_folders(scratch: &Scratch, steps: &mut Vec<Step>) -> Result<(), SandboxError> {
    for (name, target) in [("tmp", "/tmp"), ("var-tmp", "/var/tmp")] {
        // A host without /var/tmp, or with a link there, is left as it is: /var is read-only.
        if name == "var-tmp" && !fs::symlink_metadata(target).is_ok_and(|found| found.is_dir()) {
            continue;
        }
        let path = scratch.folder(name)?;
        fs::set_permissions(&path, Permissions::from_mode(0o1777)).map_err(preparing(&path))?;
        let path = path.as_path().into();
        steps.push(attach(Source::Bind { path, read_only: false, devices: false, optional: false }, target));
    }
    Ok(())
}

fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, writable: bool) -> Result<Source, SandboxError> {
    Ok(Source::Overlay {
        lower: lower.iter().map(Text::new).collect::<Result<_, _>>()?,
        upper: Text::new(upper)?,
        work: Text::new(work)?,
        read_only: !writable,
    })
}

fn memory(mode: &str) -> Source {
    Source::Tmpfs { mode: mode.to_owned(), size: None }
}

fn attach(source: Source, target: &str) -> Step {
    Step::Attach { source, target: text(target) }
}

fn read_only(path: &Path) -> Source {
    Source::Bind { path: path.into(), read_only: true, devices: false, optional: true }
}

fn text(path: &str) -> Text {
    Path::new(path).into()
}

fn preparing(path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::Prepare { path, source }
}
