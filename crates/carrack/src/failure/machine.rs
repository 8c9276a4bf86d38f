//! The words for what this machine refuses: the state folder, the sandbox.

use carrack_sandbox::SandboxError;
use carrack_store::StoreError;

use super::{Words, io_hint, with_context};

pub(super) fn store(error: &StoreError) -> Words {
    let words = Words::chain(error);
    match error {
        StoreError::NewerFormat { .. } => {
            words.hint("use the newer carrack, or another state folder with --home")
        }
        StoreError::DamagedFormat { .. } | StoreError::DamagedIndex { .. } => words
            .hint("delete the state folder (everything in it can be made again), or use another with --home"),
        StoreError::ReadOnly { .. } => {
            words.hint("make it writable for this user, or use another with --home")
        }
        StoreError::DiskFull { .. } => {
            words.hint("make room on that disk, or use another state folder with --home")
        }
        StoreError::Busy { .. } => words.hint("try again when the running builds are done"),
        StoreError::Corrupt { .. } | StoreError::MissingBlob { .. } => words.hint("build the image again"),
        StoreError::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                words.hint("make it writable for this user, or use another with --home")
            }
            _ => words.hint(io_hint(source)),
        },
        StoreError::Index { .. }
        | StoreError::BadId { .. }
        | StoreError::BadUnitPath { .. }
        | StoreError::UnitChanged { .. } => words.hint("report this"),
        StoreError::Cancelled { .. } => words,
    }
}

pub(super) fn sandbox(error: &SandboxError) -> Words {
    let words = with_context("cannot start the sandboxed command".to_owned(), error);
    match error {
        SandboxError::ProgramNotFound { program } => {
            Words::new(format!("cannot start {}: there is no such program", program.display()))
                .hint("check the entrypoint: a closure image has no shell and no other program")
        }
        SandboxError::Execute { program, source } => {
            Words::new(format!("cannot start {}", program.display()))
                .note(source.to_string())
                .hint("check that it is executable, made for this machine, and has its loader in the image")
        }
        SandboxError::WorkingDirectory { path, source } => {
            Words::new(format!("cannot enter the working folder {}", path.display()))
                .note(source.to_string())
                .hint("check `workdir`")
        }
        SandboxError::Namespaces { .. } => words.hint(
            "allow unprivileged user namespaces (user.max_user_namespaces, kernel.unprivileged_userns_clone), \
            or run it as root",
        ),
        SandboxError::User { .. } => {
            words.hint("check `user`; an ordinary user has few ids to give (see newuidmap)")
        }
        _ => words,
    }
}
