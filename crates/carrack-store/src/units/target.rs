//! A folder that units are put into and taken from.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// A folder of units: one that belongs to the caller, or one that others may tamper with.
#[derive(Debug, Clone)]
pub struct UnitsFolder {
    path: PathBuf,
    confined: Option<Confined>,
}

#[derive(Debug, Clone)]
struct Confined {
    folder: Arc<OwnedFd>,
    owner: Option<(u32, u32)>,
}

/// A path in a folder, which leads there for as long as this is alive.
pub(super) struct Place {
    pub(super) path: PathBuf,
    _above: Option<OwnedFd>,
}

impl UnitsFolder {
    /// The open `folder`, in which no link is followed: whoever can write there can't have anything else read or written.
    /// What is made in it is given to `owner`. `shown` is what errors call it.
    pub fn confined(folder: OwnedFd, owner: Option<(u32, u32)>, shown: impl Into<PathBuf>) -> Self {
        Self { path: shown.into(), confined: Some(Confined { folder: Arc::new(folder), owner }) }
    }

    /// What errors call a path in it.
    pub(super) fn shown(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// Makes the folder itself, if it is missing and belongs to the caller.
    pub(super) fn make(&self) -> io::Result<()> {
        if self.confined.is_none() { fs::create_dir_all(&self.path) } else { Ok(()) }
    }

    /// Where `path` is.
    ///
    /// Errors: [`ErrorKind::NotFound`] if the folder that it would be in is missing; a link is on the way.
    pub(super) fn place(&self, path: &str) -> io::Result<Place> {
        let Some(confined) = &self.confined else {
            return Ok(Place { path: self.path.join(path), _above: None });
        };
        let (above, name) = path.rsplit_once('/').unwrap_or((".", path));
        let above = rustix::fs::openat2(
            confined.folder.as_fd(),
            above,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )?;
        let path = Path::new("/proc/self/fd").join(above.as_raw_fd().to_string()).join(name);
        Ok(Place { path, _above: Some(above) })
    }

    /// Makes the folder `path` with all that it is in.
    pub(super) fn make_folder(&self, path: &str) -> io::Result<()> {
        if self.confined.is_none() {
            return fs::create_dir_all(self.path.join(path));
        }
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends.filter(|end| *end > 0) {
            let place = self.place(&path[..end])?;
            match fs::create_dir(&place.path) {
                Ok(()) => {
                    // Whatever mask this process has: other users of the folder have none of it.
                    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o755))?;
                    self.give_away(&place)?;
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives what was made at `place` to whoever is to own it.
    pub(super) fn give_away(&self, place: &Place) -> io::Result<()> {
        match self.confined.as_ref().and_then(|confined| confined.owner) {
            Some((uid, gid)) => lchown(&place.path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }
}

impl From<&Path> for UnitsFolder {
    fn from(path: &Path) -> Self {
        Self { path: path.to_owned(), confined: None }
    }
}

impl From<&PathBuf> for UnitsFolder {
    fn from(path: &PathBuf) -> Self {
        path.as_path().into()
    }
}

impl From<PathBuf> for UnitsFolder {
    fn from(path: PathBuf) -> Self {
        Self { path, confined: None }
    }
}

impl From<&UnitsFolder> for UnitsFolder {
    fn from(folder: &UnitsFolder) -> Self {
        folder.clone()
    }
}
