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

/// The folders that loaders know without being told.
pub(super) fn built_in_folders() -> Vec<PathBuf> {
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    [format!("/lib/{multiarch}"), format!("/usr/lib/{multiarch}"), "/lib64".into(), "/usr/lib64".into()]
        .into_iter()
        .chain(["/lib".into(), "/usr/lib".into()])
        .map(PathBuf::from)
        .collect()
}

impl SearchPath {
    /// The host's search path for `program`. Crates that are built as shared libraries lie beside it.
    pub(super) fn of_host(_program: &ElfFile, binary: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let mut configuration = Vec::new();
        let mut configured = Vec::new();
        read_configuration(Path::new("/etc/ld.so.conf"), &mut configured, &mut configuration, 0)?;
        let folder = binary.parent().unwrap_or(Path::new("/"));
        Ok(Self {
            configured,
            built_in: built_in_folders(),
            beside: vec![folder.join("deps"), folder.to_owned()],
            configuration,
            absent: BTreeSet::new(),
        })
    }

    pub(super) fn paths_of(&self, path: &Path, file: &ElfFile, inherited: &[PathBuf]) -> OwnPaths {
        let origin = std::fs::canonicalize(path).ok().and_then(|path| path.parent().map(Path::to_owned));
        let expand = |folders: &[String]| -> Vec<PathBuf> {
            folders.iter().filter_map(|folder| expand(folder, origin.as_deref())).collect()
        };
        match &file.runpath {
            // RUNPATH switches every RPATH off, and is not inherited.
            Some(runpath) => OwnPaths { first: expand(runpath), inherited: Vec::new() },
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
            vec![PathBuf::from(name)]
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
