//! Builds the root file system with the kernel's detached mounts: everything that comes from the host is opened while
//! the host's root is visible, then the new root takes its place, then everything is put where it belongs. So sources
//! are paths of the host, targets are paths of the inside, and no symbolic link of an image can lead out.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use super::sys;
use crate::wire::{Failure, Isolation, Source, Step, Text};

/// What mount(2) takes as options: a page with its NUL byte.
const LONGEST_OPTIONS: usize = 4095;

/// Symbolic links that the kernel follows in one path.
const MOST_LINKS: usize = 40;

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;

/// Makes the root of `isolation` this process's root, in a mount namespace of its own.
pub(super) fn build(isolation: &Isolation) -> Result<(), Failure> {
    let root_path = Path::new("/");
    // What is mounted from now on, here or on the host, stays where it is mounted.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(root_path, private).map_err(Failure::mount("make private", root_path))?;

    let staging = isolation.staging.as_path();
    let opened =
        isolation.steps.iter().map(|step| open_step(step, staging)).collect::<Result<Vec<_>, _>>()?;
    if let Some(root) = open(&isolation.root, staging)? {
        attach(&root, staging)?;
    }
    enter(staging)?;
    for (step, opened) in isolation.steps.iter().zip(opened) {
        put(step, opened)?;
    }
    Ok(())
}

/// What a step needs from the host.
enum Opened {
    Nothing,
    Mount(OwnedFd),
    Masks { file: OwnedFd, folder: OwnedFd },
}

fn open_step(step: &Step, staging: &Path) -> Result<Opened, Failure> {
    Ok(match step {
        Step::Attach { source, .. } => open(source, staging)?.map_or(Opened::Nothing, Opened::Mount),
        Step::Mask { empty_file, empty_folder, .. } => Opened::Masks {
            file: open_tree(empty_file.as_path(), READ_ONLY)?,
            folder: open_tree(empty_folder.as_path(), READ_ONLY)?,
        },
        Step::Symlink { .. } | Step::Protect { .. } | Step::Seal { .. } => Opened::Nothing,
    })
}

fn put(step: &Step, opened: Opened) -> Result<(), Failure> {
    match (step, opened) {
        (Step::Attach { target, .. }, Opened::Mount(mount)) => {
            let target = target.as_path();
            let status =
                rustix::fs::fstat(&mount).map_err(Failure::mount("examine the source of", target))?;
            let is_folder = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
            make_mount_point(target, is_folder).map_err(Failure::mount("make the mount point", target))?;
            attach(&mount, target)
        }
        (Step::Mask { target, .. }, Opened::Masks { file, folder }) => {
            let target = target.as_path();
            match fs::metadata(target) {
                Ok(found) => attach(if found.is_dir() { &folder } else { &file }, target),
                Err(error) if is_absent(&error) => Ok(()),
                Err(error) => Err(Failure::mount("examine", target)(error)),
            }
        }
        (Step::Symlink { target, points_to }, _) => {
            let target = target.as_path();
            std::os::unix::fs::symlink(points_to.as_path(), target)
                .map_err(Failure::mount("make the link", target))
        }
        (Step::Protect { target }, _) => match fs::metadata(target.as_path()) {
            Ok(_) => attach(&open_tree(target.as_path(), READ_ONLY)?, target.as_path()),
            Err(_) => Ok(()),
        },
        (Step::Seal { target }, _) => {
            let target = target.as_path();
            let mount = rustix::fs::open(target, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .map_err(Failure::mount("open", target))?;
            sys::set_mount_attributes(mount.as_fd(), READ_ONLY, false)
                .map_err(Failure::mount("make read-only", target))
        }
        // An optional source that is not there.
        (Step::Attach { .. } | Step::Mask { .. }, _) => Ok(()),
    }
}

/// A detached mount, or `None` if it is optional and can't be had.
fn open(source: &Source, staging: &Path) -> Result<Option<OwnedFd>, Failure> {
    match source {
        Source::Bind { path, read_only, devices, optional } => {
            let path = path.as_path();
            if *optional && fs::metadata(path).is_err_and(|error| is_absent(&error)) {
                return Ok(None);
            }
            let mut attributes = NO_SUID;
            if *read_only {
                attributes |= READ_ONLY;
            }
            if !devices {
                attributes |= NO_DEVICES;
            }
            open_tree(path, attributes).map(Some)
        }
        Source::Overlay { lower, upper, work, read_only } => {
            let mount = open_overlay(lower, upper, work, staging)?;
            if *read_only {
                sys::set_mount_attributes(mount.as_fd(), READ_ONLY, false)
                    .map_err(Failure::mount("make read-only an overlay for", staging))?;
            }
            Ok(Some(mount))
        }
        Source::Content { bytes, mode, owner } => open_content(bytes, *mode, *owner, staging).map(Some),
        Source::Tmpfs { mode, size } => {
            let size = size.map(|size| size.to_string());
            let options = [("mode", Some(mode)), ("size", size.as_ref())];
            let options: Vec<_> =
                options.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?.as_str()))).collect();
            new_mount("tmpfs", &options).map(Some).map_err(Failure::mount("mount a tmpfs for", staging))
        }
        Source::Proc => match new_mount("proc", &[]) {
            Ok(mount) => Ok(Some(mount)),
            // A container with a masked procfs does not let go of it.
            Err(_) => open_tree(Path::new("/proc"), NO_SUID | NO_DEVICES).map(Some),
        },
        Source::Sys => match new_mount("sysfs", &[]) {
            Ok(mount) => {
                sys::set_mount_attributes(mount.as_fd(), READ_ONLY, false)
                    .map_err(Failure::mount("make read-only a sysfs for", staging))?;
                Ok(Some(mount))
            }
            Err(_) => open_tree(Path::new("/sys"), READ_ONLY | NO_SUID | NO_DEVICES).map(Some),
        },
        Source::DevPts => Ok(new_mount("devpts", &[("mode", "620"), ("ptmxmode", "666")]).ok()),
    }
}

/// A file with `bytes`, the only one of a file system in memory.
fn open_content(bytes: &[u8], mode: u32, owner: (u32, u32), staging: &Path) -> Result<OwnedFd, Failure> {
    let failed = || Failure::mount::<io::Error>("write a file for", staging);
    let memory =
        new_mount("tmpfs", &[("mode", "755")]).map_err(Failure::mount("mount a tmpfs for", staging))?;
    attach(&memory, staging)?;
    let path = staging.join("content");
    fs::write(&path, bytes).map_err(failed())?;
    std::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1)).map_err(failed())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(failed())?;
    let file = open_tree(&path, 0)?;
    rustix::mount::unmount(staging, UnmountFlags::DETACH).map_err(Failure::mount("unmount", staging))?;
    Ok(file)
}

/// A copy of the mounts at and below `path`, with `attributes` added.
fn open_tree(path: &Path, attributes: u64) -> Result<OwnedFd, Failure> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let mount = rustix::mount::open_tree(CWD, path, flags).map_err(Failure::mount("open", path))?;
    sys::set_mount_attributes(mount.as_fd(), attributes, true)
        .map_err(Failure::mount("set the mount attributes of", path))?;
    Ok(mount)
}

fn new_mount(file_system: &str, options: &[(&str, &str)]) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(file_system, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *name, *value)?;
    }
    finish_mount(&context, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
}

fn finish_mount(context: &OwnedFd, attributes: MountAttrFlags) -> Result<OwnedFd, Errno> {
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Layers are passed as descriptors' paths: those are short and need no escapes.
fn open_overlay(lower: &[Text], upper: &Text, work: &Text, staging: &Path) -> Result<OwnedFd, Failure> {
    let open_layer = |path: &Text| {
        let path = path.as_path();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map_err(Failure::mount("open the layer", path))
    };
    let name = |layer: &OwnedFd| format!("/proc/self/fd/{}", layer.as_raw_fd());
    let lower = lower.iter().map(open_layer).collect::<Result<Vec<_>, _>>()?;
    let (upper_layer, work) = (open_layer(upper)?, open_layer(work)?);
    let lower_names: Vec<String> = lower.iter().map(name).collect();
    let failed = || Failure::mount("mount an overlay with the upper folder", upper.as_path());

    let options = format!(
        "userxattr,index=off,lowerdir={},upperdir={},workdir={}",
        lower_names.join(":"),
        name(&upper_layer),
        name(&work),
    );
    if options.len() <= LONGEST_OPTIONS {
        let options = CString::new(options).expect("numbers and words hold no NUL byte");
        rustix::mount::mount("overlay", staging, "overlay", MountFlags::empty(), Some(options.as_c_str()))
            .map_err(failed())?;
        let mount = open_tree(staging, 0)?;
        rustix::mount::unmount(staging, UnmountFlags::DETACH).map_err(Failure::mount("unmount", staging))?;
        return Ok(mount);
    }
    // More layers than fit: takes Linux 6.8.
    let mount = || {
        let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_set_flag(context.as_fd(), "userxattr")?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "index", "off")?;
        for name in &lower_names {
            rustix::mount::fsconfig_set_string(context.as_fd(), "lowerdir+", name)?;
        }
        rustix::mount::fsconfig_set_string(context.as_fd(), "upperdir", name(&upper_layer))?;
        rustix::mount::fsconfig_set_string(context.as_fd(), "workdir", name(&work))?;
        finish_mount(&context, MountAttrFlags::empty())
    };
    mount().map_err(failed())
}

fn attach(mount: &OwnedFd, target: &Path) -> Result<(), Failure> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    rustix::mount::move_mount(mount.as_fd(), "", CWD, target, flags)
        .map_err(Failure::mount("mount on", target))
}

/// Makes the mount at `new_root` the root, and lets go of the old one.
fn enter(new_root: &Path) -> Result<(), Failure> {
    let failed = || Failure::mount("change the root to", new_root);
    rustix::process::chdir(new_root).map_err(failed())?;
    // The old root ends up on top of the new one, from where it is taken off.
    rustix::process::pivot_root(".", ".").map_err(failed())?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed())?;
    rustix::process::chdir("/").map_err(failed())
}

/// Makes an empty file or folder at `target`, or where the symbolic links at its end lead, unless something is there.
fn make_mount_point(target: &Path, folder: bool) -> io::Result<()> {
    let mut target = PathBuf::from(target);
    for _ in 0..MOST_LINKS {
        match fs::metadata(&target) {
            Ok(_) => return Ok(()),
            Err(error) if !is_absent(&error) => return Err(error),
            Err(_) => {}
        }
        let parent = target.parent().unwrap_or(Path::new("/"));
        match fs::read_link(&target) {
            Ok(points_to) => target = parent.join(points_to),
            Err(_) if folder => return fs::create_dir_all(&target),
            Err(_) => {
                fs::create_dir_all(parent)?;
                return File::options().write(true).create_new(true).open(&target).map(drop);
            }
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
