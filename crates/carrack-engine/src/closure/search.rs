use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::elf::ElfFile;

/// Where the loader looks for libraries, in its order.
pub(super) struct SearchPath {
    configured: Vec<PathBuf>,
    built_in: Vec<PathBuf>,
    beside: Vec<PathBuf>,
    /// The files that named the configured folders.
    pub(super) configuration: Vec<PathBuf>,
    /// Places of higher rank than the one where a library was found, with nothing there.
    pub(super) absent: BTreeSet<PathBuf>,
}

/// What one object adds to the search for its own libraries.
pub(super) struct OwnPaths {
    first: Vec<PathBuf>,
    /// The RPATHs that the objects it loads inherit.
    pub(super) inherited: Vec<PathBuf>,
}

/// The dynamic loaders whose rules are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loader {
    /// glibc's, and whatever else is not musl's.
    Glibc,
    /// musl's, which is the C library too.
    Musl,
}

impl Loader {
    /// The loader of a program with this interpreter.
    pub(crate) fn of(interpreter: &Path) -> Self {
        let name = interpreter.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ld-musl-") { Self::Musl } else { Self::Glibc }
    }

    /// The folders that it knows without being told.
    pub(crate) fn folders(self) -> Vec<PathBuf> {
        let architecture = std::env::consts::ARCH;
        let folders = match self {
            Self::Glibc => vec![
                format!("/lib/{architecture}-linux-gnu"),
                format!("/usr/lib/{architecture}-linux-gnu"),
                "/lib64".to_owned(),
                "/usr/lib64".to_owned(),
                "/lib".to_owned(),
                "/usr/lib".to_owned(),
            ],
            Self::Musl => ["/lib", "/usr/local/lib", "/usr/lib"].map(str::to_owned).to_vec(),
        };
        folders.into_iter().map(PathBuf::from).collect()
    }

    /// Whether it takes this name for its own, and looks for no file.
    pub(crate) fn is_itself(self, interpreter: &Path, library: &str) -> bool {
        // Source: musl's `ldso/dynlink.c`, `load_library`.
        const RESERVED: [&str; 7] = ["libc", "libpthread", "librt", "libm", "libdl", "libutil", "libxnet"];
        let reserved = || library.split_once('.').is_some_and(|(stem, _)| RESERVED.contains(&stem));
        interpreter.file_name().is_some_and(|name| name == library) || self == Self::Musl && reserved()
    }
}

impl SearchPath {
    /// The host's search path for the program `binary`, with glibc's `configuration` file. Crates that are built as shared
    /// libraries lie beside the program.
    pub(super) fn new(
        loader: Loader,
        binary: &Path,
        configuration: &Path,
    ) -> Result<Self, (PathBuf, io::Error)> {
        let mut files = Vec::new();
        let mut configured = Vec::new();
        match loader {
            Loader::Glibc => read_configuration(configuration, &mut configured, &mut files, 0)?,
            Loader::Musl => {
                let path = PathBuf::from(format!("/etc/ld-musl-{}.path", std::env::consts::ARCH));
                let text = std::fs::read_to_string(&path).unwrap_or_default();
                configured.extend(
                    text.split([':', '\n']).filter(|folder| folder.starts_with('/')).map(PathBuf::from),
                );
                files.push(path);
            }
        }
        let folder = binary.parent().unwrap_or(Path::new("/"));
        Ok(Self {
            configured,
            built_in: loader.folders(),
            beside: vec![folder.join("deps"), folder.to_owned()],
            configuration: files,
            absent: BTreeSet::new(),
        })
    }

    pub(super) fn paths_of(&self, path: &Path, file: &ElfFile, inherited: &[PathBuf]) -> OwnPaths {
        let origin = std::fs::canonicalize(path).ok().and_then(|path| path.parent().map(Path::to_owned));
        let expand = |folders: &[String]| -> Vec<PathBuf> {
            folders.iter().filter_map(|folder| expand(folder, origin.as_deref())).collect()
        };
        match &file.runpath {
            // RUNPATH switches every RPATH off for this object's own search, and is not inherited.
            Some(runpath) => OwnPaths { first: expand(runpath), inherited: inherited.to_vec() },
            None => {
                let paths = [expand(&file.rpath), inherited.to_vec()].concat();
                OwnPaths { first: paths.clone(), inherited: paths }
            }
        }
    }

    /// Each folder once, where it counts.
    pub(super) fn folders(&self, own: &OwnPaths) -> Vec<PathBuf> {
        let mut folders: Vec<PathBuf> = Vec::new();
        for folder in [&own.first, &self.configured, &self.built_in, &self.beside].into_iter().flatten() {
            if !folders.contains(folder) {
                folders.push(folder.clone());
            }
        }
        folders
    }

    /// The first library called `name` that fits `wanted`.
    pub(super) fn find(
        &mut self,
        name: &str,
        own: &OwnPaths,
        wanted: &ElfFile,
    ) -> Option<(PathBuf, ElfFile)> {
        let candidates: Vec<PathBuf> = if name.contains('/') {
            // A relative one means the caller's working folder.
            name.starts_with('/').then(|| PathBuf::from(name)).into_iter().collect()
        } else {
            self.folders(own).into_iter().map(|folder| folder.join(name)).collect()
        };
        let mut absent = Vec::new();
        for candidate in candidates {
            match ElfFile::read(&candidate) {
                Ok(file) if file.machine == wanted.machine => {
                    self.absent.extend(absent);
                    return Some((candidate, file));
                }
                _ => absent.push(candidate),
            }
        }
        None
    }
}

fn expand(folder: &str, origin: Option<&Path>) -> Option<PathBuf> {
    let origin = origin?.to_str()?;
    let library = if cfg!(target_pointer_width = "64") { "lib64" } else { "lib" };
    let text = folder
        .replace("${ORIGIN}", origin)
        .replace("$ORIGIN", origin)
        .replace("${LIB}", library)
        .replace("$LIB", library);
    // An empty or relative entry means the caller's working folder: nothing that an image could keep.
    text.starts_with('/').then(|| PathBuf::from(text))
}

/// Reads `ld.so.conf`: a folder a line, `#` comments, `include` with a pattern in the last part.
fn read_configuration(
    path: &Path,
    folders: &mut Vec<PathBuf>,
    files: &mut Vec<PathBuf>,
    depth: u32,
) -> Result<(), (PathBuf, io::Error)> {
    files.push(path.to_owned());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err((path.to_owned(), error)),
    };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.strip_prefix("include").map(str::trim_start) {
            Some(pattern) if depth < 8 => {
                let pattern = path.parent().unwrap_or(Path::new("/")).join(pattern);
                for included in matching(&pattern, files) {
                    read_configuration(&included, folders, files, depth + 1)?;
                }
            }
            Some(_) => {}
            None if line.starts_with('/') => folders.push(PathBuf::from(line)),
            None => {}
        }
    }
    Ok(())
}

fn matching(pattern: &Path, files: &mut Vec<PathBuf>) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let Some((head, tail)) = name.split_once('*') else { return vec![pattern.to_owned()] };
    files.push(folder.to_owned());
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}
