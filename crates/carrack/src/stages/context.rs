//! Where a build's context is: a folder, an archive or a Dockerfile on standard input, an archive or a repository elsewhere.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use carrack_buildkit::{Context as Asked, DockerBuild, Dockerfile};
use carrack_docker::dockerignore::Dockerignore;
use carrack_docker::lower::{self, Context};
use carrack_oci::transport::{Method, Request, Transport};
use carrack_store::{Scratch, Store};

use super::request::{filter, ignore_file, ignoring};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::shared;

/// A context.
pub(super) enum Place {
    /// A folder of the host.
    Folder(PathBuf),
    /// A folder that was made for this build: with everything in it, the Dockerfile too.
    Made { folder: PathBuf, shown: String, _scratch: Scratch },
    /// A Dockerfile alone, and an empty folder.
    Nothing { text: String, folder: PathBuf, _scratch: Scratch },
}

/// The context of a build.
pub(super) fn place(build: &DockerBuild, caller: &Caller, store: &Store) -> Result<Place, Failure> {
    let path = match &build.context {
        Asked::Url(address) => return elsewhere(address, caller, store),
        Asked::Folder(path) => path,
    };
    if path == Path::new("-") {
        return archive_or_text(std::io::stdin(), Path::new("standard input"), store);
    }
    let unreadable = |source| Failure::Unreadable { path: path.clone(), source };
    if path.is_file() {
        return unpacked(std::fs::File::open(path).map_err(unreadable)?, path, store);
    }
    if !path.is_dir() {
        return Err(unreadable(std::io::ErrorKind::NotFound.into()));
    }
    Ok(Place::Folder(std::path::absolute(path).unwrap_or_else(|_| path.clone())))
}

impl Place {
    /// The name of the Dockerfile for messages, and its text.
    pub(super) fn dockerfile(
        &self,
        build: &DockerBuild,
        unnamed: &Path,
    ) -> Result<(PathBuf, String), Failure> {
        if let Self::Nothing { text, .. } = self {
            return Ok((unnamed.to_owned(), text.clone()));
        }
        let path = match (&build.dockerfile, self) {
            (Dockerfile::Text { text, .. }, _) => return Ok((unnamed.to_owned(), text.clone())),
            (Dockerfile::File(file), Self::Made { folder, .. }) => folder.join(file),
            (Dockerfile::File(file), _) => file.clone(),
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|source| Failure::Unreadable { path: path.clone(), source })?;
        Ok((path, text))
    }

    /// What people call it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Folder(folder) => folder.display().to_string(),
            Self::Made { shown, .. } => shown.clone(),
            Self::Nothing { .. } => "-".to_owned(),
        }
    }

    /// The context for the front end.
    pub(super) fn context(&self, ignore: Option<Dockerignore>) -> Context {
        let folder = match self {
            Self::Folder(folder) | Self::Made { folder, .. } | Self::Nothing { folder, .. } => folder.clone(),
        };
        Context::Folder { folder, filter: ignore.map(filter) }
    }

    /// What is left out of it.
    pub(super) fn ignore(&self, build: &DockerBuild) -> Result<Option<Dockerignore>, Failure> {
        let folder = match self {
            Self::Nothing { .. } => return Ok(None),
            Self::Folder(folder) | Self::Made { folder, .. } => folder,
        };
        let beside = match &build.dockerfile {
            Dockerfile::Text { ignore: Some(text), .. } => return ignoring(text, Path::new("-")).map(Some),
            Dockerfile::Text { ignore: None, .. } => None,
            Dockerfile::File(file) => {
                let mut name = file.clone().into_os_string();
                name.push(".dockerignore");
                Some(match self {
                    Self::Made { folder, .. } => folder.join(name),
                    _ => PathBuf::from(name),
                })
            }
        };
        let found = beside.filter(|path| path.is_file()).unwrap_or_else(|| folder.join(".dockerignore"));
        ignore_file(&found)
    }
}

/// An archive, or the text of a Dockerfile.
fn archive_or_text(mut source: impl Read + Send, path: &Path, store: &Store) -> Result<Place, Failure> {
    let unreadable = |source| Failure::Unreadable { path: path.to_owned(), source };
    let mut head = Vec::new();
    source.by_ref().take(512).read_to_end(&mut head).map_err(unreadable)?;
    if is_archive(&head) {
        return unpacked(Cursor::new(head).chain(source), path, store);
    }
    source.read_to_end(&mut head).map_err(unreadable)?;
    let text = String::from_utf8(head)
        .map_err(|_| unreadable(std::io::Error::from(std::io::ErrorKind::InvalidData)))?;
    let scratch = store.scratch()?;
    let folder = scratch.path().join("tree");
    make(&folder)?;
    Ok(Place::Nothing { text, folder, _scratch: scratch })
}

fn is_archive(head: &[u8]) -> bool {
    let is_compressed =
        [&[0x1f, 0x8b][..], b"BZh", &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]]
            .iter()
            .any(|magic| head.starts_with(magic));
    is_compressed || head.get(257..262) == Some(b"ustar")
}

fn unpacked(archive: impl Read + Send, path: &Path, store: &Store) -> Result<Place, Failure> {
    let scratch = store.scratch()?;
    let folder = scratch.path().join("tree");
    make(&folder)?;
    carrack_engine::unpack_archive(archive, &folder)
        .map_err(|source| Failure::ContextArchive { path: path.to_owned(), source: Box::new(source) })?;
    Ok(Place::Made { folder, shown: path.display().to_string(), _scratch: scratch })
}

/// A repository, or a file.
fn elsewhere(address: &str, caller: &Caller, store: &Store) -> Result<Place, Failure> {
    let bad = |why: String| Failure::BadOption { option: "the context", value: address.to_owned(), why };
    if let Some(repository) = lower::repository(address).map_err(|refusal| bad(refusal.to_string()))? {
        let scratch = store.scratch()?;
        let checkout = scratch.path().join("checkout");
        make(&checkout)?;
        let folder = carrack_engine::check_out(&repository, &checkout)?;
        return Ok(Place::Made { folder, shown: address.to_owned(), _scratch: scratch });
    }
    let chain = |error: &dyn std::error::Error| crate::failure::chain_in_one_line(error);
    let transport = Transport::new(shared::patient_transport(caller)).map_err(|error| bad(chain(&error)))?;
    let answer = transport.send(&Request::new(Method::Get, address)).map_err(|error| bad(chain(&error)))?;
    if !answer.is_success() {
        return Err(bad(format!("the server answered {}", answer.status())));
    }
    archive_or_text(answer.into_reader(), Path::new(address), store)
}

fn make(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir(folder).map_err(|source| Failure::Io {
        action: "create",
        path: folder.to_owned(),
        source,
    })
}
