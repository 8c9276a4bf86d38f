//! The last steps of the command's own process, between fork and execution.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::fs::{Gid, Uid};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::{Streams, filter, sys};
use crate::wire::{Attempt, Failure, Isolation, Plan, Text, UserPlan};

/// The highest capability that a 64-bit set can hold; the kernel says where its own end.
const CAPABILITIES: u32 = 64;

/// Becomes the command; returns on failure only.
pub(super) fn become_command(plan: &Plan, streams: &Streams) -> Failure {
    match prepare(plan, streams) {
        Ok(()) => execute(plan),
        Err(failure) => failure,
    }
}

fn prepare(plan: &Plan, [stdin, stdout, stderr]: &Streams) -> Result<(), Failure> {
    rustix::process::setsid().map_err(Failure::isolate("start a session"))?;
    sys::reset_signals();
    let redirect = || Failure::isolate("redirect the standard streams");
    rustix::stdio::dup2_stdin(stdin).map_err(redirect())?;
    rustix::stdio::dup2_stdout(stdout).map_err(redirect())?;
    rustix::stdio::dup2_stderr(stderr).map_err(redirect())?;
    sys::close_descriptors_on_execute().map_err(Failure::isolate("close descriptors"))?;
    for limit in &plan.limits {
        let attempt = format!("set the limit `{}`", limit.name);
        sys::set_limit(limit.resource, limit.soft, limit.hard).map_err(Failure::isolate(&attempt))?;
    }
    match &plan.isolation {
        Some(isolation) => drop_privileges(isolation)?,
        None => {
            // Pid 1's death needs no such signal: its whole namespace goes with it.
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(Failure::isolate("set the death signal"))?;
        }
    }
    rustix::process::chdir(plan.cwd.as_path())
        .map_err(|error| Failure::new(Attempt::WorkingDirectory(plan.cwd.clone()), error))
}

fn drop_privileges(isolation: &Isolation) -> Result<(), Failure> {
    let granted = CapabilitySet::from_bits_retain(isolation.capabilities);
    if isolation.refuses_calls {
        filter::refuse_calls(granted).map_err(Failure::isolate("filter the system calls of"))?;
    }
    let failed = || Failure::isolate("drop capabilities");
    for number in 0..CAPABILITIES {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if !granted.contains(capability) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                Err(rustix::io::Errno::INVAL) => break,
                result => result.map_err(failed())?,
            }
        }
    }
    rustix::thread::clear_ambient_capability_set().map_err(failed())?;
    if let Some(user) = &isolation.user {
        become_user(user)?;
    }
    // Leaving uid 0 has taken all capabilities; a caller's uid that never was 0 still has them.
    let is_root = rustix::process::geteuid().is_root();
    let kept = if is_root { granted } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).map_err(failed())?;
    if isolation.new_privileges {
        return Ok(());
    }
    rustix::thread::set_no_new_privs(true).map_err(Failure::isolate("forbid new privileges"))
}

fn become_user(user: &UserPlan) -> Result<(), Failure> {
    let become_ids = || {
        if let Some(groups) = &user.groups {
            let groups: Vec<Gid> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
            rustix::thread::set_thread_groups(&groups)?;
        }
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)
    };
    become_ids().map_err(|error| Failure::new(Attempt::User { uid: user.uid, gid: user.gid }, error))
}

fn execute(plan: &Plan) -> Failure {
    let name = &plan.argv[0];
    let program = match find(plan, name) {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let c_strings = |texts: &[Text]| texts.iter().map(Text::to_c_string).collect::<Vec<_>>();
    let error = sys::execute(&program.to_c_string(), &c_strings(&plan.argv), &c_strings(&plan.env));
    Failure::new(Attempt::Execute(program), error)
}

/// The program's path: as a shell finds it, so that a folder's file that is not executable does not hide a later one.
fn find(plan: &Plan, name: &Text) -> Result<Text, Failure> {
    let absent = |error| Failure::new(Attempt::FindProgram(name.clone()), error);
    if name.as_bytes().contains(&b'/') {
        return match fs::metadata(name.as_path()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(absent(error)),
            _ => Ok(name.clone()),
        };
    }
    let candidates = plan.search.iter().map(|folder| folder.as_path().join(name.as_path()));
    let mut files = candidates
        .filter_map(|path| Some((fs::metadata(&path).ok()?, path)))
        .filter(|(found, _)| found.is_file());
    let mut refused: Option<PathBuf> = None;
    files
        .find_map(|(found, path)| {
            let executable = found.permissions().mode() & 0o111 != 0;
            if executable {
                Some(path)
            } else {
                refused.get_or_insert(path);
                None
            }
        })
        .or(refused)
        .map(|path| path.as_path().into())
        .ok_or_else(|| absent(io::ErrorKind::NotFound.into()))
}
